"""Runs a run folder again and compares: the same events, the same state, to the last bit.

The commands come from the kept tape or, where the run did not keep it, from the folder's own
scenario. What was recorded is never trusted: the tape's chain of hashes, the digests and every
row of `events.parquet` are compared with what the engine does now.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine import constants as c
from engine.digest import EventDigest
from engine.exchange import Exchange
from engine.participants import Crowd
from engine.replay import GATHERED_ROWS, Progress, Say, warm_up
from engine.report.columns import Units
from engine.report.tables import event_columns
from engine.rows import rebatch
from engine.run_folder import SCENARIO, RunFolder, read_run
from engine.scenario import (
    LoadedScenario,
    depth_curves,
    load_scenario,
    market_commands,
    setup_commands,
)
from engine.tape import TapeError, read_tape, tape_info


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome: `differences` is empty where the run could be repeated to the bit."""

    from_tape: bool
    commands_count: int
    events_count: int
    event_digest: str
    state_digest: str
    differences: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


class _Recorded:
    """`events.parquet` of a run, read in step with the events that are made now."""

    def __init__(self, path: Path, units: Units) -> None:
        self._file = pq.ParquetFile(path)
        self._batches = self._file.iter_batches(batch_size=GATHERED_ROWS)
        self._units = units
        self._ahead: list[pa.Table] = []
        self._rows = 0  # compared so far

    def _take(self, count: int) -> pa.Table:
        """The next `count` recorded rows, or fewer at the end of the file."""
        while sum(len(table) for table in self._ahead) < count:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._ahead.append(pa.Table.from_batches([batch]))
        if not self._ahead:
            return self._file.schema_arrow.empty_table()
        joined = pa.concat_tables(self._ahead)
        self._ahead = [joined.slice(count)] if len(joined) > count else []
        return joined.slice(0, count)

    def difference(self, events: np.ndarray) -> str:
        """The first difference between these events and the recorded ones, or ""."""
        recorded = self._take(len(events))
        now = pa.table(event_columns(self._units, events))
        first: tuple[int, str, object, object] | None = None
        for name in now.column_names:
            mine, theirs = _plain(now[name].slice(0, len(recorded))), _plain(recorded[name])
            if not mine.equals(theirs):
                unequal = pa.compute.fill_null(pa.compute.not_equal(mine, theirs), False)
                unequal = pa.compute.or_(unequal, pa.compute.xor(mine.is_null(), theirs.is_null()))
                row = unequal.to_pylist().index(True)
                if first is None or row < first[0]:
                    first = (row, name, theirs[row].as_py(), mine[row].as_py())
        if first is not None:
            row, name, theirs, mine = first
            text = (
                f"event {self._rows + row + 1} (command {events['seq'][row]}): {name}: "
                f"recorded {theirs}, now {mine}"
            )
        elif len(recorded) < len(events):
            text = f"event {self._rows + len(recorded) + 1}: recorded none, now there is one"
        else:
            text = ""
        self._rows += len(events)
        return text

    def left_over(self) -> str:
        """Whether more events were recorded than were made now, or ""."""
        more = len(self._take(1))
        return f"event {self._rows + 1}: recorded, now there is none" if more else ""


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array; names as text, so that two encodings of the same names are equal."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return column.combine_chunks()


def _source(
    run: RunFolder, data: Path | None
) -> tuple[LoadedScenario, Iterable[np.ndarray], Crowd | None]:
    """The scenario, every command of the run, in order, and who must hear the events for them."""
    if run.tape is not None:
        return run.loaded, read_tape(run.tape, identity=True), None
    loaded = load_scenario(run.folder / SCENARIO, data=data)
    crowd = loaded.crowd()
    history = crowd.commands(market_commands(loaded))
    return loaded, chain(setup_commands(loaded), history), crowd


def _check_inputs(run: RunFolder, loaded: LoadedScenario) -> Iterator[str]:
    """Differences that show before anything is run."""
    report = run.report
    if report.engine_version != c.ENGINE_VERSION:
        yield f"engine: the run is of version {report.engine_version}, this is {c.ENGINE_VERSION}"
    if loaded.profile.hash() != report.profile_hash:
        yield f"venue profile: recorded {report.profile_hash}, now {loaded.profile.hash()}"
    if run.tape is not None and (now := tape_info(run.tape).tape_hash) != report.tape_hash:
        yield f"tape: recorded {report.tape_hash}, now {now}"


def verify(
    run_dir: Path | str, *, data: Path | None = None, progress: Say = lambda progress: None
) -> Verification:
    """Repeat the run in a folder and compare it; `data` is where a scenario's files are.

    Raises RunFolderError where the folder is none of a run, ScenarioError where a scenario that
    kept no tape cannot be read again. A damaged tape or table is a difference.
    """
    run = read_run(run_dir)
    loaded, blocks, crowd = _source(run, data)
    differences: list[str] = []
    digest, commands_count, events_count = EventDigest(), 0, 0
    warm_up(loaded.profile, progress)
    exchange = Exchange(
        loaded.profile,
        capacities=run.capacities,
        curves=depth_curves(loaded),
        feedback_ppm=loaded.scenario.feedback_ppm,
    )
    try:
        differences += _check_inputs(run, loaded)
        recorded = _Recorded(run.folder / "events.parquet", Units(loaded.profile))
        unlike = ""
        for batch in rebatch(blocks, GATHERED_ROWS):
            if len(batch) == 0:
                continue
            for events in exchange.stream(batch):
                if crowd is not None:
                    crowd.observe(events)
                digest.update(events)
                events_count += len(events)
                unlike = unlike or recorded.difference(events)
            commands_count += len(batch)
            done = Progress("verify", commands_count, run.report.commands_count)
            progress(done)
        unlike = unlike or recorded.left_over()
        if unlike:
            differences.append(f"events.parquet: {unlike}")
    except (TapeError, pa.ArrowException, OSError, KeyError) as error:
        differences.append(str(error))
    state = exchange.digest()
    for name, before, now in (
        ("events", run.report.event_digest, digest.hexdigest()),
        ("state", run.report.state_digest, state),
    ):
        if before != now:
            differences.append(f"{name} digest: recorded {before}, now {now}")
    return Verification(
        from_tape=run.tape is not None,
        commands_count=commands_count,
        events_count=events_count,
        event_digest=digest.hexdigest(),
        state_digest=state,
        differences=differences,
    )
