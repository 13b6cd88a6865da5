"""Lines of a CSV as checked columns: exact decimals, times, sides.

Every column is read as text; no number passes through a float. What the columns of a format
mean is in that format's own file or in `formats.py`. Reading bytes is in `packed.py`.
"""

import dataclasses
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import polars as pl

from engine import constants as c
from engine.importers.common import FormatCode, FormatError, MarketSpec, shown, source_name
from engine.importers.packed import read_lines
from engine.importers.plain import Fields, fields_of, word

_NUMBER = r"^([0-9]{1,24})(?:\.([0-9]{1,18}))?$"
_EXPONENT = r"^-?[0-9](?:\.[0-9]{1,17})?e-[0-9]{1,2}$"
_SIGNED = re.compile(r"^-[0-9]{1,24}(\.[0-9]{1,18})?$")
TIME_MIN_NS = 10**18  # September 2001: an earlier time is one in another unit
_UNIT_DECIMALS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_TEXT_TIMES = {  # polars' patterns; %.f also takes no fraction at all
    "datetime": "%Y-%m-%d %H:%M:%S%.f",
    "datetimeD": "%Y-%m-%dD%H:%M:%S%.f",
    "datetimeT": "%Y-%m-%dT%H:%M:%S%.fZ",
}


@dataclasses.dataclass
class Table:
    """Rows of a CSV as text columns. `first_line` is the line of the file of the first row;
    where rows were left out, `lines` holds the line of each (int64, shape (rows,)). A table that
    was not read row by row says in `rows_read` how many records it comes from, in `counts` what
    became of those that are not in it, and in `others` of which other markets they are."""

    source: str
    first_line: int
    frame: pl.DataFrame
    lines: np.ndarray | None = None
    rows_read: int | None = None
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.frame.height

    def part(self, wanted: np.ndarray) -> "Table":
        """The rows where `wanted` (shape (rows,)) is true; they keep their line numbers."""
        if wanted.all():
            return self
        return self._part(wanted, self._all_lines()[wanted])

    def _part(self, wanted: np.ndarray, lines: np.ndarray) -> "Table":
        return Table(self.source, self.first_line, self.frame.filter(pl.Series(wanted)), lines)

    def _all_lines(self) -> np.ndarray:
        if self.lines is None:
            return np.arange(self.first_line, self.first_line + self.height)
        return self.lines

    def line(self, row: int) -> int:
        """The line of the file that row is, both from the first of this table."""
        return self.first_line + row if self.lines is None else int(self.lines[row])

    def refuse(
        self, wrong: np.ndarray, field: str, code: FormatCode, reason: str, shift: int = 0
    ) -> None:
        """Raise FormatError for the first row where `wrong` (shape (rows,)) is true, if any."""
        if wrong.any():
            row = int(wrong.argmax()) + shift
            value = self.frame[field][row] if field in self.frame.columns else None
            tail = "" if value is None else f", got {shown(value)}"
            raise FormatError(self.source, f"line {self.line(row)}", field, code, reason + tail)

    def trim(self, field: str) -> int:
        """Take spaces off both ends of a column; returns how many fields had any."""
        stripped = self.frame[field].str.strip_chars(" ")
        changed = int((stripped != self.frame[field]).sum())
        self.frame = self.frame.with_columns(stripped.alias(field))
        return changed

    def expand(self) -> None:
        """Write small numbers like 1e-8, as JavaScript prints them, in full: 0.00000001."""
        for field in self.frame.columns:
            text = self.frame[field]
            found = text.str.contains(_EXPONENT).fill_null(False)
            if found.any():
                plain = {number: f"{Decimal(number):f}" for number in text.filter(found).unique()}
                self.frame = self.frame.with_columns(text.replace(plain).alias(field))

    def decimals(self, field: str, decimals: int) -> tuple[np.ndarray, np.ndarray]:
        """Non-negative numbers in units of 10**-decimals, rounded half to even.

        Returns int64 units and a bool array that is true where a number was rounded.
        """
        units = self._exact_decimals(field, decimals)
        if units is not None:
            return units, np.zeros(len(units), bool)
        text = self.frame[field]
        parts = pl.select(
            whole=text.str.extract(_NUMBER, 1),
            fraction=text.str.extract(_NUMBER, 2).fill_null(""),
        )
        whole, fraction = parts["whole"], parts["fraction"]
        self._refuse_text(field, whole.is_null().to_numpy())
        digits = whole + fraction.str.slice(0, decimals).str.pad_end(decimals, "0")
        units = digits.cast(pl.Int64, strict=False)
        outside = (units.is_null() | (units > 2**62)).to_numpy()
        self.refuse(outside, field, FormatCode.OUT_OF_RANGE, "a number too large")
        # Digits beyond the unit compare like text once trailing zeros are gone: "5" is one half.
        rest = fraction.str.slice(decimals).str.strip_chars_end("0")
        up = (rest > "5") | ((rest == "5") & (units % 2 == 1))
        return units.to_numpy() + up.to_numpy(), (rest != "").to_numpy()

    def _exact_decimals(self, field: str, decimals: int) -> np.ndarray | None:
        """The same in a tenth of the time where no number has to be rounded, else None."""
        text = self.frame[field]
        fraction = rf"(?:\.[0-9]{{1,{decimals}}}0*)?" if decimals else r"(?:\.0+)?"
        plain = text.str.contains(rf"^[0-9]{{1,{18 - decimals}}}{fraction}$")
        if not plain.fill_null(False).all():
            return None
        exact = text.cast(pl.Decimal(38, decimals), strict=False)
        units = (exact * 10**decimals).cast(pl.Int64, strict=False)
        return None if units.null_count() else units.to_numpy()

    def signed(self, field: str, decimals: int) -> tuple[np.ndarray, np.ndarray]:
        """Like `decimals`, for numbers that may be negative."""
        text = self.frame[field]
        signs = np.where(text.str.starts_with("-").fill_null(False).to_numpy(), -1, 1)
        unsigned = self.frame.with_columns(text.str.strip_prefix("-").alias(field))
        table = Table(self.source, self.first_line, unsigned, self.lines)
        units, rounded = table.decimals(field, decimals)
        return signs * units, rounded

    def whole(self, field: str) -> np.ndarray:
        """Non-negative whole numbers, int64."""
        units, rounded = self.decimals(field, 0)
        self.refuse(rounded, field, FormatCode.NOT_WHOLE, "expected a whole number")
        return units

    def prices(self, field: str, market: MarketSpec) -> tuple[np.ndarray, np.ndarray]:
        """Positive prices that are no quotes: rounded to price units; see `decimals`."""
        units, rounded = self.decimals(field, market.price_decimals)
        self.refuse(units == 0, field, FormatCode.ZERO, "expected a price above 0")
        return units, rounded

    def quotes(self, field: str, market: MarketSpec) -> np.ndarray:
        """Positive prices on the tick, in price units."""
        units, rounded = self.prices(field, market)
        off = rounded | (units % market.tick_price != 0)
        self.refuse(off, field, FormatCode.OFF_TICK, "expected a multiple of the tick")
        return units

    def lots(self, field: str, market: MarketSpec) -> np.ndarray:
        """Quantities in whole lots, 0 or more."""
        units, rounded = self.decimals(field, market.lot_decimals)
        off = rounded | (units % market.lot_units != 0)
        self.refuse(off, field, FormatCode.OFF_LOT, f"expected whole lots of {market.lot}")
        lots = units // market.lot_units
        reason = f"expected at most {c.LOTS_MAX} lots"
        self.refuse(lots > c.LOTS_MAX, field, FormatCode.OUT_OF_RANGE, reason)
        return lots

    def text(self, field: str, row: int) -> str:
        """One field, which is not empty."""
        return self.frame[field][row]

    def equal(self, field: str, text: str) -> np.ndarray:
        """Which rows have this text in a column that is never empty; bool."""
        return (self.frame[field] == text).to_numpy()

    def hashes(self, fields: Sequence[str]) -> np.ndarray | None:
        """int64 of each row, different where these columns are; None where that is not known."""
        return None

    def words(self, field: str, words: Mapping[str, int]) -> np.ndarray:
        """A column of words, whatever their case, as the numbers they stand for; int64."""
        text = self.frame[field].str.to_lowercase()
        codes = text.replace_strict(dict(words), default=None, return_dtype=pl.Int64)
        reason = f"expected {' or '.join(words)}"
        self.refuse(codes.is_null().to_numpy(), field, FormatCode.UNSUPPORTED, reason)
        return codes.to_numpy()

    def times(self, field: str, unit: str) -> np.ndarray:
        """Unix times in ns, int64. `unit`: s, ms, us or ns (s with decimals), or one of three
        ways to write date and time; outside 2001 to 2116 a time is refused."""
        if unit in _TEXT_TIMES:
            text = self.frame[field]
            parsed = text.str.to_datetime(_TEXT_TIMES[unit], time_unit="ns", strict=False)
            # The parser also takes shorter forms; the length tells them apart.
            odd = parsed.is_null() | (text.str.len_bytes() < 19)
            reason = f"expected {'YYYY-MM-DD HH:MM:SS' if unit == 'datetime' else 'date and time'}"
            self.refuse(odd.to_numpy(), field, FormatCode.NOT_A_TIME, reason)
            times = parsed.dt.epoch("ns").to_numpy()
        elif unit == "s":
            times, rounded = self.decimals(field, _UNIT_DECIMALS[unit])
            self.refuse(rounded, field, FormatCode.NOT_WHOLE, "expected whole nanoseconds")
        else:
            scale = 10 ** _UNIT_DECIMALS[unit]
            whole = self.whole(field)
            outside = whole > c.TIME_MAX_NS // scale
            reason = f"expected Unix time in {unit}, 2001 to 2116"
            self.refuse(outside, field, FormatCode.OUT_OF_RANGE, reason)
            times = whole * scale
        outside = (times < TIME_MIN_NS) | (times > c.TIME_MAX_NS)
        reason = f"expected a time in {unit}, 2001 to 2116"
        self.refuse(outside, field, FormatCode.OUT_OF_RANGE, reason)
        return times

    def filled(self, fields: Sequence[str]) -> np.ndarray:
        """True for the rows (shape (rows,)) in which none of the fields is empty."""
        empty = self.frame.select(pl.any_horizontal(pl.col(*fields).is_null())).to_series()
        return ~empty.to_numpy()

    def rising(self, field: str, values: np.ndarray, before: int, strictly: bool) -> None:
        """Refuse the first value below the one before it (or equal, if `strictly`)."""
        earlier = np.concatenate(([before], values[:-1]))
        self.refuse(
            values < earlier, field, FormatCode.TIME_BACKWARDS, "expected time that does not fall"
        )
        if strictly:
            self.refuse(values == earlier, field, FormatCode.DUPLICATE, "a time that was there")

    def _refuse_text(self, field: str, wrong: np.ndarray) -> None:
        if not wrong.any():
            return
        value = self.frame[field][int(wrong.argmax())]
        if value is None:
            self.refuse(wrong, field, FormatCode.MISSING, "an empty field")
        elif _SIGNED.match(value):
            self.refuse(wrong, field, FormatCode.NEGATIVE, "expected 0 or more")
        self.refuse(wrong, field, FormatCode.NOT_A_NUMBER, "expected a plain decimal number")


class ScannedTable(Table):
    """Rows of plain lines (`plain.py`). The text columns of `frame` are parsed when somebody asks
    for them; numbers and words are read off the lines where they are as expected."""

    def __init__(
        self,
        source: str,
        first_line: int,
        fields: Fields,
        parsed: Callable[[], pl.DataFrame],
        lines: np.ndarray | None = None,
    ) -> None:
        self.source, self.first_line, self.lines = source, first_line, lines
        self.rows_read: int | None = None
        self.counts: dict[str, int] = {}
        self.others: tuple[str, ...] = ()
        self._fields: Fields | None = fields
        self._parsed, self._expands = parsed, False
        self._frame: pl.DataFrame | None = None

    @property
    def frame(self) -> pl.DataFrame:  # type: ignore[override]
        """Text columns; from here on what is asked is answered from them."""
        if self._frame is None:
            self.frame = self._parsed()
            if self._expands:
                super().expand()
        assert self._frame is not None
        return self._frame

    @frame.setter
    def frame(self, frame: pl.DataFrame) -> None:
        """Other text columns in place of the lines."""
        self._frame, self._fields = frame, None

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.frame.height if self._fields is None else len(self._fields)

    def expand(self) -> None:
        """As of a table; numbers with an exponent are not read off the lines."""
        if self._fields is None:
            super().expand()
        self._expands = True

    def _part(self, wanted: np.ndarray, lines: np.ndarray) -> Table:
        if self._fields is None:
            return super()._part(wanted, lines)
        parsed = lambda: self.frame.filter(pl.Series(wanted))  # noqa: E731
        part = ScannedTable(self.source, self.first_line, self._fields.part(wanted), parsed, lines)
        part._expands = self._expands
        return part

    def _exact_decimals(self, field: str, decimals: int) -> np.ndarray | None:
        units = None if self._fields is None else self._fields.numbers(field, decimals)
        return super()._exact_decimals(field, decimals) if units is None else units

    def text(self, field: str, row: int) -> str:
        """One field, which is not empty."""
        return super().text(field, row) if self._fields is None else self._fields.text(field, row)

    def equal(self, field: str, text: str) -> np.ndarray:
        """Which rows have this text in a column that is never empty; bool."""
        if self._fields is None:
            return super().equal(field, text)
        return self._fields.equal(field, text)

    def hashes(self, fields: Sequence[str]) -> np.ndarray | None:
        """int64 of each row, different where these columns are; None where that is not known."""
        return None if self._fields is None else self._fields.hashes(fields)

    def words(self, field: str, words: Mapping[str, int]) -> np.ndarray:
        """A column of words, whatever their case, as the numbers they stand for; int64."""
        found = None if self._fields is None else self._fields.words(field)
        if found is None:
            return super().words(field, words)
        codes = np.zeros(len(found), np.int64)
        known = np.zeros(len(found), bool)
        for text, code in words.items():
            same = found == word(text)
            codes[same] = code
            known |= same
        return codes if known.all() else super().words(field, words)

    def filled(self, fields: Sequence[str]) -> np.ndarray:
        """True for the rows (shape (rows,)) in which none of the fields is empty."""
        if self._fields is None:
            return super().filled(fields)
        return np.logical_and.reduce([self._fields.filled(field) for field in fields])


def read_csv(
    path: Path | str,
    headers: Sequence[tuple[str, ...]],
    header: Literal["required", "optional"],
) -> Iterator[Table]:
    """Yield a CSV as tables of text columns, a chunk at a time.

    `headers` are the column lists the format has, of different lengths. A header must be one of
    them; a file without one (where that is allowed) is recognised by its number of columns.
    Quotes have no meaning; every row has every field.
    """

    def names_of(fields: tuple[str, ...]) -> tuple[str, ...] | None:
        return fields if fields in headers else None

    bare = headers if header == "optional" else ()
    expected = " or ".join(",".join(names) for names in headers)
    yield from _tables(path, names_of, bare, expected, None, ())


def read_columns(
    path: Path | str,
    needed: Sequence[str],
    *,
    may_be_empty: Sequence[str] = (),
    layouts: Sequence[tuple[str, ...]] = (),
    also: str = "",
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Table]:
    """Yield the `needed` columns of a CSV, found by the names in its header, in any order.

    A file whose first field is a number has no header: it is recognised by its number of columns
    among `layouts`, and refused where there are none. Columns whose whole name matches the
    pattern `also` are yielded too. Other columns are not read. An empty field is null in
    `may_be_empty` and refused elsewhere. `aliases` maps other names of a column to its own.
    """

    def names_of(fields: tuple[str, ...]) -> tuple[str, ...] | None:
        fields = tuple(aliases.get(name, name) for name in fields)
        complete = set(needed) <= set(fields) and len(set(fields)) == len(fields)
        return fields if complete else None

    expected = f"a header with {','.join(needed)}"
    wanted = re.compile(
        "|".join([*map(re.escape, needed), also] if also else map(re.escape, needed))
    )
    yield from _tables(path, names_of, layouts, expected, wanted, may_be_empty)


def _tables(
    path: Path | str,
    names_of: Callable[[tuple[str, ...]], tuple[str, ...] | None],
    bare: Sequence[tuple[str, ...]],
    expected: str,
    wanted: re.Pattern[str] | None,
    may_be_empty: Sequence[str],
) -> Iterator[Table]:
    """`names_of` accepts a header or returns None; `bare` are the layouts without one."""
    source = source_name(path)
    names: tuple[str, ...] | None = None
    for first_line, chunk in read_lines(path):
        if names is None:
            head, _, body = chunk.partition(b"\n")
            fields = tuple(head.rstrip(b"\r").decode("ascii", "replace").split(","))
            names = names_of(fields)
            if names is not None:
                first_line, chunk = first_line + 1, body
            else:
                names = _bare_names(source, fields, bare, expected)
            columns = [name for name in names if wanted is None or wanted.fullmatch(name)]
            filled = tuple(name for name in columns if name not in may_be_empty)
        if chunk:
            parsed = partial(_frame, source, first_line, chunk, names, columns, filled)
            fields = fields_of(chunk, names, columns, may_be_empty)
            if fields is None:
                yield Table(source, first_line, parsed())
            else:
                yield ScannedTable(source, first_line, fields, parsed)
    if names is None:
        raise FormatError(source, "", "", FormatCode.CONTENTS, "the file is empty")


def _bare_names(
    source: str, fields: tuple[str, ...], layouts: Sequence[tuple[str, ...]], expected: str
) -> tuple[str, ...]:
    """The layout of a file whose first line is no header, or a refusal of that line."""
    if layouts and fields[0][:1].isdigit():
        for names in layouts:
            if len(names) == len(fields):
                return names
        counts = " or ".join(str(len(names)) for names in layouts)
        reason = f"expected {counts} columns, got {len(fields)}"
        raise FormatError(source, "line 1", "", FormatCode.COLUMNS, reason)
    reason = f"expected {expected}, got {shown(','.join(fields))}"
    raise FormatError(source, "line 1", "", FormatCode.HEADER, reason)


def _frame(
    source: str,
    first_line: int,
    chunk: bytes,
    names: tuple[str, ...],
    columns: Sequence[str],
    filled: tuple[str, ...],
) -> pl.DataFrame:
    """Parse `columns` of whole lines; every failure is traced to its line.

    The parser fills a short line with empty fields, so the commas of the chunk are counted.
    """
    lines = chunk.count(b"\n")
    # A first line of our own: the parser unpacks text that begins like an archive, without bound.
    head = b"," * (len(names) - 1) + b"\n"
    try:
        frame = pl.read_csv(
            io.BytesIO(head + chunk.replace(b"\r\n", b"\n")),
            has_header=False,
            skip_rows=1,
            schema=dict.fromkeys(names, pl.String),
            columns=[names.index(name) for name in columns],
            quote_char=None,
        )
    except pl.exceptions.PolarsError as error:
        _explain(source, first_line, chunk, names, filled)
        raise FormatError(source, "", "", FormatCode.TEXT, f"{error}") from None
    ragged = chunk.count(b",") != lines * (len(names) - 1)
    holes = frame.select(filled).null_count().sum_horizontal()[0]
    if frame.height != lines or ragged or holes:
        _explain(source, first_line, chunk, names, filled)
        reason = f"expected {lines} rows from line {first_line}, got {frame.height}"
        raise FormatError(source, "", "", FormatCode.COLUMNS, reason)
    return frame


def _explain(
    source: str, first_line: int, chunk: bytes, names: tuple[str, ...], filled: tuple[str, ...]
) -> None:
    """Raise FormatError for the first line that is not text of `names`, those of `filled` full."""
    for number, line in enumerate(chunk.removesuffix(b"\n").split(b"\n"), first_line):
        place = f"line {number}"
        if not line.isascii():
            reason = f"expected plain text, got {shown(line)}"
            raise FormatError(source, place, "", FormatCode.TEXT, reason)
        fields = line.rstrip(b"\r").split(b",")
        if len(fields) != len(names):
            reason = f"expected {len(names)} columns, got {len(fields)}"
            raise FormatError(source, place, "", FormatCode.COLUMNS, reason)
        for name, field in zip(names, fields, strict=True):
            if not field and name in filled:
                raise FormatError(source, place, name, FormatCode.MISSING, "an empty field")
