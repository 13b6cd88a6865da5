"""The pictures of a study as Plotly figures: small multiples whose axes are equal.

Colours are roles (`var(--mark)`) that the page resolves for light, dark and print.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from engine.report.plot import DASHES, Figure, axis, band, figure, layout, steps_of
from engine.study.indices import Index

COLOURS = ("var(--mark)", "var(--liquidation)", "var(--fund)", "var(--adl)", "var(--index)")
SHADE = 0.2  # opacity of a band
MARGIN = {"l": 84, "r": 16, "t": 46, "b": 52}
PLAIN = {"margin": MARGIN, "showlegend": False}


class Curve(msgspec.Struct, frozen=True):
    """A middle line and the band round it, at the same places; `inner` is a narrower band."""

    x: list[Any]
    middle: list[float]
    low: list[float]
    high: list[float]
    inner: tuple[list[float], list[float]] | None = None


class Panel(msgspec.Struct, frozen=True):
    """One small picture of a row."""

    title: str
    curve: Curve


class Row(msgspec.Struct, frozen=True):
    """Small pictures side by side: one measure, one range of values, one colour. Without `bounds`
    the range holds the row and zero."""

    label: str
    colour: str
    panels: list[Panel]
    bounds: list[float] | None = None


class Lines(msgspec.Struct, frozen=True):
    """One small picture with several named curves."""

    title: str
    curves: dict[str, Curve]


def value_range(panels: Sequence[Panel], from_zero: bool = True) -> list[float]:
    """One range that holds every band, with a little air; with zero where asked."""
    sides = [value for panel in panels for value in (*panel.curve.low, *panel.curve.high)]
    values = [*sides, 0.0] if from_zero else sides
    low, high = min(values), max(values)
    air = (high - low) * 0.06 or 1.0
    return [low - (air if low < 0 or not from_zero else 0), high + air]


def _put_axes(
    shape: dict[str, Any], place: tuple[int, int], size: tuple[int, int], title: str,
    across: dict[str, Any], up: dict[str, Any],
) -> tuple[str, str]:  # fmt: skip
    """Both axes of the panel in a row and column of a grid of rows and columns, and its heading.

    Titles and numbers stand at the grid's left and lower edge only. Returns the axes' names.
    """
    (r, k), (rows, columns) = place, size
    number = r * columns + k + 1
    suffix = "" if number == 1 else str(number)
    width, height = 1 / columns, 1 / rows
    span = [k * width + (0.012 if k else 0), (k + 1) * width - 0.012]
    top, is_lowest, is_first = 1 - r * height, r == rows - 1, k == 0
    shape[f"xaxis{suffix}"] = axis(
        across.pop("label") if is_lowest else "", domain=span, anchor=f"y{suffix}",
        showgrid=False, showticklabels=is_lowest, **across,
    )  # fmt: skip
    shape[f"yaxis{suffix}"] = axis(
        up.pop("label") if is_first else "", domain=[top - height + 0.02, top - 0.03],
        anchor=f"x{suffix}", showticklabels=is_first, **up,
    )  # fmt: skip
    if title:
        shape["annotations"].append(_heading(title, sum(span) / 2))
    return f"x{suffix}", f"y{suffix}"


def small_multiples(
    rows: Sequence[Row],
    x_title: str,
    *,
    dates: bool = False,
    steps: bool = False,
    tall: bool = False,
) -> Figure:
    """A grid of panels: a column a variant, a row a measure; all of a row on one value axis."""
    size = len(rows), len(rows[0].panels)
    shape = layout(96 + (300 if tall else 170) * len(rows), annotations=[], **PLAIN)
    data: list[Figure] = []
    for r, row in enumerate(rows):
        bounds = row.bounds or value_range(row.panels)
        for k, panel in enumerate(row.panels):
            across = {"label": x_title, "nticks": 4, "type": "date" if dates else "category"}
            up = {"label": row.label, "range": bounds, "nticks": 5}
            title = "" if r else panel.title
            x, y = _put_axes(shape, (r, k), size, title, across, up)
            data += _bands(panel.curve, row.colour, steps, xaxis=x, yaxis=y)
            data.append(_middle(panel.curve, row.colour, x, y, steps))
    return {"data": data, "layout": shape}


def _bands(curve: Curve, colour: str, steps: bool, **more: Any) -> list[dict[str, Any]]:
    """The bands of a curve, the widest first."""
    sides = [(curve.low, curve.high), *([curve.inner] if curve.inner else [])]
    drawn = []
    for low, high in sides:
        x = curve.x
        if steps:
            x, low, high = steps_of(curve.x, low, high)
        drawn.append(band(x, low, high, colour, SHADE, **more))
    return drawn


def changing_range(curves: Sequence[Curve]) -> list[float]:
    """The times between the first and the last change of all curves, with a little air: elsewhere
    there is nothing to see. Where none changes, all there is."""
    ends = [edge for curve in curves for edge in (curve.x[0], curve.x[-1])]
    moved = [
        time
        for curve in curves
        for time, (before, now) in zip(curve.x[1:], pairwise(curve.middle), strict=True)
        if before != now
    ]
    first, last = (min(moved), max(moved)) if moved else (min(ends), max(ends))
    air = (last - first) * 0.12 or (max(ends) - min(ends)) * 0.05
    return [max(min(ends), first - air), min(max(ends), last + air)]


def survival(panels: Sequence[Lines]) -> Figure:
    """Shares that fall from one with time, several named curves a panel, all on equal axes."""
    shape = layout(400, annotations=[], **PLAIN)
    top = 46 if any(panel.title for panel in panels) else 12
    shape |= {"showlegend": True, "margin": {**MARGIN, "t": top, "b": 96}}
    span = changing_range([curve for panel in panels for curve in panel.curves.values()])
    shape["legend"] = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    data: list[Figure] = []
    for k, panel in enumerate(panels):
        across = {"label": "Time, UTC", "type": "date", "nticks": 5, "range": span}
        up = {"label": "Runs without ADL so far", "range": [0, 1.02], "tickformat": ".0%"}
        x, y = _put_axes(shape, (0, k), (1, len(panels)), panel.title, across, up)
        for place, (name, curve) in enumerate(panel.curves.items()):
            colour, dash = COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]
            shared = {"xaxis": x, "yaxis": y, "legendgroup": name}
            data += [
                {**each, "opacity": SHADE / 2} for each in _bands(curve, colour, True, **shared)
            ]
            line = _middle(curve, colour, x, y, True)
            line |= {"name": name, "legendgroup": name, "showlegend": k == 0}
            line["line"] |= {"dash": dash, "width": 2.2}
            line["hovertemplate"] = f"{name}, %{{x}}: %{{y:.1%}}<extra></extra>"
            data.append(line)
    return {"data": data, "layout": shape}


def _middle(curve: Curve, colour: str, x: str, y: str, steps: bool) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines" if steps else "lines+markers",
        "x": curve.x,
        "y": curve.middle,
        "line": {"color": colour, "width": 1.8, "shape": "hv" if steps else "linear"},
        "marker": {"color": colour, "size": 7},
        "xaxis": x,
        "yaxis": y,
        "hovertemplate": "%{x}: %{y:,}<extra></extra>",
    }


def _heading(text: str, x: float) -> dict[str, Any]:
    return {
        "text": text.replace("<", "&lt;"), "x": x, "y": 1.0, "xref": "paper", "yref": "paper",
        "xanchor": "center", "yanchor": "bottom", "showarrow": False,
        "font": {"size": 12, "color": "var(--ink)"},
    }  # fmt: skip


def intervals(label: str, names: Sequence[str], bands: Sequence[tuple[float, float, float]]):
    """Differences from the first variant: a dot for the mean and a line for the band."""
    middle = [band[0] for band in bands]
    data = {
        "type": "scatter", "mode": "markers", "x": middle, "y": list(names),
        "marker": {"color": "var(--mark)", "size": 9},
        "error_x": {
            "type": "data", "symmetric": False, "color": "var(--mark)", "thickness": 2,
            "array": [band[2] - band[0] for band in bands],
            "arrayminus": [band[0] - band[1] for band in bands],
        },
        "hovertemplate": "%{y}: %{x:,}<extra></extra>",
    }  # fmt: skip
    return figure(
        [data],
        96 + 34 * len(names),
        xaxis=axis(label, zeroline=True),
        yaxis=axis("", autorange="reversed", automargin=True, type="category"),
        **PLAIN,
    )


def index_bars(indices: Sequence[Index]) -> Figure:
    """Sobol indices: for each field a bar of its own share and one with all it takes part in."""
    names = [each.field for each in indices]
    data = []
    for label, colour, middle, half in (
        ("Total", "var(--mark)", "total", "total_half"),
        ("First", "var(--adl)", "first", "first_half"),
    ):
        data.append(
            {
                "type": "bar", "orientation": "h", "name": label, "y": names,
                "x": [getattr(each, middle) for each in indices],
                "marker": {"color": colour, "pattern": {"shape": "/" if label == "Total" else ""}},
                "error_x": {
                    "type": "data", "color": "var(--ink)", "thickness": 1.5,
                    "array": [getattr(each, half) for each in indices],
                },
                "hovertemplate": label + ", %{y}: %{x:.3f}<extra></extra>",
            }
        )  # fmt: skip
    return figure(
        data,
        120 + 56 * len(names),
        barmode="group",
        xaxis=axis("Share of the variance", zeroline=True),
        yaxis=axis("", autorange="reversed", automargin=True, type="category"),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"},
        margin=MARGIN,
    )


def surface(
    label: str, x: Sequence[str], y: Sequence[str], z: Sequence[Sequence[float | None]],
    x_title: str, y_title: str,
) -> Figure:  # fmt: skip
    """A heat map of one measure over two fields, every cell with its number."""
    data = {
        "type": "heatmap", "x": list(x), "y": list(y), "z": [list(row) for row in z],
        "colorscale": "Cividis", "colorbar": {"title": {"text": label, "side": "right"}},
        "texttemplate": "%{z:,.4s}", "xgap": 2, "ygap": 2,
        "hovertemplate": f"{x_title} %{{x}}, {y_title} %{{y}}: %{{z:,}}<extra></extra>",
    }  # fmt: skip
    title = {"text": y_title, "standoff": 14}
    return figure(
        [data],
        140 + 52 * len(y),
        xaxis=axis(x_title, type="category", showgrid=False),
        yaxis=axis("", type="category", automargin=True, showgrid=False) | {"title": title},
        **PLAIN,
    )


def cloud(label: str, x_title: str, x: Sequence[float | str], y: Sequence[float]) -> Figure:
    """Every run as a dot: one field against one measure."""
    data = {
        "type": "scatter", "mode": "markers", "x": list(x), "y": list(y),
        "marker": {"color": "var(--mark)", "size": 5, "opacity": 0.6},
        "hovertemplate": "%{x}: %{y:,}<extra></extra>",
    }  # fmt: skip
    return figure([data], 300, xaxis=axis(x_title), yaxis=axis(label, automargin=True), **PLAIN)
