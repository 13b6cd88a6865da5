"""`crashtape search`: the point of a study that serves an aim best and keeps its requirements.

Optuna proposes points, a few at a time and always as many whatever the number of workers; each is
run under every seed of the study, and what became of it is told in the order of the asking. So the
same study proposes the same points on one worker and on many. Every run is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from engine import constants as c
from engine.replay import warm_up
from engine.study.conditions import Condition
from engine.study.plan import (
    LoadedStudy,
    Search,
    Value,
    Vary,
    as_cell,
    check_values,
    load_study,
    request,
    seeds_of,
)
from engine.study.row import as_table
from engine.study.workers import StudyError, Workers

AT_ONCE = 8  # points proposed before the first of them is told; part of what a seed means
AS_IS = -1  # the number of the scenario as it is, which no trial is
Point = tuple[Value, ...]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Searched:
    """What was tried: a row a trial, a row a run, the best of them, and the best on other seeds."""

    study: LoadedStudy
    search: Search
    trials: pl.DataFrame
    runs: pl.DataFrame
    judged: list[dict[str, Any]]
    best: dict[str, Any]
    as_is: dict[str, Any]
    checked: dict[str, Any] | None


@dataclass
class _Bench:
    """Makes the runs of points, each point once, and judges them."""

    study: LoadedStudy
    search: Search
    pool: Workers
    conditions: list[Condition]
    rows: list[dict[str, Any]] = field(default_factory=list)
    known: dict[Any, dict[str, Any]] = field(default_factory=dict)  # by point and seed

    def run(self, points: Sequence[Point | None], seeds: Sequence[int]) -> None:
        """Make the runs of these points that are not made yet; None is the scenario as it is."""
        fields = [vary.field for vary in self.study.study.vary]
        distinct = {_key(point): point for point in points}
        wanted = [(k, s) for k in distinct for s in seeds if (k, s) not in self.known]
        asked = [
            request(
                self.study,
                len(self.rows) + place,
                dict(zip(fields, distinct[key] or (), strict=distinct[key] is not None)),
                seed,
            )
            for place, (key, seed) in enumerate(wanted)
        ]
        results = sorted(self.pool.results(asked), key=lambda result: result.row["run"])
        for key, result in zip(wanted, results, strict=True):
            row = result.row
            if row["error"]:
                raise StudyError(f"run of seed {row['seed']}: {row['error']}")
            self.known[key] = row
            self.rows.append(row)

    def judge(self, point: Point | None, seeds: Sequence[int]) -> dict[str, Any]:
        """The aim's value at a point, and how often each requirement held there."""
        rows = [self.known[_key(point), seed] for seed in seeds]
        values = []
        for row in rows:
            value = row.get(self.search.column)
            if type(value) is not int:
                raise StudyError(f"search.column: a row has no number {self.search.column!r}")
            values.append(value)
        worst = max if self.search.aim == "least" else min
        value = sum(values) / len(values) if self.search.of == "mean" else float(worst(values))
        held = [sum(map(each.of, rows)) * c.PPM // len(rows) for each in self.conditions]
        missing = [
            each.share_ppm - share for each, share in zip(self.search.require, held, strict=True)
        ]
        names = [f"held_{place}_ppm" for place in range(len(held))]
        found = {"value": value, **dict(zip(names, held, strict=True))}
        return {**found, "allowed": all(each <= 0 for each in missing), "missing": missing}


def _key(point: Point | None) -> tuple[Any, ...] | None:
    """What two equal points have in common; lists among their values have no hash."""
    return None if point is None else tuple(map(as_cell, point))


def search_for(
    study_file: Path | str, *, workers: int = 1, progress: Progress = lambda done, total: None
) -> Searched:
    """Look for the best point of the study's `vary` under its `search` table.

    Raises ScenarioError and StudyError; a run that fails ends the search.
    """
    study = load_study(study_file)
    asked = study.study.search
    if asked is None or not study.study.vary:
        raise StudyError(f"{study.file}: $.search: expected this table, and fields to vary")
    conditions = []
    for place, each in enumerate(asked.require):
        try:
            conditions.append(Condition.parse(each.condition))
        except ValueError as error:
            study.fail(f"search.require[{place}].condition", str(error))
    check_values(study)
    warm_up(study.base.profile)
    seeds = seeds_of(study)
    with Workers(workers) as pool:
        bench = _Bench(study, asked, pool, conditions)
        bench.run([None], seeds)
        as_is = {"trial": AS_IS, **bench.judge(None, seeds)}
        trials, points = _trials(bench, seeds, progress)
        best = min(trials, key=lambda trial: _rank(asked, trial))
        checked = None
        if asked.check_seeds:
            more = [seeds[-1] + 1 + step for step in range(asked.check_seeds)]
            point = points[best["trial"]]
            bench.run([point], more)
            checked = bench.judge(point, more)
    kept = [{name: v for name, v in row.items() if name != "missing"} for row in trials]
    tables = [pl.DataFrame(as_table(rows), infer_schema_length=None) for rows in (kept, bench.rows)]
    return Searched(study, asked, *tables, trials, best, as_is, checked)


def _rank(asked: Search, trial: dict[str, Any]) -> tuple[float, float, int]:
    """By what sorts first: requirements missed, then the aim, then the order of the asking."""
    missing = sum(max(0, each) for each in trial["missing"])
    value = trial["value"] if asked.aim == "least" else -trial["value"]
    return missing, value, trial["trial"]


def _trials(
    bench: _Bench, seeds: list[int], progress: Progress
) -> tuple[list[dict[str, Any]], list[Point]]:
    """Ask for points and tell what became of them until all trials are made."""
    try:
        import optuna
    except ImportError:
        raise StudyError("a search needs Optuna: pip install 'crashtape[study]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    asked, vary = bench.search, bench.study.study.vary
    sampler = optuna.samplers.TPESampler(seed=asked.seed)
    direction = "minimize" if asked.aim == "least" else "maximize"
    proposals = optuna.create_study(sampler=sampler, direction=direction)
    found: list[dict[str, Any]] = []
    tried: list[Point] = []
    while len(found) < asked.trials:
        batch = [proposals.ask() for _ in range(min(AT_ONCE, asked.trials - len(found)))]
        points = [tuple(_proposed(trial, each) for each in vary) for trial in batch]
        bench.run(points, seeds)
        for trial, point in zip(batch, points, strict=True):
            judged = bench.judge(point, seeds)
            for place, missing in enumerate(judged["missing"]):
                trial.set_constraint(f"require {place}", missing)
            proposals.tell(trial, judged["value"])
            fields = {each.field: as_cell(v) for each, v in zip(vary, point, strict=True)}
            tried.append(point)
            found.append({"trial": len(found), **fields, **judged})
        progress(len(found), asked.trials)
    return found, tried


def _proposed(trial: Any, vary: Vary) -> Value:
    """What a trial takes for a field: one of its values, or a whole number of its last decimal."""
    if vary.values:
        return vary.values[trial.suggest_categorical(vary.field, range(len(vary.values)))]
    low, high = vary.units()
    return vary.at(trial.suggest_int(vary.field, low, high, log=vary.scale == "log"))


def best_rows(
    found: Searched, written: Callable[[float], str], count: int = 5
) -> tuple[list[str], list[list[str]]]:
    """The best points, the scenario as it is, and the best on the further seeds, as a table."""
    fields = [vary.field for vary in found.study.study.vary]
    needed = [each.condition for each in found.search.require]
    ranked = sorted(found.judged, key=lambda trial: _rank(found.search, trial))
    distinct: dict[tuple[Any, ...], dict[str, Any]] = {}
    for trial in ranked:
        distinct.setdefault(tuple(trial[name] for name in fields), trial)

    def line(name: str, row: dict[str, Any], values: list[str]) -> list[str]:
        held = [f"{row[f'held_{place}_ppm'] / 10_000:g} %" for place in range(len(needed))]
        return [name, *values, written(row["value"]), *held]

    rows = [
        line(f"Trial {row['trial']}", row, [f"{row[name]}" for name in fields])
        for row in list(distinct.values())[:count]
    ]
    if found.checked is not None:
        label = f"Trial {found.best['trial']}, {found.search.check_seeds} other seeds"
        rows.insert(1, line(label, found.checked, [f"{found.best[name]}" for name in fields]))
    rows.append(line("As it is", found.as_is, [""] * len(fields)))
    return ["Point", *fields, "Value", *needed], rows
