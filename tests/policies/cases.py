"""Candidates for tests of policies: from rows, and drawn by hypothesis."""

import numpy as np
from hypothesis import strategies as st

from engine.bearers import Candidates, Options, Space
from engine.constants import PPM
from engine.policies.registry import POLICIES

SHARES_ONLY = {"size_levy", "profit_clawback", "withdrawal_levy", "profit_scaling", "gains_haircut"}
PASSES_THE_NEED = {"queue_full", "profit_queue", "wealth_to_lots", "any_side_queue", "size_levy"}
PASSES_THE_NEED |= {"withdrawal_levy", "profit_scaling", "side_scaling", "gains_haircut"}


def winners(endowments, equities=None, sizes=None, mark=1, gap=1, ids=None) -> Candidates:
    """Shorts in profit against a bankrupt long: one lot each unless said otherwise."""
    n = len(endowments)
    pnl = np.array(endowments, np.int64)
    sizes = np.array(sizes if sizes is not None else [1] * n, np.int64)
    equity = pnl if equities is None else np.array(equities, np.int64)
    return Candidates(
        np.array(ids if ids is not None else range(n), np.int64),
        -sizes,
        np.full(n, mark),
        mark + pnl // np.maximum(sizes, 1),
        pnl,
        equity,
        sizes * mark // 20,
        np.full(n, gap),
    )


SMALL = st.integers(0, 50)
MONEY = st.one_of(SMALL, st.integers(0, 10**6), st.integers(0, 2**40))


@st.composite
def positions(draw, most=8):
    """Candidates of one market, or of several (a gap each); ids may repeat, any field may be 0."""
    n = draw(st.integers(0, most))

    def column(values):
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), np.int64)

    lots = column(st.one_of(st.integers(-9, 9), st.integers(-(2**20), 2**20)))
    mark, gap = draw(st.one_of(SMALL, st.integers(0, 2**30))), draw(SMALL)
    several = draw(st.booleans())
    signed = st.one_of(MONEY, MONEY.map(lambda x: -x))
    return Candidates(
        column(st.integers(0, 2 * most)),
        lots,
        np.full(n, mark, np.int64),
        column(st.one_of(SMALL, st.integers(0, 2**30))),
        column(signed),
        column(signed),
        column(MONEY),
        column(SMALL) if several else np.full(n, gap, np.int64),
    )


PART = st.one_of(st.just(PPM), st.integers(0, PPM))
OPTIONS = st.builds(
    Options,
    side=st.sampled_from([1, -1]),
    score=st.integers(0, 8),
    weight=st.integers(0, 4),
    exponent=st.integers(0, 5),
    threshold_ppm=st.one_of(st.just(0), st.integers(1, 5 * PPM)),
    haircut_max_ppm=PART,
    equity_min=st.one_of(st.just(0), MONEY),
    last=st.one_of(st.just(0), st.integers(1, 2**30)),
    seed=st.integers(0, 2**60),
    tries_max=st.integers(0, 10),
    theta_ppm=PART,
    withdrawal_ppm=PART,
    matured_ppm=PART,
)
NEEDS = st.one_of(SMALL, st.integers(0, 10**7), st.integers(0, 2**44))
NAMES = st.sampled_from(sorted(POLICIES))
SPACES = st.sampled_from(list(Space))


def capacities(candidates: Candidates, name: str, space: Space) -> np.ndarray | None:
    """What a candidate can give at most, whatever the options; None where nothing limits it."""
    profits, sizes = np.maximum(candidates.pnl, 0), np.abs(candidates.lots)
    if space == Space.CONTRACT:
        return sizes
    if name in ("queue_lots", "lottery", "contract_pro_rata", "wealth_to_lots", "vector_descent"):
        return sizes * candidates.gap
    if name in ("size_levy", "side_scaling"):
        return None
    return np.maximum(candidates.equity, 0) if name == "withdrawal_levy" else profits
