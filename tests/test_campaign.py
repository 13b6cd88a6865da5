"""Fuzzing by volume: it finds a planted fault, makes it short, keeps it, and knows its gaps."""

import sys
from collections import Counter

import msgspec
import pytest

from engine import campaign as fuzzing
from engine import cli, fuzz
from engine.coverage import Coverage, prefixes_reached, switch_values, switches_of
from engine.drawn_profiles import draw_profile
from engine.reference import margin
from engine.shrink import KeptError, from_words, in_words, read_kept, shrink


@pytest.fixture
def wrong_fee(monkeypatch):
    """A rulebook whose every fee of more than nothing is one unit too high."""
    right = margin.fee
    monkeypatch.setattr(margin, "fee", lambda q, ppm: right(q, ppm) + (right(q, ppm) > 0))


def test_a_sound_pair_passes_and_the_coverage_is_counted():
    result = fuzzing.campaign(40, 1_200)
    assert result.ok and result.failure is None
    assert (result.seeds, result.commands >= 1_200) == (2, True)
    assert result.missing and not result.coverage_counts


def test_several_processes_run_the_same_seeds():
    """The parts are added up in the order of the seeds, and whole slices are run."""
    shared = fuzzing.campaign(40, 1_500, per_seed=60, workers=2)
    assert shared.ok and shared.seeds % fuzzing.SLICE == 0
    assert shared == fuzzing.campaign(40, shared.commands, per_seed=60)


def test_compiled_only_is_audited():
    result = fuzzing.campaign(120, 3_000, compiled_only=True, per_seed=1_500)
    assert result.ok and result.seeds == 2
    assert result.deepest > 10


def test_a_difference_is_shrunk_and_kept(wrong_fee, tmp_path):
    """A price, two accounts with money and two orders that meet are enough for a fee."""
    result = fuzzing.campaign(1, 600, keep=tmp_path)
    failure = result.failure
    assert not result.ok and failure is not None
    assert "core:" in failure.reason and "rulebook:" in failure.reason
    assert len(failure.rows) <= 8 < failure.commands_count
    assert (tmp_path / "seed-1.txt").read_text().startswith("# seed 1: command ")
    assert read_kept(tmp_path / "seed-1.txt") == (fuzz.draw_setup(1), failure.rows)
    assert fuzzing.again(tmp_path / "seed-1.txt") == failure.reason


def test_a_kept_tape_passes_once_the_fault_is_gone(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        right = margin.fee
        patch.setattr(margin, "fee", lambda q, ppm: right(q, ppm) + 1)
        fuzzing.campaign(1, 600, keep=tmp_path)
    assert fuzzing.again(tmp_path / "seed-1.txt") == ""


def test_an_assertion_is_a_failure_too(monkeypatch):
    def broken(*_):
        raise AssertionError("one unit is missing")

    monkeypatch.setattr(margin, "fee", broken)
    result = fuzzing.campaign(1, 100)
    assert result.failure.reason == "seed 1: AssertionError: one unit is missing"


def test_the_audit_is_what_fails_compiled_only(monkeypatch, tmp_path):
    """The state loses its first account: one command is enough to show it."""
    right = fuzz.Setup.core

    def core(self, **options):
        exchange = right(self, **options)
        rows = exchange.rows
        exchange.rows = lambda: {**rows(), "accounts": rows()["accounts"][1:]}
        return exchange

    monkeypatch.setattr(fuzz.Setup, "core", core)
    result = fuzzing.campaign(1, 200, compiled_only=True, keep=tmp_path)
    assert "A13" in result.failure.reason and len(result.failure.rows) == 1


def test_shrinking_leaves_nothing_that_is_not_needed():
    rows = [(n,) for n in range(1_000)]
    needed = [(3,), (500,), (501,), (998,)]
    assert shrink(rows, lambda part: set(needed) <= set(part)) == needed
    assert shrink(rows, lambda part: len(part) > 12, seconds_max=0) == rows


def test_every_command_is_its_own_words_and_back():
    for seed in range(8):
        rows = fuzz.draw_setup(seed).commands(300)
        assert [from_words(in_words(row)) for row in rows] == rows


@pytest.mark.parametrize("line", ["SELL 5", "MARK price", "MARK price=x", "MARK side=UP", "KIND_x"])
def test_words_that_are_no_command_are_refused(line):
    with pytest.raises(KeptError, match="not a "):
        from_words(line)


def test_a_file_without_a_setup_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("MARK price=5\n")
    with pytest.raises(KeptError, match="expected a setup"):
        read_kept(tmp_path / "x.txt")


# -- coverage ---------------------------------------------------------------------------------


def test_every_switch_value_is_drawn():
    """A value that no seed draws is a rule that no fuzz tests."""
    drawn = set().union(*(switches_of(draw_profile(seed)) for seed in range(400)))
    assert drawn == switch_values()


def test_a_prefix_is_reached_by_whoever_had_the_last_lot():
    profile = draw_profile(0)
    names = ["insurance_fund", "adl", "fund_unlimited"]
    profile = msgspec.structs.replace(
        profile, losses=msgspec.structs.replace(profile.losses, waterfall=names)
    )
    assert prefixes_reached(profile, Counter()) == set()
    taken = Counter({"LIQUIDATION_ENDED TAKEN_OVER": 1})
    assert prefixes_reached(profile, taken) == {"waterfall insurance_fund"}
    beyond = Counter({"LIQUIDATION_ENDED RESIDUAL": 2})
    both = {"waterfall insurance_fund", "waterfall insurance_fund adl"}
    assert prefixes_reached(profile, beyond) == both


def test_a_shortfall_of_the_coverage_fails_a_long_campaign(monkeypatch):
    monkeypatch.setattr(fuzzing, "COVERAGE_SEEDS", 2)
    assert fuzzing.campaign(40, 600).ok
    short = fuzzing.campaign(40, 1_200)
    assert short.failure is None and not short.ok
    monkeypatch.setattr(Coverage, "missing", lambda self: [])
    assert fuzzing.campaign(40, 1_200).ok


# -- the command line -------------------------------------------------------------------------


def crashtape(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["crashtape", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0), *capsys.readouterr()


def test_the_command_prints_what_was_run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, err = crashtape(monkeypatch, capsys, "verify", "fuzz", "--commands", 700)
    assert (status, err) == (0, "")
    assert out.startswith("7") and "core and rulebook compared" in out
    assert not list(tmp_path.iterdir())


def test_the_command_prints_a_failure_and_runs_it_again(wrong_fee, monkeypatch, capsys, tmp_path):
    call = ("verify", "fuzz", "--seed", 1, "--commands", 600, "--keep", tmp_path)
    status, out, err = crashtape(monkeypatch, capsys, *call)
    assert status == 1
    assert err.startswith("error: seed 1: command ") and "  NEW_ORDER " in err
    kept = tmp_path / "seed-1.txt"
    assert f"kept in {kept}" in err
    status, out, _ = crashtape(monkeypatch, capsys, "verify", "fuzz", "--again", kept)
    assert status == 1 and out.startswith("seed 1: command ")
    (tmp_path / "bad.txt").write_text("x")
    status, _, err = crashtape(
        monkeypatch, capsys, "verify", "fuzz", "--again", tmp_path / "bad.txt"
    )
    assert status == 2 and err.startswith("error: bad.txt: expected a setup")


def test_a_run_folder_may_have_the_name_of_a_command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "RUN", "./fuzz", "verify"):
        status, _, err = crashtape(monkeypatch, capsys, "verify", name)
        assert status == 2 and "report.json: No such file" in err
