"""`crashtape verify fuzz`, and the group that keeps `crashtape verify RUN` what it was."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from engine.printing import follow, progress_bar

AT_FAULT = 1
LINES_SHOWN = 60  # of a failing tape; the file has them all


class RunOrFuzz(TyperGroup):
    """`verify RUN` means `verify RUN RUN`: the folder may have any name but one, and then it is
    written `./fuzz`."""

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Put the default command in front of anything that is not the other one."""
        named = args[:1] in (["fuzz"], ["--help"])
        return super().parse_args(ctx, args if named else ["RUN", *args])


def fuzz(
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    commands: Annotated[int, typer.Option(min=1, help="Commands in all.")] = 100_000,
    compiled_only: Annotated[
        bool, typer.Option("--compiled-only", help="Audit the core instead of comparing it.")
    ] = False,
    per_seed: Annotated[
        int, typer.Option(min=0, help="Commands of a seed; 0: 600, compiled only 6,000.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 1,
    keep: Annotated[Path, typer.Option(help="Where a failing tape is kept.")] = Path("runs/fuzz"),
    again: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only run a kept tape again.")
    ] = None,
) -> None:
    """Random commands: core against rulebook event for event, or the core audited."""
    from engine import campaign
    from engine.replay import warm_up
    from engine.venue import load_venue, shipped_venues

    with progress_bar() as bar:
        warm_up(load_venue(shipped_venues()[0]), follow(bar))
    if again is not None:
        wrong = campaign.again(again, compiled_only=compiled_only)
        print(wrong or f"{again.name}: nothing is wrong with it now.")
        raise typer.Exit(AT_FAULT if wrong else 0)
    started = time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("Fuzzing", total=commands, amount="")

        def say(now: int, done: int) -> None:
            bar.update(task, completed=done, amount=f"seed {now}, {done:,} of {commands:,}")

        result = campaign.campaign(
            seed, commands, compiled_only=compiled_only, per_seed=per_seed, keep=keep, say=say,
            workers=workers,
        )  # fmt: skip
    how = "audited" if compiled_only else "core and rulebook compared"
    print(
        f"{result.commands:,} commands of {result.seeds:,} seeds from {seed}, "
        f"{result.events:,} events, {how}, {time.monotonic() - started:.0f} s"
    )
    _print_coverage(result)
    if result.failure:
        _print_failure(result.failure)
    if not result.ok:
        raise typer.Exit(AT_FAULT)


def _print_coverage(result) -> None:
    print(f"Reached {result.reached} of {result.reached + len(result.missing)} things; "
          f"the deepest cascade has {result.deepest} steps")  # fmt: skip
    if not result.missing:
        return
    text = f"never reached: {', '.join(result.missing)}"
    if result.coverage_counts:
        print(f"error: {text}", file=sys.stderr)
    else:
        print(f"{len(result.missing)} things were never reached; so few seeds need not reach them")


def _print_failure(failure) -> None:
    from engine.shrink import in_words

    print(f"error: {failure.reason}", file=sys.stderr)
    print(
        f"seed {failure.seed}: {len(failure.rows)} of {failure.commands_count:,} commands are "
        f"enough; kept in {failure.kept}",
        file=sys.stderr,
    )
    for row in failure.rows[:LINES_SHOWN]:
        print(f"  {in_words(row)}", file=sys.stderr)
