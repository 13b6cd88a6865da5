"""`crashtape import` and `export`: options, what is printed, and refusals in one line."""

import sys

import polars as pl
import pytest

from engine import cli
from engine.importers.catalogue import KINDS
from engine.tape import tape_info
from import_samples import SAMPLES

MARKET = ("--market", "BTCUSDT:0.1:0.001")


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Runs the command line in a folder that holds a sample of every kind."""
    monkeypatch.chdir(tmp_path)
    for sample in SAMPLES:
        (tmp_path / sample.kind).write_text(sample.text)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["crashtape", *arguments])
        with pytest.raises(SystemExit) as done:
            cli.main()
        printed = capsys.readouterr()
        return done.value.code, printed.out, printed.err

    return run


def test_kinds_merged_without_a_venue(call, tmp_path):
    status, out, _ = call(
        *("import", "tardis.quotes", "tardis.quotes", *MARKET, "-o", "a.crashtape"),
        *("--with", "aggTrades=aggTrades", "--with", "okx.trades@index:BTC-USDT-SWAP=okx.trades"),
    )
    info = tape_info(tmp_path / "a.crashtape")
    assert (status, info.records) == (0, 10)
    assert [market.symbol for market in info.metadata.markets] == ["BTCUSDT"]
    assert info.metadata.sources[0] == "tardis.quotes tardis.quotes"
    words = ("duplicates", "crossed", "reordered", "silence ns", "numbers missing", "first time")
    assert all(word in out for word in words)
    status, out, _ = call("export", "a.crashtape", "--market", "BTCUSDT", "-o", "a.npz")
    assert (status, out) == (0, "a.npz: 8 events\n")


def test_liquidations_say_that_they_are_a_lower_bound(call, tmp_path):
    name = "liquidationSnapshot"
    units = ("--market", "BTCUSD_PERP:0.1:1")
    status, out, _ = call("import", name, name, *units, "-o", "a.parquet")
    assert status == 0
    assert "Note: the feed behind it carries at most one liquidation a second" in out
    assert "lower bound" in out and "a.parquet: 2 rows" in out
    assert pl.read_parquet(tmp_path / "a.parquet")["lots"].to_list() == [7, 5]


def test_any_csv(call, tmp_path):
    (tmp_path / "any").write_text("100.1,1.5,1700000000\n")
    columns = "time=t,price=p,size=q,unit=s,names=p/q/t"
    status, _, _ = call("import", "csv", "any", *MARKET, "--columns", columns, "-o", "a.crashtape")
    assert (status, tape_info(tmp_path / "a.crashtape").records) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["aggTrades", "aggTrades", "--market", "BTCUSDT"], "import: --market: expected SYMBOL:"),
        (["nothing", "aggTrades", *MARKET], "import: kind: expected one of klines, "),
        (["aggTrades", "aggTrades", *MARKET, "--as", "depth"], "import: --as: expected trade or "),
        (["aggTrades", "aggTrades", *MARKET, "--with", "trades"], "--with: expected KIND=FILE"),
        (["csv", "aggTrades", *MARKET], "import: --columns: expected a column map"),
        (["csv", "aggTrades", *MARKET, "--columns", "time=a"], "--columns: Expected a column for"),
        (["metrics", "aggTrades", *MARKET], "import: --output: metrics as facts is no tape"),
        (["aggTrades", "none", *MARKET], "none: UNREADABLE: No such file"),
        (["trades", "aggTrades", *MARKET], "aggTrades: line 1: HEADER: expected a header with id,"),
        (["aggTrades", "aggTrades", "--market", "X:0.3:0.001"],
         "aggTrades: line 2: price: OFF_TICK"),
    ],
)  # fmt: skip
def test_refusals(call, tmp_path, arguments, line):
    before = {path.name for path in tmp_path.iterdir()}
    status, out, err = call("import", *arguments, "-o", "a.crashtape")
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert err.startswith(f"error: {line}"), err
    assert {path.name for path in tmp_path.iterdir()} == before


def test_every_kind_is_documented(request):
    text = (request.config.rootpath / "docs" / "importing.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []
