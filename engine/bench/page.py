"""One self-contained page of whatever benchmarks a folder holds: curves, bars, tables.

Every picture's numbers are in a table beside it.
"""

import html
from pathlib import Path
from typing import Any

import msgspec

from engine.bench.latency import BURSTS
from engine.bench.results import Latency, Machine, Row, Spread, Table
from engine.bench.text import nanoseconds, spread_cells, value_text
from engine.report.charts import Figure
from engine.report.document import chart, details, document
from engine.report.document import table as html_table

PAGE = "bench.html"
COLOURS = ("var(--index)", "var(--fund)", "var(--mark)", "var(--liquidation)", "var(--debt)")
HEADS = ("", "Commands", "p50", "p90", "p99", "p99.9", "p99.99", "Max")
NUMBERS = tuple(range(1, len(HEADS)))
PERCENTS = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 8},
        "gridcolor": "var(--grid)",
        "linecolor": "var(--rule)",
        "tickcolor": "var(--rule)",
        "automargin": True,
        **more,
    }


def _figure(data: list[dict], height: int, **more: Any) -> Figure:
    layout = {
        "height": height,
        "margin": {"l": 76, "r": 24, "t": 34, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "var(--sans)", "size": 12, "color": "var(--ink)"},
        "hoverlabel": {"bgcolor": "var(--paper)", "font": {"color": "var(--ink)"}},
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        **more,
    }
    return {"data": data, "layout": layout}


def _curves(spreads: list[Spread]) -> Figure:
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
    figure = _figure(data, 420, xaxis=across, yaxis=up)
    figure["layout"]["legend"] |= legend
    return figure


def _bars(rows: list[Row]) -> Figure:
    """Millions a second as bars, with the range of the rounds."""
    rows = rows[::-1]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [f"{row.work}: <b>{value_text(row)}</b>" for row in rows],
        "x": [row.value for row in rows],
        "marker": {"color": "var(--mark)"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [row.highest - row.value for row in rows],
            "arrayminus": [row.value - row.lowest for row in rows],
            "color": "var(--soft)",
        },
        "hovertemplate": "%{y}<extra></extra>",
    }
    height = 110 + 34 * len(rows)
    return _figure([bars], height, xaxis=_axis("Millions a second"), yaxis=_axis(""))


def _ticks(rows: list[Row]) -> Figure:
    """The cost of a quiet tick over accounts; flat is what is wanted."""
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [row.size for row in rows],
        "y": [row.value for row in rows],
        "line": {"color": "var(--mark)", "width": 1.8},
        "hovertemplate": "%{x:,} accounts: %{y:,.0f} ns<extra></extra>",
    }
    across = _axis("Accounts", type="log", dtick=1, tickformat=",")
    return _figure([line], 320, xaxis=across, yaxis=_axis("ns a tick", rangemode="tozero"))


def _machine(machine: Machine) -> str:
    """Where the figures of one benchmark come from."""
    warning = (
        "Other work was running on the machine: these figures are provisional."
        if machine.provisional
        else "The machine was otherwise idle."
    )
    words = (
        f"{machine.processor}, {machine.cores} cores, load {machine.load:g} before the start; "
        f"Python {machine.python}, numba {machine.numba}, numpy {machine.numpy}, "
        f"Crashtape {machine.crashtape}; {machine.date}."
    )
    kind = "bad" if machine.provisional else "good"
    return f'<p class="note">{html.escape(words)} <span class="{kind}">{warning}</span></p>'


def _latency(found: Latency, figures: dict[str, Figure]) -> list[str]:
    figures["curves"] = _curves(found.by_burst)
    rows = [spread_cells(each) for each in (found.total, found.service, *found.by_kind)]
    bursts = [spread_cells(each) for each in found.by_burst]
    service = [spread_cells(each) for each in found.service_by_burst]
    heads = ("Liquidations", *HEADS[1:])
    parts = [
        "<h2>Latency by the size of the burst</h2>",
        f"<p>{found.commands:,} commands of {html.escape(found.scenario)} at {found.rate:,.0f} a "
        f"second ({found.arrivals} arrivals; {found.reached_rate:,.0f} a second were reached). "
        "Latency counts from the scheduled arrival: who waits behind a cascade is seen to wait. "
        f"Reading the clock costs {found.clock_ns:.0f} ns, a call {found.call_ns:.0f} ns.</p>",
        _machine(found.machine),
        chart("curves", "Latency percentiles by how many liquidations a command set off"),
        html_table(heads, bursts, NUMBERS),
        details("Service: from the call, without the wait", html_table(heads, service, NUMBERS)),
        details("In total and by kind", html_table(HEADS, rows, NUMBERS)),
    ]
    if found.probes:
        tried = [
            (f"{p.rate:,.0f}", nanoseconds(p.p99), "holds" if p.holds else "breaks")
            for p in sorted(found.probes, key=lambda probe: probe.rate)
        ]
        parts += [
            f"<p>p99 stays within {nanoseconds(found.bound_ns)} up to "
            f"<b>{found.rate_found:,.0f} commands a second</b>.</p>",
            details("Rates tried", html_table(("Commands a second", "p99", ""), tried, (0, 1))),
        ]
    return parts


def _table(table: Table, figures: dict[str, Figure]) -> list[str]:
    parts = []
    rates = [row for row in table.rows if row.unit == "M/s"]
    ticks = [row for row in table.rows if row.work.startswith("quiet")]
    if rates:
        figures["rates"] = _bars(rates)
        parts += ["<h2>Throughput</h2>", chart("rates", "Millions a second, by work")]
    if ticks:
        name = f"ticks-{table.kind}"
        figures[name] = _ticks(ticks)
        parts += ["<h2>Cost of a quiet tick</h2>", chart(name, "ns a tick by accounts")]
    cells = [
        (row.work, value_text(row), value_text(row, row.lowest), value_text(row, row.highest),
         str(row.rounds), row.result)
        for row in table.rows
    ]  # fmt: skip
    heads = ("Work", "Median", "Lowest", "Highest", "Rounds", "Checked result")
    note = "<p>A quick run: it shows that everything works, not how fast it is.</p>"
    quick = [note] if table.quick else []
    return [*parts, _machine(table.machine), *quick, html_table(heads, cells, (1, 2, 3, 4))]


def write_results(folder: Path, result: Latency | Table) -> Path:
    """Write `<kind>.json` and renew the page from every benchmark in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result.kind}.json").write_bytes(msgspec.json.encode(result))
    figures: dict[str, Figure] = {}
    body = ["<main>", "<h1>Crashtape, measured</h1>"]
    latency = folder / "latency.json"
    if latency.exists():
        body += _latency(msgspec.json.decode(latency.read_bytes(), type=Latency), figures)
    for kind in ("throughput", "scaling"):
        if (path := folder / f"{kind}.json").exists():
            body += _table(msgspec.json.decode(path.read_bytes(), type=Table), figures)
    page = folder / PAGE
    page.write_text(
        document("Crashtape, measured", "\n".join([*body, "</main>"]), figures), "utf-8"
    )
    return page


assert len(BURSTS) == len(COLOURS)
