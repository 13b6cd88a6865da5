"""Bands: how far each mark may move before a domain's health must be looked at again.

Every leg hangs on two trigger ladders, one against it and one in its favour. A domain's slack (what
it can lose before it falls below its next level) and its gap (what it must gain to rise above the
one it is below) are split over its legs by notional; a leg's node hangs where, by the highest
requirement it could meet on the way, it may have used up its share. So a trigger is early, never
late, and R73, R88 and R94 come out as if every domain were examined after every unit.
"""

from engine.constants import PPB, PPM, Contract, Level, Payoff, TierBy, TierMode
from engine.core.arithmetic import divide_up, mul_div, mul_div_up
from engine.core.kernel import INT, NOTHING, inlined, kernel, part
from engine.core.ledger import (
    case_row,
    initial_of,
    leg_initial,
    position_maintenance,
    position_notional,
    trigger_requirement,
)
from engine.core.margin import (
    bounded_price,
    extra_ppb,
    initial_margin,
    maintenance_margin,
    tier_of,
    tier_row,
)
from engine.core.records import ESCALATED, FAVOURED, WAITS
from engine.core.state import H, accounts, cases, header, markets, nodes, positions, tiers
from engine.core.triggers import DOWN, UP, link_node, node_against, node_in_favour

FAR = 2**61  # more than any notional: no level there
REACH_MAX = 2**50  # of a leg, so that those of all legs have a sum
UNITS = 16  # more than the roundings of one leg's requirement come to


@part(INT)
def price_at_notional(s, market_id, size, quote, round_up):
    """Price at which a position of this size has this notional, 0 if beyond the price range."""
    market = markets(s)[market_id]
    if quote <= 0 or quote >= FAR:
        return 0
    if market["payoff"] == Payoff.LINEAR:
        per_price = size * market["unit_quote"]
        return divide_up(quote, per_price) if round_up != 0 else quote // per_price
    highest = market["price_max"] + 1
    price, rest = bounded_price(size, market["face_quote"], quote, highest)
    return price + 1 if round_up != 0 and rest > 0 else price


@inlined
def clamped(market, direction, price):
    """A trigger strictly beyond the mark, on its side, or 0 when no mark can reach it."""
    mark = market["mark_price"]
    if direction == DOWN:
        price = min(price, mark - 1)
        return price if price >= market["price_min"] else 0
    if price == 0:
        return 0
    price = max(price, mark + 1)
    return price if price <= market["price_max"] else 0


@inlined
def nearer(direction, price, other):
    """The one of two triggers that a mark meets first; 0 is nowhere."""
    if price == 0 or other == 0:
        return max(price, other)
    return max(price, other) if direction == DOWN else min(price, other)


@part(INT)
def rate_bound(s, position_row, quote, times_ppm, restrict):
    """Highest rate (ppb of notional) at which a leg's requirement grows up to this notional."""
    words = header(s)
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    if market["contract"] == Contract.COLLATERAL:
        return 0
    row = tier_of(s, market, position["lots"], quote, position["entry_quote"])
    tier_ppm = tiers(s)[row]["maintenance_ppm"]
    if market["plain"] != 0 and restrict == 0:
        return mul_div_up(tier_ppm * 1_000, times_ppm, PPM)
    extra = extra_ppb(s, market["market_id"], position["lots"], quote, tier_ppm, 0)
    if words[H.TIER_BY] == TierBy.ENTRY_VALUE:
        rate = extra if is_curved(market) else 0
    elif words[H.SHARE_OF_INITIAL_PPM] != 0:
        rate = divide_up(words[H.SHARE_OF_INITIAL_PPM] * 1_000, position["leverage"])
    else:
        rate = tier_ppm * 1_000 + extra
    if words[H.CLOSE_FEE] != 0:
        rate += market["taker_fee_ppm"] * 1_000
    rate = mul_div_up(rate, times_ppm, PPM)
    if restrict != 0:
        initial = divide_up(PPB, position["leverage"])
        if words[H.INITIAL_BY_TIERS] != 0:
            row = tier_of(s, market, position["lots"], quote, quote)
            initial_ppm = tiers(s)[row]["initial_ppm"]
            extra = extra_ppb(s, market["market_id"], position["lots"], quote, initial_ppm, 1)
            initial = max(initial, initial_ppm * 1_000 + extra)
        rate = max(rate, initial)
    return rate


@inlined
def has_jumps(s, restrict):
    """Whether a leg's requirement jumps where a tier by notional ends."""
    words = header(s)
    by_notional = words[H.TIER_BY] == TierBy.NOTIONAL
    if words[H.TIER_MODE] == TierMode.FLAT and by_notional:
        return words[H.SHARE_OF_INITIAL_PPM] == 0 or restrict != 0
    by_contracts = words[H.TIER_BY] == TierBy.CONTRACTS
    return restrict != 0 and words[H.INITIAL_BY_TIERS] != 0 and not by_contracts


@kernel
def requirement_floor(s, position_row, times_ppm, restrict):
    """The least that any watched level asks of a leg now."""
    least = position_maintenance(s, position_row)
    if times_ppm < PPM:
        least = mul_div(least, times_ppm, PPM)
    if restrict != 0:
        lots = positions(s)[position_row]["lots"]
        least = min(least, leg_initial(s, position_row, lots, position_notional(s, position_row)))
    return least


@inlined
def is_curved(market):
    """Whether the requirement's rate itself grows with the notional at mark."""
    return market["initial_slope_ppb"] != 0 and market["payoff"] != Payoff.LINEAR


@part(INT)
def growth_to(s, position_row, quote, times_ppm, restrict):
    """How much the watched requirements of a leg grow at most until it has this notional."""
    position = positions(s)[position_row]
    market_id, lots = position["market_id"], position["lots"]
    market = markets(s)[market_id]
    entry, leverage = position["entry_quote"], position["leverage"]
    held = position_notional(s, position_row)
    grown = maintenance_margin(s, market, lots, quote, entry, leverage)
    grown -= maintenance_margin(s, market, lots, held, entry, leverage)
    grown = mul_div_up(max(0, grown), times_ppm, PPM)
    if restrict != 0:
        more = initial_margin(s, market, lots, quote, leverage)
        grown = max(grown, more - initial_margin(s, market, lots, held, leverage))
    return grown


@part(INT)
def notional_when_lost(s, position_row, slack, times_ppm, restrict, jumps):
    """For a leg whose notional grows as it loses: where its share of the slack may be gone."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    held = position_notional(s, position_row)
    most = held + slack
    rate = rate_bound(s, position_row, most, times_ppm, restrict)
    lots, entry = position["lots"], position["entry_quote"]
    left = max(0, slack - UNITS)
    if is_curved(market):
        grown = growth_to(s, position_row, most, times_ppm, restrict)
        if jumps:
            return held + max(0, left - grown)
        return held + mul_div(left, left, max(1, left + grown))
    same = tier_of(s, market, lots, held, entry) == tier_of(s, market, lots, most, entry)
    if restrict != 0:
        same = same and tier_of(s, market, lots, held, held) == tier_of(s, market, lots, most, most)
    if same or not jumps:
        return held + mul_div(left, PPB, PPB + rate)
    total = left + held + requirement_floor(s, position_row, times_ppm, restrict)
    return max(held, mul_div(total, PPB, PPB + rate))


@kernel
def tier_floor(s, position_row, held):
    """Notional where the tier below a leg's ends, 0 in the lowest."""
    market = markets(s)[positions(s)[position_row]["market_id"]]
    row = tier_of(s, market, positions(s)[position_row]["lots"], held, held)
    return tiers(s)[row - 1]["notional_to"] if row > market["tier_row"] else 0


@inlined
def hang(s, position_row, against, first, second):
    """Hang a leg at a price in the direction against it, and at one in its favour; 0: nowhere."""
    market_id = positions(s)[position_row]["market_id"]
    sign = 1 if against == DOWN else -1
    link_node(s, node_against(position_row), market_id, sign * first)
    if second != 0 or positions(s)[position_row]["beside"] & FAVOURED != 0:
        link_node(s, node_in_favour(s, position_row), market_id, -sign * second)


@part(NOTHING)
def place_leg(s, position_row, slack, gap, times_ppm, restrict):
    """Hang a leg for its shares of slack and gap; a gap of FAR: its domain is below no level."""
    position = positions(s)[position_row]
    market_id = position["market_id"]
    market = markets(s)[market_id]
    against = UP if position["lots"] < 0 else DOWN
    in_favour = DOWN if position["lots"] < 0 else UP
    if position["lots"] == 0 or has_worst_case(s, position_row):
        near = has_worst_case(s, position_row)
        mark = market["mark_price"]
        hang(
            s,
            position_row,
            against,
            clamped(market, against, mark) * near,
            clamped(market, in_favour, mark) * near,
        )
        return
    size, held = abs(position["lots"]), position_notional(s, position_row)
    linear = market["payoff"] == Payoff.LINEAR
    grows = linear == (position["lots"] < 0)
    jumps = has_jumps(s, restrict) and market["contract"] == Contract.FUTURE
    curved = is_curved(market)
    steep = rate_bound(s, position_row, 4 * held if curved else held, times_ppm, restrict) > PPB
    if grows:
        lost = notional_when_lost(s, position_row, slack, times_ppm, restrict, jumps)
        lost -= 0 if linear else 1
    else:
        lost = held - slack + (0 if linear else 1)
    first = price_at_notional(s, market_id, size, lost, against == DOWN)
    second = 0
    floor = tier_floor(s, position_row, held) if jumps else 0
    if not grows and jumps:
        row = tier_of(s, market, position["lots"], held, held)
        second = price_at_notional(
            s, position["market_id"], size, tiers(s)[row]["notional_to"], in_favour == DOWN
        )
    if not grows and curved:
        second = nearer(in_favour, second, price_at_notional(s, market_id, size, 2 * held, True))
    if gap < FAR:
        left = max(0, gap - UNITS)
        if grows:
            rate = rate_bound(s, position_row, 2 * held, times_ppm, restrict)
            gained = max(held - mul_div(left, PPB, PPB + rate), floor)
        else:
            gained = held + left
            at_floor = price_at_notional(s, market_id, size, floor, against == DOWN)
            first = nearer(against, first, at_floor)
        gained -= 0 if linear or grows else 1
        gained += 1 if grows and not linear else 0
        at_gain = price_at_notional(s, market_id, size, gained, in_favour == DOWN)
        second = nearer(in_favour, second, at_gain)
    if steep and not grows:
        second = market["mark_price"]
        first = nearer(against, first, market["mark_price"]) if gap < FAR else first
    first = clamped(market, against, first)
    hang(s, position_row, against, first, clamped(market, in_favour, second))


@inlined
def reach_of(s, position_row):
    """What a leg can lose of its domain's slack until a mark meets its node, or the price range
    ends; -1 if that does not simply follow from where the node hangs. And whether it hangs."""
    position = positions(s)[position_row]
    lots = position["lots"]
    against = nodes(s)[node_against(position_row)]["trigger"]
    favoured = position["beside"] & FAVOURED != 0
    if lots == 0:
        return (0 if against == 0 and not favoured else -1), 0
    market = markets(s)[position["market_id"]]
    if market["plain"] == 0 or market["payoff"] != Payoff.LINEAR or favoured:
        return -1, 0
    against = against if lots > 0 else -against
    if against < 0:
        return -1, 0
    hangs = 1 if against != 0 else 0
    if hangs == 0:
        against = market["price_min"] - 1 if lots > 0 else market["price_max"] + 1
    unit = abs(lots) * market["unit_quote"]
    moved = abs(against - market["mark_price"]) * unit
    if lots > 0:
        return moved, hangs
    tier = tiers(s)[tier_row(s, market, against * unit)]
    return moved + mul_div_up(moved, tier["maintenance_ppm"], PPM) + UNITS, hangs


@kernel
def bands_hold(s, account_row, domain_row, slack):
    """Whether the legs of a healthy domain hang so that together they lose no more than its slack
    before a mark meets one of them, but half of it at least if any can be met: then none need be
    moved."""
    if header(s)[H.WORST_CASE_ORDERS] != 0 or has_jumps(s, 0):
        return False
    reach, hung = 0, 0
    row = domain_row if domain_row != 0 else accounts(s)[account_row]["position_head"]
    while row != 0:
        if domain_row != 0 or positions(s)[row]["isolated"] == 0:
            lost, hangs = reach_of(s, row)
            if lost < 0 or lost >= REACH_MAX:
                return False
            reach += lost
            hung |= hangs
        row = positions(s)[row]["account_next"] if domain_row == 0 else 0
    return reach <= slack and (hung == 0 or slack <= 2 * reach)


@inlined
def has_worst_case(s, position_row):
    """Whether open orders make a leg's requirement larger than its size does: looked at on every
    move of the mark."""
    if header(s)[H.WORST_CASE_ORDERS] == 0:
        return 0
    position = positions(s)[position_row]
    return 1 if position["buy_lots"] != 0 or position["sell_lots"] != 0 else 0


@part(NOTHING)
def place_bands(s, account_row, domain_row, equity, maintenance):
    """Hang every leg of a domain that is neither queued nor in breach."""
    words = header(s)
    case = cases(s)[case_row(s, account_row, domain_row)]
    slack, gap, times_ppm, restrict = FAR, FAR, PPM, 0
    if words[H.WAITING_COUNT] != 0 and case["bits"] & WAITS != 0:
        if case["bits"] & ESCALATED == 0 and words[H.BACKSTOP_PPM] != 0:
            times_ppm = words[H.BACKSTOP_PPM]
            slack = equity - mul_div_up(maintenance, times_ppm, PPM)
        times_ppm = min(times_ppm, PPM)
    else:
        slack = equity - trigger_requirement(s, maintenance)
        if words[H.WARN_PPM] != 0:
            need = mul_div_up(maintenance, words[H.WARN_PPM], PPM)
            times_ppm = words[H.WARN_PPM]
            if case["level"] & Level.WARNED != 0:
                gap = need - equity
            else:
                slack = min(slack, equity - need)
        if words[H.RESTRICT] != 0:
            need, restrict = initial_of(s, account_row, domain_row), 1
            if case["level"] & Level.RESTRICTED != 0:
                gap = min(gap, need - equity)
            else:
                slack = min(slack, equity - need)
    slack, gap = max(0, slack), max(0, gap)
    if domain_row != 0:
        place_leg(s, domain_row, slack, gap, times_ppm, restrict)
        return
    spread = max(1, spread_of(s, account_row))
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        if positions(s)[row]["isolated"] == 0:
            held = position_notional(s, row)
            share = FAR if gap >= FAR else mul_div(gap, held, spread)
            lost = slack if held == spread else mul_div(slack, held, spread)
            place_leg(s, row, lost, share, times_ppm, restrict)
        row = positions(s)[row]["account_next"]


@kernel
def spread_of(s, account_row):
    """Sum of the notionals of a wallet's legs, collateral included."""
    total = 0
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        if positions(s)[row]["isolated"] == 0:
            total += position_notional(s, row)
        row = positions(s)[row]["account_next"]
    return total
