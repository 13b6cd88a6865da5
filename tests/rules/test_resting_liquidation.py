"""A liquidation order that stays in the book while its owner waits.

Alice holds ten lots at 100 with a wallet of 100: in breach below 95, bankrupt at 90. Every number
here is ours.
"""

import pytest
from notation import Venue
from small_venues import ALICE_AND_BOB

START = "given steps = all order rest pause_ns 10s\n" + ALICE_AND_BOB


def test_what_is_not_filled_rests_at_the_bankruptcy_price(exchange: Venue):
    """R133. Four lots meet a bid at once: 28 are left for six lots that need 28.20. They
    wait at 90."""
    exchange.play(START).play("""
        at 100s
        buy bob 4 @ 91
        mark 94
        expect events MARK_SET LIQUIDATION_STARTED FILL.LIQUIDATION FILL.LIQUIDATION RESTED \
LIQUIDATION_ENDED.PAUSED
        expect alice long 6
        expect book | 90x6
    """)


def test_it_is_taken_back_when_what_was_filled_is_enough(exchange: Venue):
    """R133. Four lots at 93 leave 36 for six that need 28.20."""
    exchange.play(START).play("""
        at 100s
        buy bob 4 @ 93
        mark 94
        expect events MARK_SET LIQUIDATION_STARTED FILL.LIQUIDATION FILL.LIQUIDATION RESTED \
CANCELLED.LIQUIDATION LIQUIDATION_ENDED.RESTORED
        expect alice long 6
        expect book |
    """)


def test_a_later_fill_is_the_accounts_own_trade(exchange: Venue):
    """R133. Bob buys the ten at 90 while it waits: Alice keeps what is left, nobody takes over."""
    exchange.play(START).play("""
        at 100s
        mark 94
        expect book | 90x10
        buy bob 10 @ 91
        expect alice flat
        expect alice wallet 0
        wait 10s
        clock
        expect events
        expect fund flat
    """)


def test_when_the_time_is_over_it_is_taken_back_and_placed_anew(exchange: Venue):
    """R133. After ten seconds the domain is looked at again."""
    exchange.play(START).play(
        """
        at 100s
        mark 94
        wait 10s
        clock
        expect events LIQUIDATION_STARTED CANCELLED.LIQUIDATION RESTED LIQUIDATION_ENDED.PAUSED
        expect book | 90x10
    """.replace(
            "LIQUIDATION_STARTED CANCELLED.LIQUIDATION", "CANCELLED.LIQUIDATION LIQUIDATION_STARTED"
        )
    )


def test_a_domain_that_recovered_gets_its_order_back(exchange: Venue):
    """R133. At 99 there is nothing to liquidate any more."""
    exchange.play(START).play("""
        at 100s
        mark 94
        mark 99
        wait 10s
        clock
        expect events CANCELLED.LIQUIDATION
        expect alice long 10
        expect book |
    """)


def test_below_the_bankruptcy_price_it_does_not_rest(exchange: Venue):
    """R133, R111. At 89 the step does not apply: the fund takes the position at 90."""
    exchange.play(START).play("""
        at 100s
        mark 94
        expect book | 90x10
        mark 89
        wait 10s
        clock
        expect events CANCELLED.LIQUIDATION LIQUIDATION_STARTED FILL.TAKEOVER FILL.TAKEOVER \
LIQUIDATION_ENDED.TAKEN_OVER
        expect fund long 10 @ 90
    """)


def test_with_a_backstop_level_the_wait_ends_at_the_bankruptcy_price(exchange: Venue):
    """R133, R95. Below a millionth of maintenance nobody waits for the ten seconds."""
    exchange.play("given trigger.backstop_ppm = 1").play(START).play("""
        at 100s
        mark 94
        mark 91
        expect alice long 10
        mark 90
        expect fund long 10 @ 90
    """)


@pytest.mark.parametrize(
    "command", ["cancel alice #-4611686018427387903", "amend alice #-4611686018427387903 2 @ 95"]
)
def test_its_owner_cannot_touch_it(exchange: Venue, command: str):
    """R133. It is the venue's order in her name."""
    exchange.play(START).play(f"""
        at 100s
        mark 94
        {command}
        expect rejected NOT_YOUR_ORDER
    """)


def test_nor_cancel_it_with_all_of_hers(exchange: Venue):
    """R133. Her own order leaves, the liquidation order stays."""
    exchange.play(
        START.replace("given steps", "given liquidation.cancel = none\ngiven steps")
    ).play("""
        at 100s
        sell alice 1 @ 120 reduce
        mark 94
        cancel alice all
        expect events CANCELLED.USER
        expect book | 90x9
    """)


def test_it_leaves_room_for_her_own_reducing_orders(exchange: Venue):
    """R133, R28. Four lots are to be closed at 120 by an order of hers: six can rest."""
    exchange.play(
        START.replace("given steps", "given liquidation.cancel = none\ngiven steps")
    ).play("""
        at 100s
        sell alice 4 @ 120 reduce
        mark 94
        expect event CANCELLED alice lots 4
        expect book | 90x6 120x4
    """)
