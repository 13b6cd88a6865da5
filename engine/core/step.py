"""Apply one command; run one batch. The only switch on the kind of a command.

Implements R02, R03, R90 and the handlers of orders and prices. A batch is worked off in bounded
units; before each the event buffer is checked for room, so a unit never stops half-way and a
cascade may span many batches.
"""

import numpy as np

from engine.constants import (
    LOTS_MAX,
    TIME_MAX_NS,
    CancelReason,
    CommandKind,
    EventKind,
    MarkSource,
    OrderType,
    Reject,
    Side,
    TimeInForce,
)
from engine.core import accounts as account_commands
from engine.core.accounts import check_user, find_account, known_market
from engine.core.admission import (
    OK,
    check_risk,
    check_room,
    check_shape,
    check_stop,
    lots_fit,
    market_limit,
    price_fits,
)
from engine.core.book import find_order, new_order_row, register, shrink
from engine.core.events import emit
from engine.core.funding import settle_funding
from engine.core.kernel import INT, NOTHING, entry, inlined, kernel, part
from engine.core.liquidation import liquidate
from engine.core.liquidity import clear_depth, set_depth, set_index
from engine.core.orders import (
    cancel,
    cancel_all,
    closing_flags,
    count_lots,
    emit_cancelled,
    emit_order,
    forget,
    is_stop,
    link_account,
    place,
)
from engine.core.prices import mark_price, touch_mark
from engine.core.sorting import sort_keys
from engine.core.state import (
    H,
    accounts,
    header,
    liquidations,
    markets,
    orders,
    stale,
    stop_queue,
    triggers,
    view_at,
)
from engine.core.triggers import (
    DOMAIN_BITS,
    ROW_BITS,
    examine_touched,
    fire_nodes,
    link_stop,
    position_of_key,
    queue_stops,
    scan_for_breaches,
    set_queued,
)
from engine.rows import COMMAND

COMMAND_ROW = COMMAND
COMMAND_BYTES = COMMAND.itemsize
ROW_MASK = (1 << ROW_BITS) - 1


@inlined
def command_of(command_at):
    """The COMMAND row at an address."""
    return view_at(command_at, 1, COMMAND_ROW)[0]


# -- orders -----------------------------------------------------------------------------------


@part(INT)
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
    side, position_side = command["side"], command["position_side"]
    if reject == OK:
        reject = check_room(s, row, market_id, position_side)
    if reject != OK:
        return reject
    flags = closing_flags(position_side, side, command["flags"])
    kind = command["order_type"]
    if kind >= OrderType.STOP_LIMIT:
        reject = check_stop(s, command)
        if reject == OK:
            place_stop(s, row, command, flags)
        return reject
    return admit(
        s,
        row,
        command["order_id"],
        market_id,
        side,
        position_side,
        kind,
        command["time_in_force"],
        command["price"],
        command["lots"],
        flags,
        command["self_trade"],
    )


@part(INT)
def admit(
    s,
    account_row,
    order_id,
    market_id,
    side,
    position_side,
    kind,
    tif,
    price,
    lots,
    flags,
    self_trade,
):
    """Check an order against prices and money; past that it must succeed."""
    reject = check_risk(
        s, account_row, market_id, side, position_side, kind, tif, price, lots, flags, self_trade
    )
    if reject != OK:
        return reject
    limit = price
    if kind == OrderType.MARKET:
        limit = market_limit(markets(s)[market_id], side)
    place(
        s,
        account_row,
        order_id,
        market_id,
        side,
        position_side,
        kind,
        tif,
        price,
        lots,
        limit,
        flags,
        self_trade,
    )
    return OK


@kernel
def place_stop(s, account_row, command, flags):
    """A stop waits on its ladder and in its account's list."""
    row = new_order_row(s)
    order = orders(s)[row]
    order["order_id"] = command["order_id"]
    order["lots"] = command["lots"]
    order["price"] = command["price"]
    order["account_row"] = account_row
    order["market_id"] = command["market_id"]
    order["side"] = command["side"]
    order["order_type"] = command["order_type"]
    order["time_in_force"] = command["time_in_force"]
    order["position_side"] = command["position_side"]
    order["self_trade"] = command["self_trade"]
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
        order["bits"] & 15,
    )


@part(NOTHING)
def fire_stop(s, row):
    """Implements R44."""
    emit_stop(s, row, EventKind.STOP_TRIGGERED)
    order = orders(s)[row]
    account_row, order_id, market_id = order["account_row"], order["order_id"], order["market_id"]
    side, position_side, tif = order["side"], order["position_side"], order["time_in_force"]
    price, lots, flags = order["price"], order["lots"], order["bits"] & 15
    self_trade = order["self_trade"]
    kind = OrderType.MARKET.value
    if order["order_type"] == OrderType.STOP_LIMIT:
        kind = OrderType.LIMIT.value
    forget(s, row)
    reject = check_room(s, account_row, market_id, position_side)
    if reject == OK:
        reject = admit(
            s,
            account_row,
            order_id,
            market_id,
            side,
            position_side,
            kind,
            tif,
            price,
            lots,
            flags,
            self_trade,
        )
    if reject != OK:
        emit_cancelled(
            s,
            accounts(s)[account_row]["account_id"],
            order_id,
            market_id,
            side,
            position_side,
            reject,
            lots,
            flags,
            CancelReason.STOP_REFUSED.value,
        )


@kernel
def check_owner(s, command):
    """Whether the order exists and is the account's."""
    row = find_account(s, command["account_id"])
    reject = check_user(s, row)
    if reject != OK:
        return reject
    order_row = find_order(s, command["order_id"])
    if order_row == 0:
        return Reject.UNKNOWN_ORDER.value
    if orders(s)[order_row]["account_row"] != row:
        return Reject.NOT_YOUR_ORDER.value
    return OK


@kernel
def cancel_order(s, command):
    reject = check_owner(s, command)
    if reject == OK:
        cancel(s, find_order(s, command["order_id"]), CancelReason.USER)
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


@part(INT)
def amend(s, command_at):
    """Implements R14."""
    command = command_of(command_at)
    reject = check_owner(s, command)
    if reject != OK:
        return reject
    row = find_order(s, command["order_id"])
    order = orders(s)[row]
    if is_stop(order):
        return Reject.STOPS_CANNOT_BE_AMENDED.value
    market_id = order["market_id"]
    market = markets(s)[market_id]
    price, lots = command["price"], command["lots"]
    if not lots_fit(market, lots):
        return Reject.LOTS_OUT_OF_RANGE.value
    if not price_fits(market, price):
        return Reject.PRICE_OUT_OF_RANGE.value
    if price % market["tick_price"] != 0:
        return Reject.PRICE_OFF_TICK.value
    if price == order["price"] and lots <= order["lots"]:
        count_lots(s, row, lots - order["lots"])
        shrink(s, row, order["lots"] - lots)
        emit_order(s, row, EventKind.AMENDED, lots, 0)
        return OK
    account_row, order_id, side = order["account_row"], order["order_id"], order["side"]
    position_side, flags = order["position_side"], order["bits"] & 15
    self_trade = order["self_trade"]
    kind, tif = OrderType.LIMIT.value, TimeInForce.GTC.value
    count_lots(s, row, -order["lots"])
    reject = check_risk(
        s, account_row, market_id, side, position_side, kind, tif, price, lots, flags, self_trade
    )
    count_lots(s, row, order["lots"])
    if reject != OK:
        return reject
    cancel(s, row, CancelReason.AMENDED)
    place(
        s,
        account_row,
        order_id,
        market_id,
        side,
        position_side,
        kind,
        tif,
        price,
        lots,
        price,
        flags,
        self_trade,
    )
    return OK


# -- prices -----------------------------------------------------------------------------------


@kernel
def check_price(s, command):
    if not known_market(s, command["market_id"]):
        return Reject.UNKNOWN_MARKET.value
    fits = price_fits(markets(s)[command["market_id"]], command["price"])
    return OK if fits else Reject.PRICE_OUT_OF_RANGE.value


@kernel
def take_price(s, command):
    """INDEX, MARK and TRADE: a price of the tape. Implements R50, R53 and R56."""
    reject = check_price(s, command)
    if reject != OK:
        return reject
    market_id, price = command["market_id"], command["price"]
    if command["kind"] == CommandKind.INDEX:
        set_index(s, market_id, price)
        return OK
    if command["kind"] == CommandKind.MARK:
        markets(s)[market_id]["tape_mark_price"] = price
    else:
        markets(s)[market_id]["last_price"] = price
        emit(s, EventKind.LAST_SET, 0, 0, 0, price, 0, 0, 0, market_id, 0, 0, 0, 0)
    touch_mark(s, market_id)
    return OK


@kernel
def take_depth(s, command):
    """Implements R55."""
    reject = check_price(s, command)
    if reject != OK:
        return reject
    words = header(s)
    side, lots = command["side"], command["lots"]
    market = markets(s)[command["market_id"]]
    if side != Side.BUY and side != Side.SELL:
        return Reject.INVALID_SIDE.value
    if command["price"] % market["tick_price"] != 0:
        return Reject.PRICE_OFF_TICK.value
    if not 0 <= lots <= LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE.value
    if market["curve_row"] != 0:
        return Reject.QUOTES_ARE_DERIVED.value
    if market["open_interest_lots"] + lots > market["open_interest_lots_max"]:
        return Reject.OPEN_INTEREST_BOUND.value
    used = words[H.ORDERS_COUNT] - words[H.CURVE_ORDERS_COUNT]
    if lots != 0 and used >= words[H.USER_ORDERS_MAX]:
        return Reject.ORDERS_FULL.value
    set_depth(s, command["market_id"], side, command["price"], lots)
    return OK


@kernel
def take_depth_clear(s, command):
    """Implements R56."""
    if not known_market(s, command["market_id"]):
        return Reject.UNKNOWN_MARKET.value
    if markets(s)[command["market_id"]]["curve_row"] != 0:
        return Reject.QUOTES_ARE_DERIVED.value
    clear_depth(s, command["market_id"])
    return OK


@kernel
def take_funding(s, command):
    """Implements R62."""
    market_id, price = command["market_id"], command["price"]
    if not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    market = markets(s)[market_id]
    if price != 0 and not price_fits(market, price):
        return Reject.PRICE_OUT_OF_RANGE.value
    if abs(command["amount"]) > header(s)[H.RATE_CAP_PPB]:
        return Reject.RATE_OUT_OF_RANGE.value
    if market["mark_price"] == 0 and price == 0:
        return Reject.NO_MARK_PRICE.value
    if price != 0 and header(s)[H.MARK_SOURCE] == MarkSource.TAPE:
        market["tape_mark_price"] = price
        touch_mark(s, market_id)
    elif price != 0:
        set_index(s, market_id, price)
    update_marks(s)
    settle_funding(s, market_id, command["amount"])
    return OK


@kernel
def update_marks(s):
    """Implements R59: markets in the stale list, in order; a change is an event and fires the
    triggers it has met. The list is kept for the stops of the unit."""
    words = header(s)
    if words[H.STALE_COUNT] > 1:
        sort_keys(stale(s), words[H.STALE_COUNT])
    for index in range(words[H.STALE_COUNT]):
        market_id = stale(s)[index]
        market = markets(s)[market_id]
        mark = mark_price(s, market_id)
        if mark != market["mark_price"]:
            market["mark_price"] = mark
            emit(s, EventKind.MARK_SET, 0, 0, 0, mark, 0, 0, 0, market_id, 0, 0, 0, 0)
            fire_nodes(s, market_id)


# -- the loop ---------------------------------------------------------------------------------


@kernel
def end_unit(s):
    """Implements R90: marks, then breached domains, then reached stops."""
    words = header(s)
    if words[H.STALE_COUNT] != 0:
        update_marks(s)
    if words[H.TOUCHED_COUNT] != 0:
        examine_touched(s)
    if words[H.STALE_COUNT] != 0:
        queue_stops(s)
        for index in range(words[H.STALE_COUNT]):
            markets(s)[stale(s)[index]]["stale"] = 0
        words[H.STALE_COUNT] = 0
    if words[H.CHECK_INDEX] != 0:
        scan_for_breaches(s)


@kernel
def work_unit(s):
    """One queued liquidation, or if there is none one reached stop."""
    words = header(s)
    if words[H.LIQUIDATIONS_HEAD] != words[H.LIQUIDATIONS_TAIL]:
        queue = liquidations(s)
        key = queue[words[H.LIQUIDATIONS_HEAD] & (len(queue) - 1)]
        words[H.LIQUIDATIONS_HEAD] += 1
        account_row, domain_row = key >> DOMAIN_BITS, position_of_key(s, key)
        set_queued(s, account_row, domain_row, 0)
        liquidate(s, account_row, domain_row)
        return
    queue = stop_queue(s)
    key = queue[words[H.STOPS_HEAD] & (len(queue) - 1)]
    words[H.STOPS_HEAD] += 1
    row = key & ROW_MASK
    if orders(s)[row]["seq"] == key >> ROW_BITS and is_stop(orders(s)[row]):
        fire_stop(s, row)


@kernel
def apply(s, command_at):
    """The switch. Returns 0 or a Reject."""
    command = command_of(command_at)
    kind = command["kind"]
    if kind == CommandKind.NEW_ORDER:
        return new_order(s, command_at)
    if kind == CommandKind.CANCEL:
        return cancel_order(s, command)
    if kind == CommandKind.AMEND:
        return amend(s, command_at)
    if kind >= CommandKind.INDEX and kind <= CommandKind.TRADE:
        return take_price(s, command)
    if kind == CommandKind.DEPTH:
        return take_depth(s, command)
    if kind == CommandKind.DEPTH_CLEAR:
        return take_depth_clear(s, command)
    if kind == CommandKind.CANCEL_ALL:
        return cancel_orders(s, command)
    if kind == CommandKind.FUNDING:
        return take_funding(s, command)
    return apply_to_account(s, command_at)


@part(INT)
def apply_to_account(s, command_at):
    """Commands about accounts; the command by its address."""
    command = command_of(command_at)
    kind = command["kind"]
    if kind == CommandKind.OPEN_ACCOUNT:
        return account_commands.open_account(s, command)
    if kind == CommandKind.DEPOSIT:
        return account_commands.deposit(s, command)
    if kind == CommandKind.WITHDRAW:
        return account_commands.withdraw(s, command)
    if kind == CommandKind.SET_LEVERAGE:
        return account_commands.set_leverage(s, command)
    if kind == CommandKind.SET_MARGIN_MODE:
        return account_commands.set_margin_mode(s, command)
    if kind == CommandKind.SET_POSITION_MODE:
        return account_commands.set_position_mode(s, command)
    if kind == CommandKind.MOVE_MARGIN:
        return account_commands.move_margin(s, command)
    if kind == CommandKind.SEED_POSITION:
        return account_commands.seed_position(s, command)
    return Reject.UNKNOWN_COMMAND.value


@inlined
def check_time(s, command):
    """Implements R03."""
    time_ns = command["time_ns"]
    if not 0 <= time_ns <= TIME_MAX_NS:
        return Reject.TIME_OUT_OF_RANGE.value
    if time_ns < header(s)[H.NOW_NS]:
        return Reject.TIME_WENT_BACKWARDS.value
    return OK


@inlined
def begin(s, command_at):
    """Implements R02: admit, validate, apply; returns whether the command was accepted."""
    command = command_of(command_at)
    words = header(s)
    words[H.SEQ] += 1
    before_ns = words[H.NOW_NS]
    reject = check_time(s, command)
    if reject == OK:
        words[H.NOW_NS] = command["time_ns"]
        reject = apply(s, command_at)
    if reject == OK:
        return True
    words[H.NOW_NS] = before_ns
    emit(
        s,
        EventKind.REJECTED,
        command["account_id"],
        command["order_id"],
        0,
        0,
        0,
        0,
        0,
        command["market_id"],
        reject,
        0,
        0,
        0,
    )
    return False


@entry
def run(s, commands_at, count, start, unit_room):
    """Work off commands[start:count], all of them or until events need room.

    `s` and `commands_at` are addresses; `unit_room` is EVENTS_PER_UNIT_MAX. Returns the index of
    the first command not finished: call again with it after draining the events."""
    words = header(s)
    for index in range(start, count):
        if words[H.PENDING] == 0:
            if words[H.EVENTS_ROWS] - words[H.EVENTS_COUNT] < unit_room:
                return index
            if not begin(s, commands_at + index * COMMAND_BYTES):
                continue
            end_unit(s)
            words[H.PENDING] = 1
        while (
            words[H.LIQUIDATIONS_HEAD] != words[H.LIQUIDATIONS_TAIL]
            or words[H.STOPS_HEAD] != words[H.STOPS_TAIL]
        ):
            if words[H.EVENTS_ROWS] - words[H.EVENTS_COUNT] < unit_room:
                return index
            work_unit(s)
            end_unit(s)
        words[H.PENDING] = 0
    return np.int64(count)
