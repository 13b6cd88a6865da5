"""The command line: run, verify, explain, venues, import, export, match, bench, and the studies.

It parses, prints and maps errors. Those of studies are in `study_commands.py`.

Every refusal is one line on standard error that begins with `error:` and names the file and the
field. Exit status: 0 done, 1 the engine or a run is at fault (audit, verification), 2 bad input,
130 interrupted. What takes long to import is imported when a command needs it.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from engine import people_commands, study_commands
from engine.bench.commands import app as bench_app
from engine.cli_fuzz import RunOrFuzz, fuzz
from engine.printing import follow, print_import, print_report, progress_bar, seconds

if TYPE_CHECKING:
    from engine.messages import Report
    from engine.run_journal import RunJournal, RunRequest
    from engine.scenario import LoadedScenario

app = typer.Typer(
    name="crashtape",
    help="A deterministic simulator of a futures exchange in a crash.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
verify_app = typer.Typer(
    cls=RunOrFuzz,
    help="`verify RUN` runs a folder again and compares; `verify fuzz` runs random commands.",
    rich_markup_mode=None,
)
app.add_typer(verify_app, name="verify")
verify_app.command("fuzz")(fuzz)
app.add_typer(bench_app, name="bench")
BAD_INPUT, AT_FAULT, INTERRUPTED = 2, 1, 130

DataOption = Annotated[
    Path | None, typer.Option("--data", help="A folder the scenario's files may also be in.")
]


class CommandError(ValueError):
    """The command line itself asks for something impossible."""


@app.command()
def run(
    scenario: Annotated[
        Path | None, typer.Argument(help="The scenario, a TOML file.", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change one field; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to write.")] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Commands that cross into the core at once.")
    ] = 65_536,
    check_index: Annotated[
        bool, typer.Option("--check-index", help="Check the trigger index after every step; slow.")
    ] = False,
    data: DataOption = None,
    no_tape: Annotated[
        bool, typer.Option("--no-tape", help="Do not keep the tape in the run folder.")
    ] = False,
    overshoot: Annotated[
        bool,
        typer.Option("--overshoot", help="Run again without feedback: how much further it went."),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Go on with a killed run into this folder."),
    ] = None,
) -> None:
    """Run a scenario: print what became of it and write a run folder."""
    from engine.run_journal import RunJournal, RunRequest
    from engine.scenario import load_scenario

    loaded = None
    if resume is not None:
        if scenario or changes or out or data or no_tape or check_index or overshoot:
            raise CommandError("--resume: the run knows its scenario and options; give none")
        folder = resume
        journal, request = RunJournal.resume(folder)
    elif scenario is None:
        raise CommandError("Missing argument 'SCENARIO'; or --resume and a folder")
    else:
        request = RunRequest(
            scenario=os.path.abspath(scenario),
            changes=changes or [],
            data=os.path.abspath(data) if data else None,
            batch=batch,
            check_index=check_index,
            keep_tape=not no_tape,
            overshoot=overshoot,
        )
        loaded = load_scenario(scenario, request.changes, data)
        folder = out or Path("runs") / loaded.scenario.name
        journal = RunJournal.start(folder, request, loaded)
    with journal:
        if loaded is None:
            loaded = load_scenario(request.scenario, request.changes, request.data)
            journal.check(request, loaded)
        report = _run_journaled(loaded, folder, journal, request)
    if report.refused:
        first = report.refused[0]
        count = sum(report.refused_reasons.values())
        print(
            f"error: {count:,} commands of the tape were refused; the first is command "
            f"{first.seq}: {first.kind} of account {first.account_id}: {first.reason}",
            file=sys.stderr,
        )
        raise typer.Exit(AT_FAULT)


def _run_journaled(
    loaded: "LoadedScenario", folder: Path, journal: "RunJournal", request: "RunRequest"
) -> "Report":
    """Run what was asked for into a folder and print what became of it."""
    from engine.replay import replay

    with progress_bar() as bar:
        report = replay(
            loaded,
            folder,
            batch_size=request.batch,
            progress=follow(bar),
            check_index=request.check_index,
            keep_tape=request.keep_tape,
            journal=journal,
            overshoot=request.overshoot,
        )
    print_report(report, folder)
    if journal.is_resumed:
        torn = journal.journal.torn_bytes
        cut = f"; {torn:,} bytes of a batch that broke off were cut" if torn else ""
        print(f"Resumed after the {journal.resumed_count:,} commands of the journal{cut}.")
    return report


@app.command(name="compile")
def compile_kernels() -> None:
    """Compile the kernels now, so that no later run has to wait for it."""
    from engine.replay import warm_up
    from engine.venue import load_venue, shipped_venues

    with progress_bar() as bar:
        spent_ns = warm_up(load_venue(shipped_venues()[0]), follow(bar))
    print(f"Compiled in {seconds(spent_ns)}." if spent_ns else "The kernels are compiled already.")


@verify_app.command("RUN")
def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    data: DataOption = None,
) -> None:
    """Run a run folder again and compare every event and the final state."""
    from engine.verify import verify as repeat

    with progress_bar() as bar:
        result = repeat(folder, data=data, progress=follow(bar))
    source = "its tape" if result.from_tape else "its scenario"
    for difference in result.differences:
        print(f"error: {folder.name}: {difference}", file=sys.stderr)
    if not result.ok:
        raise typer.Exit(AT_FAULT)
    print(
        f"{folder.name}: equal. {result.commands_count:,} commands from {source} gave the "
        f"recorded {result.events_count:,} events and the recorded state."
    )
    print(f"Events {result.event_digest}")
    print(f"State  {result.state_digest}")


@app.command()
def venues(
    name: Annotated[
        str | None, typer.Argument(help="One profile in full: shipped, or a .toml file.")
    ] = None,
) -> None:
    """List the venue profiles: markets, rules in short, what they rest on; or show one in full."""
    from engine.catalogue import in_full, in_short
    from engine.venue import load_venue, shipped_venues

    if name is not None:
        print("\n".join(in_full(load_venue(name))))
        return
    print("\n\n".join("\n".join(in_short(load_venue(each))) for each in shipped_venues()))


@app.command("import")
def import_files(
    kind: Annotated[str, typer.Argument(help="What the files are; a wrong one lists them all.")],
    files: Annotated[list[Path], typer.Argument(help="Files of one market, in order of time.")],
    market: Annotated[
        str, typer.Option(help="A symbol of the venue; without a venue SYMBOL:TICK:LOT.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The tape, or the .parquet table, to write.")
    ],
    venue: Annotated[
        str | None, typer.Option(help="A shipped venue profile, or a .toml file.")
    ] = None,
    role: Annotated[
        str, typer.Option("--as", help="What the rows are: index, mark, trade, depth, facts, ...")
    ] = "",
    more: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KIND[@AS][:SYMBOL]=FILE", help="A file to merge by time."),
    ] = None,
    symbol: Annotated[str, typer.Option(help="The market's name in the files.")] = "",
    columns: Annotated[
        str, typer.Option(metavar="MEANING=COLUMN,...", help="The columns of kind csv.")
    ] = "",
    trim_spaces: Annotated[
        bool, typer.Option("--trim-spaces", help="Read bookDepth with spaces before the time.")
    ] = False,
) -> None:
    """Turn files of public formats into a tape."""
    from engine.convert import Source, market_units
    from engine.convert import import_files as convert

    sources = [Source(kind, file, role, symbol) for file in files]
    for text in more or ():
        what, equals, name = text.partition("=")
        if not (what and equals and name):
            raise CommandError(f"--with: expected KIND=FILE, got {text!r}")
        what, _, other_symbol = what.partition(":")
        other, _, use = what.partition("@")
        sources.append(Source(other, Path(name), use, other_symbol or symbol))
    with progress_bar() as bar:
        total = len(sources) if len(sources) > 1 else None
        task = bar.add_task("Importing", total=total, amount="")

        def show(report, done: int) -> None:
            amount = f"{report.source}: {report.rows_read:,} rows"
            bar.update(task, completed=done, amount=amount)

        reports, info = convert(
            sources,
            market_units(market, venue),
            output,
            columns=_column_map(columns),
            trim_spaces=trim_spaces,
            progress=show,
        )
    for report in reports:
        print_import(report)
    if info is None:
        print(f"{output}: {sum(report.commands for report in reports):,} rows")
    else:
        print(f"{output}: {info.records:,} commands, hash {info.tape_hash}")


def _column_map(text: str):
    """The column map written as `time=ts,price=px,...`; `rows`, `unit` and `names` are its own."""
    from engine.column_map import ColumnMap

    if not text:
        return None
    given = dict(part.partition("=")[::2] for part in text.split(","))
    own = {name: given.pop(name) for name in ("rows", "unit") if name in given}
    if "names" in given:
        own["names"] = given.pop("names").split("/")
    try:
        return msgspec.convert({"fields": given, **own}, ColumnMap)
    except msgspec.ValidationError as error:
        raise CommandError(f"--columns: {error}") from None


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a tape.")],
    market: Annotated[str, typer.Option(help="The symbol of the market.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz file to write.")],
) -> None:
    """Write a run's or a tape's trades and book as an event array that hftbacktest reads."""
    from engine.export import export_hftbacktest

    count = export_hftbacktest(source, market, output)
    print(f"{output}: {count:,} events")


@app.command()
def match(
    commands: Annotated[Path, typer.Argument(help="Order flow: csv, csv.gz, parquet or npy.")],
    initial: Annotated[Path | None, typer.Option(help="The book before the first command.")] = None,
    fills: Annotated[Path | None, typer.Option(help="The file of fills to write.")] = None,
    final: Annotated[Path | None, typer.Option(help="The file of the final book to write.")] = None,
    bbo: Annotated[Path | None, typer.Option(help="The file of best quotes to write.")] = None,
    bbo_every: Annotated[
        int, typer.Option(min=0, help="Commands between two best quotes; 0: only at the end.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run order flow through the book alone."""
    from engine.match import run_match, run_npy

    if commands.suffix == ".npy":
        if any((initial, fills, final, bbo)):
            raise CommandError(f"{commands.name}: an npy flow is measured only, nothing is written")
        result = run_npy(commands)
    else:
        outputs = {"initial": initial, "fills": fills, "final": final, "bbo": bbo}
        result = run_match(commands, bbo_every=bbo_every, **outputs)
    if as_json:
        print(msgspec.json.encode(result).decode())
        return
    print(
        f"{result.messages:,} messages, {result.trades:,} trades of {result.qty:,}, "
        f"{result.live:,} orders left, checksum {result.checksum}, {result.seconds:.6f} s matching"
    )


@app.command(name="explain")
def explain_situation(
    situation: Annotated[Path, typer.Argument(help="The situation, a TOML file.")],
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option(metavar="MARKET=PRICE", help="Move a mark there; may be repeated."),
    ] = None,
    venues_too: Annotated[
        str | None, typer.Option("--across", metavar="V1,V2", help="The same at other venues.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    core: Annotated[
        bool, typer.Option("--core", help="Ask the compiled core instead of the rulebook.")
    ] = False,
) -> None:
    """How accounts stand, what happens if the mark moves, who pays, and what is still owed."""
    from engine.across import across
    from engine.explain import explain
    from engine.explain_text import comparison_lines, explanation_lines, wanted_marks
    from engine.situation import load_situation

    loaded = load_situation(situation)
    marks = wanted_marks(loaded, mark or [])
    asked = "core" if core else "rulebook"
    if venues_too:
        rows = across(loaded, venues_too.split(","), account, marks, asked)
        print(msgspec.json.encode(rows).decode() if as_json else "\n".join(comparison_lines(rows)))
        return
    answer = explain(loaded, account, marks, asked)
    print(msgspec.json.encode(answer).decode() if as_json else "\n".join(explanation_lines(answer)))


app.command()(people_commands.population)
app.command()(study_commands.compare)
app.command()(study_commands.sweep)
app.command()(study_commands.sensitivity)
app.command()(study_commands.search)
app.command()(study_commands.reverse)
app.command()(study_commands.fork)


# Exceptions by exit status, named by module: one that was never imported was never raised.
_STATUS = {
    BAD_INPUT: {
        "engine.bench.results": ("BenchRequestError",),
        "engine.convert": ("ImportRequestError",),
        "engine.export": ("ExportError",),
        "engine.importers.common": ("FormatError",),
        "engine.journal": ("JournalError",),
        "engine.match": ("MatchError",),
        "engine.people_commands": ("PopulationRequestError",),
        "engine.population.columns": ("PopulationError",),
        "engine.replay": ("ReplayError",),
        "engine.run_folder": ("RunFolderError",),
        "engine.shrink": ("KeptError",),
        "engine.situation": ("SituationError",),
        "engine.strict": ("ScenarioError",),
        "engine.study.turning": ("ForkError",),
        "engine.study.workers": ("StudyError",),
        "engine.tape": ("TapeError",),
        "engine.units": ("UnitError",),
        "engine.venue": ("ProfileError",),
    },
    AT_FAULT: {
        "engine.bench.results": ("BenchFault",),
        "engine.exchange": ("EngineFault",),
        "engine.journal": ("JournalFault",),
        "engine.replay": ("AuditError",),
    },
}


def _explain(error: Exception) -> tuple[str, int] | None:
    """The line and the exit status of an error, or None where it is a bug of ours."""
    if hasattr(error, "format_message"):  # usage errors of the parser
        return error.format_message(), BAD_INPUT
    for status, places in _STATUS.items():
        for place, names in places.items():
            module = sys.modules.get(place)
            kinds = tuple(getattr(module, name) for name in names) if module else ()
            if isinstance(error, kinds):
                return str(error), status
    if isinstance(error, MemoryError):
        return f"more memory was asked for than there is: {error}", BAD_INPUT
    if isinstance(error, CommandError):
        return str(error), BAD_INPUT
    if isinstance(error, OSError):
        name = Path(error.filename).name if isinstance(error.filename, str) else "file"
        return f"{name}: {error.strerror or error}", BAD_INPUT
    return None


def main() -> None:
    """Run the command line and exit with its status."""
    status: object = 0
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, which is its good right
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except typer.Exit as error:
        status = error.exit_code
    except Exception as error:
        explained = _explain(error)
        if explained is None:
            raise
        line, status = explained
        print(f"error: {' '.join(line.split())}", file=sys.stderr)
    if status == INTERRUPTED:
        print("error: interrupted; nothing was written", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)
