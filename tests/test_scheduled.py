"""Named accounts and scheduled commands of a scenario: the commands they become, and refusals."""

from functools import partial

import numpy as np
import pytest

from engine.constants import CommandKind
from engine.exchange import Exchange
from engine.measures import MeasureError, Measures
from engine.scenario import (
    depth_curves,
    engine_capacities,
    load_scenario,
    market_commands,
    setup_commands,
)
from small_scenario import refusal, rows_of, write_small

STATED = """
[[accounts]]
name = "pair"
copies = 2
wallet = "5000"
[[accounts.positions]]
market = "BTCUSDT"
side = "short"
lots = 100
entry = "7900.5"
leverage = 5
margin = "200"

[[schedule]]
time = "2020-03-12T10:00:30Z"
every_seconds = 30
until = "2020-03-12T10:01:30Z"
command = "clock"

[[schedule]]
time = "2020-03-12T10:01:00Z"
command = "deposit"
account = "pair"
amount = "7.5"

[[schedule]]
time = "2020-03-12T10:01:40Z"
command = "sell"
account = "pair"
market = "BTCUSDT"
lots = 3

[population]"""


@pytest.fixture
def small(tmp_path):
    return partial(write_small, tmp_path, ("\n[population]", STATED))


def test_named_accounts_are_opened_after_the_population_and_seeded(small):
    loaded = load_scenario(small())
    rows = rows_of(setup_commands(loaded))
    mine = rows[rows["account_id"] >= 16 + 40]
    kinds = [CommandKind(kind).name for kind in mine["kind"].tolist()]
    assert kinds == [
        *("OPEN_ACCOUNT", "OPEN_ACCOUNT", "DEPOSIT", "DEPOSIT", "SET_MARGIN_MODE"),
        *("SET_MARGIN_MODE", "SET_LEVERAGE", "SET_LEVERAGE", "SEED_POSITION", "SEED_POSITION"),
    ]
    assert mine["account_id"].tolist() == [56, 57] * 5
    seed = mine[-1]
    assert (seed["lots"], seed["price"], seed["amount"]) == (-100, 790_050, 200 * 10**6)


def test_a_schedule_comes_after_the_prices_of_its_time(small):
    rows = rows_of(market_commands(load_scenario(small())))
    after = (rows["time_ns"] - rows["time_ns"][0]) // 10**9
    names = [CommandKind(kind).name for kind in rows["kind"].tolist()]
    assert list(zip(after.tolist(), names, strict=True)) == [
        (0, "INDEX"), (30, "INDEX"), (30, "CLOCK"), (60, "FUNDING"), (60, "INDEX"), (60, "CLOCK"),
        (60, "DEPOSIT"), (60, "DEPOSIT"), (90, "INDEX"), (90, "CLOCK"), (100, "INDEX"),
        (100, "NEW_ORDER"), (100, "NEW_ORDER"),
    ]  # fmt: skip
    orders = rows[rows["kind"] == CommandKind.NEW_ORDER]
    assert orders["order_id"].tolist() == [1, 2] and orders["account_id"].tolist() == [56, 57]


def test_the_exchange_accepts_them_and_measures_name_them(small):
    loaded = load_scenario(small())
    exchange = Exchange(
        loaded.profile, capacities=engine_capacities(loaded), curves=depth_curves(loaded)
    )
    measures = Measures(loaded.profile, loaded.stage.ids)
    for blocks in (setup_commands(loaded), market_commands(loaded)):
        events = exchange.submit(rows_of(blocks))
        assert not (events["kind"] == 1).any(), "nothing is rejected"
        measures.update(events)
    rows = exchange.rows()
    assert measures.value("count:leverage_set", None, rows) == 42
    assert measures.value("sum:withdrawn", None, rows) == 0
    lots = rows["positions"][np.isin(rows["positions"][:, 0], (56, 57)), 3].sum()
    assert measures.value("lots:pair", None, rows) == int(lots) < -199
    with pytest.raises(MeasureError, match="no measure 'wealth:pair'"):
        measures.value("wealth:pair", None, rows)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('command = "clock"', 'command = "clok"',
         "$.schedule[0].command: invalid enum value 'clok'"),
        ('amount = "7.5"', "", "$.schedule[1]: expected amount with deposit"),
        ('amount = "7.5"', 'amount = "7.5"\nlots = 1', "$.schedule[1]: expected no lots with"),
        ("every_seconds = 30\n", "", "$.schedule[0]: expected every_seconds and until together"),
        ('until = "2020-03-12T10:01:30Z"', 'until = "2020-03-11T10:01:30Z"',
         "$.schedule[0]: expected until at or after time"),
        ('account = "pair"\namount', 'account = "par"\namount',
         "$.schedule[1].account: expected one of fund, pair, got 'par'"),
        ('name = "pair"', 'name = "fund"', "$.accounts[0]: expected a name other than 'fund'"),
        ('entry = "7900.5"', 'entry = "7900.555"', "$.accounts[0].positions[0].entry: expected"),
        ('side = "short"', 'side = "flat"',
         "$.accounts[0].positions[0].side: invalid enum value 'flat'"),
        ('market = "BTCUSDT"\nside', 'market = "ETHUSDT"\nside',
         "$.accounts[0]: expected a market of BTCUSDT, got 'ETHUSDT'"),
        ("copies = 2", 'assets = [{ market = "BTCUSDT", lots = 1 }]',
         "$.accounts[0].assets[0].market: expected a collateral, got 'BTCUSDT'"),
        ("10:01:00Z\"\ncommand", "09:01:00Z\"\ncommand",
         "$.schedule[1].time: expected a time at or after the first price"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_file_and_field(small, before, after, message):
    path = small()
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    words = refusal(path)
    assert words.startswith("small.toml: ") and message in words and "\n" not in words
