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
from engine.core.kernel import entry, inlined, kernel
from engine.core.state import H, header, markets, orders, view_at

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
MISSING = -(2**63)  # stands for a price that is not there


@inlined
def trade(s, fills, count, row, taker_id, side, limit, lots):
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
        out = fills[count]
        out["row"] = row
        out["taker_id"] = taker_id
        out["maker_id"] = order["order_id"]
        out["price"] = price
        out["lots"] = fill
        count += 1
        if fill == order["lots"]:
            take_out(s, resting)
        else:
            shrink(s, resting, fill)
    return lots, count


@inlined
def take_out(s, row):
    unlink_level(s, row)
    unregister(s, row)
    free_order_row(s, row)


@inlined
def put_in(s, order_id, side, price, lots):
    row = new_order_row(s)
    order = orders(s)[row]
    order["order_id"] = order_id
    order["lots"] = lots
    order["price"] = price
    order["tick"] = price
    order["market_id"] = ALONE
    order["side"] = side
    order["order_type"] = OrderType.LIMIT.value
    link_level(s, row)
    register(s, row)


@kernel
def check_row(s, op, order_id, side, price, lots, found):
    """0, or why the row is refused."""
    market = markets(s)[ALONE]
    if op < Op.ADD or op > Op.MOVE:
        return FlowError.UNKNOWN_OP.value
    if op <= Op.IOC:
        if found != 0 or order_id <= 0:
            return FlowError.DUPLICATE_ORDER.value
        if side != Side.BUY and side != Side.SELL:
            return FlowError.WRONG_SIDE.value
        words = header(s)
        if words[H.ORDERS_COUNT] >= words[H.USER_ORDERS_MAX]:
            return FlowError.BOOK_FULL.value
    else:
        if found == 0:
            return FlowError.UNKNOWN_ORDER.value
        if op != Op.REDUCE and orders(s)[found]["side"] != side:
            return FlowError.WRONG_SIDE.value
    if lots <= 0 and op != Op.CANCEL:
        return FlowError.LOTS_OUT_OF_RANGE.value
    priced = op != Op.CANCEL and op != Op.REDUCE and not (op == Op.IOC and price == 0)
    if priced and not 1 <= price <= market["price_max"]:
        return FlowError.PRICE_OUT_OF_RANGE.value
    if op == Op.ADD:
        best = best_price(market, opposite(side))
        if best != 0 and crosses(side, price, best):
            return FlowError.WOULD_CROSS.value
    return 0


@entry
def run_flow(s, rows_at, count, start, first_row, fills_at, fills_rows):
    """Work off rows[start:count] until done, refused, or short of room for fills.

    Returns (index of the first row not done, fills written, FlowError or 0)."""
    rows = view_at(rows_at, count, FLOW_ROW)
    fills = view_at(fills_at, fills_rows, FILL_ROW)
    market = markets(s)[ALONE]
    words = header(s)
    written = 0
    for index in range(start, count):
        if fills_rows - written <= words[H.ORDERS_COUNT]:
            return index, written, 0
        row = rows[index]
        op, order_id, side = row["op"], row["order_id"], row["side"]
        price, lots = row["price"], row["lots"]
        found = find_order(s, order_id)
        refused = check_row(s, op, order_id, side, price, lots, found)
        if refused != 0:
            return index, written, refused
        if op == Op.CANCEL or (op == Op.REDUCE and lots >= orders(s)[found]["lots"]):
            take_out(s, found)
            continue
        if op == Op.REDUCE:
            shrink(s, found, lots)
            continue
        held = orders(s)[found]["lots"]
        if op == Op.REPLACE and orders(s)[found]["price"] == price and lots <= held:
            shrink(s, found, held - lots)
            continue
        if op >= Op.REPLACE:
            take_out(s, found)
        if op == Op.IOC and price == 0:
            price = market["price_max"] if side == Side.BUY else 1
        at = first_row + index
        lots, written = trade(s, fills, written, at, order_id, side, price, lots)
        if lots > 0 and op != Op.IOC:
            put_in(s, order_id, side, price, lots)
    return np.int64(count), written, 0


FLOW_ROW = FLOW
FILL_ROW = FLOW_FILL


@entry
def fold_checksum(fills_at, count, checksum):
    """checksum * MULTIPLIER + x, modulo 2**64, over maker, taker, price, lots of each fill."""
    fills = view_at(fills_at, count, FILL_ROW)
    for index in range(count):
        fill = fills[index]
        checksum = checksum * MULTIPLIER + fill["maker_id"]
        checksum = checksum * MULTIPLIER + fill["taker_id"]
        checksum = checksum * MULTIPLIER + fill["price"]
        checksum = checksum * MULTIPLIER + fill["lots"]
    return checksum


@entry
def pack_flow(numbers, times, ops, order_ids, sides, prices, lots, last, rows):
    """Columns (int64) to FLOW rows; whether every one of them is as it must be.

    `last` holds the number and the time before, and then those of the last row. Ops and sides are
    codes, a blank side is 0. A reduce needs no side and no price, every other row both.
    """
    number, time_ns = last[0], last[1]
    sound = True
    for index in range(len(rows)):
        op, side, price = ops[index], sides[index], prices[index]
        if op == Op.REDUCE:
            side = Side.BUY.value if side == 0 else side
            price = 0 if price == MISSING else price
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
    last[0], last[1] = number, time_ns
    return sound
