"""A file that is read as a whole, CSV (plain or packed) or Parquet, within bounds.

Files of events come in chunks (`packed.py`); positions and order flow are looked at as one table.
Neither a small archive nor a short run of a dictionary decides how much memory that takes.
"""

import io
from pathlib import Path
from typing import Any

import polars as pl

from engine.importers.common import FormatCode, FormatError, source_name
from engine.importers.packed import CHUNK_BYTES, is_packed, open_bytes

ROWS_MAX = 20_000_000
TEXT_BYTES_MAX = ROWS_MAX * 100  # of a CSV, unpacked
FIELD_BYTES_MAX = 1_000  # of one text of a Parquet file


def read_csv_frame(path: Path, **options: Any) -> pl.DataFrame:
    """A CSV with a header, every column as text. Raises FormatError.

    `options` are those of the parser. Text that looks packed itself is refused: the parser would
    unpack it once more, without a bound.
    """
    source, parts, size = source_name(path), [], 0
    with open_bytes(path) as file:
        while data := file.read(CHUNK_BYTES):
            parts.append(data)
            size += len(data)
            if size > TEXT_BYTES_MAX:
                reason = f"expected at most {TEXT_BYTES_MAX} bytes of text"
                raise FormatError(source, "", "", FormatCode.TEXT, reason)
    text = b"".join(parts)
    if is_packed(text[:4]):
        raise FormatError(source, "line 1", "", FormatCode.HEADER, "expected text, got packed data")
    try:
        return pl.read_csv(io.BytesIO(text), infer_schema=False, **options)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise FormatError(source, "", "", FormatCode.TEXT, reason) from None


def read_parquet_frame(path: Path) -> pl.DataFrame:
    """A Parquet file of at most ROWS_MAX rows. Raises FormatError.

    By pyarrow: a damaged file makes it refuse, where the reader of polars panics. Text is read as
    a dictionary first, so that a long one is met before it is repeated.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = source_name(path)
    try:
        with pq.ParquetFile(path) as file:
            rows, fields = file.metadata.num_rows, list(file.schema_arrow)
        if rows > ROWS_MAX:
            reason = f"expected 1 to {ROWS_MAX} rows, got {rows}"
            raise FormatError(source, "", "", FormatCode.CONTENTS, reason)
        kinds = (pa.types.is_string, pa.types.is_large_string)
        texts = [field.name for field in fields if any(kind(field.type) for kind in kinds)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read()
        table.validate(full=True)  # text that is not UTF-8, offsets that lead nowhere
        columns = [_plain(column, source) for column in table.columns]
        # Names without the metadata beside them.
        return pl.from_arrow(pa.Table.from_arrays(columns, names=table.column_names))
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FormatError(source, "", "", FormatCode.CONTENTS, reason) from None
    except pl.exceptions.PolarsError as error:
        raise FormatError(source, "", "", FormatCode.CONTENTS, str(error)) from None


def _plain(column: Any, source: str) -> Any:
    """A column of a dictionary as its text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return column
    for chunk in column.chunks:
        longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
        if longest > FIELD_BYTES_MAX:
            reason = f"expected at most {FIELD_BYTES_MAX} bytes in a field, got {longest}"
            raise FormatError(source, "", "", FormatCode.CONTENTS, reason)
    return column.cast(column.type.value_type)
