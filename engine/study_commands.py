"""The commands for many runs, which `cli.py` names; that file maps their errors too."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.printing import print_rows, progress_bar, seconds

if TYPE_CHECKING:
    from engine.study.edges import Reversed

WorkersOption = Annotated[
    int, typer.Option(min=0, help="Processes that make runs; 0: one for each core.")
]
AT_FAULT, INTERRUPTED = 1, 130


@contextmanager
def _counting(label: str) -> Iterator:
    """A bar that counts; gives the callback for it."""
    with progress_bar() as bar:
        task = bar.add_task(label, total=None, amount="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, amount=f"{done:,} of {total:,}")

        yield show


def _cores(workers: int) -> int:
    return workers or len(os.sched_getaffinity(0))


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def compare(
    scenario: Annotated[Path, typer.Argument(help="The scenario, a TOML file.")],
    profiles: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Venue profiles to compare.")
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option(metavar="X,FIELD=Y", help="Choices of losses.*, against the scenario as is."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE[; ...]", help="A variant; may be repeated."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="PATH=VALUE", help="A change for all; may be repeated."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from the scenario's on.")] = 1,
    watch: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="How likely is its deleveraging?")
    ] = None,
    rehedge_seconds: Annotated[
        int, typer.Option(min=0, help="When the watched account trades lost lots back.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("runs/compare"),
    workers: WorkersOption = 0,
    data: Annotated[
        Path | None, typer.Option("--data", help="A folder the scenario's files may also be in.")
    ] = None,
) -> None:
    """Run one scenario under several rules: same tape, same population, same seeds."""
    from engine.study.comparison import compare as comparison
    from engine.study.comparison import same_start, variants_of, watched_table
    from engine.study.labels import number
    from engine.study.page import overview, write_comparison
    from engine.study.watching import Wanted

    variants = variants_of(_listed(profiles), _listed(policies), sets or [], watch is not None)
    with _counting("Comparing") as show:
        found = comparison(
            scenario,
            variants,
            seeds=seeds,
            workers=_cores(workers),
            also=also or [],
            watched=Wanted(watch, rehedge_seconds) if watch else None,
            data=data,
            progress=show,
        )
    page = write_comparison(found, out)
    heads, rows = overview(found)
    _print_table(heads, rows)
    money = 10**found.base.profile.settlement.decimals
    heads, rows = watched_table(found, lambda value: number(value / money))
    if rows:
        _print_table(heads, rows)
    print(same_start(found))
    print(f"Rows: {out / 'runs.parquet'}   Page: {page}")
    for line in found.failed:
        print(f"error: {line}", file=sys.stderr)
    if found.failed:
        raise typer.Exit(AT_FAULT)


def _print_table(heads: list[str], rows: list[list[str]]) -> None:
    """A table of rich; as wide as it needs to be where standard output is no terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(escape(head), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1_000)
    console.print(table)


def sweep(
    study: Annotated[Path, typer.Argument(help="The study, a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write, or to go on with.")] = None,
    workers: WorkersOption = 0,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Use this Dask scheduler's workers.")
    ] = None,
    local_cluster: Annotated[
        bool, typer.Option("--local-cluster", help="Use a Dask cluster made on this machine.")
    ] = False,
) -> None:
    """Make every run of a study; a stopped sweep goes on where it stopped."""
    from engine.study.plan import load_study
    from engine.study.sweeping import sweep as run_study

    folder = out or Path("runs") / load_study(study).study.name
    try:
        with _counting("Sweeping") as show:
            swept = run_study(
                study,
                folder,
                workers=_cores(workers),
                cluster=local_cluster or scheduler is not None,
                scheduler=scheduler,
                progress=show,
            )
    except KeyboardInterrupt:
        text = "error: interrupted; finished runs are kept, the same command goes on"
        print(text, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    rows = swept.rows
    rate = f" ({swept.made_count / swept.wall_ns * 1e9:.2f} a second)" if swept.made_count else ""
    print(swept.study.study.title)
    made = f"{swept.made_count:,} made now in {seconds(swept.wall_ns)}{rate}"
    print(f"{rows.height:,} runs, {made}.")
    print(f"Rows: {folder / 'runs'}   Page: {folder / 'study.html'}")
    if swept.failed_count:
        first = rows.filter(rows["error"] != "").row(0, named=True)
        count = f"{swept.failed_count:,} runs failed"
        print(f"error: {count}; run {first['run']}: {first['error']}", file=sys.stderr)
        raise typer.Exit(AT_FAULT)


def sensitivity(
    study: Annotated[Path, typer.Argument(help="The study, a TOML file of design saltelli.")],
    out: Annotated[Path | None, typer.Option(help="The folder of its sweep.")] = None,
    measures: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns of a row; else those of the page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the indices as JSON.")] = False,
) -> None:
    """Sobol indices of a finished sweep: which field decides a measure."""
    import msgspec

    from engine.study.dataset import finished_rows
    from engine.study.indices import sensitivities, sensitivity_rows
    from engine.study.labels import number, title_of, unit_of
    from engine.study.page import shown_columns
    from engine.study.plan import load_study

    loaded = load_study(study)
    rows = finished_rows(out or Path("runs") / loaded.study.name, loaded.key())
    found = sensitivities(loaded, rows, _listed(measures) or shown_columns(loaded, rows))
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    settlement = loaded.base.profile.settlement
    print(f"{loaded.study.title}: {found[0].points:,} points, {found[0].seeds} seeds each")
    for each in found:
        scale = unit_of(each.column, settlement.decimals)
        mean, deviation = (number(value / scale) for value in (each.mean, each.deviation))
        title = title_of(each.column, settlement.asset)
        print(f"\n{title}: mean {mean}, standard deviation {deviation}")
        if each.indices:
            _print_table(*sensitivity_rows(each))
        else:
            print("The same in every run.")


def search(
    study: Annotated[Path, typer.Argument(help="The study, a TOML file with [search].")],
    out: Annotated[Path | None, typer.Option(help="A folder for trials and runs.")] = None,
    workers: WorkersOption = 0,
) -> None:
    """Look for the values that serve an aim best and keep the study's requirements."""
    from engine.study.dataset import write_frames
    from engine.study.labels import number, title_of, unit_of
    from engine.study.searching import best_rows, search_for

    with _counting("Searching") as show:
        found = search_for(study, workers=_cores(workers), progress=show)
    if out is not None:
        write_frames(out, {"trials.parquet": found.trials, "runs.parquet": found.runs}, {})
    settlement, asked = found.study.base.profile.settlement, found.search
    scale = unit_of(asked.column, settlement.decimals)
    over = f"{asked.of} over {found.study.study.seeds} seeds"
    print(f"{found.study.study.title}: {asked.aim} {asked.column}, {over}")
    heads, rows = best_rows(found, lambda value: number(value / scale))
    heads[-1 - len(asked.require)] = title_of(asked.column, settlement.asset)
    _print_table(heads, rows)
    print(f"{found.trials.height:,} trials, {found.runs.height:,} runs, search seed {asked.seed}.")
    if not found.best["allowed"]:
        print("error: no trial kept every requirement; the first row is nearest", file=sys.stderr)
        raise typer.Exit(AT_FAULT)


def reverse(
    study: Annotated[Path, typer.Argument(help="The study, a TOML file with [reverse].")],
    out: Annotated[Path | None, typer.Option(help="A folder for edges and runs.")] = None,
    workers: WorkersOption = 0,
) -> None:
    """Find where along one field a condition begins or ceases to hold, for each seed."""
    from engine.study.edge_page import write
    from engine.study.edges import curve_rows, frontier_rows, summary_rows
    from engine.study.edges import reverse as search

    with _counting("Searching") as show:
        found = search(study, workers=_cores(workers), progress=show)
    page = write(found, out) if out is not None else None
    print(f"{found.study.study.title}: {found.edge.vary.field} where {found.edge.condition}")
    if found.edge.across is not None:
        _print_table(*frontier_rows(found))
    else:
        _print_edges(found)
        print_rows(summary_rows(found))
    if found.curve:
        _print_table(*curve_rows(found))
    print(f"{found.runs.height:,} runs." + (f" Page: {page}" if page else ""))


def fork(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with its tape.")],
    at: Annotated[str, typer.Option(metavar="TIME", help="HH:MM:SS, or a whole UTC time.")],
    policies: Annotated[
        str | None,
        typer.Option(metavar="X,FIELD=Y", help="Choices of losses.*, against the run as it was."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE[; ...]", help="A variant; may be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("runs/fork"),
) -> None:
    """Go on with a run from a time under other policies; its past is not computed again."""
    from engine.study.comparison import variants_of
    from engine.study.forking import fork as part_ways
    from engine.study.forking import written_time
    from engine.study.page import overview, write_comparison

    found = part_ways(run, at, variants_of((), _listed(policies), sets or []))
    page = write_comparison(found.comparison, out)
    when = written_time(found.at_ns)
    past = "taken from where it was kept" if found.was_kept else "computed once and kept"
    count = f"{found.commands_count:,} commands"
    print(f"{found.comparison.base.scenario.title}: forked at {when} UTC after {count}, {past}")
    heads, rows = overview(found.comparison)
    _print_table(["The whole run", *heads[1:]], rows)
    print(f"Rows: {out / 'runs.parquet'}   Page: {page}")
    for line in found.comparison.failed:
        print(f"error: {line}", file=sys.stderr)
    if found.comparison.failed:
        raise typer.Exit(AT_FAULT)


def _print_edges(found: "Reversed") -> None:
    """The edge of every seed."""
    heads = ["Seed", "Outcome", "Holds at", "Not at", "Runs"]
    columns = ("seed", "edge", "holds_at", "not_at", "runs")
    rows = [
        [str("" if row[name] is None else row[name]) for name in columns]
        for row in found.edges.iter_rows(named=True)
    ]
    _print_table(heads, rows)
