"""Integers of the engine as Arrow columns: exact decimals, UTC times, names instead of codes.

Nothing is rounded: money and prices become decimal128 of the same digits. This file knows the
units of a profile and the names of `constants.py`; which columns make which table is decided in
`tables.py`.
"""

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa

from engine import constants as c
from engine.profile import VenueProfile
from engine.vectors import position_values
from engine.venue import MarketNumbers, market_numbers

TIME = pa.timestamp("ns", tz="UTC")
NAME = pa.dictionary(pa.int16(), pa.string())
_REASONS = {
    c.EventKind.REJECTED: c.Reject,
    c.EventKind.FILL: c.Cause,
    c.EventKind.CANCELLED: c.CancelReason,
    c.EventKind.LIQUIDATION_ENDED: c.LiquidationEnd,
    c.EventKind.TAKEOVER_REFUSED: c.RefusedTakeover,
}


def names(enum) -> list[str]:
    """Lower-case names by code; codes that do not exist read `code_N`.

    >>> names(c.Side)
    ['', 'buy', 'sell']
    """
    by_code = {int(member): member.name.lower() for member in enum}
    by_code.setdefault(0, "")
    return [by_code.get(code, f"code_{code}") for code in range(max(by_code) + 1)]


def decimals(values: np.ndarray, scale: int) -> pa.Array:
    """int64 units of 10**-scale as decimal128(38, scale), exact.

    >>> decimals(np.array([-150, 7]), 2).to_pylist()
    [Decimal('-1.50'), Decimal('0.07')]
    """
    words = np.empty((len(values), 2), "<i8")
    words[:, 0] = values
    words[:, 1] = np.asarray(values) >> 63  # the sign fills the upper half
    return pa.Array.from_buffers(
        pa.decimal128(38, scale), len(values), [None, pa.py_buffer(words.tobytes())]
    )


def named(codes: np.ndarray, labels: list[str]) -> pa.Array:
    """Codes as a dictionary column; a code beyond the labels becomes null."""
    beyond = (codes < 0) | (codes >= len(labels))
    indices = pa.array(np.where(beyond, 0, codes).astype(np.int16), mask=beyond)
    return pa.DictionaryArray.from_arrays(indices, labels)


def times(values: np.ndarray) -> pa.Array:
    """Nanoseconds since 1970 as UTC timestamps."""
    return pa.array(np.asarray(values, np.int64)).cast(TIME)


def blank_zeros(column: pa.Array, values: np.ndarray) -> pa.Array:
    """The column with null where the integer it was made of is 0, which means "none"."""
    return pa.compute.if_else(pa.array(np.asarray(values) != 0), column, None)


def reasons(kinds: np.ndarray, codes: np.ndarray) -> pa.Array:
    """The name of `reason`, which depends on the kind; null for kinds without one."""
    labels: list[str] = []
    place = np.full((max(c.EventKind) + 1, 256), -1, np.int16)
    for kind, enum in _REASONS.items():
        for member in enum:
            place[kind, member] = len(labels)
            labels.append(member.name.lower())
    known = (kinds >= 0) & (kinds < len(place)) & (codes >= 0) & (codes < 256)
    return named(np.where(known, place[kinds * known, codes * known], -1), labels)


class Units:
    """The markets and money of one profile, and how their integers become columns."""

    def __init__(self, profile: VenueProfile) -> None:
        self.profile = profile
        self.money_decimals = profile.settlement.decimals
        self.asset = profile.settlement.asset
        self.symbols = [market.symbol for market in profile.markets]
        self.numbers: list[MarketNumbers] = [market_numbers(profile, m) for m in profile.markets]
        self.price_decimals = max(market.price_decimals for market in profile.markets)
        self._price_factor = np.array(
            [1] + [10 ** (self.price_decimals - m.price_decimals) for m in profile.markets]
        )

    def money(self, values: np.ndarray) -> pa.Array:
        """Smallest settlement units as exact decimals."""
        return decimals(np.asarray(values, np.int64), self.money_decimals)

    def prices(self, values: np.ndarray, market_ids: np.ndarray) -> pa.Array:
        """Price units of each row's market as exact decimals of the finest market's scale."""
        factors = self._price_factor[market_ids]
        largest = int(np.abs(values).max(initial=0)) * int(factors.max(initial=1))
        if largest < 2**63:
            return decimals(values * factors, self.price_decimals)
        scale = Decimal(1).scaleb(-self.price_decimals)
        exact = [Decimal(int(v) * int(f)) * scale for v, f in zip(values, factors, strict=True)]
        return pa.array(exact, pa.decimal128(38, self.price_decimals))

    def markets(self, market_ids: np.ndarray) -> pa.Array:
        """Market ids as symbols; null for 0, which means every market of the account."""
        return named(np.asarray(market_ids, np.int64) - 1, self.symbols)

    def values(self, lots: np.ndarray, prices: np.ndarray, market_ids: np.ndarray) -> np.ndarray:
        """V(lots, price) of rows of several markets; 0 for unknown markets."""
        result = np.zeros(len(lots), np.int64)
        for market_id in np.unique(market_ids):
            if 1 <= market_id <= len(self.numbers):
                mine = market_ids == market_id
                market = self.numbers[market_id - 1]
                result[mine] = position_values(market, lots[mine], prices[mine])
        return result

    def metadata(self) -> dict[bytes, bytes]:
        """What integers in a table mean, as JSON under the key `crashtape` of the file."""
        facts = {
            "engine": c.ENGINE_VERSION,
            "profile": self.profile.name,
            "profile_hash": self.profile.hash(),
            "asset": self.asset,
            "money_decimals": self.money_decimals,
            "markets": [
                {
                    "symbol": market.symbol,
                    "payoff": market.payoff,
                    "price_decimals": market.price_decimals,
                    "lot": market.lot,
                }
                for market in self.profile.markets
            ],
            "lots": "signed where a position changes; one lot is `lot` base (inverse: face value)",
            "events.price": "integer, 10**-price_decimals; other tables hold exact decimals",
            "events.amount": "integer, 10**-money_decimals of the asset, unless the kind differs",
        }
        return {b"crashtape": json.dumps(facts).encode()}
