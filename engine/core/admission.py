"""Order checks: the ladder of named refusals that an order climbs before anything changes.

Implements R04-R09, R40 and R41. Every function returns 0 or a Reject; none changes state.
"""

from engine.constants import (
    LOTS_MAX,
    ORDER_ID_MAX,
    ORDERS_PER_ACCOUNT_MAX,
    PPM,
    Contract,
    Flag,
    Level,
    OrderType,
    PositionSide,
    Reject,
    SelfTrade,
    Side,
    TimeInForce,
    TriggerPrice,
)
from engine.core.arithmetic import mul_div, mul_div_up
from engine.core.book import (
    best_price,
    crosses,
    find_order,
    first_order,
    is_off_tick,
    next_order,
    opposite,
    signed,
)
from engine.core.kernel import inlined, kernel
from engine.core.ledger import case_row, equity_and_requirement
from engine.core.margin import fee, fits_tiers, initial_margin, notional, value, worst_lots
from engine.core.orders import reducible_lots
from engine.core.state import H, accounts, cases, header, markets, orders, positions
from engine.core.tickets import command_of

OK = 0
ORDER_FLAGS = int(Flag.REDUCE_ONLY | Flag.POST_ONLY)


@inlined
def side_fits(s, account_row, position_side):
    """Implements R12."""
    hedged = accounts(s)[account_row]["hedge"] != 0
    if position_side == PositionSide.NET:
        return not hedged
    return hedged and (position_side == PositionSide.LONG or position_side == PositionSide.SHORT)


@inlined
def lots_fit(market, lots):
    return market["order_lots_min"] <= lots <= min(market["order_lots_max"], LOTS_MAX)


@inlined
def price_fits(market, price):
    return market["price_min"] <= price <= market["price_max"]


@kernel
def check_shape(s, account_row, command):
    """Implements R04: every enum, flag, id and range of an order."""
    side, kind = command["side"], command["order_type"]
    if markets(s)[command["market_id"]]["contract"] == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL.value
    if side != Side.BUY and side != Side.SELL:
        return Reject.INVALID_SIDE.value
    if kind < OrderType.LIMIT or kind > OrderType.STOP_MARKET:
        return Reject.INVALID_ORDER_TYPE.value
    tif = command["time_in_force"]
    if tif < TimeInForce.GTC or tif > TimeInForce.FOK:
        return Reject.INVALID_TIME_IN_FORCE.value
    if command["self_trade"] < SelfTrade.ALLOW or command["self_trade"] > SelfTrade.CANCEL_BOTH:
        return Reject.INVALID_SELF_TRADE.value
    stop = kind >= OrderType.STOP_LIMIT
    trigger_kind = command["trigger_kind"]
    known = trigger_kind >= TriggerPrice.MARK and trigger_kind <= TriggerPrice.INDEX
    if known != stop or (trigger_kind != 0) != stop:
        return Reject.INVALID_TRIGGER.value
    if command["flags"] & ~ORDER_FLAGS:
        return Reject.INVALID_FLAGS.value
    priced = kind == OrderType.LIMIT or kind == OrderType.STOP_LIMIT
    if command["flags"] & Flag.POST_ONLY and (not priced or tif != TimeInForce.GTC):
        return Reject.INVALID_FLAGS.value
    if not side_fits(s, account_row, command["position_side"]):
        return Reject.POSITION_SIDE_MISMATCH.value
    if not 1 <= command["order_id"] <= ORDER_ID_MAX:
        return Reject.ORDER_ID_OUT_OF_RANGE.value
    if find_order(s, command["order_id"]) != 0:
        return Reject.DUPLICATE_ORDER_ID.value
    market = markets(s)[command["market_id"]]
    if not lots_fit(market, command["lots"]):
        return Reject.LOTS_OUT_OF_RANGE.value
    return check_prices(market, command, priced, stop)


@inlined
def check_prices(market, command, priced, stop):
    price, trigger = command["price"], command["trigger_price"]
    if priced and not price_fits(market, price):
        return Reject.PRICE_OUT_OF_RANGE.value
    if not priced and price != 0:
        return Reject.PRICE_OUT_OF_RANGE.value
    if is_off_tick(market, price):
        return Reject.PRICE_OFF_TICK.value
    if not stop:
        return OK if trigger == 0 else Reject.TRIGGER_PRICE_OUT_OF_RANGE.value
    if not price_fits(market, trigger):
        return Reject.TRIGGER_PRICE_OUT_OF_RANGE.value
    if is_off_tick(market, trigger):
        return Reject.TRIGGER_PRICE_OFF_TICK.value
    return OK


@kernel
def check_room(s, account_row, leg):
    """Implements R07; leg 0: it is yet to be made."""
    words = header(s)
    if accounts(s)[account_row]["orders_count"] >= ORDERS_PER_ACCOUNT_MAX:
        return Reject.TOO_MANY_ORDERS.value
    if words[H.ORDERS_COUNT] - words[H.CURVE_ORDERS_COUNT] >= words[H.USER_ORDERS_MAX]:
        return Reject.ORDERS_FULL.value
    if leg == 0 and words[H.USER_POSITIONS_COUNT] >= words[H.USER_POSITIONS_MAX]:
        return Reject.POSITIONS_FULL.value
    return OK


@inlined
def trigger_reference(market, trigger_kind):
    if trigger_kind == TriggerPrice.MARK:
        return market["mark_price"]
    if trigger_kind == TriggerPrice.LAST:
        return market["last_price"]
    return market["index_price"]


@kernel
def check_stop(s, command):
    """Implements R06."""
    market = markets(s)[command["market_id"]]
    reference = trigger_reference(market, command["trigger_kind"])
    if market["mark_price"] == 0 or reference == 0:
        return Reject.NO_MARK_PRICE.value
    if command["side"] == Side.BUY:
        met = reference >= command["trigger_price"]
    else:
        met = reference <= command["trigger_price"]
    return Reject.WOULD_TRIGGER_IMMEDIATELY.value if met else OK


@inlined
def band_edge(market, side):
    """Implements R05."""
    mark, band = market["mark_price"], market["price_band_ppm"]
    if side == Side.BUY:
        return min(mul_div(mark, PPM + band, PPM), market["price_max"])
    return max(mul_div_up(mark, PPM - band, PPM), market["price_min"])


@inlined
def market_limit(market, side):
    """Implements R11: how far a market order may trade."""
    if market["price_band_ppm"] != 0:
        return band_edge(market, side)
    return market["price_max"] if side == Side.BUY else market["price_min"]


@kernel
def check_risk(s, ticket_at, account_row, leg, flags):
    """Implements R08: checks against prices and money, for new and triggered orders."""
    order = command_of(ticket_at)
    market_id, side = order["market_id"], order["side"]
    price, lots = order["price"], order["lots"]
    limited = order["order_type"] == OrderType.LIMIT
    reject = check_terms(s, account_row, leg, market_id, side, price, lots, limited, flags, 0)
    if reject == OK and order["time_in_force"] == TimeInForce.FOK:
        limit = price if limited else market_limit(markets(s)[market_id], side)
        if flags & Flag.REDUCE_ONLY and reducible_lots(s, leg, side) < lots:
            return Reject.FOK_NOT_FILLABLE.value
        if not is_fillable(s, account_row, market_id, side, lots, limit, order["self_trade"]):
            return Reject.FOK_NOT_FILLABLE.value
    return reject


@inlined
def check_moved(s, row, leg, price, lots):
    """Implements R08 for a resting order of a leg that is to have another price or size, as if it
    were gone already (R14)."""
    order = orders(s)[row]
    account_row, market_id, side = order["account_row"], order["market_id"], order["side"]
    gone, flags = order["lots"], order["bits"]
    return check_terms(s, account_row, leg, market_id, side, price, lots, True, flags, gone)


@inlined
def check_terms(s, account_row, leg, market_id, side, price, lots, limited, flags, gone):
    """R08 without fill-or-kill; `gone` lots of the leg's orders on this side no longer count."""
    market = markets(s)[market_id]
    if market["mark_price"] == 0:
        return Reject.NO_MARK_PRICE.value
    banded = limited and market["price_band_ppm"] != 0
    if banded and not crosses(side, band_edge(market, side), price):
        return Reject.OUTSIDE_PRICE_BAND.value
    if flags & Flag.REDUCE_ONLY:
        if reducible_lots(s, leg, side) == 0:
            return Reject.NOTHING_TO_REDUCE.value
    else:
        paid = price
        if not limited:
            paid = market["mark_price"]
            if market["price_band_ppm"] != 0:
                paid = band_edge(market, side)
        reject = check_margin(s, account_row, leg, market_id, side, lots, paid, gone)
        if reject != OK:
            return reject
    best = best_price(market, opposite(side))
    if flags & Flag.POST_ONLY and best != 0 and crosses(side, price, best):
        return Reject.POST_ONLY_WOULD_CROSS.value
    return OK


@inlined
def check_margin(s, account_row, leg, market_id, side, lots, paid_price, gone):
    """Implements R40 and R41: `paid_price` is the most the order may pay, `gone` what it takes the
    place of."""
    market = markets(s)[market_id]
    if market["open_interest_lots"] + lots > market["open_interest_lots_max"]:
        return Reject.OPEN_INTEREST_BOUND.value
    position = positions(s)[leg]
    held, buy, sell = position["lots"], position["buy_lots"], position["sell_lots"]
    if side == Side.BUY:
        buy -= gone
    else:
        sell -= gone
    leverage = position["leverage"] if leg != 0 else market["leverage_default"]
    before = worst_lots(held, buy, sell)
    after = max(before, held + buy + lots if side == Side.BUY else sell + lots - held)
    if after == before:
        return OK
    if after > market["open_interest_lots_max"]:
        return Reject.OPEN_INTEREST_BOUND.value
    mark = market["mark_price"]
    size = notional(market, after, mark)
    if not fits_tiers(s, market, after, size, leverage):
        return Reject.POSITION_LIMIT.value
    domain = leg if position["isolated"] != 0 else 0
    watched = header(s)[H.RESTRICT] != 0  # else nobody is restricted
    if watched and cases(s)[case_row(s, account_row, domain)]["level"] & Level.RESTRICTED != 0:
        return Reject.RESTRICTED.value
    equity, needed = equity_and_requirement(s, account_row, leg)
    if position["isolated"] != 0:
        size = notional(market, after - abs(held), mark)
        after -= abs(held)
    needed += initial_margin(s, market, after, size, leverage)
    change = signed(side, lots)
    loss = value(market, change, paid_price) - value(market, change, mark)
    cost = max(0, loss) + fee(notional(market, lots, paid_price), market["taker_fee_ppm"])
    if equity - cost < needed:
        return Reject.INSUFFICIENT_MARGIN.value
    return OK


@kernel
def is_fillable(s, account_row, market_id, side, lots, limit, self_trade):
    """Implements R09: whether resting orders that cannot vanish cover a fill-or-kill order."""
    market = markets(s)[market_id]
    against = opposite(side)
    if best_price(market, against) == 0:
        return False
    row = first_order(s, market, against)
    table = orders(s)
    while row != 0:
        resting = table[row]
        if not crosses(side, limit, resting["price"]):
            return False
        if resting["account_row"] == account_row:
            if self_trade == SelfTrade.CANCEL_NEWEST or self_trade == SelfTrade.CANCEL_BOTH:
                return False
        elif resting["bits"] & Flag.REDUCE_ONLY == 0:
            lots -= resting["lots"]
            if lots <= 0:
                return True
        row = next_order(s, row)
    return False
