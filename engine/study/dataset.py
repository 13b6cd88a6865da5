"""The folder of a sweep: Parquet parts in the order of the plan, and what is not in a part yet.

`runs/part-00000.parquet` holds the first PART_ROWS runs of the plan, and so on, and the part of the
same name under `paths` how the fund of each fared; both are written when all their runs are done
and never again. Until then a finished run is a line of `waiting.jsonl`,
which is on the device before the run counts as done. So the same study gives the same bytes
whatever the number of workers and however often it was stopped.
"""

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.study.row import Request, path_times
from engine.study.workers import StudyError

PART_ROWS = 256
PLAN, WAITING, RUNS, PAGE = "study.json", "waiting.jsonl", "runs", "study.html"
PATHS = "paths"
FUND_PATH = "fund_path"  # of a row that waits: the fund at the times of a path
PATH_SCHEMA = pa.schema([(name, pa.int64()) for name in ("run", "time_ns", "fund_quote")])


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def column_types(plan: Sequence[Request], outputs: dict[str, Any]) -> pa.Schema:
    """The columns of every part: the inputs of the plan, then outputs like these."""
    kinds: dict[str, pa.DataType] = {"run": pa.int64()}
    for name in plan[0].inputs:
        found = {type(each.inputs[name]) for each in plan}
        kinds[name] = _kind(found.pop()) if len(found) == 1 else pa.string()
    for name, value in outputs.items():
        kinds.setdefault(name, _kind(type(value)))
    return pa.schema(list(kinds.items()))


def _kind(kind: type) -> pa.DataType:
    """Of a column: only numbers may be missing, as the time of what never happened."""
    return {bool: pa.bool_(), int: pa.int64(), type(None): pa.int64()}.get(kind, pa.string())


class Dataset:
    """A sweep's folder, new or gone on with. Raises StudyError where it belongs to another study.

    `done` are the numbers of the runs that need not be made again.
    """

    def __init__(self, folder: Path, key: str, schema: pa.Schema, runs_count: int) -> None:
        self.folder, self._schema, self._count = folder, schema, runs_count
        self.parts_count = -(-runs_count // PART_ROWS)
        self._rows: dict[int, dict[str, Any]] = {}
        self._claim(key)
        for name in (PATHS, RUNS):
            (folder / name).mkdir(exist_ok=True)
        self._written = {i for i in range(self.parts_count) if self._part(RUNS, i).exists()}
        kept = self._read_waiting()
        self._file = (folder / WAITING).open("ab")
        self._file.truncate(kept)
        for part in range(self.parts_count):
            self._write_if_whole(part)

    def _claim(self, key: str) -> None:
        """Make the folder ours, or find that it is."""
        plan = self.folder / PLAN
        if plan.exists():
            try:
                found = json.loads(plan.read_bytes())["key"]
            except (ValueError, KeyError, TypeError):
                raise StudyError(f"{self.folder.name}: {PLAN}: no plan of a sweep") from None
            if found != key:
                reason = "holds another study, scenario, venue or engine; name another folder"
                raise StudyError(f"{self.folder.name}: {reason}")
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise StudyError(f"{self.folder.name}: not written to, because no sweep made it")
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": key, "runs": self._count, "part_rows": PART_ROWS}, indent=2)
        _replace(plan, text.encode() + b"\n")

    @property
    def done(self) -> set[int]:
        """Numbers of the runs that are in a part or waiting for theirs."""
        inside = {number for part in self._written for number in self._numbers(part)}
        return inside | self._rows.keys()

    def _part(self, kind: str, part: int) -> Path:
        return self.folder / kind / f"part-{part:05d}.parquet"

    def _numbers(self, part: int) -> range:
        return range(part * PART_ROWS, min((part + 1) * PART_ROWS, self._count))

    def _read_waiting(self) -> int:
        """Take the lines of runs done before; returns the length up to the first torn one."""
        path, kept = self.folder / WAITING, 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            check, _, text = line.partition(b" ")
            if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(text):
                break
            row = json.loads(text)
            if row["run"] // PART_ROWS not in self._written:
                self._rows[row["run"]] = row
            kept += len(line)
        return kept

    def add(self, row: dict[str, Any], fund_path: Sequence[int] = ()) -> None:
        """Keep a finished run, its row and the fund at the times of its path; write its part if
        that is whole now."""
        row = {**row, FUND_PATH: list(fund_path)}
        text = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        self._file.write(b"%08x " % zlib.crc32(text) + text)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._rows[row["run"]] = row
        self._write_if_whole(row["run"] // PART_ROWS)

    def _write_if_whole(self, part: int) -> None:
        numbers = self._numbers(part)
        if part in self._written or not all(number in self._rows for number in numbers):
            return
        rows = [self._rows.pop(number) for number in numbers]
        # The part of the rows says that the runs are done, so it comes last.
        for kind, table in ((PATHS, path_table(rows)), (RUNS, table_of(rows, self._schema))):
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression="zstd")
            _replace(self._part(kind, part), sink.getvalue().to_pybytes())
        self._written.add(part)

    def close(self) -> None:
        """Let go of the folder; a sweep that is done leaves no waiting line."""
        self._file.close()
        if len(self._written) == self.parts_count:
            (self.folder / WAITING).unlink(missing_ok=True)


def table_of(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of these columns; what a row lacks is null, what it has more is left out."""
    rows = list(rows)
    arrays = []
    for field in schema:
        cells = [row.get(field.name) for row in rows]
        if field.type == pa.string():
            cells = [each if each is None or isinstance(each, str) else f"{each}" for each in cells]
        arrays.append(pa.array(cells, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def path_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """How the fund of each run fared: a row a time. A failed run has none."""
    cells: list[list[int]] = [[], [], []]
    for row in rows:
        if balances := row.get(FUND_PATH):
            times = path_times(row["start_ns"], row["end_ns"])
            for column, values in zip(
                cells, ([row["run"]] * len(times), times, balances), strict=True
            ):
                column += values
    return pa.Table.from_arrays([pa.array(each, pa.int64()) for each in cells], schema=PATH_SCHEMA)


def finished_rows(folder: Path, key: str) -> pl.DataFrame:
    """Every row of a sweep that is done, of the study with this key; else StudyError."""
    plan = folder / PLAN
    try:
        found = json.loads(plan.read_bytes())
        count = found["runs"] if found["key"] == key else -1
    except (OSError, ValueError, KeyError, TypeError):
        raise StudyError(f"{folder.name}: {PLAN}: no plan of a sweep; sweep first") from None
    if count < 0:
        raise StudyError(f"{folder.name}: holds another study, scenario, venue or engine")
    parts = len(list((folder / RUNS).glob("part-*.parquet")))
    if parts * PART_ROWS < count:
        raise StudyError(f"{folder.name}: not all of {count:,} runs are made; go on with the sweep")
    return read_rows(folder)


def write_frames(out: Path | str, frames: dict[str, pl.DataFrame], pages: dict[str, str]) -> Path:
    """Write Parquet files and pages by name into a folder that holds nothing else. StudyError."""
    folder = Path(os.path.abspath(out))
    known = frames.keys() | pages.keys()
    foreign = [e.name for e in folder.iterdir() if e.name not in known] if folder.is_dir() else []
    if foreign:
        reason = f"not written to, because this command never wrote {foreign[0]!r}"
        raise StudyError(f"{folder.name}: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.write_parquet(folder / name)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read_rows(folder: Path) -> pl.DataFrame:
    """The rows in the parts of a sweep, in the order of its plan."""
    return _read_parts(folder, RUNS)


def read_paths(folder: Path) -> pl.DataFrame:
    """The fund at the times of every run's path: `run`, `time_ns`, `fund_quote`, in order."""
    return _read_parts(folder, PATHS)


def _read_parts(folder: Path, kind: str) -> pl.DataFrame:
    parts = sorted((folder / kind).glob("part-*.parquet"))
    if not parts:
        raise StudyError(f"{folder.name}: no part of a sweep is in it yet")
    return pl.concat([pl.read_parquet(part) for part in parts])
