"""The order book: price levels on a bitmap ladder, a FIFO of orders at each, and order rows.

Rest, find, shrink and unlink. It knows prices, sizes and time priority; accounts, margins and
events are above it. A slot of an id holds the row of the newest order whose id belongs there, each
order the row of the one before, and the id is read in the order itself, whose line is needed
anyway: sixteen orders share a line of slots, and leaving moves none of the others. Bids and asks
share one ladder: every level below the touch is a bid, every level above it an ask. Implements R10,
R13 and R17.
"""

import numpy as np

from engine.constants import Side
from engine.core.arithmetic import divide_down, times_inverse
from engine.core.kernel import inlined, kernel
from engine.core.ladder import clear_position, first_from, ladder_row, last_to, set_position
from engine.core.slots import home_slot
from engine.core.state import (
    H,
    Ladders,
    header,
    levels,
    markets,
    order_links,
    order_slots,
    orders,
)


@inlined
def best_tick(market, side):
    """Best tick of a side, 0 when it is empty."""
    bid, ask = market["best_bid_tick"], market["best_ask_tick"]  # both read: no branch on the side
    return bid if side == Side.BUY else ask


@inlined
def tick_of(market, price):
    """price / tick rounded down, for a price from 0 to price_max."""
    inverse = market["tick_inverse"]
    if inverse != 0:
        return times_inverse(price, inverse)
    return divide_down(price, market["tick_price"])


@inlined
def is_off_tick(market, price):
    return tick_of(market, price) * market["tick_price"] != price


@inlined
def best_price(market, side):
    return best_tick(market, side) * market["tick_price"]


@inlined
def opposite(side):
    return Side.SELL if side == Side.BUY else Side.BUY


@inlined
def signed(side, lots):
    return lots if side == Side.BUY else -lots


@inlined
def crosses(side, limit, price):
    """Implements R11."""
    return price <= limit if side == Side.BUY else price >= limit


@inlined
def new_order_row(s):
    """A zeroed order row; room was checked at admission."""
    words = header(s)
    row = words[H.ORDERS_FREE]
    if row != 0:
        words[H.ORDERS_FREE] = orders(s)[row]["next"]
        orders(s)[row]["next"] = 0
    else:
        words[H.ORDERS_USED] += 1
        row = words[H.ORDERS_USED]
        assert row < words[H.ORDERS_ROWS], "no room for an order that was admitted"
    words[H.ORDERS_COUNT] += 1
    return row


@inlined
def free_order_row(s, row):
    """Zero a row, so that equal states have equal bytes, and put it on the free list."""
    words = header(s)
    table = orders(s)
    table[row] = table[0]
    table[row]["next"] = words[H.ORDERS_FREE]
    words[H.ORDERS_FREE] = row
    words[H.ORDERS_COUNT] -= 1


@inlined
def find_order(s, order_id):
    """The row of a live order, 0 if there is none of this id."""
    slots = order_slots(s)
    table = orders(s)
    row = np.int64(slots[home_slot(len(slots), order_id)])
    while row != 0 and table[row]["order_id"] != order_id:
        row = np.int64(order_links(s)[row])
    return row


@inlined
def register(s, row):
    """Make a live order known by its id, which no other has."""
    slots = order_slots(s)
    slot = home_slot(len(slots), orders(s)[row]["order_id"])
    if slots[slot] != 0:
        _chain_order(s, slots[slot], row)
    slots[slot] = row


@kernel
def _chain_order(s, first, row):
    table, links = orders(s), order_links(s)
    links[row] = first
    while first != 0:
        assert table[first]["order_id"] != table[row]["order_id"], "two live orders of one id"
        first = links[first]


@inlined
def unregister(s, row):
    """Forget the id of a live order."""
    slots, links = order_slots(s), order_links(s)
    slot = home_slot(len(slots), orders(s)[row]["order_id"])
    following = links[row]
    if slots[slot] == row:
        slots[slot] = following
    else:
        _unchain_order(s, slots[slot], row)
    if following != 0:
        links[row] = 0


@kernel
def _unchain_order(s, before, row):
    links = order_links(s)
    while links[before] != row:
        assert links[before] != 0, "a live order is not known by its id"
        before = links[before]
    links[before] = links[row]


@inlined
def link_level(s, row):
    """Put an order at the back of its price level; the level and the touch follow."""
    table = orders(s)
    order = table[row]
    market = markets(s)[order["market_id"]]
    tick = order["tick"]
    level = levels(s)[market["level_row"] + tick]
    tail = level["tail"]
    order["prev"] = tail
    order["next"] = 0
    if tail == 0:
        level["head"] = row
        set_position(s, ladder_row(order["market_id"], Ladders.BOOK), tick)
        if order["side"] == Side.BUY:
            if tick > market["best_bid_tick"]:
                market["best_bid_tick"] = tick
        elif market["best_ask_tick"] == 0 or tick < market["best_ask_tick"]:
            market["best_ask_tick"] = tick
    else:
        table[tail]["next"] = row
    level["tail"] = row
    level["lots"] += order["lots"]


@inlined
def unlink_level(s, row):
    """Take an order out of its price level; the level and the touch follow."""
    table = orders(s)
    order = table[row]
    market = markets(s)[order["market_id"]]
    tick = order["tick"]
    level = levels(s)[market["level_row"] + tick]
    before = order["prev"]
    after = order["next"]
    if before == 0:
        level["head"] = after
    else:
        table[before]["next"] = after
    if after == 0:
        level["tail"] = before
    else:
        table[after]["prev"] = before
    level["lots"] -= order["lots"]
    if level["head"] == 0:
        close_level(s, order["market_id"], order["side"], tick)


@inlined
def close_level(s, market_id, side, tick):
    """An empty level leaves the ladder; the touch moves to the next one."""
    row = ladder_row(market_id, Ladders.BOOK)
    market = markets(s)[market_id]
    clear_position(s, row, tick)
    if side == Side.BUY:
        if tick == market["best_bid_tick"]:
            market["best_bid_tick"] = last_to(s, row, tick)
    elif tick == market["best_ask_tick"]:
        market["best_ask_tick"] = first_from(s, row, tick)


@inlined
def shrink(s, row, lots):
    """An order loses lots in place."""
    order = orders(s)[row]
    market = markets(s)[order["market_id"]]
    order["lots"] -= lots
    levels(s)[market["level_row"] + order["tick"]]["lots"] -= lots


@inlined
def first_order(s, market, side):
    """Row of the order that trades next on a side that is not empty."""
    return levels(s)[market["level_row"] + best_tick(market, side)]["head"]


@kernel
def next_order(s, row):
    """Row of the order that would trade after this one, 0 if none: its level, then the next."""
    order = orders(s)[row]
    if order["next"] != 0:
        return order["next"]
    market = markets(s)[order["market_id"]]
    ladder = ladder_row(order["market_id"], Ladders.BOOK)
    if order["side"] == Side.BUY:
        tick = last_to(s, ladder, order["tick"] - 1)
    else:
        tick = first_from(s, ladder, order["tick"] + 1)
    if tick == 0:
        return 0
    return levels(s)[market["level_row"] + tick]["head"]
