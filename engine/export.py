"""What goes out: a tape's or a run's trades and book as an hftbacktest event array.

A tape is written as it is. A run's book is made of its events: users' orders and the market
maker's quotes together, one DEPTH row for each level a command changed, and one TRADE row, with
the taker's side, for each trade in the book. Takeovers and deleveraging happen outside the book.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.constants import Cause, CommandKind, EventKind, Flag, Side
from engine.importers.common import MarketSpec, market_spec
from engine.importers.hftbacktest_write import write_hftbacktest
from engine.profile import ProfileError
from engine.rows import COMMAND, EVENT
from engine.run_folder import VENUE, read_run
from engine.tape import read_tape, tape_info
from engine.venue import load_venue

EVENTS_AT_ONCE = 65_536
_BOOK_KINDS = ("RESTED", "FILL", "CANCELLED", "AMENDED", "DEPTH_SET")
_IN_BOOK = (Cause.TRADE, Cause.LIQUIDATION)
_FIELDS = ("seq", "time_ns", "kind", "order_id", "side", "price", "lots", "reason", "flags")
_ROW = ("time_ns", "kind", "side", "price", "lots", "flags")


class ExportError(ValueError):
    """What is asked for cannot be exported: the option and the reason."""


class RunBook:
    """The book of one market, kept from EVENT rows, as COMMAND rows of what changed."""

    def __init__(self, market_id: int) -> None:
        self.market_id = market_id
        self.levels: dict[tuple[int, int], int] = {}  # side, price -> lots of users' orders
        self.quotes: dict[tuple[int, int], int] = {}  # the same of the market maker
        self._orders: dict[int, list[int]] = {}  # id -> side, price, lots
        self._touched: dict[tuple[int, int], None] = {}
        self._seq = self._time_ns = 0
        self._rows: list[tuple[int, ...]] = []

    def update(self, events: np.ndarray) -> np.ndarray:
        """Take the next EVENT rows; returns COMMAND rows of every command that is complete."""
        wanted = np.isin(events["kind"], [int(EventKind[kind]) for kind in _BOOK_KINDS])
        wanted &= events["market_id"] == self.market_id
        for seq, time_ns, *event in events[wanted][list(_FIELDS)].tolist():
            if seq != self._seq:
                self._end_command()
                self._seq, self._time_ns = seq, time_ns
            self._apply(*event)
        return self._take()

    def finish(self) -> np.ndarray:
        """The rows of the last command."""
        self._end_command()
        return self._take()

    def lots_at(self, side: int, price: int) -> int:
        """What the level holds, of users and market maker."""
        return self.levels.get((side, price), 0) + self.quotes.get((side, price), 0)

    def _apply(
        self, kind: int, order_id: int, side: int, price: int, lots: int, reason: int, flags: int
    ) -> None:
        if kind == EventKind.DEPTH_SET:
            self.quotes[side, price] = lots
            self._touched[side, price] = None
        elif kind == EventKind.RESTED:
            self._orders[order_id] = [side, price, 0]
            self._change(order_id, lots)
        elif kind == EventKind.FILL:
            if reason in _IN_BOOK and flags & Flag.MAKER:
                taker = Side.SELL if side == Side.BUY else Side.BUY
                row = (self._time_ns, CommandKind.TRADE, taker, price, abs(lots), 0)
                self._rows.append(tuple(map(int, row)))
                if order_id in self._orders:
                    self._change(order_id, -abs(lots))
                elif (side, price) in self.quotes:  # a quote that was taken is not set to 0
                    self.quotes[side, price] -= abs(lots)
                    self._touched[side, price] = None
        elif order_id in self._orders:
            left = lots if kind == EventKind.AMENDED else self._orders[order_id][2] - lots
            self._change(order_id, left - self._orders[order_id][2])

    def _change(self, order_id: int, lots: int) -> None:
        order = self._orders[order_id]
        order[2] += lots
        key = order[0], order[1]
        self.levels[key] = self.levels.get(key, 0) + lots
        self._touched[key] = None
        if order[2] == 0:
            del self._orders[order_id]
        if self.levels[key] == 0:
            del self.levels[key]

    def _end_command(self) -> None:
        depth = int(CommandKind.DEPTH)
        rows = [(self._time_ns, depth, *key, self.lots_at(*key), 0) for key in self._touched]
        if rows:
            rows.sort(key=lambda row: row[4] > 0)  # what is gone first
            rows[-1] = (*rows[-1][:-1], int(Flag.LAST_OF_BLOCK))
            self._rows += rows
            self._touched.clear()

    def _take(self) -> np.ndarray:
        table = np.array(self._rows, np.int64).reshape(-1, len(_ROW))
        rows = np.zeros(len(table), COMMAND)
        rows["market_id"] = self.market_id
        for column, field in enumerate(_ROW):
            rows[field] = table[:, column]
        self._rows = []
        return rows


def run_rows(folder: Path, symbol: str, market_id: int) -> Iterator[np.ndarray]:
    """COMMAND rows of the book of one market of a run folder; see `RunBook`."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    book = RunBook(market_id)
    enums = {"kind": EventKind, "side": Side, "reason": Cause}
    columns = [
        "seq",
        "time",
        "kind",
        "reason",
        "market",
        "side",
        "order_id",
        "price",
        "lots",
        "flags",
    ]
    file = pq.ParquetFile(folder / "events.parquet")
    for batch in file.iter_batches(EVENTS_AT_ONCE, columns=columns):
        batch = batch.filter(pc.equal(batch["market"].cast("string"), symbol))
        events = np.zeros(len(batch), EVENT)
        events["market_id"] = market_id
        for name in ("seq", "order_id", "price", "lots", "flags"):
            events[name] = batch[name].to_numpy()
        events["time_ns"] = batch["time"].cast("int64").to_numpy()
        for name, enum in enums.items():
            codes = {member.name.lower(): int(member) for member in enum}
            names = batch[name].dictionary.to_pylist()
            table = np.array([*(codes.get(text, 0) for text in names), 0])
            places = batch[name].indices.fill_null(len(names)).to_numpy()
            events[name] = table[places]
        yield book.update(events)
    yield book.finish()


def export_hftbacktest(source: Path, symbol: str, output: Path) -> int:
    """Write one market of a tape, or of a run folder, as an hftbacktest .npz.

    Returns the number of events. Raises TapeError, RunFolderError, and ExportError where there
    is no such market.
    """
    if source.is_dir():
        read_run(source)
        try:
            spec = market_spec(load_venue(source / VENUE), symbol)
        except ProfileError as error:
            raise ExportError(f"export: --market: {error}") from None
        return write_hftbacktest(output, lambda: run_rows(source, symbol, spec.market_id), spec)
    markets = tape_info(source).metadata.markets
    symbols = [market.symbol for market in markets]
    if symbol not in symbols:
        reason = f"expected one of {', '.join(symbols)}, got {symbol!r}"
        raise ExportError(f"export: --market: {reason}")
    place = symbols.index(symbol)
    decimals, lot = markets[place].price_decimals, markets[place].lot
    spec = MarketSpec(market_id=place + 1, price_decimals=decimals, lot=lot, tick_price=1)
    return write_hftbacktest(output, lambda: read_tape(source), spec)
