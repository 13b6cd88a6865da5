"""Files of public formats to a tape: the work behind `crashtape import`.

The importers read, the tape writer writes; here the units come from a venue profile or from the
command line, and several files of one market become one stream in order of time. Rows that no
command has (published liquidations, open interest, depth bands) go to a Parquet table.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.column_map import ColumnMap
from engine.importers.catalogue import (
    ACCOUNTS,
    BANDS,
    FACTS,
    GENERIC,
    KINDS,
    ROLE_ORDER,
    check_columns,
    read_file,
)
from engine.importers.common import (
    FormatCode,
    FormatError,
    ImportReport,
    MarketSpec,
    market_spec,
    merge_by_time,
    source_name,
)
from engine.importers.hyperliquid_accounts import read_accounts
from engine.messages import PriceFile
from engine.price_files import band_rows
from engine.tape import (
    TapeInfo,
    TapeMarket,
    TapeMetadata,
    TapeWriter,
    verify_tape,
)
from engine.units import UnitError, parse_decimal
from engine.venue import MarketNumbers, load_venue, market_numbers

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

TABLE_SUFFIX = ".parquet"
MONEY_DECIMALS = 6  # of the settlement asset where no venue profile says so
Progress = Callable[[ImportReport, int], None]  # of the file being read, and files before it


class ImportRequestError(ValueError):
    """What is asked for cannot be imported: the option and the reason."""


class Source(NamedTuple):
    """One file, what it is, what its rows are used as ("": what its kind is first used as), and
    the market's name in it where that is another."""

    kind: str
    path: Path
    role: str = ""
    symbol: str = ""


class Units(NamedTuple):
    """A market's units, and the decimals of the money it is settled in. `numbers` is None where
    they do not come from a venue profile."""

    spec: MarketSpec
    market: TapeMarket
    numbers: MarketNumbers | None
    decimals: int


def market_units(text: str, venue: str | None) -> Units:
    """Units of a profile's market, or of SYMBOL:TICK:LOT (decimal text) without a profile.

    The price gets as many decimals as the tick has. Raises ProfileError and ImportRequestError.

    >>> market_units("AVAXUSD:0.001:1", None).spec.price_decimals
    3
    """
    if venue is not None:
        profile = load_venue(venue)
        spec = market_spec(profile, text)
        market = profile.markets[spec.market_id - 1]
        numbers = market_numbers(profile, market)
        units = TapeMarket(symbol=text, price_decimals=market.price_decimals, lot=market.lot)
        return Units(spec, units, numbers, profile.settlement.decimals)
    symbol, *rest = text.split(":")
    if len(rest) != 2 or not symbol:
        raise ImportRequestError("import: --market: expected SYMBOL:TICK:LOT without a --venue")
    tick, lot = rest
    decimals = len(tick.partition(".")[2])
    try:
        tick_price = parse_decimal(tick, decimals)
        spec = MarketSpec(market_id=1, price_decimals=decimals, lot=lot, tick_price=tick_price)
    except (UnitError, ValueError) as error:
        raise ImportRequestError(f"import: --market: {text}: {error}") from None
    return Units(
        spec, TapeMarket(symbol=symbol, price_decimals=decimals, lot=lot), None, MONEY_DECIMALS
    )


def import_files(
    sources: Sequence[Source],
    units: Units,
    output: Path,
    *,
    columns: ColumnMap | None = None,
    trim_spaces: bool = False,
    progress: Progress = lambda report, done: None,
) -> tuple[list[ImportReport], TapeInfo | None]:
    """Write a tape of one market, or a table of facts where `output` is a .parquet file.

    Files of one kind and role are read one after the other, in the order given; those of
    different kinds are merged by time. Rows of equal times come in the order of ROLE_ORDER:
    funding, index, mark, trades, depth. `trim_spaces` reads depth bands with spaces before their
    time, which the archive has held. Returns a report a file, and what the tape holds. Raises
    FormatError, ImportRequestError and TapeError; where one file is refused nothing is written.
    """
    reports: list[ImportReport] = []
    sources = [_checked(source, output, columns) for source in sources]
    reader = _Files(units, columns, trim_spaces, reports, progress)
    if output.suffix == TABLE_SUFFIX:
        _write_table(reader.tables(sources), output)
        return reports, None
    order = sorted(sources, key=lambda source: ROLE_ORDER.index(source.role))
    index = [source for source in order if source.role == "index"]
    streams = [
        reader.stream(list(group), index)
        for _, group in groupby(order, key=lambda source: (source.role, source.kind))
    ]
    names = [f"{source.kind} {source.path.name}" for source in sources]
    with TapeWriter(output, TapeMetadata(markets=[units.market], sources=names)) as tape:
        for block in streams[0] if len(streams) == 1 else merge_by_time(streams):
            block["market_id"] = 1
            tape.append(block)
    return reports, verify_tape(output)


def _checked(source: Source, output: Path, columns: ColumnMap | None) -> Source:
    """The source with its role; refuses what cannot go into the output."""
    if source.kind not in KINDS:
        reason = f"expected one of {', '.join(KINDS)}, got {source.kind!r}"
        raise ImportRequestError(f"import: kind: {reason}")
    roles = KINDS[source.kind]
    table = output.suffix == TABLE_SUFFIX
    role = source.role or (FACTS if table and FACTS in roles else roles[0])
    if role not in roles:
        reason = f"expected {' or '.join(roles)} for {source.kind}, got {role!r}"
        raise ImportRequestError(f"import: --as: {reason}")
    if (role == FACTS) != table:
        others = [f"--as {name}" for name in roles if name != FACTS]
        reason = (
            f"{source.kind} as {FACTS} is no tape: name a {TABLE_SUFFIX} file"
            if role == FACTS
            else f"{source.kind} as {role} is a tape: name no {TABLE_SUFFIX} file"
        )
        raise ImportRequestError(f"import: --output: {' or '.join([reason, *others])}")
    if source.kind == GENERIC and (reason := check_columns(columns, role)):
        raise ImportRequestError(f"import: --columns: {reason}")
    return source._replace(role=role)


class _Files:
    """Reads sources of one market and keeps their reports."""

    def __init__(
        self,
        units: Units,
        columns: ColumnMap | None,
        trim_spaces: bool,
        reports: list[ImportReport],
        progress: Progress,
    ) -> None:
        self.units, self.columns, self.trim_spaces = units, columns, trim_spaces
        self.reports, self.progress = reports, progress

    def stream(self, group: Sequence[Source], index: Sequence[Source]) -> Iterator[np.ndarray]:
        """Rows of sources of one kind and role; depth bands meet the index they refer to."""
        if group[0].kind != BANDS:
            return self.chain(group)
        if self.units.numbers is None or not index:
            reason = "distances from a mid: give a --venue, and an index --with them"
            raise ImportRequestError(f"import: {BANDS}: {reason}")
        quiet = _Files(self.units, self.columns, self.trim_spaces, [], lambda report, done: None)
        name = group[0].path.name if len(group) == 1 else BANDS
        asked = PriceFile(kind=BANDS, path=name, market="x", role="depth")
        prices = quiet.chain(index)
        spec = self.units.spec
        return band_rows(asked, self.chain(group), spec.market_id, self.units.numbers, prices)

    def tables(self, sources: Sequence[Source]) -> "Iterator[pa.Table]":
        """Rows of sources that become a table of facts."""
        import pyarrow as pa

        if any(source.kind == ACCOUNTS for source in sources):
            if len(sources) > 1:
                raise ImportRequestError(f"import: {ACCOUNTS}: expected one file")
            yield from (frame.to_arrow() for frame in self._accounts(sources[0]))
            return
        for block in self.chain(sources):
            names = block.dtype.names
            yield pa.table({name: np.ascontiguousarray(block[name]) for name in names})

    def _accounts(self, source: Source) -> "Iterator[pl.DataFrame]":
        report = ImportReport(source=source_name(source.path), format=source.kind)
        self.reports.append(report)
        spec, market, _, decimals = self.units
        coin = source.symbol or market.symbol
        for frame in read_accounts(source.path, spec, market.symbol, coin, decimals, report):
            self.progress(report, 0)
            yield frame

    def chain(self, group: Sequence[Source]) -> Iterator[np.ndarray]:
        """Rows of each in turn; one that begins before the last one ends is refused."""
        before_ns = 0
        for source in group:
            rows = read_file(
                source.kind,
                source.path,
                self.units.spec,
                source.role,
                source.symbol or self.units.market.symbol,
                columns=self.columns,
                trim_spaces=self.trim_spaces,
            )
            self.reports.append(rows.report)
            for block in rows:
                if int(block["time_ns"][0]) < before_ns:
                    code, reason = FormatCode.TIME_BACKWARDS, "begins before the file given before"
                    raise FormatError(source.path.name, "", "time", code, f"{reason} it ends")
                before_ns = int(block["time_ns"][-1])
                self.progress(rows.report, len(self.reports) - 1)
                yield block


def _write_table(tables: "Iterable[pa.Table]", output: Path) -> None:
    """Stream tables into a Parquet file that appears only when it is complete."""
    import pyarrow.parquet as pq

    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    writer = None
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(partial, table.schema)
            writer.write_table(table)
        if writer is None:
            raise ImportRequestError(f"import: {output.name}: no row to write")
        writer.close()
        os.replace(partial, output)
    finally:
        if writer is not None:
            writer.close()
        partial.unlink(missing_ok=True)
