"""Rounds of a measured run: timed without the collector, compared with each other, put in a row.

A row whose result differs from the wanted one raises BenchFault before its figure exists.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from engine.bench.pace import PACE
from engine.bench.results import BenchFault, Row
from engine.core import step
from engine.core.kernel import direct
from engine.core.state import H
from engine.core.tables import events_per_unit_max
from engine.digest import EventDigest
from engine.exchange import Exchange
from engine.rows import COMMAND, EVENT

PER_SECOND = {"M/s": 1e6}  # units that grow with speed: counts a second
PER_PIECE = {"ns": 1e9, "s": 1.0}  # units that shrink with speed: time for one


def same(work: str, wanted: object, got: object) -> None:
    """Refuse to go on where a measured run did not give the wanted result."""
    if wanted != got:
        raise BenchFault(f"{work}: expected {wanted}, got {got}; no figure is given")


def row(
    key: str, work: str, seconds: list[float], count: int, size: int, result: str,
    unit: str = "M/s", note: str = "",
) -> Row:  # fmt: skip
    """A row from the seconds of each round over `count` pieces; `unit` is M/s, ns or s."""
    if unit in PER_SECOND:
        values = [count / each / PER_SECOND[unit] for each in seconds]
    else:
        values = [each / count * PER_PIECE[unit] for each in seconds]
    return Row(
        key=key,
        work=work,
        value=statistics.median(values),
        unit=unit,
        size=size,
        lowest=min(values),
        highest=max(values),
        rounds=len(values),
        result=result,
        note=note,
    )


def timed(
    work: Callable[[], Iterable[np.ndarray]],
    look: Callable[[np.ndarray], None] | None = None,
    waits: bool = True,
) -> tuple[float, list[np.ndarray]]:
    """Seconds until everything that a run yields was there, and a copy of that. With `look` nothing
    is copied: it is shown each portion where that is, so that no memory but that of the run goes
    through the caches. Neither is timed. `waits` first for the pace of the processor."""
    if waits:
        PACE.steady()
    collecting = gc.isenabled()
    gc.disable()
    try:
        spent, parts = 0.0, []
        portions = iter(work())
        while True:
            began = time.perf_counter()
            part = next(portions, None)
            spent += time.perf_counter() - began
            if part is None:
                return spent, parts
            if look is None:
                parts.append(part.copy())
            else:
                look(part)
    finally:
        if collecting:
            gc.enable()


def called(exchange: Exchange, commands: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """For each command (seconds of one call into the core, its events): the clock wraps the call,
    so that nothing of Python but the call itself is in it."""
    block, apply, clock = exchange.block, direct(step.run, 5), time.perf_counter
    room = events_per_unit_max(block.rows)
    events = np.empty(2 * room, dtype=EVENT)  # of which only what is written takes memory
    at, commands = block.address, np.ascontiguousarray(commands)
    PACE.steady()
    usual = int(block.words[H.EVENTS_AT]), int(block.words[H.EVENTS_ROWS])
    block.words[H.EVENTS_AT], block.words[H.EVENTS_ROWS] = events.ctypes.data, len(events)
    try:
        for index in range(len(commands)):
            place = commands.ctypes.data + index * COMMAND.itemsize
            block.words[H.EVENTS_COUNT] = 0
            began = clock()
            done = apply(at, place, 1, 0, room)
            spent = clock() - began
            same("events of one command", 1, done)
            yield spent, events[: block.words[H.EVENTS_COUNT]].copy()
    finally:
        block.words[H.EVENTS_AT], block.words[H.EVENTS_ROWS] = usual


def in_turn(
    work: str, exchange: Exchange, first: np.ndarray, commands: np.ndarray, count: int, rounds: int,
    ready: Callable[[], object] = lambda: None,
) -> list[float]:  # fmt: skip
    """Seconds of each round of the same commands on the memory `first` of an exchange that has
    worked them off already: each must leave its State, with `count` events on the way. `ready` is
    called before each, untimed."""
    seconds, state = [], exchange.digest()
    for _ in range(rounds):
        PACE.steady()  # before what warms the caches
        exchange.block.memory[:] = first
        portions: list[np.ndarray] = []
        ready()
        spent, _ = timed(lambda: exchange.stream(commands, in_place=True), portions.append, False)
        events = sum(len(portion) for portion in portions)
        same(f"{work}, events and State", (count, state), (events, exchange.digest()))
        seconds.append(spent)
    return seconds


def digest_of(parts: Iterable[np.ndarray]) -> str:
    """The digest of an event stream."""
    digest = EventDigest()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def counted(events: np.ndarray, kind: int, reason: int | None = None) -> int:
    """How many events are of a kind, and of a reason where one is given."""
    chosen = events["kind"] == kind
    return int((chosen if reason is None else chosen & (events["reason"] == reason)).sum())
