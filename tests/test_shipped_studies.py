"""Every study that ships, and the one the page explains, loads and names what its rows have."""

import re
from pathlib import Path

import pytest

from engine.messages import RunSummary
from engine.study.conditions import Condition
from engine.study.plan import check_plan, check_values, load_study, requests

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "studies.md"
SHIPPED = [*sorted((ROOT / "studies").glob("*.toml")), ROOT / "benchmarks" / "sweep.toml"]
CUTS = {"winner_cut_ppm", "winner_cut_max_ppm", "fund_fall_quote"}
OF_A_ROW = {*RunSummary.__struct_fields__, *CUTS}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_can_be_run(path):
    loaded = load_study(path)
    study = loaded.study
    check_values(loaded)
    check_plan(loaded, requests(loaded))
    wanted = set(study.show)
    if study.reverse:
        wanted.add(Condition.parse(study.reverse.condition).column)
    if study.search:
        wanted |= {Condition.parse(each.condition).column for each in study.search.require}
        wanted.add(study.search.column)
    assert wanted <= OF_A_ROW
    assert f"studies/{path.name}" in PAGE.read_text() or path.parent.name == "benchmarks"


def test_the_blocks_of_the_page_are_one_study(tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "scenarios").mkdir()
    scenario = ROOT / "scenarios" / "2020-03-12-black-thursday.toml"
    (tmp_path / "scenarios" / scenario.name).write_text(scenario.read_text())
    path = tmp_path / "study.toml"
    path.write_text("\n".join(blocks))
    loaded = load_study(path)
    check_plan(loaded, requests(loaded))
    assert loaded.study.search.require[0].share_ppm == 990_000
    assert loaded.study.reverse.within == 20_000


def test_the_benchmark_has_two_thousand_runs():
    assert len(requests(load_study(ROOT / "benchmarks" / "sweep.toml"))) == 2_000
