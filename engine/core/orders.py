"""Orders: entering, cancelling, matching and what happens to what is left.

Implements R12-R19, R28 and R34. Admission is in `admission`, stops wait in `stops`; what a fill
does to money is in `position`.
"""

from engine.constants import (
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
from engine.core.arithmetic import divide_down
from engine.core.book import (
    best_price,
    crosses,
    first_order,
    free_order_row,
    link_level,
    new_order_row,
    opposite,
    register,
    shrink,
    signed,
    unlink_level,
    unregister,
)
from engine.core.events import emit
from engine.core.kernel import INTS_3, NOTHING, inlined, kernel, part
from engine.core.ledger import is_system, touch_position
from engine.core.margin import decayed, notional
from engine.core.position import (
    fill_side,
    find_position,
    get_position,
    move_margin_after_fill,
)
from engine.core.prices import touch_mark
from engine.core.state import (
    H,
    accounts,
    header,
    lacking,
    markets,
    orders,
    positions,
    reducing,
)
from engine.core.triggers import unlink_stop

MAKER_ROW = SystemAccount.MARKET_MAKER
FLAG_BITS = 15  # order bits that are flags of commands and events
NO_REASON = 0


@inlined
def is_stop(order):
    return order["order_type"] >= OrderType.STOP_LIMIT


@inlined
def count_lots(s, row, lots):
    """Implements R34: the sums of a leg's resting orders; `lots` is signed growth."""
    order = orders(s)[row]
    if is_system(s, order["account_row"]):
        return
    leg = get_position(s, order["account_row"], order["market_id"], order["position_side"])
    position = positions(s)[leg]
    if order["bits"] & Flag.REDUCE_ONLY:
        reducing(s)[leg] += lots
        position["reduces"] = 1 if reducing(s)[leg] != 0 else 0
    elif order["side"] == Side.BUY:
        position["buy_lots"] += lots
    else:
        position["sell_lots"] += lots
    if header(s)[H.WORST_CASE_ORDERS] != 0:
        touch_position(s, leg)


@kernel
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


@inlined
def emit_depth(s, market_id, side, price, lots, kind):
    """DEPTH_SET: what the market maker's level holds after the change."""
    held = 0 if kind == EventKind.CANCELLED else lots
    emit(s, EventKind.DEPTH_SET, 0, 0, 0, price, held, 0, 0, market_id, 0, side, 0, 0)


@kernel
def link_account(s, row):
    """Implements R13: orders are numbered as they enter and kept oldest first."""
    words = header(s)
    table = orders(s)
    order = table[row]
    words[H.ENTERED_COUNT] += 1
    order["seq"] = words[H.ENTERED_COUNT]
    account = accounts(s)[order["account_row"]]
    tail = account["order_tail"]
    order["account_prev"] = tail
    order["account_next"] = 0
    if tail == 0:
        account["order_head"] = row
    else:
        table[tail]["account_next"] = row
    account["order_tail"] = row
    if order["account_row"] != MAKER_ROW:
        account["orders_count"] += 1
    elif is_curve_quote(s, order):
        words[H.CURVE_ORDERS_COUNT] += 1


@inlined
def is_curve_quote(s, order):
    """Implements R07: quotes of a curve, orders of the market maker, have room of their own."""
    return markets(s)[order["market_id"]]["curve_row"] != 0


@kernel
def unlink_account(s, row):
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
    if order["account_row"] != MAKER_ROW:
        account["orders_count"] -= 1
    elif is_curve_quote(s, order):
        header(s)[H.CURVE_ORDERS_COUNT] -= 1


@part(NOTHING)
def forget(s, row):
    """Take an order out of every table it is in and free its row."""
    order = orders(s)[row]
    if is_stop(order):
        unlink_stop(s, row)
    else:
        unlink_level(s, row)
        count_lots(s, row, -order["lots"])
    unlink_account(s, row)
    unregister(s, row)
    free_order_row(s, row)


@part(NOTHING)
def cancel(s, row, reason):
    """Implements R14."""
    emit_order(s, row, EventKind.CANCELLED, orders(s)[row]["lots"], reason)
    forget(s, row)


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
    while row != 0 and position["reduces"] != 0:
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


@kernel
def after_fill(s, position_row, price, fill, liquidating):
    """Implements R26 and R28, for one side of a fill."""
    position = positions(s)[position_row]
    if position["isolated"] != 0 and not liquidating:
        lots_before, lots_after, margin_before, opened, realised, fee = fill
        move_margin_after_fill(
            s, position_row, price, lots_before, lots_after, margin_before, opened, realised, fee
        )
    if position["reduces"] != 0:
        trim_reduce_only(s, position_row)


@part(NOTHING)
def trade_off_book(s, taker_row, maker_row, lots, price, cause):
    """Implements R29: a fill between two positions at a price, without orders or fees; the
    first side is in liquidation or being seeded, so no margin follows it."""
    taker_account = positions(s)[taker_row]["account_row"]
    maker_account = positions(s)[maker_row]["account_row"]
    taker_ppm, maker_ppm = 0, 0
    if cause == Cause.ADL and header(s)[H.ADL_FEE] != 0:
        market = markets(s)[positions(s)[taker_row]["market_id"]]
        taker_ppm, maker_ppm = market["taker_fee_ppm"], market["maker_fee_ppm"]
    flag = Flag.MAKER.value
    first = fill_side(s, taker_row, 0, maker_account, lots, price, cause, taker_ppm, 0)
    second = fill_side(s, maker_row, 0, taker_account, -lots, price, cause, maker_ppm, flag)
    after_fill(s, taker_row, price, first, True)
    after_fill(s, maker_row, price, second, False)


@kernel
def lacking_at(s, market_id, price):
    """Implements R134: what is still lacking at a recorded level."""
    market = markets(s)[market_id]
    row = lacking(s)[market["level_row"] + price // market["tick_price"]]
    return decayed(row["lots"], header(s)[H.NOW_NS] - row["since_ns"], market["memory_ns"])


@part(NOTHING)
def remember_taken(s, market_id, price, lots):
    """Part of R134: what orders of ours took from a recorded level."""
    market = markets(s)[market_id]
    left = lacking_at(s, market_id, price)
    row = lacking(s)[market["level_row"] + price // market["tick_price"]]
    row["lots"] = left + lots
    row["since_ns"] = header(s)[H.NOW_NS]


@inlined
def meets(s, market_id, side, limit):
    """Whether an order with this limit meets a resting one."""
    price = best_price(markets(s)[market_id], opposite(side))
    return price != 0 and crosses(side, limit, price)


@part(INTS_3)
def match(
    s,
    account_row,
    order_id,
    market_id,
    side,
    position_side,
    lots,
    limit,
    flags,
    self_trade,
    cause,
    fee_ppm,
):
    """Implements R16: trade an arriving order against the book.

    Returns (lots left, CancelReason or 0, notional traded)."""
    market = markets(s)[market_id]
    taker_row = get_position(s, account_row, market_id, position_side)
    against = opposite(side)
    traded_quote = 0
    while lots > 0:
        price = best_price(market, against)
        if price == 0 or not crosses(side, limit, price):
            return lots, NO_REASON, traded_quote
        fill = lots
        if flags & Flag.REDUCE_ONLY:
            fill = min(fill, reducible_lots(s, taker_row, side))
            if fill == 0:
                return lots, CancelReason.REDUCE_ONLY.value, traded_quote
        resting = first_order(s, market, against)
        checked = self_trade != SelfTrade.ALLOW or flags & Flag.REDUCE_ONLY
        if orders(s)[resting]["account_row"] == account_row and checked:
            if self_trade != SelfTrade.CANCEL_NEWEST:
                cancel(s, resting, CancelReason.SELF_TRADE)
            if self_trade == SelfTrade.CANCEL_NEWEST or self_trade == SelfTrade.CANCEL_BOTH:
                return lots, CancelReason.SELF_TRADE.value, traded_quote
            continue
        fill = min(fill, orders(s)[resting]["lots"])
        lots -= fill
        traded_quote += trade_with(
            s, resting, taker_row, account_row, order_id, side, fill, price, flags, cause, fee_ppm
        )
    return lots, NO_REASON, traded_quote


@inlined
def trade_with(
    s, resting, taker_row, account_row, order_id, side, fill, price, flags, cause, fee_ppm
):
    """Implements R17, R18: the resting order shrinks or leaves, then both sides are booked, the
    taker's event first. Returns the notional traded."""
    order = orders(s)[resting]
    market_id = order["market_id"]
    market = markets(s)[market_id]
    maker_account = order["account_row"]
    maker_order = order["order_id"]
    maker_flags = (order["bits"] & FLAG_BITS) | Flag.MAKER
    maker_row = get_position(s, maker_account, market_id, order["position_side"])
    market["last_price"] = price
    touch_mark(s, market_id)
    if maker_account == MAKER_ROW:
        market["taken_price"] = price
        if market["memory_ns"] != 0:
            remember_taken(s, market_id, price, fill)
    if fill == order["lots"]:
        forget(s, resting)
    else:
        count_lots(s, resting, -fill)
        shrink(s, resting, fill)
    change = signed(side, fill)
    first = fill_side(s, taker_row, order_id, maker_account, change, price, cause, fee_ppm, flags)
    second = fill_side(
        s,
        maker_row,
        maker_order,
        account_row,
        -change,
        price,
        cause,
        market["maker_fee_ppm"],
        maker_flags,
    )
    after_fill(s, taker_row, price, first, cause == Cause.LIQUIDATION)
    after_fill(s, maker_row, price, second, False)
    return notional(market, fill, price)


@part(NOTHING)
def rest(
    s,
    account_row,
    order_id,
    market_id,
    side,
    position_side,
    price,
    lots,
    flags,
    self_trade,
):
    """Implements R13: a limit order joins the back of its price level."""
    row = new_order_row(s)
    order = orders(s)[row]
    order["order_id"] = order_id
    order["lots"] = lots
    order["price"] = price
    order["tick"] = divide_down(price, markets(s)[market_id]["tick_price"])
    order["account_row"] = account_row
    order["market_id"] = market_id
    order["side"] = side
    order["order_type"] = OrderType.LIMIT
    order["time_in_force"] = TimeInForce.GTC
    order["position_side"] = position_side
    order["self_trade"] = self_trade
    order["bits"] = flags
    link_level(s, row)
    link_account(s, row)
    register(s, row)
    count_lots(s, row, lots)
    emit_order(s, row, EventKind.RESTED, lots, 0)


@part(NOTHING)
def place(
    s,
    account_row,
    order_id,
    market_id,
    side,
    position_side,
    order_type,
    time_in_force,
    price,
    lots,
    limit,
    flags,
    self_trade,
):
    """Implements R19: match an admitted order, then rest or cancel what is left of it."""
    left, reason = lots, NO_REASON
    if meets(s, market_id, side, limit):
        left, reason, _ = match(
            s,
            account_row,
            order_id,
            market_id,
            side,
            position_side,
            lots,
            limit,
            flags,
            self_trade,
            Cause.TRADE.value,
            markets(s)[market_id]["taker_fee_ppm"],
        )
    else:
        get_position(s, account_row, market_id, position_side)
    if left == 0:
        return
    if reason == NO_REASON and order_type == OrderType.MARKET:
        reason = CancelReason.MARKET_REMAINDER.value
    elif reason == NO_REASON and time_in_force == TimeInForce.IOC:
        reason = CancelReason.IOC_REMAINDER.value
    account_id = accounts(s)[account_row]["account_id"]
    if reason == NO_REASON and flags & Flag.REDUCE_ONLY:
        leg = find_position(s, account_row, market_id, position_side)
        room = max(0, reducible_lots(s, leg, side) - reducing(s)[leg])
        if left > room:
            emit_cancelled(
                s,
                account_id,
                order_id,
                market_id,
                side,
                position_side,
                price,
                left - room,
                flags,
                CancelReason.REDUCE_ONLY.value,
            )
            left = room
    if reason != NO_REASON:
        emit_cancelled(
            s, account_id, order_id, market_id, side, position_side, price, left, flags, reason
        )
    elif left > 0:
        rest(
            s, account_row, order_id, market_id, side, position_side, price, left, flags, self_trade
        )


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
