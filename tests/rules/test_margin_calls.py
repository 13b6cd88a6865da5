"""The daily check: margin calls, their cure, their end; debts that are waived.

Alice holds ten lots at 100: initial margin is 10 %, maintenance 5. Every number here is ours.
"""

import pytest
from notation import Venue

START = """
    given trigger.cure_ns = 10s
    index 100
    open alice
    open bob
    deposit alice 120
    deposit bob 100000
    leverage bob 2
    deposit fund 100000
    seed alice 10 @ 100
"""


def test_a_call_is_made_below_initial_margin(exchange: Venue):
    """R105. At 97 there are 90 against 97; only a check makes it a call."""
    exchange.play(START).play("""
        mark 97
        expect events MARK_SET
        check
        expect events MARGIN_CALLED
        expect event MARGIN_CALLED alice amount 7 fee 10s
        check
        expect events
    """)


@pytest.mark.parametrize(("mark", "called"), [(98, False), (97, True)])
def test_who_has_enough_is_not_called(exchange: Venue, mark: int, called: bool):
    """R105. At 98 there are 100 against 98."""
    exchange.play(START).play(f"""
        mark {mark}
        check
        expect {"event" if called else "no event"} MARGIN_CALLED alice
    """)


def test_a_call_is_cured_at_a_later_check(exchange: Venue):
    """R105. 7 more, and the next check ends it."""
    exchange.play(START).play("""
        mark 97
        check
        deposit alice 7
        expect events DEPOSITED
        at 20s
        check
        expect events MARGIN_CALL_ENDED.CURED
        check
        expect events
    """)


def test_a_call_that_was_not_cured_is_enforced(exchange: Venue):
    """R105, R109. After ten seconds everything is sold: four lots at 90, six to the fund at mark;
    40 + 18 are lost of 120, and what is left stays with her."""
    exchange.play("given liquidation.surplus = to_fund").play(START).play("""
        buy bob 4 @ 90
        sell alice 1 @ 120 #1
        mark 97
        check
        at 9s
        check
        expect events
        at 10s
        check
        expect event MARGIN_CALL_ENDED.EXPIRED alice amount 7
        expect event LIQUIDATION_STARTED alice amount 90 fee 90
        expect event CANCELLED.LIQUIDATION alice order_id 1
        expect event FILL.LIQUIDATION alice lots -4 price 90
        expect event FILL.TAKEOVER alice lots -6 price 97
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount 62
        expect no event SURPLUS
        expect alice wallet 62
    """)


def test_without_a_cure_time_nobody_is_called(exchange: Venue):
    """R105."""
    exchange.play(START.replace("given trigger.cure_ns = 10s", "")).play("""
        mark 97
        check
        expect events
    """)


def test_a_wallet_without_positions_is_not_called(exchange: Venue):
    """R105. Bob has neither."""
    exchange.play(START).play("""
        check
        expect events
    """)


DEBT = """
    given losses.residual = debt
    given losses.waive_after_ns = 10s
    given steps = all limit none
    index 100
    open alice
    open bob
    deposit alice 100
    deposit bob 900
    seed alice 10 @ 100
    buy bob 10 @ 80
    at 5s
    mark 94
    expect event DEBT_LEFT alice amount 100
"""


def test_an_old_debt_is_waived(exchange: Venue):
    """R106. Ten seconds after it was left, at the next check; the fund pays."""
    exchange.play(DEBT).play("""
        at 14s
        check
        expect events
        at 15s
        check
        expect event DEBT_WAIVED alice amount 100
        expect alice wallet 0
        expect fund wallet -100
    """)


def test_a_part_that_was_paid_is_not_waived(exchange: Venue):
    """R106. 30 of the 100 came back."""
    exchange.play(DEBT).play("""
        deposit alice 30
        at 15s
        check
        expect event DEBT_WAIVED alice amount 70
    """)


def test_a_debt_that_was_paid_is_over(exchange: Venue):
    """R106."""
    exchange.play(DEBT).play("""
        deposit alice 100
        at 15s
        check
        expect events
    """)


def test_or_debts_are_never_waived(exchange: Venue):
    """R106."""
    exchange.play(DEBT.replace("= 10s", "= 0")).play("""
        at 1000s
        check
        expect events
        expect alice wallet -100
    """)
