"""A million accounts drawn, fitted and written to Parquet; the file is checked after each round.

`wall` is what pytest-benchmark reports; on a busy machine the processor's own seconds say more,
so they are printed beside it.
"""

import resource
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.populate import write_scenario_population
from engine.scenario import load_scenario

SCENARIO = """
name = "people"
title = "a million accounts"
seed = 11
venue = "binance_usdm"
markets = ["BTCUSDT", "ETHUSDT"]
[prices]
source = "made up"
points = [
  { time = "2020-03-12T10:00:00Z", market = "BTCUSDT", price = "8000" },
  { time = "2020-03-12T10:00:00Z", market = "ETHUSDT", price = "200" },
]
[population]
kind = "drawn"
accounts = 1_000_000
COHORT
isolated_ppm = 250_000
hedge_ppm = 20_000
multi_market_ppm = 150_000
correlation_ppm = 600_000
makers = { accounts = 8, share_ppm = 100_000 }
whale = { market = "BTCUSDT", side = "long", lots = 3_000_000, leverage = 8 }
[[population.markets]]
market = "BTCUSDT"
weight = 3
open_interest_lots = 300_000_000
lots_max = 2_000_000
[[population.markets]]
market = "ETHUSDT"
open_interest_lots = 1_500_000_000
lots_max = 20_000_000
"""


@pytest.mark.parametrize("cohort", ["", "cohort_accounts = 100_000"], ids=["whole", "cohorts"])
def test_a_million_accounts(benchmark, tmp_path, cohort):
    path, output = tmp_path / "people.toml", tmp_path / "people.parquet"
    path.write_text(SCENARIO.replace("COHORT", cohort))

    def draw(output: Path) -> tuple[int, float]:
        began = time.process_time()
        count, _ = write_scenario_population(load_scenario(path), output)
        return count, time.process_time() - began

    count, spent = benchmark.pedantic(draw, args=(output,), rounds=3, warmup_rounds=1)
    table = pq.read_table(output, columns=["market", "lots"])
    assert count == table.num_rows == 1_170_017
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"\n{cohort or 'whole'}: {spent:.2f} s of processor time, peak so far {peak} MiB")
