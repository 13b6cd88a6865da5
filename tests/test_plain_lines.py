"""Plain lines: what the compiled passes take is what the parser takes, and nothing else.

Every test reads files twice, with and without the compiled passes: rows, reports and refusals must
be the same, for sound files and for thousands that are damaged or unusual.
"""

import random
from decimal import Decimal

import hostile
import hostile_files
import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import match
from engine.core.flow import FLOW
from engine.importers import columnar, order_flow, plain, table
from engine.importers.catalogue import KINDS, read_file
from engine.importers.common import FormatError, MarketSpec
from engine.importers.plain import fields_of
from engine.match import MatchError, read_commands
from import_samples import BTC, SAMPLES, Sample

TRADES_HEAD = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
US = 1_700_000_000_000_000


def imported(sample, path):
    """Rows and report of an import, or its refusal."""
    role = sample.role or KINDS[sample.kind][0]
    import_ = read_file(sample.kind, path, sample.market, role, sample.symbol)
    try:
        rows = [block.tobytes() for block in import_]
    except FormatError as error:
        return str(error), error.place, error.field
    return b"".join(rows), msgspec.to_builtins(import_.report)


def both_ways(monkeypatch, owner, name, work):
    """What `work` gives with the compiled pass and with the parser alone; whether it was used."""
    used, real = [], getattr(owner, name)

    def watched(*arguments):
        found = real(*arguments)
        used.append(found is not None)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, watched)
        compiled = work()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *arguments: None)
        return compiled, work(), any(used)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_samples_and_their_mutations_read_the_same(tmp_path, monkeypatch, sample):
    draw, path = random.Random(sample.kind), tmp_path / "a.csv"
    sound, plain_ones = sample.text.encode(), 0
    for data in (sound, *(hostile.mutate(draw, sound) for _ in range(60))):
        path.write_bytes(data)
        work = lambda: imported(sample, path)  # noqa: E731
        compiled, parsed, used = both_ways(monkeypatch, table, "fields_of", work)
        assert compiled == parsed, data
        plain_ones += used
        assert used or data != sound or '"' in sample.text
    assert plain_ones > 5, "mutations leave no file plain"


UNUSUAL = [
    *("0", "00.10", "1.", ".5", "1.0000000", "1.00000001", "0.005", "0.0050", "1e-2", "1E-2"),
    *("+1", "-1", " 1", "1 ", "1_0", "0x1", "nan", "1,5", '"1"', "1\r", "\u0661", "1.2.3"),
    *("4611686018427387903", "4611686018427387904", "46116860184273879.04", "9" * 19, "9" * 24),
    *("0" * 24 + "1", "0" * 23 + "1", "1." + "0" * 18, "1." + "0" * 19, "1." + "1" * 18),
]


@pytest.mark.parametrize("text", UNUSUAL)
@pytest.mark.parametrize("column", ["price", "amount", "timestamp", "id", "side", "symbol"])
def test_unusual_texts_read_the_same(tmp_path, monkeypatch, column, text):
    fields = {"timestamp": str(US), "id": "7", "side": "buy", "price": "1.10", "amount": "0.5"}
    fields |= {"symbol": "X"} | {column: text}
    row = "x,{symbol},{timestamp},1,{id},{side},{price},{amount}\n".format(**fields)
    path = tmp_path / "a.csv"
    sample = Sample("tardis.trades", "", [], symbol="X")
    for others in ("", f"x,X,{US},1,1,Sell,1.10,0.5\n"):
        path.write_text(TRADES_HEAD + others + row, newline="")
        work = lambda: imported(sample, path)  # noqa: E731
        compiled, parsed, _ = both_ways(monkeypatch, table, "fields_of", work)
        assert compiled == parsed


@given(
    st.lists(st.from_regex(r"[0-9]{1,10}(\.[0-9]{1,8})?", fullmatch=True), min_size=1, max_size=8),
    st.integers(0, 8),
)
def test_numbers_are_exact(texts, decimals):
    lines = "".join(f"{text},\n" for text in texts).encode()
    units = fields_of(lines, ("a", "b"), ("a",), ()).numbers("a", decimals)
    exact = [Decimal(text).scaleb(decimals) for text in texts]
    if all(value == int(value) for value in exact):
        assert units.tolist() == [int(value) for value in exact]
    else:
        assert units is None


def trades(ids, symbol="X"):
    return "".join(
        f"x,{symbol},{US + place},1,{id_},buy,1.10,0.5\n" for place, id_ in enumerate(ids)
    )


@pytest.mark.parametrize("distance", [1, 150, 4_095, 4_096, 4_200])
def test_repeats_are_found_over_chunks(tmp_path, monkeypatch, distance):
    """The row before the last one again, so many rows later, in chunks of a hundred rows or so."""
    monkeypatch.setattr("engine.importers.packed.CHUNK_BYTES", 4_096)
    ids = [f"a-{number}" for number in range(5_000)]
    lines = trades(ids).splitlines(keepends=True)
    lines.insert(600 + distance, lines[600])
    lines[600 + distance + 1 :] = [line.replace("X", "Y") for line in lines[600 + distance + 1 :]]
    path = tmp_path / "a.csv"
    path.write_text(TRADES_HEAD + "".join(lines))
    sample = Sample("tardis.trades", "", [], symbol="X")
    work = lambda: imported(sample, path)  # noqa: E731
    compiled, parsed, used = both_ways(monkeypatch, table, "fields_of", work)
    assert used
    if distance <= columnar.REPEAT_ROWS:
        assert compiled[1]["duplicates"] == 1
    assert compiled == parsed


def test_equal_hashes_prove_nothing(tmp_path, monkeypatch):
    """Rows whose hashes are equal are compared by their text."""
    monkeypatch.setattr(plain.Fields, "hashes", lambda self, names: np.full(len(self), 5))
    path = tmp_path / "a.csv"
    path.write_text(TRADES_HEAD + trades(["1", "2", "2", "3"]).replace("3,1,3", "2,1,2"))
    rows = read_file("tardis.trades", path, BTC, "trade", "X")
    assert sum(map(len, rows)) == 3
    assert rows.report.duplicates == 1


# -- order flow


def flow(path):
    """Rows and numbers of order flow, or its refusal."""
    try:
        return tuple(array.tolist() for array in read_commands(path))
    except MatchError as error:
        return str(error)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_order_flow_reads_the_same(tmp_path, monkeypatch, suffix):
    draw, path, plain_ones = random.Random(1), tmp_path / f"flow{suffix}", 0
    (tmp_path / "sound.csv").write_text(hostile_files.FLOW)
    if suffix == ".parquet":
        pl.read_csv(tmp_path / "sound.csv").select(order_flow.COLUMNS).write_parquet(path)
        sound = path.read_bytes()
    else:
        sound = hostile_files.FLOW.encode()
    for data in (sound, *(hostile.mutate(draw, sound) for _ in range(200))):
        path.write_bytes(data)
        compiled, parsed, used = both_ways(monkeypatch, match, "read_flow", lambda: flow(path))
        assert compiled == parsed, data
        plain_ones += used
        assert used or data != sound
    assert plain_ones >= 1


FAULTS = [
    ("cmd", "1"), ("cmd", "0"), ("cmd", "+3"), ("cmd", "3.0"), ("cmd", str(2**62 + 1)),
    ("ts_event_ns", "9"), ("ts_event_ns", "-1"), ("ts_event_ns", ""),
    ("op", "cancel"), ("op", "Add"), ("op", ""), ("op", "limit "),
    ("order_id", "0"), ("order_id", str(2**62)), ("order_id", str(2**63)),
    ("side", ""), ("side", "b"), ("side", "Buy it"), ("price_ticks", ""), ("price_ticks", "-1"),
    ("price_ticks", str(2**24)), ("price_ticks", str(-(2**63))), ("price_ticks", "0"),
    ("size", "0"), ("size", str(2**40)), ("size", str(2**40 + 1)), ("size", "1e3"),
]  # fmt: skip


@pytest.mark.parametrize("op", ["limit", "reduce"])
@pytest.mark.parametrize(("field", "text"), FAULTS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", " of whole numbers.parquet"])
def test_every_rule_of_order_flow_holds_in_both(tmp_path, monkeypatch, op, field, text, suffix):
    row = {"cmd": "3", "ts_event_ns": "10", "op": op, "order_id": "2", "side": "A",
           "price_ticks": "100", "size": "1"} | {field: text}  # fmt: skip
    first = {"cmd": "2", "ts_event_ns": "10", "op": "add", "order_id": "1", "side": "B",
             "price_ticks": "99", "size": "5"}  # fmt: skip
    frame = pl.DataFrame([first, row]).with_columns(pl.all().replace("", None))
    if "whole" in suffix:
        names = [name for name in order_flow.COLUMNS if name not in ("op", "side")]
        frame = frame.with_columns(pl.col(names).cast(pl.Int64, strict=False))
    path = tmp_path / f"flow{suffix}"
    frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    compiled, parsed, _ = both_ways(monkeypatch, match, "read_flow", lambda: flow(path))
    assert compiled == parsed


def test_chunks_of_order_flow_go_on_from_one_another(tmp_path, monkeypatch):
    monkeypatch.setattr(order_flow, "BATCH_ROWS", 2)
    monkeypatch.setattr("engine.importers.packed.CHUNK_BYTES", 64)
    text = "cmd,ts_event_ns,op,order_id,side,price_ticks,size\n"
    text += "".join(f"{n},{100 + n // 2},limit,{n},B,{n},1\n" for n in range(1, 30))
    for lines in (text, text.replace("\n15,", "\n14,"), text.replace(",107,", ",7,")):
        (tmp_path / "a.csv").write_text(lines)
        pl.read_csv(tmp_path / "a.csv").write_parquet(tmp_path / "a.parquet", row_group_size=5)
        for name in ("a.csv", "a.parquet"):
            work = lambda name=name: flow(tmp_path / name)  # noqa: E731
            compiled, parsed, used = both_ways(monkeypatch, match, "read_flow", work)
            assert compiled == parsed
            assert used == (lines == text)


@pytest.mark.parametrize("words", [2, 62, 63, 64, 200])
@pytest.mark.parametrize("has_empty", [False, True])
def test_dictionaries_of_many_words_are_read_the_same(tmp_path, monkeypatch, words, has_empty):
    """Words nobody uses are no fault; too many of them are left to the other reader."""
    others = [f"x{number}" for number in range(words - 2)]
    places = pa.array([words - 1, None if has_empty else 0], pa.int32())
    columns = {
        **{name: pa.array([1, 2]) for name in ("cmd", "ts_event_ns", "order_id", "size")},
        "price_ticks": pa.array([5, None if has_empty else 5]),
        "op": pa.DictionaryArray.from_arrays([words - 1, 0], ["reduce", *others, "limit"]),
        "side": pa.DictionaryArray.from_arrays(places, ["B", *others, "A"]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    work = lambda: flow(tmp_path / "a.parquet")  # noqa: E731
    compiled, parsed, used = both_ways(monkeypatch, match, "read_flow", work)
    assert compiled == parsed
    assert compiled[0] == [(2, 1, 2, 5, 1), (4, 2, 1, 0 if has_empty else 5, 2)]
    assert used == (words <= 62)


@pytest.mark.parametrize("place", [-1, -64, 1, 5, 62, 63, 64, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("has_empty", [False, True])
def test_a_place_without_a_word_is_a_fault(place, has_empty):
    """As a damaged file may have it; an empty side is a place of its own."""
    places = pa.array([place, None if has_empty else 0], pa.int32())
    column = pa.DictionaryArray.from_arrays(places, ["B"], safe=False)
    if has_empty:
        with pytest.raises(pa.ArrowInvalid):
            order_flow._placed(column, order_flow.SIDES)
        return
    found, codes = order_flow._placed(column, order_flow.SIDES)
    ops = order_flow._codes(["reduce"], order_flow.OPS)
    numbers, zeros = [np.array([1, 2])] * 5, np.zeros(2, np.int32)
    for side, is_sound in ((found, False), (zeros, True)):
        columns = order_flow._Columns(numbers, [zeros, side], [ops, codes], has_missing=False)
        rows, out = np.empty(2, FLOW), np.empty(2, np.int64)
        assert order_flow._Packer().fits(columns, rows, out) is is_sound
        columns = order_flow._Columns(numbers, [side, zeros], [ops, codes], has_missing=False)
        assert order_flow._Packer().fits(columns, rows, out) is is_sound
    assert out.tolist() == [1, 2]


def test_a_market_named_at_length_is_compared_as_a_whole(tmp_path):
    spec = MarketSpec(market_id=1, price_decimals=2, lot="0.001", tick_price=1)
    path = tmp_path / "a.csv"
    path.write_text(TRADES_HEAD + trades(["1"], "BTC-PERPETUAL") + trades(["2"], "BTC-PERPETUAX"))
    rows = read_file("tardis.trades", path, spec, "trade", "BTC-PERPETUAL")
    assert sum(map(len, rows)) == 1
    assert rows.report.counts == {"other_markets": 1}
