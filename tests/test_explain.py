"""Situations and explanations: what is read off the engine, carried over, told and refused."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from engine import across as carrying
from engine import explain as answers
from engine.across import across
from engine.cli import app
from engine.constants import EventKind
from engine.explain import explain
from engine.explain_text import comparison_lines, explanation_lines, wanted_marks
from engine.situation import (
    AccountState,
    LoadedSituation,
    MarketState,
    PositionState,
    Situation,
    SituationError,
    Stage,
    load_situation,
)
from engine.strict import ScenarioError
from engine.units import format_decimal
from engine.venue import load_venue

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "situations"
VENUE = "binance_usdm"
RUN = CliRunner()


@pytest.fixture(params=["rulebook", "core"])
def implementation(request) -> str:
    return request.param


def shipped(name: str) -> LoadedSituation:
    return load_situation(FOLDER / f"{name}.toml")


def made(position: PositionState, wallet: str = "5000", mark: str = "40000", **more) -> Situation:
    return Situation(
        venue=VENUE,
        markets={"BTCUSDT": MarketState(mark=mark)},
        accounts={"a": AccountState(wallet=wallet, positions=(position,), **more)},
    )


def long(**changes) -> PositionState:
    values = {"market": "BTCUSDT", "side": "long", "size": "1", "entry": "40000"}
    return PositionState(**(values | changes))


def only(loaded: LoadedSituation, account: str, implementation: str, **marks: str):
    return explain(loaded, account, marks or None, implementation)


# -- how it stands ----------------------------------------------------------------------------


def test_the_liquidation_price_is_where_the_engine_begins(implementation):
    loaded = shipped("one-long")
    answer = only(loaded, "alice", implementation)
    isolated = answer.accounts[0].domains[1].positions[0]
    assert isolated.liquidation_price == "36144.57"
    for price, expected in ((36_144_58, False), (36_144_57, True)):
        text = format_decimal(price, 2)
        found = only(loaded, "alice", implementation, BTCUSDT=text).move.outcomes[0]
        assert found.was_liquidated is expected


def test_a_short_is_liquidated_above_and_a_hedged_account_never(implementation):
    loaded = shipped("one-long")
    bob = only(loaded, "bob", implementation).accounts[0].domains[0].positions[0]
    assert Decimal(bob.liquidation_price) > 100_000
    both = (long(), long(side="short", entry="41000"))
    situation = msgspec.structs.replace(
        made(long()), accounts={"a": AccountState(wallet="5000", hedge=True, positions=both)}
    )
    profile = load_venue(VENUE)
    hedged = explain(LoadedSituation("x", situation, profile, ()), None, None, implementation)
    prices = [p.liquidation_price for p in hedged.accounts[0].domains[0].positions]
    assert prices[0] is None


def test_who_is_looked_at_is_left_alone_whatever_the_health(implementation):
    situation = made(long(), wallet="100", mark="30000")
    stage = Stage(load_venue(VENUE), situation, implementation=implementation, held="a")
    view = stage.views("a")[0]
    assert view.equity < 0 and view.positions[0].lots == 1_000
    assert not [e for e in stage.events if e.kind == EventKind.LIQUIDATION_STARTED]
    free = Stage(load_venue(VENUE), situation, implementation=implementation)
    assert [e for e in free.events if e.kind == EventKind.LIQUIDATION_STARTED]


def test_an_account_that_is_sound_in_the_end_is_not_liquidated_on_the_way(implementation):
    positions = (long(entry="45000"), long(market="ETHUSDT", size="10", entry="1000"))
    situation = Situation(
        venue=VENUE,
        markets={"BTCUSDT": MarketState(mark="40000"), "ETHUSDT": MarketState(mark="2000")},
        accounts={"a": AccountState(wallet="100", positions=positions)},
    )
    stage = Stage(load_venue(VENUE), situation, implementation=implementation)
    assert not [e for e in stage.events if e.kind == EventKind.LIQUIDATION_STARTED]


def test_lights_follow_the_queue(implementation):
    loaded = shipped("adl-lights")
    answer = explain(loaded, None, {"BTCUSDT": "44500"}, implementation)
    lights = {
        a.account: (a.domains[0].positions[0].adl_rank, a.domains[0].positions[0].adl_lights)
        for a in answer.accounts
    }
    assert lights["early"] == (1, 5) and lights["lucky"] == (2, 4)
    assert lights["careful"] == (3, 3) and lights["late"] == (4, 2)
    first = {a.account: a.domains[0].positions[0].liquidation_price for a in answer.accounts}
    # whatever a fall does to the others first; `careful` has paid for all of it
    assert [name for name, price in first.items() if price is None] == ["careful"]
    closed = [s.text for s in answer.move.steps if "deleveraging" in s.text]
    assert "(early)" in closed[0] and "(careful)" in closed[-1]
    assert [(p.who, p.amount) for p in answer.move.who_pays] == [
        ("deleveraged winners", "2500.000000")
    ]


def test_a_light_is_a_fifth_of_the_queue(implementation):
    accounts = {
        f"a{n}": AccountState(wallet="50000", positions=(long(entry=str(20_000 + 1_000 * n)),))
        for n in range(10)
    }
    situation = msgspec.structs.replace(made(long()), accounts=accounts)
    loaded = LoadedSituation("x", situation, load_venue(VENUE), ())
    answer = explain(loaded, None, None, implementation)
    lights = [a.domains[0].positions[0].adl_lights for a in answer.accounts]
    assert lights == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]


# -- what is owed -----------------------------------------------------------------------------


def test_a_debt_is_owed_where_the_venue_asks_for_it(implementation):
    answer = explain(shipped("do-i-owe"), None, {"FX_BTC_JPY": "300000"}, implementation)
    outcome = answer.move.outcomes[0]
    assert (outcome.lost, outcome.owes) == ("700000.000", "100000.000")
    assert "debt of the customer" in outcome.owes_rule
    assert answer.move.who_pays[-1].who == "the customer"


def test_nothing_is_owed_where_the_fund_pays(implementation):
    answer = explain(shipped("one-long"), "alice", {"BTCUSDT": "34000"}, implementation)
    outcome = answer.move.outcomes[0]
    assert (outcome.owes, outcome.wallet_after) == ("0.000000", "0.000000")
    assert answer.move.who_pays[0].who == "insurance fund"


def test_whoever_finds_nobody_is_still_in_liquidation(implementation):
    position = long(market="BTC-PERPETUAL", size="40000", leverage=10)
    situation = Situation(
        venue="deribit",
        markets={"BTC-PERPETUAL": MarketState(mark="40000")},
        accounts={"a": AccountState(wallet="0.1", positions=(position,))},
    )
    loaded = LoadedSituation("x", situation, load_venue("deribit"), ())
    answer = explain(loaded, None, {"BTC-PERPETUAL": "36500"}, implementation)
    outcome = answer.move.outcomes[0]
    assert outcome.still_in_liquidation and outcome.positions_after == ["long 40000 BTC-PERPETUAL"]
    lines = explanation_lines(answer)
    assert any("more steps" in line for line in lines)
    assert any("still in liquidation" in line for line in lines)


def test_a_margin_call_that_runs_out_closes_what_is_left(implementation):
    loaded = shipped("do-i-owe")
    markets = {"FX_BTC_JPY": MarketState(mark="1000000")}
    empty = msgspec.structs.replace(loaded.situation, markets=markets)
    changed = loaded._replace(situation=empty)
    answer = explain(changed, None, {"FX_BTC_JPY": "300000"}, implementation)
    kinds = [step.event for step in answer.move.steps]
    assert "MARGIN_CALLED" in kinds and kinds.index("MARGIN_CALL_ENDED") > 0
    assert answer.move.outcomes[0].owes == "100000.000"


# -- several venues ---------------------------------------------------------------------------


def test_a_situation_carried_to_its_own_venue_is_the_same():
    rows = across(shipped("one-long"), [VENUE], "alice", {"BTCUSDT": "35500"})
    first, second = (msgspec.to_builtins(row.explanation) for row in rows)
    assert first == second


def test_an_inverse_contract_takes_the_face_value_at_the_mark():
    rows = across(shipped("one-long"), ["kraken_coin", "bitflyer", "nowhere"], "alice")
    position = rows[1].explanation.accounts[0].domains[1].positions[0]
    assert (position.size, rows[1].explanation.asset) == ("40000", "BTC")
    assert "not the same money" in rows[2].refused and rows[2].explanation is None
    assert "no venue" in rows[3].refused
    assert any("cannot be compared" in line for line in comparison_lines(rows))


def test_every_shipped_venue_answers_or_refuses_in_words():
    others = sorted(path.stem for path in (ROOT / "engine" / "venues").glob("*.toml"))
    rows = across(shipped("one-long"), others, "alice", {"BTCUSDT": "35500"})
    assert all((row.explanation is None) == bool(row.refused) for row in rows)
    assert sum(row.explanation is not None for row in rows) >= 15


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        (made(long(size="0.00001")), "multiple of 0.001"),
        (made(long(size=None)), "exactly one of size and lots"),
        (made(long(market="ETHUSDT")), "expected a table"),
        (made(long(leverage=200)), "LEVERAGE_OUT_OF_RANGE"),
        (made(long(), mark="40000.001"), "at most 2 decimals"),
        (made(long(), wallet="0.0000001"), "money"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(situation, words):
    with pytest.raises(SituationError, match=words) as caught:
        Stage(load_venue(VENUE), situation)
    assert "\n" not in str(caught.value)


def test_a_file_with_an_unknown_field_is_refused(tmp_path):
    path = tmp_path / "bad.toml"
    text = (FOLDER / "one-long.toml").read_text()
    path.write_text(text.replace('fund = "1000000"', 'founds = "1"'))
    with pytest.raises(ScenarioError, match=r"bad.toml: \$.founds: unknown field"):
        load_situation(path)


def test_names_that_are_not_there_are_refused():
    loaded = shipped("one-long")
    with pytest.raises(SituationError, match="no account 'carol'"):
        explain(loaded, "carol")
    with pytest.raises(SituationError, match="MARKET=PRICE"):
        wanted_marks(loaded, ["DOGE=1"])
    assert wanted_marks(loaded, ["BTC=41000"]) == {"BTCUSDT": "41000"}


def test_a_patch_changes_the_answer(tmp_path):
    path = tmp_path / "patched.toml"
    text = (FOLDER / "one-long.toml").read_text()
    changed = "[patch]\n'markets.BTCUSDT.tiers.0.maintenance_ppm' = 4_500\n"
    path.write_text(f"{text}\n{changed}")
    answer = explain(load_situation(path), "alice")
    assert answer.patches[0].after == "4500"
    assert answer.accounts[0].domains[1].maintenance_margin == "180.000000"


# -- words and names --------------------------------------------------------------------------


def test_the_command_prints_the_same_as_text_and_as_json():
    file = str(FOLDER / "one-long.toml")
    text = RUN.invoke(app, ["explain", file, "--mark", "BTC=35500"])
    as_json = RUN.invoke(app, ["explain", file, "--mark", "BTC=35500", "--json"])
    assert (text.exit_code, as_json.exit_code) == (0, 0)
    answer = json.loads(as_json.stdout)
    held = json.dumps(answer, ensure_ascii=False)
    for step in answer["move"]["steps"]:
        assert step["text"] in text.stdout
    for number in ("36144.57", "35666.67", "4000.000000"):
        assert number in text.stdout and number in held


def test_a_refusal_of_the_command_names_the_place():
    result = RUN.invoke(app, ["explain", str(FOLDER / "one-long.toml"), "--account", "carol"])
    assert isinstance(result.exception, SituationError)


def test_every_name_of_the_answer_is_documented():
    text = (ROOT / "docs" / "explain.md").read_text()
    structs = [answers.PositionAnswer, answers.DomainAnswer, answers.AccountAnswer]
    structs += [answers.StepAnswer, answers.Payer, answers.Outcome, answers.Move]
    for struct in (*structs, answers.Explanation, carrying.Row):
        for name in struct.__struct_fields__:
            assert f"`{name}`" in text, f"{struct.__name__}.{name}"


def test_the_example_of_the_page_is_what_is_printed():
    page = (ROOT / "docs" / "explain.md").read_text()
    shown = page.split("$ crashtape explain situations/do-i-owe.toml")[1].split("```")[0]
    shown = shown.split("\n", 1)[1].split("Assumed,")[0].rstrip()
    answer = explain(shipped("do-i-owe"), None, {"FX_BTC_JPY": "300000"})
    printed = "\n".join(explanation_lines(answer)).split("Assumed,")[0].rstrip()
    assert shown == printed


def test_coin_collateral_falls_with_the_position_it_covers(implementation):
    loaded = shipped("coin-collateral")
    alone = explain(loaded, None, {"PF_XBTUSD": "30000"}, implementation).move.outcomes[0]
    assert not alone.was_liquidated
    marks = {"PF_XBTUSD": "30000", "XBT": "30000"}
    both = explain(loaded, None, marks, implementation).move
    assert both.outcomes[0].was_liquidated and both.outcomes[0].positions_after == []
    assert [(p.who, p.amount) for p in both.who_pays] == [("insurance fund", "1030.000000")]
