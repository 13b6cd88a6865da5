"""Funding: who pays, on which price, and where the rounding goes. Every number here is ours.

Three lots at 101 are 303.00; 100 ppm of it are 0.0303.
"""

from fractions import Fraction

import pytest
from notation import Venue

from engine.calculate.formulas import funding_rate
from engine.profile import Funding

START = """
    at 1s
    index 101
    open alice
    open bob
    deposit alice 1000
    deposit bob 1000
"""
TRADE = """
    sell bob 3 @ 101
    buy alice 3 @ 101
"""


def test_longs_pay_and_rounding_goes_to_its_own_account(exchange: Venue):
    """R60, R61. The long pays 0.04, the short gets 0.03, 0.01 is the residue."""
    exchange.play(START).play(TRADE).play("""
        funding 100 ppm
        expect events FUNDING_PAID FUNDING_PAID FUNDING_SETTLED
        expect event FUNDING_PAID alice lots 3 price 101 amount -0.04
        expect event FUNDING_PAID bob lots -3 amount 0.03
        expect event FUNDING_SETTLED amount 0.01 fee 100000ppb
        expect alice wallet 999.96
        expect bob wallet 1000.03
        expect rounding wallet 0.01
    """)


def test_a_negative_rate_turns_it_round(exchange: Venue):
    """R60. Now the short pays 0.04."""
    exchange.play(START).play(TRADE).play("""
        funding -100 ppm
        expect alice wallet 1000.03
        expect bob wallet 999.96
    """)


def test_an_exact_amount_leaves_no_residue(exchange: Venue):
    """R60. 1 % of 303 is 3.03."""
    exchange.play(START).play(TRADE).play("""
        funding 10000 ppm
        expect alice wallet 996.97
        expect bob wallet 1003.03
        expect rounding wallet 0
    """)


def test_nothing_is_paid_at_rate_zero_or_without_a_position(exchange: Venue):
    """R61."""
    exchange.play(START).play("funding 100 ppm\nexpect events FUNDING_SETTLED").play(TRADE).play(
        "funding 0 ppm\nexpect events FUNDING_SETTLED"
    )


def test_the_price_of_the_instant_comes_first(exchange: Venue):
    """R62. The tick carries price 200: the mark moves, then 600 is charged."""
    exchange.play(START).play(TRADE).play("""
        funding 10000 ppm at 200
        expect events MARK_SET FUNDING_PAID FUNDING_PAID FUNDING_SETTLED
        expect mark 200
        expect index 101
        expect alice wallet 994
    """)


def test_with_a_derived_mark_the_price_is_an_index(exchange: Venue):
    """R62."""
    exchange.play("given mark.source = median").play(START).play(TRADE).play("""
        last 200
        funding 10000 ppm at 200
        expect index 200
        expect alice wallet 994
    """)


def test_isolated_positions_pay_from_their_purse(exchange: Venue):
    """R61. Margin 30.30 at leverage 10, 3.03 paid."""
    exchange.play(START).play("isolated alice").play(TRADE).play("""
        funding 10000 ppm
        expect event FUNDING_PAID alice amount -3.03 flags 8
        expect alice margin 27.27
        expect alice wallet 969.7
    """)


def test_the_health_test_comes_after_the_payment(exchange: Venue):
    """R62, R73. Equity 50 at 1 000 of notional is just enough; 0.01 of funding is too much."""
    exchange.play("""
        index 100
        open alice
        deposit alice 50
        deposit fund 100000
        seed alice 10 @ 100
        expect no event LIQUIDATION_STARTED
        funding 10 ppm
        expect event LIQUIDATION_STARTED alice amount 49.99 fee 50
    """)


def test_accounts_are_paid_in_order_the_venues_own_too(exchange: Venue):
    """R61. Clearing holds the other side of seeds and pays like anybody."""
    exchange.play(START).play("""
        seed bob -2 @ 100
        seed alice -1 @ 100
        funding 10000 ppm
        expect events FUNDING_PAID FUNDING_PAID FUNDING_PAID FUNDING_SETTLED
        expect event FUNDING_PAID clearing lots 3 amount -3.03
        expect alice wallet 1001.01
        expect bob wallet 1002.02
    """)
    assert [int(event["account_id"]) for event in exchange.events[:3]] == [4, 16, 17]


def test_rates_beyond_the_cap_are_refused(exchange: Venue):
    """R62. Cap 2 %."""
    exchange.play(START).play("""
        funding 20001 ppm
        expect rejected RATE_OUT_OF_RANGE
        funding -20001 ppm
        expect rejected RATE_OUT_OF_RANGE
        funding 20000 ppm
    """)


def test_there_is_no_funding_without_a_price(exchange: Venue):
    """R62. Unless the tick brings one."""
    exchange.play("""
        funding 100 ppm
        expect rejected NO_MARK_PRICE
        funding 100 ppm at 100
        expect mark 100
    """)


def test_the_inverse_contract_pays_in_coin(exchange: Venue):
    """R60. Four lots at 10 000 are 0.04 coin; 1 % of it 0.0004."""
    exchange.play("""
        given inverse
        index 10000
        open alice
        deposit alice 1
        seed alice 4 @ 10000
        funding 10000 ppm
        expect alice wallet 0.9996
        expect clearing wallet 0.0004
    """)


def test_funding_may_be_charged_at_the_index(exchange: Venue):
    """R61. Mark 200, index 101: 1 % of 303."""
    exchange.play("given funding.price = index").play(START).play(TRADE).play("""
        mark 200
        funding 10000 ppm
        expect event FUNDING_PAID alice price 101 amount -3.03
        expect event FUNDING_SETTLED price 101
    """)


def test_funding_may_accrue_all_the_time(exchange: Venue):
    """R61. 1 % in eight hours: nothing the first time, half of it after four hours, a quarter
    after two more."""
    exchange.play("given funding.accrual = continuous").play(START).play(TRADE).play("""
        at 1h
        funding 10000 ppm
        expect events FUNDING_SETTLED
        at 5h
        funding 10000 ppm
        expect event FUNDING_PAID alice amount -1.52  -- 1.515
        expect event FUNDING_PAID bob amount 1.51
        at 7h
        funding 10000 ppm
        expect event FUNDING_PAID bob amount 0.75  -- 0.7575
        expect event FUNDING_SETTLED fee 10000000ppb
    """)


def test_a_market_may_have_a_cap_of_its_own(exchange: Venue):
    """R62. 0.1 % instead of the venue's 2 %."""
    exchange.play("given market.funding_cap_ppb = 1000000").play(START).play("""
        funding 1001 ppm
        expect rejected RATE_OUT_OF_RANGE
        funding -1000 ppm
    """)


@pytest.mark.parametrize(
    ("formula", "premium", "rate"),
    [
        ("interest_band", "0.0002", "0.0001"),  # the interest: it is within 0.0005
        ("interest_band", "0.0010", "0.0005"),  # 0.0010 - 0.0005
        ("interest_band", "-0.0010", "-0.0005"),
        ("dead_zone", "0.0002", "0"),
        ("dead_zone", "0.0010", "0.0005"),
        ("dead_zone", "-0.0010", "-0.0005"),
        ("premium", "0.0010", "0.0010"),
    ],
)
def test_a_rate_follows_from_the_premium(formula: str, premium: str, rate: str):
    """R64. Interest 0.0001, a band of 0.0005."""
    rules = Funding(formula=formula, interest_ppb=100_000, band_ppb=500_000)
    assert funding_rate(rules, Fraction(premium)) == Fraction(rate)
