"""Self-trade: what happens when an order meets its own account. Every number here is ours."""

from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit alice 10000
    deposit bob 10000
    sell alice 2 @ 101 #1
    sell bob 3 @ 101 #2
"""


def test_allowed_by_default_and_it_moves_nothing_but_the_last_price(exchange: Venue):
    """R16. Both sides are Alice: she stays flat."""
    exchange.play(START).play("""
        buy alice 2 @ 101
        expect events FILL FILL
        expect alice flat
        expect alice wallet 10000
        expect last 101
        expect queue sell 101: bob 3
    """)


def test_cancel_newest_stops_the_arriving_order(exchange: Venue):
    """R16. Nothing trades: her own order is first in the queue."""
    exchange.play(START).play("""
        buy alice 4 @ 101 stp newest
        expect events CANCELLED.SELF_TRADE
        expect event CANCELLED alice lots 4
        expect queue sell 101: alice 2, bob 3
    """)


def test_cancel_newest_keeps_what_traded_before(exchange: Venue):
    """R16. Bob's better price fills first, then she meets herself."""
    exchange.play(START).play("""
        sell bob 1 @ 100
        buy alice 4 @ 101 stp newest
        expect events FILL FILL CANCELLED.SELF_TRADE
        expect event CANCELLED alice lots 3
        expect alice long 1 @ 100
    """)


def test_cancel_oldest_takes_her_own_order_out_and_goes_on(exchange: Venue):
    """R16."""
    exchange.play(START).play("""
        buy alice 4 @ 101 stp oldest
        expect events CANCELLED.SELF_TRADE FILL FILL RESTED
        expect event CANCELLED alice order_id 1 lots 2
        expect alice long 3 @ 101
        expect book 101x1 |
    """)


def test_cancel_both(exchange: Venue):
    """R16."""
    exchange.play(START).play("""
        buy alice 4 @ 101 stp both
        expect events CANCELLED.SELF_TRADE CANCELLED.SELF_TRADE
        expect alice orders 0
        expect queue sell 101: bob 3
    """)


def test_fill_or_kill_looks_past_her_own_orders(exchange: Venue):
    """R09. Three of Bob's count; with cancel-newest her own order in front refuses it."""
    exchange.play(START).play("""
        buy alice 4 @ 101 fok stp oldest
        expect rejected FOK_NOT_FILLABLE
        buy alice 3 @ 101 fok stp newest
        expect rejected FOK_NOT_FILLABLE
        buy alice 3 @ 101 fok stp oldest
        expect alice long 3 @ 101
        expect alice orders 0
    """)


def test_a_reducing_order_never_trades_with_its_own_account(exchange: Venue):
    """R16. Short one, Alice asks for five more; her buy of five that may only reduce would open
    again what it closes, one lot at a time: her own order goes, then Bob closes her."""
    exchange.play("""
        index 100
        open alice
        open bob
        deposit alice 10000
        deposit bob 10000
        buy bob 1 @ 100
        sell alice 1 @ 100
        sell alice 5 @ 101 #1
        sell bob 3 @ 102 #2
        buy alice 5 @ 102 reduce
        expect events CANCELLED.SELF_TRADE FILL FILL CANCELLED.REDUCE_ONLY
        expect alice flat
        expect queue sell 102: bob 2
    """)
