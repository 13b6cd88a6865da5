"""Margin formulas over whole columns, for making populations that start healthy.

They err on the careful side by up to two units (notional and requirements up, profit down) so
that no account that is healthy here is below maintenance for the engine. The engine does not
use them. Nothing overflows: a profile bounds open interest at `price_max` by MONEY_MAX.
"""

import numpy as np

from engine.constants import PPM, Payoff
from engine.venue import MarketNumbers


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


def tier_of(notionals: np.ndarray, numbers: MarketNumbers) -> np.ndarray:
    """Index of the tier each notional falls in; beyond the last tier, the last."""
    tiers = np.searchsorted(np.array(numbers.tier_to, np.int64), notionals, side="left")
    return np.minimum(tiers, len(numbers.tier_to) - 1)


def maintenance(notionals: np.ndarray, numbers: MarketNumbers, marginal: bool) -> np.ndarray:
    """Maintenance margin of each notional in money units, rounded up."""
    tiers = tier_of(notionals, numbers)
    margins = mul_ppm_up(notionals, np.array(numbers.tier_maintenance_ppm, np.int64)[tiers])
    if marginal:
        margins -= np.array(numbers.tier_deduction, np.int64)[tiers]
    return margins


def leverage_cap(notionals: np.ndarray, numbers: MarketNumbers) -> np.ndarray:
    """Highest leverage the tier of each notional allows."""
    return np.array(numbers.tier_leverage_max, np.int64)[tier_of(notionals, numbers)]


def faces_fit(lots_max: int, numbers: MarketNumbers) -> bool:
    """Whether lots * face stays within int64 for an inverse market (a linear one always does)."""
    return numbers.payoff == Payoff.LINEAR or lots_max * numbers.face_quote < 2**62
