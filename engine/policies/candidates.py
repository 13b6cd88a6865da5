"""What a policy of last resort is given, and what it returns.

Candidates are parallel int64 arrays, a place a position. Money is in units of the settlement asset,
quantities in lots, prices in money units per lot; so a notional is `|lots| * mark`, and closing k
lots of a candidate at the ADL price moves `k * gap` of his money.
"""

from dataclasses import dataclass

import numpy as np

from engine.bearers import NUMBER_MAX, Candidates


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
