"""Any format of `formats.py`: a file to rows, through the columns its entry names.

What all of them share is here: rows of other markets, repeats, time that must not fall, gaps.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from engine.importers.books import Book, Levels, Quotes
from engine.importers.common import (
    FormatCode,
    FormatError,
    Import,
    ImportReport,
    MarketSpec,
    shown,
    source_name,
)
from engine.importers.formats import Format, Shape
from engine.importers.plain import all_distinct
from engine.importers.table import Table, read_columns
from engine.importers.ticks import (
    Converter,
    Funding,
    Liquidations,
    Metrics,
    Ticker,
    Trades,
)

REPEAT_ROWS = 4_096  # rows among which a repeat is looked for, beside those read together
SYMBOLS_SHOWN_MAX = 5
_LEVEL_COLUMNS = r"(asks|bids)\[[0-9]+\]\.(price|amount)"
_CONVERTERS: dict[Shape, type[Converter]] = {
    Shape.TRADE: Trades,
    Shape.LIQUIDATION: Liquidations,
    Shape.QUOTE: Quotes,
    Shape.BOOK: Book,
    Shape.SNAPSHOT: Levels,
    Shape.TICKER: Ticker,
    Shape.FUNDING: Funding,
    Shape.METRICS: Metrics,
}


def read_format(
    spec: Format, path: Path | str, market: MarketSpec, role: str, symbol: str
) -> Import:
    """Import a CSV of a format of `formats.py` as rows of `role`, one of its ROLES.

    Rows of symbols other than `symbol` are left out and counted as `other_markets`; a file with
    none of its own is refused. A row earlier than the one before takes that one's time and is
    counted as reordered, unless it is more than the format's `late_max_ns` behind.
    """
    needed = sorted({*spec.fields.values(), *spec.repeats} - {""})
    tables = read_columns(
        path,
        needed,
        may_be_empty=spec.may_be_empty,
        layouts=spec.layouts,
        also=_LEVEL_COLUMNS if spec.levels else "",
    )
    return import_tables(spec, tables, source_name(path), market, role, symbol)


def import_tables(
    spec: Format,
    tables: Iterable[Table],
    source: str,
    market: MarketSpec,
    role: str,
    symbol: str,
) -> Import:
    """The same for tables that come from elsewhere than a CSV."""
    report = ImportReport(source=source, format=spec.kind, notes=list(spec.notes))
    converter = _CONVERTERS[spec.shape](spec, market, role, report)
    return Import(report, _Reader(spec, converter, symbol, report).blocks(tables))


class Repeats:
    """Finds rows that were sent twice, among those read together and REPEAT_ROWS before them."""

    def __init__(self, columns: tuple[str, ...], unique: str) -> None:
        self.columns, self.unique = columns, unique
        self.tables: list[Table] = []  # those that hold the REPEAT_ROWS before
        self.hashes: np.ndarray | None = np.zeros(0, np.int64)  # of the same rows

    def fresh(self, table: Table) -> np.ndarray:
        """False for each row equal to one before it; bool, shape (rows,).

        A row with an empty field in one of the columns is never a repeat. A value of `unique`
        that comes again with another row is refused.
        """
        hashes, before = table.hashes(self.columns), self.hashes
        self.hashes = None
        if hashes is not None and before is not None:
            together = np.concatenate((before, hashes))
            self.hashes = together[-REPEAT_ROWS:]
            if all_distinct(together):
                self._keep(table)
                return np.ones(table.height, bool)
        elif hashes is not None and len(hashes) >= REPEAT_ROWS:
            self.hashes = hashes[-REPEAT_ROWS:]
        fresh = self._compared(table)
        self._keep(table)
        return fresh

    def _keep(self, table: Table) -> None:
        self.tables.append(table)
        while sum(each.height for each in self.tables[1:]) >= REPEAT_ROWS:
            del self.tables[0]

    def _compared(self, table: Table) -> np.ndarray:
        """The same by the text of the columns."""
        seen = pl.concat([each.frame for each in (*self.tables, table)])
        seen = seen.tail(REPEAT_ROWS + table.height)
        before = seen.height - table.height
        known = seen.select(pl.struct(self.columns).is_first_distinct()).to_series()
        if known.all():
            return np.ones(table.height, bool)
        first = seen.select(pl.struct(seen.columns).is_first_distinct()).to_series()
        empty = seen.select(pl.any_horizontal(pl.col(*self.columns).is_null())).to_series()
        if self.unique:
            again = first & ~empty & ~seen[self.unique].is_first_distinct()
            reason = "expected it once, and it was there with other fields"
            table.refuse(again.to_numpy()[before:], self.unique, FormatCode.DUPLICATE, reason)
        return (first | empty).to_numpy()[before:]


class _Reader:
    """The state of one import that is not the converter's."""

    def __init__(
        self, spec: Format, converter: Converter, symbol: str, report: ImportReport
    ) -> None:
        self.spec, self.converter, self.symbol, self.report = spec, converter, symbol, report
        self.unit = "" if spec.unit == "ms or us" else spec.unit
        self.time_ns = 0
        self.number = 0
        self.repeats = Repeats(spec.repeats, spec.unique)
        self.others: set[str] = set()

    def blocks(self, tables: Iterable[Table]) -> Iterator[np.ndarray]:
        """Rows of every table; refuses a file of other markets at its end."""
        for table in tables:
            self._count(table)
            table = self._own(table)
            if self.spec.exponents:
                table.expand()
            table = self._fresh(table)
            if table.height:
                times = self._times(table)
                yield self.converter.rows(table, times)
        yield self.converter.end()
        if self.report.counts.get("other_markets", 0) == self.report.rows_read > 0:
            names = ", ".join(sorted(self.others)[:SYMBOLS_SHOWN_MAX])
            reason = f"expected rows of {self.symbol}, got only others: {shown(names)}"
            field = self.spec.fields.get("symbol", "")
            raise FormatError(self.report.source, "", field, FormatCode.WRONG_MARKET, reason)

    def _count(self, table: Table) -> None:
        read = table.height if table.rows_read is None else table.rows_read
        self.report.rows_read += read
        self.others.update(table.others)
        for name, amount in table.counts.items():
            if name == "gaps":
                self.report.gaps += amount
            else:
                self.report.count(name, amount)

    def _own(self, table: Table) -> Table:
        """The rows of the symbol asked for."""
        field = self.spec.fields.get("symbol", "")
        if not field:
            return table
        own = table.equal(field, self.symbol)
        if not own.all():
            rest = ~own
            self.report.count("other_markets", int(rest.sum()))
            while rest.any() and len(self.others) < SYMBOLS_SHOWN_MAX:
                other = table.text(field, int(rest.argmax()))
                self.others.add(other)
                rest &= ~table.equal(field, other)
        return table.part(own)

    def _fresh(self, table: Table) -> Table:
        """Rows that repeat none before them; gaps in a column that counts up by one."""
        if self.spec.repeats and table.height:
            fresh = self.repeats.fresh(table)
            self.report.duplicates += int((~fresh).sum())
            table = table.part(fresh)
        if self.spec.number and table.height:
            numbers = np.sort(table.whole(self.spec.number))
            steps = np.diff(numbers, prepend=self.number or numbers[0])
            self.report.gaps += int((steps > 1).sum())
            self.report.count("numbers_missing", int((steps[steps > 1] - 1).sum()))
            self.number = int(numbers[-1])
        return table

    def _times(self, table: Table) -> np.ndarray:
        """Times in ns that do not fall."""
        field = self.spec.fields["time"]
        if not self.unit:
            self.unit = "us" if len(table.text(field, 0)) > len("1234567890123") else "ms"
        times = table.times(field, self.unit)
        if nanos := self.spec.fields.get("nanos"):
            part = table.whole(nanos)
            reason = "expected less than a second"
            table.refuse(part >= 10**9, nanos, FormatCode.OUT_OF_RANGE, reason)
            times = times + part
        raised = np.maximum.accumulate(np.concatenate(([self.time_ns], times)))[1:]
        late = raised - times
        reason = "expected time that does not fall"
        if self.spec.late_max_ns:
            reason += f" more than {self.spec.late_max_ns // 10**9} s"
        table.refuse(late > self.spec.late_max_ns, field, FormatCode.TIME_BACKWARDS, reason)
        self.report.reordered += int((late > 0).sum())
        if self.spec.interval_ns:
            before = self.time_ns or int(times[0]) - self.spec.interval_ns
            steps = np.diff(raised, prepend=before) - self.spec.interval_ns
            self.report.gaps += int((steps > 0).sum())
            self.report.gap_ns += int(steps[steps > 0].sum())
        self.time_ns = int(raised[-1])
        return raised
