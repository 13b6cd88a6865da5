"""Single questions to a venue, on made markets and on every venue's own."""

from decimal import Decimal
from fractions import Fraction

import pytest

from engine import calculate
from engine.calculate import CalculateError
from engine.calculate.numbers import Inputs, common_unit, exact, places, written
from engine.calculate.question import deducted_tiers
from engine.venue import load_venue, shipped_venues

LINEAR = {"entry_price": "40000", "wallet_balance": "5000", "qty": "1"}


@pytest.fixture(params=["rulebook", "core"])
def implementation(request) -> str:
    return request.param


# -- numbers ----------------------------------------------------------------------------------


def test_a_float_is_refused_since_it_is_not_what_was_written():
    with pytest.raises(CalculateError, match=r"qty: expected a whole number or decimal text"):
        calculate.liquidation_price("binance_usdm", **(LINEAR | {"qty": 0.1}))
    assert issubclass(CalculateError, ValueError)


@pytest.mark.parametrize("value", ["0.5", Decimal("0.5"), Fraction(1, 2)])
def test_numbers_are_taken_in_every_exact_form(value):
    assert exact(value) == Fraction(1, 2)


@pytest.mark.parametrize("text", ["", "1e", "ten", "nan", "inf", True, None, [1]])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(CalculateError):
        exact(text)


def test_scales_of_numbers():
    assert [places(Fraction(x)) for x in ("0.05", "120", "7")] == [2, -1, 0]
    assert common_unit([Fraction("0.3"), Fraction("0.12")]) == Fraction("0.06")
    assert written(Fraction(2, 3), 4) == "0.6667" and written(Fraction(100)) == "100"


def test_an_input_may_carry_its_unit_and_another_name():
    inputs = Inputs({"mm_rate": {"value": "0.01", "unit": "fraction"}, "side": None})
    assert inputs.get("mmr", "mm_rate") == Fraction(1, 100)
    assert "side" not in inputs
    with pytest.raises(CalculateError, match="qty: expected this input"):
        inputs.get("qty")


def test_two_tiers_leave_exactly_the_amount_that_was_asked_for():
    first, second = deducted_tiers(Fraction("0.1"), Fraction(135365))
    rates = second["maintenance_ppm"] - first["maintenance_ppm"]
    assert first["bound"] * rates / 10**6 == 135365


# -- made markets -----------------------------------------------------------------------------


def test_the_rules_of_a_venue_change_the_price(implementation):
    asked = {**LINEAR, "mmr": "0.01", "taker_fee": "0.001", "implementation": implementation}
    fee = calculate.liquidation_price("okx_linear", **asked)
    none = calculate.liquidation_price("okx_linear", **{**asked, "taker_fee": "0"})
    assert abs(fee - Fraction(35000) / (1 - Fraction("0.011"))) < Fraction(1, 10**6)
    assert abs(none - Fraction(35000) / Fraction("0.99")) < Fraction(1, 10**6)


def test_a_profile_by_its_own_name_is_asked_like_the_venue(implementation):
    asked = {"entry_price": "40000", "leverage": 50, "extra_margin": "3000", "mmr": "0.005"}
    asked |= {"taker_fee": "0.00055", "implementation": implementation}
    prices = [calculate.liquidation_price(name, **asked) for name in ("bybit", "bybit_linear")]
    assert prices[0] == prices[1] and round(float(prices[0]), 2) == 36380.25
    sloped = {"position": 25, "index_price": "100000", "base_rate": "0.01", "slope": "0.00005"}
    sloped["implementation"] = implementation
    assert calculate.maintenance_margin("deribit_usdc", **sloped) == 28125


def test_a_short_and_another_position_of_the_account(implementation):
    asked = {**LINEAR, "side": "short", "mmr": "0.02", "implementation": implementation}
    alone = calculate.liquidation_price("binance_usdm", **asked)
    assert abs(alone - Fraction(45000) / Fraction("1.02")) < Fraction(1, 10**6)
    beside = calculate.liquidation_price("binance_usdm", **asked, tmm_other="102", upnl_other="0")
    assert abs(alone - beside - Fraction(102) / Fraction("1.02")) < Fraction(1, 10**6)


def test_no_mark_liquidates_a_long_that_is_paid_for(implementation):
    asked = LINEAR | {"wallet_balance": "50000", "mmr": "0.01"}
    assert calculate.liquidation_price("binance_usdm", **asked, implementation=implementation) is (
        None
    )


def test_bankruptcy_lies_beyond_liquidation_and_a_fee_brings_it_nearer(implementation):
    asked = {"entry_price": "60000", "leverage": 50, "mmr": "0.005", "qty": "2"}
    asked["implementation"] = implementation
    zero = calculate.bankruptcy_price("bybit_linear", **asked)
    assert zero == 58800 < calculate.liquidation_price("bybit_linear", **asked)
    assert calculate.bankruptcy_price("bybit_linear", **asked, taker_fee="0.001") > zero


@pytest.mark.parametrize(("equity", "breached"), [("499.99", True), ("500", False)])
def test_equity_at_the_requirement_is_not_below_it(equity, breached, implementation):
    asked = {"net_collateral": equity, "maintenance_requirement": "500"}
    found = calculate.is_liquidatable("dydx_v4", **asked, implementation=implementation)
    assert found is breached
    at = calculate.is_liquidatable("bitmex", **asked, implementation=implementation)
    assert at is True


def test_a_debt_without_a_position_is_left_alone_or_dealt_with(implementation):
    asked = {"net_collateral": "-5", "maintenance_requirement": "0"}
    asked["implementation"] = implementation
    assert calculate.is_liquidatable("dydx_v4", **asked) is False
    assert calculate.is_liquidatable("binance_usdm", **asked) is True


def test_a_bankrupt_long_is_closed_against_shorts_by_rank(implementation):
    shorts = [{"account": n, "qty": 3, "rank": rank} for n, rank in ((1, 1), (2, 3), (3, 2))]
    asked = {"shorts": shorts, "liquidated_side": "long", "liquidated_qty": 5}
    found = calculate.adl_fills(
        "bitmex", **asked, bankruptcy_price="650", implementation=implementation
    )
    assert [(each["account"], each["qty"]) for each in found] == [(2, 3), (3, 2)]


def test_the_fund_gains_above_the_bankruptcy_price_and_pays_below_it(implementation):
    asked = {"side": -1, "entry_price": "100", "bankruptcy_price": "101", "qty": 1}
    asked |= {"liquidation_price": "100.5", "implementation": implementation}
    gain = calculate.fund_delta("bitmex", **asked, fill_price="100.75")
    assert gain == Fraction("0.25")
    loss = calculate.fund_delta("bitmex", **asked, fill_price="101.5", fund_before="10")
    assert loss == Fraction("-0.5")


def test_a_fund_pays_before_anybody_shares_a_loss(implementation):
    asked = {"loss": 100, "oi_long": 5, "oi_short": 5, "implementation": implementation}
    found = calculate.socialised_loss("drift_v2", **asked, insurance_vault=60)
    assert (found["long5_pays"], found["short5_pays"]) == (20, 20)


def test_winners_pay_by_their_profit_in_one_contract_or_over_all(implementation):
    asked = {"overloss": 300, "fund": 100, "total_net_profit_of_winners": 1000}
    asked |= {"user_net_profit": 10, "user_net_profit_other_contract": -4}
    asked["implementation"] = implementation
    netted = calculate.socialised_loss("okex_classic", **asked)["user_pays"]
    assert netted == Fraction("1.2")
    assert calculate.socialised_loss("58coin", **asked)["user_pays"] == 2


@pytest.mark.parametrize(
    ("inputs", "rate"),
    [
        ({"premium_rate": "0.001"}, "0.00075"),
        ({"premium_rate": "-0.001"}, "-0.00075"),
        ({"premium_rate": "0.0002"}, "0"),
        ({"premium_rate": "0.9"}, "0.005"),
    ],
)
def test_a_dead_zone_and_a_cap(inputs, rate):
    assert calculate.funding("deribit", **inputs)["funding_rate"] == Fraction(rate)


def test_impact_prices_on_either_side_of_the_index():
    asked = {"impact_bid": "9900", "impact_ask": "9950", "oracle_price": "10000"}
    assert calculate.funding("hyperliquid", **asked)["premium"] == Fraction("-0.005")


def test_the_mark_is_the_median(implementation):
    asked = {"index_price": "100", "implementation": implementation}
    assert calculate.mark_price("binance_usdm", **asked, last_price="90") == 100


# -- every venue's own market -----------------------------------------------------------------


def own(venue: str) -> dict[str, str]:
    """A question in round numbers about the first market of a venue."""
    market = load_venue(venue).markets[0]
    price = Decimal(market.price_max) / 16
    price -= price % Decimal(market.tick)
    size = Decimal(market.lot) * max(10, market.order_lots_min)
    kind = "contracts" if market.payoff == "inverse" else "qty"
    return {kind: f"{size:f}", "entry_price": f"{price:f}", "leverage": "2"}


@pytest.mark.parametrize("venue", shipped_venues())
def test_every_venue_answers_in_its_own_market(venue):
    asked = own(venue)
    price = calculate.liquidation_price(venue, **asked)
    zero = calculate.bankruptcy_price(venue, **asked)
    entry = Fraction(asked["entry_price"])
    assert zero <= price < entry
    assert (
        0 < calculate.maintenance_margin(venue, **asked) <= calculate.initial_margin(venue, **asked)
    )


def test_the_answer_says_which_names_there_are():
    with pytest.raises(CalculateError, match="no profile 'nowhere'; shipped: "):
        calculate.liquidation_price("nowhere", **LINEAR)
    with pytest.raises(CalculateError, match="market: no 'DOGE'"):
        calculate.liquidation_price("binance_usdm", **LINEAR, market="DOGE")
    with pytest.raises(CalculateError, match="topic: expected one of"):
        calculate.ask("weather", "binance_usdm", {})
