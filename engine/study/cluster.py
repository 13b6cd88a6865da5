"""Runs through Dask: on the user's cluster as it is, or on one made on this machine.

Dask finds the workers, notices dead ones and gives their runs to others; here is only what is put
to it and what is made of the answer. Runs are handed over a few at a time, and a result is fetched
as soon as it is there, so a worker that dies takes with it the run it was at and no more.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

from engine.snapshot import core_version
from engine.study.row import Request, Result, run_request
from engine.study.workers import StudyError, lost

WAITING_PER_THREAD = 2  # runs handed over for each thread of the cluster: one at work, one next
WAITING_MIN = 32  # so that a cluster that grows with its work sees some


class CoreMismatch(RuntimeError):
    """A worker has another engine than the machine that asks it."""


def run_there(request: Request, core: str) -> Result:
    """Make a run in a worker, whose compiled core must be ours: its rows go into our table."""
    if core_version() != core:
        raise CoreMismatch(f"its core is {core_version()[:16]}, ours is {core[:16]}")
    return run_request(request)


def run_on_cluster(
    requests: Iterable[Request], scheduler: str | None, workers: int
) -> Iterator[Result]:
    """Make the runs on the cluster at an address, or on `workers` processes of this machine.

    Results come as they are done. A run that Dask gave up, because worker after worker died at
    it, is a row with an error. The scenario's files must have the same paths on every machine.
    Raises StudyError where there is no scheduler, or a worker cannot make runs of this engine.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise StudyError("a cluster needs Dask: pip install 'crashtape[dask]'") from None
    left, core = iter(requests), core_version()
    with ExitStack() as stack:
        place: Any = scheduler
        if scheduler is None:
            options: dict[str, Any] = {"dashboard_address": ":0", "threads_per_worker": 1}
            place = stack.enter_context(LocalCluster(n_workers=workers, **options))
        try:
            client = stack.enter_context(Client(place))
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise StudyError(f"--scheduler {scheduler}: {error}") from None
        threads = sum(client.nthreads().values())
        first = islice(left, max(WAITING_MIN, WAITING_PER_THREAD * threads))
        asked = {client.submit(run_there, each, core, pure=False): each for each in first}
        done = as_completed(asked, with_results=True, raise_errors=False)
        for future, answer in done:
            request = asked.pop(future)
            if future.status == "finished":
                yield answer
            else:
                error = answer[1] if isinstance(answer, tuple) else answer
                yield _given_up(request, error, KilledWorker)
            future.release()
            for each in islice(left, 1):
                more = client.submit(run_there, each, core, pure=False)
                asked[more] = each
                done.add(more)


def _given_up(request: Request, error: BaseException, killed: type[BaseException]) -> Result:
    """The row of a run that no worker survived; any other error is of the cluster, and ends all."""
    if isinstance(error, killed):
        return lost(request, "every worker that took this run died")
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    raise StudyError(f"a worker of the cluster could not make run {request.number}: {reason}")
