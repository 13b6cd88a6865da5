"""A search finds a known best point, keeps its requirements, repeats on any number of workers."""

import json
import random

import pytest
from typer.testing import CliRunner

from engine import study
from engine.cli import app
from engine.study import searching
from engine.study.row import Result
from engine.study.searching import best_rows, search_for
from engine.study.workers import Workers
from small_study import refused, write_study

SEARCH = """
name = "small"
title = "the least y"
scenario = "small.toml"
seeds = 2
design = "latin_hypercube"
points = 4
[[vary]]
field = "shock_ppm"
low = 0
high = 1000
[[vary]]
field = "markets"
values = [["BTCUSDT"], ["BTCUSDT", "ETHUSDT"]]
[search]
column = "y"
trials = 60
check_seeds = 3
[[search.require]]
condition = "room >= 0"
share_ppm = 500_000
"""


class Formula(Workers):
    """Makes no run: y is (shock - 300)^2, 40 more for the second list; results in any order."""

    def results(self, requests):
        asked = list(requests)
        if self._count > 1:
            random.Random(5).shuffle(asked)
        for each in asked:
            shock = each.inputs.get("shock_ppm", 1000)
            more = 40 * (json.loads(each.inputs.get("markets", '["BTCUSDT"]')) != ["BTCUSDT"])
            seed = each.inputs["seed"]
            row = {**each.inputs, "run": each.number, "y": (shock - 300) ** 2 + more + seed - 7}
            row["room"] = shock - 400 if seed == 7 else -1  # from 400 on in half of the runs
            yield Result(row={**row, "error": ""})


@pytest.fixture
def formula(monkeypatch):
    monkeypatch.setattr(searching, "Workers", Formula)
    monkeypatch.setattr(searching, "check_values", lambda loaded: None)


def test_the_best_point_keeps_its_requirements(tmp_path, formula):
    found = search_for(write_study(tmp_path, text=SEARCH))
    assert found.trials.height == 60 and found.best["allowed"]
    assert 400 <= found.best["shock_ppm"] <= 415 and found.best["markets"] == '["BTCUSDT"]'
    assert found.best["value"] == (found.best["shock_ppm"] - 300) ** 2 + 0.5
    least = found.trials.sort("value").row(0, named=True)
    assert least["value"] < found.best["value"] and least["held_0_ppm"] == 0
    assert not least["allowed"]
    assert (found.as_is["value"], found.as_is["held_0_ppm"]) == (490_000.5, 500_000)
    others = found.runs.filter(found.runs["seed"] > 8)
    assert sorted(others["seed"].to_list()) == [9, 10, 11]
    assert found.checked["value"] == (found.best["shock_ppm"] - 300) ** 2 + 3
    assert not found.checked["allowed"] and found.checked["held_0_ppm"] == 0
    points = found.runs.drop_nulls().select("shock_ppm", "markets", "seed")
    assert points.is_unique().all()
    heads, rows = best_rows(found, str)
    assert heads == ["Point", "shock_ppm", "markets", "Value", "room >= 0"]
    assert rows[0][0] == f"Trial {found.best['trial']}" and rows[0][-1] == "50 %"
    assert rows[1][0].endswith(", 3 other seeds") and rows[1][-1] == "0 %"
    assert rows[-1] == ["As it is", "", "", "490000.5", "50 %"]


def test_the_same_trials_on_one_worker_and_on_two(tmp_path, formula):
    path = write_study(tmp_path, text=SEARCH)
    one, two = search_for(path, workers=1), search_for(path, workers=2)
    assert one.trials.equals(two.trials) and one.runs.equals(two.runs)
    other = search_for(write_study(tmp_path, ("trials", "seed = 1\ntrials"), text=SEARCH))
    assert not other.trials.equals(one.trials)


def test_the_worst_seed_and_the_greatest_value(tmp_path, formula):
    changes = ("trials = 60", 'aim = "greatest"\nof = "worst"\ntrials = 8')
    found = search_for(write_study(tmp_path, changes, ("500_000", "1_000_000"), text=SEARCH))
    assert not found.best["allowed"]
    assert (
        found.best["value"]
        == found.trials.filter(found.trials["held_0_ppm"] == 500_000)["value"].max()
    )
    first = found.runs.filter((found.runs["seed"] == 7) & found.runs["shock_ppm"].is_not_null())
    assert found.best["value"] == max(
        y for y, room in first.select("y", "room").iter_rows() if room >= 0
    )


def test_a_search_makes_real_runs(tmp_path):
    text = SEARCH.replace('column = "y"', 'column = "bad_debt_quote"').replace("= 60", "= 2")
    text = text.replace(
        '\nvalues = [["BTCUSDT"], ["BTCUSDT", "ETHUSDT"]]', '\nvalues=[["BTCUSDT"]]'
    )
    path = write_study(tmp_path, ("room >= 0", "fund_min_quote >= 0"), text=text)
    out = ["--out", str(tmp_path / "out"), "--workers", "1"]
    shown = CliRunner().invoke(app, ["search", str(path), *out])
    assert shown.exit_code == 0, shown.output
    assert "2 trials, 9 runs, search seed 0." in shown.output and "As it is" in shown.output
    assert {each.name for each in (tmp_path / "out").iterdir()} == {
        "runs.parquet",
        "trials.parquet",
    }
    assert study.search(path).height == 2
    bad = write_study(tmp_path, ("room >= 0", "room at all"), text=text)
    assert "$.search.require[0].condition: expected adl_starts" in refused(search_for, bad)
    assert "no number 'room'" in refused(search_for, write_study(tmp_path, text=text))
    assert "$.search: expected this table" in refused(search_for, write_study(tmp_path))
