"""Reduce-only: such orders close, never open, and never exceed the position. Numbers are ours."""

from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit alice 100
    deposit bob 10000
    seed alice 5 @ 100
"""


def test_without_something_to_close_it_is_refused(exchange: Venue):
    """R08. Bob is flat; Alice is long, so buying does not reduce."""
    exchange.play(START).play("""
        sell bob 1 @ 101 reduce
        expect rejected NOTHING_TO_REDUCE
        buy alice 1 @ 99 reduce
        expect rejected NOTHING_TO_REDUCE
        sell alice 1 @ 101 reduce
    """)


def test_it_rests_with_no_more_than_the_position(exchange: Venue):
    """R19. Eight asked, five held: three are dropped, then nothing is left for a second one."""
    exchange.play(START).play("""
        sell alice 8 @ 101 reduce
        expect events CANCELLED.REDUCE_ONLY RESTED
        expect event CANCELLED alice lots 3
        expect book | 101x5
        sell alice 1 @ 102 reduce
        expect events CANCELLED.REDUCE_ONLY
        expect book | 101x5
    """)


def test_it_stops_trading_at_zero(exchange: Venue):
    """R16. Nine are bid for, five are held."""
    exchange.play(START).play("""
        buy bob 9 @ 99
        sell alice 9 @ 99 reduce ioc
        expect events FILL FILL CANCELLED.REDUCE_ONLY
        expect alice flat
        expect event CANCELLED alice lots 4
        expect book 99x4 |
    """)


def test_when_the_position_shrinks_the_newest_go_first(exchange: Venue):
    """R28. 3 and 2 rest against 5; one lot sold elsewhere leaves 4: the order for 2 goes, whole."""
    exchange.play(START).play("""
        sell alice 3 @ 101 reduce #1
        sell alice 2 @ 102 reduce #2
        buy bob 1 @ 99
        sell alice 1 @ 99
        expect events FILL FILL CANCELLED.REDUCE_ONLY
        expect event CANCELLED alice order_id 2 lots 2
        expect book | 101x3
    """)


def test_its_own_fills_do_not_cancel_it(exchange: Venue):
    """R17, R28. Two of five are bought from the resting order; three still reduce three."""
    exchange.play(START).play("""
        sell alice 5 @ 101 reduce
        buy bob 2 @ 101
        expect events FILL FILL
        expect alice long 3
        expect book | 101x3
    """)


def test_when_the_position_turns_all_go(exchange: Venue):
    """R28. Selling eight turns five long into three short: the resting orders reduce nothing."""
    exchange.play(START).play("""
        sell alice 3 @ 101 reduce
        sell alice 2 @ 102 reduce
        buy bob 8 @ 99
        deposit alice 1000
        sell alice 8 @ 99
        expect alice short 3 @ 99
        expect alice orders 0
    """)


def test_it_needs_no_margin(exchange: Venue):
    """R40. Equity 46.50 is just the margin of five lots at 93: none to buy, but she may close."""
    exchange.play(START).play("""
        index 93
        withdraw alice 18.5
        expect alice equity 46.5
        buy alice 1 @ 93
        expect rejected INSUFFICIENT_MARGIN
        sell alice 5 @ 93 reduce
        expect alice orders 1
    """)


def test_even_far_below_mark(exchange: Venue):
    """R08, R86. It has no margin check: filled at 70 it leaves the wallet at -50, the fund pays."""
    exchange.play(START).play("""
        deposit fund 60
        buy bob 5 @ 70
        sell alice 5 market reduce
        expect event FILL alice lots -5 price 70 amount -150
        expect event LIQUIDATION_ENDED.NEGATIVE_BALANCE alice amount 0
        expect event SHORTFALL alice amount 50
        expect alice wallet 0
        expect fund wallet 10
    """)
