"""What a policy of last resort is given, and what it returns.

Candidates are parallel int64 arrays, a place a position. Money is in units of the settlement asset,
quantities in lots, prices in money units per lot; so a notional is `|lots| * mark`, and closing k
lots of a candidate at the ADL price moves `k * gap` of his money.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

PPM = 1_000_000
NUMBER_MAX = 2**61  # a sum of amounts, weights or capacities passes it in no policy


class Space(IntEnum):
    """What is shared out: money taken from a winner, or lots of his position that are closed."""

    WEALTH = 0
    CONTRACT = 1


class Weight(IntEnum):
    """Weights that `weighted_pro_rata` knows."""

    ENDOWMENT = 0
    PROFIT = 1
    EQUITY = 2
    NOTIONAL = 3
    LEVERAGED_ENDOWMENT = 4


class Candidates(NamedTuple):
    """Positions that may have to give; int64 arrays of one length.

    `id` breaks ties, smaller first, then the place in the arrays. `lots` are signed. `mark`,
    `entry` and `gap` (what closing one lot costs its owner) are money per lot. `pnl` is the
    position's profit, `equity` and `maintenance` are its margin domain's; all in money.
    """

    id: np.ndarray
    lots: np.ndarray
    mark: np.ndarray
    entry: np.ndarray
    pnl: np.ndarray
    equity: np.ndarray
    maintenance: np.ndarray
    gap: np.ndarray


class Position(NamedTuple):
    """One candidate as Python integers, fields as in `Candidates`."""

    id: int
    lots: int
    mark: int
    entry: int
    pnl: int
    equity: int
    maintenance: int
    gap: int

    @property
    def size(self) -> int:
        """Lots held, without their sign."""
        return abs(self.lots)

    @property
    def notional(self) -> int:
        """Value at mark, in money."""
        return abs(self.lots) * self.mark


class Options(NamedTuple):
    """Settings of the policies, all integers; a policy reads those its docstring names."""

    side: int = 1  # of the bankrupt position: 1 long, so shorts are closed; -1 short
    score: int = 7  # a Score: the order of the queue
    weight: int = 0  # a Weight
    exponent: int = 2  # of leverage in a risk weight: 1 linear, 2 steeper
    threshold_ppm: int = 0  # above 0: risk is leverage * (leverage - it)+ instead
    haircut_max_ppm: int = PPM  # most of an endowment that may be taken
    equity_min: int = 0  # equity nobody is taken below
    last: int = 0  # last price, money per lot; 0 takes the mark
    seed: int = 0  # of the lottery
    tries_max: int = 1_000_000_000  # places the lottery looks at
    theta_ppm: int = PPM  # severity: part of the need that is shared out
    withdrawal_ppm: int = PPM  # part of every equity that is withdrawn
    matured_ppm: int = PPM  # part of every profit that is past its warm-up


@dataclass(frozen=True)
class Allocation:
    """What a policy takes from each candidate: int64, money or lots by its space.

    `sum(amounts) == need - residual + excess`. The residual is what nobody was found for; the
    excess is what a rule that cannot stop at the need took on top. One of the two is 0.
    """

    amounts: np.ndarray
    residual: int
    excess: int


def checked(candidates: Candidates) -> Candidates:
    """The candidates as contiguous int64 arrays; ValueError when they break a rule of this file."""
    arrays = Candidates(*[np.ascontiguousarray(part, np.int64) for part in candidates])
    if len({part.shape for part in arrays}) != 1 or arrays.id.ndim != 1:
        raise ValueError("candidates: arrays of one length and one dimension are needed")
    for name in ("mark", "entry", "gap", "maintenance"):
        if (getattr(arrays, name) < 0).any():
            raise ValueError(f"candidates: {name} below zero")
    sizes = np.abs(arrays.lots)
    for name, size, unit in (
        ("notional", sizes, arrays.mark),
        ("entry value", sizes, arrays.entry),
        ("gap", sizes, arrays.gap),
        ("equity", np.abs(arrays.equity), np.ones_like(sizes)),
        ("pnl", np.abs(arrays.pnl), np.ones_like(sizes)),
        ("lots", sizes, np.ones_like(sizes)),
    ):
        if _passes(size, unit):
            raise ValueError(f"candidates: the sum of their {name} passes 2**61")
    return arrays


def _passes(size: np.ndarray, unit: np.ndarray) -> bool:
    """Whether the sum of size * unit reaches NUMBER_MAX; exact only where a bound does not tell."""
    if len(size) and int(size.min()) < 0:
        return True  # the absolute value of -2**63
    if len(size) == 0 or int(size.max()) * int(unit.max()) * len(size) < NUMBER_MAX:
        return False
    return int((size.astype(object) * unit).sum()) >= NUMBER_MAX
