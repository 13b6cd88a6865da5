"""Messages per second: the book alone, and the whole exchange on the same flows.

Every figure is for a run whose fills equal the rulebook's, order for order.
"""

import numpy as np
import pytest

from engine.bench.flows import DEEP_FLOWS, FLOWS, make_deep_flow, make_flow
from engine.bench.work import exchange_flow, fill_checksum, trading_exchange
from engine.constants import EventKind
from engine.match import BookAlone, fold

MESSAGES, LIVE = 200_000, 200_000
ACCOUNTS = 1_000


@pytest.fixture(scope="module", params=FLOWS)
def flow(request):
    return make_flow(request.param, MESSAGES, seed=1)


def test_book_alone(benchmark, flow):
    ticks_max = int(flow.rows["price"].max())

    def setup():
        return (BookAlone(ticks_max, MESSAGES),), {}

    def work(book):
        return [part.copy() for part in book.run(flow.rows)]

    fills = np.concatenate(benchmark.pedantic(work, setup=setup, rounds=5, warmup_rounds=1))
    assert (len(fills), fold(fills, 0)) == (flow.trades, flow.checksum)
    benchmark.extra_info["messages_per_round"] = MESSAGES


def test_whole_exchange(benchmark, flow):
    commands = exchange_flow(flow.rows, ACCOUNTS)

    def setup():
        return (trading_exchange(ACCOUNTS, 100_000),), {}

    def work(exchange):
        return list(exchange.stream(commands))

    events = np.concatenate(benchmark.pedantic(work, setup=setup, rounds=5, warmup_rounds=1))
    assert not (events["kind"] == EventKind.REJECTED).any()
    assert fill_checksum(events) == (flow.trades, flow.checksum)
    benchmark.extra_info["messages_per_round"] = MESSAGES


@pytest.mark.parametrize("name", DEEP_FLOWS)
def test_deep_book(benchmark, name):
    deep = make_deep_flow(name, LIVE, MESSAGES, seed=1)

    def setup():
        book = BookAlone(int(deep.rows["price"].max()), len(deep.rows))
        assert sum(len(part) for part in book.run(deep.rows[: deep.opening])) == 0
        return (book,), {}

    def work(book):
        rest = book.run(deep.rows[deep.opening :], deep.opening)
        return [part.copy() for part in rest]

    fills = np.concatenate(benchmark.pedantic(work, setup=setup, rounds=3, warmup_rounds=1))
    assert (len(fills), fold(fills, 0)) == (deep.trades, deep.checksum)
    benchmark.extra_info["messages_per_round"] = MESSAGES
