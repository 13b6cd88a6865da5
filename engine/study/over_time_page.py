"""Sections of a study's page on tape time: how long nobody is deleveraged, how the fund fares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.report.document import Packed, chart, details, table, text
from engine.report.plot import Figure, milliseconds
from engine.report.words import when_text
from engine.study import figures
from engine.study.curve import percent_band, share
from engine.study.figures import Curve, Lines, Panel, Row, value_range
from engine.study.labels import number, shown
from engine.study.over_time import QUANTILES, fund_fan, survival

SECOND_NS = 10**9
STEADY = 0.8  # a fund that never falls below this part of its most is drawn off zero


@dataclass(frozen=True)
class OverTime:
    """The runs to draw. `lines` are the values of the column `line` that get a curve each, `panels`
    those of the column `panel`, which get a picture each; no column: all runs together.
    """

    rows: pl.DataFrame
    paths: pl.DataFrame
    line: str | None
    lines: Sequence[Any]
    panel: str | None
    panels: Sequence[Any]
    money: int
    asset: str

    @property
    def by(self) -> list[str]:
        """The columns that tell curves apart."""
        return [name for name in (self.line, self.panel) if name]

    def key(self, line: Any, panel: Any) -> tuple[Any, ...]:
        """What stands in those columns for one curve."""
        pairs = ((self.line, line), (self.panel, panel))
        return tuple(value for column, value in pairs if column)

    def curves(self, frame: pl.DataFrame) -> dict[tuple[Any, ...], pl.DataFrame]:
        """A frame's rows by the values of those columns."""
        if not self.by:
            return {(): frame}
        return dict(frame.group_by(self.by, maintain_order=True))

    def label(self, line: Any) -> str:
        """What a curve is called."""
        if self.line is None:
            return "All runs"
        return shown(line) if self.line == "variant" else f"{self.line} {shown(line)}"

    def title(self, panel: Any) -> str:
        """What stands over a picture."""
        return "" if self.panel is None else f"{self.panel} {shown(panel)}"


def over_time_sections(data: OverTime, drawn: dict[str, Figure], packed: Packed) -> list[str]:
    """Both sections; nothing where no run has ended."""
    if data.rows.filter(pl.col("error") == "").is_empty():
        return []
    return [*_survival_section(data, drawn, packed), *_fan_section(data, drawn, packed)]


def _survival_section(data: OverTime, drawn: dict[str, Figure], packed: Packed) -> list[str]:
    found = data.curves(survival(data.rows, data.by))
    summary, steps, panels = [], [], []
    for panel in data.panels:
        curves = {}
        for line in data.lines:
            key = data.key(line, panel)
            if (frame := found.get(key)) is None:
                continue
            times = milliseconds(frame["time_ns"])
            sides = (frame[side].to_list() for side in ("share", "low", "high"))
            curves[data.label(line)] = Curve(times, *sides)
            names = [data.label(line), *([data.title(panel)] if data.panel else [])]
            summary.append([*names, *_in_short(frame)])
            steps += [[*names, *cells] for cells in _step_cells(frame)]
        panels.append(Lines(data.title(panel), curves))
    drawn["survival"] = figures.survival(panels)
    who = ["Runs of", *(["Where"] if data.panel else [])]
    heads = [*who, "Runs", "Without ADL to the end", "95 % band", "Earliest", "Half of the runs by"]
    numbers = range(len(who), len(heads))
    more = [*who, "Time, UTC", "Runs", "Without ADL", "Share", "95 % band"]
    return [
        "<h2>How long nobody is deleveraged</h2>",
        "<p>Share of the runs in which no ADL has happened until then: the curve of Kaplan and "
        "Meier, which is a plain share here because every run is watched to its end. The shade is "
        "Wilson's 95 % band at each time by itself. Drawn is the time in which a curve falls.</p>",
        chart("survival", "Share of runs without ADL over time"),
        table(heads, summary, numbers),
        details(
            "Every step", packed.table("survival", more, steps, range(len(who) + 1, len(more)))
        ),
    ]


def _in_short(frame: pl.DataFrame) -> list[str]:
    """The end of a curve with its band, and when it first fell and passed one half."""
    last = frame.row(-1, named=True)
    end = share(last["without_adl"], last["runs"])
    fell = frame.filter(pl.col("share") < 1)
    half = frame.filter(pl.col("share") <= 0.5)
    firsts = [
        when_text(each["time_ns"][0], SECOND_NS) if each.height else "" for each in (fell, half)
    ]
    part = f"{end.count:,} ({end.count / end.of:.0%})"
    return [f"{end.of:,}", part, percent_band(end), *firsts]


def _step_cells(frame: pl.DataFrame) -> list[list[str]]:
    return [
        [
            when_text(row["time_ns"], SECOND_NS),
            f"{row['runs']:,}",
            f"{row['without_adl']:,}",
            f"{100 * row['share']:.1f} %",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %",
        ]
        for row in frame.iter_rows(named=True)
    ]


def _fan_section(data: OverTime, drawn: dict[str, Figure], packed: Packed) -> list[str]:
    # Funds of other sizes on one axis would all be flat lines.
    changes = _starts(data) > 1
    found = data.curves(fund_fan(data.rows, data.paths, data.by, changes))
    rows, cells = [], []
    for panel in data.panels:
        small = []
        for line in data.lines:
            if (frame := found.get(data.key(line, panel))) is None:
                continue
            small.append(Panel(data.label(line), _fan_curve(frame, data.money)))
            names = [data.label(line), *([data.title(panel)] if data.panel else [])]
            for row in frame.iter_rows(named=True):
                values = [number(row[name] / data.money) for name in QUANTILES]
                cells.append([*names, when_text(row["time_ns"], SECOND_NS), *values])
        label = f"{data.panel}<br>{shown(panel)}" if data.panel else data.asset
        rows.append(Row(label, "var(--fund)", small))
    every = [panel for row in rows for panel in row.panels]
    low = min(min(panel.curve.low) for panel in every)
    high = max(max(panel.curve.high) for panel in every)
    bounds = value_range(every, from_zero=not low > STEADY * high > 0)
    rows = [Row(row.label, row.colour, row.panels, bounds) for row in rows]
    drawn["fan"] = figures.small_multiples(
        rows, "Time, UTC", dates=True, steps=True, tall=len(rows) == 1
    )
    what = "The fund's cash, less what its run began with," if changes else "The fund's cash"
    who = ["Runs of", *(["Where"] if data.panel else [])]
    heads = [*who, "Time, UTC", *(f"{100 * q:.0f} %" for q in QUANTILES.values())]
    return [
        "<h2>The insurance fund over the runs</h2>",
        f"<p>{what} in {text(data.asset)}, all pictures on one axis. The line is the "
        "median of the runs; half of them lie in the dark band, nine of ten in the light one. "
        "Between two runs a quantile is taken in proportion, so with few seeds the light band is "
        "little more than the least and the greatest.</p>",
        chart("fan", "Quantiles of the insurance fund over time"),
        details("Numbers", packed.table("fan", heads, cells, range(len(who) + 1, len(heads)))),
    ]


def _starts(data: OverTime) -> int:
    """With how many different balances the fund begins."""
    first = data.paths.group_by("run").agg(pl.col("fund_quote").first())
    return first["fund_quote"].n_unique()


def _fan_curve(frame: pl.DataFrame, money: int) -> Curve:
    low, lower, middle, upper, high = ((frame[name] / money).to_list() for name in QUANTILES)
    return Curve(milliseconds(frame["time_ns"]), middle, low, high, (lower, upper))
