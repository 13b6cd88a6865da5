"""`crashtape reverse`: how small a shock, or how small a fund, until a stated condition holds.

For each seed the field is halved towards the edge between a value at which the condition holds and
one at which it does not. Both ends of the range are tried first, so the direction needs no saying:
the condition may begin to hold as the field rises (a shock) or cease to (a fund). A condition that
comes and goes more than once inside the range has several edges, and one of them is found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.replay import warm_up
from engine.study.conditions import Condition
from engine.study.dataset import write_frames
from engine.study.plan import Edge, LoadedStudy, load_study, request, seeds_of
from engine.study.row import Request, as_table
from engine.study.workers import StudyError, Workers

EDGES, RUNS = "edges.parquet", "runs.parquet"


@dataclass
class _Search:
    """One seed: the range that still holds the edge, in units, and what is known of its ends."""

    seed: int
    low: int
    high: int
    at_low: bool | None = None
    at_high: bool | None = None
    runs: int = 0

    def wanted(self, step: int) -> int | None:
        """The next value to try; None when the search is over."""
        if self.at_low is None:
            return self.low
        if self.at_high is None:
            return self.high
        if self.at_low == self.at_high or self.high - self.low <= step:
            return None
        return (self.low + self.high) // 2

    def learn(self, value: int, holds: bool) -> None:
        """Move an end to a tried value."""
        self.runs += 1
        if self.at_low is None:
            self.at_low = holds
        elif self.at_high is None:
            self.at_high = holds
        elif holds == self.at_low:
            self.low = value
        else:
            self.high = value


@dataclass(frozen=True)
class Reversed:
    """An edge for each seed, every run that was made for it, and the summary over the seeds."""

    study: LoadedStudy
    edge: Edge
    edges: pl.DataFrame
    runs: pl.DataFrame

    def found(self) -> list[int]:
        """The edges that lie inside the range, in units, sorted."""
        return sorted(self.edges.filter(pl.col("edge") == "found")["edge_units"].to_list())


def reverse(
    study_file: Path | str,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reversed:
    """Search the edge of the study's condition for each of its seeds.

    `found` edges are given as the value where the condition holds and the one next to it where it
    does not. Raises ScenarioError and StudyError.
    """
    study = load_study(study_file)
    edge = study.study.reverse
    if edge is None:
        raise StudyError(f"{study.file}: $.reverse: expected this table, got nothing")
    try:
        condition = Condition.parse(edge.condition)
    except ValueError as error:
        study.fail("reverse.condition", str(error))
    low, high = edge.vary.units()
    searches = [_Search(seed, low, high) for seed in seeds_of(study)]
    rows: list[dict[str, Any]] = []
    warm_up(study.base.profile)
    with Workers(workers) as pool:
        while asked := _requests(study, edge, searches, len(rows)):
            results = list(pool.results([each for each, _, _ in asked]))
            results.sort(key=lambda result: result.row["run"])
            for (_, search, value), result in zip(asked, results, strict=True):
                holds = condition.of(result.row)
                search.learn(value, holds)
                rows.append({**result.row, "holds": holds})
            progress(sum(s.wanted(edge.step()) is None for s in searches), len(searches))
    edges = [_edge(edge, search) for search in searches]
    tables = [pl.DataFrame(as_table(each), infer_schema_length=None) for each in (edges, rows)]
    return Reversed(study, edge, *tables)


def _requests(
    study: LoadedStudy, edge: Edge, searches: list[_Search], start: int
) -> list[tuple[Request, _Search, int]]:
    """The next run of every seed whose search is not over."""
    asked = []
    for search in searches:
        value = search.wanted(edge.step())
        if value is not None:
            named = {edge.vary.field: edge.vary.at(value)}
            number = start + len(asked)
            asked.append((request(study, number, named, search.seed), search, value))
    return asked


def _edge(edge: Edge, search: _Search) -> dict[str, Any]:
    """The outcome of one seed."""
    row: dict[str, Any] = {"seed": search.seed, "field": edge.vary.field, "runs": search.runs}
    if search.at_low == search.at_high:
        outcome = "holds everywhere" if search.at_low else "holds nowhere"
        return {**row, "edge": outcome, "edge_units": None, "holds_at": None, "not_at": None}
    holds, fails = (search.high, search.low) if search.at_high else (search.low, search.high)
    texts = [f"{edge.vary.at(units)}" for units in (holds, fails)]
    units = search.high  # the least value past the edge, whichever side the condition is on
    return {**row, "edge": "found", "edge_units": units, "holds_at": texts[0], "not_at": texts[1]}


def summary_rows(found: Reversed) -> list[tuple[str, str, str]]:
    """The edges over the seeds in three columns: what, how much, how to read it."""
    edges, vary = found.found(), found.edge.vary
    seeds = found.edges.height
    rows = [("Edge found", f"{len(edges)} of {seeds}", "seeds; the others say what they do")]
    if edges:
        middle = edges[(len(edges) - 1) // 2]
        rows += [
            ("Least", f"{vary.at(edges[0])}", f"known to {found.edge.within}"),
            ("Median", f"{vary.at(middle)}", "of the seeds with an edge, the lower of two"),
            ("Greatest", f"{vary.at(edges[-1])}", ""),
        ]
    return rows


def write(found: Reversed, out: Path | str) -> None:
    """Write edges and runs as Parquet into a folder."""
    write_frames(out, {EDGES: found.edges, RUNS: found.runs}, {})
