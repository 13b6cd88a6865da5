"""Rows of a file per second, from bytes to COMMAND rows; the tape is not written.

The files are made here and gzipped as the archives are. Each figure is for a run whose rows and
prices add up to what was written.
"""

import gzip
import json

import polars as pl
import pytest

from engine.importers.catalogue import read_file
from engine.importers.common import MarketSpec

ROWS = 200_000
LEVELS = 5
MARKET = MarketSpec(market_id=1, price_decimals=1, lot="0.001", tick_price=1)
BEGIN_MS = 1_700_000_000_000


def columns_of(kind: str) -> dict[str, pl.Series]:
    """The columns of a file of ROWS rows (a snapshot counts as one)."""
    n = pl.int_range(ROWS, eager=True)
    price = "100." + (n % 10).cast(pl.String)
    text = {name: pl.repeat(name, ROWS, eager=True) for name in ("x", "BTCUSDT", "true", "false")}
    if kind == "aggTrades":
        size = "0.12" + (n % 10).cast(pl.String)
        return {"agg_trade_id": n, "price": price, "quantity": size, "first_trade_id": n,
                "last_trade_id": n, "transact_time": BEGIN_MS + n,
                "is_buyer_maker": text["true"]}  # fmt: skip
    times = {"exchange": text["x"], "symbol": text["BTCUSDT"], "timestamp": (BEGIN_MS + n) * 1000,
             "local_timestamp": (BEGIN_MS + n // 4) * 1000}  # fmt: skip
    if kind == "tardis.trades":
        side = text["x"].replace("x", "buy")
        return times | {"id": n, "side": side, "price": price, "amount": n % 9 + 1}
    if kind == "tardis.quotes":
        ask = "101." + (n % 10).cast(pl.String)
        return times | {"ask_amount": n % 7 + 1, "ask_price": ask, "bid_price": price,
                        "bid_amount": n % 5 + 1}  # fmt: skip
    if kind == "tardis.incremental_book_L2":
        side = text["x"].replace("x", "bid")
        return times | {"is_snapshot": text["false"], "side": side, "price": price,
                        "amount": n % 3}  # fmt: skip
    levels = {}
    for place in range(LEVELS):
        for name, away in (("asks", 101 + place), ("bids", 99 - place)):
            levels[f"{name}[{place}].price"] = f"{away}." + (n % 10).cast(pl.String)
            levels[f"{name}[{place}].amount"] = (n + place) % 5 + 1
    return times | levels


KINDS = ("aggTrades", "tardis.trades", "tardis.quotes", "tardis.incremental_book_L2")


@pytest.mark.parametrize("kind", [*KINDS, "tardis.book_snapshot"])
def test_import(benchmark, tmp_path, kind):
    columns = columns_of(kind)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(pl.DataFrame(columns).write_csv().encode(), 6))
    role = "trade" if "price" in columns and "is_snapshot" not in columns else "depth"

    def work():
        import_ = read_file(kind, path, MARKET, role, "BTCUSDT")
        return sum(int(rows["price"].sum()) for rows in import_), import_.report

    total, report = benchmark.pedantic(work, rounds=3, warmup_rounds=1)
    assert report.rows_read == report.rows_kept == ROWS
    if role == "trade":
        assert total == sum(int(text.replace(".", "")) for text in columns["price"])
    benchmark.extra_info["rows_per_round"] = ROWS
    if benchmark.stats:
        benchmark.extra_info["rows_per_second"] = round(ROWS / benchmark.stats.stats.min)


def test_import_of_fills(benchmark, tmp_path):
    fill = {"coin": "BTC", "px": "100.1", "sz": "0.5", "side": "B", "dir": "Open Long",
            "crossed": True, "time": BEGIN_MS}  # fmt: skip
    blocks = ROWS // 20
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        for number in range(blocks):
            events = [["0xa", fill | {"tid": number * 10 + trade % 10}] for trade in range(20)]
            file.write(json.dumps({"block_number": number, "events": events}) + "\n")

    def work():
        name = "hyperliquid.nodeFills"
        import_ = read_file(name, tmp_path / "a.jsonl.gz", MARKET, "trade", "BTC")
        return sum(len(rows) for rows in import_), import_.report

    trades, report = benchmark.pedantic(work, rounds=3, warmup_rounds=1)
    assert (trades, report.rows_read) == (ROWS // 2, ROWS)
    benchmark.extra_info["rows_per_round"] = ROWS
    if benchmark.stats:
        benchmark.extra_info["rows_per_second"] = round(ROWS / benchmark.stats.stats.min)
