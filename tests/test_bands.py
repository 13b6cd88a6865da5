"""Where the nodes of positions hang: exactly at first, then they stay as long as they serve.

Money of the small venue is in cents, a lot at price 100 is worth 100.00. Alice is long 10 lots from
100 at a maintenance margin of 5 %, so with 200.00 she has 150.00 to lose, and is looked at at 85.
"""

import numpy as np
import pytest
from small_venues import LINEAR, build, raw_profile

from engine.constants import OrderType, Side, TimeInForce
from engine.core.ahead import MANY_ACCOUNTS
from engine.core.state import H
from engine.exchange import Exchange, command
from engine.rows import COMMAND
from engine.venue import Capacities

SMALL = build(raw_profile(LINEAR))
ALICE, BOB = 100, 101


def order(account_id: int, order_id: int, side: Side, lots: int, price: int = 100) -> np.ndarray:
    return command(
        "NEW_ORDER", account_id=account_id, order_id=order_id, market_id=1, side=side, lots=lots,
        price=price, order_type=OrderType.LIMIT, time_in_force=TimeInForce.GTC,
    )  # fmt: skip


def trading(side: Side = Side.BUY) -> Exchange:
    """Alice long 10 lots from Bob, who has more than enough, or short."""
    exchange = Exchange(SMALL, feedback_ppm=0, check_index=True)
    exchange.submit(command("MARK", market_id=1, price=100))
    for account_id, amount in ((ALICE, 20_000), (BOB, 10**7)):
        exchange.submit(command("OPEN_ACCOUNT", account_id=account_id))
        exchange.submit(command("DEPOSIT", account_id=account_id, amount=amount))
    other = Side.SELL if side == Side.BUY else Side.BUY
    exchange.submit(order(BOB, 1, other, 10))
    exchange.submit(order(ALICE, 2, side, 10))
    return exchange


def node(exchange: Exchange, account_id: int = ALICE) -> tuple[int, int]:
    """Prices at which a leg is looked at: as the mark falls, as it rises; 0 for nowhere."""
    ids = exchange.block.table("ACCOUNTS")["account_id"]
    positions = exchange.block.table("POSITIONS")
    row = int(np.flatnonzero(ids[positions["account_row"]] == account_id)[-1])
    triggers = exchange.block.table("NODES")["trigger"]
    both = [int(triggers[row]), int(triggers[len(positions) + row])]
    return max(0, *both), max(0, *(-trigger for trigger in both))


def test_a_node_hangs_exactly_at_first():
    assert node(trading()) == (85, 0)


@pytest.mark.parametrize(
    ("kind", "amount", "price"),
    [
        ("DEPOSIT", 1_000, 85),  # 160.00 to lose: 84 would do
        ("DEPOSIT", 15_000, 85),  # 300.00 are twice as many
        ("DEPOSIT", 16_001, 69),  # more than twice as far: exactly, 68.999 rounded up
        ("WITHDRAW", 1, 87),  # less than it hangs for: 86, nearer by an eighth of 14
        ("WITHDRAW", 3_000, 89),  # 88, nearer by an eighth of 12
    ],
)  # fmt: skip
def test_a_node_stays_as_long_as_it_serves(kind: str, amount: int, price: int):
    exchange = trading()
    exchange.submit(command(kind, account_id=ALICE, amount=amount))
    assert node(exchange) == (price, 0)


@pytest.mark.parametrize(
    ("amount", "price"),
    [
        (0, 113),  # at 10 % above 1000.00 she loses 1.10 a price unit and lot: 13.6 of them
        (600, 113),  # 144.00 to lose; until 113 it is 143.00, and 0.16 for what is rounded
        (700, 111),  # 143.00: 112, nearer by an eighth of 12
    ],
)
def test_the_reach_of_a_short_holds_its_requirement(amount: int, price: int):
    exchange = trading(Side.SELL)
    exchange.submit(command("WITHDRAW", account_id=ALICE, amount=amount))
    assert node(exchange) == (0, price)


def test_a_leg_that_turned_hangs_on_the_other_side():
    exchange = trading()
    exchange.submit(order(BOB, 3, Side.BUY, 20))
    exchange.submit(order(ALICE, 4, Side.SELL, 20))
    falling, rising = node(exchange)
    assert falling == 0
    assert 100 < rising <= 115


def test_a_flat_leg_hangs_nowhere():
    exchange = trading()
    exchange.submit(order(BOB, 3, Side.BUY, 10))
    exchange.submit(order(ALICE, 4, Side.SELL, 10))
    assert node(exchange) == (0, 0)


def test_asking_ahead_changes_nothing():
    """With many accounts memory is asked for ahead within a batch, one by one it is not."""
    count = MANY_ACCOUNTS
    rows = np.zeros(3 * count, dtype=COMMAND)
    rows[:count]["kind"] = command("OPEN_ACCOUNT")["kind"]
    rows[:count]["account_id"] = 100 + np.arange(count)
    rows[count : 2 * count] = command("DEPOSIT", amount=100_000)
    rows[count : 2 * count]["account_id"] = 100 + np.arange(count)
    turns = np.arange(count)
    rows[2 * count :] = order(0, 0, Side.BUY, 1)
    rows[2 * count :]["side"] = np.where(turns % 2 == 0, Side.SELL, Side.BUY)
    rows[2 * count :]["order_id"] = 1 + turns
    rows[2 * count :]["account_id"] = 100 + turns * 7_919 % count
    room = Capacities(accounts_max=count, positions_max=count, orders_max=100)
    together, apart = (Exchange(SMALL, capacities=room, feedback_ppm=0) for _ in range(2))
    events = []
    for exchange, size in ((together, len(rows)), (apart, 1)):
        exchange.submit(command("MARK", market_id=1, price=100))
        parts = [exchange.submit(rows[at : at + size]) for at in range(0, len(rows), size)]
        events.append(np.concatenate([part.view(np.uint8) for part in parts]))
    assert together.block.words[H.ACCOUNTS_COUNT] >= MANY_ACCOUNTS
    assert (events[0] == events[1]).all()
    assert together.digest() == apart.digest()
