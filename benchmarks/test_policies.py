"""Seconds a policy takes over a million candidates, in lots; checks of the arrays included.

Every figure is for a result that is checked: the sum meets the need, nobody gives more than he has.
"""

import numpy as np
import pytest

from engine.bearers import Candidates, Space
from engine.policies.registry import POLICIES, allocate

CANDIDATES = 1_000_000


@pytest.fixture(scope="module")
def book() -> Candidates:
    """Shorts in profit: heavy-tailed sizes, leverage from 0.1 to 50, one mark, one gap."""
    draw = np.random.default_rng(1)
    sizes = np.minimum(draw.pareto(1.2, CANDIDATES) * 100 + 1, 10**6).astype(np.int64)
    entry = draw.integers(101, 140, CANDIDATES)
    pnl = sizes * (entry - 100)
    margin = (sizes * 100 / np.clip(np.exp(draw.normal(0, 1.5, CANDIDATES)), 0.1, 50)).astype(int)
    places, same = np.arange(CANDIDATES), np.ones(CANDIDATES, np.int64)
    return Candidates(places, -sizes, 100 * same, entry, pnl, pnl + margin, 5 * sizes, 3 * same)


@pytest.mark.parametrize("name", POLICIES)
def test_a_million_candidates(benchmark, book, name):
    space = Space.WEALTH if name == "wealth_to_lots" else Space.CONTRACT
    need = int(np.abs(book.lots).sum() // 5)
    got = benchmark.pedantic(allocate, (name, book, need, space), rounds=3, warmup_rounds=1)
    assert int(got.amounts.sum()) == need - got.residual + got.excess
    assert (got.amounts <= np.abs(book.lots) * (book.gap if space == Space.WEALTH else 1)).all()
    benchmark.extra_info["candidates"] = CANDIDATES
