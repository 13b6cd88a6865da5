"""Worked examples of the literature, and of every policy, by hand."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from cases import positions, winners
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bearers import (
    SCORE_MAX,
    SCORE_UNIT,
    Candidates,
    Options,
    Position,
    Score,
    Space,
    Weight,
)
from engine.constants import PPM
from engine.core.kernel import JIT, OPTIONS
from engine.core.scores import score_of
from engine.policies.registry import SCORES, allocate, allocate_exactly
from engine.reference import sharing
from engine.reference.scores import EXACT

MICRO = 1_000_000  # money units of these examples per unit of the source


def micro(*values: float) -> list[int]:
    return [round(value * MICRO) for value in values]


def both(name, candidates, need, space=Space.WEALTH, **options) -> list[int]:
    """Amounts, after a check that the two implementations agree."""
    given = Options(**options)
    amounts = allocate(name, candidates, need, space, given).amounts.tolist()
    assert amounts == allocate_exactly(name, candidates, need, space, given).amounts.tolist()
    return amounts


# Vector a: e = (10, 5, 1, -3, -12), cash (2, 1, .5), profit (8, 4, .5, -3, -12); B = .5 * 15.
# Leverage falls 2 > 1 > 3, as the source's queue order has it.
FIVE = Candidates(
    np.arange(1, 6),
    np.array([-30, -25, -1, 1, 1]),
    np.full(5, MICRO),
    np.full(5, MICRO),
    np.array(micro(8, 4, 0.5, -3, -12)),
    np.array(micro(10, 5, 1, -3, -12)),
    np.zeros(5, np.int64),
    np.full(5, MICRO),
)
BUDGET = micro(7.5)[0]


def test_vector_a_queue():
    taken = both("queue_partial", FIVE, BUDGET, score=Score.LEVERAGE_OVER_MARK)
    assert taken == micro(3.5, 4, 0, 0, 0)
    left = (FIVE.equity - taken).tolist()
    assert left == micro(6.5, 1, 1, -3, -12)


def test_vector_a_pro_rata():
    taken = both("wealth_pro_rata", FIVE, BUDGET)
    assert taken == micro(4.8, 2.4, 0.3, 0, 0)
    assert (FIVE.equity - taken).tolist()[:3] == micro(5.2, 2.6, 0.7)


def test_vector_b_top_winner():
    """The queue by size leaves the top winner .5, pro-rata one of 3.2: 2.7 = B (1 - 8/12.5)."""
    w = winners(micro(8, 4, 0.5))
    queue = w.pnl - both("queue_partial", w, BUDGET, score=Score.ENDOWMENT)
    shared = w.pnl - both("wealth_pro_rata", w, BUDGET)
    assert queue[0] == micro(0.5)[0] and shared[0] == micro(3.2)[0]
    assert Fraction(int(shared[0] - queue[0]), MICRO) == Fraction(75, 10) * (1 - Fraction(80, 125))


def test_vector_c_water_level():
    """Caps .5, 1, 1 of w = (8, 4, .5): level 7/9."""
    w, caps = micro(8, 4, 0.5), micro(4, 4, 0.5)
    assert sharing.level(BUDGET, w, caps) == Fraction(7, 9)
    capped = winners(w, equities=caps)
    assert both("capped_pro_rata", capped, BUDGET) == micro(4, 3.111111, 0.388889)


def test_vector_d_risk_weights():
    """r = (1, 4, 9): leverage 1, 2, 3 squared; tau = 3/8, so x = (3, 4, .5)."""
    weights = sharing.product_weights(micro(8, 4, 0.5), [1, 4, 9])
    assert sharing.share(BUDGET, weights, micro(8, 4, 0.5), [1, 2, 3]) == micro(3, 4, 0.5)
    e = micro(36, 36, 36)
    c = winners(micro(8, 4, 0.5), equities=e, sizes=[36, 72, 108], mark=MICRO, gap=MICRO)
    assert both("risk_pro_rata", c, BUDGET, exponent=2) == micro(3, 4, 0.5)


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({"exponent": 0}, (0.163, 0.728, 0.109)),
        ({"exponent": 2}, (0.164, 0.589, 0.246)),
        ({"exponent": 3}, (0.155, 0.498, 0.348)),
        ({"threshold_ppm": 900_000}, (0.149, 0.114, 0.737)),
    ],
)
def test_vector_e_shares_of_risk(options, shares):
    """Endowment = equity here, leverage (1.031, .925, 1.548); the need is far from any cap.

    The source prints its inputs rounded, so the shares agree to .001 (.4973 is printed as .498).
    """
    e = micro(1.2613, 5.6214, 0.8397)
    sizes = [
        round(x * leverage / 100) for x, leverage in zip(e, (1.031, 0.925, 1.548), strict=True)
    ]
    c = winners(e, sizes=sizes, mark=100, gap=100)
    need = 100_000
    got = both("risk_pro_rata", c, need, **options)
    assert [x / need for x in got] == pytest.approx(shares, abs=1e-3)


def test_vector_f_largest_remainder():
    c = winners([1, 1, 1], sizes=[10, 7, 3])
    assert both("contract_pro_rata", c, 9, Space.CONTRACT) == [5, 3, 1]
    assert both("wealth_pro_rata", winners([10, 7, 3]), 9) == [5, 3, 1]


def test_vector_g_bankruptcy_and_shortfall():
    """Prices at which equity is gone, entry 1: 0, 1/3, 5/3, .8947, 1.1010, by the position.

    E is bought back at 1.55: on his entry basis the shortfall is .449 (the source, with the price
    of the day as basis, prints .399).
    """
    book = ((1, 1), (1, Fraction(2, 3)), (-4, Fraction(8, 3)), (1, Fraction(2, 19)))
    expected = (0, Fraction(1, 3), Fraction(5, 3), Fraction(17, 19), Fraction(109, 99))
    for (lots, cash), price in zip((*book, (-1, Fraction(10, 99))), expected, strict=True):
        assert 1 - Fraction(cash) / lots == price
    assert round(float(Fraction("1.55") - expected[4]), 3) == 0.449


ABC = winners([60, 30, 10], equities=[100, 20, 50], sizes=[6, 3, 2], mark=10, gap=5)


@pytest.mark.parametrize(
    ("name", "options", "money", "lots"),
    [
        ("queue_full", {}, [60, 0, 0], [6, 0, 0]),
        ("queue_partial", {}, [50, 0, 0], [4, 0, 0]),
        ("queue_lots", {}, [30, 15, 5], [4, 0, 0]),
        ("smart_queue", {}, [50, 0, 0], [4, 0, 0]),
        ("profit_queue", {}, [60, 20, 10], [6, 3, 2]),
        ("wealth_pro_rata", {}, [30, 15, 5], [3, 1, 0]),
        ("capped_pro_rata", {}, [30, 15, 5], [3, 1, 0]),
        ("capped_pro_rata", {"haircut_max_ppm": 400_000}, [24, 12, 4], [3, 1, 0]),
        ("weighted_pro_rata", {"weight": Weight.EQUITY}, [33, 7, 10], [2, 1, 1]),
        ("weighted_pro_rata", {"weight": Weight.NOTIONAL}, [27, 14, 9], [2, 1, 1]),
        ("contract_pro_rata", {}, [27, 14, 9], [2, 1, 1]),
        ("wealth_to_lots", {}, [30, 15, 5], [1, 0, 0]),
        ("severity", {"theta_ppm": 500_000}, [15, 8, 2], [1, 1, 0]),
        ("any_side_queue", {}, [50, 0, 0], [6, 0, 0]),
        ("size_levy", {}, [30, 15, 10], [0, 0, 0]),
        ("profit_clawback", {}, [30, 15, 5], [0, 0, 0]),
        ("withdrawal_levy", {"withdrawal_ppm": 500_000}, [15, 3, 8], [0, 0, 0]),
        ("profit_scaling", {}, [30, 15, 5], [0, 0, 0]),
        ("side_scaling", {}, [28, 14, 10], [3, 2, 1]),
        ("gains_haircut", {}, [30, 15, 5], [0, 0, 0]),
    ],
)
def test_worked_examples(name, options, money, lots):
    """Profits 60, 30, 10 on 6, 3, 2 lots, gap 5; 50 of money, or 4 lots, are needed."""
    got = (
        both(name, ABC, 50, Space.WEALTH, **options),
        both(name, ABC, 4, Space.CONTRACT, **options),
    )
    assert got == (money, lots)


def test_lottery_goes_round():
    """List order from a start that the seed draws; who could not pay from equity is skipped."""
    c = winners([1] * 5, equities=[9, 9, 0, 9, 9], sizes=[2] * 5, gap=1)
    c = c._replace(lots=np.array([-2, 2, -2, -2, -2]), pnl=np.array([-5, 1, 1, 1, 1]))
    seen = {tuple(both("lottery", c, 3, Space.CONTRACT, seed=seed)) for seed in range(40)}
    assert seen == {(2, 0, 0, 1, 0), (0, 0, 0, 2, 1), (1, 0, 0, 0, 2)}
    assert both("lottery", c, 3, Space.CONTRACT, tries_max=0) == [0] * 5


def test_the_lottery_is_fair_over_seeds():
    """Every start comes up about as often: 1,000 seeds over ten equal places, 100 each +- 4 sd."""
    c = winners([1] * 10)
    drawn = [int(allocate("lottery", c, 1, options=Options(seed=s)).amounts.argmax())
             for s in range(1000)]  # fmt: skip
    counts = np.bincount(drawn, minlength=10)
    assert (np.abs(counts - 100) < 4 * np.sqrt(90)).all()


def test_least_maximum_in_whole_lots():
    """Equity 100 and 20 twice, 9 lots of gap 1: 7, 1, 1 is worst at .07; one lot of a small
    account weighs .05, two would weigh .1."""
    c = winners([50, 50, 50], equities=[100, 20, 20], sizes=[9, 9, 9])
    assert both("min_max_haircut", c, 9, Space.CONTRACT) == [7, 1, 1]
    full = winners([50] * 5, equities=[100, 10, 10, 10, 10], sizes=[9, 5, 5, 5, 5])
    assert both("min_max_haircut", full, 12, Space.CONTRACT) == [9, 1, 1, 1, 0]


def test_the_smallest_risk_still_counts():
    """A weight that rounds to nothing beside a huge one is 1, so that all can be asked for all."""
    c = winners([9, 9], sizes=[1, 2**50], gap=0)
    assert both("vector_descent", c, 2**50, Space.CONTRACT) == [0, 2**50]
    assert both("vector_descent", c, 2**50 + 1, Space.CONTRACT) == [1, 2**50]


def test_the_most_leveraged_is_cut_first():
    """100 lots at 1 over equity 10, 20, 50: leverage 10, 5, 2. 100 lots closed: all level at 4
    would keep 40 + 80 + 100; keeping 200 puts the level at 100/30."""
    c = winners([9] * 3, equities=[10, 20, 50], sizes=[100] * 3)
    assert both("min_max_leverage", c, 100, Space.CONTRACT) == [67, 33, 0]
    assert both("min_max_leverage", c, 50, Space.CONTRACT) == [50, 0, 0]
    broke = winners([9] * 3, equities=[10, -1, 0], sizes=[100] * 3)
    assert both("min_max_leverage", broke, 150, Space.CONTRACT) == [0, 75, 75]
    assert both("min_max_leverage", broke, 250, Space.CONTRACT) == [50, 100, 100]


def test_descent_grows_with_the_square_and_loses_what_it_cuts():
    c = winners([100, 100], equities=[100, 100], sizes=[10, 20], gap=1)
    assert both("vector_descent", c, 10) == [2, 8]
    poor = c._replace(equity=np.array([100, 5]))
    got = allocate("vector_descent", poor, 10, Space.WEALTH)
    assert got.amounts.tolist() == [2, 5] and got.residual == 3


def test_published_profit_queue_misses_its_own_need():
    """Its target is the winners' profits, so a small need is overshot and a large one missed."""
    assert allocate("profit_queue", ABC, 50, Space.WEALTH).excess == 40
    assert allocate("profit_queue", ABC, 120, Space.WEALTH).residual == 30


def test_one_queue_closes_the_wrong_side():
    """A profitable long beside a bankrupt long is closed by one policy and by no other."""
    c = winners([50, 10])._replace(lots=np.array([1, -1]))
    assert both("any_side_queue", c, 1, Space.CONTRACT) == [1, 0]
    assert both("queue_full", c, 1, Space.CONTRACT) == [0, 1]


def scores_of(score: str, **fields) -> tuple:
    """Which of a base candidate (id 1) and one with these fields (id 2) the queue takes first."""
    base = {"lots": 10, "mark": 120, "entry": 100, "pnl": 200, "equity": 600, "maintenance": 0}
    rows = [{**base, "id": 1, "gap": 0}, {**base, "id": 2, "gap": 0, **fields}]
    c = Candidates(*[np.array([row[k] for row in rows]) for k in Candidates._fields])
    taken = both("queue_lots", c, 1, Space.CONTRACT, score=SCORES[score], side=-1, last=110)
    return tuple(taken)


FIRST, SECOND = (1, 0), (0, 1)


@pytest.mark.parametrize("score", SCORES)
def test_equal_scores_go_by_notional_then_id(score):
    assert scores_of(score) == FIRST
    if score in ("profit", "endowment"):
        assert scores_of(score, lots=11) == SECOND


@pytest.mark.parametrize(
    ("score", "ahead", "behind"),
    [
        ("gain_leverage", {"entry": 99}, {"equity": 601}),
        ("profit_pct_leverage", {"pnl": 201}, {"entry": 101}),
        ("leverage_over_bankruptcy", {"equity": 599}, {"mark": 121}),
        ("leverage_over_mark", {"equity": 599}, {"equity": 601}),
        ("profit_times_leverage", {"pnl": 201}, {"equity": 610}),
        ("profit_over_equity", {"equity": 599}, {"pnl": 199}),
        ("size", {"lots": 11}, {"lots": 9}),
        ("profit", {"pnl": 201}, {"pnl": 199}),
        ("endowment", {"pnl": 201}, {"pnl": 199}),
    ],
)
def test_scores_rank(score, ahead, behind):
    assert scores_of(score, **ahead) == SECOND
    assert scores_of(score, **behind) == FIRST


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SCORES.values())),
    *[st.integers(1, 2**bits) for bits in (20, 30, 30, 50, 50, 30)],
    st.sampled_from([1, -1]),
)
def test_quantised_scores_are_close_to_the_fraction(
    kind, size, mark, entry, pnl, equity, last, sign
):
    """Each factor is off by less than 1e-12, so the score by less than their sum and one more."""
    p = Position(1, sign * size, mark, entry, pnl, equity, 0, 0)
    leverage, notional = Fraction(size * mark, equity), size * mark
    gone = notional - sign * equity
    factors = {
        Score.GAIN_LEVERAGE: (Fraction(mark, entry) ** sign, leverage),
        Score.PROFIT_PCT_LEVERAGE: (Fraction(pnl, size * entry), leverage),
        Score.LEVERAGE_OVER_BANKRUPTCY: (
            Fraction(last * size, gone) if gone > 0 else None,
            leverage,
        ),
        Score.LEVERAGE_OVER_MARK: (Fraction(last, mark), leverage),
        Score.PROFIT_OVER_EQUITY: (Fraction(pnl, equity), 1),
    }
    whole = {
        Score.SIZE: size,
        Score.PROFIT: pnl,
        Score.ENDOWMENT: pnl,
        Score.PROFIT_TIMES_LEVERAGE: int(pnl * leverage),
    }
    got = EXACT[kind](p, last)
    if kind in whole:
        assert got == min(whole[kind], SCORE_MAX)
        return
    first, second = factors[kind]
    if first is None or max(first, second, first * second) * SCORE_UNIT >= SCORE_MAX:
        return
    assert 0 <= first * second * SCORE_UNIT - got <= first + second + 1


def compiled_score():
    """`score_of` has no entry from Python; this makes one."""
    if not JIT:
        return score_of
    return numba.njit(**OPTIONS)(lambda c, place, kind, last: score_of(c, place, kind, last))


SCORE_OF = compiled_score()


@settings(max_examples=300, deadline=None)
@given(positions(most=4), st.sampled_from(sorted(SCORES.values())), st.integers(0, 2**30))
def test_compiled_scores_are_the_exact_ones(candidates, kind, last):
    for place, row in enumerate(zip(*[part.tolist() for part in candidates], strict=True)):
        exact = EXACT[kind](Position(*row), last)
        assert SCORE_OF(candidates, place, int(kind), last) == exact


def test_fractions_of_a_lot_are_told_apart():
    """1 / 2**40 and 1 / (2**40 - 1) differ in the 80th binary digit: the larger gets the lot."""
    c = winners([5, 5], gap=[2**40, 2**40 - 1])
    assert both("wealth_to_lots", c, 2, Space.CONTRACT) == [0, 1]


def test_a_winner_without_equity_goes_first():
    for score in ("gain_leverage", "profit_times_leverage", "leverage_over_mark"):
        assert scores_of(score, equity=0) == SECOND
        assert scores_of(score, equity=-5) == SECOND


def test_a_cap_in_money_is_a_cap_in_whole_lots():
    """Profit 14 at a gap of 5 pays for two lots, not three."""
    c = winners([14, 14], sizes=[9, 9], gap=5)
    got = allocate("wealth_pro_rata", c, 9)
    assert got.amounts.tolist() == [2, 2] and got.residual == 5
    assert allocate("queue_lots", c, 9).residual == 0
    assert (
        allocate("capped_pro_rata", c, 9, options=Options(haircut_max_ppm=PPM // 2)).residual == 7
    )
