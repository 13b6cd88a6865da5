"""A sweep through Dask: the same bytes, a killed worker, what a cluster cannot do in one line."""

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
from distributed import LocalCluster

from engine.study import cluster, dataset
from engine.study.cluster import CoreMismatch, run_on_cluster, run_there
from engine.study.row import Request, Result
from engine.study.sweeping import sweep
from small_study import parts, refused, write_study


@pytest.fixture(autouse=True)
def not_for_ever():
    """A cluster whose workers never come back is a failure, not a suite without an end."""

    def give_up(*_):
        raise RuntimeError("the cluster has not answered for five minutes")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def local():
    """A cluster of two processes, as a user's would be: known by its address."""
    options = {"dashboard_address": ":0", "threads_per_worker": 1}
    with LocalCluster(n_workers=2, **options) as made:
        made.wait_for_workers(2)
        yield made


def test_a_cluster_gives_the_same_bytes_and_goes_on_where_it_stopped(tmp_path, local, monkeypatch):
    monkeypatch.setattr(dataset, "PART_ROWS", 3)
    path = write_study(tmp_path)
    sweep(path, tmp_path / "one", workers=1)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    there = {"cluster": True, "scheduler": local.scheduler_address}
    with pytest.raises(KeyboardInterrupt):
        sweep(path, tmp_path / "dask", progress=stop, **there)
    again = sweep(path, tmp_path / "dask", **there)
    assert again.made_count == 4
    assert parts(tmp_path / "one") == parts(tmp_path / "dask")


def test_a_worker_with_another_engine_is_refused(tmp_path, local, monkeypatch):
    monkeypatch.setattr(cluster, "core_version", lambda: "ab" * 16)
    asked = [Request.of(4, tmp_path, [], None)]
    said = refused(lambda: list(run_on_cluster(asked, local.scheduler_address, 0)))
    assert said.startswith("a worker of the cluster could not make run 4: CoreMismatch: its core")
    with pytest.raises(CoreMismatch):
        run_there(msgspec.structs.replace(asked[0]), "cd" * 16)


def test_no_scheduler_is_one_line(tmp_path):
    asked = [Request.of(0, tmp_path, [], None)]
    said = refused(lambda: list(run_on_cluster(asked, "nothing://here", 0)))
    assert said.startswith("--scheduler nothing://here: ")


def notes_and_dies(request: Request, core: str) -> Result:
    """Writes down that it began; kills its worker at run 5 the first time, at run 9 always."""
    folder = Path(request.scenario)
    with (folder / "begun").open("a") as file:
        file.write(f"{request.number}\n")
    seen = (folder / "begun").read_text().split().count(f"{request.number}")
    if request.number == 9 or (request.number == 5 and seen == 1):
        time.sleep(0.3)  # so that the result before this one has been fetched
        os.kill(os.getpid(), signal.SIGKILL)
    return Result(row={"run": request.number, "error": ""})


def test_a_worker_killed_half_way_loses_only_the_run_it_was_at(tmp_path, local, monkeypatch):
    monkeypatch.setattr(cluster, "run_there", notes_and_dies)
    monkeypatch.setattr(cluster, "WAITING_MIN", 1)
    asked = [Request.of(number, tmp_path, [], None) for number in range(12)]
    found = {}
    for result in run_on_cluster(asked, local.scheduler_address, 0):
        found[result.row["run"]] = result.row["error"]
    assert found.pop(9) == "every worker that took this run died"
    assert found == dict.fromkeys((*range(9), 10, 11), "")
    begun = (tmp_path / "begun").read_text().split()
    assert begun.count("5") == 2 and begun.count("9") > 2
    assert all(begun.count(f"{number}") == 1 for number in range(5))
