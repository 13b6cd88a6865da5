"""Fees: who pays, on what, and which way they round. Every number here is ours.

Three lots at 101 are 303.00: a fee of 500 ppm is 0.1515.
"""

import pytest
from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit alice 1000
    deposit bob 1000
"""


def test_fees_are_rounded_up(exchange: Venue):
    """R22, R25. Taker 500 ppm: 0.1515 becomes 0.16; maker 200 ppm: 0.0606 becomes 0.07."""
    exchange.play("""
        given market.taker_fee_ppm = 500
        given market.maker_fee_ppm = 200
    """).play(START).play("""
        sell bob 3 @ 101
        buy alice 3 @ 101
        expect event FILL alice fee 0.16 amount 0
        expect event FILL bob fee 0.07 amount 0
        expect alice wallet 999.84
        expect bob wallet 999.93
        expect fees wallet 0.23
    """)


def test_rebates_are_rounded_down(exchange: Venue):
    """R22. Maker -100 ppm: 0.0303 becomes 0.03, and comes out of what the taker paid."""
    exchange.play("""
        given market.taker_fee_ppm = 500
        given market.maker_fee_ppm = -100
    """).play(START).play("""
        sell bob 3 @ 101
        buy alice 3 @ 101
        expect event FILL bob fee -0.03
        expect bob wallet 1000.03
        expect fees wallet 0.13
    """)


def test_each_fill_is_rounded_on_its_own(exchange: Venue):
    """R25. Three fills of one lot: 0.0505 each, 0.06 each, 0.18 together."""
    exchange.play("given market.taker_fee_ppm = 500").play(START).play("""
        sell bob 1 @ 101
        sell bob 1 @ 101
        sell bob 1 @ 101
        buy alice 3 @ 101
        expect alice wallet 999.82
    """)


def test_the_venues_own_accounts_pay_nothing(exchange: Venue):
    """R25. The market maker's level trades free of charge."""
    exchange.play("""
        given market.taker_fee_ppm = 500
        given market.maker_fee_ppm = 200
    """).play(START).play("""
        depth sell 101 x 3
        buy alice 3 @ 101
        expect event FILL maker fee 0 lots -3
        expect fees wallet 0.16
        expect maker wallet 0
    """)


@pytest.mark.parametrize(
    ("ppm", "fee"), [("1", "0.01"), ("0", "0"), ("33", "0.01"), ("34", "0.02")]
)
def test_the_least_fee_is_one_unit(exchange: Venue, ppm: str, fee: str):
    """R22. 303.00 at 33 ppm is 0.009999, at 34 ppm 0.010302."""
    exchange.play(f"given market.taker_fee_ppm = {ppm}").play(START).play(f"""
        sell bob 3 @ 101
        buy alice 3 @ 101
        expect event FILL alice fee {fee}
    """)


def test_the_inverse_contract_pays_in_coin(exchange: Venue):
    """R21, R22. One lot at 30 000 is 0.00333333 coin; 500 ppm are 166.67 units: 167."""
    exchange.play("""
        given inverse
        given market.taker_fee_ppm = 500
    """).play("""
        index 30000
        open alice
        open bob
        deposit alice 1
        deposit bob 1
        sell bob 1 @ 30000
        buy alice 1 @ 30000
        expect event FILL alice fee 0.00000167
        expect alice wallet 0.99999833
    """)
