"""What an allocation did: to the need, to the winners, between them, and to who stays solvent.

Amounts are int64 arrays, a place a candidate, money unless said otherwise. Sums of money are exact
integers; ratios are float64 for reading, never for deciding. A ratio without a base is NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.bearers import Candidates
from engine.core.kernel import entry
from engine.policies.candidates import Allocation


@dataclass(frozen=True)
class Overshoot:
    """Money taken above the need: `total = allocation + markout`.

    `allocation` is what closing more, or at a worse price, than the need asked for cost at the
    moment of the fill; `markout` is how the mark moved on the closed lots until the measuring time.
    """

    needed: int
    allocation: int
    markout: int

    @property
    def total(self) -> int:
        """Taken minus needed."""
        return self.allocation + self.markout


def overshoot(lots: np.ndarray, price: np.ndarray, mark: np.ndarray, later: np.ndarray,
              needed: int) -> Overshoot:  # fmt: skip
    """Split of what closing took above `needed`, over fills; prices in money per lot.

    `lots` signed by the winner's position (long > 0), closed at `price` while the mark was `mark`;
    `later` is the mark when the cost is measured. Q (later - price) = Q (mark - price) +
    Q (later - mark).
    """
    quantity = lots.astype(object)
    at_fill = int((quantity * (mark.astype(object) - price)).sum())
    moved = int((quantity * (later.astype(object) - mark)).sum())
    return Overshoot(needed, at_fill - needed, moved)


def needed(quantity: np.ndarray, mark: np.ndarray, price: np.ndarray) -> int:
    """Sum of |mark - price| * quantity over ADL fills, in money."""
    gaps = np.abs(mark.astype(object) - price)
    return int((gaps * np.abs(quantity.astype(object))).sum())


def two_pass(without: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """(sum of losses, signed sum) of equity without ADL minus equity with it.

    The first counts losers of the comparison only; the second sets against them who gained by being
    closed early.
    """
    lost = without.astype(object) - after
    return int(sum(x for x in lost if x > 0)), int(lost.sum())


@dataclass(frozen=True)
class Haircuts:
    """Distribution of amount / base over candidates whose base is above zero."""

    most: float
    mean: float
    p50: float
    p95: float
    p99: float


def haircuts(amounts: np.ndarray, base: np.ndarray) -> Haircuts:
    """Haircuts as parts of a base: profits, or equity. A percentile is a value that occurs."""
    held = base > 0
    if not held.any():
        return Haircuts(*[float("nan")] * 5)
    parts = amounts[held] / base[held]
    middle = np.percentile(parts, [50, 95, 99], method="inverted_cdf")
    return Haircuts(float(parts.max()), float(parts.mean()), *map(float, middle))


def gini(values: np.ndarray) -> float:
    """Gini coefficient of non-negative values: 0 all equal, 1 - 1/n all with one.

    sum of (2 i - n - 1) x_i / (n sum x), x ascending, i from 1.
    """
    x = np.sort(values).astype(np.float64)
    n, total = len(x), x.sum()
    if n == 0 or total == 0:
        return float("nan")
    return float(((2 * np.arange(1, n + 1) - n - 1) * x).sum() / (n * total))


def jain(values: np.ndarray) -> float:
    """Jain index (sum x)^2 / (n sum x^2): 1 all equal, 1/n all with one."""
    x = values.astype(np.float64)
    squares = (x * x).sum()
    return float(x.sum() ** 2 / (len(x) * squares)) if squares > 0 else float("nan")


def theil(values: np.ndarray) -> float:
    """Theil index, mean of x/mean * ln(x/mean): 0 all equal, ln n all with one."""
    x = values.astype(np.float64)
    if x.sum() == 0:
        return float("nan")
    r = x[x > 0] / x.mean()
    return float((r * np.log(r)).sum() / len(x))


def top_share(amounts: np.ndarray, count: int) -> float:
    """Part of all that the `count` largest give."""
    total = int(amounts.sum())
    if total == 0:
        return float("nan")
    return int(np.sort(amounts)[max(0, len(amounts) - count) :].sum()) / total


def touched(amounts: np.ndarray, ids: np.ndarray) -> int:
    """Accounts that give anything."""
    return len(np.unique(ids[amounts != 0]))


@entry
def _count_descents(values):
    """Pairs a < b with values[a] > values[b], by merge sort of `values` in place."""
    n, width, found = len(values), 1, np.int64(0)
    spare = np.empty_like(values)
    while width < n:
        for begin in range(0, n, 2 * width):
            middle, end = min(begin + width, n), min(begin + 2 * width, n)
            left, right = begin, middle
            for slot in range(begin, end):
                if left < middle and (right >= end or values[left] <= values[right]):
                    spare[slot] = values[left]
                    left += 1
                else:
                    spare[slot] = values[right]
                    right += 1
                    found += middle - left
        values[:] = spare
        width *= 2
    return found


def rank_inversions(before: np.ndarray, after: np.ndarray) -> int:
    """Pairs whose order is reversed: the one with strictly more before has strictly less after.

    With n (n - 1) / 2 pairs in all and no ties, Kendall's tau is 1 - 4 * inversions / (n (n - 1)).
    """
    order = np.lexsort((after, before))
    return int(_count_descents(after[order].astype(np.int64)))


def split_account(candidates: Candidates, place: int, parts: int) -> Candidates:
    """The candidates with one position cut into `parts` equal ones under new identifiers.

    Whole units: the first parts get the odd ones, and with fewer lots than parts some hold none.
    The last `parts` places are the new positions.
    """
    kept = np.arange(len(candidates.id)) != place
    columns = []
    for name, column in zip(Candidates._fields, candidates, strict=True):
        value = int(column[place])
        if name == "id":
            first = int(candidates.id.max()) + 1
            pieces = [value, *range(first, first + parts - 1)]
        elif name in ("mark", "entry", "gap"):
            pieces = [value] * parts
        else:
            share, odd = divmod(abs(value), parts)
            sign = 1 if value >= 0 else -1
            pieces = [sign * (share + (piece < odd)) for piece in range(parts)]
        columns.append(np.append(column[kept], np.array(pieces, np.int64)))
    return Candidates(*columns)


def sybil_gain(allocate: Callable[[Candidates], Allocation], candidates: Candidates, place: int,
               parts: int) -> int:  # fmt: skip
    """How much less an owner loses if he had cut his account in `parts`; below 0, how much more.

    `allocate` is a policy with need, space and options set; the gain is in its space's unit.
    """
    alone = int(allocate(candidates).amounts[place])
    together = int(allocate(split_account(candidates, place, parts)).amounts[-parts:].sum())
    return alone - together


def hedge_damage(lots: np.ndarray, closed: np.ndarray, hedge: np.ndarray, mark: np.ndarray) -> int:
    """Unhedged notional that closing creates, in money.

    `lots` are signed before, `closed` (>= 0) what the policy closed, `hedge` the signed lots the
    owner holds elsewhere against it. Counted is the growth of |lots + hedge| at the mark.
    """
    left = lots - np.sign(lots) * closed
    grown = np.abs(left + hedge) - np.abs(lots + hedge)
    return int((np.maximum(grown, 0).astype(object) * mark).sum())


@dataclass(frozen=True)
class Outcome:
    """One allocation, measured: what a table of policies has in a row.

    Sums are in the allocation's unit; haircuts in parts of the base; the three coefficients of Gini
    are of the amounts, of the haircuts and of what the base is left with.
    """

    taken: int
    residual: int
    excess: int
    haircuts: Haircuts
    gini_amounts: float
    gini_haircuts: float
    gini_survivors: float
    jain: float
    top_ten: float
    top_percent: float
    touched: int
    inversions: int


def outcome(allocation: Allocation, base: np.ndarray, ids: np.ndarray) -> Outcome:
    """Measures an allocation against a base in its own unit: profits, equities, or lots.

    Inequality is over candidates whose base is above zero.
    """
    held = base > 0
    amounts, base, ids = allocation.amounts[held], base[held], ids[held]
    left = base - amounts
    return Outcome(
        int(allocation.amounts.sum()),
        allocation.residual,
        allocation.excess,
        haircuts(amounts, base),
        gini(amounts),
        gini(amounts / base),
        gini(left),
        jain(amounts),
        top_share(amounts, 10),
        top_share(amounts, -(-len(amounts) // 100)),
        touched(amounts, ids),
        rank_inversions(base, left),
    )


@dataclass(frozen=True)
class Solvency:
    """Over a sequence of needs: what stayed uncovered, and the fund's path."""

    residual: int
    breaches: int
    breach_rate: float
    fund_min: int
    drawdown: int


def solvency(residuals: np.ndarray, fund: np.ndarray) -> Solvency:
    """Residual, how often one was left, and the fund's minimum and largest fall from a peak."""
    breaches = int((residuals > 0).sum())
    rate = breaches / len(residuals) if len(residuals) else float("nan")
    peaks = np.maximum.accumulate(fund)
    return Solvency(
        int(residuals.sum()), breaches, rate, int(fund.min()), int((peaks - fund).max())
    )


def tail(residuals: np.ndarray, level: float) -> tuple[int, float]:
    """(value at risk, expected shortfall) of the residuals over runs, at a level such as 0.99."""
    at_risk = int(np.percentile(residuals, 100 * level, method="inverted_cdf"))
    return at_risk, float(residuals[residuals >= at_risk].mean())


@dataclass(frozen=True)
class FairnessRatios:
    """The largest survivor against the deficit left: three published ratios, NaN without one."""

    to_deficit: float  # survivor / (D - H)
    to_largest_loser: float  # survivor / (theta * largest loser), theta = (D - H) / D within [0, 1]
    of_both: float  # survivor / (survivor + D - H)


def fairness_ratios(
    survivor: float, deficit: float, taken: float, largest_loser: float
) -> FairnessRatios:
    """PTSR, PMR and RD-NSE of [C25] and [OSS]; all arguments in one unit of money."""
    left = deficit - taken
    theta = min(1.0, max(0.0, left / deficit)) if deficit > 0 else 0.0

    def over(base: float) -> float:
        return survivor / base if base > 0 else float("nan")

    return FairnessRatios(over(left), over(theta * largest_loser), over(survivor + left))


def queue_result(deficit: float, budget: float) -> tuple[float, float]:
    """(overshoot, residual) of one shock that took `budget` against `deficit`."""
    return max(0, budget - deficit), max(0, deficit - budget)
