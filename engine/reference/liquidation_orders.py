"""The rulebook's orders of a liquidation: made, matched, counted."""

from engine.constants import (
    LIQUIDATION_ORDER_ID_BASE,
    CancelReason,
    Cause,
    EventKind,
    OrderType,
    SelfTrade,
    Side,
    TimeInForce,
)
from engine.reference import admission, margin, orders
from engine.reference.book import Order
from engine.reference.ledger import World
from engine.reference.records import Position


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


def trade_order(world: World, order: Order) -> None:
    """Part of R78: match what can be matched, cancel the rest."""
    possible = order.time_in_force != TimeInForce.FOK or admission.is_fillable(world, order)
    if possible:
        orders.match(world, order, order.price, Cause.LIQUIDATION, 0)
    if order.lots:
        world.emit_order(EventKind.CANCELLED, order, order.lots, reason=CancelReason.IOC_REMAINDER)


def traded_quote(world: World, order: Order, events_before: int) -> int:
    """Notional that the order's fills had, each at its price."""
    numbers = world.markets[order.market_id].numbers
    return sum(
        margin.notional(numbers, event[6], event[5])
        for event in world.events[events_before:]
        if event[10] == EventKind.FILL and event[3] == order.order_id
    )
