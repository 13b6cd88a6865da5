"""Formats that are no plain CSV: JSON lines, market by order, event arrays, any CSV by its map."""

import json

import msgspec
import numpy as np
import pytest

from engine.column_map import ColumnMap
from engine.constants import Cause, CommandKind, Flag
from engine.importers import databento_mbo, hftbacktest_npz, json_lines
from engine.importers.catalogue import GENERIC, check_columns, read_file
from engine.importers.common import FormatError, ImportReport, MarketSpec, new_commands
from engine.importers.hftbacktest_write import write_hftbacktest
from engine.importers.hyperliquid_accounts import read_accounts
from import_samples import BEGIN, BTC, CLEAR, DEPTH, TRADE

ES = MarketSpec(market_id=1, price_decimals=2, lot="1", tick_price=25)


def rows_of(import_) -> np.ndarray:
    return np.concatenate([new_commands(0, 1), *import_])


def facts_of(rows: np.ndarray) -> list[tuple]:
    """Kind, side, price, lots and flags of every row."""
    return rows[["kind", "side", "price", "lots", "flags"]].tolist()


def refused(import_) -> str:
    with pytest.raises(FormatError) as caught:
        list(import_)
    return str(caught.value)


# --- order-book messages


def message(kind, update, bids, asks, ms=BEGIN * 1000):
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": 9}
    return {"topic": "x", "type": kind, "ts": ms + 100, "data": data, "cts": ms}


BOOK = [
    message("snapshot", 5, [["100.0", "1"], ["99.9", "2"]], [["100.1", "3"]]),
    message("delta", 6, [["100.0", "0"]], [["100.1", "0.5"]], BEGIN * 1000 + 20),
]


def book_of(path, messages):
    path.write_text("".join(json.dumps(each) + "\n" for each in messages))
    return json_lines.read_orderbook_500(path, BTC, "depth", "BTCUSDT")


def test_orderbook_messages(tmp_path):
    import_ = book_of(tmp_path / "a", BOOK)
    rows = rows_of(import_)
    assert facts_of(rows) == [
        (CLEAR, 0, 0, 0, 0), (DEPTH, 1, 10000, 1000, 0), (DEPTH, 1, 9990, 2000, 0),
        (DEPTH, 2, 10010, 3000, 32), (DEPTH, 1, 10000, 0, 0), (DEPTH, 2, 10010, 500, 32),
    ]  # fmt: skip
    assert rows["time_ns"][-1] == BEGIN * 10**9 + 20 * 10**6
    assert (import_.report.gaps, import_.report.counts["messages"]) == (0, 2)


def test_a_missing_message_withdraws_the_book(tmp_path):
    later = [message("delta", 9, [["99.8", "7"]], []), message("delta", 10, [["99.8", "7"]], [])]
    again = message("snapshot", 11, [["99.7", "1"]], [])
    import_ = book_of(tmp_path / "a", [later[0], *BOOK, *later, again])
    rows = rows_of(import_)
    assert rows["kind"][:1] == CLEAR and rows["price"][1] == 10000  # nothing before a snapshot
    assert facts_of(rows)[6:] == [
        (CLEAR, 0, 0, 0, 0),
        (CLEAR, 0, 0, 0, 0),
        (DEPTH, 1, 9970, 1000, 32),
    ]
    assert (import_.report.gaps, import_.report.counts["unsynced"]) == (1, 3)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"100.1", "0.5"', '"100.13", "0.5"', "line 2: price: OFF_TICK"),
        ('"100.1", "0.5"', '"nan", "0.5"', "line 2: price: NOT_A_NUMBER"),
        ('"100.1", "0.5"', '100.1, "0.5"', "line 2: CONTENTS"),
        ('"u": 6', '"u": "6"', "line 2: CONTENTS"),
        ('"type": "delta"', '"type": "other"', "line 2: CONTENTS"),
        ('"s": "BTCUSDT", "b": [["100.0", "0"]]', '"s": "XRP", "b": []', "line 2: s: WRONG_MARKET"),
        (', "cts": 1700000000020}', "", "line 2: CONTENTS"),
    ],
)
def test_damaged_orderbook_messages(tmp_path, old, new, reason):
    text = "".join(json.dumps(each) + "\n" for each in BOOK)
    assert old in text
    (tmp_path / "a").write_text(text.replace(old, new))
    import_ = json_lines.read_orderbook_500(tmp_path / "a", BTC, "depth", "BTCUSDT")
    assert refused(import_).startswith(f"a: {reason}")


# --- fills of a chain


def fill(user, side, trade, *, crossed, coin="BTC", direction="Open Long", victim="", how="market"):
    event = {"coin": coin, "px": "100.1", "sz": "0.5", "side": side, "time": BEGIN * 1000,
             "dir": direction, "tid": trade, "crossed": crossed, "hash": "0x"}  # fmt: skip
    if victim:
        event["liquidation"] = {"liquidatedUser": victim, "markPx": "100", "method": how}
    return [user, event]


FILLS = [
    {"block_number": 1, "events": [
        fill("a", "B", 1, crossed=False), fill("b", "A", 1, crossed=True),
        fill("a", "B", 7, crossed=True, coin="ETH"),
    ]},
    {"block_number": 2, "events": []},
    {"block_number": 3, "events": [
        fill("c", "A", 2, crossed=True, direction="Close Long", victim="c"),
        fill("a", "B", 2, crossed=False, victim="c"),
        fill("d", "A", 3, crossed=False, victim="d", how="backstop"),
        fill("v", "B", 3, crossed=True, victim="d", how="backstop"),
        fill("e", "A", 4, crossed=True, victim="e"),
        fill("f", "B", 4, crossed=False, direction="Auto-Deleveraging", victim="e"),
    ]},
]  # fmt: skip


def fills_of(path, role):
    path.write_text("".join(json.dumps(each) + "\n" for each in FILLS))
    return json_lines.read_node_fills(path, BTC, role, "BTC")


def test_one_trade_for_two_fills_and_none_for_a_deleveraging(tmp_path):
    import_ = fills_of(tmp_path / "a", "trade")
    sides = (2, 2, 1)  # of who crossed the spread
    assert facts_of(rows_of(import_)) == [(TRADE, side, 10010, 500, 0) for side in sides]
    report = import_.report
    assert (report.rows_read, report.rows_kept) == (9, 3)
    assert report.counts == {"other_markets": 1, "adl_fills": 1, "liquidation_fills": 3}


def test_forced_fills_as_facts(tmp_path):
    import_ = fills_of(tmp_path / "a", "facts")
    rows = np.concatenate(list(import_))
    expected = [(2, Cause.LIQUIDATION), (2, Cause.TAKEOVER), (2, Cause.LIQUIDATION), (1, Cause.ADL)]
    assert rows[["side", "cause"]].tolist() == expected
    counts = import_.report.counts
    assert (counts["longs_liquidated_lots"], counts["shorts_liquidated_lots"]) == (1500, 0)
    assert import_.report.notes == [
        "every liquidation of the chain is in its fills: totals are complete"
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"px": "100.1"', '"px": "100.13"', "line 1: price: OFF_TICK"),
        ('"px": "100.1"', '"px": 100.1', "line 1: CONTENTS"),
        ('"sz": "0.5"', '"sz": "x"', "line 1: size: NOT_A_NUMBER"),
        ('"tid": 4', '"tid": null', "line 3: CONTENTS"),
        ('"coin": "BTC"', '"coin": "SOL"', "WRONG_MARKET: expected rows of BTC, got only others"),
        ("}]]}\n", "", "line 1: CONTENTS"),
    ],
)
def test_damaged_fills(tmp_path, old, new, reason):
    text = "".join(json.dumps(each) + "\n" for each in FILLS)
    assert old in text
    (tmp_path / "a").write_text(text.replace(old, new))
    import_ = json_lines.read_node_fills(tmp_path / "a", BTC, "trade", "BTC")
    assert refused(import_).startswith(f"a: {reason}")


# --- accounts


def account(raw, *legs):
    legs = [{"type": "oneWay", "position": leg} for leg in legs]
    return {
        "user": "0x",
        "state": {"assetPositions": legs, "crossMarginSummary": {"totalRawUsd": raw}},
    }


def leg(size, entry, value, how, raw="0", coin="ETH"):
    lever = {"type": how, "value": 20, "rawUsd": raw}
    return {"coin": coin, "szi": size, "entryPx": entry, "positionValue": value, "leverage": lever}


ACCOUNTS = [
    account("13104.5", leg("0.0335", "2986.34", "100.02765", "isolated", "-95.059824")),
    account("0", leg("-1", "3000", "2985.9", "cross"),
            leg("0.1", "50000", "5100", "cross", coin="BTC")),
    account("-10", leg("0.001", "3000", "3", "cross")),
    account("5"),
]  # fmt: skip
ETH = MarketSpec(market_id=1, price_decimals=1, lot="0.0001", tick_price=1)


def accounts_of(path, accounts):
    path.write_text("".join(json.dumps(each) + "\n" for each in accounts))
    report = ImportReport(source="a", format="x")
    return report, read_accounts(path, ETH, "ETHUSD", "ETH", 6, report)


def test_accounts_keep_their_equity(tmp_path):
    report, frames = accounts_of(tmp_path / "a", ACCOUNTS)
    rows = [row for frame in frames for row in frame.iter_rows()]
    # -95.059824 + 0.0335 * 2986.3 at a rounded entry; 5100 of the other coin less 3000 sold
    assert rows == [
        ("16", "ETHUSD", "335", "2986.3", "4.981226", "true", "20"),
        ("17", "ETHUSD", "-10000", "3000", "2100.000000", "false", "20"),
        ("18", "ETHUSD", "10", "3000", "0.000000", "false", "20"),
    ]
    assert report.counts == {"accounts": 4, "other_markets": 1, "in_debt": 1, "empty_accounts": 1}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"szi": "-1"', '"szi": "-1.00001"', "line 2: szi: LOTS"),
        ('"szi": "-1"', '"szi": "0"', "line 2: szi: ZERO"),
        ('"szi": "-1"', '"szi": "NaN"', "line 2: szi: NOT_A_NUMBER"),
        ('"entryPx": "3000"', '"entryPx": "0.01"', "line 2: entryPx: PRICE"),
        ('"type": "cross"', '"type": "both"', "line 2: CONTENTS"),
    ],
)
def test_damaged_accounts(tmp_path, old, new, reason):
    text = "".join(json.dumps(each) + "\n" for each in ACCOUNTS)
    assert old in text
    (tmp_path / "a").write_text(text.replace(old, new, 1))
    report = ImportReport(source="a", format="x")
    frames = read_accounts(tmp_path / "a", ETH, "ETHUSD", "ETH", 6, report)
    assert refused(frames).startswith(f"a: {reason}")


# --- market by order

MBO = """ts_recv,ts_event,action,side,price,size,order_id,flags
1700000000000000000,1,A,B,100.25,2,1,40
1700000000000000000,2,A,B,100.25,3,2,40
1700000000000000000,3,A,A,100.50,4,3,168
1700000001000000000,4,T,B,100.50,1,0,0
1700000001000000000,4,F,A,100.50,1,3,0
1700000001000000000,4,C,A,100.50,1,3,128
1700000002000000000,5,M,B,100.00,3,2,128
1700000003000000000,6,C,B,100.25,2,1,128
1700000004000000000,7,C,B,100.25,2,9,128
1700000005000000000,8,R,N,,0,0,128
"""


def test_orders_add_up_to_levels(tmp_path):
    (tmp_path / "a").write_text(MBO)
    import_ = databento_mbo.read_mbo(tmp_path / "a", ES)
    rows = rows_of(import_)
    assert facts_of(rows) == [
        (DEPTH, 1, 10025, 5, 0), (DEPTH, 2, 10050, 4, 32),
        (TRADE, 1, 10050, 1, 0), (DEPTH, 2, 10050, 3, 32),
        (DEPTH, 1, 10025, 2, 0), (DEPTH, 1, 10000, 3, 32),
        (DEPTH, 1, 10025, 0, 32),
        (CLEAR, 0, 0, 0, 0),
    ]  # fmt: skip
    assert import_.report.counts["unknown_orders"] == 1
    whole = MBO.replace(".25", "250000000").replace(".50", "500000000").replace(".00", "000000000")
    (tmp_path / "a").write_text(whole)
    assert np.array_equal(rows_of(databento_mbo.read_mbo(tmp_path / "a", ES)), rows)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("M,B,100.00", "M,B,100.10", "line 8: price: OFF_TICK"),
        ("M,B,100.00", "M,B,one", "line 8: price: NOT_A_NUMBER"),
        ("M,B,100.00", "M,B,", "line 8: price: MISSING"),
        ("M,B,100.00", "M,N,100.00", "line 8: side: INCONSISTENT"),
        ("M,B,100.00", "Z,B,100.00", "line 8: action: UNSUPPORTED"),
        ("100.00,3,2,128", "100.00,3,2", "line 8: COLUMNS"),
        ("100.50,4,3,168", "100.50,4,2,168", "line 4: order_id: DUPLICATE"),
        ("1700000002", "1700000000", "line 8: ts_recv: TIME_BACKWARDS"),
        ("order_id", "order", "line 1: HEADER"),
    ],
)
def test_damaged_orders(tmp_path, old, new, reason):
    assert old in MBO
    (tmp_path / "a").write_text(MBO.replace(old, new, 1))
    assert refused(databento_mbo.read_mbo(tmp_path / "a", ES)).startswith(f"a: {reason}")


# --- event arrays written


def test_an_event_array_is_read_back_as_it_was_written(tmp_path):
    rows = new_commands(6, 1)
    rows["time_ns"] = BEGIN * 10**9 + np.arange(6)
    rows["kind"] = [CLEAR, DEPTH, DEPTH, TRADE, CommandKind.INDEX, DEPTH]
    rows["side"] = [0, 1, 2, 0, 0, 1]
    rows["price"] = [0, 10000, 123456780, 10010, 10010, 10000]
    rows["lots"] = [0, 1, 2**40, 7, 0, 0]
    rows["flags"][[1, 2, 5]] = Flag.LAST_OF_BLOCK
    other = rows.copy()
    other["market_id"] = 2
    blocks = [rows[:2], other, rows[2:]]
    assert write_hftbacktest(tmp_path / "a.npz", lambda: blocks, BTC) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    import_ = hftbacktest_npz.read_hftbacktest(tmp_path / "a.npz", BTC)
    assert np.array_equal(rows_of(import_), rows[rows["kind"] != CommandKind.INDEX])
    assert np.load(tmp_path / "a.npz")["data"]["px"].tolist() == [0, 100.0, 1234567.8, 100.1, 100.0]


# --- any CSV

GENERIC_TEXT = "when,what,px,qty,dir\n1700000000,B,100.0,1.5,buy\n1700000001,B,100.1,2,s\n"
MAP = ColumnMap(fields={"time": "when", "price": "px", "size": "qty", "side": "dir"}, unit="s")


def test_any_csv_by_its_column_map(tmp_path):
    (tmp_path / "a").write_text(GENERIC_TEXT)
    rows = rows_of(read_file(GENERIC, tmp_path / "a", BTC, "trade", "", columns=MAP))
    assert facts_of(rows) == [(TRADE, 1, 10000, 1500, 0), (TRADE, 2, 10010, 2000, 0)]
    bare = msgspec.structs.replace(MAP, names=["when", "what", "px", "qty", "dir"])
    (tmp_path / "a").write_text(GENERIC_TEXT.partition("\n")[2])
    assert np.array_equal(
        rows_of(read_file(GENERIC, tmp_path / "a", BTC, "trade", "", columns=bare)), rows
    )
    fields = {"time": "when", "price": "px", "size": "qty", "side": "dir"}
    levels = msgspec.structs.replace(bare, rows="book", fields=fields)
    rows = rows_of(read_file(GENERIC, tmp_path / "a", BTC, "depth", "", columns=levels))
    assert facts_of(rows) == [(DEPTH, 1, 10000, 1500, 32), (DEPTH, 2, 10010, 2000, 32)]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("100.1", "100.13", "line 3: px: OFF_TICK"),
        ("100.1", "many", "line 3: px: NOT_A_NUMBER"),
        ("2,s", "2,up", "line 3: dir: UNSUPPORTED"),
        ("2,s", "2", "line 3: COLUMNS"),
        ("qty", "size", "line 1: HEADER: expected a header with dir,px,qty,when"),
    ],
)
def test_damaged_generic_csv(tmp_path, old, new, reason):
    (tmp_path / "a").write_text(GENERIC_TEXT.replace(old, new))
    import_ = read_file(GENERIC, tmp_path / "a", BTC, "trade", "", columns=MAP)
    assert refused(import_).startswith(f"a: {reason}")


def test_a_column_map_says_what_it_lacks():
    with pytest.raises(msgspec.ValidationError, match="Expected a column for size in fields"):
        msgspec.convert({"fields": {"time": "t", "price": "p"}}, ColumnMap)
    with pytest.raises(msgspec.ValidationError, match="Expected fields of time, price, size, side"):
        msgspec.convert({"fields": MAP.fields | {"mood": "m"}}, ColumnMap)
    assert check_columns(MAP, "depth").startswith("expected as = trade or index or mark")
    assert check_columns(None, "trade") == "expected a column map for csv"
