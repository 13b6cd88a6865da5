"""Scenario files that are refused: which, where, and in which words."""

from functools import partial

import pytest

from engine.scenario import load_scenario, market_commands, setup_commands
from engine.strict import ScenarioError
from small_scenario import refusal, with_file, write_small


@pytest.fixture
def small(tmp_path):
    return partial(write_small, tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("accounts = 40", "accounts = 1", "$.population.accounts: expected int >= 2, got 1"),
        ("accounts = 40", "accounts = nan", "$.population.accounts: expected int, got float"),
        ("accounts = 40", "acounts = 40", "$.population.acounts: unknown field"),
        ("seed = 7", "", "$.seed: expected this field, got nothing"),
        ("seed = 7", "seed = inf", "$.seed: expected int, got float"),
        ("seed = 7", "seed = -1", "$.seed: expected int >= 0, got -1"),
        (
            'kind = "drawn"', 'kind = "drwan"',
            "$.population.kind: invalid value 'drwan'",
        ),
        (
            'price = "7000"', "price = 7000.0",
            "$.prices.points[1].price: expected str, got float",
        ),
        (
            'price = "7000"', 'price = "7000.001"',
            "$.prices.points[1].price: expected at most 2 decimals, got 7000.001",
        ),
        (
            'price = "7000"', 'price = "160000.01"',
            "$.prices.points[1].price: expected a multiple of 0.01 from 0.01 to 160000, "
            "got 160000.01",
        ),
        (
            'price = "7000"', 'price = "0"',
            "$.prices.points[1].price: expected a multiple of 0.01 from 0.01 to 160000, got 0",
        ),
        (
            'time = "2020-03-12T10:01:40Z"', 'time = "2020-03-12 10:01:40"',
            "$.prices.points[1]: expected a time like 2020-03-12T10:48:00Z, "
            "got '2020-03-12 10:01:40'",
        ),
        (
            'time = "2020-03-12T10:01:40Z"', "time = 2020-03-12T10:01:40Z",
            "$.prices.points[1].time: expected str, got datetime",
        ),
        (
            "T10:01:40Z", "T10:00:00Z",
            "$.prices.points[1].time: expected a time after the point before, "
            "got 2020-03-12T10:00:00Z",
        ),
        (
            'source = "made up"', "",
            "$.prices: expected points[0].source or a source of the table",
        ),
        (
            "[prices]", '[prices]\ntape = "x.tape"',
            "$.prices: expected exactly one of points, files, tape; got 2",
        ),
        (
            'time = "2020-03-12T10:01:00Z"', 'time = "2020-03-12T09:59:59Z"',
            "$.funding[0].time: expected a time at or after the first price",
        ),
        (
            "rate_ppb = -100", "rate_ppb = 0.0001",
            "$.funding[0].rate_ppb: expected int, got float",
        ),
        ('fund = "1000.5"', 'fund = "1e6"', "$.fund: expected str matching regex"),
        ('fund = "1000.5"', 'fund = "-1"', "$.fund: expected str matching regex"),
        ('fund = "1000.5"', 'fund = "0.0000001"', "$.fund: expected at most 6 decimals"),
        (
            'fund = "1000.5"', 'fund = "1"\nfunds = { BTCUSDT = "1" }',
            "$.funds.BTCUSDT: expected each fund once",
        ),
        (
            'fund = "1000.5"', 'fund = "1"\nfunds = { ETHUSDT = "1" }',
            "$.fund: 2 funds answer for these markets: expected funds",
        ),
        (
            'fund = "1000.5"', 'funds = { DOGE = "1" }',
            "$.binance_usdm: no market 'DOGE'; it has BTCUSDT, ETHUSDT",
        ),
        ('fund = "1000.5"', 'funds = { BTCUSDT = "-1" }', "$.funds.BTCUSDT: expected str matching"),
        (
            "half_spread_ppm = 100", "half_spread_ppm = -1",
            "$.liquidity.BTCUSDT.half_spread_ppm: expected int >= 0, got -1",
        ),
        (
            "[liquidity.BTCUSDT]", "[liquidity.ETHUSDT]",
            "$.liquidity: expected a market of BTCUSDT, got 'ETHUSDT'",
        ),
        (
            'markets = ["BTCUSDT"]', 'markets = ["BTCUSDT", "XRPUSDT"]',
            "$.markets[1]: binance_usdm: no market 'XRPUSDT'; it has BTCUSDT, ETHUSDT",
        ),
        (
            'markets = ["BTCUSDT"]', 'markets = ["BTCUSDT", "ETHUSDT"]',
            "$.prices.points: expected an index price of ETHUSDT, got none",
        ),
        (
            "[prices]", '[prices]\nbegin = "2020-03-12T11:00:00Z"\nend = "2020-03-12T11:00:00Z"',
            "$.prices: expected begin before end",
        ),
        (
            'time = "2020-03-12T10:01:40Z"', 'time = "2040-03-12T10:01:40Z"',
            "$.prices.points[1].time: more than 10000000 steps after the point before",
        ),
        (
            "isolated_ppm = 250_000", "multi_market_ppm = 1",
            "$.population: expected two markets or more with multi_market_ppm",
        ),
        (
            "levels = [{ offset_ppm = 100, lots = 5 }]",
            "bands = [{ within_ppm = 9, lots = 5 }, { within_ppm = 8, lots = 6 }]",
            "$.liquidity.BTCUSDT: expected bands[0] wider and deeper than what is inside it",
        ),
        (
            "levels = [{ offset_ppm = 100, lots = 5 }]", "",
            "$.liquidity.BTCUSDT: expected exactly one of levels, bands and depth_lots",
        ),
        (
            "levels = [{ offset_ppm = 100, lots = 5 }]",
            "levels = [{ offset_ppm = 9, lots = 5 }, { offset_ppm = 9, lots = 6 }]",
            "$.liquidity.BTCUSDT: expected levels with rising offset_ppm",
        ),
        ('"binance_usdm"', '"nowhere"', "$.venue: no venue 'nowhere'; shipped profiles: "),
        ('"binance_usdm"', '"../x"', "$.venue: expected a name or a path to a .toml file"),
        (
            "seed = 7", "seed = 7\nfeedback_ppm = 1_000_001",
            "$.feedback_ppm: expected int <= 1000000, got 1000001",
        ),
        ("seed = 7", "seed =", "Invalid value (at line 4, column 7)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_and_field(small, before, after, message):
    text = refusal(small((before, after)))
    assert text.startswith(f"small.toml: {message}")
    assert "\n" not in text


def test_a_population_that_cannot_be_is_refused_when_it_is_drawn(small):
    loaded = load_scenario(small(("lots_max = 20_000", "lots_max = 4_000")))
    with pytest.raises(ScenarioError) as caught:
        list(setup_commands(loaded))
    assert str(caught.value) == (
        "small.toml: $.population.markets.BTCUSDT.open_interest_lots (long): expected open "
        "interest of 20 to 80000 lots for 20 positions of 1 to 4000 lots, got 90000"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("population.acounts=5", "small.toml: $.population.acounts: unknown field"),
        ("nowhere.x=5", "small.toml: $.nowhere: unknown field"),
        ("seed.x=5", "small.toml: --set 'seed.x=5': no such field: seed.x"),
        (
            "population.markets.ETHUSDT.lots_min=3",
            "small.toml: --set 'population.markets.ETHUSDT.lots_min=3': "
            "no such field: population.markets.ETHUSDT",
        ),
        ("population.markets.1.lots_min=3", "small.toml: --set"),
        ("population.accounts", "--set 'population.accounts': expected path.to.field=value"),
        ("population..accounts=3", "--set 'population..accounts=3': expected path.to.field=value"),
        ("name=bear", "--set 'name=bear': expected a TOML value after '=' (text needs quotes)"),
        ("venue.losses.fund=5", "small.toml: $.venue.losses.fund: unknown field"),
        ("venue.mark.source=5", "small.toml: $.venue.mark.source: expected str, got int"),
        (
            "venue.markets.XRP.tick=5",
            "small.toml: $.venue.markets.XRP: no such field in profile binance_usdm",
        ),
        (
            'venue.losses.waterfall=["adl"]',
            "small.toml: $.venue: binance_usdm: losses.waterfall: each once, "
            "fund_unlimited, pool or retry last",
        ),
        ('venue.mark.source="tape"', "small.toml: $.feedback_ppm: expected 0: the venue's mark"),
    ],
)
def test_an_override_that_reaches_nothing_is_refused(small, override, message):
    text = refusal(small(), override)
    assert text.startswith(message) and "\n" not in text


def test_a_patch_to_nothing_is_refused(small):
    path = small(("[liquidity", '[patch]\n"losses.nothing" = 5\n[liquidity'))
    assert refusal(path) == "small.toml: $.venue.losses.nothing: unknown field"


@pytest.mark.parametrize("text", ["/etc/hosts", "../outside.csv", "link.csv", "../inside/bars.csv"])
def test_a_path_out_of_the_folder_is_refused(small, tmp_path, text):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.csv").write_text("x")
    (tmp_path / "inside" / "bars.csv").write_text("x")
    path = tmp_path / "inside" / "small.toml"
    path.write_text(with_file(small(), text))
    (tmp_path / "inside" / "link.csv").symlink_to(tmp_path / "outside.csv")
    assert refusal(path) == (
        "small.toml: $.prices.files[0].path: expected a path inside the scenario's folder, "
        f"got {text!r}"
    )


def test_the_data_folder_opens_its_own_paths_only(small, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "data").mkdir()
    bars = tmp_path / "data" / "bars.csv"
    bars.write_text("1584006300000,1,2,1,2,1,1584006359999,1,1,1,1,0\n")
    path = tmp_path / "inside" / "small.toml"
    for text in ("bars.csv", str(bars)):
        path.write_text(with_file(small(), text))
        loaded = load_scenario(path, data=tmp_path / "data")
        assert loaded.resolve(text, "x").samefile(bars)
        assert "small.toml: $.prices.files[0].path: " in refusal(path)
    path.write_text(with_file(small(), str(tmp_path / "small.toml")))
    assert "expected a path inside" in refusal(path, data=tmp_path / "data")


def test_a_damaged_file_is_refused_with_its_place(small, tmp_path):
    (tmp_path / "bars.csv").write_text(
        "1584007200000,8000,8010,NaN,8005,1,1584007259999,1,1,1,1,0\n"
    )
    path = small()
    path.write_text(with_file(path, "bars.csv"))
    with pytest.raises(ScenarioError) as caught:
        list(market_commands(load_scenario(path)))
    assert str(caught.value).startswith("small.toml: $.prices.files[0]: bars.csv: line 1: low: ")


@pytest.mark.parametrize(
    ("kind", "role", "message"),
    [
        ("zzz", "index", "expected a kind of klines, "),
        ("klines", "depth", "expected as = index or mark for klines, got 'depth'"),
    ],
)
def test_an_importer_that_does_not_fit_is_refused(small, kind, role, message):
    path = small()
    path.write_text(with_file(path, "x.csv", kind, role))
    assert refusal(path).startswith(f"small.toml: $.prices.files[0].kind: {message}")
