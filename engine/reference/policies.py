"""The rulebook's deleveraging scores: who is closed first.

Scores are whole numbers, quantised to PPB at two named places, so that both implementations and
every machine rank alike. Ranking itself is `ranked`.
"""

from engine.constants import PPB, AdlScore

SCORE_PART_MAX = 2**60  # each factor saturates here, so that a tiny wallet cannot overflow


def _ratio(numerator: int, denominator: int) -> int:
    """numerator / denominator in PPB, rounded down, saturated."""
    return min(numerator * PPB // denominator, SCORE_PART_MAX)


def score(
    kind: int,
    profit_quote: int,
    wallet_quote: int,
    entry_value_quote: int,
    notional_quote: int,
    maintenance_quote: int,
    equity_quote: int,
) -> int:
    """R82. ADL score of one position, 0 for a loser or an account without equity.

    WALLET_PCT_MARGIN_RATIO: max(0, profit) / max(1, wallet) * maintenance / equity.
    PROFIT_TIMES_LEVERAGE: profit / |entry value| * notional / equity.
    Profit is the position's, maintenance, wallet and equity are its margin domain's.
    """
    if profit_quote <= 0 or equity_quote <= 0:
        return 0
    if kind == AdlScore.WALLET_PCT_MARGIN_RATIO:
        first = _ratio(profit_quote, max(1, wallet_quote))
        second = _ratio(maintenance_quote, equity_quote)
    else:
        first = _ratio(profit_quote, max(1, entry_value_quote))
        second = _ratio(notional_quote, equity_quote)
    return min(first * second // PPB, SCORE_PART_MAX)


def ranked(candidates: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """R83. Highest score first; ties by larger notional, then lower account row, then lower leg.

    Each candidate is (score, notional_quote, account_row, position_side).
    """
    return sorted(candidates, key=lambda item: (-item[0], -item[1], item[2], item[3]))
