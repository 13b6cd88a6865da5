"""`crashtape match`: order flow through the book alone, files in and files out.

Reads a CSV or Parquet of commands (columns cmd, ts_event_ns, op, order_id, side, price_ticks,
size, tag), or an int64 (n, 5) `.npy` flow, and writes fills, the final book and the best prices.
Nothing is written when a row is refused.
"""

import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from engine.constants import LOTS_MAX, ORDER_ID_MAX, TICKS_MAX, Payoff, Side
from engine.core.flow import (
    ALONE,
    FLOW,
    FLOW_FILL,
    FlowError,
    Op,
    fold_checksum,
    run_flow,
    run_message,
)
from engine.core.kernel import direct
from engine.core.state import H
from engine.core.tables import Block, table_rows, write_ladders, write_market
from engine.importers.common import FormatError
from engine.importers.order_flow import COLUMNS, OPS, SIDES, read_flow
from engine.importers.packed import array_header
from engine.importers.whole import read_csv_frame, read_parquet_frame
from engine.refusal import Refusal
from engine.venue import Capacities, MarketNumbers

BOOK_COLUMNS = ("order_id", "side", "price_ticks", "size")
FILLS_ROOM = 1 << 13  # rows drained from the kernel at a time, beyond one per resting order: few
# enough to stay near the core, instead of touching new memory with every fill
UNPACK_FILLS = struct.Struct("<5q").iter_unpack


class MatchError(Refusal):
    """A file or a row of order flow is refused: file, row, field and what was expected."""


class FlowResult(msgspec.Struct, kw_only=True):
    """What a flow did: counts, total quantity, checksum, and seconds of matching alone."""

    messages: int
    seconds: float
    trades: int
    qty: int
    checksum: str
    live: int


class BookAlone:
    """One order book with capacity for `orders_max` orders and prices 1..`ticks_max`."""

    def __init__(self, ticks_max: int, orders_max: int) -> None:
        if not 1 <= ticks_max < TICKS_MAX:
            raise MatchError(f"expected prices of 1 to {TICKS_MAX - 1} ticks, got {ticks_max}")
        numbers = MarketNumbers(
            symbol="book",
            payoff=Payoff.LINEAR,
            tick_price=1,
            price_min=1,
            price_max=ticks_max,
            unit_quote=1,
            face_quote=0,
            order_lots_min=1,
            order_lots_max=LOTS_MAX,
            open_interest_lots_max=LOTS_MAX,
            tier_initial_ppm=(1,),
            leverage_default=1,
            maker_fee_ppm=0,
            taker_fee_ppm=0,
            price_band_ppm=0,
            liquidation_fee_ppm=0,
            tier_to=(1,),
            tier_leverage_max=(1,),
            tier_maintenance_ppm=(1,),
            tier_deduction=(0,),
        )
        capacities = Capacities(accounts_max=1, positions_max=1, orders_max=orders_max)
        self.block = Block(table_rows([numbers], capacities, {}))
        self.block.words[H.MARKETS_COUNT] = 1
        self.block.words[H.USER_ORDERS_MAX] = orders_max
        cursor = dict.fromkeys(("TIERS", "LEVELS", "BUCKETS", "WORDS", "CURVES", "BASIS"), 1)
        write_market(self.block, ALONE, numbers, cursor, plain=True)
        write_ladders(self.block, ALONE, numbers, cursor)
        self._fills = np.empty(orders_max + 2 + FILLS_ROOM, dtype=FLOW_FILL)
        self._fills_at = self._fills.ctypes.data
        self._fill_bytes = self._fills.data.cast("B")
        self._one = np.zeros(1, dtype=FLOW)
        self._one_at = self._one.ctypes.data
        self._one_bytes = self._one.data.cast("B")
        self.block.words[H.EVENTS_AT] = self._fills_at
        self.block.words[H.EVENTS_ROWS] = len(self._fills)
        self._address = self.block.address
        self._run = direct(run_flow, 7)
        self._message = direct(run_message, 7)
        self.seconds = 0.0

    def message(
        self, op: int, order_id: int, side: int, price: int, lots: int, row: int = 0
    ) -> list[tuple[int, ...]]:
        """Apply one row as plain integers; returns its fills as tuples, in the order of FLOW_FILL.

        Raises MatchError if it is refused. `row` is what fills and refusal call it.

        >>> book = BookAlone(100, 10)
        >>> book.message(Op.LIMIT, 1, Side.SELL, 50, 7)
        []
        >>> book.message(Op.LIMIT, 2, Side.BUY, 50, 4)
        [(0, 2, 1, 50, 4)]
        """
        written = self._message(self._address, row, op, order_id, side, price, lots)
        if written == 0:
            return []
        if written < 0:
            raise _refusal(-written, row, (op, order_id, side, price, lots))
        return self.fills(written)

    def fills(self, written: int) -> list[tuple[int, ...]]:
        """The fills that the last call of a kernel has written, as tuples."""
        return list(UNPACK_FILLS(self._fill_bytes[: written * FLOW_FILL.itemsize]))

    def run(self, rows: np.ndarray, first_row: int = 0) -> Iterator[np.ndarray]:
        """Apply FLOW rows; yields FLOW_FILL rows as they are drained (views, valid until the
        next). Raises MatchError naming the row that was refused."""
        rows = np.ascontiguousarray(rows)
        count, done, room = len(rows), 0, len(self._fills)
        if count == 1:  # to ask an array for its address takes longer than to match it
            self._one_bytes[:] = rows.tobytes()
            at = self._one_at
        else:
            at = rows.ctypes.data
        while done < count:
            began = time.perf_counter()
            done, written, refused = self._run(
                self._address, at, count, done, first_row, self._fills_at, room
            )
            self.seconds += time.perf_counter() - began
            yield self._fills[:written]
            if refused:
                raise _refusal(refused, first_row + done, rows[done].tolist())

    def resting(self) -> pl.DataFrame:
        """The orders in the book: bids then asks, best level first, then queue priority."""
        block = self.block
        market = block.table("MARKETS")[ALONE]
        table, levels = block.table("ORDERS"), block.table("LEVELS")
        prices = np.flatnonzero(levels["head"]) - int(market["level_row"])
        bids = prices[prices <= market["best_bid_tick"]][::-1]
        asks = prices[prices > market["best_bid_tick"]]
        rows = []
        for price in np.concatenate([bids, asks]):
            row = levels[int(market["level_row"]) + price]["head"]
            while row:
                order = table[row]
                side = "B" if order["side"] == Side.BUY else "A"
                rows.append((int(order["order_id"]), side, int(price), int(order["lots"])))
                row = order["next"]
        return pl.DataFrame(
            rows, schema=dict(zip(BOOK_COLUMNS, BOOK_TYPES, strict=True)), orient="row"
        )

    def best(self) -> tuple[int, ...]:
        """(bid ticks, size, orders, ask ticks, size, orders, orders in the book)."""
        block = self.block
        market = block.table("MARKETS")[ALONE]
        table, levels = block.table("ORDERS"), block.table("LEVELS")
        values: list[int] = []
        for name in ("best_bid_tick", "best_ask_tick"):
            tick = int(market[name])
            level = levels[int(market["level_row"]) + tick]
            count, row = 0, int(level["head"]) if tick else 0
            while row:
                count += 1
                row = int(table[row]["next"])
            values += [tick, int(level["lots"]) if tick else 0, count]
        return (*values, int(block.words[H.ORDERS_COUNT]))


def _refusal(refused: int, number: int, row: Sequence[int]) -> MatchError:
    code, (op, order_id, _, price, lots) = FlowError(refused).name, row
    if refused == FlowError.UNKNOWN_OP:
        return MatchError(f"row {number + 1}: {code}: {op}")
    return MatchError(
        f"row {number + 1}: {code}: op {Op(op).name.lower()} order {order_id} price {price}"
        f" size {lots}"
    )


BOOK_TYPES = (pl.Int64, pl.String, pl.Int64, pl.Int64)


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """A CSV (gz too) or Parquet file as text columns; refuses what is missing or has no text."""
    try:
        parquet = path.suffix == ".parquet"
        frame = read_parquet_frame(path) if parquet else read_csv_frame(path)
    except FormatError as error:
        raise MatchError(f"{path.name}: {error.reason}") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise MatchError(f"{path.name}: header: expected the column {missing[0]}")
    for name in columns:
        kind = frame[name].dtype
        if kind.is_nested() or kind in (pl.Binary, pl.Duration):  # these have no text
            raise MatchError(f"{path.name}: {name}: expected text or whole numbers, got {kind}")
    return frame.select(columns)


def _integers(path: Path, frame: pl.DataFrame, name: str, low: int, high: int) -> np.ndarray:
    """A column as int64 within bounds; the first bad row is named."""
    column = frame[name]
    if column.dtype == pl.String:
        parsed = column.str.to_integer(base=10, strict=False, dtype=pl.Int64)
    elif column.dtype.is_integer():
        parsed = column.cast(pl.Int64, strict=False)
    else:
        raise MatchError(f"{path.name}: {name}: expected whole numbers, got {column.dtype}")
    bad = parsed.is_null() | (parsed < low).fill_null(True) | (parsed > high).fill_null(True)
    if bad.any():
        row = int(bad.arg_true()[0])
        raise MatchError(
            f"{path.name}: row {row + 1}: {name}: expected a whole number from {low} to {high}, "
            f"got {column[row]!r}"
        )
    return parsed.to_numpy()


def _codes(path: Path, frame: pl.DataFrame, name: str, codes: dict[str, int]) -> np.ndarray:
    column = frame[name].cast(pl.String)
    known = column.is_in(list(codes)).fill_null(False)
    if not known.all():
        row = int((~known).arg_true()[0])
        names = ", ".join(codes)
        raise MatchError(
            f"{path.name}: row {row + 1}: {name}: expected one of {names}, got {column[row]!r}"
        )
    return column.replace_strict(codes, return_dtype=pl.Int64).to_numpy()


def _flow(path: Path, frame: pl.DataFrame, ops: np.ndarray) -> np.ndarray:
    """FLOW rows; a reduce needs no side and no price, every other row both."""
    rows = np.zeros(len(frame), dtype=FLOW)
    rows["op"] = ops
    bare = pl.Series(ops == Op.REDUCE)
    sides = frame["side"].cast(pl.String).fill_null("")
    blank = bare & (sides == "")
    frame = frame.with_columns(
        side=pl.select(pl.when(blank).then(pl.lit("B")).otherwise(sides)).to_series(),
        price_ticks=pl.select(
            pl.when(bare & frame["price_ticks"].is_null())
            .then(pl.lit("0"))
            .otherwise(frame["price_ticks"].cast(pl.String))
        ).to_series(),
    )
    rows["order_id"] = _integers(path, frame, "order_id", 1, ORDER_ID_MAX)
    rows["side"] = _codes(path, frame, "side", SIDES)
    rows["price"] = _integers(path, frame, "price_ticks", 0, TICKS_MAX - 1)
    rows["lots"] = _integers(path, frame, "size", 1, LOTS_MAX)
    return rows


def read_commands(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(FLOW rows, command numbers) of a command file; time and numbers must not go backwards."""
    if (sound := read_flow(path)) is not None:
        return sound
    frame = _read(path, COLUMNS)
    numbers = _integers(path, frame, "cmd", 1, ORDER_ID_MAX)
    times = _integers(path, frame, "ts_event_ns", 0, ORDER_ID_MAX)
    for name, values, least in (("cmd", numbers, 1), ("ts_event_ns", times, 0)):
        back = np.flatnonzero(np.diff(values) < least)
        if len(back):
            raise MatchError(f"{path.name}: row {back[0] + 2}: {name}: goes backwards")
    return _flow(path, frame, _codes(path, frame, "op", OPS)), numbers


def run_match(
    commands: Path,
    *,
    initial: Path | None = None,
    fills: Path | None = None,
    final: Path | None = None,
    bbo: Path | None = None,
    bbo_every: int = 0,
) -> FlowResult:
    """Run a command file through the book alone and write what was asked for.

    Raises MatchError with the file and row of whatever is refused; then nothing is written.
    """
    rows, numbers = read_commands(commands)
    opening = np.zeros(0, dtype=FLOW)
    if initial is not None:
        frame = _read(initial, BOOK_COLUMNS)
        opening = _flow(initial, frame, np.full(len(frame), int(Op.ADD)))
    highest = max((int(part["price"].max()) for part in (opening, rows) if len(part)), default=1)
    book = BookAlone(max(1, highest), len(opening) + len(rows) + 1)
    parts: list[np.ndarray] = []
    best: list[tuple[int, ...]] = []
    try:
        for _ in book.run(opening):
            pass
    except MatchError as error:
        raise MatchError(f"{initial.name if initial else ''}: {error}") from None
    book.seconds = 0.0
    step = bbo_every or max(1, len(rows))
    for start in range(0, len(rows), step):
        try:
            parts += [part.copy() for part in book.run(rows[start : start + step], start)]
        except MatchError as error:
            raise MatchError(f"{commands.name}: {error}") from None
        best.append((int(numbers[min(start + step, len(rows)) - 1]), *book.best()))
    trades = np.concatenate(parts) if parts else np.zeros(0, dtype=FLOW_FILL)
    _write_fills(fills, trades, numbers)
    if final is not None:
        _write(final, book.resting())
    if bbo is not None:
        _write(bbo, pl.DataFrame(best, schema=list(BBO_COLUMNS), orient="row"))
    return _result(book, len(rows), trades, 0)


BBO_COLUMNS = (
    "after_cmd",
    "bid_ticks",
    "bid_size",
    "bid_orders",
    "ask_ticks",
    "ask_size",
    "ask_orders",
    "orders_in_book",
)


def _write_fills(path: Path | None, trades: np.ndarray, numbers: np.ndarray) -> None:
    if path is None:
        return
    _write(
        path,
        pl.DataFrame(
            {
                "cmd": numbers[trades["row"]],
                "taker_id": trades["taker_id"],
                "maker_id": trades["maker_id"],
                "price_ticks": trades["price"],
                "size": trades["lots"],
            }
        ),
    )


def _write(path: Path, frame: pl.DataFrame) -> None:
    """CSV or Parquet by the ending, under a temporary name until it is whole."""
    temporary = path.with_name(path.name + ".part")
    if path.suffix == ".parquet":
        frame.write_parquet(temporary)
    else:
        frame.write_csv(temporary)
    temporary.replace(path)


def _result(book: BookAlone, messages: int, trades: np.ndarray, checksum: int) -> FlowResult:
    return FlowResult(
        messages=messages,
        seconds=book.seconds,
        trades=len(trades),
        qty=int(trades["lots"].sum()),
        checksum=f"{fold(trades, checksum):016x}",
        live=int(book.block.words[H.ORDERS_COUNT]),
    )


def fold(trades: np.ndarray, checksum: int) -> int:
    """The order-sensitive checksum of fills, continued from `checksum`, as 0..2**64-1."""
    trades = np.ascontiguousarray(trades)
    signed = checksum - 2**64 if checksum >> 63 else checksum
    folded = fold_checksum(trades.ctypes.data, len(trades), np.int64(signed))
    return int(folded) & (2**64 - 1)


def _read_array(path: Path) -> np.ndarray:
    """An int64 (n, 5) array; its length is compared with the file's before it is read."""
    try:
        with open(path, "rb") as file:
            shape, columns_first, dtype = array_header(file)
            if dtype != np.int64 or len(shape) != 2 or shape[1] != len(FLOW.names):
                raise ValueError(f"expected int64 (n, 5), got {dtype} {shape}")
            size, left = 8 * shape[0] * shape[1], os.fstat(file.fileno()).st_size - file.tell()
            if size != left:
                raise ValueError(f"expected {size} bytes of numbers, got {left}")
            table = np.fromfile(file, dtype)
    except (OSError, ValueError) as error:
        raise MatchError(f"{path.name}: {error}") from None
    return table.reshape(shape[::-1]).T if columns_first else table.reshape(shape)


def run_npy(path: Path) -> FlowResult:
    """Run an int64 (n, 5) flow: kind 0 limit, 1 market or IOC, 2 cancel, 3 move.

    Columns are kind, order id, side (0 buy, 1 sell), price in ticks, quantity. A book is made with
    its kernels compiled, so `seconds` holds neither loading nor compilation.
    """
    table = _read_array(path)
    bad = np.flatnonzero(
        (table[:, 0] < 0) | (table[:, 0] > 3) | (table[:, 2] < 0) | (table[:, 2] > 1)
    )
    if len(bad):
        raise MatchError(f"{path.name}: row {bad[0] + 1}: expected kind 0 to 3 and side 0 or 1")
    rows = np.zeros(len(table), dtype=FLOW)
    rows["op"] = np.array([Op.LIMIT, Op.IOC, Op.CANCEL, Op.MOVE])[table[:, 0]]
    for column, name in ((1, "order_id"), (3, "price"), (4, "lots")):
        rows[name] = table[:, column]
    rows["side"] = table[:, 2] + 1
    highest = int(table[:, 3].max(initial=1))
    book = BookAlone(max(1, highest), int(np.count_nonzero(table[:, 0] == 0)) + 1)
    try:
        parts = [part.copy() for part in book.run(rows)]
    except MatchError as error:
        raise MatchError(f"{path.name}: {error}") from None
    trades = np.concatenate(parts) if parts else np.zeros(0, dtype=FLOW_FILL)
    return _result(book, len(rows), trades, 0)
