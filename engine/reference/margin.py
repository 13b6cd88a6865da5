"""The rulebook's formulas: value, margins, prices. Scalars in, scalars out, unbounded integers.

No state is read or changed here. Money is in the smallest settlement unit, prices in price
units; `market` is a `venue.MarketNumbers`.
"""

from fractions import Fraction
from math import ceil, floor

from engine.constants import PPB, PPM, Payoff, TierMode
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


def tier(market: MarketNumbers, notional_quote: int) -> int:
    """R30. The tier of a notional is the first whose upper bound is not below it, else the last."""
    for index, bound in enumerate(market.tier_to):
        if notional_quote <= bound:
            return index
    return len(market.tier_to) - 1


def maintenance_margin(market: MarketNumbers, tier_mode: int, notional_quote: int) -> int:
    """R31. Rate of the tier times notional, rounded up, less the deduction if marginal."""
    index = tier(market, notional_quote)
    margin = ceil_div(notional_quote * market.tier_maintenance_ppm[index], PPM)
    if tier_mode == TierMode.MARGINAL:
        margin -= market.tier_deduction[index]
    return margin


def initial_margin(notional_quote: int, leverage: int) -> int:
    """R32. Initial margin is notional over leverage, rounded up."""
    return ceil_div(notional_quote, leverage)


def notional_limit(market: MarketNumbers, leverage: int) -> int:
    """R33. At a leverage, notional may reach the last tier that still allows this leverage."""
    limit = 0
    for bound, leverage_max in zip(market.tier_to, market.tier_leverage_max, strict=True):
        if leverage <= leverage_max:
            limit = bound
    return limit


def fee(notional_quote: int, fee_ppm: int) -> int:
    """R22. Fees are rounded up, rebates (a negative rate) down in size."""
    return ceil_div(notional_quote * fee_ppm, PPM)


def released_entry(entry_quote: int, closed_lots: int, open_lots: int) -> int:
    """Part of R23: closing releases the closed share of the entry value, toward zero."""
    return trunc_div(entry_quote * closed_lots, open_lots)


def worst_lots(lots: int, buy_lots: int, sell_lots: int) -> int:
    """R34. A leg is margined for the largest size that its open orders can make it."""
    return max(abs(lots), abs(lots + buy_lots), abs(lots - sell_lots))


def bankruptcy_price(market: MarketNumbers, lots: int, mark: int, equity_quote: int) -> int:
    """R70. The price at which closing leaves the domain's equity at zero, rounded so that
    closing there is never below zero, within the market's price range."""
    target = value(market, lots, mark) - equity_quote
    if market.payoff == Payoff.LINEAR:
        exact = Fraction(target, lots * market.unit_quote)
    elif target * lots >= 0:
        return market.price_max
    else:
        exact = Fraction(-lots * market.face_quote, target)
    price = ceil(exact) if lots > 0 else floor(exact)
    return min(max(price, market.price_min), market.price_max)


def order_price(market: MarketNumbers, lots: int, bankruptcy: int) -> int:
    """R71. The order that closes at the bankruptcy price is limited by the next tick on the
    solvent side of it."""
    tick = market.tick_price
    if lots > 0:
        return min(ceil_div(bankruptcy, tick) * tick, market.price_max)
    return max(bankruptcy // tick, ceil_div(market.price_min, tick)) * tick


def shortage_lots(
    market: MarketNumbers, lots: int, notional_quote: int, rate_ppm: int, shortage_quote: int
) -> int:
    """R72. Closing at mark frees the maintenance rate and costs the liquidation fee: close just
    enough to cover the shortage, or everything if the fee is not below the rate."""
    gain_ppm = rate_ppm - market.liquidation_fee_ppm
    if gain_ppm <= 0:
        return abs(lots)
    needed_quote = ceil_div(shortage_quote * PPM, gain_ppm)
    if needed_quote >= notional_quote:
        return abs(lots)
    return min(abs(lots), ceil_div(needed_quote * abs(lots), notional_quote))


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
