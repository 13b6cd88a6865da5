"""The nine scores a queue may be ordered by, exact and compiled: the higher is closed first.

A ratio is quantised to 1e-12, each factor rounded toward zero and saturated at 2**60, so that every
machine and both implementations rank alike. A position in profit whose account has no equity left
has infinite leverage: its factor is the saturated one. Equal scores: larger notional first, then
smaller id, then the place in the arrays. `notional / equity` is of the position over its domain.
"""

from collections.abc import Callable
from enum import IntEnum

from engine.core.arithmetic import mul_div_bounded
from engine.core.kernel import inlined, kernel
from engine.policies.candidates import Position

UNIT = 10**12
SCORE_MAX = 2**60


class Score(IntEnum):
    """Codes of the scores, as a profile or a command line names them in lower case."""

    GAIN_LEVERAGE = 0
    PROFIT_PCT_LEVERAGE = 1
    LEVERAGE_OVER_BANKRUPTCY = 2
    LEVERAGE_OVER_MARK = 3
    PROFIT_TIMES_LEVERAGE = 4
    PROFIT_OVER_EQUITY = 5
    SIZE = 6
    PROFIT = 7
    ENDOWMENT = 8


# -- exact ------------------------------------------------------------------------------------


def ratio(a: int, b: int) -> int:
    """|a| / b in 1e-12 with the sign of a, toward zero, saturated; saturated too for b <= 0 < a."""
    if b <= 0:
        return 0 if a == 0 else SCORE_MAX if a > 0 else -SCORE_MAX
    size = min(abs(a) * UNIT // b, SCORE_MAX)
    return size if a >= 0 else -size


def product(a: int, b: int) -> int:
    """a * b of two factors in 1e-12, b >= 0, toward zero, saturated."""
    size = min(abs(a) * b // UNIT, SCORE_MAX)
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


# -- compiled ---------------------------------------------------------------------------------


@inlined
def quotient(a, b, unit):
    """|a| * unit / b with the sign of a, toward zero, saturated."""
    if b <= 0:
        if a == 0:
            return 0
        return SCORE_MAX if a > 0 else -SCORE_MAX
    if a < 0:
        return -mul_div_bounded(-a, unit, b, SCORE_MAX)
    return mul_div_bounded(a, unit, b, SCORE_MAX)


@kernel
def score_of(c, place, kind, last):
    """The score of one candidate; `last` in money per lot."""
    lots, mark, pnl, equity = c.lots[place], c.mark[place], c.pnl[place], c.equity[place]
    size = abs(lots)
    notional = size * mark
    if kind == Score.SIZE:
        return size
    if kind == Score.PROFIT:
        return pnl
    if kind == Score.ENDOWMENT:
        return max(0, pnl)
    if kind == Score.PROFIT_OVER_EQUITY:
        return quotient(pnl, equity if equity > 0 else 1, UNIT)
    if kind == Score.PROFIT_TIMES_LEVERAGE:
        return quotient(pnl, 0, 1) if equity <= 0 else quotient(pnl, equity, notional)
    leverage = quotient(notional, equity, UNIT)
    if kind == Score.GAIN_LEVERAGE:
        entry = c.entry[place]
        first = quotient(mark, entry, UNIT) if lots > 0 else quotient(entry, mark, UNIT)
    elif kind == Score.PROFIT_PCT_LEVERAGE:
        first = quotient(pnl, size * c.entry[place], UNIT)
        if pnl <= 0:
            leverage = quotient(max(0, equity), notional, UNIT)
    elif kind == Score.LEVERAGE_OVER_BANKRUPTCY:
        first = quotient(last * size, notional - equity if lots > 0 else notional + equity, UNIT)
    else:
        first = quotient(last, mark, UNIT)
    return quotient(first, UNIT, leverage)
