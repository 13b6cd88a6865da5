"""`bench throughput`: groups of rows, each beside its goal, with how busy others were meanwhile."""

from collections.abc import Callable, Iterator

import msgspec

from engine.bench.adl_rows import adl_group
from engine.bench.book_rows import call_group, deep_group, flow_group
from engine.bench.cost_rows import memory_group, start_group
from engine.bench.crash_rows import crash_group, million_group
from engine.bench.goals import Others, judged, load_goals
from engine.bench.pace import PACE
from engine.bench.results import BenchRequestError, Row, Table, this_machine
from engine.bench.tape_rows import tape_group
from engine.bench.tick_rows import fill_rows, quiet_rows
from engine.bench.work import Sizes

AT_ONCE_S = 0.02

Say = Callable[[str], None]
Group = Callable[[Sizes, Say], Iterator[Row]]

GROUPS: dict[str, Group] = {
    "flows": flow_group,
    "orders": deep_group,
    "calls": call_group,
    "ticks": quiet_rows,
    "fills": fill_rows,
    "crash": crash_group,
    "million": million_group,
    "adl": adl_group,
    "tape": tape_group,
    "start": start_group,
    "memory": memory_group,
}


def chosen(only: list[str]) -> list[str]:
    """The groups asked for, in order; all where none is. Raises BenchRequestError."""
    unknown = [name for name in only if name not in GROUPS]
    if unknown:
        known = ", ".join(GROUPS)
        raise BenchRequestError(f"--only: expected one of {known}, got {unknown[0]}")
    return [name for name in GROUPS if name in only or not only]


def watched(rows: Iterator[Row]) -> Iterator[Row]:
    """The same rows, each with how many processors others used while it was made, and how long
    probes took before its rounds."""
    others, last, pace = Others(), -1.0, -1.0
    for row in rows:
        # A row that comes at once is another figure of the same rounds.
        last = others.processors() if others.seconds() > AT_ONCE_S else last
        pace = PACE.taken() if PACE.seen else pace
        yield msgspec.structs.replace(row, others=last, pace=pace)
        others = Others()


def paced(rows: list[Row]) -> list[Row]:
    """The same rows, with the pace at which each was measured as a share of the best. From now on
    nobody waits: other engines and ours in turn would not be treated alike."""
    PACE.patience_s = 0.0
    return [msgspec.structs.replace(row, pace=PACE.share(row.pace)) for row in rows]


def throughput(
    sizes: Sizes, quick: bool, only: list[str] | None = None, say: Say = lambda text: None
) -> Table:
    """The rows of the groups asked for, in the order in which they are printed."""
    machine, goals = this_machine(), load_goals()
    PACE.patience_s, PACE.seen = sizes.patience_s, []
    rows = [
        judged(msgspec.structs.replace(row, group=name), goals, quick)
        for name in chosen(only or [])
        for row in watched(GROUPS[name](sizes, say))
    ]
    groups = list(GROUPS)
    return Table(kind="throughput", quick=quick, machine=machine, rows=paced(rows), groups=groups)
