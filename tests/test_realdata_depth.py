"""The numbers of a living book, from the published depth bands of 10 October 2025 (BTCUSDT)."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.messages import CALIBRATED_BANDS, CALM_PPM

pytestmark = pytest.mark.realdata
FOLDER = Path(__file__).parents[2] / "shared" / "data" / "crash_minutes"
CALM_UNTIL = dt.datetime(2025, 10, 10, 14)
EVENING = dt.datetime(2025, 10, 10, 20, 25), dt.datetime(2025, 10, 10, 20, 50)


@pytest.fixture(scope="module")
def depth() -> pl.DataFrame:
    """Base within 5 % of the middle on both sides, about every 30 seconds."""
    bands = pl.read_csv(FOLDER / "binance_um_bookDepth_BTCUSDT_2025-10-10.csv.gz")
    outer = bands.filter(pl.col("percentage").abs() == 5)
    clock = pl.col("timestamp").str.to_datetime()
    return outer.group_by(time=clock).agg(depth=pl.col("depth").sum()).sort("time")


@pytest.fixture(scope="module")
def moves() -> tuple[np.ndarray, np.ndarray]:
    """Seconds at which minutes end, and how far the price went in each, in ppm."""
    path = FOLDER / "binance_usdm_BTCUSDT_1m_20251010T2025_2233.csv.gz"
    rows = pl.read_csv(path, has_header=False).to_numpy()
    begin, first, high, low, last = (rows[:, column] for column in range(5))
    way = 2 * (high - low) - np.abs(last - first)  # from the first to both ends to the last
    return begin / 1_000 + 60, way / first * 1e6


def between(depth: pl.DataFrame, begin: dt.datetime, end: dt.datetime) -> pl.DataFrame:
    return depth.filter((pl.col("time") >= begin) & (pl.col("time") < end))


def test_depth_of_the_day(depth):
    """A calm half day, a thinner evening, and a twelfth of the day at the bottom."""
    calm = depth.filter(pl.col("time") < CALM_UNTIL)["depth"].median()
    assert round(calm) == 15_877
    assert round(between(depth, *EVENING)["depth"].median()) == 9_307
    crash = between(depth, EVENING[1], dt.datetime(2025, 10, 10, 22, 30)).sort("depth")
    assert round(crash["depth"][0]) == 1_197
    assert crash["time"][0].strftime("%H:%M") == "21:23"


def test_the_shape_of_a_calm_book():
    """Within 1, 2 and 5 % of the middle, mean of both sides: 2,252, 4,532 and 7,977 BTC."""
    bands = pl.read_csv(FOLDER / "binance_um_bookDepth_BTCUSDT_2025-10-10.csv.gz")
    calm = bands.filter(pl.col("timestamp").str.to_datetime() < CALM_UNTIL)
    medians = dict(calm.group_by("percentage").agg(pl.col("depth").median()).iter_rows())
    held = [(medians[each] + medians[-each]) / 2 for each in (1, 2, 5)]
    assert [int(each) for each in held] == [2_252, 4_532, 7_977]
    shape = [round(each / held[0] * 1_000) * 1_000 for each in held]
    assert shape == [share for _, share in CALIBRATED_BANDS]


def error_of(depth, moves, half_life_minutes: float) -> tuple[float, float]:
    """The best calm volatility in ppm for a half-life, and its error in the logarithm of depth."""
    ends, way = moves
    held, sums = 0.0, []
    for each in way:
        held = held * 0.5 ** (1 / half_life_minutes) + each
        sums.append(held)
    inside = between(depth, dt.datetime(2025, 10, 10, 20, 29), dt.datetime(2025, 10, 10, 22, 33))
    seconds = inside["time"].dt.timestamp("ms").to_numpy() / 1_000
    volatility = np.interp(seconds, ends, sums)
    evening = between(depth, *EVENING)["depth"].median()
    found = []
    for calm in range(1_000, 200_000, 1_000):
        wanted = evening * np.minimum(1, calm / volatility)
        off = np.log(inside["depth"].to_numpy()) - np.log(wanted)
        found.append((float(np.sqrt(np.mean(off**2))), calm))
    return min(found)


def test_depth_follows_the_moves_of_ten_minutes(depth, moves):
    """A half-life of 10 minutes and 61 000 ppm fit best; half and twice as long are worse."""
    errors = {minutes: error_of(depth, moves, minutes) for minutes in (5, 10, 20)}
    assert errors[10][0] < errors[20][0] < errors[5][0]
    assert abs(errors[10][1] - CALM_PPM) <= 1_000
    assert round(errors[10][0], 2) == 0.23 or round(errors[10][0], 2) == 0.24
