"""`crashtape bench`: parses, measures, prints, and writes the folder it is given."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from engine.bench.results import Latency, Table

app = typer.Typer(help="Measure this machine: latency under a cascade, throughput, scaling.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
OutOption = Annotated[
    Path | None, typer.Option(help="A folder for the JSON, the histograms and the page.")
]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="Small works: shows that it runs, not how fast it is.")
]


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr)


def _give(result: "Latency | Table", lines: list[str], out: Path | None, as_json: bool) -> None:
    """Print a result and write it where that was asked for."""
    page = None
    if out is not None:
        from engine.bench.page import write_results

        page = write_results(out, result)
    if as_json:
        print(msgspec.json.encode(result).decode())
        return
    print("\n".join(lines))
    if page is not None:
        print(f"Page: {page}")


@app.command()
def latency(
    scenario: Annotated[Path, typer.Argument(help="The scenario, a TOML file.")],
    rate: Annotated[float, typer.Option(help="Commands a second, on average.")],
    arrivals: Annotated[str, typer.Option(help="poisson, recorded or burst.")] = "poisson",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change one field; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A folder the scenario's files may also be in.")
    ] = None,
    commands: Annotated[
        int, typer.Option(min=0, help="Only the first so many commands of history; 0: all.")
    ] = 0,
    search: Annotated[
        bool, typer.Option("--search", help="Search for the rate at which p99 breaks the bound.")
    ] = False,
    bound_us: Annotated[
        float, typer.Option("--bound-us", min=0.001, help="The bound of p99, in microseconds.")
    ] = 1_000.0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Latency from scheduled arrivals, by kind and by the size of the liquidation burst."""
    from engine.bench.latency import measure
    from engine.bench.text import latency_lines
    from engine.scenario import load_scenario

    loaded = load_scenario(scenario, changes or [], data)
    bound_ns = round(bound_us * 1_000) if search else 0
    found, log = measure(loaded, arrivals, rate, limit=commands, bound_ns=bound_ns)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "latency.hlog").write_text(log, "utf-8")
    _give(found, latency_lines(found), out, as_json)


MarkdownOption = Annotated[
    bool, typer.Option("--markdown", help="Print the table in Markdown, to be pasted.")
]


@app.command()
def throughput(
    quick: QuickOption = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Only this group of rows; may be repeated."),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Other engines on the same flows, as installed.")
    ] = False,
    out: OutOption = None,
    as_json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """The table of docs/performance.md on this machine; results are checked before figures.

    Groups: flows, orders, calls, ticks, fills, crash, million, adl, tape, start, memory.
    """
    from engine.bench.text import markdown_lines, table_lines
    from engine.bench.throughput import throughput as measure
    from engine.bench.work import load_sizes

    sizes = load_sizes(quick)
    table = measure(sizes, quick, only, _say)
    if peers:
        from engine.bench.peers import against_peers

        table.peers = against_peers(sizes, _say)
    _give(table, (markdown_lines if markdown else table_lines)(table), out, as_json)


@app.command()
def scaling(
    quick: QuickOption = False,
    out: OutOption = None,
    as_json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Costs over accounts, markets and live orders, and one process against two."""
    from engine.bench.scaling import scaling as measure
    from engine.bench.text import markdown_lines, table_lines
    from engine.bench.work import load_sizes

    table = measure(load_sizes(quick), quick, _say)
    _give(table, (markdown_lines if markdown else table_lines)(table), out, as_json)


@app.command()
def peers(
    install: Annotated[
        bool, typer.Option("--install", help="Install each into an environment of its own.")
    ] = False,
) -> None:
    """The other engines that `throughput --peers` knows, and which of them are installed."""
    from engine.bench.peers import install_all, peer_lines

    if install:
        install_all(_say)
    print("\n".join(peer_lines()))


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="What --out named.")],
    markdown: MarkdownOption = False,
) -> None:
    """Print again what throughput and scaling have written into a folder."""
    from engine.bench.page import KINDS, read_tables
    from engine.bench.results import BenchRequestError
    from engine.bench.text import markdown_lines, table_lines

    tables = read_tables(folder)
    if not tables:
        wanted = " or ".join(f"{kind}.json" for kind in KINDS)
        raise BenchRequestError(f"{folder.name}: expected {wanted}")
    lines = markdown_lines if markdown else table_lines
    print("\n\n".join("\n".join(lines(table)) for table in tables))
