"""Hedge mode: a long and a short leg side by side in one market. Every number here is ours."""

import pytest
from notation import Venue

START = """
    index 100
    open alice hedge
    open bob
    deposit alice 1000
    deposit bob 10000
    sell bob 5 @ 101
    buy bob 5 @ 99
"""


def test_both_legs_are_held_at_once(exchange: Venue):
    """R12. Long 3 at 101 and short 2 at 99, each with its own entry."""
    exchange.play(START).play("""
        buy alice 3 @ 101 long
        sell alice 2 @ 99 short
        expect alice long 3 @ 101
        expect alice short 2 @ 99
        expect open interest 3                -- bob holds one lot short, net
        expect alice equity 995               -- 300 - 303 - (200 - 198)
    """)


@pytest.mark.parametrize("order", ["sell alice 1 @ 99 long", "buy alice 1 @ 101 short"])
def test_the_closing_side_of_a_leg_only_closes(exchange: Venue, order: str):
    """R08, R12. An empty leg has nothing to close."""
    exchange.play(START).play(f"{order}\nexpect rejected NOTHING_TO_REDUCE")


def test_closing_a_leg_stops_at_zero(exchange: Venue):
    """R12, R16. Four sold against three: the leg is flat, one lot is dropped, no short appears."""
    exchange.play(START).play("""
        buy alice 3 @ 101 long
        sell alice 4 @ 99 long ioc
        expect events FILL FILL CANCELLED.REDUCE_ONLY
        expect event FILL alice position_side 1 lots -3 amount -6
        expect alice flat
    """)


def test_one_way_orders_have_no_place_in_hedge_mode(exchange: Venue):
    """R12. And legs none in one-way mode."""
    exchange.play(START).play("""
        buy alice 1 @ 101
        expect rejected POSITION_SIDE_MISMATCH
        buy bob 1 @ 99 long
        expect rejected POSITION_SIDE_MISMATCH
        leverage alice 5
        expect rejected POSITION_SIDE_MISMATCH
        leverage alice 5 long
        expect alice leverage 5 long
    """)


def test_each_leg_needs_its_own_margin(exchange: Venue):
    """R34, R38. Five long and five short at leverage 10: 50 and 50, no netting."""
    exchange.play(START).play("""
        withdraw alice 900
        buy alice 5 @ 100 long
        sell alice 5 @ 102 short #2
        cancel alice #2
        buy alice 1 @ 100 long
        sell alice 5 @ 102 short
        expect rejected INSUFFICIENT_MARGIN
    """)


def test_margins_add_up_in_liquidation(exchange: Venue):
    """R37, R77. Long 6 and short 4 at 50: 300 and 200 of notional, 25 of maintenance. The long
    lost 300, the short gained 200; of a wallet of 124 are 24 left. The larger leg goes first."""
    exchange.play("""
        index 100
        open alice hedge
        deposit alice 124
        deposit fund 100000
        seed alice 6 @ 100 long
        seed alice -4 @ 100 short
        mark 51
        expect no event LIQUIDATION_STARTED   -- 26 left, 25.50 needed
        mark 50
        expect event LIQUIDATION_STARTED alice amount 24 fee 25
        expect event FILL.TAKEOVER alice position_side 1 lots -6 price 46
        expect event FILL.TAKEOVER alice position_side 2 lots 4 price 50
        expect alice wallet 0
    """)


def test_isolated_legs_stand_alone(exchange: Venue):
    """R35. The long leg falls, the short one is in profit and stays."""
    exchange.play("""
        index 100
        open alice hedge
        deposit alice 200
        deposit fund 100000
        isolated alice
        seed alice 5 @ 100 long isolated 50
        seed alice -5 @ 100 short isolated 50
        mark 94
        expect event LIQUIDATION_STARTED alice position_side 1 amount 20 fee 23.5 flags 8
        expect event FILL.TAKEOVER alice position_side 1 lots -5 price 90
        expect alice short 5 @ 100
        expect alice margin 50 short
        expect alice wallet 100
    """)


def test_the_mode_changes_only_without_positions_and_orders(exchange: Venue):
    """R49."""
    exchange.play(START).play("""
        buy alice 1 @ 98 long
        oneway alice
        expect rejected POSITION_OR_ORDERS_OPEN
        cancel alice all
        oneway alice
        expect events POSITION_MODE_SET
        buy alice 1 @ 101
        hedge alice
        expect rejected POSITION_OR_ORDERS_OPEN
    """)
