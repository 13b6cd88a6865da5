"""The rulebook's stops: which price releases one, and what becomes of it then.

A waiting stop is in the tables of live orders but in no book. Its admission as an ordinary
order, once released, is in `admission`.
"""

from engine.constants import (
    CancelReason,
    EventKind,
    OrderType,
    Reject,
    Side,
    TriggerPrice,
)
from engine.reference import admission, orders
from engine.reference.book import (
    Order,
)
from engine.reference.ledger import World
from engine.reference.records import Market


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


def check_stop(world: World, order: Order) -> Reject | None:
    """R06. A stop needs its price to exist and must not be triggered already."""
    market = world.markets[order.market_id]
    if market.mark_price == 0 or trigger_reference(market, order.trigger_kind) == 0:
        return Reject.NO_MARK_PRICE
    if is_triggered(market, order):
        return Reject.WOULD_TRIGGER_IMMEDIATELY
    return None


def detect_stops(world: World) -> None:
    """R43. Stops that a price has reached join the stop queue, oldest first."""
    found = [
        order
        for order in world.orders.values()
        if orders.is_stop(order)
        and not order.triggered
        and is_triggered(world.markets[order.market_id], order)
    ]
    for order in sorted(found, key=lambda order: order.seq):
        order.triggered = True
        world.stop_queue.append(order)


def fire_stop(world: World, order: Order) -> None:
    """R44. A triggered stop becomes an ordinary order, admitted like any other or cancelled."""
    orders.forget(world, order)
    world.emit_order(EventKind.STOP_TRIGGERED, order, order.lots, amount=order.trigger_price)
    stop_limit = order.order_type == OrderType.STOP_LIMIT
    order.order_type = OrderType.LIMIT if stop_limit else OrderType.MARKET
    order.triggered = False
    reject = admission.check_room(world, order) or admission.check_risk(world, order)
    if reject is not None:
        world.emit_order(
            EventKind.CANCELLED,
            order,
            order.lots,
            price=reject,
            reason=CancelReason.STOP_REFUSED,
        )
        return
    orders.place(world, order)
