"""What a benchmark gives back, the machine it ran on, and its two refusals."""

import os
import platform
import time
from pathlib import Path

import msgspec
import numba
import numpy as np

from engine.constants import ENGINE_VERSION

LOAD_MAX = 0.3  # processes that wanted a core before the start
OTHERS_MAX = 0.2  # processors that others used meanwhile
PACE_MIN = 0.8  # of the best in the run


class BenchRequestError(ValueError):
    """A benchmark is asked for something it cannot do."""


class BenchFault(RuntimeError):
    """A measured run gave another result than the checked one; no number is printed."""


class Machine(msgspec.Struct, kw_only=True):
    """Where and when figures were taken. `load` is how many processes wanted a core before."""

    processor: str
    cores: int
    load: float
    python: str
    numpy: str
    numba: str
    crashtape: str
    date: str

    @property
    def provisional(self) -> bool:
        """Whether other work was running, so that the figures only show an order of magnitude."""
        return self.load > LOAD_MAX


def this_machine() -> Machine:
    """The machine as it is now."""
    processor = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        names = [line for line in listing.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return Machine(
        processor=processor,
        cores=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        python=platform.python_version(),
        numpy=np.__version__,
        numba=numba.__version__,
        crashtape=ENGINE_VERSION,
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


class Row(msgspec.Struct, kw_only=True):
    """One measured line: `value` is the median of `rounds` rounds, in `unit`.

    M/s grows with speed; ns, s and B (bytes) shrink. `others` is how many processors' time other
    processes took meanwhile, -1 where the system does not say; `pace` how fast the processor was
    then, as a share of its best in this run. `reached` is None where there is no
    goal for this size, and in a quick run.
    """

    key: str
    work: str
    value: float
    unit: str
    size: int  # accounts, orders or messages the row is about
    lowest: float
    highest: float
    rounds: int
    result: str  # checksum or digest that every round gave, and that was checked
    note: str = ""
    group: str = ""  # what `--only` names
    others: float = -1.0
    pace: float = -1.0
    goal: float | None = None
    elsewhere: float | None = None
    who: str = ""  # whose figure `elsewhere` is
    reached: bool | None = None


class Peer(msgspec.Struct, kw_only=True):
    """One other engine on one work, and ours in the rounds between.

    `ratio` is the median of how many times as fast ours was, round by round. With a `reason` there
    is no figure.
    """

    name: str
    version: str = ""
    flow: str
    how: str = ""  # how messages reach it, and ours
    unit: str = "M/s"
    value: float = 0.0
    ours: float = 0.0
    ratio: float = 0.0
    ratios: list[float] = []
    reason: str = ""


class Table(msgspec.Struct, kw_only=True):
    """The rows of `bench throughput` or `bench scaling`."""

    kind: str
    quick: bool
    machine: Machine
    rows: list[Row]
    groups: list[str] = []  # every group there is, in order, whether it was measured or not
    peers: list[Peer] = []

    @property
    def provisional(self) -> bool:
        """Whether other work was running before or meanwhile."""
        disturbed = (row.others > OTHERS_MAX or 0 <= row.pace < PACE_MIN for row in self.rows)
        return self.machine.provisional or any(disturbed)


class Spread(msgspec.Struct, kw_only=True):
    """One histogram in figures; nanoseconds. `curve` is (percent, nanoseconds)."""

    name: str
    count: int
    percentiles: dict[str, int]
    curve: list[tuple[float, int]]


class Probe(msgspec.Struct, kw_only=True):
    """One rate that the search tried."""

    rate: float
    p99: int
    holds: bool
    aborted: bool  # given up as soon as p99 could not hold any more; p99 is of what ran


class Latency(msgspec.Struct, kw_only=True):
    """What `bench latency` measured. Latency counts from the scheduled arrival, service from the
    begin of the call."""

    kind: str = "latency"
    machine: Machine
    scenario: str
    arrivals: str
    rate: float
    reached_rate: float
    commands: int
    events: int
    event_digest: str
    clock_ns: float
    call_ns: float
    total: Spread
    service: Spread
    by_kind: list[Spread]
    by_burst: list[Spread]
    service_by_burst: list[Spread]
    bound_ns: int = 0
    rate_found: float = 0.0
    probes: list[Probe] = []
