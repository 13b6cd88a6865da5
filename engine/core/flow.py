"""The book alone: order flow in, fills out, without accounts, margins or events.

One loop over the structures of `book`, for replaying a recorded order flow or measuring the
matching itself. Self-trade is allowed: there are no accounts. Rows are int64 (n, 5): op, order id,
side, price in ticks, lots.
"""

from enum import IntEnum

import numpy as np

from engine.constants import LOTS_MAX, ORDER_ID_MAX, TICKS_MAX, OrderType, Side
from engine.core.book import (
    best_price,
    crosses,
    find_order,
    first_order,
    free_order_row,
    link_level,
    new_order_row,
    opposite,
    register,
    shrink,
    unlink_level,
    unregister,
)
from engine.core.kernel import entry, inlined
from engine.core.slots import home_slot
from engine.core.state import (
    H,
    fetch_level,
    fetch_order,
    fetch_order_link,
    fetch_order_slot,
    header,
    levels,
    markets,
    order_slots,
    orders,
)
from engine.core.windows import window_at

ALONE = 1  # the only market


class Op(IntEnum):
    """What a row of order flow asks for."""

    ADD = 1  # rests; refused if it would cross
    LIMIT = 2  # trades what crosses, rests the remainder
    IOC = 3  # trades what crosses (price 0: everything), drops the remainder
    REDUCE = 4  # take out that many lots, or all that is left
    REPLACE = 5  # new price and lots; keeps its place at the same price with no more lots
    CANCEL = 6  # take the order out
    MOVE = 7  # as REPLACE, but always loses its place


class FlowError(IntEnum):
    """Why a row was refused."""

    UNKNOWN_OP = 1
    DUPLICATE_ORDER = 2
    UNKNOWN_ORDER = 3
    PRICE_OUT_OF_RANGE = 4
    LOTS_OUT_OF_RANGE = 5
    WOULD_CROSS = 6
    BOOK_FULL = 7
    WRONG_SIDE = 8


FLOW = np.dtype(
    [("op", "<i8"), ("order_id", "<i8"), ("side", "<i8"), ("price", "<i8"), ("lots", "<i8")]
)
FLOW_FILL = np.dtype(
    [("row", "<i8"), ("taker_id", "<i8"), ("maker_id", "<i8"), ("price", "<i8"), ("lots", "<i8")]
)
MULTIPLIER = 1_000_003
NEAR_ORDERS = 1 << 13  # so many lines of orders are held near the core anyway
AHEAD = 4  # rows between one question to memory and the next that needs its answer
MISSING = -(2**63)  # stands for a price that is not there
CODES = 64  # of a table of codes; a power of two
COLUMN, PLACE = np.dtype("<i8"), np.dtype("<i4")  # of order flow: numbers, and places of codes


@inlined
def trade(s, fills, written, at, taker_id, side, limit, lots):
    """Match one order; returns (lots left, fills written so far)."""
    market = markets(s)[ALONE]
    against = opposite(side)
    table = orders(s)
    while lots > 0:
        price = best_price(market, against)
        if price == 0 or not crosses(side, limit, price):
            break
        resting = first_order(s, market, against)
        order = table[resting]
        fill = min(lots, order["lots"])
        lots -= fill
        out = fills[written]
        out["row"] = at
        out["taker_id"] = taker_id
        out["maker_id"] = order["order_id"]
        out["price"] = price
        out["lots"] = fill
        written += 1
        if fill == order["lots"]:
            unlink_level(s, resting)
            drop(s, resting)
        else:
            shrink(s, resting, fill)
    return lots, written


@inlined
def drop(s, row):
    """Forget an order that is out of its level."""
    unregister(s, row)
    free_order_row(s, row)


@inlined
def put_in(s, row, order_id, side, price, lots):
    """Rest what is left of an order: a new one (row 0), or one that has lost its level."""
    if row == 0:
        row = new_order_row(s)
        order = orders(s)[row]
        order["order_id"] = order_id
        order["market_id"] = ALONE
        order["side"] = side
        order["order_type"] = OrderType.LIMIT.value
        register(s, row)
    order = orders(s)[row]
    order["lots"] = lots
    order["price"] = price
    order["tick"] = price
    link_level(s, row)


@inlined
def check_entry(s, op, order_id, side, price, lots, found):
    """0, or why a new order is refused."""
    words, market = header(s), markets(s)[ALONE]
    if found != 0 or order_id <= 0:
        return FlowError.DUPLICATE_ORDER.value
    if side != Side.BUY and side != Side.SELL:
        return FlowError.WRONG_SIDE.value
    if words[H.ORDERS_COUNT] >= words[H.USER_ORDERS_MAX]:
        return FlowError.BOOK_FULL.value
    if lots <= 0:
        return FlowError.LOTS_OUT_OF_RANGE.value
    if not 1 <= price <= market["price_max"] and not (op == Op.IOC and price == 0):
        return FlowError.PRICE_OUT_OF_RANGE.value
    if op == Op.ADD:
        best = best_price(market, opposite(side))
        if best != 0 and crosses(side, price, best):
            return FlowError.WOULD_CROSS.value
    return 0


@inlined
def check_change(s, op, side, price, lots, found):
    """0, or why a change of an order is refused."""
    if found == 0:
        return FlowError.UNKNOWN_ORDER.value
    if op != Op.REDUCE and orders(s)[found]["side"] != side:
        return FlowError.WRONG_SIDE.value
    if op != Op.CANCEL and lots <= 0:
        return FlowError.LOTS_OUT_OF_RANGE.value
    if op >= Op.REPLACE and op != Op.CANCEL and not 1 <= price <= markets(s)[ALONE]["price_max"]:
        return FlowError.PRICE_OUT_OF_RANGE.value
    return 0


@inlined
def work_off(s, fills, written, at, op, order_id, side, price, lots):
    """One row of order flow; returns (fills written so far, FlowError or 0)."""
    if op < Op.ADD or op > Op.MOVE:
        return written, FlowError.UNKNOWN_OP.value
    row = find_order(s, order_id)
    if op <= Op.IOC:
        refused = check_entry(s, op, order_id, side, price, lots, row)
        if refused != 0:
            return written, refused
        if price == 0:
            price = markets(s)[ALONE]["price_max"] if side == Side.BUY else 1
    else:
        refused = check_change(s, op, side, price, lots, row)
        if refused != 0:
            return written, refused
        order = orders(s)[row]
        held = order["lots"]
        if op == Op.REDUCE and lots < held:
            shrink(s, row, lots)
            return written, 0
        if op == Op.REPLACE and order["price"] == price and lots <= held:
            shrink(s, row, held - lots)
            return written, 0
        unlink_level(s, row)
        if op == Op.CANCEL or op == Op.REDUCE:
            drop(s, row)
            return written, 0
    lots, written = trade(s, fills, written, at, order_id, side, price, lots)
    if lots > 0 and op != Op.IOC:
        put_in(s, row, order_id, side, price, lots)
    elif row != 0:
        drop(s, row)
    return written, 0


@inlined
def look_ahead(s, rows, index, count):
    """Ask for what later rows will read: the slot of an id, then its order and the level, then the
    neighbours in the level. What is read for that may be stale by then, which costs only time."""
    market = markets(s)[ALONE]
    table, slots = orders(s), order_slots(s)
    last = count - 1
    fetch_order_slot(s, home_slot(len(slots), rows[min(index + 3 * AHEAD, last)]["order_id"]))
    row = rows[min(index + 2 * AHEAD, last)]
    found = slots[home_slot(len(slots), row["order_id"])]
    fetch_order(s, found)
    fetch_order_link(s, found)
    fetch_level(s, market["level_row"] + row["price"])
    row = rows[min(index + AHEAD, last)]
    found = slots[home_slot(len(slots), row["order_id"])]
    if found != 0:
        order = table[found]
        fetch_order(s, order["prev"])
        fetch_order(s, order["next"])
        fetch_level(s, market["level_row"] + order["tick"])
    elif 1 <= row["price"] <= market["price_max"]:
        fetch_order(s, levels(s)[market["level_row"] + row["price"]]["tail"])


@entry
def run_flow(s, rows_at, count, start, first_row, fills_at, fills_rows):
    """Work off rows[start:count] until done, refused, or short of room for fills.

    Returns (index of the first row not done, fills written, FlowError or 0)."""
    rows = window_at(rows_at, count, FLOW_ROW)
    fills = window_at(fills_at, fills_rows, FILL_ROW)
    enough = fills_rows - header(s)[H.USER_ORDERS_MAX]  # one row may trade with every order
    assert enough > 0, "no room for the fills of one row"
    deep = header(s)[H.ORDERS_USED] > NEAR_ORDERS
    written = 0
    for index in range(start, count):
        if written >= enough:
            return index, written, 0
        if deep:
            look_ahead(s, rows, index, count)
        row = rows[index]
        written, refused = work_off(
            s,
            fills,
            written,
            first_row + index,
            row["op"],
            row["order_id"],
            row["side"],
            row["price"],
            row["lots"],
        )
        if refused != 0:
            return index, written, refused
    return np.int64(count), written, 0


@entry
def run_message(s, at, op, order_id, side, price, lots):
    """Work off one row that Python has as integers; its fills stand where H.EVENTS_AT says.

    Returns the fills written, or its FlowError below zero."""
    words = header(s)
    fills = window_at(words[H.EVENTS_AT], words[H.EVENTS_ROWS], FILL_ROW)
    written, refused = work_off(s, fills, 0, at, op, order_id, side, price, lots)
    return -refused if refused != 0 else written


FLOW_ROW = FLOW
FILL_ROW = FLOW_FILL


@entry
def fold_checksum(fills_at, count, checksum):
    """checksum * MULTIPLIER + x, modulo 2**64, over maker, taker, price, lots of each fill."""
    fills = window_at(fills_at, count, FILL_ROW)
    for index in range(count):
        fill = fills[index]
        checksum = checksum * MULTIPLIER + fill["maker_id"]
        checksum = checksum * MULTIPLIER + fill["taker_id"]
        checksum = checksum * MULTIPLIER + fill["price"]
        checksum = checksum * MULTIPLIER + fill["lots"]
    return checksum


@entry
def pack_flow(columns_at, count, has_missing, last, rows_at, numbers_at):
    """Columns to FLOW rows and their numbers; whether every one of them is as it must be.

    `columns_at` holds addresses: of COLUMNs of numbers, times, order ids, prices and lots, of the
    PLACEs of ops and sides among their codes, and of CODES such codes for either; a blank side is
    0. MISSING is no price where `has_missing`. `last` holds the number and the time before, and
    then those of the last row. A reduce needs no side and no price, every other row both.
    """
    numbers = window_at(columns_at[0], count, COLUMN)
    times = window_at(columns_at[1], count, COLUMN)
    order_ids = window_at(columns_at[2], count, COLUMN)
    prices = window_at(columns_at[3], count, COLUMN)
    lots = window_at(columns_at[4], count, COLUMN)
    op_places = window_at(columns_at[5], count, PLACE)
    side_places = window_at(columns_at[6], count, PLACE)
    op_codes = window_at(columns_at[7], CODES, COLUMN)
    side_codes = window_at(columns_at[8], CODES, COLUMN)
    rows, numbers_out = window_at(rows_at, count, FLOW_ROW), window_at(numbers_at, count, COLUMN)
    number, time_ns = last[0], last[1]
    sound = True
    for index in range(count):
        sound &= 0 <= op_places[index] < CODES and 0 <= side_places[index] < CODES
        op = op_codes[op_places[index] & (CODES - 1)]
        side = side_codes[side_places[index] & (CODES - 1)]
        price = prices[index]
        if op == Op.REDUCE:
            side = Side.BUY.value if side == 0 else side
            price = 0 if has_missing and price == MISSING else price
        sound &= number < numbers[index] <= ORDER_ID_MAX
        sound &= time_ns <= times[index] <= ORDER_ID_MAX
        sound &= Op.ADD <= op <= Op.REPLACE and Side.BUY <= side <= Side.SELL
        sound &= 1 <= order_ids[index] <= ORDER_ID_MAX
        sound &= 0 <= price < TICKS_MAX and 1 <= lots[index] <= LOTS_MAX
        number, time_ns = numbers[index], times[index]
        row = rows[index]
        row["op"] = op
        row["order_id"] = order_ids[index]
        row["side"] = side
        row["price"] = price
        row["lots"] = lots[index]
        numbers_out[index] = number
    last[0], last[1] = number, time_ns
    return sound
