"""The index that finds the best of a side without scoring all of it; part of R83.

What a score is made of is bounded by two numbers of a position that do not move with the mark: its
entry value per lot, and its own money per lot, beside profit and loss. Lines of cells are ranges of
the first (and of the maintenance rate or the leverage, where the score has one), columns ranges of
the second; the ranges are quantiles of the side when it was indexed. A cell bounds every score in
it at any mark, and along a line the bounds only fall. Cells are opened from the highest bound down,
until the best score found is above every bound left: the order is that of a full ranking, to the
last tie. A cross domain of several legs has no such numbers; all of those are scored first.

A side is indexed when somebody is to be deleveraged there, kept up by whoever is touched, and
dropped when that has cost some times what building it costs.
"""

from engine.constants import PPB, AdlScore, Payoff
from engine.core.arithmetic import (
    divide_up,
    first_bit_from,
    last_bit_to,
    mul_div_bounded,
    mul_div_up,
    with_bit,
)
from engine.core.kernel import INT, NOTHING, inlined, kernel, part
from engine.core.ledger import DOMAIN_BITS, is_system, position_notional
from engine.core.margin import maintenance_margin, notional
from engine.core.sorting import sort_keys
from engine.core.state import (
    H,
    accounts,
    adl_cells,
    adl_edges,
    adl_grids,
    adl_heap,
    adl_lines,
    adl_nodes,
    adl_order,
    adl_used,
    header,
    leg_links,
    markets,
    positions,
    touched,
)

BOUND_MAX = 2**60  # scores saturate here; a bound that reaches it says nothing
CELLS_IN_LINES, LINES_MIN, LINES_MAX = 262_144, 8, 512  # fewer lines have more columns
COLUMNS_MAX = CELLS_IN_LINES // LINES_MIN
PLANE_BITS, STEP_BITS = 50, 5  # of an entry value, below the plane in the key of a line
LOOSE = CELLS_IN_LINES  # the cell of those without two such numbers, a line by itself
CELLS, LINES = CELLS_IN_LINES + 1, LINES_MAX + 1
USED_WORDS = CELLS_IN_LINES // 64 + 1  # a bit for every cell that may hold somebody
EDGES = LINES_MAX + COLUMNS_MAX
RATE_UNIT = 10**12
FINER, RATE_STEP = RATE_UNIT // PPB, 10**7
SAMPLE_MAX = 16_384
PART_MOVED = 16  # a side is indexed anew when the mark has moved by one part in so many
WORK_MIN, WORK_FACTOR, LINK_WORK = 1_000, 16, 4  # the unit of work is one exact score


@inlined
def grid_of(market_id, long):
    return 2 * market_id + long


@inlined
def is_indexable(s, market):
    """Scores that two numbers bound; maintenance and initial margin are bounded for plain markets
    only."""
    rule = header(s)[H.ADL_SCORE]
    if rule == AdlScore.WALLET_PCT_MARGIN_RATIO or rule == AdlScore.RETURN_TIMES_LEVERAGE:
        return market["plain"] != 0
    return rule == AdlScore.PROFIT_TIMES_LEVERAGE or rule == AdlScore.PRICE_GAIN_TIMES_LEVERAGE


# -- where a position lies --------------------------------------------------------------------


@kernel
def is_alone(s, row):
    """Whether nothing but this leg moves its domain's equity with a mark."""
    position = positions(s)[row]
    if position["isolated"] != 0:
        return True
    other = accounts(s)[position["account_row"]]["position_head"]
    while other != 0:
        leg = positions(s)[other]
        if other != row and leg["isolated"] == 0 and leg["lots"] != 0:
            return False
        other = leg["account_next"]
    return True


@inlined
def entry_of(s, row):
    """Entry value of a lot, rounded down."""
    position = positions(s)[row]
    return abs(position["entry_quote"]) // abs(position["lots"])


@inlined
def own_of(s, row):
    """Money of the domain per lot beside what its leg has won or lost, rounded down."""
    position = positions(s)[row]
    own = position["margin_quote"]
    if position["isolated"] == 0:
        own = accounts(s)[position["account_row"]]["wallet_quote"]
    return own // abs(position["lots"])


@kernel
def top_rate(s, row):
    """A rate of maintenance, by RATE_UNIT, that the leg stays below until the side is indexed anew:
    that of a larger size, since rates grow with it, and what rounding up adds to it."""
    position = positions(s)[row]
    market = markets(s)[position["market_id"]]
    now = position_notional(s, row) + 1
    size = now + now // (PART_MOVED // 4)
    margin = maintenance_margin(
        s, market, position["lots"], size, position["entry_quote"], position["leverage"]
    )
    return mul_div_up(margin, RATE_UNIT, size) + 2 * RATE_UNIT // now + 1


@inlined
def rate_of(s, row):
    """The maintenance rate, where the score has one."""
    wanted = header(s)[H.ADL_SCORE] == AdlScore.WALLET_PCT_MARGIN_RATIO
    return top_rate(s, row) if wanted else 0


@inlined
def step_of(value):
    """Which of the steps that grow geometrically, 2**STEP_BITS an octave, holds a value >= 0."""
    if value < 2 << STEP_BITS:
        return value
    shift = last_bit_to(value, 62) - STEP_BITS
    return (shift << STEP_BITS) + (value >> shift)


@inlined
def plane_of(s, rate, leverage):
    """The range a leg is in: of its maintenance rate, of its leverage, or the only one."""
    rule = header(s)[H.ADL_SCORE]
    if rule == AdlScore.WALLET_PCT_MARGIN_RATIO:
        return step_of(rate // RATE_STEP)
    return step_of(leverage) if rule == AdlScore.RETURN_TIMES_LEVERAGE else 0


@inlined
def line_key(s, row, rate):
    """What lines are ranges of: the plane, then the entry value."""
    plane = plane_of(s, rate, positions(s)[row]["leverage"])
    return (plane << PLANE_BITS) + min(entry_of(s, row), (1 << PLANE_BITS) - 1)


@inlined
def range_of(s, first, count, value):
    """Which of `count` ranges holds a value; their lower edges ascend from row first + 1 on."""
    edges = adl_edges(s)
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if edges[first + middle] <= value:
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def link(s, row, grid):
    """Put a leg into its cell, and widen what line and cell say."""
    position = positions(s)[row]
    entry, own, leverage = entry_of(s, row), own_of(s, row), position["leverage"]
    rate = rate_of(s, row)
    columns = adl_grids(s)[grid]["columns"]
    place = LOOSE
    if is_alone(s, row):
        place = range_of(s, grid * EDGES, CELLS_IN_LINES // columns, line_key(s, row, rate))
        place = place * columns + range_of(s, grid * EDGES + LINES_MAX, columns, own)
    line = adl_lines(s)[grid * LINES + place // columns]
    cell, node = adl_cells(s)[grid * CELLS + place], adl_nodes(s)[row]
    high = max(1, divide_up(abs(position["entry_quote"]), abs(position["lots"])))
    fresh = line["entry_max"] == 0
    line["entry_min"] = entry if fresh else min(line["entry_min"], entry)
    line["entry_max"] = high if fresh else max(line["entry_max"], high)
    line["rate_max"] = max(line["rate_max"], rate)
    line["leverage_max"] = max(line["leverage_max"], leverage)
    word = grid * USED_WORDS + (place >> 6)
    adl_used(s)[word] = with_bit(adl_used(s)[word], place & 63)
    cell["own_min"] = own if cell["head"] == 0 else min(cell["own_min"], own)
    if cell["head"] != 0:
        adl_nodes(s)[cell["head"]]["prev"] = row
    node["next"] = cell["head"]
    node["prev"] = 0
    node["place"] = grid * CELLS + place
    cell["head"] = row


@kernel
def unlink(s, row):
    """Take a leg out of its cell; an empty cell keeps its bit until the side is indexed anew."""
    node = adl_nodes(s)[row]
    if node["prev"] != 0:
        adl_nodes(s)[node["prev"]]["next"] = node["next"]
    else:
        adl_cells(s)[node["place"]]["head"] = node["next"]
    if node["next"] != 0:
        adl_nodes(s)[node["next"]]["prev"] = node["prev"]
    node["next"] = 0
    node["prev"] = 0
    node["place"] = 0


# -- making and keeping it --------------------------------------------------------------------


@kernel
def spend(s, grid, work):
    """Count work against what a side may still cost; drops it when that is used up."""
    side = adl_grids(s)[grid]
    side["work_left"] -= work
    if side["live"] != 0 and side["work_left"] <= 0:
        side["live"] = 0
        header(s)[H.ADL_LIVE] -= 1


@inlined
def is_of_side(s, row, long):
    """Whether a leg of the market is a user's open position on the side."""
    lots = positions(s)[row]["lots"]
    mine = lots > 0 if long != 0 else lots < 0
    return mine and not is_system(s, positions(s)[row]["account_row"])


@kernel
def sample_side(s, market_id, long, stride, own):
    """Every stride-th of a side: what lines or columns are ranges of, ascending in ADL_ORDER;
    of an empty one a zero."""
    count, seen = 0, 0
    row = markets(s)[market_id]["position_head"]
    while row != 0:
        if is_of_side(s, row, long):
            if seen % stride == 0:
                value = own_of(s, row) if own != 0 else line_key(s, row, rate_of(s, row))
                adl_order(s)[count] = value
                count += 1
            seen += 1
        row = leg_links(s)[row]
    if count == 0:
        adl_order(s)[0] = 0
        return 1
    sort_keys(adl_order(s), count)
    return count


@kernel
def write_edges(s, first, ranges, count):
    """Lower edges of ranges that hold equal parts of the sample; no range spans two planes."""
    plane = adl_order(s)[0] >> PLANE_BITS
    for index in range(1, ranges):
        edge = adl_order(s)[index * count // ranges]
        if edge >> PLANE_BITS != plane:
            plane = edge >> PLANE_BITS
            edge = plane << PLANE_BITS
        adl_edges(s)[first + index] = edge


@kernel
def clear_side(s, market_id, long):
    """Empty every cell; the number of positions that the side has."""
    grid = grid_of(market_id, long)
    for place in range(grid * LINES, (grid + 1) * LINES):
        adl_lines(s)[place]["entry_max"] = 0
        adl_lines(s)[place]["rate_max"] = 0
        adl_lines(s)[place]["leverage_max"] = 0
    for word in range(USED_WORDS):
        bits = adl_used(s)[grid * USED_WORDS + word]
        bit = first_bit_from(bits, 0)
        while bit < 64:
            adl_cells(s)[grid * CELLS + (word << 6) + bit]["head"] = 0
            bit = first_bit_from(bits, bit + 1) if bit < 63 else 64
        adl_used(s)[grid * USED_WORDS + word] = 0
    count = 0
    row = markets(s)[market_id]["position_head"]
    while row != 0:
        if adl_nodes(s)[row]["place"] // CELLS == grid:
            adl_nodes(s)[row]["place"] = 0
        if is_of_side(s, row, long):
            count += 1
        row = leg_links(s)[row]
    return count


@kernel
def choose_lines(s, count):
    """How many lines tell the entries of a sample apart: a power of two."""
    distinct = 1
    for index in range(1, count):
        if adl_order(s)[index] != adl_order(s)[index - 1]:
            distinct += 1
    lines = LINES_MIN
    while lines < min(distinct, LINES_MAX):
        lines *= 2
    return lines


@part(NOTHING)
def index_side(s, market_id, long):
    """Index one side of a market from its list of legs."""
    grid = grid_of(market_id, long)
    side, market = adl_grids(s)[grid], markets(s)[market_id]
    count = clear_side(s, market_id, long)
    stride = count // SAMPLE_MAX + 1
    sampled = sample_side(s, market_id, long, stride, 0)
    lines = choose_lines(s, sampled)
    side["columns"] = CELLS_IN_LINES // lines
    write_edges(s, grid * EDGES, lines, sampled)
    sampled = sample_side(s, market_id, long, stride, 1)
    write_edges(s, grid * EDGES + LINES_MAX, side["columns"], sampled)
    row = market["position_head"]
    while row != 0:
        if is_of_side(s, row, long):
            link(s, row, grid)
        row = leg_links(s)[row]
    side["mark_price"] = market["mark_price"]
    side["work_left"] = WORK_MIN + WORK_FACTOR * count
    if side["live"] == 0:
        side["live"] = 1
        header(s)[H.ADL_LIVE] += 1


@part(NOTHING)
def keep_up(s, account_row):
    """An account was touched: its legs on indexed sides go where they belong now."""
    if is_system(s, account_row):
        return
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        grid = adl_nodes(s)[row]["place"] // CELLS
        if adl_grids(s)[grid]["live"] != 0:
            unlink(s, row)  # it may be on the other side by now
            spend(s, grid, LINK_WORK)
        grid = grid_of(position["market_id"], 1 if position["lots"] > 0 else 0)
        if position["lots"] != 0 and adl_grids(s)[grid]["live"] != 0:
            link(s, row, grid)
            spend(s, grid, LINK_WORK)
        row = position["account_next"]


# -- bounds -----------------------------------------------------------------------------------


@inlined
def ratio_above(numerator, denominator):
    """More than the ratio in PPB, or BOUND_MAX where there is none."""
    if denominator <= 0:
        return BOUND_MAX
    return mul_div_bounded(numerator, PPB, denominator, BOUND_MAX - 1) + 1


@kernel
def bound_of(s, line, own, unit, gains):
    """No score in a line, of those with at least so much of their own, is above this, where a lot's
    notional is `unit`, give or take one."""
    rule = header(s)[H.ADL_SCORE]
    low, high = max(1, unit - 1), unit + 1
    won_most = high - line["entry_min"] if gains else line["entry_max"] - low
    won_least = low - line["entry_max"] if gains else line["entry_min"] - high
    equity = own + won_least
    if rule == AdlScore.PRICE_GAIN_TIMES_LEVERAGE:
        first = ratio_above(line["entry_max"], low)
        if gains:
            first = ratio_above(high, line["entry_min"])
        second = ratio_above(high, equity)
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


@kernel
def sift_cells(heap, root, end):
    """Restore a heap with the highest bound on top, in rows 1 to end."""
    bound, place = heap[root]["bound"], heap[root]["place"]
    child = 2 * root
    while child <= end:
        if child < end and heap[child + 1]["bound"] > heap[child]["bound"]:
            child += 1
        if heap[child]["bound"] <= bound:
            break
        heap[root]["bound"] = heap[child]["bound"]
        heap[root]["place"] = heap[child]["place"]
        root = child
        child = 2 * root
    heap[root]["bound"] = bound
    heap[root]["place"] = place


@kernel
def next_cell(s, grid, place, end):
    """The first cell from `place` on and before `end` that holds somebody, or `end`."""
    while place < end:
        bit = first_bit_from(adl_used(s)[grid * USED_WORDS + (place >> 6)], place & 63)
        place = (place & ~63) + bit  # bit 64 is the first of the next word
        if bit < 64 and place < end:
            if adl_cells(s)[grid * CELLS + place]["head"] != 0:
                return place
            place += 1
    return end


@inlined
def end_of(place, columns):
    """The end of the line that a cell is in."""
    return CELLS if place == LOOSE else (place // columns + 1) * columns


@kernel
def bound_cell(s, slot, market_id, long, place):
    """Write a cell and its bound into a row of the heap."""
    grid, market = grid_of(market_id, long), markets(s)[market_id]
    bound = BOUND_MAX
    if place != LOOSE:
        unit = notional(market, 1, market["mark_price"])
        gains = (market["payoff"] == Payoff.LINEAR) == (long != 0)
        own = adl_cells(s)[grid * CELLS + place]["own_min"]
        line = adl_lines(s)[grid * LINES + place // adl_grids(s)[grid]["columns"]]
        bound = bound_of(s, line, own, unit, gains)
    adl_heap(s)[slot]["bound"] = bound
    adl_heap(s)[slot]["place"] = place


@part(INT)
def open_index(s, market_id, long):
    """Bring a side up to date and put the first cell of every line on the heap; how many."""
    grid = grid_of(market_id, long)
    side, mark = adl_grids(s)[grid], markets(s)[market_id]["mark_price"]
    for index in range(header(s)[H.TOUCHED_COUNT] if header(s)[H.ADL_LIVE] != 0 else 0):
        keep_up(s, touched(s)[index] >> DOMAIN_BITS)
    if side["live"] == 0 or abs(mark - side["mark_price"]) > side["mark_price"] // PART_MOVED:
        index_side(s, market_id, long)
    count, columns = 0, side["columns"]
    for line in range(CELLS_IN_LINES // columns + 1):
        if adl_lines(s)[grid * LINES + line]["entry_max"] != 0:
            end = end_of(line * columns, columns)
            place = next_cell(s, grid, line * columns, end)
            if place != end:
                count += 1
                bound_cell(s, count, market_id, long, place)
    for root in range(count // 2, 0, -1):
        sift_cells(adl_heap(s), root, count)
    return count


@kernel
def take_cell(s, market_id, long, count):
    """Take the cell with the highest bound off the heap of `count`, the next of its line takes its
    place: the first leg of the cell, and how many cells there are then."""
    heap, grid = adl_heap(s), grid_of(market_id, long)
    place = heap[1]["place"]
    head = adl_cells(s)[grid * CELLS + place]["head"]
    end = end_of(place, adl_grids(s)[grid]["columns"])
    place = next_cell(s, grid, place + 1, end)
    if place != end:
        bound_cell(s, 1, market_id, long, place)
    else:
        heap[1]["bound"] = heap[count]["bound"]
        heap[1]["place"] = heap[count]["place"]
        count -= 1
    sift_cells(heap, 1, count)
    return head, count
