"""The compiled core against the rulebook: one stream of random commands, every event compared.

A failure prints the seed, the command and the first differing row. The last test makes sure that
the streams reach everything there is to reach, on the core alone, which is quick.
"""

from collections import Counter
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from engine.constants import ORDERS_PER_ACCOUNT_MAX, CommandKind, OrderType, Side
from engine.digest import state_digest
from engine.fuzz import (
    Setup,
    batches,
    cascade_depth,
    compare,
    coverage,
    draw_setup,
    everything,
    run_differential,
)
from engine.rows import COMMAND
from engine.venue import Capacities

SEEDS, SEEDS_PER_TEST, COMMANDS = 300, 12, 600
NEVER_SEEN = {
    "CANCELLED REQUOTE": "the market maker's own quotes are announced by DEPTH_SET",
    "CANCELLED DEPTH": "the market maker's own quotes are announced by DEPTH_SET",
    "REJECTED TOO_MANY_ORDERS": "needs thousands of orders; see the test of that name",
}


@dataclass
class Sight:
    """What a number of streams showed."""

    seen: Counter[str] = field(default_factory=Counter)
    deepest: int = 0


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_same_events_and_same_state(first: int):
    """R01. Events row for row, then the tables of the state."""
    for seed in range(first, first + SEEDS_PER_TEST):
        outcome = run_differential(seed, COMMANDS)
        assert not outcome.difference, outcome.difference


def test_one_long_stream():
    """R01. Ten times as long, so that accounts fill, fall and are filled again."""
    for seed in (3, 7, 1_000_003):
        outcome = run_differential(seed, 6_000)
        assert not outcome.difference, outcome.difference


@pytest.fixture(scope="module")
def sight() -> Sight:
    """All seeds on the core alone."""
    found = Sight()
    for seed in range(SEEDS):
        setup = draw_setup(seed)
        exchange = setup.core(check_index=False)
        for part in batches(setup.commands(COMMANDS), 200):
            events = exchange.submit(np.array(part, dtype=COMMAND))
            found.seen.update(coverage(events))
            found.deepest = max(found.deepest, cascade_depth(events))
    return found


def test_everything_is_reached(sight: Sight):
    """Every event kind, refusal, cause, reason and end occurs; what cannot is listed with why."""
    assert everything() - set(sight.seen) == set(NEVER_SEEN)


def test_cascades_are_deep(sight: Sight):
    """More than ten liquidations in one command, each set off by the mark the last one made."""
    assert sight.deepest > 10


def order(order_id: int, price: int) -> tuple[int, ...]:
    row = np.zeros(1, COMMAND)
    row["kind"], row["account_id"], row["order_id"] = CommandKind.NEW_ORDER, 16, order_id
    row["market_id"], row["lots"], row["price"] = 1, 1, price
    row["side"], row["order_type"], row["time_in_force"] = Side.BUY, OrderType.LIMIT, 1
    return row[0].tolist()


def test_too_many_orders_of_one_account():
    """R07. The last order within the limit rests, the next is refused, one leaves, one fits."""
    drawn = draw_setup(4)
    numbers = drawn.fuzzer().numbers[0]
    setup = msgspec.structs.replace(
        drawn,
        capacities=Capacities(accounts_max=10, positions_max=10, orders_max=2**13),
        curves={},
        batch=1_000,
    )
    opening = setup.fuzzer().opening()
    price = opening[0][COMMAND.names.index("price")] // 2 // numbers.tick_price
    rows = [list(row) for row in opening]
    for row in rows:
        if row[COMMAND.names.index("kind")] == CommandKind.DEPOSIT:
            row[COMMAND.names.index("amount")] = 10**14
    rows += [order(place, price * numbers.tick_price) for place in range(1, 4_099)]
    cancel = np.zeros(1, COMMAND)
    cancel["kind"], cancel["account_id"], cancel["order_id"] = CommandKind.CANCEL, 16, 77
    rows += [cancel[0].tolist(), order(4_099, price * numbers.tick_price)]
    outcome = compare(setup, [tuple(row) for row in rows])
    assert not outcome.difference, outcome.difference
    assert outcome.seen["RESTED"] == ORDERS_PER_ACCOUNT_MAX + 1
    assert outcome.seen["REJECTED TOO_MANY_ORDERS"] == 2


def test_the_state_digest_covers_both_alike():
    """R91. Tables as arrays and as tuples give one digest, and another state another."""
    setup: Setup = draw_setup(5)
    rows = setup.commands(200)
    core, rulebook = setup.core(), setup.rulebook()
    core.submit(np.array(rows, dtype=COMMAND))
    rulebook.submit(rows)
    assert core.digest() == state_digest(rulebook.rows())
    core.submit(np.array(setup.fuzzer().opening()[:1], dtype=COMMAND))
    assert core.digest() != state_digest(rulebook.rows())
