"""Participants: what they do, at which instants, and that nothing but tape and seed decides it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.constants import CommandKind, EventKind, OrderType, Side
from engine.replay import replay, simulate
from engine.rows import COMMAND, EVENT
from engine.run_journal import RunJournal, RunRequest
from engine.scenario import load_scenario, market_commands, setup_commands
from engine.tape import read_tape
from engine.verify import verify
from small_scenario import refusal, rows_of

START_NS = 1_584_007_200_000_000_000  # 2020-03-12T10:00:00Z

FALL = """
name = "fall"
title = "a fall of ten per cent in ten minutes, and half of it back"
seed = 7
venue = "binance_usdm"
markets = ["BTCUSDT"]
fund = "1000000"
[patch]
"trigger.warn_ppm" = 2_000_000
[prices]
source = "made up"
step_seconds = 5
points = [
  { time = "2020-03-12T10:00:00Z", market = "BTCUSDT", price = "8050" },
  { time = "2020-03-12T10:10:00Z", market = "BTCUSDT", price = "7250" },
  { time = "2020-03-12T10:20:00Z", market = "BTCUSDT", price = "7650" },
]
[population]
kind = "drawn"
accounts = 400
isolated_ppm = 250_000
hedge_ppm = 50_000
leverage_median = 15
[[population.markets]]
market = "BTCUSDT"
open_interest_lots = 900_000
lots_max = 60_000
[liquidity.BTCUSDT]
kind = "curve"
half_spread_ppm = 100
levels = [{ offset_ppm = 1_000, lots = 20_000 }, { offset_ppm = 10_000, lots = 200_000 }]
refill_half_life_ns = 1_000_000_000
"""
STOPS = """
[[participants.stops]]
market = "BTCUSDT"
share_ppm = 300_000
round = "100"
"""
ADDERS = """
[participants.margin_adders]
share_ppm = 500_000
every_seconds = 30
part_ppm = 500_000
times = 2
"""
HUNTERS = """
[[participants.bargain_hunters]]
market = "BTCUSDT"
accounts = 50
lots = 200
wallet = "1000"
below_ppm = 20_000
spread_ppm = 20_000
every_seconds = 7
average_seconds = 350
"""


def write(folder: Path, *more: str) -> Path:
    path = folder / "fall.toml"
    path.write_text(FALL + "".join(more))
    return path


class Heard:
    """Keeps every event of a simulated run."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []

    def events(self, events: np.ndarray) -> None:
        self.parts.append(events.copy())

    def kind(self, kind: EventKind) -> np.ndarray:
        events = np.concatenate([np.zeros(0, EVENT), *self.parts])
        return events[events["kind"] == kind]

    def __getattr__(self, name: str):  # the other questions of a watcher: no answer
        return lambda *args, **kwargs: None


def heard(path: Path, *overrides: str):
    watcher = Heard()
    return simulate(load_scenario(path, overrides), watcher=watcher), watcher


def test_without_participants_nothing_is_added(tmp_path):
    loaded = load_scenario(write(tmp_path))
    blocks = list(market_commands(loaded))
    passed = list(loaded.crowd().commands(blocks))
    assert [len(block) for block in passed] == [len(block) for block in blocks]
    assert list(loaded.crowd().setup()) == [] and not loaded.crowd().reacts


@pytest.mark.parametrize("batch", [1, 7, 4_096])
def test_batches_do_not_change_what_participants_do(tmp_path, batch):
    loaded = load_scenario(write(tmp_path, STOPS, ADDERS, HUNTERS))
    one = simulate(loaded)
    other = simulate(loaded, batch_size=batch)
    assert one.refused_reasons == other.refused_reasons == {}
    for name in ("event_digest", "state_digest", "tape_hash", "commands_count"):
        assert getattr(one, name) == getattr(other, name)
    assert one.event_digest == simulate(load_scenario(tmp_path / "fall.toml")).event_digest
    reseeded = simulate(load_scenario(tmp_path / "fall.toml", ["seed=8"]))
    assert one.event_digest != reseeded.event_digest


@pytest.mark.parametrize("keep_tape", [True, False])
def test_a_run_with_participants_is_verified_from_its_tape_and_from_its_scenario(
    tmp_path, keep_tape
):
    loaded = load_scenario(write(tmp_path, STOPS, ADDERS, HUNTERS))
    report = replay(loaded, tmp_path / "run", keep_tape=keep_tape)
    result = verify(tmp_path / "run")
    assert result.ok, result.differences
    assert result.from_tape == keep_tape
    assert result.commands_count == report.commands_count
    plain = sum(len(b) for b in (*setup_commands(loaded), *market_commands(loaded)))
    assert report.commands_count > plain, "what they did is among the commands"
    if keep_tape:
        rows = rows_of(read_tape(tmp_path / "run" / "tape.crashtape"))
        assert len(rows) == report.commands_count
        assert (np.diff(rows["time_ns"]) >= 0).all()


def test_a_killed_run_goes_on_with_the_same_acts(tmp_path):
    loaded = load_scenario(write(tmp_path, ADDERS, HUNTERS))
    whole = simulate(loaded)
    request = RunRequest(scenario="x", changes=[], data=None, batch=64, check_index=False,
                         keep_tape=True)  # fmt: skip
    journal = RunJournal.start(tmp_path / "run", request, loaded)

    kept = []

    def stop_late(blocks):
        for block in journal_keep(blocks):
            kept.append(len(block))
            if len(kept) > 250:
                raise OSError("the power is cut")
            yield block

    journal_keep, journal.keep = journal.keep, stop_late
    with pytest.raises(OSError, match="power is cut"):
        replay(loaded, tmp_path / "run", journal=journal)
    journal.journal.release()
    resumed, _ = RunJournal.resume(tmp_path / "run")
    with resumed:
        resumed.check(request, loaded)
        report = replay(loaded, tmp_path / "run", journal=resumed)
    assert resumed.resumed_count > 1_900
    assert report.event_digest == whole.event_digest
    assert report.tape_hash == whole.tape_hash


def test_stops_lie_beyond_round_numbers_on_the_losing_side(tmp_path):
    loaded = load_scenario(write(tmp_path, STOPS))
    rows = rows_of(loaded.crowd().setup())
    population = loaded.population[0]
    assert set(rows["kind"].tolist()) == {CommandKind.NEW_ORDER}
    assert set(rows["order_type"].tolist()) == {OrderType.STOP_MARKET}
    assert 90 < len(rows) < 160, "about 30 % of 420 positions"
    sells = rows["side"] == Side.SELL
    assert (rows["trigger_price"][sells] <= 800_000).all()
    assert (rows["trigger_price"][~sells] >= 810_000).all()
    beyond = np.where(sells, -rows["trigger_price"] % 10_000, rows["trigger_price"] % 10_000)
    assert np.median(beyond) < 400, "half of them within four dollars of it"
    nearest = (rows["trigger_price"][sells] > 790_000).mean()
    assert 0.35 < nearest < 0.65, "half at the first multiple"
    held = dict(zip(
        zip(population.account_id[population.account_row].tolist(),
            population.position_side.tolist(), strict=True),
        population.lots.tolist(), strict=True,
    ))  # fmt: skip
    for row in rows:
        lots = held[int(row["account_id"]), int(row["position_side"])]
        assert row["lots"] == abs(lots) and (row["side"] == Side.SELL) == (lots > 0)


def test_stops_fire_when_the_mark_is_there(tmp_path):
    report, events = heard(write(tmp_path, STOPS))
    fired = events.kind(EventKind.STOP_TRIGGERED)
    placed = events.kind(EventKind.STOP_PLACED)
    assert report.refused_reasons == {}
    assert 20 < len(fired) < len(placed)
    assert fired["time_ns"].min() > START_NS


def test_adders_pay_in_at_their_instants_and_save_some(tmp_path):
    without, quiet = heard(write(tmp_path))
    report, events = heard(write(tmp_path, ADDERS))
    assert len(quiet.kind(EventKind.LEVEL_ENTERED)) > 20, "the venue warns"
    deposits = events.kind(EventKind.DEPOSITED)
    added = deposits[deposits["time_ns"] > START_NS]
    assert len(added) > 10
    assert ((added["time_ns"] - START_NS) % (30 * 1_000_000_000) == 0).all()
    population = load_scenario(tmp_path / "fall.toml").population[0]
    first = dict(zip(population.account_id.tolist(), population.deposit_quote.tolist(),
                     strict=True))  # fmt: skip
    paid = {}
    for event in added:
        account = int(event["account_id"])
        assert event["amount"] == first[account] * 500_000 // 1_000_000
        paid[account] = paid.get(account, 0) + 1
    assert max(paid.values()) <= 2
    moved = events.kind(EventKind.MARGIN_MOVED)
    late = moved[moved["time_ns"] > START_NS]
    assert len(late), "an isolated position gets it moved"
    assert set(late["account_id"].tolist()) <= set(paid)
    liquidated = report.summary.accounts_liquidated_count
    assert liquidated < without.summary.accounts_liquidated_count
    warned = quiet.kind(EventKind.LEVEL_ENTERED)["account_id"]
    assert set(paid) <= set(events.kind(EventKind.LEVEL_ENTERED)["account_id"].tolist())
    assert len(set(paid)) < len(set(warned.tolist())), "half of them only"


def test_hunters_buy_once_when_the_mark_is_below_its_average(tmp_path):
    loaded = load_scenario(write(tmp_path, HUNTERS))
    watcher = Heard()
    report = simulate(loaded, watcher=watcher)
    assert report.refused_reasons == {}
    ids = loaded.stage.first_id + np.arange(50)
    fills = watcher.kind(EventKind.FILL)
    bought = fills[np.isin(fills["account_id"], ids) & (fills["lots"] > 0)]
    lots = {int(a): int(bought["lots"][bought["account_id"] == a].sum()) for a in ids}
    buyers = [account for account, got in lots.items() if got]
    assert 10 < len(buyers) < 50 and set(lots.values()) == {0, 200}
    instants = np.unique(bought["time_ns"]) - START_NS
    assert (instants % 7_000_000_000 == 0).all()
    # The mean of the marks at the instants before, as a reader would take it from the events.
    marks = watcher.kind(EventKind.MARK_SET)
    when = int(instants[0]) + START_NS
    samples = [805_000]
    for instant in range(START_NS + 7_000_000_000, when + 1, 7_000_000_000):
        known = marks[(marks["time_ns"] < instant) | ((marks["time_ns"] == instant)
                      & (marks["seq"] < bought["seq"][0]))]  # fmt: skip
        samples.append(int(known["price"][-1]))
    mean = sum(samples[-50:]) / len(samples[-50:])
    first = bought[bought["time_ns"] == when]
    assert 0.02 <= 1 - samples[-1] / mean <= 0.04
    assert len(np.unique(first["account_id"])) >= 1


def test_an_act_comes_after_every_command_of_its_instant(tmp_path):
    loaded = load_scenario(write(tmp_path, HUNTERS.replace("= 7\n", "= 5\n")))
    rows = np.zeros(5, COMMAND)
    rows["time_ns"] = START_NS + np.array([0, 5, 5, 10, 11]) * 1_000_000_000
    crowd = loaded.crowd()
    seen = []
    for block in crowd.commands([rows[:2], rows[2:]]):
        seen.append([int(t - START_NS) // 1_000_000_000 for t in block["time_ns"]])
    # An empty block stands where the events so far must be known; at 10 nobody buys either.
    assert seen == [[0, 5], [5], [], [10], [], [11]]


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        (ADDERS, ["patch={}"], "$.participants.margin_adders: expected a venue that warns "
         "(trigger.warn_ppm) or calls (trigger.cure_ns); this one does neither"),
        (STOPS, ['participants.stops.0.round="0"'],
         "$.participants.stops[0].round: expected more than 0, got 0"),
        (STOPS, ['participants.stops.0.market="ETHUSDT"'],
         "$.participants.stops[0]: expected a market of BTCUSDT, got 'ETHUSDT'"),
        (HUNTERS, ["participants.bargain_hunters.0.lots=2_000_000"],
         "$.participants.bargain_hunters[0].lots: expected at most 1200000 in one order, "
         "got 2000000"),
        (HUNTERS, ["participants.bargain_hunters.0.average_seconds=351"],
         "$.participants.bargain_hunters[0]: expected average_seconds as a multiple of "
         "every_seconds"),
        (HUNTERS, ["participants.bargain_hunters.0.wallet=\"1.0000001\""],
         "$.participants.bargain_hunters[0].wallet: "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_field(tmp_path, more, changes, message):
    assert refusal(write(tmp_path, more), *changes).startswith(f"fall.toml: {message}")


def test_hunters_without_a_population_and_sharers_of_none(tmp_path):
    path = write(tmp_path, STOPS)
    text = path.read_text()
    before, _, rest = text.partition("[population]")
    path.write_text(before + "[liquidity" + rest.partition("[liquidity")[2])
    assert refusal(path) == (
        "fall.toml: $.participants.stops[0]: expected a population that it is a share of, got none"
    )
    path.write_text(path.read_text().replace(STOPS, HUNTERS))
    report = simulate(load_scenario(path))
    assert report.accounts_count == 50


def test_the_run_folder_keeps_who_acted(tmp_path):
    loaded = load_scenario(write(tmp_path, STOPS, HUNTERS))
    replay(loaded, tmp_path / "run")
    again = load_scenario(tmp_path / "run" / "scenario.toml")
    assert again.scenario.participants == loaded.scenario.participants
    accounts = pl.read_parquet(tmp_path / "run" / "accounts.parquet")
    assert accounts.height >= 450
