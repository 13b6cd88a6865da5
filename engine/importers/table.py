"""Bytes to checked columns: plain, gzip or zip files, CSV text, exact decimals.

A file is read in chunks of whole lines, so memory does not grow with it and a small archive
cannot unpack into a large one. Every column is read as text and split into digits: no number
passes through a float. What the columns of a format mean is in that format's own file.
"""

import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import polars as pl

from engine.importers.common import FormatCode, FormatError, MarketSpec, shown, source_name

CHUNK_BYTES = 2**22  # unpacked text held at once
LINE_BYTES_MAX = 2**22  # a longer line is not one of these formats

_NUMBER = r"^([0-9]{1,24})(?:\.([0-9]{1,18}))?$"
_SIGNED = re.compile(r"^-[0-9]{1,24}(\.[0-9]{1,18})?$")
# What the standard library raises on damaged archives: headers, names, checksums, methods.
UNPACK_ERRORS = (
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
)


@contextmanager
def open_bytes(path: Path | str) -> Iterator[BinaryIO]:
    """Open a plain file, a gzip file or a zip of exactly one .csv, told apart by their first
    bytes; damage met while reading is raised as FormatError."""
    source = source_name(path)
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    yield unpacked
            elif magic[:2] == b"PK":
                with zipfile.ZipFile(file) as archive, archive.open(_member(archive, source)) as m:
                    yield m
            else:
                yield file
    except UNPACK_ERRORS as error:
        raise FormatError(source, "", "", FormatCode.TORN, f"{error}") from None
    except OSError as error:
        raise FormatError(source, "", "", FormatCode.UNREADABLE, f"{error.strerror}") from None


def _member(archive: zipfile.ZipFile, source: str) -> zipfile.ZipInfo:
    members = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    if len(members) != 1 or not members[0].filename.lower().endswith(".csv"):
        names = ", ".join(entry.filename for entry in members[:3])
        reason = f"expected exactly one .csv in the zip, got {len(members)} files: {names}"
        raise FormatError(source, "", "", FormatCode.CONTENTS, reason)
    if members[0].flag_bits & 1:
        raise FormatError(source, "", "", FormatCode.CONTENTS, "the zip is encrypted")
    return members[0]


def read_lines(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """Yield (number of its first line from 1, whole lines) in chunks of about CHUNK_BYTES.

    Each chunk ends with a line feed; one is supplied where the file ends without.
    """
    source = source_name(path)
    with open_bytes(path) as file:
        first_line, rest = 1, b""
        while data := file.read(CHUNK_BYTES):
            end = data.rfind(b"\n") + 1
            if end == 0:
                rest += data
                if len(rest) > LINE_BYTES_MAX:
                    place = f"line {first_line}"
                    reason = f"a line of more than {LINE_BYTES_MAX} bytes"
                    raise FormatError(source, place, "", FormatCode.TEXT, reason)
                continue
            chunk = rest + data[:end]
            rest = data[end:]
            yield first_line, chunk
            first_line += chunk.count(b"\n")
        if rest:
            yield first_line, rest + b"\n"


@dataclass
class Table:
    """Rows of a CSV as text columns. `first_line` is the line of the file of the first row."""

    source: str
    first_line: int
    frame: pl.DataFrame

    def refuse(
        self, wrong: np.ndarray, field: str, code: FormatCode, reason: str, shift: int = 0
    ) -> None:
        """Raise FormatError for the first row where `wrong` (shape (rows,)) is true, if any."""
        if wrong.any():
            row = int(wrong.argmax()) + shift
            value = self.frame[field][row] if field in self.frame.columns else None
            tail = "" if value is None else f", got {shown(value)}"
            place = f"line {self.first_line + row}"
            raise FormatError(self.source, place, field, code, reason + tail)

    def trim(self, field: str) -> int:
        """Take spaces off both ends of a column; returns how many fields had any."""
        stripped = self.frame[field].str.strip_chars(" ")
        changed = int((stripped != self.frame[field]).sum())
        self.frame = self.frame.with_columns(stripped.alias(field))
        return changed

    def decimals(self, field: str, decimals: int) -> tuple[np.ndarray, np.ndarray]:
        """Non-negative numbers in units of 10**-decimals, rounded half to even.

        Returns int64 units and a bool array that is true where a number was rounded.
        """
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
        return units // market.lot_units

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
    source = source_name(path)
    names: tuple[str, ...] | None = None
    for first_line, chunk in read_lines(path):
        if names is None:
            head, _, body = chunk.partition(b"\n")
            names, has_header = _column_names(source, head, headers, header)
            if has_header:
                first_line, chunk = first_line + 1, body
        if chunk:
            yield Table(source, first_line, _frame(source, first_line, chunk, names))
    if names is None:
        raise FormatError(source, "", "", FormatCode.CONTENTS, "the file is empty")


def _column_names(
    source: str, line: bytes, headers: Sequence[tuple[str, ...]], header: str
) -> tuple[tuple[str, ...], bool]:
    fields = tuple(line.rstrip(b"\r").decode("ascii", "replace").split(","))
    if fields in headers:
        return fields, True
    if header == "optional" and fields[0][:1].isdigit():
        for names in headers:
            if len(names) == len(fields):
                return names, False
        counts = " or ".join(str(len(names)) for names in headers)
        reason = f"expected {counts} columns, got {len(fields)}"
        raise FormatError(source, "line 1", "", FormatCode.COLUMNS, reason)
    expected = " or ".join(",".join(names) for names in headers)
    reason = f"expected {expected}, got {shown(','.join(fields))}"
    raise FormatError(source, "line 1", "", FormatCode.HEADER, reason)


def _frame(source: str, first_line: int, chunk: bytes, names: tuple[str, ...]) -> pl.DataFrame:
    """Parse whole lines; every failure is traced to its line."""
    try:
        frame = pl.read_csv(
            io.BytesIO(chunk.replace(b"\r\n", b"\n")),
            has_header=False,
            schema=dict.fromkeys(names, pl.String),
            quote_char=None,
        )
    except pl.exceptions.PolarsError as error:
        _explain(source, first_line, chunk, names)
        raise FormatError(source, "", "", FormatCode.TEXT, f"{error}") from None
    lines = chunk.count(b"\n")
    if frame.height != lines or frame.null_count().sum_horizontal()[0]:
        _explain(source, first_line, chunk, names)
        reason = f"expected {lines} rows from line {first_line}, got {frame.height}"
        raise FormatError(source, "", "", FormatCode.COLUMNS, reason)
    return frame


def _explain(source: str, first_line: int, chunk: bytes, names: tuple[str, ...]) -> None:
    """Raise FormatError for the first line that is not text of `names` fields, none empty."""
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
            if not field:
                raise FormatError(source, place, name, FormatCode.MISSING, "an empty field")
