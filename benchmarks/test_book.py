"""Messages per second: the book alone, and the whole exchange on the same flow.

Every figure is for a run whose fills equal the rulebook's, order for order.
"""

import numpy as np
import pytest

from engine.constants import EventKind
from engine.exchange import Exchange, command
from engine.match import BookAlone, fold
from engine.venue import Capacities
from workloads import book_flow, exchange_flow, fill_checksum, opening

MESSAGES = 200_000
ACCOUNTS = 1_000


@pytest.fixture(scope="module")
def flow():
    return book_flow(MESSAGES, seed=1)


def test_book_alone(benchmark, flow):
    rows, trades, checksum = flow

    def setup():
        return (BookAlone(200_000, 20_000),), {}

    def work(book):
        return [part.copy() for part in book.run(rows)]

    fills = np.concatenate(benchmark.pedantic(work, setup=setup, rounds=5, warmup_rounds=1))
    assert (len(fills), fold(fills, 0)) == (trades, checksum)
    benchmark.extra_info["messages_per_round"] = MESSAGES


def test_whole_exchange(benchmark, flow):
    rows, trades, checksum = flow
    commands = exchange_flow(rows, ACCOUNTS)

    def setup():
        exchange = Exchange(
            "binance_usdm",
            capacities=Capacities(accounts_max=2_000, positions_max=2_000, orders_max=20_000),
            feedback_ppm=0,
        )
        exchange.submit(command("INDEX", market_id=1, price=5_000_000))
        exchange.submit(opening(ACCOUNTS, 10**14))
        return (exchange,), {}

    def work(exchange):
        return list(exchange.stream(commands))

    events = np.concatenate(benchmark.pedantic(work, setup=setup, rounds=5, warmup_rounds=1))
    assert not (events["kind"] == EventKind.REJECTED).any()
    assert fill_checksum(events) == (trades, checksum)
    benchmark.extra_info["messages_per_round"] = MESSAGES
