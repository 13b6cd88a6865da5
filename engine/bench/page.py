"""One self-contained page of whatever benchmarks a folder holds: curves, bars, tables.

Every picture's numbers are in a table beside it.
"""

import html
from pathlib import Path

import msgspec

from engine.bench.figures import (
    cost_curve,
    goal_bars,
    peer_bars,
    percentile_curves,
    rate_bars,
)
from engine.bench.goals import GROWS
from engine.bench.results import Latency, Machine, Table
from engine.bench.text import (
    HEADS as TABLE_HEADS,
)
from engine.bench.text import (
    PEER_HEADS,
    PROVISIONAL,
    QUICK,
    nanoseconds,
    peer_cells,
    spread_cells,
    table_cells,
)
from engine.report.charts import Figure
from engine.report.document import chart, details, document
from engine.report.document import table as html_table

PAGE = "bench.html"
HEADS = ("", "Commands", "p50", "p90", "p99", "p99.9", "p99.99", "Max")
NUMBERS = tuple(range(1, len(HEADS)))
KINDS = ("throughput", "scaling")
RATES = ("book-", "exchange-", "call-", "crash-", "million-")  # the keys of rows of messages
CURVES = (  # the keys of rows begin so; heading; across; up
    ("tick", "Cost of a quiet tick", "Accounts", "ns a tick"),
    ("accounts", "Quiet ticks by accounts", "Accounts", "ns a tick"),
    ("markets", "Quiet ticks by markets", "Markets", "ns a tick"),
    ("orders", "Messages by live orders", "Live orders", "ns a message"),
)


def _machine(machine: Machine, provisional: bool) -> str:
    """Where the figures of one benchmark come from."""
    warning = PROVISIONAL if provisional else "The machine was otherwise idle."
    words = (
        f"{machine.processor}, {machine.cores} cores, load {machine.load:g} before the start; "
        f"Python {machine.python}, numba {machine.numba}, numpy {machine.numpy}, "
        f"Crashtape {machine.crashtape}; {machine.date}."
    )
    kind = "bad" if provisional else "good"
    return f'<p class="note">{html.escape(words)} <span class="{kind}">{warning}</span></p>'


def _latency(found: Latency, figures: dict[str, Figure]) -> list[str]:
    figures["curves"] = percentile_curves(found.by_burst)
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
        _machine(found.machine, found.machine.provisional),
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


def _rates(table: Table, figures: dict[str, Figure]) -> list[str]:
    rates = [row for row in table.rows if row.key.startswith(RATES) and row.unit in GROWS]
    judged = [row for row in table.rows if row.goal is not None]
    parts = []
    if rates:
        figures["rates"] = rate_bars(rates)
        parts += ["<h2>Throughput</h2>", chart("rates", "Millions a second, by work")]
    if judged:
        figures["goals"] = goal_bars(judged)
        words = "How much of each goal is reached: right of the line it is, left of it it is missed"
        parts += ["<h2>Against the goals</h2>", chart("goals", words)]
    return parts


def _peers(table: Table, figures: dict[str, Figure]) -> list[str]:
    if not table.peers:
        return []
    measured = [peer for peer in table.peers if not peer.reason and peer.unit in GROWS]
    parts = ["<h2>Other engines on the same flows</h2>"]
    for how in dict.fromkeys(peer.how for peer in measured):
        name = f"peers-{how.replace(' ', '-')}"
        figures[name] = peer_bars([peer for peer in measured if peer.how == how])
        words = f"Millions of messages a second, {how}: other engines and Crashtape"
        parts += [f"<h3>Messages {how}</h3>", chart(name, words)]
    return [*parts, html_table(PEER_HEADS, peer_cells(table), (3, 4, 5))]


def _curves_of(table: Table, figures: dict[str, Figure]) -> list[str]:
    parts = []
    for prefix, heading, across, up in CURVES:
        lines = {
            name: [row for row in table.rows if row.key == f"{prefix}{key}"]
            for name, key in (("isolated", "-isolated"), ("cross", "-cross"), ("", ""))
        }
        lines = {name: rows for name, rows in lines.items() if rows}
        if lines:
            figures[f"{table.kind}-{prefix}"] = cost_curve(lines, across, up)
            words = f"{up} by {across.lower()}"
            parts += [f"<h2>{heading}</h2>", chart(f"{table.kind}-{prefix}", words)]
    if rows := [row for row in table.rows if row.key == "processes"]:
        figures["processes"] = rate_bars(rows)
        words = "Millions of messages a second by processes"
        parts += ["<h2>Processes</h2>", chart("processes", words)]
    return parts


def _table(table: Table, figures: dict[str, Figure]) -> list[str]:
    heads = (*(head.capitalize() for head in TABLE_HEADS), "Rounds", "Checked result", "Note")
    cells = [
        (*each, str(row.rounds), row.result, row.note)
        for row, each in zip(table.rows, table_cells(table), strict=True)
    ]
    return [
        *_rates(table, figures),
        *_peers(table, figures),
        *_curves_of(table, figures),
        _machine(table.machine, table.provisional),
        *[f"<p>{QUICK}</p>"] * table.quick,
        details("Every row", html_table(heads, cells, (1, 2, 3, 4, 7, 8, 9))),
    ]


def merged(old: Table, new: Table) -> Table:
    """What a folder holds, with the groups that a run measured renewed.

    Only rows of the same program on the same processor, of the same length, are kept.
    """
    same = [(t.quick, t.machine.processor, t.machine.crashtape) for t in (old, new)]
    if same[0] != same[1]:
        return new
    renewed = {row.group for row in new.rows}
    rows = [*new.rows, *(row for row in old.rows if row.group not in renewed)]
    rows.sort(key=lambda row: new.groups.index(row.group) if row.group in new.groups else -1)
    return msgspec.structs.replace(new, rows=rows, peers=new.peers or old.peers)


def read_tables(folder: Path) -> list[Table]:
    """The tables that a folder holds, which may be none."""
    paths = [folder / f"{kind}.json" for kind in KINDS]
    return [msgspec.json.decode(path.read_bytes(), type=Table) for path in paths if path.exists()]


def write_results(folder: Path, result: Latency | Table) -> Path:
    """Write `<kind>.json` and renew the page from every benchmark in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    before = folder / f"{result.kind}.json"
    if isinstance(result, Table) and before.exists():
        result = merged(msgspec.json.decode(before.read_bytes(), type=Table), result)
    (folder / f"{result.kind}.json").write_bytes(msgspec.json.encode(result))
    figures: dict[str, Figure] = {}
    body = ["<main>", "<h1>Crashtape, measured</h1>"]
    latency = folder / "latency.json"
    if latency.exists():
        body += _latency(msgspec.json.decode(latency.read_bytes(), type=Latency), figures)
    for table in read_tables(folder):
        body += _table(table, figures)
    page = folder / PAGE
    page.write_text(
        document("Crashtape, measured", "\n".join([*body, "</main>"]), figures), "utf-8"
    )
    return page
