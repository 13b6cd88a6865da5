"""Controllers of severity, and what the metrics say of allocations worked by hand."""

from fractions import Fraction
from itertools import combinations
from math import exp, nan

import numpy as np
import pytest
from cases import winners
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bearers import Options, Space
from engine.policies import metrics, severities
from engine.policies.registry import allocate
from engine.policies.severities import PPB


def test_controllers():
    assert [severities.static(x) for x in (-1, 5, 2 * PPB)] == [0, 5, PPB]
    assert severities.cap_by_survivor(PPB, 30, 100) == 150_000_000  # 1/2 * .3
    assert severities.cap_by_survivor(PPB, 900, 100) == PPB
    assert severities.cap_by_survivor(PPB, 1, 0) == PPB
    assert severities.backoff(800, 500_000_000, 100, PPB) == 400
    assert severities.backoff(100, 500_000_000, 100, PPB) == 100
    assert severities.backoff(800, 500_000_000, 100, 300) == 300


def test_mirror_steps_shrink_with_the_root_of_time():
    """Slope -1 at every theta: steps of rate / sqrt(t), never past the cap."""

    def step(shock, theta=0, cap=PPB, threshold=0, excess=0):
        return severities.mirror(theta, shock, PPB // 10, cap, PPB, 2 * PPB, threshold, excess)

    assert [step(t) for t in (1, 4, 100)] == [100_000_000, 50_000_000, 10_000_000]
    assert step(1, cap=7) == 7
    assert step(1, threshold=1) == 300_000_000  # below the threshold the hazard adds its 2
    assert step(1, theta=2 * PPB, cap=3 * PPB, excess=PPB) == 1_900_000_000  # -1 + 2 * 1


def test_a_lagged_severity_misses():
    """theta 1/2 of the last need 100 meets 30 now: 50 published, 15 asked for."""
    half = PPB // 2
    assert severities.part_of(101, half) == 50
    assert severities.forecast_error(30, half, 100) == 35
    assert severities.forecast_error(100, half, 30) == -35


@settings(max_examples=100, deadline=None)
@given(st.integers(0, PPB), st.integers(0, 10**12), st.integers(1, 10**12))
def test_participation_falls_exponentially(before, haircut, capacity):
    haircut = min(haircut, capacity)
    got = severities.after_haircut(before, haircut, capacity)
    assert abs(got - before * exp(-8 * haircut / capacity)) <= 1 + 1e-6
    assert severities.after_haircut(before, 0, capacity) == before


def test_the_published_queue_shock_by_shock():
    """Closed profits 60 and 40 of capacities 90 and 10: the first gives 90, the other 10 of his
    40; both gave all they could, so the next time e^-8 of them takes part."""
    taken, left = severities.profit_shock([60, 40], [90, 10], [PPB, PPB])
    assert taken == [90, 10]
    assert left == [335_462, severities.after_haircut(PPB, 10, 40)]
    taken, left = severities.profit_shock([60, 40], [60, 40], [PPB // 2, 0])
    assert taken == [30, 0] and left == [335_462 // 2, 0]


def test_the_fund_keeps_its_last_unit():
    assert severities.fund_draw(50, 40, 100) == 39
    assert severities.fund_draw(50, 400, 10) == 10
    assert severities.fund_draw(50, 0, 10) == 0


def test_one_budget_over_markets():
    """100 of money over 300 and 100 at risk: 75 and 25, in whole lots of 10 and 7, up."""
    assert severities.split_over_markets(100, [300, 100], [10, 7]) == [8, 4]
    assert severities.split_over_markets(100, [300, 0], [10, 0]) == [10, 0]


# -- metrics ----------------------------------------------------------------------------------


def test_overshoot_splits():
    """A short of 2 closed at 90 while the mark is 88, and 80 later: 4 given up at the fill, all
    needed, and 16 by the move; a long of 1 closed 3 below the mark, which falls by 1."""
    ints = [np.array(x) for x in ([-2, 1], [90, 97], [88, 100], [80, 99])]
    lots, price, mark, later = ints
    assert metrics.needed(lots, mark, price) == 7
    got = metrics.overshoot(lots, price, mark, later, 5)
    assert (got.needed, got.allocation, got.markout, got.total) == (5, 2, 15, 17)
    whole = int((lots * (later - price)).sum())
    assert whole == got.needed + got.total


def test_two_pass_counts_gains_too():
    assert metrics.two_pass(np.array([10, 5, -3]), np.array([4, 9, -3])) == (6, 2)


def test_haircuts_and_concentration():
    x, base = np.array([0, 5, 10, 30]), np.array([0, 10, 100, 40])
    got = metrics.haircuts(x, base)
    assert (got.most, got.p50, got.p95) == (0.75, 0.5, 0.75)
    assert got.mean == pytest.approx((0.5 + 0.1 + 0.75) / 3)
    assert metrics.top_share(x, 1) == 30 / 45 and metrics.top_share(x, 9) == 1
    assert metrics.touched(x, np.array([1, 2, 2, 3])) == 2


def test_inequality():
    equal, one = np.full(5, 7), np.array([0, 0, 9, 0, 0])
    assert metrics.gini(equal) == 0 and metrics.gini(one) == pytest.approx(0.8)
    assert metrics.jain(equal) == 1 and metrics.jain(one) == pytest.approx(0.2)
    assert metrics.theil(equal) == 0 and metrics.theil(one) == pytest.approx(np.log(5))
    assert metrics.gini(np.array([1, 2, 3, 4])) == pytest.approx(0.25)


def test_nothing_gives_no_ratio():
    none = np.zeros(3, np.int64)
    got = [metrics.gini(none), metrics.jain(none), metrics.theil(none), metrics.top_share(none, 1)]
    got += [metrics.haircuts(none, none).most, metrics.solvency(none[:0], none).breach_rate]
    assert all(np.isnan(got))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_rank_inversions(rows):
    before, after = np.array([*rows, (0, 0)], np.int64).T
    pairs = combinations(range(len(before)), 2)
    slow = sum((before[i] - before[j]) * (after[i] - after[j]) < 0 for i, j in pairs)
    assert metrics.rank_inversions(before, after) == slow


def test_a_queue_reverses_ranks_and_pro_rata_does_not():
    c = winners([60, 30, 10])
    queue = c.pnl - allocate("queue_partial", c, 55, Space.WEALTH).amounts
    shared = c.pnl - allocate("wealth_pro_rata", c, 55, Space.WEALTH).amounts
    assert metrics.rank_inversions(c.pnl, queue) == 2
    assert metrics.rank_inversions(c.pnl, shared) == 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=6),
    st.integers(0, 2**41),
    st.sampled_from([2, 10]),
    st.integers(0, 5),
)
def test_splitting_an_account_gains_nothing_under_pro_rata(endowments, need, parts, place):
    """4.7 and 4.8, but for a unit of rounding a piece."""
    place = place % len(endowments)
    equities = [w - w // 4 for w in endowments]
    c = winners(endowments, equities=equities, sizes=[100] * len(endowments))
    for name in ("wealth_pro_rata", "capped_pro_rata"):
        gain = metrics.sybil_gain(
            lambda x, name=name: allocate(name, x, need, Space.WEALTH), c, place, parts
        )
        assert abs(gain) <= parts


def test_splitting_an_account_escapes_a_queue_by_size():
    c = winners([60, 50])

    def queue(x):
        return allocate("queue_partial", x, 50, Space.WEALTH, Options(score=8))

    assert metrics.sybil_gain(queue, c, 0, 2) == 50
    assert metrics.split_account(c, 0, 7).pnl.tolist() == [50, 9, 9, 9, 9, 8, 8, 8]


def test_an_outcome_has_it_all():
    """Profits 60, 30, 10 and a loser; 55 by queue, largest profit first."""
    c = winners([60, 30, 10, -5], mark=9)
    got = metrics.outcome(allocate("queue_partial", c, 120, Space.WEALTH), c.pnl, c.id)
    assert (got.taken, got.residual, got.excess, got.touched) == (100, 20, 0, 3)
    assert got.haircuts.most == got.haircuts.mean == got.top_ten == 1
    got = metrics.outcome(allocate("queue_partial", c, 55, Space.WEALTH), c.pnl, c.id)
    assert (got.taken, got.touched, got.inversions, got.top_percent) == (55, 1, 2, 1)
    assert got.gini_amounts == pytest.approx(2 / 3) and got.jain == pytest.approx(1 / 3)
    assert got.gini_haircuts == pytest.approx(2 / 3)
    assert got.gini_survivors == pytest.approx((-2 * 5 + 2 * 30) / (3 * 45))


def test_hedge_damage():
    """A short of 10 against 10 elsewhere loses 4 of its hedge; an unhedged one loses none; one
    over-hedged short becomes less exposed."""
    lots, closed, hedge = np.array([-10, -10, -10]), np.array([4, 4, 3]), np.array([10, 0, 5])
    assert metrics.hedge_damage(lots, closed, hedge, np.array([100, 100, 100])) == 400


def test_solvency():
    got = metrics.solvency(np.array([0, 5, 0, 7]), np.array([10, 40, 15, 20]))
    assert (got.residual, got.breaches, got.breach_rate) == (12, 2, 0.5)
    assert (got.fund_min, got.drawdown) == (10, 25)
    assert metrics.tail(np.arange(100), 0.95) == (94, 96.5)


def test_ratios_need_a_deficit_left():
    got = metrics.fairness_ratios(40, 100, 20, 10)
    assert (got.to_deficit, got.to_largest_loser) == (0.5, 40 / (0.8 * 10))
    assert got.of_both == 40 / 120
    over = metrics.fairness_ratios(40, 100, 120, 10)
    assert [over.to_deficit, over.to_largest_loser, over.of_both] == pytest.approx(
        [nan, nan, 2.0], nan_ok=True
    )


def test_participation_is_exact_at_the_edge():
    """exp is bracketed by fractions: 1e9 e^-8 = 335462.6..., never the float's guess."""
    assert severities.after_haircut(PPB, 1, 1) == 335_462
    assert severities.after_haircut(17, 1, 1) == 0
    assert severities.after_haircut(PPB, 1, 8) == int(Fraction(367879441171442, 10**6))
