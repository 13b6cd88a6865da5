"""A run that was killed goes on, and ends as if nothing had happened."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from test_cli import crashtape, refused

from engine.journal import Journal
from engine.run_folder import NAMES
from small_scenario import write_small

RUN = """
import os, signal, sys
import engine.cli, engine.journal, engine.replay
from journals import CountingDisk
place, number = sys.argv[1], int(sys.argv[2])

class Disk(CountingDisk):
    def before(self, name, arguments):
        if place == "before" and self.calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if place == "within" and self.calls == number and name == "write":
            os.write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

engine.journal.Disk = Disk
engine.replay.GATHERED_ROWS = 100
renamed = os.rename
if place == "rename":
    def rename(*names):
        number_left[0] -= 1
        if number_left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return renamed(*names)
    number_left = [number]
    os.rename = rename
sys.argv = ["crashtape", *sys.argv[3:]]
engine.cli.main()
"""


def run(*arguments: object, place: str = "never", number: int = 0, cwd: Path) -> int:
    """The status of a run in a process of its own, killed at a call of the journal's disk."""
    command = [sys.executable, "-c", RUN, place, str(number), *map(str, arguments)]
    paths = ":".join(path for path in sys.path if path)
    env = os.environ | {"PYTHONPATH": paths}
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True).returncode


def quiet(folder: Path) -> dict:
    """The report without the time the run took."""
    report = json.loads((folder / "report.json").read_bytes())
    return report | {"wall_ns": 0, "compile_ns": 0}


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: crashtape(monkeypatch, capsys, *arguments)


def same_run(one: Path, other: Path) -> None:
    assert {path.name for path in other.iterdir()} == NAMES
    assert quiet(one) == quiet(other)
    for name in ("tape.crashtape", "scenario.toml", "venue.toml"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for table in one.glob("*.parquet"):
        assert pl.read_parquet(table).equals(pl.read_parquet(other / table.name)), table.name


KILLS = [("before", 7), ("within", 9), ("within", 11), ("before", 14)]


@pytest.mark.parametrize(("place", "number"), KILLS)
def test_a_killed_run_goes_on_to_the_same_end(call, tmp_path, place, number):
    path = write_small(tmp_path)
    assert call("run", path, "--out", "whole")[0] == 0
    assert run("run", path, "--out", "cut", place=place, number=number, cwd=tmp_path) == -9
    assert not (tmp_path / "cut").exists()
    status, out, err = call("run", "--resume", "cut")
    assert (status, err) == (0, "")
    assert re.search(r"^Resumed after the \d+ commands of the journal", out, re.MULTILINE)
    assert ("that broke off were cut" in out) == (place == "within")
    same_run(tmp_path / "whole", tmp_path / "cut")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "small.toml", "whole"]
    assert call("verify", "cut")[0] == 0


def test_a_resumed_run_may_be_killed_again(call, tmp_path):
    path = write_small(tmp_path)
    assert call("run", path, "--out", "whole", "--batch", 7)[0] == 0
    arguments = ("run", path, "--out", "cut", "--batch", 7)
    assert run(*arguments, place="within", number=9, cwd=tmp_path) == -signal.SIGKILL
    assert run("run", "--resume", "cut", place="before", number=5, cwd=tmp_path) == -9
    assert run("run", "--resume", "cut", place="never", cwd=tmp_path) == 0
    same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_kill_while_the_folder_is_renamed(call, tmp_path):
    path = write_small(tmp_path)
    assert call("run", path, "--out", "cut")[0] == 0
    before = quiet(tmp_path / "cut")
    assert run("run", path, "--out", "cut", place="rename", number=2, cwd=tmp_path) == -9
    assert call("run", "--resume", "cut")[0] == 0
    assert quiet(tmp_path / "cut") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "small.toml"]


def test_what_cannot_be_resumed_is_refused_and_kept(call, tmp_path):
    assert "No such file; expected a journal" in refused(call("run", "--resume", "none"))
    path = write_small(tmp_path)
    run("run", path, "--out", "cut", place="before", number=9, cwd=tmp_path)
    text = refused(call("run", "--resume", "cut", "--set", "fund='1'"))
    assert text.startswith("--resume: the run knows")
    kept = (tmp_path / ".cut.journal" / "journal").read_bytes()
    write_small(tmp_path, ('fund = "1000.5"', 'fund = "1000.6"'))
    assert "scenario_hash: the run began with" in refused(call("run", "--resume", "cut"))
    path.unlink()
    assert "small.toml: No such file" in refused(call("run", "--resume", "cut"))
    assert (tmp_path / ".cut.journal" / "journal").read_bytes() == kept
    write_small(tmp_path)
    journal = Journal.open(tmp_path / ".cut.journal")
    for arguments in (("--resume", "cut"), (path, "--out", "cut")):
        assert "in use: another process" in refused(call("run", *arguments))
    journal.release()
    assert call("run", "--resume", "cut")[0] == 0
    assert "expected a journal" in refused(call("run", "--resume", "cut"))


def test_other_commands_than_before_the_kill_are_refused(call, tmp_path, monkeypatch):
    path = write_small(tmp_path)
    assert run("run", path, "--out", "cut", place="before", number=14, cwd=tmp_path) == -9
    monkeypatch.setattr("engine.replay.market_commands", _other_prices)
    status, _, err = call("run", "--resume", "cut")
    assert status == 2
    assert ": the scenario gives another one than before the kill" in err
    monkeypatch.setattr("engine.replay.market_commands", lambda loaded: iter(()))
    status, _, err = call("run", "--resume", "cut")
    assert status == 2 and ", the journal does not" in err
    assert not (tmp_path / "cut").exists()


def _other_prices(loaded):
    from engine.scenario import market_commands

    for block in market_commands(loaded):
        block["price"][1:] += 10
        yield block


def test_a_new_run_replaces_the_journal_of_a_killed_one(call, tmp_path):
    path = write_small(tmp_path)
    assert run("run", path, "--out", "cut", place="before", number=9, cwd=tmp_path) == -9
    assert call("run", path, "--out", "cut")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "small.toml"]


def test_a_bad_run_leaves_no_journal(call, tmp_path):
    path = write_small(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert "not replaced" in refused(call("run", path, "--out", "full"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "small.toml"]
