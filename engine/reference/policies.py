"""The rulebook's deleveraging scores, who is closed first, and the policies that share instead.

Scores are whole numbers, quantised to PPB at two named places, so that both implementations and
every machine rank alike. Ranking itself is `ranked`.
"""

from collections.abc import Callable

from engine.bearers import SharePolicy
from engine.constants import PPB, AdlScore
from engine.reference import closing, loss_sharing

# every policy but the ranking, by the function of its name
SHARED_BY: dict[SharePolicy, Callable[[closing.Case], list[int]]] = {
    policy: getattr(closing, policy.name.lower(), None)
    or getattr(loss_sharing, policy.name.lower())
    for policy in SharePolicy
    if policy != SharePolicy.RANKING
}

SCORE_PART_MAX = 2**60  # each factor saturates here, so that a tiny wallet cannot overflow


def _ratio(numerator: int, denominator: int) -> int:
    """numerator / denominator in PPB, rounded down, saturated."""
    return min(numerator * PPB // denominator, SCORE_PART_MAX)


def score(
    kind: int,
    profit_quote: int,
    wallet_quote: int,
    entry_value_quote: int,
    initial_quote: int,
    position_quote: int,
    notional_quote: int,
    maintenance_quote: int,
    equity_quote: int,
    gains_with_value: bool,
) -> int:
    """R82. ADL score of one position; each factor is quantised to PPB, rounded down.

    WALLET_PCT_MARGIN_RATIO: max(0, profit) / max(1, wallet) * maintenance / equity.
    PROFIT_TIMES_LEVERAGE: profit / |entry value| * notional / equity; a loss is divided instead.
    RETURN_TIMES_LEVERAGE: profit / initial margin * position / equity; a loss is divided instead.
    PRICE_GAIN_TIMES_LEVERAGE: mark / entry (short: entry / mark) * position / equity.
    NONE: 0. Profit, position and initial margin are the position's; wallet, notional,
    maintenance and equity are its margin domain's. Without equity the score is 0, or for a
    loser of a score that goes below zero the least there is.
    """
    if kind == AdlScore.NONE:
        return 0
    if kind == AdlScore.PRICE_GAIN_TIMES_LEVERAGE:
        if equity_quote <= 0:
            return 0
        mark, entry = position_quote, max(1, entry_value_quote)
        gain = _ratio(mark, entry) if gains_with_value else _ratio(entry, max(1, mark))
        return _product(gain, _ratio(position_quote, equity_quote))
    if kind == AdlScore.WALLET_PCT_MARGIN_RATIO:
        if profit_quote <= 0 or equity_quote <= 0:
            return 0
        first = _ratio(profit_quote, max(1, wallet_quote))
        return _product(first, _ratio(maintenance_quote, equity_quote))
    base, size = entry_value_quote, notional_quote
    if kind == AdlScore.RETURN_TIMES_LEVERAGE:
        base, size = initial_quote, position_quote
    first = _ratio(abs(profit_quote), max(1, base))
    if profit_quote > 0:
        return _product(first, _ratio(size, equity_quote)) if equity_quote > 0 else 0
    if equity_quote <= 0:
        return -SCORE_PART_MAX
    return -_product(first, _ratio(equity_quote, max(1, size)))


def _product(first: int, second: int) -> int:
    return min(first * second // PPB, SCORE_PART_MAX)


def ranked(candidates: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """R83. Highest score first; ties by larger notional, then lower account row, then lower leg.

    Each candidate is (score, notional_quote, account_row, position_side).
    """
    return sorted(candidates, key=lambda item: (-item[0], -item[1], item[2], item[3]))
