"""Every scenario of the library: it runs, its audit holds, and it shows the facts it states.

The audit runs inside every replay and raises. Populations above ACCOUNTS_MAX are drawn smaller,
but for WHOLE, so that the library takes minutes; the digest is compared where nothing was changed.
"""

from pathlib import Path

import pytest

from engine.replay import replay
from engine.scenario import load_scenario

LIBRARY = sorted((Path(__file__).parent.parent / "scenarios").glob("*.toml"))
ACCOUNTS_MAX = 2_000
WHOLE = {"2025-10-10-hyperliquid-twin"}  # its facts count accounts


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_a_scenario_of_the_library_shows_its_facts(path: Path, tmp_path: Path):
    loaded = load_scenario(path)
    people = getattr(loaded.scenario.population, "accounts", 0)
    reduced = people > ACCOUNTS_MAX and path.stem not in WHOLE
    if reduced:
        loaded = load_scenario(path, [f"population.accounts={ACCOUNTS_MAX}"])
    report = replay(loaded, tmp_path / "run", keep_tape=False)
    outside = [f"{f.what}: {f.expected} +- {f.tolerance}, got {f.got}" for f in report.measured
               if not f.ok]  # fmt: skip
    assert not outside
    assert report.identity.difference_quote == 0
    assert all(report.invariants.values())
    assert not report.refused_reasons, "every command of history is accepted"
    assert loaded.scenario.digest, "a scenario of the library states its digest"
    if not reduced:
        assert report.event_digest == loaded.scenario.digest


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_a_scenario_of_the_library_says_where_its_facts_come_from(path: Path):
    scenario = load_scenario(path).scenario
    assert scenario.description.strip() and scenario.facts and scenario.evidence
    assert path.stem == scenario.name
    assert not scenario.prices.files and scenario.prices.tape is None, "no data file"


def test_disposal_in_smaller_pieces_costs_less_than_all_at_once():
    """What the four scenarios of the set are for, read from their recorded facts."""
    sold = {}
    for path in LIBRARY:
        if path.stem.startswith("disposal-"):
            facts = {fact.measure: fact.expected for fact in load_scenario(path).scenario.facts}
            sold[path.stem] = float(facts["gain_book"]), int(facts["adl_accounts_count"])
    assert sold["disposal-tenth"][0] > sold["disposal-twentieth"][0] > sold["disposal-hundredth"][0]
    assert sold["disposal-all-at-once"][1] > 0 == sold["disposal-tenth"][1]
