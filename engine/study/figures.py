"""The pictures of a study as Plotly figures: small multiples whose axes are equal.

Colours are roles (`var(--mark)`) that the page resolves for light, dark and print.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.study.indices import Index

Figure = dict[str, Any]
SHADE = 0.2  # opacity of a band


class Curve(msgspec.Struct, frozen=True):
    """A middle line and the band round it, at the same places."""

    x: list[float | str]
    middle: list[float]
    low: list[float]
    high: list[float]


class Panel(msgspec.Struct, frozen=True):
    """One small picture of a row."""

    title: str
    curve: Curve


class Row(msgspec.Struct, frozen=True):
    """Small pictures side by side: one measure, one range of values, one colour."""

    label: str
    colour: str
    panels: list[Panel]


def _axis(**more: Any) -> dict[str, Any]:
    return {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--rule)",
        "zerolinecolor": "var(--rule)",
        "tickcolor": "var(--rule)",
        "exponentformat": "B",
        "separatethousands": True,
        **more,
    }


def _layout(height: int, **more: Any) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 84, "r": 16, "t": 46, "b": 52},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "var(--sans)", "size": 12, "color": "var(--ink)"},
        "hoverlabel": {"bgcolor": "var(--paper)", "font": {"color": "var(--ink)"}},
        "showlegend": False,
        "separators": ".,",
        **more,
    }


def value_range(panels: Sequence[Panel]) -> list[float]:
    """One range that holds every band of a row, with a little air and with zero."""
    values = [value for panel in panels for value in (*panel.curve.low, *panel.curve.high, 0.0)]
    low, high = min(values), max(values)
    air = (high - low) * 0.06 or 1.0
    return [low - (air if low < 0 else 0), high + air]


def _shape_of_band(curve: Curve, colour: str, x: str, y: str, steps: bool) -> Figure:
    """The band as one filled outline: a fill between lines cannot be made transparent."""
    xs, low, high = list(curve.x), list(curve.low), list(curve.high)
    if steps:
        xs = [each for pair in zip(curve.x, [*curve.x[1:], curve.x[-1]], strict=True)
              for each in pair]  # fmt: skip
        low, high = ([each for each in side for _ in range(2)] for side in (low, high))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*xs, *reversed(xs)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": SHADE,
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
        "xaxis": x,
        "yaxis": y,
    }


def small_multiples(
    rows: Sequence[Row],
    x_title: str,
    *,
    dates: bool = False,
    steps: bool = False,
    tall: bool = False,
) -> Figure:
    """A grid of panels: a column a variant, a row a measure; all of a row on one value axis."""
    columns = len(rows[0].panels)
    layout = _layout(96 + (300 if tall else 170) * len(rows), annotations=[])
    width, height = 1 / columns, 1 / len(rows)
    data: list[Figure] = []
    for r, row in enumerate(rows):
        bounds = value_range(row.panels)
        for k, panel in enumerate(row.panels):
            number = r * columns + k + 1
            suffix = "" if number == 1 else str(number)
            x, y = f"x{suffix}", f"y{suffix}"
            top = 1 - r * height
            across = [k * width + (0.012 if k else 0), (k + 1) * width - 0.012]
            layout[f"xaxis{suffix}"] = _axis(
                domain=across, anchor=y, showgrid=False, nticks=4,
                type="date" if dates else "category",
                showticklabels=r == len(rows) - 1,
                title={"text": x_title if r == len(rows) - 1 else "", "standoff": 6},
            )  # fmt: skip
            layout[f"yaxis{suffix}"] = _axis(
                domain=[top - height + 0.02, top - 0.03], anchor=x, range=bounds, nticks=5,
                showticklabels=k == 0,
                title={"text": row.label if k == 0 else "", "standoff": 8},
            )  # fmt: skip
            if r == 0:
                layout["annotations"].append(_heading(panel.title, sum(across) / 2))
            band = _shape_of_band(panel.curve, row.colour, x, y, steps)
            data += [band, _middle(panel.curve, row.colour, x, y, steps)]
    return {"data": data, "layout": layout}


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
    layout = _layout(
        96 + 34 * len(names),
        xaxis=_axis(title={"text": label, "standoff": 8}, zeroline=True),
        yaxis=_axis(autorange="reversed", automargin=True, type="category"),
    )
    return {"data": [data], "layout": layout}


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
    layout = _layout(
        120 + 56 * len(names),
        barmode="group",
        xaxis=_axis(title={"text": "Share of the variance", "standoff": 8}, zeroline=True),
        yaxis=_axis(autorange="reversed", automargin=True, type="category"),
    )
    layout |= {"showlegend": True, "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}}
    layout["legend"]["traceorder"] = "reversed"
    return {"data": data, "layout": layout}


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
    layout = _layout(
        140 + 52 * len(y),
        xaxis=_axis(type="category", title={"text": x_title, "standoff": 8}, showgrid=False),
        yaxis=_axis(
            type="category",
            title={"text": y_title, "standoff": 14},
            automargin=True,
            showgrid=False,
        ),
    )
    return {"data": [data], "layout": layout}


def cloud(label: str, x_title: str, x: Sequence[float | str], y: Sequence[float]) -> Figure:
    """Every run as a dot: one field against one measure."""
    data = {
        "type": "scatter", "mode": "markers", "x": list(x), "y": list(y),
        "marker": {"color": "var(--mark)", "size": 5, "opacity": 0.6},
        "hovertemplate": "%{x}: %{y:,}<extra></extra>",
    }  # fmt: skip
    layout = _layout(
        300,
        xaxis=_axis(title={"text": x_title, "standoff": 8}),
        yaxis=_axis(title={"text": label}, automargin=True),
    )
    return {"data": [data], "layout": layout}
