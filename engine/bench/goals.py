"""What each row is to reach and what others reach, from `goals.toml`; how busy others were."""

import os
import time
import tomllib
from pathlib import Path

import msgspec

from engine.bench.results import Row

GROWS = ("M/s",)  # units that grow with speed


class Goal(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A goal for the rows of a key: at one size, or at any where `at` is 0."""

    key: str
    unit: str
    goal: float
    at: int = 0
    elsewhere: float | None = None
    who: str = ""


def load_goals() -> dict[str, Goal]:
    """The goals by the key of their row."""
    tree = tomllib.loads(Path(__file__).with_name("goals.toml").read_text("utf-8"))
    return {each.key: each for each in msgspec.convert(tree["goals"], list[Goal])}


def judged(row: Row, goals: dict[str, Goal], quick: bool) -> Row:
    """The row beside its goal; a quick run is not judged."""
    goal = goals.get(row.key)
    if goal is None or (goal.at and goal.at != row.size and not quick):
        return row
    assert goal.unit == row.unit, f"{row.key}: a goal in {goal.unit} for a row in {row.unit}"
    beside = msgspec.structs.replace(row, goal=goal.goal, elsewhere=goal.elsewhere, who=goal.who)
    if quick:
        return beside
    reached = row.value >= goal.goal if row.unit in GROWS else row.value <= goal.goal
    return msgspec.structs.replace(beside, reached=reached)


class Others:
    """How much processor time other processes take, from now on."""

    def __init__(self) -> None:
        self._busy, self._own, self._since = _busy_seconds(), _own_seconds(), time.monotonic()

    def seconds(self) -> float:
        """Wall seconds since then."""
        return time.monotonic() - self._since

    def processors(self) -> float:
        """Processors that others have used since, on average; -1 where the system does not say."""
        wall = self.seconds()
        if self._busy < 0 or wall <= 0:
            return -1.0
        own = _own_seconds() - self._own
        return round(max(0.0, _busy_seconds() - self._busy - own) / wall, 2)


def _own_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _busy_seconds() -> float:
    """Processor time of everybody, stolen time included; -1 where the system does not say."""
    listing = Path("/proc/stat")
    if not listing.exists():
        return -1.0
    user, nice, system, _, _, *rest = map(int, listing.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")
