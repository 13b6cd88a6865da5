"""Apply one command; run one batch. The only switch on the kind of a command.

Implements R02, R03 and R90. A batch is worked off in bounded
units; before each the event buffer is checked for room, so a unit never stops half-way and a
cascade may span many batches.
"""

from engine.constants import TIME_MAX_NS, CommandKind, EventKind, Reject
from engine.core import accounts as account_commands
from engine.core import settlement
from engine.core.admission import OK
from engine.core.ahead import fetch_ahead
from engine.core.deleveraging import cut_profits
from engine.core.events import emit
from engine.core.fund import watch_funds
from engine.core.kernel import INT, front, inlined, kernel, part
from engine.core.levels import (
    check_margin,
    examine_touched,
    scan_for_breaches,
    touch_gated,
    wake,
)
from engine.core.liquidation import book_debts, books_debts, liquidate
from engine.core.order_commands import (
    amend,
    cancel_order,
    cancel_orders,
    fire_stop,
    new_order,
)
from engine.core.orders import is_stop
from engine.core.price_commands import (
    take_depth,
    take_depth_clear,
    take_funding,
    take_price,
    update_marks,
)
from engine.core.state import H, adl_queue, header, liquidations, markets, orders, stale, stop_queue
from engine.core.tickets import command_of
from engine.core.triggers import (
    DOMAIN_BITS,
    ROW_BITS,
    position_of_key,
    queue_stops,
    set_queued,
)
from engine.rows import COMMAND

COMMAND_BYTES = COMMAND.itemsize
ROW_MASK = (1 << ROW_BITS) - 1


@kernel
def look_round(s):
    """Implements R90: marks, then breached domains, then reached stops."""
    words = header(s)
    if words[H.STALE_COUNT] != 0:
        update_marks(s)
    if words[H.DRAWDOWN_PPM] != 0:
        watch_funds(s)
    if words[H.WAITING_COUNT] != 0 and words[H.NOW_NS] >= words[H.NEXT_DUE_NS]:
        wake(s)
    if words[H.GATED_COUNT] != 0 and words[H.STALE_COUNT] != 0:
        touch_gated(s)
    if words[H.TOUCHED_COUNT] != 0:
        if books_debts(s):
            book_debts(s)
        examine_touched(s)
    if words[H.STALE_COUNT] != 0:
        if words[H.STOPS_HUNG] != 0:
            queue_stops(s)
        for index in range(words[H.STALE_COUNT]):
            markets(s)[stale(s)[index]]["stale"] = 0
        words[H.STALE_COUNT] = 0
    if words[H.CHECK_INDEX] != 0:
        scan_for_breaches(s)


@inlined
def end_unit(s):
    """The same, seen at once where there is nothing that it would look at."""
    words = header(s)
    changed = words[H.STALE_COUNT] | words[H.TOUCHED_COUNT]
    if changed | words[H.DRAWDOWN_PPM] | words[H.WAITING_COUNT] | words[H.CHECK_INDEX] != 0:
        look_round(s)


@kernel
def work_unit(s):
    """One queued liquidation, else one deleveraging that was put off, else one reached stop."""
    words = header(s)
    if words[H.LIQUIDATIONS_HEAD] != words[H.LIQUIDATIONS_TAIL]:
        queue = liquidations(s)
        key = queue[words[H.LIQUIDATIONS_HEAD] & (len(queue) - 1)]
        words[H.LIQUIDATIONS_HEAD] += 1
        account_row, domain_row = key >> DOMAIN_BITS, position_of_key(s, key)
        set_queued(s, account_row, domain_row, 0)
        liquidate(s, account_row, domain_row, 0)
        return
    if words[H.ADL_QUEUE_HEAD] != words[H.ADL_QUEUE_TAIL]:
        put_off = adl_queue(s)
        key = put_off[words[H.ADL_QUEUE_HEAD] & (len(put_off) - 1)]
        words[H.ADL_QUEUE_HEAD] += 1
        account_row, domain_row = key >> DOMAIN_BITS, position_of_key(s, key)
        set_queued(s, account_row, domain_row, 0)
        liquidate(s, account_row, domain_row, 1)
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
        return amend(s, command)
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
    return apply_settlement(s, command_at)


@part(INT)
def apply_settlement(s, command_at):
    """Commands that end a session, move assets, or concern the venue's own duties."""
    command = command_of(command_at)
    kind, account_id = command["kind"], command["account_id"]
    market_id, lots, price = command["market_id"], command["lots"], command["price"]
    if kind == CommandKind.FORCE_CLOSE:
        return settlement.force_close(s, account_id, market_id, lots, command["amount"])
    if kind == CommandKind.CHECK_MARGIN:
        check_margin(s)
        cut_profits(s)
        return OK
    if kind == CommandKind.SETTLE:
        return settlement.settle(s, market_id, price)
    if kind == CommandKind.DELIVER:
        return settlement.deliver(s, market_id, price)
    if kind == CommandKind.DEPOSIT_ASSET:
        return settlement.deposit_asset(s, account_id, market_id, lots)
    if kind == CommandKind.WITHDRAW_ASSET:
        return settlement.withdraw_asset(s, account_id, market_id, lots)
    if kind == CommandKind.VOLUNTEER:
        return settlement.volunteer(s, command)
    return OK if kind == CommandKind.CLOCK else Reject.UNKNOWN_COMMAND.value


@inlined
def check_time(s, command):
    """Implements R03."""
    time_ns, now_ns = command["time_ns"], header(s)[H.NOW_NS]
    if now_ns <= time_ns <= TIME_MAX_NS:
        return OK
    if not 0 <= time_ns <= TIME_MAX_NS:
        return Reject.TIME_OUT_OF_RANGE.value
    return Reject.TIME_WENT_BACKWARDS.value


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


@inlined
def has_queued(s):
    words = header(s)
    return (
        words[H.LIQUIDATIONS_HEAD] != words[H.LIQUIDATIONS_TAIL]
        or words[H.ADL_QUEUE_HEAD] != words[H.ADL_QUEUE_TAIL]
        or words[H.STOPS_HEAD] != words[H.STOPS_TAIL]
    )


@inlined
def has_room(s, unit_room):
    """Whether the event buffer takes whatever one unit may append."""
    words = header(s)
    return words[H.EVENTS_ROWS] - words[H.EVENTS_COUNT] >= unit_room


@kernel
def drain(s, unit_room):
    """Work off what a command has queued; returns whether all of it is done. Until then the
    command is pending."""
    words = header(s)
    words[H.PENDING] = 1
    while has_queued(s):
        if not has_room(s, unit_room):
            return False
        work_unit(s)
        end_unit(s)
    words[H.PENDING] = 0
    return True


@front
def run(s, commands_at, count, start, unit_room):
    """Work off commands[start:count], all of them or until events need room.

    `s` and `commands_at` are addresses; `unit_room` is EVENTS_PER_UNIT_MAX. Returns the index of
    the first command not finished: call again with it after draining the events."""
    index = start
    if header(s)[H.PENDING] != 0:
        if not drain(s, unit_room):
            return index
        index += 1
    while index < count:
        if not has_room(s, unit_room):
            return index
        fetch_ahead(s, commands_at, index, count)
        if begin(s, commands_at + index * COMMAND_BYTES):
            end_unit(s)
            if has_queued(s) and not drain(s, unit_room):
                return index
        index += 1
    return index
