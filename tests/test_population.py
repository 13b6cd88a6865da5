"""Populations: exact open interest, healthy starts, same bytes from the same seed, and files."""

import time
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from engine.constants import PPM, CommandKind, Flag, PositionSide
from engine.peopled import DrawnMarket, DrawnPopulation
from engine.population import margins
from engine.population.chance import Randomness
from engine.population.columns import PopulationError, population_commands
from engine.population.drawn import draw_population
from engine.population.file import file_fit_rows, read_population
from engine.population.fit import fit_rows
from engine.population.margins import MarketStart
from engine.population.sizes import fit_lots
from engine.profile import Margin
from engine.venue import decode_venue, load_venue, market_numbers

VENUE = load_venue("binance_usdm")
NUMBERS = [market_numbers(VENUE, market) for market in VENUE.markets]
BTC = MarketStart(1, NUMBERS[0], 736_587)
ETH = MarketStart(2, NUMBERS[1], 18_000)
STARTS = {"BTCUSDT": BTC, "ETHUSDT": ETH}
MARGINAL, FLAT = Margin(tier_mode="marginal"), Margin(tier_mode="flat")

INVERSE = decode_venue(
    b"""
name = "coin"
as_of = "2020-01-01"
settlement = { asset = "BTC", decimals = 8 }
margin = { tier_mode = "flat" }
mark = { source = "median" }
funding = {}
liquidation = { steps = [{ size = "all" }], surplus = "to_fund" }
losses = { waterfall = ["fund_unlimited"], adl_score = "profit_times_leverage" }
[[markets]]
symbol = "BTCUSD"
payoff = "inverse"
price_decimals = 1
tick = "0.5"
lot = "100"
price_max = "1000000"
order_lots_max = 1000000
open_interest_lots_max = 50000000
maker_fee_ppm = 0
taker_fee_ppm = 0
liquidation_fee_ppm = 0
tiers = [
  { notional_to = "100", leverage_max = 100, maintenance_ppm = 5000 },
  { notional_to = "1000000", leverage_max = 20, maintenance_ppm = 20000 },
]
""",
    "coin.toml",
)


PINNED = {
    "uniform": [4038964544837015, 3881039917090675],
    "normal": [-5862982370, -3701644780, 3753438939],
    "lots": [-8552, 4843, -448, 4157],
    "entry_price": [727284, 771332, 754984, 740342],
    "leverage": [9, 13, 9, 9],
    "deposit_quote": [24338726550, 4841907575, 466005922, 5347562055],
}


def spec(**changes) -> DrawnPopulation:
    market = DrawnMarket(market="BTCUSDT", open_interest_lots=5_000_000, lots_max=400_000)
    return DrawnPopulation(**({"accounts": 2_000, "markets": [market]} | changes))


def two_markets(**changes) -> DrawnPopulation:
    ether = DrawnMarket(market="ETHUSDT", open_interest_lots=70_000_001, lots_max=9_000_000)
    return spec(markets=[spec().markets[0], ether], multi_market_ppm=200_000, **changes)


def columns(population) -> bytes:
    return b"".join(
        getattr(population, name).tobytes()
        for name in population.__dataclass_fields__
        if isinstance(getattr(population, name), np.ndarray)
    )


def unhealthy(population, starts, profile=VENUE) -> int:
    """Accounts and isolated positions below maintenance, in exact fractions, row by row."""
    equity = dict(enumerate(population.deposit_quote.tolist()))
    needs: dict[int, Fraction] = dict.fromkeys(equity, Fraction(0))
    by_id = {start.market_id: start for start in starts}
    sick = 0
    for position in range(len(population.lots)):
        row = int(population.account_row[position])
        start = by_id[int(population.market_id[position])]
        numbers, mark = start.numbers, Fraction(start.first_price)
        lots, entry = int(population.lots[position]), int(population.entry_price[position])
        if numbers.unit_quote:
            profit = Fraction(lots * (start.first_price - entry) * numbers.unit_quote)
            value = abs(lots) * mark * numbers.unit_quote
        else:
            profit = lots * numbers.face_quote * (Fraction(1, entry) - 1 / mark)
            value = abs(lots) * numbers.face_quote / mark
        tier = next((t for t, top in enumerate(numbers.tier_to) if value <= top), -1)
        need = value * numbers.tier_maintenance_ppm[tier] / PPM
        if profile.margin.tier_mode == "marginal":
            need -= numbers.tier_deduction[tier]
        margin = int(population.margin_quote[position])
        if population.isolated[position]:
            sick += margin + profit <= need
            equity[row] -= margin
        else:
            equity[row] += profit
            needs[row] += need
    crossed = set(population.account_row[population.isolated == 0].tolist())
    return sick + sum(equity[row] <= needs[row] if row in crossed else equity[row] < 0
                      for row in equity)  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        spec(),
        spec(accounts=2, markets=[DrawnMarket(market="BTCUSDT", open_interest_lots=1, lots_max=1)]),
        spec(long_share_ppm=900_000),
        spec(
            long_share_ppm=0,
            markets=[DrawnMarket(market="BTCUSDT", open_interest_lots=90_000, lots_max=90_000)],
        ),
        spec(hedge_ppm=1_000_000),
        spec(isolated_ppm=1_000_000, leverage_median=125, entry_sd_ppm=300_000),
        two_markets(hedge_ppm=50_000),
    ],
    ids=["plain", "two", "long", "short", "hedge", "wild", "markets"],
)
def test_longs_equal_shorts_to_the_lot_and_nobody_starts_unhealthy(asked):
    starts = [STARTS[market.market] for market in asked.markets]
    population = draw_population(asked, starts, MARGINAL, 11)
    for market, start in zip(asked.markets, starts, strict=True):
        assert population.open_interest(start.market_id) == (market.open_interest_lots,) * 2
        sizes = np.abs(population.lots[population.market_id == start.market_id])
        assert sizes.min() >= market.lots_min
        assert sizes.max() <= market.lots_max
    assert unhealthy(population, starts) == 0
    assert (population.margin_quote <= population.deposit_quote[population.account_row]).all()


def test_an_isolated_position_holds_its_initial_margin_and_no_more():
    asked = spec(isolated_ppm=1_000_000, entry_sd_ppm=0)
    population = draw_population(asked, [BTC], MARGINAL, 11)
    at_entry = margins.notional(population.lots, population.entry_price, BTC.numbers)
    assert population.entries_moved == 0
    assert (population.margin_quote == -(-at_entry // population.leverage)).all()


def test_an_inverse_market_starts_healthy_too():
    numbers = market_numbers(INVERSE, INVERSE.markets[0])
    market = DrawnMarket(market="BTCUSD", open_interest_lots=1_000_000, lots_max=50_000)
    asked = spec(markets=[market], leverage_median=80, entry_sd_ppm=200_000)
    population = draw_population(asked, [MarketStart(1, numbers, 80_000)], FLAT, 3)
    assert population.open_interest(1) == (1_000_000, 1_000_000)
    assert unhealthy(population, [MarketStart(1, numbers, 80_000)], INVERSE) == 0
    assert population.entries_moved > 100
    assert (population.entry_price % 5 == 0).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    one, same = (draw_population(two_markets(), [BTC, ETH], MARGINAL, 5) for _ in range(2))
    other = draw_population(two_markets(), [BTC, ETH], MARGINAL, 6)
    assert columns(one) == columns(same) != columns(other)


def test_the_draw_is_pinned_so_that_a_library_cannot_change_it_unseen():
    random = Randomness(1, 2)
    assert random.uniform(2).tolist() == PINNED["uniform"]
    assert (random.normal(3) * 2**32).astype(np.int64).tolist() == PINNED["normal"]
    market = DrawnMarket(market="BTCUSDT", open_interest_lots=9_000, lots_max=9_000)
    population = draw_population(spec(accounts=4, markets=[market]), [BTC], MARGINAL, 1)
    assert population.lots.tolist() == PINNED["lots"]
    assert population.entry_price.tolist() == PINNED["entry_price"]
    assert population.leverage.tolist() == PINNED["leverage"]
    assert population.deposit_quote.tolist() == PINNED["deposit_quote"]


def test_shares_are_what_was_asked():
    asked = two_markets(accounts=10_000, hedge_ppm=30_000, isolated_ppm=250_000)
    population = draw_population(asked, [BTC, ETH], MARGINAL, 5)
    table = {
        (r.name, r.market): (r.asked, r.drawn) for r in fit_rows(population, asked, [BTC, ETH])
    }
    for name in ("isolated", "hedge", "several markets"):
        assert table[name, ""][0] == table[name, ""][1]
    for name in ("long lots", "short lots"):
        assert table[name, "ETHUSDT"] == (70_000_001, 70_000_001)
    asked_median, drawn_median = table["leverage median", ""]
    assert abs(asked_median - drawn_median) <= 2
    hedged = population.hedge[population.account_row] > 0
    sides = population.position_side
    assert set(sides[hedged].tolist()) == {PositionSide.LONG, PositionSide.SHORT}
    assert set(sides[~hedged].tolist()) == {PositionSide.NET}
    assert (np.sign(population.lots[hedged]) == np.where(sides[hedged] == 1, 1, -1)).all()
    assert (np.diff(population.account_row) >= 0).all()


def test_larger_positions_have_lower_leverage_and_keep_to_their_tier():
    asked = spec(
        accounts=20_000,
        leverage_size_elasticity_ppm=300_000,
        leverage_median=60,
    )
    population = draw_population(asked, [BTC], MARGINAL, 5)
    sizes = np.abs(population.lots)
    order = np.argsort(sizes, kind="stable")
    small, large = population.leverage[order[:2_000]], population.leverage[order[-2_000:]]
    assert np.median(small) > 2 * np.median(large)


def test_leverage_keeps_to_the_tier_of_the_value_at_entry_and_at_the_mark():
    market = DrawnMarket(market="BTCUSDT", open_interest_lots=50_000_000, lots_max=3_000_000)
    asked = spec(
        accounts=5_000,
        markets=[market],
        leverage_size_elasticity_ppm=0,
        leverage_median=125,
        entry_sd_ppm=200_000,
        wallet_factor_ppm=50_000_000,
        isolated_ppm=0,
    )
    population = draw_population(asked, [BTC], MARGINAL, 5)
    sizes = np.abs(population.lots)
    for price in (BTC.first_price, population.entry_price):
        caps = margins.leverage_cap(margins.notional(sizes, price, BTC.numbers), BTC.numbers)
        assert (population.leverage <= caps).all()


def test_the_tail_of_sizes_follows_its_index():
    market = DrawnMarket(market="BTCUSDT", open_interest_lots=200_000_000, lots_max=20_000_000,
                         size_tail_ppm=1_500_000)  # fmt: skip
    population = draw_population(spec(accounts=40_000, markets=[market]), [BTC], MARGINAL, 5)
    sizes = np.sort(np.abs(population.lots))[::-1].astype(float)
    hill = 1 / np.log(sizes[:2_000] / sizes[2_000]).mean()
    assert 1.35 < hill < 1.65


@pytest.mark.parametrize(
    ("weights", "total", "low", "high", "lots"),
    [
        ([1024, 1024, 1024], 3, 1, 9, [1, 1, 1]),
        ([1024, 1024, 1024], 10, 1, 9, [4, 3, 3]),
        ([1024, 2048, 9216], 12, 1, 5, [2, 5, 5]),
        ([1024, 2**36], 10, 1, 9, [1, 9]),
        ([2**36, 2**36], 2**40, 1, 2**40, [2**39, 2**39]),
        ([1024, 1024], 2**40, 1, 2**40, [2**39, 2**39]),
    ],
)
def test_lots_are_dealt_by_largest_remainder_within_their_bounds(weights, total, low, high, lots):
    assert fit_lots(np.array(weights), total, low, high).tolist() == lots


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            spec(accounts=2_000, long_share_ppm=999_500),
            "population.markets.BTCUSDT.open_interest_lots (short): expected open interest of "
            "1 to 400000 lots for 1 positions of 1 to 400000 lots, got 5000000",
        ),
        (
            spec(markets=[DrawnMarket(market="BTCUSDT", open_interest_lots=2**33, lots_max=9)]),
            "population.markets.BTCUSDT.open_interest_lots: expected at most 2000000000, "
            "got 8589934592",
        ),
        (
            spec(markets=[DrawnMarket(market="BTCUSDT", open_interest_lots=10**9, lots_max=10**9)]),
            "population.markets.BTCUSDT.lots_max: 1000000000 lots are 7365870000000000 at the "
            "first price, above the last margin tier 1800000000000000",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_field(asked, message):
    with pytest.raises(PopulationError) as caught:
        draw_population(asked, [BTC], MARGINAL, 1)
    assert str(caught.value) == message


def test_a_hundred_thousand_accounts_take_less_than_three_seconds():
    market = DrawnMarket(market="BTCUSDT", open_interest_lots=200_000_000, lots_max=20_000_000)
    began = time.perf_counter()
    population = draw_population(spec(accounts=100_000, markets=[market]), [BTC], MARGINAL, 5)
    rows = sum(len(block) for block in population_commands(population, 1))
    assert time.perf_counter() - began < 3
    assert rows == 430_000


HEADER = "account_id,market,side,size,entry_price,collateral,isolated,leverage\n"
GOOD = HEADER + (
    "20,BTCUSDT,long,1.5000,7000.10,900.25,false,20\n"
    "17,ETHUSDT,short,30,190,500,true,10\n"
    "20,BTCUSDT,short,0.250,7400,100,false,20\n"
    "17,BTCUSDT,short,1.25,7300.00,60,false,50\n"
)


def write(tmp_path, text: str):
    path = tmp_path / "positions.csv"
    path.write_text(text)
    return path


def test_a_file_is_read_exactly(tmp_path):
    population = read_population(write(tmp_path, GOOD), VENUE, STARTS)
    assert population.account_id.tolist() == [17, 20]
    assert population.deposit_quote.tolist() == [560_000_000, 1_000_250_000]
    assert population.hedge.tolist() == [0, 1]
    assert population.account_row.tolist() == [0, 0, 1, 1]
    assert population.market_id.tolist() == [2, 1, 1, 1]
    assert population.lots.tolist() == [-30_000, -1_250, 1_500, -250]
    assert population.position_side.tolist() == [0, 0, 1, 2]
    assert population.entry_price.tolist() == [19_000, 730_000, 700_010, 740_000]
    assert population.isolated.tolist() == [1, 0, 0, 0]
    assert population.margin_quote.tolist() == [500_000_000, 0, 0, 0]
    assert population.leverage.tolist() == [10, 50, 20, 20]


def test_what_longs_and_shorts_differ_by_stays_with_clearing_and_is_said(tmp_path):
    population = read_population(write(tmp_path, GOOD), VENUE, STARTS)
    table = {(r.name, r.market): r.drawn for r in file_fit_rows(population, STARTS, MARGINAL)}
    assert table["kept by clearing", "BTCUSDT"] == 0
    assert table["kept by clearing", "ETHUSDT"] == 30_000
    assert table["short lots", "ETHUSDT"] == 30_000
    # Account 17: 60 - 1.25 * 65.87 = -22 of equity for its cross position.
    assert table["cross accounts below maintenance", ""] == 1
    assert table["isolated below maintenance", ""] == 0


def test_signed_sizes_signed_lots_and_parquet_read_alike(tmp_path):
    signed = "account_id,market,size,entry_price,collateral,leverage\n20,BTCUSDT,-0.5,7000,900,20\n"
    lots = signed.replace("size", "lots").replace("-0.5", "-500")
    one = read_population(write(tmp_path, signed), VENUE, STARTS)
    two = read_population(write(tmp_path, lots), VENUE, STARTS)
    frame = pl.DataFrame({
        "account_id": [20], "market": ["BTCUSDT"], "lots": [-500], "entry_price": ["7000"],
        "collateral": pl.Series(["900"]).cast(pl.Decimal(20, 6)), "leverage": [20],
    })  # fmt: skip
    frame.write_parquet(tmp_path / "p.parquet")
    three = read_population(tmp_path / "p.parquet", VENUE, STARTS)
    assert columns(one) == columns(two) == columns(three)
    assert one.lots.tolist() == [-500]
    assert one.position_side.tolist() == [PositionSide.NET]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("7000.10", "NaN", "row 1, field entry_price: expected a decimal number, got 'NaN'"),
        ("7000.10", "7e3", "row 1, field entry_price: expected a decimal number, got '7e3'"),
        ("7000.10", "", "row 1, field entry_price: expected a decimal number, got nothing"),
        ("7000.10", "7000.105", "row 1, field entry_price: expected at most 2 decimals"),
        ("7000.10", "-7000", "row 1, field entry_price: expected 0.01 to 160000.00, got '-7000'"),
        ("7300.00", "160000.01", "row 4, field entry_price: expected 0.01 to 160000.00"),
        ("20,BTCUSDT,long", "15,BTCUSDT,long", "row 1, field account_id: expected 16 to "),
        ("ETHUSDT", "XRPUSDT", "row 2, field market: expected a market of BTCUSDT, ETHUSDT"),
        (",short,30,", ",sell,30,", "row 2, field side: expected long or short, got 'sell'"),
        (",short,30,", ",short,-30,", "row 2, field size: expected more than 0 beside a side"),
        (",short,30,", ",short,0,", "row 2, field size: expected more than 0 beside a side"),
        (",0.250,", ",0.2505,", "row 3, field size: expected at most 3 decimals, got '0.2505'"),
        (",0.250,", ",9999999999,", "row 3, field size: expected -2000000.000 to 2000000.000"),
        ("500,true", "500,yes", "row 2, field isolated: expected false or true, got 'yes'"),
        ("60,false,50", "60,false,0", "row 4, field leverage: expected 1 to 255, got '0'"),
        ("60,false,50", "60,false,2.5", "row 4, field leverage: expected at most 0 decimals"),
        ("100,false,20", "-1,false,20", "row 3, field collateral: expected 0.000000 to "),
        ("100,false,20", "100,true,20", "row 1, field isolated: expected one margin mode for"),
        ("17,BTCUSDT,short", "20,BTCUSDT,short", "row 4, field market: expected one row for each"),
        ("leverage\n", "lever\n", "column leverage is missing; it has account_id, market, side"),
        ("isolated,", "remark,", "unknown column remark"),
        (",size,", ",lots,", "row 1, field lots: expected at most 0 decimals, got '1.5000'"),
        (
            "900.25,false,20",
            "900.25,false",
            "row 1, field leverage: expected a decimal number, got",
        ),
        ("900.25,false,20", "900.25,false,20,7", "found more fields"),
        (",side,", ",lots,", "expected exactly one of the columns size and lots"),
    ],
)
def test_a_bad_row_is_refused_with_file_row_and_field(tmp_path, before, after, message):
    assert before in GOOD
    with pytest.raises(PopulationError) as caught:
        read_population(write(tmp_path, GOOD.replace(before, after, 1)), VENUE, STARTS)
    assert str(caught.value).startswith(f"positions.csv: {message}")
    assert "\n" not in str(caught.value)


def test_of_several_bad_rows_the_first_of_the_file_is_named(tmp_path):
    rows = "20,BTCUSDT,long,1,7000,900,false,20\n17,BTCUSDT,long,1,7000,900,false,20\n"
    with pytest.raises(PopulationError, match=r"^positions\.csv: row 3, field market: "):
        read_population(write(tmp_path, HEADER + rows + rows), VENUE, STARTS)


@pytest.mark.parametrize(
    ("size", "price", "message"),
    [
        ("150", "8000.5", "row 1, field size: expected a multiple of the lot 100, got '150'"),
        ("300", "8000.3", "row 1, field entry_price: expected a tick of 0.5, got '8000.3'"),
    ],
)
def test_sizes_and_prices_keep_to_lot_and_tick(tmp_path, size, price, message):
    text = HEADER + "20,BTCUSD,short,{},{},1,false,20\n"
    starts = {"BTCUSD": MarketStart(1, market_numbers(INVERSE, INVERSE.markets[0]), 80_000)}
    good = read_population(write(tmp_path, text.format("300", "8000.5")), INVERSE, starts)
    assert (good.lots.tolist(), good.entry_price.tolist()) == ([-3], [80_005])
    with pytest.raises(PopulationError) as caught:
        read_population(write(tmp_path, text.format(size, price)), INVERSE, starts)
    assert str(caught.value) == f"positions.csv: {message}"


@pytest.mark.parametrize("text", ["", HEADER])
def test_an_empty_file_is_refused(tmp_path, text):
    with pytest.raises(PopulationError, match=r"^positions\.csv: "):
        read_population(write(tmp_path, text), VENUE, STARTS)


def test_floats_in_parquet_are_refused_because_they_are_not_exact(tmp_path):
    frame = pl.read_csv(write(tmp_path, GOOD))
    frame.write_parquet(tmp_path / "p.parquet")
    with pytest.raises(PopulationError) as caught:
        read_population(tmp_path / "p.parquet", VENUE, STARTS)
    expected = "p.parquet: column size: expected text, whole numbers or decimals, got Float64"
    assert str(caught.value) == expected


def test_names_of_accounts_in_lists_are_refused(tmp_path):
    names = pl.concat_list(pl.col("account_id").cast(pl.String)).alias("account")
    frame = pl.read_csv(write(tmp_path, GOOD), infer_schema=False).with_columns(names)
    frame.drop("account_id").write_parquet(tmp_path / "p.parquet")
    with pytest.raises(PopulationError) as caught:
        read_population(tmp_path / "p.parquet", VENUE, STARTS)
    expected = "column account: expected text, whole numbers or decimals, got List(String)"
    assert str(caught.value) == f"p.parquet: {expected}"


def test_isolated_positions_are_seeded_first_and_order_is_kept_otherwise(tmp_path):
    population = read_population(write(tmp_path, GOOD), VENUE, STARTS)
    rows = np.concatenate(list(population_commands(population, 9)))
    seeds = rows[rows["kind"] == CommandKind.SEED_POSITION]
    assert seeds["lots"].tolist() == [-30_000, -1_250, 1_500, -250]
    turned = GOOD.replace("500,true", "500,false").replace("60,false", "60,true")
    population = read_population(write(tmp_path, turned), VENUE, STARTS)
    rows = np.concatenate(list(population_commands(population, 9)))
    seeds = rows[rows["kind"] == CommandKind.SEED_POSITION]
    assert seeds["lots"].tolist() == [-1_250, -30_000, 1_500, -250]


def test_the_margin_mode_is_set_once_for_both_legs_of_a_hedge(tmp_path):
    text = HEADER + (
        "20,BTCUSDT,long,1,7000,900,true,20\n20,BTCUSDT,short,1,7000,900,true,20\n"
        "20,ETHUSDT,short,1,200,900,true,20\n"
    )
    population = read_population(write(tmp_path, text), VENUE, STARTS)
    rows = np.concatenate(list(population_commands(population, 9)))
    modes = rows[rows["kind"] == CommandKind.SET_MARGIN_MODE]
    assert modes["market_id"].tolist() == [1, 2]
    assert modes["flags"].tolist() == [Flag.ISOLATED] * 2
    opened = rows[rows["kind"] == CommandKind.OPEN_ACCOUNT]
    assert opened["flags"].tolist() == [Flag.HEDGE]
    seeds = rows[rows["kind"] == CommandKind.SEED_POSITION]
    assert seeds["position_side"].tolist() == [1, 2, 2]
    assert seeds["amount"].tolist() == [900_000_000] * 3
