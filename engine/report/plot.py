"""What every Plotly figure of every page is made of: axes, layouts, lines that hold, bands.

Figures are plain dicts. Colours are roles (`var(--mark)`) that a page resolves for light, dark and
print; nothing here knows what is drawn.
"""

from collections.abc import Iterable, Sequence
from typing import Any

Figure = dict[str, Any]
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # colour alone tells no curves apart


def milliseconds(time_ns: Iterable[int]) -> list[float]:
    """Times as Plotly wants them: milliseconds since 1970, UTC."""
    return [t / 1e6 for t in time_ns]


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title in the page's colours; `more` goes to the library as it is."""
    return {
        "title": {"text": title, "standoff": 8},
        "gridcolor": "var(--grid)",
        "linecolor": "var(--rule)",
        "zerolinecolor": "var(--rule)",
        "tickcolor": "var(--rule)",
        "automargin": False,  # an axis that makes its own room draws the whole again
        "exponentformat": "B",
        "separatethousands": True,
        **more,
    }


def layout(height: int, **more: Any) -> dict[str, Any]:
    """A figure's layout in the page's colours; `more` goes to the library as it is."""
    return {
        "height": height,
        "margin": {"l": 84, "r": 24, "t": 34, "b": 60},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "var(--sans)", "size": 12, "color": "var(--ink)"},
        "hoverlabel": {"bgcolor": "var(--paper)", "font": {"color": "var(--ink)"}},
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        "separators": ".,",
        **more,
    }


def figure(data: list[dict[str, Any]], height: int, **more: Any) -> Figure:
    """Traces with the layout they stand in; `more` belongs to the layout."""
    return {"data": data, "layout": layout(height, **more)}


def steps_of(x: Sequence[Any], *values: Sequence[float]) -> list[list[Any]]:
    """The corners of values that hold until the next place: the places, then each of the values.

    >>> steps_of([0, 5], [1.0, 2.0])
    [[0, 5, 5, 5], [1.0, 1.0, 2.0, 2.0]]
    """
    places = [each for pair in zip(x, [*x[1:], x[-1]], strict=True) for each in pair]
    return [places, *([each for each in side for _ in range(2)] for side in values)]


def band(
    x: Sequence[Any], low: Sequence[float], high: Sequence[float], colour: str, opacity: float,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """All between two lines as one filled outline: a fill between traces cannot be made
    transparent where its colour is a role."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": opacity,
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
        "showlegend": False,
        **more,
    }
