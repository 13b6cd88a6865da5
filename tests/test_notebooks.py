"""The notebooks of the documentation run, and show what their text says."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def run(name: str) -> dict:
    """What a notebook defines after its last cell."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    return dict(notebook.app.run()[1])


def test_first_replay():
    found = run("first_replay")
    assert found["same"] is True
    assert found["outcome"]["liquidations_count"][0] > 0
    assert found["smaller"]["event_digest"][0] != found["outcome"]["event_digest"][0]


def test_fund_size():
    found = run("fund_size")
    assert found["table"].height == 12, "four funds, three depths"
    assert found["rows"].height == 48 and found["rows"]["error"].str.len_chars().sum() == 0
    assert found["edges"]["edge"].to_list() == ["found"] * 4


def test_adl_rules():
    found = run("adl_rules")
    assert found["table"].height == 6
    assert found["spared"] == 0.0
    assert found["rows"]["population_hash"].n_unique() == 2, "one for each seed"
