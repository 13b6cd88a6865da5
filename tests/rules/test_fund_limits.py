"""What the insurance fund may pay: its cap, its drawdown rule, and paying before it is too late.

Alice holds ten lots at 100 with a wallet of 100. Bob bids 50 for ten: sold there she is 400
short. What the fund may not pay she owes, so that the fund's balance is what it paid. Every
number here is ours.
"""

import pytest
from notation import Venue

START = """
    given steps = all limit none
    given losses.residual = debt
    index 100
    open alice
    open bob
    open carol
    deposit alice 100
    deposit bob 100000
    leverage bob 2
    deposit carol 100
    deposit fund 1000
    seed alice 10 @ 100
    seed carol 10 @ 100
    buy bob 20 @ 50
"""


def only_alice() -> str:
    """The same with Carol out of danger for now."""
    return START.replace("deposit carol 100", "deposit carol 1000")


@pytest.mark.parametrize(
    ("rule", "paid", "owed"),
    [
        ("losses.fund_pays = true", "400", ""),
        ("losses.fund_pays = false", "", "400"),
        ("losses.fund_cap = 400", "400", ""),
        ("losses.fund_cap = 399.99", "399.99", "0.01"),
        ("losses.drawdown_ppm = 100000", "100", "300"),
        ("losses.drawdown_ppm = 1000000", "400", ""),
    ],
)
def test_what_the_fund_may_pay(exchange: Venue, rule: str, paid: str, owed: str):
    """R99, R86. Of 1 000: all, nothing, a cap, or no more than a share of its highest balance."""
    exchange.play(f"given {rule}").play(only_alice()).play(f"""
        mark 94
        expect {f"event SHORTFALL alice amount {paid}" if paid else "no event SHORTFALL"}
        expect {f"event DEBT_LEFT alice amount {owed}" if owed else "no event DEBT_LEFT"}
    """)


@pytest.mark.parametrize(("later", "paid"), [("9s", ""), ("10s", "350")])
def test_the_cap_is_for_a_window(exchange: Venue, later: str, paid: str):
    """R99. 350 in ten seconds, all of it for Alice; Carol gets as much when they are over."""
    exchange.play("""
        given losses.fund_cap = 350
        given losses.fund_cap_window_ns = 10s
    """).play(only_alice().replace("deposit carol 1000", "deposit carol 110")).play(f"""
        at 100s
        mark 94
        expect liquidated alice
        expect event SHORTFALL alice amount 350
        wait {later}
        mark 93
        expect liquidated carol
        expect {f"event SHORTFALL carol amount {paid}" if paid else "no event SHORTFALL"}
    """)


def test_a_cap_without_a_window_is_for_ever(exchange: Venue):
    """R99. 400 for Alice, 50 are left for Carol."""
    exchange.play("given losses.fund_cap = 450").play(START).play("""
        mark 94
        expect event SHORTFALL alice amount 400
        expect event SHORTFALL carol amount 50
        expect event DEBT_LEFT carol amount 350
    """)


DRAWDOWN = """
    given losses.drawdown_ppm = 100000
    given losses.drawdown_stop_ppm = 50000
    given losses.drawdown_window_ns = 16s
"""


def test_the_drawdown_rule_begins_and_ends(exchange: Venue):
    """R98, R99. From 1 000 the fund may fall to 900, and then the rule is active. It ends when it
    is less than 5 % below the highest: with 950.01, not with 950."""
    exchange.play(DRAWDOWN).play(only_alice()).play("""
        mark 94
        expect event SHORTFALL alice amount 100
        expect event DRAWDOWN fund reason 1 amount 900 fee 1000
        deposit fund 50
        expect no event DRAWDOWN
        deposit fund 0.01
        expect event DRAWDOWN fund reason 2 amount 950.01 fee 1000
    """)


def test_old_highs_are_forgotten(exchange: Venue):
    """R98. The window has sixteen parts of a second. The balance of 1 000 was seen in the first
    of them; at second 15 it still counts, at second 16 the highest is 900."""
    exchange.play(DRAWDOWN).play(only_alice()).play("""
        mark 94
        expect event DRAWDOWN fund reason 1 amount 900 fee 1000
        at 15s
        clock
        expect events
        at 16s
        clock
        expect event DRAWDOWN fund reason 2 amount 900 fee 900
    """)


def test_no_takeover_while_the_rule_is_active(exchange: Venue):
    """R81, R98. Alice costs the fund 100. Carol, with 110, is at 93 40 above her bankruptcy price
    of 89, at which nobody bids; the fund takes her only when the rule has ended."""
    for back, cause in (("50", "RESIDUAL"), ("50.01", "TAKEOVER")):
        venue = Venue(exchange.implementation)
        venue.play(DRAWDOWN).play("given losses.fund_inventory_ppm = 1000000000").play(
            only_alice().replace("deposit carol 1000", "deposit carol 110").replace("20 @", "10 @")
        ).play(f"""
            mark 94
            expect event SHORTFALL alice amount 100
            deposit fund {back}
            mark 93
            expect event FILL.{cause} carol lots -10 price 89
        """)
        if cause == "RESIDUAL":
            venue.play("expect event TAKEOVER_REFUSED.DRAWDOWN carol lots 10")


@pytest.mark.parametrize(("fund", "price"), [("50", 85), ("30", 87)])
def test_the_fund_may_pay_before_others_take_over(exchange: Venue, fund: str, price: int):
    """R80, R99. At 85 50 are missing. With 50 paid in, the position is worth its mark to whoever
    comes next; with 30 it is bankrupt at 87."""
    exchange.play("""
        given losses.waterfall = fund_payment adl fund_unlimited
        given liquidation.steps = cancel_orders
        index 100
        open alice
        deposit alice 100
        seed alice 10 @ 100
    """).play(f"""
        deposit fund {fund}
        mark 85
        expect event SHORTFALL alice amount {fund}
        expect event FILL.RESIDUAL alice lots -10 price {price}
        expect alice wallet 0
    """)


def test_it_pays_nothing_to_whoever_has_something_left(exchange: Venue):
    """R80. 40 at 94."""
    exchange.play("""
        given losses.waterfall = fund_payment fund_unlimited
        given liquidation.steps = cancel_orders
        index 100
        open alice
        deposit alice 100
        seed alice 10 @ 100
        deposit fund 1000
        mark 94
        expect no event SHORTFALL
        expect event FILL.RESIDUAL alice lots -10 price 90
    """)
