"""The nine scores a queue may be ordered by, exact: the higher is closed first.

A ratio is quantised to 1e-12, each factor rounded toward zero and saturated at 2**60, so that every
machine and both implementations rank alike. A position in profit whose account has no equity left
has infinite leverage: its factor is the saturated one. Equal scores: larger notional first, then
smaller id, then the place in the arrays. `notional / equity` is of the position over its domain.
"""

from collections.abc import Callable

from engine.bearers import SCORE_MAX, SCORE_UNIT, Position, Score


def ratio(a: int, b: int) -> int:
    """|a| / b in 1e-12 with the sign of a, toward zero, saturated; saturated too for b <= 0 < a."""
    if b <= 0:
        return 0 if a == 0 else SCORE_MAX if a > 0 else -SCORE_MAX
    size = min(abs(a) * SCORE_UNIT // b, SCORE_MAX)
    return size if a >= 0 else -size


def product(a: int, b: int) -> int:
    """a * b of two factors in 1e-12, b >= 0, toward zero, saturated."""
    size = min(abs(a) * b // SCORE_UNIT, SCORE_MAX)
    return size if a >= 0 else -size


def gain_leverage(c: Position, last: int) -> int:
    """mark / entry for a long, entry / mark for a short, times notional / equity. Source: [HL]."""
    gain = ratio(c.mark, c.entry) if c.lots > 0 else ratio(c.entry, c.mark)
    return product(gain, ratio(c.notional, c.equity))


def profit_pct_leverage(c: Position, last: int) -> int:
    """Profit / entry value times notional / equity; divided by it for a loss. Source: [GEN]."""
    percentage = ratio(c.pnl, c.size * c.entry)
    if c.pnl > 0:
        return product(percentage, ratio(c.notional, c.equity))
    return product(percentage, ratio(max(0, c.equity), c.notional))


def leverage_over_bankruptcy(c: Position, last: int) -> int:
    """Leverage times last price / price at which the equity is gone; saturated for a position
    that no price bankrupts. Source: [C25]."""
    to_bankruptcy = c.notional - c.equity if c.lots > 0 else c.notional + c.equity
    return product(ratio(last * c.size, to_bankruptcy), ratio(c.notional, c.equity))


def leverage_over_mark(c: Position, last: int) -> int:
    """Leverage times last price / mark. Source: [C25]."""
    return product(ratio(last, c.mark), ratio(c.notional, c.equity))


def profit_times_leverage(c: Position, last: int) -> int:
    """Profit times notional / equity, in whole money, toward zero. Source: [LIB]."""
    if c.equity <= 0:
        return ratio(c.pnl, 0)
    size = min(abs(c.pnl) * c.notional // c.equity, SCORE_MAX)
    return size if c.pnl >= 0 else -size


def profit_over_equity(c: Position, last: int) -> int:
    """Profit / equity; the profit itself where no equity is left. Source: [LIB]."""
    return ratio(c.pnl, c.equity if c.equity > 0 else 1)


def size(c: Position, last: int) -> int:
    """Lots held. Source: [LIB]."""
    return c.size


def profit(c: Position, last: int) -> int:
    """Unrealised profit in money. Source: [OSS] queue, [C25v1]."""
    return c.pnl


def endowment(c: Position, last: int) -> int:
    """What may be taken at most: the profit, 0 for a loss. Source: [C25] theory queue."""
    return max(0, c.pnl)


EXACT: dict[Score, Callable] = {kind: globals()[kind.name.lower()] for kind in Score}
