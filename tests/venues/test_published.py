"""The published examples, driven through both implementations.

A liquidation price is found by bisection: a new exchange for every probed mark, and the question
whether LIQUIDATION_STARTED appears. The state is built from seeded positions and deposits.
"""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from notation import Venue
from published import NOT_ENGINE_RULES, PUBLISHED
from small_venues import LINEAR, raw_profile

from engine.constants import PPB, AdlScore, CommandKind, EventKind
from engine.reference.policies import score
from engine.venue import load_venue, market_numbers

BTC_2021 = PUBLISHED["binance.cum.table.btcusdt.2021-03"]
# ETHUSDT tiers of the same time, of which the amount 135 365 of the examples is the sixth.
ETH_2021 = {
    "tier_floor": [0, 10_000, 100_000, 500_000, 1_000_000, 2_000_000],
    "mmr": [0.005, 0.0065, 0.01, 0.02, 0.05, 0.1],
}


def tiers(floors: list, rates: list, leverages: list | None = None) -> list[dict]:
    """Tier tables of a profile; leverage as high as the rate allows unless given."""
    bounds = [*floors[1:], floors[-1] * 2 or 10**9]
    made = []
    for place, (bound, rate) in enumerate(zip(bounds, rates, strict=True)):
        ppm = int(Decimal(str(rate)) * 10**6)
        highest = min(125, 10**6 // ppm)
        made.append(
            {
                "notional_to": str(Decimal(str(bound))),
                "leverage_max": leverages[place] if leverages else highest,
                "maintenance_ppm": ppm,
            }
        )
    return made


def venue(implementation: str, *markets: dict, money_decimals: int = 6) -> Venue:
    """A venue with these markets, each the small one with changes."""
    made = Venue(implementation)
    made.raw["settlement"]["decimals"] = money_decimals
    base = made.raw["markets"][0]
    common = {"price_decimals": 2, "tick": "0.01", "lot": "0.001", "price_max": "160000"}
    common |= {"open_interest_lots_max": 10**8, "leverage_default": 1}
    made.raw["markets"] = [{**base, **common, **market} for market in markets]
    made.start()
    return made


def units(value: float, decimals: int) -> int:
    """A published number as a whole number of units; it must be one."""
    scaled = Decimal(str(value)).scaleb(decimals)
    assert scaled == int(scaled)
    return int(scaled)


class Probe:
    """An account with one or two positions, built anew for every mark that is tried."""

    def __init__(self, implementation: str, markets: list[dict], decimals: int, money: int) -> None:
        self.implementation, self.markets = implementation, markets
        self.decimals, self.money_decimals = decimals, money

    def lots(self, quantity: float, market: dict) -> int:
        return int(Decimal(str(quantity)) / Decimal(market.get("lot", "0.001")))

    def is_liquidated(self, example: dict, mark: int) -> bool:
        """Whether the account is liquidated when the first market's mark is `mark`."""
        made = venue(self.implementation, *self.markets, money_decimals=self.money_decimals)
        made.play("open alice")
        made.send(
            kind=CommandKind.DEPOSIT,
            account_id=16,
            amount=units(example["wallet_balance"], self.money_decimals),
        )
        legs = [(1, example["side"], example["qty"], example["entry_price"], None)]
        if len(self.markets) == 2:
            other = [example[f"other_{name}"] for name in ("side", "qty", "entry", "mark")]
            legs.append((2, *other))
        for market_id, side, quantity, entry, at in legs:
            entry = units(entry, self.decimals)
            made.send(kind=CommandKind.INDEX, market_id=market_id, price=entry)
            made.send(
                kind=CommandKind.SEED_POSITION,
                account_id=16,
                market_id=market_id,
                lots=side * self.lots(quantity, self.markets[market_id - 1]),
                price=entry,
            )
            if at is not None:
                made.send(kind=CommandKind.MARK, market_id=2, price=units(at, self.decimals))
        assert not any(made.events["kind"] == EventKind.LIQUIDATION_STARTED)
        made.send(kind=CommandKind.MARK, market_id=1, price=mark)
        return bool(any(made.events["kind"] == EventKind.LIQUIDATION_STARTED))

    def liquidation_price(self, example: dict) -> Decimal:
        """The first mark, from the entry price on, at which liquidation starts."""
        good = units(example["entry_price"], self.decimals)
        bad = 1 if example["side"] == 1 else good * 8 // 5
        while abs(good - bad) > 1:
            middle = (good + bad) // 2
            if self.is_liquidated(example, middle):
                bad = middle
            else:
                good = middle
        return Decimal(bad).scaleb(-self.decimals)


def agrees(found: Decimal, name: str, field: str) -> None:
    expected, tolerance = PUBLISHED[name][1][field], PUBLISHED[name][2]
    assert abs(found - Decimal(str(expected))) <= Decimal(str(tolerance)), (name, found, expected)


BTC = {"tiers": tiers(floors=BTC_2021[0]["tier_floor"], rates=BTC_2021[0]["mmr"])}
ETH = {"tiers": tiers(ETH_2021["tier_floor"], ETH_2021["mmr"])}


@pytest.fixture(params=["rulebook", "core"])
def implementation(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize(
    ("name", "markets"),
    [
        ("binance.liq.isolated.eth_long", [ETH]),
        ("binance.liq.cross.eth_long.two_positions", [ETH, BTC]),
        ("binance.liq.cross.btc_long.two_positions", [BTC, ETH]),
    ],
)
def test_liquidation_prices_of_a_faq_account(implementation: str, name: str, markets: list[dict]):
    """R31, R36, R37, R73."""
    markets = [{**market, "symbol": f"M{place}"} for place, market in enumerate(markets)]
    probe = Probe(implementation, markets, 2, 6)
    agrees(probe.liquidation_price(PUBLISHED[name][0]), name, "liquidation_price")


def test_liquidation_price_of_a_cross_short(implementation: str):
    """R37, R73. The other position is made so that it needs 1.30 and is 0.47 ahead: 130.00 of
    notional at a rate of 1 %, bought for 129.53."""
    name = "binance.liq.cross.btc_short.2020"
    example = PUBLISHED[name][0]
    other = {"other_side": 1, "other_qty": 1.0, "other_entry": 129.53, "other_mark": 130.0}
    first = {"symbol": "M0", "tiers": tiers([0], [example["mmr"]])}
    second = {"symbol": "M1", "lot": "1", "tiers": tiers([0], [0.01]), "price_max": "1600"}
    second["open_interest_lots_max"] = 10**6
    probe = Probe(implementation, [first, second], 2, 6)
    agrees(probe.liquidation_price(example | other), name, "liquidation_price")


@pytest.mark.parametrize(
    "name", ["binance.liq.isolated.short5x.toy", "binance.liq.isolated.long5x.toy"]
)
def test_liquidation_prices_to_nine_decimals(implementation: str, name: str):
    """R31, R73. An amount of 0.01 at 1 % comes from a first tier of 0.5 % up to 2."""
    last = {"notional_to": "1000", "leverage_max": 100, "maintenance_ppm": 10_000}
    market = {
        "symbol": "M0",
        "lot": "1",
        "price_decimals": 12,
        "tick": "0.000001",
        "price_max": "16",
        "open_interest_lots_max": 1_000,
        "tiers": [*tiers([0, 2], [0.005, 0.01])[:1], last],
    }
    made = venue(implementation, market, money_decimals=12)
    assert made.numbers[0].tier_deduction == (0, units(PUBLISHED[name][0]["cum"], 12))
    probe = Probe(implementation, [market], 12, 12)
    agrees(probe.liquidation_price(PUBLISHED[name][0]), name, "liquidation_price")


@pytest.mark.parametrize("which", ["eth_long", "btc_long"])
def test_margin_and_profit_of_the_other_position(implementation: str, which: str):
    """R31, R36. With nothing else and no money, the first event of its liquidation says both."""
    name = f"binance.liq.cross.{which}.two_positions"
    example = PUBLISHED[name][0]
    market = {"eth_long": BTC, "btc_long": ETH}[which]
    made = venue(implementation, market)
    made.play(f"index {example['other_mark']}\nopen alice")
    lots = int(Decimal(str(example["other_qty"])) * 1_000)
    made.play(f"seed alice {lots} @ {example['other_entry']}")
    started = made.events[made.events["kind"] == EventKind.LIQUIDATION_STARTED][0]
    agrees(Decimal(int(started["fee"])).scaleb(-6), name, "tmm_other")
    agrees(Decimal(int(started["amount"])).scaleb(-6), name, "upnl_other")


@pytest.mark.parametrize("when", ["2021-03", "2024-10"])
def test_maintenance_amounts_of_a_table(when: str):
    """R31. What the venue prints beside every tier, to the unit."""
    example, expected, *_ = PUBLISHED[f"binance.cum.table.btcusdt.{when}"]
    made = venue("rulebook", {"tiers": tiers(example["tier_floor"], example["mmr"])})
    assert [amount // 10**6 for amount in made.numbers[0].tier_deduction] == expected["cum"]


def test_the_shipped_profile_has_the_published_table():
    """R31, R33. Floors, rates, leverages and amounts of BTCUSDT in October 2024."""
    example, expected, *_ = PUBLISHED["binance.cum.table.btcusdt.2024-10"]
    profile = load_venue("binance_usdm")
    numbers = market_numbers(profile, profile.markets[profile.market_id("BTCUSDT") - 1])
    unit = 10**profile.settlement.decimals
    assert [0, *(bound // unit for bound in numbers.tier_to[:-1])] == example["tier_floor"]
    assert [rate / 10**6 for rate in numbers.tier_maintenance_ppm] == example["mmr"]
    assert list(numbers.tier_leverage_max) == example["max_leverage"]
    assert [amount // unit for amount in numbers.tier_deduction] == expected["cum"]


def test_the_maintenance_amount_of_a_coin_margined_tier():
    """R31. An amount of 0.56 before it comes from 0.5 % up to 28 coin."""
    example, expected, *_ = PUBLISHED["binance.coinm.cum.level5"]
    rates = [0.005, example["mmr_prev"], example["mmr_n"]]
    raw = raw_profile(LINEAR)["markets"][0]
    made = venue(
        "rulebook",
        {**raw, "payoff": "inverse", "lot": "100", "price_decimals": 0, "tick": "1",
         "price_min": "100", "price_max": "100000", "open_interest_lots_max": 50_000,
         "tiers": tiers([0, 28, example["floor_n"]], rates)},
        money_decimals=8,
    )  # fmt: skip
    before, amount = made.numbers[0].tier_deduction[1:]
    assert before == units(example["cum_prev"], 8)
    assert amount == units(expected["cum_n"], 8)


def test_the_funding_adjusted_index(exchange: Venue):
    """R51. The last price far above makes the median the higher of the two other prices."""
    example, expected, *_ = PUBLISHED["binance.mark.price1.2020"]
    exchange.play(f"""
        given mark.source = median
        given market.price_decimals = 1
        at 1s
        index {example["index_price"]}
        funding {int(Decimal(str(example["funding_rate"])) * 10**6)} ppm
        wait {example["funding_interval"] - example["time_until_funding"]}h
        last {2 * example["index_price"]}
        expect mark {expected["price_1"]}
    """)


def test_the_score_of_a_winner():
    """R82. 500 / 1 000 * 75 / 1 500."""
    example, expected, *_ = PUBLISHED["binance.adl.score.winner"]
    found = score(
        AdlScore.WALLET_PCT_MARGIN_RATIO,
        profit_quote=example["unrealized_profit"],
        wallet_quote=example["wallet_balance"],
        entry_value_quote=1,
        initial_quote=1,
        position_quote=1,
        gains_with_value=True,
        notional_quote=1,
        maintenance_quote=example["maintenance_margin"],
        equity_quote=example["wallet_balance"] + example["unrealized_profit"],
    )
    assert Decimal(found) / PPB == Decimal(str(expected["leverage_pnl"]))


def test_the_funds_inventory_limit(exchange: Venue):
    """R80, R81. Holding 900 000 of 1 000 000, it refuses 150 000 more; deleveraging takes them."""
    example, *_ = PUBLISHED["binance.fund.inventory_cap"]
    held, more = example["fund_net_notional"] // 100, example["incoming_notional"] // 100
    exchange.play(f"""
        given market.open_interest_lots_max = 100000
        index 100
        open alice
        open bob
        open carol
        deposit carol 100000
        deposit fund {example["fund_balance"]}
        seed carol -{more} @ 100
        seed alice {held} @ 100
        expect event FILL.TAKEOVER alice lots -{held} price 100
        seed bob {more} @ 100
        expect event TAKEOVER_REFUSED.INVENTORY_FULL bob lots {more} price 100
        expect event FILL.ADL carol lots {more} price 100
        expect fund long {held}
    """)


@pytest.mark.realdata
def test_the_table_is_that_of_the_shared_file(shared_data: Path):
    """Every example of this venue is here, with the same numbers, tolerance and source."""
    path = shared_data.parent / "vectors" / "worked_examples.json"
    if not path.is_file():
        pytest.skip("no worked examples in ../shared/vectors")
    theirs = {
        vector["id"]: vector
        for vector in json.loads(path.read_text())["vectors"]
        if vector["id"].startswith("binance.")
    }
    assert set(theirs) == set(PUBLISHED) | NOT_ENGINE_RULES

    def plain(fields: dict) -> dict:
        return {name: field["value"] for name, field in fields.items()}

    for name, (inputs, expected, tolerance, source) in PUBLISHED.items():
        vector = theirs[name]
        assert plain(vector["inputs"]) == inputs, name
        assert plain(vector["expected"]) == expected, name
        assert (vector["tolerance"]["abs"], vector["source"]) == (tolerance, source), name
