"""Importers: documented formats in, exact commands out; damaged copies are refused with a place.

The samples are written here from the documented formats; `test_tape.py` runs real captures.
"""

import gzip
import io
import json
import random
import zipfile
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import polars as pl
import pytest

from engine import constants as c
from engine.importers import binance_vision as vision
from engine.importers import hftbacktest_npz as hft
from engine.importers import lobster, packed, raw_websocket, table
from engine.importers.common import (
    FormatError,
    MarketSpec,
    market_spec,
    new_commands,
)
from engine.importers.feed_check import check_feed, check_flow
from engine.venue import load_venue

BTC = MarketSpec(market_id=1, price_decimals=2, lot="0.001", tick_price=10)
KINDS = c.CommandKind


def rows_of(import_) -> np.ndarray:
    return np.concatenate([new_commands(0, 1), *import_])


def refusal(import_) -> FormatError:
    with pytest.raises(FormatError) as caught:
        list(import_)
    assert "\n" not in str(caught.value)
    if hasattr(import_, "report"):
        assert import_.report.refused == 1
    return caught.value


def test_units_come_from_the_profile():
    spec = market_spec(load_venue("binance_usdm"), "BTCUSDT")
    assert (spec.market_id, spec.price_decimals, spec.lot) == (1, 2, "0.001")


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_decimals_are_exact_and_round_half_to_even():
    draw = random.Random(7)
    texts = ["0.005", "0.015", "0.0150000001", "0.025", "12345678901.5"]
    for _ in range(2_000):
        fraction = "".join(draw.choices("0055912", k=draw.randrange(10)))
        whole = str(draw.randrange(10 ** draw.randrange(1, 12)))
        texts.append(f"{whole}.{fraction}" if fraction else whole)
    for decimals in (0, 2, 5):
        column = table.Table("x", 1, pl.DataFrame({"a": texts}))
        units, rounded = column.decimals("a", decimals)
        for text, unit, was_rounded in zip(texts, units.tolist(), rounded.tolist(), strict=True):
            scaled = Decimal(text).scaleb(decimals)
            assert unit == int(scaled.to_integral_value(ROUND_HALF_EVEN)), text
            assert was_rounded == (scaled != unit), text


BAD_NUMBERS = {
    "NOT_A_NUMBER": ["nan", "inf", "1e5", " 1", "1.", ".5", "+1", "0x1", "\u0661"],
    "NEGATIVE": ["-1", "-0.5"],
    "OUT_OF_RANGE": ["9" * 24],
}


@pytest.mark.parametrize("code", BAD_NUMBERS)
def test_bad_numbers(code):
    for text in BAD_NUMBERS[code]:
        column = table.Table("x.csv", 5, pl.DataFrame({"a": ["1", text]}))
        with pytest.raises(FormatError, match=f"x.csv: line 6: a: {code}: "):
            column.decimals("a", 2)


def test_chunks_do_not_change_what_is_read(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_bytes(KLINES)
    whole = rows_of(vision.read_klines(tmp_path / "a.csv", BTC))
    for size in (64, 200, 333):
        monkeypatch.setattr(packed, "CHUNK_BYTES", size)
        assert np.array_equal(rows_of(vision.read_klines(tmp_path / "a.csv", BTC)), whole)
    damaged = KLINES.replace(b"101.55", b"nan")
    (tmp_path / "a.csv").write_bytes(damaged)
    assert refusal(vision.read_klines(tmp_path / "a.csv", BTC)).place == "line 3"


def test_line_length_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "CHUNK_BYTES", 10)
    monkeypatch.setattr(packed, "LINE_BYTES_MAX", 100)
    (tmp_path / "a.csv").write_bytes(b"1" * 1_000)
    assert refusal(vision.read_klines(tmp_path / "a.csv", BTC)).code == "TEXT"


# --- klines

HEADER = b",".join(name.encode() for name in vision.KLINE_COLUMNS) + b"\n"
BARS = [
    b"1584006300000,100.00,101.00,99.00,100.50,1.5,1584006359999,150,3,0.5,50,0\n",
    b"1584006360000,100.50,101.55,99.50,100.00,1.5,1584006419999,150,3,0.5,50,0\n",
    b"1584006480000,100.00,100.00,100.00,100.00,0,1584006539999,0,0,0,0,0\n",
]
KLINES = HEADER + b"".join(BARS)


def test_klines_become_four_points_a_bar(tmp_path):
    (tmp_path / "a.csv").write_bytes(KLINES)
    import_ = vision.read_klines(tmp_path / "a.csv", BTC)
    rows = rows_of(import_)
    assert rows["price"].tolist()[:8] == [10000, 9900, 10100, 10050, 10050, 10155, 9950, 10000]
    first_ns = 1584006300 * 10**9
    offsets = (rows["time_ns"][:4] - first_ns).tolist()
    assert offsets == [0, 15 * 10**9, 30 * 10**9, 59_999 * 10**6]
    assert set(rows["kind"].tolist()) == {KINDS.INDEX}
    report = import_.report
    assert (report.rows_read, report.rows_kept, report.commands, report.rounded) == (3, 3, 12, 0)
    assert (report.gaps, report.gap_ns) == (1, 60 * 10**9)
    assert rows["time_ns"][-1] == report.last_time_ns == 1584006539999 * 10**6


def test_klines_in_every_container_and_unit(tmp_path):
    (tmp_path / "a.csv").write_bytes(KLINES)
    expected = rows_of(vision.read_klines(tmp_path / "a.csv", BTC, as_kind=KINDS.MARK))
    bare = b"".join(BARS)
    micro = bare.replace(b"9999,", b"9999999,").replace(b"0000,", b"0000000,")
    for data in (bare, bare.replace(b"\n", b"\r\n"), bare[:-1], gzip.compress(KLINES)):
        (tmp_path / "b").write_bytes(data)
        assert np.array_equal(rows_of(vision.read_mark_klines(tmp_path / "b", BTC)), expected)
    (tmp_path / "b.zip").write_bytes(zipped({"a.csv": KLINES}))
    assert np.array_equal(rows_of(vision.read_mark_klines(tmp_path / "b.zip", BTC)), expected)
    (tmp_path / "b").write_bytes(micro)
    rows = rows_of(vision.read_mark_klines(tmp_path / "b", BTC))
    assert rows["time_ns"][3] == 1584006359999999 * 1_000
    assert np.array_equal(rows["time_ns"][::4], expected["time_ns"][::4])


def test_prices_finer_than_a_unit_are_rounded_and_counted(tmp_path):
    (tmp_path / "a.csv").write_bytes(BARS[0].replace(b"100.50", b"100.50500001"))
    import_ = vision.read_index_klines(tmp_path / "a.csv", BTC)
    assert rows_of(import_)["price"][3] == 10051
    assert import_.report.rounded == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"101.55", b"NaN", "a.csv: line 3: high: NOT_A_NUMBER"),
        (b"101.55", b"", "a.csv: line 3: high: MISSING"),
        (b"101.55", b"-101.55", "a.csv: line 3: high: NEGATIVE"),
        (b"101.55", b"0", "a.csv: line 3: high: ZERO"),
        (b"101.55", b"100.40", "a.csv: line 3: high: INCONSISTENT"),
        (b"99.50", b"100.40", "a.csv: line 3: low: INCONSISTENT"),
        (b"101.55,", b"", "a.csv: line 3: COLUMNS: expected 12 columns, got 11"),
        (b"101.55", b"101,55", "a.csv: line 3: COLUMNS: expected 12 columns, got 13"),
        (b"101.55", b"101\xff55", "a.csv: line 3: TEXT"),
        (b"100.50,1.5,", b"100.50,-1.5,", "a.csv: line 2: volume: NEGATIVE"),
        (b"100.50,1.5,", b"100.50,nan,", "a.csv: line 2: volume: NOT_A_NUMBER"),
        (b"1584006360000", b"1584006200000", "a.csv: line 3: close_time: INCONSISTENT"),
        (b"\n1584006480000", b"\n\n1584006480000", "a.csv: line 4: COLUMNS"),
        (BARS[1], BARS[0], "a.csv: line 3: open_time: DUPLICATE"),
        (BARS[0] + BARS[1], BARS[1] + BARS[0], "a.csv: line 3: open_time: TIME_BACKWARDS"),
        (b"open_time,open", b"open,open_time", "a.csv: line 1: HEADER"),
        (KLINES, b"", "a.csv: CONTENTS: the file is empty"),
    ],
)
def test_damaged_klines(tmp_path, old, new, message):
    assert old in KLINES
    (tmp_path / "a.csv").write_bytes(KLINES.replace(old, new, 1))
    assert str(refusal(vision.read_klines(tmp_path / "a.csv", BTC))).startswith(message)


def test_damaged_containers(tmp_path):
    packed = gzip.compress(KLINES)
    for data, code in (
        (zipped({"a.csv": KLINES, "b.csv": KLINES}), "CONTENTS"),
        (zipped({"a.txt": KLINES}), "CONTENTS"),
        (zipped({"a.csv": KLINES})[:-30], "TORN"),
        (packed[:-10], "TORN"),
        (packed[:40] + bytes([packed[40] ^ 1]) + packed[41:], "TORN"),
    ):
        (tmp_path / "a").write_bytes(data)
        assert refusal(vision.read_klines(tmp_path / "a", BTC)).code == code
    assert refusal(vision.read_klines(tmp_path / "none", BTC)).code == "UNREADABLE"


# --- bookDepth


def band_text(time="2025-10-10 00:00:07", lots=(50, 30, 25, 45)) -> str:
    rows = zip((-2, -1, 1, 2), lots, strict=True)
    return "".join(f"{time},{percent},{n / 1000},{n * 100}.5\n" for percent, n in rows)


BANDS = "timestamp,percentage,depth,notional\n" + band_text() + band_text("2025-10-10 00:00:37")


def test_bands_and_their_curve(tmp_path):
    (tmp_path / "a.csv").write_text(BANDS)
    bands = np.concatenate(list(vision.read_book_depth(tmp_path / "a.csv", BTC)))
    assert bands["offset_ppm"].tolist() == [-20_000, -10_000, 10_000, 20_000] * 2
    assert bands["notional"][0] == 5000_50000000
    blocks = list(vision.split_bands(bands))
    assert [len(block) for block in blocks] == [4, 4]
    bids, asks = vision.curve_from_bands(blocks[0], levels_per_band=3)
    assert bids.tolist() == [
        [3333, 10], [6666, 10], [10000, 10], [13333, 6], [16666, 7], [20000, 7]
    ]  # fmt: skip
    assert asks[:, 1].sum() == 45
    with pytest.raises(ValueError, match="31 lots, but a bid band holds 30"):
        vision.curve_from_bands(blocks[0], subtract_lots=31)
    with pytest.raises(ValueError, match="exactly one time"):
        vision.curve_from_bands(bands)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BANDS.replace("0.03,", "0.06,"), "line 3: depth: INCONSISTENT"),
        (BANDS.replace("0.03,", "0.0305,"), "line 3: depth: OFF_LOT"),
        (BANDS.replace("0.03,", "-0.03,"), "line 3: depth: NEGATIVE"),
        (BANDS.replace(",-1,", ",-2,"), "line 3: percentage: DUPLICATE"),
        (BANDS.replace(",-1,", ",0,"), "line 3: percentage: ZERO"),
        (BANDS.replace("00:00:37", "00:00:06"), "line 6: timestamp: TIME_BACKWARDS"),
        (BANDS.replace("00:00:37", "00:00:3"), "line 6: timestamp: NOT_A_TIME"),
        (BANDS.replace("\n2025", "\n 2025", 1), "line 2: timestamp: NOT_A_TIME"),
    ],
)
def test_damaged_bands(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    error = refusal(vision.read_book_depth(tmp_path / "a.csv", BTC))
    assert str(error).startswith(f"a.csv: {message}")


# --- hftbacktest

BUY = hft.EXCH_EVENT | hft.LOCAL_EVENT | hft.BUY_EVENT
SELL = hft.EXCH_EVENT | hft.LOCAL_EVENT | hft.SELL_EVENT
HFT_ROWS = [
    (BUY | hft.DEPTH_SNAPSHOT_EVENT, 1000, 100.1, 0.5),
    (BUY | hft.DEPTH_SNAPSHOT_EVENT, 1000, 100.0, 0.7),
    (SELL | hft.DEPTH_SNAPSHOT_EVENT, 1000, 100.2, 0.3),
    (SELL | hft.TRADE_EVENT, 1001, 100.1, 0.2),
    (BUY & ~hft.EXCH_EVENT | hft.DEPTH_EVENT, 900, 55.5, 9.0),
    (BUY | hft.DEPTH_EVENT, 1001, 100.1, 0.3),
    (SELL | hft.DEPTH_EVENT, 1001, 100.3, 0.0),
    (BUY | hft.DEPTH_CLEAR_EVENT, 1002, 100.1, 0.0),
    (hft.EXCH_EVENT | hft.DEPTH_CLEAR_EVENT, 1003, 0.0, 0.0),
]


def hft_file(path, rows=HFT_ROWS, dtype=hft.HFT_EVENT, name="data"):
    events = np.zeros(len(rows), dtype)
    for place, (ev, time_ns, px, qty) in enumerate(rows):
        events[place]["ev"], events[place]["exch_ts"] = ev, time_ns
        events[place]["px"], events[place]["qty"] = px, qty
    np.savez_compressed(path, **{name: events})
    return path


@pytest.mark.parametrize("pieces", [1, 2, 4, 100])
def test_hftbacktest_events(tmp_path, monkeypatch, pieces):
    monkeypatch.setattr(hft, "RECORDS_AT_ONCE", pieces)
    import_ = hft.read_hftbacktest(hft_file(tmp_path / "a.npz"), BTC)
    rows = rows_of(import_)
    assert rows["time_ns"].tolist() == [1000, 1000, 1000, 1001, 1001, 1001, 1002, 1003]
    assert rows["kind"].tolist() == [15, 15, 15, 14, 15, 15, 15, 16]
    assert rows["side"].tolist() == [1, 1, 2, 2, 1, 2, 1, 0]
    assert rows["price"].tolist() == [10010, 10000, 10020, 10010, 10010, 10030, 10010, 0]
    assert rows["lots"].tolist() == [500, 700, 300, 200, 300, 0, 0, 0]
    assert rows["flags"].tolist() == [0, 0, 32, 0, 0, 32, 32, 0]
    assert import_.report.counts == {"local_only": 1, "side_clears": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((BUY | hft.DEPTH_EVENT, 999, 100.1, 1.0), "row 10: exch_ts: TIME_BACKWARDS"),
        ((BUY | hft.DEPTH_EVENT, 2000, float("nan"), 1.0), "row 10: px: NOT_A_NUMBER"),
        ((BUY | hft.DEPTH_EVENT, 2000, 100.1, float("inf")), "row 10: qty: NOT_A_NUMBER"),
        ((BUY | hft.DEPTH_EVENT, 2000, -100.1, 1.0), "row 10: px: NEGATIVE"),
        ((BUY | hft.DEPTH_EVENT, 2000, 100.1, -1.0), "row 10: qty: NEGATIVE"),
        ((BUY | hft.DEPTH_EVENT, 2000, 0.0, 1.0), "row 10: px: ZERO"),
        ((BUY | hft.DEPTH_EVENT, 2000, 100.123, 1.0), "row 10: px: NOT_WHOLE"),
        ((BUY | hft.DEPTH_EVENT, 2000, 100.12, 1.0), "row 10: px: OFF_TICK"),
        ((BUY | hft.DEPTH_EVENT, 2000, 100.1, 0.0015), "row 10: qty: NOT_WHOLE"),
        ((BUY | hft.DEPTH_EVENT, 2000, 1e300, 1.0), "row 10: px: OUT_OF_RANGE"),
        ((BUY | hft.TRADE_EVENT, 2000, 100.1, 0.0), "row 10: qty: ZERO"),
        ((BUY | hft.SELL_EVENT | hft.DEPTH_EVENT, 2000, 100.1, 1.0), "row 10: ev: INCONSISTENT"),
        ((BUY | 10, 2000, 100.1, 1.0), "row 10: ev: UNSUPPORTED"),
    ],
)
def test_bad_hftbacktest_events(tmp_path, row, message):
    path = hft_file(tmp_path / "a.npz", [*HFT_ROWS, row])
    assert str(refusal(hft.read_hftbacktest(path, BTC))).startswith(f"a.npz: {message}")


def test_bad_hftbacktest_files(tmp_path):
    path = hft_file(tmp_path / "a.npz", name="other")
    assert refusal(hft.read_hftbacktest(path, BTC)).code == "CONTENTS"
    narrow = np.dtype([("ev", "<u8"), ("exch_ts", "<i8"), ("px", "<f8"), ("qty", "<f4")])
    path = hft_file(tmp_path / "b.npz", dtype=narrow)
    assert refusal(hft.read_hftbacktest(path, BTC)).code == "CONTENTS"
    np.savez(tmp_path / "c.npz", data=np.array([{"pickled": 1}], object))
    assert refusal(hft.read_hftbacktest(tmp_path / "c.npz", BTC)).code == "CONTENTS"
    data = hft_file(tmp_path / "d.npz").read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "e.npz").write_bytes(data[:length])
        assert refusal(hft.read_hftbacktest(tmp_path / "e.npz", BTC)).code == "TORN"


# --- raw websocket


def diff(first_id, last_id, previous_id, bids=(), asks=(), time_ms=1_700_000_000_000):
    data = {"e": "depthUpdate", "s": "BTCUSDT", "T": time_ms, "U": first_id, "u": last_id}
    return {"stream": "x", "data": data | {"pu": previous_id, "b": list(bids), "a": list(asks)}}


def ticker(update_id, bid=("100.0", "1.000"), ask=("100.1", "2.000")):
    data = {"e": "bookTicker", "s": "BTCUSDT", "T": 1_700_000_000_000, "u": update_id}
    data |= {"b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
    return {"stream": "x", "data": data}


def trade(price="100.10", lots="0.004", how="MARKET", time_ms=1_700_000_000_000):
    data = {"e": "trade", "s": "BTCUSDT", "T": time_ms, "p": price, "q": lots, "X": how, "m": True}
    return {"stream": "x", "data": data}


SNAPSHOT = {
    "lastUpdateId": 20,
    "T": 1_700_000_000_000,
    "bids": [["100.0", "1.000"], ["99.9", "5.000"]],
    "asks": [["100.1", "2.000"]],
}
FEED = [
    diff(5, 9, 4, [["99.0", "1.000"]]),
    trade(),
    ticker(15),
    SNAPSHOT,
    diff(10, 19, 9),
    diff(15, 25, 19, [["100.0", "0.000"], ["99.8", "1.000"]], [["100.1", "0.500"]]),
    ticker(24, ("99.9", "5.000"), ("100.1", "0.500")),
    trade(how="INSURANCE_FUND"),
    trade(time_ms=1_699_999_999_999),
    diff(26, 30, 25, [["100.0", "3.000"]]),
    ticker(28, ("100.0", "9.000"), ("100.1", "0.500")),
    ticker(30, ("100.0", "3.000"), ("100.1", "0.500")),
]


def feed_file(path, messages, symbol="BTCUSDT"):
    lines = [f"17000000000000000{place:02} {json.dumps(m)}\n" for place, m in enumerate(messages)]
    path.write_text("".join(lines))
    return raw_websocket.read_raw_feed(path, BTC, symbol)


def test_feed_follows_the_update_rule(tmp_path):
    import_ = feed_file(tmp_path / "a", FEED)
    rows = rows_of(import_)
    assert rows["kind"].tolist() == [14, 16, 15, 15, 15, 15, 15, 15, 14, 15]
    assert rows["lots"].tolist() == [4, 0, 1000, 5000, 2000, 0, 1000, 500, 4, 3000]
    assert rows["flags"].tolist() == [0, 0, 0, 0, 32, 0, 0, 32, 0, 32]
    assert (import_.report.rows_read, import_.report.reordered) == (12, 1)
    assert import_.report.counts == {
        "diffs": 4, "quotes": 4, "trades": 3, "snapshots": 1, "diffs_early": 2,
        "trades_off_book": 1, "diffs_unsynced": 0,
    }  # fmt: skip
    check = check_feed(feed_file(tmp_path / "a", FEED).blocks())
    assert (check.exact_equal, check.covered_equal, check.carried_equal) == (1, 1, 1)
    assert (check.overtaken, check.different, check.crossed) == (1, 0, 0)
    wrong = [*FEED[:-1], ticker(30, ("100.0", "3.001"), ("100.1", "0.500"))]
    check = check_feed(feed_file(tmp_path / "a", wrong).blocks())
    assert check.exact_different == check.different == len(check.examples) == 1


def test_a_gap_withdraws_the_book_until_the_next_snapshot(tmp_path):
    late = dict(SNAPSHOT, lastUpdateId=60)
    messages = [*FEED, diff(41, 50, 40, [["1.0", "1.000"]]), late, diff(55, 61, 50), late]
    import_ = feed_file(tmp_path / "a", messages)
    assert rows_of(import_)["kind"].tolist()[10:] == [16, 16, 15, 15, 15]
    report = import_.report
    assert (report.gaps, report.counts["diffs_early"]) == (1, 3)
    assert report.counts["snapshots_unused"] == 1
    unsynced = feed_file(tmp_path / "b", [SNAPSHOT, diff(21, 22, 20), diff(23, 24, 22)])
    assert rows_of(unsynced)["kind"].tolist() == [16, 15, 15, 15, 16]
    assert unsynced.report.counts["diffs_unsynced"] == 2


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (trade("100.105"), "line 2: price: PRICE"),
        (trade("100.15"), "line 2: price: PRICE"),
        (trade("NaN"), "line 2: price: PRICE"),
        (trade("-1.0"), "line 2: price: PRICE"),
        (trade(lots="-1.0"), "line 2: quantity: LOTS"),
        (trade(lots="0"), "line 2: q: ZERO"),
        (trade(time_ms=-5), "line 2: CONTENTS"),
        (diff(9, 8, 7), "line 2: u: INCONSISTENT"),
        ({"stream": "x", "data": {"e": "forceOrder", "s": "BTCUSDT"}}, "line 2: e: UNSUPPORTED"),
        ({"stream": "x", "data": {"e": "trade", "s": "ETH"}}, "line 2: symbol: WRONG_MARKET"),
        ({"result": None}, "line 2: CONTENTS"),
        (SNAPSHOT | {"asks": [["100.1", "1"], ["100.10", "2"]]}, "line 2: b or a: DUPLICATE"),
    ],
)
def test_bad_messages(tmp_path, message, text):
    error = refusal(feed_file(tmp_path / "a", [FEED[0], message]))
    assert str(error).startswith(f"a: {text}")


def test_bad_lines(tmp_path):
    for line in (b"", b"x {}", b"17", b"17 {", b'17 {"stream":"x","data":{"e":'):
        (tmp_path / "a").write_bytes(line + b"\n")
        feed = raw_websocket.read_raw_feed(tmp_path / "a", BTC, "BTCUSDT")
        assert refusal(feed).place == "line 1"
    feed_file(tmp_path / "a", FEED)
    (tmp_path / "b").write_text("".join(reversed((tmp_path / "a").open().readlines())))
    error = refusal(raw_websocket.read_raw_feed(tmp_path / "b", BTC, "BTCUSDT"))
    assert (error.place, error.code) == ("line 2", "TIME_BACKWARDS")


# --- LOBSTER

MESSAGES = """34200.0,5,0,1,1000050,-1
34200.1,1,7,100,1000100,1
34200.2,1,8,50,1000100,1
34200.3,4,7,60,1000100,1
34200.4,4,8,50,1000100,1
34200.5,3,7,40,1000100,1
34200.6,7,0,0,-1,-1
34200.7,3,3,30,1000300,-1
34200.8,2,4,20,1000300,-1
"""
BOOK_ROWS = """1000300,100,1000000,10
1000300,100,1000100,100
1000300,100,1000100,150
1000300,100,1000100,90
1000300,100,1000100,40
1000300,100,1000000,25
1000300,100,1000000,25
1000300,70,1000000,25
1000300,50,1000000,25
"""


def lobster_files(folder, messages=MESSAGES, books=BOOK_ROWS):
    (folder / "message.csv").write_text(messages)
    (folder / "book.csv").write_text(books)
    return lobster.read_lobster(folder / "message.csv", folder / "book.csv")


def test_lobster_flow_leads_to_the_recorded_quotes(tmp_path):
    import_ = lobster_files(tmp_path)
    flow = pl.concat([block.flow for block in import_.blocks()])
    assert flow["op"].to_list()[2:] == [
        "add",
        "add",
        "ioc",
        "reduce",
        "reduce",
        "add",
        *2 * ["reduce"],
    ]
    assert flow["tag"].to_list() == ["revealed"] * 2 + [""] * 3 + ["forced", "", "revealed", "", ""]
    assert import_.report.counts == {
        "hidden": 1, "halts": 1, "start": 1, "predicted": 7, "revealed": 1, "forced": 1,
        "substituted": 2,
    }  # fmt: skip
    assert check_flow(lobster_files(tmp_path).blocks()) == (9, 9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1000100,1\n34200.2", "1000150,1\n34200.2", "message.csv: line 2: Price: OFF_TICK"),
        (",100,1000100,1\n", ",-100,1000100,1\n", "message.csv: line 2: Size: NEGATIVE"),
        ("34200.3,", "34200.1,", "message.csv: line 4: Time: TIME_BACKWARDS"),
        ("1,8,50", "9,8,50", "message.csv: line 3: Type: UNSUPPORTED"),
        ("1,8,50", "1,7,50", "message.csv: row 3: OrderId: DUPLICATE"),
        ("34200.8,2,4,20,1000300,-1\n", "", "book.csv: row 8: INCONSISTENT"),
    ],
)
def test_damaged_lobster(tmp_path, old, new, message):
    error = refusal(lobster_files(tmp_path, MESSAGES.replace(old, new)))
    assert str(error).startswith(message)
