"""Rate of a sweep of 2,000 small runs with one and with two workers, and through Dask.

`python benchmarks/sweep.py` prints a table: the median rate over the rounds with one worker and
with two, and how the same sweep fares on a Dask cluster of two processes of which one is killed
when half of the runs are done, each with the digest of all bytes it wrote. It ends with status 1
where a digest differs or a run failed. A rate counts from the start of the processes to the last
part on the device. `--seeds 2 --rounds 1` tries it with 50 runs.
"""

import argparse
import hashlib
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from engine.study.sweeping import Swept, sweep

STUDY = Path(__file__).with_name("sweep.toml")


@dataclass
class Measured:
    """One way to make the sweep: rates of its rounds and what it wrote."""

    name: str
    rates: list[float] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    failed: int = 0

    def add(self, swept: Swept) -> None:
        """One round. The first run of a sweep is made before its clock and is no part of it."""
        self.rates.append((swept.made_count - 1) / swept.wall_ns * 1e9)
        self.digests.add(digest_of(swept.folder))
        self.failed += swept.failed_count

    def line(self) -> str:
        """Its line of the table."""
        middle, low, high = (fold(self.rates) for fold in (statistics.median, min, max))
        shown = ", ".join(sorted(self.digests))
        return f"{self.name:42} {middle:8.1f} {low:8.1f} {high:8.1f} {self.failed:7}  {shown}"


def digest_of(folder: Path) -> str:
    """BLAKE2b-128 of every part of a sweep, rows and paths."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*/part-*.parquet")):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def study_of(folder: Path, seeds: int) -> Path:
    """The study with so many seeds, beside a copy of its scenario."""
    text = STUDY.read_text()
    scenario = STUDY.parent.parent / tomllib.loads(text)["scenario"]
    (folder / "scenarios").mkdir()
    shutil.copy(scenario, folder / "scenarios")
    path = folder / STUDY.name
    path.write_text(text.replace("seeds = 80", f"seeds = {seeds}"))
    return path


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


def main() -> int:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=80, help="times 25 points: 2,000 runs")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    ways = {1: Measured("1 worker"), 2: Measured("2 workers")}
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load before "
          f"{os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d', time.gmtime())}")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        study = study_of(top, asked.seeds)
        for number in range(asked.rounds):
            for workers, way in ways.items():
                way.add(sweep(study, top / f"{number}-{workers}", workers=workers))
        swept, at = with_a_kill(study, top / "dask")
        dask = Measured(f"Dask, 2 processes, 1 killed after {at:,} runs")
        dask.add(swept)
    lines = [*ways.values(), dask]
    heads = (f"{swept.rows.height:,} runs, {asked.rounds} rounds", "median", "least", "most")
    print(f"{heads[0]:42} {heads[1]:>8} {heads[2]:>8} {heads[3]:>8}  failed  digest of all parts")
    for way in lines:
        print(way.line())
    one, two = (statistics.median(way.rates) for way in ways.values())
    same = len(set.union(*(way.digests for way in lines))) == 1
    print(f"Rates in runs a second. From one worker to two: {two / one:.2f} times.")
    print(f"Bytes: {'all equal' if same else 'NOT EQUAL'}. Load after: {os.getloadavg()[0]:.1f}")
    return 0 if same and not any(way.failed for way in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
