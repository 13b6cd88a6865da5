"""Recorded books: best quotes, levels one by one, and snapshots of the best N levels -> DEPTH rows.

Whatever the format, the rows of one message are a block: deletions before what is set, so that
no state in between is crossed, and LAST_OF_BLOCK on its last row. A level beyond a snapshot's
last is not in the book: nothing is known of it.
"""

import heapq

import numpy as np

from engine import constants as c
from engine.importers.common import FormatCode, FormatError, ImportReport, MarketSpec
from engine.importers.formats import Format
from engine.importers.table import Table
from engine.importers.ticks import Converter
from engine.rows import COMMAND

_BUY, _SELL = int(c.Side.BUY), int(c.Side.SELL)
_LAST = int(c.Flag.LAST_OF_BLOCK)


class Book(Converter):
    """Levels set one by one. The first row of a snapshot is preceded by DEPTH_CLEAR."""

    def __init__(self, spec: Format, market: MarketSpec, role: str, report: ImportReport) -> None:
        super().__init__(spec, market, role, report)
        self.held = np.zeros(0, COMMAND)
        self.held_snapshot = np.zeros(0, bool)
        self.group = ""
        self.touch = Touch()

    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """Rows of every message but the last, which may go on in the next table."""
        fields = self.fields
        rows = self._commands(times, c.CommandKind.DEPTH)
        rows["side"] = table.words(fields["side"], self.spec.sides)
        rows["price"] = table.quotes(fields["price"], self.market)
        rows["lots"] = table.lots(fields["size"], self.market)
        snapshot = np.zeros(len(rows), bool)
        if "snapshot" in fields:
            snapshot = table.words(fields["snapshot"], self.spec.snapshots) != 0
        self.report.rows_kept += len(rows)
        groups = table.frame[fields.get("group", fields["time"])]
        starts = (groups != groups.shift(1, fill_value=self.group)).to_numpy()
        self.group = groups[-1]
        rows = np.concatenate((self.held, rows))
        snapshot = np.concatenate((self.held_snapshot, snapshot))
        starts = np.concatenate((np.zeros(len(self.held), bool), starts))
        starts[0] = True
        # All rows of a message carry the time of its first: a message is one instant.
        edges = np.flatnonzero(starts)
        rows["time_ns"] = np.repeat(rows["time_ns"][edges], np.diff(edges, append=len(rows)))
        split = int(edges[-1])
        self.held, self.held_snapshot = rows[split:], snapshot[split:]
        return self._messages(rows[:split], snapshot[:split], edges[:-1])

    def end(self) -> np.ndarray:
        """The last message."""
        return self._messages(self.held, self.held_snapshot, np.arange(min(1, len(self.held))))

    def _messages(self, rows: np.ndarray, snapshot: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Whole messages that begin at `edges`, in the order in which they are applied."""
        number = np.zeros(len(rows), np.int64)
        number[edges] = 1
        number = np.cumsum(number)
        deleted = rows["lots"] == 0
        kept = self._last_words(rows, number) & ~(deleted & snapshot)
        clears = rows[edges][snapshot[edges]]
        clears["kind"] = c.CommandKind.DEPTH_CLEAR
        clears["side"] = clears["price"] = clears["lots"] = 0
        rows = np.concatenate((clears, rows[kept]))
        number = np.concatenate((number[edges][snapshot[edges]], number[kept]))
        step = np.where(rows["lots"] > 0, 2, 1)
        step[: len(clears)] = 0
        order = np.lexsort((step, number))
        rows, number = rows[order], number[order]
        last = np.append(number[1:] != number[:-1], True)[: len(rows)]
        rows["flags"] = np.where(last & (rows["kind"] == c.CommandKind.DEPTH), _LAST, 0)
        self.report.crossed += self.touch.crossings(rows, last)
        return rows

    def _last_words(self, rows: np.ndarray, number: np.ndarray) -> np.ndarray:
        """False for rows whose level a later row of the same message sets again."""
        order = np.lexsort((np.arange(len(rows)), rows["side"], rows["price"], number))
        parts = [values[order] for values in (number, rows["price"], rows["side"])]
        same = np.logical_and.reduce([part[1:] == part[:-1] for part in parts])
        kept = np.ones(len(rows), bool)
        kept[order[:-1][same]] = False
        if same.any():
            self.report.count("superseded", int(same.sum()))
        return kept


class Touch:
    """The best bid and ask of a book, to tell whether they cross."""

    def __init__(self) -> None:
        self.levels: dict[int, int] = {}  # price, negative for bids -> lots
        self.heaps: dict[int, list[int]] = {_BUY: [], _SELL: []}
        self.queued: set[int] = set()  # what is in a heap: a price is there once at most

    def crossings(self, rows: np.ndarray, last: np.ndarray) -> int:
        """Apply DEPTH and DEPTH_CLEAR rows; returns how many messages (that end where `last`)
        leave a crossed book."""
        crossed = 0
        levels, queued, bids, asks = self.levels, self.queued, self.heaps[_BUY], self.heaps[_SELL]
        fields = (rows[name].tolist() for name in ("kind", "side", "price", "lots"))
        for kind, side, price, lots, ends in zip(*fields, last.tolist(), strict=True):
            if kind == c.CommandKind.DEPTH_CLEAR:
                levels.clear()
                queued.clear()
                bids.clear()
                asks.clear()
            else:
                key = -price if side == _BUY else price
                if lots:
                    levels[key] = lots
                    if key not in queued:
                        heapq.heappush(bids if side == _BUY else asks, key)
                        queued.add(key)
                else:
                    levels.pop(key, None)
            if ends:
                while bids and bids[0] not in levels:
                    queued.remove(heapq.heappop(bids))
                while asks and asks[0] not in levels:
                    queued.remove(heapq.heappop(asks))
                crossed += bool(bids and asks and -bids[0] >= asks[0])
        return crossed


class Levels(Converter):
    """Snapshots of the best N levels as what changed since the one before.

    A crossed snapshot is left out and counted: the one before stays in force.
    """

    sides = (("bids", _BUY), ("asks", _SELL))

    def __init__(self, spec: Format, market: MarketSpec, role: str, report: ImportReport) -> None:
        super().__init__(spec, market, role, report)
        self.before: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """DEPTH rows: for each snapshot deletions of bids and asks, then what is set."""
        books = {side: self._side(table, name) for name, side in self.sides}
        bid, ask = (books[side][0][:, 0] for _, side in self.sides)
        kept = ~((bid >= ask) & (bid > 0) & (ask > 0))
        self.report.crossed += int((~kept).sum())
        self.report.rows_kept += int(kept.sum())
        gone, placed = [], []
        for side, (prices, lots) in books.items():
            prices, lots = prices[kept], lots[kept]
            empty = np.zeros((1, prices.shape[1]), np.int64)
            old = self.before.get(side, (empty, empty))
            old_prices = np.concatenate((old[0], prices))
            old_lots = np.concatenate((old[1], lots))
            same = old_prices[:-1, :, None] == prices[:, None, :]
            gone.append((side, old_prices[:-1], 0 * old_lots[:-1], ~same.any(2)))
            equal = same & (old_lots[:-1, :, None] == lots[:, None, :])
            placed.append((side, prices, lots, ~equal.any(1)))
            self.before[side] = old_prices[-1:], old_lots[-1:]
        return self._changes(times[kept], [*gone, *placed])

    def _changes(
        self, times: np.ndarray, parts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        """Rows of (side, prices, lots, wanted), each array of shape (snapshots, levels)."""
        wanted = np.hstack([mask & (prices > 0) for _, prices, _, mask in parts])
        count = wanted.sum(1)
        rows = self._commands(np.repeat(times, count), c.CommandKind.DEPTH)
        rows["price"] = np.hstack([prices for _, prices, _, _ in parts])[wanted]
        rows["lots"] = np.hstack([lots for _, _, lots, _ in parts])[wanted]
        sides = np.concatenate([np.full(prices.shape[1], side) for side, prices, _, _ in parts])
        rows["side"] = np.broadcast_to(sides, wanted.shape)[wanted]
        rows["flags"][np.cumsum(count)[count > 0] - 1] = _LAST
        return rows

    def _side(self, table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Prices and lots of one side, shape (rows, levels); 0 where the level is empty."""
        prices, lots = [], []
        columns = set(table.frame.columns)
        count = max(1, -(-sum(column.startswith(name) for column in columns) // 2))
        for field in (f"{name}[{place}]" for place in range(count)):
            for column in (f"{field}.price", f"{field}.amount"):
                if column not in columns:
                    reason = "expected levels from 0 with price and amount"
                    raise FormatError(table.source, "line 1", column, FormatCode.HEADER, reason)
            price, size = (self._number(table, f"{field}.{part}") for part in ("price", "amount"))
            place = f"{field}.price"
            half = (price > 0) != (size > 0)
            reason = "expected price and amount, or neither"
            table.refuse(half, place, FormatCode.INCONSISTENT, reason)
            if prices:
                after = price > 0
                away = price < prices[-1] if name == "bids" else price > prices[-1]
                reason = "expected levels that go away from the touch"
                wrong = after & (~away | (prices[-1] == 0))
                table.refuse(wrong, place, FormatCode.INCONSISTENT, reason)
            prices.append(price)
            lots.append(size)
        return np.stack(prices, axis=1), np.stack(lots, axis=1)

    def _number(self, table: Table, field: str) -> np.ndarray:
        """A price on the tick or whole lots; 0 where the field is empty."""
        given = table.filled([field])
        part = table.part(given)
        numbers = np.zeros(len(given), np.int64)
        read = part.quotes if field.endswith("price") else part.lots
        numbers[given] = read(field, self.market)
        return numbers


class Quotes(Levels):
    """Best bid and ask: a snapshot of one level."""

    def _side(self, table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
        prefix = name.removesuffix("s")
        price_field, size_field = (self.fields[f"{prefix}_{part}"] for part in ("price", "size"))
        given = table.filled([price_field, size_field])
        part = table.part(given)
        prices, lots = np.zeros((2, len(given)), np.int64)
        prices[given] = part.quotes(price_field, self.market)
        lots[given] = part.lots(size_field, self.market)
        prices[lots == 0] = 0
        return prices[:, None], lots[:, None]
