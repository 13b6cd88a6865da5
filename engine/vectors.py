"""Exact integer vectors that the auditor and the report share.

Cutting a stream into whole commands, giving keys dense rows, V(lots, price) and shares of whole
arrays at once, in int64 where that is safe and in Python integers where it is not. It decides
nothing and knows no event kinds; the core and the rulebook have arithmetic of their own.
"""

from collections.abc import Iterator

import numpy as np

from engine.constants import Payoff
from engine.rows import EVENT
from engine.venue import MarketNumbers

PIECE_ROWS = 2**17  # events per vectorised pass: large enough for numpy, 12 MB of memory
_INT64_SAFE = 2**62  # products below it are computed in int64, others in Python integers


class WholeCommands:
    """Cuts a stream of events into large pieces, only where the command number changes.

    The cuts depend on the stream alone, not on how it was split into batches.
    """

    def __init__(self, rows_max: int = PIECE_ROWS) -> None:
        self._rows_max = rows_max
        self._parts: list[np.ndarray] = []
        self._rows = 0

    def push(self, events: np.ndarray) -> Iterator[np.ndarray]:
        """Take EVENT rows (copied); yield every piece that is complete."""
        if len(events):
            self._parts.append(events.copy())
            self._rows += len(events)
        while self._rows > self._rows_max:
            if self._parts[-1]["seq"][-1] == self._parts[0]["seq"][0]:
                return  # one command only: wait, without joining the parts again and again
            joined = np.concatenate(self._parts)
            cuts = np.flatnonzero(np.diff(joined["seq"])) + 1
            within = cuts[cuts <= self._rows_max]
            cut = int(within[-1] if len(within) else cuts[0])
            self._parts = [joined[cut:]]
            self._rows = len(joined) - cut
            yield joined[:cut]

    def rest(self) -> np.ndarray:
        """What is left at the end of the stream."""
        parts, self._parts, self._rows = self._parts, [], 0
        return np.concatenate(parts) if parts else np.zeros(0, EVENT)


class Registry:
    """Gives every distinct int64 key a dense row, from 0, for good."""

    def __init__(self) -> None:
        self._sorted = np.zeros(0, np.int64)
        self._row_of_sorted = np.zeros(0, np.int64)
        self.keys = np.zeros(0, np.int64)  # by row

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """The row of every key, shape (n,); keys not seen before get the next rows."""
        distinct, inverse = np.unique(keys, return_inverse=True)
        place = np.searchsorted(self._sorted, distinct)
        known = place < len(self._sorted)
        known[known] = self._sorted[place[known]] == distinct[known]
        fresh = distinct[~known]
        if len(fresh):
            at = place[~known]
            numbers = np.arange(len(self.keys), len(self.keys) + len(fresh))
            self._sorted = np.insert(self._sorted, at, fresh)
            self._row_of_sorted = np.insert(self._row_of_sorted, at, numbers)
            self.keys = np.concatenate([self.keys, fresh])
            place = np.searchsorted(self._sorted, distinct)
        return self._row_of_sorted[place][inverse]


def position_values(market: MarketNumbers, lots: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """V(lots, price) of int64 arrays of one shape, in the smallest unit; exact.

    Linear: `lots * price * unit_quote`. Inverse: `-lots * face_quote / price`, half to even, and
    0 at a price of 0. Raises OverflowError when a value is beyond int64.
    """
    if not len(lots):
        return np.zeros(0, np.int64)
    lots_max, price_max = int(np.abs(lots).max()), int(np.abs(prices).max())
    linear = market.payoff == Payoff.LINEAR
    bound = lots_max * (price_max * market.unit_quote if linear else market.face_quote)
    if bound >= _INT64_SAFE:
        lots, prices = lots.astype(object), prices.astype(object)
    if linear:
        return (lots * prices * market.unit_quote).astype(np.int64)
    divisor = np.where(prices == 0, 1, prices)
    product = np.where(prices == 0, 0, -lots * market.face_quote)
    quotient = product // divisor
    twice = 2 * (product - quotient * divisor)
    up = (twice > divisor) | ((twice == divisor) & (quotient % 2 == 1))
    return (quotient + up).astype(np.int64)


def share_toward_zero(total: np.ndarray, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`total * part / whole` toward zero, exact; 0 <= part <= whole, whole > 0.

    >>> share_toward_zero(np.array([-7, 2**61]), np.array([1, 3]), np.array([2, 4])).tolist()
    [-3, 1729382256910270464]
    """
    size, sign = np.abs(total), np.sign(total)
    quotient, remainder = size // whole, size % whole
    if len(part) and int(remainder.max()) * int(part.max()) >= _INT64_SAFE:
        remainder, part = remainder.astype(object), part.astype(object)
    return sign * (quotient * part + remainder * part // whole).astype(np.int64)


def grow(values: np.ndarray, rows: int) -> np.ndarray:
    """`values` with room for at least `rows` rows, new ones zero."""
    if rows <= len(values):
        return values
    grown = np.zeros((max(rows, 2 * len(values)), *values.shape[1:]), values.dtype)
    grown[: len(values)] = values
    return grown


def as_table(rows, columns: int) -> np.ndarray:
    """The first `columns` columns of rows of ints, shape (n, columns), int64."""
    if not len(rows):
        return np.zeros((0, columns), np.int64)
    return np.asarray(rows, dtype=np.int64)[:, :columns]
