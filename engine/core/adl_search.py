"""Best first through the index of a side: groups of lines, their lines, cells; part of R83.

What is closed lies on a heap by its bound, and the highest is opened first: a group for the first
cells of its lines, a cell for its legs and the cell after it. So many lines, and nearly all cells,
are never looked at.
"""

import numpy as np

from engine.constants import PPB, AdlScore, Payoff
from engine.core.adl_index import (
    BOUND_MAX,
    CELLS,
    FINER,
    GROUP,
    LINES,
    LOOSE,
    PART_MOVED,
    USED_WORDS,
    grid_of,
    group_of,
    index_side,
    keep_up,
)
from engine.core.arithmetic import first_bit_from, mul_div_bounded
from engine.core.kernel import INT, inlined, kernel, part
from engine.core.ledger import DOMAIN_BITS
from engine.core.margin import notional
from engine.core.state import (
    H,
    adl_cells,
    adl_grids,
    adl_heap,
    adl_lines,
    adl_used,
    fetch_adl_cell,
    fetch_adl_node,
    fetch_adl_used,
    fetch_position,
    header,
    markets,
    touched,
)

HEAD_BITS = 32  # of a row of a position
SOON, LATER = 4, 6  # rows of the heap that may come to the top soon: their legs are asked for

# -- bounds -----------------------------------------------------------------------------------


@inlined
def ratio_above(numerator, denominator):
    """More than the ratio in PPB, or BOUND_MAX where there is none."""
    if denominator <= 0:
        return BOUND_MAX
    return mul_div_bounded(numerator, PPB, denominator, BOUND_MAX - 1) + 1


@inlined
def unit_of(s, market_id, long):
    """What a lot of a side is worth at mark, give or take one; negative where its holder gains as
    that falls."""
    market = markets(s)[market_id]
    gains = (market["payoff"] == Payoff.LINEAR) == (long != 0)
    size = max(1, notional(market, 1, market["mark_price"]))
    return size if gains else -size


@kernel
def bound_of(s, row, own, unit):
    """No score in a line, or a group of lines, of those with at least so much of their own, is
    above this; see `unit_of`. Where the whole score grows with what is won, which it does as long
    as money of one's own is not negative, both factors are bounded by the most won."""
    line = adl_lines(s)[row]
    rule, gains = header(s)[H.ADL_SCORE], unit > 0
    low, high = max(1, abs(unit) - 1), abs(unit) + 1
    won_most = high - line["entry_min"] if gains else line["entry_max"] - low
    won_least = low - line["entry_max"] if gains else line["entry_min"] - high
    joint = rule != AdlScore.PROFIT_TIMES_LEVERAGE or gains
    equity = own + (won_most if joint and own >= 0 else won_least)
    if rule == AdlScore.PRICE_GAIN_TIMES_LEVERAGE:
        first = ratio_above(line["entry_max"], low)
        if gains:
            first = ratio_above(high, line["entry_min"])
        second = ratio_above(high, own + won_least)
    elif won_most <= 0:
        return 0
    elif rule == AdlScore.WALLET_PCT_MARGIN_RATIO:
        first = ratio_above(won_most, own)
        second = BOUND_MAX
        if equity > 0:
            second = mul_div_bounded(high, line["rate_max"], equity, BOUND_MAX) // FINER + 2
    elif rule == AdlScore.RETURN_TIMES_LEVERAGE:
        first = ratio_above(won_most * line["leverage_max"], low)
        second = ratio_above(high, equity)
    else:
        first = ratio_above(won_most, line["entry_min"] if gains else line["entry_max"])
        second = ratio_above(high, equity)
    if first >= BOUND_MAX or second >= BOUND_MAX:
        return BOUND_MAX
    return min(BOUND_MAX, mul_div_bounded(first, second, PPB, BOUND_MAX) + 1)


# -- the heap ---------------------------------------------------------------------------------


@inlined
def closed_by(place, head):
    """What is closed, in a word: a cell by its place and its first leg, or a group of lines by its
    number and no leg."""
    return (place << HEAD_BITS) | head


@inlined
def head_of(closed):
    return closed & ((1 << HEAD_BITS) - 1)


@inlined
def put_bound(heap, row, bound, closed):
    heap[row]["bound"] = bound
    heap[row]["closed"] = closed


@inlined
def copy_bound(heap, row, other):
    """Word by word: what was written in words and is read as a whole makes the processor wait."""
    put_bound(heap, row, heap[other]["bound"], heap[other]["closed"])


@kernel
def sift_bounds(heap, end):
    """Restore a heap with the highest bound on top, in rows 1 to end, of which the first may be
    too low: it goes down to a leaf, and up from there to its place, which costs fewer guesses."""
    root, child = 1, 2
    bound, closed = heap[1]["bound"], heap[1]["closed"]
    while child < end:
        child += np.int64(heap[child + 1]["bound"] > heap[child]["bound"])
        copy_bound(heap, root, child)
        root, child = child, 2 * child
    if child == end:
        copy_bound(heap, root, child)
        root = child
    lift_bound(heap, root, bound, closed)


@inlined
def lift_bound(heap, row, bound, closed):
    """Put a bound where it belongs between a row and the top."""
    while row > 1 and heap[row >> 1]["bound"] < bound:
        copy_bound(heap, row, row >> 1)
        row >>= 1
    put_bound(heap, row, bound, closed)


@kernel
def push_bound(heap, count, bound, closed):
    """One more on a heap of `count`; how many there are then."""
    lift_bound(heap, count + 1, bound, closed)
    return count + 1


# -- opening ----------------------------------------------------------------------------------


@kernel
def next_cell(s, grid, place, end):
    """The first cell from `place` on and before `end` that holds somebody, or `end`."""
    while place < end:
        bit = first_bit_from(adl_used(s)[grid * USED_WORDS + (place >> 6)], place & 63)
        place = (place & ~63) + bit  # bit 64 is the first of the next word
        if bit < 64 and place < end:
            return place
    return end


@part(INT)
def open_index(s, market_id, long):
    """Bring a side up to date and put its groups of lines on the heap; how many."""
    grid = grid_of(market_id, long)
    side, mark = adl_grids(s)[grid], markets(s)[market_id]["mark_price"]
    for index in range(header(s)[H.TOUCHED_COUNT] if header(s)[H.ADL_LIVE] != 0 else 0):
        keep_up(s, touched(s)[index] >> DOMAIN_BITS)
    if side["live"] == 0 or abs(mark - side["mark_price"]) > side["mark_price"] // PART_MOVED:
        index_side(s, market_id, long)
    heap, count = adl_heap(s), 0
    loose = adl_cells(s)[grid * CELLS + LOOSE]["head"]
    if loose != 0:
        count = push_bound(heap, count, BOUND_MAX, closed_by(LOOSE, loose))
    unit = unit_of(s, market_id, long)
    for index in range(side["lines"] // GROUP):
        row = grid * LINES + group_of(index * GROUP)
        group = adl_lines(s)[row]
        if group["entry_max"] != 0:
            bound = bound_of(s, row, group["own_low"], unit)
            count = push_bound(heap, count, bound, closed_by(index, 0))
    return count


@kernel
def open_group(s, grid, unit, count, group):
    """The first cells of the lines of the group on top of the heap take its place; how many are
    closed then. Lines and group remember what those cells say."""
    heap, columns = adl_heap(s), adl_grids(s)[grid]["columns"]
    for index in range(group * GROUP, (group + 1) * GROUP):
        place = adl_lines(s)[grid * LINES + index]["first"]
        fetch_adl_used(s, grid * USED_WORDS + (place >> 6))
        fetch_adl_cell(s, grid * CELLS + place)
    copy_bound(heap, 1, count)
    sift_bounds(heap, count - 1)
    count -= 1
    bounds, low, before = adl_lines(s)[grid * LINES + group_of(group * GROUP)], BOUND_MAX, count
    for index in range(group * GROUP, (group + 1) * GROUP):
        line, end = adl_lines(s)[grid * LINES + index], (index + 1) * columns
        place = next_cell(s, grid, line["first"], end) if line["entry_max"] != 0 else end
        if place != end:
            cell = adl_cells(s)[grid * CELLS + place]
            bound = bound_of(s, grid * LINES + index, cell["own_min"], unit)
            if bound >= heap[1]["bound"]:
                fetch_leg(s, cell["head"])
            count = push_bound(heap, count, bound, closed_by(place, cell["head"]))
            line["first"] = place
            low = min(low, cell["own_min"])
        else:
            line["entry_max"] = 0
    bounds["own_low"] = low
    if count == before:
        bounds["entry_max"] = 0
    return count


@inlined
def fetch_leg(s, row):
    """Ask for the lines that ranking a leg reads."""
    fetch_adl_node(s, row)
    fetch_position(s, row)


@kernel
def open_cell(s, grid, unit, count, place):
    """The next cell of its line, if there is one, takes the place of the cell on top of the heap;
    how many are closed then."""
    heap, columns = adl_heap(s), adl_grids(s)[grid]["columns"]
    index = place // columns
    end = CELLS if place == LOOSE else (index + 1) * columns
    place = next_cell(s, grid, place + 1, end)
    if place != end:
        cell = adl_cells(s)[grid * CELLS + place]
        fetch_leg(s, cell["head"])
        fetch_adl_cell(s, grid * CELLS + next_cell(s, grid, place + 1, end))
        bound = bound_of(s, grid * LINES + index, cell["own_min"], unit)
        put_bound(heap, 1, bound, closed_by(place, cell["head"]))
    else:
        copy_bound(heap, 1, count)
        count -= 1
    sift_bounds(heap, count)
    return count


@kernel
def open_best(s, grid, unit, count):
    """Open what has the highest bound of `count`: the first leg of a cell, 0 if it was a group; and
    how many are closed then."""
    heap = adl_heap(s)
    place, head = heap[1]["closed"] >> HEAD_BITS, head_of(heap[1]["closed"])
    if head == 0:
        count = open_group(s, grid, unit, count, place)
    else:
        count = open_cell(s, grid, unit, count, place)
    for ahead in range(SOON, min(count + 1, LATER)):
        fetch_leg(s, head_of(heap[ahead]["closed"]))
    return head, count
