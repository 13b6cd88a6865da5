"""State: one memory block, its layout, and typed views of it.

The block starts with a header of int64 words (sizes, counters, scalars and the address of every
table); the tables follow. Python passes one address into a kernel; the accessors below open the
tables there. Row 0 of every table is reserved and stays zero, so a link of 0 means none. A
snapshot is a copy of the block; `rebase` makes a copy usable at its new address.

Units: `_quote` money in the smallest settlement unit, `_lots` lots, `_price` price units, `_row`
an index into a table.
"""

from enum import IntEnum, auto

from engine.core.kernel import FIRST_PART_WORD, JIT, PART_WORDS, inlined
from engine.core.records import (
    ACCOUNT,
    ADL_BOUND,
    ADL_CELL,
    ADL_GRID,
    ADL_LINE,
    ADL_NODE,
    CASE,
    COMMAND,
    CURVE,
    FUND,
    INT32,
    INT64,
    LACKING,
    LADDER,
    LEVEL,
    MARKET,
    NODE,
    ORDER,
    PEAK,
    POSITION,
    RANK,
    STEP,
    TIER,
    TRIGGER,
    WAITING,
)
from engine.core.windows import plain_window, table_fetch, table_window, window_at


class H(IntEnum):
    """Words of the header. Addresses end in _AT; the sizes of their tables, in rows, in _ROWS."""

    MAGIC = 0
    NOW_NS = auto()  # time of the last accepted command
    SEQ = auto()  # number of the last command
    DEPOSITS_QUOTE = auto()
    WITHDRAWALS_QUOTE = auto()
    ENTERED_COUNT = auto()  # orders that ever entered; an order's age
    LIQUIDATIONS_COUNT = auto()
    DISPOSALS_COUNT = auto()  # orders of the fund for its inventory
    SYSTEM_ROWS = auto()  # of them: the venue's accounts, insurance funds by market last
    ACCOUNTS_COUNT = auto()  # rows in use, system accounts included
    POSITIONS_COUNT = auto()  # rows in use
    USER_POSITIONS_COUNT = auto()
    ORDERS_COUNT = auto()  # live orders
    CURVE_ORDERS_COUNT = auto()  # of them, quotes of a curve
    ORDERS_FREE = auto()  # first free order row, 0: none
    ORDERS_USED = auto()  # highest order row ever used
    MARKETS_COUNT = auto()
    USERS_MAX = auto()  # capacity for user accounts
    USER_POSITIONS_MAX = auto()
    USER_ORDERS_MAX = auto()
    FEEDBACK_PPM = auto()
    TIER_MODE = auto()
    TIER_BY = auto()
    SHARE_OF_INITIAL_PPM = auto()  # 0: maintenance by tiers
    INITIAL_BY_TIERS = auto()
    WORST_CASE_ORDERS = auto()
    CLOSE_FEE = auto()
    BANKRUPTCY_FEE = auto()
    SPLIT_BY_MAINTENANCE = auto()
    MARK_SOURCE = auto()
    BASIS_SAMPLES = auto()
    BASIS_INTERVAL_NS = auto()
    FUNDING_INTERVAL_NS = auto()
    FUNDING_CONTINUOUS = auto()
    FUNDING_ON_INDEX = auto()
    RATE_PERIOD_NS = auto()
    AT_OR_BELOW = auto()
    WARN_PPM = auto()
    RESTRICT = auto()
    BACKSTOP_PPM = auto()
    EXIT = auto()
    EXIT_BUFFER_PPM = auto()
    SECOND_PRICE = auto()
    AVERAGE_HALF_LIFE_NS = auto()
    CURE_NS = auto()
    CANCEL_SCOPE = auto()
    NET_HEDGED = auto()
    COLLATERAL_FIRST = auto()
    SELECT = auto()
    LOWEST_TIER_CLOSES_ALL = auto()
    DRAWDOWN_CLOSES_ALL = auto()
    HAS_RAMP = auto()
    STEPS_COUNT = auto()
    FEE_CAP = auto()
    FEE_TO_VENUE = auto()
    SURPLUS_RULE = auto()
    QUEUE_ORDER = auto()
    ADL_LAST = auto()
    ADL_SCORE = auto()
    ADL_POLICY = auto()
    SHARING_POLICY = auto()
    SHARE_SCORE = auto()  # what the policies read, from here on
    SHARE_WEIGHT = auto()
    SHARE_EXPONENT = auto()
    SHARE_THRESHOLD_PPM = auto()
    SHARE_HAIRCUT_MAX_PPM = auto()
    SHARE_EQUITY_MIN_QUOTE = auto()
    SHARE_TRIES_MAX = auto()
    SHARE_THETA_PPM = auto()
    SHARE_WITHDRAWAL_PPM = auto()
    SHARE_MATURED_PPM = auto()
    ADL_CANDIDATES = auto()
    ADL_PRICE = auto()
    ADL_CANCEL = auto()
    ADL_FEE = auto()
    FUND_INVENTORY_PPM = auto()
    FUND_PAYS = auto()
    FUND_RESTS = auto()
    FUND_LOW_QUOTE = auto()
    FUND_CAP_QUOTE = auto()
    FUND_CAP_WINDOW_NS = auto()
    FUND_CAP_BY_MARKET = auto()
    POOL_PROFIT_PPM = auto()
    POOL_PROFIT_STOP_PPM = auto()
    DRAWDOWN_PPM = auto()
    DRAWDOWN_STOP_PPM = auto()
    DRAWDOWN_PART_NS = auto()
    VOLUNTEER_EDGE_PPM = auto()
    COVERED_BAND_PPM = auto()
    RETRY_NS = auto()
    RESIDUAL = auto()
    PROFIT_BY_MARKET = auto()
    PROFIT_LOCK = auto()
    GATE_NS = auto()
    WAIVE_AFTER_NS = auto()
    WATERFALL_COUNT = auto()
    WATERFALL_1 = auto()
    WATERFALL_2 = auto()
    WATERFALL_3 = auto()
    WATERFALL_4 = auto()
    WATERFALL_5 = auto()
    WATERFALL_6 = auto()
    WATERFALL_7 = auto()
    WATERFALL_8 = auto()
    GATE_UNTIL_NS = auto()  # withdrawals wait until then
    WAITING_COUNT = auto()  # domains that wait
    NEXT_DUE_NS = auto()  # when the first of them may be looked at again
    GATED_COUNT = auto()  # domains in breach at mark but not at the second price
    ADL_QUEUE_HEAD = auto()
    ADL_QUEUE_TAIL = auto()
    ADL_LIVE = auto()  # sides of markets that are indexed for deleveraging
    CHECK_INDEX = auto()  # 1: after every unit compare the trigger index with a full scan
    TOUCHED_COUNT = auto()
    BREACHED_COUNT = auto()
    LIQUIDATIONS_HEAD = auto()  # liquidation queue: entries ever taken
    LIQUIDATIONS_TAIL = auto()  # entries ever added
    STOPS_HEAD = auto()
    STOPS_TAIL = auto()
    STOPS_HUNG = auto()  # stops on their ladders
    STALE_COUNT = auto()  # markets whose mark is to be made anew
    PENDING = auto()  # 1: a batch returned in the middle of a command, for want of event room
    EVENTS_AT = auto()  # event buffer of the present batch
    EVENTS_COUNT = auto()
    EVENTS_ROWS = auto()
    ACCOUNTS_AT = auto()
    ACCOUNTS_ROWS = auto()
    POSITIONS_AT = auto()
    POSITIONS_ROWS = auto()
    LEG_LINKS_AT = auto()
    LEG_LINKS_ROWS = auto()
    REDUCING_AT = auto()
    REDUCING_ROWS = auto()
    NODES_AT = auto()
    NODES_ROWS = auto()
    ORDERS_AT = auto()
    ORDERS_ROWS = auto()
    TRIGGERS_AT = auto()
    TRIGGERS_ROWS = auto()
    MARKETS_AT = auto()
    MARKETS_ROWS = auto()
    TIERS_AT = auto()
    TIERS_ROWS = auto()
    LEVELS_AT = auto()
    LEVELS_ROWS = auto()
    BUCKETS_AT = auto()
    BUCKETS_ROWS = auto()
    WORDS_AT = auto()
    WORDS_ROWS = auto()
    LADDERS_AT = auto()
    LADDERS_ROWS = auto()
    ACCOUNT_SLOTS_AT = auto()
    ACCOUNT_SLOTS_ROWS = auto()
    ORDER_SLOTS_AT = auto()
    ORDER_SLOTS_ROWS = auto()
    ORDER_LINKS_AT = auto()
    ORDER_LINKS_ROWS = auto()
    TOUCHED_AT = auto()
    TOUCHED_ROWS = auto()
    BREACHED_AT = auto()
    BREACHED_ROWS = auto()
    LIQUIDATIONS_AT = auto()
    LIQUIDATIONS_ROWS = auto()
    STOPS_AT = auto()
    STOPS_ROWS = auto()
    REACHED_AT = auto()
    REACHED_ROWS = auto()
    RANKS_AT = auto()
    RANKS_ROWS = auto()
    CURVES_AT = auto()
    CURVES_ROWS = auto()
    BASIS_AT = auto()
    BASIS_ROWS = auto()
    STALE_AT = auto()
    STALE_ROWS = auto()
    CASES_AT = auto()
    CASES_ROWS = auto()
    STEPS_AT = auto()
    STEPS_ROWS = auto()
    WAITING_AT = auto()
    WAITING_ROWS = auto()
    GATED_AT = auto()
    GATED_ROWS = auto()
    ADL_QUEUE_AT = auto()
    ADL_QUEUE_ROWS = auto()
    VOLUNTEERS_AT = auto()
    VOLUNTEERS_ROWS = auto()
    PEAKS_AT = auto()
    PEAKS_ROWS = auto()
    FUNDS_AT = auto()
    FUNDS_ROWS = auto()
    LACKING_AT = auto()
    LACKING_ROWS = auto()
    SHARES_AT = auto()
    SHARES_ROWS = auto()
    ADL_NODES_AT = auto()
    ADL_NODES_ROWS = auto()
    ADL_GRIDS_AT = auto()
    ADL_GRIDS_ROWS = auto()
    ADL_CELLS_AT = auto()
    ADL_CELLS_ROWS = auto()
    ADL_LINES_AT = auto()
    ADL_LINES_ROWS = auto()
    ADL_USED_AT = auto()
    ADL_USED_ROWS = auto()
    ADL_EDGES_AT = auto()
    ADL_EDGES_ROWS = auto()
    ADL_HEAP_AT = auto()
    ADL_HEAP_ROWS = auto()
    ADL_ORDER_AT = auto()
    ADL_ORDER_ROWS = auto()
    TICKETS_AT = auto()
    TICKETS_ROWS = auto()
    WORDS_OF_HEADER = auto()


MAGIC = 0x4352415348
HEADER_WORDS = FIRST_PART_WORD + PART_WORDS
assert H.WORDS_OF_HEADER <= FIRST_PART_WORD


class Ladders(IntEnum):
    """Ladders of one market, in the order of their rows."""

    BOOK = 0
    DOWN = 1  # positions to examine when the mark falls
    UP = 2
    STOP_MARK_SELL = 3  # stops by the price that fires them
    STOP_MARK_BUY = 4
    STOP_LAST_SELL = 5
    STOP_LAST_BUY = 6
    STOP_INDEX_SELL = 7
    STOP_INDEX_BUY = 8


LADDERS_PER_MARKET = len(Ladders)


# -- opening views ----------------------------------------------------------------------------


def _make_view(at, rows, dtype):
    """An accessor: state address -> window on a table."""
    at, rows = int(at), int(rows)
    if JIT:
        return table_window(at, rows, dtype)

    def view(s):
        words = plain_window(s, HEADER_WORDS, INT64)
        return plain_window(words[at], words[rows], dtype)

    return view


def _open_header(s):
    return window_at(s, HEADER_WORDS, INT64)


header = inlined(_open_header) if JIT else _open_header
"""The header words, indexed by H."""


accounts = _make_view(H.ACCOUNTS_AT, H.ACCOUNTS_ROWS, ACCOUNT)
positions = _make_view(H.POSITIONS_AT, H.POSITIONS_ROWS, POSITION)
leg_links = _make_view(H.LEG_LINKS_AT, H.LEG_LINKS_ROWS, INT32)
reducing = _make_view(H.REDUCING_AT, H.REDUCING_ROWS, INT64)
nodes = _make_view(H.NODES_AT, H.NODES_ROWS, NODE)
orders = _make_view(H.ORDERS_AT, H.ORDERS_ROWS, ORDER)
triggers = _make_view(H.TRIGGERS_AT, H.TRIGGERS_ROWS, TRIGGER)
markets = _make_view(H.MARKETS_AT, H.MARKETS_ROWS, MARKET)
tiers = _make_view(H.TIERS_AT, H.TIERS_ROWS, TIER)
levels = _make_view(H.LEVELS_AT, H.LEVELS_ROWS, LEVEL)
buckets = _make_view(H.BUCKETS_AT, H.BUCKETS_ROWS, INT32)
words = _make_view(H.WORDS_AT, H.WORDS_ROWS, INT64)
ladders = _make_view(H.LADDERS_AT, H.LADDERS_ROWS, LADDER)
account_slots = _make_view(H.ACCOUNT_SLOTS_AT, H.ACCOUNT_SLOTS_ROWS, INT32)
order_slots = _make_view(H.ORDER_SLOTS_AT, H.ORDER_SLOTS_ROWS, INT32)
order_links = _make_view(H.ORDER_LINKS_AT, H.ORDER_LINKS_ROWS, INT32)
touched = _make_view(H.TOUCHED_AT, H.TOUCHED_ROWS, INT64)
breached = _make_view(H.BREACHED_AT, H.BREACHED_ROWS, INT64)
liquidations = _make_view(H.LIQUIDATIONS_AT, H.LIQUIDATIONS_ROWS, INT64)
stop_queue = _make_view(H.STOPS_AT, H.STOPS_ROWS, INT64)
reached = _make_view(H.REACHED_AT, H.REACHED_ROWS, INT64)
ranks = _make_view(H.RANKS_AT, H.RANKS_ROWS, RANK)
curves = _make_view(H.CURVES_AT, H.CURVES_ROWS, CURVE)
basis = _make_view(H.BASIS_AT, H.BASIS_ROWS, INT64)
stale = _make_view(H.STALE_AT, H.STALE_ROWS, INT64)
cases = _make_view(H.CASES_AT, H.CASES_ROWS, CASE)
steps = _make_view(H.STEPS_AT, H.STEPS_ROWS, STEP)
waiting = _make_view(H.WAITING_AT, H.WAITING_ROWS, WAITING)
gated = _make_view(H.GATED_AT, H.GATED_ROWS, INT64)
adl_queue = _make_view(H.ADL_QUEUE_AT, H.ADL_QUEUE_ROWS, INT64)
volunteers = _make_view(H.VOLUNTEERS_AT, H.VOLUNTEERS_ROWS, INT64)
peaks = _make_view(H.PEAKS_AT, H.PEAKS_ROWS, PEAK)
funds = _make_view(H.FUNDS_AT, H.FUNDS_ROWS, FUND)
adl_nodes = _make_view(H.ADL_NODES_AT, H.ADL_NODES_ROWS, ADL_NODE)
adl_grids = _make_view(H.ADL_GRIDS_AT, H.ADL_GRIDS_ROWS, ADL_GRID)
adl_cells = _make_view(H.ADL_CELLS_AT, H.ADL_CELLS_ROWS, ADL_CELL)
adl_lines = _make_view(H.ADL_LINES_AT, H.ADL_LINES_ROWS, ADL_LINE)
adl_used = _make_view(H.ADL_USED_AT, H.ADL_USED_ROWS, INT64)
adl_edges = _make_view(H.ADL_EDGES_AT, H.ADL_EDGES_ROWS, INT64)
adl_heap = _make_view(H.ADL_HEAP_AT, H.ADL_HEAP_ROWS, ADL_BOUND)
adl_order = _make_view(H.ADL_ORDER_AT, H.ADL_ORDER_ROWS, INT64)
lacking = _make_view(H.LACKING_AT, H.LACKING_ROWS, LACKING)
tickets = _make_view(H.TICKETS_AT, H.TICKETS_ROWS, COMMAND)

fetch_account_slot = table_fetch(int(H.ACCOUNT_SLOTS_AT), INT32)
fetch_account = table_fetch(int(H.ACCOUNTS_AT), ACCOUNT)
fetch_position = table_fetch(int(H.POSITIONS_AT), POSITION)
fetch_node = table_fetch(int(H.NODES_AT), NODE)
fetch_adl_node = table_fetch(int(H.ADL_NODES_AT), ADL_NODE)
fetch_adl_cell = table_fetch(int(H.ADL_CELLS_AT), ADL_CELL)
fetch_adl_used = table_fetch(int(H.ADL_USED_AT), INT64)
fetch_order = table_fetch(int(H.ORDERS_AT), ORDER)
fetch_order_slot = table_fetch(int(H.ORDER_SLOTS_AT), INT32)
fetch_order_link = table_fetch(int(H.ORDER_LINKS_AT), INT32)
fetch_level = table_fetch(int(H.LEVELS_AT), LEVEL)
