"""Sobol indices: known shares come out, what cannot be said is refused, the page draws the bars."""

import json

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from engine import study
from engine.cli import app
from engine.study.indices import sensitivities
from engine.study.plan import load_study, points, requests
from engine.study.sweeping import sweep
from small_study import refused, write_study

SALTELLI = """
name = "shares"
title = "who decides"
scenario = "small.toml"
seeds = 2
design = "saltelli"
points = 4
show = ["notional_liquidated_quote"]
[[vary]]
field = "shock_ppm"
low = 500_000
high = 1_500_000
[[vary]]
field = "fund"
low = "1"
high = "2"
places = 6
"""


def made_rows(loaded, value) -> pl.DataFrame:
    """Rows of a sweep whose measure is `value(shock_ppm, fund, seed)`."""
    rows = [
        {"run": each.number, "y": value(*each.inputs.values()), "error": ""}
        for each in requests(loaded)
    ]
    return pl.DataFrame(rows)


def test_a_design_has_two_samples_and_one_more_for_every_field(tmp_path):
    loaded = load_study(write_study(tmp_path, text=SALTELLI))
    found = points(loaded)
    assert len(found) == 4 * (2 + 2) and len(requests(loaded)) == 32
    for start in range(0, 16, 4):
        first, with_shock, with_fund, second = found[start : start + 4]
        assert with_shock == (second[0], first[1]) and with_fund == (first[0], second[1])
        assert first[0] != second[0] and first[1] != second[1]
    assert points(loaded) == found
    again = write_study(tmp_path, ("points = 4", "points = 4\ndesign_seed = 1"), text=SALTELLI)
    assert points(load_study(again)) != found


def test_a_sum_shares_its_variance_by_the_squares_of_its_weights(tmp_path):
    path = write_study(tmp_path, ("points = 4", "points = 512"), text=SALTELLI)
    loaded = load_study(path)
    # 3 of the first and 1 of the second, each uniform: 9 and 1 tenths; the seeds cancel out
    rows = made_rows(loaded, lambda s, f, seed: 3 * s + int(float(f) * 10**6) + (seed == 7) * 9)
    (found,) = sensitivities(loaded, rows, ["y"])
    assert (found.points, found.seeds) == (2048, 2)
    assert found.deviation == pytest.approx((10 / 12) ** 0.5 * 10**6, rel=0.01)
    for index, share in zip(found.indices, (0.9, 0.1), strict=True):
        assert index.first == pytest.approx(share, abs=0.01)
        assert index.total == pytest.approx(share, abs=0.01)
        assert 0 < index.first_half < 0.15
        assert 0 < index.total_half < 0.15
    assert sensitivities(loaded, rows, ["y"]) == [found]


def test_what_two_fields_do_only_together_is_in_the_total(tmp_path):
    loaded = load_study(write_study(tmp_path, ("points = 4", "points = 512"), text=SALTELLI))
    product = made_rows(loaded, lambda s, f, _: (s - 10**6) * int(float(f) * 10**6 - 1_500_000))
    (found,) = sensitivities(loaded, product, ["y"])
    for index in found.indices:
        assert index.first == pytest.approx(0, abs=0.05)
        assert index.total == pytest.approx(1, abs=0.05)
    (flat,) = sensitivities(loaded, made_rows(loaded, lambda *_: 5), ["y"])
    assert flat.indices == [] and (flat.mean, flat.deviation) == (5.0, 0.0)


def test_what_cannot_be_said_is_refused_in_one_line(tmp_path):
    path = write_study(tmp_path, text=SALTELLI)
    loaded = load_study(path)
    rows = made_rows(loaded, lambda *_: 1)
    failed = rows.with_columns(
        error=pl.when(pl.col("run") == 3).then(pl.lit("no")).otherwise(pl.lit(""))
    )
    assert "run 3 failed: no" in refused(sensitivities, loaded, failed, ["y"])
    assert "no number 'z'" in refused(sensitivities, loaded, rows, ["z"])
    assert "sweep first" in refused(study.sensitivity, path, tmp_path / "none")
    three = write_study(tmp_path, ("points = 4", "points = 3"), text=SALTELLI)
    said = refused(points, load_study(three))
    assert said == "study.toml: $.points: expected a power of two for design saltelli, got 3"
    grid = load_study(write_study(tmp_path))
    assert "expected saltelli" in refused(sensitivities, grid, rows, ["y"])
    bare = SALTELLI.partition("[[vary]]")[0]
    assert "expected a field to vary" in refused(load_study, write_study(tmp_path, text=bare))


def test_a_sweep_draws_the_bars_and_the_command_says_the_same(tmp_path):
    path, out = write_study(tmp_path, text=SALTELLI), tmp_path / "out"
    swept = sweep(path, out, workers=1)
    (found,) = sensitivities(swept.study, swept.rows, ["notional_liquidated_quote"])
    assert len(found.indices) == 2 and found.indices[0].total > found.indices[1].total
    page = (out / "study.html").read_text()
    assert "Which field decides" in page and '"name":"First"' in page
    run = CliRunner().invoke
    arguments = ["sensitivity", str(path), "--out", str(out)]
    assert json.loads(run(app, [*arguments, "--json"]).output) == msgspec.to_builtins([found])
    shown = run(app, arguments).output
    assert f"shock_ppm   {found.indices[0].first:.3f}" in shown.replace("\u2212", "-")
    other = run(app, [*arguments, "--measures", "rejected_count"]).output
    assert "The same in every run." in other
    assert study.sensitivity(path, out)["first"].to_list() == [e.first for e in found.indices]
