"""The rulebook's formulas: value, margins, prices. Scalars in, scalars out, unbounded integers.

No state is read or changed here. Money is in the smallest settlement unit, prices in price
units; `market` is a `venue.MarketNumbers`.
"""

from fractions import Fraction
from math import ceil, floor, isqrt

from engine.constants import PPB, PPM, Contract, Payoff
from engine.profile import Margin
from engine.venue import MarketNumbers


def ceil_div(a: int, b: int) -> int:
    return -((-a) // b)


def trunc_div(a: int, b: int) -> int:
    """Quotient rounded toward zero."""
    return a // b if (a >= 0) == (b > 0) else -((-a) // b)


def value(market: MarketNumbers, lots: int, price: int) -> int:
    """R20. V = lots * price * unit (linear) or -lots * face / price, half to even (inverse)."""
    if market.payoff == Payoff.LINEAR:
        return lots * price * market.unit_quote
    return -round(Fraction(lots * market.face_quote, price))


def notional(market: MarketNumbers, lots: int, price: int) -> int:
    """R21. Notional is the absolute value of a position at a price."""
    return abs(value(market, lots, price))


def tier(market: MarketNumbers, measure: int) -> int:
    """R30. The tier of a size is the first whose upper bound is not below it, else the last. The
    profile says what is measured: notional, entry value, or contracts."""
    for index, bound in enumerate(market.tier_to):
        if measure <= bound:
            return index
    return len(market.tier_to) - 1


def tier_of(market: MarketNumbers, rules: Margin, lots: int, size: int, entry_quote: int) -> int:
    """Part of R30: the tier of a position."""
    if rules.tier_by == "contracts":
        return tier(market, abs(lots))
    return tier(market, abs(entry_quote) if rules.tier_by == "entry_value" else size)


def extra_ppb(market: MarketNumbers, lots: int, size: int, rate_ppm: int, slope_ppb: int) -> int:
    """R96. What size adds to a tier's rate: a slope per coin, rounded up, and what a rate of 0.8
    of the tier's plus a root of the size is above it; together at most one."""
    measure = abs(lots) if market.payoff == Payoff.LINEAR else size
    slope = ceil_div(measure * slope_ppb, market.slope_unit)
    root = isqrt(abs(lots) * market.sqrt_square) if market.sqrt_square else 0
    return min(PPB, slope + max(0, root - 200 * rate_ppm if market.sqrt_square else 0))


def maintenance_margin(
    market: MarketNumbers, rules: Margin, lots: int, size: int, entry_quote: int, leverage: int
) -> int:
    """R31. Rate of the tier times notional (or entry value), rounded up, less the tier's
    deduction; or a share of the initial margin; plus what size adds and the fee of closing at
    mark, where the profile says so. Collateral needs none."""
    if market.contract == Contract.COLLATERAL or lots == 0:
        return 0
    base = abs(entry_quote) if rules.tier_by == "entry_value" else size
    if rules.maintenance == "share_of_initial":
        margin = ceil_div(base * rules.initial_share_ppm, PPM * leverage)
    else:
        index = tier_of(market, rules, lots, size, entry_quote)
        rate = market.tier_maintenance_ppm[index]
        margin = ceil_div(base * rate, PPM) - market.tier_deduction[index]
        extra = extra_ppb(market, lots, size, rate, market.slope_ppb)
        margin += ceil_div(base * extra, PPB)
    if rules.close_fee == "taker":
        margin += ceil_div(size * market.taker_fee_ppm, PPM)
    return margin


def initial_margin(
    market: MarketNumbers, rules: Margin, lots: int, size: int, leverage: int, interest_quote: int
) -> int:
    """R32. Initial margin is notional over leverage, rounded up; at least the tier's own rate with
    what size adds, and at least a rate that rises to one between two open interests, where the
    profile says so. Collateral needs none."""
    if market.contract == Contract.COLLATERAL or lots == 0:
        return 0
    margin = ceil_div(size, leverage)
    rate = market.tier_initial_ppm[tier_of(market, rules, lots, size, size)]
    if rules.initial == "tiers":
        extra = extra_ppb(market, lots, size, rate, market.initial_slope_ppb)
        margin = max(margin, ceil_div(size * rate, PPM) + ceil_div(size * extra, PPB))
    if market.scaling_to:
        span = market.scaling_to - market.scaling_from
        share = min(max(interest_quote - market.scaling_from, 0) * PPB // span, PPB)
        scaled = rate * 1_000 + ceil_div((PPB - rate * 1_000) * share, PPB)
        margin = max(margin, ceil_div(size * scaled, PPB))
    return margin


def fits_tiers(market: MarketNumbers, rules: Margin, lots: int, size: int, leverage: int) -> bool:
    """R33. At a leverage, size may reach the last tier that still allows this leverage."""
    limit = 0
    for bound, leverage_max in zip(market.tier_to, market.tier_leverage_max, strict=True):
        if leverage <= leverage_max:
            limit = bound
    return (abs(lots) if rules.tier_by == "contracts" else size) <= limit


def worth(market: MarketNumbers, lots: int, price: int) -> int:
    """R97. What a position adds to equity before its entry value: its value, or of an asset held
    its value less the haircut, rounded down."""
    whole = value(market, lots, price)
    if market.contract == Contract.FUTURE:
        return whole
    return whole * (PPM - market.haircut_ppm) // PPM


def fee(notional_quote: int, fee_ppm: int) -> int:
    """R22. Fees are rounded up, rebates (a negative rate) down in size."""
    return ceil_div(notional_quote * fee_ppm, PPM)


def released_entry(entry_quote: int, closed_lots: int, open_lots: int) -> int:
    """Part of R23: closing releases the closed share of the entry value, toward zero."""
    return trunc_div(entry_quote * closed_lots, open_lots)


def worst_lots(lots: int, buy_lots: int, sell_lots: int) -> int:
    """R34. A leg is margined for the largest size that its open orders can make it."""
    return max(abs(lots), abs(lots + buy_lots), abs(lots - sell_lots))


def bankruptcy_price(
    market: MarketNumbers, lots: int, mark: int, equity_quote: int, fee_ppm: int = 0
) -> int:
    """R70. The price at which closing leaves this equity at zero, rounded so that closing there
    is never below zero, within the market's price range. With a fee, what closing there costs is
    set aside first, rounded the same way."""
    target = value(market, lots, mark) - equity_quote
    positive = (market.payoff == Payoff.LINEAR) == (lots > 0)
    if fee_ppm:
        size = ceil_div(abs(target) * PPM, PPM - fee_ppm)
        if not positive:
            size = abs(target) * PPM // (PPM + fee_ppm)
        target = size if target > 0 else -size
    if market.payoff == Payoff.LINEAR:
        exact = Fraction(target, lots * market.unit_quote)
    elif target * lots >= 0:
        return market.price_max
    else:
        exact = Fraction(-lots * market.face_quote, target)
    price = ceil(exact) if lots > 0 else floor(exact)
    return min(max(price, market.price_min), market.price_max)


def price_beside(market: MarketNumbers, lots: int, price: int, distance_ppm: int) -> int:
    """Part of R101: a price this far on the losing side of another for whoever closes these lots,
    rounded to the solvent side, within the market's price range."""
    if lots > 0:
        beside = ceil_div(price * (PPM - distance_ppm), PPM)
    else:
        beside = price * (PPM + distance_ppm) // PPM
    return min(max(beside, market.price_min), market.price_max)


def order_price(market: MarketNumbers, lots: int, bankruptcy: int) -> int:
    """R71. The order that closes at the bankruptcy price is limited by the next tick on the
    solvent side of it."""
    tick = market.tick_price
    if lots > 0:
        return min(ceil_div(bankruptcy, tick) * tick, market.price_max)
    return max(bankruptcy // tick, ceil_div(market.price_min, tick)) * tick


def shortage_lots(lots: int, notional_quote: int, gain_ppm: int, shortage_quote: int) -> int:
    """R72. Closing at mark frees the rate that must be covered and costs the liquidation fee and
    the distance of the limit from mark: close just enough to cover the shortage, or everything if
    nothing is gained."""
    if gain_ppm <= 0:
        return abs(lots)
    needed_quote = ceil_div(max(0, shortage_quote) * PPM, gain_ppm)
    if needed_quote >= notional_quote:
        return abs(lots)
    return min(abs(lots), ceil_div(needed_quote * abs(lots), notional_quote))


def mixed(a: int, b: int) -> int:
    """R100. A reproducible random number below 2**24 from two numbers."""
    low = 2**31 - 1
    x = (a & low) * 1_103_515_245 + (b & low) * 2_038_074_743
    x ^= x >> 17
    x = (x & low) * 1_597_334_677
    x ^= x >> 15
    return (x & low) >> 7


def funding_amount(market: MarketNumbers, lots: int, price: int, rate_ppb: int) -> int:
    """R60. A long receives minus notional times rate, a short plus; rounded against the account."""
    owed = notional(market, lots, price) * rate_ppb
    return floor(Fraction(-owed if lots > 0 else owed, PPB))


def decayed(deficit_lots: int, elapsed_ns: int, half_life_ns: int) -> int:
    """Part of R54: a deficit halves in every half-life, linearly within one, always floored."""
    if half_life_ns == 0:
        return 0
    halvings, rest_ns = divmod(elapsed_ns, half_life_ns)
    if halvings >= 62:
        return 0
    left = deficit_lots >> halvings
    return left - left * rest_ns // (2 * half_life_ns)


def premium_price(index: int, rate_ppb: int, time_left_ns: int, interval_ns: int) -> int:
    """Part of R51: price 1 is the index plus the funding still to come, each step toward zero."""
    share_ppb = trunc_div(rate_ppb * time_left_ns, interval_ns)
    return index + trunc_div(index * share_ppb, PPB)
