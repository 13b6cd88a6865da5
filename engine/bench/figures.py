"""The pictures of the page of benchmarks, as plain dicts: curves, bars, costs."""

from typing import Any

from engine.bench.goals import GROWS
from engine.bench.latency import BURSTS
from engine.bench.results import Peer, Row, Spread
from engine.bench.text import goal_cells, value_text
from engine.report import plot
from engine.report.plot import Figure

COLOURS = ("var(--index)", "var(--fund)", "var(--mark)", "var(--liquidation)", "var(--debt)")
VERDICTS = {True: "var(--fund)", False: "var(--liquidation)", None: "var(--soft)"}
PERCENTS = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return plot.axis(title, **{"automargin": True, **more})


def percentile_curves(spreads: list[Spread]) -> Figure:
    """Percentiles by burst size, both axes logarithmic: the tail gets as much room as the rest."""
    data = []
    for each, colour in zip(spreads, COLOURS, strict=True):
        # The maximum stands where the percentile of one command in all would be.
        last = 0.5 / max(each.count, 1)
        rest = [max(1 - percent / 100, last) for percent, _ in each.curve]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(rest) < 8 else "lines",
                "name": each.name,
                "x": rest,
                "y": [value / 1e3 for _, value in each.curve],
                "line": {"color": colour, "width": 1.8},
                "hovertemplate": "%{y:,.1f} \u00b5s",
            }
        )
    rests = [round(1 - percent / 100, 7) for percent in PERCENTS]
    across = _axis("Percentile", type="log", autorange="reversed", tickvals=rests,
                   ticktext=[f"{percent:g} %" for percent in PERCENTS])  # fmt: skip
    up = _axis("Latency, \u00b5s", type="log", dtick=1, tickformat=",~g")
    legend = {"title": {"text": "Liquidations set off "}}
    figure = plot.figure(data, 420, xaxis=across, yaxis=up)
    figure["layout"]["legend"] |= legend
    return figure


def _range(rows: list[Row]) -> dict[str, Any]:
    """The lowest and highest round of each row as whiskers."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [row.highest - row.value for row in rows],
        "arrayminus": [row.value - row.lowest for row in rows],
        "color": "var(--soft)",
    }


def rate_bars(rows: list[Row]) -> Figure:
    """Millions a second as bars, with the range of the rounds, the goals and the best elsewhere."""
    rows = rows[::-1]
    names = [f"{row.work}: <b>{value_text(row)}</b>" for row in rows]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "Crashtape",
        "y": names,
        "x": [row.value for row in rows],
        "marker": {"color": "var(--mark)"},
        "error_x": _range(rows),
        "hovertemplate": "%{y}<extra></extra>",
    }
    data = [bars]
    for name, symbol, values in (
        ("Goal", "line-ns", [row.goal for row in rows]),
        ("Best elsewhere", "diamond-open", [row.elsewhere for row in rows]),
    ):
        known = [(y, x) for y, x in zip(names, values, strict=True) if x is not None]
        if known:
            colour = "var(--liquidation)" if name == "Goal" else "var(--ink)"
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "y": [y for y, _ in known],
                    "x": [x for _, x in known],
                    "marker": {"symbol": symbol, "size": 13, "color": colour,
                               "line": {"width": 2, "color": colour}},
                    "hovertemplate": f"{name}: %{{x:,.2f}} M/s<extra></extra>",
                }
            )  # fmt: skip
    return plot.figure(
        data,
        120 + 34 * len(rows),
        xaxis=_axis("Millions a second", rangemode="tozero"),
        yaxis=_axis("", automargin=True),
    )


def share_of_goal(row: Row) -> float:
    """How much of its goal a row reaches; 1 and more is reached, whichever way the unit grows.

    >>> row = Row(key="", work="", value=50.0, unit="ns", size=1, lowest=1.0, highest=1.0, rounds=1,
    ...           result="", goal=100.0)
    >>> share_of_goal(row)
    2.0
    """
    assert row.goal is not None, "only rows with a goal are compared with it"
    return row.value / row.goal if row.unit in GROWS else row.goal / row.value


def goal_bars(rows: list[Row]) -> Figure:
    """Each row against its goal on a logarithmic axis."""
    rows = rows[::-1]
    shares = [share_of_goal(row) for row in rows]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": [f"{row.work}: <b>{value_text(row)}</b> for {goal_cells(row)[0]}" for row in rows],
        # A bar on a logarithmic axis begins at its base: the goal.
        "base": [1.0] * len(rows),
        "x": [share - 1 for share in shares],
        "marker": {"color": [VERDICTS[row.reached] for row in rows]},
        "customdata": shares,
        "hovertemplate": "%{y}: %{customdata:.3g} of the goal<extra></extra>",
    }
    across = _axis("Share of the goal", type="log", dtick=1, tickformat="~g")
    line = {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1,
            "line": {"color": "var(--ink)", "width": 1.2}}  # fmt: skip
    height = 110 + 26 * len(rows)
    return plot.figure([bar], height, xaxis=across, yaxis=_axis(""), shapes=[line])


def peer_bars(peers: list[Peer]) -> Figure:
    """Other engines and ours, flow by flow; all are fed in the same way."""
    peers = peers[::-1]
    names = [f"{peer.flow}, {peer.name}: <b>{peer.ratio:.2f} ×</b>" for peer in peers]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": names,
            "x": [getattr(peer, field) for peer in peers],
            "marker": {"color": colour},
            "hovertemplate": f"{name}: %{{x:,.2f}} M/s<extra></extra>",
        }
        for name, field, colour in (
            ("Other engine", "value", "var(--soft)"),
            ("Crashtape, in the same rounds", "ours", "var(--mark)"),
        )
    ]
    height = 120 + 44 * len(peers)
    across = _axis("Millions of messages a second", rangemode="tozero")
    return plot.figure(data, height, xaxis=across, yaxis=_axis(""), barmode="group")


def cost_curve(lines: dict[str, list[Row]], across: str, up: str) -> Figure:
    """Cost over a growing number of something; flat is what is wanted. Goals are dotted."""
    data, shapes = [], []
    for (name, rows), colour in zip(lines.items(), COLOURS[2:], strict=False):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "showlegend": bool(name),
                "x": [row.size for row in rows],
                "y": [row.value for row in rows],
                "error_y": _range(rows),
                "line": {"color": colour, "width": 1.8},
                "hovertemplate": f"%{{x:,}}: %{{y:,.0f}} {up}<extra></extra>",
            }
        )
        for goal in {row.goal for row in rows if row.goal is not None}:
            shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": goal,
                           "y1": goal, "line": {"color": colour, "dash": "dot"}})  # fmt: skip
    sizes = sorted({row.size for rows in lines.values() for row in rows})
    named = [f"{size:,}" for size in sizes]
    horizontal = _axis(across, type="log", tickvals=sizes, ticktext=named)
    return plot.figure(
        data, 320, xaxis=horizontal, yaxis=_axis(up, rangemode="tozero"), shapes=shapes
    )


assert len(BURSTS) == len(COLOURS)
