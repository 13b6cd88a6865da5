"""The nine scores a queue may be ordered by, compiled; `reference/scores.py` defines them."""

from engine.bearers import SCORE_MAX, SCORE_UNIT, Score
from engine.core.arithmetic import mul_div_bounded
from engine.core.kernel import inlined, kernel


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
        return quotient(pnl, equity if equity > 0 else 1, SCORE_UNIT)
    if kind == Score.PROFIT_TIMES_LEVERAGE:
        return quotient(pnl, 0, 1) if equity <= 0 else quotient(pnl, equity, notional)
    leverage = quotient(notional, equity, SCORE_UNIT)
    if kind == Score.GAIN_LEVERAGE:
        entry = c.entry[place]
        first = quotient(mark, entry, SCORE_UNIT) if lots > 0 else quotient(entry, mark, SCORE_UNIT)
    elif kind == Score.PROFIT_PCT_LEVERAGE:
        first = quotient(pnl, size * c.entry[place], SCORE_UNIT)
        if pnl <= 0:
            leverage = quotient(max(0, equity), notional, SCORE_UNIT)
    elif kind == Score.LEVERAGE_OVER_BANKRUPTCY:
        first = quotient(
            last * size, notional - equity if lots > 0 else notional + equity, SCORE_UNIT
        )
    else:
        first = quotient(last, mark, SCORE_UNIT)
    return quotient(first, SCORE_UNIT, leverage)
