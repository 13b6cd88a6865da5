"""Frontiers and fund-size curves: known edges come out, breaches are counted on other seeds."""

import pytest
from typer.testing import CliRunner

from engine import study
from engine.cli import app
from engine.study import edges
from engine.study.curve import Share, percent_band, share, sizes
from engine.study.edge_page import edge_page, write
from engine.study.edges import curve_rows, frontier_rows, reverse
from engine.study.row import Result
from engine.study.workers import Workers
from small_study import refused, write_study

FRONTIER = """
name = "small"
title = "where <it> hurts"
scenario = "small.toml"
seeds = 3
[reverse]
condition = "y > 0"
within = 1
vary = { field = "shock_ppm", low = 0, high = 1000 }
across = { field = "depth_ppm", values = [100, 300, 2000] }
"""
CURVE = FRONTIER.replace("shock_ppm", "depth_ppm").replace("seeds = 3", "seeds = 8")
CURVE = CURVE.replace('"y > 0"', '"need > 0"').partition("across")[0]
CURVE += "curve = { ratios_ppm = [500_000, 250_000, 130_000, 0], check_seeds = 10 }\n"


class Formula(Workers):
    """No runs: y > 0 from a shock of depth + 10 * seed on; need > 0 below a depth of 100 * seed."""

    def results(self, requests):
        for each in requests:
            shock = each.inputs.get("shock_ppm", 0)
            depth, step = each.inputs.get("depth_ppm", 0), each.inputs["seed"] - 6
            row = {"run": each.number, **each.inputs, "y": shock - depth - 10 * step + 1}
            yield Result(row={**row, "need": 150 * step - depth, "error": ""})


@pytest.fixture(autouse=True)
def formula(monkeypatch, request):
    if "real" not in request.node.name:
        monkeypatch.setattr(edges, "Workers", Formula)


def test_a_frontier_has_an_edge_for_every_value_and_seed(tmp_path):
    found = reverse(write_study(tmp_path, text=FRONTIER))
    assert found.edges.height == 9 and found.found(100) == [110, 120, 130]
    assert found.edges.columns[:2] == ["depth_ppm", "seed"]
    heads, rows = frontier_rows(found)
    assert heads == ["depth_ppm", "Edge found", "Least", "Median", "Greatest", "Holds", "Never"]
    assert rows == [
        ["100", "3 of 3", "110", "120", "130", "0", "0"],
        ["300", "3 of 3", "310", "320", "330", "0", "0"],
        ["2000", "0 of 3", "", "", "", "0", "3"],
    ]
    page = edge_page(found)
    assert "where &lt;it&gt; hurts" in page and page.count('class="chart"') == 1
    assert '"x":["100","300"]' in page and '"y":[120.0,320.0]' in page


def test_a_curve_takes_the_quantile_of_the_needs_and_checks_it_elsewhere(tmp_path):
    found = reverse(write_study(tmp_path, text=CURVE))
    # needs of the eight seeds: 150, 300 .. 900, and two of which 1000 is not enough
    assert found.edges["edge"].to_list() == ["found"] * 6 + ["holds everywhere"] * 2
    assert found.found() == [150, 300, 450, 600, 750, 900]
    points = [(p.units, p.breaches.count, p.checked and p.checked.count) for p in found.curve]
    assert points == [(600, 4, 10), (900, 2, 10), (None, 2, None), (None, 2, None)]
    assert found.runs.filter(found.runs["seed"] > 14)["seed"].n_unique() == 10
    heads, rows = curve_rows(found)
    assert heads[:2] == ["r / kappa", "K*, depth_ppm"]
    assert rows[0] == ["50 %", "600", "4 of 8", "10 of 10", "72.2 to 100.0 %"]
    assert rows[3] == ["0 %", "above 1000", "2 of 8", "", ""]
    page = write(found, tmp_path / "out")
    assert page.read_text().count('class="chart"') == 1
    names = {each.name for each in (tmp_path / "out").iterdir()}
    assert names == {"edges.parquet", "runs.parquet", "reverse.html"}


def test_sizes_never_leave_more_above_them_than_the_ratio():
    needs = [7, 3, None, 9, 1, 1, 4, 8]
    for ratio in range(0, 1_000_001, 62_500):
        (point,) = sizes(needs, [ratio])
        above = sum(n is None or (point.units is not None and n > point.units) for n in needs)
        assert point.breaches.count == above
        if point.units is not None:
            assert above * 1_000_000 <= ratio * len(needs)
            smaller = [n for n in needs if n is not None and n < point.units]
            more = sum(n is None or n > max(smaller, default=-1) for n in needs)
            assert not smaller or more * 1_000_000 > ratio * len(needs)


def test_a_share_has_wilsons_band():
    assert share(3, 10) == Share(
        3, 10, pytest.approx(0.10779, abs=1e-5), pytest.approx(0.60322, abs=1e-5)
    )
    assert (share(0, 5).low, share(5, 5).high) == (0.0, 1.0)
    assert percent_band(share(5, 10)) == "23.7 to 76.3 %"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("values = [100, 300, 2000]", "low = 1, high = 2", "values of another field in across"),
        ('across = { field = "depth_ppm"', 'across = { field = "shock_ppm"', "another field"),
        ("across", "curve = { ratios_ppm = [1] }\nacross", "across or curve, not both"),
        ("[100, 300, 2000]", "[100, -1]", "study.toml: $.reverse.across: small.toml: --set"),
        ("across =", "curve = { ratios_ppm = [] } #", "curve.ratios_ppm: expected"),
        (
            "across =",
            "curve = { ratios_ppm = [5] } #",
            "a condition that ceases as the field rises",
        ),
    ],
)
def test_what_has_no_answer_is_one_line(tmp_path, before, after, said):
    assert said in refused(reverse, write_study(tmp_path, (before, after), text=FRONTIER))


def test_real_runs_give_a_frontier(tmp_path):
    changes = (("y > 0", "notional_liquidated_quote > 0"), ("within = 1\n", "within = 400_000\n"))
    wide = ("high = 1000", "high = 2_000_000"), ("[100, 300, 2000]", "[500_000]")
    path = write_study(tmp_path, *changes, *wide, ("seeds = 3", "seeds = 2"), text=FRONTIER)
    shown = CliRunner().invoke(app, ["reverse", str(path), "--workers", "1"])
    assert shown.exit_code == 0, shown.output
    assert "500000" in shown.output and "2 of 2" in shown.output
    assert study.reverse(path)["depth_ppm"].to_list() == [500_000] * 2
