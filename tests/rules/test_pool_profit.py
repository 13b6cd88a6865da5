"""A pool that pays the winners: when a side has won too much of it, winners are closed.

The pool is the BACKSTOP account with 1 000. Alice is long ten lots from 100, Bob five from 110,
Carol short fifteen from 105. At 120 the longs have won 250, a quarter of the pool, the shorts
lost 225. Every number here is ours but for the example of the venue's own test.
"""

import pytest
from notation import Venue

START = """
    given losses.pool_profit_ppm = 200000
    given losses.pool_profit_stop_ppm = 100000
    given losses.adl_score = return_times_leverage
    index 100
    open alice
    open bob
    open carol
    deposit alice 1000
    deposit bob 1000
    deposit carol 100000
    leverage carol 2
    deposit backstop 1000
    seed alice 10 @ 100
    seed bob 5 @ 110
    seed carol -15 @ 105
"""


def test_the_winners_are_closed_at_the_check(exchange: Venue):
    """R131. Of 250 at most 200 are borne, and 100 are left: Alice, who scores highest, gives up
    150 of her 200, so 8 lots of her ten (7.5 rounded up), at mark, to the pool."""
    exchange.play(START).play("""
        mark 120
        expect alice long 10
        check
        expect events PROFIT_CAPPED FILL.ADL FILL.ADL
        expect event PROFIT_CAPPED amount 250 fee 1000
        expect alice long 2 @ 100
        expect alice wallet 1160
        expect backstop long 8 @ 120
        expect bob long 5
        check
        expect events
    """)


@pytest.mark.parametrize(("mark", "capped"), [(116, False), (117, True)])
def test_up_to_its_share_nothing_is_cut(exchange: Venue, mark: int, capped: bool):
    """R131. At 116 the longs have won 190 of at most 200; at 117 they have won 205."""
    exchange.play(START).play(f"""
        mark {mark}
        check
        expect {"event" if capped else "no event"} PROFIT_CAPPED
    """)


def test_the_losers_of_a_side_count_against_it(exchange: Venue):
    """R131. Dora is long ten from 125 and has lost 50: 200 are left, which is borne."""
    exchange.play(START).play("""
        open dora
        deposit dora 1000
        mark 120
        seed dora 10 @ 125
        check
        expect no event PROFIT_CAPPED
    """)


def test_shorts_win_too(exchange: Venue):
    """R131. At 85 Carol has won 300: 200 of them go, ten of her fifteen lots."""
    exchange.play(START.replace("deposit alice 1000", "deposit alice 10000")).play("""
        mark 85
        check
        expect event PROFIT_CAPPED amount 300 fee 1000
        expect carol short 5
        expect backstop short 10
        expect carol wallet 100200
    """)


def test_the_next_winner_gives_what_the_first_had_not(exchange: Venue):
    """R131. With a stop share of 0 Alice gives all of her 200 and Bob his 50."""
    exchange.play(START.replace("stop_ppm = 100000", "stop_ppm = 0")).play("""
        mark 120
        check
        expect alice flat
        expect bob flat
        expect backstop long 15
    """)


def test_orders_of_the_winner_are_cancelled_as_in_deleveraging(exchange: Venue):
    """R131. `adl_cancel` is the market: Alice's bid leaves."""
    exchange.play(START).play("""
        leverage alice 2
        buy alice 1 @ 50
        mark 120
        check
        expect event CANCELLED alice
        expect alice orders 0
    """)


def test_isolated_winners_get_their_margin_back(exchange: Venue):
    """R131, R26. Nothing of the rule but the closing at mark touches them."""
    exchange.play("given losses.pool_profit_ppm = 10000").play("""
        given losses.pool_profit_stop_ppm = 0
        index 100
        open alice
        deposit alice 1000
        deposit backstop 1000
        seed alice 10 @ 100 isolated 100
        mark 120
        check
        expect alice flat
        expect alice wallet 1200
        expect backstop long 10 @ 120
    """)
