"""The rulebook's orders of a liquidation: made, matched, counted."""

from engine.constants import (
    LIQUIDATION_ORDER_ID_BASE,
    ORDERS_PER_ACCOUNT_MAX,
    CancelReason,
    Cause,
    EventKind,
    Flag,
    OrderType,
    SelfTrade,
    Side,
    TimeInForce,
)
from engine.reference import admission, margin, orders
from engine.reference.book import Order
from engine.reference.ledger import World
from engine.reference.levels import domain_of_order
from engine.reference.records import Domain, Position


def liquidation_order(world: World, position: Position, lots: int, limit: int) -> Order:
    numbers = world.markets[position.market_id].numbers
    return Order(
        order_id=LIQUIDATION_ORDER_ID_BASE + world.liquidations_count,
        account_row=position.account_row,
        market_id=position.market_id,
        side=int(Side.SELL if position.lots > 0 else Side.BUY),
        position_side=position.position_side,
        order_type=int(OrderType.LIMIT),
        time_in_force=int(TimeInForce.IOC),
        price=margin.order_price(numbers, position.lots, limit),
        lots=lots,
        flags=0,
        self_trade=int(SelfTrade.CANCEL_OLDEST),
        trigger_price=0,
        trigger_kind=0,
        seq=0,
    )


def trade_order(world: World, order: Order, rests: bool = False) -> None:
    """Part of R78: match what can be matched, cancel the rest or leave it in the book."""
    possible = order.time_in_force != TimeInForce.FOK or admission.is_fillable(world, order)
    if possible:
        orders.match(world, order, order.price, Cause.LIQUIDATION, 0)
    kept = room_to_rest(world, order) if rests else 0
    if order.lots > kept:
        left, reason = order.lots - kept, CancelReason.IOC_REMAINDER
        world.emit_order(EventKind.CANCELLED, order, left, reason=reason)
    if kept:
        order.lots, order.flags = kept, int(Flag.REDUCE_ONLY)
        order.time_in_force = int(TimeInForce.GTC)
        orders.rest(world, order)


def room_to_rest(world: World, order: Order) -> int:
    """R133. A liquidation order may stay in the book in its owner's name, reduce-only and out of
    his reach, while the domain waits: what other reduce-only orders leave of the position, nothing
    if the tables of orders are full. Fills then are trades of the account at the maker's fee; when
    the domain is looked at again the order is taken back first."""
    account = world.accounts[order.account_row]
    if len(account.orders) >= ORDERS_PER_ACCOUNT_MAX:
        return 0
    if len(world.orders) - world.curve_orders_count >= world.capacities.orders_max:
        return 0
    position = world.position(account, order.market_id, order.position_side)
    room = orders.reducible_lots(position, order.side) - position.reduce_lots
    return min(order.lots, max(0, room))


def take_back(world: World, domain: Domain) -> None:
    """Part of R133."""
    account = world.accounts[domain[0]]
    for order in sorted(account.orders.values(), key=lambda order: order.seq):
        if orders.is_of_liquidation(order) and domain_of_order(world, account, order) == domain:
            orders.cancel(world, order, CancelReason.LIQUIDATION)


def traded_quote(world: World, order: Order, events_before: int) -> int:
    """Notional that the order's fills had, each at its price."""
    numbers = world.markets[order.market_id].numbers
    return sum(
        margin.notional(numbers, event[6], event[5])
        for event in world.events[events_before:]
        if event[10] == EventKind.FILL and event[3] == order.order_id
    )
