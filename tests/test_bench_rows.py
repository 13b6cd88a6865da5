"""The rows of `bench throughput` and `bench scaling` on works of milliseconds: what they count,
what they check first, which goals they are held to. Nothing asserts how long something takes.
"""

import os
import time

import msgspec
import numpy as np
import pytest

from engine.bench import (
    adl_rows,
    book_rows,
    cost_rows,
    crash_rows,
    crowds,
    pace,
    scaling,
    tape_rows,
    throughput,
    tick_rows,
)
from engine.bench.flows import FLOWS, make_deep_flow, make_flow
from engine.bench.goals import Others, judged, load_goals
from engine.bench.pace import Pace
from engine.bench.results import BenchFault, BenchRequestError, Row, Table, this_machine
from engine.bench.text import markdown_lines, table_lines
from engine.bench.work import Sizes, load_sizes
from engine.constants import CommandKind, EventKind
from engine.reference.exchange import ReferenceExchange

TINY = {"messages": 1_500, "flow_accounts": 20, "tick_accounts": [20, 40], "ticks": 50, "rounds": 2}
TINY |= {"cross_accounts": [30], "cross_markets": 10, "live_orders": 900, "live_messages": 600}
TINY |= {"calls": 300, "fill_accounts": 40, "fill_ticks": 12, "fills": 4}
TINY |= {"crash_accounts": 60, "crash_ticks": 100, "million_accounts": 80, "crash_limit_s": 5.0}
TINY |= {"adl_accounts": 300, "adl_rounds": 2, "tape_rows": 400, "starts": 1, "compiles": 0}
TINY |= {"patience_s": 0.0, "memory_accounts": 50, "scale_accounts": 30, "scale_markets": [5, 10]}
TINY |= {"scale_orders": [200, 400]}


@pytest.fixture(scope="module")
def sizes() -> Sizes:
    return msgspec.structs.replace(load_sizes(), **TINY)


@pytest.mark.parametrize(
    ("name", "trades", "qty", "checksum", "live"),
    [
        ("realistic", 4049, 56103, "dfe2f3a3435015e7", 2671),
        ("exchcore", 1342, 11114, "90adb26e4c99d8c8", 1027),
        ("crash", 5440, 91727, "fc9718860c5e0483", 6072),
    ],
)
def test_flows_are_the_published_ones(name, trades, qty, checksum, live):
    flow = make_flow(name, 25_000, 20251010)
    assert (flow.trades, flow.qty, f"{flow.checksum:016x}", flow.live) == (
        trades, qty, checksum, live
    )  # fmt: skip


@pytest.fixture(scope="module")
def table_of(sizes):
    """The table of a group, made once."""
    made: dict[str, Table] = {}

    def of(group: str) -> Table:
        if group not in made:
            made[group] = throughput.throughput(sizes, quick=True, only=[group])
        return made[group]

    return of


WORKS = {
    "flows": [f"{what}, {name}" for name in FLOWS for what in ("book alone", "whole exchange")],
    "orders": [
        "a message among 900 live orders",
        "a message while 900 orders are cancelled",
    ],
    "calls": [
        f"one call a message, {what}"
        for what in ("kernel of the book", "BookAlone.run", "Exchange.submit")
    ],
    "ticks": [
        *(f"quiet mark tick, {accounts} accounts" for accounts in (20, 40)),
        "quiet mark tick, 30 accounts, cross in 10 markets",
    ],
    "fills": [f"tick with 4 fills, 40 {kind} accounts" for kind in ("isolated", "cross")],
    "crash": [
        f"fall, {book} book, 60 accounts{what}"
        for book in ("deep", "thin")
        for what in ("", ", a tick")
    ],
    "million": [
        f"fall, {how} ADL, 80 accounts{what}"
        for how in ("few", "heavy")
        for what in ("", ", a tick")
    ],
    "adl": [
        "ADL of the first, 300 positions",
        "ADL of the first hundred, 300 positions",
        "ADL of a hundred, clustered, 300 positions",
    ],
    "tape": [
        "tape, hashes checked",
        "tape, hashes left out",
        "tape, its tape hash made anew",
        "order flow in Parquet",
        "order flow in CSV",
        "trades in CSV",
    ],
    "start": ["start to the first event"],
    "memory": [
        f"memory of {what}, {how}"
        for what in ("an isolated account", "a cross account with 5 positions", "a resting order")
        for how in ("set aside", "pages in use")
    ],
}


def test_the_rows_of_every_group_are_here():
    assert list(WORKS) == list(throughput.GROUPS)


@pytest.mark.parametrize("group", WORKS)
def test_every_row_of_the_table(table_of, group):
    table = table_of(group)
    assert [row.work for row in table.rows] == WORKS[group]
    assert all(row.lowest <= row.value <= row.highest and row.result for row in table.rows)
    assert all(row.reached is None for row in table.rows)
    lines, pasted = "\n".join(table_lines(table)), "\n".join(markdown_lines(table))
    assert all(row.work in lines and f"| {row.work} |" in pasted for row in table.rows)


def test_groups_come_in_the_order_of_the_table():
    assert throughput.chosen(["adl", "flows"]) == ["flows", "adl"]
    assert throughput.chosen([]) == list(throughput.GROUPS)
    with pytest.raises(BenchRequestError, match=r"--only: expected one of flows, .*, got odd"):
        throughput.chosen(["flows", "odd"])


def test_every_goal_is_that_of_a_row(table_of):
    units = {row.key: row.unit for group in WORKS for row in table_of(group).rows}
    units["start-cold"] = "s"  # a row only where compiling is asked for
    assert {key: goal.unit for key, goal in load_goals().items()}.items() <= units.items()


def tick_of(value: float, size: int = 1_000_000, unit: str = "ns", key: str = "tick-isolated"):
    return Row(key=key, work=f"{key} {size}", value=value, unit=unit, size=size, lowest=value,
               highest=value, rounds=1, result="ab")  # fmt: skip


@pytest.mark.parametrize(
    ("row", "quick", "goal", "reached"),
    [
        (tick_of(100.0), False, 100, True),
        (tick_of(100.1), False, 100, False),
        (tick_of(100.1), True, 100, None),
        (tick_of(1.0, size=1_000), False, None, None),
        (tick_of(34.0, unit="M/s", key="book-realistic"), False, 34, True),
        (tick_of(33.9, unit="M/s", key="book-realistic"), False, 34, False),
        (tick_of(1.0, key="of-no-goal"), False, None, None),
    ],
)
def test_a_row_is_judged_by_the_goal_of_its_size(row, quick, goal, reached):
    found = judged(row, load_goals(), quick)
    assert (found.goal, found.reached) == (goal, reached)


def test_others_are_seen_and_own_work_is_not():
    others = Others()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert others.processors() <= os.cpu_count()
    row = tick_of(1.0)
    assert [each.others for each in throughput.watched(iter([row, row]))][1] <= os.cpu_count()


@pytest.mark.parametrize(
    ("patience_s", "probes", "waited_for", "seen"),
    [
        (9.0, [1.0, 1.08], 0, 1.08),  # 1.08 times as long is as fast as it was
        (9.0, [1.0, 1.1, 2.0, 1.05], 2, 1.05),
        (9.0, [2.0, 1.0], 0, 1.0),
        (0.0, [1.0, 2.0], 0, 2.0),  # no patience: the figure stands, and its pace says so
    ],
)
def test_a_round_waits_for_the_pace_the_processor_had(
    monkeypatch, patience_s, probes, waited_for, seen
):
    left, pauses = iter(probes), []
    monkeypatch.setattr(pace, "FIRST_S", 0.0)
    monkeypatch.setattr(pace, "probe", lambda: next(left))
    monkeypatch.setattr(pace.time, "sleep", pauses.append)
    found = Pace(patience_s)
    found.steady()
    assert (len(pauses), found.best) == (waited_for, min(probes))
    taken = found.taken()
    assert (taken, found.share(taken)) == (seen, round(found.best / seen, 2))
    assert (found.taken(), found.share(-1.0)) == (-1.0, -1.0)


def test_a_pace_is_a_share_of_the_best_of_the_run(monkeypatch):
    monkeypatch.setattr(throughput, "PACE", Pace(9.0))
    throughput.PACE.best = 0.004
    rows = [msgspec.structs.replace(tick_of(1.0), pace=spent) for spent in (0.005, 0.004, -1.0)]
    assert [row.pace for row in throughput.paced(rows)] == [0.8, 1.0, -1.0]
    assert throughput.PACE.patience_s == 0.0


def test_a_figure_of_a_slow_processor_is_provisional():
    machine = msgspec.structs.replace(this_machine(), load=0.0)
    for share, provisional in ((-1.0, False), (1.0, False), (0.8, False), (0.79, True)):
        row = msgspec.structs.replace(tick_of(1.0), pace=share)
        table = Table(kind="throughput", quick=False, machine=machine, rows=[row])
        assert table.provisional == provisional


def test_scaling_grows_in_each_direction(sizes):
    table = scaling.scaling(sizes, quick=True)
    assert [(row.key, row.size) for row in table.rows] == [
        *(("accounts-isolated", 20), ("accounts-isolated", 40), ("accounts-cross", 30)),
        *(("markets", 5), ("markets", 10), ("orders", 200), ("orders", 400)),
        *(("processes", 1), ("processes", 2)),
    ]
    one, two = table.rows[-2:]
    assert one.result == two.result, "every process gets the same events"


@pytest.mark.parametrize(
    ("name", "trades", "live", "checksum"),
    [("live", 850, 4059, "6869acba65f5928d"), ("cancelled", 329, 189, "a2d0a8e2019eca17")],
)
def test_deep_flows_are_the_published_ones(name, trades, live, checksum):
    flow = make_deep_flow(name, 4_000, 4_400, 20251010)
    assert flow.opening == 4_000 and len(flow.rows) == 8_400
    assert (flow.trades, flow.live, f"{flow.checksum:016x}") == (trades, live, checksum)


def test_a_flow_with_another_result_gives_no_figure():
    flow = make_flow("realistic", 600, 1)
    deep = make_deep_flow("live", 300, 300, 1)
    wrong, deep = (
        type(each)(**(vars(each) | {"checksum": each.checksum ^ 1})) for each in (flow, deep)
    )
    for measured in (
        lambda: book_rows.book_row(wrong, 1),
        lambda: book_rows.exchange_row(wrong, 20, 1),
        lambda: book_rows.deep_row(deep, 1),
        lambda: list(book_rows.call_rows(wrong, 20, 1)),
    ):
        with pytest.raises(BenchFault, match=r"expected .* no figure is given"):
            measured()


class Halved(ReferenceExchange):
    """A rulebook that forgets half of the events."""

    def submit(self, commands):
        return super().submit(commands)[::2]


@pytest.mark.parametrize(
    ("check", "work"),
    [
        (lambda: tick_rows.check_falls(0), "ticks"),
        (tick_rows.check_crossed, "ticks over cross accounts"),
        (tick_rows.check_fills, "ticks with fills"),
        (lambda: adl_rows.adl_row("adl-first", "ADL", 200, 1, 1), "ADL"),
    ],
)
def test_ticks_unlike_the_rulebook_s_give_no_figure(monkeypatch, check, work):
    monkeypatch.setattr(tick_rows, "ReferenceExchange", Halved)
    with pytest.raises(BenchFault, match=f"{work} against the rulebook"):
        check()


def test_a_deleveraging_that_closes_another_number_gives_no_figure(monkeypatch):
    monkeypatch.setattr(adl_rows, "LEFT_PPM", 9_000)  # nobody is bankrupt
    with pytest.raises(BenchFault, match="positions closed: expected 1, got 0"):
        adl_rows.adl_row("adl-first", "ADL", 200, 1, 1)


def test_fills_move_positions_and_nobody_is_refused():
    """Each changes where somebody is to be examined; a node moves where it serves no longer."""
    rows = crowds.with_fills(crowds.ticks_in_turn(30, 10), 4, 50, 10)
    exchange = crowds.crossed_exchange(50, 10, trading=True)
    before = {name: exchange.block.table(name).copy() for name in ("POSITIONS", "NODES")}
    events = exchange.submit(rows)
    assert (events["kind"] == EventKind.FILL).sum() == 2 * 30 * 4
    assert not (events["kind"] == EventKind.REJECTED).any()
    lots = exchange.block.table("POSITIONS")["lots"]
    assert (lots != before["POSITIONS"]["lots"]).sum() > 50
    assert (exchange.block.table("NODES")["trigger"] != before["NODES"]["trigger"]).sum() > 5


def test_cross_accounts_hold_five_different_markets():
    legs = crowds.legs_of(np.arange(500), 50)
    assert legs.min() >= 1 and legs.max() <= 50
    assert all(len(set(row)) == crowds.LEGS for row in legs.tolist())
    assert np.unique(legs).tolist() == list(range(1, 51))


def test_a_crowd_in_blocks_has_every_account_once(monkeypatch):
    monkeypatch.setattr(crowds, "BLOCK", 50)
    for blocks in (
        crowds.isolated_population(120, 5_000_000),
        crowds.cross_population(120, 10, 5_000_000),
    ):
        rows = np.concatenate(list(blocks))
        opened = rows["account_id"][rows["kind"] == CommandKind.OPEN_ACCOUNT]
        assert opened.tolist() == list(range(100, 220))


def test_a_fall_that_takes_too_long_is_broken_off_and_says_so(monkeypatch):
    def second(work, look):
        for part in work():
            look(part)
        return 1.0, []

    monkeypatch.setattr(crash_rows, "timed", second)
    rate, tick = crash_rows.fall_rows("crash-deep", "fall", 40, 2_000_000, 1_000, 3, 2.5)
    # Parts of 64, 8 and 1 ticks take a second each: the limit is passed by the third.
    assert rate.note.startswith("broken off at tick 73 of 1,000; ")
    assert rate.rounds == 1 and tick.value == pytest.approx(3e9 / 73)


def test_files_read_as_anything_else_give_no_figure(tmp_path):
    with pytest.raises(BenchFault, match="reading: expected a, got b; no figure"):
        tape_rows.read_row("k", "reading", 1, "a", lambda parts: "b", lambda: iter([]), 1, 1)


def test_a_process_that_fails_gives_no_figure():
    with pytest.raises(BenchFault, match="boom"):
        cost_rows.process(("-c", "raise SystemExit('boom')"))
