"""Two ways not to sell everything at once: a ramp on what is closed, and what the fund took over
offered where it took it.

Alice holds ten lots at 100 with a wallet of 100: at mark 94 she has 40 against 47, and each lot
closed at mark frees 4.70.
"""

from notation import Venue
from small_venues import ALICE_AND_BOB as START


def test_a_ramp_lets_only_a_share_of_the_shortage_be_covered(exchange: Venue):
    """R128. Half of 7.00 at once: one lot, which frees 4.70. Ten seconds later all of it may be:
    2.30 are left, and one more lot restores her."""
    exchange.play("""
        given steps = cover_shortage ramp_ppm 500000 ramp_ns 10s
        given losses.waterfall = retry
        given losses.retry_ns = 10000000000
    """).play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -1 price 94
        expect event LIQUIDATION_ENDED.PAUSED alice
        wait 10s
        clock
        expect event FILL.LIQUIDATION alice lots -1 price 94
        expect event LIQUIDATION_ENDED.RESTORED alice
        expect alice long 8 @ 100
    """)


def test_the_fund_offers_what_it_took_over(exchange: Venue):
    """R129. The fund takes ten lots at 90 and offers them there; bob buys four of them."""
    exchange.play("given losses.fund_disposal = rest").play(START).play("""
        mark 94
        expect event FILL.TAKEOVER alice lots -10 price 90
        expect event RESTED fund lots 10 price 90
        buy bob 4 @ 95
        expect event FILL.TRADE fund lots -4 price 90
        expect fund long 6 @ 90
    """)


def test_what_the_fund_offers_takes_room_from_users_and_a_curve_none(exchange: Venue):
    """R07, R129. Two of three orders are bob's, the third is the fund's, beside four quotes."""
    exchange.play("""
        given losses.fund_disposal = rest
        given capacity orders 3
        given curve 500000ppm x 5, 600000ppm x 5
    """).play(START).play("""
        buy bob 1 @ 60
        buy bob 1 @ 59
        mark 94
        expect event RESTED fund lots 10 price 90
        buy bob 1 @ 58
        expect rejected ORDERS_FULL
    """)
