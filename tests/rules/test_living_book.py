"""A book that lives: recorded depth that remembers, recorded trades that take, a curve that shrinks
when prices move and stays where trades have pushed it. Every number here is ours.
"""

import pytest
from notation import Venue

from engine.constants import TIME_MAX_NS
from engine.venue import DepthCurve

START = """
    index 100
    open alice
    deposit alice 10000
"""


def remembers(exchange: Venue, half_life: str) -> Venue:
    """Recorded depth from which what Alice takes is lacking for a while."""
    exchange.curve = DepthCurve(refill_half_life_ns=exchange.duration(half_life))
    return exchange.play(START)


@pytest.mark.parametrize(
    ("half_life", "later", "held"),
    [
        ("0s", "1s", "101x10"),  # transient: as the record says
        ("10s", "10s", "101x8"),  # half of the four are back
        ("10s", "20s", "101x9"),
        (f"{TIME_MAX_NS}ns", "100h", "101x6"),  # persistent
    ],
)
def test_what_was_taken_from_recorded_depth_is_lacking(
    exchange: Venue, half_life: str, later: str, held: str
):
    """R134. Alice takes four of ten; the next record still says ten."""
    remembers(exchange, half_life).play(f"""
        at 100s
        depth sell 101 x 10
        buy alice 4 @ 101
        expect book | 101x6
        wait {later}
        depth sell 101 x 10
        expect book | {held}
    """)


def test_a_level_that_the_record_takes_away_is_forgotten(exchange: Venue):
    """R134. Gone and back, it is whole; history's own trades are in its record anyway."""
    remembers(exchange, "10h").play("""
        depth sell 101 x 10
        buy alice 4 @ 101
        depth sell 101 x 8
        expect book | 101x4
        depth sell 101 x 0
        depth sell 101 x 8
        expect book | 101x8
    """)


def test_a_record_below_what_is_lacking_leaves_nothing(exchange: Venue):
    """R134. Three are recorded, four are lacking."""
    remembers(exchange, "10h").play("""
        depth sell 101 x 10
        buy alice 4 @ 101
        depth sell 101 x 3
        expect book |
    """)


def test_a_recorded_trade_without_a_side_moves_the_last_price_only(exchange: Venue):
    """R63."""
    exchange.play(START).play("""
        depth sell 101 x 10
        last 101
        expect events LAST_SET
        expect book | 101x10
    """)


def test_a_recorded_trade_takes_quotes_without_a_fill(exchange: Venue):
    """R137. Both sides are history: the level shrinks, nobody has traded."""
    exchange.play(START).play("""
        depth sell 101 x 10
        depth sell 102 x 5
        took buy 102 x 12
        expect events DEPTH_SET DEPTH_SET LAST_SET
        expect book | 102x3
        expect maker flat
        expect last 102
    """)


def test_an_order_of_ours_is_filled_by_a_recorded_trade(exchange: Venue):
    """R137. Alice asks 101 before the market maker's 102: a recorded buy of five takes her two lots
    and three of his."""
    exchange.play(START).play("""
        depth sell 102 x 10
        sell alice 2 @ 101
        took buy 102 x 5
        expect alice short 2 @ 101
        expect maker long 2 @ 101
        expect book | 102x7
        expect last 102
    """)


def test_a_recorded_trade_stops_at_its_price(exchange: Venue):
    """R137. At 101 the level at 102 is out of reach."""
    exchange.play(START).play("""
        depth sell 101 x 1
        depth sell 102 x 10
        took buy 101 x 5
        expect book | 102x10
    """)


@pytest.mark.parametrize(
    ("command", "code"),
    [("took buy 101 x -1", "LOTS_OUT_OF_RANGE"), ("took buy 0 x 1", "PRICE_OUT_OF_RANGE")],
)
def test_what_no_trade_can_be_is_refused(exchange: Venue, command: str, code: str):
    """R137, R55. Sizes and prices of recorded trades that are to be matched."""
    exchange.play(START).play(f"""
        depth sell 101 x 10
        {command}
        expect rejected {code}
        expect book | 101x10
    """)


def curve(exchange: Venue, **numbers: int) -> Venue:
    """Ten lots on each side, 1 % from the index of 10 000."""
    exchange.given("curve 10000ppm x 100 half life 0s")
    levels = exchange.curve.levels
    exchange.curve = DepthCurve(levels=levels, **numbers)
    return exchange


@pytest.mark.parametrize(
    ("moved", "later", "held"),
    [
        ("10100", "0s", "9999x100 | 10201x100"),  # 1 % is calm
        ("10400", "0s", "10296x25 | 10504x25"),  # 4 %: a quarter
        ("10400", "10s", "10296x50 | 10504x50"),  # half of it is forgotten
        ("10400", "20s", "10296x100 | 10504x100"),
    ],
)
def test_a_curve_offers_less_while_the_index_moves(exchange: Venue, moved, later, held):
    """R135. Above 1 % of moves within a half-life of ten seconds depth falls in their ratio."""
    curve(exchange, volatility_ppm=10_000, volatility_half_life_ns=10**10).play(f"""
        at 100s
        index 10000
        index {moved}
        wait {later}
        index {moved}
        expect book {held}
    """)


@pytest.mark.parametrize(
    ("share", "held"),
    [
        (0, "9900x100 | 10100x100"),
        (500_000, "9949x100 | 10151x100"),  # the middle is 10 050
        (1_000_000, "9999x100 | 10201x100"),  # and here 10 100, where Alice bought
    ],
)
def test_a_share_of_what_trades_moved_is_permanent(exchange: Venue, share: int, held: str):
    """R136. Alice buys at 10 100, 1 % above the index; the index stays where it is."""
    curve(exchange, permanent_ppm=share).play(f"""
        at 100s
        index 10000
        open alice
        deposit alice 100000
        leverage alice 2
        buy alice 1 @ 10100
        index 10000
        expect book {held}
        index 10000
        expect book {held}
    """)
