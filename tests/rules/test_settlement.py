"""Sessions, deliveries and positions that are closed whatever the account's health.

Alice is long ten lots from 100, Bob short ten from 100. Every number here is ours.
"""

import pytest
from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit alice 200
    deposit bob 200
    seed alice 10 @ 100
    seed bob -10 @ 100
"""


def test_profits_become_balances(exchange: Venue):
    """R104. At 95: 50 each way, and from then on both entered at 95."""
    exchange.play(START).play("""
        settle 95
        expect event SETTLED alice lots 10 price 95 amount -50
        expect event SETTLED bob lots -10 price 95 amount 50
        expect alice long 10 @ 95
        expect alice wallet 150
        expect bob short 10 @ 95
        expect bob wallet 250
        settle 95
        expect events
    """)


def test_without_a_price_it_is_the_mark(exchange: Venue):
    """R104. In every market."""
    exchange.play("given two markets").play(START).play("""
        in market 2
        index 100
        seed alice 1 @ 90
        in market 1
        mark 97
        settle here
        expect event SETTLED alice amount -30 market_id 1
        expect no event SETTLED alice market_id 2
        settle all
        expect event SETTLED alice amount 10 market_id 2
    """)


def test_an_isolated_position_is_settled_with_its_margin(exchange: Venue):
    """R104."""
    exchange.play("""
        index 100
        open alice
        isolated alice
        deposit alice 200
        seed alice 10 @ 100 isolated 150
        settle 95
        expect event SETTLED alice amount -50 flags 8
        expect alice margin 100
        expect alice wallet 50
    """)


def test_settlements_that_are_refused(exchange: Venue):
    """R104."""
    exchange.play(START).play("""
        in market 2
        settle here
        expect rejected UNKNOWN_MARKET
        in market 1
        settle 100001
        expect rejected PRICE_OUT_OF_RANGE
    """)


def test_delivery_closes_every_position(exchange: Venue):
    """R121. At 104, against CLEARING; the orders of the market are gone before."""
    exchange.play(START).play("""
        sell alice 1 @ 120 #1
        stop sell bob 1 @ 80 mark #2
        deliver 104
        expect event CANCELLED.DELIVERY alice order_id 1
        expect event CANCELLED.DELIVERY bob order_id 2
        expect event FILL.DELIVERY alice lots -10 price 104 amount 40 fee 0
        expect event FILL.DELIVERY bob lots 10 price 104 amount -40 fee 0
        expect alice flat
        expect bob flat
        expect clearing flat
        expect alice wallet 240
        expect open interest 0
    """)


def test_delivery_returns_isolated_margin(exchange: Venue):
    """R121."""
    exchange.play("""
        index 100
        open alice
        isolated alice
        deposit alice 200
        seed alice 10 @ 100 isolated 150
        deliver 95
        expect event MARGIN_MOVED alice amount -100
        expect alice margin 0
        expect alice wallet 150
    """)


def test_a_loss_at_delivery_is_a_loss_like_any_other(exchange: Venue):
    """R121, R73, R86. At 75 Alice is 50 short."""
    exchange.play(START).play("""
        deliver 75
        expect event LIQUIDATION_STARTED alice amount -50
        expect event BAD_DEBT alice amount 50
        expect event LIQUIDATION_ENDED.NEGATIVE_BALANCE alice amount 0
    """)


def test_deliveries_that_are_refused(exchange: Venue):
    """R121."""
    exchange.play(START).play("""
        deliver 0
        expect rejected PRICE_OUT_OF_RANGE
        in market 2
        deliver 100
        expect rejected UNKNOWN_MARKET
    """)


@pytest.mark.parametrize("reason", ["POSITION_LIMIT", "DELISTING", "REGULATORY", "EMERGENCY"])
def test_a_position_may_be_cut_whatever_its_health(exchange: Venue, reason: str):
    """R120, R109. To four lots: of six four are sold at 99, two go to the fund at mark."""
    exchange.play(START).play(f"""
        open carol
        deposit carol 1000
        buy carol 4 @ 99
        sell alice 1 @ 150 #1
        force alice {reason} keep 4
        expect event CANCELLED.LIQUIDATION alice order_id 1
        expect event FILL.LIQUIDATION alice lots -4 price 99
        expect event FILL.TAKEOVER alice lots -2 price 100
        expect event FORCE_CLOSED.{reason} alice lots 6
        expect alice long 4 @ 100
        expect alice wallet 196
        expect fund long 2 @ 100
        expect no event LIQUIDATION_STARTED
    """)


def test_whoever_holds_no_more_than_allowed_keeps_it(exchange: Venue):
    """R120. The orders are cancelled all the same."""
    exchange.play(START).play("""
        sell alice 1 @ 150 #1
        force alice POSITION_LIMIT keep 10
        expect events CANCELLED.LIQUIDATION
    """)


def test_in_one_market_or_in_all(exchange: Venue):
    """R120. Isolated margin goes back to the wallet with what was won."""
    exchange.play("given two markets").play(START).play("""
        in market 2
        index 100
        isolated alice
        seed alice 2 @ 95 isolated 50
        in market 1
        force alice DELISTING
        expect event FORCE_CLOSED.DELISTING alice market_id 1 lots 10
        expect alice flat
        expect no event FORCE_CLOSED alice market_id 2
        force alice DELISTING everywhere
        expect event FORCE_CLOSED.DELISTING alice market_id 2 lots 2
        expect event MARGIN_MOVED alice amount -60
        expect alice wallet 210
    """)


def test_both_legs_of_a_hedge_are_cut(exchange: Venue):
    """R120."""
    exchange.play("""
        index 100
        open alice hedge
        deposit alice 1000
        seed alice 5 @ 100 long
        seed alice -3 @ 100 short
        force alice POSITION_LIMIT keep 2
        expect event FORCE_CLOSED alice position_side 1 lots 3
        expect event FORCE_CLOSED alice position_side 2 lots 1
    """)


def test_forced_closings_that_are_refused(exchange: Venue):
    """R120."""
    exchange.play(START).play("""
        force alice NOBODY
        expect rejected INVALID_REASON
        force alice DELISTING keep -1
        expect rejected LOTS_OUT_OF_RANGE
        force fund DELISTING
        expect rejected ACCOUNT_IS_SYSTEM
        in market 2
        force alice DELISTING
        expect rejected UNKNOWN_MARKET
    """)
