"""Marginals beyond the basic draw, cohorts, and populations to Parquet and back."""

import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.constants import CommandKind
from engine.importers.common import new_commands
from engine.people_commands import fit_lines
from engine.peopled import DrawnMarket, DrawnPopulation, LeverageBand, Makers, Whale
from engine.populate import write_positions, write_scenario_population, write_snapshot
from engine.population.chance import Randomness
from engine.population.columns import FitRow, Population, PopulationError
from engine.population.drawn import Backing, draw_cohorts, draw_population
from engine.population.entries import profile_of_bands, profile_of_trades
from engine.population.file import read_population
from engine.population.fit import fit_rows
from engine.population.margins import MarketStart
from engine.population.sizes import bucket_floor, bucket_of
from engine.profile import Margin
from engine.scenario import load_scenario, setup_commands
from engine.venue import load_venue, market_numbers
from small_scenario import refusal, rows_of

VENUE = load_venue("binance_usdm")
BTC, ETH = (
    MarketStart(place + 1, market_numbers(VENUE, VENUE.markets[place]), price)
    for place, price in enumerate((736_587, 18_000))
)
STARTS = {"BTCUSDT": BTC, "ETHUSDT": ETH}
RULE = Margin(tier_mode="marginal")
ARRAYS = [n for n, f in Population.__dataclass_fields__.items() if f.type is np.ndarray]


def spec(**changes) -> DrawnPopulation:
    bitcoin = DrawnMarket(market="BTCUSDT", open_interest_lots=5_000_000, lots_max=400_000)
    ether = DrawnMarket(market="ETHUSDT", open_interest_lots=70_000_001, lots_max=9_000_000)
    return DrawnPopulation(**({"accounts": 9_000, "markets": [bitcoin, ether]} | changes))


def draw(asked: DrawnPopulation, seed: int = 5, **backing) -> Population:
    return draw_population(asked, [BTC, ETH], RULE, seed, Backing(**backing))


def fitted(asked: DrawnPopulation, population: Population, **backing) -> dict:
    rows = fit_rows(population, asked, [BTC, ETH], Backing(**backing))
    return {(row.name, row.market): (row.asked, row.drawn) for row in rows}


def same(one: Population, two: Population) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ARRAYS)


def test_cohorts_meet_the_open_interest_together_and_depend_on_the_seed_alone():
    asked = spec(cohort_accounts=2_100, hedge_ppm=30_000, isolated_ppm=250_001)
    parts = list(draw_cohorts(asked, [BTC, ETH], RULE, 5))
    assert [len(part.account_id) for part in parts] == [2_100, 2_100, 2_100, 2_700]
    whole = draw(asked)
    assert whole.open_interest(1) == (5_000_000, 5_000_000)
    assert whole.open_interest(2) == (70_000_001, 70_000_001)
    assert whole.account_id.tolist() == list(range(16, 9_016))
    assert int(whole.hedge.sum()) == 270, "cohorts lose nothing of a share by rounding"
    assert len(np.unique(whole.account_row[whole.isolated > 0])) == 2_250
    assert same(whole, draw(asked)) and not same(whole, draw(asked, seed=6))
    one = spec(cohort_accounts=9_000)
    assert same(draw(one), draw(spec())), "one cohort is the whole crowd"
    table = fitted(asked, whole)
    assert abs(table["tail index", "BTCUSDT"][1] - 1_200_000) < 160_000


def test_a_cohort_alone_cannot_break_the_bounds_of_sizes():
    market = DrawnMarket(market="BTCUSDT", open_interest_lots=4_000, lots_max=4)
    asked = spec(accounts=4_000, markets=[market], cohort_accounts=1_000)
    population = draw_population(asked, [BTC], RULE, 5)
    assert population.open_interest(1) == (4_000, 4_000)
    assert np.abs(population.lots).min() >= 1 and np.abs(population.lots).max() <= 4
    too_few = DrawnMarket(market="BTCUSDT", open_interest_lots=1_999, lots_max=4)
    with pytest.raises(PopulationError) as caught:
        draw_population(spec(accounts=4_000, markets=[too_few], cohort_accounts=1_000),
                        [BTC], RULE, 5)  # fmt: skip
    assert str(caught.value) == (
        "population.markets.BTCUSDT.open_interest_lots (long): expected open interest of "
        "2000 to 8000 lots for 2000 positions of 1 to 4 lots, got 1999"
    )


@pytest.mark.parametrize(
    ("correlation", "asked_ppm"), [(0, 500_000), (600_000, 800_000), (-600_000, 200_000),
                                   (1_000_000, 1_000_000)]
)  # fmt: skip
def test_positions_of_one_account_in_two_markets_are_as_correlated_as_asked(correlation, asked_ppm):
    asked = spec(multi_market_ppm=500_000, isolated_ppm=0, correlation_ppm=correlation)
    population = draw(asked)
    table = fitted(asked, population)
    got = table["pairs on the same side", ""]
    assert got[0] == asked_ppm
    assert abs(got[1] - asked_ppm) < 20_000
    assert population.open_interest(1) == (5_000_000, 5_000_000)
    pairs = np.flatnonzero(population.account_row[1:] == population.account_row[:-1])
    sizes = np.abs(population.lots)
    ranks = [np.argsort(np.argsort(sizes[pairs + step])) for step in (0, 1)]
    # Both of a pair are in another market; the ranks of their sizes go together.
    home = population.market_id[pairs] == 1
    spearman = np.corrcoef(ranks[0][home], ranks[1][home])[0, 1]
    assert abs(spearman - abs(correlation) / 1e6) < 0.08


def test_an_account_may_be_in_more_markets_than_two_but_in_each_once():
    names = [DrawnMarket(market=name, open_interest_lots=5_000_000, lots_max=400_000)
             for name in ("BTCUSDT", "ETHUSDT", "THIRD")]  # fmt: skip
    third = MarketStart(3, BTC.numbers, 736_587)
    asked = spec(markets=names, multi_market_ppm=100_000, further_markets=2, isolated_ppm=0)
    population = draw_population(asked, [BTC, ETH, third], RULE, 5)
    counts = np.bincount(population.account_row)
    assert np.bincount(counts).tolist() == [0, 8_100, 0, 900]
    keys = population.account_row * 8 + population.market_id
    assert len(np.unique(keys)) == len(keys)


def test_entries_follow_the_volume_of_the_days_before():
    bands = [(600_000, 650_000, 10), (700_000, 720_000, 60), (736_587, 736_587, 30)]
    volume = profile_of_bands(bands, BTC.numbers, "p")
    drawn = volume.draw(100_000, Randomness(1, 1)) * BTC.numbers.tick_price
    shares = [int(((drawn >= low) & (drawn <= high)).sum()) for low, high, _ in bands]
    assert [round(share, -3) for share in shares] == [10_000, 60_000, 30_000]
    wide = drawn[(drawn >= 600_000) & (drawn <= 650_000)]
    assert abs(int(np.median(wide)) - 625_000) < 2_000, "anywhere within a band"
    asked = spec(leverage_median=2, leverage_sd_ppm=0)
    population = draw(asked, volumes={"BTCUSDT": volume})
    got = fitted(asked, population, volumes={"BTCUSDT": volume})
    assert population.entries_moved == 0
    assert got["entries off the volume profile", "BTCUSDT"][1] < 15_000
    flat = draw(asked)
    off = fitted(asked, flat, volumes={"BTCUSDT": volume})
    assert off["entries off the volume profile", "BTCUSDT"][1] > 150_000


def test_a_volume_profile_is_made_of_recorded_trades():
    rows = new_commands(4, 1)
    rows["kind"] = [CommandKind.TRADE, CommandKind.TRADE, CommandKind.INDEX, CommandKind.TRADE]
    rows["price"], rows["lots"] = [700_000, 700_003, 1, 700_000], [5, 7, 0, 6]
    volume = profile_of_trades([rows[:2], rows[2:]], BTC.numbers, "p")
    assert volume.low.tolist() == volume.high.tolist() == [700_000, 700_003]
    assert volume.weights.tolist() == [11, 7]
    with pytest.raises(PopulationError, match="p: expected trades within the market's prices"):
        profile_of_trades([rows[2:3]], BTC.numbers, "p")
    with pytest.raises(PopulationError, match="p: expected rising bands of a tick or more each"):
        profile_of_bands([(5, 9, 1), (9, 12, 1)], BTC.numbers, "p")


def test_leverage_by_size_replaces_the_single_median():
    bands = [LeverageBand(lots_to=500, median=40), LeverageBand(lots_to=10_000, median=8)]
    asked = spec(leverage_by_size=bands, leverage_sd_ppm=0, isolated_ppm=0)
    population = draw(asked)
    mine = population.market_id == 1
    sizes, leverage = np.abs(population.lots[mine]), population.leverage[mine]
    assert set(leverage[sizes <= 500].tolist()) == {40}
    assert set(leverage[(sizes > 500) & (sizes <= 10_000)].tolist()) == {8}
    assert set(leverage[sizes > 10_000].tolist()) == {8}, "beyond the last band its median holds"
    assert fitted(asked, population)["leverage of large sizes", "BTCUSDT"] == (8, 8)


def test_makers_and_the_whale_are_part_of_the_open_interest():
    whale = Whale(market="BTCUSDT", side="long", lots=1_000_000, leverage=7)
    asked = spec(makers=Makers(accounts=4, share_ppm=100_000), whale=whale)
    population = draw(asked, whale_entry=800_000)
    assert population.open_interest(1) == (5_000_000, 5_000_000)
    assert population.open_interest(2) == (70_000_001, 70_000_001)
    assert population.account_id[-5:].tolist() == [9_016, 9_017, 9_018, 9_019, 9_020]
    makers = population.account_row[population.account_row >= 9_000]
    assert np.bincount(makers - 9_000).tolist() == [2, 2, 2, 2, 1]
    last = population.lots[-9:].tolist()
    assert last[0::2][:4] == [250_000, -250_000, 250_000, -250_000]
    assert last[1::2] == [-3_500_000, 3_500_000, -3_500_000, 3_500_000]
    assert last[8] == 1_000_000 and population.entry_price[-1] == 800_000, "stays as stated"
    # 1,000 BTC at 8,000 with leverage 7, wallet factor 1.5; 634 thousand of it are lost already.
    assert population.deposit_quote[-1] == 1_714_285_714_287
    table = fitted(asked, population)
    assert table["market makers", ""] == (15_000_000, 15_000_000)
    assert table["whale", "BTCUSDT"] == (1_000_000, 1_000_000)
    assert table["accounts", ""] == (9_005, 9_005)


PEOPLE = """
name = "people"
title = "people"
seed = 11
venue = "binance_usdm"
markets = ["BTCUSDT", "USDE"]
[patch]
markets = MARKETS
[prices]
source = "made up"
points = [
  { time = "2020-03-12T10:00:00Z", market = "BTCUSDT", price = "8000" },
  { time = "2020-03-12T10:00:00Z", market = "USDE", price = "0.9" },
]
[population]
kind = "drawn"
accounts = 2_000
isolated_ppm = 250_000
hedge_ppm = 20_000
collateral = [{ market = "USDE", accounts_ppm = 200_000, part_ppm = 500_000 }]
[[population.markets]]
market = "BTCUSDT"
open_interest_lots = 3_000_000
lots_max = 200_000
volume = [{ low = "7000", high = "8100", weight = 1 }]
"""
ASSET = """{ symbol = "USDE", payoff = "linear", contract = "collateral", haircut_ppm = 100_000,
  price_decimals = 4, tick = "0.0001", lot = "1", price_max = "100", order_lots_max = 10_000_000,
  open_interest_lots_max = 2_000_000_000, maker_fee_ppm = 0, taker_fee_ppm = 0,
  liquidation_fee_ppm = 0,
  tiers = [{ notional_to = "100000000000", leverage_max = 1, maintenance_ppm = 1 }] }"""


@pytest.fixture
def people(tmp_path):
    market = VENUE.markets[0]
    tiers = ", ".join(
        f'{{ notional_to = "{tier.notional_to}", leverage_max = {tier.leverage_max}, '
        f"maintenance_ppm = {tier.maintenance_ppm} }}"
        for tier in market.tiers
    )
    future = f"""{{ symbol = "BTCUSDT", payoff = "linear", price_decimals = 2, tick = "0.01",
      lot = "0.001", price_max = "100000", order_lots_max = 1_000_000,
      open_interest_lots_max = 2_000_000_000, maker_fee_ppm = 200, taker_fee_ppm = 500,
      liquidation_fee_ppm = 0, tiers = [{tiers}] }}"""
    path = tmp_path / "people.toml"
    markets = " ".join(f"[{future}, {ASSET}]".split())
    path.write_text(PEOPLE.replace("MARKETS", markets))
    return path


def test_collateral_replaces_cash_at_its_worth_after_the_haircut(people):
    population, table = load_scenario(people).population
    # A lot is worth 0.9 less a tenth: 0.81.
    assert len(population.asset_row) == 400
    owners = population.asset_row
    assert not np.isin(owners, population.account_row[population.isolated > 0]).any()
    cash = population.deposit_quote[owners]
    worth = population.asset_lots * 810_000
    assert ((worth >= cash - 1) & (worth < cash + 810_001)).all(), "half in cash, half held"
    rows = {(row.name, row.market): (row.asked, row.drawn) for row in table}
    assert rows["held by accounts", "USDE"] == (200_000, 200_000)
    commands = rows_of(setup_commands(load_scenario(people)))
    held = commands[commands["kind"] == CommandKind.DEPOSIT_ASSET]
    assert held["lots"].tolist() == population.asset_lots.tolist()


def test_a_written_population_is_read_back_to_the_unit(people, tmp_path):
    loaded, output = load_scenario(people), tmp_path / "p.parquet"
    count, table = write_scenario_population(loaded, output)
    assert count == pq.read_metadata(output).num_rows == 2_440
    assert table == loaded.population[1]
    back = read_population(output, loaded.profile, loaded.start[1])
    assert same(back, loaded.population[0])


def test_the_bytes_depend_on_the_seed_alone_and_row_groups_are_equal(people, tmp_path):
    outputs = [tmp_path / f"{name}.parquet" for name in "abc"]
    changes = ["population.accounts=90_000", "population.markets.0.open_interest_lots=60_000_000"]
    for output, more in zip(outputs, ([], [], ["seed=12"]), strict=True):
        loaded = load_scenario(people, [*changes, "population.cohort_accounts=20_000", *more])
        write_scenario_population(loaded, output)
    one, two, other = (output.read_bytes() for output in outputs)
    assert one == two != other
    groups = pq.read_metadata(outputs[0])
    sizes = [groups.row_group(nth).num_rows for nth in range(groups.num_row_groups)]
    assert sizes[0] == 65_536 and len(sizes) == 2
    assert not list(tmp_path.glob(".*")), "nothing is left beside the file"


def test_a_scenario_that_cannot_be_drawn_is_refused_by_field(people):
    text = people.read_text()
    for before, after, message in (
        ('low = "7000"', 'low = "9000"', "$.population.markets[0].volume[0]: expected low at most "
         "high"),
        ('market = "USDE", accounts', 'market = "BTCUSDT", accounts',
         "$.population.collateral[0].market: expected a collateral, got 'BTCUSDT'"),
        ("hedge_ppm = 20_000", 'whale = { market = "BTCUSDT", side = "long", lots = 5, '
         'entry = "0.001" }', "$.population.whale.entry: "),
    ):  # fmt: skip
        people.write_text(text.replace(before, after))
        if "volume" in message:
            assert refusal(people).startswith(f"people.toml: {message}")
            continue
        with pytest.raises(ValueError, match=r"people\.toml") as caught:
            _ = load_scenario(people).population
        assert str(caught.value).startswith(f"people.toml: {message}")


OWN = """who,coin,dir,qty,px,money,lev,junk
0xab,BTCUSDT,long,1.5,7000.1,900.25,20,x
0xcd,BTCUSDT,short,2.5,7300,60,50,y
0xab,ETHUSDT,short,30,190,500,10,z
"""
MAP = {"account": "who", "market": "coin", "side": "dir", "size": "qty", "entry_price": "px",
       "collateral": "money", "leverage": "lev"}  # fmt: skip


def test_a_file_with_its_own_names_of_columns_and_accounts_by_address(tmp_path):
    path, output = tmp_path / "own.csv", tmp_path / "out.parquet"
    path.write_text(OWN)
    population = read_population(path, VENUE, STARTS, MAP)
    assert len(population.account_id) == 2 and population.account_id.min() >= 16
    assert sorted(population.lots.tolist()) == [-30_000, -2_500, 1_500]
    count, table = write_positions(path, VENUE, output, columns=MAP)
    rows = {(row.name, row.market): row.drawn for row in table}
    assert count == 3 and rows["long lots", "BTCUSDT"] == 1_500
    assert rows["short lots", "BTCUSDT"] == 2_500
    assert rows["collateral and wallets", ""] == 1_460_250_000
    assert same(read_population(output, VENUE, STARTS), population)
    with pytest.raises(PopulationError) as caught:
        read_population(path, VENUE, STARTS, MAP | {"leverage": "leverage"})
    assert str(caught.value) == (
        "own.csv: column leverage (leverage) is missing; it has "
        "who, coin, dir, qty, px, money, lev, junk"
    )


def test_a_stream_names_the_row_of_the_file_that_is_wrong(tmp_path):
    path = tmp_path / "long.csv"
    head = "account_id,market,lots,entry_price,collateral,leverage\n"
    rows = [f"{16 + n},BTCUSDT,5,7000,900,20\n" for n in range(200_000)]
    path.write_text(head + "".join(rows) + "7,BTCUSDT,5,7000,900,20\n")
    with pytest.raises(PopulationError) as caught:
        write_positions(path, VENUE, tmp_path / "out.parquet", columns={})
    assert str(caught.value) == (
        "long.csv: row 200001, field account_id: expected 16 to 4611686018427387904, got '7'"
    )
    assert not (tmp_path / "out.parquet").exists()


def test_snapshots_of_a_clearinghouse_are_written_too(tmp_path):
    position = {"coin": "BTC", "szi": "-0.5", "entryPx": "7000.0", "positionValue": "3600",
                "leverage": {"type": "cross", "value": 20}}  # fmt: skip
    state = {"assetPositions": [{"position": position}],
             "crossMarginSummary": {"totalRawUsd": "4500"}}  # fmt: skip
    path, output = tmp_path / "states.jsonl", tmp_path / "out.parquet"
    path.write_text(json.dumps({"user": "0x1", "state": state}) + "\n")
    count, _ = write_snapshot(path, VENUE, output, market="BTCUSDT", coin="BTC")
    frame = pl.read_parquet(output)
    assert count == 1
    assert frame["lots"].to_list() == [-500]
    assert [str(value) for value in frame["collateral"]] == ["1000.000000"]


def test_buckets_of_the_fit_are_exact_below_512_and_a_256th_wide_above():
    values = np.array([0, 1, 511, 512, 1_000_003, 2**40])
    floors = bucket_floor(bucket_of(values))
    assert floors[:4].tolist() == [0, 1, 511, 512] and floors[5] == 2**40
    assert (values - floors <= values // 256).all()


def test_the_table_is_printed_in_columns():
    rows = [FitRow("accounts", "", 1_000, 1_000, "accounts"),
            FitRow("median size", "BTCUSDT", None, 7, "lots")]  # fmt: skip
    assert fit_lines(rows) == [
        "                      asked  drawn",
        "accounts              1,000  1,000  accounts",
        "median size  BTCUSDT             7  lots",
    ]
