"""P(ADL) of one account: counted over seeds, priced against the marks, refused where unknown."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from engine import constants as c
from engine import study
from engine.cli import app
from engine.replay import replay
from engine.report.liquidations import Deleveraging
from engine.rows import EVENT
from engine.scenario import load_scenario
from engine.study.comparison import compare, variants_of, watched_table
from engine.study.sweeping import sweep
from engine.study.watching import Wanted, WatchedAccount, watch_rows
from engine.vectors import position_values
from small_scenario import write_small
from small_study import STUDY, refused, write_study

DESK = """
[[accounts]]
name = "desk"
wallet = "100000"
positions = [{ market = "BTCUSDT", side = "short", lots = 30000, entry = "8200", leverage = 20 }]
"""
FALL = ['prices.points.1.price="5000"', 'fund="0"']


def with_desk(folder):
    path = write_small(folder)
    path.write_text(path.read_text() + DESK)
    return path


def watched(path, seconds=0, account="desk") -> WatchedAccount:
    return WatchedAccount(load_scenario(path), Wanted(account, seconds))


def fill(time_ns: int, lots: int, price: int, mark: int, who: int) -> Deleveraging:
    return Deleveraging(1, time_ns, 1, 17, who, lots, price, mark, 1_000, 10, 0)


def marks(*rows: tuple[int, int]) -> np.ndarray:
    events = np.zeros(len(rows), EVENT)
    events["kind"], events["market_id"] = c.EventKind.MARK_SET, 1
    events["time_ns"], events["price"] = zip(*rows, strict=True)
    return events


def test_trading_back_costs_the_move_and_the_fee(tmp_path):
    path = with_desk(tmp_path)
    account = watched(path)
    (desk,) = load_scenario(path).stage.ids["desk"]
    _, numbers = load_scenario(path).numbers["BTCUSDT"]
    assert numbers.taker_fee_ppm > 0
    account.adl([fill(5, 100, 700_000, 690_000, desk), fill(5, 100, 1, 1, desk + 1)])
    found = account.columns()
    back = int(position_values(numbers, np.array([100] * 2), np.array([690_000] * 2))[0])
    unit = back // 69_000_000
    fee = -(-back * numbers.taker_fee_ppm // 10**6)
    # a short closed at 7,000.00 by 100 lots and sold anew at 6,900.00
    assert found["watch_rehedge_quote"] == 100 * 10_000 * unit + fee
    assert (found["watch_adl_fills_count"], found["watch_haircut_quote"]) == (1, 10)
    assert (found["watch_adl_price_BTCUSDT"], found["watch_adl_mark_price_BTCUSDT"]) == (
        700_000,
        690_000,
    )


def test_a_later_hedge_takes_the_mark_of_then_or_the_last_one(tmp_path):
    path = with_desk(tmp_path)
    (desk,) = load_scenario(path).stage.ids["desk"]
    ns, costs = 10**9, []
    for seconds in (0, 2, 3, 900):
        account = watched(path, seconds)
        account.events(marks((0, 710_000), (5 * ns, 700_000), (8 * ns, 680_000), (9 * ns, 650_000)))
        account.adl([fill(5 * ns, 1, 705_000, 700_000, desk)])
        costs.append(account._mark_after(account._fills[0]))
    assert costs == [700_000, 700_000, 680_000, 650_000]


def test_the_rows_say_what_the_run_folder_says(tmp_path):
    path = with_desk(tmp_path)
    wanted = Wanted("desk", 0)
    found = compare(path, variants_of((), (), (), alone=True), seeds=2, also=FALL, watched=wanted)
    row = found.rows.row(0, named=True)
    replay(load_scenario(path, FALL), tmp_path / "run")
    adl = pl.read_parquet(tmp_path / "run" / "adl.parquet")
    (desk,) = load_scenario(path).stage.ids["desk"]
    mine = adl.filter(pl.col("counterparty_account") == desk)
    assert mine.height == row["watch_adl_fills_count"] > 0
    assert int(mine["notional"].sum() * 10**6) == row["watch_adl_notional_quote"]
    assert int(mine["haircut_at_mark"].sum() * 10**6) == row["watch_haircut_quote"]
    assert row["watch_rehedge_quote"] > row["watch_haircut_quote"]
    assert row["watch_liquidations_count"] == 0
    heads, cells = watched_table(found, lambda value: f"{value:.0f}")
    assert heads == ["Watched account", "as it is"]
    shown = dict(cells)
    assert shown["P(ADL)"] == "50.0 % (1 of 2)" and shown["P(liquidation)"] == "0.0 % (0 of 2)"
    assert shown["P(ADL), 95 % band"] == "9.5 to 90.5 %"
    assert "Price, BTCUSDT: mean over the lots" in shown


def test_means_are_over_the_runs_in_which_it_happens():
    rows = pl.DataFrame(
        {
            "error": ["", "", "", ""],
            "watch_liquidations_count": [0, 0, 0, 1],
            "watch_adl_fills_count": [2, 0, 1, 0],
            "watch_adl_notional_quote": [300, 0, 100, 0],
            "watch_haircut_quote": [30, 0, 10, 0],
            "watch_rehedge_quote": [50, 0, 10, 0],
            "watch_adl_price_X": [1000, 0, 2000, 0],
            "watch_adl_mark_price_X": [900, 0, 1900, 0],
            "watch_adl_lots_X": [3, 0, 1, 0],
        }
    )
    found = dict(watch_rows(rows, str, {"X": 2, "Y": 1}))
    assert found["P(ADL)"] == "50.0 % (2 of 4)" and found["P(liquidation)"] == "25.0 % (1 of 4)"
    assert found["Notional, when it is: mean"] == "200.0"
    assert found["Re-hedge, when it is: most"] == "50"
    assert found["Price, X: mean over the lots"] == "12.50"
    assert found["Mark then, X: mean over the lots"] == "11.50"
    none = dict(watch_rows(rows.filter(pl.col("watch_adl_fills_count") == 0), str, {}))
    assert none["Haircut, when it is: mean"] == "none"


def test_the_command_a_sweep_and_what_is_refused(tmp_path):
    path = with_desk(tmp_path)
    arguments = ["compare", str(path), "--watch", "desk", "--seeds", "2", "--workers", "1"]
    arguments += ["--rehedge-seconds", "30", "--out", str(tmp_path / "out")]
    for change in FALL:
        arguments += ["--also", change]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "P(ADL), 95 % band" in shown.output
    assert "The watched account" in (tmp_path / "out" / "compare.html").read_text()
    said = refused(compare, path, variants_of((), (), (), True), watched=Wanted("nobody"))
    assert "$.accounts: expected an account 'nobody' to watch" in said
    number = str(c.FIRST_USER_ID)
    assert watched(path, account=number).columns()["watch_adl_fills_count"] == 0
    watch = 'watch = { account = "16", rehedge_seconds = 5 }\nseeds = 1'
    rows = sweep(write_study(tmp_path, ("seeds = 2", watch), text=STUDY), tmp_path / "s").rows
    assert rows["watch_adl_fills_count"].dtype == pl.Int64 and rows.height == 4
    assert "watch_adl_fills_count" not in study.run(path).columns


def test_nobody_to_compare_with_needs_someone_to_watch():
    assert "expected --profiles" in refused(variants_of, (), (), ())


@pytest.mark.parametrize("account", ["-1", "1.5", "99999999"])
def test_a_number_must_be_an_account_of_the_population(tmp_path, account):
    assert "to watch, got none" in refused(watched, with_desk(tmp_path), account=account)
