"""The public daily and monthly archive files: klines, mark and index price klines, bookDepth.

A bar becomes four prices at its open time, a quarter and a half of it, and its close time: open,
low, high, close when it closes at or above its open, else open, high, low, close. That order is
an assumption; the archive does not say which extreme came first. Depth bands are not commands:
they are yielded as BANDS rows, and `curve_from_bands` turns one block of them into the levels a
depth-curve liquidity model needs. Reading text and numbers is in `table.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from engine import constants as c
from engine.importers.common import (
    FormatCode,
    Import,
    ImportReport,
    MarketSpec,
    new_commands,
    source_name,
)
from engine.importers.table import Table, read_csv

KLINE_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
BOOK_DEPTH_COLUMNS = ("timestamp", "percentage", "depth", "notional")
BOOK_DEPTH_HEADERS = (BOOK_DEPTH_COLUMNS, (*BOOK_DEPTH_COLUMNS, "weighted_avg_price"))

NOTIONAL_DECIMALS = 8  # of the `notional` of BANDS: as many as the archive ever writes
PERCENT_DECIMALS = 4  # a percentage with four decimals is whole ppm

BANDS = np.dtype(
    [
        ("time_ns", "<i8"),
        ("offset_ppm", "<i8"),  # outer edge of the band, from mid; negative: the bid side
        ("lots", "<i8"),  # cumulative, from mid to the edge
        ("notional", "<i8"),  # cumulative, in 10**-NOTIONAL_DECIMALS quote
    ]
)

_MS_FIRST, _MS_END = 10**12, c.TIME_MAX_NS // 10**6  # years 2001 to 2116
_UNITS_NS = {"ms": 1_000_000, "us": 1_000}


class _Bars:
    """What consecutive chunks of one kline file have in common."""

    def __init__(self) -> None:
        self.unit_ns = 0
        self.bar_units = 0
        self.next_open = 0


def read_klines(
    path: Path | str,
    market: MarketSpec,
    *,
    as_kind: Literal[c.CommandKind.INDEX, c.CommandKind.MARK] = c.CommandKind.INDEX,
) -> Import:
    """Import klines (csv, csv.gz or zip; with or without header; ms or us): four rows a bar.

    Prices finer than `price_decimals` are rounded half to even and counted: mark and index prices
    are averages, not quotes. Every other column must still be a number, 0 or more. Bars must
    follow each other; missing ones are counted as gaps, an overlap is refused.
    """
    if as_kind not in (c.CommandKind.INDEX, c.CommandKind.MARK):
        raise ValueError(f"as_kind: expected INDEX or MARK, got {as_kind!r}")
    report = ImportReport(source=source_name(path), format="klines")
    return Import(report, _klines(path, market, as_kind, report))


def read_mark_klines(path: Path | str, market: MarketSpec) -> Import:
    """Import markPriceKlines as MARK rows; see `read_klines`."""
    report = ImportReport(source=source_name(path), format="markPriceKlines")
    return Import(report, _klines(path, market, c.CommandKind.MARK, report))


def read_index_klines(path: Path | str, market: MarketSpec) -> Import:
    """Import indexPriceKlines as INDEX rows; see `read_klines`."""
    report = ImportReport(source=source_name(path), format="indexPriceKlines")
    return Import(report, _klines(path, market, c.CommandKind.INDEX, report))


def _klines(
    path: Path | str, market: MarketSpec, kind: c.CommandKind, report: ImportReport
) -> Iterator[np.ndarray]:
    bars = _Bars()
    for table in read_csv(path, [KLINE_COLUMNS], "optional"):
        report.rows_read += table.height
        open_time, bar_ns = _bar_times(table, bars, report)
        prices = _bar_prices(table, market, report)
        open_ns = open_time * bars.unit_ns
        rows = new_commands(4 * len(open_ns), market.market_id)
        rows["kind"] = kind
        times = rows["time_ns"].reshape(-1, 4)
        times[:, 0] = open_ns
        times[:, 1] = open_ns + bar_ns // 4
        times[:, 2] = open_ns + bar_ns // 2
        times[:, 3] = open_ns + bar_ns - bars.unit_ns
        rows["price"].reshape(-1, 4)[:] = prices
        report.rows_kept += len(open_ns)
        yield rows


def _bar_times(table: Table, bars: _Bars, report: ImportReport) -> tuple[np.ndarray, int]:
    """Open times in the file's unit and the length of a bar in ns; counts the gaps."""
    open_time, close_time = table.whole("open_time"), table.whole("close_time")
    if bars.unit_ns == 0:
        bars.unit_ns = _UNITS_NS["ms" if open_time[0] < _MS_END else "us"]
        bars.bar_units = max(2, int(close_time[0] - open_time[0]) + 1)
        bars.next_open = int(open_time[0])
    scale = 1_000_000 // bars.unit_ns
    reason = f"expected Unix time in {'ms' if scale == 1 else 'us'}"
    for field, times in (("open_time", open_time), ("close_time", close_time)):
        outside = (times < _MS_FIRST * scale) | (times >= _MS_END * scale)
        table.refuse(outside, field, FormatCode.OUT_OF_RANGE, reason)
    uneven = close_time - open_time + 1 != bars.bar_units
    reason = f"expected a bar of {bars.bar_units} like the first"
    table.refuse(uneven, "close_time", FormatCode.INCONSISTENT, reason)
    table.rising("open_time", open_time, bars.next_open - bars.bar_units, True)
    expected = np.concatenate(([bars.next_open], open_time[:-1] + bars.bar_units))
    reason = "the bar begins inside the one before"
    table.refuse(open_time < expected, "open_time", FormatCode.TIME_BACKWARDS, reason)
    late = open_time - expected
    report.gaps += int((late > 0).sum())
    report.gap_ns += int(late.sum()) * bars.unit_ns
    bars.next_open = int(open_time[-1]) + bars.bar_units
    return open_time, bars.bar_units * bars.unit_ns


def _bar_prices(table: Table, market: MarketSpec, report: ImportReport) -> np.ndarray:
    """Price units in the order in which the bar is assumed to have met them; shape (bars, 4)."""
    columns = {}
    for field in ("open", "high", "low", "close"):
        columns[field], rounded = table.prices(field, market)
        report.rounded += int(rounded.sum())
    first, high, low, last = columns.values()
    beyond = (high < np.maximum(first, last)) | (high < low)
    table.refuse(beyond, "high", FormatCode.INCONSISTENT, "a price of the bar is above its high")
    beyond = low > np.minimum(first, last)
    table.refuse(beyond, "low", FormatCode.INCONSISTENT, "a price of the bar is below its low")
    for field in KLINE_COLUMNS:
        if field not in columns and not field.endswith("_time"):
            table.decimals(field, 0)
    rising = last >= first
    second, third = np.where(rising, low, high), np.where(rising, high, low)
    return np.stack((first, second, third, last), axis=1)


def read_book_depth(path: Path | str, market: MarketSpec, *, trim_spaces: bool = False) -> Import:
    """Import bookDepth as BANDS rows, whole blocks only: a block is the bands of one time.

    Within a block the offsets rise, and depth and notional do not fall away from mid. The archive
    has held rows with a space before the timestamp: they are refused, or with `trim_spaces` read
    and counted as `trimmed`. The archive has no fixed step, so `gaps` stays 0.
    """
    report = ImportReport(source=source_name(path), format="bookDepth")
    return Import(report, _book_depth(path, market, trim_spaces, report))


def _book_depth(
    path: Path | str, market: MarketSpec, trim_spaces: bool, report: ImportReport
) -> Iterator[np.ndarray]:
    held = np.zeros(0, BANDS)
    held_line = 1
    for table in read_csv(path, BOOK_DEPTH_HEADERS, "required"):
        report.rows_read += table.height
        if trim_spaces:
            report.trimmed += table.trim("timestamp")
        rows = _bands(table, market)
        before = int(held["time_ns"][-1]) if len(held) else report.last_time_ns
        table.rising("timestamp", rows["time_ns"], before, False)
        if len(held) == 0:
            held_line = table.first_line
        held = np.concatenate((held, rows))
        split = int(np.searchsorted(held["time_ns"], held["time_ns"][-1]))
        _check_blocks(table.source, held_line, held[:split])
        report.rows_kept += split
        yield held[:split]
        held, held_line = held[split:], held_line + split
    _check_blocks(source_name(path), held_line, held)
    report.rows_kept += len(held)
    yield held


def _bands(table: Table, market: MarketSpec) -> np.ndarray:
    rows = np.zeros(table.height, BANDS)
    time = table.frame["timestamp"].str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    # The parser also takes shorter forms; the length tells them apart.
    odd = time.is_null() | (table.frame["timestamp"].str.len_bytes() != 19)
    reason = "expected YYYY-MM-DD HH:MM:SS"
    table.refuse(odd.to_numpy(), "timestamp", FormatCode.NOT_A_TIME, reason)
    seconds = time.dt.epoch("s").to_numpy()
    outside = (seconds < 0) | (seconds > c.TIME_MAX_NS // 10**9)
    table.refuse(outside, "timestamp", FormatCode.OUT_OF_RANGE, "expected 1970 to 2116")
    rows["time_ns"] = seconds * 10**9
    signs = np.where(table.frame["percentage"].str.starts_with("-").to_numpy(), -1, 1)
    unsigned = table.frame.with_columns(pl.col("percentage").str.strip_prefix("-"))
    percent = Table(table.source, table.first_line, unsigned)
    offsets, rounded = percent.decimals("percentage", PERCENT_DECIMALS)
    percent.refuse(rounded, "percentage", FormatCode.NOT_WHOLE, "expected whole ppm")
    percent.refuse(offsets == 0, "percentage", FormatCode.ZERO, "expected a band beside mid")
    rows["offset_ppm"] = signs * offsets
    rows["lots"] = table.lots("depth", market)
    rows["notional"], rounded = table.decimals("notional", NOTIONAL_DECIMALS)
    reason = f"expected at most {NOTIONAL_DECIMALS} decimals"
    table.refuse(rounded, "notional", FormatCode.NOT_WHOLE, reason)
    if "weighted_avg_price" in table.frame.columns:
        table.decimals("weighted_avg_price", NOTIONAL_DECIMALS)
    return rows


def _check_blocks(source: str, first_line: int, rows: np.ndarray) -> None:
    """Within one time: offsets rise, and sums do not fall away from mid."""
    if len(rows) < 2:
        return
    table = Table(source, first_line, pl.DataFrame())
    same = rows["time_ns"][1:] == rows["time_ns"][:-1]
    offsets = rows["offset_ppm"]
    repeated = same & (offsets[1:] <= offsets[:-1])
    reason = "expected the bands of one time in rising order, each once"
    table.refuse(repeated, "percentage", FormatCode.DUPLICATE, reason, 1)
    for field, name in (("lots", "depth"), ("notional", "notional")):
        change = np.diff(rows[field])
        bids = same & (offsets[1:] < 0) & (change > 0)
        asks = same & (offsets[:-1] > 0) & (change < 0)
        reason = f"expected cumulative {name}: a wider band holds less than a narrower one"
        table.refuse(bids | asks, name, FormatCode.INCONSISTENT, reason, 1)


def split_bands(bands: np.ndarray) -> Iterator[np.ndarray]:
    """The blocks of an array of BANDS: one view per time, in order."""
    edges = np.flatnonzero(np.diff(bands["time_ns"])) + 1
    yield from np.split(bands, edges) if len(bands) else ()


def curve_from_bands(
    block: np.ndarray,
    *,
    sides: Literal["separate", "averaged"] = "separate",
    levels_per_band: int = 1,
    subtract_lots: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Turn one block of cumulative BANDS into levels: (bids, asks), each int64 of shape (n, 2).

    A level is (distance from mid in ppm, lots at it), nearest first. The lots of a band are
    spread evenly over `levels_per_band` levels at the outer edges of its equal parts, the last
    one at the edge of the band: a taker never pays less than the recorded band allows, and the
    lots of all levels add up to the widest band. `averaged` gives both sides the mean of the two
    sums at each edge, rounded down; the edges must then be the same.

    `subtract_lots` is taken off every bid band. The archive of 10 October 2025 carries one stale
    bid of about 17.65 BTC (17.652 or 17.654) above the market in every bid band from 15:30 on;
    whoever wants it out says so here, and a band that holds less is refused with ValueError.

    >>> block = np.array([(0, -20_000, 50, 0), (0, -10_000, 30, 0), (0, 10_000, 25, 0),
    ...                   (0, 20_000, 45, 0)], BANDS)
    >>> bids, asks = curve_from_bands(block, subtract_lots=10)
    >>> bids.tolist(), asks.tolist()
    ([[10000, 20], [20000, 20]], [[10000, 25], [20000, 20]])
    >>> curve_from_bands(block, sides="averaged")[0].tolist()
    [[10000, 27], [20000, 20]]
    """
    if levels_per_band < 1 or subtract_lots < 0:
        raise ValueError("levels_per_band: 1 or more; subtract_lots: 0 or more")
    if len(block) == 0 or (block["time_ns"] != block["time_ns"][0]).any():
        raise ValueError("expected the bands of exactly one time")
    bids, asks = block[block["offset_ppm"] < 0][::-1], block[block["offset_ppm"] > 0]
    bid_sums, ask_sums = bids["lots"] - subtract_lots, asks["lots"]
    if (bid_sums < 0).any():
        reason = f"{subtract_lots} lots, but a bid band holds {bids['lots'].min()}"
        raise ValueError(f"subtract_lots: at time_ns {block['time_ns'][0]}: {reason}")
    bid_edges, ask_edges = -bids["offset_ppm"], asks["offset_ppm"]
    if sides == "averaged":
        if not np.array_equal(bid_edges, ask_edges):
            raise ValueError("averaged: expected the same bands on both sides")
        bid_sums = ask_sums = (bid_sums + ask_sums) // 2
    return (
        _levels(bid_edges, bid_sums, levels_per_band),
        _levels(ask_edges, ask_sums, levels_per_band),
    )


def _levels(edges: np.ndarray, sums: np.ndarray, parts: int) -> np.ndarray:
    """Cut cumulative sums at `edges` into levels; remainders go to the outer parts."""
    if len(edges) * parts > c.DEPTH_LEVELS_MAX:
        raise ValueError(f"expected at most {c.DEPTH_LEVELS_MAX} levels a side")
    part = np.arange(1, parts + 1)
    inner_edges = np.concatenate(([0], edges[:-1]))[:, None]
    inner_sums = np.concatenate(([0], sums[:-1]))[:, None]
    offsets = inner_edges + (edges[:, None] - inner_edges) * part // parts
    totals = inner_sums + (sums[:, None] - inner_sums) * part // parts
    lots = np.diff(totals.ravel(), prepend=0)
    return np.stack((offsets.ravel(), lots), axis=1).astype(np.int64)
