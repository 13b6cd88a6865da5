"""docs/invariants.md lists every invariant with the test that would fail; this file holds it to it.

The sentences A01 and on are those of `engine/audit.py`; the others are stated here. After a
change: `python tests/test_invariants_page.py` writes the page anew.
"""

import ast
from pathlib import Path

import pytest
from test_audit import DAMAGE

from engine.audit import INVARIANTS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "invariants.md"
DAMAGED = "test_audit.py::test_damaged_events_break_their_invariant"
ONE_UNIT = "test_audit.py::test_one_unit_in_the_state_is_found"

# Invariants that the damage of events cannot break: the state is what differs.
BY_STATE = dict.fromkeys(("A12", "A13", "A14", "A15"), ONE_UNIT)

SECTIONS = {
    "One result": {
        "D01": (
            "Core and rulebook give the same event rows and the same state for the same commands.",
            "differential/test_core_and_rulebook.py::test_same_events_and_same_state",
        ),
        "D02": (
            "The size of the batches changes no event.",
            "determinism/test_same_digest.py::test_batches_do_not_matter",
        ),
        "D03": (
            "The size of the event buffer changes no event, even inside a cascade.",
            "determinism/test_same_digest.py::test_a_cascade_is_drained_in_portions",
        ),
        "D04": (
            "Compiled and plain Python give one digest.",
            "determinism/test_same_digest.py::test_compiled_and_plain_python_agree",
        ),
        "D05": (
            "Hash seeds and processes change no digest.",
            "determinism/test_same_digest.py::test_hash_seeds_and_processes_agree",
        ),
        "D06": (
            "A refused command changes nothing but the command number.",
            "properties/test_invariants.py::test_a_refused_command_leaves_no_trace",
        ),
        "D07": (
            "Renaming accounts in the same order changes nothing else.",
            "properties/test_invariants.py::"
            "test_other_account_ids_in_the_same_order_change_nothing",
        ),
        "D08": (
            "The event digest goes on from any row in another process.",
            "test_journal.py::test_the_event_digest_goes_on_from_any_row",
        ),
    },
    "Journal and snapshots": {
        "J01": (
            "A batch is on the device before it is applied.",
            "test_journal.py::"
            "test_the_device_is_waited_for_before_a_batch_is_applied_and_before_a_name_is_given",
        ),
        "J02": (
            "A snapshot at any command resumes to the digest of a run without one.",
            "test_journal.py::test_a_snapshot_at_every_command_resumes_to_the_same_digest",
        ),
        "J03": (
            "A snapshot is the same file from every process; it holds no address.",
            "test_journal.py::test_another_process_goes_on_to_the_same_digest",
        ),
        "J04": (
            "A record that breaks off is cut and reported; what is before it is intact.",
            "test_journal.py::test_every_truncation_is_cut_to_a_prefix_and_reported",
        ),
        "J05": (
            "An altered byte of a journal is refused with the offset of its record.",
            "test_journal.py::test_every_altered_byte_is_refused_with_the_offset_of_its_record",
        ),
        "J06": (
            "An altered snapshot is never used, and the report says so.",
            "test_journal.py::test_a_damaged_snapshot_is_reported_and_not_used",
        ),
        "J07": (
            "A fault of the device at any call leaves what was acknowledged, and applies nothing.",
            "test_journal.py::test_a_fault_at_every_call_leaves_what_was_acknowledged",
        ),
        "J08": (
            "A journal has one writer.",
            "test_journal.py::test_a_second_opening_is_refused",
        ),
        "J09": (
            "A killed process loses no acknowledged command.",
            "test_drill.py::test_the_small_drill_loses_nothing_and_takes_nothing_bad",
        ),
        "J10": (
            "A killed run, resumed, ends with the tape, tables, digests and report of a whole one.",
            "test_resume.py::test_a_killed_run_goes_on_to_the_same_end",
        ),
    },
    "Files from outside": {
        "F01": (
            "An altered byte of a tape is refused.",
            "test_tape.py::test_every_altered_byte_is_refused",
        ),
        "F02": (
            "A mutated file is refused in one line or accepted: no crash, no hang, bounded memory.",
            "test_hostile.py::test_mutated_files_are_refused_in_one_line_or_accepted",
        ),
        "F03": (
            "A scenario reads nothing outside the folders the user named.",
            "test_hostile.py::test_a_scenario_reads_nothing_outside_its_folders",
        ),
        "F04": (
            "A page escapes every text of a scenario.",
            "test_hostile.py::test_a_page_escapes_every_text_of_a_scenario",
        ),
        "F05": (
            "No length in a file is believed before it is compared with the file.",
            "test_journal.py::test_no_length_is_trusted",
        ),
        "F06": (
            "What a packed file becomes is bounded, whatever it says of itself.",
            "test_hostile.py::test_a_bomb_is_refused_before_it_unpacks",
        ),
        "F07": (
            "Text of a file is read as it stands, never unpacked a second time.",
            "test_hostile.py::test_text_that_looks_packed_is_read_as_it_stands",
        ),
        "F08": (
            "Rows that are not those of a tape hash are found by it, whatever the checks of their"
            " blocks.",
            "test_tape_checks.py::"
            "test_other_rows_with_sound_checks_are_found_by_the_identity_alone",
        ),
        "F09": (
            "What the compiled passes over plain lines take is what the parser takes.",
            "test_plain_lines.py::test_samples_and_their_mutations_read_the_same",
        ),
    },
}
INTRODUCTION = """# Invariants

What always holds, and the test that fails when it does not. This page is written by
`tests/test_invariants_page.py` from the sentences of `engine/audit.py` and from its own list, and
a test fails when they differ or a test named here is gone. Tests are paths below `tests/`.

## Money, book and risk

The auditor rebuilds balances, positions, orders and prices from the events alone and compares them
with the state after every run; a broken one makes the run fail and is named.
"""


def rows() -> dict[str, dict[str, tuple[str, str]]]:
    """Sections of (sentence, test) by id."""
    audit = {
        name: (sentence, BY_STATE.get(name, f"{DAMAGED}[{name}]"))
        for name, sentence in INVARIANTS.items()
    }
    return {"": audit, **SECTIONS}


def page() -> str:
    """The page as it should be."""
    parts = [INTRODUCTION]
    for title, found in rows().items():
        lines = [f"\n## {title}\n"] if title else []
        lines += ["\n| id | invariant | test |\n|---|---|---|\n"]
        lines += [f"| {name} | {text} | `{test}` |\n" for name, (text, test) in found.items()]
        parts += lines
    return "".join(parts)


def test_the_page_is_what_the_lists_say():
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("name", [name for found in rows().values() for name in found])
def test_the_named_test_exists(name):
    place = next(found[name][1] for found in rows().values() if name in found)
    file, _, rest = place.partition("::")
    function, _, case = rest.partition("[")
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    nodes = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert function in nodes, f"{name}: {file} has no {function}"
    if case:
        assert case.rstrip("]") in DAMAGE, f"{name}: no damage breaks it"
    if name in BY_STATE:
        named = [node for node in ast.walk(nodes[function]) if isinstance(node, ast.Constant)]
        assert name in {node.value for node in named}, f"{name}: {function} does not name it"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
