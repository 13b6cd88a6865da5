"""Stops: which price releases them, in which order, and what becomes of them. Numbers are ours."""

from notation import Venue

START = """
    index 100
    open alice
    open bob
    open carol
    deposit alice 10000
    deposit bob 10000
    deposit carol 10000
"""


def test_a_sell_stop_fires_at_its_trigger_or_below(exchange: Venue):
    """R42, R44. At 96 it waits, at 95 it sells at market."""
    exchange.play(START).play("""
        buy bob 5 @ 90
        stop sell alice 2 @ 95 mark #5
        expect events STOP_PLACED
        expect event STOP_PLACED alice order_id 5 lots 2 price 0 amount 95raw
        mark 96
        expect events MARK_SET
        mark 95
        expect events MARK_SET STOP_TRIGGERED FILL FILL
        expect event STOP_TRIGGERED alice order_id 5 lots 2 amount 95raw
        expect alice short 2 @ 90
        expect alice orders 0
    """)


def test_a_buy_stop_fires_at_its_trigger_or_above(exchange: Venue):
    """R42."""
    exchange.play(START).play("""
        sell bob 5 @ 110
        stop buy alice 2 @ 105 mark
        mark 104
        expect alice orders 1
        mark 106
        expect alice long 2 @ 110
    """)


def test_a_stop_limit_becomes_a_limit_order(exchange: Venue):
    """R44. Released at 95 with limit 94: the bid at 93 is too low, it rests at 94."""
    exchange.play(START).play("""
        buy bob 5 @ 93
        stop sell alice 2 @ 95 mark limit 94
        mark 95
        expect events MARK_SET STOP_TRIGGERED RESTED
        expect book 93x5 | 94x2
    """)


def test_the_last_price_and_the_index_release_their_own_stops(exchange: Venue):
    """R42, R63. A recorded trade moves the last price; index and mark are others."""
    exchange.play(START).play("""
        last 100
        stop sell alice 1 @ 95 last #1
        stop sell alice 1 @ 90 index #2
        mark 80
        expect alice orders 2
        last 95
        expect event STOP_TRIGGERED alice order_id 1
        expect no event STOP_TRIGGERED alice order_id 2
        index 90
        expect event STOP_TRIGGERED alice order_id 2
    """)


def test_a_stop_that_would_fire_at_once_is_refused(exchange: Venue):
    """R06. And so is one whose price does not exist yet."""
    exchange.play(START).play("""
        stop sell alice 1 @ 100 mark
        expect rejected WOULD_TRIGGER_IMMEDIATELY
        stop buy alice 1 @ 100 mark
        expect rejected WOULD_TRIGGER_IMMEDIATELY
        stop sell alice 1 @ 90 last
        expect rejected NO_MARK_PRICE
        stop sell alice 1 @ 99 mark
    """)


def test_stops_reached_together_fire_oldest_first(exchange: Venue):
    """R43. Carol's trigger is nearer, Alice's stop is older: Alice gets the better bid."""
    exchange.play(START).play("""
        buy bob 1 @ 90
        buy bob 1 @ 80
        stop sell alice 1 @ 92 mark
        stop sell carol 1 @ 95 mark
        mark 91
        expect alice short 1 @ 90
        expect carol short 1 @ 80
    """)


def test_a_stop_can_release_the_next_one(exchange: Venue):
    """R90. Alice's fill at 94 is the last price that releases Carol's stop, in one command."""
    exchange.play(START).play("""
        last 100
        buy bob 1 @ 94
        buy bob 1 @ 93
        stop sell carol 1 @ 94 last #2
        stop sell alice 1 @ 97 last #1
        last 97
        expect events LAST_SET STOP_TRIGGERED FILL FILL STOP_TRIGGERED FILL FILL
        expect alice short 1 @ 94
        expect carol short 1 @ 93
    """)


def test_a_released_stop_is_admitted_like_any_order(exchange: Venue):
    """R08, R44. No margin is held for a waiting stop; at 110 ten lots need 110, Dave has 50."""
    exchange.play(START).play("""
        open dave
        deposit dave 50
        stop buy dave 10 @ 110 mark
        mark 110
        expect events MARK_SET STOP_TRIGGERED CANCELLED.STOP_REFUSED
        expect event CANCELLED dave lots 10 price 40      -- Reject.POSITION_LIMIT
        expect dave orders 0
    """)


def test_a_refused_stop_says_why(exchange: Venue):
    """R44. Five lots at 110 fit the tier and need 55."""
    exchange.play(START).play("""
        open dave
        deposit dave 50
        stop buy dave 5 @ 110 mark
        mark 110
        expect event CANCELLED.STOP_REFUSED dave lots 5 price 41      -- INSUFFICIENT_MARGIN
    """)


def test_a_protective_stop_only_reduces(exchange: Venue):
    """R08, R44. Long 3, stop for 5, reduce-only: 3 are sold, the rest is dropped."""
    exchange.play(START).play("""
        seed alice 3 @ 100
        buy bob 9 @ 90
        stop sell alice 5 @ 95 mark reduce
        mark 95
        expect alice flat
        expect event CANCELLED.REDUCE_ONLY alice lots 2
        expect book 90x6 |
    """)


def test_a_protective_stop_without_a_position_is_refused_when_it_fires(exchange: Venue):
    """R08. Reject 38 is NOTHING_TO_REDUCE."""
    exchange.play(START).play("""
        stop sell alice 5 @ 95 mark reduce
        mark 95
        expect event CANCELLED.STOP_REFUSED alice price 38
    """)


def test_stops_are_cancelled_but_not_amended(exchange: Venue):
    """R14, R15."""
    exchange.play(START).play("""
        stop sell alice 5 @ 95 mark #3
        amend alice #3 4 @ 94
        expect rejected STOPS_CANNOT_BE_AMENDED
        cancel alice #3
        expect events CANCELLED.USER
        mark 90
        expect events MARK_SET
    """)


def test_liquidations_go_before_stops(exchange: Venue):
    """R90. The same mark breaches Dave and releases Alice's stop: Dave's order comes first and
    takes the better bid."""
    exchange.play(START).play("""
        open dave
        deposit dave 100
        seed dave 10 @ 100
        leverage bob 5
        buy bob 10 @ 93
        buy bob 1 @ 80
        stop sell alice 1 @ 95 mark
        mark 94
        expect liquidated dave
        expect event FILL.LIQUIDATION dave lots -10 price 93
        expect alice short 1 @ 80
    """)
