"""`bench scaling`: the same work over growing accounts, markets and live orders, and in two
processes at once.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from queue import Empty

import msgspec

from engine.bench.book_rows import deep_row
from engine.bench.flows import make_deep_flow, make_flow
from engine.bench.pace import PACE
from engine.bench.results import BenchFault, Row, Table, this_machine
from engine.bench.rounds import digest_of, in_turn, row, same, timed
from engine.bench.throughput import paced, watched
from engine.bench.tick_rows import check_crossed, quiet_row, quiet_rows
from engine.bench.work import Sizes, exchange_flow, trading_exchange

PROCESSES = (1, 2)
WAIT_S = 900.0  # for the slowest process
ORDERS_MAX = 100_000

Say = Callable[[str], None]


def account_rows(sizes: Sizes, say: Say) -> Iterator[Row]:
    """A quiet tick by accounts."""
    for each in quiet_rows(sizes, say):
        yield msgspec.structs.replace(each, key=each.key.replace("tick", "accounts"))


def market_rows(sizes: Sizes, say: Say) -> Iterator[Row]:
    """A quiet tick by markets, with as many accounts."""
    check_crossed()
    for markets in sizes.scale_markets:
        say(f"measuring ticks of {markets} markets")
        made = quiet_row(sizes.scale_accounts, sizes.ticks, sizes.rounds, markets)
        yield msgspec.structs.replace(made, key="markets", size=markets)


def order_rows(sizes: Sizes, say: Say) -> Iterator[Row]:
    """A message by how many orders are live."""
    for orders in sizes.scale_orders:
        say(f"filling a book with {orders:,} orders")
        flow = make_deep_flow("live", orders, sizes.live_messages, sizes.seed)
        yield msgspec.structs.replace(deep_row(flow, sizes.rounds), key="orders")


def exchange_share(sizes: Sizes, together: object, results: object) -> None:
    """One process's share: rounds of the whole exchange that begin together with the others'."""
    flow = make_flow("realistic", sizes.messages, sizes.seed)
    commands = exchange_flow(flow.rows, sizes.flow_accounts)
    exchange = trading_exchange(sizes.flow_accounts, ORDERS_MAX)
    first = exchange.block.memory.copy()
    _, parts = timed(lambda: exchange.stream(commands, in_place=True))
    count = sum(len(part) for part in parts)
    rest = (first, commands, count, sizes.rounds, lambda: together.wait(WAIT_S))
    results.put((in_turn("whole exchange", exchange, *rest), digest_of(parts)))


def process_row(sizes: Sizes, count: int) -> Row:
    """Messages a second of so many processes in all, each with an exchange of its own."""
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(count), context.Queue()
    work = f"whole exchange in {count} process{'es' * (count > 1)}"
    others = [
        context.Process(target=exchange_share, args=(sizes, together, results), daemon=True)
        for _ in range(count)
    ]
    for each in others:
        each.start()
    try:
        found = [results.get(timeout=WAIT_S) for _ in others]
    except Empty:
        raise BenchFault(f"{work}: no result within {WAIT_S:g} s; no figure is given") from None
    for each in others:
        each.join()
    digests = [digest for _, digest in found]
    same(work, digests[:1] * count, digests)
    slowest = [max(each) for each in zip(*(seconds for seconds, _ in found), strict=True)]
    total = count * sizes.messages
    return row("processes", work, slowest, total, count, digests[0][:16])


def process_rows(sizes: Sizes, say: Say) -> Iterator[Row]:
    """One process against two."""
    for count in PROCESSES:
        say(f"measuring {count} at once")
        yield process_row(sizes, count)


def scaling(sizes: Sizes, quick: bool, say: Say = lambda text: None) -> Table:
    """By accounts, markets, live orders and processes."""
    machine = this_machine()
    PACE.patience_s, PACE.seen = sizes.patience_s, []
    rows = [
        each
        for make in (account_rows, market_rows, order_rows, process_rows)
        for each in watched(make(sizes, say))
    ]
    return Table(kind="scaling", quick=quick, machine=machine, rows=paced(rows))
