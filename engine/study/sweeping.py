"""`crashtape sweep`: every run of a study file into one folder, stopped and resumed at will."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.replay import warm_up
from engine.study.cluster import run_on_cluster
from engine.study.dataset import PAGE, Dataset, column_types, read_paths, read_rows
from engine.study.page import sweep_page
from engine.study.plan import LoadedStudy, check_plan, load_study, requests
from engine.study.row import Request, Result, run_request
from engine.study.workers import StudyError, Workers

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Swept:
    """What a sweep left: its study, folder and rows, and what this call itself did."""

    study: LoadedStudy
    folder: Path
    rows: pl.DataFrame
    made_count: int
    wall_ns: int

    @property
    def failed_count(self) -> int:
        """Runs that ended in an error."""
        return self.rows.filter(pl.col("error") != "").height


def sweep(
    study_file: Path | str,
    out: Path | str,
    *,
    workers: int = 1,
    cluster: bool = False,
    scheduler: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Swept:
    """Make every run of a study that its folder does not hold yet; then write its page.

    Runs go to `workers` processes, or with `cluster` to Dask: to `scheduler`, else to a cluster
    of that many workers made here. Raises ScenarioError and StudyError before the first run.
    """
    study = load_study(study_file)
    plan = requests(study)
    check_plan(study, plan)
    warm_up(study.base.profile)
    first = run_request(plan[0])
    if first.row["error"]:
        raise StudyError(f"{study.file}: the first run fails: {first.row['error']}")
    folder = Path(os.path.abspath(out))
    data = Dataset(folder, study.key(), column_types(plan, first.row), len(plan))
    started = time.perf_counter_ns()
    left = [each for each in plan if each.number not in data.done]
    made = len(left)
    try:
        progress(len(plan) - made, len(plan))
        for place, result in enumerate(_results(left, first, workers, cluster, scheduler)):
            data.add(result.row, result.path.get("fund_quote", ()))
            progress(len(plan) - made + place + 1, len(plan))
    finally:
        data.close()
    wall_ns = time.perf_counter_ns() - started
    swept = Swept(study, folder, read_rows(folder), made, wall_ns)
    (folder / PAGE).write_text(sweep_page(study, swept.rows, read_paths(folder)), encoding="utf-8")
    return swept


def _results(
    left: list[Request], first: Result, workers: int, cluster: bool, scheduler: str | None
) -> Iterator[Result]:
    """The results of the runs that are left; the first run of the plan has been made already."""
    if left and left[0].number == first.row["run"]:
        yield first
        left = left[1:]
    if cluster and left:
        yield from run_on_cluster(left, scheduler, workers)
    else:
        with Workers(workers) as pool:
            yield from pool.results(left)
