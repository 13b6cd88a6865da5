"""Rows of what it costs to have it: starting, compiling, memory.

Starts are processes of their own; the cold one has an empty folder for its kernels. All give the
same first events. Memory is counted twice: what the State block sets aside for one more account or
order, from two blocks of different size, and the pages of it that are in use once they are there.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import engine
from engine.bench.crowds import (
    LEGS,
    cross_population,
    fill_up,
    isolated_population,
    many_markets,
)
from engine.bench.pace import PACE
from engine.bench.results import BenchFault, Row
from engine.bench.rounds import row, same
from engine.bench.work import FIRST_ID, PRICE, WALLET, Sizes, opening
from engine.constants import CommandKind, OrderType, Side, TimeInForce
from engine.core.state import H
from engine.core.tables import Block
from engine.exchange import Exchange, command
from engine.rows import COMMAND
from engine.venue import Capacities

PROGRAM = """
from engine.digest import EventDigest
from engine.core.state import H
from engine.core.tables import Block
from engine.exchange import Exchange, command
from engine.venue import shipped_venues
events = Exchange(shipped_venues()[0]).submit(command("MARK", market_id=1, price=736_587))
digest = EventDigest()
digest.update(events)
print(digest.hexdigest())
"""
COMPILE = ("-m", "engine", "compile")
ANNOUNCED = "Compiling"  # how the line begins that says why it takes so long
PAGE_WORDS = 512  # of 4 KiB
PAGES_AT_ONCE = 8_192
HOLDERS = 1_000  # accounts whose orders are counted

Say = Callable[[str], None]


def process(arguments: tuple[str, ...], cache: str | None = None) -> tuple[float, str]:
    """Wall seconds of an interpreter with these arguments, and what it printed."""
    root = str(Path(engine.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    if cache is not None:
        environment["CRASHTAPE_CACHE_DIR"] = cache
    PACE.steady()
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    spent = time.perf_counter() - began
    if done.returncode:
        raise BenchFault(f"{' '.join(arguments)[:40]}: {done.stderr.strip()[-200:]}")
    return spent, done.stdout + done.stderr


def start_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """A start to the first event with kernels from the cache, and compiling all of them."""
    say("measuring starts")
    seconds, wanted = [], ""
    for number in range(sizes.starts + 1):
        spent, said = process(("-c", PROGRAM))
        wanted = said if number == 0 else wanted
        same("start", wanted, said)
        seconds.append(spent)
    first = wanted.strip()[:16]
    yield row("start-warm", "start to the first event", seconds[1:], 1, 1, first, "s")
    cold = []
    for _ in range(sizes.compiles):
        say("compiling every kernel")
        with tempfile.TemporaryDirectory() as cache:
            spent, said = process(COMPILE, cache)
            same("compiling says so", True, ANNOUNCED in said)
            same("start after compiling", wanted, process(("-c", PROGRAM), cache)[1])
        cold.append(spent)
    if cold:
        note = "it says what it does while it does it"
        yield row("start-cold", "compiling every kernel", cold, 1, 1, first, "s", note)


def used_bytes(block: Block) -> int:
    """Bytes of the pages of a State block that hold anything but zeros: what the system must keep.

    What it counts as resident depends on its large pages and on what else it lends; this does not.
    """
    pages = block.words[: len(block.words) // PAGE_WORDS * PAGE_WORDS].reshape(-1, PAGE_WORDS)
    parts = range(0, len(pages), PAGES_AT_ONCE)
    used = sum(int(pages[at : at + PAGES_AT_ONCE].any(axis=1).sum()) for at in parts)
    return used * PAGE_WORDS * 8


def holding(accounts: int, positions: int, orders: int, markets: int) -> Exchange:
    """An exchange with room for so many of each."""
    room = Capacities(accounts_max=accounts, positions_max=positions, orders_max=orders)
    return Exchange(many_markets(markets), capacities=room, feedback_ppm=0)


def resting(orders: int) -> np.ndarray:
    """Orders of HOLDERS accounts, far from each other's side."""
    rows, number = np.zeros(orders, dtype=COMMAND), np.arange(orders)
    rows["kind"], rows["market_id"], rows["lots"] = CommandKind.NEW_ORDER, 1, 1
    rows["account_id"], rows["order_id"] = FIRST_ID + number % HOLDERS, 1 + number
    rows["side"] = np.where(number % 2, Side.BUY, Side.SELL)
    away = 100 * (1 + number % 20_000)
    rows["price"] = np.where(number % 2, PRICE - away, PRICE + away)
    rows["order_type"], rows["time_in_force"] = OrderType.LIMIT, TimeInForce.GTC
    return rows


def memory_rows(
    kind: str, work: str, count: int, make: Callable[[int], Exchange],
    fill: Callable[[Exchange, int], None],
) -> Iterator[Row]:  # fmt: skip
    """Bytes that one more of something takes: set aside, and in use.

    Both are differences between `count` and twice as many, so that what is there anyhow goes out.
    """
    aside, used, result = [], [], ""
    for number in (count, 2 * count):
        exchange = make(number)
        fill(exchange, number)
        aside.append(exchange.block.memory.nbytes)
        used.append(used_bytes(exchange.block))
        result = exchange.digest()[:16]
    for key, what, sizes in (("memory", "set aside", aside), ("used", "pages in use", used)):
        value = (sizes[1] - sizes[0]) / count
        yield Row(
            key=f"{key}-{kind}", work=f"memory of {work}, {what}", value=value, unit="B",
            size=count, lowest=value, highest=value, rounds=1, result=result,
        )  # fmt: skip


def memory_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """Memory of an isolated account, a cross account and a resting order."""
    say("measuring memory")
    count, markets = sizes.memory_accounts, sizes.cross_markets

    def indices(exchange: Exchange) -> None:
        for market_id in range(1, len(exchange.profile.markets) + 1):
            exchange.submit(command("INDEX", market_id=market_id, price=PRICE))

    def isolated(exchange: Exchange, number: int) -> None:
        indices(exchange)
        fill_up(exchange, isolated_population(number, PRICE))

    def cross(exchange: Exchange, number: int) -> None:
        indices(exchange)
        fill_up(exchange, cross_population(number, markets, PRICE))

    def orders(exchange: Exchange, number: int) -> None:
        indices(exchange)
        fill_up(exchange, iter([opening(HOLDERS, WALLET)]))
        fill_up(exchange, iter([resting(number)]))
        same("orders resting", number, int(exchange.block.words[H.ORDERS_COUNT]))

    yield from memory_rows(
        "isolated", "an isolated account", count, lambda n: holding(n, n, 16, 1), isolated
    )
    yield from memory_rows(
        "cross", f"a cross account with {LEGS} positions", count,
        lambda n: holding(n, LEGS * n, 16, markets), cross,
    )  # fmt: skip
    yield from memory_rows(
        "order", "a resting order", count,
        lambda n: holding(2 * HOLDERS, 2 * HOLDERS, n, 1), orders,
    )  # fmt: skip
