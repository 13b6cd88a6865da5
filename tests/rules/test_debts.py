"""Debts that come about outside a liquidation: a delivery, funding, a fee.

Every number here is ours.
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
    seed bob -10 @ 100
"""
TWO_RULES = pytest.mark.parametrize("rule", ["debt", "negative_left"])


@TWO_RULES
def test_a_delivery_beyond_the_wallet_is_a_debt(exchange: Venue, rule: str):
    """R132. Delivered at 85 Alice has lost 150 of her 100: she owes 50, without a liquidation."""
    exchange.play(f"given losses.residual = {rule}").play(START).play("""
        deliver 85
        expect event DEBT_LEFT alice amount 50
        expect no event LIQUIDATION_STARTED
        expect alice wallet -50
    """)


@TWO_RULES
def test_the_fund_pays_first(exchange: Venue, rule: str):
    """R132, R86. 30 are in the fund: 20 are owed."""
    exchange.play(f"given losses.residual = {rule}").play(START).play("""
        deposit fund 30
        deliver 85
        expect event SHORTFALL alice amount 30
        expect event DEBT_LEFT alice amount 20
        expect fund wallet 0
    """)


def test_what_is_owed_is_told_again_when_it_grows(exchange: Venue):
    """R132. 50 are owed; a deposit of 20 leaves 30, which is no news."""
    exchange.play("given losses.residual = debt").play(START).play("""
        deliver 85
        expect event DEBT_LEFT alice amount 50
        deposit alice 20
        expect events DEPOSITED
        expect alice wallet -30
        clock
        expect events
    """)


def test_collateral_is_sold_first(exchange: Venue):
    """R132, R110. Alice holds an asset worth 30 after its haircut; Bob bids the mark for it."""
    exchange.play("""
        given losses.residual = debt
        given collateral 0
    """).play(
        """
        index 100
        in market 2
        index 10
        in market 1
        open alice
        open bob
        deposit alice 100
        deposit bob 100000
        leverage bob 2
        asset alice 3
        seed alice 10 @ 100
        seed bob -10 @ 100
        deliver 85
        expect event DEBT_LEFT alice amount 20
        expect alice wallet -20
    """.replace("asset alice 3", "in market 2\nasset alice 3\nin market 1")
    )


def test_elsewhere_the_fund_takes_it_through_a_liquidation(exchange: Venue):
    """R73, R86. Where nobody is left owing, a negative balance is liquidated as before."""
    exchange.play("given losses.residual = fund").play(START).play("""
        deliver 85
        expect event LIQUIDATION_STARTED alice
        expect event BAD_DEBT alice amount 50
        expect no event DEBT_LEFT
    """)


def test_an_isolated_loss_beyond_its_margin_is_taken_from_the_wallet_first(exchange: Venue):
    """R103. Ten lots sold 400 below their margin: the wallet has 150, so 250 are owed."""
    exchange.play("""
        given losses.residual = debt
        given steps = all limit none
    """).play("""
        index 100
        open alice
        open bob
        deposit alice 250
        deposit bob 100000
        leverage bob 2
        seed alice 10 @ 100 isolated 100
        buy bob 10 @ 50
        mark 94
        expect event DEBT_LEFT alice amount 250
        expect alice wallet -250
    """)
