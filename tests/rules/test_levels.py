"""The levels of a margin domain: warning, restriction, breach, backstop, exit, and waiting.

Alice holds ten lots at 100 with a wallet of 100: 5 % of maintenance margin, 10 % of initial. At
mark 95 she has 50 and needs 47.50; at 94 she has 40 and needs 47. Every number here is ours.
"""

import pytest
from notation import Venue
from small_venues import ALICE_AND_BOB as START

COVER = "given steps = cover_shortage\n"


@pytest.mark.parametrize(("comparison", "need"), [("below", ""), ("at_or_below", "47.51")])
def test_whether_equality_is_a_breach(exchange: Venue, comparison: str, need: str):
    """R92. A wallet of 97.50 leaves at mark 95 exactly the 47.50 needed; where that is a breach,
    one unit more is asked."""
    exchange.play(f"given trigger.comparison = {comparison}").play(
        START.replace("deposit alice 100", "deposit alice 97.5")
    ).play(f"""
        mark 96
        expect alice asks {"48.01" if need else "48"}
        mark 95
        expect {"event" if need else "no event"} LIQUIDATION_STARTED alice amount 47.5 fee 47.51
    """)


def test_one_unit_more_is_enough_where_equality_is_a_breach(exchange: Venue):
    """R92."""
    exchange.play("given trigger.comparison = at_or_below").play(
        START.replace("deposit alice 100", "deposit alice 97.51")
    ).play("""
        mark 95
        expect no event LIQUIDATION_STARTED
    """)


SLOW = "given trigger.second_price = average_last\ngiven trigger.average_half_life_ns = 10s\n"


def test_the_second_price_must_agree(exchange: Venue):
    """R73, R93. The last price falls from 100 to 90; half of that after ten seconds is 95, where
    Alice has 50 against 47.50; the 5 left are 2 after ten more: 92, and she has 20."""
    exchange.play(SLOW).play("last 100").play(START).play("""
        at 10s
        last 100
        last 90
        mark 94
        expect no event LIQUIDATION_STARTED
        at 20s
        mark 94
        expect no event LIQUIDATION_STARTED
        at 30s
        mark 94
        expect event LIQUIDATION_STARTED alice amount 40 fee 47
    """)


def test_without_a_trade_there_is_no_second_price(exchange: Venue):
    """R93. Then the mark alone decides."""
    exchange.play(SLOW).play(START).play("""
        mark 94
        expect event LIQUIDATION_STARTED alice
    """)


def test_a_warning_begins_and_ends(exchange: Venue):
    """R94. At one and a half times maintenance: 70 against 72.75 at 97, 80 against 73.50 at 98."""
    exchange.play("given trigger.warn_ppm = 1500000").play(START).play("""
        mark 97
        expect events MARK_SET LEVEL_ENTERED.WARNED
        expect event LEVEL_ENTERED.WARNED alice amount 70 fee 72.75
        expect alice level 1
        mark 96
        expect events MARK_SET
        mark 98
        expect event LEVEL_LEFT.WARNED alice amount 80 fee 73.5
        expect alice level 0
    """)


def test_a_warning_is_below_its_level(exchange: Venue):
    """R94. With 102.75 Alice has exactly the 72.75 at 97."""
    exchange.play("given trigger.warn_ppm = 1500000").play(
        START.replace("deposit alice 100", "deposit alice 102.75")
    ).play("""
        mark 97
        expect no event LEVEL_ENTERED
    """)


RESTRICTED = """
    given trigger.restrict = initial
    index 100
    open alice
    deposit alice 60
    seed alice 5 @ 100
    buy alice 1 @ 90 #1
    sell alice 2 @ 110 reduce #2
    mark 98
    expect events MARK_SET
"""


def test_a_restriction_cancels_opening_orders(exchange: Venue):
    """R94. 50 against 49 at 98; at 97 it is 45 against 48.50. The order that reduces stays."""
    exchange.play(RESTRICTED).play("""
        mark 97
        expect event LEVEL_ENTERED.RESTRICTED alice amount 45 fee 48.5
        expect event CANCELLED.RESTRICTED alice order_id 1
        expect alice orders 1
        expect alice level 2
    """)


def test_whoever_is_restricted_may_only_reduce(exchange: Venue):
    """R08, R94. Until there is initial margin again."""
    exchange.play(RESTRICTED).play("""
        mark 97
        buy alice 1 @ 90
        expect rejected RESTRICTED
        sell alice 1 @ 120 reduce
        deposit alice 20
        expect event LEVEL_LEFT.RESTRICTED alice amount 65 fee 48.5
        buy alice 1 @ 1
    """)


@pytest.mark.parametrize(
    ("leave", "exit_need", "lots"),
    [("maintenance", "47", 2), ("buffer", "56.4", 3), ("initial", "94", 6)],
)
def test_what_ends_a_liquidation(exchange: Venue, leave: str, exit_need: str, lots: int):
    """R72, R95. At 94 Alice has 40 against 47. A lot frees 4.70, with a buffer of 1 % 5.64, with
    initial margin 9.40: 7, 16.40 or 54 are short. Eight lots keep 37.60, seven with the buffer
    39.48, four with initial margin 37.60, all within 40."""
    exchange.play(COVER).play(f"""
        given trigger.exit = {leave}
        given trigger.exit_buffer_ppm = 10000
    """).play(START).play(f"""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -{lots} price 94
        expect event LIQUIDATION_ENDED.RESTORED alice amount 40
    """)
    other = Venue(exchange.implementation)
    other.play(f"""
        given trigger.exit = {leave}
        given trigger.exit_buffer_ppm = 10000
    """).play(START.replace("deposit alice 100", "deposit alice 1000")).play(f"""
        mark 94
        expect alice exit {exit_need}
    """)


@pytest.mark.parametrize(("mark", "orders"), [(94, True), (93, False)])
def test_below_the_backstop_level_no_order_is_tried(exchange: Venue, mark: int, orders: bool):
    """R95, R107. Two thirds of maintenance: 31.33 at 94, where there are 40; 31.00 at 93, where
    there are 30."""
    exchange.play("given trigger.backstop_ppm = 666667").play(START).play(f"""
        buy bob 10 @ 90
        mark {mark}
        expect {"event" if orders else "no event"} FILL.LIQUIDATION alice lots -10 price 90
        expect {"no event" if orders else "event"} FILL.TAKEOVER alice lots -10 price 90
    """)


@pytest.mark.parametrize(("mark", "orders"), [(95, True), (92, False)])
def test_below_the_lowest_tiers_requirement_no_order_is_tried(
    exchange: Venue, mark: int, orders: bool
):
    """R107. Twenty lots need 10 % less 50 and would need 5 % in the lowest tier. Wallet 239: at 95
    there are 139 against 140, and 95 would do; at 92 there are 79 against 134 and 92."""
    exchange.play("given liquidation.lowest_tier_closes_all = true").play(
        START.replace("deposit alice 100", "deposit alice 239").replace("alice 10 @", "alice 20 @")
    ).play(f"""
        buy bob 20 @ 92
        mark {mark}
        expect event LIQUIDATION_STARTED alice
        expect {"event" if orders else "no event"} FILL.LIQUIDATION alice price 92
    """)


SLICES = "given steps = fraction fraction_ppm 100000 pause_ns 10s\n"


def test_a_step_may_let_the_domain_rest(exchange: Venue):
    """R87, R88. One lot in ten seconds. After the first there are 40 against 42.30, after the
    second (a tenth of nine, rounded up) against 37.60."""
    exchange.play(SLICES).play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -1 price 94
        expect event LIQUIDATION_ENDED.PAUSED alice amount 40
        expect alice due 10s
        at 9s
        clock
        expect events
        at 10s
        clock
        expect event LIQUIDATION_STARTED alice amount 40 fee 42.3
        expect event FILL.LIQUIDATION alice lots -1 price 94
        expect event LIQUIDATION_ENDED.RESTORED alice amount 40
        expect alice due 0s
    """)


def test_after_a_rest_only_the_exit_level_ends_it(exchange: Venue):
    """R88, R95. At mark 96 nine lots and a wallet of 94 are 58 against 43.20, no breach; but the
    exit asks initial margin, 86.40."""
    exchange.play(SLICES).play("given trigger.exit = initial").play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event LIQUIDATION_ENDED.PAUSED alice
        mark 96
        expect events MARK_SET
        at 10s
        clock
        expect event LIQUIDATION_STARTED alice amount 58 fee 86.4
    """)


def test_whoever_recovered_while_resting_is_left_alone(exchange: Venue):
    """R75, R88. At 100 she has 94 against 45: looked at, and nothing to do."""
    exchange.play(SLICES).play(START).play("""
        buy bob 1 @ 94
        mark 94
        expect event LIQUIDATION_ENDED.PAUSED alice
        mark 100
        at 10s
        clock
        expect events
        expect alice due 0s
    """)


def test_a_rest_ends_below_the_backstop_level(exchange: Venue):
    """R88, R107. Nine lots at 92 and a wallet of 94: 22 against two thirds of 41.40, 27.60. No
    order is tried; the fund takes nine at 92 - 22 / 9 = 89.56, so at 90."""
    exchange.play(SLICES).play("given trigger.backstop_ppm = 666667").play(START).play("""
        buy bob 10 @ 94
        mark 94
        at 5s
        mark 92
        expect event LIQUIDATION_STARTED alice amount 22 fee 41.4
        expect no event FILL.LIQUIDATION
        expect event FILL.TAKEOVER alice lots -9 price 90
    """)


def test_a_pausing_step_that_filled_nothing_below_zero_goes_on(exchange: Venue):
    """R87. Nobody bids. At 94 there are 40: she rests; at 89 there are -10: the fund takes her."""
    exchange.play(SLICES).play(START).play("""
        mark 94
        expect event LIQUIDATION_ENDED.PAUSED alice amount 40
    """)
    other = Venue(exchange.implementation)
    other.play(SLICES).play(START).play("""
        mark 89
        expect event FILL.TAKEOVER alice lots -10 price 90
    """)


def test_the_last_absorber_may_be_another_try(exchange: Venue):
    """R80, R88. Nobody bids at 90: five seconds later somebody does."""
    exchange.play("""
        given losses.waterfall = retry
        given losses.retry_ns = 5s
    """).play(START).play("""
        mark 94
        expect event LIQUIDATION_ENDED.PAUSED alice amount 40
        expect alice due 5s
        buy bob 10 @ 90
        at 5s
        clock
        expect event FILL.LIQUIDATION alice lots -10 price 90
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount 0
    """)
