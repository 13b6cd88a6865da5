"""Rows of deleveraging: one bankrupt, a side of a million positions, no book and no fund.

Timed is the one tick that sets off the liquidation: mark, examination, refusals, ranking, closing;
one call into the core, with the clock around it.
Every round has a bankrupt of its own, whose margin ends a hundredth lower than the one's before.
"""

from collections.abc import Callable, Iterator

import numpy as np

from engine.bench.crowds import fill_up
from engine.bench.results import Row
from engine.bench.rounds import called, counted, digest_of, row, same
from engine.bench.tick_rows import equal_to_rulebook
from engine.bench.work import FIRST_ID, PRICE, Sizes, apply_rows, load_sizes
from engine.constants import Cause, CommandKind, EventKind, Flag
from engine.exchange import Exchange, command
from engine.rows import COMMAND
from engine.venue import Capacities, load_venue

LOTS = 10  # of each of those who may be deleveraged
STEP_PPM = 10_000  # of price, between one bankrupt and the next
LEFT_PPM = 2_000  # of the value, that is left of the margin: below any maintenance margin
CHECKED_ACCOUNTS = 150

Say = Callable[[str], None]


def crowd(accounts: int, rounds: int, closed: int, clustered: bool) -> Iterator[np.ndarray]:
    """Shorts in profit, LOTS each, and `rounds` longs that `closed` shorts can close.

    Their entries and margins are spread, or, clustered, within a hundredth of a percent.
    """
    rng = np.random.default_rng(5)
    spread = (1e-4, 1e-4) if clustered else (0.5, 1.0)
    entry = (PRICE * (1.1 + spread[0] * rng.random(accounts))).astype(np.int64)
    margin = (LOTS * entry * 2 * (1 + 4 * spread[1] * rng.random(accounts))).astype(np.int64)
    lots = np.full(accounts, -LOTS)
    steps = np.arange(1, rounds + 1)
    value = LOTS * closed * PRICE * 10
    lots = np.append(lots, np.full(rounds, LOTS * closed))
    entry = np.append(entry, np.full(rounds, PRICE))
    margin = np.append(margin, value // 1_000_000 * (LEFT_PPM + STEP_PPM * steps))
    rows = np.zeros((len(lots), 3), dtype=COMMAND)
    rows["account_id"] = (FIRST_ID + np.arange(len(lots)))[:, None]
    rows["kind"] = [CommandKind.OPEN_ACCOUNT, CommandKind.DEPOSIT, CommandKind.SEED_POSITION]
    rows["amount"][:, 1] = margin
    seeds = rows[:, 2]
    seeds["market_id"], seeds["flags"] = 1, Flag.ISOLATED
    seeds["lots"], seeds["price"], seeds["amount"] = lots, entry, margin
    yield rows.reshape(-1)


def crowded(
    accounts: int, rounds: int, closed: int, clustered: bool, make: type = Exchange, **how: bool
) -> Exchange:
    """An exchange of either implementation with such a crowd, marked at PRICE."""
    room = accounts + rounds
    exchange = make(
        load_venue(load_sizes().venue),
        capacities=Capacities(accounts_max=room, positions_max=room, orders_max=16),
        feedback_ppm=0,
        **how,
    )
    apply_rows(exchange, command("INDEX", market_id=1, price=PRICE))
    fill_up(exchange, crowd(accounts, rounds, closed, clustered))
    return exchange


def falls(rounds: int) -> np.ndarray:
    """Marks of which each leaves one more of the longs nearly without margin."""
    rows = np.zeros(rounds, dtype=COMMAND)
    rows["kind"], rows["market_id"] = CommandKind.MARK, 1
    rows["price"] = PRICE // 1_000_000 * (1_000_000 - STEP_PPM * np.arange(1, rounds + 1))
    return rows


def adl_row(
    key: str, work: str, accounts: int, rounds: int, closed: int, clustered: bool = False
) -> Row:
    """The tick that sets off one deleveraging of `closed` positions."""
    ticks = falls(rounds + 1)
    equal_to_rulebook(
        work,
        ticks,
        lambda **how: crowded(CHECKED_ACCOUNTS, len(ticks), closed // 10 + 1, clustered, **how),
    )
    exchange = crowded(accounts, len(ticks), closed, clustered)
    seconds, kept = [], []
    for spent, events in called(exchange, ticks):
        seconds.append(spent)
        closings = counted(events, EventKind.FILL, Cause.ADL) // 2
        same(f"{work}, positions closed", closed, closings)
        kept.append(events)
    result = digest_of(kept)[:16]
    title = f"{work}, {accounts:,} positions"
    return row(key, title, seconds[1:], 1, accounts, result, "ns")


def adl_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """The first, the first hundred, and a hundred of a side whose ranks lie close together."""
    say("measuring deleveraging")
    size = (sizes.adl_accounts, sizes.adl_rounds)
    yield adl_row("adl-first", "ADL of the first", *size, 1)
    yield adl_row("adl-hundred", "ADL of the first hundred", *size, 100)
    yield adl_row("adl-clustered", "ADL of a hundred, clustered", *size, 100, clustered=True)
