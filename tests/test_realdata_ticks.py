"""Every tick of 10 October 2025 in six coin-margined perpetuals, with their spot as the index.

The same 2,000 drawn accounts stand in each market twice: once the mark is the perpetual's last
trade, once it follows spot. There is no book, so nothing feeds back: what differs is the mark.
Sizes of trades count contracts of 10 USD and only prices are used here. Accounts are ours, so the
liquidations show what a choice of mark does, not what happened that day.
"""

from pathlib import Path

import numpy as np
import pytest

from engine.constants import CommandKind, EventKind
from engine.importers.catalogue import read_file
from engine.importers.common import MarketSpec
from engine.replay import simulate
from engine.scenario import load_scenario
from engine.units import format_time_ns

pytestmark = pytest.mark.realdata

TICKS = "tick_trades_20251010"
SCENARIO = """
name = "ticks"
title = "ticks of COIN"
seed = 20251010
venue = "binance_coinm"
markets = ["COINUSD"]
fund = "1000000"
[patch]
"mark.source" = "SOURCE"
[[patch.markets]]
symbol = "COINUSD"
payoff = "inverse"
price_decimals = 4
tick = "0.0001"
lot = "1"
price_min = "0.1"
price_max = "1000"
order_lots_max = 100_000_000
open_interest_lots_max = 100_000_000
maker_fee_ppm = 200
taker_fee_ppm = 500
liquidation_fee_ppm = 0
tiers = [{ notional_to = "100000000", leverage_max = 20, maintenance_ppm = 25_000 }]
[prices]
begin = "2025-10-10T21:10:00Z"
end = "2025-10-10T21:26:00Z"
[[prices.files]]
kind = "tardis.trades"
path = "PERP"
market = "COINUSD"
as = "trade"
symbol = "COINUSD_PERP"
[[prices.files]]
kind = "tardis.trades"
path = "SPOT"
market = "COINUSD"
symbol = "COIN-USD"
[population]
kind = "drawn"
accounts = 2_000
leverage_median = 3
[[population.markets]]
market = "COINUSD"
open_interest_lots = 20_000_000
lots_max = 2_000_000
"""

# coin: trades of the day, lowest one (in 0.0001 USD) and when; then lowest mark, when, and accounts
# liquidated, first with the mark at the last trade, then with the mark at spot.
DAY = {
    "AAVE": (153481, 634_200, "21:21:19", (634_200, "21:21:19", 986), (1_280_000, "21:20:25", 770)),
    "ATOM": (116_501, 10_550, "21:21:36", (10_550, "21:21:36", 975), (35_600, "21:19:14", 28)),
    "AVAX": (137_632, 60_200, "21:21:29", (60_200, "21:21:29", 992), (170_000, "21:21:03", 559)),
    "DOT": (206_062, 6_960, "21:20:46", (6_960, "21:20:46", 1_000), (28_600, "21:18:10", 361)),
    "FIL": (147_888, 3_200, "21:22:24", (3_200, "21:22:24", 1_000), (17_510, "21:24:26", 212)),
    "UNI": (274_457, 20_000, "21:21:18", (20_000, "21:21:18", 974), (50_000, "21:18:22", 449)),
}  # fmt: skip


def paths(coin: str) -> tuple[str, str]:
    return (
        f"{TICKS}/binance-delivery_trades_2025-10-10_{coin}USD_PERP.csv.gz",
        f"{TICKS}/coinbase_trades_2025-10-10_{coin}-USD.csv.gz",
    )


class LowestMark:
    """Hears the marks of a run."""

    def __init__(self) -> None:
        self.price, self.time_ns = 2**62, 0

    def events(self, events: np.ndarray) -> None:
        marks = events[events["kind"] == EventKind.MARK_SET]
        if len(marks) and marks["price"].min() < self.price:
            first = marks[marks["price"].argmin()]
            self.price, self.time_ns = int(first["price"]), int(first["time_ns"])

    def __getattr__(self, name: str):  # the other questions of a watcher: no answer
        return lambda *args, **kwargs: None


def seen(coin: str, source: str, folder: Path, data: Path) -> tuple[int, str, int]:
    path = folder / "ticks.toml"
    perp, spot = paths(coin)
    text = SCENARIO.replace('PERP"\nm', f'{perp}"\nm').replace('"SPOT"', f'"{spot}"')
    path.write_text(text.replace("COIN", coin).replace("SOURCE", source))
    lowest = LowestMark()
    report = simulate(load_scenario(path, data=data), watcher=lowest)
    assert report.refused_reasons == {} and report.identity.difference_quote == 0
    time = format_time_ns(lowest.time_ns).partition("T")[2][:8]
    return lowest.price, time, report.summary.accounts_liquidated_count


@pytest.mark.parametrize("coin", DAY)
def test_the_low_of_the_day_is_the_low_of_the_recorded_trades(coin, shared_data):
    market = MarketSpec(market_id=1, price_decimals=4, lot="1", tick_price=1)
    file = shared_data / paths(coin)[0]
    low, when, count = 2**62, 0, 0
    for block in read_file("tardis.trades", file, market, "trade", f"{coin}USD_PERP"):
        trades = block[block["kind"] == CommandKind.TRADE]
        count += len(trades)
        if len(trades) and trades["price"].min() < low:
            first = trades[trades["price"].argmin()]
            low, when = int(first["price"]), int(first["time_ns"])
    rows, price, time = DAY[coin][:3]
    assert (count, low) == (rows, price)
    assert format_time_ns(when).partition("T")[2][:8] == time


@pytest.mark.parametrize("coin", DAY)
def test_a_mark_that_follows_spot_does_not_follow_the_wick(coin, shared_data, tmp_path):
    last, spot = (seen(coin, source, tmp_path, shared_data) for source in ("last", "index"))
    assert last == DAY[coin][3] and spot == DAY[coin][4]
    assert last[0] == DAY[coin][1], "the mark falls as far as the last trade"
    assert spot[0] > 2 * last[0] and spot[2] < last[2]
