"""Order flow as `crashtape match` reads it, by chunks and in one compiled pass.

Only files without any fault are read here: whole numbers, known words, times that do not fall.
For any other the answer is None, and `match.py` reads it column by column and says what is wrong.
Of a Parquet file no other columns are unpacked.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from engine.constants import Side
from engine.core.flow import FLOW, MISSING, Op, pack_flow
from engine.importers.common import FormatError
from engine.importers.packed import read_lines
from engine.importers.plain import Fields, fields_of, word
from engine.importers.whole import ROWS_MAX, TEXT_BYTES_MAX

SIDES = {"B": int(Side.BUY), "A": int(Side.SELL)}  # bid, ask
OPS = {"add": Op.ADD, "limit": Op.LIMIT, "ioc": Op.IOC, "reduce": Op.REDUCE, "replace": Op.REPLACE}
COLUMNS = ("cmd", "ts_event_ns", "op", "order_id", "side", "price_ticks", "size")
BATCH_ROWS = 2**15  # all columns of so many rows fit the cache that one core has for itself
_WORDS = {"op": OPS, "side": SIDES}
_MAY_BE_EMPTY = ("side", "price_ticks")  # of a reduce
_UNKNOWN, _BLANK = -1, 0
_WORDS_MAX = 64  # of a dictionary: more are not the words of order flow

_Columns = Mapping[str, np.ndarray]


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

    def fits(self, columns: _Columns, rows: np.ndarray) -> bool:
        """Write the columns into as many rows; whether all of them are sound."""
        arrays = [np.ascontiguousarray(columns[name], np.int64) for name in COLUMNS]
        return pack_flow(*arrays, self._last, rows)


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
        numbers.append(columns["cmd"])
        if not packer.fits(columns, rows[-1]):
            return None
    return np.concatenate(rows), np.concatenate(numbers)


def _texts(fields: Fields) -> _Columns | None:
    """Columns of text as integers."""
    columns: dict[str, np.ndarray] = {}
    for name, codes in _WORDS.items():
        words = fields.words(name, lower=False)
        if words is None:
            return None
        column = np.where(words == 0, _BLANK, _UNKNOWN)
        for text, code in codes.items():
            column[words == word(text)] = code
        columns[name] = column
    for name in COLUMNS:
        if name not in columns:
            filled = fields.filled(name)
            present = fields if filled.all() else fields.part(filled)
            values = present.numbers(name, 0, dotted=False)
            if values is None:
                return None
            columns[name] = np.full(len(fields), MISSING)
            columns[name][filled] = values
    return columns


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
                part = slice(done, done + len(columns["cmd"]))
                if not packer.fits(columns, rows[part]):
                    return None
                numbers[part] = columns["cmd"]
                done = part.stop
    except (OSError, UnicodeDecodeError, ValueError, pa.ArrowException):
        return None
    return (rows, numbers) if done == count else None


def _batches(file) -> Iterator[_Columns]:
    """Columns as integers, some rows at a time; raises ArrowException where one is none."""
    for batch in file.iter_batches(BATCH_ROWS, columns=list(COLUMNS), use_threads=False):
        batch.validate(full=True)  # text that is not UTF-8, indices that lead nowhere
        yield {
            name: _coded(batch.column(name), _WORDS[name])
            if name in _WORDS
            else _whole(batch.column(name), name in _MAY_BE_EMPTY)
            for name in COLUMNS
        }


def _whole(column, may_be_empty: bool) -> np.ndarray:
    """Whole numbers; MISSING where there is none, which only some columns may have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(column.type):
        raise pa.ArrowInvalid("no whole numbers")
    column = column.cast(pa.int64())
    if may_be_empty and pc.equal(column, MISSING).true_count:
        raise pa.ArrowInvalid("the number that stands for none")
    return (column.fill_null(MISSING) if column.null_count else column).to_numpy()


def _coded(column, codes: Mapping[str, int]) -> np.ndarray:
    """Texts of a dictionary as codes: the dictionary is looked up, not every row."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type) or len(column.dictionary) > _WORDS_MAX:
        raise pa.ArrowInvalid("no dictionary of a few words")
    known = {"": _BLANK, None: _BLANK, **codes}
    words = [known.get(text, _UNKNOWN) for text in column.dictionary.to_pylist()]
    indices = column.indices.fill_null(len(words)) if column.null_count else column.indices
    return np.array([*words, _BLANK], np.int64)[indices.to_numpy()]
