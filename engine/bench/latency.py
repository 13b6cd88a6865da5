"""Latency of single commands under an open loop: arrivals do not wait for the exchange.

The schedule is fixed beforehand and latency counts from the scheduled time, so a command that had
to wait because an earlier one set off a cascade shows that wait. One command crosses into the core
a call; the clock is read before and after the call and never inside. Histograms are filled when
everything is over.
"""

import gc
import time
from dataclasses import dataclass, field

import numpy as np

from engine.bench.histogram import PERCENTILES, Histogram, log_text
from engine.bench.results import (
    BenchFault,
    BenchRequestError,
    Latency,
    Probe,
    Spread,
    this_machine,
)
from engine.bench.schedule import arrivals
from engine.constants import CommandKind, EventKind
from engine.core import step
from engine.core.state import H
from engine.core.tables import events_per_unit_max
from engine.digest import EventDigest
from engine.exchange import Exchange
from engine.rows import COMMAND, EVENT
from engine.scenario import (
    LoadedScenario,
    depth_curves,
    engine_capacities,
    market_commands,
    setup_commands,
)

BURSTS = (("0", 0), ("1-9", 1), ("10-99", 10), ("100-999", 100), ("1000+", 1_000))
EVENT_ROOM = 1 << 16  # rows of events kept before they are handed out
LEAD_NS = 2_000_000  # between the decision to start and the first arrival
SEARCH_STEPS, SEARCH_RATIO = 24, 1.05


@dataclass
class Timed:
    """One run: nanoseconds of each command that was applied, and the events it gave."""

    due: np.ndarray
    begun: np.ndarray
    ended: np.ndarray
    events: list[np.ndarray] = field(default_factory=list)
    aborted: bool = False

    @property
    def latency(self) -> np.ndarray:
        """From the scheduled arrival to the end."""
        return self.ended - self.due

    @property
    def service(self) -> np.ndarray:
        """From the begin of the call to the end."""
        return self.ended - self.begun

    @property
    def p99(self) -> int:
        """The 99th percentile of latency."""
        return Histogram(self.latency).percentile(99)


class Driver:
    """An exchange at the start of a scenario's history, and that history; runs it repeatedly."""

    def __init__(self, loaded: LoadedScenario, limit: int = 0) -> None:
        self.exchange = Exchange(
            loaded.profile,
            capacities=engine_capacities(loaded),
            curves=depth_curves(loaded),
            feedback_ppm=loaded.scenario.feedback_ppm,
        )
        for block in setup_commands(loaded):
            for _ in self.exchange.stream(block):
                pass
        self.commands = _history(loaded, limit)
        block = self.exchange.block
        self.first_seq = int(block.words[H.SEQ]) + 1
        self._start = block.memory.copy()
        self.digest = self._digest(self.exchange.stream(self.commands))
        self._room = events_per_unit_max(block.rows)
        self._events = np.empty(self._room + EVENT_ROOM, dtype=EVENT)

    @staticmethod
    def _digest(parts) -> str:
        digest = EventDigest()
        for events in parts:
            digest.update(events)
        return digest.hexdigest()

    def _rewind(self) -> None:
        """The state before history, with events going to our own buffer."""
        block = self.exchange.block
        block.memory[:] = self._start
        block.words[H.EVENTS_AT] = self._events.ctypes.data
        block.words[H.EVENTS_ROWS] = len(self._events)
        block.words[H.EVENTS_COUNT] = 0

    def run(self, due_ns: np.ndarray, bound_ns: int = 0) -> Timed:
        """Apply each command when it is due; with a bound, give up once p99 must exceed it.

        Raises BenchFault where the events differ from those of the same commands in one batch.
        """
        self._rewind()
        words, apply, clock = self.exchange.block.words, step.run, time.perf_counter_ns
        address, room, size = self.exchange.block.address, self._room, COMMAND.itemsize
        at, kept, events = self.commands.ctypes.data, [], self._events
        schedule, count = due_ns.tolist(), len(due_ns)
        begun, ended = [0] * count, [0] * count
        bound, late_left = bound_ns or 1 << 62, count // 100 if bound_ns else count
        applied = count
        collecting = gc.isenabled()
        gc.disable()
        start = clock() + LEAD_NS
        for index in range(count):
            due = start + schedule[index]
            now = clock()
            while now < due:
                now = clock()
            begun[index] = now
            while not apply(address, at, 1, 0, room):
                kept.append(events[: words[H.EVENTS_COUNT]].copy())
                words[H.EVENTS_COUNT] = 0
            now = clock()
            ended[index] = now
            at += size
            if now - due > bound:
                late_left -= 1
                if late_left < 0:
                    applied = index + 1
                    break
        if collecting:
            gc.enable()
        kept.append(events[: words[H.EVENTS_COUNT]].copy())
        first = (start + due_ns[:applied], np.array(begun[:applied]), np.array(ended[:applied]))
        timed = Timed(*first, events=kept, aborted=applied < count)
        if not timed.aborted and self._digest(kept) != self.digest:
            raise BenchFault("one command a call gave other events than one batch of them")
        return timed

    def call_ns(self, rounds: int = 20_000) -> float:
        """Mean cost of a call into the core that has nothing to do."""
        address, at = self.exchange.block.address, self.commands.ctypes.data
        apply, room = step.run, self._room
        began = time.perf_counter_ns()
        for _ in range(rounds):
            apply(address, at, 0, 0, room)
        return (time.perf_counter_ns() - began) / rounds


def _history(loaded: LoadedScenario, limit: int) -> np.ndarray:
    """The commands of history, or the first `limit` of them."""
    blocks, rows = [np.zeros(0, COMMAND)], 0
    for block in market_commands(loaded):
        blocks.append(block)
        rows += len(block)
        if limit and rows >= limit:
            break
    commands = np.ascontiguousarray(np.concatenate(blocks)[: limit or rows])
    if not len(commands):
        raise BenchRequestError(f"{loaded.file}: the scenario has no commands to time")
    return commands


def clock_ns(rounds: int = 100_000) -> float:
    """Mean cost of reading the clock once."""
    clock = time.perf_counter_ns
    began = clock()
    for _ in range(rounds):
        clock()
    return (clock() - began) / rounds


def liquidations(timed: Timed, first_seq: int) -> np.ndarray:
    """How many liquidations each command set off."""
    found = np.zeros(len(timed.due), dtype=np.int64)
    for events in timed.events:
        started = events["seq"][events["kind"] == EventKind.LIQUIDATION_STARTED]
        np.add.at(found, started - first_seq, 1)
    return found


def split_by_burst(values: np.ndarray, sizes: np.ndarray) -> dict[str, Histogram]:
    """Histograms of `values` by the size of the liquidation burst, the empty ones included."""
    bucket = np.searchsorted([least for _, least in BURSTS], sizes, side="right") - 1
    return {name: Histogram(values[bucket == place]) for place, (name, _) in enumerate(BURSTS)}


def spread(name: str, histogram: Histogram) -> Spread:
    """A histogram in figures."""
    found = {f"p{p:g}" if p < 100 else "max": histogram.percentile(p) for p in PERCENTILES}
    return Spread(name=name, count=histogram.total, percentiles=found, curve=histogram.curve())


def find_rate(driver: Driver, kind: str, first: float, seed: int, bound_ns: int) -> list[Probe]:
    """Rates tried, by doubling or halving and then bisection, until the highest that holds and
    the lowest that breaks p99 are within SEARCH_RATIO of each other."""
    probes: list[Probe] = []
    holds, breaks, rate = 0.0, 0.0, first
    while len(probes) < SEARCH_STEPS and not (holds and breaks and breaks / holds < SEARCH_RATIO):
        timed = driver.run(arrivals(kind, driver.commands["time_ns"], rate, seed), bound_ns)
        p99 = timed.p99
        ok = not timed.aborted and p99 <= bound_ns
        probes.append(Probe(rate=rate, p99=p99, holds=ok, aborted=timed.aborted))
        if ok:
            holds = rate
        else:
            breaks = rate
        middle = (holds * breaks) ** 0.5
        rate = middle or (rate * 2 if ok else rate / 2)
        if not 1 <= rate < 1e9:
            break
    return probes


def measure(
    loaded: LoadedScenario,
    kind: str,
    rate: float,
    *,
    limit: int = 0,
    bound_ns: int = 0,
) -> tuple[Latency, str]:
    """Measure a scenario at a rate; returns the figures and the histograms as a log.

    With `bound_ns` the rate at which p99 breaks that bound is searched for afterwards.
    """
    seed = loaded.scenario.seed
    driver = Driver(loaded, limit)
    due = arrivals(kind, driver.commands["time_ns"], rate, seed)
    machine, began_s = this_machine(), time.time()
    driver.run(due[: min(len(due), 200)] * 0, 1)  # the loop itself once, so that it is warm
    timed = driver.run(due)
    seconds = (int(timed.ended[-1]) - int(timed.due[0])) / 1e9
    sizes, kinds = liquidations(timed, driver.first_seq), driver.commands["kind"]
    by_kind = {
        CommandKind(each).name: Histogram(timed.latency[kinds == each])
        for each in np.unique(kinds).tolist()
    }
    by_burst = split_by_burst(timed.latency, sizes)
    service = split_by_burst(timed.service, sizes)
    logs = {"total": Histogram(timed.latency), "service": Histogram(timed.service)}
    logs |= {f"kind-{name}": each for name, each in by_kind.items()}
    logs |= {f"burst-{name}": each for name, each in by_burst.items()}
    probes = find_rate(driver, kind, rate, seed, bound_ns) if bound_ns else []
    found = Latency(
        machine=machine,
        scenario=loaded.scenario.name,
        arrivals=kind,
        rate=rate,
        reached_rate=len(due) / max(seconds, 1e-9),
        commands=len(due),
        events=sum(len(events) for events in timed.events),
        event_digest=driver.digest,
        clock_ns=clock_ns(),
        call_ns=driver.call_ns(),
        total=spread("total", logs["total"]),
        service=spread("service", logs["service"]),
        by_kind=[spread(name, each) for name, each in by_kind.items()],
        by_burst=[spread(name, each) for name, each in by_burst.items()],
        service_by_burst=[spread(name, each) for name, each in service.items()],
        bound_ns=bound_ns,
        rate_found=max((probe.rate for probe in probes if probe.holds), default=0.0),
        probes=probes,
    )
    return found, log_text(logs, began_s, seconds)
