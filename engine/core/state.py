"""State: one memory block, its layout, and typed views of it.

The block starts with a header of int64 words (sizes, counters, scalars and the address of every
table); the tables follow. Python passes one address into a kernel; the accessors below open the
tables there. Row 0 of every table is reserved and stays zero, so a link of 0 means none. A
snapshot is a copy of the block; `rebase` makes a copy usable at its new address.

Units: `_quote` money in the smallest settlement unit, `_lots` lots, `_price` price units, `_row`
an index into a table.
"""

import ctypes
from enum import IntEnum, auto

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.core.kernel import FIRST_PART_WORD, JIT, PART_WORDS, inlined


class H(IntEnum):
    """Words of the header. Addresses end in _AT; the sizes of their tables, in rows, in _ROWS."""

    MAGIC = 0
    NOW_NS = auto()  # time of the last accepted command
    SEQ = auto()  # number of the last command
    DEPOSITS_QUOTE = auto()
    WITHDRAWALS_QUOTE = auto()
    ENTERED_COUNT = auto()  # orders that ever entered; an order's age
    LIQUIDATIONS_COUNT = auto()
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
    STEPS_COUNT = auto()
    FEE_CAP = auto()
    FEE_TO_VENUE = auto()
    SURPLUS_RULE = auto()
    QUEUE_ORDER = auto()
    ADL_LAST = auto()
    ADL_SCORE = auto()
    ADL_CANDIDATES = auto()
    ADL_PRICE = auto()
    ADL_CANCEL = auto()
    FUND_INVENTORY_PPM = auto()
    FUND_PAYS = auto()
    FUND_LOW_QUOTE = auto()
    FUND_CAP_QUOTE = auto()
    FUND_CAP_WINDOW_NS = auto()
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
    FUND_PAID_QUOTE = auto()  # in the present window of the fund's cap
    FUND_PAID_SINCE_NS = auto()
    DRAWDOWN_ACTIVE = auto()
    WAITING_COUNT = auto()  # domains that wait
    NEXT_DUE_NS = auto()  # when the first of them may be looked at again
    GATED_COUNT = auto()  # domains in breach at mark but not at the second price
    ADL_QUEUE_HEAD = auto()
    ADL_QUEUE_TAIL = auto()
    CHECK_INDEX = auto()  # 1: after every unit compare the trigger index with a full scan
    TOUCHED_COUNT = auto()
    BREACHED_COUNT = auto()
    LIQUIDATIONS_HEAD = auto()  # liquidation queue: entries ever taken
    LIQUIDATIONS_TAIL = auto()  # entries ever added
    STOPS_HEAD = auto()
    STOPS_TAIL = auto()
    STALE_COUNT = auto()  # markets whose mark is to be made anew
    PENDING = auto()  # 1: a batch returned in the middle of a command, for want of event room
    EVENTS_AT = auto()  # event buffer of the present batch
    EVENTS_COUNT = auto()
    EVENTS_ROWS = auto()
    ACCOUNTS_AT = auto()
    ACCOUNTS_ROWS = auto()
    POSITIONS_AT = auto()
    POSITIONS_ROWS = auto()
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
    WORDS_OF_HEADER = auto()


MAGIC = 0x4352415348
HEADER_WORDS = FIRST_PART_WORD + PART_WORDS
assert H.WORDS_OF_HEADER <= FIRST_PART_WORD

# One account. 64 bytes.
ACCOUNT = np.dtype(
    [
        ("account_id", "<i8"),
        ("wallet_quote", "<i8"),  # cross ledger row
        ("position_head", "<i4"),  # first position row, by market and leg
        ("order_head", "<i4"),  # oldest order row
        ("order_tail", "<i4"),  # newest order row
        ("orders_count", "<i4"),
        ("hedge", "<i4"),  # 1: hedge mode
        ("queued", "<i4"),  # 1: its cross domain is in the liquidation queue
        ("touched", "<i4"),  # 1: its cross domain is to be examined
        ("reserved_1", "<i4"),
        ("reserved_2", "<i8"),
        ("reserved_3", "<i8"),
    ]
)

# One leg of one account in one market, 96 bytes and two nodes of 16.
POSITION = np.dtype(
    [
        ("lots", "<i8"),  # signed
        ("entry_quote", "<i8"),  # signed cost
        ("margin_quote", "<i8"),  # isolated ledger row; 0 for cross
        ("buy_lots", "<i8"),  # resting orders that may open or turn the leg
        ("sell_lots", "<i8"),
        ("reduce_lots", "<i8"),  # resting reduce-only orders
        ("account_row", "<i4"),
        ("market_id", "<i4"),
        ("position_side", "<i4"),
        ("leverage", "<i4"),
        ("isolated", "<i4"),
        ("queued", "<i4"),  # isolated domain in the liquidation queue
        ("touched", "<i4"),  # isolated domain to be examined
        ("account_next", "<i4"),  # next leg of the account
        ("market_next", "<i4"),  # next leg ever made in the market, newest first
        ("chosen", "<i4"),  # a volunteer of the present round
        ("session_quote", "<i8"),  # profit booked since the last settlement
    ]
)

# A node of a trigger ladder: rows 2 * position_row (down) and 2 * position_row + 1 (up). 16 bytes.
NODE = np.dtype([("price", "<i8"), ("next", "<i4"), ("prev", "<i4")])  # price 0: not linked

# One order, resting or waiting for its trigger. 64 bytes.
ORDER = np.dtype(
    [
        ("order_id", "<i8"),
        ("lots", "<i8"),  # left
        ("seq", "<i8"),  # its age: number of entry
        ("price", "<i8"),  # limit; 0 for a stop-market order
        ("tick", "<i4"),  # price / tick; a stop's trigger bucket while it waits
        ("account_row", "<i4"),
        ("next", "<i4"),  # in its price level, or its trigger bucket; free list
        ("prev", "<i4"),
        ("account_next", "<i4"),  # newer order of the account
        ("account_prev", "<i4"),
        ("market_id", "<i2"),
        ("side", "i1"),
        ("order_type", "i1"),
        ("time_in_force", "i1"),
        ("position_side", "i1"),
        ("self_trade", "i1"),
        ("bits", "i1"),  # flags below 16, plus STOP_REACHED
    ]
)

# The trigger of a stop order, in the row of its order. 16 bytes.
TRIGGER = np.dtype([("trigger_price", "<i8"), ("trigger_kind", "<i4"), ("reserved", "<i4")])

# One market: what changes, then its constants. Its row is its market id.
MARKET = np.dtype(
    [
        ("index_price", "<i8"),
        ("tape_mark_price", "<i8"),
        ("mark_price", "<i8"),
        ("previous_mark_price", "<i8"),
        ("last_price", "<i8"),
        ("average_price", "<i8"),  # of the last price, decaying
        ("average_time_ns", "<i8"),
        ("loss_quote", "<i8"),  # bad debt since the last settlement
        ("window_start_ns", "<i8"),  # liquidation window
        ("window_lots", "<i8"),  # used of it
        ("open_interest_lots", "<i8"),
        ("funding_rate_ppb", "<i8"),
        ("funding_time_ns", "<i8"),
        ("basis_sum", "<i8"),  # of the samples held, price units
        ("basis_count", "<i8"),  # samples ever taken
        ("basis_time_ns", "<i8"),
        ("quote_time_ns", "<i8"),
        ("best_bid_tick", "<i8"),  # 0: no bid
        ("best_ask_tick", "<i8"),
        ("position_head", "<i8"),  # newest leg made in the market
        ("stale", "<i8"),  # 1: in the list of markets whose mark is to be made anew
        ("payoff", "<i8"),
        ("market_id", "<i8"),
        ("contract", "<i8"),
        ("haircut_ppm", "<i8"),
        ("plain", "<i8"),  # 1: its maintenance follows from notional and tiers alone
        ("slope_ppb", "<i8"),
        ("slope_unit", "<i8"),
        ("sqrt_square", "<i8"),
        ("scaling_from", "<i8"),
        ("scaling_to", "<i8"),
        ("funding_cap_ppb", "<i8"),
        ("tick_price", "<i8"),
        ("price_min", "<i8"),
        ("price_max", "<i8"),
        ("unit_quote", "<i8"),
        ("face_quote", "<i8"),
        ("order_lots_min", "<i8"),
        ("order_lots_max", "<i8"),
        ("open_interest_lots_max", "<i8"),
        ("leverage_default", "<i8"),
        ("maker_fee_ppm", "<i8"),
        ("taker_fee_ppm", "<i8"),
        ("price_band_ppm", "<i8"),
        ("liquidation_fee_ppm", "<i8"),
        ("tiers_count", "<i8"),
        ("tier_row", "<i8"),  # first of its tiers
        ("curve_row", "<i8"),  # first of its 2 * curve_levels quotes; 0: no curve
        ("curve_levels", "<i8"),
        ("half_life_ns", "<i8"),
        ("level_row", "<i8"),  # level of tick 0
        ("bucket_shift", "<i8"),  # price >> shift is a trigger bucket less one
        ("basis_row", "<i8"),
    ]
)

TIER = np.dtype(
    [
        ("notional_to", "<i8"),
        ("leverage_max", "<i8"),
        ("maintenance_ppm", "<i8"),
        ("deduction_quote", "<i8"),
        ("initial_ppm", "<i8"),
    ]
)

# What the venue remembers of a domain that is not simply healthy; by account row, then by
# position row after the accounts. 56 bytes of which most are never touched.
CASE = np.dtype(
    [
        ("level", "<i4"),  # bits of Level
        ("bits", "<i4"),  # below
        ("place", "<i8"),  # in the list of those who wait
        ("due_ns", "<i8"),
        ("once_ns", "<i8"),  # its last step that must not come too often
        ("last_market", "<i8"),  # of the position last worked on
        ("call_ns", "<i8"),  # deadline of an open margin call
        ("debt_ns", "<i8"),  # when it came to owe money
    ]
)
WAITS, RESUMED, ESCALATED, FORCED, HAD_ONCE, DEFERRED = 1, 2, 4, 8, 16, 32  # CASE.bits

WAITING = np.dtype([("key", "<i8"), ("due_ns", "<i8")])

# One order step of a liquidation, from row 0.
STEP = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("size", "fraction_ppm", "tiers_down", "chunk_lots", "floor_quote", "cap_quote"),
            *("above_quote", "from_tier", "once_in_ns", "window_lots", "window_ns", "channel"),
            *("limit", "limit_ppm", "pause_ns"),
        )
    ]
)

PEAK = np.dtype([("part", "<i8"), ("quote", "<i8")])  # a part of the drawdown window
PEAK_PARTS = 16

# One price level of a book: a FIFO of order rows.
LEVEL = np.dtype([("head", "<i4"), ("tail", "<i4"), ("lots", "<i8")])

# One quote of the market maker's curve, bids first, from the touch outwards.
CURVE = np.dtype(
    [
        ("offset_ppm", "<i8"),
        ("target_lots", "<i8"),
        ("price", "<i8"),  # where it is quoted now; 0: nowhere
        ("quoted_lots", "<i8"),
        ("deficit_lots", "<i8"),
    ]
)

# A four-level bitmap over ticks or buckets: where its words are, and its heads.
LADDER = np.dtype(
    [
        ("size", "<i8"),  # bits
        ("word_0", "<i8"),  # first word of each level in WORDS, leaves first
        ("word_1", "<i8"),
        ("word_2", "<i8"),
        ("word_3", "<i8"),
        ("bucket_row", "<i8"),  # list heads of bucket 0; 0 for a book, whose heads are LEVELs
    ]
)

SLOT = np.dtype([("key", "<i8"), ("row", "<i8")])  # hash table: 0 in `row` is an empty slot

RANK = np.dtype(
    [
        ("score", "<i8"),
        ("notional_quote", "<i8"),
        ("position_row", "<i8"),
        ("account_row", "<i4"),
        ("leg", "<i4"),
    ]
)

INT32 = np.dtype("<i4")
INT64 = np.dtype("<i8")

assert ACCOUNT.itemsize == 64
assert POSITION.itemsize == 96
assert NODE.itemsize == 16
assert ORDER.itemsize == 64

STOP_REACHED = 64  # bit of ORDER.bits: the stop is in the stop queue


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


@intrinsic
def _pointer(typing_context, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


def _plain_view(address, rows, dtype):
    memory = (ctypes.c_char * (int(rows) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memory, dtype=dtype)


def _make_view(at, rows, dtype):
    """An accessor: state address -> one-dimensional view of a table."""
    at, rows = int(at), int(rows)

    if JIT:

        @inlined
        def view(s):
            words = carray(_pointer(s), (HEADER_WORDS,), INT64)
            return carray(_pointer(words[at]), (words[rows],), dtype)

    else:

        def view(s):
            words = _plain_view(s, HEADER_WORDS, INT64)
            return _plain_view(words[at], words[rows], dtype)

    return view


if JIT:

    @inlined
    def header(s):
        """The header words, indexed by H."""
        return carray(_pointer(s), (HEADER_WORDS,), INT64)

    @inlined
    def view_at(address, rows, dtype):
        return carray(_pointer(address), (rows,), dtype)

else:

    def header(s):
        """The header words, indexed by H."""
        return _plain_view(s, HEADER_WORDS, INT64)

    view_at = _plain_view


accounts = _make_view(H.ACCOUNTS_AT, H.ACCOUNTS_ROWS, ACCOUNT)
positions = _make_view(H.POSITIONS_AT, H.POSITIONS_ROWS, POSITION)
nodes = _make_view(H.NODES_AT, H.NODES_ROWS, NODE)
orders = _make_view(H.ORDERS_AT, H.ORDERS_ROWS, ORDER)
triggers = _make_view(H.TRIGGERS_AT, H.TRIGGERS_ROWS, TRIGGER)
markets = _make_view(H.MARKETS_AT, H.MARKETS_ROWS, MARKET)
tiers = _make_view(H.TIERS_AT, H.TIERS_ROWS, TIER)
levels = _make_view(H.LEVELS_AT, H.LEVELS_ROWS, LEVEL)
buckets = _make_view(H.BUCKETS_AT, H.BUCKETS_ROWS, INT32)
words = _make_view(H.WORDS_AT, H.WORDS_ROWS, INT64)
ladders = _make_view(H.LADDERS_AT, H.LADDERS_ROWS, LADDER)
account_slots = _make_view(H.ACCOUNT_SLOTS_AT, H.ACCOUNT_SLOTS_ROWS, SLOT)
order_slots = _make_view(H.ORDER_SLOTS_AT, H.ORDER_SLOTS_ROWS, SLOT)
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
