"""`crashtape fork`: a run from some second on under another policy; its past is not computed again.

The first fork of a run at a time applies its tape up to there, once, and keeps the state and the
events so far beside the run folder; every later one starts from them. A policy can only change
where no part of the state was made by it: who bears a loss, and how a liquidation is worked off,
are asked when a loss occurs, so those switches may turn at any command. What a margin or a trigger
is was asked when every leg was hung on its ladder, and what a price is went into the marks.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from engine.core.tables import write_steps, write_switches
from engine.digest import EventDigest
from engine.disk import Disk
from engine.exchange import Exchange
from engine.journal import JournalError
from engine.patched import load_patched
from engine.profile import VenueProfile
from engine.refusal import Refusal
from engine.replay import GATHERED_ROWS, Past, go_on, warm_up
from engine.rows import EVENT, rebatch
from engine.run_folder import VENUE, RunFolder, RunFolderError, read_run
from engine.scenario import LoadedScenario, depth_curves
from engine.snapshot import Snapshot, core_version, read_snapshot, restore, write_snapshot
from engine.strict import flatten, parse_override
from engine.study.comparison import Comparison, Variant, path_frame
from engine.study.row import FAILURES, Watch, as_table, outputs
from engine.tape import read_tape
from engine.units import UnitError, parse_time_ns

DAY_NS = 86_400_000_000_000
MAY_CHANGE = ("losses", "liquidation")
MAY_NOT = {
    "losses.residual": "it decides which wallets below zero are in breach, and they were sorted",
    "losses.fund_scope": "each fund is an account that the run opened at its beginning",
    "losses.profit_lock": "it decides which profit since the last settlement was locked",
}
_CLOCK = re.compile(r"^([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])\Z")


class ForkError(Refusal):
    """A run cannot be forked as asked: one line with the folder or the change."""


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
        for block in read_tape(self.run.tape):
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


def changed_profile(run: RunFolder, changes: Sequence[str]) -> VenueProfile:
    """The profile of a run with changes of `venue.losses` and `venue.liquidation`.

    Raises ForkError for a change that the state at the fork was already made by.
    """
    forced: list[tuple[str, Any]] = []
    for text in changes:
        segments, value = parse_override(text)
        if segments[0] != "venue" or len(segments) < 3 or segments[1] not in MAY_CHANGE:
            allowed = " or ".join(f"venue.{each}.*" for each in MAY_CHANGE)
            reason = f"expected {allowed}: all else has made the state there is at the fork"
            raise ForkError(f"--set {text!r}: {reason}")
        if reason := MAY_NOT.get(".".join(segments[1:])):
            raise ForkError(f"--set {text!r}: may not change at a fork: {reason}")
        forced += flatten({".".join(segments[1:]): value})
    return load_patched(VENUE, run.folder, None, VENUE, {}, forced)[0]


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
    chain = bytes.fromhex(point.run.report.tape_hash)
    write_snapshot(point.snapshot, exchange, digest, point.commands_count, chain, Disk())


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


def turn(exchange: Exchange, profile: VenueProfile) -> None:
    """Give an exchange that is between two commands another policy, from the next command on.

    The funds' highs of the drawdown rule begin anew where that rule changes.
    """
    before, now = exchange.profile.losses, profile.losses
    write_switches(exchange.block.words, profile)
    write_steps(exchange.block, profile)
    rule = ("drawdown_ppm", "drawdown_stop_ppm", "drawdown_window_ns")
    if any(getattr(before, name) != getattr(now, name) for name in rule):
        exchange.block.table("PEAKS")[:] = 0
        exchange.block.table("FUNDS")["drawdown"] = 0
    exchange.profile = profile


def fork(run_dir: Path | str, at: str, variants: Sequence[Variant]) -> Forked:
    """Go on with a run from a time under each variant; the first one should change nothing.

    Raises RunFolderError, ForkError, ScenarioError and TapeError; a variant that fails has a row
    with its error. The variant without changes must end in the state of the run itself.
    """
    run = read_run(run_dir)
    if run.tape is None:
        raise RunFolderError(f"{run.folder.name}: kept no tape; a fork needs its commands")
    profiles = [changed_profile(run, variant.changes) for variant in variants]
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
    for variant, profile in zip(variants, profiles, strict=True):
        given = {"run": len(rows), "variant": variant.name, "seed": run.report.seed}
        exchange = point.exchange()
        restore(point.snapshot, snapshot, exchange)
        turn(exchange, profile)
        past = Past(
            exchange, events, point.commands_count, run.report.setup_commands_count,
            point.first_ns, point.last_ns, run.report.tape_hash,
            run.loaded.profile.losses.limits_fund,
        )  # fmt: skip
        row, path = _end(replace(run.loaded, profile=profile), past, point)
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


def _end(
    loaded: LoadedScenario, past: Past, point: _Point
) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """One variant to its end: its row and its path."""
    watch = Watch(with_path=True)
    try:
        report = go_on(loaded, past, point.after(), watcher=watch)
        mine = msgspec.structs.replace(report, scenario_hash=point.run.report.scenario_hash)
        row = {**outputs(mine, watch, ""), "error": ""}
    except FAILURES as error:
        return {"error": " ".join(f"{error}".split()) or type(error).__name__}, {}
    return row, watch.path(report.start_ns, report.end_ns)
