"""Isolated margin: a position with a purse of its own. Every number here is ours, leverage 10."""

from notation import Venue

START = """
    index 100
    open alice
    open bob
    deposit alice 100
    deposit bob 10000
    isolated alice
"""


def trade(side: str, lots: int, price: int) -> str:
    """Alice trades with Bob, who rests first."""
    other = "sell" if side == "buy" else "buy"
    return f"{other} bob {lots} @ {price}\n{side} alice {lots} @ {price}\n"


def test_opening_takes_initial_margin_from_the_wallet(exchange: Venue):
    """R26. Five lots at 100: 50."""
    exchange.play(START).play(trade("buy", 5, 100)).play("""
        expect events FILL FILL MARGIN_MOVED
        expect event MARGIN_MOVED alice amount 50
        expect alice wallet 50
        expect alice margin 50
    """)


def test_the_fee_of_the_opening_comes_with_it(exchange: Venue):
    """R26. 500 ppm of 500 is 0.25: charged to the position, which is given it on top."""
    exchange.play("given market.taker_fee_ppm = 500").play(START).play(
        trade("buy", 5, 100)
    ).play("""
        expect event MARGIN_MOVED alice amount 50.25
        expect alice wallet 49.75
        expect alice margin 50
    """)


def test_closing_a_share_returns_its_margin_and_profit(exchange: Venue):
    """R26. Two of four at 110: half the margin of 40, and 20 profit."""
    exchange.play(START).play(trade("buy", 4, 100) + trade("sell", 2, 110)).play("""
        expect event MARGIN_MOVED alice amount -40
        expect alice margin 20
        expect alice wallet 100
        expect alice long 2 @ 100
    """)


def test_a_loss_comes_out_of_the_share(exchange: Venue):
    """R26. Two of four at 95: 20 of margin less 10 lost; the other half keeps its 20."""
    exchange.play(START).play(trade("buy", 4, 100) + trade("sell", 2, 95)).play("""
        expect event MARGIN_MOVED alice amount -10
        expect alice margin 20
        expect alice wallet 70
    """)


def test_closing_everything_empties_the_purse(exchange: Venue):
    """R26. Margin 40, loss 20: 20 come back."""
    exchange.play(START).play(trade("buy", 4, 100) + trade("sell", 4, 95)).play("""
        expect alice margin 0
        expect alice wallet 80
        expect alice flat
    """)


def test_turning_returns_the_old_margin_and_takes_the_new(exchange: Venue):
    """R26. Long 2 (margin 20) turned at 110 into short 3: 20 + 20 profit come back, 33 go in."""
    exchange.play(START).play(trade("buy", 2, 100) + trade("sell", 5, 110)).play("""
        expect event MARGIN_MOVED alice amount -7
        expect alice margin 33
        expect alice wallet 87
        expect alice short 3 @ 110
    """)


def test_margin_can_be_added_as_far_as_is_free(exchange: Venue):
    """R27, R46. 50 left in the wallet, 10 of them needed by an order."""
    exchange.play(START).play(trade("buy", 5, 100)).play("""
        buy alice 1 @ 100
        margin alice 40.01
        expect rejected INSUFFICIENT_BALANCE
        margin alice 40
        expect events MARGIN_MOVED
        expect alice margin 90
        expect alice wallet 10
    """)


def test_margin_can_be_taken_out_down_to_initial_margin(exchange: Venue):
    """R27. At mark 110 equity is 50 + 50, initial margin 55: 45 may go."""
    exchange.play(START).play(trade("buy", 5, 100)).play("""
        mark 110
        margin alice -45.01
        expect rejected INSUFFICIENT_BALANCE
        margin alice -45
        expect alice margin 5
        expect alice wallet 95
    """)


def test_profit_alone_cannot_be_taken_out(exchange: Venue):
    """R27. At mark 130 equity is 200 and 65 are needed, but the purse holds only 50."""
    exchange.play(START).play(trade("buy", 5, 100)).play("""
        mark 130
        margin alice -50.01
        expect rejected INSUFFICIENT_BALANCE
        margin alice -50
        expect alice margin 0
    """)


def test_only_isolated_positions_have_a_purse(exchange: Venue):
    """R27. Bob's is cross; Alice has none yet."""
    exchange.play(START).play("""
        margin alice 1
        expect rejected NOT_ISOLATED
        seed bob 1 @ 100
        margin bob 1
        expect rejected NOT_ISOLATED
    """)


def test_the_mode_changes_only_while_nothing_is_open(exchange: Venue):
    """R48. Neither with a resting order nor with a position."""
    exchange.play(START).play("""
        buy alice 1 @ 99
        cross alice
        expect rejected POSITION_OR_ORDERS_OPEN
        cancel alice all
        cross alice
        expect events MARGIN_MODE_SET
        seed alice 1 @ 100
        isolated alice
        expect rejected POSITION_OR_ORDERS_OPEN
    """)


def test_an_isolated_liquidation_leaves_the_wallet_alone(exchange: Venue):
    """R35, R75. Margin 50 behind five lots: maintenance at 94 is 23.50, equity 20."""
    exchange.play(START).play(trade("buy", 5, 100)).play("""
        deposit fund 10000
        mark 95
        expect no event LIQUIDATION_STARTED
        mark 94
        expect event LIQUIDATION_STARTED alice amount 20 fee 23.5 market_id 1 flags 8
        expect event FILL.TAKEOVER alice lots -5 price 90
        expect alice wallet 50
        expect alice margin 0
        expect alice flat
    """)


def test_what_is_left_of_the_purse_goes_back(exchange: Venue):
    """R86. Sold at 92 in the book: 10 of the 50 are left."""
    exchange.play(START).play(trade("buy", 5, 100)).play("""
        buy bob 5 @ 92
        mark 94
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount 0
        expect alice wallet 60
        expect alice margin 0
    """)


def test_cross_losses_do_not_reach_the_purse(exchange: Venue):
    """R35. Market 1 is isolated, market 2 cross: the cross loss takes the wallet only."""
    exchange.play("given two markets").play(START).play(trade("buy", 5, 100)).play("""
        deposit fund 10000
        in market 2
        index 100
        seed alice 5 @ 100
        mark 92
        expect event LIQUIDATION_STARTED alice amount 10 fee 23 market_id 0 flags 0
        expect alice flat
        expect alice wallet 0
        in market 1
        expect alice long 5 @ 100
        expect alice margin 50
    """)


def test_an_order_of_an_isolated_leg_is_covered_by_the_wallet(exchange: Venue):
    """R38. Five lots hold their own 50; five more need 50 of the wallet, six 60."""
    exchange.play(START).play(trade("buy", 5, 100)).play("""
        buy alice 6 @ 100
        expect rejected POSITION_LIMIT
        withdraw alice 0.01
        buy alice 5 @ 100
        expect rejected INSUFFICIENT_MARGIN
        buy alice 4 @ 100
    """)


def test_a_seeded_isolated_position_brings_its_margin(exchange: Venue):
    """R89. 30 move from the wallet, whatever initial margin would be."""
    exchange.play(START).play("""
        seed alice 5 @ 100 isolated 100.01
        expect rejected INSUFFICIENT_BALANCE
        seed alice 5 @ 100 isolated 30
        expect alice margin 30
        expect alice wallet 70
    """)
