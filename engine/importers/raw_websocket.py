"""A raw websocket capture of a futures venue: book differences, best quotes, trades, snapshots.

Every line is `<local receive time, ns> <JSON message>`. Differences (`depthUpdate`) are applied
by the venue's published rule: those that end before the REST snapshot's `lastUpdateId` are
dropped, the first one used must contain it, and each later one must name its predecessor's last
id in `pu`. A gap withdraws the book (DEPTH_CLEAR) until the next snapshot.

Within a message deletions come first, so no intermediate book is crossed; the last row carries
LAST_OF_BLOCK. Rows carry the transaction time `T`, which is not in order across streams: a
message earlier than the one before takes that one's time and is counted as `reordered`. The
receive time must not fall and is not kept.

`bookTicker` messages give no commands. They are handed out beside them as QUOTE rows, each book
state as a STATE row; `feed_check.py` compares the two. Nothing here keeps a book.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

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
from engine.importers.packed import JSON_ERRORS, read_lines
from engine.units import UnitError

BLOCK_COMMANDS = 16_384  # a block ends with the first message that reaches this
NUMBERS_KEPT = 65_536  # texts whose number is remembered: prices and sizes repeat a lot
EARLY_DIFFS_MAX = 100_000  # differences held while the snapshot is awaited

QUOTE = np.dtype(
    [
        ("commands", "<i8"),  # commands of the import before this message
        ("update_id", "<i8"),
        ("time_ns", "<i8"),  # transaction time
        ("bid_price", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_price", "<i8"),
        ("ask_lots", "<i8"),
    ]
)

STATE = np.dtype(
    [
        ("commands", "<i8"),  # commands of the import up to and including this message
        ("first_id", "<i8"),  # U of the difference; of a snapshot its lastUpdateId
        ("last_id", "<i8"),  # u of the difference: the book is the venue's after this update
    ]
)

Levels = list[tuple[str, str]]
UpdateId = Annotated[int, Meta(ge=0, le=2**62)]
Milliseconds = Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS // 10**6)]


class _Envelope(Struct):
    data: msgspec.Raw = msgspec.Raw()
    stream: str = ""


class _Kind(Struct):
    event: str = msgspec.field(default="", name="e")
    symbol: str = msgspec.field(default="", name="s")


class _Diff(Struct):
    time_ms: Milliseconds = msgspec.field(name="T")
    first_id: UpdateId = msgspec.field(name="U")
    last_id: UpdateId = msgspec.field(name="u")
    previous_id: UpdateId = msgspec.field(name="pu")
    bids: Levels = msgspec.field(name="b")
    asks: Levels = msgspec.field(name="a")


class _Ticker(Struct):
    time_ms: Milliseconds = msgspec.field(name="T")
    update_id: UpdateId = msgspec.field(name="u")
    bid_price: str = msgspec.field(name="b")
    bid_size: str = msgspec.field(name="B")
    ask_price: str = msgspec.field(name="a")
    ask_size: str = msgspec.field(name="A")


class _Trade(Struct):
    time_ms: Milliseconds = msgspec.field(name="T")
    price: str = msgspec.field(name="p")
    size: str = msgspec.field(name="q")
    how: str = msgspec.field(name="X")
    buyer_rested: bool | None = msgspec.field(name="m", default=None)


class _Snapshot(Struct):
    time_ms: Milliseconds = msgspec.field(name="T")
    update_id: UpdateId = msgspec.field(name="lastUpdateId")
    bids: Levels
    asks: Levels
    symbol: str = ""


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_KIND = msgspec.json.Decoder(_Kind)
_DIFF = msgspec.json.Decoder(_Diff)
_TICKER = msgspec.json.Decoder(_Ticker)
_TRADE = msgspec.json.Decoder(_Trade)
_SNAPSHOT = msgspec.json.Decoder(_Snapshot)


class FeedBlock(NamedTuple):
    """A piece of the feed: commands (COMMAND), best quotes (QUOTE), book states (STATE)."""

    commands: np.ndarray
    quotes: np.ndarray
    states: np.ndarray


class FeedImport(Import):
    """An Import that can also be read as FeedBlocks; use one of the two ways, once."""

    def __init__(self, report: ImportReport, blocks: Iterator[FeedBlock]) -> None:
        super().__init__(report, iter(()))
        self._feed_blocks = blocks

    def __iter__(self) -> Iterator[np.ndarray]:
        return (block.commands for block in self.blocks() if len(block.commands))

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the feed with its quotes and states."""
        return self.follow(self._feed_blocks, lambda block: block.commands)


def read_raw_feed(path: Path | str, market: MarketSpec, symbol: str) -> FeedImport:
    """Import a capture of one market as TRADE, DEPTH and DEPTH_CLEAR rows.

    A message of another symbol, of an unknown kind or with an unknown shape is refused. Trades
    outside the book (`X` other than MARKET) give no command and are counted.

    The report's `counts`: `diffs`, `diffs_early` (ended before the snapshot), `diffs_unsynced`
    (no snapshot yet or after a gap), `quotes`, `trades`, `trades_off_book`, `snapshots`,
    `snapshots_unused` (the book was in step already). `gaps` counts breaks in the chain of ids.
    """
    report = ImportReport(source=source_name(path), format="raw_websocket")
    return FeedImport(report, _Feed(market, symbol, report).blocks(path))


class _Feed:
    """The state of one import: place in the file, time, update chain and rows not yet yielded."""

    def __init__(self, market: MarketSpec, symbol: str, report: ImportReport) -> None:
        self.market = market
        self.symbol = symbol
        self.report = report
        self.line = 0
        self.local_ns = 0
        self.time_ns = 0
        self.last_id = 0  # of the book; 0: out of step
        self.snapshot_id = 0  # of a snapshot whose first difference is still to come
        self.early: list[_Diff] = []
        self.commands_before = 0
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self.quotes: list[tuple[int, ...]] = []
        self.states: list[tuple[int, int, int]] = []
        self.known_price = lru_cache(NUMBERS_KEPT)(market.price_of)
        self.known_lots = lru_cache(NUMBERS_KEPT)(market.lots_of)

    def blocks(self, path: Path | str) -> Iterator[FeedBlock]:
        for first_line, chunk in read_lines(path):
            for line, text in enumerate(chunk.removesuffix(b"\n").split(b"\n"), first_line):
                self.line = line
                self.report.rows_read += 1
                self._message(text)
                if len(self.rows) >= BLOCK_COMMANDS:
                    yield self._flush()
        self.report.count("diffs_unsynced", len(self.early))
        self.early = []
        if self.rows or self.quotes or self.states:
            yield self._flush()

    def _flush(self) -> FeedBlock:
        commands = new_commands(len(self.rows), self.market.market_id)
        if self.rows:
            table = np.array(self.rows, np.int64)
            fields = ("time_ns", "kind", "side", "price", "lots", "flags")
            for column, field in enumerate(fields):
                commands[field] = table[:, column]
        block = FeedBlock(commands, np.array(self.quotes, QUOTE), np.array(self.states, STATE))
        self.commands_before += len(self.rows)
        self.rows, self.quotes, self.states = [], [], []
        return block

    def refusal(self, field: str, code: FormatCode, reason: str) -> FormatError:
        return FormatError(self.report.source, f"line {self.line}", field, code, reason)

    def price_of(self, text: str) -> int:
        try:
            return self.known_price(text)
        except UnitError as error:
            raise self.refusal("price", FormatCode.PRICE, f"{error}") from None

    def lots_of(self, text: str) -> int:
        try:
            return self.known_lots(text)
        except UnitError as error:
            raise self.refusal("quantity", FormatCode.LOTS, f"{error}") from None

    def _message(self, text: bytes) -> None:
        local, _, body = text.partition(b" ")
        if not (local.isdigit() and len(local) <= 19 and body):
            reason = f"expected a receive time and a message, got {shown(text)}"
            raise self.refusal("", FormatCode.TEXT, reason)
        if int(local) < self.local_ns:
            reason = f"expected a receive time from {self.local_ns}, got {int(local)}"
            raise self.refusal("receive time", FormatCode.TIME_BACKWARDS, reason)
        self.local_ns = int(local)
        try:
            envelope = _ENVELOPE.decode(body)
            payload = envelope.data if envelope.stream else body
            kind = _KIND.decode(payload)
            if kind.event:
                self._check_symbol(kind.symbol)
                self._event(kind.event, payload)
            else:
                self._snapshot(_SNAPSHOT.decode(payload))
        except JSON_ERRORS as error:
            raise self.refusal("", FormatCode.CONTENTS, f"{error}") from None

    def _check_symbol(self, symbol: str) -> None:
        if symbol != self.symbol:
            reason = f"expected {self.symbol}, got {shown(symbol)}"
            raise self.refusal("symbol", FormatCode.WRONG_MARKET, reason)

    def _event(self, kind: str, payload: bytes | msgspec.Raw) -> None:
        if kind == "depthUpdate":
            self.report.count("diffs")
            self._diff(_DIFF.decode(payload))
        elif kind == "bookTicker":
            self._ticker(_TICKER.decode(payload))
        elif kind == "trade":
            self._trade(_TRADE.decode(payload))
        else:
            raise self.refusal("e", FormatCode.UNSUPPORTED, f"a message of kind {shown(kind)}")

    def _advance(self, transaction_ms: int) -> None:
        """Set the time of the rows to come; time never falls."""
        time_ns = transaction_ms * 1_000_000
        if time_ns < self.time_ns:
            self.report.reordered += 1
        self.time_ns = max(self.time_ns, time_ns)

    def _trade(self, trade: _Trade) -> None:
        self.report.count("trades")
        if trade.how != "MARKET":
            self.report.count("trades_off_book")
            return
        self._advance(trade.time_ms)
        lots = self.lots_of(trade.size)
        if lots == 0:
            raise self.refusal("q", FormatCode.ZERO, "expected a trade above 0")
        kind = int(c.CommandKind.TRADE)
        side = 0 if trade.buyer_rested is None else c.Side.BUY
        if trade.buyer_rested:
            side = c.Side.SELL
        self.rows.append((self.time_ns, kind, int(side), self.price_of(trade.price), lots, 0))
        self.report.rows_kept += 1

    def _ticker(self, ticker: _Ticker) -> None:
        self.report.count("quotes")
        self.quotes.append(
            (
                self.commands_before + len(self.rows),
                ticker.update_id,
                ticker.time_ms * 1_000_000,
                self.price_of(ticker.bid_price),
                self.lots_of(ticker.bid_size),
                self.price_of(ticker.ask_price),
                self.lots_of(ticker.ask_size),
            )
        )

    def _diff(self, diff: _Diff) -> None:
        if not 0 < diff.first_id <= diff.last_id or diff.previous_id >= diff.last_id:
            got = (diff.first_id, diff.last_id, diff.previous_id)
            reason = f"expected U <= u and pu < u, got U, u, pu {got}"
            raise self.refusal("u", FormatCode.INCONSISTENT, reason)
        if self.snapshot_id:
            self._first_diff(diff)
        elif self.last_id == 0:
            if len(self.early) == EARLY_DIFFS_MAX:
                reason = f"{EARLY_DIFFS_MAX} differences and no snapshot"
                raise self.refusal("u", FormatCode.UNSUPPORTED, reason)
            self.early.append(diff)
        elif diff.previous_id == self.last_id:
            self._apply(diff)
        else:
            self._lose_step()
            self.early.append(diff)

    def _first_diff(self, diff: _Diff) -> None:
        if diff.last_id < self.snapshot_id:
            self.report.count("diffs_early")
        elif diff.first_id <= self.snapshot_id:
            self.snapshot_id = 0
            self._apply(diff)
        else:
            self.snapshot_id = 0
            self._lose_step()
            self.early.append(diff)

    def _lose_step(self) -> None:
        """The chain broke: what the book holds is no longer the venue's."""
        self.report.gaps += 1
        self.last_id = 0
        self.rows.append((self.time_ns, int(c.CommandKind.DEPTH_CLEAR), 0, 0, 0, 0))

    def _snapshot(self, snapshot: _Snapshot) -> None:
        if snapshot.symbol:
            self._check_symbol(snapshot.symbol)
        self.report.count("snapshots")
        if self.last_id:
            self.report.count("snapshots_unused")
            return
        self._advance(snapshot.time_ms)
        self.rows.append((self.time_ns, int(c.CommandKind.DEPTH_CLEAR), 0, 0, 0, 0))
        self._levels(snapshot.bids, snapshot.asks)
        update_id = snapshot.update_id
        self.states.append((self.commands_before + len(self.rows), update_id, update_id))
        self.report.rows_kept += 1
        self.last_id = self.snapshot_id = update_id
        early, self.early = self.early, []
        for diff in early:
            self._diff(diff)

    def _apply(self, diff: _Diff) -> None:
        self._advance(diff.time_ms)
        self._levels(diff.bids, diff.asks)
        self.states.append((self.commands_before + len(self.rows), diff.first_id, diff.last_id))
        self.last_id = diff.last_id
        self.report.rows_kept += 1

    def _levels(self, bids: Levels, asks: Levels) -> None:
        """DEPTH rows of one message: deletions, then bids, then asks."""
        gone, kept = [], []
        for side, levels in ((c.Side.BUY, bids), (c.Side.SELL, asks)):
            prices = set()
            for price_text, lots_text in levels:
                price, lots = self.price_of(price_text), self.lots_of(lots_text)
                row = (self.time_ns, int(c.CommandKind.DEPTH), int(side), price, lots, 0)
                (kept if lots else gone).append(row)
                prices.add(price)
            if len(prices) != len(levels):
                raise self.refusal("b or a", FormatCode.DUPLICATE, "a price twice in one message")
        rows = gone + kept
        if rows:
            rows[-1] = (*rows[-1][:-1], int(c.Flag.LAST_OF_BLOCK))
            self.rows.extend(rows)
