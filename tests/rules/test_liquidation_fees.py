"""The fee of a liquidation: what it is taken of, what bounds it, who has it.

Alice holds ten lots at 100 with a wallet of 100; at mark 94 she has 40 against 47 and her
bankruptcy price is 90. Every number here is ours.
"""

import pytest
from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit alice 100
    deposit bob 100000
    leverage bob 2
    seed alice 10 @ 100
"""


@pytest.mark.parametrize(
    ("cap", "fee", "left"), [("equity", "18.8", "69.2"), ("surplus", "8", "80")]
)
def test_a_fee_may_be_at_most_what_the_fills_brought(
    exchange: Venue, cap: str, fee: str, left: str
):
    """R79, R115. Two lots at 94, a fee of 10 %: 18.80 of 188. Above the bankruptcy price they
    brought 2 * 4. Then eight are taken over at 94 less a share of what is left."""
    exchange.play(f"given liquidation.fee_cap = {cap}").play("""
        given steps = chunk chunk_lots 2 pause_ns 1s
        given market.liquidation_fee_ppm = 100000

    """).play(START).play(f"""
        buy bob 10 @ 94
        mark 94
        expect event LIQUIDATION_FEE alice amount {fee}
        expect fund wallet {fee}
        expect alice wallet {left}
    """)


def test_what_the_fills_brought_too_little_the_fund_pays_at_once(exchange: Venue):
    """R79. Ten lots at 85, 50 below the bankruptcy price: no fee, and 50 from the fund."""
    exchange.play("""
        given liquidation.fee_cap = surplus
        given steps = all limit none
        given market.liquidation_fee_ppm = 10000
    """).play(START).play("""
        deposit fund 60
        buy bob 10 @ 85
        mark 94
        expect event FILL.LIQUIDATION alice lots -10 price 85 amount -150
        expect event SHORTFALL alice amount 50
        expect no event LIQUIDATION_FEE
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount 0
        expect fund wallet 10
    """)


def test_also_when_the_domain_has_something_left(exchange: Venue):
    """R79. Five lots at 85, 25 below: the fund pays that, and with five lots 20 are left."""
    exchange.play("""
        given liquidation.fee_cap = surplus
        given steps = chunk chunk_lots 5 limit none pause_ns 1s
    """).play(START).play("""
        deposit fund 60
        buy bob 5 @ 85
        mark 94
        expect event SHORTFALL alice amount 25
        expect event LIQUIDATION_ENDED.PAUSED alice amount 20
    """)


def test_the_surplus_of_a_short_is_below_its_bankruptcy_price(exchange: Venue):
    """R79. Short ten at 100 with 100: at 105 50 are left against 55, bankrupt at 110. Bought at
    108 that is 20 better; 3 % of 1 080 would be 32.40."""
    exchange.play("""
        given liquidation.fee_cap = surplus
        given market.liquidation_fee_ppm = 30000
    """).play(START.replace("seed alice 10", "seed alice -10")).play("""
        sell bob 10 @ 108
        mark 105
        expect event LIQUIDATION_FEE alice amount 20
        expect alice wallet 0
    """)


@pytest.mark.parametrize(
    ("rate", "fee"),
    [
        ("50000", "22.33"),  # faded to 2.375 % of 940: 22.325, rounded up
        ("10000", "9.4"),  # the full rate is less
    ],
)
def test_a_faded_fee(exchange: Venue, rate: str, fee: str):
    """R79, R115. Wallet 83.50: 23.50 at 94, and 23.50 short, 2.5 % of 940. Closing frees 5 %: of
    the other 2.5 % the fee has at most 0.95, 2.375 %."""
    exchange.play(f"""
        given liquidation.fee_cap = faded
        given market.liquidation_fee_ppm = {rate}
    """).play(START.replace("deposit alice 100", "deposit alice 83.5")).play(f"""
        buy bob 10 @ 94
        mark 94
        expect event LIQUIDATION_FEE alice amount {fee}
    """)


def test_a_faded_fee_is_of_the_notional_at_mark(exchange: Venue):
    """R79. Sold at 93, below mark 94: still 1 % of 940."""
    exchange.play("""
        given liquidation.fee_cap = faded
        given market.liquidation_fee_ppm = 10000
    """).play(START.replace("deposit alice 100", "deposit alice 83.5")).play("""
        buy bob 10 @ 93
        mark 94
        expect event FILL.LIQUIDATION alice price 93
        expect event LIQUIDATION_FEE alice amount 9.4
    """)


def test_a_faded_fee_is_nothing_when_closing_everything_is_not_enough(exchange: Venue):
    """R115. Wallet 60: nothing is left at 94, 47 are short, all of the 5 %."""
    exchange.play("""
        given liquidation.fee_cap = faded
        given market.liquidation_fee_ppm = 10000
    """).play(START.replace("deposit alice 100", "deposit alice 60")).play("""
        buy bob 10 @ 95
        mark 94
        expect event FILL.LIQUIDATION alice price 95
        expect no event LIQUIDATION_FEE
    """)


def test_the_venue_may_have_the_fee(exchange: Venue):
    """R79."""
    exchange.play("""
        given liquidation.fee_to = venue
        given market.liquidation_fee_ppm = 10000
    """).play(START).play("""
        buy bob 10 @ 92
        mark 94
        expect event VENUE_FEE alice amount 9.2
        expect no event LIQUIDATION_FEE
        expect fees wallet 9.2
        expect fund wallet 0
        expect alice wallet 10.8
    """)
