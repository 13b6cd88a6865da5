"""Every published worked example, asked of both implementations through the same call."""

import json
from pathlib import Path

import pytest
from conformance import CONTRADICTIONS, agrees, differences, restored, worked_examples

from engine.calculate import is_formula

EXAMPLES = worked_examples()
VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "worked_examples.json"


@pytest.mark.parametrize("implementation", ["rulebook", "core"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_engine_gives_the_published_numbers(name, implementation):
    found = differences(EXAMPLES[name], implementation)
    assert not found, f"{EXAMPLES[name]['source']}: {found} {CONTRADICTIONS.get(name, '')}"


def test_the_numbers_are_those_that_were_collected():
    if not VECTORS.is_file():
        pytest.skip("no recorded examples in ../shared/vectors")
    collected = {each["id"]: each for each in json.loads(VECTORS.read_text())["vectors"]}
    assert collected.keys() == EXAMPLES.keys()
    for name, each in collected.items():
        mine = EXAMPLES[name]
        for part in ("inputs", "expected"):
            assert mine[part] == {n: restored(v["value"]) for n, v in each[part].items()}, name
        facts = ("venue", "topic", "source", "evidence")
        assert [mine[f] for f in facts] == [each[f] for f in facts]
        assert mine["tolerance"] == each["tolerance"].get("abs", 0)


def test_only_rules_that_no_axis_expresses_are_formulas():
    found = {name for name, e in EXAMPLES.items() if is_formula(e["topic"], e["inputs"])}
    rates = {name for name in found if EXAMPLES[name]["topic"] == "funding_rate"}
    assert found - rates == {
        "drift.liq_fee.slot10",
        "drift.liq_fee.slot10000",
        "drift.liquidate.ramp",
    }


def test_every_contradiction_is_of_an_example_there_is():
    assert CONTRADICTIONS.keys() <= EXAMPLES.keys()


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        (1.0, 1.05, False),
        (1.0, 1.005, True),
        ([1, 2], [1, 2], True),
        ([1], [1, 2], False),
        (True, 1, False),
        (None, 1, False),
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ("x", "y", False),
    ],
)
def test_agreement_is_strict(found, expected, same):
    assert agrees(found, expected, 0.01) is same
