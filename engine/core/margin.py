"""Formulas only: value, notional, margins, bankruptcy price. Scalars in, scalars out.

`market` is a MARKET record. Implements R20-R23, R30-R34, R60, R70-R72, R96, R97, R100 and R101.
Nothing here changes state.
"""

from engine.constants import PPB, PPM, Contract, Payoff, TierBy
from engine.core.arithmetic import (
    divide_product,
    divide_toward_zero,
    divide_up,
    mul_div,
    mul_div_bounded,
    mul_div_half_even,
    mul_div_up,
    square_root,
)
from engine.core.kernel import INT, inlined, kernel, part
from engine.core.state import H, header, markets, tiers


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
def tier_row(s, market, measure):
    """Implements R30: row of the tier in TIERS."""
    table = tiers(s)
    first = market["tier_row"]
    last = first + market["tiers_count"] - 1
    row = first
    while row < last and measure > table[row]["notional_to"]:
        row += 1
    return row


@inlined
def tier_of(s, market, lots, size, entry_quote):
    """Implements R30 for a position."""
    by = header(s)[H.TIER_BY]
    measure = size
    if by == TierBy.CONTRACTS:
        measure = abs(lots)
    elif by == TierBy.ENTRY_VALUE:
        measure = abs(entry_quote)
    return tier_row(s, market, measure)


@part(INT)
def extra_ppb(s, market_id, lots, size, rate_ppm, initial):
    """Implements R96, for the maintenance or the initial rate."""
    market = markets(s)[market_id]
    extra = 0
    slope_ppb = market["initial_slope_ppb"] if initial != 0 else market["slope_ppb"]
    if slope_ppb != 0:
        measure = abs(lots) if market["payoff"] == Payoff.LINEAR else size
        extra = mul_div_bounded(measure, slope_ppb, market["slope_unit"], PPB)
        if extra < PPB:
            extra = mul_div_up(measure, slope_ppb, market["slope_unit"])
    if market["sqrt_square"] != 0:
        extra += max(0, square_root(abs(lots) * market["sqrt_square"]) - 200 * rate_ppm)
    return min(PPB, extra)


@inlined
def plain_margin(s, market, size):
    """Implements R31 where it follows from notional and tiers alone."""
    tier = tiers(s)[tier_row(s, market, size)]
    return mul_div_up(size, tier["maintenance_ppm"], PPM) - tier["deduction_quote"]


@kernel
def maintenance_margin(s, market, lots, size, entry_quote, leverage):
    """Implements R31."""
    if market["plain"] != 0:
        return plain_margin(s, market, size)
    return curved_margin(s, market["market_id"], lots, size, entry_quote, leverage)


@part(INT)
def curved_margin(s, market_id, lots, size, entry_quote, leverage):
    """Implements R31 with every choice of a profile."""
    words = header(s)
    market = markets(s)[market_id]
    if market["contract"] == Contract.COLLATERAL or lots == 0:
        return 0
    base = abs(entry_quote) if words[H.TIER_BY] == TierBy.ENTRY_VALUE else size
    share_ppm = words[H.SHARE_OF_INITIAL_PPM]
    if share_ppm != 0:
        margin = mul_div_up(base, share_ppm, PPM * leverage)
    else:
        tier = tiers(s)[tier_of(s, market, lots, size, entry_quote)]
        rate_ppm = tier["maintenance_ppm"]
        margin = mul_div_up(base, rate_ppm, PPM) - tier["deduction_quote"]
        margin += mul_div_up(base, extra_ppb(s, market["market_id"], lots, size, rate_ppm, 0), PPB)
    if words[H.CLOSE_FEE] != 0:
        margin += mul_div_up(size, market["taker_fee_ppm"], PPM)
    return margin


@inlined
def initial_margin(s, market, lots, size, leverage):
    """Implements R32."""
    if market["contract"] == Contract.COLLATERAL or lots == 0:
        return 0
    if header(s)[H.INITIAL_BY_TIERS] == 0 and market["scaling_to"] == 0:
        return divide_up(size, leverage)
    return curved_initial(s, market["market_id"], lots, size, leverage)


@part(INT)
def curved_initial(s, market_id, lots, size, leverage):
    """Implements R32 with every choice of a profile."""
    words = header(s)
    market = markets(s)[market_id]
    margin = divide_up(size, leverage)
    rate_ppm = tiers(s)[tier_of(s, market, lots, size, size)]["initial_ppm"]
    if words[H.INITIAL_BY_TIERS] != 0:
        extra = extra_ppb(s, market["market_id"], lots, size, rate_ppm, 1)
        margin = max(margin, mul_div_up(size, rate_ppm, PPM) + mul_div_up(size, extra, PPB))
    if market["scaling_to"] != 0:
        interest = 0
        if market["open_interest_lots"] != 0:
            interest = notional(market, market["open_interest_lots"], market["mark_price"])
        span = market["scaling_to"] - market["scaling_from"]
        share = mul_div_bounded(max(0, interest - market["scaling_from"]), PPB, span, PPB)
        rate_ppb = rate_ppm * 1_000
        rate_ppb += mul_div_up(PPB - rate_ppb, share, PPB)
        margin = max(margin, mul_div_up(size, rate_ppb, PPB))
    return margin


@kernel
def fits_tiers(s, market, lots, size, leverage):
    """Implements R33."""
    table = tiers(s)
    measure = abs(lots) if header(s)[H.TIER_BY] == TierBy.CONTRACTS else size
    for row in range(market["tier_row"], market["tier_row"] + market["tiers_count"]):
        if leverage <= table[row]["leverage_max"] and measure <= table[row]["notional_to"]:
            return True
    return False


@inlined
def worth(market, lots, price):
    """Implements R97."""
    whole = value(market, lots, price)
    if market["contract"] == Contract.FUTURE:
        return whole
    left_ppm = PPM - market["haircut_ppm"]
    if whole < 0:
        return -mul_div_up(-whole, left_ppm, PPM)
    return mul_div(whole, left_ppm, PPM)


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
    """Implements R34. Sums of orders are never below 0, so the legs that all buying or all selling
    would leave, each counted its own way, are the largest there can be."""
    return max(lots + buy_lots, sell_lots - lots)


@kernel
def bankruptcy_price(market, lots, mark, equity_quote, fee_ppm):
    """Implements R70."""
    target = value(market, lots, mark) - equity_quote
    lowest, highest = market["price_min"], market["price_max"]
    size = abs(lots)
    linear = market["payoff"] == Payoff.LINEAR
    if fee_ppm != 0:
        if linear == (lots > 0):
            reserved = mul_div_up(abs(target), PPM, PPM - fee_ppm)
        else:
            reserved = mul_div(abs(target), PPM, PPM + fee_ppm)
        target = reserved if target > 0 else -reserved
    if linear:
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
def price_beside(market, lots, price, distance_ppm):
    """Implements R101: for whoever closes these lots."""
    if lots > 0:
        beside = mul_div_up(price, PPM - distance_ppm, PPM)
    else:
        beside = mul_div(price, PPM + distance_ppm, PPM)
    return min(max(beside, market["price_min"]), market["price_max"])


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
def shortage_lots(size, notional_quote, gain_ppm, shortage_quote):
    """Implements R72."""
    if gain_ppm <= 0:
        return size
    shortage_quote = max(0, shortage_quote)
    if mul_div_bounded(shortage_quote, PPM, gain_ppm, notional_quote) >= notional_quote:
        return size
    needed_quote = mul_div_up(shortage_quote, PPM, gain_ppm)
    if needed_quote >= notional_quote:
        return size
    return min(size, mul_div_up(needed_quote, size, notional_quote))


@inlined
def mixed(a, b):
    """Implements R100."""
    low = 2**31 - 1
    x = (a & low) * 1_103_515_245 + (b & low) * 2_038_074_743
    x ^= x >> 17
    x = (x & low) * 1_597_334_677
    x ^= x >> 15
    return (x & low) >> 7


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
    # halved after the division, which floors alike: twice a half-life may pass an int64
    return left - mul_div(left, elapsed_ns - halvings * half_life_ns, half_life_ns) // 2


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
