"""Market by order as CSV: every order added, changed and cancelled -> DEPTH and TRADE rows.

Only the levels the orders add up to become rows. Actions: A add, C cancel, M modify, R clear,
T trade; F tells whose order a trade filled and the C or M after it takes the size away, so it
changes nothing. Rows of one event end with the flag LAST; its TRADE rows come first, then the
levels it touched. Rows carry the receive time `ts_recv`, by which the feed is ordered: an order
of the opening snapshot has the event time at which it was entered, hours before.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from engine import constants as c
from engine.importers.books import Touch
from engine.importers.common import (
    FormatCode,
    FormatError,
    Import,
    ImportReport,
    MarketSpec,
    new_commands,
    source_name,
)
from engine.importers.table import Table, read_columns

FLAG_LAST = 128
PRICE_DECIMALS = 9  # of a price written as a whole number
_COLUMNS = ("ts_recv", "action", "side", "price", "size", "order_id", "flags")
_ALIASES = {"ts_recv_ns": "ts_recv"}
_ACTIONS = {"a": 1, "c": 2, "m": 3, "r": 4, "t": 5, "f": 6, "n": 7}
_ADD, _CANCEL, _MODIFY, _CLEAR, _TRADE, _FILL, _NONE = range(1, 8)
_SIDES = {"b": int(c.Side.BUY), "a": int(c.Side.SELL), "n": 0}
_DEPTH, _DEPTH_CLEAR = int(c.CommandKind.DEPTH), int(c.CommandKind.DEPTH_CLEAR)
_FIELDS = ("time_ns", "kind", "side", "price", "lots", "flags")


def read_mbo(path: Path | str, market: MarketSpec) -> Import:
    """Import a market-by-order CSV of one instrument.

    Prices with a point are decimals, without one whole billionths. The report's `counts` hold
    the actions and `unknown_orders`: cancels and changes of orders that were never added.
    """
    report = ImportReport(source=source_name(path), format="databento.mbo")
    return Import(report, _Orders(market, report).blocks(path))


class _Orders:
    """Resting orders by id, what they add up to, and the levels touched since the last event."""

    def __init__(self, market: MarketSpec, report: ImportReport) -> None:
        self.market, self.report = market, report
        self.orders: dict[int, tuple[int, int, int]] = {}  # id -> side, price, lots
        self.levels: dict[tuple[int, int], int] = {}  # side, price -> lots
        self.touched: dict[tuple[int, int], None] = {}
        self.rows: list[tuple[int, ...]] = []
        self.touch = Touch()
        self.time_ns = 0

    def blocks(self, path: Path | str) -> Iterator[np.ndarray]:
        """Rows of each chunk up to its last whole event."""
        for table in read_columns(path, _COLUMNS, may_be_empty=("price",), aliases=_ALIASES):
            self.report.rows_read += table.height
            self._apply(table)
            self.report.rows_kept += table.height
            yield self._take()
        self._end_event()
        yield self._take()

    def _apply(self, table: Table) -> None:
        times = table.times("ts_recv", "ns")
        table.rising("ts_recv", times, self.time_ns, False)
        actions = table.words("action", _ACTIONS)
        sides, flags = table.words("side", _SIDES), table.whole("flags")
        lots, ids = table.lots("size", self.market), table.whole("order_id")
        prices = self._prices(table, actions)
        names = {value: key for key, value in _ACTIONS.items()}
        for action, count in zip(*np.unique(actions, return_counts=True), strict=True):
            self.report.count(f"action_{names[int(action)]}", int(count))
        sideless = (sides == 0) & ((actions == _ADD) | (actions == _MODIFY))
        table.refuse(sideless, "side", FormatCode.INCONSISTENT, "expected the side of an order")
        columns = (times, actions, sides, prices, lots, ids, flags)
        lists = (column.tolist() for column in columns)
        for row, (time_ns, action, side, price, size, order_id, flag) in enumerate(
            zip(*lists, strict=True)
        ):
            self.time_ns = time_ns
            if action in (_ADD, _MODIFY):
                if action == _ADD and order_id in self.orders:
                    place, reason = f"line {table.line(row)}", f"order {order_id} rests already"
                    source = table.source
                    raise FormatError(source, place, "order_id", FormatCode.DUPLICATE, reason)
                self._remove(order_id, 0, action == _MODIFY)
                self.orders[order_id] = side, price, size
                self._change(side, price, size)
            elif action == _CANCEL:
                self._remove(order_id, size, True)
            elif action == _TRADE and size:
                self.rows.append((time_ns, int(c.CommandKind.TRADE), side, price, size, 0))
            elif action == _CLEAR:
                self._clear()
            if flag & FLAG_LAST:
                self._end_event()

    def _prices(self, table: Table, actions: np.ndarray) -> np.ndarray:
        """Price units on the tick; 0 where the action has no price."""
        priced = np.isin(actions, (_ADD, _MODIFY, _CANCEL, _TRADE))
        part = table.part(priced)
        text = part.frame["price"]
        missing = text.is_null().to_numpy()
        part.refuse(missing, "price", FormatCode.MISSING, "an empty field")
        if len(text) and not text.str.contains(".", literal=True).any():
            whole = text.str.zfill(PRICE_DECIMALS + 1)
            point = whole.str.head(-PRICE_DECIMALS) + "." + whole.str.tail(PRICE_DECIMALS)
            frame = part.frame.with_columns(pl.Series("price", point))
            part = Table(part.source, part.first_line, frame, part.lines)
        prices = np.zeros(len(actions), np.int64)
        prices[priced] = part.quotes("price", self.market)
        return prices

    def _change(self, side: int, price: int, lots: int) -> None:
        key = side, price
        self.levels[key] = self.levels.get(key, 0) + lots
        if self.levels[key] == 0:
            del self.levels[key]
        self.touched[key] = None

    def _remove(self, order_id: int, size: int, expected: bool) -> None:
        """Take `size` (0: all) off an order."""
        order = self.orders.get(order_id)
        if order is None:
            if expected:
                self.report.count("unknown_orders")
            return
        side, price, lots = order
        gone = min(size or lots, lots)
        self._change(side, price, -gone)
        if gone == lots:
            del self.orders[order_id]
        else:
            self.orders[order_id] = side, price, lots - gone

    def _clear(self) -> None:
        self.orders.clear()
        self.levels.clear()
        self.touched.clear()
        self.rows.append((self.time_ns, _DEPTH_CLEAR, 0, 0, 0, 0))

    def _end_event(self) -> None:
        """DEPTH rows of the levels touched: deletions first, LAST_OF_BLOCK on the last."""
        rows = [
            (self.time_ns, _DEPTH, side, price, self.levels.get((side, price), 0), 0)
            for side, price in self.touched
        ]
        if rows:
            rows.sort(key=lambda row: row[4] > 0)
            rows[-1] = (*rows[-1][:-1], int(c.Flag.LAST_OF_BLOCK))
            self.rows += rows
            self.touched.clear()

    def _take(self) -> np.ndarray:
        table = np.array(self.rows, np.int64).reshape(-1, len(_FIELDS))
        rows = new_commands(len(table), self.market.market_id)
        for column, field in enumerate(_FIELDS):
            rows[field] = table[:, column]
        self.rows = []
        book = rows[(rows["kind"] == _DEPTH) | (rows["kind"] == _DEPTH_CLEAR)]
        self.report.crossed += self.touch.crossings(book, book["flags"] != 0)
        return rows
