"""What holds after every command, whatever the commands: found by hypothesis, shrunk to a story.

Commands are drawn close to each other so that they meet: four accounts, prices from 60 to 140,
a mark that follows the book, fees, funding, two payoffs. The identity of money and the zero sum
of lots are checked by `Venue.send` after every one of them.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notation import Venue

from engine.constants import CommandKind as K
from engine.constants import Flag, OrderType, PositionSide, Side

PRICES = st.integers(60, 140)
ACCOUNTS = st.integers(16, 19)
LOTS = st.integers(1, 12)
SIDES = st.sampled_from([Side.BUY, Side.SELL])
RATES = st.sampled_from([0, 1, -1, 100_000, -300_000, 20_000_000])
ORDERS = st.fixed_dictionaries(
    {
        "kind": st.just(K.NEW_ORDER),
        "account_id": ACCOUNTS,
        "side": SIDES,
        "lots": LOTS,
        "price": PRICES,
        "order_type": st.sampled_from([OrderType.LIMIT, OrderType.LIMIT, OrderType.MARKET]),
        "time_in_force": st.integers(1, 3),
        "flags": st.sampled_from([0, 0, Flag.REDUCE_ONLY]),
        "self_trade": st.integers(0, 3),
    }
)
STOPS = st.fixed_dictionaries(
    {
        "kind": st.just(K.NEW_ORDER),
        "account_id": ACCOUNTS,
        "side": SIDES,
        "lots": LOTS,
        "order_type": st.just(OrderType.STOP_MARKET),
        "time_in_force": st.just(1),
        "trigger_price": PRICES,
        "trigger_kind": st.integers(1, 3),
    }
)
OTHERS = st.one_of(
    st.fixed_dictionaries({"kind": st.sampled_from([K.INDEX, K.TRADE]), "price": PRICES}),
    st.fixed_dictionaries({"kind": st.just(K.FUNDING), "amount": RATES}),
    st.fixed_dictionaries(
        {"kind": st.just(K.DEPTH), "side": SIDES, "price": PRICES, "lots": st.integers(0, 30)}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just(K.SEED_POSITION),
            "account_id": ACCOUNTS,
            "lots": st.integers(-12, 12),
            "price": PRICES,
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from([K.DEPOSIT, K.WITHDRAW]),
            "account_id": st.one_of(ACCOUNTS, st.just(1)),
            "amount": st.integers(1, 30_000),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just(K.SET_MARGIN_MODE),
            "account_id": ACCOUNTS,
            "flags": st.sampled_from([0, Flag.ISOLATED]),
        }
    ),
    st.fixed_dictionaries({"kind": st.just(K.CANCEL_ALL), "account_id": ACCOUNTS}),
)
STORIES = st.lists(st.one_of(ORDERS, ORDERS, STOPS, OTHERS), min_size=5, max_size=40)
QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def opened(implementation: str, payoff: str, shift: int = 0) -> Venue:
    """Four accounts with 80.00 each (inverse: the same number of units) and a fund with 50.00;
    `shift` moves the accounts' ids."""
    venue = Venue(implementation)
    if payoff == "inverse":
        venue.given("inverse")
        venue.raw["settlement"]["decimals"] = 2
        venue.raw["markets"][0] |= {"price_min": "50", "lot": "1000"}
    venue.raw["mark"] |= {"source": "median", "basis_samples": 2, "basis_interval_ns": 1}
    venue.raw["markets"][0] |= {
        "taker_fee_ppm": 500,
        "maker_fee_ppm": -100,
        "liquidation_fee_ppm": 7_000,
    }
    venue.start()
    venue.send(kind=K.INDEX, market_id=1, price=100)
    venue.send(kind=K.DEPOSIT, account_id=1, amount=5_000)
    for account_id in range(16 + shift, 20 + shift):
        venue.send(kind=K.OPEN_ACCOUNT, account_id=account_id)
        venue.send(kind=K.DEPOSIT, account_id=account_id, amount=8_000)
    return venue


def tell(venue: Venue, story: list[dict], after=lambda venue: None) -> None:
    """Send a story; orders are numbered as they come, prices of no use are dropped."""
    for values in story:
        values = {"market_id": 1, **values}
        if values["kind"] == K.NEW_ORDER:
            venue.orders_count += 1
            values["order_id"] = venue.orders_count
            if values["order_type"] != OrderType.LIMIT:
                values["price"] = 0
        if values["kind"] == K.CANCEL_ALL:
            values["market_id"] = 0
        venue.now_ns += 10**9
        venue.send(**values)
        venue.refused = False
        after(venue)


def check_rest(venue: Venue) -> None:
    """A settled state: no crossed book, nobody without a position in debt, nobody in breach."""
    bids = [row[4] for row in venue.table("orders") if row[3] == Side.BUY]
    asks = [row[4] for row in venue.table("orders") if row[3] == Side.SELL]
    assert not bids or not asks or max(bids) < min(asks), "the book is crossed"
    positions = venue.table("positions")
    for account_id, wallet, *_ in venue.table("accounts"):
        mine = [row for row in positions if row[0] == account_id]
        held = any(row[3] for row in mine if not row[6])
        assert account_id < 16 or held or wallet >= 0, "in debt without a position"
        for row in mine:
            assert row[3] or not row[6] or row[5] == 0, "margin behind no position"
    for row in venue.table("orders"):
        assert row[5] > 0, "an order without lots rests"
    longs = sum(row[3] for row in positions if row[3] > 0)
    assert venue.market_row()[5] == longs, "open interest is not the sum of the longs"
    check_reduce_only(venue, positions)


def check_reduce_only(venue: Venue, positions: list[tuple[int, ...]]) -> None:
    """R28. Resting reduce-only orders close, and no more than there is."""
    held = {(row[0], row[2]): row[3] for row in positions}
    resting: dict[tuple[int, int], int] = {}
    for row in venue.table("orders"):
        if row[6] & Flag.REDUCE_ONLY:
            key = (row[1], row[7])
            lots = row[5] if row[3] == Side.SELL else -row[5]
            assert lots * held[key] > 0, "a reduce-only order would open"
            resting[key] = resting.get(key, 0) + lots
    for key, lots in resting.items():
        assert abs(lots) <= abs(held[key]), "reduce-only orders for more than the position"


@pytest.mark.parametrize("payoff", ["linear", "inverse"])
@QUICK
@given(story=STORIES)
def test_a_settled_state_is_sound(payoff: str, story: list[dict]):
    """R28, R86, R90. On the core, whose trigger index is compared with a full scan on the way."""
    tell(opened("core", payoff), story, check_rest)


@pytest.mark.parametrize("payoff", ["linear", "inverse"])
@QUICK
@given(story=STORIES)
def test_both_implementations_tell_the_same_story(payoff: str, story: list[dict]):
    """R01. Drawn by hypothesis, so a difference is shrunk to a few commands."""
    core, rulebook = opened("core", payoff), opened("rulebook", payoff)
    for values in story:
        tell(core, [values])
        tell(rulebook, [values])
        assert core.events.tobytes() == rulebook.events.tobytes()
    for name in ("accounts", "positions", "orders", "stops", "markets", "totals"):
        assert core.table(name) == rulebook.table(name)


@QUICK
@given(story=STORIES, place=st.integers(0, 39))
def test_a_refused_command_leaves_no_trace(story: list[dict], place: int):
    """R02. The same story with a wrong command in it: only the command number differs."""
    plain, disturbed = opened("core", "linear"), opened("core", "linear")
    tell(plain, story)
    tell(disturbed, story[:place])
    disturbed.send(kind=99)
    assert disturbed.refused
    disturbed.refused = False
    tell(disturbed, story[place:])
    for name in ("accounts", "positions", "orders", "stops", "markets"):
        assert plain.table(name) == disturbed.table(name)


@QUICK
@given(story=STORIES, shift=st.integers(1, 10**15))
def test_other_account_ids_in_the_same_order_change_nothing(story: list[dict], shift: int):
    """Rules know accounts by their order of opening, never by their ids."""
    first, second = opened("core", "linear"), opened("core", "linear", shift)
    tell(first, story)
    moved = [
        {**values, "account_id": values["account_id"] + shift}
        if values.get("account_id", 0) >= 16
        else values
        for values in story
    ]
    tell(second, moved)
    for name in ("orders", "stops", "markets", "totals"):
        strip = slice(2, None) if name in ("orders", "stops") else slice(0, None)
        assert [r[strip] for r in first.table(name)] == [r[strip] for r in second.table(name)]
    assert [r[1:] for r in first.table("accounts")] == [r[1:] for r in second.table("accounts")]
    assert [r[1:] for r in first.table("positions")] == [r[1:] for r in second.table("positions")]


def test_the_stories_do_something():
    """The strategies reach fills and liquidations, or the properties would prove nothing."""
    venue = opened("core", "linear")
    sides = {"kind": K.SEED_POSITION, "price": 100, "position_side": PositionSide.NET}
    tell(venue, [{**sides, "account_id": 16, "lots": 8}, {**sides, "account_id": 17, "lots": -8}])
    tell(venue, [{"kind": K.DEPTH, "side": Side.BUY, "price": 93, "lots": 9}])
    seen = []
    tell(venue, [{"kind": K.INDEX, "price": 93}], lambda told: seen.extend(told.names_of_events()))
    assert "FILL.LIQUIDATION" in seen
