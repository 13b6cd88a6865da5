"""One run as one flat row: what was asked, every number of its report, its hashes, and its path.

A row holds nothing that differs between two runs of the same request: no duration, no place on a
disk. Money stays in the smallest unit of the settlement asset, as in `report.json`. A run that
fails gives a row as well, with the reason under `error`.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine import constants as c
from engine.exchange import EngineFault
from engine.messages import Report, RunSummary
from engine.replay import AuditError, ReplayError, simulate
from engine.report.liquidations import Deleveraging
from engine.scenario import LoadedScenario, load_scenario
from engine.study.changes import expand
from engine.study.watching import Wanted, WatchedAccount
from engine.tape import TapeError

PATH_POINTS = 121  # of a path: both ends and 119 between
INT64_MAX = 2**63 - 1
HASHES = ("scenario_hash", "profile_hash", "tape_hash", "event_digest", "state_digest")
COUNTS = ("start_ns", "end_ns", "setup_commands_count", "commands_count", "accounts_count")
NESTED = ("asset", "liquidation_ends", "lots", "fund_lots")
FAILURES = (ValueError, AuditError, EngineFault, TapeError, ArithmeticError, MemoryError)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One run to make: a scenario, its changes in order, and whether its path is wanted.

    `inputs` are the columns that tell this run from the others of its study.
    """

    number: int
    scenario: str
    changes: list[str] = []
    data: str | None = None
    inputs: dict[str, Any] = {}
    path: bool = False
    watched: Wanted | None = None

    @classmethod
    def of(
        cls, number: int, scenario: Path | str, changes: Sequence[str], data: Path | str | None
    ) -> "Request":
        """A request whose only inputs are its changes, refused where they cannot be followed."""
        folder = None if data is None else os.path.abspath(data)
        return cls(
            number=number, scenario=os.path.abspath(scenario), changes=list(changes), data=folder
        )


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The row of a request, and its path where that was wanted: equal lists by name."""

    row: dict[str, Any]
    path: dict[str, list[int]] = {}
    wall_ns: int = 0


class Watch:
    """Hears a run and keeps what its report does not say: winners' cuts, and paths over time."""

    def __init__(self, with_path: bool, account: WatchedAccount | None = None) -> None:
        self._with_path, self.account = with_path, account
        self._winners: dict[int, list[int]] = {}  # account id -> notional, haircut
        self.first_adl_ns: int | None = None
        self._fund: list[tuple[np.ndarray, np.ndarray]] = []
        self._liquidations: list[np.ndarray] = []
        self._adl: list[int] = []
        self._marks: list[tuple[np.ndarray, np.ndarray]] = []

    def adl(self, fills: list[Deleveraging]) -> None:
        """Add up what each winner gave away against the mark of the instant."""
        if self.account is not None:
            self.account.adl(fills)
        if fills and self.first_adl_ns is None:
            self.first_adl_ns = fills[0].time_ns
        for fill in fills:
            sums = self._winners.setdefault(fill.counterparty_id, [0, 0])
            sums[0] += fill.notional
            sums[1] += fill.haircut
            if self._with_path:
                self._adl.append(fill.time_ns)

    def fund(self, times_ns: np.ndarray, balances: np.ndarray) -> None:
        """The fund's balance after each change."""
        if self._with_path:
            self._fund.append((times_ns.copy(), balances.copy()))

    def events(self, events: np.ndarray) -> None:
        """Times of liquidations, and the marks of the first market."""
        if self.account is not None:
            self.account.events(events)
        if not self._with_path:
            return
        kind = events["kind"]
        self._liquidations.append(events["time_ns"][kind == c.EventKind.LIQUIDATION_STARTED])
        marks = events[(kind == c.EventKind.MARK_SET) & (events["market_id"] == 1)]
        self._marks.append((marks["time_ns"], marks["price"]))

    def winner_cuts(self) -> tuple[int, int]:
        """Haircut of all winners together, and of the one cut most, in ppm of their notional."""
        sums = [pair for pair in self._winners.values() if pair[0] > 0]
        notional, haircut = (sum(pair[place] for pair in sums) for place in (0, 1))
        worst = max((pair[1] * c.PPM // pair[0] for pair in sums), default=0)
        return (haircut * c.PPM // notional if notional else 0), max(worst, 0)

    def path(self, first_ns: int, last_ns: int) -> dict[str, list[int]]:
        """Fund, mark and the counts so far at evenly spaced times, both ends included."""
        times = np.array(path_times(first_ns, last_ns), np.int64)
        started = np.concatenate([np.zeros(0, np.int64), *self._liquidations])
        return {
            "time_ns": times.tolist(),
            "fund_quote": _held(times, self._fund),
            "mark_price": _held(times, self._marks),
            "liquidations": np.searchsorted(started, times, side="right").tolist(),
            "adl_fills": np.searchsorted(np.array(self._adl), times, side="right").tolist(),
        }


def path_times(first_ns: int, last_ns: int) -> list[int]:
    """The times of a path: evenly spaced, both ends included."""
    span = last_ns - first_ns
    return [first_ns + span * step // (PATH_POINTS - 1) for step in range(PATH_POINTS)]


def _held(times: np.ndarray, pieces: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    """The value in force at each time, 0 before the first."""
    when = np.concatenate([np.zeros(1, np.int64), *(piece[0] for piece in pieces)])
    value = np.concatenate([np.zeros(1, np.int64), *(piece[1] for piece in pieces)])
    return value[np.searchsorted(when, times, side="right") - 1].tolist()


def population_hash(loaded: LoadedScenario) -> str:
    """BLAKE2b-128 over every account and position at the start; empty without a population."""
    population, _ = loaded.population
    if population is None:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for field in dataclasses.fields(population):
        value = getattr(population, field.name)
        if isinstance(value, np.ndarray):
            digest.update(field.name.encode() + b"\0" + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def outputs(report: Report, watch: Watch, population: str) -> dict[str, Any]:
    """Every output of a run by column name; integers fit 64 bits."""
    summary = report.summary
    found: dict[str, Any] = {"asset": summary.asset}
    for name in RunSummary.__struct_fields__:
        if name not in NESTED:
            found[name] = getattr(summary, name)
    cut, worst = watch.winner_cuts()
    found |= {"winner_cut_ppm": cut, "winner_cut_max_ppm": worst}
    found["fund_fall_quote"] = summary.fund_start_quote - summary.fund_min_quote
    found["first_adl_ns"] = watch.first_adl_ns
    for name in ("open", *(end.name.lower() for end in c.LiquidationEnd if end)):
        found[f"ended_{name}_count"] = summary.liquidation_ends.get(name, 0)
    for market in report.markets:
        for where, lots in summary.lots.items():
            found[f"lots_{where}_{market}"] = lots[market]
        found[f"fund_lots_{market}"] = summary.fund_lots[market]
    found |= {name: getattr(report, name) for name in (*COUNTS, *HASHES)}
    if watch.account is not None:
        found |= watch.account.columns()
    found |= {"population_hash": population, "engine_version": report.engine_version}
    for name, value in found.items():
        if isinstance(value, int) and abs(value) > INT64_MAX:
            raise ArithmeticError(f"{name}: {value} does not fit a column of 64 bits")
    return found


def run_request(request: Request) -> Result:
    """Make a run; a failure becomes a row whose `error` is one line."""
    given = {"run": request.number, **request.inputs}
    try:
        changes = expand(request.scenario, request.changes, request.data)
        loaded = load_scenario(request.scenario, changes, request.data)
        account = WatchedAccount(loaded, request.watched) if request.watched else None
        watch = Watch(request.path, account)
        report = simulate(loaded, watcher=watch)
        given["seed"] = report.seed
        row = {**given, **outputs(report, watch, population_hash(loaded)), "error": ""}
    except FAILURES as error:
        return Result(row={**given, "error": " ".join(f"{error}".split()) or type(error).__name__})
    path = watch.path(report.start_ns, report.end_ns) if request.path else {}
    return Result(row=row, path=path, wall_ns=report.wall_ns)


def as_table(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns; the columns are those of all rows, in order of appearance."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


__all__ = ["FAILURES", "ReplayError", "Request", "Result", "as_table", "run_request"]
