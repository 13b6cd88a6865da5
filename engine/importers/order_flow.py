"""Order flow as `crashtape match` reads it, by chunks and in one compiled pass.

Only files without any fault are read here: whole numbers, known words, times that do not fall.
For any other the answer is None, and `match.py` reads it column by column and says what is wrong.
Of a Parquet file no other columns are unpacked.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.constants import Side
from engine.core.flow import CODES, COLUMN, FLOW, MISSING, PLACE, Op, pack_flow
from engine.importers.common import FormatError
from engine.importers.packed import read_lines
from engine.importers.plain import Fields, fields_of, word
from engine.importers.whole import ROWS_MAX, TEXT_BYTES_MAX

SIDES = {"B": int(Side.BUY), "A": int(Side.SELL)}  # bid, ask
OPS = {"add": Op.ADD, "limit": Op.LIMIT, "ioc": Op.IOC, "reduce": Op.REDUCE, "replace": Op.REPLACE}
COLUMNS = ("cmd", "ts_event_ns", "op", "order_id", "side", "price_ticks", "size")
BATCH_ROWS = 2**16  # 3 MB of columns stay in a cache; what is done once a batch hardly counts
_WORDS = {"op": OPS, "side": SIDES}
_MAY_BE_EMPTY = ("side", "price_ticks")  # of a reduce
_NUMBERS = ("cmd", "ts_event_ns", "order_id", "price_ticks", "size")
_UNKNOWN, _BLANK = -1, 0  # codes
_NOWHERE = CODES - 1  # the place of no word


class _Columns(NamedTuple):
    """Some rows: numbers in the order of _NUMBERS; places and codes in that of _WORDS."""

    numbers: list[np.ndarray]
    places: list[np.ndarray]
    codes: list[np.ndarray]
    has_missing: bool  # a price that is MISSING is none


def read_flow(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """(FLOW rows, command numbers) of a CSV (packed too) or Parquet file that has no fault."""
    try:
        return _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except FormatError:
        return None


class _Packer:
    """Columns, a chunk at a time, to rows; numbers and times go on from chunk to chunk."""

    def __init__(self) -> None:
        self._last = np.zeros(2, np.int64)  # number, time

    def fits(self, columns: _Columns, rows: np.ndarray, numbers: np.ndarray) -> bool:
        """Write the columns into as many rows and numbers; whether all of them are sound."""
        kinds = [COLUMN] * len(_NUMBERS) + [PLACE] * len(_WORDS) + [COLUMN] * len(_WORDS)
        arrays = [*columns.numbers, *columns.places, *columns.codes]
        held = [np.ascontiguousarray(*each) for each in zip(arrays, kinds, strict=True)]
        assert {len(array) for array in held[: -len(_WORDS)]} == {len(rows)}, "whole columns"
        at = np.array([array.ctypes.data for array in held])
        to = rows.ctypes.data, numbers.ctypes.data
        return bool(pack_flow(at, len(rows), columns.has_missing, self._last, *to))


def _read_csv(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    packer, names, size = _Packer(), (), 0
    rows, numbers = [np.zeros(0, FLOW)], [np.zeros(0, np.int64)]
    for _, chunk in read_lines(path):
        size += len(chunk)
        if not names:
            head, _, chunk = chunk.partition(b"\n")
            names = tuple(head.rstrip(b"\r").decode("ascii", "replace").split(","))
            if len(set(names)) != len(names) or not set(COLUMNS) <= set(names):
                return None
        if size > TEXT_BYTES_MAX:
            return None
        fields = fields_of(chunk, names, COLUMNS, _MAY_BE_EMPTY)
        columns = None if fields is None else _texts(fields)
        if fields is None or columns is None:
            return None
        rows.append(np.empty(len(fields), FLOW))
        numbers.append(np.empty(len(fields), np.int64))
        if not packer.fits(columns, rows[-1], numbers[-1]):
            return None
    return np.concatenate(rows), np.concatenate(numbers)


def _texts(fields: Fields) -> _Columns | None:
    """Columns of text as numbers and places."""
    columns = _Columns([], [], [], has_missing=True)  # no text is MISSING
    for name, codes in _WORDS.items():
        words = fields.words(name, lower=False)
        if words is None:
            return None
        places = np.full(len(fields), _NOWHERE, PLACE)
        for place, text in enumerate(("", *codes)):
            places[words == word(text)] = place
        columns.places.append(places)
        columns.codes.append(_codes(["", *codes], codes))
    for name in _NUMBERS:
        filled = fields.filled(name)
        present = fields if filled.all() else fields.part(filled)
        values = present.numbers(name, 0, dotted=False)
        if values is None:
            return None
        column = np.full(len(fields), MISSING)
        column[filled] = values
        columns.numbers.append(column)
    return columns


def _codes(texts: Sequence[str | None], codes: Mapping[str, int]) -> np.ndarray:
    """The codes of texts, each at the place of its text."""
    table = np.full(CODES, _UNKNOWN, COLUMN)
    known = {"": _BLANK, None: _BLANK, **codes}
    table[: len(texts)] = [known.get(text, _UNKNOWN) for text in texts]
    return table


def _read_parquet(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    packer, done = _Packer(), 0
    try:
        held = pq.read_metadata(path)
        count, schema = held.num_rows, held.schema
        paths = [schema.column(place).path for place in range(held.num_columns)]
        if count > ROWS_MAX or any(paths.count(name) != 1 for name in COLUMNS):
            return None  # before a dictionary is asked for, which must be that of a known column
        with pq.ParquetFile(path, metadata=held, read_dictionary=list(_WORDS)) as file:
            rows, numbers = np.empty(count, FLOW), np.empty(count, np.int64)
            for columns in _batches(file):
                part = slice(done, done + len(columns.numbers[0]))
                if not packer.fits(columns, rows[part], numbers[part]):
                    return None
                done = part.stop
    except (OSError, UnicodeDecodeError, ValueError, pa.ArrowException):
        return None
    return (rows, numbers) if done == count else None


def _batches(file) -> Iterator[_Columns]:
    """Some rows at a time; raises ArrowException where a column is not what it should be."""
    for batch in file.iter_batches(BATCH_ROWS, columns=list(COLUMNS), use_threads=False):
        batch.validate()
        words = [_placed(batch.column(name), codes) for name, codes in _WORDS.items()]
        yield _Columns(
            [_whole(batch.column(name), name in _MAY_BE_EMPTY) for name in _NUMBERS],
            [places for places, _ in words],
            [codes for _, codes in words],
            has_missing=batch.column("price_ticks").null_count > 0,
        )


def _whole(column, may_be_empty: bool) -> np.ndarray:
    """Whole numbers; MISSING where there is none, which only some columns may have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(column.type):
        raise pa.ArrowInvalid("no whole numbers")
    column = column.cast(pa.int64())
    if not column.null_count:
        return column.to_numpy()
    if may_be_empty and pc.equal(column, MISSING).true_count:
        raise pa.ArrowInvalid("the number that stands for none")
    return column.fill_null(MISSING).to_numpy()


def _placed(column, codes: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where texts stand in their dictionary, and its codes: it is looked up, not every row."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type) or len(column.dictionary) >= _NOWHERE:
        raise pa.ArrowInvalid("no dictionary of a few words")
    words = column.dictionary
    words.validate(full=True)  # text that is not UTF-8
    texts, places = words.to_pylist(), column.indices
    if column.null_count:
        column.validate(full=True)  # an index that leads nowhere is no blank
        texts, places = [*texts, None], places.fill_null(len(texts))
    return places.cast(pa.int32()).to_numpy(), _codes(texts, codes)
