"""The least maximum against an integer program; skipped where the solver (extra `dev`) is absent.

The solver's tolerances are floats, so its optimum is rounded to the one fraction it can be.
"""

from fractions import Fraction

import numpy as np
import pytest
from cases import winners

from engine.bearers import Space
from engine.policies.registry import allocate
from engine.reference import sharing

highspy = pytest.importorskip("highspy")


def least_maximum(need: int, equity: list[int], caps: list[int]) -> float:
    """min M with sum k = need, 0 <= k <= cap whole, k <= M * equity."""
    solver = highspy.Highs()
    solver.silent()
    worst = solver.addVariable(lb=0)
    lots = [solver.addIntegral(lb=0, ub=cap) for cap in caps]
    solver.addConstr(sum(lots) == need)
    for k, e in zip(lots, equity, strict=True):
        solver.addConstr(k <= e * worst)
    solver.minimize(worst)
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return solver.getObjectiveValue()


@pytest.mark.parametrize("seed", range(60))
def test_no_solver_finds_better(seed):
    draw = np.random.default_rng(seed)
    n = int(draw.integers(2, 12))
    equity, sizes = draw.integers(1, 300, n), draw.integers(1, 40, n)
    need = int(draw.integers(1, sizes.sum() + 1))
    c = winners([10**6] * n, equities=equity, sizes=sizes, gap=0)
    caps = sizes.tolist()
    got = allocate("min_max_haircut", c, need, Space.CONTRACT)
    assert int(got.amounts.sum()) == need
    ours = max(Fraction(int(k), int(e)) for k, e in zip(got.amounts, equity, strict=True))
    best = least_maximum(need, equity.tolist(), caps)
    assert float(ours) == pytest.approx(best, abs=1e-6)
    fractional = sharing.level(need, equity.tolist(), caps)
    if fractional is not None:
        assert fractional <= ours <= fractional + Fraction(1, int(equity.min()))
