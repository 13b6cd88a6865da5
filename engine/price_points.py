"""Published prices as a path: from point to point, with noise that never leaves their range."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine import constants as c
from engine.constants import CommandKind
from engine.messages import PricePoint, Prices
from engine.population.chance import Randomness
from engine.population.columns import BLOCK_ROWS_MAX
from engine.rows import COMMAND
from engine.units import parse_decimal, parse_time_ns
from engine.venue import MarketNumbers

NOISE_STREAM = 1 << 20  # separates price noise from the streams of the population
POINT_KINDS = {"index": CommandKind.INDEX, "mark": CommandKind.MARK, "trade": CommandKind.TRADE}


def stride_ns(prices: Prices, point: PricePoint) -> int:
    """Time between two rows of the stretch that begins at a point."""
    return (point.step_seconds or prices.step_seconds) * 1_000_000_000


def command_block(kind: CommandKind, market_id: int, time_ns: Any, price: Any) -> np.ndarray:
    """COMMAND rows of one kind and market from columns (or scalars) of one length."""
    block = np.zeros(np.broadcast(time_ns, price, np.zeros(1)).size, COMMAND)
    block["kind"], block["market_id"] = kind, market_id
    block["time_ns"], block["price"] = time_ns, price
    return block


def _bridge_ppm(random: Randomness, steps: int, noise_ppm: int) -> np.ndarray:
    """A random walk of `steps` rows that begins at 0 and would be 0 again after the last, ppm.

    Steps are uniform with standard deviation `noise_ppm`; all arithmetic is in integers. Without
    noise there is nothing to draw, and no memory to take for millions of zeros.
    """
    if noise_ppm == 0:
        return np.broadcast_to(np.int64(0), steps)
    reach = noise_ppm * 1_732 // 1_000  # a uniform on -r..r has standard deviation r / sqrt(3)
    walk = np.cumsum(random.uniform(steps) % (2 * reach + 1) - reach)
    rows = np.arange(steps, dtype=np.int64)
    return np.concatenate(([0], walk[:-1])) - walk[-1] * rows // steps


def point_rows(
    prices: Prices, points: list[PricePoint], market_id: int, numbers: MarketNumbers,
    decimals: int, seed: int,
) -> Iterator[np.ndarray]:  # fmt: skip
    """The price path through the points of one market and role, block by block.

    Noise never leaves the range of the points: the published extremes stay the extremes.
    """
    role = points[0].role
    kind = POINT_KINDS[role]
    tick = numbers.tick_price
    ticks = [parse_decimal(point.price, decimals) // tick for point in points]
    times = [parse_time_ns(point.time) for point in points]
    random = Randomness(seed, NOISE_STREAM + 2 * market_id + (role == "mark"))
    for index in range(len(points) - 1):
        step_ns = stride_ns(prices, points[index])
        span_ns = times[index + 1] - times[index]
        steps = -(-span_ns // step_ns)
        noise = _bridge_ppm(random, steps, prices.noise_ppm)
        rise = ticks[index + 1] - ticks[index] if prices.interpolation == "line" else 0
        for start in range(0, steps, BLOCK_ROWS_MAX):
            after_ns = np.arange(start, min(start + BLOCK_ROWS_MAX, steps)) * step_ns
            # Milliseconds keep rise * time in int64 for spans of months.
            base = ticks[index] + rise * (after_ns // 1_000_000) // max(span_ns // 1_000_000, 1)
            part = base + base * noise[start : start + len(base)] // c.PPM
            path = np.clip(part, min(ticks), max(ticks)) * tick
            yield command_block(kind, market_id, times[index] + after_ns, path)
    yield command_block(kind, market_id, times[-1], ticks[-1] * tick)
