"""One mark tick: quiet, with fills that move triggers, and in a fall of 30 % into a deep book.

The index that finds who is breached is checked first: the same ticks on a smaller population with
a full scan after every unit of work.
"""

import numpy as np
import pytest

from engine.bench.crash_rows import DEEP_LOTS
from engine.bench.crowds import crossed_exchange, populated_exchange, ticks_in_turn, with_fills
from engine.bench.work import mark_ticks
from engine.constants import CommandKind, EventKind

PRICE = 5_000_000
QUIET, CRASH = 20_000, 20_000
MARKETS, CROSS, FILLS, FILL_TICKS = 50, 100_000, 10, 2_000


@pytest.fixture(scope="module", autouse=True)
def _index_equals_scan():
    exchange = populated_exchange(200, PRICE, check_index=True, depth_lots=DEEP_LOTS)
    exchange.submit(mark_ticks(2_000, PRICE, -0.35, kind=CommandKind.INDEX))


@pytest.mark.parametrize("accounts", [1_000, 100_000, 1_000_000])
def test_quiet_tick(benchmark, accounts):
    exchange = populated_exchange(accounts, PRICE)
    ticks = mark_ticks(QUIET, PRICE, 0.0)
    events = benchmark.pedantic(exchange.submit, (ticks,), rounds=5, warmup_rounds=1)
    assert not (events["kind"] == EventKind.LIQUIDATION_STARTED).any()
    benchmark.extra_info["ticks_per_round"] = QUIET


def test_quiet_tick_over_cross_accounts(benchmark):
    exchange = crossed_exchange(CROSS, MARKETS)
    ticks = ticks_in_turn(QUIET, MARKETS)
    events = benchmark.pedantic(exchange.submit, (ticks,), rounds=5, warmup_rounds=1)
    assert np.unique(events["kind"]).tolist() == [EventKind.MARK_SET]
    benchmark.extra_info["ticks_per_round"] = QUIET


@pytest.mark.parametrize("markets", [1, MARKETS], ids=["isolated", "cross"])
def test_tick_with_fills(benchmark, markets):
    rows = with_fills(ticks_in_turn(FILL_TICKS, markets), FILLS, CROSS, markets)
    make = populated_exchange if markets == 1 else crossed_exchange
    exchange = make(CROSS, *([PRICE] if markets == 1 else [markets]), trading=True)
    events = benchmark.pedantic(exchange.submit, (rows,), rounds=3, warmup_rounds=1)
    assert (events["kind"] == EventKind.FILL).sum() == 2 * FILLS * FILL_TICKS
    assert not (events["kind"] == EventKind.REJECTED).any()
    benchmark.extra_info["fills_per_round"] = FILLS * FILL_TICKS


@pytest.mark.parametrize("accounts", [1_000, 100_000])
def test_crash(benchmark, accounts):
    ticks = mark_ticks(CRASH, PRICE, -0.35, kind=CommandKind.INDEX)

    def setup():
        return (populated_exchange(accounts, PRICE, depth_lots=DEEP_LOTS),), {}

    def work(exchange):
        return sum(
            int((events["kind"] == EventKind.LIQUIDATION_ENDED).sum())
            for events in exchange.stream(ticks)
        )

    liquidations = benchmark.pedantic(work, setup=setup, rounds=3, warmup_rounds=0)
    assert liquidations > accounts // 4
    benchmark.extra_info["ticks_per_round"] = CRASH
    benchmark.extra_info["liquidations_per_round"] = liquidations
