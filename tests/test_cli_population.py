"""`crashtape population`: what it prints, what it writes, and every refusal in one line."""

import json

import polars as pl
import pytest
from test_cli import crashtape, refused

from small_scenario import write_small

POSITIONS = """who,coin,qty,px,money,lev
0xab,BTCUSDT,1.5,7000.1,900.25,20
0xcd,BTCUSDT,-2.5,7300,60,50
"""
COLUMNS = "account=who,market=coin,size=qty,entry_price=px,collateral=money,leverage=lev"


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: crashtape(monkeypatch, capsys, "population", *arguments)


def test_a_scenarios_population_is_drawn_written_and_shown(call, tmp_path):
    status, out, err = call(write_small(tmp_path), "-o", "people.parquet")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["accounts", "40", "40", "accounts"] in lines
    assert ["long", "lots", "BTCUSDT", "90,000", "90,000", "lots"] in lines
    assert out.splitlines()[-1] == "people.parquet: 40 rows"
    assert pl.read_parquet(tmp_path / "people.parquet").height == 40


def test_the_fit_as_json_and_a_changed_field(call, tmp_path):
    scenario = write_small(tmp_path)
    change = "population.accounts=50"
    status, out, _ = call(scenario, "-o", "p.parquet", "--set", change, "--json")
    answer = json.loads(out)
    assert status == 0 and answer["rows"] == 50
    first = {"name": "accounts", "market": "", "asked": 50, "drawn": 50, "unit": "accounts"}
    assert answer["fit"][0] == first


def test_what_was_written_is_a_population_for_a_run(call, tmp_path):
    scenario = write_small(tmp_path)
    call(scenario, "-o", "people.parquet")
    text = scenario.read_text()
    before, _, rest = text.partition("[population]")
    file = '[population]\nkind = "file"\npath = "people.parquet"\n\n'
    scenario.write_text(before + file + "[liquidity" + rest.partition("[liquidity")[2])
    status, _, err = call(scenario, "-o", "again.parquet")
    assert (status, err) == (0, "")
    one, two = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("people", "again"))
    assert one.equals(two)


def test_a_file_of_positions_by_a_column_map(call, tmp_path):
    (tmp_path / "own.csv").write_text(POSITIONS)
    asked = ("own.csv", "-o", "own.parquet", "--venue", "binance_usdm", "--columns", COLUMNS)
    status, out, err = call(*asked)
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["short", "lots", "BTCUSDT", "2,500", "lots"] in lines
    assert pl.read_parquet(tmp_path / "own.parquet")["lots"].to_list() == [1_500, -2_500]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("own.csv",), "--venue: expected one for own.csv"),
        (("own.csv", "--venue", "binance_usdm", "--set", "a=1"),
         "--set, --data: own.csv is no scenario"),
        (("own.csv", "--venue", "binance_usdm"),
         "own.csv: column account_id is missing; it has who, coin, qty, px, money, lev"),
        (("own.csv", "--venue", "binance_usdm", "--columns", "owner=who"),
         "--columns: expected account, account_id, market, side, size, lots, entry_price, "
         "collateral, isolated, leverage, wallet; got 'owner'"),
        (("own.csv", "--venue", "binance_usdm", "--market", "BTCUSDT"),
         "--market: own.csv names the market of every row"),
        (("own.jsonl", "--venue", "binance_usdm"),
         "--market: expected SYMBOL or SYMBOL=COIN, and no --columns for the snapshot own.jsonl"),
        (("small.toml", "--venue", "binance_usdm"),
         "--venue, --columns, --market: the scenario says them; give none"),
        (("small.toml", "--set", "population.accounts=1"),
         "small.toml: $.population.accounts: expected int >= 2, got 1"),
        (("none.csv", "--venue", "binance_usdm"), "none.csv: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_one_line(call, tmp_path, arguments, message):
    (tmp_path / "own.csv").write_text(POSITIONS)
    write_small(tmp_path)
    assert refused(call(*arguments, "-o", "out.parquet")).startswith(message)
    assert not (tmp_path / "out.parquet").exists()


def test_a_scenario_without_a_population_has_none_to_write(call, tmp_path):
    path = write_small(tmp_path)
    before, _, rest = path.read_text().partition("[population]")
    path.write_text(before + "[liquidity" + rest.partition("[liquidity")[2])
    message = refused(call(path, "-o", "out.parquet"))
    assert message == "small.toml: $.population: expected a population, got none"
