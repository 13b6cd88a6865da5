"""One funding payment over 100,000 positions, isolated and cross. What is paid is received, but for
the residue that the event of the settlement names.
"""

import pytest

from engine.bench.crowds import crossed_exchange, populated_exchange
from engine.constants import EventKind
from engine.exchange import command

POSITIONS, MARKETS = 100_000, 10
RATE_PPB = 1_000


@pytest.mark.parametrize("kind", ["isolated", "cross"])
def test_funding(benchmark, kind):
    if kind == "isolated":
        exchange = populated_exchange(POSITIONS)
    else:
        # A market of ten holds half of the accounts' positions there.
        exchange = crossed_exchange(2 * POSITIONS, MARKETS)
    rate = command("FUNDING", market_id=1, amount=RATE_PPB)
    events = benchmark.pedantic(exchange.submit, (rate,), rounds=5, warmup_rounds=1)
    paid = events[events["kind"] == EventKind.FUNDING_PAID]
    settled = events[events["kind"] == EventKind.FUNDING_SETTLED]
    assert len(settled) == 1
    assert paid["amount"].sum() + settled["amount"].sum() == 0
    assert len(paid) > POSITIONS * 9 // 10
    benchmark.extra_info["payments_per_round"] = len(paid)
