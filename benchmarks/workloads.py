"""What the benchmarks work on: seeded flows and populations, and the rulebook's answer to each.

A figure is only printed for a run whose result equals the rulebook's. Nothing here is timed.
"""

import random

import numpy as np

from engine.constants import CommandKind, OrderType, Side, TimeInForce
from engine.core.flow import FLOW, Op
from engine.exchange import Exchange, command
from engine.reference.book import Book, Order, crosses, opposite
from engine.rows import COMMAND
from engine.venue import Capacities, DepthCurve, DepthLevel

MID = 100_000
FIRST_ID = 100
MULTIPLIER, MASK = 1_000_003, 2**64 - 1


class RulebookFlow:
    """The rulebook's book, with the checksum of its fills."""

    def __init__(self) -> None:
        self.book = Book()
        self.live: dict[int, Order] = {}
        self.ids: list[int] = []
        self.checksum = self.trades = 0

    def limit(self, order_id: int, side: int, price: int, lots: int, rests: bool) -> None:
        against = opposite(side)
        while lots and (best := self.book.best(against)) and crosses(side, price, best):
            resting = self.book.first(against)
            fill = min(lots, resting.lots)
            lots -= fill
            for value in (resting.order_id, order_id, best, fill):
                self.checksum = (self.checksum * MULTIPLIER + value) & MASK
            self.trades += 1
            if fill == resting.lots:
                self.remove(resting.order_id)
            else:
                resting.lots -= fill
        if lots and rests:
            order = Order(order_id, 1, 1, side, 0, 1, 1, price, lots, 0, 0, 0, 0, order_id)
            self.book.rest(order)
            self.live[order_id] = order
            self.ids.append(order_id)

    def remove(self, order_id: int) -> None:
        self.book.remove(self.live.pop(order_id))


def book_flow(count: int, seed: int) -> tuple[np.ndarray, int, int]:
    """(FLOW rows, trades, checksum): 45 % passive limits, 45 % cancels, 10 % marketable, round a
    walking mid with about 4,000 live orders."""
    rng, rulebook = random.Random(seed), RulebookFlow()
    rows = np.zeros(count, dtype=FLOW)
    mid = float(MID)
    for index in range(count):
        mid += rng.gauss(0, 0.2)
        side = rng.choice((1, 2))
        live, pick, lots = len(rulebook.live), rng.random(), 1 + int(rng.lognormvariate(3, 1))
        if live > 200 and pick < 0.45 + 0.15 * (live - 4_000) / 4_000:
            slot = rng.randrange(len(rulebook.ids))
            order_id, rulebook.ids[slot] = rulebook.ids[slot], rulebook.ids[-1]
            rulebook.ids.pop()
            order = rulebook.live.get(order_id)
            if order is not None:
                rows[index] = (Op.CANCEL, order_id, order.side, order.price, 0)
                rulebook.remove(order_id)
                continue
        order_id = index + 1
        away = min(3_000, int(rng.paretovariate(1.2) * 3))
        if pick > 0.9 and live > 200:
            price = MID * 2 if side == Side.BUY else 1
            rows[index] = (Op.IOC, order_id, side, price, lots)
            rulebook.limit(order_id, side, price, lots, rests=False)
        else:
            price = int(mid) - away if side == Side.BUY else int(mid) + 1 + away
            rows[index] = (Op.LIMIT, order_id, side, price, lots)
            rulebook.limit(order_id, side, price, lots, rests=True)
    return rows, rulebook.trades, rulebook.checksum


def exchange_flow(flow: np.ndarray, accounts: int) -> np.ndarray:
    """The same flow as COMMAND rows of `accounts` accounts, dealt out in turn."""
    rows = np.zeros(len(flow), dtype=COMMAND)
    cancels = flow["op"] == Op.CANCEL
    rows["kind"] = np.where(cancels, CommandKind.CANCEL, CommandKind.NEW_ORDER)
    rows["account_id"] = FIRST_ID + flow["order_id"] % accounts
    rows["order_id"] = flow["order_id"]
    rows["market_id"] = 1
    rows["side"] = np.where(cancels, 0, flow["side"])
    rows["price"] = np.where(cancels, 0, flow["price"] * 50)
    rows["lots"] = np.where(cancels, 0, flow["lots"])
    rows["order_type"] = np.where(cancels, 0, OrderType.LIMIT)
    ioc = flow["op"] == Op.IOC
    rows["time_in_force"] = np.where(ioc, TimeInForce.IOC, np.where(cancels, 0, TimeInForce.GTC))
    return rows


def opening(accounts: int, amount: int) -> np.ndarray:
    """Accounts with money, as COMMAND rows."""
    rows = np.zeros(2 * accounts, dtype=COMMAND)
    rows["account_id"] = np.repeat(FIRST_ID + np.arange(accounts), 2)
    rows["kind"] = np.tile([CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT], accounts)
    rows["amount"][1::2] = amount
    return rows


def isolated_population(accounts: int, price: int, seed: int = 7) -> np.ndarray:
    """Isolated positions at leverage 2 to 100, long and short in pairs, as COMMAND rows."""
    rng = np.random.default_rng(seed)
    lots = np.minimum(rng.pareto(1.3, accounts) * 20 + 1, 200_000).astype(np.int64)
    lots[1::2] = lots[0::2][: len(lots[1::2])]
    sign = np.where(np.arange(accounts) % 2 == 0, 1, -1)
    leverage = np.clip(np.exp(rng.normal(2.2, 0.9, accounts)), 2, 100)
    entry = (price * np.exp(rng.normal(0, 0.002, accounts))).astype(np.int64)
    margin = (lots * entry * 10 / leverage).astype(np.int64) + lots * entry // 5
    rows = np.zeros(3 * accounts, dtype=COMMAND)
    rows["account_id"] = np.repeat(FIRST_ID + np.arange(accounts), 3)
    kinds = [CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT, CommandKind.SEED_POSITION]
    rows["kind"] = np.tile(kinds, accounts)
    rows["amount"][1::3] = margin
    seeds = rows[2::3]
    seeds["market_id"], seeds["flags"] = 1, 8
    seeds["lots"], seeds["price"], seeds["amount"] = lots * sign, entry, margin
    return rows


def deep_curve() -> DepthCurve:
    """A book that takes what a crash sells: 40,000 BTC within 5 % of the index on each side."""
    levels = [DepthLevel(offset_ppm=ppm, lots=2_000_000) for ppm in range(2_500, 50_001, 2_500)]
    return DepthCurve(levels=levels)


def populated_exchange(
    accounts: int, price: int, check_index: bool = False, deep: bool = False
) -> Exchange:
    """An exchange with that many isolated positions, marked at `price`, feedback off."""
    room = max(accounts, 16)
    exchange = Exchange(
        "binance_usdm",
        capacities=Capacities(accounts_max=room, positions_max=room, orders_max=1_000),
        curves={1: deep_curve()} if deep else {},
        feedback_ppm=0,
        check_index=check_index,
    )
    exchange.submit(command("INDEX", market_id=1, price=price))
    for events in exchange.stream(isolated_population(accounts, price)):
        assert not (events["kind"] == 1).any(), "a position of the population was refused"
    return exchange


def mark_ticks(
    count: int, price: int, drift: float, seed: int = 11, kind: CommandKind = CommandKind.MARK
) -> np.ndarray:
    """MARK or INDEX rows: a walk of 0.5 bp a tick, plus a drift in log price over the path."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0, 0.5e-4, count)) + np.linspace(0, drift, count)
    rows = np.zeros(count, dtype=COMMAND)
    rows["kind"], rows["market_id"] = kind, 1
    rows["price"] = np.round(price * np.exp(path)).astype(np.int64)
    return rows


def fill_checksum(events: np.ndarray) -> tuple[int, int]:
    """(trades, checksum) of the trades in an event stream, as `book_flow` counts them; a trade is
    two FILL rows, the taker's first."""
    fills = events[events["kind"] == 10]
    takers, makers = fills[0::2], fills[1::2]
    checksum = 0
    for maker, taker, price, lots in zip(
        makers["order_id"].tolist(),
        takers["order_id"].tolist(),
        (makers["price"] // 50).tolist(),
        np.abs(makers["lots"]).tolist(),
        strict=True,
    ):
        for value in (maker, taker, price, lots):
            checksum = (checksum * MULTIPLIER + value) & MASK
    return len(makers), checksum
