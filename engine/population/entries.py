"""Entry prices as traded: the volume of the days before, by price.

Whoever holds a position got it in a trade, and every trade has a buyer and a seller: so long and
short entries follow the same profile. Bands are inclusive and on the tick grid; within a band a
price is as likely as another.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from engine.constants import CommandKind
from engine.population.chance import Randomness
from engine.population.columns import PopulationError
from engine.venue import MarketNumbers

BANDS_MAX = 4_096  # of a profile made from trades


@dataclass(frozen=True)
class VolumeProfile:
    """Bands of ticks, `low` to `high` inclusive, rising; `weights` above 0. int64."""

    low: np.ndarray
    high: np.ndarray
    weights: np.ndarray

    def shares(self) -> np.ndarray:
        """Share of the volume up to and including each band; float64, the last is 1."""
        return np.cumsum(self.weights) / float(self.weights.sum())

    def draw(self, count: int, random: Randomness) -> np.ndarray:
        """`count` ticks."""
        chance = random.uniform(count) / float(1 << 53)
        bands = np.searchsorted(self.shares(), chance, side="right")
        widths = self.high[bands] - self.low[bands] + 1
        return self.low[bands] + random.uniform(count) % widths

    def band_of(self, ticks: np.ndarray) -> np.ndarray:
        """The last band that begins at or below each tick, -1 below all."""
        return np.searchsorted(self.low, ticks, side="right") - 1


def profile_of_bands(
    bands: Iterable[tuple[int, int, int]], numbers: MarketNumbers, place: str
) -> VolumeProfile:
    """From (low price, high price, weight) in price units. Raises PopulationError."""
    rows = np.array(list(bands), np.int64).reshape(-1, 3)
    tick = numbers.tick_price
    low, high, weights = -(-rows[:, 0] // tick), rows[:, 1] // tick, rows[:, 2]
    if (low > high).any() or (low[1:] <= high[:-1]).any():
        raise PopulationError(f"{place}: expected rising bands of a tick or more each")
    if low[0] * tick < numbers.price_min or high[-1] * tick > numbers.price_max:
        raise PopulationError(
            f"{place}: expected prices of {numbers.price_min} to {numbers.price_max} price units, "
            f"got {low[0] * tick} to {high[-1] * tick}"
        )
    return VolumeProfile(low, high, weights)


def profile_of_trades(
    blocks: Iterable[np.ndarray], numbers: MarketNumbers, place: str
) -> VolumeProfile:
    """From COMMAND rows of recorded trades, at most BANDS_MAX bands. Raises PopulationError."""
    volume = np.zeros(numbers.price_max // numbers.tick_price + 1, np.int64)
    lowest = -(-numbers.price_min // numbers.tick_price)
    for block in blocks:
        trades = block[block["kind"] == CommandKind.TRADE]
        ticks = trades["price"] // numbers.tick_price
        inside = (ticks >= lowest) & (ticks < len(volume))
        np.add.at(volume, ticks[inside], trades["lots"][inside])
    found = np.flatnonzero(volume)
    if len(found) == 0:
        raise PopulationError(f"{place}: expected trades within the market's prices, found none")
    width = -(-(int(found[-1]) - int(found[0]) + 1) // BANDS_MAX)
    bands = (found - found[0]) // width
    weights = np.zeros(int(bands[-1]) + 1, np.int64)
    np.add.at(weights, bands, volume[found])
    used = np.flatnonzero(weights)
    low = found[0] + used * width
    high = np.minimum(low + width - 1, found[-1])
    return VolumeProfile(low, high, weights[used])
