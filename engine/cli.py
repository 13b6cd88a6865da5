"""The command line: run, verify, venues, explain, import, match. It parses, prints and maps errors.

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
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from engine.messages import Report
    from engine.replay import Say

app = typer.Typer(
    name="crashtape",
    help="A deterministic simulator of a futures exchange in a crash.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
BAD_INPUT, AT_FAULT, INTERRUPTED = 2, 1, 130
TAPE_SUFFIX = ".crashtape"

DataOption = Annotated[
    Path | None, typer.Option("--data", help="A folder the scenario's files may also be in.")
]


class CommandError(ValueError):
    """The command line itself asks for something impossible."""


def _console(stderr: bool = False) -> Console:
    """A console that neither colours nor wraps what goes into a file."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def _progress_bar():
    """A progress bar on standard error; nothing where that is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = _console(stderr=True)
    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


STAGES = {
    "compile": "Compiling the kernels",
    "setup": "Opening accounts",
    "replay": "Replaying",
    "report": "Writing the report",
    "verify": "Running again",
}


def _follow(bar) -> "Say":
    """A callback that keeps the bar up to date and announces compilation in words."""
    tasks: dict[str, int] = {}

    def say(progress) -> None:
        if progress.stage not in tasks:
            for task in tasks.values():
                bar.update(task, visible=False)
            tasks[progress.stage] = bar.add_task(STAGES[progress.stage], total=None, amount="")
            if progress.stage == "compile":
                text = "Compiling the kernels, once on this machine; it takes a minute or so."
                bar.console.print(text)
        unit = "kernels" if progress.stage == "compile" else "commands"
        of = f" of {progress.total:,}" if progress.total else ""
        amount = f"{progress.done:,}{of} {unit}" if progress.done else ""
        place = tasks[progress.stage]
        bar.update(place, completed=progress.done, total=progress.total, amount=amount)

    return say


def _print_rows(rows: list[tuple[str, str, str]]) -> None:
    """Three columns: what, how much (aligned right), and how to read it."""
    console = _console()
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for label, value, note in rows:
        parts = (f"{label:<{first}}  ", (f"{value:>{second}}", "bold"), (f"  {note}", "dim"))
        console.print(Text.assemble(*parts[: 3 if note else 2]))


def _seconds(time_ns: int) -> str:
    return f"{time_ns / 1e9:.1f} s"


def _print_report(report: "Report", out: Path) -> None:
    from engine.report import words

    print(report.title)
    print()
    rows = words.summary_rows(report.summary, report.identity.difference_quote)
    _print_rows([(row.label, row.value, row.note) for row in rows])
    print()
    if report.refused_reasons:
        refused = ", ".join(f"{name} {count}" for name, count in report.refused_reasons.items())
        print(f"Refused commands: {refused}")
    compiled = f", after {_seconds(report.compile_ns)} of compiling" if report.compile_ns else ""
    print(
        f"{words.count_text(report.accounts_count)} accounts, "
        f"{words.count_text(report.commands_count)} commands, "
        f"{words.count_text(report.summary.events_count)} events in "
        f"{_seconds(report.wall_ns)}{compiled}; {len(report.invariants)} invariants hold."
    )
    print(f"State {report.state_digest[:32]}, tape {report.tape_hash}")
    print(f"Run folder: {out}   Page: {out / 'report.html'}")


@app.command()
def run(
    scenario: Annotated[Path, typer.Argument(help="The scenario, a TOML file.")],
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
) -> None:
    """Run a scenario: print what became of it and write a run folder."""
    from engine.replay import replay
    from engine.scenario import load_scenario

    loaded = load_scenario(scenario, changes or (), data)
    folder = out or Path("runs") / loaded.scenario.name
    with _progress_bar() as bar:
        report = replay(
            loaded,
            folder,
            batch_size=batch,
            progress=_follow(bar),
            check_index=check_index,
            keep_tape=not no_tape,
        )
    _print_report(report, folder)
    if report.refused:
        first = report.refused[0]
        count = sum(report.refused_reasons.values())
        print(
            f"error: {count:,} commands of the tape were refused; the first is command "
            f"{first.seq}: {first.kind} of account {first.account_id}: {first.reason}",
            file=sys.stderr,
        )
        raise typer.Exit(AT_FAULT)


@app.command(name="compile")
def compile_kernels() -> None:
    """Compile the kernels now, so that no later run has to wait for it."""
    from engine.replay import warm_up
    from engine.venue import load_venue, shipped_venues

    with _progress_bar() as bar:
        spent_ns = warm_up(load_venue(shipped_venues()[0]), _follow(bar))
    print(f"Compiled in {_seconds(spent_ns)}." if spent_ns else "The kernels are compiled already.")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    data: DataOption = None,
) -> None:
    """Run a run folder again and compare every event and the final state."""
    from engine.verify import verify as repeat

    with _progress_bar() as bar:
        result = repeat(folder, data=data, progress=_follow(bar))
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
    venue: Annotated[str, typer.Option(help="A shipped venue profile, or a .toml file.")],
    market: Annotated[str, typer.Option(help="The symbol of the market in that profile.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The tape to write.")],
    role: Annotated[str, typer.Option("--as", help="index or mark, for klines.")] = "index",
) -> None:
    """Turn files of a public format into a tape."""
    from engine.convert import import_tape

    reports, info = import_tape(kind, files, venue, market, output, role)
    for report in reports:
        facts = {name: getattr(report, name) for name in report.__struct_fields__}
        counts = facts.pop("counts")
        del facts["first_time_ns"], facts["last_time_ns"]
        lines = [(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value, "")
                 for name, value in (facts | counts).items()]  # fmt: skip
        _print_rows(lines)
    print(f"{output}: {info.records:,} commands, hash {info.tape_hash}")


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


# Exceptions by exit status, named by module: one that was never imported was never raised.
_STATUS = {
    BAD_INPUT: {
        "engine.importers.common": ("FormatError",),
        "engine.match": ("MatchError",),
        "engine.population.columns": ("PopulationError",),
        "engine.replay": ("ReplayError",),
        "engine.run_folder": ("RunFolderError",),
        "engine.situation": ("SituationError",),
        "engine.strict": ("ScenarioError",),
        "engine.tape": ("TapeError",),
        "engine.units": ("UnitError",),
        "engine.venue": ("ProfileError",),
    },
    AT_FAULT: {"engine.exchange": ("EngineFault",), "engine.replay": ("AuditError",)},
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
