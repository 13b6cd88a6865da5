"""Tapes: what is written comes back, and every kind of damage is refused with its offset.

Tests marked `realdata` import recorded market data on its way to a tape. They are skipped where
the recordings, which are not part of this repository, are absent.
"""

import struct
from pathlib import Path

import numpy as np
import pytest

from engine import constants as c
from engine.importers import binance_vision as vision
from engine.importers.common import FormatError, MarketSpec, merge_by_time, new_commands
from engine.importers.feed_check import check_feed, check_flow
from engine.importers.lobster import read_lobster
from engine.importers.raw_websocket import read_raw_feed
from engine.rows import COMMAND
from engine.tape import (
    TapeError,
    TapeMarket,
    TapeMetadata,
    TapeWriter,
    read_tape,
    tape_info,
    verify_tape,
)

METADATA = TapeMetadata(
    markets=[
        TapeMarket(symbol="BTCUSDT", price_decimals=2, lot="0.001"),
        TapeMarket(symbol="ETHUSDT", price_decimals=2, lot="0.01"),
    ],
    sources=["made for this test"],
)
BTC = MarketSpec(market_id=1, price_decimals=2, lot="0.001", tick_price=1)
DATA = Path(__file__).parents[2] / "shared" / "data"
BLOCK_RECORDS = 4
FIXED_BYTES = 32
HEAD_BYTES = 64
LINE_BYTES = 64


def rows_of(count: int) -> np.ndarray:
    rows = np.zeros(count, COMMAND)
    rows["time_ns"] = 1_000 + np.arange(count) // 2
    rows["kind"] = c.CommandKind.MARK
    rows["market_id"] = 1 + np.arange(count) % 2
    rows["price"] = 700_000 + np.arange(count)
    return rows


def write(path, rows, block_records=BLOCK_RECORDS, pieces=None):
    with TapeWriter(path, METADATA, block_records) as tape:
        for part in np.array_split(rows, pieces or 1):
            tape.append(part)
    return tape


def read_all(path, verify=True):
    return np.concatenate([np.zeros(0, COMMAND), *read_tape(path, verify)])


@pytest.fixture
def tape_bytes(tmp_path):
    write(tmp_path / "good.tape", rows_of(10))
    return (tmp_path / "good.tape").read_bytes()


def header_bytes(data: bytes) -> int:
    end = FIXED_BYTES + struct.unpack_from("<I", data, 24)[0] + 16
    return end + -end % LINE_BYTES


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 10])
def test_round_trip(tmp_path, count):
    rows = rows_of(count)
    tape = write(tmp_path / "a.tape", rows)
    assert np.array_equal(read_all(tmp_path / "a.tape"), rows)
    info = tape_info(tmp_path / "a.tape")
    assert info == verify_tape(tmp_path / "a.tape")
    assert (info.records, info.tape_hash, info.metadata) == (count, tape.tape_hash, METADATA)
    assert info.file_bytes == (tmp_path / "a.tape").stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["a.tape"]


def test_bytes_do_not_depend_on_the_pieces_appended(tmp_path):
    write(tmp_path / "a.tape", rows_of(10))
    write(tmp_path / "b.tape", rows_of(10), pieces=7)
    assert (tmp_path / "a.tape").read_bytes() == (tmp_path / "b.tape").read_bytes()


def test_blocks_are_contiguous_bounded_and_not_to_be_written_to(tmp_path):
    write(tmp_path / "a.tape", rows_of(10))
    blocks = list(read_tape(tmp_path / "a.tape"))
    assert [len(block) for block in blocks] == [4, 4, 2]
    for block in blocks:
        assert block.flags.c_contiguous and block.dtype == COMMAND
        assert not block.flags.writeable


def test_blocks_of_eight_rows_begin_on_cache_lines(tmp_path):
    write(tmp_path / "a.tape", rows_of(30), block_records=8)
    for block in read_tape(tmp_path / "a.tape"):
        assert block.ctypes.data % LINE_BYTES == 0


def test_rows_outlive_the_reading_of_them(tmp_path):
    write(tmp_path / "a.tape", rows_of(10))
    blocks = list(read_tape(tmp_path / "a.tape"))
    (tmp_path / "a.tape").unlink()
    assert np.array_equal(np.concatenate(blocks), rows_of(10))


def test_strided_rows_are_accepted_and_other_types_refused(tmp_path):
    with TapeWriter(tmp_path / "a.tape", METADATA) as tape:
        tape.append(rows_of(10)[::2])
        with pytest.raises(ValueError, match="expected rows of COMMAND"):
            tape.append(np.zeros(3))
    assert np.array_equal(read_all(tmp_path / "a.tape"), rows_of(10)[::2])


def test_an_exception_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), TapeWriter(tmp_path / "a.tape", METADATA) as tape:
        tape.append(rows_of(3))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_every_altered_byte_is_refused(tmp_path, tape_bytes):
    path = tmp_path / "bad.tape"
    for place in range(len(tape_bytes)):
        damaged = bytearray(tape_bytes)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        with pytest.raises(TapeError) as caught:
            read_all(path)
        assert 0 <= caught.value.offset <= len(tape_bytes)
        assert str(caught.value) == (f"bad.tape: byte {caught.value.offset}: {caught.value.reason}")
        assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(tmp_path, tape_bytes):
    path = tmp_path / "torn.tape"
    for length in range(len(tape_bytes)):
        path.write_bytes(tape_bytes[:length])
        for read in (read_all, tape_info, lambda p: read_all(p, verify=False)):
            with pytest.raises(TapeError) as caught:
                read(path)
            assert 0 <= caught.value.offset <= length


def test_truncation_at_a_block_boundary_names_the_boundary(tmp_path, tape_bytes):
    length = header_bytes(tape_bytes) + HEAD_BYTES + 4 * COMMAND.itemsize
    (tmp_path / "torn.tape").write_bytes(tape_bytes[:length])
    with pytest.raises(TapeError, match="torn: expected a block or the end block") as caught:
        read_all(tmp_path / "torn.tape")
    assert caught.value.offset == length


def test_trailing_bytes_are_refused(tmp_path, tape_bytes):
    (tmp_path / "long.tape").write_bytes(tape_bytes + b"\0")
    with pytest.raises(TapeError, match="1 bytes follow") as caught:
        read_all(tmp_path / "long.tape")
    assert caught.value.offset == len(tape_bytes)
    with pytest.raises(TapeError):
        tape_info(tmp_path / "long.tape")


def test_swapped_and_repeated_blocks_are_refused(tmp_path, tape_bytes):
    start = header_bytes(tape_bytes)
    size = HEAD_BYTES + 4 * COMMAND.itemsize
    first, second = tape_bytes[start : start + size], tape_bytes[start + size : start + 2 * size]
    rest = tape_bytes[start + 2 * size :]
    for blocks in (second + first, first + first + second, second, first):
        (tmp_path / "bad.tape").write_bytes(tape_bytes[:start] + blocks + rest)
        with pytest.raises(TapeError, match="first seq"):
            read_all(tmp_path / "bad.tape")


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (8, 2**32 - 1, "format version"),
        (12, 71, "record bytes"),
        (16, 0, "block records"),
        (16, 2**32 - 1, "block records"),
        (20, 2**32 - 1, "markets"),
        (24, 2**32 - 1, "metadata bytes"),
        (24, 2**20, "torn: expected 1048576 bytes of metadata"),
        (28, 1, "reserved"),
    ],
)
def test_header_lengths_are_not_trusted(tmp_path, tape_bytes, place, value, reason):
    damaged = bytearray(tape_bytes)
    struct.pack_into("<I", damaged, place, value)
    (tmp_path / "bad.tape").write_bytes(damaged)
    with pytest.raises(TapeError, match=reason):
        read_all(tmp_path / "bad.tape")


def test_a_huge_row_count_is_refused_before_it_is_allocated(tmp_path):
    write(tmp_path / "a.tape", rows_of(10), block_records=2**20)
    damaged = bytearray((tmp_path / "a.tape").read_bytes())
    struct.pack_into("<I", damaged, header_bytes(damaged), 2**20)
    (tmp_path / "bad.tape").write_bytes(damaged)
    with pytest.raises(TapeError, match="torn: expected 1048576 rows"):
        read_all(tmp_path / "bad.tape")
    struct.pack_into("<I", damaged, header_bytes(damaged), 2**32 - 1)
    (tmp_path / "bad.tape").write_bytes(damaged)
    with pytest.raises(TapeError, match="records: expected at most 1048576"):
        read_all(tmp_path / "bad.tape")


FAULTS = [
    ("time_ns", 999, "time_ns: expected time that does not go backwards", 0),
    ("time_ns", c.TIME_MAX_NS + 1, "time_ns: expected 0 to", 0),
    ("kind", 0, "kind: expected a known command kind", 60),
    ("kind", 77, "kind: expected a known command kind", 60),
    ("kind", -1, "kind: expected a known command kind", 60),
    ("reserved", 1, "reserved: expected 0", 70),
    ("market_id", 3, "market_id: expected 0 to 2", 56),
    ("market_id", -1, "market_id: expected 0 to 2", 56),
]


@pytest.mark.parametrize(("field", "value", "reason", "byte"), FAULTS)
@pytest.mark.parametrize("row", [3, 4, 9])
def test_rows_no_tape_may_hold(tmp_path, field, value, reason, byte, row, tape_bytes):
    """Refused by the writer and, where the hash is not asked, by the reader, at one offset."""
    rows = rows_of(10)
    rows[field][row] = value
    assert COMMAND.fields[field][1] == byte
    offset = header_bytes(tape_bytes) + row * COMMAND.itemsize + (row // 4 + 1) * HEAD_BYTES
    with pytest.raises(TapeError, match=reason) as caught:
        write(tmp_path / "a.tape", rows)
    assert caught.value.offset == offset + byte
    damaged = bytearray(tape_bytes)
    damaged[offset : offset + COMMAND.itemsize] = rows[row : row + 1].tobytes()
    (tmp_path / "bad.tape").write_bytes(damaged)
    with pytest.raises(TapeError, match=reason) as caught:
        read_all(tmp_path / "bad.tape", verify=False)
    assert caught.value.offset == offset + byte
    with pytest.raises(TapeError, match="hash"):
        read_all(tmp_path / "bad.tape")


def test_an_append_is_whole_or_nothing(tmp_path):
    rows = rows_of(10)
    rows["kind"][9] = 99
    with TapeWriter(tmp_path / "a.tape", METADATA, BLOCK_RECORDS) as tape:
        with pytest.raises(TapeError):
            tape.append(rows)
        tape.append(rows[:9])
    assert tape.records == 9


def test_a_missing_file_is_a_tape_error(tmp_path):
    with pytest.raises(TapeError, match="No such file"):
        read_all(tmp_path / "none.tape")


def test_a_block_alone_in_its_time_goes_through_as_it_is():
    early, late = new_commands(2, 1), new_commands(3, 2)
    early["time_ns"], late["time_ns"] = (1, 2), (5, 6, 7)
    merged = list(merge_by_time([[late], [early]]))
    assert [block["time_ns"].tolist() for block in merged] == [[1, 2], [5, 6, 7]]
    assert np.shares_memory(merged[0], early) and np.shares_memory(merged[1], late)


def test_merge_by_time_is_stable_for_any_blocks():
    draw = np.random.default_rng(3)
    streams = []
    for market_id in (1, 2, 3):
        rows = new_commands(40, market_id)
        rows["time_ns"] = np.sort(draw.integers(0, 25, 40))
        rows["order_id"] = np.arange(40)
        streams.append(rows)
    together = np.concatenate(streams)
    expected = together[np.argsort(together["time_ns"], kind="stable")]
    for pieces in (1, 5, 40, 60):
        merged = list(merge_by_time([np.array_split(rows, pieces) for rows in streams]))
        assert np.array_equal(np.concatenate(merged), expected)


# --- recorded market data, imported, written to a tape and read back


def through_a_tape(tmp_path, stream) -> np.ndarray:
    blocks = list(stream)
    with TapeWriter(tmp_path / "real.tape", METADATA) as tape:
        for block in blocks:
            tape.append(block)
    rows = read_all(tmp_path / "real.tape")
    assert np.array_equal(rows, np.concatenate(blocks))
    assert verify_tape(tmp_path / "real.tape").tape_hash == tape.tape_hash
    return rows


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("window", "bars", "lowest"),
    [
        ("20200312T0945_1207", 143, 519_917),
        ("20200313T0045_0307", 143, 362_181),
        ("20210519T1219_1432", 134, 2_868_800),
        ("20221108T1858_2110", 133, 1_683_000),
        ("20240805T0502_0715", 134, 4_888_800),
        ("20251010T2025_2233", 129, 10_151_650),
    ],
)
def test_real_crash_minutes(tmp_path, window, bars, lowest):
    path = DATA / "crash_minutes" / f"binance_usdm_BTCUSDT_1m_{window}.csv.gz"
    import_ = vision.read_klines(path, BTC)
    rows = through_a_tape(tmp_path, import_)
    assert len(rows) == 4 * bars
    assert rows["price"].min() == lowest
    assert (import_.report.gaps, import_.report.rounded) == (0, 0)


@pytest.mark.realdata
def test_real_mark_prices_join_the_last_prices(tmp_path):
    folder = DATA / "crash_minutes"
    mark = vision.read_mark_klines(folder / "binance_um_markprice_BTCUSDT-5m-2025-10-10.zip", BTC)
    last = vision.read_klines(folder / "binance_usdm_BTCUSDT_1m_20251010T2025_2233.csv.gz", BTC)
    rows = through_a_tape(tmp_path, merge_by_time([mark, last]))
    assert len(rows) == 4 * (288 + 129)
    assert rows["price"][rows["kind"] == c.CommandKind.MARK].min() == 10_187_769
    assert mark.report.rounded == 607


@pytest.mark.realdata
def test_real_depth_bands():
    path = DATA / "crash_minutes" / "binance_um_bookDepth_BTCUSDT_2025-10-10.csv.gz"
    with pytest.raises(FormatError, match="line 25883: timestamp: NOT_A_TIME"):
        list(vision.read_book_depth(path, BTC))
    import_ = vision.read_book_depth(path, BTC, trim_spaces=True)
    bands = np.concatenate(list(import_))
    assert (len(bands), import_.report.trimmed) == (28_790, 1)
    blocks = list(vision.split_bands(bands))
    assert len(blocks) == 2_879
    assert {len(block) for block in blocks} == {10}
    stale_from_ns = 1_760_110_242 * 10**9  # 15:30:42, the first block with the stale bid alone
    after = [block for block in blocks if block["time_ns"][0] >= stale_from_ns]
    for block in after:
        bids, asks = vision.curve_from_bands(block, subtract_lots=17_652)
        assert (
            bids[:, 1].sum() == block["lots"].max(where=block["offset_ppm"] < 0, initial=0) - 17_652
        )
        assert (bids[:, 1] >= 0).all() and (asks[:, 1] >= 0).all()
    assert len(after) == 1_019


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "symbol", "market", "messages", "states"),
    [
        (
            "binance_usdm_btcusdt_20240808.gz",
            "BTCUSDT",
            MarketSpec(market_id=1, price_decimals=2, lot="0.001", tick_price=10),
            93_954,
            (629, 5_074, 845),
        ),
        (
            "binance_coinm_btcusd_perp_20240808.gz",
            "BTCUSD_PERP",
            MarketSpec(market_id=1, price_decimals=1, lot="1", tick_price=1),
            48_270,
            (1_124, 5_432, 20_269),
        ),
    ],
)
def test_real_feed(tmp_path, name, symbol, market, messages, states):
    feed = read_raw_feed(DATA / "raw_feed_20240808" / name, market, symbol)
    blocks = list(feed.blocks())
    check = check_feed(blocks)
    print(feed.report, check)
    assert feed.report.rows_read == messages
    assert feed.report.gaps == 0
    assert check.different == check.crossed == check.unquoted == 0, check.examples
    assert (check.exact_equal, check.covered_equal, check.carried_equal) == states
    rows = through_a_tape(tmp_path, (block.commands for block in blocks))
    assert len(rows) == feed.report.commands


@pytest.mark.realdata
def test_real_lobster_day():
    stem = str(DATA / "lobster" / "AMZN_2012-06-21_34200000_57600000_")
    import_ = read_lobster(f"{stem}message_1.csv.gz", f"{stem}orderbook_1.csv.gz")
    assert check_flow(import_.blocks()) == (57_515, 57_515)
    counts = import_.report.counts
    print(counts)
    assert (counts["predicted"], counts["revealed"], counts["start"]) == (49_347, 8_167, 1)
