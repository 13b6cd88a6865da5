"""Figures in words and lines, for the terminal and the page."""

from collections.abc import Iterable, Sequence

from engine.bench.goals import GROWS
from engine.bench.results import Latency, Machine, Row, Spread, Table

PROVISIONAL = "Other work was running: these figures are provisional."
QUICK = "A quick run: it shows that everything works, not how fast it is."
PEER_HEADS = ("Engine", "Work", "It comes", "Its median", "Ours", "Ours is faster by", "")
HEADS = ["work", "median", "lowest", "highest", "goal", "", "best elsewhere", "pace", "others"]


def nanoseconds(value: float) -> str:
    """A span with a unit that suits it.

    >>> nanoseconds(850), nanoseconds(12_340), nanoseconds(2_500_000)
    ('850 ns', '12.3 µs', '2.50 ms')
    """
    for unit, least, places in (("s", 1e9, 2), ("ms", 1e6, 2), ("µs", 1e3, 1)):
        if value >= least:
            return f"{value / least:,.{places}f} {unit}"
    return f"{value:,.0f} ns"


def figure_text(value: float, unit: str) -> str:
    """A figure with its unit.

    >>> figure_text(12.345, "M/s"), figure_text(1_500, "ns"), figure_text(96, "B")
    ('12.35 M/s', '1.5 µs', '96 B')
    """
    if unit == "ns":
        return nanoseconds(value)
    places = 0 if unit == "B" or value >= 100 else 2
    return f"{value:,.{places}f} {unit}"


def value_text(row: Row, value: float | None = None) -> str:
    """A value of a row with its unit; the median where none is given."""
    return figure_text(row.value if value is None else value, row.unit)


REACHED = {True: "reached", False: "missed", None: ""}


def goal_cells(row: Row) -> tuple[str, str, str]:
    """The goal, whether it was reached, and the best figure known elsewhere with whose it is."""
    if row.goal is None:
        return "", "", ""
    elsewhere = "" if row.elsewhere is None else f"{value_text(row, row.elsewhere)} ({row.who})"
    bound = "≥" if row.unit in GROWS else "≤"
    return f"{bound} {value_text(row, row.goal)}", REACHED[row.reached], elsewhere


def share_text(share: float) -> str:
    """A share with two places; a dash where nobody knows."""
    return f"{share:.2f}" if share >= 0 else "–"


def spread_cells(each: Spread) -> list[str]:
    """Name, count and percentiles of a histogram; dashes where nothing was counted."""
    values = [nanoseconds(value) if each.count else "–" for value in each.percentiles.values()]
    return [each.name, f"{each.count:,}", *values]


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with columns below each other: the first aligned left, the others right."""
    rows = list(rows)
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (
            f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return lines


def machine_lines(machine: Machine) -> list[str]:
    """Machine, versions and date; and whether other work was running."""
    lines = [
        f"{machine.processor}, {machine.cores} cores, load {machine.load:g} before the start",
        f"Python {machine.python}, numba {machine.numba}, numpy {machine.numpy}, "
        f"Crashtape {machine.crashtape}; {machine.date}",
    ]
    return [*lines, PROVISIONAL] if machine.provisional else lines


def table_lines(table: Table) -> list[str]:
    """`bench throughput` or `bench scaling` as lines."""
    heads = [*HEADS, "checked result"]
    rows = [[*cells, row.result] for row, cells in zip(table.rows, table_cells(table), strict=True)]
    notes = [f"{row.work}: {row.note}" for row in table.rows if row.note]
    if table.peers:
        notes += ["", *aligned([PEER_HEADS, *peer_cells(table)])]
    machine = machine_lines(table.machine)
    if table.provisional and PROVISIONAL not in machine:
        machine.append(PROVISIONAL)
    return [*aligned([heads, *rows]), "", *notes, "", *machine, *[QUICK] * table.quick]


def table_cells(table: Table) -> list[list[str]]:
    """The cells below HEADS."""
    return [
        [row.work, value_text(row), value_text(row, row.lowest), value_text(row, row.highest),
         *goal_cells(row), share_text(row.pace), share_text(row.others)]
        for row in table.rows
    ]  # fmt: skip


def markdown_lines(table: Table) -> list[str]:
    """The same as a table in Markdown, to be pasted into a document."""
    rows = [
        HEADS[:-1],
        ["---", *["---:"] * 3, *["---"] * 3, "---:"],
        *(c[:-1] for c in table_cells(table)),
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    notes = [f"- {row.work}: {row.note}" for row in table.rows if row.note]
    if table.peers:
        peers = [PEER_HEADS, ["---"] * len(PEER_HEADS), *peer_cells(table)]
        notes += ["", *(f"| {' | '.join(cells)} |" for cells in peers)]
    machine = machine_lines(table.machine)
    return [*lines, "", *notes, "", *machine, *[QUICK] * table.quick]


def peer_cells(table: Table) -> list[tuple[str, ...]]:
    """The cells below PEER_HEADS; a reason where there is no figure."""
    return [
        (f"{peer.name} {peer.version}".strip(), peer.flow, peer.how,
         *(("–", "–", "–") if peer.reason else
           (figure_text(peer.value, peer.unit), figure_text(peer.ours, peer.unit),
            f"{peer.ratio:,.2f} ×")), peer.reason)
        for peer in table.peers
    ]  # fmt: skip


def latency_lines(found: Latency) -> list[str]:
    """`bench latency` as lines."""
    heads = ["from the scheduled arrival", "commands", *found.total.percentiles]
    rows = [spread_cells(each) for each in (found.total, *found.by_kind)]
    bursts = [[f"{each.name} liquidations", *spread_cells(each)[1:]] for each in found.by_burst]
    lines = aligned([heads, *rows, *bursts, spread_cells(found.service)])
    lines += [
        "",
        f"{found.scenario}: {found.commands:,} commands at {found.rate:,.0f}/s ({found.arrivals}), "
        f"{found.reached_rate:,.0f}/s reached; {found.events:,} events, digest "
        f"{found.event_digest[:16]} as in one batch",
        f"Reading the clock: {found.clock_ns:.0f} ns; an empty call: {found.call_ns:.0f} ns",
    ]
    if found.probes:
        lines.append(
            f"p99 stays within {nanoseconds(found.bound_ns)} up to {found.rate_found:,.0f}/s "
            f"({len(found.probes)} rates tried)"
        )
    return [*lines, *machine_lines(found.machine)]
