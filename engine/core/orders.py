"""Orders: how they enter and leave the tables they are in, and what is said about it.

Implements R07, R13-R15, R28, R34 and R133. Admission is in `admission`, trading in `matching`;
stops wait in `triggers`.
"""

from engine.constants import (
    CancelReason,
    EventKind,
    Flag,
    OrderType,
    Side,
    SystemAccount,
    TimeInForce,
)
from engine.core.book import (
    free_order_row,
    link_level,
    new_order_row,
    register,
    tick_of,
    unlink_level,
    unregister,
)
from engine.core.events import emit
from engine.core.kernel import NOTHING, inlined, kernel, part
from engine.core.ledger import is_system, touch_position
from engine.core.position import find_position
from engine.core.records import REDUCES
from engine.core.state import H, accounts, header, markets, orders, positions, reducing
from engine.core.triggers import unlink_stop

MAKER_ROW = SystemAccount.MARKET_MAKER
FLAG_BITS = 15  # order bits that are flags of commands and events


@inlined
def is_stop(order):
    return order["order_type"] >= OrderType.STOP_LIMIT


@inlined
def leg_of(s, order):
    """Row of the leg of a resting order, which has one."""
    leg = find_position(s, order["account_row"], order["market_id"], order["position_side"])
    assert leg != 0, "a resting order has no leg"
    return leg


@inlined
def count_lots(s, row, leg, lots):
    """Implements R34: the sums of a leg's resting orders; `lots` is signed growth."""
    order = orders(s)[row]
    if is_system(s, order["account_row"]):
        return
    position = positions(s)[leg]
    if order["bits"] & Flag.REDUCE_ONLY:
        reducing(s)[leg] += lots
        bit = REDUCES if reducing(s)[leg] != 0 else 0
        position["beside"] = (position["beside"] & ~REDUCES) | bit
    elif order["side"] == Side.BUY:
        position["buy_lots"] += lots
    else:
        position["sell_lots"] += lots
    if header(s)[H.WORST_CASE_ORDERS] != 0:
        touch_position(s, leg)


@inlined
def emit_order(s, row, kind, lots, reason):
    """An event about an order in a row; a market maker's level is announced by DEPTH_SET."""
    order = orders(s)[row]
    if order["account_row"] == MAKER_ROW:
        emit_depth(s, order["market_id"], order["side"], order["price"], lots, kind)
        return
    emit(
        s,
        kind,
        accounts(s)[order["account_row"]]["account_id"],
        order["order_id"],
        0,
        order["price"],
        lots,
        0,
        0,
        order["market_id"],
        reason,
        order["side"],
        order["position_side"],
        order["bits"] & FLAG_BITS,
    )


@kernel
def emit_depth(s, market_id, side, price, lots, kind):
    """DEPTH_SET: what the market maker's level holds after the change."""
    held = 0 if kind == EventKind.CANCELLED else lots
    emit(s, EventKind.DEPTH_SET, 0, 0, 0, price, held, 0, 0, market_id, 0, side, 0, 0)


@kernel
def link_account(s, row):
    """Implements R13: an order that enters is the newest of its account."""
    order = orders(s)[row]
    number(s, row)
    append(s, row)
    if not is_system(s, order["account_row"]):
        accounts(s)[order["account_row"]]["orders_count"] += 1
    elif is_curve_quote(s, order):
        header(s)[H.CURVE_ORDERS_COUNT] += 1


@inlined
def number(s, row):
    """Part of R13: orders are numbered as they enter."""
    words = header(s)
    words[H.ENTERED_COUNT] += 1
    orders(s)[row]["seq"] = words[H.ENTERED_COUNT]


@inlined
def append(s, row):
    """Put an order at the end of its account's list."""
    table = orders(s)
    order = table[row]
    account = accounts(s)[order["account_row"]]
    tail = account["order_tail"]
    order["account_prev"] = tail
    order["account_next"] = 0
    if tail == 0:
        account["order_head"] = row
    else:
        table[tail]["account_next"] = row
    account["order_tail"] = row


@inlined
def is_curve_quote(s, order):
    """Implements R07: quotes of a curve have room of their own."""
    if order["account_row"] != MAKER_ROW:
        return False
    return markets(s)[order["market_id"]]["curve_row"] != 0


@kernel
def unlink_account(s, row):
    order = orders(s)[row]
    take_out(s, row)
    if not is_system(s, order["account_row"]):
        accounts(s)[order["account_row"]]["orders_count"] -= 1
    elif is_curve_quote(s, order):
        header(s)[H.CURVE_ORDERS_COUNT] -= 1


@inlined
def renew(s, row):
    """Implements R13 for an order that moves: it is now the newest of its account."""
    number(s, row)
    if accounts(s)[orders(s)[row]["account_row"]]["order_tail"] != row:
        take_out(s, row)
        append(s, row)


@inlined
def take_out(s, row):
    """Take an order out of its account's list."""
    table = orders(s)
    order = table[row]
    account = accounts(s)[order["account_row"]]
    before = order["account_prev"]
    after = order["account_next"]
    if before == 0:
        account["order_head"] = after
    else:
        table[before]["account_next"] = after
    if after == 0:
        account["order_tail"] = before
    else:
        table[after]["account_prev"] = before


@kernel
def _drop(s, row, leg):
    order = orders(s)[row]
    if is_stop(order):
        unlink_stop(s, row)
    else:
        unlink_level(s, row)
        count_lots(s, row, leg, -order["lots"])
    unlink_account(s, row)
    unregister(s, row)
    free_order_row(s, row)


@part(NOTHING)
def forget(s, row, leg):
    """Take an order out of every table it is in and free its row; a stop's leg does not matter."""
    _drop(s, row, leg)


@part(NOTHING)
def cancel(s, row, reason):
    """Implements R14."""
    order = orders(s)[row]
    emit_order(s, row, EventKind.CANCELLED, order["lots"], reason)
    _drop(s, row, 0 if is_stop(order) else leg_of(s, order))


@inlined
def is_of_liquidation(s, row):
    """Implements R133: the venue's order in a user's name, which the user cannot touch."""
    order = orders(s)[row]
    return order["order_id"] < 0 and order["account_row"] != MAKER_ROW


@part(NOTHING)
def cancel_all(s, account_row, market_id, reason):
    """Implements R15: oldest first, in one market or with 0 in all."""
    row = accounts(s)[account_row]["order_head"]
    while row != 0:
        following = orders(s)[row]["account_next"]
        kept = reason == CancelReason.USER and is_of_liquidation(s, row)
        if not kept and (market_id == 0 or orders(s)[row]["market_id"] == market_id):
            cancel(s, row, reason)
        row = following


@kernel
def reducible_lots(s, position_row, side):
    """Lots an order of this side could close."""
    if position_row == 0:
        return 0
    lots = positions(s)[position_row]["lots"]
    if side == Side.BUY:
        return -lots if lots < 0 else 0
    return lots if lots > 0 else 0


@part(NOTHING)
def trim_reduce_only(s, position_row):
    """Implements R28: reduce-only orders never exceed the position; the newest go first."""
    position = positions(s)[position_row]
    row = accounts(s)[position["account_row"]]["order_tail"]
    while row != 0 and position["beside"] & REDUCES != 0:
        order = orders(s)[row]
        previous = order["account_prev"]
        if (
            order["bits"] & Flag.REDUCE_ONLY
            and not is_stop(order)
            and order["market_id"] == position["market_id"]
            and order["position_side"] == position["position_side"]
        ):
            if reducing(s)[position_row] <= reducible_lots(s, position_row, order["side"]):
                return
            cancel(s, row, CancelReason.REDUCE_ONLY)
        row = previous


@inlined
def rest_order(s, leg, order_id, side, price, lots, flags, self_trade):
    """Implements R13: a limit order of a leg joins the back of its price level."""
    row = new_order_row(s)
    order, position = orders(s)[row], positions(s)[leg]
    market_id = position["market_id"]
    order["order_id"] = order_id
    order["lots"] = lots
    order["price"] = price
    order["tick"] = tick_of(markets(s)[market_id], price)
    order["account_row"] = position["account_row"]
    order["market_id"] = market_id
    order["side"] = side
    order["order_type"] = OrderType.LIMIT
    order["time_in_force"] = TimeInForce.GTC
    order["position_side"] = position["position_side"]
    order["self_trade"] = self_trade
    order["bits"] = flags
    link_level(s, row)
    link_account(s, row)
    register(s, row)
    count_lots(s, row, leg, lots)
    emit_order(s, row, EventKind.RESTED, lots, 0)


@inlined
def move_order(s, row, leg, price, lots):
    """Implements R14 for an order that meets nobody at its new price: as if it were cancelled and
    entered anew, in the row that it would have again."""
    order = orders(s)[row]
    emit_order(s, row, EventKind.CANCELLED, order["lots"], CancelReason.AMENDED.value)
    unlink_level(s, row)
    count_lots(s, row, leg, lots - order["lots"])
    order["lots"] = lots
    order["price"] = price
    order["tick"] = tick_of(markets(s)[order["market_id"]], price)
    link_level(s, row)
    renew(s, row)
    emit_order(s, row, EventKind.RESTED, lots, 0)


@part(NOTHING)
def rest(s, leg, order_id, side, price, lots, flags, self_trade):
    """The same for whoever is not a user with a new order."""
    rest_order(s, leg, order_id, side, price, lots, flags, self_trade)


@kernel
def emit_cancelled(
    s, account_id, order_id, market_id, side, position_side, price, lots, flags, reason
):
    """CANCELLED for an order that is not in the book."""
    emit(
        s,
        EventKind.CANCELLED,
        account_id,
        order_id,
        0,
        price,
        lots,
        0,
        0,
        market_id,
        reason,
        side,
        position_side,
        flags,
    )
