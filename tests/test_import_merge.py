"""Whole imports: several kinds in one tape, tables of facts, and nothing half-written."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from engine.constants import CommandKind
from engine.convert import (
    ImportRequestError,
    Source,
    import_files,
    market_units,
)
from engine.export import ExportError, export_hftbacktest
from engine.importers import packed
from engine.importers.common import FormatError
from engine.importers.hftbacktest_npz import read_hftbacktest
from engine.scenario import load_scenario, market_commands
from engine.tape import read_tape
from import_samples import BEGIN, SAMPLES
from small_scenario import SMALL, refusal

UNITS = market_units("BTCUSDT:0.1:0.001", None)
KINDS = CommandKind


def write(folder, kind, name=""):
    path = folder / (name or kind)
    path.write_text(next(sample.text for sample in SAMPLES if sample.kind == kind))
    return path


def tape_rows(path):
    return np.concatenate(list(read_tape(path)))


def test_units_of_a_market_without_a_profile():
    spec = market_units("XRPUSDT:0.0001:1", None).spec
    assert (spec.price_decimals, spec.tick_price, spec.lot) == (4, 1, "1")
    assert market_units("X:5:0.01", None).spec.tick_price == 5
    for text in ("BTCUSDT", "BTCUSDT:0.1", ":0.1:1", "BTCUSDT:0:1", "BTCUSDT:a:1", "BTCUSDT:1:-1"):
        with pytest.raises(ImportRequestError, match="import: --market: "):
            market_units(text, None)


def test_rows_of_equal_times_come_in_the_stated_order(tmp_path):
    kinds = ("tardis.quotes", "aggTrades", "fundingRate", "tardis.derivative_ticker")
    sources = [Source(kind, write(tmp_path, kind)) for kind in kinds]
    text = "1700000000,100.00,1\n"
    (tmp_path / "index").write_text(text)
    sources.append(Source("kraken.trades", tmp_path / "index", "index"))
    reports, info = import_files(sources, UNITS, tmp_path / "a.crashtape")
    rows = tape_rows(tmp_path / "a.crashtape")
    first = rows[rows["time_ns"] == BEGIN * 10**9]["kind"].tolist()
    assert first == [KINDS.FUNDING, KINDS.INDEX, KINDS.MARK, KINDS.INDEX, KINDS.TRADE,
                     KINDS.DEPTH, KINDS.DEPTH]  # fmt: skip
    assert (np.diff(rows["time_ns"]) >= 0).all()
    assert info.records == len(rows) == sum(report.commands for report in reports)
    assert len(reports) == 5 and set(rows["market_id"].tolist()) == {1}


def test_one_damaged_file_of_several_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "CHUNK_BYTES", 20)  # the damage comes after rows were written
    good, bad = write(tmp_path, "aggTrades"), write(tmp_path, "tardis.quotes")
    bad.write_text(bad.read_text().replace("100.1", "100.13"))
    sources = [Source("aggTrades", good), Source("tardis.quotes", bad)]
    with pytest.raises(FormatError, match=r"tardis\.quotes: line 3: ask_price: OFF_TICK"):
        import_files(sources, UNITS, tmp_path / "a.crashtape")
    liquidations = write(tmp_path, "tardis.liquidations")
    liquidations.write_text(liquidations.read_text().replace("100.1,", "x,"))
    sources = [Source("tardis.liquidations", liquidations)]
    with pytest.raises(FormatError, match="line 3: price: NOT_A_NUMBER"):
        import_files(sources, UNITS, tmp_path / "a.parquet")
    names = {path.name for path in tmp_path.iterdir()}  # no partial file either
    assert names == {"aggTrades", "tardis.quotes", "tardis.liquidations"}


def test_facts_go_to_a_table_and_commands_to_a_tape(tmp_path):
    path = write(tmp_path, "tardis.liquidations")
    source = Source("tardis.liquidations", path)
    reports, info = import_files([source], UNITS, tmp_path / "a.parquet")
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert table["lots"].to_list() == [500, 1500] and info is None
    assert "lower bounds" in reports[0].notes[0]
    with pytest.raises(ImportRequestError, match=r"is no tape: name a \.parquet file"):
        import_files([source], UNITS, tmp_path / "a.crashtape")
    trades = Source("aggTrades", write(tmp_path, "aggTrades"))
    with pytest.raises(ImportRequestError, match=r"is a tape: name no \.parquet file"):
        import_files([trades], UNITS, tmp_path / "b.parquet")
    with pytest.raises(ImportRequestError, match="--as: expected trade or index or mark"):
        import_files([trades._replace(role="depth")], UNITS, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.parquet", "aggTrades", "tardis.liquidations",
    ]  # fmt: skip


def test_depth_bands_meet_the_index_they_come_with(tmp_path):
    units = market_units("BTCUSDT", "binance_usdm")
    lines = ["timestamp,percentage,depth,notional"]
    for percent, depth in ((-2, 50), (-1, 30), (1, 25), (2, 45)):
        lines.append(f"2023-11-14 22:13:21,{percent},{depth},{depth * 100}")
    (tmp_path / "bands").write_text("\n".join(lines) + "\n")
    (tmp_path / "index").write_text("1700000000,20000,1\n")
    sources = [
        Source("bookDepth", tmp_path / "bands"),
        Source("kraken.trades", tmp_path / "index", "index"),
    ]
    import_files(sources, units, tmp_path / "a.crashtape")
    rows = tape_rows(tmp_path / "a.crashtape")
    assert rows["kind"][:2].tolist() == [KINDS.INDEX, KINDS.DEPTH_CLEAR]
    depth = rows[rows["kind"] == KINDS.DEPTH]
    assert depth["lots"].sum() == 95_000 and depth["price"].min() == 1_960_000
    with pytest.raises(ImportRequestError, match="give a --venue, and an index"):
        import_files(sources[:1], units, tmp_path / "b.crashtape")


def test_a_tape_goes_out_as_an_event_array(tmp_path):
    sources = [Source(kind, write(tmp_path, kind)) for kind in ("tardis.quotes", "aggTrades")]
    import_files(sources, UNITS, tmp_path / "a.crashtape")
    assert export_hftbacktest(tmp_path / "a.crashtape", "BTCUSDT", tmp_path / "a.npz") == 8
    again = np.concatenate(list(read_hftbacktest(tmp_path / "a.npz", UNITS.spec)))
    names = ["time_ns", "kind", "side", "price", "lots"]
    assert again[names].tolist() == tape_rows(tmp_path / "a.crashtape")[names].tolist()
    with pytest.raises(ExportError, match="export: --market: expected one of BTCUSDT"):
        export_hftbacktest(tmp_path / "a.crashtape", "X", tmp_path / "b.npz")


FILES = """
[[prices.files]]
kind = "csv"
path = "any.csv"
market = "BTCUSDT"
as = "index"
columns.unit = "s"
columns.fields = { time = "when", price = "px", size = "qty" }
[[prices.files]]
kind = "aggTrades"
path = "aggTrades"
market = "BTCUSDT"
as = "trade"
[[prices.files]]
kind = "fundingRate"
path = "fundingRate"
market = "BTCUSDT"
as = "funding"
"""


def test_a_scenario_reads_the_same_files(tmp_path):
    for kind in ("aggTrades", "fundingRate"):
        write(tmp_path, kind)
    (tmp_path / "any.csv").write_text("when,px,qty\n1700000000,100.05,1\n")
    begin, end = SMALL.index("[prices]"), SMALL.index("[population]")
    path = tmp_path / "small.toml"
    text = SMALL[:begin] + FILES + SMALL[end:]
    path.write_text(text)
    rows = np.concatenate(list(market_commands(load_scenario(path))))
    assert rows["kind"].tolist() == [KINDS.FUNDING, KINDS.INDEX, *3 * [KINDS.TRADE], KINDS.FUNDING]
    assert rows["price"].tolist() == [0, 10005, 10000, 10010, 10020, 0]
    path.write_text(text.replace("columns.unit", "columns.mood"))
    assert "mood" in refusal(path)
    path.write_text(text.replace('as = "index"', 'as = "depth"'))
    assert "expected as = trade or index or mark for rows of trade" in refusal(path)


PEAK = """
import resource
import sys
from pathlib import Path
from engine.convert import Source, import_files, market_units
import_files([Source(sys.argv[1], Path(sys.argv[2]))], market_units("X:0.1:0.001", None),
             Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("kind", ["aggTrades", "tardis.incremental_book_L2"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    """A file ten times larger, each in a process of its own; both are many chunks long."""
    peaks = []
    for rows in (150_000, 1_500_000):
        path = tmp_path / f"{rows}.csv"
        numbers = pl.int_range(rows, eager=True)
        price = "100." + (numbers % 10).cast(pl.String)
        if kind == "aggTrades":
            columns = {
                "agg_trade_id": numbers, "price": price, "quantity": "0.5",
                "first_trade_id": numbers, "last_trade_id": numbers,
                "transact_time": BEGIN * 1000 + numbers, "is_buyer_maker": "true",
            }  # fmt: skip
        else:
            columns = {
                "exchange": "x", "symbol": "X", "timestamp": BEGIN * 10**6 + numbers,
                "local_timestamp": BEGIN * 10**6 + numbers // 4, "is_snapshot": "false",
                "side": "bid", "price": price, "amount": (numbers % 3).cast(pl.String),
            }  # fmt: skip
        pl.select(**{name: pl.lit(column) for name, column in columns.items()}).write_csv(path)
        command = [sys.executable, "-c", PEAK, kind, str(path), str(tmp_path / "a.crashtape")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] * 1.25, peaks
