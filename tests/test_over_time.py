"""Over tape time: survival falls where ADL begins, quantiles are those of the runs."""

import numpy as np
import polars as pl
import pytest

from engine import study
from engine.study.comparison import compare, variants_of
from engine.study.curve import share
from engine.study.figures import Curve, Lines, changing_range
from engine.study.figures import survival as picture
from engine.study.page import write_comparison
from engine.study.row import PATH_POINTS
from engine.study.sweeping import sweep
from small_scenario import write_small
from small_study import refused, write_study

FALL = ["population.accounts=60", 'prices.points.1.price="5000"']


def runs(*firsts: int | None, start: int = 100, end: int = 200, **more) -> pl.DataFrame:
    """Rows of runs whose first ADL is at these times."""
    fixed = {"start_ns": start, "end_ns": end, "error": "", **more}
    return pl.DataFrame({"first_adl_ns": list(firsts)}, schema={"first_adl_ns": pl.Int64}).select(
        pl.int_range(pl.len()).alias("run"),
        "first_adl_ns",
        *(pl.lit(value).alias(name) for name, value in fixed.items()),
    )


def steps(frame: pl.DataFrame) -> list[tuple[int, int, int]]:
    return frame.select("time_ns", "without_adl", "runs").rows()


# -- survival ---------------------------------------------------------------------------------


def test_a_curve_falls_where_it_happened_and_never_comes_back():
    found = study.survival(runs(140, None, 120, 120))
    assert steps(found) == [(100, 4, 4), (120, 2, 4), (140, 1, 4), (200, 1, 4)]
    assert found["share"].to_list() == [1.0, 0.5, 0.25, 0.25]
    for row in found.iter_rows(named=True):
        known = share(row["without_adl"], row["runs"])
        assert (row["low"], row["high"]) == (known.low, known.high)
        assert row["low"] <= row["share"] <= row["high"]


def test_a_curve_in_which_nothing_happens_is_flat():
    found = study.survival(runs(None, None))
    assert steps(found) == [(100, 2, 2), (200, 2, 2)]
    assert found["high"].to_list() == [1.0, 1.0]


def test_failed_runs_are_no_part_of_a_curve():
    failed = runs(None).with_columns(error=pl.lit("why"), start_ns=pl.lit(None))
    both = pl.concat([failed, runs(150)], how="diagonal_relaxed")
    assert steps(study.survival(both)) == [(100, 1, 1), (150, 0, 1), (200, 0, 1)]
    assert study.survival(failed).is_empty()


def test_runs_that_begin_elsewhere_are_laid_over_the_first_and_end_with_the_shortest():
    later = runs(1_030, 1_070, start=1_000, end=1_060)
    found = study.survival(pl.concat([runs(150), later]))
    assert steps(found) == [(100, 3, 3), (130, 2, 3), (150, 1, 3), (160, 1, 3)]


def test_each_value_of_a_column_has_its_curve():
    both = pl.concat([runs(150, fund="10"), runs(120, None, fund="20")])
    found = study.survival(both, ["fund"])
    assert steps(found.filter(fund="10")) == [(100, 1, 1), (150, 0, 1), (200, 0, 1)]
    assert steps(found.filter(fund="20")) == [(100, 2, 2), (120, 1, 2), (200, 1, 2)]
    assert "no column 'depth'" in refused(study.survival, both, ["depth"])


# -- the fund ---------------------------------------------------------------------------------


def test_a_fan_holds_the_quantiles_of_the_runs():
    balances = {0: [5, 10], 1: [5, 20], 2: [5, 60]}
    paths = pl.DataFrame(
        [(run, 100 + 100 * place, value) for run in balances
         for place, value in enumerate(balances[run])],
        orient="row", schema=["run", "time_ns", "fund_quote"],
    )  # fmt: skip
    found = study.fund_fan(runs(None, None, None), paths)
    assert found["time_ns"].to_list() == [100, 200]
    assert found["runs"].to_list() == [3, 3]
    assert found.row(0)[2:] == (5.0,) * 5
    assert found.row(1)[2:] == pytest.approx(
        np.quantile([10, 20, 60], [0.05, 0.25, 0.5, 0.75, 0.95])
    )
    less = study.fund_fan(runs(None, None, None), paths, since_start=True)
    assert less.row(1)[2:] == pytest.approx([value - 5 for value in found.row(1)[2:]])


# -- of runs ----------------------------------------------------------------------------------


def test_a_sweep_keeps_when_and_how_and_its_page_draws_both(tmp_path):
    changed = ('scenario = "small.toml"', f'scenario = "small.toml"\nset = {FALL}')
    rows = sweep(write_study(tmp_path, changed), tmp_path / "out").rows
    paths = study.paths(tmp_path / "out")
    assert paths.columns == ["run", "time_ns", "fund_quote"]
    assert paths["run"].to_list() == [run for run in rows["run"] for _ in range(PATH_POINTS)]
    for row in rows.iter_rows(named=True):
        mine = paths.filter(run=row["run"])
        assert (mine["time_ns"][0], mine["time_ns"][-1]) == (row["start_ns"], row["end_ns"])
        assert mine["fund_quote"][-1] == row["fund_end_quote"]
        assert (row["first_adl_ns"] is None) == (row["adl_fills_count"] == 0)
    assert (
        rows["first_adl_ns"].drop_nulls().is_between(rows["start_ns"][0], rows["end_ns"][0]).all()
    )
    curves = study.survival(rows, ["fund"])
    for value in ("10", "100000"):
        ends = curves.filter(fund=value).row(-1, named=True)
        spared = rows.filter((pl.col("fund") == value) & pl.col("first_adl_ns").is_null())
        assert (ends["without_adl"], ends["runs"]) == (spared.height, 4)
    assert curves["share"].min() < 1
    fan = study.fund_fan(rows, paths, ["fund", "shock_ppm"])
    assert fan.height == 4 * PATH_POINTS
    page = (tmp_path / "out" / "study.html").read_text()
    assert "How long nobody is deleveraged" in page and "less what its run began with" in page


def test_a_comparison_says_the_same_of_its_variants(tmp_path):
    variants = variants_of((), ("adl_price=mark",), ())
    found = compare(write_small(tmp_path), variants, seeds=3, also=FALL)
    write_comparison(found, tmp_path / "out")
    assert study.paths(tmp_path / "out").equals(found.paths)
    fan = study.fund_fan(found.rows, found.paths, ["variant"])
    ends = fan.group_by("variant", maintain_order=True).last()
    for name, middle in ends.select("variant", "q50").rows():
        mine = found.rows.filter(variant=name)["fund_end_quote"]
        assert middle == mine.median()
    assert study.survival(found.rows, ["variant"])["runs"].to_list()[0] == 3
    fills = pl.DataFrame({"run": found.rows["run"], "first": found.rows["first_adl_ns"]})
    seen = found.paths.filter(pl.col("adl_fills") > 0).group_by("run").agg(pl.col("time_ns").min())
    late = fills.join(seen, on="run").select(pl.col("time_ns") - pl.col("first"))["time_ns"]
    span = (found.rows["end_ns"] - found.rows["start_ns"])[0]
    assert late.len() > 0 and late.is_between(0, span // (PATH_POINTS - 1) + 1).all()


# -- pictures ---------------------------------------------------------------------------------


def test_a_picture_shows_the_time_in_which_a_curve_falls():
    flat = Curve([0, 1000], [1.0, 1.0], [0.9, 0.9], [1.0, 1.0])
    falls = Curve([0, 400, 500, 1000], [1.0, 0.5, 0.2, 0.2], *([[0.0] * 4] * 2))
    assert changing_range([flat]) == [0, 1000]
    assert changing_range([flat, falls]) == [388, 512]
    once = Curve([0, 990, 1000], [1.0, 0.5, 0.5], *([[0.0] * 3] * 2))
    assert changing_range([once]) == [940, 1000]


def test_no_two_curves_look_alike_and_each_is_named_once():
    curve = Curve([0, 10], [1.0, 1.0], [0.5, 0.5], [1.0, 1.0])
    panels = [Lines(title, {f"{n}": curve for n in range(5)}) for title in ("a", "b")]
    lines = [each for each in picture(panels)["data"] if not each.get("fill")]
    assert len({(each["line"]["color"], each["line"]["dash"]) for each in lines}) == 5
    assert len({each["line"]["dash"] for each in lines}) == 5
    assert [each["name"] for each in lines if each["showlegend"]] == list("01234")
