"""Studies: a row says what a run says, plans are exact, folders survive stops and lost workers."""

import math
import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from engine import constants as c
from engine import study
from engine.audit import Audit
from engine.messages import RunSummary
from engine.replay import replay
from engine.report.liquidations import Deleveraging
from engine.rows import EVENT
from engine.scenario import load_scenario
from engine.strict import toml_tree
from engine.study import dataset
from engine.study.changes import expand, policy_change
from engine.study.comparison import band, compare, differences, variants_of
from engine.study.conditions import Condition
from engine.study.dataset import Dataset, column_types
from engine.study.edges import _Search
from engine.study.page import compare_page, write_comparison
from engine.study.plan import Vary, check_plan, load_study, points, requests
from engine.study.row import Request, Result, Watch, run_request
from engine.study.sweeping import sweep
from engine.study.workers import Workers
from small_scenario import write_small
from small_study import STUDY, parts, refused, write_study

# -- one run ----------------------------------------------------------------------------------


def test_a_row_says_what_the_run_folder_says(tmp_path):
    scenario = write_small(tmp_path)
    changes = ["population.accounts=60", 'prices.points.1.price="5000"']
    report = replay(load_scenario(scenario, changes), tmp_path / "run")
    row = study.run(scenario, changes).row(0, named=True)
    assert report.summary.liquidations_count > 10
    for name in RunSummary.__struct_fields__:
        if name in row:
            assert row[name] == getattr(report.summary, name), name
    assert {"notional_adl_quote", "fund_end_quote", "events_count"} <= row.keys()
    for name in ("tape_hash", "event_digest", "state_digest", "scenario_hash", "profile_hash"):
        assert row[name] == getattr(report, name), name
    assert row["commands_count"] == report.commands_count
    assert row["lots_book_BTCUSDT"] == report.summary.lots["book"]["BTCUSDT"]
    assert sum(v for k, v in row.items() if k.startswith("ended_")) == row["liquidations_count"]
    adl = pl.read_parquet(tmp_path / "run" / "adl.parquet")
    assert adl.height == row["adl_fills_count"] > 0
    cut = adl["haircut_at_mark"].sum() * 10**6 / adl["notional"].sum()
    assert row["winner_cut_ppm"] == math.floor(cut)
    by_winner = adl.group_by("counterparty_account").agg(
        pl.col("haircut_at_mark", "notional").sum()
    )
    worst = max(h * 10**6 // n for _, h, n in by_winner.iter_rows())
    assert row["winner_cut_max_ppm"] == worst > 0
    assert {path.name for path in tmp_path.iterdir()} == {"small.toml", "run"}


def test_a_path_ends_where_the_run_ends(tmp_path):
    request = Request.of(3, write_small(tmp_path), ['prices.points.1.price="5000"'], None)
    result = run_request(msgspec.structs.replace(request, path=True))
    path, row = result.path, result.row
    assert len({len(values) for values in path.values()}) == 1
    assert path["fund_quote"][-1] == row["fund_end_quote"]
    assert path["liquidations"][-1] == row["liquidations_count"] > 0
    assert path["adl_fills"][-1] == row["adl_fills_count"]
    assert path["mark_price"][0] == 800_000
    assert path["time_ns"][0] == row["start_ns"] and path["time_ns"][-1] == row["end_ns"]


def test_a_run_that_fails_is_a_row_too(tmp_path):
    row = run_request(Request.of(1, write_small(tmp_path), ["seed=-1"], None)).row
    assert row["run"] == 1 and "small.toml: $.seed" in row["error"]


def test_a_watch_counts_up_to_each_time_and_keeps_gains_apart():
    watch = Watch(with_path=True)
    fills = [(20, 1_000, 30), (20, 1_000, -10), (21, 2_000, -40)]
    watch.adl([Deleveraging(1, 120, 1, 17, who, 5, 9, 9, n, h, 0) for who, n, h in fills])
    assert watch.winner_cuts() == (-5_000, 10_000)
    events = np.zeros(2, EVENT)
    events["kind"], events["time_ns"] = c.EventKind.LIQUIDATION_STARTED, (60, 120)
    watch.events(events)
    path = watch.path(0, 120)
    assert path["liquidations"][59:61] == [0, 1] and path["liquidations"][-2:] == [1, 2]
    assert path["adl_fills"][-2:] == [0, 3]


def test_every_run_is_audited(tmp_path, monkeypatch):
    monkeypatch.setattr(Audit, "update", lambda audit, events: None)
    row = run_request(Request.of(1, write_small(tmp_path), [], None)).row
    assert row["error"].startswith("audit ") and "state_digest" not in row


# -- changes ----------------------------------------------------------------------------------


def test_scales_become_plain_overrides(tmp_path):
    scenario = write_small(tmp_path, ('"7000"', '"7000.01"'))
    found = expand(scenario, ["shock_ppm=1_500_000", "depth_ppm=400_000", "seed=9"])
    loaded = load_scenario(scenario, found)
    assert [point.price for point in loaded.scenario.prices.points] == ["8000", "6500.02"]
    assert loaded.scenario.liquidity["BTCUSDT"].levels[0].lots == 2
    assert loaded.scenario.seed == 9
    assert "expected 0 to" in refused(expand, scenario, ["shock_ppm=-1"])


def test_another_venue_takes_its_own_units(tmp_path):
    scenario = write_small(tmp_path)
    loaded = load_scenario(scenario, expand(scenario, ['profile="okx_linear"']))
    market = loaded.scenario.population.markets[0]
    assert (market.market, market.open_interest_lots) == ("BTC-USDT-SWAP", 9_000)
    assert loaded.scenario.liquidity["BTC-USDT-SWAP"].levels[0].lots == 1
    assert loaded.profile.name.startswith("okx")
    assert "expected linear" in refused(expand, scenario, ['profile="deribit"'])
    assert "shipped profiles" in refused(expand, scenario, ['profile="nowhere"'])


def test_a_policy_is_named_by_what_only_one_field_says():
    assert policy_change("fund_cap=5") == "venue.losses.fund_cap=5"
    assert "say which: adl_score=none, adl_cancel=none" in refused(policy_change, "none")
    assert "expected one of" in refused(policy_change, "nobody")
    assert "no such field" in refused(policy_change, "who=me")


def test_what_is_kept_of_a_file_is_nobodys_to_change(tmp_path):
    text = 'a = [1, { b = "x" }]'
    first = toml_tree(text)
    first["a"][1]["b"] = "y"
    assert toml_tree(text) == {"a": [1, {"b": "x"}]}
    scenario = write_small(tmp_path)
    before = load_scenario(scenario).scenario.fund
    assert (
        load_scenario(scenario, ['fund="7"', "venue.losses.retry_ns=5"]).profile.losses.retry_ns
        == 5
    )
    again = load_scenario(scenario)
    assert (again.scenario.fund, again.profile.losses.retry_ns) == (before, 10**9)
    write_small(tmp_path, ("1000.5", "1000.6"))
    assert load_scenario(scenario).scenario.fund == "1000.6"


# -- plans ------------------------------------------------------------------------------------


def test_a_grid_runs_point_by_point_and_seed_by_seed(tmp_path):
    plan = requests(load_study(write_study(tmp_path)))
    assert [each.number for each in plan] == list(range(8))
    inputs = [tuple(each.inputs.values()) for each in plan]
    assert inputs[:3] == [("10", 1_000_000, 7), ("10", 1_000_000, 8), ("10", 2_000_000, 7)]
    listed = load_study(write_study(tmp_path, ("seeds = 2", 'design = "list"')))
    assert points(listed) == [("10", 1_000_000), ("100000", 2_000_000)]


RANGES = """
name = "drawn"
title = "drawn"
scenario = "small.toml"
design = "latin_hypercube"
points = 16
[[vary]]
field = "fund"
low = "100"
high = "199.9"
places = 1
[[vary]]
field = "depth_ppm"
low = 1
high = 16
"""


@pytest.mark.parametrize("design", ["latin_hypercube", "sobol"])
def test_a_drawn_design_fills_every_stretch_once(tmp_path, design):
    if design == "sobol":
        pytest.importorskip("scipy")
    loaded = load_study(write_study(tmp_path, ("latin_hypercube", design), text=RANGES))
    found = points(loaded)
    assert sorted(depth for _, depth in found) == list(range(1, 17))
    tenths = sorted((int(fund.replace(".", "")) - 1000) * 16 // 1000 for fund, _ in found)
    assert tenths == list(range(16))
    assert points(loaded) == found
    other = ("points = 16", "points = 16\ndesign_seed = 1")
    again = write_study(tmp_path, ("latin_hypercube", design), other, text=RANGES)
    assert points(load_study(again)) != found


def test_a_range_includes_its_ends():
    vary = Vary(field="x", low=3, high=5)
    top = 2**53 - 1
    assert [vary.drawn(draw) for draw in (0, top // 2, top)] == [3, 4, 5]
    log = Vary(field="x", low="1", high="10000", scale="log", places=2)
    assert [log.drawn(draw) for draw in (0, 1 << 52, top)] == ["1.00", "100.00", "10000.00"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("seeds = 2", "seeds = 0", "study.toml: $.seeds: expected"),
        ("seeds = 2", "sedes = 2", "study.toml: $.sedes: unknown field"),
        ("small.toml", "../small.toml", "study.toml: $.scenario: expected a path inside"),
        ("small.toml", "none.toml", "study.toml: $.scenario: no such file"),
        ("shock_ppm", "fund", "expected each field once in vary"),
        ('values = ["10", "100000"]', "values = []", "$.vary[0]"),
        ("seeds = 2", "points = 4", "expected points for latin_hypercube, sobol, saltelli"),
        ("seeds = 2", 'design = "list"\nvary = 3', "study.toml: "),
        ("seeds = 2", 'set = ["nothing=1"]', "small.toml: $.nothing: unknown field"),
    ],
)
def test_a_wrong_study_is_one_line_with_its_field(tmp_path, before, after, said):
    assert said in refused(load_study, write_study(tmp_path, (before, after)))


def test_values_no_run_could_take_are_refused_before_the_first(tmp_path):
    loaded = load_study(write_study(tmp_path, ('"100000"', '"much"')))
    said = refused(check_plan, loaded, requests(loaded))
    assert said.startswith("study.toml: $.vary[0]: small.toml: $.fund: expected")
    path = write_study(tmp_path, ('"100000"', '"much"'))
    refused(sweep, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- sweeps -----------------------------------------------------------------------------------


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(dataset, "PART_ROWS", 3)


def stop_after(count: int):
    def progress(done: int, total: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return progress


def test_the_same_bytes_for_any_workers_and_any_stop(tmp_path, short_parts):
    path = write_study(tmp_path)
    whole = sweep(path, tmp_path / "one")
    assert whole.rows["run"].to_list() == list(range(8)) and whole.failed_count == 0
    assert len(parts(tmp_path / "one")) == 2 * 3
    sweep(path, tmp_path / "two", workers=2)
    for count in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            sweep(path, tmp_path / "stopped", progress=stop_after(count))
    waiting = tmp_path / "stopped" / "waiting.jsonl"
    with waiting.open("ab") as file:
        file.write(b'00000000 {"run":7}\n{"torn')
    again = sweep(path, tmp_path / "stopped")
    assert again.made_count == 4 and not waiting.exists()
    assert parts(tmp_path / "one") == parts(tmp_path / "two") == parts(tmp_path / "stopped")
    assert study.read(tmp_path / "two").equals(whole.rows)
    names = {each.name for each in (tmp_path / "one").iterdir()}
    assert names == {"runs", "paths", "study.json", "study.html"}
    page = (tmp_path / "one" / "study.html").read_text()
    assert "a small &lt;study&gt;" in page and page.count('class="chart"') >= 2


def test_a_folder_of_another_study_is_left_alone(tmp_path):
    out = tmp_path / "out"
    path = write_study(tmp_path)
    sweep(path, out)
    before = parts(out)
    changed = write_study(tmp_path, ('"10"', '"11"'))
    assert "holds another study" in refused(sweep, changed, out)
    (tmp_path / "small.toml").write_text((tmp_path / "small.toml").read_text() + "\n# same\n")
    assert sweep(write_study(tmp_path), out).made_count == 0
    small = write_small(tmp_path, ("1000.5", "1000.6"))
    assert "holds another study" in refused(sweep, path, out) and small.exists()
    assert parts(out) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    assert "no sweep made it" in refused(Dataset, other, "k", None, 1)


def test_a_row_keeps_the_order_and_types_of_its_plan(tmp_path):
    plan = requests(load_study(write_study(tmp_path, ('"10"', "10"))))
    schema = column_types(plan, {"bad_debt_quote": 0, "asset": "USDT", "error": ""})
    names = ["run", "fund", "shock_ppm", "seed", "bad_debt_quote", "asset", "error"]
    assert schema.names == names
    kinds = ["int64", "string", "int64", "int64", "int64", "string", "string"]
    assert [str(kind) for kind in schema.types] == kinds


# -- workers ----------------------------------------------------------------------------------


def dies(request: Request) -> Result:
    """Kills its worker at run 1 the first time, and at run 3 always."""
    mark = Path(request.scenario) / f"{request.number}"
    if request.number == 3 or (request.number == 1 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Result(row={"run": request.number, "error": ""})


def test_a_worker_that_dies_loses_only_its_run(tmp_path):
    asked = [Request.of(number, tmp_path, [], None) for number in range(6)]
    with Workers(2, dies) as pool:
        rows = {result.row["run"]: result.row["error"] for result in pool.results(asked)}
    assert rows.pop(3) == "the worker died twice at this run (signal 9)"
    assert rows == dict.fromkeys((0, 1, 2, 4, 5), "")
    assert "workers: expected 1 or more" in refused(Workers, 0)


# -- compare ----------------------------------------------------------------------------------


def test_variants_share_tape_and_population(tmp_path):
    scenario = write_small(tmp_path)
    variants = variants_of((), ("adl_price=mark",), ('fund="9"; depth_ppm=500_000',))
    also = ['prices.points.1.price="5000"']
    found = compare(scenario, variants, seeds=3, also=also)
    rows = found.rows
    assert rows.height == 9 and found.failed == []
    assert rows.group_by("seed").agg(pl.col("population_hash").n_unique())[
        "population_hash"
    ].to_list() == [1, 1, 1]
    tapes = rows.filter(pl.col("variant") != variants[2].name)
    assert (tapes.group_by("seed").agg(pl.col("tape_hash").n_unique())["tape_hash"] == 1).all()
    assert rows["state_digest"].n_unique() > 3
    cut = rows.pivot("variant", index="seed", values="winner_cut_ppm")
    gaps = (cut["adl_price=mark"] - cut["as it is"]).to_list()
    assert differences(found, "adl_price=mark", "winner_cut_ppm") == gaps
    assert (cut["adl_price=mark"] == 0).all() and min(gaps) < 0
    alone = study.run(scenario, [*also, 'venue.losses.adl_price="mark"'])
    mine = rows.filter((pl.col("variant") == "adl_price=mark") & (pl.col("seed") == 7))
    assert mine["state_digest"][0] == alone["state_digest"][0]
    page = compare_page(found)
    assert "<h2>Liquidations and deleveraging</h2>" in page and page.count('class="chart"') > 3
    write_comparison(found, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "runs.parquet").equals(rows)
    (tmp_path / "out" / "mine.txt").touch()
    assert "'mine.txt'" in refused(write_comparison, found, tmp_path / "out")


def test_a_variant_is_refused_by_its_name(tmp_path):
    variants = variants_of((), (), ("population.acounts=3",))
    said = refused(compare, write_small(tmp_path), variants)
    assert "variant 'population.acounts=3'" in said and "small.toml: $.population" in said
    assert "expected --profiles" in refused(variants_of, (), (), ())
    assert "each variant once" in refused(variants_of, (), (), ("seed=1", "seed=1"))


def test_a_band_holds_its_mean_and_narrows():
    wide, narrow = band([0, 10, 0, 10]), band([0, 10] * 50)
    assert wide.low <= wide.mean == 5.0 <= wide.high
    assert 3.5 < narrow.low < 5.0 < narrow.high < 6.5
    assert (wide.low, wide.high) == (0.0, 10.0)


# -- reverse ----------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [1, 37, 99])
@pytest.mark.parametrize("rising", [True, False])
def test_a_search_closes_in_from_either_side(edge, rising):
    search = _Search(seed=1, low=0, high=100)
    while (value := search.wanted(1)) is not None:
        search.learn(value, (value >= edge) == rising)
    assert (search.low, search.high) == (edge - 1, edge)
    assert search.runs <= 9


def test_the_edge_lies_between_two_runs_that_disagree(tmp_path):
    table = """
[reverse]
condition = "adl_starts"
within = "1000"
vary = { field = "fund", low = "0", high = "1000000" }
"""
    changes = ["shock_ppm=3_000_000", "population.accounts=50"]
    text = STUDY.replace('"small.toml"', f'"small.toml"\nset = {changes}') + table
    path = write_study(tmp_path, text=text)
    edges = study.reverse(path)
    assert edges["seed"].to_list() == [7, 8]
    for row in edges.iter_rows(named=True):
        assert row["edge"] == "found", row
        assert 0 < int(row["not_at"]) - int(row["holds_at"]) <= 1000
        for place, holds in (("holds_at", True), ("not_at", False)):
            again = [*changes, f'fund="{row[place]}"', f"seed={row['seed']}"]
            alone = study.run(tmp_path / "small.toml", again)
            assert (alone["adl_fills_count"][0] > 0) == holds
    assert "$.reverse: expected this table" in refused(study.reverse, write_study(tmp_path))


def test_a_condition_is_a_column_and_a_number():
    condition = Condition.parse("winner_cut_ppm >= 5_000")
    assert condition.of({"error": "", "winner_cut_ppm": 5_000})
    assert not condition.of({"error": "", "winner_cut_ppm": 4_999})
    with pytest.raises(ValueError, match="adl_starts"):
        Condition.parse("it hurts")
    row = {"error": "", "seed": 1}
    assert "no number 'winner_cut_ppm'" in refused(condition.of, row)
