"""How an account stands, asked once a call: isolated with one position, cross with five."""

import pytest

from engine.bench.crowds import LEGS, crossed_exchange, populated_exchange
from engine.bench.work import FIRST_ID

ACCOUNTS, MARKETS = 1_000, 50


@pytest.mark.parametrize(("kind", "legs"), [("isolated", 1), ("cross", LEGS)])
def test_inspection(benchmark, kind, legs):
    isolated = kind == "isolated"
    exchange = populated_exchange(ACCOUNTS) if isolated else crossed_exchange(ACCOUNTS, MARKETS)
    domains = benchmark(exchange.inspect, FIRST_ID + ACCOUNTS // 2)
    assert sum(len(domain.positions) for domain in domains) == legs
    assert all(domain.equity > domain.maintenance for domain in domains if domain.positions)
