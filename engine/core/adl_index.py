"""The index that finds the best of a side without scoring all of it; part of R83.

What a score is made of is bounded by two numbers of a position that do not move with the mark: its
entry value per lot, and the money behind it per lot. Positions lie in cells of that plane, and a
cell's least and greatest numbers bound every score in it at any mark. Cells are opened from the
highest bound down, until the best score found is above every bound left; so the order is that of a
full ranking, to the last tie. A cross domain of several legs has no such numbers: all of those lie
in one cell that is always opened.

A side is indexed when somebody is to be deleveraged there, kept up by whoever is touched, and
dropped when that has cost as much as building it.
"""

from engine.constants import PPB, PPM, AdlScore, Payoff
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
from engine.core.state import (
    H,
    accounts,
    adl_cells,
    adl_grids,
    adl_heap,
    adl_nodes,
    adl_words,
    header,
    markets,
    positions,
    touched,
)

BOUND_MAX = 2**60  # scores saturate here; a bound that reaches it says nothing
UNIT_BITS, RATIO_MAX = 20, 2**24 - 1  # of ratios to the notional of a lot
WIN_ROWS, LOSE_ROWS, LOW_COLUMNS, COLUMN_COUNT = 96, 48, 16, 32
LOOSE = (WIN_ROWS + LOSE_ROWS) * COLUMN_COUNT  # the cell of those without two such numbers
CELLS = LOOSE + 1
CELL_WORDS = CELLS // 64 + 1
PART_MOVED = 16  # a side is indexed anew when the mark has moved by one part in so many
WORK_MIN = 1_000


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


@inlined
def step_of(value, bits):
    """Which of the steps that grow geometrically, 2**bits of them an octave, holds a value >= 0."""
    if value < 2 << bits:
        return value
    shift = last_bit_to(value, 62) - bits
    return (shift << bits) + (value >> shift)


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
def behind(s, row):
    """The money of a domain beside what its leg has won or lost."""
    position = positions(s)[row]
    if position["isolated"] != 0:
        return position["margin_quote"]
    return accounts(s)[position["account_row"]]["wallet_quote"]


@kernel
def cell_of(s, row, unit):
    """The cell of a leg where a lot's notional is `unit`."""
    if not is_alone(s, row):
        return LOOSE
    position = positions(s)[row]
    market = markets(s)[position["market_id"]]
    size = abs(position["lots"])
    won = unit - abs(position["entry_quote"]) // size
    if (market["payoff"] == Payoff.LINEAR) != (position["lots"] > 0):
        won = -won
    ratio = mul_div_bounded(abs(won), 1 << UNIT_BITS, unit, RATIO_MAX)
    line = step_of(ratio, 2) if won > 0 else WIN_ROWS + step_of(ratio, 1)
    own = max(0, behind(s, row)) // size
    ratio = mul_div_bounded(own, 1 << UNIT_BITS, unit, RATIO_MAX)
    column = min(COLUMN_COUNT - 1, max(0, step_of(ratio, 1) - LOW_COLUMNS))
    return line * COLUMN_COUNT + column


@inlined
def top_rate(s, row, market):
    """A rate of maintenance that the leg stays below until the side is indexed anew."""
    if header(s)[H.ADL_SCORE] != AdlScore.WALLET_PCT_MARGIN_RATIO:
        return 0
    position = positions(s)[row]
    size = position_notional(s, row)
    size += size // (PART_MOVED // 4) + 1
    margin = maintenance_margin(
        s, market, position["lots"], size, position["entry_quote"], position["leverage"]
    )
    return mul_div_up(margin, PPM, size) + 1


@kernel
def link(s, row, grid):
    """Put a leg into its cell, and widen what the cell says."""
    position = positions(s)[row]
    market = markets(s)[position["market_id"]]
    place = cell_of(s, row, adl_grids(s)[grid]["unit_quote"])
    cell = adl_cells(s)[grid * CELLS + place]
    node = adl_nodes(s)[row]
    size, entry = abs(position["lots"]), abs(position["entry_quote"])
    low, high, own = entry // size, divide_up(entry, size), behind(s, row) // size
    if cell["head"] == 0:
        cell["entry_min"] = low
        cell["entry_max"] = high
        cell["own_min"] = own
        cell["rate_max"] = 0
        cell["leverage_max"] = 0
        at = grid * CELL_WORDS + (place >> 6)
        adl_words(s)[at] = with_bit(adl_words(s)[at], place & 63)
    else:
        adl_nodes(s)[cell["head"]]["prev"] = row
        cell["entry_min"] = min(cell["entry_min"], low)
        cell["entry_max"] = max(cell["entry_max"], high)
        cell["own_min"] = min(cell["own_min"], own)
    cell["rate_max"] = max(cell["rate_max"], top_rate(s, row, market))
    cell["leverage_max"] = max(cell["leverage_max"], position["leverage"])
    node["next"] = cell["head"]
    node["prev"] = 0
    node["place"] = grid * CELLS + place
    cell["head"] = row


@kernel
def unlink(s, row):
    """Take a leg out of its cell; an empty cell keeps its bit until the side is indexed anew."""
    node = adl_nodes(s)[row]
    if node["place"] == 0:
        return
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


@part(NOTHING)
def index_side(s, market_id, long):
    """Index one side of a market from its list of legs."""
    grid = grid_of(market_id, long)
    side, market, table = adl_grids(s)[grid], markets(s)[market_id], positions(s)
    for place in range(grid * CELLS, (grid + 1) * CELLS):
        adl_cells(s)[place]["head"] = 0
    for place in range(grid * CELL_WORDS, (grid + 1) * CELL_WORDS):
        adl_words(s)[place] = 0
    side["mark_price"] = market["mark_price"]
    side["unit_quote"] = max(1, notional(market, 1, market["mark_price"]))
    count = 0
    row = market["position_head"]
    while row != 0:
        node = adl_nodes(s)[row]
        lots = table[row]["lots"]
        if node["place"] // CELLS == grid:
            node["place"] = 0
        mine = lots > 0 if long != 0 else lots < 0
        if mine and not is_system(s, table[row]["account_row"]):
            link(s, row, grid)
            count += 1
        row = table[row]["market_next"]
    side["work_left"] = WORK_MIN + count
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
            spend(s, grid, 1)
        grid = grid_of(position["market_id"], 1 if position["lots"] > 0 else 0)
        if position["lots"] != 0 and adl_grids(s)[grid]["live"] != 0:
            link(s, row, grid)
            spend(s, grid, 1)
        row = position["account_next"]


# -- bounds -----------------------------------------------------------------------------------


@inlined
def ratio_above(numerator, denominator):
    """More than the ratio in PPB, or BOUND_MAX where there is none."""
    if denominator <= 0:
        return BOUND_MAX
    return mul_div_bounded(numerator, PPB, denominator, BOUND_MAX - 1) + 1


@kernel
def bound_of(s, cell, unit, gains):
    """No score in the cell is above this, where a lot's notional is `unit`, give or take one."""
    rule = header(s)[H.ADL_SCORE]
    low, high = max(1, unit - 1), unit + 1
    won_most = high - cell["entry_min"] if gains else cell["entry_max"] - low
    won_least = low - cell["entry_max"] if gains else cell["entry_min"] - high
    equity = cell["own_min"] + won_least
    if rule == AdlScore.PRICE_GAIN_TIMES_LEVERAGE:
        first = ratio_above(cell["entry_max"], low)
        if gains:
            first = ratio_above(high, cell["entry_min"])
        second = ratio_above(high, equity)
    elif won_most <= 0:
        return 0
    elif rule == AdlScore.WALLET_PCT_MARGIN_RATIO:
        first = ratio_above(won_most, cell["own_min"])
        second = ratio_above(mul_div_up(high, cell["rate_max"], PPM) + 1, equity)
    elif rule == AdlScore.RETURN_TIMES_LEVERAGE:
        first = ratio_above(won_most * cell["leverage_max"], low)
        second = ratio_above(high, equity)
    else:
        first = ratio_above(won_most, cell["entry_min"] if gains else cell["entry_max"])
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


@part(INT)
def open_index(s, market_id, long):
    """Bring a side up to date and bound its cells; how many of them hold something."""
    grid = grid_of(market_id, long)
    side, market = adl_grids(s)[grid], markets(s)[market_id]
    for index in range(header(s)[H.TOUCHED_COUNT] if header(s)[H.ADL_LIVE] != 0 else 0):
        keep_up(s, touched(s)[index] >> DOMAIN_BITS)
    moved = abs(market["mark_price"] - side["mark_price"])
    if side["live"] == 0 or moved > side["mark_price"] // PART_MOVED:
        index_side(s, market_id, long)
    unit = notional(market, 1, market["mark_price"])
    gains = (market["payoff"] == Payoff.LINEAR) == (long != 0)
    heap, count = adl_heap(s), 0
    for word in range(CELL_WORDS):
        bits = adl_words(s)[grid * CELL_WORDS + word]
        bit = first_bit_from(bits, 0) if bits != 0 else 64
        while bit < 64:
            place = (word << 6) + bit
            cell = adl_cells(s)[grid * CELLS + place]
            if cell["head"] != 0:
                count += 1
                bound = BOUND_MAX if place == LOOSE else bound_of(s, cell, unit, gains)
                heap[count]["bound"] = bound
                heap[count]["place"] = grid * CELLS + place
            bit = first_bit_from(bits, bit + 1) if bit < 63 else 64
    for root in range(count // 2, 0, -1):
        sift_cells(heap, root, count)
    return count


@inlined
def take_cell(s, count):
    """Take the cell with the highest bound off a heap of `count`; the first of its legs."""
    heap = adl_heap(s)
    place = heap[1]["place"]
    heap[1]["bound"] = heap[count]["bound"]
    heap[1]["place"] = heap[count]["place"]
    sift_cells(heap, 1, count - 1)
    return adl_cells(s)[place]["head"]
