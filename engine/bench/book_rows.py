"""Rows of messages: the book alone, the whole exchange, a deep book, one call a message.

A flow must give the trades that the rulebook's book gave when the flow was made, order for order.
"""

import gc
import time
from collections.abc import Callable, Iterator

import numpy as np

from engine.bench.flows import DEEP_FLOWS, FLOWS, Flow, make_deep_flow, make_flow
from engine.bench.pace import PACE
from engine.bench.results import Row
from engine.bench.rounds import counted, digest_of, in_turn, row, same, timed
from engine.bench.work import Sizes, exchange_flow, fill_checksum, trading_exchange
from engine.constants import EventKind
from engine.core.flow import FLOW_FILL, Op, run_message
from engine.core.kernel import direct
from engine.match import BookAlone, fold

ORDERS_MAX = 100_000  # of the whole exchange at once; no flow comes near

Say = Callable[[str], None]


def _orders(flow: Flow) -> int:
    return int((flow.rows["op"] == Op.LIMIT).sum()) + 1


def new_book(flow: Flow) -> BookAlone:
    """A book with room for the orders and prices of a flow."""
    return BookAlone(int(flow.rows["price"].max()), _orders(flow))


def book_row(flow: Flow, rounds: int) -> Row:
    """The book alone: matching in one batch, every trade reported."""
    work, seconds = f"book alone, {flow.name}", []
    for _ in range(rounds + 1):
        book = new_book(flow)
        PACE.steady()
        trades = np.concatenate([part.copy() for part in book.run(flow.rows)])
        same(work, (flow.trades, flow.checksum), (len(trades), fold(trades, 0)))
        seconds.append(book.seconds)
    count, result = len(flow.rows), f"{flow.checksum:016x}"
    return row(f"book-{flow.name}", work, seconds[1:], count, count, result)


def exchange_row(flow: Flow, accounts: int, rounds: int) -> Row:
    """The whole exchange on the same flow: accounts, margin, fees, positions, events."""
    work = f"whole exchange, {flow.name}"
    commands = exchange_flow(flow.rows, accounts)
    exchange = trading_exchange(accounts, min(_orders(flow), ORDERS_MAX))
    first = exchange.block.memory.copy()
    _, parts = timed(lambda: exchange.stream(commands, in_place=True))
    events, wanted = np.concatenate(parts), digest_of(parts)
    same(work, (flow.trades, flow.checksum), fill_checksum(events))
    same(f"{work}, refused commands", 0, counted(events, EventKind.REJECTED))
    seconds = in_turn(work, exchange, first, commands, len(events), rounds)
    count = len(commands)
    return row(f"exchange-{flow.name}", work, seconds, count, count, wanted[:16])


def deep_row(flow: Flow, rounds: int) -> Row:
    """A message in a book that the first rows of the flow have filled, which is not timed."""
    what = {
        "live": f"a message among {flow.opening:,} live orders",
        "cancelled": f"a message while {flow.opening:,} orders are cancelled",
    }
    work, seconds = what[flow.name], []
    for _ in range(rounds + 1):
        book = new_book(flow)
        opened = sum(len(part) for part in book.run(flow.rows[: flow.opening]))
        same(f"{work}, trades while it fills", 0, opened)
        book.seconds = 0.0
        PACE.steady()
        rest = book.run(flow.rows[flow.opening :], flow.opening)
        trades = np.concatenate([part.copy() for part in rest])
        same(work, (flow.trades, flow.checksum), (len(trades), fold(trades, 0)))
        seconds.append(book.seconds)
    count, result = len(flow.rows) - flow.opening, f"{flow.checksum:016x}"
    key, left = f"orders-{flow.name}", f"{flow.live:,} live at the end"
    return row(key, work, seconds[1:], count, flow.opening, result, "ns", left)


def kernel_calls(flow: Flow) -> tuple[float, np.ndarray]:
    """Each message as Python integers, one call of the kernel, its trades as tuples."""
    book, messages = new_book(flow), flow.rows.tolist()
    call, address, trades = direct(run_message, 7), book.block.address, []
    began = time.perf_counter()
    for op, order_id, side, price, lots in messages:
        written = call(address, 0, op, order_id, side, price, lots)
        if written:
            trades += book.fills(written)
    return time.perf_counter() - began, np.array(trades, FLOW_FILL)


def _book_calls(flow: Flow) -> tuple[float, np.ndarray]:
    """Each message as an array of one row through `BookAlone.run`."""
    book, trades = new_book(flow), []
    rows = [flow.rows[at : at + 1] for at in range(len(flow.rows))]
    began = time.perf_counter()
    for one in rows:
        for part in book.run(one):
            if len(part):
                trades += part.tolist()
    return time.perf_counter() - began, np.array(trades, FLOW_FILL)


def call_rows(flow: Flow, accounts: int, rounds: int) -> Iterator[Row]:
    """One call a message from Python with its trades: the kernel, the book, the exchange."""
    count = len(flow.rows)
    for key, work, calls in (
        ("call-kernel", "one call a message, kernel of the book", kernel_calls),
        ("call-book", "one call a message, BookAlone.run", _book_calls),
    ):
        seconds = []
        for _ in range(rounds + 1):
            gc.collect()
            PACE.steady()
            spent, trades = calls(flow)
            same(work, (flow.trades, flow.checksum), (len(trades), fold(trades, 0)))
            seconds.append(spent)
        yield row(key, work, seconds[1:], count, count, f"{flow.checksum:016x}")
    commands = exchange_flow(flow.rows, accounts)
    ones = [commands[at : at + 1] for at in range(count)]
    work, seconds = "one call a message, Exchange.submit", []
    for _ in range(rounds + 1):
        exchange = trading_exchange(accounts, min(_orders(flow), ORDERS_MAX))
        spent, parts = timed(lambda exchange=exchange: map(exchange.submit, ones))
        same(work, (flow.trades, flow.checksum), fill_checksum(np.concatenate(parts)))
        seconds.append(spent)
    yield row("call-exchange", work, seconds[1:], count, count, f"{flow.checksum:016x}")


def flow_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """Every flow through the book alone and through the whole exchange."""
    for name in FLOWS:
        say(f"making the flow {name}")
        flow = make_flow(name, sizes.messages, sizes.seed)
        say(f"measuring the flow {name}")
        yield book_row(flow, sizes.rounds)
        yield exchange_row(flow, sizes.flow_accounts, sizes.rounds)


def deep_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """A deep book: live, and full of what is cancelled."""
    for name in DEEP_FLOWS:
        say(f"filling a book for {name}")
        count = sizes.live_messages if name == "live" else sizes.live_orders * 11 // 10
        yield deep_row(make_deep_flow(name, sizes.live_orders, count, sizes.seed), sizes.rounds)


def call_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """One call a message."""
    say("measuring single calls")
    flow = make_flow("realistic", sizes.calls, sizes.seed)
    yield from call_rows(flow, sizes.flow_accounts, sizes.rounds)
