"""When commands arrive: nanoseconds after the start, decided before anything is measured."""

import numpy as np

from engine.bench.results import BenchRequestError

ARRIVALS = ("poisson", "recorded", "burst")
BURST = 100  # commands that arrive at one instant


def arrivals(kind: str, times_ns: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Arrival times of commands at `rate` a second on average.

    `poisson` draws independent gaps, `recorded` keeps the distances of `times_ns` and scales them,
    `burst` lets BURST commands arrive together.

    >>> arrivals("burst", np.zeros(201), 1_000.0, 1)[[0, 99, 100, 200]].tolist()
    [0, 0, 100000000, 200000000]
    """
    if not 0 < rate < 1e9:
        raise BenchRequestError(f"--rate: expected more than 0 and less than 1e9, got {rate:g}")
    count, gap_ns = len(times_ns), 1e9 / rate
    if kind == "poisson":
        gaps = np.random.default_rng(seed).exponential(gap_ns, count)
        return np.cumsum(gaps).astype(np.int64)
    if kind == "burst":
        return (np.arange(count) // BURST * (BURST * gap_ns)).astype(np.int64)
    if kind != "recorded":
        expected = ", ".join(ARRIVALS)
        raise BenchRequestError(f"--arrivals: expected one of {expected}, got {kind!r}")
    after = (times_ns - times_ns[0]).astype(np.float64)
    if after[-1] <= 0:
        raise BenchRequestError("--arrivals recorded: the commands all have the same time")
    return (after / after[-1] * (count * gap_ns)).astype(np.int64)
