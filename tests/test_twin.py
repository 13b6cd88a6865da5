"""The twin of 10 October 2025, and what deleveraging did as measured from events."""

import importlib.util
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from engine.constants import Cause, EventKind
from engine.measured_adl import DeleveragingMeasures
from engine.measures import Measures
from engine.rows import EVENT
from engine.scenario import load_scenario
from engine.staged import Fact
from engine.venue import load_venue

SCENARIOS = Path(__file__).parents[1] / "scenarios"
TWIN = SCENARIOS / "2025-10-10-hyperliquid-twin.toml"
VENUE = load_venue("binance_usdm")
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def made():
    found = importlib.util.spec_from_file_location("make_twin", SCENARIOS / "make_twin.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_file_is_what_its_maker_writes(made):
    scenario = load_scenario(TWIN).scenario
    assert TWIN.read_text() == made.text().replace("DIGEST", scenario.digest)


def test_the_made_up_coins_meet_the_published_totals(made):
    coins = made.coins()
    assert len(coins) == 162 and coins[-1] == ("BTC", 620_890_948, 2_443)
    assert abs(sum(usd for _, usd, _ in coins) - 2_103_111_431) < 100
    assert abs(sum(often for _, _, often in coins) - 34_983) < 100
    sizes = [usd for _, usd, _ in coins[9:-1]]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] < 31_422_285


def test_the_facts_of_the_twin_say_what_is_published():
    facts = {fact.measure: fact.expected for fact in load_scenario(TWIN).scenario.facts}
    assert facts["notional_adl"] == "2103111431"
    assert facts["adl_fills_count"] == "34983"
    assert facts["adl_accounts_count"] == "19337"
    assert facts["adl_markets"] == "162"
    assert facts["adl_gini"] == "0.9818"
    assert facts["adl_winners_percent"] == "99.4"
    assert facts["adl_partial_percent"] == "7.35"
    assert facts["adl_delay_seconds"] == "61.7045"
    assert facts["adl_disorder"] == facts["adl_across_markets"] == "0"


def row(second, kind, account, other=0, market=1, lots=0, amount=0, reason=0, price=100):
    made = np.zeros(1, EVENT)
    made["time_ns"], made["kind"], made["account_id"] = second * SECOND, kind, account
    made["other_id"], made["market_id"], made["lots"] = other, market, lots
    made["amount"], made["reason"], made["price"] = amount, reason, price
    return made


def started(second, account):
    return row(second, EventKind.LIQUIDATION_STARTED, account)


def filled(second, account, other, lots, reason, **more):
    return row(second, EventKind.FILL, account, other, lots=lots, reason=reason, **more)


def adl(second, loser, winner, lots, amount, **more):
    """`lots` are those the winner gets back."""
    return np.concatenate([
        filled(second, loser, winner, -lots, Cause.ADL, **more),
        filled(second, winner, loser, lots, Cause.ADL, amount=amount, **more),
    ])  # fmt: skip


STORY = [
    *(filled(0, account, 4, -10, Cause.SEED) for account in (21, 22, 23)),
    *(filled(0, account, 4, 20, Cause.SEED) for account in (30, 31)),
    started(5, 30),
    filled(5, 30, 99, -5, Cause.LIQUIDATION),
    adl(7, 30, 21, 10, 50),
    adl(7, 30, 22, 5, -1),
    started(9, 31),
    adl(9, 31, 22, 5, 4),
    adl(9, 31, 23, 10, 7),
]


def measured(story, name):
    measures = DeleveragingMeasures(VENUE)
    for part in story:
        measures.update(part)
    return measures.value(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("adl_winners_percent", "75"),
        ("adl_partial_percent", "25"),
        ("adl_delay_seconds", "2"),
        ("adl_markets", "1"),
        ("adl_losers", "2"),
        ("adl_instants", "2"),
        ("adl_disorder", "0"),
        ("adl_across_markets", "0"),
        ("adl_gini", "0"),
    ],
)
def test_a_story_told_in_events_is_measured(name, value):
    assert measured(STORY, name) == Decimal(value)


def test_disorder_and_strangers_are_counted():
    late = [*STORY, filled(9, 31, 99, -1, Cause.TRANSFER)]
    assert measured(late, "adl_disorder") == 1
    assert measured([*STORY, adl(9, 77, 23, 1, 1)], "adl_across_markets") == 1
    assert measured([*STORY, adl(11, 31, 23, 2, 1, market=2)], "adl_markets") == 2


def test_inequality_is_that_of_amounts_given():
    # 10, 30 and 60 lots at one price: G = (-2 * 10 + 0 * 30 + 2 * 60) / (3 * 100).
    story = [started(1, 30)]
    story += [adl(1, 30, account, lots, 1) for account, lots in ((21, 30), (22, 60), (23, 10))]
    assert measured(story, "adl_gini") == Decimal("0.3333")


def test_deleveraging_is_followed_only_where_a_fact_asks():
    fact = Fact(what="x", source="y", measure="adl_gini", expected="0")
    assert Measures(VENUE, {}, [fact])._adl is not None
    assert Measures(VENUE, {})._adl is None
