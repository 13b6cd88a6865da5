"""One mark tick over 1,000, 100,000 and 1,000,000 accounts: quiet, and in a fall of 30 % into a
deep book.

The index that finds who is breached is checked first: the same ticks on a smaller population with
a full scan after every unit of work.
"""

import pytest

from engine.bench.work import mark_ticks, populated_exchange
from engine.constants import CommandKind, EventKind

PRICE = 5_000_000
QUIET, CRASH = 20_000, 20_000


@pytest.fixture(scope="module", autouse=True)
def _index_equals_scan():
    exchange = populated_exchange(200, PRICE, check_index=True, deep=True)
    exchange.submit(mark_ticks(2_000, PRICE, -0.35, kind=CommandKind.INDEX))


@pytest.mark.parametrize("accounts", [1_000, 100_000, 1_000_000])
def test_quiet_tick(benchmark, accounts):
    exchange = populated_exchange(accounts, PRICE)
    ticks = mark_ticks(QUIET, PRICE, 0.0)
    events = benchmark.pedantic(exchange.submit, (ticks,), rounds=5, warmup_rounds=1)
    assert not (events["kind"] == EventKind.LIQUIDATION_STARTED).any()
    benchmark.extra_info["ticks_per_round"] = QUIET


@pytest.mark.parametrize("accounts", [1_000, 100_000])
def test_crash(benchmark, accounts):
    ticks = mark_ticks(CRASH, PRICE, -0.35, kind=CommandKind.INDEX)

    def setup():
        return (populated_exchange(accounts, PRICE, deep=True),), {}

    def work(exchange):
        return sum(
            int((events["kind"] == EventKind.LIQUIDATION_ENDED).sum())
            for events in exchange.stream(ticks)
        )

    liquidations = benchmark.pedantic(work, setup=setup, rounds=3, warmup_rounds=0)
    assert liquidations > accounts // 4
    benchmark.extra_info["ticks_per_round"] = CRASH
    benchmark.extra_info["liquidations_per_round"] = liquidations
