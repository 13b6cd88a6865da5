"""The page of a comparison and of a sweep: one file that opens offline, numbers beside pictures.

Money is drawn in units of the settlement asset; every table says the same numbers, and the Parquet
files beside the page hold them in the smallest unit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine import constants as c
from engine.report.document import Packed, chart, details, document, table, text
from engine.report.plot import Figure
from engine.study import figures
from engine.study.comparison import (
    MEASURES,
    Comparison,
    band,
    differences,
    same_start,
    values_of,
    watched_table,
)
from engine.study.dataset import write_frames
from engine.study.figures import Curve, Panel, Row
from engine.study.indices import sensitivities, sensitivity_rows
from engine.study.labels import foot, head, number, numeric, shown, title_of, unit_of, words_of
from engine.study.over_time_page import OverTime, over_time_sections
from engine.study.plan import LoadedStudy

PATHS = (
    ("Liquidations so far", "liquidations", "var(--liquidation)"),
    ("ADL fills so far", "adl_fills", "var(--adl)"),
)
SHOWN = ("notional_adl_quote", "winner_cut_ppm", "bad_debt_quote", "fund_end_quote")
COLOURS = ("var(--adl)", "var(--liquidation)", "var(--fund)", "var(--mark)", "var(--debt)")
COLUMNS_MAX = 5  # of small pictures beside each other
ROWS_FILE, PATHS_FILE, PAGE_FILE = "runs.parquet", "paths.parquet", "compare.html"
ROWS_MAX = 500  # of a table on the page; all are in the Parquet files


# -- compare ----------------------------------------------------------------------------------


def _measure_rows(comparison: Comparison, column: str) -> list[tuple[str, ...]]:
    """For each variant: mean, band, and difference from the first with its band."""
    scale = unit_of(column, comparison.base.profile.settlement.decimals)
    rows = []
    for place, variant in enumerate(comparison.variants):
        values = list(values_of(comparison, variant.name, column).values())
        if not values:
            rows.append((variant.name, "failed", "", "", ""))
            continue
        mean = band(values)
        less = differences(comparison, variant.name, column)
        gap = band(less) if place and less else None
        spread = _between(mean, scale) if len(values) > 1 else ""
        rows.append(
            (
                variant.name,
                number(mean.mean / scale),
                spread,
                number(gap.mean / scale, signed=True) if gap else "",
                _between(gap, scale, signed=True) if gap and len(less) > 1 else "",
            )
        )
    return rows


def _between(found: Any, scale: int, signed: bool = False) -> str:
    return f"{number(found.low / scale, signed)} to {number(found.high / scale, signed)}"


def overview(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The table of a comparison: a row a measure, a column a variant; means over the seeds."""
    decimals, asset = (
        comparison.base.profile.settlement.decimals,
        comparison.base.profile.settlement.asset,
    )
    heads = ["Mean over the seeds", *(variant.name for variant in comparison.variants)]
    rows = []
    for _, column in MEASURES:
        scale = unit_of(column, decimals)
        cells = []
        for variant in comparison.variants:
            values = list(values_of(comparison, variant.name, column).values())
            cells.append(number(sum(values) / len(values) / scale) if values else "failed")
        rows.append([title_of(column, asset), *cells])
    return heads, rows


def _path_rows(comparison: Comparison) -> list[Row]:
    """Liquidations and ADL over time: mean over the seeds and their least and greatest."""
    rows = []
    for label, column, colour in PATHS:
        panels = []
        for variant in comparison.variants[:COLUMNS_MAX]:
            frame = (
                comparison.paths.filter(pl.col("variant") == variant.name)
                .group_by("time_ns")
                .agg(
                    mean=pl.col(column).mean(), low=pl.col(column).min(), high=pl.col(column).max()
                )
                .sort("time_ns")
            )
            times = (frame["time_ns"] / 1e6).to_list()
            sides = (frame[side].to_list() for side in ("mean", "low", "high"))
            panels.append(Panel(variant.name, Curve(times, *sides)))
        rows.append(Row(label, colour, panels))
    return rows


def compare_page(comparison: Comparison) -> str:
    """The page of a comparison as text."""
    base, drawn, packed = comparison.base, {}, Packed()
    asset, decimals = base.profile.settlement.asset, base.profile.settlement.decimals
    seeds = comparison.rows["seed"].n_unique()
    span = f"{base.scenario.seed} to {base.scenario.seed + seeds - 1}"
    body = head(
        base.scenario.title,
        f"{len(comparison.variants)} variants, {seeds} seeds ({span}), venue {base.profile.name}",
        same_start(comparison),
    )
    heads, rows = overview(comparison)
    body.append(table(heads, rows, range(1, len(heads))))
    body += [f'<p class="note">{text(comparison.note)}</p>'] if comparison.note else []
    body += _watched_section(comparison, decimals, asset)
    body += [f'<p class="note">Failed: {text(line)}</p>' for line in comparison.failed]
    if comparison.paths.height:
        drawn["paths"] = figures.small_multiples(
            _path_rows(comparison), "Time, UTC", dates=True, steps=True
        )
        body += [
            "<h2>Liquidations and deleveraging</h2>",
            "<p>A column a variant, all pictures of a row on one axis. The line is the mean over "
            "the seeds, the band reaches from the least to the greatest.</p>",
            chart("paths", "Liquidations and ADL over time, for each variant"),
        ]
        if len(comparison.variants) > COLUMNS_MAX:
            body.append(
                f'<p class="note">The first {COLUMNS_MAX} variants are drawn; all are below.</p>'
            )
        body += over_time_sections(_compare_runs(comparison, decimals, asset), drawn, packed)
    if len(comparison.variants) > 1:
        body += _difference_section(comparison, asset, decimals, drawn)
    body.append(foot(_compare_hashes(comparison)))
    return document(base.scenario.title, "\n".join(body), drawn, packed.data)


def _compare_runs(comparison: Comparison, decimals: int, asset: str) -> OverTime:
    names = [variant.name for variant in comparison.variants[:COLUMNS_MAX]]
    frames = comparison.rows, comparison.paths
    return OverTime(*frames, "variant", names, None, [None], 10**decimals, asset)


def _watched_section(comparison: Comparison, decimals: int, asset: str) -> list[str]:
    heads, rows = watched_table(comparison, lambda value: number(value / 10**decimals))
    if not rows:
        return []
    return [
        "<h2>The watched account</h2>",
        f"<p>Money in {text(asset)}. Re-hedge: to trade the lost lots back at the mark of then, "
        "with the taker's fee; no spread.</p>",
        table(heads, rows, range(1, len(heads))),
    ]


def _difference_section(
    comparison: Comparison, asset: str, decimals: int, drawn: dict[str, Figure]
) -> list[str]:
    first = comparison.variants[0].name
    body = [
        "<h2>Differences</h2>",
        f"<p>Each variant less <b>{text(first)}</b>, seed by seed. The line holds the mean "
        "difference in 95 of 100 resamplings of the seeds; with one seed there is no line.</p>",
    ]
    heads = ("Variant", "Mean", "95 % band", "Difference", "95 % band")
    for place, (label, column) in enumerate(MEASURES):
        others = comparison.variants[1:]
        found = [(each.name, differences(comparison, each.name, column)) for each in others]
        found = [(name, band(values)) for name, values in found if values]
        title = title_of(column, asset)
        numbers = table(heads, _measure_rows(comparison, column), range(1, 5))
        if any(each.low or each.high for _, each in found):
            scale = unit_of(column, decimals)
            name = f"difference-{place}"
            drawn[name] = figures.intervals(
                f"{title}, less {first}",
                [name for name, _ in found],
                [(b.mean / scale, b.low / scale, b.high / scale) for _, b in found],
            )
            body += [f"<h3>{text(title)}</h3>", chart(name, f"{label}: differences")]
            body.append(details(f"Numbers: {label.lower()}", numbers))
        else:
            body += [f'<p class="note">{text(title)}: no difference.</p>']
    return body


def _compare_hashes(comparison: Comparison) -> list[tuple[str, str]]:
    base = comparison.base
    lines = [
        ("Scenario", base.scenario.hash()),
        ("Venue profile", base.profile.hash()),
        ("Engine", c.ENGINE_VERSION),
    ]
    rows = comparison.rows.filter(pl.col("error") == "")
    if not rows.is_empty():
        for name in ("tape_hash", "state_digest"):
            first = rows.filter(pl.col("variant") == rows["variant"][0])
            lines.append((f"{words_of(name)}, {rows['variant'][0]}", first[name][0]))
    return lines


def write_comparison(comparison: Comparison, out: Path | str) -> Path:
    """Write rows, paths and the page into a folder; returns the page."""
    frames = {ROWS_FILE: comparison.rows, PATHS_FILE: comparison.paths}
    return write_frames(out, frames, {PAGE_FILE: compare_page(comparison)}) / PAGE_FILE


# -- sweep ------------------------------------------------------------------------------------


def _in_order(values: Sequence[Any]) -> list[Any]:
    """Distinct values: by size where they are numbers, else as they first occur."""
    distinct = list(dict.fromkeys(values))
    numbers = numeric(distinct)
    if numbers is None:
        return distinct
    return [value for _, value in sorted(zip(numbers, distinct, strict=True), key=lambda p: p[0])]


def shown_columns(study: LoadedStudy, rows: pl.DataFrame) -> list[str]:
    """The measures of the pictures: those the study names, else the usual ones that vary."""
    for index, name in enumerate(study.study.show):
        if name not in rows.columns or not rows[name].dtype.is_numeric():
            study.fail(f"show[{index}]", f"expected a column of numbers, got {name!r}")
    usual = [name for name in SHOWN if rows[name].n_unique() > 1]
    return study.study.show or usual or list(SHOWN[:1])


def sweep_page(study: LoadedStudy, rows: pl.DataFrame, paths: pl.DataFrame) -> str:
    """The page of a sweep as text."""
    good = rows.filter(pl.col("error") == "")
    fields = [vary.field for vary in study.study.vary]
    failed = rows.height - good.height
    counts = f"{rows.height:,} runs, {study.study.seeds} seeds, design {study.study.design}"
    verdict = study.study.description or f"What {', '.join(fields) or 'the seed'} does."
    body = head(study.study.title, f"{counts}; {failed:,} runs failed", verdict)
    drawn: dict[str, Figure] = {}
    packed = Packed()
    columns = shown_columns(study, good) if good.height else []
    if study.study.design == "saltelli" and failed == 0:
        body += sobol_section(study, rows, columns, drawn)
    body += _sweep_pictures(study, good, fields, columns, drawn) if columns else []
    body += over_time_sections(_sweep_runs(study, good, paths, fields), drawn, packed)
    body += ["<h2>Runs</h2>", _sweep_table(study, rows, fields, columns)]
    body.append(
        foot(
            [
                ("Study", study.key()),
                ("Scenario, before any change of the study", study.base.scenario.hash()),
                ("Venue profile", study.base.profile.hash()),
                ("Seeds", f"{study.base.scenario.seed} and those after it"),
                ("Engine", c.ENGINE_VERSION),
            ]
        )
    )
    return document(study.study.title, "\n".join(body), drawn, packed.data)


def _sweep_runs(
    study: LoadedStudy, good: pl.DataFrame, paths: pl.DataFrame, fields: list[str]
) -> OverTime:
    """A grid of one or two fields: a curve a value of the first, a picture one of the second."""
    settlement = study.base.profile.settlement
    is_grid = study.study.design == "grid" and 1 <= len(fields) <= 2
    line, panel = [*fields, None, None][:2] if is_grid else (None, None)
    sides = [_some(_in_order(good[name].to_list())) if name else [None] for name in (line, panel)]
    return OverTime(
        good, paths, line, sides[0], panel, sides[1], 10**settlement.decimals, settlement.asset
    )


def _some(values: list[Any]) -> list[Any]:
    """As many of the values as have room beside each other, the first and the last among them."""
    last, room = len(values) - 1, COLUMNS_MAX - 1
    return values if last <= room else [values[place * last // room] for place in range(room + 1)]


def _sweep_pictures(
    study: LoadedStudy, good: pl.DataFrame, fields: list[str], columns: list[str],
    drawn: dict[str, Figure],
) -> list[str]:  # fmt: skip
    """One field: curves. Two fields of a grid: curves and surfaces. Drawn designs: dots."""
    asset, decimals = (
        study.base.profile.settlement.asset,
        study.base.profile.settlement.decimals,
    )
    if study.study.design != "grid" or not 1 <= len(fields) <= 2:
        return _clouds(good, fields, columns, asset, decimals, drawn)
    inner = _in_order(good[fields[0]].to_list())
    outer = _in_order(good[fields[1]].to_list()) if len(fields) == 2 else [None]
    rows = []
    for place, column in enumerate(columns):
        scale = unit_of(column, decimals)
        panels = []
        for value in outer[:COLUMNS_MAX]:
            part = good if value is None else good.filter(pl.col(fields[1]) == value)
            title = words_of(column) if value is None else f"{fields[1]} {shown(value)}"
            panels.append(Panel(title, _over(part, fields[0], inner, column, scale)))
        rows.append(Row(title_of(column, asset), COLOURS[place % len(COLOURS)], panels))
    drawn["curves"] = figures.small_multiples(rows, fields[0])
    body = [
        "<h2>Means over the seeds</h2>",
        "<p>All pictures of a row share one axis; the band reaches from the least to the greatest "
        "seed.</p>",
        chart("curves", f"{', '.join(columns)} against {', '.join(fields)}"),
    ]
    for place, column in enumerate(columns if len(fields) == 2 else ()):
        scale = unit_of(column, decimals)
        means = {
            (a, b): mean / scale
            for a, b, mean in good.group_by(fields).agg(pl.col(column).mean()).iter_rows()
        }
        title, name = title_of(column, asset), f"surface-{place}"
        names = [[shown(value) for value in values] for values in (inner, outer)]
        cells = [[means.get((a, b)) for a in inner] for b in outer]
        drawn[name] = figures.surface(title, *names, cells, fields[0], fields[1])
        heads = [f"{fields[1]} \\ {fields[0]}", *names[0]]
        numbers = [[b, *map(number, row)] for b, row in zip(names[1], cells, strict=True)]
        body += [f"<h3>{text(title)}</h3>", chart(name, f"{title} over {' and '.join(fields)}")]
        body.append(details("Numbers", table(heads, numbers, range(1, len(heads)))))
    return body


def sobol_section(
    study: LoadedStudy, rows: pl.DataFrame, columns: list[str], drawn: dict[str, Figure]
) -> list[str]:
    """Bars of the Sobol indices of every measure, and their numbers."""
    asset = study.base.profile.settlement.asset
    body = [
        "<h2>Which field decides</h2>",
        "<p>Sobol indices of the mean over the seeds. <b>First</b>: the share of the variance that "
        "a field causes by itself. <b>Total</b>: with everything it does together with others. "
        "Lines hold the index in 95 of 100 resamplings of the design.</p>",
    ]
    for place, found in enumerate(sensitivities(study, rows, columns)):
        title, name = title_of(found.column, asset), f"sobol-{place}"
        body.append(f"<h3>{text(title)}</h3>")
        if not found.indices:
            body.append('<p class="note">The same in every run.</p>')
            continue
        drawn[name] = figures.index_bars(found.indices)
        heads, lines = sensitivity_rows(found)
        body.append(chart(name, f"Sobol indices of {title}"))
        body.append(details("Numbers", table(heads, lines, range(1, len(heads)))))
    return body


def _over(part: pl.DataFrame, field: str, values: list[Any], column: str, scale: int) -> Curve:
    """Mean, least and greatest over the seeds at each value of a field."""
    found = {
        key: (mean / scale, low / scale, high / scale)
        for key, mean, low, high in part.group_by(field)
        .agg(
            mean=pl.col(column).mean(),
            low=pl.col(column).min(),
            high=pl.col(column).max(),
        )
        .iter_rows()
    }
    kept = [value for value in values if value in found]
    sides = [[found[value][side] for value in kept] for side in range(3)]
    return Curve([shown(value) for value in kept], *sides)


def _clouds(
    good: pl.DataFrame, fields: list[str], columns: list[str], asset: str, decimals: int,
    drawn: dict[str, Figure],
) -> list[str]:  # fmt: skip
    """A dot a run, every field against every measure."""
    body = ["<h2>Every run</h2>", "<p>A dot is one run.</p>"]
    for column in columns:
        scale, title = unit_of(column, decimals), title_of(column, asset)
        body += [f"<h3>{text(title)}</h3>", '<div class="pair">']
        for field in fields or ["seed"]:
            values = good[field].to_list()
            name = f"cloud-{len(drawn)}"
            drawn[name] = figures.cloud(
                title, field, numeric(values) or values, (good[column] / scale).to_list()
            )
            body.append(f"<div>{chart(name, f'{title} against {field}')}</div>")
        body.append("</div>")
    return body


def _sweep_table(
    study: LoadedStudy, rows: pl.DataFrame, fields: list[str], columns: list[str]
) -> str:
    decimals, asset = (
        study.base.profile.settlement.decimals,
        study.base.profile.settlement.asset,
    )
    heads = ["Run", *fields, "Seed", *(title_of(name, asset) for name in columns), "Error"]
    lines = []
    for row in rows.head(ROWS_MAX).iter_rows(named=True):
        measures = [
            number(None if row[name] is None else row[name] / unit_of(name, decimals))
            for name in columns
        ]
        inputs = [shown(row[field]) for field in fields]
        lines.append([str(row["run"]), *inputs, str(row["seed"]), *measures, row["error"]])
    more = rows.height - len(lines)
    label = f"Numbers of {len(lines):,} runs" + (
        f"; {more:,} more in the Parquet files" * bool(more)
    )
    return details(label, table(heads, lines, range(len(heads) - 1)))
