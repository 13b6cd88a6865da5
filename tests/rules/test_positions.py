"""Positions: average cost, closing, turning, and where truncation goes. Every number is ours."""

from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit alice 10000
    deposit bob 10000
"""


def trade(side: str, lots: int, price: int) -> str:
    """Alice trades with Bob, who rests first."""
    other = "sell" if side == "buy" else "buy"
    return f"{other} bob {lots} @ {price}\n{side} alice {lots} @ {price}\n"


def test_adding_averages_the_entry(exchange: Venue):
    """R23. 2 at 100 and 1 at 103: three for 303, 101 each."""
    exchange.play(START).play(trade("buy", 2, 100) + trade("buy", 1, 103)).play("""
        expect alice long 3 @ 101
        expect bob short 3 @ 101
        expect alice wallet 10000
    """)


def test_closing_realises_against_the_average(exchange: Venue):
    """R23. One of three for 303 is sold at 110: 110 - 101 = 9."""
    exchange.play(START).play(trade("buy", 2, 100) + trade("buy", 1, 103)).play(
        trade("sell", 1, 110)
    ).play("""
        expect event FILL alice lots -1 amount 9
        expect event FILL bob lots 1 amount -9
        expect alice long 2 for 202
        expect alice wallet 10009
        expect bob wallet 9991
    """)


def test_truncation_stays_in_the_position_and_comes_back(exchange: Venue):
    """R23. Three for 302: a third is 100.66 (toward zero), 201.34 stay. Sold at 110 they bring
    9.34 and 18.66, together the exact 330 - 302 = 28."""
    exchange.play(START).play(trade("buy", 1, 100) + trade("buy", 2, 101)).play(
        trade("sell", 1, 110)
    ).play("""
        expect event FILL alice amount 9.34
        expect alice long 2 for 201.34
        expect event FILL bob amount -9.34
        expect bob short 2 for -201.34
    """).play(trade("sell", 2, 110)).play("""
        expect event FILL alice amount 18.66
        expect alice wallet 10028
        expect bob wallet 9972
        expect alice flat
    """)


def test_a_short_truncates_toward_zero_too(exchange: Venue):
    """R23. Short three for -302, one bought back at 90: 100.66 - 90 = 10.66."""
    exchange.play(START).play(trade("sell", 1, 100) + trade("sell", 2, 101)).play(
        trade("buy", 1, 90)
    ).play("""
        expect event FILL alice amount 10.66
        expect alice short 2 for -201.34
    """)


def test_one_fill_can_close_and_open_the_other_way(exchange: Venue):
    """R23. Long 3 for 302, 5 sold at 110: 28 realised, short 2 at 110."""
    exchange.play(START).play(trade("buy", 1, 100) + trade("buy", 2, 101)).play(
        trade("sell", 5, 110)
    ).play("""
        expect event FILL alice lots -5 amount 28
        expect alice short 2 @ 110
        expect alice wallet 10028
    """)


def test_equity_is_wallet_and_unrealised_profit(exchange: Venue):
    """R36. Long 3 for 302 at mark 90: 270 - 302."""
    exchange.play(START).play(trade("buy", 1, 100) + trade("buy", 2, 101)).play("""
        mark 90
        expect alice equity 9968
        expect bob equity 10032
    """)


def test_open_interest_counts_long_lots(exchange: Venue):
    """R23. Three longs bought, two sold back, then Alice turns short against Bob's long."""
    exchange.play(START).play(trade("buy", 3, 100)).play("expect open interest 3").play(
        trade("sell", 2, 100)
    ).play("expect open interest 1").play(trade("sell", 5, 100)).play("""
        expect alice short 4
        expect open interest 4
    """)


INVERSE = """
    given inverse
    index 2048
    open alice
    open bob
    deposit alice 10
    deposit bob 10
"""


def test_the_inverse_value_rounds_half_to_even(exchange: Venue):
    """R20. 100 / 2048 = 0.048828125 coin a lot. One lot: ...12.5 units, down to the even 12;
    three lots: 14 648 437.5 units, up to the even 38."""
    exchange.play(INVERSE).play("""
        sell bob 1 @ 2048
        buy alice 1 @ 2048
        expect alice long 1 for -0.04882812
        expect bob short 1 for 0.04882812
        open carol
        deposit carol 10
        sell bob 3 @ 2048
        buy carol 3 @ 2048
        expect carol long 3 for -0.14648438
    """)


def test_the_inverse_profit(exchange: Venue):
    """R20, R23. Long 4 at 2 000 (-0.2 coin), sold at 2 500 (0.16 coin back): 0.04 coin."""
    exchange.play(INVERSE).play(trade("buy", 4, 2000)).play(trade("sell", 4, 2500)).play("""
        expect event FILL alice amount 0.04
        expect event FILL bob amount -0.04
        expect alice wallet 10.04
        expect bob wallet 9.96
    """)


def test_a_seeded_position_is_a_fill_against_clearing(exchange: Venue):
    """R89. No money moves, the clearing account holds the other side."""
    exchange.play(START).play("""
        seed alice 7 @ 90
        expect events FILL.SEED FILL.SEED
        expect alice long 7 @ 90
        expect clearing short 7 @ 90
        expect alice equity 10070
        seed alice 1 @ 90
        expect rejected POSITION_OR_ORDERS_OPEN
        seed bob 0 @ 90
        expect rejected LOTS_OUT_OF_RANGE
    """)
