"""Absorbers beside fund and deleveraging: the vault, the pool, volunteers, the covered book.

Alice holds ten lots at 100 with a wallet of 100; at mark 94 she has 40 against 47 and her
bankruptcy price is 90. There are no order steps. Every number here is ours.
"""

import pytest
from notation import Venue

START = """
    index 100
    open alice
    open bob
    open carol
    deposit alice 100
    deposit bob 1000
    deposit carol 1000
    seed alice 10 @ 100
"""


def waterfall(names: str) -> str:
    return f"""
        given losses.waterfall = {names}
        given liquidation.steps = cancel_orders
    """


def test_the_vault_takes_position_and_balance(exchange: Venue):
    """R118. At mark, and the 40 that are left with it."""
    exchange.play(waterfall("vault fund_unlimited")).play(START).play("""
        mark 94
        expect event FILL.TRANSFER alice lots -10 price 94 amount -60
        expect event SEIZED alice amount 40
        expect event LIQUIDATION_ENDED.BACKSTOPPED alice amount 0
        expect backstop long 10 @ 94
        expect backstop wallet 40
        expect alice wallet 0
    """)


@pytest.mark.parametrize(("mark", "taken"), [(90, True), (89, False)])
def test_the_vault_takes_no_loss(exchange: Venue, mark: int, taken: bool):
    """R118. At 90 nothing is left, and it takes her; at 89 10 are missing, and it does not."""
    exchange.play(waterfall("vault fund_unlimited")).play(START).play(f"""
        mark {mark}
        expect {"event" if taken else "no event"} FILL.TRANSFER alice
        expect {"no event" if taken else "event"} FILL.RESIDUAL alice price 90
        expect no event SEIZED
    """)


@pytest.mark.parametrize(("mark", "taken"), [(94, False), (93, True)])
def test_the_vault_waits_for_its_level(exchange: Venue, mark: int, taken: bool):
    """R118. Two thirds of maintenance: 31.33 at 94, where there are 40, 31.00 at 93, where there
    are 30."""
    exchange.play(waterfall("vault fund_unlimited")).play(
        "given trigger.backstop_ppm = 666667"
    ).play(START).play(f"""
        mark {mark}
        expect {"event" if taken else "no event"} SEIZED alice amount 30
        expect {"no event" if taken else "event"} FILL.RESIDUAL alice price 90
    """)


def test_the_vault_takes_every_position_of_the_domain(exchange: Venue):
    """R118. Both markets, and then one balance."""
    exchange.play("given two markets").play(waterfall("vault fund_unlimited")).play(START).play("""
        in market 2
        index 100
        seed alice -2 @ 100
        in market 1
        mark 94
        expect event FILL.TRANSFER alice lots -10 market_id 1
        expect event FILL.TRANSFER alice lots 2 market_id 2
        expect event SEIZED alice amount 40
    """)


def test_the_pool_takes_at_mark_whatever_is_left(exchange: Venue):
    """R80. At 89 10 are missing: the pool has the position, the fund the loss."""
    exchange.play(waterfall("pool")).play(START).play("""
        mark 89
        expect event FILL.TRANSFER alice lots -10 price 89
        expect event BAD_DEBT alice amount 10
        expect event LIQUIDATION_ENDED.BACKSTOPPED alice amount 0
        expect backstop long 10 @ 89
        expect fund wallet -10
    """)


def test_volunteers_share_equally_as_far_as_they_are_ready(exchange: Venue):
    """R116, R124. Five each: Bob is ready for four. The one left over goes to Carol."""
    exchange.play(waterfall("volunteers fund_unlimited")).play(START).play("""
        volunteer bob 4
        expect event VOLUNTEERED bob lots 4
        volunteer carol 10
        mark 94
        expect event FILL.ASSIGNED alice lots -4 price 90
        expect event FILL.ASSIGNED alice lots -5 price 90
        expect event FILL.ASSIGNED alice lots -1 price 90
        expect event LIQUIDATION_ENDED.ASSIGNED_OUT alice amount 0
        expect bob long 4 @ 90
        expect carol long 6 @ 90
    """)


def test_what_nobody_is_ready_for_goes_on(exchange: Venue):
    """R116, R80."""
    exchange.play(waterfall("volunteers fund_unlimited")).play(START).play("""
        volunteer bob 4
        mark 94
        expect bob long 4 @ 90
        expect event FILL.RESIDUAL alice lots -6 price 90
    """)


def test_what_was_assigned_is_used_up(exchange: Venue):
    """R124. Bob was ready for twelve: ten of Alice, two of Carol. Zero ends it."""
    exchange.play(waterfall("volunteers fund_unlimited")).play(START).play("""
        open dave
        deposit dave 100
        seed dave 10 @ 100
        volunteer bob 12
        volunteer carol 3
        volunteer carol 0
        mark 94
        expect event FILL.ASSIGNED alice lots -10
        expect event FILL.ASSIGNED dave lots -2
        expect event FILL.RESIDUAL dave lots -8
        expect carol flat
    """)


@pytest.mark.parametrize(
    ("edge", "price", "debt"), [("0", 90, ""), ("40000", 90, ""), ("60000", 89, "10")]
)
def test_volunteers_may_ask_for_an_edge(exchange: Venue, edge: str, price: int, debt: str):
    """R116. 4 % below 94 is 90.24, so 91: the bankruptcy price is further; 6 % is 88.36, so 89,
    and 10 are missing."""
    exchange.play(waterfall("volunteers fund_unlimited")).play(
        f"given losses.volunteer_edge_ppm = {edge}"
    ).play(START).play(f"""
        volunteer bob 10
        mark 94
        expect event FILL.ASSIGNED alice lots -10 price {price}
        expect {f"event BAD_DEBT alice amount {debt}" if debt else "no event BAD_DEBT"}
    """)


@pytest.mark.parametrize(("money", "taken"), [("50", True), ("49.99", False)])
def test_a_volunteer_must_stay_solvent(exchange: Venue, money: str, taken: bool):
    """R116, R85. Ten lots at 90 are 50 behind at mark 85."""
    exchange.play(waterfall("volunteers fund_unlimited")).play(
        START.replace("deposit bob 1000", f"deposit bob {money}")
    ).play(f"""
        volunteer bob 10
        mark 85
        expect {"event" if taken else "no event"} FILL.ASSIGNED alice lots -10 price 90
    """)


def test_a_hedge_leg_takes_its_own_side_only(exchange: Venue):
    """R116. Alice is long: Dave's short leg is no place for that, his long leg is."""
    exchange.play(waterfall("volunteers fund_unlimited")).play(START).play("""
        open dave hedge
        deposit dave 1000
        volunteer dave 5 short
        volunteer dave 3 long
        mark 94
        expect event FILL.ASSIGNED dave position_side 1 lots 3
        expect event FILL.RESIDUAL alice lots -7
    """)


def test_no_volunteer_without_an_account(exchange: Venue):
    """R124."""
    exchange.play(START).play("""
        volunteer fund 5
        expect rejected ACCOUNT_IS_SYSTEM
        volunteer bob -1
        expect rejected LOTS_OUT_OF_RANGE
        volunteer bob 5 long
        expect rejected POSITION_SIDE_MISMATCH
    """)


def test_the_book_covered_by_the_fund(exchange: Venue):
    """R117. 5 % below the best bid of 92 is 87.40, so 88: four at 92 and four at 88 lose 80. Two
    lots and 20 less 12 are left: bankrupt at 90."""
    exchange.play(waterfall("covered_book fund_unlimited")).play(
        "given losses.covered_band_ppm = 50000"
    ).play(START).play("""
        leverage bob 5
        buy bob 4 @ 92
        buy bob 4 @ 88
        buy bob 4 @ 87
        mark 94
        expect event FILL.LIQUIDATION alice lots -4 price 92
        expect event FILL.LIQUIDATION alice lots -4 price 88
        expect event CANCELLED.IOC_REMAINDER alice lots 2 price 88
        expect event FILL.RESIDUAL alice lots -2 price 90
        expect book 87x4 |
    """)


def test_what_the_covered_book_loses_the_fund_pays(exchange: Venue):
    """R117, R86. Ten lots at 88, 20 below the bankruptcy price."""
    exchange.play(waterfall("covered_book fund_unlimited")).play(START).play("""
        deposit fund 50
        buy bob 10 @ 88
        mark 94
        expect event FILL.LIQUIDATION alice lots -10 price 88 amount -120
        expect event SHORTFALL alice amount 20
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount 0
        expect fund wallet 30
    """)


def test_without_a_bid_the_covered_book_is_passed_over(exchange: Venue):
    """R117."""
    exchange.play(waterfall("covered_book fund_unlimited")).play(START).play("""
        mark 94
        expect no event CANCELLED
        expect event FILL.RESIDUAL alice lots -10 price 90
    """)
