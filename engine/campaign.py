"""Fuzzing by volume: seed after seed until enough commands were run, what they reached, and the
first failure as short as it will go; in one process or in several.

Every seed is an exchange of its own with its own temper (`fuzz.draw_setup`). Core and rulebook are
compared event for event, or, compiled only, the core is audited: an order of magnitude more
commands in the same time.
"""

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from engine.audit import Audit
from engine.coverage import Coverage
from engine.fuzz import Setup, batches, cascade_depth, compare, coverage, draw_setup
from engine.rows import COMMAND
from engine.shrink import Row, read_kept, shrink, write_kept
from engine.venue import market_numbers

PER_SEED = 600  # commands of a seed; most of what can go wrong goes wrong early
PER_SEED_COMPILED = 6_000
COVERAGE_SEEDS = 1_600  # from so many seeds on everything must have been reached
AUDIT_BATCH = 4_096
SLICE = 8  # seeds that a process runs before it reports
Say = Callable[[int, int], None]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A seed that failed, and the short list of commands that fails in the same way."""

    seed: int
    reason: str
    commands_count: int  # before shrinking
    rows: list[tuple[int, ...]]
    kept: str  # the file, or "" if none was asked for


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign did. `missing` is what no seed reached; it counts from COVERAGE_SEEDS on."""

    seeds: int
    commands: int
    events: int
    reached: int
    missing: list[str]
    deepest: int
    failure: Failure | None

    @property
    def coverage_counts(self) -> bool:
        """Whether there were enough seeds for a gap in the coverage to be a fault."""
        return self.seeds >= COVERAGE_SEEDS

    @property
    def ok(self) -> bool:
        """No failure, and no gap where there must be none."""
        return self.failure is None and not (self.coverage_counts and self.missing)


class Shown(msgspec.Struct, frozen=True):
    """What one list of commands showed; `wrong` is "" where nothing is."""

    wrong: str
    events: int
    seen: Counter[str]
    depth: int


def differential(setup: Setup, rows: list[Row]) -> Shown:
    """Core against rulebook."""
    try:
        outcome = compare(setup, rows)
    except Exception as error:  # an assertion in either one is a failure like any other
        return Shown(f"seed {setup.seed}: {type(error).__name__}: {error}", 0, Counter(), 0)
    return Shown(outcome.difference, outcome.events, Counter(outcome.seen), outcome.cascade_depth)


def audited(setup: Setup, rows: list[Row]) -> Shown:
    """The core alone; the auditor rebuilds everything from its events."""
    seen: Counter[str] = Counter()
    count, depth = 0, 0
    markets = [market_numbers(setup.profile, market) for market in setup.profile.markets]
    audit = Audit(markets, fund_is_limited=setup.profile.losses.limits_fund)
    try:
        exchange = setup.core(check_index=False)
        for part in batches(rows, AUDIT_BATCH):
            events = exchange.submit(np.array(part, dtype=COMMAND))
            audit.update(events)
            seen.update(coverage(events))
            depth = max(depth, cascade_depth(events))
            count += len(events)
        result = audit.finish(exchange.rows())
    except Exception as error:
        return Shown(f"seed {setup.seed}: {type(error).__name__}: {error}", count, seen, depth)
    broken = [f"{check.id}: {check.difference}" for check in result.checks if not check.ok]
    return Shown(f"seed {setup.seed}: {'; '.join(broken)}" if broken else "", count, seen, depth)


def _failure(
    setup: Setup, rows: list[Row], wrong: str, check: Callable, keep: Path | None
) -> Failure:
    short = shrink(rows, lambda part: bool(check(setup, part).wrong))
    reason = check(setup, short).wrong or wrong
    path = keep / f"seed-{setup.seed}.txt" if keep else None
    if path:
        write_kept(path, setup, reason, short)
    return Failure(
        seed=setup.seed,
        reason=reason,
        commands_count=len(rows),
        rows=short,
        kept=str(path) if path else "",
    )


class Part(msgspec.Struct, kw_only=True):
    """What some seeds in a row did."""

    seed: int  # the last one
    seeds: int = 0
    commands: int = 0
    events: int = 0
    reached: Coverage
    failure: Failure | None = None

    def add(self, other: "Part") -> None:
        """The seeds that came after these."""
        self.seed = other.seed
        self.seeds += other.seeds
        self.commands += other.commands
        self.events += other.events
        self.reached.merge(other.reached)
        self.failure = other.failure


def _seeds(
    seed: int, count: int, commands: int, compiled_only: bool, per_seed: int, keep: Path | None
) -> Part:
    """Run `count` seeds of `per_seed` commands, at most about `commands`, until one fails."""
    check = audited if compiled_only else differential
    part = Part(seed=seed, reached=Coverage())
    while part.seeds < count and part.commands < commands and part.failure is None:
        setup = draw_setup(seed + part.seeds)
        rows = setup.commands(min(per_seed, commands - part.commands))
        shown = check(setup, rows)
        part.reached.add(setup.profile, shown.seen, shown.depth)
        part.seed, part.seeds = setup.seed, part.seeds + 1
        part.commands, part.events = part.commands + len(rows), part.events + shown.events
        if shown.wrong:
            part.failure = _failure(setup, rows, shown.wrong, check, keep)
    return part


def campaign(
    seed: int,
    commands: int,
    *,
    compiled_only: bool = False,
    per_seed: int = 0,
    keep: Path | None = None,
    say: Say = lambda seed, done: None,
    workers: int = 1,
) -> Campaign:
    """Run seeds from `seed` on until `commands` are done or one fails; keep a failure in `keep`.

    With several workers each takes SLICE seeds at a time. Their parts are added up in the order
    of the seeds, so that the same seeds count whoever was faster.
    """
    per_seed = per_seed or (PER_SEED_COMPILED if compiled_only else PER_SEED)
    total = Part(seed=seed, reached=Coverage())
    if workers == 1:
        while total.commands < commands and total.failure is None:
            first, left = seed + total.seeds, commands - total.commands
            total.add(_seeds(first, 1, left, compiled_only, per_seed, keep))
            say(total.seed, total.commands)
    else:
        _in_processes(total, commands, (compiled_only, per_seed, keep), say, workers)
    return Campaign(
        seeds=total.seeds,
        commands=total.commands,
        events=total.events,
        reached=sum(1 for count in total.reached.seen.values() if count),
        missing=total.reached.missing(),
        deepest=total.reached.deepest,
        failure=total.failure,
    )


def _in_processes(total: Part, commands: int, how: tuple, say: Say, workers: int) -> None:
    """Add slices of seeds to `total`, as many as it takes."""
    context = multiprocessing.get_context("spawn")
    waiting, seed = deque(), total.seed
    with ProcessPoolExecutor(workers, context) as pool:
        while total.commands < commands and total.failure is None:
            while len(waiting) < 2 * workers:
                waiting.append(pool.submit(_seeds, seed, SLICE, commands, *how))
                seed += SLICE
            total.add(waiting.popleft().result())
            say(total.seed, total.commands)
        pool.shutdown(wait=True, cancel_futures=True)


def again(path: Path, *, compiled_only: bool = False) -> str:
    """Run a kept tape once more: what is wrong with it now, or "" if nothing is."""
    setup, rows = read_kept(path)
    check = audited if compiled_only else differential
    return check(setup, rows).wrong
