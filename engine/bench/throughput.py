"""Throughput and the cost of a tick: medians of several rounds, each with the checked result.

A flow must give the trades that the rulebook's book gave when the flow was made. Ticks must give
the same events in every round, and in a smaller population the events of the whole rulebook. A row
whose result differs raises BenchFault before its figure exists.
"""

import gc
import hashlib
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np

from engine.bench.flows import FLOWS, Flow, make_flow
from engine.bench.results import BenchFault, Row, Table, this_machine
from engine.bench.work import (
    PRICE,
    Sizes,
    apply_rows,
    exchange_flow,
    fill_checksum,
    mark_ticks,
    populated_exchange,
    trading_exchange,
)
from engine.constants import CommandKind, EventKind
from engine.core.flow import Op
from engine.digest import EventDigest
from engine.match import BookAlone, fold
from engine.reference.exchange import ReferenceExchange

CHECKED_ACCOUNTS, CHECKED_TICKS = 60, 120  # what the rulebook can repeat in a second
FALL = -0.35  # of the log price: 30 %

Say = Callable[[str], None]


def same(work: str, wanted: object, got: object) -> None:
    """Refuse to go on where a measured run did not give the wanted result."""
    if wanted != got:
        raise BenchFault(f"{work}: expected {wanted}, got {got}; no figure is given")


def row(
    work: str, seconds: list[float], count: int, size: int, result: str, unit: str = "M/s"
) -> Row:
    """A row from the seconds of each round; `unit` is M/s, ns or s."""
    if unit == "M/s":
        values = [count / each / 1e6 for each in seconds]
    else:
        values = [each / count * (1e9 if unit == "ns" else 1) for each in seconds]
    return Row(
        work=work,
        value=statistics.median(values),
        unit=unit,
        size=size,
        lowest=min(values),
        highest=max(values),
        rounds=len(values),
        result=result,
    )


def timed(work: Callable[[], Iterable[np.ndarray]]) -> tuple[float, list[np.ndarray]]:
    """Seconds until everything that a run yields was taken, and that."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        parts = list(work())
        return time.perf_counter() - began, parts
    finally:
        if collecting:
            gc.enable()


def digest_of(parts: Iterable[np.ndarray]) -> str:
    """The digest of an event stream."""
    digest = EventDigest()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def book_row(flow: Flow, rounds: int) -> Row:
    """The book alone: matching in one batch, every trade reported."""
    work = f"book alone, {flow.name}"
    orders = int((flow.rows["op"] == Op.LIMIT).sum()) + 1
    seconds = []
    for _ in range(rounds + 1):
        book = BookAlone(int(flow.rows["price"].max()), orders)
        parts = [part.copy() for part in book.run(flow.rows)]
        trades = np.concatenate(parts)
        same(work, (flow.trades, flow.checksum), (len(trades), fold(trades, 0)))
        seconds.append(book.seconds)
    return row(work, seconds[1:], len(flow.rows), len(flow.rows), f"{flow.checksum:016x}")


def exchange_row(flow: Flow, accounts: int, rounds: int) -> Row:
    """The whole exchange on the same flow: accounts, margin, fees, positions, events."""
    work = f"whole exchange, {flow.name}"
    commands = exchange_flow(flow.rows, accounts)
    orders = int((flow.rows["op"] == Op.LIMIT).sum()) + 1
    seconds, wanted = [], ""
    for number in range(rounds + 1):
        exchange = trading_exchange(accounts, min(orders, 100_000))
        spent, parts = timed(lambda exchange=exchange: exchange.stream(commands))
        seconds.append(spent)
        got = digest_of(parts)
        if number == 0:
            events = np.concatenate(parts)
            same(work, (flow.trades, flow.checksum), fill_checksum(events))
            refused = int((events["kind"] == EventKind.REJECTED).sum())
            same(f"{work}, refused commands", 0, refused)
            wanted = got
        same(work, wanted, got)
    return row(work, seconds[1:], len(commands), len(commands), wanted[:16])


def check_ticks() -> None:
    """A fall over a small population gives the events of the rulebook, with the index checked by
    a full scan after every unit of work."""
    ticks = mark_ticks(CHECKED_TICKS, PRICE, FALL, kind=CommandKind.INDEX)
    core = populated_exchange(CHECKED_ACCOUNTS, check_index=True, deep=True)
    rulebook = populated_exchange(CHECKED_ACCOUNTS, deep=True, make=ReferenceExchange)
    wanted = digest_of([apply_rows(rulebook, ticks)])
    same("ticks against the rulebook", wanted, digest_of([core.submit(ticks)]))


def _prices_hash(prices: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(prices).tobytes(), digest_size=8).hexdigest()


def quiet_row(accounts: int, ticks: int, rounds: int) -> Row:
    """One mark tick that moves nothing but the mark."""
    work = f"quiet mark tick, {accounts:,} accounts"
    exchange, seconds = populated_exchange(accounts), []
    rows = mark_ticks(ticks, PRICE, 0.0)
    before, wanted = PRICE, ""
    for _ in range(rounds + 1):
        spent, parts = timed(lambda: exchange.stream(rows))
        seconds.append(spent)
        events = np.concatenate(parts)
        same(work, [int(EventKind.MARK_SET)], np.unique(events["kind"]).tolist())
        moves = rows["price"][np.diff(rows["price"], prepend=before) != 0]
        wanted = _prices_hash(moves)  # a price that is the mark already gives no event
        same(work, wanted, _prices_hash(events["price"]))
        before = int(rows["price"][-1])
    return row(work, seconds[1:], ticks, accounts, wanted, "ns")


def crash_rows(accounts: int, ticks: int, rounds: int) -> list[Row]:
    """A fall of 30 % through a deep book: events a second and seconds."""
    work = f"fall of 30 %, {accounts:,} accounts"
    rows = mark_ticks(ticks, PRICE, FALL, kind=CommandKind.INDEX)
    seconds, wanted, events = [], "", 0
    for number in range(rounds):
        exchange = populated_exchange(accounts, deep=True)
        spent, parts = timed(lambda exchange=exchange: exchange.stream(rows))
        seconds.append(spent)
        events = sum(len(part) for part in parts)
        got = digest_of(parts)
        wanted = wanted if number else got
        same(work, wanted, got)
    return [
        row(f"{work}, events", seconds, events, accounts, wanted[:16]),
        row(f"{work}, whole", seconds, 1, accounts, wanted[:16], "s"),
    ]


def throughput(sizes: Sizes, quick: bool, say: Say = lambda text: None) -> Table:
    """Every row of the table, in the order in which it is printed."""
    machine, rows = this_machine(), []
    for name in FLOWS:
        say(f"making the flow {name}")
        flow = make_flow(name, sizes.messages, sizes.seed)
        say(f"measuring the flow {name}")
        rows += [book_row(flow, sizes.rounds)]
        rows += [exchange_row(flow, sizes.flow_accounts, sizes.rounds)]
    check_ticks()
    rows += _quiet_rows(sizes, say)
    say("measuring the fall")
    rows += crash_rows(sizes.crash_accounts, sizes.crash_ticks, sizes.rounds)
    return Table(kind="throughput", quick=quick, machine=machine, rows=rows)


def _quiet_rows(sizes: Sizes, say: Say) -> list[Row]:
    rows = []
    for accounts in sizes.tick_accounts:
        say(f"measuring ticks over {accounts:,} accounts")
        rows.append(quiet_row(accounts, sizes.ticks, sizes.rounds))
    return rows


def scaling(sizes: Sizes, quick: bool, say: Say = lambda text: None) -> Table:
    """The cost of a quiet tick over a growing number of accounts."""
    machine = this_machine()
    check_ticks()
    return Table(kind="scaling", quick=quick, machine=machine, rows=_quiet_rows(sizes, say))
