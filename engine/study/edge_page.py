"""The page of `crashtape reverse`: the frontier over two fields, or the fund-size curve."""

from collections.abc import Sequence
from pathlib import Path

from engine import constants as c
from engine.report.document import chart, document, table, text
from engine.report.plot import Figure
from engine.study import figures
from engine.study.dataset import write_frames
from engine.study.edges import Reversed, curve_rows, frontier_rows
from engine.study.figures import Curve, Panel, Row
from engine.study.labels import foot, head
from engine.study.plan import Vary, as_cell

EDGES, RUNS, PAGE = "edges.parquet", "runs.parquet", "reverse.html"


def edge_page(found: Reversed) -> str:
    """The page of a search as text."""
    study, edge = found.study, found.edge
    title = study.study.title
    kicker = f"{found.runs.height:,} runs, {study.study.seeds} seeds"
    body = head(title, kicker, f"Where {edge.condition}, over {edge.vary.field}.")
    drawn: dict[str, Figure] = {}
    if edge.across is not None:
        body += _frontier(found, edge.across, drawn)
    elif found.curve:
        body += _curve(found, drawn)
    body += ["<h2>Every edge</h2>", table(*_edge_table(found), range(1, 4))]
    lines = [("Study", study.key()), ("Scenario", study.base.scenario.hash())]
    lines += [("Venue profile", study.base.profile.hash()), ("Engine", c.ENGINE_VERSION)]
    body.append(foot([*lines, ("Seeds", f"{study.base.scenario.seed} and those after it")]))
    return document(title, "\n".join(body), drawn)


def _frontier(found: Reversed, across: Vary, drawn: dict[str, Figure]) -> list[str]:
    """The edge against the second field: the line holds the median seed, the band all of them."""
    edges = [(f"{as_cell(value)}", found.found(as_cell(value))) for value in across.values]
    kept = [(name, [_size(found, units) for units in each]) for name, each in edges if each]
    body = [
        "<h2>Frontier</h2>",
        f"<p>On one side of the line {text(found.edge.condition)} holds, on the other not. The "
        "line is the median of the seeds that have an edge, the band reaches from the least to the "
        "greatest.</p>",
    ]
    if kept:
        names = [name for name, _ in kept]
        sides = ([pick(each) for _, each in kept] for pick in (_median, min, max))
        panel = Panel(text(found.edge.condition), Curve(names, *sides))
        row = Row(found.edge.vary.field, "var(--liquidation)", [panel])
        drawn["frontier"] = figures.small_multiples([row], across.field, tall=True)
        body.append(chart("frontier", f"{found.edge.vary.field} against {across.field}"))
    heads, rows = frontier_rows(found)
    return [*body, table(heads, rows, range(1, len(heads)))]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]


def _size(found: Reversed, units: int) -> float:
    return float(found.edge.vary.at(units))


def _curve(found: Reversed, drawn: dict[str, Figure]) -> list[str]:
    """Sizes over the ratio, and below them how often each was passed."""
    is_checked = any(point.checked for point in found.curve)
    seeds = "seeds that had no part in choosing K*" if is_checked else "the seeds it was chosen by"
    body = [
        "<h2>Fund-size curve</h2>",
        "<p>A unit of fund costs r, a unit of need beyond it kappa: K* is least in total where a "
        f"need passes it with probability r / kappa. Breaches are drawn on {seeds}; their band is "
        "the 95 % of Wilson.</p>",
    ]
    points = [point for point in found.curve if point.units is not None]
    names = [f"{point.ratio_ppm / 10_000:g} %" for point in points]
    if points:
        sizes = [_size(found, point.units) for point in points if point.units is not None]
        panel = Panel("", Curve(names, sizes, sizes, sizes))
        rows = [Row(f"K*, {found.edge.vary.field}", "var(--fund)", [panel])]
        seen = [point.checked or point.breaches for point in points]
        shares = [[100 * each.count / each.of for each in seen]]
        shares += [[100 * each.low for each in seen], [100 * each.high for each in seen]]
        rows.append(Row("Breaches, %", "var(--adl)", [Panel("", Curve(names, *shares))]))
        drawn["curve"] = figures.small_multiples(rows, "r / kappa")
        body.append(chart("curve", "Size of the fund and breaches against r / kappa"))
    heads, lines = curve_rows(found)
    return [*body, table(heads, lines, range(1, len(heads)))]


def _edge_table(found: Reversed) -> tuple[list[str], list[list[str]]]:
    names = [found.edge.across.field] if found.edge.across else []
    names += ["seed", "holds_at", "not_at", "edge"]
    rows = [
        ["" if row[name] is None else f"{row[name]}" for name in names]
        for row in found.edges.iter_rows(named=True)
    ]
    return [name.replace("_", " ").capitalize() for name in names], rows


def write(found: Reversed, out: Path | str) -> Path:
    """Write edges, runs and the page into a folder; returns the page."""
    frames = {EDGES: found.edges, RUNS: found.runs}
    return write_frames(out, frames, {PAGE: edge_page(found)}) / PAGE
