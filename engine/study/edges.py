"""`crashtape reverse`: how small a shock, or how small a fund, until a stated condition holds.

For each seed the field is halved towards the edge between a value at which the condition holds and
one at which it does not. Both ends of the range are tried first, so the direction needs no saying:
the condition may begin to hold as the field rises (a shock) or cease to (a fund). A condition that
comes and goes more than once inside the range has several edges, and one of them is found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.replay import warm_up
from engine.study.changes import override
from engine.study.conditions import Condition
from engine.study.curve import CurvePoint, percent_band, share, sizes
from engine.study.plan import (
    Edge,
    LoadedStudy,
    SizeCurve,
    Value,
    as_cell,
    check_change,
    load_study,
    request,
    seeds_of,
)
from engine.study.row import Request, as_table
from engine.study.workers import StudyError, Workers


@dataclass
class _Search:
    """One seed: the range that still holds the edge, in units, and what is known of its ends."""

    seed: int
    low: int
    high: int
    at_low: bool | None = None
    at_high: bool | None = None
    runs: int = 0
    across: Value | None = None

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
    curve: list[CurvePoint]

    def found(self, across: Any = None) -> list[int]:
        """The edges that lie inside the range, in units, sorted; of one value across, or of all."""
        edges = self.edges.filter(pl.col("edge") == "found")
        if across is not None and self.edge.across is not None:
            edges = edges.filter(pl.col(self.edge.across.field) == across)
        return sorted(edges["edge_units"].to_list())


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
    searches = [
        _Search(seed, low, high, across=value)
        for value in (edge.across.values if edge.across else [None])
        for seed in seeds_of(study)
    ]
    rows: list[dict[str, Any]] = []
    for value in edge.across.values if edge.across else ():
        check_change(study, override(edge.across.field, value), "reverse.across")
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
        curve = _curve(study, edge.curve, searches) if edge.curve else []
        more = _check_requests(study, edge, curve, len(rows))
        made = sorted(pool.results(list(more)), key=lambda result: result.row["run"])
        rows += [{**result.row, "holds": condition.of(result.row)} for result in made]
        curve = _checked(edge, curve, rows[len(rows) - len(made) :])
    edges = [_edge(edge, search) for search in searches]
    tables = [pl.DataFrame(as_table(each), infer_schema_length=None) for each in (edges, rows)]
    return Reversed(study, edge, *tables, curve)


def _curve(study: LoadedStudy, asked: SizeCurve, searches: list[_Search]) -> list[CurvePoint]:
    """The sizes that the edges of the seeds ask for."""
    if any(search.at_high and not search.at_low for search in searches):
        study.fail("reverse.curve", "expected a condition that ceases as the field rises")
    low = min(search.low for search in searches)
    needs = [
        None if search.at_high else search.high if search.at_low else low for search in searches
    ]
    return sizes(needs, asked.ratios_ppm)


def _check_requests(
    study: LoadedStudy, edge: Edge, curve: list[CurvePoint], start: int
) -> Iterator[Request]:
    """The runs of every size on the seeds after those of the study."""
    first = seeds_of(study)[-1] + 1
    count = edge.curve.check_seeds if edge.curve else 0
    for units in dict.fromkeys(point.units for point in curve if point.units is not None):
        for seed in range(first, first + count):
            yield request(study, start, {edge.vary.field: edge.vary.at(units)}, seed)
            start += 1


def _checked(edge: Edge, curve: list[CurvePoint], rows: list[dict[str, Any]]) -> list[CurvePoint]:
    """The curve with how often the condition held on further seeds."""
    found = []
    for point in curve:
        value = None if point.units is None else edge.vary.at(point.units)
        held = [row["holds"] for row in rows if row[edge.vary.field] == value]
        checked = share(sum(held), len(held)) if held else None
        found.append(msgspec.structs.replace(point, checked=checked))
    return found


def _requests(
    study: LoadedStudy, edge: Edge, searches: list[_Search], start: int
) -> list[tuple[Request, _Search, int]]:
    """The next run of every seed whose search is not over."""
    asked = []
    for search in searches:
        value = search.wanted(edge.step())
        if value is not None:
            named = {edge.across.field: search.across} if edge.across else {}
            named[edge.vary.field] = edge.vary.at(value)
            number = start + len(asked)
            asked.append((request(study, number, named, search.seed), search, value))
    return asked


def _edge(edge: Edge, search: _Search) -> dict[str, Any]:
    """The outcome of one seed."""
    row: dict[str, Any] = {edge.across.field: as_cell(search.across)} if edge.across else {}
    row |= {"seed": search.seed, "field": edge.vary.field, "runs": search.runs}
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


def frontier_rows(found: Reversed) -> tuple[list[str], list[list[str]]]:
    """For each value of the second field where the edge lies, over the seeds."""
    across, vary = found.edge.across, found.edge.vary
    assert across is not None, "asked of a search with a second field"
    heads = [across.field, "Edge found", "Least", "Median", "Greatest", "Holds", "Never"]
    rows = []
    for value in map(as_cell, across.values):
        mine = found.edges.filter(pl.col(across.field) == value)
        edges = found.found(value)
        ends = [edges[0], edges[(len(edges) - 1) // 2], edges[-1]] if edges else []
        texts = [f"{vary.at(units)}" for units in ends] or [""] * 3
        outcomes = mine["edge"].to_list()
        others = [f"{outcomes.count(f'holds {where}')}" for where in ("everywhere", "nowhere")]
        rows.append([f"{value}", f"{len(edges)} of {mine.height}", *texts, *others])
    return heads, rows


def curve_rows(found: Reversed) -> tuple[list[str], list[list[str]]]:
    """The sizes of the fund-size curve, and how often each is passed."""
    vary = found.edge.vary
    heads = ["r / kappa", f"K*, {vary.field}", "Breaches", "On other seeds", "95 % band"]
    rows = []
    for point in found.curve:
        size = f"above {vary.high}" if point.units is None else f"{vary.at(point.units)}"
        row = [f"{point.ratio_ppm / 10_000:g} %", size]
        row.append(f"{point.breaches.count} of {point.breaches.of}")
        seen = point.checked
        row += [f"{seen.count} of {seen.of}", percent_band(seen)] if seen else ["", ""]
        rows.append(row)
    return heads, rows
