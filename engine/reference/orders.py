"""The rulebook's orders: admission, matching, resting, stops, cancel and amend.

Functions take the `World` first. What a fill does to money is in `ledger`; which prices exist
is in `prices`; liquidation is in `waterfall`.
"""

from engine.constants import (
    LOTS_MAX,
    ORDER_ID_MAX,
    ORDERS_PER_ACCOUNT_MAX,
    PPM,
    CancelReason,
    Cause,
    EventKind,
    Flag,
    OrderType,
    PositionSide,
    Reject,
    SelfTrade,
    Side,
    SystemAccount,
    TimeInForce,
    TriggerPrice,
)
from engine.reference import margin
from engine.reference.book import Order, crosses, opposite, signed
from engine.reference.ledger import Account, Market, Position, World, leg_is_closing

# -- resting orders ---------------------------------------------------------------------------


def count_lots(world: World, order: Order, lots: int) -> None:
    """R34. Keep the sums of a leg's resting orders; `lots` is signed growth."""
    if order.account_row in world.system_rows():
        return
    account = world.accounts[order.account_row]
    position = world.position(account, order.market_id, order.position_side)
    if order.flags & Flag.REDUCE_ONLY:
        position.reduce_lots += lots
    elif order.side == Side.BUY:
        position.buy_lots += lots
    else:
        position.sell_lots += lots


def rest(world: World, order: Order) -> None:
    """R13. What is left of a limit order joins the back of its price level."""
    world.markets[order.market_id].book.rest(order)
    enter(world, order)
    world.curve_orders_count += is_curve_quote(world, order)
    count_lots(world, order, order.lots)
    emit_rested(world, order, order.lots)


def enter(world: World, order: Order) -> None:
    """R13. Orders are numbered as they enter; this number is their age from then on."""
    world.entered_count += 1
    order.seq = world.entered_count
    world.orders[order.order_id] = order
    world.accounts[order.account_row].orders[order.order_id] = order


def emit_rested(world: World, order: Order, level_lots: int) -> None:
    if order.account_row == SystemAccount.MARKET_MAKER:
        emit_depth(world, order, level_lots)
    else:
        world.emit_order(EventKind.RESTED, order, order.lots)


def emit_depth(world: World, order: Order, lots: int) -> None:
    world.emit(
        EventKind.DEPTH_SET,
        market_id=order.market_id,
        side=order.side,
        price=order.price,
        lots=lots,
    )


def forget(world: World, order: Order) -> None:
    """Take an order out of every table it is in."""
    if is_stop(order):
        if order.triggered:
            world.stop_queue.remove(order)
    else:
        world.markets[order.market_id].book.remove(order)
        count_lots(world, order, -order.lots)
    del world.orders[order.order_id]
    del world.accounts[order.account_row].orders[order.order_id]
    world.curve_orders_count -= is_curve_quote(world, order)


def is_curve_quote(world: World, order: Order) -> bool:
    """R07. Quotes of a curve have room of their own, so users cannot crowd them out."""
    of_maker = order.account_row == SystemAccount.MARKET_MAKER
    return of_maker and world.markets[order.market_id].curve is not None


def is_stop(order: Order) -> bool:
    return order.order_type in (OrderType.STOP_LIMIT, OrderType.STOP_MARKET)


def cancel(world: World, order: Order, reason: CancelReason) -> None:
    """R14. Cancelling takes the whole order out."""
    forget(world, order)
    if order.account_row == SystemAccount.MARKET_MAKER:
        emit_depth(world, order, 0)
    else:
        world.emit_order(EventKind.CANCELLED, order, order.lots, reason=reason)


def cancel_all(world: World, account: Account, market_id: int, reason: CancelReason) -> None:
    """R15. Cancel every order of an account (in a market, or in all), oldest first."""
    for order in sorted(account.orders.values(), key=lambda order: order.seq):
        if market_id in (0, order.market_id):
            cancel(world, order, reason)


def trim_reduce_only(world: World, account: Account, position: Position) -> None:
    """R28. Resting reduce-only orders never exceed the position: the newest are cancelled
    first, whole, until they fit; all of them when the position has turned."""
    while position.reduce_lots:
        resting = [
            order
            for order in account.orders.values()
            if order.flags & Flag.REDUCE_ONLY
            and not is_stop(order)
            and (order.market_id, order.position_side)
            == (position.market_id, position.position_side)
        ]
        newest = max(resting, key=lambda order: order.seq)
        reducible = reducible_lots(position, newest.side)
        if position.reduce_lots <= reducible:
            return
        cancel(world, newest, CancelReason.REDUCE_ONLY)


def reducible_lots(position: Position | None, side: int) -> int:
    """Lots an order of this side could close."""
    if position is None or signed(side, 1) * position.lots >= 0:
        return 0
    return abs(position.lots)


# -- matching ---------------------------------------------------------------------------------


def match(
    world: World, order: Order, limit: int, cause: Cause, fee_ppm: int
) -> CancelReason | None:
    """R16. Trade an arriving order against the book until it is filled, nothing crosses, or a
    rule stops it; returns that rule's reason. Trades happen at the resting order's price."""
    market = world.markets[order.market_id]
    taker = world.accounts[order.account_row]
    taker_position = world.position(taker, order.market_id, order.position_side)
    against = opposite(order.side)
    while order.lots:
        price = market.book.best(against)
        if price == 0 or not crosses(order.side, limit, price):
            return None
        lots = order.lots
        if order.flags & Flag.REDUCE_ONLY:
            lots = min(lots, reducible_lots(taker_position, order.side))
            if lots == 0:
                return CancelReason.REDUCE_ONLY
        resting = market.book.first(against)
        if resting.account_row == order.account_row and order.self_trade != SelfTrade.ALLOW:
            if order.self_trade in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
                cancel(world, resting, CancelReason.SELF_TRADE)
            if order.self_trade in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
                return CancelReason.SELF_TRADE
            continue
        lots = min(lots, resting.lots)
        order.lots -= lots
        market.last_price = price
        market.mark_is_stale = True
        fill_resting(world, resting, lots)
        book_trade(world, order, resting, taker_position, lots, price, cause, fee_ppm)
    return None


def fill_resting(world: World, resting: Order, lots: int) -> None:
    """R17. The resting order shrinks in place and leaves the book when it is filled."""
    if lots == resting.lots:
        forget(world, resting)
        resting.lots = 0
    else:
        count_lots(world, resting, -lots)
        resting.lots -= lots


def book_trade(
    world: World,
    order: Order,
    resting: Order,
    taker_position: Position,
    lots: int,
    price: int,
    cause: Cause,
    fee_ppm: int,
) -> None:
    """R18. Both sides of a trade, the taker's event first, then what follows from them."""
    numbers = world.markets[order.market_id].numbers
    taker = world.accounts[order.account_row]
    maker = world.accounts[resting.account_row]
    maker_position = world.position(maker, resting.market_id, resting.position_side)
    first = world.fill_side(
        taker,
        order,
        maker,
        taker_position,
        signed(order.side, lots),
        price,
        cause,
        fee_ppm,
        order.flags,
    )
    second = world.fill_side(
        maker,
        resting,
        taker,
        maker_position,
        signed(resting.side, lots),
        price,
        cause,
        numbers.maker_fee_ppm,
        resting.flags | Flag.MAKER,
    )
    world.after_fill(first, liquidating=cause == Cause.LIQUIDATION)
    world.after_fill(second)


def place(world: World, order: Order) -> None:
    """R19. Match an admitted order, then rest or cancel what is left of it."""
    market = world.markets[order.market_id]
    numbers = market.numbers
    is_market = order.order_type == OrderType.MARKET
    limit = market_limit(market, order.side) if is_market else order.price
    reason = match(world, order, limit, Cause.TRADE, numbers.taker_fee_ppm)
    if order.lots == 0:
        return
    if reason is None and is_market:
        reason = CancelReason.MARKET_REMAINDER
    elif reason is None and order.time_in_force == TimeInForce.IOC:
        reason = CancelReason.IOC_REMAINDER
    if reason is None and order.flags & Flag.REDUCE_ONLY:
        account = world.accounts[order.account_row]
        position = world.position(account, order.market_id, order.position_side)
        room = max(0, reducible_lots(position, order.side) - position.reduce_lots)
        if order.lots > room:
            excess = order.lots - room
            order.lots = room
            world.emit_order(EventKind.CANCELLED, order, excess, reason=CancelReason.REDUCE_ONLY)
    if reason is not None:
        world.emit_order(EventKind.CANCELLED, order, order.lots, reason=reason)
    elif order.lots:
        rest(world, order)


def market_limit(market: Market, side: int) -> int:
    """R11. A market order may trade up to the price band, or to the end of the price range."""
    numbers = market.numbers
    if numbers.price_band_ppm == 0:
        return numbers.price_max if side == Side.BUY else numbers.price_min
    return band_edge(market, side)


def band_edge(market: Market, side: int) -> int:
    """R05. The band is mark * (1 + band) rounded down for buys, mark * (1 - band) rounded up."""
    numbers = market.numbers
    if side == Side.BUY:
        edge = market.mark_price * (PPM + numbers.price_band_ppm) // PPM
        return min(edge, numbers.price_max)
    edge = margin.ceil_div(market.mark_price * (PPM - numbers.price_band_ppm), PPM)
    return max(edge, numbers.price_min)


# -- admission --------------------------------------------------------------------------------


def check_shape(world: World, account: Account, command) -> Reject | None:
    """R04. Order checks that need no prices: every enum, flag, id and range."""
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


def check_stop(world: World, order: Order) -> Reject | None:
    """R06. A stop needs its price to exist and must not be triggered already."""
    market = world.markets[order.market_id]
    if market.mark_price == 0 or trigger_reference(market, order.trigger_kind) == 0:
        return Reject.NO_MARK_PRICE
    if is_triggered(market, order):
        return Reject.WOULD_TRIGGER_IMMEDIATELY
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
        edge = band_edge(market, order.side)
        if not crosses(order.side, edge, order.price):
            return Reject.OUTSIDE_PRICE_BAND
    account = world.accounts[order.account_row]
    position = world.find_position(account, order.market_id, order.position_side)
    if order.flags & Flag.REDUCE_ONLY and reducible_lots(position, order.side) == 0:
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
    if worst > margin.notional_limit(numbers, leverage):
        return Reject.POSITION_LIMIT
    held = abs(lots) if isolated else 0
    requirement = world.requirement(account)
    if before - held:
        old = margin.notional(numbers, before - held, mark)
        requirement -= margin.initial_margin(old, leverage)
    new = margin.notional(numbers, after - held, mark)
    requirement += margin.initial_margin(new, leverage)
    price = order_cost_price(market, order)
    change = signed(order.side, order.lots)
    loss = margin.value(numbers, change, price) - margin.value(numbers, change, mark)
    fee = margin.fee(margin.notional(numbers, order.lots, price), numbers.taker_fee_ppm)
    if world.equity((account.row, 0, 0)) - max(0, loss) - fee < requirement:
        return Reject.INSUFFICIENT_MARGIN
    return None


def order_cost_price(market: Market, order: Order) -> int:
    """R41. The price an order may pay: its limit, or for a market order the band, else mark."""
    if order.order_type == OrderType.LIMIT:
        return order.price
    if market.numbers.price_band_ppm:
        return band_edge(market, order.side)
    return market.mark_price


def is_fillable(world: World, order: Order) -> bool:
    """R09. Fill-or-kill counts only resting orders that cannot vanish before they trade: not the
    account's own, not reduce-only ones."""
    market = world.markets[order.market_id]
    wanted = order.lots
    if order.flags & Flag.REDUCE_ONLY:
        account = world.accounts[order.account_row]
        position = world.position(account, order.market_id, order.position_side)
        if reducible_lots(position, order.side) < wanted:
            return False
    limit = order.price
    if order.order_type == OrderType.MARKET:
        limit = market_limit(market, order.side)
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


# -- stops ------------------------------------------------------------------------------------


def trigger_reference(market: Market, trigger_kind: int) -> int:
    if trigger_kind == TriggerPrice.MARK:
        return market.mark_price
    return market.last_price if trigger_kind == TriggerPrice.LAST else market.index_price


def is_triggered(market: Market, order: Order) -> bool:
    """R42. A buy stop fires at its trigger price or above, a sell stop at it or below."""
    reference = trigger_reference(market, order.trigger_kind)
    if order.side == Side.BUY:
        return reference >= order.trigger_price
    return reference <= order.trigger_price


def detect_stops(world: World) -> None:
    """R43. Stops that a price has reached join the stop queue, oldest first."""
    found = [
        order
        for order in world.orders.values()
        if is_stop(order)
        and not order.triggered
        and is_triggered(world.markets[order.market_id], order)
    ]
    for order in sorted(found, key=lambda order: order.seq):
        order.triggered = True
        world.stop_queue.append(order)


def fire_stop(world: World, order: Order) -> None:
    """R44. A triggered stop becomes an ordinary order, admitted like any other or cancelled."""
    forget(world, order)
    world.emit_order(EventKind.STOP_TRIGGERED, order, order.lots, amount=order.trigger_price)
    stop_limit = order.order_type == OrderType.STOP_LIMIT
    order.order_type = OrderType.LIMIT if stop_limit else OrderType.MARKET
    order.triggered = False
    reject = check_room(world, order) or check_risk(world, order)
    if reject is not None:
        world.emit_order(
            EventKind.CANCELLED,
            order,
            order.lots,
            price=reject,
            reason=CancelReason.STOP_REFUSED,
        )
        return
    place(world, order)


def closing_flags(command) -> int:
    """R12. Closing a hedge leg is reduce-only whether the order says so or not."""
    if leg_is_closing(command.position_side, command.side):
        return int(command.flags) | int(Flag.REDUCE_ONLY)
    return int(command.flags)
