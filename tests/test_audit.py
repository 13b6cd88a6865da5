"""The auditor accepts a consistent run and names the invariant that a damaged one breaks."""

import msgspec
import numpy as np
import pytest

from engine import constants as c
from engine.audit import INVARIANTS, Audit, AuditResult
from engine.digest import EventDigest, state_digest
from engine.rows import EVENT
from engine.vectors import WholeCommands, position_values
from engine.venue import MarketNumbers, load_venue, market_numbers
from event_story import FUND, MAKER, K, Story, crash


def linear_markets() -> list[MarketNumbers]:
    profile = load_venue("binance_usdm")
    return [market_numbers(profile, market) for market in profile.markets]


def inverse_market() -> MarketNumbers:
    coin = {"payoff": c.Payoff.INVERSE, "unit_quote": 0, "face_quote": 10**13}
    return msgspec.structs.replace(linear_markets()[0], **coin, price_max=10**6, tick_price=1)


def audited(markets, events: np.ndarray, rows, batch: int = 10_000) -> AuditResult:
    audit = Audit(markets)
    for start in range(0, len(events), batch):
        audit.update(events[start : start + batch])
    return audit.finish(rows)


def broken(result: AuditResult) -> set[str]:
    return {check.id for check in result.checks if not check.ok}


@pytest.fixture(scope="module")
def story() -> Story:
    return crash(linear_markets(), accounts=120, minutes=900)


@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_a_consistent_run_passes_in_any_batches(story, batch):
    events = story.array()[: 1_500 if batch == 1 else None]
    if batch == 1:
        story = crash(linear_markets(), accounts=10, minutes=60)
        events = story.array()
    result = audited(story.markets, events, story.rows(), batch)
    assert broken(result) == set(), [k for k in result.checks if not k.ok]
    assert result.ok
    assert result.identity_difference == 0
    assert result.events == len(events)
    assert [check.id for check in result.checks] == sorted(INVARIANTS)


def test_the_sums_are_the_story(story):
    result = audited(story.markets, story.array(), story.rows())
    assert result.fund_quote == story.wallets[FUND]
    assert result.fees_quote == story.wallets[2]
    assert result.rounding_quote == story.wallets[3] == 1
    longs = sum(p[0] for p in story.positions.values() if p[0] > 0)
    assert result.open_interest_lots[0] == longs


def test_orders_isolated_margin_and_flips():
    story = Story(linear_markets())
    story.open(16, 10**12)
    story.open(17, 10**12)
    story.command()
    story.rest(1, 17, c.Side.SELL, 800_000, 10)
    story.emit(K.MARGIN_MOVED, account_id=16, market_id=1, amount=5_000_000)
    story.wallets[16] -= 5_000_000
    story.positions[16, 1, 0] = [0, 0, 5_000_000]
    story.command()
    story.fill(c.Cause.TRADE, 16, 17, 4, 800_000, maker_order=1, fees=(900, -300),
               isolated=(True, False))  # fmt: skip
    story.command()
    story.rest(2, 17, c.Side.BUY, 790_000, 9)
    story.fill(c.Cause.TRADE, 16, 17, -7, 790_000, maker_order=2, isolated=(True, False))
    story.command()
    story.emit(K.AMENDED, order_id=2, account_id=17, market_id=1, side=1, price=790_000, lots=1)
    story.orders[2] = (2, 17, 1, 1, 790_000, 1)
    story.emit(K.CANCELLED, order_id=1, account_id=17, market_id=1, side=2, price=800_000, lots=6)
    del story.orders[1]
    assert broken(audited(story.markets, story.array(), story.rows())) == set()
    rows = story.rows()
    rows["orders"][0] = (2, 17, 1, 1, 790_000, 2, 0)
    assert broken(audited(story.markets, story.array(), rows)) == {"A15"}


def test_inverse_positions_round_once_and_cancel():
    story = Story([inverse_market()])
    story.open(16, 10**12)
    story.open(17, 10**12)
    for price, lots in ((9_777, 301), (9_781, -100), (7_001, -400), (7_003, 77)):
        story.command()
        story.depth(c.Side.SELL if lots > 0 else c.Side.BUY, price, abs(lots))
        order = story.depth(c.Side.SELL if lots > 0 else c.Side.BUY, price, abs(lots))
        story.fill(c.Cause.TRADE, 16, MAKER, lots, price, maker_order=order)
    assert broken(audited(story.markets, story.array(), story.rows())) == set()


DAMAGE = {
    "A01": lambda e: e["seq"].__setitem__(slice(5, 6), 0),
    "A02": lambda e: e["time_ns"].__setitem__(-1, 0),
    "A03": lambda e: e["kind"].__setitem__(e["kind"] == K.INDEX_SET, 99),
    "A04": lambda e: e["lots"].__setitem__(np.flatnonzero(e["kind"] == K.FILL)[0], 3),
    "A05": lambda e: e["price"].__setitem__(e["kind"] == K.FILL, 0),
    "A06": lambda e: e["amount"].__setitem__(np.flatnonzero(e["kind"] == K.FILL)[-1], 12345),
    "A07": lambda e: e["amount"].__setitem__(e["kind"] == K.FUNDING_SETTLED, 2),
    "A08": lambda e: e["kind"].__setitem__(e["kind"] == K.SURPLUS, K.BAD_DEBT),
    "A09": lambda e: e["kind"].__setitem__(e["kind"] == K.LIQUIDATION_ENDED, K.CANCELLED),
    "A10": lambda e: e["lots"].__setitem__(e["kind"] == K.DEPTH_SET, 1),
    "A11": lambda e: e["amount"].__setitem__(e["kind"] == K.DEPOSITED, 1),
    "A16": lambda e: e["price"].__setitem__(e["kind"] == K.MARK_SET, 4),
}


@pytest.mark.parametrize("invariant", sorted(DAMAGE))
def test_damaged_events_break_their_invariant(story, invariant):
    events = story.array()
    DAMAGE[invariant](events)
    result = audited(story.markets, events, story.rows())
    assert invariant in broken(result)
    assert next(k for k in result.checks if k.id == invariant).difference


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("accounts", 1, {"A11", "A13"}),
        ("positions", 3, {"A12", "A14"}),
        ("positions", 4, {"A11", "A14"}),
        ("positions", 5, {"A11", "A14"}),
        ("orders", 5, {"A15"}),
        ("markets", 3, {"A16"}),
    ],
)
def test_one_unit_in_the_state_is_found(story, table, column, expected):
    rows = {name: list(table) for name, table in story.rows().items()}
    if table == "orders":
        rows["orders"] = [(5, 16, 1, 1, 100, 1, 0)]
    else:
        row = list(rows[table][0])
        row[column] += 1
        rows[table][0] = tuple(row)
    assert broken(audited(story.markets, story.array(), rows)) == expected


def test_accounts_without_opening_and_lost_accounts(story):
    rows = story.rows()
    extra = {**rows, "accounts": [*rows["accounts"], (10**6, 0, 0)]}
    assert broken(audited(story.markets, story.array(), extra)) == {"A13"}
    lost = {**rows, "accounts": [r for r in rows["accounts"] if r[0] != 16]}
    assert "A13" in broken(audited(story.markets, story.array(), lost))


def test_whole_commands_cut_the_same_whatever_the_batches():
    events = np.zeros(400, EVENT)
    events["seq"] = np.repeat(np.arange(1, 41), 10)
    events["seq"][100:260] = 11
    events["seq"][260:] += 100

    def cuts(batch: int) -> list[int]:
        pieces = WholeCommands(48)
        sizes = []
        for start in range(0, 400, batch):
            sizes += [len(p) for p in pieces.push(events[start : start + batch])]
        return [*sizes, len(pieces.rest())]

    assert cuts(1) == cuts(7) == cuts(400)
    assert sum(cuts(7)) == 400
    assert 160 in cuts(7)


def test_values_are_exact_beyond_int64_products():
    market = inverse_market()
    lots = np.array([1, -1, 3, 10**6, 2**39], np.int64)
    prices = np.array([3, 3, 7, 999_999, 10**6], np.int64)
    expected = []
    for amount, price in zip(lots.tolist(), prices.tolist(), strict=True):
        whole, rest = divmod(-amount * market.face_quote, price)
        expected.append(whole + (2 * rest > price or (2 * rest == price and whole % 2)))
    assert position_values(market, lots, prices).tolist() == expected


def test_event_digest_depends_on_every_byte_and_not_on_batches(story):
    events = story.array()
    whole, split, other = EventDigest(), EventDigest(), EventDigest()
    whole.update(events)
    for start in range(0, len(events), 13):
        split.update(events[start : start + 13])
    events["fee"][-1] ^= 1
    other.update(events)
    assert whole.digest() == split.digest() != other.digest()
    with pytest.raises(TypeError):
        whole.update(np.zeros(3, np.int64))


def test_state_digest_frames_tables_and_refuses_what_is_not_an_integer(story):
    rows = story.rows()
    arrays = {k: np.array(v, np.int64) for k, v in rows.items() if v}
    assert state_digest(rows) == state_digest({**rows, **arrays})
    assert state_digest({"a": []}) != state_digest({"b": []})
    assert state_digest({"a": [(1,), (2,)]}) != state_digest({"a": [(1, 2)]})
    assert state_digest({"a": [(1, 2)]}) != state_digest({"a": [(2, 1)]})
    assert state_digest({"a": np.zeros((0, 4), np.int64)}) == state_digest({"a": []})
    with pytest.raises(TypeError):
        state_digest({"a": [(1.5,)]})
    with pytest.raises(TypeError):
        state_digest({"a": np.array([[1.5]])})
    with pytest.raises(OverflowError):
        state_digest({"a": [(2**63,)]})
    with pytest.raises(ValueError, match="2 columns"):
        state_digest({"a": [(1, 2), (3,)]})
