"""Formulas only: value, notional, margins, bankruptcy price. Scalars in, scalars out.

`market` is a MARKET record. Implements R20-R23, R30-R34, R60 and R70-R72 of the rulebook. Nothing
here changes state.
"""

from engine.constants import PPB, PPM, Payoff, TierMode
from engine.core.arithmetic import (
    divide_product,
    divide_toward_zero,
    divide_up,
    mul_div,
    mul_div_bounded,
    mul_div_half_even,
    mul_div_up,
)
from engine.core.kernel import inlined, kernel
from engine.core.state import H, header, tiers


@inlined
def value(market, lots, price):
    """Implements R20: signed value of lots at a price."""
    if market["payoff"] == Payoff.LINEAR:
        return lots * price * market["unit_quote"]
    if lots < 0:
        return mul_div_half_even(-lots, market["face_quote"], price)
    return -mul_div_half_even(lots, market["face_quote"], price)


@inlined
def notional(market, lots, price):
    """Implements R21."""
    return abs(value(market, lots, price))


@inlined
def tier_row(s, market, notional_quote):
    """Implements R30: row of the tier in TIERS."""
    table = tiers(s)
    first = market["tier_row"]
    last = first + market["tiers_count"] - 1
    row = first
    while row < last and notional_quote > table[row]["notional_to"]:
        row += 1
    return row


@kernel
def maintenance_margin(s, market, notional_quote):
    """Implements R31."""
    tier = tiers(s)[tier_row(s, market, notional_quote)]
    margin = mul_div_up(notional_quote, tier["maintenance_ppm"], PPM)
    if header(s)[H.TIER_MODE] == TierMode.MARGINAL:
        margin -= tier["deduction_quote"]
    return margin


@inlined
def initial_margin(notional_quote, leverage):
    """Implements R32."""
    return divide_up(notional_quote, leverage)


@kernel
def notional_limit(s, market, leverage):
    """Implements R33."""
    table = tiers(s)
    limit = 0
    for index in range(market["tiers_count"]):
        tier = table[market["tier_row"] + index]
        if leverage <= tier["leverage_max"]:
            limit = tier["notional_to"]
    return limit


@inlined
def fee(notional_quote, fee_ppm):
    """Implements R22."""
    if fee_ppm < 0:
        return -mul_div(notional_quote, -fee_ppm, PPM)
    return mul_div_up(notional_quote, fee_ppm, PPM)


@inlined
def released_entry(entry_quote, closed_lots, open_lots):
    """Implements R23."""
    if closed_lots == open_lots:
        return entry_quote
    if entry_quote < 0:
        return -mul_div(-entry_quote, closed_lots, open_lots)
    return mul_div(entry_quote, closed_lots, open_lots)


@inlined
def worst_lots(lots, buy_lots, sell_lots):
    """Implements R34."""
    return max(abs(lots), max(abs(lots + buy_lots), abs(lots - sell_lots)))


@kernel
def bankruptcy_price(market, lots, mark, equity_quote):
    """Implements R70."""
    target = value(market, lots, mark) - equity_quote
    lowest, highest = market["price_min"], market["price_max"]
    size = abs(lots)
    if market["payoff"] == Payoff.LINEAR:
        per_price = size * market["unit_quote"]
        if lots > 0:
            price = divide_up(target, per_price)
        else:
            price = (-target) // per_price
    else:
        if (target < 0) != (lots > 0) or target == 0:
            return highest
        quotient, rest = bounded_price(size, market["face_quote"], abs(target), highest)
        price = quotient + 1 if rest > 0 and lots > 0 else quotient
    return min(max(price, lowest), highest)


@kernel
def bounded_price(size, face_quote, target, highest):
    """size * face / target and its remainder; (highest, 0) if it is not below highest."""
    if mul_div_bounded(size, face_quote, target, highest) >= highest:
        return highest, 0
    return divide_product(size, face_quote, target)


@inlined
def order_price(market, lots, bankruptcy):
    """Implements R71."""
    tick = market["tick_price"]
    if lots > 0:
        return min(divide_up(bankruptcy, tick) * tick, market["price_max"])
    return max(bankruptcy // tick, divide_up(market["price_min"], tick)) * tick


@kernel
def shortage_lots(market, lots, notional_quote, rate_ppm, shortage_quote):
    """Implements R72."""
    size = abs(lots)
    gain_ppm = rate_ppm - market["liquidation_fee_ppm"]
    if gain_ppm <= 0:
        return size
    if mul_div_bounded(shortage_quote, PPM, gain_ppm, notional_quote) >= notional_quote:
        return size
    needed_quote = mul_div_up(shortage_quote, PPM, gain_ppm)
    if needed_quote >= notional_quote:
        return size
    return min(size, mul_div_up(needed_quote, size, notional_quote))


@kernel
def funding_amount(market, lots, price, rate_ppb):
    """Implements R60."""
    owed = notional(market, lots, price)
    pays = (rate_ppb > 0) == (lots > 0)
    if pays:
        return -mul_div_up(owed, abs(rate_ppb), PPB)
    return mul_div(owed, abs(rate_ppb), PPB)


@kernel
def decayed(deficit_lots, elapsed_ns, half_life_ns):
    """Implements R54."""
    if half_life_ns == 0:
        return 0
    halvings = elapsed_ns // half_life_ns
    if halvings >= 62:
        return 0
    left = deficit_lots >> halvings
    return left - mul_div(left, elapsed_ns - halvings * half_life_ns, 2 * half_life_ns)


@kernel
def premium_price(index, rate_ppb, time_left_ns, interval_ns):
    """Implements R51: price 1."""
    size = abs(rate_ppb)
    share_ppb = mul_div(size, time_left_ns, interval_ns)
    step = mul_div(index, share_ppb, PPB)
    return index + step if rate_ppb > 0 else index - step


@inlined
def mean(total, count):
    """Mean toward zero."""
    return divide_toward_zero(total, count)
