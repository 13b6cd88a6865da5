"""Every tick format: what its rows become, and damaged copies of it refused with their place."""

import random

import numpy as np
import polars as pl
import pytest

from engine.constants import CommandKind, Flag, Side
from engine.importers import columnar, packed
from engine.importers.books import Touch
from engine.importers.catalogue import read_file
from engine.importers.common import FormatError, new_commands
from engine.importers.formats import FORMATS, LIQUIDATION, METRICS, ROLES
from import_samples import BEGIN, BTC, CONTRACTS, SAMPLES, Sample

EACH = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
HEADED = [sample for sample in SAMPLES if sample.text[0].isalpha()]


def read(path, sample: Sample, role=""):
    role = role or sample.role or ROLES[FORMATS[sample.kind].shape][0]
    return read_file(sample.kind, path, sample.market, role, sample.symbol)


def rows_of(import_) -> np.ndarray:
    return np.concatenate([new_commands(0, 1), *import_])


def facts_of(rows: np.ndarray) -> list[tuple]:
    names = ("kind", "side", "price", "lots", "amount")
    seconds = ((rows["time_ns"] - BEGIN * 10**9) / 1e9).tolist()
    return list(zip(seconds, *(rows[name].tolist() for name in names), strict=True))


def refused(path, sample: Sample) -> FormatError:
    import_ = read(path, sample)
    with pytest.raises(FormatError) as caught:
        list(import_)
    assert "\n" not in str(caught.value)
    assert (import_.report.refused, import_.report.refusal) == (1, str(caught.value))
    return caught.value


def test_every_format_has_a_sample():
    assert {sample.kind for sample in SAMPLES} == FORMATS.keys() - {"metrics"}


@EACH
def test_rows_and_report(tmp_path, sample):
    (tmp_path / "a").write_text(sample.text)
    import_ = read(tmp_path / "a", sample)
    rows = rows_of(import_)
    assert facts_of(rows) == [tuple(row) for row in sample.rows]
    report = import_.report
    lines = sample.text.count("\n") - (sample in HEADED)
    assert (report.rows_read, report.commands, report.refused) == (lines, len(rows), 0)
    for name, value in sample.counts.items():
        assert (report.counts.get(name) or getattr(report, name)) == value, name


@EACH
def test_the_size_of_a_chunk_changes_nothing(tmp_path, monkeypatch, sample):
    (tmp_path / "a").write_text(sample.text)
    whole = read(tmp_path / "a", sample)
    rows = rows_of(whole)
    for size in (60, 150):
        monkeypatch.setattr(packed, "CHUNK_BYTES", size)
        again = read(tmp_path / "a", sample)
        assert np.array_equal(rows_of(again), rows)
        assert again.report == whole.report


@EACH
def test_a_damaged_price_a_late_line_and_a_short_line(tmp_path, sample):
    path, lines = tmp_path / "a", sample.text.splitlines(keepends=True)
    line = 2 + (sample in HEADED)
    for text, codes in (
        ("nan", {"NOT_A_NUMBER"}),
        ("1O0", {"NOT_A_NUMBER"}),
        ("1.2.3", {"NOT_A_NUMBER"}),
        ("9" * 22, {"OUT_OF_RANGE"}),
        ("", {"MISSING", "NOT_A_NUMBER", "INCONSISTENT"}),
    ):
        damaged = lines[line - 1].replace(sample.price, text, 1)
        assert damaged != lines[line - 1]
        path.write_text("".join([*lines[: line - 1], damaged]))
        spec = FORMATS[sample.kind]
        if not text and (spec.levels or {"ask_price", "mark_price"} & set(spec.may_be_empty)):
            continue  # an empty level, or a price that did not change
        error = refused(path, sample)
        assert (error.place, error.code in codes) == (f"line {line}", True), str(error)
    cut = lines[line - 1].rpartition(",")[0] + "\n"
    path.write_text("".join([*lines[: line - 1], cut, *lines[line:]]))
    error = refused(path, sample)
    assert (error.place, error.code) == (f"line {line}", "COLUMNS")


@pytest.mark.parametrize(
    "sample",
    [each for each in SAMPLES if ROLES[FORMATS[each.kind].shape][0] in ("trade", "depth")],
    ids=lambda sample: sample.kind,
)
def test_a_price_off_the_tick(tmp_path, sample):
    line = 2 + (sample in HEADED)
    lines = sample.text.splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(sample.price, "100.13", 1)
    (tmp_path / "a").write_text("".join(lines[:line]))
    error = refused(tmp_path / "a", sample)
    assert (error.place, error.code) == (f"line {line}", "OFF_TICK")


@EACH
def test_a_time_of_another_type_and_time_that_falls(tmp_path, sample):
    spec, path = FORMATS[sample.kind], tmp_path / "a"
    lines = sample.text.splitlines()
    head = lines[0].split(",") if sample in HEADED else list(spec.layouts[0])
    place = head.index(spec.fields["time"])
    last = lines[-1].split(",")
    for name, value in ((spec.fields.get("symbol"), sample.symbol), (spec.unique, "99")):
        if name in head and name != spec.fields["time"]:
            last[head.index(name)] = value
    for text, codes in (
        ("yesterday", {"NOT_A_NUMBER", "NOT_A_TIME"}),
        ("17", {"OUT_OF_RANGE", "NOT_A_TIME"}),
        ("2001-01-01D00:00:00" if "D" in spec.unit else "1", {"OUT_OF_RANGE"}),
        ("2005-01-01D00:00:00" if "D" in spec.unit else "1100000000", {"TIME_BACKWARDS"}),
    ):
        scale = {"ms or us": "000", "us": "000000"}.get(spec.unit, "")
        text += scale if text.isdigit() and len(text) > 5 else ""
        late = [*last[:place], text, *last[place + 1 :]]
        path.write_text("\n".join([*lines, ",".join(late)]) + "\n")
        error = refused(path, sample)
        assert (error.place, error.code in codes) == (f"line {len(lines) + 1}", True), str(error)


@pytest.mark.parametrize("sample", HEADED, ids=lambda sample: sample.kind)
def test_a_header_without_a_column_and_columns_in_another_order(tmp_path, sample):
    path = tmp_path / "a"
    spec = FORMATS[sample.kind]
    needed = "asks[0].price" if spec.levels else next(iter(spec.fields.values()))
    text = sample.text.replace(needed, "nothing", 1)
    path.write_text(text)
    assert (refused(path, sample).place, refused(path, sample).code) == ("line 1", "HEADER")
    path.write_text("")
    assert refused(path, sample).code == "CONTENTS"
    path.write_text(sample.text)
    expected = rows_of(read(path, sample))
    turned = [",".join(reversed(line.split(","))) for line in sample.text.splitlines()]
    path.write_text("\n".join(turned))
    assert np.array_equal(rows_of(read(path, sample)), expected)


@EACH
def test_every_packing_and_its_damage(tmp_path, sample):
    import pyarrow as pa

    path, data = tmp_path / "a", sample.text.encode()
    path.write_bytes(data)
    expected = rows_of(read(path, sample))
    for codec in ("gzip", "zstd", "lz4"):
        buffer = pa.BufferOutputStream()
        with pa.CompressedOutputStream(buffer, codec) as stream:
            stream.write(data)
        packed_bytes = buffer.getvalue().to_pybytes()
        path.write_bytes(packed_bytes)
        assert np.array_equal(rows_of(read(path, sample)), expected), codec
        path.write_bytes(packed_bytes + b"more")
        assert refused(path, sample).code == "TORN", codec
        path.write_bytes(packed_bytes[: len(packed_bytes) - 12])
        assert refused(path, sample).code == "TORN", codec


def test_the_archive_without_a_header_and_in_microseconds(tmp_path):
    sample = next(each for each in SAMPLES if each.kind == "aggTrades")
    path = tmp_path / "a"
    path.write_text(sample.text)
    expected = rows_of(read(path, sample))
    body = sample.text.partition("\n")[2]
    spot = body.replace("true", "True,True").replace("false", "False,True")
    micro = "".join(
        ",".join([*line.split(",")[:5], line.split(",")[5] + "000", *line.split(",")[6:]]) + "\n"
        for line in spot.splitlines()
    )
    for text in (body, spot, micro):
        path.write_text(text)
        assert np.array_equal(rows_of(read(path, sample)), expected)
    path.write_text(body.replace(",true", ",true,1,2"))
    assert refused(path, sample).code == "COLUMNS"


@EACH
def test_random_damage_is_read_or_refused_and_nothing_else(tmp_path, sample):
    draw, path = random.Random(sample.kind), tmp_path / "a"
    refusals = []
    for _ in range(40):
        data = bytearray(sample.text.encode())
        place = draw.randrange(len(data))
        if draw.random() < 0.4:
            data[place] = draw.choice(b'0123456789.,-\nex"\xff ')
        elif draw.random() < 0.5:
            del data[place : place + draw.randrange(1, 30)]
        else:
            data[place:place] = data[place : place + draw.randrange(60)]
        path.write_bytes(data)
        try:
            list(read(path, sample))
        except FormatError as error:
            refusals.append(str(error))
    assert len(refusals) >= 15 and not any("\n" in line for line in refusals)


def test_a_file_of_other_markets_is_refused(tmp_path):
    sample = next(each for each in SAMPLES if each.kind == "tardis.trades")
    (tmp_path / "a").write_text(sample.text)
    import_ = read_file(sample.kind, tmp_path / "a", BTC, "trade", "XRPUSDT")
    with pytest.raises(FormatError, match="WRONG_MARKET: expected rows of XRPUSDT, got only "):
        list(import_)


def test_trades_used_as_an_index(tmp_path):
    sample = next(each for each in SAMPLES if each.kind == "kraken.trades")
    (tmp_path / "a").write_text("1700000000,100.005,0.12345678\n")
    import_ = read(tmp_path / "a", sample, "index")
    assert facts_of(rows_of(import_)) == [(0.0, 12, 0, 10000, 0, 0)]
    assert import_.report.rounded == 1


def test_liquidations_as_facts_say_what_they_are_worth(tmp_path):
    sample = next(each for each in SAMPLES if each.kind == "liquidationSnapshot")
    (tmp_path / "a").write_text(sample.text)
    import_ = read_file(sample.kind, tmp_path / "a", CONTRACTS, "facts", "")
    rows = np.concatenate(list(import_))
    assert rows.dtype == LIQUIDATION
    assert rows[["price", "lots", "side", "cause"]].tolist() == [(1006, 7, 1, 2), (1001, 5, 2, 2)]
    assert any("lower bound" in note for note in import_.report.notes)


METRIC_LINES = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,"
    "count_toptrader_long_short_ratio,sum_toptrader_long_short_ratio,count_long_short_ratio,"
    "sum_taker_long_short_vol_ratio\n"
    "2023-11-14 22:15:00,BTCUSDT,81726.1230000,5123456789.12345678,1.5,1.25,2,0.9\n"
    "2023-11-14 22:25:00,BTCUSDT,81000.5,5100000000,,1.25,2,0.9\n"
)


def test_metrics(tmp_path):
    (tmp_path / "a").write_text(METRIC_LINES)
    import_ = read_file("metrics", tmp_path / "a", BTC, "facts", "BTCUSDT")
    rows = np.concatenate(list(import_))
    assert rows.dtype == METRICS
    assert rows["open_interest"].tolist() == [81_726_123_000, 81_000_500_000]
    assert rows["open_interest_value"][0] == 5_123_456_789_123_457
    assert rows["top_accounts"].tolist() == [1_500_000, 0]
    report = import_.report
    assert (report.gaps, report.gap_ns, report.rounded) == (1, 300 * 10**9, 1)
    for old, new, code in (
        ("81000.5", "many", "NOT_A_NUMBER"),
        ("22:25:00", "22:25", "NOT_A_TIME"),
        ("22:25:00", "22:05:00", "TIME_BACKWARDS"),
    ):
        (tmp_path / "a").write_text(METRIC_LINES.replace(old, new))
        with pytest.raises(FormatError, match=f"line 3: .*: {code}: "):
            list(read_file("metrics", tmp_path / "a", BTC, "facts", "BTCUSDT"))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (",100.0,5,100.2", ",100.0,5,100.0", "INCONSISTENT"),
        ("99.9,4\n", "100.4,4\n", "INCONSISTENT"),
        ("99.9,4\n", "99.9,0\n", "INCONSISTENT"),
        ("100.1,9", "100.1,0.0005", "OFF_LOT"),
    ],
)
def test_snapshots_whose_levels_make_no_book(tmp_path, old, new, code):
    sample = next(each for each in SAMPLES if each.kind == "tardis.book_snapshot")
    head, _, tail = sample.text.rpartition("\nx")
    assert old in tail
    (tmp_path / "a").write_text(head + "\nx" + tail.replace(old, new))
    error = refused(tmp_path / "a", sample)
    assert (error.place, error.code) == ("line 3", code)


@pytest.mark.parametrize("column", ["asks[0].amount", "bids[1].price", "bids[1].amount"])
def test_snapshots_whose_header_lacks_a_level(tmp_path, column):
    sample = next(each for each in SAMPLES if each.kind == "tardis.book_snapshot")
    (tmp_path / "a").write_text(sample.text.replace(column, "nothing"))
    assert str(refused(tmp_path / "a", sample)).startswith(f"a: line 1: {column}: HEADER")


def test_a_block_ends_with_every_message(tmp_path):
    for sample in SAMPLES:
        if ROLES[FORMATS[sample.kind].shape] == ("depth",):
            (tmp_path / "a").write_text(sample.text)
            rows = rows_of(read(tmp_path / "a", sample))
            ends = rows["time_ns"][rows["flags"] == Flag.LAST_OF_BLOCK]
            assert ends.tolist() == sorted(set(rows["time_ns"].tolist())), sample.kind


def test_a_part_of_a_file_may_hold_nothing_but_crossed_quotes_or_repeats(tmp_path, monkeypatch):
    sample = next(each for each in SAMPLES if each.kind == "bookTicker")
    head, first, second, crossed, last = sample.text.splitlines(keepends=True)
    (tmp_path / "a").write_text(head + crossed + first + first + second + last)
    expected = facts_of(rows_of(read(tmp_path / "a", sample)))
    monkeypatch.setattr(packed, "CHUNK_BYTES", 20)
    import_ = read(tmp_path / "a", sample)
    assert facts_of(rows_of(import_)) == expected
    assert (import_.report.crossed, import_.report.duplicates, len(expected)) == (1, 1, 6)


def test_the_touch_of_a_book_stays_small():
    touch = Touch()
    rows = new_commands(2_000, 1)
    rows["kind"], rows["side"] = CommandKind.DEPTH, Side.BUY
    rows["price"] = np.where(np.arange(2_000) % 2 == 0, 100 + np.arange(2_000) // 2 % 7, 100)
    rows["price"][:1], rows["lots"] = 1_000, np.arange(2_000) // 7 % 2
    rows["lots"][0] = 1
    assert touch.crossings(rows, np.ones(2_000, bool)) == 0
    assert len(touch.heaps[Side.BUY]) <= 8
    rows["side"], rows["price"], rows["lots"] = Side.SELL, 999, 1
    assert touch.crossings(rows[:3], np.ones(3, bool)) == 3


def test_repeats_are_found_across_tables():
    repeats = columnar.Repeats(("id",), "id")
    for ids, prices, fresh in (
        (["a", "b", None], ["1", "2", "3"], [True, True, True]),
        (["b", "c", None, "d", "d"], ["2", "3", "3", "4", "4"], [False, True, True, True, False]),
    ):
        frame = pl.DataFrame({"id": ids, "price": prices})
        assert repeats.fresh(columnar.Table("x", 1, frame)).tolist() == fresh
    frame = pl.DataFrame({"id": ["e", "d"], "price": ["1", "5"]})
    with pytest.raises(FormatError, match="x: line 8: id: DUPLICATE: expected it once"):
        repeats.fresh(columnar.Table("x", 7, frame))
