"""`crashtape fork`: a run from some second on under another policy; its past is not computed again.

The first fork of a run at a time applies its tape up to there, once, and keeps the state and the
events so far beside the run folder; every later one starts from them. What may change there, and
why, is in `turning.py`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from engine.constants import CommandKind
from engine.digest import EventDigest
from engine.disk import Disk
from engine.exchange import Exchange
from engine.journal import JournalError
from engine.price_points import command_block
from engine.replay import GATHERED_ROWS, Past, go_on, warm_up
from engine.rows import EVENT, rebatch
from engine.run_folder import RunFolder, RunFolderError, read_run
from engine.scenario import LoadedScenario, depth_curves
from engine.snapshot import Snapshot, core_version, read_snapshot, restore, write_snapshot
from engine.study.comparison import Comparison, Variant, path_frame
from engine.study.row import FAILURES, Watch, as_table, outputs
from engine.study.turning import ForkError, Turn, read_turn
from engine.tape import TapeWriter, read_tape, tape_info
from engine.units import UnitError, parse_time_ns

DAY_NS = 86_400_000_000_000
_CLOCK = re.compile(r"^([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])\Z")


@dataclass(frozen=True)
class Forked:
    """The variants compared, where they part, and whether the past had to be computed for it."""

    comparison: Comparison
    at_ns: int
    commands_count: int
    was_kept: bool


@dataclass(frozen=True)
class _Point:
    """A moment of a run: its commands up to there, and where its state is kept."""

    run: RunFolder
    at_ns: int
    commands_count: int
    first_ns: int
    last_ns: int

    @property
    def snapshot(self) -> Path:
        """The file of the state."""
        folder = self.run.folder.resolve()
        return folder.with_name(f".{folder.name}.forks") / f"{self.commands_count}.snapshot"

    @property
    def events(self) -> Path:
        """The file of the events so far."""
        return self.snapshot.with_suffix(".events.npy")

    def exchange(self) -> Exchange:
        """An exchange as the run began with."""
        loaded = self.run.loaded
        return Exchange(
            loaded.profile,
            capacities=self.run.capacities,
            curves=depth_curves(loaded),
            feedback_ppm=loaded.scenario.feedback_ppm,
        )

    def before(self) -> Iterator[np.ndarray]:
        """The commands up to here."""
        left = self.commands_count
        for block in read_tape(self.run.tape, identity=True):
            yield block[:left]
            left -= min(left, len(block))
            if not left:
                return

    def after(self) -> Iterator[np.ndarray]:
        """The commands from here on."""
        skip = self.commands_count
        for block in read_tape(self.run.tape):
            if skip < len(block):
                yield block[skip:]
            skip = max(0, skip - len(block))


def time_of(run: RunFolder, text: str) -> int:
    """A time as ISO text, or as a clock's HH:MM:SS, which is its first one in the run."""
    start, end = run.report.start_ns, run.report.end_ns
    if match := _CLOCK.match(text):
        hours, minutes, rest = map(int, match.groups())
        at_ns = start // DAY_NS * DAY_NS + (hours * 3600 + minutes * 60 + rest) * 10**9
        at_ns += DAY_NS * (at_ns < start)
    else:
        try:
            at_ns = parse_time_ns(text)
        except UnitError as error:
            raise ForkError(f"--at: {error}") from None
    if not start <= at_ns < end:
        raise ForkError(f"--at {text}: expected a time from the run's first second to its last")
    return at_ns


def written_time(at_ns: int) -> str:
    """A time to the second, as a reader writes it."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _point(run: RunFolder, at_ns: int) -> _Point:
    """How many commands a run has up to a time."""
    count = first_ns = last_ns = 0
    for block in read_tape(run.tape):
        times = block["time_ns"]
        inside = int(np.searchsorted(times, at_ns, side="right"))
        first_ns = first_ns or int(times[0])
        last_ns = int(times[inside - 1]) if inside else last_ns
        count += inside
        if inside < len(block):
            break
    return _Point(run, at_ns, max(count, run.report.setup_commands_count), first_ns, last_ns)


def _keep(point: _Point) -> None:
    """Apply the past of a run and keep the state and its events. Raises JournalError."""
    exchange, digest, kept = point.exchange(), EventDigest(), [np.zeros(0, EVENT)]
    for batch in rebatch(point.before(), GATHERED_ROWS):
        for events in exchange.stream(batch):
            digest.update(events)
            kept.append(events)
    point.snapshot.parent.mkdir(exist_ok=True)
    partial = point.events.with_suffix(".partial.npy")
    np.save(partial, np.concatenate(kept), allow_pickle=False)
    partial.replace(point.events)
    tape_hash = bytes.fromhex(point.run.report.tape_hash)
    write_snapshot(point.snapshot, exchange, digest, point.commands_count, tape_hash, Disk())


def _kept(point: _Point) -> tuple[Snapshot, np.ndarray] | None:
    """The state and events kept before, or None where there are none of this very tape."""
    if not (point.snapshot.exists() and point.events.exists()):
        return None
    try:
        snapshot = read_snapshot(point.snapshot)
        events = np.load(point.events, allow_pickle=False)
    except (JournalError, ValueError):
        return None
    digest = EventDigest()
    digest.update(events)
    made = snapshot.metadata
    was = (made.core, made.profile_hash, made.journal_chain)
    loaded, report = point.run.loaded, point.run.report
    is_ours = was == (core_version(), loaded.profile.hash(), report.tape_hash)
    is_whole = digest.hexdigest() == snapshot.digest.hexdigest()
    return (snapshot, events) if is_ours and is_whole else None


def fork(run_dir: Path | str, at: str, variants: Sequence[Variant]) -> Forked:
    """Go on with a run from a time under each variant; the first one should change nothing.

    Raises RunFolderError, ForkError, ScenarioError and TapeError; a variant that fails has a row
    with its error. The variant without changes must end in the state of the run itself.
    """
    run = read_run(run_dir)
    if run.tape is None:
        raise RunFolderError(f"{run.folder.name}: kept no tape; a fork needs its commands")
    turns = [read_turn(run, variant.changes) for variant in variants]
    point = _point(run, time_of(run, at))
    warm_up(run.loaded.profile)
    kept = _kept(point)
    was_kept = kept is not None
    if kept is None:
        _keep(point)
        kept = _kept(point)
    assert kept is not None, "what was kept just now can be read"
    snapshot, events = kept
    rows, paths = [], []
    for variant, turn in zip(variants, turns, strict=True):
        given = {"run": len(rows), "variant": variant.name, "seed": run.report.seed}
        exchange = point.exchange()
        restore(point.snapshot, snapshot, exchange)
        turn.make(exchange)
        paid = _deposits(turn, point.at_ns)
        past = Past(
            exchange, events, point.commands_count, run.report.setup_commands_count,
            point.first_ns, point.last_ns, _tape_hash(point, paid),
            run.loaded.profile.losses.limits_fund,
        )  # fmt: skip
        row, path = _end(replace(run.loaded, profile=turn.profile), past, point, paid)
        if not variant.changes and row.get("state_digest") != run.report.state_digest:
            raise ForkError(f"{run.folder.name}: unchanged, the fork ends in another state")
        rows.append({**given, **row})
        paths.append((rows[-1], path))
    comparison = Comparison(
        base=run.loaded,
        variants=list(variants),
        rows=pl.DataFrame(as_table(rows), infer_schema_length=None),
        paths=path_frame(paths),
        failed=[f"{row['variant']}: {row['error']}" for row in rows if row["error"]],
        note=f"Forked at {written_time(point.at_ns)} UTC, after {point.commands_count:,} commands; "
        "every number is of the whole run, its shared past included.",
    )
    return Forked(comparison, point.at_ns, point.commands_count, was_kept)


def _deposits(turn: Turn, at_ns: int) -> list[np.ndarray]:
    """What is paid into funds at the fork, as commands."""
    rows = []
    for account_id, quote in turn.deposits:
        rows.append(command_block(CommandKind.DEPOSIT, 0, at_ns, 0))
        rows[-1]["account_id"], rows[-1]["amount"] = account_id, quote
    return rows


def _tape_hash(point: _Point, paid: Sequence[np.ndarray]) -> str:
    """The hash of the tape with further commands at the fork."""
    report, tape = point.run.report, point.run.tape
    if not paid or tape is None:
        return report.tape_hash
    with TapeWriter(None, tape_info(tape).metadata) as written:
        for block in chain(point.before(), paid, point.after()):
            written.append(block)
    return written.tape_hash


def _end(
    loaded: LoadedScenario, past: Past, point: _Point, paid: Sequence[np.ndarray]
) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """One variant to its end: its row and its path."""
    watch = Watch(with_path=True)
    try:
        report = go_on(loaded, past, chain(paid, point.after()), watcher=watch)
        mine = msgspec.structs.replace(report, scenario_hash=point.run.report.scenario_hash)
        row = {**outputs(mine, watch, ""), "error": ""}
    except FAILURES as error:
        return {"error": " ".join(f"{error}".split()) or type(error).__name__}, {}
    return row, watch.path(report.start_ns, report.end_ns)
