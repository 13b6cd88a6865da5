"""What throughput is measured on: sizes, flows as commands of accounts, price ticks.

Everything is seeded. Nothing here is timed.
"""

import tomllib
from pathlib import Path

import msgspec
import numpy as np

from engine.bench.flows import MASK, MID
from engine.constants import CommandKind, EventKind, OrderType, Side, TimeInForce
from engine.core.flow import MULTIPLIER, Op
from engine.exchange import Exchange, command
from engine.fuzz import as_events
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND
from engine.venue import Capacities, load_venue

FIRST_ID = 100
PRICE = 5_000_000
TICK = PRICE // MID
WALLET = 10**14


class Sizes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How large the works are; see `sizes.toml`."""

    venue: str
    seed: int
    rounds: int
    patience_s: float  # to wait in all until the processor is as fast as it was
    messages: int
    flow_accounts: int
    live_orders: int
    live_messages: int
    calls: int
    tick_accounts: list[int]
    cross_accounts: list[int]
    cross_markets: int
    ticks: int
    fill_accounts: int
    fill_ticks: int
    fills: int
    crash_accounts: int
    crash_ticks: int
    million_accounts: int
    crash_limit_s: float
    adl_accounts: int
    adl_rounds: int
    tape_rows: int
    starts: int
    compiles: int
    memory_accounts: int
    scale_accounts: int
    scale_markets: list[int]
    scale_orders: list[int]


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


def apply_rows(exchange: Exchange | ReferenceExchange, rows: np.ndarray) -> np.ndarray:
    """COMMAND rows through either implementation; returns EVENT rows."""
    if isinstance(exchange, ReferenceExchange):
        return as_events(exchange.submit(rows.tolist()))
    return exchange.submit(rows)


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
