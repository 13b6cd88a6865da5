"""The public tick formats as data: which column means what, in which unit, and what rows become.

One entry a format; `ticks.py` and `books.py` turn the columns into rows. Headers follow the
venues' and vendors' own documents; a column that is not named here is not read.
"""

from enum import StrEnum
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from engine.constants import Side

LATE_MAX_NS = 60 * 10**9  # a row further behind than this belongs to another file


class Shape(StrEnum):
    """What the rows of a format are."""

    TRADE = "trade"  # price, size: TRADE, or INDEX or MARK where the file is used as one
    LIQUIDATION = "liquidation"  # like a trade; the side is that of the liquidation order
    QUOTE = "quote"  # best bid and ask: DEPTH
    BOOK = "book"  # one level each, set or deleted: DEPTH, and DEPTH_CLEAR before a snapshot
    SNAPSHOT = "snapshot"  # the best N levels of both sides: DEPTH of what changed
    TICKER = "ticker"  # index, mark and funding of one instant
    FUNDING = "funding"  # a rate: FUNDING
    METRICS = "metrics"  # open interest and ratios; no command has them


LIQUIDATION = np.dtype(
    [
        ("time_ns", "<i8"),
        ("price", "<i8"),  # price units
        ("lots", "<i8"),
        ("side", "i1"),  # Side of the liquidation order: SELL closes a long
        ("cause", "i1"),  # Cause: LIQUIDATION, TAKEOVER by a backstop, or ADL
    ]
)

METRICS = np.dtype(
    [
        ("time_ns", "<i8"),
        ("open_interest", "<i8"),  # in 10**-METRICS_DECIMALS of the base coin, or of a contract
        ("open_interest_value", "<i8"),  # in 10**-METRICS_DECIMALS quote
        ("top_accounts", "<i8"),  # longs per short in ppm, as the next three; 0: not recorded
        ("top_positions", "<i8"),
        ("all_accounts", "<i8"),
        ("taker_volume", "<i8"),  # bought per sold
    ]
)
METRICS_DECIMALS = 6


class Format(Struct, frozen=True, kw_only=True):
    """One format. `fields` maps a meaning to the name of its column.

    Meanings: time, nanos (of the second in time), price, size, side, symbol, group (rows of one
    message), snapshot, bid_price, bid_size, ask_price, ask_size, index, mark, rate, due (when the
    rate is paid), and the metrics' own. `unit` is that of the time: s, ms, us, ns, "ms or us" by
    its size, or datetime, datetimeD, datetimeT. With `repeats`, columns that tell rows apart, a
    row equal to an earlier one in every column that is read is left out; `unique` is a column
    whose value comes only once, `number` one that also counts up by one. `layouts` are the
    columns of files without a header. `averaged`: prices are means of fills and need not be on
    the tick.
    """

    kind: str
    shape: Shape
    fields: dict[str, str]
    unit: str
    sides: dict[str, int] = {}
    snapshots: dict[str, int] = {}
    layouts: tuple[tuple[str, ...], ...] = ()
    may_be_empty: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()
    unique: str = ""
    number: str = ""
    late_max_ns: Annotated[int, Meta(ge=0)] = LATE_MAX_NS
    interval_ns: int = 0  # between two rows, where it is fixed
    averaged: bool = False
    exponents: bool = False  # small numbers may be written like 1e-8
    levels: bool = False  # columns asks[0].price, asks[0].amount, bids[0].price, ...
    notes: tuple[str, ...] = ()  # what a reader of the report has to know


_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_WORDS = {"buy": _BUY, "sell": _SELL}
_MAKER_WORDS = {"true": _SELL, "false": _BUY}  # the buyer was the maker: a seller took
_AGG = (
    *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id"),
    *("transact_time", "is_buyer_maker"),
)
_TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
_LIQUIDATION_COLUMNS = (
    *("time", "side", "order_type", "time_in_force", "original_quantity", "price"),
    *("average_price", "order_status", "last_fill_quantity", "accumulated_fill_quantity"),
)
_TICKER_COLUMNS = (
    *("update_id", "best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty"),
    *("transaction_time", "event_time"),
)
_LOWER_BOUND = (
    "the feed behind it carries at most one liquidation a second of each market: a lower bound"
)
_LOWER_BOUND_MAYBE = (
    "many venues report only a sample of their liquidations: totals are lower bounds"
)

# --- the daily and monthly archive

_ARCHIVE = (
    Format(
        kind="aggTrades",
        shape=Shape.TRADE,
        fields={"time": "transact_time", "price": "price", "size": "quantity",
                "side": "is_buyer_maker"},
        unit="ms or us",
        sides=_MAKER_WORDS,
        layouts=(_AGG, (*_AGG, "is_best_match")),
        repeats=("agg_trade_id",),
        unique="agg_trade_id",
        number="agg_trade_id",
    ),
    Format(
        kind="trades",
        shape=Shape.TRADE,
        fields={"time": "time", "price": "price", "size": "qty", "side": "is_buyer_maker"},
        unit="ms or us",
        sides=_MAKER_WORDS,
        layouts=(_TRADES, (*_TRADES, "is_best_match")),
        repeats=("id",),
        unique="id",
        number="id",
    ),
    Format(
        kind="bookTicker",
        shape=Shape.QUOTE,
        fields={"time": "transaction_time", "bid_price": "best_bid_price",
                "bid_size": "best_bid_qty", "ask_price": "best_ask_price",
                "ask_size": "best_ask_qty"},
        unit="ms or us",
        layouts=(_TICKER_COLUMNS,),
        repeats=("update_id",),
        unique="update_id",
    ),
    Format(
        kind="fundingRate",
        shape=Shape.FUNDING,
        fields={"time": "calc_time", "rate": "last_funding_rate"},
        unit="ms or us",
        layouts=(("calc_time", "funding_interval_hours", "last_funding_rate"),),
        repeats=("calc_time",),
        unique="calc_time",
        late_max_ns=0,
    ),
    Format(
        kind="liquidationSnapshot",
        shape=Shape.LIQUIDATION,
        fields={"time": "time", "price": "average_price", "size": "accumulated_fill_quantity",
                "side": "side"},
        unit="ms or us",
        sides=_WORDS,
        layouts=(_LIQUIDATION_COLUMNS,),
        repeats=_LIQUIDATION_COLUMNS,
        averaged=True,
        notes=(_LOWER_BOUND,),
    ),
    Format(
        kind="metrics",
        shape=Shape.METRICS,
        fields={"time": "create_time", "symbol": "symbol",
                "open_interest": "sum_open_interest",
                "open_interest_value": "sum_open_interest_value",
                "top_accounts": "count_toptrader_long_short_ratio",
                "top_positions": "sum_toptrader_long_short_ratio",
                "all_accounts": "count_long_short_ratio",
                "taker_volume": "sum_taker_long_short_vol_ratio"},
        unit="datetime",
        may_be_empty=("count_toptrader_long_short_ratio", "sum_toptrader_long_short_ratio",
                      "count_long_short_ratio", "sum_taker_long_short_vol_ratio"),
        repeats=("create_time",),
        unique="create_time",
        late_max_ns=0,
        interval_ns=300 * 10**9,
    ),
    Format(
        kind="depthUpdates",
        shape=Shape.BOOK,
        fields={"time": "timestamp", "group": "last_update_id", "symbol": "symbol",
                "snapshot": "update_type", "side": "side", "price": "price", "size": "qty"},
        unit="ms or us",
        sides={"b": _BUY, "a": _SELL},
        snapshots={"snap": 1, "set": 0},
    ),
)  # fmt: skip

# --- the vendor whose files have one header for every venue

_BOTH = {"time": "timestamp", "symbol": "symbol"}
_NORMALISED = (
    Format(
        kind="tardis.trades",
        shape=Shape.TRADE,
        fields=_BOTH | {"price": "price", "size": "amount", "side": "side"},
        unit="us",
        exponents=True,
        sides=_WORDS | {"unknown": 0},
        may_be_empty=("id",),
        repeats=("id",),
    ),
    Format(
        kind="tardis.liquidations",
        shape=Shape.LIQUIDATION,
        fields=_BOTH | {"price": "price", "size": "amount", "side": "side"},
        unit="us",
        exponents=True,
        sides=_WORDS,
        may_be_empty=("id",),
        repeats=("id",),
        averaged=True,
        notes=(_LOWER_BOUND_MAYBE,),
    ),
    Format(
        kind="tardis.quotes",
        shape=Shape.QUOTE,
        fields=_BOTH | {"bid_price": "bid_price", "bid_size": "bid_amount",
                        "ask_price": "ask_price", "ask_size": "ask_amount"},
        unit="us",
        exponents=True,
        may_be_empty=("bid_price", "bid_amount", "ask_price", "ask_amount"),
    ),
    Format(
        kind="tardis.incremental_book_L2",
        shape=Shape.BOOK,
        fields=_BOTH | {"group": "local_timestamp", "snapshot": "is_snapshot", "side": "side",
                        "price": "price", "size": "amount"},
        unit="us",
        exponents=True,
        sides={"bid": _BUY, "ask": _SELL},
        snapshots={"true": 1, "false": 0},
    ),
    Format(
        kind="tardis.book_snapshot",
        shape=Shape.SNAPSHOT,
        fields=_BOTH,
        unit="us",
        exponents=True,
        levels=True,
    ),
    Format(
        kind="tardis.derivative_ticker",
        shape=Shape.TICKER,
        fields=_BOTH | {"due": "funding_timestamp", "rate": "funding_rate",
                        "index": "index_price", "mark": "mark_price"},
        unit="us",
        exponents=True,
        may_be_empty=("funding_timestamp", "funding_rate", "index_price", "mark_price"),
    ),
)  # fmt: skip

# --- the venues' own trade archives

_CONTRACTS = {"time": "timestamp", "symbol": "symbol", "side": "side", "size": "size",
              "price": "price"}  # fmt: skip
_VENUES = (
    Format(
        kind="bybit.trades",
        shape=Shape.TRADE,
        fields=_CONTRACTS,
        unit="s",
        sides=_WORDS,
        repeats=("trdMatchID",),
        unique="trdMatchID",
    ),
    Format(
        kind="bybit.spotTrades",
        shape=Shape.TRADE,
        fields={"time": "timestamp", "price": "price", "size": "volume", "side": "side"},
        unit="ms or us",
        sides=_WORDS,
        repeats=("id",),
        unique="id",
    ),
    Format(
        kind="bitmex.trades",
        shape=Shape.TRADE,
        fields=_CONTRACTS,
        unit="datetimeD",
        sides=_WORDS,
        may_be_empty=("side",),
        repeats=("trdMatchID",),
        unique="trdMatchID",
    ),
    Format(
        kind="bitmex.liquidations",
        shape=Shape.LIQUIDATION,
        fields={"time": "timestamp_s", "nanos": "timestamp_ns_part", "symbol": "symbol",
                "side": "side", "size": "leavesQty", "price": "price"},
        unit="s",
        sides=_WORDS,
        repeats=("orderID",),
        notes=(
            "liquidation orders as they were placed, at the bankruptcy price and full size: "
            "what they were filled at is in the trades",
        ),
    ),
    Format(
        kind="okx.trades",
        shape=Shape.TRADE,
        fields={"time": "created_time", "symbol": "instrument_name", "price": "price",
                "size": "size", "side": "side"},
        unit="ms or us",
        sides=_WORDS,
        repeats=("trade_id",),
        unique="trade_id",
    ),
    Format(
        kind="kraken.trades",
        shape=Shape.TRADE,
        fields={"time": "unix_s", "price": "price", "size": "volume"},
        unit="s",
        layouts=(("unix_s", "price", "volume"),),
        late_max_ns=0,
    ),
)  # fmt: skip

FORMATS: dict[str, Format] = {each.kind: each for each in (*_ARCHIVE, *_NORMALISED, *_VENUES)}

# Lines of JSON; `json_lines.py` makes the columns.
ORDERBOOK_500 = Format(
    kind="bybit.ob500",
    shape=Shape.BOOK,
    fields={"time": "time", "group": "message", "snapshot": "snapshot", "side": "side",
            "price": "price", "size": "size"},
    unit="ms",
    sides={"b": _BUY, "a": _SELL},
    snapshots={"1": 1, "0": 0},
)  # fmt: skip
NODE_FILLS = Format(
    kind="hyperliquid.nodeFills",
    shape=Shape.TRADE,
    fields={"time": "time", "price": "price", "size": "size", "side": "side"},
    unit="ms",
    sides={"b": _BUY, "a": _SELL},
)
NODE_LIQUIDATIONS = Format(
    kind="hyperliquid.nodeFills",
    shape=Shape.LIQUIDATION,
    fields=NODE_FILLS.fields | {"cause": "cause"},
    unit="ms",
    sides=NODE_FILLS.sides,
    notes=("every liquidation of the chain is in its fills: totals are complete",),
)

# What the rows of a shape can be used as; the first is meant where nothing is said.
ROLES: dict[Shape, tuple[str, ...]] = {
    Shape.TRADE: ("trade", "index", "mark"),
    Shape.LIQUIDATION: ("facts", "trade"),
    Shape.QUOTE: ("depth",),
    Shape.BOOK: ("depth",),
    Shape.SNAPSHOT: ("depth",),
    Shape.TICKER: ("prices", "index", "mark", "funding"),
    Shape.FUNDING: ("funding",),
    Shape.METRICS: ("facts",),
}
