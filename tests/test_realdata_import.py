"""Importers on real files: what comes out is compared with the file read another way.

Here the csv and json modules read the same bytes, and dictionaries keep the book.
"""

import csv
import gzip
import io
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.constants import CommandKind, EventKind, Side
from engine.exchange import Exchange
from engine.importers.catalogue import read_file
from engine.importers.common import FormatError, MarketSpec, new_commands
from engine.venue import Capacities

pytestmark = pytest.mark.realdata

TARDIS, DEPTH, CLEAR = "format_samples/tardis", CommandKind.DEPTH, CommandKind.DEPTH_CLEAR


def spec(price_decimals, tick_price, lot):
    return MarketSpec(market_id=1, price_decimals=price_decimals, lot=lot, tick_price=tick_price)


# kind, role, file, market, symbol, rows of the file
FILES = [
    ("tardis.trades", "trade", f"{TARDIS}/bitmex_trades_XBTUSD.csv", spec(1, 5, "1"), "XBTUSD", 10),
    ("tardis.incremental_book_L2", "depth",
     f"{TARDIS}/deribit_incremental_book_L2_BTC-PERPETUAL.csv",
     spec(1, 5, "10"), "BTC-PERPETUAL", 15),
    ("tardis.book_snapshot", "depth", f"{TARDIS}/binance-futures_book_snapshot_25_BTCUSDT.csv",
     spec(2, 1, "0.001"), "BTCUSDT", 10),
    ("tardis.book_snapshot", "depth", f"{TARDIS}/binance-futures_book_snapshot_5_BTCUSDT.csv",
     spec(2, 1, "0.001"), "BTCUSDT", 10),
    ("tardis.quotes", "depth", f"{TARDIS}/huobi-dm-swap_quotes_BTC-USD.csv", spec(1, 1, "1"),
     "BTC-USD", 10),
    ("tardis.derivative_ticker", "prices", f"{TARDIS}/derivative_ticker_1.csv", spec(2, 1, "1"),
     "XBTUSD", 2),
    ("depthUpdates", "depth", "format_samples/binance/btcusdt-depth-snap.csv",
     spec(2, 10, "0.001"), "BTCUSDT", 100),
    ("depthUpdates", "depth", "format_samples/binance/btcusdt-depth-update.csv",
     spec(2, 10, "0.001"), "BTCUSDT", 100),
    ("bitmex.liquidations", "facts", "format_samples/bitmex/bitmex_liquidation_table_201911.csv",
     spec(1, 5, "1"), "XBTUSD", 117),
    ("bybit.ob500", "depth", "format_samples/bybit/xrpusdt-ob500.data.zip", spec(4, 1, "1"),
     "XRPUSDT", 3966),
    ("hyperliquid.nodeFills", "trade",
     "format_samples/hyperliquid/node_fills_by_block_20251027_1700.jsonl.gz",
     spec(1, 1, "0.00001"), "BTC", 7282),
    ("databento.mbo", "depth", "l3_cme_es/raw_mbo_ESH4_20231225_to_2320.csv.gz",
     spec(2, 25, "1"), "ES", 32419),
    ("tardis.trades", "trade",
     "tick_trades_20251010/binance-delivery_trades_2025-10-10_AVAXUSD_PERP.csv.gz",
     spec(3, 1, "1"), "AVAXUSD_PERP", 137632),
    ("tardis.trades", "index", "tick_trades_20251010/coinbase_trades_2025-10-10_AVAX-USD.csv.gz",
     spec(3, 1, "1"), "AVAX-USD", 113589),
]  # fmt: skip
EACH = pytest.mark.parametrize(
    ("kind", "role", "name", "market", "symbol", "count"), FILES, ids=lambda v: str(v)[-30:]
)


def content(path: Path) -> bytes:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0])
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rows_of(import_) -> np.ndarray:
    return np.concatenate([new_commands(0, 1), *import_])


def read(shared_data, place) -> tuple:
    kind, role, name, market, symbol, _ = FILES[place]
    import_ = read_file(kind, shared_data / name, market, role, symbol)
    rows = rows_of(import_)
    return rows, import_.report, content(shared_data / name).decode()


def book_of(rows: np.ndarray) -> dict:
    """(side, price) -> lots after the rows."""
    book: dict[tuple[int, int], int] = {}
    for kind, side, price, lots in rows[["kind", "side", "price", "lots"]].tolist():
        if kind == CLEAR:
            book.clear()
        elif kind == DEPTH and lots:
            book[side, price] = lots
        elif kind == DEPTH:
            book.pop((side, price), None)
    return book


@EACH
def test_real_files_and_damaged_copies_of_them(
    shared_data, tmp_path, kind, role, name, market, symbol, count
):
    import_ = read_file(kind, shared_data / name, market, role, symbol)
    rows = np.concatenate(list(import_))
    report = import_.report
    assert (report.rows_read, report.refused) == (count, 0)
    assert len(rows) == report.commands > 0 and (np.diff(rows["time_ns"]) >= 0).all()
    text = content(shared_data / name)
    lines = text.splitlines(keepends=True)[:400]
    is_json = text[:1] == b"{"
    broken = {
        "cut": [*lines[:-1], lines[-1][: len(lines[-1]) // 3]],
        "no number": [*lines[:-1], lines[-1].replace(b"1", b"l")],
        "header": [lines[0].replace(b'"' if is_json else b"s", b"?"), *lines[1:]],
    }
    for what, parts in broken.items():
        (tmp_path / "a").write_bytes(b"".join(parts))
        with pytest.raises(FormatError) as caught:
            list(read_file(kind, tmp_path / "a", market, role, symbol))
        wanted = 1 if what == "header" else len(lines)
        assert caught.value.place in (f"line {wanted}", f"line {len(lines)}"), (what, caught.value)
    packed = gzip.compress(text)
    (tmp_path / "a").write_bytes(packed[: len(packed) * 2 // 3])
    with pytest.raises(FormatError, match="TORN"):
        list(read_file(kind, tmp_path / "a", market, role, symbol))


@pytest.mark.parametrize("place", [2, 3])
def test_the_book_after_the_last_snapshot(shared_data, place):
    rows, report, text = read(shared_data, place)
    last = list(csv.DictReader(io.StringIO(text)))[-1]
    expected = {}
    for name, value in last.items():
        if name.endswith(".price"):
            side = Side.SELL if name.startswith("asks") else Side.BUY
            amount = last[name.replace("price", "amount")]
            expected[side, int(Decimal(value) * 100)] = int(Decimal(amount) * 1000)
    assert book_of(rows) == expected
    assert report.rows_kept == 10 and report.crossed == 0


@pytest.mark.parametrize("place", [2, 3, 6])
def test_the_engine_holds_the_recorded_book(shared_data, place):
    rows, _, _ = read(shared_data, place)
    exchange = Exchange("binance_usdm", capacities=Capacities(orders_max=2_000), feedback_ppm=0)
    events = exchange.submit(rows)
    assert not (events["kind"] == EventKind.REJECTED).any()
    book = book_of(rows)
    bid = max((price for side, price in book if side == Side.BUY), default=0)
    ask = min((price for side, price in book if side == Side.SELL), default=0)
    expected = (bid, book.get((Side.BUY, bid), 0), ask, book.get((Side.SELL, ask), 0))
    assert exchange.best(1) == expected


def test_the_last_quote(shared_data):
    rows, _, text = read(shared_data, 4)
    last = list(csv.DictReader(io.StringIO(text)))[-1]
    sides = ((Side.BUY, "bid"), (Side.SELL, "ask"))
    assert book_of(rows) == {
        (side, int(Decimal(last[f"{name}_price"]) * 10)): int(last[f"{name}_amount"])
        for side, name in sides
    }


@pytest.mark.parametrize("place", [6, 7])
def test_depth_updates_as_the_archive_wrote_them(shared_data, place):
    rows, _, text = read(shared_data, place)
    expected = {}
    for line in csv.DictReader(io.StringIO(text)):
        key = 1 if line["side"] == "b" else 2, int(Decimal(line["price"]) * 100)
        expected[key] = int(Decimal(line["qty"]) * 1000)
    assert book_of(rows) == {key: lots for key, lots in expected.items() if lots}


def test_liquidation_orders_of_two_days(shared_data):
    kind, role, name, market, symbol, _ = FILES[8]
    import_ = read_file(kind, shared_data / name, market, role, symbol)
    rows = np.concatenate(list(import_))
    lines = csv.DictReader(io.StringIO(content(shared_data / name).decode()))
    own = [line for line in lines if line["symbol"] == symbol]
    assert rows["lots"].tolist() == [int(line["leavesQty"]) for line in own]
    assert rows["price"].tolist() == [int(Decimal(line["price"]) * 10) for line in own]
    assert rows["side"].tolist() == [2 if line["side"] == "Sell" else 1 for line in own]
    assert import_.report.notes and import_.report.counts["other_markets"] == 62


def test_the_book_after_fifty_messages(shared_data):
    rows, report, text = read(shared_data, 9)
    book: dict[tuple[int, str], str] = {}
    for line in text.splitlines():
        message = json.loads(line)
        if message["type"] == "snapshot":
            book.clear()
        for side, name in ((1, "b"), (2, "a")):
            book |= {(side, price): size for price, size in message["data"][name]}
    expected = {
        (side, int(Decimal(price) * 10_000)): int(size)
        for (side, price), size in book.items()
        if size != "0"
    }
    assert book_of(rows) == expected
    assert (report.crossed, report.gaps, report.counts["messages"]) == (0, 0, 50)


def test_each_trade_of_the_chain_once(shared_data):
    rows, report, text = read(shared_data, 10)
    fills = [fill for line in text.splitlines() for _, fill in json.loads(line)["events"]]
    own = {fill["tid"]: fill for fill in fills if fill["coin"] == "BTC"}
    assert len(rows) == len(own) == 345
    assert rows["lots"].sum() == sum(int(Decimal(f["sz"]) * 100_000) for f in own.values())
    assert report.counts["other_markets"] + 2 * len(own) == len(fills) == 7282


def test_a_liquidation_of_the_chain(shared_data):
    _, _, name, _, _, _ = FILES[10]
    market = spec(5, 1, "1")
    import_ = read_file("hyperliquid.nodeFills", shared_data / name, market, "facts", "WLFI")
    rows = np.concatenate(list(import_))
    assert rows[["price", "lots", "side", "cause"]].tolist() == [(15327, 890, 1, 2)]


def test_orders_add_up_to_the_final_book_of_the_exchange(shared_data):
    rows, report, _ = read(shared_data, 11)
    final = pl.read_csv(shared_data / "l3_cme_es/final_book.csv.gz")
    levels = final.group_by("side", "price_ticks").agg(pl.col("size").sum())
    expected = {(1 if side == "B" else 2, price * 25): lots for side, price, lots in levels.rows()}
    assert book_of(rows) == expected and len(expected) == 1487
    assert "unknown_orders" not in report.counts


def test_the_low_of_a_crash_day(shared_data):
    rows, report, _ = read(shared_data, 12)
    low = rows[rows["price"].argmin()]
    time = np.datetime64(int(low["time_ns"]), "ns").astype("datetime64[s]")
    assert (low["price"], str(time)) == (6020, "2025-10-10T21:21:29")
    assert (report.duplicates, report.reordered, report.gaps) == (0, 0, 0)


def test_times_in_another_unit_are_refused(shared_data):
    path = shared_data / TARDIS / "trades_1.csv"
    with pytest.raises(FormatError, match="line 2: timestamp: OUT_OF_RANGE: expected Unix time"):
        list(read_file("tardis.trades", path, spec(1, 5, "1"), "trade", "XBTUSD"))
