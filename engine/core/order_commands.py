"""Order commands: new, cancel, cancel all, amend, and the firing of reached stops.

Implements R04, R14, R15 and R44. Handlers return 0 or a Reject; with a Reject nothing has changed.
"""

from engine.constants import (
    CancelReason,
    EventKind,
    Flag,
    OrderType,
    PositionSide,
    Reject,
    Side,
)
from engine.core.accounts import check_user, find_account, known_market
from engine.core.admission import (
    OK,
    check_moved,
    check_risk,
    check_room,
    check_shape,
    check_stop,
    is_off_tick,
    lots_fit,
    price_fits,
)
from engine.core.book import find_order, new_order_row, register, shrink
from engine.core.events import emit
from engine.core.kernel import INT, NOTHING, inlined, kernel, part
from engine.core.matching import meets, place
from engine.core.orders import (
    FLAG_BITS,
    cancel,
    cancel_all,
    count_lots,
    emit_cancelled,
    emit_order,
    forget,
    is_of_liquidation,
    is_stop,
    leg_of,
    link_account,
    move_order,
)
from engine.core.position import find_position
from engine.core.state import accounts, markets, orders, triggers
from engine.core.tickets import command_of, copy_terms, write_ticket
from engine.core.triggers import link_stop


@inlined
def closing_flags(position_side, side, flags):
    """Implements R12: closing a hedge leg is reduce-only whether the order says so or not."""
    if position_side == PositionSide.NET:
        return flags
    if (position_side == PositionSide.LONG and side == Side.SELL) or (
        position_side == PositionSide.SHORT and side == Side.BUY
    ):
        return flags | Flag.REDUCE_ONLY
    return flags


@kernel
def new_order(s, command_at):
    """Implements R04."""
    command = command_of(command_at)
    market_id = command["market_id"]
    if not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    row = find_account(s, command["account_id"])
    reject = check_user(s, row)
    if reject == OK:
        reject = check_shape(s, row, command)
    if reject != OK:
        return reject
    side, position_side = command["side"], command["position_side"]
    leg = find_position(s, row, market_id, position_side)
    reject = check_room(s, row, leg)
    if reject != OK:
        return reject
    flags = closing_flags(position_side, side, command["flags"])
    if command["order_type"] >= OrderType.STOP_LIMIT:
        reject = check_stop(s, command)
        if reject == OK:
            place_stop(s, row, command, flags)
        return reject
    return admit(s, command_at, row, leg, flags)


@part(INT)
def admit(s, ticket_at, account_row, leg, flags):
    """Check an order in hand against prices and money; past that it must succeed."""
    reject = check_risk(s, ticket_at, account_row, leg, flags)
    if reject == OK:
        place(s, ticket_at, account_row, leg, flags)
    return reject


@kernel
def place_stop(s, account_row, command, flags):
    """A stop waits on its ladder and in its account's list."""
    row = new_order_row(s)
    order = orders(s)[row]
    copy_terms(order, command)
    order["account_row"] = account_row
    order["bits"] = flags
    triggers(s)[row]["trigger_price"] = command["trigger_price"]
    triggers(s)[row]["trigger_kind"] = command["trigger_kind"]
    link_stop(s, row)
    link_account(s, row)
    register(s, row)
    emit_stop(s, row, EventKind.STOP_PLACED)


@kernel
def emit_stop(s, row, kind):
    order = orders(s)[row]
    emit(
        s,
        kind,
        accounts(s)[order["account_row"]]["account_id"],
        order["order_id"],
        0,
        order["price"],
        order["lots"],
        triggers(s)[row]["trigger_price"],
        0,
        order["market_id"],
        0,
        order["side"],
        order["position_side"],
        order["bits"] & FLAG_BITS,
    )


@part(NOTHING)
def fire_stop(s, row):
    """Implements R44."""
    emit_stop(s, row, EventKind.STOP_TRIGGERED)
    order = orders(s)[row]
    account_row, flags, lots = order["account_row"], order["bits"] & FLAG_BITS, order["lots"]
    kind = OrderType.MARKET.value
    if order["order_type"] == OrderType.STOP_LIMIT:
        kind = OrderType.LIMIT.value
    ticket_at = write_ticket(s, row, kind, order["price"], lots)
    leg = find_position(s, account_row, order["market_id"], order["position_side"])
    forget(s, row, 0)
    reject = check_room(s, account_row, leg)
    if reject == OK:
        reject = admit(s, ticket_at, account_row, leg, flags)
    if reject != OK:
        ticket = command_of(ticket_at)
        emit_cancelled(
            s,
            accounts(s)[account_row]["account_id"],
            ticket["order_id"],
            ticket["market_id"],
            ticket["side"],
            ticket["position_side"],
            reject,
            lots,
            flags,
            CancelReason.STOP_REFUSED.value,
        )


@inlined
def own_order(s, command):
    """(Reject, row) of the order that a command names: it must exist and be the account's."""
    row = find_account(s, command["account_id"])
    order_row = find_order(s, command["order_id"])
    reject = check_user(s, row)
    if reject == OK and order_row == 0:
        reject = Reject.UNKNOWN_ORDER.value
    elif reject == OK and (
        orders(s)[order_row]["account_row"] != row or is_of_liquidation(s, order_row)
    ):
        reject = Reject.NOT_YOUR_ORDER.value
    return reject, order_row


@kernel
def cancel_order(s, command):
    reject, row = own_order(s, command)
    if reject == OK:
        cancel(s, row, CancelReason.USER)
    return reject


@kernel
def cancel_orders(s, command):
    if command["market_id"] != 0 and not known_market(s, command["market_id"]):
        return Reject.UNKNOWN_MARKET.value
    row = find_account(s, command["account_id"])
    reject = check_user(s, row)
    if reject == OK:
        cancel_all(s, row, command["market_id"], CancelReason.USER)
    return reject


@kernel
def amend(s, command):
    """Implements R14."""
    reject, row = own_order(s, command)
    if reject != OK:
        return reject
    order = orders(s)[row]
    if is_stop(order):
        return Reject.STOPS_CANNOT_BE_AMENDED.value
    market = markets(s)[order["market_id"]]
    price, lots = command["price"], command["lots"]
    if not lots_fit(market, lots):
        return Reject.LOTS_OUT_OF_RANGE.value
    if not price_fits(market, price):
        return Reject.PRICE_OUT_OF_RANGE.value
    if is_off_tick(market, price):
        return Reject.PRICE_OFF_TICK.value
    return change_order(s, row, leg_of(s, order), price, lots)


@part(INT)
def change_order(s, row, leg, price, lots):
    """Another price or size for a resting order of a leg: what only loses size keeps its place,
    what meets nobody moves, all else leaves and enters anew."""
    order = orders(s)[row]
    if price == order["price"] and lots <= order["lots"]:
        count_lots(s, row, leg, lots - order["lots"])
        shrink(s, row, order["lots"] - lots)
        emit_order(s, row, EventKind.AMENDED, lots, 0)
        return OK
    reject = check_moved(s, row, leg, price, lots)
    if reject != OK:
        return reject
    account_row, flags = order["account_row"], order["bits"] & FLAG_BITS
    if flags & Flag.REDUCE_ONLY == 0 and not meets(s, order["market_id"], order["side"], price):
        move_order(s, row, leg, price, lots)
        return OK
    ticket_at = write_ticket(s, row, OrderType.LIMIT.value, price, lots)
    cancel(s, row, CancelReason.AMENDED)
    # admitted once more, now without its old self: the same answer, and few orders come here
    reject = admit(s, ticket_at, account_row, leg, flags)
    assert reject == OK, "an amended order was refused after it had left"
    return OK
