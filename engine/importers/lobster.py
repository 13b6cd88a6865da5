"""LOBSTER message and orderbook files -> order flow for a replay of the book alone.

The result has the columns of the `match` command, not COMMAND rows: adds, IOC takers, reductions.
A level-1 message file lists only what touches the best quotes. Orders from before the file, and
whatever happens to a level while a better one hides it, are in no message. So a level may look
different when it comes back into view. The orderbook file tells how it looks then, and the flow
gets corrections: an `add` tagged "revealed" for size that was never submitted, a `reduce` tagged
"unseen" for size that went away out of sight. Every row of the orderbook file is classed by
whether the messages alone led to it, so a replay can be judged without trusting the corrections.

Executions of hidden orders (type 5), crosses (6) and halts (7) leave the visible book as it is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from sortedcontainers import SortedDict

from engine.importers.common import (
    FormatCode,
    FormatError,
    Import,
    ImportReport,
    source_name,
)
from engine.importers.table import Table, read_csv

MESSAGE_COLUMNS = ("Time", "Type", "OrderId", "Size", "Price", "Direction")
BOOK_COLUMNS = ("BestAsk", "BestAskVolume", "BestBid", "BestBidVolume")
SECOND_DECIMALS = 9
TICK_DEFAULT = 100  # one cent; prices are in 1/10,000 USD
TAKER_ID_BASE = 2**40  # the n-th taker; LOBSTER numbers orders far below
REVEALED_ID_BASE = 2**41  # the n-th order that no message submitted
BLOCK_MESSAGES = 16_384
_DAY_NS = 86_400 * 10**SECOND_DECIMALS
_EMPTY_ASK, _EMPTY_BID = "9999999999", "-9999999999"

SUBMIT, REDUCE, DELETE, EXECUTE, HIDDEN, CROSS, HALT = range(1, 8)
BUY, SELL = "B", "A"

PREDICTED = 1  # the messages so far led to this row
REVEALED = 2  # the best level was used up; the next one is not as it was last seen
START = 3  # the first row: nothing was known before it
UNEXPLAINED = 4

QUOTE_ROW = np.dtype(
    [
        ("time_ns", "<i8"),
        ("last_cmd", "<i8"),  # the book is to be compared after this command; 0: before the first
        ("ask_ticks", "<i8"),  # 0: no ask
        ("ask_size", "<i8"),
        ("bid_ticks", "<i8"),  # 0: no bid
        ("bid_size", "<i8"),
        ("kind", "<i8"),  # PREDICTED, REVEALED, START or UNEXPLAINED
    ]
)

FLOW_SCHEMA = {
    "cmd": pl.Int64,
    "ts_event_ns": pl.Int64,
    "op": pl.String,
    "order_id": pl.Int64,
    "side": pl.String,
    "price_ticks": pl.Int64,
    "size": pl.Int64,
    "tag": pl.String,
}


class FlowBlock(NamedTuple):
    """A piece of the replay: order flow (FLOW_SCHEMA) and the rows it must lead to (QUOTE_ROW)."""

    flow: pl.DataFrame
    quotes: np.ndarray


class LobsterImport(Import):
    """Iterates over QUOTE_ROW arrays, or with `blocks` over FlowBlocks; once, in either way."""

    def __init__(self, report: ImportReport, blocks: Iterator[FlowBlock]) -> None:
        super().__init__(report, iter(()))
        self._flow_blocks = blocks

    def __iter__(self) -> Iterator[np.ndarray]:
        return (block.quotes for block in self.blocks())

    def blocks(self) -> Iterator[FlowBlock]:
        """Yield the order flow with the quotes it must lead to."""
        return self.follow(self._flow_blocks, lambda block: block.quotes)


class _Message(NamedTuple):
    time_ns: int
    kind: int
    order_id: int
    size: int
    price: int  # ticks
    buy: bool


def read_lobster(
    message_path: Path | str,
    book_path: Path | str,
    *,
    tick: int = TICK_DEFAULT,
    midnight_ns: int = 0,
) -> LobsterImport:
    """Import a level-1 pair of files (csv or csv.gz, with or without header).

    `tick` is in units of 1/10,000 USD; `midnight_ns` is added to the seconds after midnight. A
    price off the tick is refused in both files, except of hidden executions, which may trade
    between ticks. The files must have the same number of rows.

    The report's `counts`: `hidden`, `crosses`, `halts`, `predicted`, `revealed`, `start`,
    `unexplained` (rows by kind), `forced` (executions of an order that is not first in its queue
    here, written as reductions) and `substituted` (messages about an order not known by its id,
    taken from the same level).
    """
    report = ImportReport(source=source_name(message_path), format="lobster")
    return LobsterImport(report, _blocks(message_path, book_path, tick, midnight_ns, report))


def _blocks(
    message_path: Path | str,
    book_path: Path | str,
    tick: int,
    midnight_ns: int,
    report: ImportReport,
) -> Iterator[FlowBlock]:
    replay = _Replay(report)
    quotes: list[tuple[int, ...]] = []
    messages = _read_messages(message_path, tick, midnight_ns, report)
    books = _read_books(book_path, tick)
    for message in messages:
        book = next(books, None)
        if book is None:
            raise _unequal(book_path, report.rows_read, "ends before the message file")
        kind = replay.step(message, book)
        quotes.append((message.time_ns, replay.cmd, *book, kind))
        if len(quotes) == BLOCK_MESSAGES:
            yield FlowBlock(replay.take_flow(), np.array(quotes, QUOTE_ROW))
            quotes = []
    if next(books, None) is not None:
        raise _unequal(book_path, report.rows_read, "goes on after the message file")
    if quotes:
        yield FlowBlock(replay.take_flow(), np.array(quotes, QUOTE_ROW))


def _unequal(path: Path | str, rows: int, reason: str) -> FormatError:
    return FormatError(source_name(path), f"row {rows}", "", FormatCode.INCONSISTENT, reason)


def _read_messages(
    path: Path | str, tick: int, midnight_ns: int, report: ImportReport
) -> Iterator[_Message]:
    before_ns = 0
    for table in read_csv(path, [MESSAGE_COLUMNS], "optional"):
        # A halt has price and direction -1 in place of numbers.
        halted = pl.col("Type") == str(HALT)
        price = pl.when(halted).then(pl.lit("0")).otherwise(pl.col("Price"))
        table.frame = table.frame.with_columns(price.alias("Price"))
        times, inexact = table.decimals("Time", SECOND_DECIMALS)
        table.refuse(inexact, "Time", FormatCode.NOT_WHOLE, "expected whole nanoseconds")
        table.rising("Time", times, before_ns, False)
        before_ns = int(times[-1])
        late = times > _DAY_NS
        table.refuse(late, "Time", FormatCode.OUT_OF_RANGE, "expected seconds after midnight")
        kinds = table.whole("Type")
        unknown = (kinds < SUBMIT) | (kinds > HALT)
        table.refuse(unknown, "Type", FormatCode.UNSUPPORTED, "expected 1 to 7")
        visible = kinds <= EXECUTE
        sizes, prices = table.whole("Size"), table.whole("Price")
        table.refuse(visible & (sizes == 0), "Size", FormatCode.ZERO, "expected more than 0")
        table.refuse(visible & (prices == 0), "Price", FormatCode.ZERO, "expected more than 0")
        off = visible & (prices % tick != 0)
        table.refuse(off, "Price", FormatCode.OFF_TICK, f"expected a multiple of {tick}")
        buys = (table.frame["Direction"] == "1").to_numpy()
        sells = (table.frame["Direction"] == "-1").to_numpy()
        table.refuse(~(buys | sells), "Direction", FormatCode.NOT_A_NUMBER, "expected 1 or -1")
        ids = table.whole("OrderId")
        outside = visible & ((ids < 1) | (ids > TAKER_ID_BASE))
        table.refuse(outside, "OrderId", FormatCode.OUT_OF_RANGE, "expected an order id")
        columns = (times + midnight_ns, kinds, ids, sizes, prices // tick, buys)
        for values in zip(*(column.tolist() for column in columns), strict=True):
            report.rows_read += 1
            yield _Message(*values)


def _read_books(path: Path | str, tick: int) -> Iterator[tuple[int, int, int, int]]:
    """Best ask and size, best bid and size of each row, in ticks; 0 and 0 for an empty side."""
    for table in read_csv(path, [BOOK_COLUMNS], "optional"):
        table.frame = table.frame.with_columns(
            pl.col("BestAsk").replace(_EMPTY_ASK, "0"), pl.col("BestBid").replace(_EMPTY_BID, "0")
        )
        ask, bid = _side(table, "BestAsk", tick), _side(table, "BestBid", tick)
        crossed = (ask[0] <= bid[0]) & (ask[0] > 0)
        table.refuse(crossed, "BestBid", FormatCode.INCONSISTENT, "the bid is not below the ask")
        yield from zip(*(column.tolist() for column in (*ask, *bid)), strict=True)


def _side(table: Table, field: str, tick: int) -> tuple[np.ndarray, np.ndarray]:
    prices, sizes = table.whole(field), table.whole(f"{field}Volume")
    table.refuse(prices % tick != 0, field, FormatCode.OFF_TICK, f"expected a multiple of {tick}")
    half = (prices == 0) != (sizes == 0)
    table.refuse(half, field, FormatCode.INCONSISTENT, "expected price and size, or neither")
    return prices // tick, sizes


class _Replay:
    """The visible book as far as messages tell it, and the flow that leads there."""

    def __init__(self, report: ImportReport) -> None:
        self.report = report
        self.cmd = 0
        self.time_ns = 0
        self.takers = 0
        self.reveals = 0
        self.flow: list[tuple[int | str | None, ...]] = []
        # side -> price -> order id -> size, each level in queue order
        self.levels: dict[str, SortedDict] = {BUY: SortedDict(), SELL: SortedDict()}
        self.resting: set[int] = set()

    def take_flow(self) -> pl.DataFrame:
        frame = pl.DataFrame(self.flow, schema=FLOW_SCHEMA, orient="row")
        self.flow = []
        return frame

    def step(self, message: _Message, book: tuple[int, int, int, int]) -> int:
        """Apply one message, correct the book to the orderbook row; returns the row's kind."""
        self.time_ns = message.time_ns
        first = self.report.rows_read == 1
        emptied = self._apply(message)
        wanted = {SELL: book[:2], BUY: book[2:]}
        wrong = [side for side in (BUY, SELL) if self._best(side) != wanted[side]]
        kind = PREDICTED
        if wrong:
            revealed = wrong == [BUY if message.buy else SELL] and emptied
            kind = START if first else REVEALED if revealed else UNEXPLAINED
            # Reductions of both sides come first, so that no add meets a level that is gone.
            for side in wrong:
                self._hide(side, *wanted[side])
            for side in wrong:
                self._reveal(side, *wanted[side])
        name = {PREDICTED: "predicted", REVEALED: "revealed", START: "start"}
        self.report.count(name.get(kind, "unexplained"))
        return kind

    def _emit(
        self, op: str, order_id: int, side: str | None, price: int | None, size: int, tag: str
    ) -> None:
        self.cmd += 1
        self.flow.append((self.cmd, self.time_ns, op, order_id, side, price, size, tag))

    def _best(self, side: str) -> tuple[int, int]:
        levels = self.levels[side]
        if not levels:
            return 0, 0
        price, orders = levels.peekitem(-1 if side == BUY else 0)
        return price, sum(orders.values())

    def _apply(self, message: _Message) -> bool:
        """Turn a message into flow; true if it used up the level it was about."""
        if message.kind > EXECUTE:
            name = {HIDDEN: "hidden", CROSS: "crosses", HALT: "halts"}[message.kind]
            self.report.count(name)
            return False
        self.report.rows_kept += 1
        side = BUY if message.buy else SELL
        orders = self.levels[side].get(message.price)
        if message.kind == SUBMIT:
            self._add(side, message.price, message.order_id, message.size, "")
            return False
        if orders is None:
            return False
        if message.kind == EXECUTE and self._is_first(orders, message, side):
            self.takers += 1
            taker_side = SELL if message.buy else BUY
            order_id = TAKER_ID_BASE + self.takers
            self._emit("ioc", order_id, taker_side, message.price, message.size, "")
            self._take(side, message.price, next(iter(orders)), message.size)
        else:
            self._reduce(orders, message, side)
        return message.price not in self.levels[side]

    def _is_first(self, orders: dict[int, int], message: _Message, side: str) -> bool:
        """Whether price-time priority would execute what the message says was executed."""
        order_id, size = next(iter(orders.items()))
        same = order_id == message.order_id
        unknown = order_id > REVEALED_ID_BASE and message.order_id not in orders
        at_best = self._best(side)[0] == message.price
        return at_best and (same or unknown) and size >= message.size

    def _reduce(self, orders: dict[int, int], message: _Message, side: str) -> None:
        """Take the size from the order named; what it lacks, from others of its level."""
        tag = "forced" if message.kind == EXECUTE else ""
        if tag:
            self.report.count("forced")
        if message.order_id not in orders:
            self.report.count("substituted")
        strangers = [order_id for order_id in orders if order_id > REVEALED_ID_BASE]
        others = [order_id for order_id in reversed(orders) if order_id <= REVEALED_ID_BASE]
        left = message.size
        for order_id in dict.fromkeys((message.order_id, *strangers, *others)):
            size = min(left, orders.get(order_id, 0))
            if size:
                self._emit("reduce", order_id, None, None, size, tag)
                self._take(side, message.price, order_id, size)
                left -= size

    def _hide(self, side: str, price: int, size: int) -> None:
        """Reduce what is better than the row's best price, and what is too much at it."""
        levels = self.levels[side]
        while levels:
            best = levels.peekitem(-1 if side == BUY else 0)[0]
            if price and (best <= price if side == BUY else best >= price):
                break
            self._shrink(side, best, 0)
        if price in levels:
            self._shrink(side, price, size)

    def _shrink(self, side: str, price: int, size: int) -> None:
        orders = self.levels[side][price]
        surplus = sum(orders.values()) - size
        for order_id in list(reversed(orders)):
            amount = min(surplus, orders[order_id])
            if amount > 0:
                self._emit("reduce", order_id, None, None, amount, "unseen")
                self._take(side, price, order_id, amount)
                surplus -= amount

    def _reveal(self, side: str, price: int, size: int) -> None:
        lacking = size - sum(self.levels[side].get(price, {}).values())
        if lacking > 0:
            self.reveals += 1
            self._add(side, price, REVEALED_ID_BASE + self.reveals, lacking, "revealed")

    def _add(
        self,
        side: str,
        price: int,
        order_id: int,
        size: int,
        tag: Literal["", "revealed"],
    ) -> None:
        if order_id in self.resting:
            place = f"row {self.report.rows_read}"
            reason = f"order {order_id} rests already"
            raise FormatError(self.report.source, place, "OrderId", FormatCode.DUPLICATE, reason)
        self.levels[side].setdefault(price, {})[order_id] = size
        self.resting.add(order_id)
        self._emit("add", order_id, side, price, size, tag)

    def _take(self, side: str, price: int, order_id: int, size: int) -> None:
        orders = self.levels[side][price]
        orders[order_id] -= size
        if orders[order_id] == 0:
            del orders[order_id]
            self.resting.remove(order_id)
        if not orders:
            del self.levels[side][price]
