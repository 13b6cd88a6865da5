"""Rate of a sweep of 2,000 small runs with one and with two workers, and through Dask.

`python benchmarks/sweep.py` prints the median rate of each over the rounds, the speed-up from one
worker to two, and how the same sweep fares on a Dask cluster of two processes of which one is
killed when half of the runs are done. Before anything is printed the bytes of all are compared.
A rate counts from the start of the processes to the last part on the device.
"""

import argparse
import os
import platform
import shutil
import signal
import statistics
import tempfile
import time
import tomllib
from pathlib import Path

from engine.study.dataset import RUNS
from engine.study.sweeping import Swept, sweep

STUDY = Path(__file__).with_name("sweep.toml")


def fingerprint(folder: Path) -> list[bytes]:
    """Every part of a sweep."""
    return [path.read_bytes() for path in sorted((folder / RUNS).iterdir())]


def study_of(folder: Path, seeds: int) -> Path:
    """The study with so many seeds, beside a copy of its scenario."""
    text = STUDY.read_text()
    scenario = STUDY.parent.parent / tomllib.loads(text)["scenario"]
    (folder / "scenarios").mkdir()
    shutil.copy(scenario, folder / "scenarios")
    path = folder / STUDY.name
    path.write_text(text.replace("seeds = 80", f"seeds = {seeds}"))
    return path


def rate_of(swept: Swept) -> float:
    """Runs a second; the first run of a sweep is made before its clock and is no part of it."""
    return (swept.made_count - 1) / swept.wall_ns * 1e9


def with_a_kill(study: Path, folder: Path) -> tuple[Swept, int]:
    """The sweep on a Dask cluster of two processes; one is killed half-way. Also how many then."""
    from distributed import LocalCluster

    killed = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:

        def kill(done: int, total: int) -> None:
            if done >= total // 2 and not killed:
                victim = next(iter(cluster.workers.values())).pid
                os.kill(victim, signal.SIGKILL)
                killed.append(done)

        address = cluster.scheduler_address
        swept = sweep(study, folder, cluster=True, scheduler=address, progress=kill)
    return swept, killed[0]


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=80, help="times 25 points: 2,000 runs")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        study, known = study_of(top, asked.seeds), None
        for number in range(asked.rounds):
            for workers, found in rates.items():
                swept = sweep(study, top / f"{number}-{workers}", workers=workers)
                found.append(rate_of(swept))
                known = known or fingerprint(swept.folder)
                assert fingerprint(swept.folder) == known, "other bytes"
        swept, at = with_a_kill(study, top / "dask")
        assert fingerprint(swept.folder) == known, "other bytes through Dask"
        assert swept.failed_count == 0
    one, two = (statistics.median(each) for each in rates.values())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d', time.gmtime())}")  # fmt: skip
    for workers, found in rates.items():
        listed = ", ".join(f"{each:.1f}" for each in found)
        print(f"{workers} workers: median {statistics.median(found):.1f} runs/s ({listed})")
    print(f"{swept.rows.height:,} runs; from one worker to two: {two / one:.2f} times")
    print(f"Dask, two processes, one killed after {at:,} runs: {rate_of(swept):.1f} runs/s")
    print("Equal bytes: one, two, Dask")


if __name__ == "__main__":
    main()
