"""What the command line prints: bars, rows of three columns, a run's and an import's numbers."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from engine.messages import Report
    from engine.replay import Say


def plain_console(stderr: bool = False) -> Console:
    """A console that neither colours nor wraps what goes into a file."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def progress_bar():
    """A progress bar on standard error; nothing where that is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = plain_console(stderr=True)
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


def follow(bar) -> "Say":
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


def print_rows(rows: list[tuple[str, str, str]]) -> None:
    """Three columns: what, how much (aligned right), and how to read it."""
    console = plain_console()
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for label, value, note in rows:
        parts = (f"{label:<{first}}  ", (f"{value:>{second}}", "bold"), (f"  {note}", "dim"))
        console.print(Text.assemble(*parts[: 3 if note else 2]))


def seconds(time_ns: int) -> str:
    """A span in seconds."""
    return f"{time_ns / 1e9:.1f} s"


def print_report(report: "Report", out: Path) -> None:
    """A run in rows, then its hashes and where its page is."""
    from engine.report import words

    print(report.title)
    print()
    rows = words.summary_rows(report.summary, report.identity.difference_quote)
    print_rows([(row.label, row.value, row.note) for row in rows])
    print()
    for fact in report.measured:
        mark = "" if fact.ok else "  OUTSIDE"
        within = f" within {fact.tolerance}" if fact.tolerance != "0" else ""
        print(f"Fact: {fact.what}: asked {fact.expected}{within}, got {fact.got}{mark}")
    for each in report.overshoot:
        print(
            f"Price overshoot, {each.market}: lowest mark {each.lowest} against "
            f"{each.lowest_replayed} in a pure replay ({each.below_ppm / 10_000:+.2f} % further), "
            f"highest {each.highest} against {each.highest_replayed} "
            f"({each.above_ppm / 10_000:+.2f} %)"
        )
    if report.refused_reasons:
        refused = ", ".join(f"{name} {count}" for name, count in report.refused_reasons.items())
        print(f"Refused commands: {refused}")
    compiled = f", after {seconds(report.compile_ns)} of compiling" if report.compile_ns else ""
    print(
        f"{words.count_text(report.accounts_count)} accounts, "
        f"{words.count_text(report.commands_count)} commands, "
        f"{words.count_text(report.summary.events_count)} events in "
        f"{seconds(report.wall_ns)}{compiled}; {len(report.invariants)} invariants hold."
    )
    print(f"State {report.state_digest[:32]}, tape {report.tape_hash}")
    print(f"Run folder: {out}   Page: {out / 'report.html'}")


def print_import(report) -> None:
    """One import's numbers, its notes, and the counts only its format has."""
    from engine.units import format_time_ns

    facts = {name: getattr(report, name) for name in report.__struct_fields__}
    counts, notes = facts.pop("counts"), facts.pop("notes")
    del facts["refused"], facts["refusal"]  # a refused import is an error line instead
    for name in ("first_time_ns", "last_time_ns"):
        time_ns = facts.pop(name)
        facts[name.removesuffix("_ns")] = format_time_ns(time_ns) if time_ns else "none"
    lines = [(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value, "")
             for name, value in (facts | counts).items()]  # fmt: skip
    print_rows(lines)
    for note in notes:
        print(f"Note: {note}.")
