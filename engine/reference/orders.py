"""The rulebook's orders in the book: resting, matching, cancelling.

Functions take the `World` first. Who may enter is in `admission`, what waits for a price in
`stops`; what a fill does to money is in `ledger`; liquidation is in `waterfall`.
"""

from engine.constants import (
    PPM,
    CancelReason,
    Cause,
    EventKind,
    Flag,
    OrderType,
    SelfTrade,
    Side,
    SystemAccount,
    TimeInForce,
)
from engine.reference import margin
from engine.reference.book import Order, crosses, opposite, signed
from engine.reference.ledger import World
from engine.reference.records import Account, Market, Position

# -- resting orders ---------------------------------------------------------------------------


def count_lots(world: World, order: Order, lots: int) -> None:
    """Part of R34: keep the sums of a leg's resting orders; `lots` is signed growth."""
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
    """Part of R13: orders are numbered as they enter; this number is their age from then on."""
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
    """Part of R07: quotes of a curve have room of their own, so users cannot crowd them out."""
    of_maker = order.account_row == SystemAccount.MARKET_MAKER
    return of_maker and world.markets[order.market_id].curve is not None


def is_stop(order: Order) -> bool:
    return order.order_type in (OrderType.STOP_LIMIT, OrderType.STOP_MARKET)


def cancel(world: World, order: Order, reason: CancelReason) -> None:
    """Part of R14: cancelling takes the whole order out."""
    forget(world, order)
    if order.account_row == SystemAccount.MARKET_MAKER:
        emit_depth(world, order, 0)
    else:
        world.emit_order(EventKind.CANCELLED, order, order.lots, reason=reason)


def is_of_liquidation(order: Order) -> bool:
    """Part of R133: the venue's order in a user's name, which the user cannot touch."""
    return order.order_id < 0 and order.account_row != SystemAccount.MARKET_MAKER


def cancel_all(world: World, account: Account, market_id: int, reason: CancelReason) -> None:
    """R15. Cancel every order of an account (in a market, or in all), oldest first."""
    for order in sorted(account.orders.values(), key=lambda order: order.seq):
        kept = reason == CancelReason.USER and is_of_liquidation(order)
        if market_id in (0, order.market_id) and not kept:
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
    rule stops it; returns that rule's reason. Trades happen at the resting order's price. A
    reduce-only order does not trade with its own account even where that is allowed: it would
    open again what it closes, so the resting order is cancelled."""
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
        reduces = bool(order.flags & Flag.REDUCE_ONLY)
        checked = reduces or order.self_trade != SelfTrade.ALLOW
        if resting.account_row == order.account_row and checked:
            if order.self_trade != SelfTrade.CANCEL_NEWEST:
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
    market = world.markets[order.market_id]
    numbers = market.numbers
    taker = world.accounts[order.account_row]
    maker = world.accounts[resting.account_row]
    if maker.row == SystemAccount.MARKET_MAKER:
        remember_taken(world, market, price, lots)
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


def remember_taken(world: World, market: Market, price: int, lots: int) -> None:
    """Part of R134 and R136: what orders of ours took from the market maker."""
    market.taken_price = price
    if market.memory_ns:
        left = lacking(world, market, price)
        market.lacking[price] = (left + lots, world.now_ns)


def lacking(world: World, market: Market, price: int) -> int:
    """R134. Where it is remembered what orders of ours took from recorded depth, a level holds so
    much less than its record says, each loss forgotten by half in every half-life, and at once when
    the record says that the level is gone. This is what is lacking now."""
    lots, since_ns = market.lacking.get(price, (0, 0))
    return margin.decayed(lots, world.now_ns - since_ns, market.memory_ns)


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
    """Part of R11: a market order may trade up to the price band, else to the end of the range."""
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
