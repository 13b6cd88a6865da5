"""The profiles that ship: each says what its sources say, and every field has its evidence."""

import re
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from engine import catalogue, venue
from engine import constants as c
from engine.profile import VenueProfile
from engine.venue import MarketNumbers, load_venue, market_numbers, policy_numbers, shipped_venues

VENUES = shipped_venues()
WANTED = {
    *("binance_usdm", "binance_coinm", "bybit_linear", "bybit_inverse", "okx_linear"),
    *("okx_inverse", "deribit", "deribit_usdc", "kraken_coin", "kraken_multi", "bitmex"),
    *("hyperliquid", "dydx_v4", "drift_v2", "okex_classic", "58coin", "huobi_dm", "bitflyer"),
    *("dmm", "cryptocom", "gmx_v2", "synthetix_v3"),
}
MILLION = 1_000_000
HOUR, MINUTE, SECOND = 3_600 * 10**9, 60 * 10**9, 10**9


def at(name: str, symbol: str) -> MarketNumbers:
    """A market of a shipped profile in integers."""
    profile = load_venue(name)
    return market_numbers(profile, profile.markets[profile.market_id(symbol) - 1])


def tier(numbers: MarketNumbers, size: int) -> int:
    """The tier (from 1) of a size; upper bounds are inclusive."""
    return 1 + sum(size > bound for bound in numbers.tier_to)


def rates(name: str, symbol: str, size: int) -> tuple[Fraction, Fraction]:
    """Maintenance and initial rate of a size: in lots, or in the unit that selects the tier."""
    numbers = at(name, symbol)
    index = tier(numbers, size) - 1
    slope = Fraction(-(-size * numbers.slope_ppb // numbers.slope_unit), c.PPB)
    maintenance = Fraction(numbers.tier_maintenance_ppm[index], c.PPM)
    return maintenance + slope, Fraction(numbers.tier_initial_ppm[index], c.PPM) + slope


def maintenance(name: str, symbol: str, notional: int) -> Fraction:
    """Maintenance margin of a notional in whole settlement money, with the deduction."""
    numbers, unit = at(name, symbol), 10 ** load_venue(name).settlement.decimals
    index = tier(numbers, notional * unit) - 1
    rate = Fraction(numbers.tier_maintenance_ppm[index], c.PPM)
    return notional * rate - Fraction(numbers.tier_deduction[index], unit)


def deductions(name: str, symbol: str) -> list[Fraction]:
    unit = 10 ** load_venue(name).settlement.decimals
    return [Fraction(amount, unit) for amount in at(name, symbol).tier_deduction]


def scaled_initial(name: str, symbol: str, interest: int) -> Fraction:
    """The initial rate at an open interest in whole settlement money."""
    numbers, unit = at(name, symbol), 10 ** load_venue(name).settlement.decimals
    base = Fraction(numbers.tier_initial_ppm[0], c.PPM)
    low, high = Fraction(numbers.scaling_from, unit), Fraction(numbers.scaling_to, unit)
    return base + (1 - base) * min(1, max(0, (interest - low) / (high - low)))


def step(name: str, index: int = 0):
    return load_venue(name).liquidation.steps[index]


def exactly(*numbers: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(number) for number in numbers)


BINANCE_BTC = [
    *(0, 50, 950, 11450, 131450, 481450),
    *(2981450, 14481450, 26481450, 41481450, 121481450, 421481450),
]
BINANCE_ETH = [
    *(0, 50, 950, 11450, 131450, 381450),
    *(2006450, 9506450, 17506450, 27506450, 80506450, 280506450),
]
BYBIT_BTC = [
    *(0, 1200, 3020, 4300, 5820, 8460, 15460, 20500, 46000, 66000, 80000, 160000, 300000),
    *(452000, 502000, 777000, 837000, 967000, 1107000, 1482000, 1882000, 2307000, 2757000),
    *(3232000, 3732000, 5307000, 6407000, 6982000, 9382000, 12382000, 20382000, 50382000),
    *(98382000, 146382000, 226382000),
]
BYBIT_BTC_INITIAL = [
    *(10000, 11100, 12500, 13300, 14300, 15400, 18200, 20000, 22200, 25000, 28600, 33300),
    *(40000, 50000, 52600, 55600, 58800, 62500, 66700, 71400, 76900, 83300, 90900, 100000),
    *(111100, 125000, 142900, 166700, 200000, 250000, 333300, 500000, 699300, 781300, 1000000),
]
# Sentence of a source, what the profile makes of it, what the source says.
FACTS = {
    "binance_usdm: maintenance amounts of the twelve BTCUSDT tiers of October 2024": (
        lambda: deductions("binance_usdm", "BTCUSDT"),
        BINANCE_BTC,
    ),
    "binance_usdm: maintenance amounts of the twelve ETHUSDT tiers of October 2024": (
        lambda: deductions("binance_usdm", "ETHUSDT"),
        BINANCE_ETH,
    ),
    "binance_usdm: liquidation fee 0.3 % for BTCUSDT and 0.5 % for others": (
        lambda: [at("binance_usdm", s).liquidation_fee_ppm for s in ("BTCUSDT", "ETHUSDT")],
        [3_000, 5_000],
    ),
    "binance_coinm: maintenance amounts of levels 4 and 5 are 0.56 and 1.81 BTC": (
        lambda: tuple(deductions("binance_coinm", "BTCUSD_PERP")[3:5]),
        exactly("0.56", "1.81"),
    ),
    "binance_coinm: 125x up to 10 BTC, 20x up to 50 BTC, 10x up to 100 BTC": (
        lambda: [
            at("binance_coinm", "BTCUSD_PERP").tier_leverage_max[
                tier(at("binance_coinm", "BTCUSD_PERP"), coins * 10**8) - 1
            ]
            for coins in (10, 50, 100)
        ],
        [125, 20, 10],
    ),
    "bybit_linear: deductions of the 35 BTCUSDT risk limits": (
        lambda: deductions("bybit_linear", "BTCUSDT"),
        BYBIT_BTC,
    ),
    "bybit_linear: initial rates of the 35 BTCUSDT risk limits": (
        lambda: list(at("bybit_linear", "BTCUSDT").tier_initial_ppm),
        BYBIT_BTC_INITIAL,
    ),
    "bybit_linear: 2,000,000 USDT needs 0.5 %, 2,600,000 needs 0.56 %, bounds are inclusive": (
        lambda: tuple(rates("bybit_linear", "BTCUSDT", n * 10**5 * 10**6)[0] for n in (20, 21, 26)),
        exactly("0.005", "0.0056", "0.0056"),
    ),
    "bybit_inverse: taker fee 0.075 %, maintenance on the entry value": (
        lambda: (
            at("bybit_inverse", "BTCUSD").taker_fee_ppm,
            load_venue("bybit_inverse").margin.tier_by,
        ),
        (750, "entry_value"),
    ),
    "okx_linear: 20,000 ETHUSDT contracts are in tier 4 with 1.5 % and 2 %": (
        lambda: (
            tier(at("okx_linear", "ETH-USDT-SWAP"), 20_000),
            *rates("okx_linear", "ETH-USDT-SWAP", 20_000),
        ),
        (4, *exactly("0.015", "0.02")),
    ),
    "okx_linear: funding is capped at 0.375 % for BTC and at 0.75 % for most others": (
        lambda: [at("okx_linear", s).funding_cap_ppb for s in ("BTC-USDT-SWAP", "ETH-USDT-SWAP")],
        [3_750_000, 7_500_000],
    ),
    "okx_inverse: from tier 3 on two tiers down, looked at again after a minute": (
        lambda: (
            step("okx_inverse").from_tier,
            step("okx_inverse").tiers_down,
            step("okx_inverse").pause_ns,
        ),
        (3, 2, MINUTE),
    ),
    "deribit_usdc: 25 BTC at 100,000 need 2.125 % and 1.125 %": (
        lambda: rates("deribit_usdc", "BTC_USDC-PERPETUAL", 25_000),
        exactly("0.01125", "0.02125"),
    ),
    "deribit_usdc: 350 BTC need 3.75 % initial margin": (
        lambda: rates("deribit_usdc", "BTC_USDC-PERPETUAL", 350_000)[1],
        Fraction("0.0375"),
    ),
    "deribit_usdc: 25 SOL need 4.0125 % initial margin": (
        lambda: rates("deribit_usdc", "SOL_USDC-PERPETUAL", 250)[1],
        Fraction("0.040125"),
    ),
    "deribit: an inverse position of 25 BTC has the rates of 25 BTC": (
        lambda: rates("deribit", "BTC-PERPETUAL", 25 * 10**8),
        exactly("0.01125", "0.02125"),
    ),
    "deribit: 200 contracts a round, 20 rounds a second, fee 0.75 %": (
        lambda: (
            step("deribit").chunk_lots,
            SECOND // step("deribit").pause_ns,
            at("deribit", "BTC-PERPETUAL").liquidation_fee_ppm,
        ),
        (200, 20, 7_500),
    ),
    "kraken_coin: 4,000,000 contracts are in level IV with 5 % and 10 %": (
        lambda: (
            tier(at("kraken_coin", "PI_XBTUSD"), 4_000_000),
            *rates("kraken_coin", "PI_XBTUSD", 4_000_000),
        ),
        (4, *exactly("0.05", "0.1")),
    ),
    "kraken_coin: 700,000 contracts are in level II with 2 % and 4 %": (
        lambda: (
            tier(at("kraken_coin", "PI_XBTUSD"), 700_000),
            *rates("kraken_coin", "PI_XBTUSD", 700_000),
        ),
        (2, *exactly("0.02", "0.04")),
    ),
    "kraken_multi: tenths first, covered down to 5 % from the best quote": (
        lambda: (
            step("kraken_multi").fraction_ppm,
            load_venue("kraken_multi").losses.covered_band_ppm,
        ),
        (100_000, 50_000),
    ),
    "kraken_multi: 15 million USD of class A need 10 % and 20 %": (
        lambda: rates("kraken_multi", "PF_XBTUSD", 15 * MILLION * 10**6),
        exactly("0.1", "0.2"),
    ),
    "okex_classic: 10 % of the margin at 10x and 20 % at 20x are 1 % of the value": (
        lambda: (rates("okex_classic", "BTC0928", 10**8)[0], Fraction(10, 100) / 10),
        exactly("0.01", "0.01"),
    ),
    "bitmex: 180 XBT need 0.5 % and 1 %, which is 0.9 XBT of maintenance": (
        lambda: (*rates("bitmex", "XBTUSD", 180 * 10**8), maintenance("bitmex", "XBTUSD", 180)),
        exactly("0.005", "0.01", "0.9"),
    ),
    "bitmex: 230 XBT are one step above the base, 1 % and 1.5 %": (
        lambda: rates("bitmex", "XBTUSD", 230 * 10**8),
        exactly("0.01", "0.015"),
    ),
    "bitmex: one ETHUSD contract is worth 100 satoshi a dollar": (
        lambda: at("bitmex", "ETHUSD").unit_quote * 10**2,
        100,
    ),
    "hyperliquid: 200 million of BTC need 3,125,000 after a deduction of 1,875,000": (
        lambda: (
            deductions("hyperliquid", "BTC")[1],
            maintenance("hyperliquid", "BTC", 200 * MILLION),
        ),
        (1_875_000, 3_125_000),
    ),
    "hyperliquid: 10,000 of a 20x asset need 250": (
        lambda: maintenance("hyperliquid", "SOL", 10_000),
        250,
    ),
    "hyperliquid: a fifth above 100,000 USDC, then all for 30 s; the vault below two thirds": (
        lambda: (
            step("hyperliquid").fraction_ppm,
            policy_numbers(load_venue("hyperliquid")).steps[0].above_quote,
            step("hyperliquid").once_in_ns,
            load_venue("hyperliquid").trigger.backstop_ppm,
        ),
        (200_000, 100_000 * 10**6, 30 * SECOND, 666_666),
    ),
    "dydx_v4: large-cap 2 % and 1.2 %, isolated 5 % and 3 %": (
        lambda: (*rates("dydx_v4", "BTC-USD", 1), *rates("dydx_v4", "ISO-USD", 1)),
        exactly("0.012", "0.02", "0.03", "0.05"),
    ),
    "dydx_v4: a small-cap's initial rate is 55 % at 35 million and 100 % at 60 million": (
        lambda: tuple(scaled_initial("dydx_v4", "SOL-USD", n * MILLION) for n in (20, 35, 60)),
        exactly("0.1", "0.55", "1"),
    ),
    "dydx_v4: six times initial less maintenance bound an 8 h funding rate": (
        lambda: [at("dydx_v4", s).funding_cap_ppb for s in ("BTC-USD", "SOL-USD", "ISO-USD")],
        [48_000_000, 300_000_000, 120_000_000],
    ),
    "dydx_v4: a tenth, at least 1,000 USDC, spread ratio 1.5, fee 1.5 % at most": (
        lambda: (
            step("dydx_v4").fraction_ppm,
            step("dydx_v4").floor,
            step("dydx_v4").limit_ppm,
            at("dydx_v4", "BTC-USD").liquidation_fee_ppm,
        ),
        (100_000, "1000", 1_500_000, 15_000),
    ),
    "drift_v2: leaves liquidation 2 % above maintenance, lifetime cap 100 million": (
        lambda: (
            load_venue("drift_v2").trigger.exit_buffer_ppm,
            policy_numbers(load_venue("drift_v2")).fund_cap_quote,
        ),
        (20_000, 100 * MILLION * 10**6),
    ),
    "okex_classic: netted over the tenors of a coin, 58coin: contract by contract": (
        lambda: [load_venue(n).losses.profit_scope for n in ("okex_classic", "58coin")],
        ["account", "market"],
    ),
    "huobi_dm: both prices, at a ratio of zero or less, with an adjustment factor of 8 %": (
        lambda: (
            load_venue("huobi_dm").trigger.second_price,
            load_venue("huobi_dm").trigger.comparison,
            load_venue("huobi_dm").margin.initial_share_ppm,
        ),
        ("average_last", "at_or_below", 80_000),
    ),
    "bitflyer: from 18:00 to 17:00 the next day; everything below half of required margin": (
        lambda: (
            load_venue("bitflyer").trigger.cure_ns,
            load_venue("bitflyer").margin.initial_share_ppm,
            load_venue("bitflyer").losses.residual,
        ),
        (23 * HOUR, 500_000, "debt"),
    ),
    "dmm: from 06:59 to 05:00 the next day": (
        lambda: load_venue("dmm").trigger.cure_ns,
        22 * HOUR + MINUTE,
    ),
    "cryptocom: enters at maintenance, restricts at initial margin and leaves there": (
        lambda: (load_venue("cryptocom").trigger.restrict, load_venue("cryptocom").trigger.exit),
        ("initial", "initial"),
    ),
    "gmx_v2: closed whole at the oracle price against the pool": (
        lambda: (step("gmx_v2").size, step("gmx_v2").order, load_venue("gmx_v2").losses.waterfall),
        ("all", "transfer", ["pool"]),
    ),
    "synthetix_v3: fees of 0.07 % times 100,000 BTC times 30 s fit in a window": (
        lambda: Fraction(step("synthetix_v3").window_lots, 1_000),
        Fraction("0.0007") * 100_000 * 30,
    ),
}


@pytest.mark.parametrize("sentence", FACTS)
def test_a_profile_says_what_its_source_says(sentence):
    found, published = FACTS[sentence]
    assert found() == published


def test_the_shipped_profiles_are_the_wanted_ones():
    assert set(VENUES) == WANTED
    named = {name for sentence in FACTS for name in re.findall(r"\w+(?=:)", sentence)}
    assert named >= WANTED, f"no fact about {WANTED - named}"


@pytest.fixture(params=VENUES)
def profile(request) -> VenueProfile:
    return load_venue(request.param)


def written(value: Any, path: str) -> Iterator[str]:
    """The path of every leaf a TOML file writes out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from written(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            symbol = inner.get("symbol")
            yield from written(inner, f"{path}.{symbol}" if symbol else f"{path}[{index}]")
    else:
        yield path


# What a profile is, not what it claims of a venue.
IDENTITY = re.compile(
    r"name|as_of|settlement\..*|evidence.*|markets\..*\.(symbol|payoff|contract|price_decimals)"
)


def test_a_profile_loads_under_its_own_name(profile):
    assert profile.name in VENUES
    assert all(market_numbers(profile, market).tier_to for market in profile.markets)


def test_whatever_a_profile_writes_has_evidence(profile):
    path = Path(venue.__file__).parent / "venues" / f"{profile.name}.toml"
    status = {each.path: each.status for each in catalogue.fields(profile)}
    for leaf in written(tomllib.loads(path.read_text(encoding="utf-8")), ""):
        if not IDENTITY.fullmatch(leaf):
            assert status[leaf], f"{profile.name}: {leaf} has no evidence"


def test_whatever_differs_from_the_schema_has_evidence(profile):
    for each in catalogue.fields(profile):
        if not each.default and not IDENTITY.fullmatch(each.path):
            assert each.status, f"{profile.name}: {each.path} has no evidence"


def test_evidence_names_fields_that_exist(profile):
    known = [each.path for each in catalogue.fields(profile)]
    for entry in profile.evidence:
        for path in catalogue.paths(entry, profile):
            found = any(catalogue.covers(path, field) for field in known)
            assert found, f"{profile.name}: evidence for {path}, which is no field"


def test_every_profile_has_evidence_and_says_what_it_assumes(profile):
    assert catalogue.counts(profile)["published"] > 0
    assert catalogue.assumed(profile)
    assert all(each.status == "assumed" for each in catalogue.not_modelled(profile))
    assert len({(each.field, each.source) for each in profile.evidence}) == len(profile.evidence)


def test_contract_units_and_bounds_are_assumed_unless_a_source_gives_them(profile):
    status = {each.path: each.status for each in catalogue.fields(profile)}
    for market in profile.markets:
        for name in ("price_max", "open_interest_lots_max", "leverage_default"):
            assert status[f"markets.{market.symbol}.{name}"] == "assumed"


def test_the_longest_path_decides_and_a_symbol_goes_before_all_markets():
    status = {each.path: each.status for each in catalogue.fields(load_venue("bybit_linear"))}
    assert status["margin.tier_mode"] == "third_party"  # from `margin`
    assert status["margin.close_fee"] == "assumed"
    assert status["markets.BTCUSDT.taker_fee_ppm"] == "third_party"  # `markets.*` says assumed
    assert status["markets.BTCUSDT.maker_fee_ppm"] == "assumed"


def test_a_spread_may_be_wider_than_a_price_and_no_other_limit_may():
    text = (Path(venue.__file__).parent / "venues" / "dydx_v4.toml").read_bytes()
    with pytest.raises(venue.ProfileError, match=r"steps\[0\]\.limit_ppm: expected at most"):
        venue.decode_venue(text.replace(b'"spread"', b'"mark"'), "patched.toml")


def test_a_market_has_the_funding_cap_of_the_venue_unless_it_has_its_own():
    profile = load_venue("binance_usdm")
    caps = {market_numbers(profile, market).funding_cap_ppb for market in profile.markets}
    assert caps == {profile.funding.rate_cap_ppb}
