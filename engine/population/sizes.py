"""Sizes of positions: Pareto weights, and whole lots in proportion to them that sum exactly.

A population drawn in cohorts never holds all its weights: a histogram of them gives the scale, a
second look what each cohort comes to at that scale, and the rest is dealt to the cohorts.
"""

import numpy as np

from engine.constants import PPM
from engine.population.columns import PopulationError

WEIGHT_UNIT = 1 << 10  # the smallest Pareto weight
WEIGHT_MAX = 1 << 36  # bounds weight * scale in int64; a tail beyond it meets lots_max anyway
SCALE_BITS = 20
SCALE_MAX = 1 << 26  # WEIGHT_MAX * SCALE_MAX = 2**62
FINE_BITS = 8  # a histogram's bucket is as wide as its lower bound / 2**FINE_BITS
BUCKETS = (64 - FINE_BITS) << FINE_BITS


def fit_lots(weights: np.ndarray, total: int, lots_min: int, lots_max: int) -> np.ndarray:
    """Whole lots in proportion to `weights`, within the bounds, summing to `total` exactly.

    The remainder goes one lot each to the largest fractions, earlier rows first. Raises
    PopulationError where the bounds cannot hold the total.

    >>> fit_lots(np.array([1024, 1024, 4096]), 60, 1, 100).tolist()
    [10, 10, 40]
    >>> fit_lots(np.array([1024, 1024, 4096]), 60, 1, 25).tolist()
    [18, 17, 25]
    """
    count = len(weights)
    if not count * lots_min <= total <= count * lots_max:
        raise PopulationError(
            f"expected open interest of {count * lots_min} to {count * lots_max} lots for "
            f"{count} positions of {lots_min} to {lots_max} lots, got {total}"
        )
    low, high = 0, SCALE_MAX
    while low < high:  # the largest scale whose lots do not pass the total
        scale = (low + high + 1) // 2
        lots = np.clip(weights * scale >> SCALE_BITS, lots_min, lots_max)
        low, high = (scale, high) if int(lots.sum()) <= total else (low, scale - 1)
    lots = np.clip(weights * low >> SCALE_BITS, lots_min, lots_max)
    fractions = weights * low & ((1 << SCALE_BITS) - 1)
    order = np.argsort(-fractions, kind="stable")
    rest = total - int(lots.sum())
    while rest:
        open_rows = order[lots[order] < lots_max]
        each = max(1, rest // len(open_rows))
        chosen = open_rows[:rest]
        given = np.minimum(each, lots_max - lots[chosen])
        lots[chosen] += given
        rest -= int(given.sum())
    return lots


def pareto_weights(uniforms: np.ndarray, tail_ppm: int) -> np.ndarray:
    """Weights of a Pareto law from draws in 0..2**53-1; int64, WEIGHT_UNIT to WEIGHT_MAX."""
    survival = (uniforms + 1) / float(1 << 53)
    tail = np.power(survival, -PPM / tail_ppm)
    return np.rint(np.minimum(tail, WEIGHT_MAX / WEIGHT_UNIT) * WEIGHT_UNIT).astype(np.int64)


def bucket_of(values: np.ndarray) -> np.ndarray:
    """Histogram bucket of whole numbers 0..2**53; `bucket_floor` is its inverse.

    >>> bucket_floor(bucket_of(np.array([3, 511, 512, 1_000_000]))).tolist()
    [3, 511, 512, 999424]
    """
    exponents = np.maximum(np.frexp(values.astype(np.float64))[1] - (FINE_BITS + 1), 0)
    exponents = exponents.astype(np.int64)
    return (exponents << FINE_BITS) + (values >> exponents)


def bucket_floor(buckets: np.ndarray) -> np.ndarray:
    """The smallest whole number of each bucket."""
    exponents = np.maximum((buckets >> FINE_BITS) - 1, 0)
    return (buckets - (exponents << FINE_BITS)) << exponents


class CohortSizes:
    """How many lots of one side of one market go to each cohort, without holding the weights.

    Call `count` for every cohort, then `measure` for every cohort, then `totals`.
    """

    def __init__(self, total: int, lots_min: int, lots_max: int) -> None:
        self._total, self._min, self._max = total, lots_min, lots_max
        self._counts = np.zeros(BUCKETS, np.int64)
        self._scale = -1
        self._sums: list[tuple[int, int]] = []  # positions and lots at the scale, by cohort

    def count(self, weights: np.ndarray) -> None:
        """Take note of a cohort's weights."""
        self._counts += np.bincount(bucket_of(weights), minlength=BUCKETS)

    def measure(self, weights: np.ndarray) -> None:
        """What a cohort comes to at the scale of all."""
        if self._scale < 0:
            self._scale = self._fit()
        self._sums.append((len(weights), int(self._lots(weights, self._scale).sum())))

    def _lots(self, weights: np.ndarray, scale: int) -> np.ndarray:
        return np.clip(weights * scale >> SCALE_BITS, self._min, self._max)

    def _fit(self) -> int:
        used = np.flatnonzero(self._counts)
        weights, counts = np.minimum(bucket_floor(used), WEIGHT_MAX), self._counts[used]
        low, high = 0, SCALE_MAX
        while low < high:
            scale = (low + high + 1) // 2
            lots = sum((self._lots(weights, scale) * counts).tolist())
            low, high = (scale, high) if lots <= self._total else (low, scale - 1)
        return low

    def totals(self) -> list[int]:
        """Lots of each cohort; they sum to the total. Raises PopulationError."""
        totals = [lots for _, lots in self._sums]
        people = sum(count for count, _ in self._sums)
        if not people * self._min <= self._total <= people * self._max:
            raise PopulationError(
                f"expected open interest of {people * self._min} to {people * self._max} lots for "
                f"{people} positions of {self._min} to {self._max} lots, got {self._total}"
            )
        rest = self._total - sum(totals)
        edge = self._max if rest > 0 else self._min
        rooms = [abs(count * edge - lots) for count, lots in self._sums]
        given = [abs(rest) * room // max(sum(rooms), 1) for room in rooms]
        for index, room in enumerate(rooms):
            more = min(abs(rest) - sum(given), room - given[index])
            given[index] += more
        sign = 1 if rest > 0 else -1
        return [lots + sign * more for lots, more in zip(totals, given, strict=True)]
