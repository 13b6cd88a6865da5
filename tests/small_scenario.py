"""A small scenario to vary, and what tests of scenarios do with one."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from engine.rows import COMMAND
from engine.scenario import load_scenario
from engine.strict import ScenarioError

SMALL = """
name = "small"
title = "two points"
seed = 7
venue = "binance_usdm"
markets = ["BTCUSDT"]
fund = "1000.5"

[prices]
source = "made up"
step_seconds = 30
points = [
  { time = "2020-03-12T10:00:00Z", market = "BTCUSDT", price = "8000" },
  { time = "2020-03-12T10:01:40Z", market = "BTCUSDT", price = "7000" },
]

[[funding]]
time = "2020-03-12T10:01:00Z"
market = "BTCUSDT"
rate_ppb = -100

[population]
kind = "drawn"
accounts = 40
isolated_ppm = 250_000
[[population.markets]]
market = "BTCUSDT"
open_interest_lots = 90_000
lots_max = 20_000

[liquidity.BTCUSDT]
kind = "curve"
half_spread_ppm = 100
levels = [{ offset_ppm = 100, lots = 5 }]
refill_half_life_ns = 1_000
"""


def write_small(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the small scenario, changed by text replacements; returns its path."""
    text = SMALL
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "small.toml"
    path.write_text(text)
    return path


def rows_of(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """All rows of a stream of blocks."""
    return np.concatenate([np.zeros(0, COMMAND), *blocks])


def refusal(path: Path, *overrides: str, data: Path | None = None) -> str:
    """The words in which a scenario is refused."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, overrides, data)
    return str(caught.value)


def with_file(path: Path, text: str, kind: str = "klines", role: str = "index") -> str:
    """The small scenario with one price file in place of its points."""
    before, _, rest = path.read_text().partition("points = [")
    file = f'files = [{{ kind = "{kind}", path = "{text}", market = "BTCUSDT", as = "{role}" }}]'
    return before + file + "\n" + rest.partition("\n]\n")[2]
