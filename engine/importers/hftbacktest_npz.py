"""The hftbacktest event array: an .npz whose member `data` holds one structured array.

Its prices and quantities are floats. Each is brought to price units or lots only if it lies
within a millionth of a unit of a whole number; otherwise the file is refused. Rows flagged for
the exchange are taken in their order, which must be that of `exch_ts`; rows for the local side
only are counted. The array is read in pieces and nothing in it is ever unpickled.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine import constants as c
from engine.importers.common import (
    FormatCode,
    FormatError,
    Import,
    ImportReport,
    MarketSpec,
    new_commands,
    shown,
    source_name,
)
from engine.importers.packed import UNPACK_ERRORS, array_header, check_method

HFT_EVENT = np.dtype(
    [
        ("ev", "<u8"),  # flags and kind
        ("exch_ts", "<i8"),  # ns
        ("local_ts", "<i8"),  # ns
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ]
)

EXCH_EVENT, LOCAL_EVENT = 1 << 31, 1 << 30
BUY_EVENT, SELL_EVENT = 1 << 29, 1 << 28
DEPTH_EVENT, TRADE_EVENT, DEPTH_CLEAR_EVENT, DEPTH_SNAPSHOT_EVENT = 1, 2, 3, 4
KIND_MASK = 0xFF

RECORDS_AT_ONCE = 65_536  # 4 MiB of events
INEXACT_MAX = 1e-6  # of a unit: far above float error, far below the finest real difference
_UNITS_MAX = 2.0**43  # a float beyond this hardly shows a thousandth of a unit


def read_hftbacktest(path: Path | str, market: MarketSpec) -> Import:
    """Import an hftbacktest .npz as DEPTH, DEPTH_CLEAR and TRADE rows.

    Depth and snapshot events set a level; the rows of one exchange time are a block, whose last
    depth row carries LAST_OF_BLOCK. A clear event of one side becomes a DEPTH row of 0 lots for
    every level from the best to its price, one without a side becomes DEPTH_CLEAR. The side of
    a trade is its aggressor's. Other kinds of event are refused.
    """
    report = ImportReport(source=source_name(path), format="hftbacktest")
    return Import(report, _events(path, market, report))


def _events(path: Path | str, market: MarketSpec, report: ImportReport) -> Iterator[np.ndarray]:
    levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
    held: np.ndarray | None = None
    before_ns = 0
    for events in _read_events(path, report.source):
        first_row = report.rows_read + 1
        report.rows_read += len(events)
        numbers = first_row + np.flatnonzero(events["ev"] & np.uint64(EXCH_EVENT))
        kept = events[numbers - first_row]
        report.count("local_only", len(events) - len(kept))
        if len(kept) == 0:
            continue
        _check_order(kept, numbers, before_ns, report.source)
        before_ns = int(kept["exch_ts"][-1])
        report.rows_kept += len(kept)
        rows = _convert(kept, numbers, market, levels, report)
        if held is not None:
            rows = np.concatenate((held, rows))
        _mark_blocks(rows)
        # The rows of the last time wait: only the next piece tells whether their block goes on.
        split = int(np.searchsorted(rows["time_ns"], before_ns))
        rows, held = rows[:split], rows[split:]
        yield rows
    if held is not None:
        yield held


def _read_events(path: Path | str, source: str) -> Iterator[np.ndarray]:
    """The member `data` in pieces; its header is checked against the size the archive states."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "data.npy" not in names:
                reason = f"expected an array named data, got {shown(names)}"
                raise FormatError(source, "", "data", FormatCode.CONTENTS, reason)
            check_method(archive.getinfo("data.npy"), source)
            with archive.open("data.npy") as member:
                left = _read_header(member, archive.getinfo("data.npy").file_size, source)
                while left:
                    count = min(left, RECORDS_AT_ONCE)
                    data = member.read(count * HFT_EVENT.itemsize)
                    if len(data) != count * HFT_EVENT.itemsize:
                        reason = f"expected {left} more records"
                        raise FormatError(source, "", "data", FormatCode.TORN, reason)
                    yield np.frombuffer(data, HFT_EVENT)
                    left -= count
                # One read past the end makes the archive check the member's checksum.
                member.read(1)
    except UNPACK_ERRORS as error:
        raise FormatError(source, "", "", FormatCode.TORN, f"{error}") from None
    except OSError as error:
        raise FormatError(source, "", "", FormatCode.UNREADABLE, f"{error.strerror}") from None


def _read_header(member: BinaryIO, size: int, source: str) -> int:
    """Number of records, after the type and the length are checked."""
    try:
        shape, _, dtype = array_header(member)
    except ValueError as error:
        raise FormatError(source, "", "data", FormatCode.CONTENTS, f"{error}") from None
    if dtype != HFT_EVENT or len(shape) != 1:
        reason = f"expected one axis of {shown(HFT_EVENT.descr)}, got {shape} {shown(dtype)}"
        raise FormatError(source, "", "data", FormatCode.CONTENTS, reason)
    records = shape[0]
    if member.tell() + records * HFT_EVENT.itemsize != size:
        reason = f"expected {records} records, the array has {size - member.tell()} bytes"
        raise FormatError(source, "", "data", FormatCode.TORN, reason)
    return records


def _refuse(
    wrong: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    place: tuple[str, str],
    code: FormatCode,
    reason: str,
) -> None:
    """Raise FormatError for the first event where `wrong`; `place` is (source, field)."""
    if wrong.any():
        at = int(wrong.argmax())
        reason = f"{reason}, got {values[at].item()}"
        raise FormatError(place[0], f"row {numbers[at]}", place[1], code, reason)


def _check_order(kept: np.ndarray, numbers: np.ndarray, before_ns: int, source: str) -> None:
    times = kept["exch_ts"]
    place = (source, "exch_ts")
    outside = (times < 0) | (times > c.TIME_MAX_NS)
    reason = f"expected 0 to {c.TIME_MAX_NS}"
    _refuse(outside, numbers, times, place, FormatCode.OUT_OF_RANGE, reason)
    late = times < np.concatenate(([before_ns], times[:-1]))
    reason = "expected time that does not fall"
    _refuse(late, numbers, times, place, FormatCode.TIME_BACKWARDS, reason)


def _whole_units(
    values: np.ndarray, scale: float, numbers: np.ndarray, place: tuple[str, str]
) -> np.ndarray:
    """Floats as whole numbers of 1/scale; NaN, infinities, negatives and fractions are refused."""
    finite = np.isfinite(values)
    _refuse(~finite, numbers, values, place, FormatCode.NOT_A_NUMBER, "expected a number")
    _refuse(values < 0, numbers, values, place, FormatCode.NEGATIVE, "expected 0 or more")
    scaled = values * scale
    large = scaled > _UNITS_MAX
    _refuse(large, numbers, values, place, FormatCode.OUT_OF_RANGE, "a number too large")
    whole = np.rint(scaled)
    inexact = np.abs(scaled - whole) > INEXACT_MAX
    reason = f"expected a whole number of 1/{scale:.0f}"
    _refuse(inexact, numbers, values, place, FormatCode.NOT_WHOLE, reason)
    return whole.astype(np.int64)


def _convert(
    kept: np.ndarray,
    numbers: np.ndarray,
    market: MarketSpec,
    levels: tuple[dict[int, int], dict[int, int]],
    report: ImportReport,
) -> np.ndarray:
    """COMMAND rows of exchange events; `levels` (bids, asks: price to lots) is kept up to date."""
    source = report.source
    kinds = (kept["ev"] & np.uint64(KIND_MASK)).astype(np.int64)
    buys = (kept["ev"] & np.uint64(BUY_EVENT)) != 0
    sells = (kept["ev"] & np.uint64(SELL_EVENT)) != 0
    unknown = (kinds < DEPTH_EVENT) | (kinds > DEPTH_SNAPSHOT_EVENT)
    reason = "expected depth (1), trade (2), clear (3) or snapshot (4)"
    _refuse(unknown, numbers, kinds, (source, "ev"), FormatCode.UNSUPPORTED, reason)
    clears = kinds == DEPTH_CLEAR_EVENT
    trades = kinds == TRADE_EVENT
    sideless = (buys == sells) & ~trades & ~(clears & ~buys)
    reason = "expected one side"
    _refuse(sideless, numbers, kept["ev"], (source, "ev"), FormatCode.INCONSISTENT, reason)
    wholly = clears & ~buys & ~sells
    place = (source, "px")
    px = np.where(wholly, 0.0, kept["px"])
    prices = _whole_units(px, 10.0**market.price_decimals, numbers, place)
    zero = (prices == 0) & ~clears
    _refuse(zero, numbers, kept["px"], place, FormatCode.ZERO, "expected a price above 0")
    off = prices % market.tick_price != 0
    reason = "expected a multiple of the tick"
    _refuse(off, numbers, kept["px"], place, FormatCode.OFF_TICK, reason)
    place = (source, "qty")
    qty = np.where(clears, 0.0, kept["qty"])
    units = _whole_units(qty, 10.0**market.lot_decimals, numbers, place)
    off = (units % market.lot_units != 0) | (units // market.lot_units > c.LOTS_MAX)
    reason = f"expected whole lots of {market.lot}"
    _refuse(off, numbers, kept["qty"], place, FormatCode.OFF_LOT, reason)
    zero = trades & (units == 0)
    _refuse(zero, numbers, kept["qty"], place, FormatCode.ZERO, "expected a trade above 0")

    rows = new_commands(len(kept), market.market_id)
    rows["time_ns"] = kept["exch_ts"]
    rows["price"] = prices
    rows["lots"] = units // market.lot_units
    rows["kind"] = np.where(trades, c.CommandKind.TRADE, c.CommandKind.DEPTH)
    rows["side"] = np.where(buys == sells, 0, np.where(buys, c.Side.BUY, c.Side.SELL))
    rows["kind"][wholly] = c.CommandKind.DEPTH_CLEAR
    rows["side"][wholly] = 0
    return _expand_clears(rows, clears, levels, report)


def _expand_clears(
    rows: np.ndarray,
    clears: np.ndarray,
    levels: tuple[dict[int, int], dict[int, int]],
    report: ImportReport,
) -> np.ndarray:
    """Replace each clear of one side by a deletion of every level from the best to its price."""
    parts = []
    start = 0
    for at in np.flatnonzero(clears).tolist():
        parts.append(rows[start:at])
        _apply(rows[start:at], levels)
        clear = rows[at : at + 1]
        if clear["kind"][0] == c.CommandKind.DEPTH_CLEAR:
            levels[0].clear()
            levels[1].clear()
            parts.append(clear)
        else:
            report.count("side_clears")
            limit = int(clear["price"][0])
            bids = int(clear["side"][0]) == c.Side.BUY
            held = levels[0] if bids else levels[1]
            gone = sorted((p for p in held if (p >= limit if bids else p <= limit)), reverse=bids)
            deletions = np.repeat(clear, len(gone))
            deletions["price"] = gone
            parts.append(deletions)
            for price in gone:
                del held[price]
        start = at + 1
    parts.append(rows[start:])
    _apply(rows[start:], levels)
    return np.concatenate(parts)


def _apply(rows: np.ndarray, levels: tuple[dict[int, int], dict[int, int]]) -> None:
    """Keep the last lots of every level; levels that end at 0 are dropped."""
    for held, side in ((levels[0], c.Side.BUY), (levels[1], c.Side.SELL)):
        depth = rows[(rows["kind"] == c.CommandKind.DEPTH) & (rows["side"] == side)]
        held.update(zip(depth["price"].tolist(), depth["lots"].tolist(), strict=True))
        for price in depth["price"][depth["lots"] == 0].tolist():
            if held.get(price) == 0:
                del held[price]


def _mark_blocks(rows: np.ndarray) -> None:
    """Flag the last DEPTH row of every exchange time."""
    depth = np.flatnonzero(rows["kind"] == c.CommandKind.DEPTH)
    times = rows["time_ns"][depth]
    last = np.ones(len(depth), bool)
    last[:-1] = times[1:] != times[:-1]
    rows["flags"][depth] = np.where(last, c.Flag.LAST_OF_BLOCK, 0)
