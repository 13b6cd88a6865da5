"""What every importer shares: the market's units, the report, the refusal, and merging by time.

An importer turns a public file into COMMAND rows and fills a report. It refuses what it cannot
read exactly: a FormatError names the file, the line, the field, a code and the reason, and the
import ends there. Nothing is skipped, rounded or reordered without a count in the report.
Reading bytes and text is in `table.py`; each format has a file of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from engine import constants as c
from engine.profile import VenueProfile
from engine.refusal import Refusal
from engine.rows import COMMAND
from engine.units import UnitError, parse_decimal
from engine.venue import market_numbers

T = TypeVar("T")

_SHOWN_CHARACTERS_MAX = 60  # of a refused value: the message stays one readable line


class FormatCode(StrEnum):
    """Why a file was refused."""

    UNREADABLE = "UNREADABLE"  # the file cannot be opened
    TORN = "TORN"  # compressed data end early or fail their checksum
    CONTENTS = "CONTENTS"  # the archive or array does not hold what the format says
    HEADER = "HEADER"
    COLUMNS = "COLUMNS"  # a row with too few or too many fields
    MISSING = "MISSING"  # an empty field
    TEXT = "TEXT"  # not text, or a line longer than any the format has
    NOT_A_NUMBER = "NOT_A_NUMBER"
    NOT_A_TIME = "NOT_A_TIME"
    NEGATIVE = "NEGATIVE"
    ZERO = "ZERO"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    NOT_WHOLE = "NOT_WHOLE"  # finer than the unit it must be a multiple of
    PRICE = "PRICE"  # no positive price on the tick; the reason says what it is
    LOTS = "LOTS"  # no quantity in whole lots, 0 or more
    OFF_TICK = "OFF_TICK"
    OFF_LOT = "OFF_LOT"
    TIME_BACKWARDS = "TIME_BACKWARDS"
    DUPLICATE = "DUPLICATE"
    INCONSISTENT = "INCONSISTENT"  # fields of one row contradict each other
    UNSUPPORTED = "UNSUPPORTED"  # a kind of row this importer does not take
    WRONG_MARKET = "WRONG_MARKET"


class FormatError(Refusal):
    """A file is refused. One line: file, place, field, code, reason.

    `place` is "line 17" or "row 3", both counted from 1, or "" for the file as a whole.

    >>> raise FormatError("a.csv", "line 2", "price", FormatCode.ZERO, "expected more than 0")
    Traceback (most recent call last):
    ...
    engine.importers.common.FormatError: a.csv: line 2: price: ZERO: expected more than 0
    """

    def __init__(self, source: str, place: str, field: str, code: FormatCode, reason: str) -> None:
        parts = [part for part in (source, place, field, str(code)) if part]
        super().__init__(": ".join([*parts, reason]))
        self.source = source
        self.place = place
        self.field = field
        self.code = code
        self.reason = reason


def shown(value: object) -> str:
    """A refused value as it appears in a message: quoted, and cut if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[:_SHOWN_CHARACTERS_MAX] + "..."


class MarketSpec(Struct, frozen=True, kw_only=True):
    """The units a file is brought to.

    `lot` is the quantity of the file per lot, as decimal text: base for a linear market, `"1"`
    where the file counts contracts. `tick_price` is the tick in price units.

    >>> btc = MarketSpec(market_id=1, price_decimals=2, lot="0.001", tick_price=10)
    >>> btc.lot_decimals, btc.lot_units
    (3, 1)
    """

    market_id: Annotated[int, Meta(ge=1, le=c.MARKETS_MAX)]
    price_decimals: Annotated[int, Meta(ge=0, le=12)]
    lot: str
    tick_price: Annotated[int, Meta(ge=1)]

    def __post_init__(self) -> None:
        if not (1 <= self.market_id <= c.MARKETS_MAX and 0 <= self.price_decimals <= 12):
            raise ValueError("market_id or price_decimals is out of range")
        if self.tick_price < 1 or self.lot_units < 1:
            raise ValueError("tick_price and lot: expected more than 0")

    @property
    def lot_decimals(self) -> int:
        """Decimals needed to write one lot."""
        return len(self.lot.partition(".")[2])

    @property
    def lot_units(self) -> int:
        """One lot in units of 10**-lot_decimals."""
        return parse_decimal(self.lot, self.lot_decimals)

    def price_of(self, text: str) -> int:
        """Price units of a quoted price; raises UnitError if it is no positive whole tick."""
        price = parse_decimal(text, self.price_decimals)
        if price <= 0:
            raise UnitError(f"expected more than 0, got {text}")
        if price > 2**62:
            raise UnitError(f"a number too large, got {text}")
        if price % self.tick_price:
            raise UnitError(f"expected a multiple of the tick, got {text}")
        return price

    def lots_of(self, text: str) -> int:
        """Lots of a quantity, 0 or more; raises UnitError if it is not a whole number of lots."""
        lots, rest = divmod(parse_decimal(text, self.lot_decimals), self.lot_units)
        if rest or not 0 <= lots <= c.LOTS_MAX:
            raise UnitError(f"expected whole lots of {self.lot}, got {text}")
        return lots


def market_spec(profile: VenueProfile, symbol: str) -> MarketSpec:
    """The units of a profile's market; raises ProfileError if there is no such market."""
    market_id = profile.market_id(symbol)
    market = profile.markets[market_id - 1]
    return MarketSpec(
        market_id=market_id,
        price_decimals=market.price_decimals,
        lot=market.lot if market.payoff == "linear" else "1",
        tick_price=market_numbers(profile, market).tick_price,
    )


class ImportReport(Struct, kw_only=True):
    """What an import read and what became of it; complete once the import is exhausted.

    `rows_read` is lines or records of the file, headers excluded; `rows_kept` those that became
    commands. `gaps` counts holes in a regular or numbered series and `gap_ns` their length in
    time, where it is known. `counts` holds what only one format has; `notes` what a reader of
    the numbers has to know, such as that published liquidations are a lower bound.
    """

    source: str
    format: str
    rows_read: int = 0
    rows_kept: int = 0
    commands: int = 0  # rows handed out
    first_time_ns: int = 0
    last_time_ns: int = 0
    gaps: int = 0
    gap_ns: int = 0
    silence_ns: int = 0  # the longest time between two commands
    duplicates: int = 0  # rows that repeat an earlier one and were left out
    crossed: int = 0  # states of the book whose best bid is not below the best ask
    reordered: int = 0  # rows whose time was raised to that of the row before
    rounded: int = 0  # prices rounded half to even, to price_decimals
    trimmed: int = 0  # fields with spaces around them, where the caller allowed it
    refused: int = 0
    refusal: str = ""  # where and why, if one was
    notes: list[str] = msgspec.field(default_factory=list)
    counts: dict[str, int] = msgspec.field(default_factory=dict)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of the counts that only this format has."""
        self.counts[name] = self.counts.get(name, 0) + amount


class Import:
    """Iterates once over arrays of rows and keeps `report` up to date.

    The rows have a `time_ns` that never decreases, within and across the arrays.
    """

    def __init__(self, report: ImportReport, blocks: Iterator[np.ndarray]) -> None:
        self.report = report
        self._blocks = blocks

    def __iter__(self) -> Iterator[np.ndarray]:
        return (block for block in self.follow(self._blocks, lambda block: block) if len(block))

    def follow(self, items: Iterator[T], rows_of: Callable[[T], np.ndarray]) -> Iterator[T]:
        """Hand out `items` while the rows in them are entered in the report."""
        report = self.report
        try:
            for item in items:
                self._enter(rows_of(item))
                yield item
        except FormatError as error:
            report.refused += 1
            report.refusal = str(error)
            raise

    def _enter(self, rows: np.ndarray) -> None:
        if len(rows) == 0:
            return
        report, times = self.report, rows["time_ns"]
        assert times[0] >= report.last_time_ns, "an importer lets time go backwards"
        assert (times[1:] >= times[:-1]).all(), "an importer lets time go backwards"
        if report.commands == 0:
            report.first_time_ns = report.last_time_ns = int(times[0])
        longest = max(int(times[0]) - report.last_time_ns, int(np.diff(times).max(initial=0)))
        report.silence_ns = max(report.silence_ns, longest)
        report.last_time_ns = int(times[-1])
        report.commands += len(rows)


def new_commands(count: int, market_id: int) -> np.ndarray:
    """Zeroed COMMAND rows, shape (count,), of one market."""
    rows = np.zeros(count, COMMAND)
    rows["market_id"] = market_id
    return rows


def source_name(path: Path | str) -> str:
    """The name by which messages and reports call a file."""
    return Path(path).name


def merge_by_time(streams: list[Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
    """Merge streams of COMMAND arrays into one stream in time order.

    Rows of one time keep the order of `streams`, and within a stream their own. Memory is bounded
    by one array of each stream.

    >>> a, b = new_commands(2, 1), new_commands(2, 2)
    >>> a["time_ns"], b["time_ns"] = (1, 3), (1, 2)
    >>> [row for block in merge_by_time([[a], [b]]) for row in block["market_id"].tolist()]
    [1, 2, 2, 1]
    """
    iterators = [iter(stream) for stream in streams]
    pending = [_next_rows(iterator) for iterator in iterators]
    while any(rows is not None for rows in pending):
        last = [
            (int(rows["time_ns"][-1]), place)
            for place, rows in enumerate(pending)
            if rows is not None
        ]
        # Nothing still unread sorts before this row: the stream that ends first ends with it.
        cut_ns, cut_place = min(last)
        parts = []
        for place, rows in enumerate(pending):
            if rows is None:
                continue
            side = "right" if place <= cut_place else "left"
            split = int(np.searchsorted(rows["time_ns"], cut_ns, side=side))
            if split:
                parts.append(rows[:split])
            rest = rows[split:]
            pending[place] = rest if len(rest) else _next_rows(iterators[place])
        if len(parts) == 1:  # in order already; to join arrays of one row type is slow
            yield parts[0]
            continue
        merged = np.concatenate(parts)
        yield merged[np.argsort(merged["time_ns"], kind="stable")]


def _next_rows(iterator: Iterator[np.ndarray]) -> np.ndarray | None:
    return next((rows for rows in iterator if len(rows)), None)
