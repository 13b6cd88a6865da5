"""Many runs on the cores of one machine.

A worker is a process that makes one run at a time. When one dies (killed, out of memory) its run
is given to a new worker; a run that kills two of them becomes a row with an error. Results come
back as they are done, in any order; nothing in them tells which worker made them.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self

from engine.refusal import Refusal
from engine.study.row import Request, Result, run_request

DEATHS_MAX = 2  # of workers by one run, before the run is given up
Run = Callable[[Request], Result]


class StudyError(Refusal):
    """A study cannot be carried out as asked: one line."""


def work(connection: Connection, run: Run) -> None:
    """The life of a worker: take a request, make the run, hand back the result, until None."""
    try:
        while (request := connection.recv()) is not None:
            connection.send(run(request))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return  # the parent has gone or is going


@dataclass(eq=False)
class _Worker:
    """A process, our end of its pipe, and the request it is at work on."""

    process: BaseProcess
    connection: Connection
    request: Request | None = None

    def give(self, request: Request) -> None:
        """Hand over a request. One that has died while idle is noticed when it is waited for."""
        self.request = request
        with suppress(BrokenPipeError):
            self.connection.send(request)


class Workers:
    """Processes that make runs, replaced as they die; one alone is this process itself.

    Use it as a context manager. They start when there is first something for them to do.
    """

    def __init__(self, count: int, run: Run = run_request) -> None:
        if count < 1:
            raise StudyError(f"workers: expected 1 or more, got {count}")
        self._count, self._run = count, run
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker, at work or not."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._run), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _replace(self, worker: _Worker) -> int:
        """Put a new worker in the place of a dead one; returns how the old one ended."""
        worker.connection.close()
        worker.process.join()
        self._workers[self._workers.index(worker)] = self._start()
        return worker.process.exitcode or 0

    def results(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Make the runs; results as they come."""
        waiting = deque(requests)
        if self._count == 1:
            yield from map(self._run, waiting)
            return
        deaths: dict[int, int] = {}
        while len(self._workers) < min(self._count, len(waiting)):
            self._workers.append(self._start())
        while waiting or any(worker.request for worker in self._workers):
            for worker in self._workers:
                if worker.request is None and waiting:
                    worker.give(waiting.popleft())
            busy = {worker.connection: worker for worker in self._workers if worker.request}
            for ready in wait(list(busy)):
                worker = busy[ready]
                request = worker.request
                try:
                    result = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    code = self._replace(worker)
                    deaths[request.number] = deaths.get(request.number, 0) + 1
                    if deaths[request.number] < DEATHS_MAX:
                        waiting.appendleft(request)
                        continue
                    how = f"signal {-code}" if code < 0 else f"exit status {code}"
                    result = lost(request, f"the worker died twice at this run ({how})")
                worker.request = None
                yield result


def lost(request: Request, error: str) -> Result:
    """The row of a run that no worker survived."""
    return Result(row={"run": request.number, **request.inputs, "error": error})
