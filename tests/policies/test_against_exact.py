"""The compiled policies against the exact ones, and what every allocation keeps."""

import numpy as np
import pytest
from cases import (
    NAMES,
    NEEDS,
    OPTIONS,
    PASSES_THE_NEED,
    SHARES_ONLY,
    SPACES,
    capacities,
    positions,
    winners,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bearers import Candidates, Options, Space
from engine.policies.candidates import checked
from engine.policies.registry import POLICIES, allocate, allocate_exactly
from engine.reference import sharing

MANY = settings(max_examples=500, deadline=None)


@MANY
@given(NAMES, positions(), NEEDS, SPACES, OPTIONS)
def test_compiled_is_exact(name, candidates, need, space, options):
    compiled = allocate(name, candidates, need, space, options)
    exact = allocate_exactly(name, candidates, need, space, options)
    assert compiled.amounts.tolist() == exact.amounts.tolist()
    assert (compiled.residual, compiled.excess) == (exact.residual, exact.excess)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=40, deadline=None)
@given(candidates=positions(), need=NEEDS, space=SPACES, options=OPTIONS)
def test_every_policy_is_exact(name, candidates, need, space, options):
    compiled = allocate(name, candidates, need, space, options)
    assert compiled.amounts.tolist() == (
        allocate_exactly(name, candidates, need, space, options).amounts.tolist()
    )


SHARING = ("capped_pro_rata", "weighted_pro_rata", "risk_pro_rata", "min_max_haircut")
SHARING += ("min_max_leverage", "contract_pro_rata", "vector_descent", "wealth_to_lots")
TINY = st.lists(
    st.tuples(st.integers(0, 12), st.integers(-1, 12), st.integers(0, 12), st.integers(0, 3)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=400, deadline=None)
@given(TINY, st.integers(0, 60), SPACES, OPTIONS, st.integers(1, 4))
def test_caps_and_remainders_in_small_numbers(rows, need, space, options, gap):
    """Where caps, fractions and ties meet: everything is a handful of units."""
    profits, equities, sizes, ids = zip(*rows, strict=True)
    c = winners(profits, equities=equities, sizes=sizes, mark=20, gap=gap, ids=ids)
    options = options._replace(side=1, equity_min=options.equity_min % 3)
    for name in SHARING:
        compiled = allocate(name, c, need, space, options)
        exact = allocate_exactly(name, c, need, space, options)
        assert compiled.amounts.tolist() == exact.amounts.tolist()


@MANY
@given(NAMES, positions(), NEEDS, SPACES, OPTIONS)
def test_sums_caps_and_sides(name, candidates, need, space, options):
    got = allocate(name, candidates, need, space, options)
    assert int(got.amounts.sum()) == need - got.residual + got.excess
    assert got.residual == 0 or got.excess == 0
    assert got.excess == 0 or name in PASSES_THE_NEED
    assert (got.amounts >= 0).all()
    most = capacities(candidates, name, space)
    if most is not None:
        assert (got.amounts <= most).all()
    if name not in SHARES_ONLY | {"any_side_queue"}:
        same_side = candidates.lots * options.side >= 0
        assert (got.amounts[same_side] == 0).all(), "a position of the bankrupt's own side"


@MANY
@given(positions(), NEEDS, SPACES, OPTIONS)
def test_the_excess_is_bounded(candidates, need, space, options):
    """A whole position, a lot, or a unit for each, by the rule that cannot stop at the need."""
    n, lots = len(candidates.id), int(np.abs(candidates.lots).sum())
    largest = max([0, *np.maximum(candidates.pnl, 0), *np.abs(candidates.lots)])
    bounds = {
        "queue_full": largest,
        "any_side_queue": largest,
        "wealth_to_lots": max([0, *candidates.gap]) if space == Space.WEALTH else None,
        "size_levy": lots,
        "side_scaling": n,
        "profit_scaling": n,
        "gains_haircut": n,
        "withdrawal_levy": n,
    }
    for name, bound in bounds.items():
        excess = allocate(name, candidates, need, space, options).excess
        assert bound is None or excess < max(1, bound)


MEETS_THE_NEED = {
    "queue_partial": lambda w, e, q, g: w,
    "queue_lots": lambda w, e, q, g: q * g,
    "smart_queue": lambda w, e, q, g: np.clip(e, 0, w),
    "wealth_pro_rata": lambda w, e, q, g: w,
    "capped_pro_rata": lambda w, e, q, g: np.clip(e, 0, w),
    "contract_pro_rata": lambda w, e, q, g: q * g,
    "min_max_leverage": lambda w, e, q, g: w,
    "risk_pro_rata": lambda w, e, q, g: np.where(q > 0, np.clip(e, 0, w), 0),
}


@pytest.mark.parametrize("name", MEETS_THE_NEED)
@settings(max_examples=80, deadline=None)
@given(candidates=positions(), need=NEEDS)
def test_the_shortfall_is_what_capacity_misses(name, candidates, need):
    """Money: residual = (need - capacity)+, neither clipped away nor left where there was room."""
    opposed = candidates.lots < 0
    w = np.where(opposed, np.maximum(candidates.pnl, 0), 0)
    q = np.where(w > 0, -candidates.lots, 0)
    candidates = candidates._replace(mark=np.maximum(candidates.mark, 1))
    total = int(MEETS_THE_NEED[name](w, candidates.equity, q, candidates.gap).sum())
    options = Options(exponent=1)
    if name == "risk_pro_rata":  # a leverage below 1 ppm has no risk weight
        candidates = candidates._replace(equity=np.minimum(candidates.equity, 10**5))
        total = int(MEETS_THE_NEED[name](w, candidates.equity, q, candidates.gap).sum())
    got = allocate(name, candidates, need, Space.WEALTH, options)
    assert got.residual == max(0, need - total)


@MANY
@given(NAMES, positions(), NEEDS, SPACES, OPTIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_arrays_does_not_matter(name, candidates, need, space, options, random):
    """Given different ids; the lottery alone goes by place, as its source does."""
    if name == "lottery":
        return
    n = len(candidates.id)
    candidates = candidates._replace(id=np.arange(n))
    shuffled = np.array(random.sample(range(n), n), np.int64)
    there = allocate(name, candidates, need, space, options).amounts
    back = allocate(name, Candidates(*[c[shuffled] for c in candidates]), need, space, options)
    assert back.amounts.tolist() == there[shuffled].tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**30), max_size=7), st.integers(0, 2**33), st.integers(2, 9))
def test_scale_invariance(endowments, need, factor):
    """Pro-rata, capped or weighted: money in a unit `factor` times finer gives the same shares."""
    c = winners(endowments, [3 * w // 4 for w in endowments], mark=10**9)
    for name in ("wealth_pro_rata", "capped_pro_rata", "weighted_pro_rata", "risk_pro_rata"):
        coarse = allocate(name, c, need, Space.WEALTH).amounts
        finer = c._replace(pnl=c.pnl * factor, equity=c.equity * factor, mark=c.mark * factor)
        fine = allocate(name, finer, need * factor, Space.WEALTH).amounts
        assert (np.abs(fine - factor * coarse) <= factor).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=7), NEEDS, st.integers(0, 6))
def test_survivors_keep_their_order(endowments, need, place):
    """4.7 and 4.8: who had more has no less left, but for the one unit of rounding."""
    c = winners(endowments, [w - w // (2 + place) for w in endowments])
    for name in ("wealth_pro_rata", "capped_pro_rata"):
        left = c.pnl - allocate(name, c, need, Space.WEALTH).amounts
        order = np.argsort(c.pnl, kind="stable")
        assert (np.diff(left[order]) >= -1).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=6), NEEDS, NEEDS)
def test_a_larger_need_takes_no_less_from_anyone(endowments, need, more):
    c = winners(endowments, [w - w // 3 for w in endowments])
    names = ("queue_partial", "queue_full", "wealth_pro_rata", "capped_pro_rata", "risk_pro_rata")
    for name in names:
        first = allocate(name, c, need, Space.WEALTH).amounts
        second = allocate(name, c, need + more, Space.WEALTH).amounts
        assert (second >= first - 1).all()


SHARE_CASES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 9)), max_size=6
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 120), SHARE_CASES)
def test_least_maximum_is_the_least(need, rows):
    """No whole allocation under the same caps has a smaller largest amount / weight."""
    weights, caps, ids = ([row[i] for row in rows] for i in range(3))
    got = sharing.share_least_maximum(need, weights, caps, ids)
    open_caps = [c if w else 0 for c, w in zip(caps, weights, strict=True)]
    assert sum(got) == min(need, sum(open_caps))
    if not sum(got):
        return
    worst = max(sharing.Fraction(x, w) for x, w in zip(got, weights, strict=True) if w)
    # with every ratio strictly below `worst` less than the need could be collected
    below = [
        min(c, (worst.numerator * w - 1) // worst.denominator) if w else 0
        for c, w in zip(caps, weights, strict=True)
    ]
    assert sum(below) < sum(got)


def test_ranges_are_refused():
    c = winners([5, 6])
    with pytest.raises(ValueError, match="no policy 'queue'; there are: queue_full"):
        allocate("queue", c, 1)
    with pytest.raises(ValueError, match="need"):
        allocate("queue_full", c, -1)
    with pytest.raises(ValueError, match="need"):
        allocate("queue_full", c, 2**61)
    with pytest.raises(ValueError, match="side"):
        allocate("queue_full", c, 1, options=Options(side=0))
    with pytest.raises(ValueError, match="theta_ppm"):
        allocate("severity", c, 1, options=Options(theta_ppm=1_000_001))
    with pytest.raises(ValueError, match="score"):
        allocate("queue_full", c, 1, options=Options(score=9))
    with pytest.raises(ValueError, match="exponent"):
        allocate("risk_pro_rata", c, 1, options=Options(exponent=17))
    with pytest.raises(ValueError, match="seed"):
        allocate("lottery", c, 1, options=Options(seed=-1))


def test_candidates_are_refused():
    c = winners([5, 6])
    with pytest.raises(ValueError, match="one length"):
        checked(c._replace(lots=np.array([1])))
    with pytest.raises(ValueError, match="gap below zero"):
        checked(c._replace(gap=np.array([1, -1])))
    with pytest.raises(ValueError, match="equity passes"):
        checked(c._replace(equity=np.array([2**60, 2**60])))
    with pytest.raises(ValueError, match="pnl passes"):
        checked(c._replace(pnl=np.array([-(2**63), 0])))
    with pytest.raises(ValueError, match="notional passes"):
        checked(c._replace(lots=np.array([2**31, 1]), mark=np.array([2**31, 1])))
    checked(c._replace(equity=np.array([2**60, 2**60 - 1])))
