"""The rulebook's admission of orders: every check between a command and the book.

A check returns the reason of a refusal or None and changes nothing. Matching and resting are in
`orders`, what releases a stop is in `stops`.
"""

from engine.constants import (
    LOTS_MAX,
    ORDER_ID_MAX,
    ORDERS_PER_ACCOUNT_MAX,
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
from engine.reference import margin, orders
from engine.reference.book import (
    Order,
    crosses,
    opposite,
    signed,
)
from engine.reference.ledger import World, leg_is_closing
from engine.reference.records import Account, Market, Position


def check_shape(world: World, account: Account, command) -> Reject | None:
    """R04. Order checks that need no prices: every enum, flag, id and range."""
    if world.markets[command.market_id].numbers.contract == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL
    if command.side not in (Side.BUY, Side.SELL):
        return Reject.INVALID_SIDE
    if command.order_type not in tuple(OrderType):
        return Reject.INVALID_ORDER_TYPE
    if command.time_in_force not in tuple(TimeInForce):
        return Reject.INVALID_TIME_IN_FORCE
    if command.self_trade not in tuple(SelfTrade):
        return Reject.INVALID_SELF_TRADE
    stop = command.order_type in (OrderType.STOP_LIMIT, OrderType.STOP_MARKET)
    kinds = (TriggerPrice.MARK, TriggerPrice.LAST, TriggerPrice.INDEX)
    if (command.trigger_kind in kinds) != stop or (command.trigger_kind != 0) != stop:
        return Reject.INVALID_TRIGGER
    if command.flags & ~(Flag.REDUCE_ONLY | Flag.POST_ONLY):
        return Reject.INVALID_FLAGS
    priced = command.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    if command.flags & Flag.POST_ONLY and (not priced or command.time_in_force != TimeInForce.GTC):
        return Reject.INVALID_FLAGS
    if not side_fits(account, command.position_side):
        return Reject.POSITION_SIDE_MISMATCH
    if not 1 <= command.order_id <= ORDER_ID_MAX:
        return Reject.ORDER_ID_OUT_OF_RANGE
    if command.order_id in world.orders:
        return Reject.DUPLICATE_ORDER_ID
    numbers = world.markets[command.market_id].numbers
    if not numbers.order_lots_min <= command.lots <= min(numbers.order_lots_max, LOTS_MAX):
        return Reject.LOTS_OUT_OF_RANGE
    return check_prices(world, command, priced, stop)


def side_fits(account: Account, position_side: int) -> bool:
    """R12. NET in one-way mode, LONG or SHORT in hedge mode."""
    if account.hedge:
        return position_side in (PositionSide.LONG, PositionSide.SHORT)
    return position_side == PositionSide.NET


def check_prices(world: World, command, priced: bool, stop: bool) -> Reject | None:
    numbers = world.markets[command.market_id].numbers
    if priced and not numbers.price_min <= command.price <= numbers.price_max:
        return Reject.PRICE_OUT_OF_RANGE
    if not priced and command.price != 0:
        return Reject.PRICE_OUT_OF_RANGE
    if command.price % numbers.tick_price:
        return Reject.PRICE_OFF_TICK
    if stop and not numbers.price_min <= command.trigger_price <= numbers.price_max:
        return Reject.TRIGGER_PRICE_OUT_OF_RANGE
    if not stop and command.trigger_price != 0:
        return Reject.TRIGGER_PRICE_OUT_OF_RANGE
    if command.trigger_price % numbers.tick_price:
        return Reject.TRIGGER_PRICE_OFF_TICK
    return None


def check_room(world: World, order: Order) -> Reject | None:
    """R07. Tables have room for one more order and, if it is new, one more leg."""
    account = world.accounts[order.account_row]
    if len(account.orders) >= ORDERS_PER_ACCOUNT_MAX:
        return Reject.TOO_MANY_ORDERS
    if len(world.orders) - world.curve_orders_count >= world.capacities.orders_max:
        return Reject.ORDERS_FULL
    found = world.find_position(account, order.market_id, order.position_side)
    if found is None and world.user_positions_count >= world.capacities.positions_max:
        return Reject.POSITIONS_FULL
    return None


def check_risk(world: World, order: Order) -> Reject | None:
    """R08. Order checks against prices and money, for new, amended and triggered orders alike."""
    market = world.markets[order.market_id]
    numbers = market.numbers
    if market.mark_price == 0:
        return Reject.NO_MARK_PRICE
    if order.order_type == OrderType.LIMIT and numbers.price_band_ppm:
        edge = orders.band_edge(market, order.side)
        if not crosses(order.side, edge, order.price):
            return Reject.OUTSIDE_PRICE_BAND
    account = world.accounts[order.account_row]
    position = world.find_position(account, order.market_id, order.position_side)
    if order.flags & Flag.REDUCE_ONLY and orders.reducible_lots(position, order.side) == 0:
        return Reject.NOTHING_TO_REDUCE
    if not order.flags & Flag.REDUCE_ONLY:
        reject = check_margin(world, account, position, order)
        if reject is not None:
            return reject
    best = market.book.best(opposite(order.side))
    crossing = best != 0 and crosses(order.side, order.price, best)
    if order.flags & Flag.POST_ONLY and crossing:
        return Reject.POST_ONLY_WOULD_CROSS
    if order.time_in_force == TimeInForce.FOK and not is_fillable(world, order):
        return Reject.FOK_NOT_FILLABLE
    return None


def check_margin(
    world: World, account: Account, position: Position | None, order: Order
) -> Reject | None:
    """R40. An order that can enlarge its leg must fit the open-interest bound and the tiers, and
    leave equity, less its fee and its loss against mark, at or above the requirement."""
    market = world.markets[order.market_id]
    numbers = market.numbers
    if market.open_interest_lots + order.lots > numbers.open_interest_lots_max:
        return Reject.OPEN_INTEREST_BOUND
    lots, buy, sell = (
        (position.lots, position.buy_lots, position.sell_lots) if position else (0, 0, 0)
    )
    leverage = position.leverage if position else numbers.leverage_default
    isolated = position.isolated if position else False
    added = (order.lots, 0) if order.side == Side.BUY else (0, order.lots)
    before = margin.worst_lots(lots, buy, sell)
    after = margin.worst_lots(lots, buy + added[0], sell + added[1])
    if after == before:
        return None
    if after > numbers.open_interest_lots_max:
        return Reject.OPEN_INTEREST_BOUND
    mark = market.mark_price
    worst = margin.notional(numbers, after, mark)
    if not margin.fits_tiers(numbers, world.profile.margin, after, worst, leverage):
        return Reject.POSITION_LIMIT
    if is_restricted(world, account, position):
        return Reject.RESTRICTED
    held = abs(lots) if isolated else 0
    requirement = world.requirement(account)
    for sign, size in ((-1, before - held), (1, after - held)):
        quote = margin.notional(numbers, size, mark) if size else 0
        requirement += sign * world.initial_in(market.market_id, size, quote, leverage)
    price = order_cost_price(market, order)
    change = signed(order.side, order.lots)
    loss = margin.value(numbers, change, price) - margin.value(numbers, change, mark)
    fee = margin.fee(margin.notional(numbers, order.lots, price), numbers.taker_fee_ppm)
    if world.equity((account.row, 0, 0)) - max(0, loss) - fee < requirement:
        return Reject.INSUFFICIENT_MARGIN
    return None


def is_restricted(world: World, account: Account, position: Position | None) -> bool:
    """Part of R94: below initial margin a domain may only reduce."""
    domain = world.domain_of(position) if position else (account.row, 0, 0)
    case = world.cases.get(domain)
    return case is not None and bool(case.level & Level.RESTRICTED)


def order_cost_price(market: Market, order: Order) -> int:
    """R41. The price an order may pay: its limit, or for a market order the band, else mark."""
    if order.order_type == OrderType.LIMIT:
        return order.price
    if market.numbers.price_band_ppm:
        return orders.band_edge(market, order.side)
    return market.mark_price


def is_fillable(world: World, order: Order) -> bool:
    """R09. Fill-or-kill counts only resting orders that cannot vanish before they trade: not the
    account's own, not reduce-only ones."""
    market = world.markets[order.market_id]
    wanted = order.lots
    if order.flags & Flag.REDUCE_ONLY:
        account = world.accounts[order.account_row]
        position = world.position(account, order.market_id, order.position_side)
        if orders.reducible_lots(position, order.side) < wanted:
            return False
    limit = order.price
    if order.order_type == OrderType.MARKET:
        limit = orders.market_limit(market, order.side)
    for resting in market.book.orders(opposite(order.side)):
        if not crosses(order.side, limit, resting.price):
            return False
        if resting.account_row == order.account_row:
            if order.self_trade in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
                return False
            continue
        if not resting.flags & Flag.REDUCE_ONLY:
            wanted -= resting.lots
            if wanted <= 0:
                return True
    return False


def closing_flags(command) -> int:
    """Part of R12: closing a hedge leg is reduce-only whether the order says so or not."""
    if leg_is_closing(command.position_side, command.side):
        return int(command.flags) | int(Flag.REDUCE_ONLY)
    return int(command.flags)
