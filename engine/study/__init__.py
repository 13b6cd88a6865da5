"""Studies: many runs of one scenario, compared. From Python everything comes as polars frames.

from engine import study

study.run("crash.toml", ['fund="5000000"'])               # one row
study.compare("crash.toml", [...], seeds=8)               # a row a run
study.sweep("studies/fund-size.toml", "out", workers=2)   # a row a run, kept in a folder
study.sensitivity("studies/what-matters.toml", "out")     # a row a field and measure
study.search("studies/least-cut.toml")                    # a row a trial
study.reverse("studies/fund-size.toml")                   # a row a seed
study.fork("runs/crash", "10:43:00", [...])               # a row a policy
study.survival(rows, ["fund"])                            # a row a step: no ADL until then
study.fund_fan(rows, study.paths("out"), ["fund"])        # a row a time: quantiles of the fund
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from engine.study.comparison import Variant

__all__ = [
    *("run", "compare", "sweep", "sensitivity", "search", "reverse", "fork", "read"),
    *("paths", "survival", "fund_fan"),
]


def run(
    scenario: Path | str, changes: Sequence[str] = (), data: Path | str | None = None
) -> "pl.DataFrame":
    """One run as a frame of one row: every number of its report, and its hashes."""
    import polars as pl

    from engine.study.row import Request, run_request

    return pl.DataFrame([run_request(Request.of(0, scenario, changes, data)).row])


def compare(
    scenario: Path | str,
    variants: Sequence["Variant"],
    *,
    seeds: int = 1,
    workers: int = 1,
    data: Path | str | None = None,
) -> "pl.DataFrame":
    """The same tape, population and seeds under each variant: a row a run."""
    from engine.study.comparison import compare as comparison

    return comparison(scenario, variants, seeds=seeds, workers=workers, data=data).rows


def sweep(
    study: Path | str,
    out: Path | str,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> "pl.DataFrame":
    """Run a study file into a folder, or go on with it, and read its rows."""
    from engine.study.sweeping import sweep as run_study

    return run_study(study, out, workers=workers, progress=progress).rows


def sensitivity(study: Path | str, out: Path | str, measures: Sequence[str] = ()) -> "pl.DataFrame":
    """Sobol indices of the sweep in a folder: a row a measure and field, with half a 95 % band."""
    import msgspec
    import polars as pl

    from engine.study.dataset import finished_rows
    from engine.study.indices import sensitivities
    from engine.study.page import shown_columns
    from engine.study.plan import load_study

    loaded = load_study(study)
    rows = finished_rows(Path(out), loaded.key())
    found = sensitivities(loaded, rows, measures or shown_columns(loaded, rows))
    return pl.DataFrame(
        {"measure": each.column, **msgspec.structs.asdict(index)}
        for each in found
        for index in each.indices
    )


def search(study: Path | str, *, workers: int = 1) -> "pl.DataFrame":
    """The trials of a study's search in order: a row a point, with its value and what held."""
    from engine.study.searching import search_for

    return search_for(study, workers=workers).trials


def reverse(study: Path | str, *, workers: int = 1) -> "pl.DataFrame":
    """The edge of the study's condition: a row a seed."""
    from engine.study.edges import reverse as search

    return search(study, workers=workers).edges


def fork(run: Path | str, at: str, variants: Sequence["Variant"]) -> "pl.DataFrame":
    """A run gone on with from a time under each variant: a row a variant, of the whole run."""
    from engine.study.forking import fork as part_ways

    return part_ways(run, at, variants).comparison.rows


def read(out: Path | str, **options: Any) -> "pl.DataFrame":
    """The rows of a finished or stopped sweep, in order."""
    from engine.study.dataset import read_rows

    return read_rows(Path(out), **options)


def paths(out: Path | str) -> "pl.DataFrame":
    """The fund over tape time in the folder of a sweep or a comparison: `run`, `time_ns`, and
    `fund_quote` in the smallest unit at 121 evenly spaced times; of a comparison more besides."""
    import polars as pl

    from engine.study.dataset import read_paths
    from engine.study.page import PATHS_FILE

    compared = Path(out) / PATHS_FILE
    return pl.read_parquet(compared) if compared.exists() else read_paths(Path(out))


def survival(rows: "pl.DataFrame", by: Sequence[str] = ()) -> "pl.DataFrame":
    """Share of runs without ADL until a time, with its band: a row a step of a curve, a curve for
    equal values of the columns `by`. `rows` as any of these functions gives them."""
    from engine.study.over_time import survival as steps

    return steps(rows, by)


def fund_fan(
    rows: "pl.DataFrame",
    paths: "pl.DataFrame",
    by: Sequence[str] = (),
    since_start: bool = False,
) -> "pl.DataFrame":
    """5, 25, 50, 75 and 95 % of the fund's balance over the runs, or of its change since the start:
    a row a time, a fan for equal values of the columns `by`."""
    from engine.study.over_time import fund_fan as quantiles

    return quantiles(rows, paths, by, since_start)
