"""A fork: unchanged it is the run, from the start it is the other run, its past is made once."""

import random
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from engine import cli
from engine.constants import Cause, EventKind
from engine.drawn_profiles import draw_profile
from engine.exchange import Exchange
from engine.fuzz import as_events, draw_setup, first_difference, first_row_difference
from engine.profile import VenueProfile
from engine.reference.exchange import ReferenceExchange
from engine.refusal import Refusal
from engine.replay import replay
from engine.rows import COMMAND
from engine.run_folder import read_run
from engine.scenario import load_scenario
from engine.study.comparison import Variant
from engine.study.forking import _point, fork, time_of
from engine.study.row import Request, Watch, run_request
from engine.study.turning import DRAWDOWN, OF_A_MARKET, SINGLE, Turn, read_turn
from engine.tape import TapeWriter, tape_info
from engine.venue import DepthLevel, load_venue, market_numbers, policy_numbers, validate
from small_scenario import write_small

FALL = ['prices.points.1.price="5000"', "prices.step_seconds=10", 'fund="20000"']
AS_IS = Variant("as it is")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder in which accounts are liquidated and deleveraged, and its scenario beside it."""
    folder = tmp_path_factory.mktemp("fork")
    report = replay(load_scenario(write_small(folder), FALL), folder / "run")
    assert report.summary.adl_fills_count > 0
    return folder / "run"


@pytest.fixture
def run(made, tmp_path):
    """A copy of that run, without any state kept of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def refused(call, *arguments) -> str:
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OTHERS = [
    ['venue.losses.adl_price="mark"', 'venue.losses.adl_score="random"'],
    ["venue.losses.fund_inventory_ppm=0", "venue.losses.drawdown_ppm=100_000"],
    ['venue.losses.waterfall=["insurance_fund", "fund_unlimited"]'],
    ['venue.liquidation.cancel="market"', 'venue.liquidation.surplus="to_user"'],
    ["venue.liquidation.steps=[]"],
    ['venue.liquidation.order="worst_first"', 'venue.losses.fund_cap="50"'],
]


def test_a_fork_before_the_first_loss_is_the_run_under_the_other_policy(made):
    variants = [AS_IS, *(Variant(f"{place}", each) for place, each in enumerate(OTHERS))]
    before, *rows = fork(made, "10:00:00", variants).comparison.rows.iter_rows(named=True)
    for changes, mine in zip(OTHERS, rows, strict=True):
        other = run_request(Request.of(0, made.parent / "small.toml", [*FALL, *changes], None)).row
        assert mine["error"] == other["error"] == ""
        for name in ("event_digest", "state_digest", "profile_hash", "winner_cut_ppm"):
            assert mine[name] == other[name], (changes, name)
        assert mine["event_digest"] != before["event_digest"]
    assert before["event_digest"] == read_run(made).report.event_digest


FEES = ["venue.markets.BTCUSDT.taker_fee_ppm=3000", "venue.markets.BTCUSDT.maker_fee_ppm=-70",
        "venue.markets.BTCUSDT.liquidation_fee_ppm=40_000"]  # fmt: skip


def test_other_fees_from_the_start_are_the_run_with_those_fees(made):
    rows = fork(made, "10:00:00", [AS_IS, Variant("f", FEES)]).comparison.rows
    other = run_request(Request.of(0, made.parent / "small.toml", [*FALL, *FEES], None)).row
    before, mine = rows.iter_rows(named=True)
    assert (mine["error"], mine["event_digest"]) == ("", other["event_digest"])
    assert mine["state_digest"] == other["state_digest"] != before["state_digest"]


SELLS = """
[[accounts]]
name = "desk"
wallet = "5000"

[[schedule]]
time = "2020-03-12T10:00:30Z"
every_seconds = 60
until = "2020-03-12T10:01:30Z"
command = "sell"
account = "desk"
market = "BTCUSDT"
lots = 3

[population]"""


@pytest.fixture
def sold(tmp_path) -> Path:
    """A run in which an account sells three lots after 30 and after 90 seconds."""
    scenario = write_small(tmp_path, ("\n[population]", SELLS))
    replay(load_scenario(scenario), tmp_path / "sold")
    return tmp_path / "sold"


def sales(run: Path, changes: list[str], monkeypatch) -> list[tuple[int, int, int, int]]:
    """Time, price, lots and fee of what the account sold, of a fork after 60 seconds."""
    found: list[np.ndarray] = []
    monkeypatch.setattr(Watch, "events", lambda watch, events: found.append(events.copy()))
    assert fork(run, "10:01:00", [Variant("v", changes)]).comparison.failed == []
    monkeypatch.undo()
    events = np.concatenate(found)
    mine = (events["kind"] == EventKind.FILL) & (events["order_id"] > 0)
    fills = events[mine & (events["reason"] == Cause.TRADE)]
    assert len(set(fills["account_id"].tolist())) == 1
    return fills[["time_ns", "price", "lots", "fee"]].tolist()


def test_other_fees_are_paid_by_fills_after_the_fork_and_by_no_other(sold, monkeypatch):
    plain, other = (sales(sold, changes, monkeypatch) for changes in ([], FEES))
    start_ns = read_run(sold).report.start_ns
    assert [time - start_ns for time, *_ in plain] == [30 * 10**9, 90 * 10**9]
    assert plain[0] == other[0]
    (time, price, lots, fee), (*same, more) = plain[1], other[1]
    assert same == [time, price, lots]
    market = load_venue("binance_usdm").markets[0]
    notional = abs(lots) * price * market_numbers(load_venue("binance_usdm"), market).unit_quote
    assert (fee, more) == (
        -(-notional * market.taker_fee_ppm // 10**6),
        -(-notional * 3000 // 10**6),
    )


def test_a_curve_is_thinner_from_the_next_price_on(sold, monkeypatch):
    plain, thin = (sales(sold, changes, monkeypatch) for changes in ([], ["depth_ppm=200_000"]))
    assert [abs(lots) for _, _, lots, _ in plain] == [3, 3]
    assert thin[0] == plain[0]
    assert [abs(lots) for _, _, lots, _ in thin] == [3, 1]
    stated = sales(sold, ["liquidity.BTCUSDT.levels.0.lots=1"], monkeypatch)
    assert stated == thin


def test_money_paid_into_the_fund_at_a_fork_is_a_command_of_its_tape(run):
    variants = [AS_IS, Variant("more", ['fund_deposit="700000.5"'])]
    before, more = fork(run, "10:01:00", variants).comparison.rows.iter_rows(named=True)
    assert more["error"] == ""
    assert more["commands_count"] == before["commands_count"] + 1
    assert more["tape_hash"] != before["tape_hash"]
    assert more["fund_start_quote"] == before["fund_start_quote"]
    assert more["adl_fills_count"] < before["adl_fills_count"]
    point = _point(read_run(run), read_run(run).report.start_ns + 60 * 10**9)
    with TapeWriter(None, tape_info(run / "tape.crashtape").metadata) as same:
        for block in (*point.before(), *point.after()):
            same.append(block)
    assert same.tape_hash == before["tape_hash"]


# Against the rulebook: two random venues, of which the second lends the first what may change.


def lent(mine: VenueProfile, other: VenueProfile, rng: random.Random) -> VenueProfile:
    """A profile with every field that may change at a fork taken from another one, or drawn."""
    replace = msgspec.structs.replace
    kept = {name: getattr(mine.losses, name) for name in ("residual", "fund_scope", "profit_lock")}
    kept |= {name: getattr(mine.losses, name) for name in DRAWDOWN}
    markets = []
    for market in mine.markets:
        drawn = {
            "maker_fee_ppm": rng.choice([-50, 0, 300]), "taker_fee_ppm": rng.choice([0, 700]),
            "liquidation_fee_ppm": rng.choice([0, 9_000]), "leverage_default": rng.choice([1, 3]),
            "price_band_ppm": rng.choice([0, 20_000]), "order_lots_min": rng.choice([1, 2]),
            "open_interest_lots_max": max(2, market.open_interest_lots_max // rng.choice([1, 50])),
            "order_lots_max": max(2, market.order_lots_max // rng.choice([1, 4])),
            "funding_cap_ppb": rng.choice([None, 100]),
        }  # fmt: skip
        assert drawn.keys() == OF_A_MARKET
        if mine.margin.close_fee == "taker":
            drawn["taker_fee_ppm"] = market.taker_fee_ppm
        markets.append(market if market.contract == "collateral" else replace(market, **drawn))
    single = {path.split(".")[0]: {} for path in SINGLE}
    for path in SINGLE:
        table, name = path.split(".")
        single[table][name] = getattr(getattr(other, table), name)
    return replace(
        mine, markets=markets, liquidation=other.liquidation,
        losses=replace(other.losses, **kept),
        **{name: replace(getattr(mine, name), **fields) for name, fields in single.items()},
    )  # fmt: skip


def turn_rulebook(rulebook: ReferenceExchange, turn: Turn) -> None:
    world = rulebook.world
    world.profile, world.policy = turn.profile, policy_numbers(turn.profile)
    for market, stated in zip(world.markets.values(), turn.profile.markets, strict=True):
        market.numbers = market_numbers(turn.profile, stated)
        if market.curve is not None:
            market.curve = turn.curves[market.market_id]


@pytest.mark.parametrize("seed", range(24))
def test_a_turned_exchange_does_what_the_turned_rulebook_does(seed):
    setup = draw_setup(seed)
    profile = lent(setup.profile, draw_profile(seed + 1_000), random.Random(seed))
    validate(profile)
    curves = {
        market_id: msgspec.structs.replace(
            curve,
            levels=[DepthLevel(offset_ppm=2 * each.offset_ppm, lots=each.lots // 3 + 1)
                    for each in curve.levels],
        ) if curve.levels else curve
        for market_id, curve in setup.curves.items()
    }  # fmt: skip
    turn = Turn(profile, curves)
    rows = setup.commands(240)
    half = len(rows) // 2
    core, rulebook = setup.core(), setup.rulebook()
    for part in (rows[:half], rows[half:]):
        mine = core.submit(np.array(part, dtype=COMMAND))
        assert first_difference(mine, as_events(rulebook.submit(part)), rows) == ""
        assert first_row_difference(core.rows(), rulebook.rows()) == ""
        turn.make(core)
        turn_rulebook(rulebook, turn)


def test_a_fork_half_way_shares_its_past_and_parts_there(run):
    found = fork(
        run, "2020-03-12T10:01:00Z", [AS_IS, Variant("m", ['venue.losses.adl_price="mark"'])]
    )
    one, two = (found.comparison.paths.filter(variant=name) for name in ("as it is", "m"))
    before = one["time_ns"] <= found.at_ns
    assert (
        one.filter(before).drop("run", "variant").equals(two.filter(before).drop("run", "variant"))
    )
    assert one["liquidations"].to_list()[before.sum() - 1] > 0
    rows = found.comparison.rows
    assert rows["winner_cut_ppm"].to_list()[0] > rows["winner_cut_ppm"].to_list()[1]
    whole = read_run(run).report
    assert rows["commands_count"].to_list() == [whole.commands_count] * 2
    assert rows["tape_hash"].to_list() == [whole.tape_hash] * 2
    assert rows["events_count"].to_list()[0] == whole.summary.events_count


def test_the_past_is_applied_once(run, monkeypatch):
    applied = []
    stream = Exchange.stream
    monkeypatch.setattr(
        Exchange, "stream", lambda self, rows: applied.append(len(rows)) or stream(self, rows)
    )
    variants = [AS_IS, Variant("m", ['venue.losses.adl_price="mark"'])]
    first = fork(run, "10:01:00", variants)
    count = read_run(run).report.commands_count
    left = count - first.commands_count
    made = sum(applied)
    applied.clear()
    again = fork(run, "10:01:00", variants)
    assert (first.was_kept, again.was_kept) == (False, True)
    assert made - sum(applied) >= first.commands_count > left > 0
    assert sum(applied) < first.commands_count + 2 * left
    assert again.comparison.rows.equals(first.comparison.rows)


def test_what_was_kept_of_another_run_or_is_damaged_is_made_anew(run, made, tmp_path):
    first = fork(run, "10:01:00", [AS_IS])
    (snapshot,) = (tmp_path / ".run.forks").glob("*.snapshot")
    data = bytearray(snapshot.read_bytes())
    data[len(data) // 2] ^= 1
    snapshot.write_bytes(data)
    assert not fork(run, "10:01:00", [AS_IS]).was_kept
    (events,) = (tmp_path / ".run.forks").glob("*.events.npy")
    np.save(events, np.load(events)[:-1])
    assert not fork(run, "10:01:00", [AS_IS]).was_kept
    replay(load_scenario(made.parent / "small.toml", [*FALL, "seed=8"]), run)
    other = fork(run, "10:01:00", [AS_IS])
    assert not other.was_kept
    assert not other.comparison.rows.equals(first.comparison.rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('fund="5"', "expected venue.*, liquidity.*, depth_ppm, or fund_deposit as text: all else"),
        ("fund_deposit=5", "or fund_deposit as text: all else is in the tape or made its state"),
        ('fund_deposit="-5"', "--set fund_deposit: fund: expected 0 or more, got -5"),
        ('fund_deposit.NONE="5"', "--set fund_deposit: "),
        ("population.accounts=5", "expected venue.*, liquidity.*"),
        ('venue.trigger.comparison="below"', "may not change at a fork: levels that were entered"),
        ("venue.trigger.warn_ppm=5", "may not change at a fork: levels that were entered"),
        (
            'venue.margin.tier_by="contracts"',
            "every leg was hung on its ladder by what it requires",
        ),
        ('venue.margin.close_fee="taker"', "every leg was hung on its ladder by what it requires"),
        ('venue.mark.source="tape"', "may not change at a fork: the samples behind the marks"),
        ("venue.funding.interval_ns=5", "may not change at a fork: the interval that is running"),
        ('venue.markets.BTCUSDT.tick="0.5"', "legs, orders and prices are in its units"),
        ("venue.markets.0.tiers.0.leverage_max=5", "legs, orders and prices are in its units"),
        ('venue.settlement.asset="X"', "no part of the state may have been made by it"),
        ("venue.markets.BTCUSDT.taker_fee_ppm=-1", "taker_fee_ppm: expected"),
        ("depth_ppm=-1", "scenario.toml: --set 'depth_ppm=-1': expected 0 to"),
        (
            "liquidity.BTCUSDT.levels=[{offset_ppm=1,lots=1},{offset_ppm=2,lots=1}]",
            "liquidity.BTCUSDT: expected a curve with as many levels as before",
        ),
        ("liquidity.BTCUSDT.volatility_ppm=5", "whether volatility counts may not change"),
        ("liquidity.BTCUSDT.levels.7.lots=5", "no such field: liquidity.BTCUSDT.levels.7"),
        ('venue.losses.residual="debt"', "may not change at a fork: it decides which wallets"),
        ("venue.losses.profit_lock=true", "may not change at a fork: it decides which profit"),
        ("venue.losses.adl_price=3", "venue.toml: $.venue.losses.adl_price: expected"),
        ("venue.losses.nothing=3", "$.venue.losses.nothing: unknown field"),
    ],
)
def test_what_the_state_was_made_by_may_not_change(made, change, said):
    assert said in refused(read_turn, read_run(made), [change])


def test_the_takers_fee_may_not_change_where_legs_require_it(tmp_path):
    changes = ['venue.margin.close_fee="taker"']
    replay(load_scenario(write_small(tmp_path), changes), tmp_path / "run")
    run = read_run(tmp_path / "run")
    said = refused(read_turn, run, FEES[:1])
    assert said.endswith("this venue counts the fee of closing into what every leg requires")
    assert read_turn(run, FEES[1:]).profile.markets[0].maker_fee_ppm == -70


def test_a_time_is_a_clocks_or_a_whole_one(run, tmp_path):
    whole = read_run(run)
    start = whole.report.start_ns
    assert time_of(whole, "10:00:30") == start + 30 * 10**9
    assert time_of(whole, "2020-03-12T10:00:30Z") == start + 30 * 10**9
    for text in ("09:59:59", "10:01:40", "25:00:00", "soon"):
        assert "--at" in refused(time_of, whole, text)
    (run / "tape.crashtape").unlink()
    assert "run: kept no tape" in refused(fork, run, "10:01:00", [AS_IS])


def test_the_command_prints_both_and_names_its_page(run, tmp_path):
    arguments = ["fork", str(run), "--at", "10:01:00", "--policies", "adl_price=mark"]
    shown = CliRunner().invoke(cli.app, [*arguments, "--out", str(tmp_path / "out")])
    assert shown.exit_code == 0, shown.output
    assert "forked at 2020-03-12 10:01:00 UTC" in shown.output
    assert "computed once and kept" in shown.output and "adl_price=mark" in shown.output
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "Forked at 2020-03-12 10:01:00 UTC, after" in page
