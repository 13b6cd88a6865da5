"""Who may have to bear a loss, and by which rule: the vocabulary of the policies of last resort.

The exact rules are in `reference/closing.py` and `reference/loss_sharing.py`, the compiled ones in
`core/policies.py`; both are given candidates and options as they are named here.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from engine.constants import PPM

NUMBER_MAX = 2**61  # a sum of amounts, weights or capacities passes it in no policy
SCORE_UNIT = 10**12  # of a ratio in a score
SCORE_MAX = 2**60  # each factor of a score saturates here
LEVERAGE_PPM_MAX = 2**40  # where no equity is left, and beyond
RISK_MAX = 2**60
LOTTERY_PRIME = 2**61 - 1
LOTTERY_FACTOR = 1_181_783_497_276_652_981


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


class Score(IntEnum):
    """Orders of a queue, as a profile or a command line names them in lower case."""

    GAIN_LEVERAGE = 0
    PROFIT_PCT_LEVERAGE = 1
    LEVERAGE_OVER_BANKRUPTCY = 2
    LEVERAGE_OVER_MARK = 3
    PROFIT_TIMES_LEVERAGE = 4
    PROFIT_OVER_EQUITY = 5
    SIZE = 6
    PROFIT = 7
    ENDOWMENT = 8


class SharePolicy(IntEnum):
    """Ways to share a need out, by their number in docs/policies.md; 0 is the venue's ranking."""

    RANKING = 0
    QUEUE_FULL = 1
    QUEUE_PARTIAL = 2
    QUEUE_LOTS = 3
    SMART_QUEUE = 4
    PROFIT_QUEUE = 5
    LOTTERY = 6
    WEALTH_PRO_RATA = 7
    CAPPED_PRO_RATA = 8
    WEIGHTED_PRO_RATA = 9
    RISK_PRO_RATA = 10
    CONTRACT_PRO_RATA = 11
    WEALTH_TO_LOTS = 12
    MIN_MAX_HAIRCUT = 13
    MIN_MAX_LEVERAGE = 14
    VECTOR_DESCENT = 15
    SEVERITY = 16
    ANY_SIDE_QUEUE = 17
    SIZE_LEVY = 18
    PROFIT_CLAWBACK = 19
    WITHDRAWAL_LEVY = 20
    PROFIT_SCALING = 21
    SIDE_SCALING = 22
    GAINS_HAIRCUT = 23


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
