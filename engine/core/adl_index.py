"""The index that finds the best of a side without scoring all of it; part of R83.

What a score is made of is bounded by two numbers of a position that do not move with the mark: its
entry value per lot, and its own money per lot, beside profit and loss. Lines of cells are ranges of
the first (and of the maintenance rate or the leverage, where the score has one), columns ranges of
the second, over the entry of the line; the ranges are quantiles of the side when it was indexed. A
cell bounds every score in it at any mark, and along a line the bounds only fall. Cells are opened
from the highest bound down (`adl_search`), until the best score found is above every bound left:
the order is that of a full ranking, to the last tie. A cross domain of several legs has no such
numbers; all of those are scored first.

A side is indexed when somebody is to be deleveraged there, kept up by whoever is touched, and
dropped when that has cost some times what building it costs.
"""

from engine.constants import PPB, AdlScore
from engine.core.arithmetic import (
    divide_up,
    first_bit_from,
    last_bit_to,
    mul_div_bounded,
    mul_div_up,
    with_bit,
    without_bit,
)
from engine.core.kernel import NOTHING, inlined, kernel, part
from engine.core.ledger import is_system, position_notional
from engine.core.margin import maintenance_margin
from engine.core.sorting import sort_keys
from engine.core.state import (
    H,
    accounts,
    adl_cells,
    adl_edges,
    adl_grids,
    adl_lines,
    adl_nodes,
    adl_order,
    adl_used,
    header,
    leg_links,
    markets,
    positions,
)

BOUND_MAX = 2**60  # scores saturate here; a bound that reaches it says nothing
SPREAD_CELLS, LINES_MIN, LINES_MAX = 262_144, 8, 512  # fewer lines have more columns
PADDING = 4  # columns, so that not all lines begin in the same rows of a processor's cache
COLUMNS_MAX = SPREAD_CELLS // LINES_MIN + PADDING
PLANE_BITS, STEP_BITS = 50, 5  # of an entry value, below the plane in the key of a line
LOOSE = SPREAD_CELLS + PADDING * LINES_MAX  # the cell of those without two such numbers
GROUP = 8  # lines
CELLS, LINES = LOOSE + 1, LINES_MAX + LINES_MAX // GROUP
USED_WORDS = LOOSE // 64 + 1  # a bit for every cell that may hold somebody
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
def group_of(line):
    """Where a group of lines says what bounds them all."""
    return LINES_MAX + line // GROUP


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
def column_key(own, entry):
    """What columns are ranges of: money of one's own over an entry value. Within a line, where the
    entry is that of its edge, it rises with one's own."""
    part = mul_div_bounded(abs(own), PPB, max(1, entry), BOUND_MAX)
    return -part if own < 0 else part


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


@inlined
def widen(line, entry, high, rate, leverage):
    """Let a line, or a group of them, bound a leg as well, whose entry is between two numbers;
    whether it is the first of the line."""
    fresh = line["entry_max"] == 0
    line["entry_min"] = entry if fresh else min(line["entry_min"], entry)
    line["entry_max"] = high if fresh else max(line["entry_max"], high)
    line["rate_max"] = rate if fresh else max(line["rate_max"], rate)
    line["leverage_max"] = leverage if fresh else max(line["leverage_max"], leverage)
    return fresh


@kernel
def link(s, row, grid):
    """Put a leg into its cell, and widen what its line, their group and the cell say."""
    position = positions(s)[row]
    own, place, lines = own_of(s, row), LOOSE, adl_lines(s)
    if is_alone(s, row):
        entry, leverage, rate = entry_of(s, row), position["leverage"], rate_of(s, row)
        high = max(1, divide_up(abs(position["entry_quote"]), abs(position["lots"])))
        columns, count = adl_grids(s)[grid]["columns"], adl_grids(s)[grid]["lines"]
        index = range_of(s, grid * EDGES, count, line_key(s, row, rate))
        line, group = lines[grid * LINES + index], lines[grid * LINES + group_of(index)]
        own_key = column_key(own, line["entry_edge"])
        place = index * columns + range_of(s, grid * EDGES + LINES_MAX, columns, own_key)
        fresh = widen(line, entry, high, rate, leverage)
        line["first"] = place if fresh else min(line["first"], place)
        fresh = widen(group, entry, high, rate, leverage)
        group["own_low"] = own if fresh else min(group["own_low"], own)
    cell, node = adl_cells(s)[grid * CELLS + place], adl_nodes(s)[row]
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
    """Take a leg out of its cell; an empty cell loses its bit."""
    node = adl_nodes(s)[row]
    if node["prev"] != 0:
        adl_nodes(s)[node["prev"]]["next"] = node["next"]
    else:
        adl_cells(s)[node["place"]]["head"] = node["next"]
        if node["next"] == 0:
            grid, place = node["place"] // CELLS, node["place"] % CELLS
            word = grid * USED_WORDS + (place >> 6)
            adl_used(s)[word] = without_bit(adl_used(s)[word], place & 63)
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
                if own != 0:
                    value = column_key(own_of(s, row), entry_of(s, row))
                else:
                    value = line_key(s, row, rate_of(s, row))
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
def write_lines(s, grid, lines, count):
    """Lower edges of lines that hold equal parts of the sample; no line spans two planes."""
    plane = adl_order(s)[0] >> PLANE_BITS
    for index in range(lines):
        edge = adl_order(s)[index * count // lines]
        adl_lines(s)[grid * LINES + index]["entry_edge"] = edge & ((1 << PLANE_BITS) - 1)
        if edge >> PLANE_BITS != plane:
            plane = edge >> PLANE_BITS
            edge = plane << PLANE_BITS
        adl_edges(s)[grid * EDGES + index] = edge


@kernel
def write_columns(s, grid, columns, count):
    """Lower edges of columns, each of which holds more of the sample than the one before: the first
    are looked at by every deleveraging, and hold one leg of a line or none."""
    for index in range(columns):
        edge = adl_order(s)[index * index * count // (columns * columns)]
        adl_edges(s)[grid * EDGES + LINES_MAX + index] = edge


@kernel
def clear_side(s, market_id, long):
    """Empty every cell; the number of positions that the side has."""
    grid = grid_of(market_id, long)
    for place in range(grid * LINES, (grid + 1) * LINES):
        adl_lines(s)[place]["entry_max"] = 0
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
    side["lines"] = lines
    side["columns"] = SPREAD_CELLS // lines + PADDING
    write_lines(s, grid, lines, sampled)
    sampled = sample_side(s, market_id, long, stride, 1)
    write_columns(s, grid, side["columns"], sampled)
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
