"""Rows of ticks: quiet ones, and ones with fills that move triggers; isolated and cross.

In a small crowd the same kinds of ticks must give the events of the whole rulebook, with the index
of triggers compared with a full scan after every unit of work.
"""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from engine.bench.crowds import crossed_exchange, populated_exchange, ticks_in_turn, with_fills
from engine.bench.results import Row
from engine.bench.rounds import counted, digest_of, in_turn, row, same, timed
from engine.bench.work import PRICE, Sizes, apply_rows, mark_ticks
from engine.constants import CommandKind, EventKind
from engine.exchange import Exchange
from engine.reference.exchange import ReferenceExchange

CHECKED_ACCOUNTS, CHECKED_TICKS = 60, 120  # what the rulebook can repeat in a second
CHECKED_MARKETS, CHECKED_FILLS = 10, 3
FALL = -0.35  # of the log price: 30 %

Say = Callable[[str], None]


def equal_to_rulebook(work: str, rows: np.ndarray, make: Callable[..., object]) -> None:
    """`make(make=..., check_index=...)` gives a small exchange of either implementation, which
    must answer the rows with the same events."""
    core, rulebook = make(check_index=True), make(make=ReferenceExchange)
    wanted = digest_of([apply_rows(rulebook, rows)])
    same(f"{work} against the rulebook", wanted, digest_of([core.submit(rows)]))


def check_falls(*depths: int) -> None:
    """A fall through books of these depths; 0: no book at all."""
    ticks = mark_ticks(CHECKED_TICKS, PRICE, FALL, kind=CommandKind.INDEX)
    for lots in depths:
        equal_to_rulebook(
            "ticks",
            ticks,
            lambda lots=lots, **how: populated_exchange(CHECKED_ACCOUNTS, depth_lots=lots, **how),
        )


def check_crossed() -> None:
    """Ticks over accounts with cross margin."""
    ticks = ticks_in_turn(CHECKED_TICKS, CHECKED_MARKETS)
    equal_to_rulebook(
        "ticks over cross accounts",
        ticks,
        lambda **how: crossed_exchange(CHECKED_ACCOUNTS, CHECKED_MARKETS, **how),
    )


def check_fills() -> None:
    """Ticks with fills, isolated and cross."""
    for markets in (1, CHECKED_MARKETS):
        ticks = ticks_in_turn(CHECKED_TICKS, markets)
        rows = with_fills(ticks, CHECKED_FILLS, CHECKED_ACCOUNTS, markets)
        equal_to_rulebook(
            "ticks with fills",
            rows,
            lambda markets=markets, **how: _crowd(CHECKED_ACCOUNTS, markets, trading=True, **how),
        )


def _crowd(accounts: int, markets: int, **how: object) -> Exchange:
    """Isolated accounts in one market, or cross accounts in several."""
    if markets == 1:
        return populated_exchange(accounts, **how)
    return crossed_exchange(accounts, markets, **how)


def _prices_hash(prices: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(prices).tobytes(), digest_size=8).hexdigest()


def _moves(ticks: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Which ticks move their market's mark; `before` is every mark, and is brought up to date."""
    moves = np.zeros(len(ticks), dtype=bool)
    for market_id in np.unique(ticks["market_id"]).tolist():
        own = np.flatnonzero(ticks["market_id"] == market_id)
        prices = ticks["price"][own]
        moves[own] = np.diff(prices, prepend=before[market_id]) != 0
        before[market_id] = prices[-1]
    return moves


def quiet_row(accounts: int, ticks: int, rounds: int, markets: int = 1) -> Row:
    """One mark tick that moves nothing but the mark."""
    kind = "tick-isolated" if markets == 1 else "tick-cross"
    crowd = f"{accounts:,} accounts"
    work = f"quiet mark tick, {crowd}" + (f", cross in {markets} markets" if markets > 1 else "")
    exchange, seconds = _crowd(accounts, markets), []
    rows = ticks_in_turn(ticks, markets)
    before, wanted = np.full(markets + 1, PRICE), ""
    for _ in range(rounds + 1):
        spent, parts = timed(lambda: exchange.stream(rows, in_place=True))
        seconds.append(spent)
        events = np.concatenate(parts)
        same(work, len(events), counted(events, EventKind.MARK_SET))
        # A price that is the mark already gives no event.
        wanted = _prices_hash(rows["price"][_moves(rows, before)])
        same(work, wanted, _prices_hash(events["price"]))
    return row(kind, work, seconds[1:], ticks, accounts, wanted, "ns")


def fills_row(accounts: int, ticks: int, fills: int, rounds: int, markets: int = 1) -> Row:
    """One mark tick and so many fills, each of which changes a position, its domain's health, and
    so the price at which that is to be liquidated."""
    kind = "isolated" if markets == 1 else "cross"
    work = f"tick with {fills} fills, {accounts:,} {kind} accounts"
    rows = with_fills(ticks_in_turn(ticks, markets), fills, accounts, markets)
    exchange = _crowd(accounts, markets, trading=True)
    first = exchange.block.memory.copy()
    _, parts = timed(lambda: exchange.stream(rows, in_place=True))
    events, wanted = np.concatenate(parts), digest_of(parts)
    trades = counted(events, EventKind.FILL) // 2
    same(f"{work}, fills", ticks * fills, trades)
    same(f"{work}, refused commands", 0, counted(events, EventKind.REJECTED))
    same(f"{work}, liquidations", 0, counted(events, EventKind.LIQUIDATION_STARTED))
    seconds = in_turn(work, exchange, first, rows, len(events), rounds)
    note = f"{fills} orders a tick, {trades / ticks:g} trades"
    return row(f"fills-{kind}", work, seconds, ticks, accounts, wanted[:16], "ns", note)


def quiet_rows(sizes: Sizes, say: Say) -> Iterator[Row]:
    """Quiet ticks over a growing number of accounts, isolated and then cross."""
    check_falls(0)
    for accounts in sizes.tick_accounts:
        say(f"measuring ticks over {accounts:,} accounts")
        yield quiet_row(accounts, sizes.ticks, sizes.rounds)
    check_crossed()
    for accounts in sizes.cross_accounts:
        say(f"measuring ticks over {accounts:,} cross accounts")
        yield quiet_row(accounts, sizes.ticks, sizes.rounds, sizes.cross_markets)


def fill_rows(sizes: Sizes, say: Say) -> Iterator[Row]:
    """Ticks with fills, isolated and cross."""
    check_fills()
    for markets in (1, sizes.cross_markets):
        say("measuring ticks with fills")
        work = (sizes.fill_accounts, sizes.fill_ticks, sizes.fills, sizes.rounds)
        yield fills_row(*work, markets)
