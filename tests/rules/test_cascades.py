"""Cascades: a liquidation's fills move the mark, the mark liquidates the next account.

The mark is the median of the index 100, the index plus basis 80, and the last price: between 80
and 100 it follows the last price. Every number here is ours.
"""

from notation import Venue

FALLING = """
    given mark.source = median
    index 100
    depth buy 79 x 1
    depth sell 81 x 1
    index 100                             -- basis -20
    depth clear
    last 100
    expect mark 100
    open alice
    open bob
    open carol
    open dave
    deposit alice 70
    deposit bob 100
    deposit carol 130
    deposit dave 100000
    leverage dave 2
    seed alice 10 @ 100
    seed bob 10 @ 100
    seed carol 10 @ 100
"""


def test_one_falls_over_the_other(exchange: Venue):
    """R59, R75, R90. At 97 Alice has 40 of 48.50 needed: sold at 94. That mark leaves Bob 40 of 47:
    sold at 91. That leaves Carol 40 of 45.50: sold at 88. One command, three liquidations."""
    exchange.play(FALLING).play("""
        buy dave 10 @ 94
        buy dave 10 @ 91
        buy dave 10 @ 88
        last 97
        expect liquidated alice bob carol
        expect event FILL.LIQUIDATION alice price 94 lots -10
        expect event MARK_SET price 94
        expect event FILL.LIQUIDATION bob price 91 lots -10
        expect event MARK_SET price 91
        expect event FILL.LIQUIDATION carol price 88 lots -10
        expect mark 88
        expect alice wallet 10
        expect bob wallet 10
        expect carol wallet 10
        expect dave long 30 @ 91
    """)


def test_a_deep_book_stops_it(exchange: Venue):
    """R59. With 20 lots at 95 Alice's sale moves the mark to 95, where Bob has 50 of 47.50."""
    exchange.play(FALLING).play("""
        buy dave 20 @ 95
        last 97
        expect liquidated alice
        expect mark 95
        expect book 95x10 |
    """)


def test_without_feedback_the_mark_stays_with_the_index(exchange: Venue):
    """R53. A pure replay: neither the print nor our trades move it."""
    exchange.play("given feedback 0").play(FALLING).play("""
        buy dave 10 @ 94
        last 90
        expect no event LIQUIDATION_STARTED
        expect mark 100
    """)


def test_takeovers_do_not_move_the_mark(exchange: Venue):
    """R29, R59. Off the book there is no last price: Alice falls alone."""
    exchange.play(FALLING).play("""
        deposit fund 100000
        last 97
        expect liquidated alice
        expect event FILL.TAKEOVER alice price 93
        expect last 97
        expect mark 97
    """)


def test_a_stop_keeps_it_rolling(exchange: Venue):
    """R90. Alice is sold at 95, where Bob still has 50 of 47.50. That mark releases Dave's stop,
    whose sale at 94 leaves Bob 40 of 47."""
    exchange.play(FALLING).play("""
        open erin
        deposit erin 100000
        leverage erin 2
        buy erin 10 @ 95
        buy erin 1 @ 94
        stop sell dave 1 @ 95 mark
        last 97
        expect event FILL.LIQUIDATION alice price 95
        expect event STOP_TRIGGERED dave
        expect event FILL.TRADE dave price 94
        expect event LIQUIDATION_STARTED bob amount 40 fee 47
        expect liquidated alice bob
    """)


def test_a_cascade_runs_up_as_well(exchange: Venue):
    """R59. Shorts, basis +20: at 103 Alice has 40 of 53; bought at 106, Bob has 40 of 56."""
    exchange.play("""
        given mark.source = median
        index 100
        depth buy 119 x 1
        depth sell 121 x 1
        index 100
        depth clear
        last 100
        open alice
        open bob
        open dave
        deposit alice 70
        deposit bob 100
        deposit dave 100000
        leverage dave 2
        seed alice -10 @ 100
        seed bob -10 @ 100
        sell dave 10 @ 106
        sell dave 10 @ 109
        last 103
        expect liquidated alice bob
        expect event LIQUIDATION_STARTED alice amount 40 fee 53
        expect event LIQUIDATION_STARTED bob amount 40 fee 56
        expect mark 109
        expect alice wallet 10
        expect bob wallet 10
    """)


def test_it_ends_with_nobody_left(exchange: Venue):
    """R90. Twenty accounts, one lot of bids a level: every one falls, once, and it is over. User k
    has 55 + 9.5 k: at mark 1 000 - 10 k that is 55 - k / 2 of 50 - k / 2, ten lower 5 less."""
    names = [f"user{number}" for number in range(20)]
    exchange.play("""
        given mark.source = median
        index 1000
        depth buy 700 x 1
        depth sell 702 x 1
        index 1000
        depth clear
        last 1000
        deposit fund 1000000
    """)
    for place, name in enumerate(names):
        exchange.play(f"""
            open {name}
            deposit {name} {55 + 19 * place // 2}{".5" if place % 2 else ""}
            seed {name} 1 @ 1000
            depth buy {980 - 10 * place} x 1
        """)
    exchange.play("last 990").play("expect liquidated " + " ".join(names)).play("expect mark 790")
    assert not any(row[3] for name in names for row in exchange.positions_of(name))
