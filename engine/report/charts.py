"""The pictures of a run as Plotly figures: plain dicts, ready to be written as JSON.

Colours are roles (`var(--mark)`) that the page resolves for light, dark and print. What is drawn
comes from `series.py`; nothing is computed here that is not also in a table beside the picture.
"""

from typing import Any

from engine.messages import RunSummary
from engine.report.plot import Figure, axis, figure, layout, milliseconds
from engine.report.series import Closer, Line, MarketSeries, RunSeries

PAYERS = (
    ("Fund, in cash", "fund_paid_quote"),
    ("Fund, on takeovers", "cost_fund_quote"),
    ("Winners, by ADL", "cost_adl_quote"),
    ("Venue, on residual", "cost_residual_quote"),
    ("Bad debt", "bad_debt_quote"),
)
DESTINATIONS = (
    ("Closed in the book", "notional_book_quote", "var(--mark)"),
    ("Taken over by the fund", "notional_fund_quote", "var(--fund)"),
    ("Auto-deleveraged", "notional_adl_quote", "var(--adl)"),
    ("Left to the venue", "notional_residual_quote", "var(--debt)"),
)


def clock(series: RunSeries | Closer, **more: Any) -> dict[str, Any]:
    """The time axis: the same span in every picture of a page but the closer one."""
    span = milliseconds([series.first_ns, series.last_ns])
    return axis("Time, UTC", type="date", showgrid=False, range=span, **more)


def step(
    line: Line, name: str, colour: str, stroke: dict | None = None, **more: Any
) -> dict[str, Any]:
    """A line whose value holds until the next point."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": milliseconds(line.time_ns),
        "y": line.value,
        "line": {"color": colour, "width": 1.6, "shape": "hv", **(stroke or {})},
        **more,
    }


def cascade(market: MarketSeries, asset: str, series: RunSeries | Closer) -> Figure:
    """Mark and index above, liquidations and ADL fills per stretch below, one time axis."""
    width = series.stretch_ns / 1e6
    middle = [start + width / 2 for start in milliseconds([s.start_ns for s in market.stretches])]

    def bars(name: str, counts: list[int], axis: str, colour: str, more: list[float]) -> dict:
        return {
            "type": "bar",
            "name": name,
            "x": middle,
            "y": counts,
            "width": width * 0.9,
            "yaxis": axis,
            "marker": {"color": colour},
            "customdata": more,
            "hovertemplate": f"%{{y:,}} ({asset} %{{customdata:,.0f}})",
        }

    stretches = market.stretches
    data = [
        step(market.mark, "Mark price", "var(--mark)"),
        step(market.index, "Index price", "var(--index)", {"dash": "dot", "width": 1.4}),
        bars(
            "Liquidations",
            [s.liquidations for s in stretches],
            "y2",
            "var(--liquidation)",
            [s.notional for s in stretches],
        ),
        bars(
            "ADL fills",
            [s.adl_fills for s in stretches],
            "y3",
            "var(--adl)",
            [s.adl_notional for s in stretches],
        ),
    ]
    data = [each for each in data if each["y"]]  # an empty line beside bars breaks the axes
    count = {"rangemode": "tozero", "tickformat": ",d", "nticks": 4}
    shape = layout(
        560,
        xaxis=clock(series, anchor="y3"),
        yaxis=axis(f"{market.symbol} price", domain=[0.44, 1.0]),
        yaxis2=axis("Liquidations", domain=[0.22, 0.38], **count),
        yaxis3=axis("ADL fills", domain=[0.0, 0.16], **count),
        margin={"l": 84, "r": 24, "t": 34, "b": 66},
        hovermode="x unified",
    )
    return {"data": data, "layout": shape}


def fund(series: RunSeries, asset: str) -> Figure:
    """The balance of the insurance fund over time.

    The axis starts at zero, unless the fund moved by so little that nothing would be seen.
    """
    low, high = min(series.fund.value), max(series.fund.value)
    steady = low > 0.8 * high > 0
    line = step(series.fund, "Fund balance", "var(--fund)", hovertemplate="%{y:,.2f}")
    upright = axis(f"Fund balance, {asset}", rangemode="normal" if steady else "tozero")
    if not steady:
        line |= {"fill": "tozeroy", "fillcolor": "var(--fund-fill)"}
    shape = {"xaxis": clock(series), "yaxis": upright, "showlegend": False}
    return figure([line], 300, hovermode="x unified", **shape)


def destinations(summary: RunSummary) -> Figure:
    """Where the liquidated positions went, by notional."""
    scale = 10**summary.money_decimals
    values = [getattr(summary, name) / scale for _, name, _ in DESTINATIONS]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [label for label, _, _ in DESTINATIONS],
            "x": values,
            "text": _labels(values),
            "textposition": "outside",
            "cliponaxis": False,
            "marker": {"color": [colour for _, _, colour in DESTINATIONS]},
            "hovertemplate": f"%{{y}}: %{{x:,.2f}} {summary.asset}<extra></extra>",
        }
    ]
    shape = layout(
        300,
        xaxis=axis(f"Notional, {summary.asset}", rangemode="tozero", nticks=5),
        yaxis=axis("", autorange="reversed", showgrid=False),
        showlegend=False,
        margin={"l": 152, "r": 70, "t": 16, "b": 56},
    )
    return {"data": data, "layout": shape}


def _labels(values: list[float]) -> list[str]:
    """Values to write on bars: short, with the unit prefix the axis uses."""
    labels = []
    for value in values:
        size, text = abs(value), f"{value:,.4g}"
        for power, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
            if size >= power:
                text = f"{value / power:,.2f}{suffix}"
                break
        labels.append(text.replace("-", "\u2212"))
    return labels


def loss_waterfall(summary: RunSummary) -> Figure:
    """From the loss beyond the accounts' equity down to zero, payer by payer."""
    scale = 10**summary.money_decimals
    paid = [getattr(summary, name) / scale for _, name in PAYERS]
    total = sum(paid)
    left = [total - sum(paid[: place + 1]) for place in range(len(paid))]
    data = [
        {
            "type": "bar",
            "x": ["Loss beyond<br>equity", *(label.replace(", ", ",<br>") for label, _ in PAYERS)],
            "y": [total, *paid],
            "base": [0.0, *left],
            "text": _labels([total, *paid]),
            "textposition": "outside",
            "textangle": 0,
            "cliponaxis": False,
            "marker": {"color": ["var(--index)", *["var(--liquidation)"] * len(paid)]},
            "hovertemplate": f"%{{x}}: %{{text}} {summary.asset}<extra></extra>",
        }
    ]
    shape = layout(
        300,
        xaxis=axis("", showgrid=False, tickangle=0),
        yaxis=axis(f"Loss still to be paid, {summary.asset}", rangemode="tozero", nticks=5),
        showlegend=False,
        margin={"l": 76, "r": 16, "t": 28, "b": 60},
    )
    return {"data": data, "layout": shape}


def price_map(market: MarketSeries, asset: str, series: RunSeries) -> Figure:
    """Notional per price bucket as bars from the left, the mark path over them."""
    buckets = market.map_buckets
    middle = [(b.low + b.high) / 2 for b in buckets]
    height = [(b.high - b.low) * 0.92 for b in buckets]
    data = []
    for name, colour, values in (
        ("Longs", "var(--long)", [b.longs for b in buckets]),
        ("Shorts", "var(--short)", [b.shorts for b in buckets]),
    ):
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": f"{name}, notional",
                "y": middle,
                "x": values,
                "width": height,
                "marker": {"color": colour, "opacity": 0.55},
                "hovertemplate": f"{name} at %{{y:,}}: %{{x:,.0f}} {asset}<extra></extra>",
            }
        )
    data.append(step(market.mark, "Mark price", "var(--ink)", xaxis="x2", hovertemplate="%{y:,}"))
    shape = layout(
        460,
        xaxis2=clock(series, overlaying="x", side="bottom", tickmode="auto"),
        xaxis=axis(
            f"Notional per price bucket, {asset}",
            side="top",
            range=[0, 1.06 * (max(b.longs + b.shorts for b in buckets) or 1.0)],
            showgrid=False,
        ),
        yaxis=axis(f"{market.symbol} price"),
        barmode="stack",
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        margin={"l": 76, "r": 24, "t": 60, "b": 48},
    )
    return {"data": data, "layout": shape}
