"""Assets held as collateral: what they add to equity, when they may leave, when they are sold.

Market 1 is a contract, market 2 an asset with a haircut of 20 %: a lot at 50 adds 40. Alice holds
ten lots of the contract from 100. Every number here is ours.
"""

import pytest
from notation import Venue

START = """
    given collateral 200000
    index 100
    in market 2
    index 50
    in market 1
    open alice
    open bob
    deposit alice 60
    deposit bob 100000
    leverage bob 2
    deposit fund 100000
    in market 2
    asset alice 5
    in market 1
    seed alice 10 @ 100
"""


def test_an_asset_comes_in_against_clearing(exchange: Venue):
    """R122. At a price of zero: it is held, and nobody paid for it."""
    exchange.play(START.replace("    asset alice 5\n", "")).play("""
        in market 2
        asset alice 5
        expect events FILL.ASSET FILL.ASSET
        expect event FILL.ASSET alice lots 5 price 0 amount 0 fee 0
        expect alice long 5 for 0
        expect clearing short 5 for 0
        expect alice wallet 60
    """)


def test_an_asset_adds_its_value_less_the_haircut(exchange: Venue):
    """R97, R36. 60 and 5 * 40 make 260; maintenance stays that of the contract (R31)."""
    exchange.play(START).play("""
        expect alice owns 260
        expect alice maintains 50
        expect alice initial 100
        in market 2
        mark 30
        expect alice equity 180
    """)


def test_a_haircut_is_rounded_down(exchange: Venue):
    """R97. One lot of 0.01 at 7.77 less a third of it, in units of 0.01: 5.18, rounded down."""
    exchange.play("""
        given collateral 333333
        given market.price_decimals = 2
        given market.tick = 0.01
        given market.lot = 1
        given market.price_max = 1000
        in market 2
        index 7.77
        open alice
        asset alice 1
        expect alice owns 5.18
        mark 7.76
        expect alice owns 5.17
    """)


def test_an_asset_covers_orders(exchange: Venue):
    """R39, R40, R97. 200 of assets and 60 in the wallet: with leverage 5 thirteen lots need 260."""
    exchange.play(START).play("""
        leverage alice 5
        buy alice 4 @ 100
        expect rejected INSUFFICIENT_MARGIN
        buy alice 3 @ 100
        expect events RESTED
    """)


@pytest.mark.parametrize(("lots", "refused"), [(1, False), (4, False), (5, True), (6, True)])
def test_an_asset_leaves_as_far_as_it_is_free(exchange: Venue, lots: int, refused: bool):
    """R123. Initial margin is 100 and equity 260: 160 are free, four lots at 40."""
    exchange.play(START).play(f"""
        in market 2
        asset alice -{lots}
        {"expect rejected INSUFFICIENT_BALANCE" if refused else "expect event FILL.ASSET alice"}
    """)


def test_withdrawing_money_counts_assets_as_free_but_pays_from_the_wallet(exchange: Venue):
    """R46. 160 are free, 60 of them money."""
    exchange.play(START).play("""
        withdraw alice 60.01
        expect rejected INSUFFICIENT_BALANCE
        withdraw alice 60
    """)


def test_commands_that_do_not_fit_the_market(exchange: Venue):
    """R122, R123. No asset in a contract's market, no orders, positions or funding in an
    asset's."""
    exchange.play(START).play("""
        asset alice 1
        expect rejected NOT_COLLATERAL
        asset alice -1
        expect rejected NOT_COLLATERAL
        in market 2
        buy alice 1 @ 50
        expect rejected NOT_COLLATERAL
        seed bob 1 @ 50
        expect rejected NOT_COLLATERAL
        leverage alice 2
        expect rejected NOT_COLLATERAL
        isolated alice
        expect rejected NOT_COLLATERAL
        volunteer alice 2
        expect rejected NOT_COLLATERAL
        funding 100 ppm
        expect rejected NOT_COLLATERAL
        deliver 50
        expect rejected NOT_COLLATERAL
    """)


def test_an_asset_without_a_price_does_not_come_in(exchange: Venue):
    """R122."""
    exchange.play("""
        given collateral 200000
        index 100
        open alice
        in market 2
        asset alice 1
        expect rejected NO_MARK_PRICE
    """)


def test_a_falling_asset_is_a_breach(exchange: Venue):
    """R36, R73. At 27 the five lots add 108, with 60 and 60 lost at mark 94 that is 108 against
    47; at 11 they add 44, 44 in all."""
    exchange.play(START).play("""
        mark 94
        in market 2
        mark 27
        expect no event LIQUIDATION_STARTED
        mark 11
        expect event LIQUIDATION_STARTED alice amount 44 fee 47
    """)


SALE = START.replace("deposit alice 60", "deposit alice 0.01").replace("index 50", "index 20")


def test_assets_are_sold_first(exchange: Venue):
    """R110. Money 0.01 and assets worth 80: at 96 40 are lost, 40.01 against 48. All five lots go
    to the fund at mark, 20, without a haircut: 60.01 against 48 is enough."""
    exchange.play("given liquidation.sell_collateral = first").play(SALE).play("""
        mark 96
        expect event LIQUIDATION_STARTED alice amount 40.01 fee 48
        expect event FILL.TAKEOVER alice market_id 2 lots -5 price 20 amount 100
        expect event LIQUIDATION_ENDED.RESTORED alice amount 60.01
        expect alice wallet 100.01
        expect alice long 10 @ 100
    """)


def test_or_last_and_just_enough(exchange: Venue):
    """R110, R76. The contract is sold at 96 first, and 39.99 are missing. A lot counts 16: three
    are sold for 60, and two are kept."""
    exchange.play("given liquidation.sell_collateral = last").play(SALE).play("""
        buy bob 10 @ 96
        mark 96
        expect event FILL.LIQUIDATION alice market_id 1 lots -10 price 96 amount -40
        expect event FILL.TAKEOVER alice market_id 2 lots -3 price 20 amount 60
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice
        expect alice wallet 20.01
        in market 2
        expect alice long 2 for 0
    """)


def test_a_bid_for_the_asset_is_taken(exchange: Venue):
    """R110, R109. Recorded depth bids 19 for two of the five; the fund takes three at 20."""
    exchange.play("given liquidation.sell_collateral = first").play(SALE).play("""
        in market 2
        depth buy 19 x 2
        in market 1
        mark 96
        expect event FILL.LIQUIDATION alice market_id 2 lots -2 price 19
        expect event FILL.TAKEOVER alice market_id 2 lots -3 price 20
    """)


def test_assets_are_no_positions_of_a_settlement(exchange: Venue):
    """R104, R120. They are neither settled nor closed by force."""
    exchange.play(START).play("""
        settle all
        expect events
        force alice DELISTING everywhere
        in market 2
        expect alice long 5 for 0
    """)


def test_assets_are_gated_with_money(exchange: Venue):
    """R123, R125. Alice's contract is sold at 70 and her asset is worth nothing; Bob waits."""
    exchange.play("""
        given losses.residual = negative_left
        given losses.gate_ns = 10s
        given steps = all limit none
    """).play(START.replace("asset alice 5", "asset bob 5")).play("""
        withdraw fund 100000
        buy bob 10 @ 70
        mark 94
        expect event DEBT_LEFT alice amount 240
        in market 2
        asset bob -1
        expect rejected WITHDRAWALS_GATED
        at 10s
        asset bob -1
    """)
