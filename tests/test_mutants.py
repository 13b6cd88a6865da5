"""The table of deliberate faults fits the code; `make mutants` applies them all."""

import re
from collections import Counter
from pathlib import Path

import pytest
from mutants import ROOT, SURVIVED, copy_tree, killer, mutants

TABLE = mutants()
LEAST = 40  # faults


def test_every_fault_fits_its_file_once_and_changes_it():
    for mutant in TABLE:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, f"{mutant.file}: {mutant.old!r}"
        changed = text.replace(mutant.old, mutant.new)
        assert changed != text
        compile(changed, mutant.file, "exec")


def test_core_and_rulebook_have_faults_of_their_own():
    assert len(TABLE) >= LEAST
    places = Counter(mutant.file.split("/")[1] for mutant in TABLE)
    assert places["core"] >= LEAST // 2 and places["reference"] >= LEAST // 2


def test_every_fault_names_a_rule_or_an_invariant_and_tests_that_exist():
    rulebook = (ROOT / "engine" / "reference").glob("*.py")
    stated = [re.findall(r'"""(R\d+)\.', path.read_text(encoding="utf-8")) for path in rulebook]
    known = {rule for rules in stated for rule in rules}
    invariants = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
    known |= set(re.findall(r"^\| ([A-Z]\d\d) \|", invariants, re.MULTILINE))
    for mutant in TABLE:
        assert mutant.breaks in known, f"{mutant.what}: {mutant.breaks}"
        assert mutant.tests and all(
            (ROOT / "tests" / name.split("::")[0]).exists() for name in mutant.tests
        )


@pytest.mark.parametrize("place", ["engine/core/", "engine/reference/"])
def test_a_fault_is_killed_and_the_tree_is_sound_again(tmp_path: Path, place: str):
    """One of each side; and a change that is no fault survives."""
    tree = copy_tree(tmp_path)
    mutant = next(m for m in TABLE if m.file.startswith(place) and m.breaks == "R22")
    assert killer(tree, mutant).startswith("rules/test_fees.py::")
    assert (tree / mutant.file).read_bytes() == (ROOT / mutant.file).read_bytes()


def test_what_is_no_fault_survives(tmp_path: Path, monkeypatch):
    import mutants as runner

    monkeypatch.setattr(runner, "LAST_RESORT", ["rules/test_fees.py"])
    harmless = runner.Mutant(
        what="a comment",
        file="engine/core/margin.py",
        old='"""Implements R22."""',
        new='"""Implements R22 too."""',
        breaks="R22",
        tests=["rules/test_fees.py"],
    )
    assert killer(copy_tree(tmp_path), harmless) == SURVIVED
