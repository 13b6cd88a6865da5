"""`crashtape match` on small files: the format, the rules of the book, and every refusal."""

import json
import subprocess
import sys
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from engine.core.flow import FLOW, FlowError, Op
from engine.match import BookAlone, MatchError, fold, run_match, run_npy

HEADER = "cmd,ts_event_ns,op,order_id,side,price_ticks,size,tag\n"
BOOK = "order_id,side,price_ticks,size\n101,B,99,5\n102,B,98,4\n201,A,101,3\n202,A,102,6\n"


def run(tmp_path, lines, **options):
    """Run command lines on the opening book; returns (fills, final book) as text lines."""
    (tmp_path / "commands.csv").write_text(HEADER + "\n".join(lines) + "\n")
    (tmp_path / "book.csv").write_text(BOOK)
    run_match(
        tmp_path / "commands.csv",
        initial=tmp_path / "book.csv",
        fills=tmp_path / "fills.csv",
        final=tmp_path / "final.csv",
        **options,
    )
    fills = (tmp_path / "fills.csv").read_text().splitlines()[1:]
    return fills, (tmp_path / "final.csv").read_text().splitlines()[1:]


def crashtape(*arguments):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "engine", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


EXAMPLES = {
    "a limit trades what crosses and rests the remainder": (
        ["1,10,limit,301,B,101,5,"],
        ["1,301,201,101,3"],
        ["301,B,101,2", "101,B,99,5", "102,B,98,4", "202,A,102,6"],
    ),
    "an ioc drops its remainder": (
        ["1,10,ioc,301,A,99,9,"],
        ["1,301,101,99,5"],
        ["102,B,98,4", "201,A,101,3", "202,A,102,6"],
    ),
    "a reduce of everything takes the order out": (
        ["1,10,reduce,101,,,5,", "2,10,reduce,102,,,1,"],
        [],
        ["102,B,98,3", "201,A,101,3", "202,A,102,6"],
    ),
    "a replace with less keeps its place, with more it goes to the back": (
        [
            "1,10,add,301,B,99,2,",
            "2,11,replace,101,B,99,4,",
            "3,12,ioc,401,A,99,1,",
            "4,13,replace,101,B,99,9,",
            "5,14,ioc,402,A,99,1,",
        ],
        ["3,401,101,99,1", "5,402,301,99,1"],
        ["301,B,99,1", "101,B,99,9", "102,B,98,4", "201,A,101,3", "202,A,102,6"],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(tmp_path, name):
    lines, fills, final = EXAMPLES[name]
    assert run(tmp_path, lines) == (fills, final)


def test_best_prices_after_every_second_command_and_the_last(tmp_path):
    lines = ["1,1,add,1,B,97,1,", "2,2,add,2,B,99,1,", "4,3,ioc,3,A,99,6,"]
    run(tmp_path, lines, bbo=tmp_path / "bbo.csv", bbo_every=2)
    assert (tmp_path / "bbo.csv").read_text().splitlines() == [
        "after_cmd,bid_ticks,bid_size,bid_orders,ask_ticks,ask_size,ask_orders,orders_in_book",
        "2,99,6,2,101,3,1,6",
        "4,98,4,1,101,3,1,4",
    ]


def test_parquet_and_gzip_say_the_same_as_csv(tmp_path):
    rows = pl.DataFrame(
        {
            "cmd": [1, 2],
            "ts_event_ns": [5, 6],
            "op": ["add", "ioc"],
            "order_id": [7, 8],
            "side": ["B", "A"],
            "price_ticks": [10, 10],
            "size": [3, 2],
            "tag": ["", ""],
        }
    )
    rows.write_parquet(tmp_path / "c.parquet")
    rows.write_csv(tmp_path / "c.csv")
    rows.write_csv(tmp_path / "c.csv.gz", compression="gzip")
    results = [run_match(tmp_path / name) for name in ("c.parquet", "c.csv", "c.csv.gz")]
    assert {(r.trades, r.qty, r.checksum) for r in results} == {(1, 2, results[0].checksum)}


SOUND = {"cmd": 1, "ts_event_ns": 5, "op": "add", "order_id": 7, "side": "B", "price_ticks": 10}
ODD_COLUMNS = [
    (name, value, f"{name}: expected text or whole numbers, got {kind}")
    for name in ("cmd", "op", "side", "price_ticks")
    for value, kind in (
        (["B"], "List(String)"),
        ({"x": "B"}, "Struct("),
        (b"\xff", "Binary"),
        (timedelta(1), "Duration("),
    )
]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [*((name, None, f"header: expected the column {name}") for name in SOUND), *ODD_COLUMNS],
)
def test_a_parquet_column_that_is_missing_or_no_text_is_refused(tmp_path, name, value, reason):
    kept = {key: each for key, each in SOUND.items() if key != name}
    odd = {} if value is None else {name: [value]}
    frame = pl.DataFrame({**{key: [each] for key, each in kept.items()}, "size": [3], **odd})
    frame.write_parquet(tmp_path / "c.parquet")
    with pytest.raises(MatchError) as refusal:
        run_match(tmp_path / "c.parquet")
    assert str(refusal.value).startswith(f"c.parquet: {reason}")


REFUSALS = {
    "1,10,limit,301,B,nan,5,": "row 1: price_ticks: expected a whole number from 0",
    "1,10,limit,301,B,101,-5,": "row 1: size: expected a whole number from 1",
    "1,10,limit,301,B,101,1.5,": "row 1: size: expected a whole number from 1",
    "1,10,limit,301,B,0,5,": "row 1: PRICE_OUT_OF_RANGE",
    "1,10,limit,301,X,101,5,": "row 1: side: expected one of B, A, got 'X'",
    "1,10,limit,301,,101,5,": "row 1: side: expected one of B, A, got ''",
    "1,10,buy,301,B,101,5,": "row 1: op: expected one of add, limit, ioc, reduce, replace",
    "1,10,limit,101,B,101,5,": "row 1: DUPLICATE_ORDER: op limit order 101",
    "1,10,reduce,999,,,5,": "row 1: UNKNOWN_ORDER: op reduce order 999",
    "1,10,replace,101,A,99,5,": "row 1: WRONG_SIDE",
    "1,10,add,301,B,101,5,": "row 1: WOULD_CROSS",
    "1,10,limit,-1,B,101,5,": "row 1: order_id: expected a whole number from 1",
    "1,10,add,1,B,90,5,\n2,9,add,2,B,90,5,": "row 2: ts_event_ns: goes backwards",
    "2,10,add,1,B,90,5,\n2,11,add,2,B,90,5,": "row 2: cmd: goes backwards",
    "1,10,limit,301,B,99999999999,5,": "row 1: price_ticks: expected a whole number from 0",
}


@pytest.mark.parametrize("line", REFUSALS)
def test_refusals_name_file_row_and_reason_and_write_nothing(tmp_path, line):
    with pytest.raises(MatchError) as refusal:
        run(tmp_path, [line])
    assert str(refusal.value).startswith("commands.csv: " + REFUSALS[line])
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "fills.csv").exists() and not (tmp_path / "final.csv").exists()


def test_the_command_line_exits_with_2_and_one_line(tmp_path):
    (tmp_path / "c.csv").write_text(HEADER + "1,10,reduce,5,,,1,\n")
    result = crashtape("match", tmp_path / "c.csv")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: c.csv: row 1: UNKNOWN_ORDER: op reduce order 5")
    assert result.stderr.count("\n") == 1


def test_a_flow_file_gives_the_checksum_of_its_definition(tmp_path):
    """h = h * 1000003 + x over maker, taker, price, qty: by hand for two trades."""
    rows = [(0, 1, 1, 10, 5), (0, 2, 1, 11, 5), (1, 3, 0, 0, 7), (3, 2, 1, 12, 3), (2, 2, 1, 12, 0)]
    np.save(tmp_path / "flow.npy", np.array(rows, dtype=np.int64))
    expected = 0
    for value in (1, 3, 10, 5, 2, 3, 11, 2):
        expected = (expected * 1_000_003 + value) % 2**64
    result = run_npy(tmp_path / "flow.npy")
    assert (result.messages, result.trades, result.qty, result.live) == (5, 2, 7, 0)
    assert result.checksum == f"{expected:016x}"
    printed = json.loads(crashtape("match", tmp_path / "flow.npy", "--json").stdout)
    assert (printed["messages"], printed["trades"], printed["qty"]) == (5, 2, 7)
    assert printed["checksum"] == f"{expected:016x}" and printed["seconds"] > 0


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (np.zeros((2, 4), np.int64), "expected int64 (n, 5)"),
        (np.zeros((2, 5)), "expected int64 (n, 5)"),
        (np.array([[9, 1, 0, 1, 1]]), "row 1: expected kind 0 to 3 and side 0 or 1"),
        (np.array([[2, 1, 0, 1, 1]]), "row 1: UNKNOWN_ORDER"),
    ],
)
def test_flow_files_are_refused(tmp_path, table, reason):
    np.save(tmp_path / "flow.npy", table)
    with pytest.raises(MatchError) as refusal:
        run_npy(tmp_path / "flow.npy")
    assert str(refusal.value).startswith("flow.npy: " + reason)


def test_room_for_fills_does_not_change_a_result(monkeypatch):
    """One order meets 500 others; the kernel stops for room and goes on."""
    monkeypatch.setattr("engine.match.FILLS_ROOM", 1)
    rows = np.zeros(502, dtype=FLOW)
    rows["op"], rows["order_id"] = Op.LIMIT, np.arange(1, 503)
    rows["side"], rows["price"], rows["lots"] = 2, 10, 1
    rows[500] = (Op.IOC, 501, 1, 10, 400)
    rows[501] = (Op.IOC, 502, 1, 10, 400)
    book = BookAlone(20, 600)
    fills = np.concatenate([part.copy() for part in book.run(rows)])
    assert len(fills) == 500 and book.best()[6] == 0
    assert fold(fills[:1], 0) == fold(fills[:1].copy(), 0)


def flow_rows(count):
    """A busy flow over few ids and prices: entries, changes and refusals of every kind."""
    rng = np.random.default_rng(5)
    rows = np.zeros(count, dtype=FLOW)
    rows["op"] = rng.integers(0, 9, count)
    rows["order_id"] = 64 * rng.integers(-1, 30, count)  # all of them in one slot of a small book
    rows["side"] = rng.integers(1, 3, count)
    rows["price"] = rng.integers(0, 13, count)
    rows["lots"] = rng.integers(0, 9, count)
    return rows


def said(act):
    """What a call returns, or the words of its refusal."""
    try:
        return act()
    except MatchError as refusal:
        return str(refusal)


def test_a_message_does_what_a_row_does():
    by_row, by_message = BookAlone(11, 6), BookAlone(11, 6)
    answers = set()
    for number, row in enumerate(flow_rows(6_000)):
        one = np.array([row])
        rows = said(lambda one=one, at=number: by_row.run(one, at).__next__().tolist())
        values = row.tolist()
        message = said(lambda values=values, at=number: by_message.message(*values, at))
        if isinstance(message, list):
            assert message == rows
        else:
            assert rows == []  # the fills before a refusal, of which there are none
            answers.add(message.split(": ")[1])
    assert answers == {member.name for member in FlowError}
    for name in ("ORDERS", "LEVELS", "WORDS", "ORDER_SLOTS", "ORDER_LINKS"):
        assert (by_row.block.table(name) == by_message.block.table(name)).all()


def test_ids_that_share_a_slot_are_found_and_leave_nothing_behind():
    """Forty ids of one slot come and go in any order."""
    book, rng, live = BookAlone(50, 40), np.random.default_rng(3), {}
    ids = [1 + 2**24 * k for k in range(20)] + [1 + 2**44 * k for k in range(1, 21)]
    for _ in range(3_000):
        order_id = int(rng.choice(ids))
        if order_id in live:
            assert "DUPLICATE_ORDER" in said(lambda i=order_id: book.message(Op.ADD, i, 1, 7, 1))
            book.message(Op.CANCEL, order_id, 1, 0, 0)
            del live[order_id]
        else:
            assert "UNKNOWN_ORDER" in said(lambda i=order_id: book.message(Op.CANCEL, i, 1, 0, 0))
            live[order_id] = int(rng.integers(1, 50))
            book.message(Op.ADD, order_id, 1, live[order_id], 1)
    assert dict(book.resting().select("order_id", "price_ticks").iter_rows()) == live
    for order_id in live:
        book.message(Op.CANCEL, order_id, 1, 0, 0)
    assert not book.block.table("ORDER_SLOTS").any() and not book.block.table("ORDER_LINKS").any()
