"""The market maker: quotes from a depth curve or from recorded depth. Every number here is ours."""

from notation import Venue

CURVE = "given curve 10000ppm x 5, 20000ppm x 10 half life 10s\n"
TRADER = """
    open alice
    deposit alice 1000000
    leverage alice 2
"""


def test_a_curve_quotes_round_the_index(exchange: Venue):
    """R57, R58. Index 1 000: 1 % and 2 % on both sides."""
    exchange.play(CURVE).play("""
        index 1000
        expect events INDEX_SET DEPTH_SET DEPTH_SET DEPTH_SET DEPTH_SET MARK_SET
        expect book 990x5 980x10 | 1010x5 1020x10
    """)


def test_prices_are_rounded_away_from_the_index(exchange: Venue):
    """R58. 99 % of 101 is 99.99, 101 % is 102.01; the next levels are a tick further at least."""
    exchange.play("given curve 10000ppm x 5, 10001ppm x 10").play("""
        index 101
        expect book 99x5 98x10 | 103x5 104x10
    """)


def test_levels_outside_the_price_range_are_left_out(exchange: Venue):
    """R58. Below 1 there is no bid."""
    exchange.play(CURVE).play(
        "index 1\nexpect book | 2x5 3x10\nindex 2\nexpect book 1x5 | 3x5 4x10"
    )


def test_what_was_taken_comes_back_by_half_in_a_half_life(exchange: Venue):
    """R54, R57. Three of five taken: still missing at once, one after ten seconds."""
    exchange.play(CURVE).play("index 1000").play(TRADER).play("""
        buy alice 3 @ 1010
        expect book 990x5 980x10 | 1010x2 1020x10
        index 1000
        expect book 990x5 980x10 | 1010x2 1020x10
        wait 10s
        index 1000                            -- 3 >> 1 is 1
        expect book 990x5 980x10 | 1010x4 1020x10
        wait 10s
        index 1000
        expect book 990x5 980x10 | 1010x5 1020x10
    """)


def test_within_a_half_life_it_comes_back_evenly(exchange: Venue):
    """R54. Eight of ten taken: after five seconds 8 - 8 * 5 / 20 = 6 are missing."""
    exchange.play(CURVE).play("index 1000").play(TRADER).play("""
        sell alice 13 @ 980
        expect book 980x2 | 1010x5 1020x10
        wait 5s
        index 1000                            -- 5 - 1 = 4 of the first level, 6 of the second
        expect book 990x1 980x4 | 1010x5 1020x10
    """)


def test_without_a_half_life_it_is_back_at_once(exchange: Venue):
    """R54."""
    exchange.play("given curve 10000ppm x 5").play("index 1000").play(TRADER).play("""
        buy alice 5 @ 1010
        expect book 990x5 |
        index 1000
        expect book 990x5 | 1010x5
    """)


def test_new_quotes_trade_with_what_they_cross(exchange: Venue):
    """R55, R57. Alice bids 1 000; the index falls, the new ask 990 sells her all of it."""
    exchange.play(CURVE).play("index 1000").play(TRADER).play("""
        buy alice 2 @ 1000
        index 980                             -- asks 990 and 1 000
        expect alice long 2 @ 1000
        expect event FILL maker lots -2 price 1000
        expect book 970x5 960x10 | 990x3 1000x10
    """)


def test_a_curve_does_not_quote_past_the_bound_of_open_interest(exchange: Venue):
    """R57. Twelve lots at most: level two holds ten, but twelve minus three open leave nine."""
    exchange.play(CURVE).play("given market.open_interest_lots_max = 12").play("index 1000").play(
        TRADER
    ).play("""
        buy alice 3 @ 1010
        wait 10s
        index 1000
        expect book 990x5 980x9 | 1010x4 1020x9
    """)


def test_curve_markets_take_no_recorded_depth(exchange: Venue):
    """R55, R56."""
    exchange.play(CURVE).play("""
        index 1000
        depth buy 900 x 1
        expect rejected QUOTES_ARE_DERIVED
        depth clear
        expect rejected QUOTES_ARE_DERIVED
    """)


def test_recorded_depth_sets_and_deletes_levels(exchange: Venue):
    """R55. Deleting what is not there is said too."""
    exchange.play("""
        index 100
        depth buy 99 x 10
        depth sell 101 x 7
        expect book 99x10 | 101x7
        depth buy 99 x 0
        expect event DEPTH_SET side 1 price 99 lots 0
        expect book | 101x7
        depth buy 98 x 0
        expect events DEPTH_SET
    """)


def test_a_smaller_level_keeps_its_place_a_larger_one_loses_it(exchange: Venue):
    """R55."""
    exchange.play("index 100").play(TRADER).play("""
        depth sell 101 x 10
        sell alice 1 @ 101
        depth sell 101 x 4
        expect queue sell 101: maker 4, alice 1
        depth sell 101 x 5
        expect queue sell 101: alice 1, maker 5
    """)


def test_recorded_depth_that_crosses_trades(exchange: Venue):
    """R55. Alice bids 100; a recorded ask of 5 at 99 fills her, three stay."""
    exchange.play("index 100").play(TRADER).play("""
        buy alice 2 @ 100
        depth sell 99 x 5
        expect events FILL FILL DEPTH_SET
        expect alice long 2 @ 100
        expect book | 99x3
    """)


def test_the_makers_own_crossed_levels_are_withdrawn(exchange: Venue):
    """R55. It never trades with itself."""
    exchange.play("""
        index 100
        depth buy 99 x 10
        depth buy 98 x 10
        depth sell 98 x 5
        expect event DEPTH_SET side 1 price 99 lots 0
        expect event DEPTH_SET side 1 price 98 lots 0
        expect book | 98x5
        expect maker flat
    """)


def test_clearing_withdraws_every_quote_of_the_maker_only(exchange: Venue):
    """R56. Best bids first, then asks."""
    exchange.play("index 100").play(TRADER).play("""
        depth sell 101 x 1
        depth buy 99 x 2
        depth buy 98 x 3
        buy alice 1 @ 97
        depth clear
        expect events DEPTH_SET DEPTH_SET DEPTH_SET
        expect book 97x1 |
    """)
    assert [int(event["price"]) for event in exchange.events] == [99, 98, 101]
