"""Files from strangers: mutated ones are refused in one line, names and paths cannot reach out."""

import os
import sys
from pathlib import Path

import hostile
import msgspec
import pytest
from hostile import formats

from engine import cli
from engine.population.columns import PopulationError
from engine.population.file import read_population
from engine.refusal import LINE_MAX
from engine.replay import replay
from engine.scenario import load_scenario
from engine.strict import ScenarioError, toml_text
from engine.venue import ProfileError, decode_venue
from small_scenario import SMALL, write_small

NAMES = ["tape", "journal", "snapshot", "profile", "scenario", "population csv"]
NAMES += ["population parquet"]
COUNT = int(os.environ.get("CRASHTAPE_MUTATIONS", "1500"))  # of each format; `make drill`: 20,000


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return {each.name: each for each in formats(tmp_path_factory.mktemp("hostile"))}


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_refused_in_one_line_or_accepted(sound, name):
    seen = sound[name].run(COUNT)
    assert seen["refused"] > COUNT // 2, f"{name}: the mutations are too kind: {seen}"


def test_every_format_is_sound_before_it_is_mutated(sound):
    assert list(sound) == NAMES
    for each in sound.values():
        assert each.read(each.file) is False


def test_the_check_sees_what_it_is_for(sound, tmp_path):
    """A reader that hangs, takes memory, fails otherwise or accepts a changed file is caught."""
    file = tmp_path / "some.tape"
    file.write_bytes(b"0123456789" * 20)

    def check(read, chained=False):
        hostile.Format("bad", file, read, ScenarioError, chained).run(3)

    def two_lines(path):
        error = ScenarioError("x")
        error.args = ("one\ntwo",)
        raise error

    def hang(path):
        while True:
            pass

    check(lambda path: False)
    for read, chained, words in (
        (lambda path: 1 / 0, False, "ZeroDivisionError"),
        (two_lines, False, "not one line"),
        (lambda path: False, True, "changed files were accepted"),
    ):
        with pytest.raises(AssertionError, match=words):
            check(read, chained)
    seconds, hostile.SECONDS_MAX = hostile.SECONDS_MAX, 0.05
    try:
        with pytest.raises(AssertionError, match="Hang"):
            check(hang)
    finally:
        hostile.SECONDS_MAX = seconds


# -- what mutations found ---------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a = " + "[" * 5_000, ".".join(["a"] * 5_000) + " = 1"])
def test_deep_nesting_is_refused(tmp_path, text):
    with pytest.raises(ProfileError, match=r"^x\.toml: "):
        decode_venue(text.encode(), "x.toml")
    path = tmp_path / "deep.toml"
    for deep in (text, SMALL + "\n[patch]\n" + text):
        path.write_text(deep)
        with pytest.raises(ScenarioError, match=r"^deep.toml: "):
            load_scenario(path)
    with pytest.raises(ScenarioError, match=r"^--set "):
        load_scenario(write_small(tmp_path), ["fund=" + "[" * 5_000])


def test_times_beyond_the_tape_are_refused(tmp_path):
    for year in ("9012", "1969"):
        path = write_small(tmp_path, ("2020-03-12T10:01:00Z", f"{year}-03-12T10:01:00Z"))
        with pytest.raises(ScenarioError, match=rf"from 1970 to the year 2116, got {year}"):
            load_scenario(path)


def test_a_profile_that_is_no_text_is_refused():
    with pytest.raises(ProfileError, match=r"^x\.toml: 'utf-8' codec can't decode"):
        decode_venue(b'name = "\xff"', "x.toml")


def test_no_file_decides_how_long_a_line_is(tmp_path):
    path = write_small(tmp_path, ('market = "BTCUSDT", price', f'market = "{"X" * 9_000}", price'))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert len(str(caught.value)) <= LINE_MAX


def test_a_parquet_file_of_other_things_is_refused(tmp_path, sound):
    profile = hostile.small_profile()
    for name, data in (("a.parquet", b"PAR1" * 10), ("b.parquet", b""), ("c.csv", b"\xff\xfe")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PopulationError, match=f"^{name}: "):
            read_population(tmp_path / name, profile, {})


def test_capacities_beyond_the_machine_are_one_line(tmp_path, monkeypatch, capsys):
    def too_much(*arguments, **options):
        raise MemoryError("Unable to allocate 900. GiB")

    monkeypatch.setattr("engine.exchange.allocate", too_much)
    monkeypatch.setattr(sys, "argv", ["crashtape", "run", str(write_small(tmp_path))])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: more memory was asked for than there is: ")


# -- paths and names --------------------------------------------------------------------------

OUTSIDE = [
    "../secret.toml",
    "/etc/passwd.toml",
    "link.toml",
    "sub/../../secret.toml",
    "a/link/x.toml",
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("field", ["venue", "population", "tape", "files"])
def test_a_scenario_reads_nothing_outside_its_folders(tmp_path, path, field):
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "a").mkdir()
    secret = tmp_path / "secret.toml"
    secret.write_text(toml_text(msgspec.to_builtins(hostile.small_profile())))
    (home / "link.toml").symlink_to(secret)
    (home / "a" / "link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "x.toml").write_text(secret.read_text())
    points = SMALL[SMALL.index("points = [") : SMALL.index("\n]\n") + 3]
    file = f'{{ kind = "klines", path = "{path}", market = "BTCUSDT" }}'
    drawn = SMALL[SMALL.index("[population]") : SMALL.index("[liquidity")]
    changes = {
        "venue": ('"binance_usdm"', f'"{path}"'),
        "population": (drawn, f'[population]\nkind = "file"\npath = "{path}"\n'),
        "tape": (points, f'tape = "{path}"\n'),
        "files": (points, f"files = [{file}]\n"),
    }
    scenario = write_small(home, changes[field])
    with pytest.raises(ScenarioError, match=r"expected a path inside the scenario's folder"):
        _ = load_scenario(scenario).population


@pytest.mark.parametrize("path", ["a\\u0000b.toml", "x" * 300 + ".toml", "loop.toml"])
def test_a_path_that_is_none_is_refused(tmp_path, path):
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    scenario = write_small(tmp_path, ('"binance_usdm"', f'"{path}"'))
    with pytest.raises(ScenarioError, match=r"\$\.venue: "):
        load_scenario(scenario)


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def test_a_page_escapes_every_text_of_a_scenario(tmp_path):
    quoted = msgspec.json.encode(EVIL).decode()
    path = write_small(
        tmp_path,
        ('title = "two points"', f"title = {quoted}"),
        ('source = "made up"', f"source = {quoted}"),
    )
    fact = f"[[facts]]\nwhat = {quoted}\nvalue = {quoted}\nsource = {quoted}\n"
    path.write_text(path.read_text() + fact)
    loaded = load_scenario(path)
    replay(loaded, tmp_path / "run")
    page = Path(tmp_path / "run" / "report.html").read_text("utf-8")
    assert "alert(1)" in page, "the text is on the page"
    for raw in ("<script>alert", "<img src=x", "</script><script>alert"):
        assert raw not in page
