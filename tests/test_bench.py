"""The benchmarks on works of milliseconds: what they count, check, refuse and write. Nothing here
asserts how long something takes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from test_cli import crashtape

from engine.bench import latency, work
from engine.bench.histogram import (
    HIGHEST,
    Histogram,
    encoded,
    highest_in,
    log_text,
    slots_of,
)
from engine.bench.latency import Driver, Timed, find_rate, liquidations, split_by_burst
from engine.bench.page import write_results
from engine.bench.results import BenchFault, BenchRequestError, Latency, Machine, Row, Table
from engine.bench.schedule import BURST, arrivals
from engine.bench.text import latency_lines
from engine.bench.work import load_sizes
from engine.constants import EventKind
from engine.rows import EVENT
from engine.scenario import load_scenario
from small_scenario import write_small

replace = msgspec.structs.replace
ROOT = Path(__file__).resolve().parents[1]

VALUES = np.concatenate(
    [
        np.arange(5_000),
        np.random.default_rng(1).lognormal(12, 4, 20_000).astype(np.int64),
        [2**k + d for k in range(11, 41) for d in (-1, 0, 1)],
        [HIGHEST - 1, HIGHEST],
    ]
)
# -- histogram --------------------------------------------------------------------------------


def test_a_slot_is_no_wider_than_a_thousandth():
    kept = np.minimum(VALUES, HIGHEST)
    highest = np.array([highest_in(slot) for slot in slots_of(VALUES).tolist()])
    assert (highest >= kept).all()
    assert (highest - kept <= kept / 1_000).all()
    assert slots_of(np.array([-5])).tolist() == [0]


def test_percentiles_are_those_of_the_sorted_values():
    histogram, ordered = Histogram(VALUES), np.sort(np.minimum(VALUES, HIGHEST))
    for percent in (0.0, 50.0, 90.0, 99.0, 99.9, 99.99):
        rank = max(1, int(np.ceil(percent / 100 * len(ordered) - 1e-9)))
        value = int(ordered[rank - 1])
        assert value <= histogram.percentile(percent) <= value + value // 1_000 + 1
    assert histogram.percentile(100) == histogram.max == HIGHEST
    assert Histogram().percentile(99) == 0 and Histogram().curve() == []


def test_the_curve_rises_to_the_maximum():
    curve = Histogram(VALUES).curve()
    assert curve == sorted(curve) and curve[-1] == (100.0, HIGHEST)
    assert curve[0][0] == 50.0


def test_the_library_of_the_format_reads_the_log_back(tmp_path):
    hdrh = pytest.importorskip("hdrh.log")
    histogram = pytest.importorskip("hdrh.histogram")
    ours = {"total": Histogram(VALUES), "none": Histogram(), "one": Histogram(np.array([77]))}
    path = tmp_path / "a.hlog"
    path.write_text(log_text(ours, 1_700_000_000.0, 2.5))
    reader = hdrh.HistogramLogReader(str(path), histogram.HdrHistogram(1, HIGHEST, 3))
    for name, mine in ours.items():
        theirs = reader.get_next_interval_histogram()
        assert theirs.get_tag() == name
        assert theirs.total_count == mine.total
        counts = [theirs.get_count_at_index(slot) for slot in range(theirs.counts_len)]
        assert counts == mine.counts[: len(counts)].tolist()
        assert not mine.counts[len(counts) :].any()
    assert reader.get_next_interval_histogram() is None


def test_our_encoding_is_the_library_s_own():
    histogram = pytest.importorskip("hdrh.histogram")
    theirs = histogram.HdrHistogram(1, HIGHEST, 3)
    for value in VALUES[::50].tolist():
        theirs.record_value(value)
    again = histogram.HdrHistogram.decode(encoded(Histogram(VALUES[::50])))
    assert again.total_count == theirs.total_count
    assert [again.get_count_at_index(i) for i in range(again.counts_len)] == [
        theirs.get_count_at_index(i) for i in range(theirs.counts_len)
    ]


# -- schedule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["poisson", "recorded", "burst"])
def test_arrivals_keep_the_rate_and_never_go_back(kind):
    times = np.cumsum(np.random.default_rng(2).integers(0, 9, 20_000)) + 10**18
    due = arrivals(kind, times, 50_000.0, 3)
    assert len(due) == 20_000 and (np.diff(due) >= 0).all() and due[0] >= 0
    assert due[-1] / 1e9 == pytest.approx(20_000 / 50_000, rel=0.05)
    assert arrivals(kind, times, 50_000.0, 3).tolist() == due.tolist()
    if kind == "burst":
        assert np.unique(due, return_counts=True)[1].tolist() == [BURST] * 200
    if kind == "recorded":
        assert np.corrcoef(times - times[0], due)[0, 1] > 0.9999
    if kind == "poisson":
        gaps = np.diff(due)
        assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


@pytest.mark.parametrize(
    ("kind", "rate", "times", "reason"),
    [
        ("poisson", 0.0, [1, 2], "--rate: expected more than 0 and less than 1e9, got 0"),
        ("poisson", float("nan"), [1, 2], "got nan"),
        ("steady", 1.0, [1, 2], "--arrivals: expected one of poisson, recorded, burst"),
        ("recorded", 1.0, [5, 5], "the commands all have the same time"),
    ],
)
def test_impossible_schedules_are_refused(kind, rate, times, reason):
    with pytest.raises(BenchRequestError, match=reason):
        arrivals(kind, np.array(times), rate, 1)


# -- latency ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Driver:
    return Driver(load_scenario(write_small(tmp_path_factory.mktemp("bench"))))


def clock_of(monkeypatch, step_ns: int) -> None:
    """A clock that goes on by `step_ns` at each look."""
    ticks = iter(range(0, 10**15, step_ns))
    monkeypatch.setattr(latency.time, "perf_counter_ns", ticks.__next__)


def test_waiting_behind_a_slow_command_is_counted(driver, monkeypatch):
    clock_of(monkeypatch, 1_000_000)
    timed = driver.run(np.zeros(len(driver.commands), dtype=np.int64))
    # All are due at once and each takes two looks at the clock: one before and one after the call.
    # Two of the lead are spent before the first.
    assert timed.service.tolist() == [1_000_000] * len(driver.commands)
    assert np.diff(timed.latency).tolist() == [2_000_000] * (len(driver.commands) - 1)


def test_nobody_is_early(driver, monkeypatch):
    clock_of(monkeypatch, 1_000)
    due = arrivals("poisson", driver.commands["time_ns"], 10_000.0, 1)
    timed = driver.run(due)
    assert (timed.begun >= timed.due).all()
    assert (timed.begun - timed.due < 3_000).any()
    assert len(timed.due) == len(driver.commands)


def test_another_result_than_in_one_batch_is_refused(driver, monkeypatch):
    monkeypatch.setattr(driver, "digest", "0" * 64)
    with pytest.raises(BenchFault, match="other events than one batch"):
        driver.run(np.zeros(len(driver.commands), dtype=np.int64))


def test_a_small_buffer_of_events_changes_nothing(driver, monkeypatch):
    monkeypatch.setattr(driver, "_events", np.empty(driver._room + 1, EVENT))
    timed = driver.run(np.zeros(len(driver.commands), dtype=np.int64))
    assert len(timed.events) > 1


def test_a_bound_ends_a_run_that_cannot_hold_it(driver, monkeypatch):
    clock_of(monkeypatch, 1_000_000)
    timed = driver.run(np.zeros(len(driver.commands), dtype=np.int64), 1)
    assert timed.aborted and len(timed.due) < len(driver.commands)
    assert len(timed.latency) == len(timed.due)


def test_liquidations_are_counted_by_their_command():
    events = np.zeros(5, EVENT)
    events["seq"] = [10, 11, 11, 11, 13]
    events["kind"] = [EventKind.LIQUIDATION_STARTED] * 3 + [EventKind.FILL] * 2
    moments = np.zeros(4, np.int64)
    timed = Timed(moments, moments, moments, [events[:2], events[2:]])
    assert liquidations(timed, 10).tolist() == [1, 2, 0, 0]


def test_bursts_fall_into_their_buckets():
    sizes = np.array([0, 1, 9, 10, 99, 100, 999, 1_000, 50_000])
    split = split_by_burst(np.arange(9), sizes)
    assert {name: each.total for name, each in split.items()} == {
        "0": 1, "1-9": 2, "10-99": 2, "100-999": 2, "1000+": 2
    }  # fmt: skip


class Breaking:
    """A driver whose p99 is one nanosecond for each command a second."""

    commands = np.zeros(1_000, EVENT)

    def run(self, due: np.ndarray, bound_ns: int) -> Timed:
        gap = int(due[100])  # of BURST commands
        rate = BURST * 1e9 / gap
        zero = np.zeros(len(due), np.int64)
        return Timed(zero, zero, zero + round(rate))


@pytest.mark.parametrize("first", [10.0, 200_000.0])
def test_the_search_ends_where_p99_breaks(first):
    probes = find_rate(Breaking(), "burst", first, 1, 5_000)
    holds = max(probe.rate for probe in probes if probe.holds)
    breaks = min(probe.rate for probe in probes if not probe.holds)
    assert holds <= 5_010 and 4_990 <= breaks < holds * 1.05


def tick_of(value: float, size: int = 1_000_000, unit: str = "ns", key: str = "tick-isolated"):
    return Row(key=key, work=f"{key} {size}", value=value, unit=unit, size=size, lowest=value,
               highest=value, rounds=1, result="ab")  # fmt: skip


# -- what is written ----------------------------------------------------------------------------


def test_latency_from_the_command_line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = ["bench", "latency", write_small(tmp_path), "--rate", 5_000, "--out", "b"]
    status, out, err = crashtape(monkeypatch, capsys, *asked, "--search", "--bound-us", 1e9)
    assert (status, err) == (0, "")
    assert "from the scheduled arrival" in out and "Page: b/bench.html" in out
    found = json.loads(Path("b/latency.json").read_bytes())
    assert found["commands"] == sum(each["count"] for each in found["by_burst"])
    assert found["commands"] == sum(each["count"] for each in found["by_kind"])
    assert list(found["total"]["percentiles"]) == ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
    assert found["clock_ns"] > 0 and found["call_ns"] > 0 and found["probes"]
    page, log = Path("b/bench.html").read_text(), Path("b/latency.hlog").read_text()
    assert "Latency by the size of the burst" in page and "Tag=burst-1000+," in log
    assert "src=" not in page.replace(page[page.index("<script>") :], "")


def test_throughput_and_scaling_from_the_command_line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    small = replace(load_sizes(True), adl_accounts=1_000, scale_markets=[5], scale_orders=[100],
                    tick_accounts=[20], cross_accounts=[20], scale_accounts=20, ticks=40,
                    live_messages=200, messages=400, flow_accounts=20, rounds=1)  # fmt: skip
    monkeypatch.setattr(work, "load_sizes", lambda quick=False: small)
    asked = ["bench", "throughput", "--quick", "--only", "adl", "--out", "b", "--markdown"]
    status, out, err = crashtape(monkeypatch, capsys, *asked)
    assert (status, err) == (0, "")
    assert out.startswith("| work | median | lowest | highest | goal |")
    assert "| ADL of the first, 1,000 positions | " in out and "≤ 30.0 µs" in out
    status, out, err = crashtape(monkeypatch, capsys, "bench", "scaling", "--quick", "--out", "b")
    assert (status, err) == (0, "")
    assert "whole exchange in 2 processes" in out and "A quick run" in out
    status, shown, err = crashtape(monkeypatch, capsys, "bench", "show", "b", "--markdown")
    assert (status, err) == (0, "")
    assert "| ADL of the first, 1,000 positions | " in shown
    assert "| whole exchange in 2 processes | " in shown
    page = Path("b/bench.html").read_text()
    for words in ("Against the goals", "Quiet ticks by accounts", "Messages by live", "Processes"):
        assert words in page


def test_a_group_that_is_not_there_is_refused_in_one_line(monkeypatch, capsys):
    asked = ["bench", "throughput", "--quick", "--only", "odd"]
    status, out, err = crashtape(monkeypatch, capsys, *asked)
    assert (status, out) == (2, "")
    assert err.startswith("error: --only: expected one of flows, orders") and err.count("\n") == 1


def test_a_folder_without_results_is_refused_in_one_line(monkeypatch, capsys, tmp_path):
    status, out, err = crashtape(monkeypatch, capsys, "bench", "show", tmp_path)
    assert (status, out) == (2, "")
    assert err == f"error: {tmp_path.name}: expected throughput.json or scaling.json\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--rate", "-1"], "--rate: expected more than 0 and less than 1e9, got -1"),
        (["--rate", "1", "--arrivals", "odd"], "--arrivals: expected one of"),
        ([], "Missing option '--rate'"),
    ],
)
def test_latency_refuses_in_one_line(monkeypatch, capsys, tmp_path, arguments, line):
    path = write_small(tmp_path)
    status, out, err = crashtape(monkeypatch, capsys, "bench", "latency", path, *arguments)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert line in err


def test_the_page_gathers_what_the_folder_holds(tmp_path, driver):
    machine = Machine(processor="<b>", cores=2, load=3.0, python="", numpy="", numba="",
                      crashtape="", date="")  # fmt: skip
    row = replace(tick_of(2.0, unit="M/s", key="book-x"), goal=3.0, elsewhere=2.5, who="<i>",
                  reached=False)  # fmt: skip
    write_results(tmp_path, Table(kind="throughput", quick=True, machine=machine, rows=[row]))
    tick = tick_of(90.0, size=10, key="accounts-isolated")
    page = write_results(tmp_path, Table(kind="scaling", quick=False, machine=machine, rows=[tick]))
    text = page.read_text()
    assert "<b>," not in text and "&lt;b&gt;" in text
    for words in (
        "Throughput",
        "Against the goals",
        "Accounts",
        "provisional",
        "A quick run",
        "&lt;i&gt;",
    ):
        assert words in text
    assert "Latency by the size" not in text


def test_a_run_of_some_groups_renews_these_only(tmp_path):
    machine = Machine(processor="p", cores=2, load=0.0, python="", numpy="", numba="",
                      crashtape="1", date="")  # fmt: skip

    def kept(rows: list[Row], **how: object) -> list[tuple[str, float]]:
        table = Table(kind="throughput", quick=how.pop("quick", False),
                      machine=replace(machine, **how), rows=rows,
                      groups=["flows", "ticks", "adl"])  # fmt: skip
        write_results(tmp_path, table)
        found = json.loads((tmp_path / "throughput.json").read_bytes())
        return [(row["work"], row["value"]) for row in found["rows"]]

    def of(value: float, group: str) -> Row:
        return replace(tick_of(value), work=group, group=group)

    assert kept([of(1.0, "ticks"), of(2.0, "ticks"), of(3.0, "adl")]) == [
        ("ticks", 1.0), ("ticks", 2.0), ("adl", 3.0)
    ]  # fmt: skip
    assert kept([of(4.0, "ticks")]) == [("ticks", 4.0), ("adl", 3.0)]
    assert kept([of(5.0, "flows")]) == [("flows", 5.0), ("ticks", 4.0), ("adl", 3.0)]
    assert kept([of(6.0, "adl")], quick=True) == [("adl", 6.0)]
    assert kept([of(7.0, "ticks")], crashtape="2") == [("ticks", 7.0)]


def test_lines_say_when_figures_are_provisional():
    spread = latency.spread("total", Histogram(np.array([5])))
    machine = Machine(processor="", cores=2, load=2.0, python="", numpy="", numba="",
                      crashtape="", date="")  # fmt: skip
    found = Latency(machine=machine, scenario="s", arrivals="burst", rate=1.0, reached_rate=1.0,
                    commands=1, events=1, event_digest="d", clock_ns=1.0, call_ns=1.0,
                    total=spread, service=spread, by_kind=[], by_burst=[],
                    service_by_burst=[])  # fmt: skip
    assert "provisional" in latency_lines(found)[-1]
    found.machine = msgspec.structs.replace(machine, load=0.1)
    assert "provisional" not in "\n".join(latency_lines(found))


SLEEPER = """
import os, time
def test_sleep(benchmark):
    benchmark.pedantic(time.sleep, (float(os.environ["SLEEP_S"]),), rounds=3)
"""


def test_a_slower_median_fails_the_comparison(tmp_path):
    (tmp_path / "test_sleeper.py").write_text(SLEEPER)
    kept = tmp_path / "kept"
    # what this process was told about its own tests is not for that one
    outside = {name: value for name, value in os.environ.items() if "PYTEST" not in name}

    def run(seconds: str, *more: str) -> tuple[int, str]:
        flags = ["-q", "-p", "no:cacheprovider", f"--benchmark-storage={kept}", *more]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "test_sleeper.py", *flags], cwd=tmp_path,
            env=outside | {"SLEEP_S": seconds}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    makefile = (ROOT / "Makefile").read_text()
    assert "--benchmark-save=baseline" in makefile
    assert "--benchmark-compare --benchmark-compare-fail=median:$(SLOWER)" in makefile
    compare = ("--benchmark-compare", "--benchmark-compare-fail=median:30%")
    assert run("0.2", "--benchmark-save=baseline")[0] == 0
    assert run("0.05", *compare)[0] == 0
    status, said = run("0.6", *compare)
    assert status != 0 and "Performance has regressed" in said
