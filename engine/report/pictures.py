"""Further pictures of a run as Plotly figures: the book's depth, flows of money, haircuts.

The same rules as in `charts.py`: colours are roles, numbers are in a table beside the picture.
"""

import math
from typing import Any

from engine.report.charts import clock, step
from engine.report.depth import Depth
from engine.report.money import CLASSES, REASONS, Money
from engine.report.plot import Figure, axis, layout, milliseconds
from engine.report.series import Closer, Line, RunSeries
from engine.report.winners import Winners, lorenz

RANKS_MAX = 1_500  # drawn; larger haircuts first, so those left out are the smallest
_WAYS = (
    ("book", "Closed in the book", "circle", "var(--liquidation)"),
    ("fund", "Taken over by the fund", "square", "var(--debt)"),
    ("adl", "Auto-deleveraged", "diamond", "var(--adl)"),
)


def depth_map(depth: Depth, mark: Line, series: RunSeries | Closer) -> Figure:
    """Lots resting per stretch and price bucket as shades, liquidations and the mark over them."""
    both = [
        [bid + ask for bid, ask in zip(*rows, strict=True)]
        for rows in zip(depth.bids, depth.asks, strict=True)
    ]
    held = sorted(lots for row in both for lots in row if lots > 0) or [1]
    top, least = held[-1], held[len(held) // 20]
    shades = [[round(math.log10(lots), 2) if lots > 0 else None for lots in row] for row in both]
    ends = [m * 10**k for k in range(20) for m in (1, 2, 5) if least <= m * 10**k <= top]
    half = depth.stretch_ns / 2
    columns = range(len(both[0]))
    starts = [depth.first_ns + place * depth.stretch_ns for place in columns]
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "name": "Lots resting",
            "x": milliseconds([int(start + half) for start in starts]),
            "y": [round(depth.low + (k + 0.5) * depth.width, 10) for k in range(len(both))],
            "z": shades,
            "customdata": both,
            "hoverongaps": False,
            "hovertemplate": "%{x}<br>%{y:,}: %{customdata:,} lots<extra></extra>",
            "colorscale": [[0, "var(--heat-low)"], [0.6, "var(--heat)"], [1, "var(--heat-high)"]],
            "zmin": math.log10(min(least, top / 2)),
            "zmax": math.log10(top),
            "colorbar": {
                "title": {"text": "Lots"},
                "tickvals": [math.log10(lots) for lots in ends],
                "ticktext": [f"{lots:,}" for lots in ends],
                "thickness": 12,
            },
        },
        step(mark, "Mark price", "var(--ink)", {"width": 1.2}, hoverinfo="skip"),
    ]
    largest = max((each.lots for each in depth.prints), default=1)
    for way, name, symbol, colour in _WAYS:
        mine = [each for each in depth.prints if each.way == way]
        if mine:
            sizes = [round(5 + 13 * math.sqrt(each.lots / largest), 1) for each in mine]
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": milliseconds([int(each.start_ns + half) for each in mine]),
                    "y": [round(each.price, 8) for each in mine],
                    "customdata": [[each.lots, each.fills] for each in mine],
                    "marker": {
                        "symbol": symbol,
                        "size": sizes,
                        "color": colour,
                        "opacity": 0.85,
                        "line": {"width": 1, "color": "var(--paper)"},
                    },
                    "hovertemplate": "%{x}<br>%{y:,.2f}: %{customdata[0]:,} lots in "
                    f"%{{customdata[1]:,}} fills<extra>{name}</extra>",
                }
            )
    shape = layout(
        460,
        xaxis=clock(series),
        yaxis=axis(
            f"{depth.symbol} price",
            range=[depth.low, depth.low + depth.width * len(both)],
            showgrid=False,
        ),
    )
    return {"data": data, "layout": shape}


def money_flows(money: Money, asset: str, decimals: int) -> Figure:
    """From the classes that paid, by reason, to the classes that received."""
    scale = 10**decimals
    paid = [sum(-v for v in row if v < 0) for row in money.rows]
    got = [sum(v for v in row if v > 0) for row in money.rows]
    givers = [k for k, value in enumerate(paid) if value]
    takers = [k for k, value in enumerate(got) if value]
    reasons = [k for k in range(len(REASONS)) if any(row[k] for row in money.rows)]
    names = [CLASSES[k] for k in givers] + [REASONS[k] for k in reasons]
    names += [CLASSES[k] for k in takers]
    base = len(givers)
    links = [
        (givers.index(k), base + reasons.index(r), -money.rows[k][r])
        for k in givers
        for r in reasons
        if money.rows[k][r] < 0
    ]
    links += [
        (base + reasons.index(r), base + len(reasons) + takers.index(k), money.rows[k][r])
        for r in reasons
        for k in takers
        if money.rows[k][r] > 0
    ]
    shades = ["var(--liquidation)"] * base + ["var(--index)"] * len(reasons)
    shades += ["var(--mark)"] * len(takers)
    colours = ["var(--flow-out)" if end < base + len(reasons) else "var(--flow-in)"
               for _, end, _ in links]  # fmt: skip
    data = [
        {
            "type": "sankey",
            "node": {
                "label": names,
                "color": shades,
                "pad": 18,
                "thickness": 16,
                "line": {"width": 0},
                "hovertemplate": f"%{{label}}: %{{value:,.2f}} {asset}<extra></extra>",
            },
            "link": {
                "source": [start for start, _, _ in links],
                "target": [end for _, end, _ in links],
                "value": [value / scale for _, _, value in links],
                "color": colours,
                "hovertemplate": "%{source.label} to %{target.label}: %{value:,.2f} "
                f"{asset}<extra></extra>",
            },
            "textfont": {"color": "var(--ink)", "size": 12, "shadow": "none"},
        }
    ]
    shape = layout(420, margin={"l": 8, "r": 8, "t": 12, "b": 12})
    return {"data": data, "layout": shape}


def haircuts(winners: Winners, asset: str, decimals: int) -> Figure:
    """Left: the haircut of each deleveraged account by its rank. Right: Lorenz curves."""
    scale = 10**decimals
    ruler = {"type": "log", "dtick": 1}  # which an empty picture cannot have
    shown = [each for each in winners.accounts if each.haircut > 0][:RANKS_MAX]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Haircut",
            "x": list(range(1, len(shown) + 1)),
            "y": [each.haircut / scale for each in shown],
            "customdata": [str(each.account_id) for each in shown],
            "marker": {"size": 5, "color": "var(--adl)"},
            "hovertemplate": f"Rank %{{x:,}}, account %{{customdata}}: %{{y:,.2f}} {asset}"
            "<extra></extra>",
            "showlegend": False,
        }
    ]
    if not shown:
        data.clear()  # an empty trace would break the axes
    curves = (
        ("Haircut", [each.haircut for each in winners.accounts], "var(--adl)", "solid"),
        ("Notional taken", [each.notional for each in winners.accounts], "var(--mark)", "dash"),
    )
    for name, values, colour, dash in curves:
        if any(values):
            x, y = lorenz(values)
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "x": [round(v, 5) for v in x],
                    "y": [round(v, 7) for v in y],
                    "xaxis": "x2",
                    "yaxis": "y2",
                    "line": {"color": colour, "width": 2, "dash": dash},
                    "hovertemplate": f"{name}: %{{x:.0%}} of accounts bear %{{y:.1%}}"
                    "<extra></extra>",
                }
            )
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "All equal",
            "x": [0, 1],
            "y": [0, 1],
            "xaxis": "x2",
            "yaxis": "y2",
            "line": {"color": "var(--index)", "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        }
    )
    per_cent = {"tickformat": ".0%", "range": [0, 1]}
    shape = layout(
        360,
        xaxis=axis("Rank of the account by haircut", domain=[0, 0.44], showgrid=False),
        yaxis=axis(f"Haircut, {asset}", **(ruler if shown else {})),
        xaxis2=axis("Accounts, smallest first", domain=[0.58, 1], anchor="y2", **per_cent),
        yaxis2=axis("Share of the total", anchor="x2", **per_cent),
        legend={"orientation": "h", "x": 0.58, "y": 1.01, "yanchor": "bottom"},
    )
    return {"data": data, "layout": shape}
