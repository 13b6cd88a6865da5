"""The command line as its user meets it: what it prints, what it refuses, and its exit status."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine import cli, constants
from engine.replay import AuditError
from engine.tape import tape_info
from small_scenario import write_small

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def crashtape(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    """Status, output and errors of one command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["crashtape", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: crashtape(monkeypatch, capsys, *arguments)


def refused(result: tuple[int, str, str]) -> str:
    """The one line of a refusal of bad input."""
    status, out, err = result
    assert status == 2
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


def test_run_prints_the_table_and_names_the_folder(call, tmp_path):
    status, out, err = call("run", write_small(tmp_path), "--batch", 7)
    assert (status, err) == (0, "")
    assert re.search(r"^Accounts liquidated +\d", out, re.MULTILINE)
    assert re.search(r"^Money identity +difference 0 ", out, re.MULTILINE)
    assert "16 invariants hold" in out
    assert "Run folder: runs/small" in out
    assert all(line == line.rstrip() for line in out.splitlines())
    report = json.loads((tmp_path / "runs" / "small" / "report.json").read_bytes())
    assert report["state_digest"][:32] in out
    status, out, err = call("verify", "runs/small")
    assert (status, err) == (0, "")
    assert out.startswith("small: equal. ") and report["event_digest"] in out


def test_set_changes_fields_of_scenario_and_venue(call, tmp_path):
    path = write_small(tmp_path)
    changes = ["--set", "population.accounts=30", "--set", "venue.liquidation.surplus='to_user'"]
    status, out, _ = call("run", path, *changes, "--out", "run")
    assert status == 0 and out.splitlines()[-3].startswith("30 accounts, ")
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    assert [patch["path"] for patch in report["patches"]] == ["liquidation.surplus"]
    assert report["patches"][0]["origin"] == "override"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "none.toml"], "none.toml: No such file or directory"),
        (["run", "small.toml", "--set", "fund=1"], "small.toml: $.fund: expected str, got int"),
        (["run", "small.toml", "--set", "found='1'"], "small.toml: $.found: unknown field"),
        (
            ["run", "small.toml", "--set", "population.accounts=1"],
            "small.toml: $.population.accounts: expected int >= 2, got 1",
        ),
        (
            ["run", "small.toml", "--set", "fund=nan"],
            "small.toml: $.fund: expected str, got float",
        ),
        (["run", "small.toml", "--out", "full"], "full: not replaced, because no run wrote"),
        (["run", "small.toml", "--bogus"], "No such option: --bogus"),
        (["run", "small.toml", "--batch", "0"], "Invalid value for '--batch': "),
        (["run"], "Missing argument"),
        (["verify", "full"], "full: report.json: No such file or directory"),
        (["import", "klines", "a.csv", "--venue", "zz", "--market", "X", "-o", "t"], "zz.toml: No"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["match", "none.csv"], "none.csv: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_two(call, tmp_path, arguments, line):
    write_small(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert refused(call(*arguments)).startswith(line)
    assert {path.name for path in tmp_path.iterdir()} == {"small.toml", "full"}


def test_a_field_of_the_scenario_is_named_by_file_and_path(call, tmp_path):
    write_small(tmp_path, ('price = "8000"', 'price = "8000.001"'))
    line = refused(call("run", "small.toml"))
    assert line == "small.toml: $.prices.points[0].price: expected at most 2 decimals, got 8000.001"


def test_a_broken_run_fails_with_status_one(call, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise AuditError("audit A07: No command creates or destroys money. seq 3")

    monkeypatch.setattr("engine.replay.replay", broken)
    status, out, err = call("run", write_small(tmp_path))
    assert (status, out) == (1, "")
    assert err == "error: audit A07: No command creates or destroys money. seq 3\n"


def test_an_interrupted_run_leaves_nothing(call, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.replay.write_page", interrupted)
    status, out, err = call("run", write_small(tmp_path), "--out", "run")
    assert (status, out, err) == (130, "", "error: interrupted; nothing was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_verify_reports_what_differs(call, tmp_path):
    call("run", write_small(tmp_path), "--out", "run")
    report = tmp_path / "run" / "report.json"
    digest = json.loads(report.read_bytes())["event_digest"]
    report.write_text(report.read_text().replace(digest, "0" * 64))
    status, out, err = call("verify", "run")
    assert (status, out) == (1, "")
    assert err == f"error: run: events digest: recorded {'0' * 64}, now {digest}\n"


def test_venues_lists_markets_and_assumptions(call):
    status, out, _ = call("venues")
    assert status == 0
    assert "BTCUSDT (linear), ETHUSDT (linear)" in out
    assert re.search(r"evidence +\d+ published, \d+ third party, \d+ assumed", out)
    assert re.search(r"assumed .*liquidation\.surplus; ", out)


def test_venues_shows_one_profile_in_full(call):
    status, out, _ = call("venues", "binance_usdm")
    assert status == 0
    assert re.search(r"markets\.BTCUSDT\.tiers\[1\]\.maintenance_ppm +third party +5000\n", out)
    assert "\nAssumed:\n" in out and "\nNot modelled:\n" in out
    status, _, err = call("venues", "nowhere")
    assert status == 2 and "shipped profiles: 58coin, " in err


KLINES = "".join(
    f"{1_584_000_000_000 + 60_000 * n},8000,8{n}10,79{n}0,800{n},1,"
    f"{1_584_000_059_999 + 60_000 * n},8000,3,1,8000,0\n"
    for n in range(3)
)
UNITS = ("--venue", "binance_usdm", "--market", "ETHUSDT")


def test_import_writes_a_tape_and_says_what_it_read(call, tmp_path):
    (tmp_path / "a.csv").write_text(KLINES)
    status, out, _ = call("import", "klines", "a.csv", *UNITS, "-o", "a.crashtape", "--as", "mark")
    info = tape_info(tmp_path / "a.crashtape")
    assert (status, info.records) == (0, 12)
    assert [market.symbol for market in info.metadata.markets] == ["ETHUSDT"]
    assert re.search(r"^rows read +3$", out, re.MULTILINE)
    assert f"a.crashtape: 12 commands, hash {info.tape_hash}" in out


def test_a_refused_import_leaves_no_tape(call, tmp_path):
    (tmp_path / "a.csv").write_text(KLINES.replace("8002,1,", "nan,1,"))
    line = refused(call("import", "klines", "a.csv", *UNITS, "-o", "a.crashtape"))
    assert line.startswith("a.csv: line 3: close: NOT_A_NUMBER")
    (tmp_path / "a.csv").write_text(KLINES)
    line = refused(call("import", "klines", "a.csv", "a.csv", *UNITS, "-o", "a.crashtape"))
    assert line == ("a.csv: time: TIME_BACKWARDS: begins before the file given before it ends")
    line = refused(call("import", "bookDepth", "a.csv", *UNITS, "-o", "a.crashtape"))
    assert line.startswith("import: kind: expected one of klines, ")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_match_writes_fills_and_the_book(call, tmp_path):
    (tmp_path / "flow.csv").write_text(
        "cmd,ts_event_ns,op,order_id,side,price_ticks,size,tag\n"
        "1,1,add,1,A,100,5,\n2,2,limit,2,B,100,3,\n"
    )
    status, out, _ = call("match", "flow.csv", "--fills", "f.csv", "--final", "b.csv")
    assert status == 0 and out.startswith("2 messages, 1 trades of 3, 1 orders left, ")
    assert (tmp_path / "f.csv").read_text().splitlines()[1] == "2,2,1,100,3"
    assert (tmp_path / "b.csv").read_text().splitlines()[1:] == ["1,A,100,2"]


def test_python_dash_m_and_the_version():
    done = subprocess.run(
        [sys.executable, "-m", "engine", "--help"], capture_output=True, text=True, check=True
    )
    for name in ("run", "verify", "venues", "import", "match"):
        assert re.search(rf"^ *{name} ", done.stdout, re.MULTILINE)
    assert engine.ENGINE_VERSION == constants.ENGINE_VERSION


def test_importing_the_package_costs_nothing():
    program = "import sys, engine; print(*(m for m in sys.modules if m in ('numba', 'numpy')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_every_public_name_can_be_imported():
    for name in engine.__all__:
        assert getattr(engine, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = engine.nothing


def test_the_example_of_the_readme_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(example.splitlines()) < 20
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=True, cwd=ROOT
    )
    shown = re.search(r"```python.*?```\n.*?```text\n(.*?)```", README, re.DOTALL)
    assert done.stdout == shown.group(1)


def test_the_table_of_the_readme_is_what_the_demo_prints(call):
    scenario = ROOT / "scenarios" / "2020-03-12-black-thursday.toml"
    status, out, _ = call("run", scenario, "--out", "runs/demo")
    assert status == 0
    table = out.partition("\n\n")[2].partition("\n\n")[0]
    assert table in README
