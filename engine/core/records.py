"""The records of the State block: one dtype a table.

Units: `_quote` money in the smallest settlement unit, `_lots` lots, `_price` price units, `_row`
an index into a table; `_ns` tape time.
"""

import numpy as np

from engine.rows import COMMAND

# One account, 32 bytes: two share a line of memory.
ACCOUNT = np.dtype(
    [
        ("account_id", "<i8"),
        ("wallet_quote", "<i8"),  # cross ledger row
        ("position_head", "<i4"),  # first position row, by market and leg
        ("order_head", "<i4"),  # oldest order row
        ("order_tail", "<i4"),  # newest order row
        ("orders_count", "<i2"),  # of a user
        ("hedge", "i1"),  # 1: hedge mode
        ("awaits", "i1"),  # bits of its cross domain, below
    ]
)

# One leg of one account in one market: a line of memory.
POSITION = np.dtype(
    [
        ("lots", "<i8"),  # signed
        ("entry_quote", "<i8"),  # signed cost
        ("margin_quote", "<i8"),  # isolated ledger row; 0 for cross
        ("session_quote", "<i8"),  # profit booked since the last settlement
        ("buy_lots", "<i8"),  # resting orders that may open or turn the leg
        ("sell_lots", "<i8"),
        ("account_row", "<i4"),
        ("account_next", "<i4"),  # next leg of the account
        ("market_id", "<i2"),
        ("leverage", "<i2"),
        ("position_side", "i1"),
        ("isolated", "i1"),
        ("awaits", "i1"),  # bits of its isolated domain, below
        ("beside", "i1"),  # bits of what it has in other tables, below
    ]
)
TOUCHED, QUEUED = 1, 2  # bits of `awaits`: the domain awaits its examination, or its liquidation
REDUCES, FAVOURED = 1, 2  # bits of `beside`: lots in REDUCING, a node in its favour

# A node of a trigger ladder. 16 bytes. Row p is that of position p against it, row p of a second
# half that in its favour, which most never need. 0: not linked; negative: met by a rising mark.
NODE = np.dtype([("trigger", "<i8"), ("next", "<i4"), ("prev", "<i4")])

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
        ("average_last", "<i8"),  # the last price since then
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
        ("volatility_ppm", "<i8"),
        ("shift_ppb", "<i8"),  # of the curve's middle from the index
        ("taken_price", "<i8"),  # last price at which the curve's quotes were taken; 0: none
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
        ("initial_slope_ppb", "<i8"),
        ("slope_unit", "<i8"),
        ("sqrt_square", "<i8"),
        ("scaling_from", "<i8"),
        ("scaling_to", "<i8"),
        ("funding_cap_ppb", "<i8"),
        ("tick_price", "<i8"),
        ("tick_inverse", "<i8"),  # of tick_price, up to price_max; 0: divide
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
        ("memory_ns", "<i8"),  # half-life of what is lacking in recorded depth; 0: not remembered
        ("calm_ppm", "<i8"),  # volatility up to which the curve is whole; 0: always
        ("volatility_half_life_ns", "<i8"),
        ("permanent_ppm", "<i8"),
        ("level_row", "<i8"),  # level of tick 0
        ("bucket_shift", "<i8"),  # price >> shift is a trigger bucket less one
        ("basis_row", "<i8"),
        ("fund_row", "<i8"),  # account of the insurance fund that answers for it
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
# position row after the accounts. 72 bytes of which most are never touched.
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
        ("debt_quote", "<i8"),  # booked as owed
        ("ramp_since_ns", "<i8"),  # when a step with a ramp first looked at it; 0: not yet
        ("freed_quote", "<i8"),  # shortage covered since then
    ]
)
WAITS, RESUMED, ESCALATED, FORCED, HAD_ONCE = 1, 2, 4, 8, 16  # CASE.bits

WAITING = np.dtype([("key", "<i8"), ("due_ns", "<i8")])

# One order step of a liquidation, from row 0.
STEP = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("size", "fraction_ppm", "tiers_down", "chunk_lots", "floor_quote", "cap_quote"),
            *("above_quote", "from_tier", "once_in_ns", "window_lots", "window_ns", "channel"),
            *("limit", "limit_ppm", "pause_ns", "ramp_ppm", "ramp_ns"),
        )
    ]
)

# What is remembered of an insurance fund, by its account row; of a fund's payments for one market
# by market id after the venue's accounts. Every fund has PEAK_PARTS rows of PEAK.
FUND = np.dtype([("paid_quote", "<i8"), ("paid_since_ns", "<i8"), ("drawdown", "<i8")])
PEAK = np.dtype([("part", "<i8"), ("quote", "<i8")])  # a part of the drawdown window
PEAK_PARTS = 16

# One price level of a book: a FIFO of order rows.
LEVEL = np.dtype([("head", "<i4"), ("tail", "<i4"), ("lots", "<i8")])

# What our orders took from a recorded level, in the row of its LEVEL.
LACKING = np.dtype([("lots", "<i8"), ("since_ns", "<i8")])

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

RANK = np.dtype(
    [
        ("score", "<i8"),
        ("notional_quote", "<i8"),
        ("position_row", "<i8"),
        ("account_row", "<i4"),
        ("leg", "<i4"),
    ]
)

# The index of deleveraging: where a leg lies; a side of a market; a line of its cells, with what
# bounds everybody in it in money per lot, or a group of lines; a cell; a heap of bounds.
ADL_NODE = np.dtype([("next", "<i4"), ("prev", "<i4"), ("place", "<i8")])  # place 0: nowhere
ADL_GRID = np.dtype(
    [
        ("live", "<i8"),
        ("mark_price", "<i8"),
        ("work_left", "<i8"),
        ("lines", "<i8"),
        ("columns", "<i8"),
    ]
)
ADL_LINE = np.dtype(
    [
        ("entry_min", "<i8"),
        ("entry_max", "<i8"),  # 0: nobody is in it
        ("own_low", "<i8"),  # of a group: nobody has less, beside profit and loss
        ("rate_max", "<i8"),  # parts of RATE_UNIT
        ("leverage_max", "<i8"),
        ("entry_edge", "<i8"),  # where it began when the side was indexed
        ("first", "<i8"),  # place of a cell before which all of its cells are empty
    ]
)
ADL_CELL = np.dtype([("head", "<i8"), ("own_min", "<i8")])  # own: beside profit and loss
ADL_BOUND = np.dtype([("bound", "<i8"), ("closed", "<i8")])

INT32 = np.dtype("<i4")
INT64 = np.dtype("<i8")

assert ACCOUNT.itemsize == 32
assert POSITION.itemsize == 64
assert NODE.itemsize == 16
assert ORDER.itemsize == 64
assert MARKET.itemsize == 512

STOP_REACHED = 64  # bit of ORDER.bits: the stop is in the stop queue

# The record of every table of a State block, by the table's name in the header.
TABLES = {
    "ACCOUNTS": ACCOUNT,
    "POSITIONS": POSITION,
    "LEG_LINKS": INT32,
    "REDUCING": INT64,
    "NODES": NODE,
    "ORDERS": ORDER,
    "TRIGGERS": TRIGGER,
    "MARKETS": MARKET,
    "TIERS": TIER,
    "LEVELS": LEVEL,
    "BUCKETS": INT32,
    "WORDS": INT64,
    "LADDERS": LADDER,
    "ACCOUNT_SLOTS": INT32,
    "ORDER_SLOTS": INT32,
    "ORDER_LINKS": INT32,
    "TOUCHED": INT64,
    "BREACHED": INT64,
    "LIQUIDATIONS": INT64,
    "STOPS": INT64,
    "REACHED": INT64,
    "RANKS": RANK,
    "CURVES": CURVE,
    "BASIS": INT64,
    "STALE": INT64,
    "CASES": CASE,
    "STEPS": STEP,
    "WAITING": WAITING,
    "GATED": INT64,
    "ADL_QUEUE": INT64,
    "VOLUNTEERS": INT64,
    "PEAKS": PEAK,
    "FUNDS": FUND,
    "ADL_NODES": ADL_NODE,
    "ADL_GRIDS": ADL_GRID,
    "ADL_CELLS": ADL_CELL,
    "ADL_LINES": ADL_LINE,
    "ADL_USED": INT64,
    "ADL_EDGES": INT64,
    "ADL_HEAP": ADL_BOUND,
    "ADL_ORDER": INT64,
    "SHARES": INT64,
    "LACKING": LACKING,
    "TICKETS": COMMAND,
}
