"""A fork: unchanged it is the run, from the start it is the other run, its past is made once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engine import cli
from engine.exchange import Exchange
from engine.refusal import Refusal
from engine.replay import replay
from engine.run_folder import read_run
from engine.scenario import load_scenario
from engine.study.comparison import Variant
from engine.study.forking import changed_profile, fork, time_of
from engine.study.row import Request, run_request
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
        ('fund="5"', "expected venue.losses.* or venue.liquidation.*: all else has made the state"),
        ('venue.trigger.comparison="below"', "expected venue.losses.* or venue.liquidation.*"),
        ('venue.losses.residual="debt"', "may not change at a fork: it decides which wallets"),
        ("venue.losses.profit_lock=true", "may not change at a fork: it decides which profit"),
        ("venue.losses.adl_price=3", "venue.toml: $.venue.losses.adl_price: expected"),
        ("venue.losses.nothing=3", "$.venue.losses.nothing: unknown field"),
    ],
)
def test_what_the_state_was_made_by_may_not_change(made, change, said):
    assert said in refused(changed_profile, read_run(made), [change])


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
