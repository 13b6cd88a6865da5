"""The mark price: the tape's own, or the median of three, with or without feedback.

Numbers are ours, but for the funding-adjusted index, whose source stands beside it.
"""

import pytest
from notation import Venue

MEDIAN = "given mark.source = median"
BASIS = """
    index 100
    depth buy 104 x 1
    depth sell 108 x 1
    index 100                             -- mid 106: the basis is 6
"""


def test_a_tape_mark_is_taken_as_it_is(exchange: Venue):
    """R53. Until there is one the index is the mark."""
    exchange.play("""
        index 100
        expect mark 100
        mark 97
        expect mark 97
        index 105
        expect mark 97
        last 50
        expect mark 97
    """)


@pytest.mark.parametrize(
    ("last", "mark"),
    [("103", "103"), ("110", "106"), ("90", "100"), ("100", "100"), ("106", "106")],
)
def test_the_median_of_index_basis_and_last(exchange: Venue, last: str, mark: str):
    """R51, R52. Price 1 is the index 100, price 2 is 106."""
    exchange.play(MEDIAN).play(BASIS).play(f"last {last}\nexpect mark {mark}")


def test_without_trades_and_quotes_the_mark_is_the_index(exchange: Venue):
    """R51. What does not exist yet counts as the index."""
    exchange.play(MEDIAN).play("index 100\nexpect mark 100\nindex 120\nexpect mark 120")


def test_one_extreme_print_does_not_move_it(exchange: Venue):
    """R51. Only one of three is wild."""
    exchange.play(MEDIAN).play("index 100\nlast 1\nexpect mark 100\nlast 99999\nexpect mark 100")


def test_the_funding_adjusted_index(exchange: Venue):
    """R51. 10 000 * (1 + 0.0003 * 4 h / 8 h) = 10 001.5 (a venue's mark price page, 2020). The
    last price far above makes the median the higher of index and adjusted index."""
    exchange.play("""
        given mark.source = median
        given market.price_decimals = 1
        at 1s
        index 10000
        funding 300 ppm
        last 20000
        expect mark 10003
        wait 4h
        index 10000
        expect mark 10001.5
    """)


def test_funding_still_to_come_fades_to_nothing(exchange: Venue):
    """R51. After a whole interval without funding price 1 is the index."""
    exchange.play("""
        given mark.source = median
        at 1s
        index 10000
        depth buy 19999 x 1
        depth sell 20001 x 1
        funding 10000 ppm at 10000            -- 1 %, sampled basis 10 000
        last 5000
        expect mark 10100
        wait 8h
        last 5000
        expect mark 10000
    """)


def test_the_basis_is_sampled_once_an_interval(exchange: Venue):
    """R52. Interval one second: the second index comes too early, the third in time."""
    exchange.play(MEDIAN).play(BASIS).play("""
        last 200
        expect mark 106
        depth sell 110 x 1
        depth sell 108 x 0
        at 2s
        index 100                             -- mid 107: 6 and 7 make 6.5, toward zero 6
        expect mark 106
        wait 500ns
        index 100                             -- too early
        wait 1s
        index 100                             -- 6, 7, 7
        expect mark 106
        wait 1s
        index 100                             -- the oldest of three leaves: 7, 7, 7
        expect mark 107
    """)


def test_a_negative_mean_is_truncated_toward_zero(exchange: Venue):
    """R51, R52. Mids 95 and 94.5 (floored to 94): -5 and -6, the mean -5.5 becomes -5."""
    exchange.play(MEDIAN).play("""
        index 100
        depth buy 94 x 1
        depth sell 96 x 1
        index 100
        depth sell 95 x 1
        wait 1s
        index 100
        last 1
        expect mark 95
    """)


def test_a_one_sided_book_gives_no_sample(exchange: Venue):
    """R52."""
    exchange.play(MEDIAN).play("""
        index 100
        depth sell 108 x 1
        index 100
        last 200
        expect mark 100
    """)


@pytest.mark.parametrize(("feedback", "mark"), [(1_000_000, "106"), (500_000, "103"), (0, "100")])
def test_feedback_is_the_share_of_the_derived_mark(exchange: Venue, feedback: int, mark: str):
    """R53. Base 100, derived 106."""
    exchange.play(MEDIAN).play(f"given feedback {feedback}").play(BASIS).play(f"""
        last 200
        expect mark {mark}
    """)


def test_feedback_on_top_of_the_tapes_mark(exchange: Venue):
    """R53. Tape 110, derived 103: half of -7 toward zero is -3."""
    exchange.play(MEDIAN).play("given feedback 500000").play(BASIS).play("""
        last 103
        mark 110
        expect mark 107
    """)


def test_our_own_trades_move_the_last_price(exchange: Venue):
    """R16, R59. A fill at 104 between index 100 and price 2 at 106 is the new mark."""
    exchange.play(MEDIAN).play(BASIS).play("""
        last 101
        expect mark 101
        open alice
        deposit alice 1000
        sell alice 1 @ 104
        expect events FILL FILL MARK_SET
        expect mark 104
    """)


def test_prices_stay_in_the_markets_range(exchange: Venue):
    """R50, R63. 1 to 100 000."""
    exchange.play("""
        index 100000
        index 100001
        expect rejected PRICE_OUT_OF_RANGE
        mark 0
        expect rejected PRICE_OUT_OF_RANGE
        last 100001
        expect rejected PRICE_OUT_OF_RANGE
        expect mark 100000
    """)


def test_the_mark_may_be_the_index(exchange: Venue):
    """R53. Whatever the tape or a trade says."""
    exchange.play("given mark.source = index").play("""
        index 100
        mark 97
        expect mark 100
        last 50
        expect mark 100
        index 105
        expect mark 105
    """)


def test_the_mark_may_be_the_last_price(exchange: Venue):
    """R53. Until there is one, the tape's mark or the index."""
    exchange.play("given mark.source = last").play("""
        index 100
        expect mark 100
        mark 97
        expect mark 97
        last 103
        expect mark 103
        index 90
        expect mark 103
    """)
