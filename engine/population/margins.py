"""Margin formulas over whole columns, for making populations that start healthy.

They err on the careful side by up to two units (notional and requirements up, profit down) so
that no account that is healthy here is below maintenance for the engine. The engine does not
use them. Nothing overflows: a profile bounds open interest at `price_max` by MONEY_MAX.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np

from engine.constants import PPB, PPM, Payoff
from engine.profile import Margin
from engine.venue import MarketNumbers

ENTRY_ROUNDS = 6  # an entry comes halfway closer to the mark this often before it is at the mark


@dataclass(frozen=True)
class MarketStart:
    """What the draw must know of a market: its id, its numbers and its first mark."""

    market_id: int
    numbers: MarketNumbers
    first_price: int


def mul_ppm_up(amounts: np.ndarray, rates_ppm: np.ndarray) -> np.ndarray:
    """amounts * rates / 1e6, rounded up; int64 in and out, without a wide product.

    >>> mul_ppm_up(np.array([2**59, 1]), np.array([500_000, 500_000])).tolist()
    [288230376151711744, 1]
    """
    whole, rest = np.divmod(amounts, PPM)
    return whole * rates_ppm + -(-rest * rates_ppm // PPM)


def notional(lots: np.ndarray, prices: np.ndarray | int, numbers: MarketNumbers) -> np.ndarray:
    """Absolute value of positions in money units, rounded up; `lots` signed or not."""
    if numbers.payoff == Payoff.LINEAR:
        return np.abs(lots) * prices * numbers.unit_quote
    return -(-np.abs(lots) * numbers.face_quote // prices)


def profit(
    lots: np.ndarray, entry_prices: np.ndarray, mark_price: int, numbers: MarketNumbers
) -> np.ndarray:
    """Unrealised profit of signed `lots` at `mark_price` in money units, rounded down."""
    if numbers.payoff == Payoff.LINEAR:
        return lots * (mark_price - entry_prices) * numbers.unit_quote
    faces = lots * numbers.face_quote
    return faces // entry_prices - faces // mark_price - 1


@dataclass(frozen=True)
class Sizes:
    """Positions of one market as a venue's margin rules see them, one row each."""

    lots: np.ndarray
    notional: np.ndarray  # at the mark
    entry_value: np.ndarray  # absolute
    leverage: np.ndarray

    def measure(self, rule: Margin) -> np.ndarray:
        """What selects the tier."""
        named = {"contracts": np.abs(self.lots), "entry_value": self.entry_value}
        return named.get(rule.tier_by, self.notional)


def tier_of(measures: np.ndarray, numbers: MarketNumbers) -> np.ndarray:
    """Index of the tier each measure falls in; beyond the last tier, the last."""
    tiers = np.searchsorted(np.array(numbers.tier_to, np.int64), measures, side="left")
    return np.minimum(tiers, len(numbers.tier_to) - 1)


def maintenance(sizes: Sizes, numbers: MarketNumbers, rule: Margin) -> np.ndarray:
    """Maintenance margin of each position in money units, rounded up."""
    base = sizes.entry_value if rule.tier_by == "entry_value" else sizes.notional
    if rule.maintenance == "share_of_initial":
        needs = mul_ppm_up(-(-base // sizes.leverage), np.int64(rule.initial_share_ppm))
    else:
        tiers = tier_of(sizes.measure(rule), numbers)
        rates = np.array(numbers.tier_maintenance_ppm, np.int64)[tiers]
        needs = mul_ppm_up(base, rates)
        if rule.tier_mode == "marginal":
            needs -= np.array(numbers.tier_deduction, np.int64)[tiers]
        needs += _curve(sizes, base, rates, numbers)
    if rule.close_fee == "taker":
        needs = needs + mul_ppm_up(sizes.notional, np.int64(numbers.taker_fee_ppm))
    return needs


def _curve(
    sizes: Sizes, base: np.ndarray, rates: np.ndarray, numbers: MarketNumbers
) -> np.ndarray | int:
    """What the requirement adds beyond tiers, where the market has such a rule (R96)."""
    if not numbers.slope_ppb and not numbers.sqrt_square:
        return 0
    linear = numbers.payoff == Payoff.LINEAR
    by_size = np.abs(sizes.lots) if linear else sizes.notional
    found = []
    for size, money, rate in zip(by_size.tolist(), base.tolist(), rates.tolist(), strict=True):
        extra_ppb = -(-size * numbers.slope_ppb // numbers.slope_unit)
        if numbers.sqrt_square:
            extra_ppb += max(0, isqrt(size * numbers.sqrt_square) - 200 * rate)
        found.append(-(-money * min(extra_ppb, PPB) // PPB))
    return np.array(found, np.int64)


def leverage_cap(measures: np.ndarray, numbers: MarketNumbers) -> np.ndarray:
    """Highest leverage the tier of each measure allows."""
    return np.array(numbers.tier_leverage_max, np.int64)[tier_of(measures, numbers)]


def faces_fit(lots_max: int, numbers: MarketNumbers) -> bool:
    """Whether lots * face stays within int64 for an inverse market (a linear one always does)."""
    return numbers.payoff == Payoff.LINEAR or lots_max * numbers.face_quote < 2**62


def wanted_funds(
    buffer_ppm: int, start: MarketStart, rule: Margin, leverage: np.ndarray, lots: np.ndarray,
    entries: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Equity that keeps each position above maintenance at the first price, buffer included."""
    at_mark = notional(lots, start.first_price, start.numbers)
    at_entry = np.maximum(at_mark, notional(lots, entries, start.numbers))
    needs = maintenance(Sizes(lots, at_mark, at_entry, leverage), start.numbers, rule)
    return needs + mul_ppm_up(needs, np.int64(buffer_ppm)) + 3


def make_healthy(
    buffer_ppm: int, start: MarketStart, rule: Margin, leverage: np.ndarray,
    lots: np.ndarray, entries: np.ndarray, funds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int, int]:  # fmt: skip
    """Move entries towards the mark, then raise funds, until all are above maintenance.

    `funds` is what backs each position alone. Returns entries, funds, moved and raised counts.
    """
    mark, needs = start.first_price, wanted_funds(buffer_ppm, start, rule, leverage, lots, entries)
    sick = np.flatnonzero(funds + profit(lots, entries, mark, start.numbers) < needs)
    moved, round_count = len(sick), 0
    while len(sick):
        tick = start.numbers.tick_price
        gaps = (entries[sick] - mark) // 2 if round_count < ENTRY_ROUNDS else 0 * entries[sick]
        entries[sick] = (mark + gaps) // tick * tick
        gains = profit(lots[sick], entries[sick], mark, start.numbers)
        missing = needs[sick] - funds[sick] - gains
        if round_count == ENTRY_ROUNDS:
            funds[sick] += np.maximum(missing, 0)
            return entries, funds, moved, int((missing > 0).sum())
        sick = sick[missing > 0]
        round_count += 1
    return entries, funds, moved, 0
