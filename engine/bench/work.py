"""What throughput is measured on: flows as commands of accounts, populations, price ticks.

Everything is seeded. Nothing here is timed.
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.bench.flows import MASK, MID
from engine.constants import CommandKind, EventKind, OrderType, Side, TimeInForce
from engine.core.flow import MULTIPLIER, Op
from engine.exchange import Exchange, command
from engine.fuzz import as_events
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND
from engine.venue import Capacities, DepthCurve, DepthLevel, load_venue

FIRST_ID = 100
PRICE = 5_000_000
TICK = PRICE // MID
WALLET = 10**14


class Sizes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How large the works are; see `sizes.toml`."""

    venue: str
    seed: int
    messages: int
    flow_accounts: int
    tick_accounts: list[int]
    ticks: int
    crash_accounts: int
    crash_ticks: int
    rounds: int


def load_sizes(quick: bool = False) -> Sizes:
    """The sizes of a full run, or those of one that only shows that everything works."""
    tree = tomllib.loads(Path(__file__).with_name("sizes.toml").read_text("utf-8"))
    smaller = tree.pop("quick")
    return msgspec.convert(tree | smaller if quick else tree, Sizes)


def exchange_flow(flow: np.ndarray, accounts: int) -> np.ndarray:
    """The same flow as COMMAND rows of `accounts` accounts, dealt out in turn; a move amends."""
    rows = np.zeros(len(flow), dtype=COMMAND)
    op = flow["op"]
    enters, prices = (op == Op.LIMIT) | (op == Op.IOC), flow["price"] * TICK
    anything = np.where(flow["side"] == Side.BUY, 2 * PRICE, TICK)
    prices = np.where((op == Op.IOC) & (flow["price"] == 0), anything, prices)
    kinds = {Op.CANCEL: CommandKind.CANCEL, Op.MOVE: CommandKind.AMEND}
    rows["kind"] = CommandKind.NEW_ORDER
    for each, kind in kinds.items():
        rows["kind"][op == each] = kind
    rows["account_id"] = FIRST_ID + flow["order_id"] % accounts
    rows["order_id"] = flow["order_id"]
    rows["market_id"] = 1
    rows["side"] = np.where(enters, flow["side"], 0)
    rows["price"] = np.where(op == Op.CANCEL, 0, prices)
    rows["lots"] = np.where(op == Op.CANCEL, 0, flow["lots"])
    rows["order_type"] = np.where(enters, OrderType.LIMIT, 0)
    force = np.where(op == Op.IOC, TimeInForce.IOC, TimeInForce.GTC)
    rows["time_in_force"] = np.where(enters, force, 0)
    return rows


def opening(accounts: int, amount: int) -> np.ndarray:
    """Accounts with money, as COMMAND rows."""
    rows = np.zeros(2 * accounts, dtype=COMMAND)
    rows["account_id"] = np.repeat(FIRST_ID + np.arange(accounts), 2)
    rows["kind"] = np.tile([CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT], accounts)
    rows["amount"][1::2] = amount
    return rows


def trading_exchange(accounts: int, orders_max: int, venue: str = "") -> Exchange:
    """An exchange of accounts with money and no positions."""
    exchange = Exchange(
        load_venue(venue or load_sizes().venue),
        capacities=Capacities(
            accounts_max=accounts + 16, positions_max=2 * accounts + 16, orders_max=orders_max
        ),
        feedback_ppm=0,
    )
    exchange.submit(command("INDEX", market_id=1, price=PRICE))
    exchange.submit(opening(accounts, WALLET))
    return exchange


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
    """A book that takes what a crash sells: 40,000 contracts within 5 % of the index a side."""
    levels = [DepthLevel(offset_ppm=ppm, lots=2_000_000) for ppm in range(2_500, 50_001, 2_500)]
    return DepthCurve(levels=levels)


def apply_rows(exchange: Exchange | ReferenceExchange, rows: np.ndarray) -> np.ndarray:
    """COMMAND rows through either implementation; returns EVENT rows."""
    if isinstance(exchange, ReferenceExchange):
        return as_events(exchange.submit(rows.tolist()))
    return exchange.submit(rows)


def populated_exchange(
    accounts: int,
    price: int = PRICE,
    check_index: bool = False,
    deep: bool = False,
    make: type = Exchange,
) -> Any:
    """An exchange with that many isolated positions, marked at `price`, feedback off.

    `make` is the implementation: the compiled one, or the rulebook.
    """
    room = max(accounts, 16)
    checks = {"check_index": True} if check_index else {}
    exchange = make(
        load_venue(load_sizes().venue),
        capacities=Capacities(accounts_max=room, positions_max=room, orders_max=1_000),
        curves={1: deep_curve()} if deep else {},
        feedback_ppm=0,
        **checks,
    )
    apply_rows(exchange, command("INDEX", market_id=1, price=price))
    rows = isolated_population(accounts, price)
    for start in range(0, len(rows), 65_536):
        events = apply_rows(exchange, rows[start : start + 65_536])
        assert not (events["kind"] == EventKind.REJECTED).any(), "a position was refused"
    return exchange


def mark_ticks(
    count: int, price: int, trend: float, seed: int = 11, kind: CommandKind = CommandKind.MARK
) -> np.ndarray:
    """MARK or INDEX rows: a walk of 0.5 bp a tick, plus a trend in log price over the path."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0, 0.5e-4, count)) + np.linspace(0, trend, count)
    rows = np.zeros(count, dtype=COMMAND)
    rows["kind"], rows["market_id"] = kind, 1
    rows["price"] = np.round(price * np.exp(path)).astype(np.int64)
    return rows


def fill_checksum(events: np.ndarray) -> tuple[int, int]:
    """(trades, checksum) of the trades in an event stream, as a flow counts them; a trade is two
    FILL rows, the taker's first."""
    fills = events[events["kind"] == EventKind.FILL]
    takers, makers = fills[0::2], fills[1::2]
    checksum = 0
    for maker, taker, price, lots in zip(
        makers["order_id"].tolist(),
        takers["order_id"].tolist(),
        (makers["price"] // TICK).tolist(),
        np.abs(makers["lots"]).tolist(),
        strict=True,
    ):
        for value in (maker, taker, price, lots):
            checksum = (checksum * MULTIPLIER + value) & MASK
    return len(makers), checksum
