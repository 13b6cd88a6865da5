"""Crowds of accounts with positions, and exchanges that hold them; ticks and fills for these.

Everything is seeded and nothing here is timed. Crowds come in blocks of COMMAND rows, so that ten
million accounts need no more memory for their making than a million.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from engine.bench.work import FIRST_ID, PRICE, TICK, WALLET, apply_rows, load_sizes, mark_ticks
from engine.constants import CommandKind, EventKind, Flag, OrderType, Side, TimeInForce
from engine.exchange import Exchange, command
from engine.profile import VenueProfile
from engine.rows import COMMAND
from engine.venue import Capacities, DepthCurve, DepthLevel, load_venue

BLOCK = 1_000_000  # accounts drawn at a time
LEGS = 5  # of an account with cross margin, each in a market of its own
SPARE = 10**9  # of wallet beside isolated margin, so that whoever trades can pay
TRADING_LEVERAGE_MAX = 14  # of those who trade: an order asks for a twentieth
SHELF_LOTS = 100_000  # of each order that fills are taken from
SUBMITTED = 65_536  # rows a call while a crowd is built


def many_markets(count: int) -> VenueProfile:
    """The profile with its first market `count` times, at coarser ticks and smaller limits."""
    venue = load_venue(load_sizes().venue)
    first = venue.markets[0]
    coarse = msgspec.structs.replace(
        first, tick="1", open_interest_lots_max=first.open_interest_lots_max // count
    )
    markets = [msgspec.structs.replace(coarse, symbol=f"M{n}") for n in range(1, count + 1)]
    return msgspec.structs.replace(venue, markets=markets)


def _draw(rng: np.random.Generator, legs: int, price: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (heavy-tailed, lots) and entries (round the price) of positions."""
    lots = np.minimum(rng.pareto(1.3, legs) * 20 + 1, 200_000).astype(np.int64)
    return lots, (price * np.exp(rng.normal(0, 0.002, legs))).astype(np.int64)


def isolated_population(
    accounts: int, price: int, seed: int = 7, leverage_max: int = 100, spare: int = 0
) -> Iterator[np.ndarray]:
    """Isolated positions at leverage 2 to `leverage_max`, longs and shorts in pairs."""
    for start in range(0, accounts, BLOCK):
        count = min(BLOCK, accounts - start)
        rng = np.random.default_rng(seed + start // BLOCK)
        lots, entry = _draw(rng, count, price)
        lots[1::2] = lots[0::2][: len(lots[1::2])]
        sign = np.where(np.arange(count) % 2 == 0, 1, -1)
        leverage = np.clip(np.exp(rng.normal(2.2, 0.9, count)), 2, leverage_max)
        margin = (lots * entry * 10 / leverage).astype(np.int64) + lots * entry // 5
        rows = np.zeros((count, 3), dtype=COMMAND)
        rows["account_id"] = (FIRST_ID + start + np.arange(count))[:, None]
        kinds = [CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT, CommandKind.SEED_POSITION]
        rows["kind"] = kinds
        rows["amount"][:, 1] = margin + spare
        seeds = rows[:, 2]
        seeds["market_id"], seeds["flags"] = 1, Flag.ISOLATED
        seeds["lots"], seeds["price"], seeds["amount"] = lots * sign, entry, margin
        yield rows.reshape(-1)


def legs_of(accounts: np.ndarray, markets: int) -> np.ndarray:
    """The markets of each cross account, LEGS different ones: (accounts, LEGS)."""
    stride = markets // LEGS
    mixed = (accounts.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15)
    digits = np.stack([mixed >> np.uint64(8 * k + 16) for k in range(LEGS)], axis=1)
    within = (digits % np.uint64(stride)).astype(np.int64)
    return 1 + within + stride * np.arange(LEGS)


def cross_population(
    accounts: int, markets: int, price: int, seed: int = 7, leverage_max: int = 100
) -> Iterator[np.ndarray]:
    """Accounts with LEGS cross positions each, at leverage 2 to `leverage_max` in all."""
    block = BLOCK // LEGS
    for start in range(0, accounts, block):
        count = min(block, accounts - start)
        rng = np.random.default_rng(seed + start // block)
        lots, entry = (each.reshape(count, LEGS) for each in _draw(rng, count * LEGS, price))
        sign = np.where(rng.random((count, LEGS)) < 0.5, 1, -1)
        leverage = np.clip(np.exp(rng.normal(2.2, 0.9, count)), 2, leverage_max)
        gross = (lots * entry).sum(axis=1)
        rows = np.zeros((count, 2 + LEGS), dtype=COMMAND)
        number = start + np.arange(count)
        rows["account_id"] = (FIRST_ID + number)[:, None]
        seeding = [CommandKind.SEED_POSITION] * LEGS
        rows["kind"] = [CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT, *seeding]
        rows["amount"][:, 1] = (gross * 10 / leverage).astype(np.int64) + gross // 5
        seeds = rows[:, 2:]
        seeds["market_id"] = legs_of(number, markets)
        seeds["lots"], seeds["price"] = lots * sign, entry
        yield rows.reshape(-1)


def curve(lots: int) -> DepthCurve:
    """A market maker's book with `lots` on each of 20 levels a side, within 5 % of the index."""
    levels = [DepthLevel(offset_ppm=ppm, lots=lots) for ppm in range(2_500, 50_001, 2_500)]
    return DepthCurve(levels=levels)


def fill_up(exchange: Any, blocks: Iterator[np.ndarray]) -> None:
    """Apply the rows of a crowd; every one must be accepted."""
    for rows in blocks:
        for start in range(0, len(rows), SUBMITTED):
            events = apply_rows(exchange, rows[start : start + SUBMITTED])
            assert not (events["kind"] == EventKind.REJECTED).any(), "a position was refused"


def populated_exchange(
    accounts: int,
    price: int = PRICE,
    check_index: bool = False,
    depth_lots: int = 0,
    make: type = Exchange,
    trading: bool = False,
) -> Any:
    """An exchange with that many isolated positions, marked at `price`, feedback off.

    `depth_lots` is what each level of a market maker's book holds (0: no book); `make` is the
    implementation: the compiled one, or the rulebook. With `trading` everyone can pay for orders,
    and a shelf stands in the book to trade with.
    """
    room = max(accounts, 16) + 1
    exchange = make(
        load_venue(load_sizes().venue),
        capacities=Capacities(accounts_max=room, positions_max=room, orders_max=1_000),
        curves={1: curve(depth_lots)} if depth_lots else {},
        feedback_ppm=0,
        **({"check_index": True} if check_index else {}),
    )
    apply_rows(exchange, command("INDEX", market_id=1, price=price))
    leverage_max, spare = (TRADING_LEVERAGE_MAX, SPARE) if trading else (100, 0)
    blocks = isolated_population(accounts, price, leverage_max=leverage_max, spare=spare)
    fill_up(exchange, blocks)
    if trading:
        fill_up(exchange, iter([shelves(accounts, 1)]))
    return exchange


def crossed_exchange(
    accounts: int,
    markets: int,
    price: int = PRICE,
    check_index: bool = False,
    make: type = Exchange,
    trading: bool = False,
) -> Any:
    """An exchange of accounts with LEGS cross positions in `markets` markets, feedback off."""
    room = max(accounts, 16) + markets
    exchange = make(
        many_markets(markets),
        capacities=Capacities(accounts_max=room, positions_max=LEGS * room, orders_max=1_000),
        feedback_ppm=0,
        **({"check_index": True} if check_index else {}),
    )
    for market_id in range(1, markets + 1):
        apply_rows(exchange, command("INDEX", market_id=market_id, price=price))
    leverage_max = TRADING_LEVERAGE_MAX if trading else 100
    fill_up(exchange, cross_population(accounts, markets, price, leverage_max=leverage_max))
    if trading:
        fill_up(exchange, iter([shelves(accounts, markets)]))
    return exchange


def ticks_in_turn(count: int, markets: int, seed: int = 11) -> np.ndarray:
    """MARK rows of `markets` markets in turn, each a walk of 0.5 bp a tick of its own."""
    rows = np.zeros(count, dtype=COMMAND)
    for place in range(markets):
        own = rows[place::markets]
        own[:] = mark_ticks(len(own), PRICE, 0.0, seed + place)
        own["market_id"] = 1 + place
    return rows


def shelves(accounts: int, markets: int) -> np.ndarray:
    """One account more for each market, and its two large orders, from which fills are taken."""
    rows = np.zeros((markets, 4), dtype=COMMAND)
    market_id = 1 + np.arange(markets)[:, None]
    rows["account_id"] = FIRST_ID + accounts - 1 + market_id
    rows["kind"] = [CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT] + 2 * [CommandKind.NEW_ORDER]
    rows["amount"][:, 1] = WALLET
    orders = rows[:, 2:]
    orders["market_id"] = market_id
    orders["order_id"] = 2 * market_id + [0, 1]
    orders["side"] = Side.BUY, Side.SELL
    orders["price"] = PRICE - 2 * TICK, PRICE + 2 * TICK
    orders["lots"] = SHELF_LOTS
    orders["order_type"], orders["time_in_force"] = OrderType.LIMIT, TimeInForce.GTC
    return rows.reshape(-1)


def with_fills(ticks: np.ndarray, fills: int, accounts: int, markets: int) -> np.ndarray:
    """Each tick followed by `fills` orders of one lot, which trade with the shelf at once.

    Whoever trades holds a position in that market, so that each fill moves the price at which he
    is to be liquidated; the index moves its node only where that serves no longer.
    """
    rng = np.random.default_rng(23)
    rows = np.zeros((len(ticks), 1 + fills), dtype=COMMAND)
    rows[:, 0] = ticks
    orders = rows[:, 1:]
    number = rng.integers(0, accounts, orders.shape)
    orders["kind"], orders["lots"] = CommandKind.NEW_ORDER, 1
    orders["account_id"] = FIRST_ID + number
    orders["order_id"] = 1_000_000 + np.arange(orders.size).reshape(orders.shape)
    orders["market_id"] = 1
    if markets > 1:
        leg = rng.integers(0, LEGS, orders.size)
        held = legs_of(number.reshape(-1), markets)
        orders["market_id"] = held[np.arange(len(held)), leg].reshape(orders.shape)
    buys = rng.random(orders.shape) < 0.5
    orders["side"] = np.where(buys, Side.BUY, Side.SELL)
    orders["price"] = np.where(buys, PRICE + 2 * TICK, PRICE - 2 * TICK)
    orders["order_type"], orders["time_in_force"] = OrderType.LIMIT, TimeInForce.IOC
    return rows.reshape(-1)
