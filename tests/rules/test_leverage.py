"""Leverage and initial margin. Every number here is ours.

Leverage 10 is allowed up to 1 000 of notional, 5 up to 5 000, 2 up to 20 000.
"""

import pytest
from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit bob 100000
"""


@pytest.mark.parametrize(
    ("leverage", "needed", "short"),
    [(10, "50", "49.99"), (7, "71.43", "71.42"), (3, "166.67", "166.66")],
)
def test_initial_margin_is_rounded_up(exchange: Venue, leverage: int, needed: str, short: str):
    """R32. Five lots at 100: 500 / 7 = 71.428..., 500 / 3 = 166.66..."""
    exchange.play(START).play(f"""
        leverage alice {leverage}
        deposit alice {short}
        buy alice 5 @ 100
        expect rejected INSUFFICIENT_MARGIN
        deposit alice 0.01
        expect alice wallet {needed}
        buy alice 5 @ 100
    """)


def test_leverage_stays_within_the_first_tier(exchange: Venue):
    """R47."""
    exchange.play(START).play("""
        leverage alice 0
        expect rejected LEVERAGE_OUT_OF_RANGE
        leverage alice 11
        expect rejected LEVERAGE_OUT_OF_RANGE
        leverage alice 10
        expect event LEVERAGE_SET alice amount 10raw
    """)


def test_the_default_is_the_profiles(exchange: Venue):
    """R47. `leverage_default` 4: ten lots need 250."""
    exchange.play("given market.leverage_default = 4").play(START).play("""
        deposit alice 250
        buy alice 10 @ 100
        expect alice leverage 4
        withdraw alice 0.01
        expect rejected INSUFFICIENT_BALANCE
    """)


def test_leverage_cannot_rise_above_what_the_size_allows(exchange: Venue):
    """R33, R47. Eleven lots are 1 100: leverage 5 is the most, counting open orders too."""
    exchange.play(START).play("""
        deposit alice 10000
        leverage alice 5
        buy alice 11 @ 100
        leverage alice 6
        expect rejected POSITION_LIMIT
        cancel alice all
        buy alice 10 @ 100
        leverage alice 6
        expect events LEVERAGE_SET
    """)


def test_leverage_cannot_fall_below_what_equity_carries(exchange: Venue):
    """R47. 200 carry 500 at leverage 2.5, so 3 is fine and 2 is not."""
    exchange.play(START).play("""
        deposit alice 200
        seed alice 5 @ 100
        leverage alice 2
        expect rejected INSUFFICIENT_MARGIN
        leverage alice 3
        expect alice leverage 3
    """)


def test_raising_leverage_needs_no_equity(exchange: Venue):
    """R47. Equity 40 is below every requirement; 8 to 10 lowers it and is allowed."""
    exchange.play(START).play("""
        deposit alice 100
        leverage alice 8
        seed alice 5 @ 100
        index 88
        expect alice equity 40
        leverage alice 9
        expect alice leverage 9
        leverage alice 8
        expect rejected INSUFFICIENT_MARGIN
    """)


def test_the_requirement_follows_the_mark(exchange: Venue):
    """R38. Ten lots need 100 at mark 100 and 90 at mark 90, where 100 are lost."""
    exchange.play(START).play("""
        deposit alice 200
        seed alice 10 @ 100
        mark 90
        expect alice equity 100
        withdraw alice 10.01
        expect rejected INSUFFICIENT_BALANCE
        withdraw alice 10
    """)
