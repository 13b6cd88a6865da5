"""The index of deleveraging against a full ranking: the same accounts, in the same order.

With `check_index` every account that the index names is held against the order of a scan of the
whole side; and the events are those of the rulebook, which ranks everybody each time. Crowds mix
isolated and cross accounts of one leg and of two, winners and losers, both sides, equal ranks.
"""

import msgspec
import numpy as np
import pytest

from engine.bench.work import apply_rows
from engine.constants import Cause, CommandKind, EventKind, Flag
from engine.exchange import Exchange, command
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND
from engine.venue import Capacities, VenueProfile, load_venue, validate

SCORES = (
    "wallet_pct_margin_ratio",
    "profit_times_leverage",
    "return_times_leverage",
    "price_gain_times_leverage",
    "random",
    "none",
)
VENUES = {"binance_usdm": 800_000, "binance_coinm": 80_000}  # and the price of its first market
STEPS = (985, 960, 1_000, 1_030, 1_045, 990, 930, 1_010, 1_090, 950, 880, 1_000)  # thousandths


def venue(name: str, **losses: object) -> VenueProfile:
    """A shipped venue that deleverages whatever the book leaves."""
    profile = load_venue(name)
    plain = {"waterfall": ["adl", "fund_unlimited"], **losses}
    changed = msgspec.structs.replace(profile.losses, **plain)
    return validate(msgspec.structs.replace(profile, losses=changed))


def seeded(account: int, market: int, lots: int, price: int, margin: int) -> np.ndarray:
    """A position from before; isolated where it has a margin of its own."""
    more = {"flags": Flag.ISOLATED, "amount": margin} if margin else {}
    return command("SEED_POSITION", account_id=account, market_id=market, lots=lots, price=price,
                   **more)  # fmt: skip


def crowd(profile: VenueProfile, seed: int, size: int, price: int, spread: float) -> np.ndarray:
    """Accounts with positions worth about the same, entered within `spread` of the price."""
    rng = np.random.default_rng(seed)
    linear = profile.markets[0].payoff == "linear"
    value = 8_000_000 if linear else 100 * 10**8 // (price // 10)  # of a lot, in money
    rows = [command("INDEX", market_id=m, price=price) for m in (1, 2)]
    for number in range(size):
        account, side = 100 + number, -1 if number % 2 else 1
        lots = side * int(rng.choice([1, 2, 2, 5, 40]))
        entry = int(price * (1 + spread * (rng.random() - 0.5) * 2)) // 100 * 100
        share = float(rng.choice([0.02, 0.05, 0.05, 0.3, 2.0])) + spread
        margin = int(abs(lots) * value * share)
        rows.append(command("OPEN_ACCOUNT", account_id=account))
        rows.append(command("DEPOSIT", account_id=account, amount=2 * margin))
        rows.append(seeded(account, 1, lots, entry, margin if rng.random() < 0.5 else 0))
        if rng.random() < 0.2:
            rows.append(seeded(account, 2, -lots, price, 0))
    return np.concatenate(rows)


def falls_and_rises(price: int) -> np.ndarray:
    rows = np.zeros(len(STEPS), COMMAND)
    rows["kind"], rows["market_id"] = CommandKind.MARK, 1
    rows["price"] = [price * step // 1_000 // 10 * 10 for step in STEPS]
    return rows


def deleveraged(events: np.ndarray) -> int:
    return int(((events["kind"] == EventKind.FILL) & (events["reason"] == Cause.ADL)).sum()) // 2


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", VENUES)
@pytest.mark.parametrize("spread", [0.05, 0.0005], ids=["spread", "clustered"])
def test_the_index_gives_the_order_of_a_scan(name: str, score: str, spread: float):
    """R82, R83, R84."""
    found = 0
    for seed, candidates in enumerate(("opposite", "winners", "opposite")):
        profile = venue(name, adl_score=score, adl_candidates=candidates)
        price = VENUES[name]
        room = {"capacities": Capacities(accounts_max=200, positions_max=400, orders_max=16)}
        core = Exchange(profile, **room, feedback_ppm=0, check_index=True)
        rulebook = ReferenceExchange(profile, **room, feedback_ppm=0)
        rows = crowd(profile, seed, 120, price, spread)
        assert core.submit(rows).tolist() == apply_rows(rulebook, rows).tolist()
        for tick in falls_and_rises(price):
            events = core.submit(tick)
            assert events.tolist() == apply_rows(rulebook, np.atleast_1d(tick)).tolist()
            found += deleveraged(events)
    assert found > 20


def moved(rng: np.random.Generator, size: int, price: int) -> np.ndarray:
    """Money and lots that take legs of the crowd to other cells, and some to the other side."""
    rows = []
    for account in 100 + rng.choice(size, 25, replace=False):
        amount = int(10 ** rng.uniform(4, 8))
        what = rng.integers(5)
        if what == 0:
            rows.append(command("DEPOSIT", account_id=account, amount=amount))
        elif what == 1:
            rows.append(command("WITHDRAW", account_id=account, amount=amount))
        elif what == 2:
            more = int(rng.choice([-1, 1])) * amount
            rows.append(command("MOVE_MARGIN", account_id=account, market_id=1, amount=more))
        else:
            lots = int(rng.choice([-60, -3, -1, 1, 3, 60]))
            entry = int(price * rng.uniform(0.7, 1.3)) // 100 * 100
            rows.append(seeded(account, 1, lots, entry, amount if rng.random() < 0.5 else 0))
    return np.concatenate(rows)


@pytest.mark.parametrize("score", SCORES[:4])
@pytest.mark.parametrize("name", VENUES)
def test_the_index_follows_those_who_move(name: str, score: str):
    """R83. Between two marks legs grow, turn, gain and lose money: cells fill and empty."""
    found = 0
    for seed in range(3):
        profile = venue(name, adl_score=score)
        price, rng = VENUES[name], np.random.default_rng(100 + seed)
        room = {"capacities": Capacities(accounts_max=200, positions_max=400, orders_max=16)}
        core = Exchange(profile, **room, feedback_ppm=0, check_index=True)
        rulebook = ReferenceExchange(profile, **room, feedback_ppm=0)
        rows = [crowd(profile, 50 + seed, 120, price, 0.05)]
        for tick in falls_and_rises(price):
            rows += [np.atleast_1d(tick), moved(rng, 120, int(tick["price"]))]
        for part in rows:
            events = core.submit(part)
            assert events.tolist() == apply_rows(rulebook, part).tolist()
            found += deleveraged(events)
    assert found > 20


def test_few_are_scored_of_many():
    """R83. Of 4,000 shorts fewer than 200 are scored for the first of them."""
    profile = venue("binance_usdm")
    price = VENUES["binance_usdm"]
    capacities = Capacities(accounts_max=5_000, positions_max=5_000, orders_max=16)
    core = Exchange(profile, capacities=capacities, feedback_ppm=0)
    rng = np.random.default_rng(7)
    rows = [command("INDEX", market_id=1, price=price)]
    for number in range(4_004):
        account, bankrupt = 100 + number, number >= 4_000
        entry = price if bankrupt else int(price * (1.1 + 0.5 * rng.random()))
        lots = 10 if bankrupt else -10
        margin = int(entry * (20 + 80 * rng.random()))
        if bankrupt:
            margin = 800_000 * (1 + number - 4_000) + 200_000
        rows.append(command("OPEN_ACCOUNT", account_id=account))
        rows.append(command("DEPOSIT", account_id=account, amount=margin))
        rows.append(seeded(account, 1, lots, entry, margin))
    core.submit(np.concatenate(rows))
    fall = [command("MARK", market_id=1, price=price * (100 - n) // 100) for n in (1, 2, 3, 4)]
    assert deleveraged(core.submit(fall[0])) == 1  # builds the index
    before = core.block.table("ADL_GRIDS")["work_left"].copy()
    assert sum(deleveraged(core.submit(row)) for row in fall[1:]) == 3
    work = before - core.block.table("ADL_GRIDS")["work_left"]
    assert 3 <= work.max() < 60, work.max()
