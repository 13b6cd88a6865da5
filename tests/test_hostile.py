"""Files from strangers: mutated ones are refused in one line, names and paths cannot reach out."""

import gzip
import sys
import zipfile
from pathlib import Path

import hostile
import hostile_files
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hostile_files import Sound, formats

from engine import cli, tape_layout
from engine.importers import whole
from engine.importers.catalogue import KINDS, read_file
from engine.importers.common import FormatError, ImportReport
from engine.importers.hyperliquid_accounts import read_accounts
from engine.match import MatchError, run_match, run_npy
from engine.population.columns import PopulationError
from engine.population.file import read_population
from engine.refusal import LINE_MAX
from engine.replay import replay
from engine.scenario import load_scenario, setup_commands
from engine.situation import SituationError, Stage, load_situation
from engine.strict import ScenarioError, toml_text
from engine.tape import TapeError, verify_tape
from engine.venue import ProfileError, decode_venue
from import_samples import BTC, SAMPLES
from small_scenario import SMALL, write_small

COUNT = 120  # of each format; `make hostile`: 20,000


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return {each.name: each for each in formats(tmp_path_factory.mktemp("hostile"))}


NAMES = [
    *("tape", "journal", "snapshot", "kept tape", "profile", "scenario", "situation", "study"),
    *("population csv", "population parquet"),
    *(f"order flow {kind}" for kind in ("csv", "parquet", "array")),
    *sorted([*KINDS, "bookDepth as facts", "hyperliquid.nodeFills as facts"]),
    *(f"trades in {kind}" for kind in ("gz", "zip", "zstd", "lz4")),
    *("lobster messages", "lobster book"),
]


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_refused_in_one_line_or_accepted(sound, name):
    seen = hostile.run(sound[name], COUNT)
    assert seen["refused"] > COUNT // 2, f"{name}: the mutations are too kind: {seen}"


def test_every_format_is_sound_before_it_is_mutated(sound):
    assert sorted(sound) == sorted(NAMES)
    for each in sound.values():
        assert not each.read(each.file)


def test_the_check_sees_what_it_is_for(tmp_path, monkeypatch):
    """A reader that hangs, takes memory, fails otherwise or accepts a changed file is caught."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "some.tape"
    file.write_bytes(b"0123456789" * 20)

    def check(read, chained=False):
        hostile.run(Sound("bad", file, lambda p: p != file and read(p), ScenarioError, chained), 3)

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
        (lambda path: False, True, "a changed file was taken for sound"),
    ):
        with pytest.raises(AssertionError, match=words):
            check(read, chained)
    assert (tmp_path / hostile.KEPT / "mutated some.tape").exists()
    monkeypatch.setattr(hostile, "SECONDS_MAX", 0.05)
    with pytest.raises(AssertionError, match="Hang"):
        check(hang)
    monkeypatch.setattr(hostile, "GROWTH_MAX", 0)
    with pytest.raises(AssertionError, match="memory grew by"):
        check(lambda path: False)


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
    profile = hostile_files.small_profile()
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


def test_a_late_date_takes_no_memory(tmp_path):
    """Nine million steps of a path without noise are made block by block."""
    path = write_small(tmp_path, ("2020-03-12T10:01:40Z", "2029-03-12T10:01:40Z"))
    loaded = load_scenario(path)
    before = hostile._peak()
    assert sum(len(rows) for rows in setup_commands(loaded)) > 0
    assert hostile._peak() - before < 64 * 2**20


# -- importers, order flow, positions: what mutations found ------------------------------------

DEEP = b"[" * 100_000


def refused(read, error=FormatError) -> str:
    with pytest.raises(error) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["bybit.ob500", "hyperliquid.nodeFills", "rawWebsocket"])
def test_deep_json_is_refused(tmp_path, kind):
    (tmp_path / "a").write_bytes(b'17 {"data":' + DEEP if kind == "rawWebsocket" else DEEP)
    import_ = read_file(kind, tmp_path / "a", BTC, KINDS[kind][0], "BTCUSDT")
    assert refused(lambda: list(import_)).startswith("a: line 1: CONTENTS: ")


def test_deep_json_in_a_tape_is_refused(tmp_path):
    """With a header whose hash is right."""
    path = tmp_path / "a.tape"
    fixed = tape_layout.HEADER.pack(tape_layout.MAGIC, 2, 72, 5, 0, len(DEEP), 0)
    path.write_bytes(fixed + DEEP + tape_layout.digest(fixed, DEEP))
    assert "metadata: " in refused(lambda: verify_tape(path), TapeError)


@pytest.mark.parametrize("number", ["1e999", "1e99999999999", "1e-99999999", "9" * 40, "Infinity"])
def test_an_exponent_decides_nothing(tmp_path, number):
    """Not the length of a text and not that of a sum."""
    text = hostile_files._lines(hostile_files.messages.ACCOUNTS)
    for old in ('"szi":"-1"', '"entryPx":"3000"', '"totalRawUsd":"0"', '"positionValue":"5100"'):
        assert old in text
        (tmp_path / "a").write_text(text.replace(old, f'{old.split(":")[0]}:"{number}"', 1))
        report = ImportReport(source="a", format="x")
        rows = read_accounts(tmp_path / "a", hostile_files.messages.ETH, "ETHUSD", "ETH", 6, report)
        assert "NOT_A_NUMBER" in refused(lambda rows=rows: list(rows))


@pytest.mark.parametrize("first", ["x^", "x}", "PK", "x\x01"])
def test_text_that_looks_packed_is_read_as_it_stands(tmp_path, first):
    """The parser would unpack it, without a bound on what comes out."""
    text = hostile_files.messages.GENERIC_TEXT.replace("\n1700000000,B", f"\n{first},1700000000", 1)
    text = text.replace("when,what", "what,when").replace("1700000001,B", "B,1700000001")
    (tmp_path / "a").write_text(text)
    columns = hostile_files.messages.MAP
    rows = np.concatenate([*read_file("csv", tmp_path / "a", BTC, "trade", "", columns=columns)])
    assert rows["price"].tolist() == [10000, 10010]


def test_a_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    """300 MB of zeros in a few hundred kB, in every container that is unpacked."""
    zeros = bytes(2**20)
    (tmp_path / "gz").write_bytes(gzip.compress(zeros * 300))
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", zeros * 300)
    for codec in ("zstd", "lz4"):
        with pa.CompressedOutputStream(str(tmp_path / codec), codec) as stream:
            stream.write(zeros * 300)
    for name in ("gz", "zip", "zstd", "lz4"):
        rows = read_file("aggTrades", tmp_path / name, BTC, "trade", "BTCUSDT")
        before = hostile._peak()
        assert "a line of more than" in refused(lambda rows=rows: list(rows))
        assert hostile._peak() - before < 64 * 2**20
    monkeypatch.setattr(whole, "TEXT_BYTES_MAX", 2**24)
    (tmp_path / "gz").rename(tmp_path / "a.csv")
    profile = hostile_files.small_profile()
    for read, error in (
        (lambda: read_population(tmp_path / "a.csv", profile, {}), PopulationError),
        (lambda: run_match(tmp_path / "a.csv"), MatchError),
    ):
        before = hostile._peak()
        assert "expected at most 16777216 bytes of text" in refused(read, error)
        assert hostile._peak() - before < 96 * 2**20


def test_text_packed_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(gzip.compress(gzip.compress(hostile_files.FLOW.encode())))
    line = refused(lambda: run_match(tmp_path / "a.csv"), MatchError)
    assert line == "a.csv: expected text, got packed data"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_zip_with_memory_of_their_own_are_refused(tmp_path, method):
    text = next(each.text for each in SAMPLES if each.kind == "aggTrades")
    for name, kind in (("a.csv", "aggTrades"), ("data.npy", "hftbacktest")):
        with zipfile.ZipFile(tmp_path / "a", "w", method) as archive:
            archive.writestr(name, text)
        rows = read_file(kind, tmp_path / "a", BTC, KINDS[kind][0], "BTCUSDT")
        line = refused(lambda rows=rows: list(rows))
        assert line == f"a: UNSUPPORTED: expected a stored or deflated file, got method {method}"


def test_a_long_text_of_a_dictionary_is_met_before_it_is_repeated(tmp_path):
    table = hostile_files.population_table("X" * 2_000)
    table.write_parquet(tmp_path / "a.parquet")
    line = refused(
        lambda: read_population(tmp_path / "a.parquet", hostile_files.small_profile(), {}),
        PopulationError,
    )
    assert line == "a.parquet: expected at most 1000 bytes in a field, got 2000"


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    size = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode()


GOOD = "{'descr': '<i8', 'fortran_order': False, 'shape': (0, 5)}"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header(GOOD.replace("0, 5", f"{2**60}, 5")), "bytes of numbers, got 0"),
        (header(GOOD.replace("0, 5", "0, 4")), "expected int64 (n, 5), got int64 (0, 4)"),
        (header(GOOD, b"\x02\x00"), "expected an array header of version 1.0"),
        (header(GOOD.replace("0, 5", "0L, 5")), "no header of an array"),
        (header(GOOD.replace("}", "")), "no header of an array"),
        (header("(" * 5_000), "no header of an array"),
        (header("{}"), "no header of an array"),
        (b"", "no header of an array"),
        (b"PK\x03\x04", "no header of an array"),
    ],
)
def test_the_header_of_an_array_is_not_believed(tmp_path, data, words):
    (tmp_path / "a.npy").write_bytes(data)
    assert words in refused(lambda: run_npy(tmp_path / "a.npy"), MatchError)


def test_order_flow_without_a_row_is_no_fault(tmp_path):
    (tmp_path / "a.npy").write_bytes(header(GOOD))
    assert run_npy(tmp_path / "a.npy").trades == 0


def test_what_a_damaged_frame_took_is_given_back(tmp_path):
    """A library keeps the memory it made for a read that fails: it gets ours instead."""
    with pa.CompressedOutputStream(str(tmp_path / "a"), "lz4") as stream:
        stream.write(b"1,2\n" * 100)
    data = bytearray((tmp_path / "a").read_bytes())
    data[20] ^= 255
    (tmp_path / "a").write_bytes(data)

    def space() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * 4_096

    def read(times: int) -> None:
        for _ in range(times):
            refused(lambda: list(read_file("aggTrades", tmp_path / "a", BTC, "trade", "X")))

    read(3)
    before = space()
    read(100)
    assert space() - before < 64 * 2**20


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('entry = "40000"', 'entry = "0"', "entry: expected more than 0"),
        ('wallet = "10.5"', f'wallet = "{"9" * 24}"', "DEPOSIT: amount: a number too large: 1000"),
        ('size = "1",', f'size = "{"9" * 24}",', "lots: a number too large: 9"),
        ('title = "one long"', f"title = {DEEP.decode()}", "situation.toml: "),
    ],
)
def test_numbers_of_a_situation_are_bounded(tmp_path, sound, old, new, words):
    text = sound["situation"].file.read_text()
    assert old in text
    (tmp_path / "venue.toml").write_text(sound["profile"].file.read_text())
    (tmp_path / "situation.toml").write_text(text.replace(old, new, 1))

    def read():
        loaded = load_situation(tmp_path / "situation.toml")
        Stage(loaded.profile, loaded.situation)

    assert words in refused(read, (SituationError, ScenarioError))


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
    secret.write_text(toml_text(msgspec.to_builtins(hostile_files.small_profile())))
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
