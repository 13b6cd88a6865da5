"""Who pays what no fund paid: the fund all the same, the customer, the others, whoever withdraws.

Alice holds ten lots at 100 with a wallet of 100. Bob bids 80 for ten; sold there she is 100 short.
Carol is short five from 100. The fund is empty. Every number here is ours.
"""

import pytest
from notation import Venue

START = """
    given steps = all limit none
    index 100
    open alice
    open bob
    open carol
    deposit alice 100
    deposit bob 900
    deposit carol 1000
    seed alice 10 @ 100
    seed carol -5 @ 100
    buy bob 10 @ 80
"""


def residual(name: str, more: str = "") -> str:
    return f"given losses.residual = {name}\n{more}"


def test_bad_debt_of_the_fund(exchange: Venue):
    """R103, R86."""
    exchange.play(residual("fund")).play(START).play("""
        mark 94
        expect event BAD_DEBT alice amount 100
        expect alice wallet 0
        expect fund wallet -100
    """)


def test_the_customer_owes_it(exchange: Venue):
    """R103, R73. And nothing more happens to an account below zero without positions."""
    exchange.play(residual("debt")).play(START).play("""
        mark 94
        expect event DEBT_LEFT alice amount 100
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount -100
        expect alice wallet -100
        expect fund wallet 0
        clock
        expect events
        deposit alice 100
        expect alice wallet 0
    """)


def test_an_isolated_loss_is_owed_by_the_wallet(exchange: Venue):
    """R103. The isolated margin of 100 ends at zero, the wallet at 20 - 100: 80 are owed."""
    exchange.play(residual("debt")).play("""
        given steps = all limit none
        index 100
        open alice
        open bob
        isolated alice
        deposit alice 120
        deposit bob 900
        seed alice 10 @ 100 isolated 100
        buy bob 10 @ 80
        mark 94
        expect event DEBT_LEFT alice amount 80
        expect event MARGIN_MOVED alice amount 100
        expect alice margin 0
        expect alice wallet -80
    """)


def test_a_negative_balance_gates_withdrawals(exchange: Venue):
    """R103, R125. Nobody withdraws for ten seconds."""
    exchange.play(residual("negative_left", "given losses.gate_ns = 10s")).play(START).play("""
        withdraw carol 1
        at 5s
        mark 94
        expect event DEBT_LEFT alice amount 100
        withdraw carol 1
        expect rejected WITHDRAWALS_GATED
        at 14s
        withdraw carol 1
        expect rejected WITHDRAWALS_GATED
        at 15s
        withdraw carol 1
    """)


def test_open_positions_share_the_loss_by_lots(exchange: Venue):
    """R103. 100 over fifteen lots: Bob 66.67, Carol 33.34, each rounded up; 0.01 too much."""
    exchange.play(residual("socialise_positions")).play(START).play("""
        mark 94
        expect event LOSS_SHARED bob amount 66.67
        expect event LOSS_SHARED carol amount 33.34
        expect event LOSS_COVERED alice amount 100 fee 0.01
        expect alice wallet 0
        expect bob wallet 833.33
        expect carol wallet 966.66
        expect rounding wallet 0.01
        expect fund wallet 0
    """)


def test_an_isolated_position_pays_from_its_own_margin(exchange: Venue):
    """R103. Bob and Carol with ten lots each, Carol's isolated: 50 and 50."""
    exchange.play(residual("socialise_positions")).play(
        START.replace("seed carol -5 @ 100", "isolated carol\nseed carol -10 @ 100 isolated 200")
    ).play("""
        mark 94
        expect event LOSS_SHARED carol amount 50 flags 8
        expect carol margin 150
        expect carol wallet 800
    """)


def test_with_nobody_left_to_share_it_is_the_funds(exchange: Venue):
    """R103. Bob was short ten and is flat after he bought."""
    exchange.play(residual("socialise_positions")).play(
        START.replace("seed carol -5 @ 100", "seed bob -10 @ 100").replace(
            "buy bob 10 @ 80", "buy bob 10 @ 80 reduce"
        )
    ).play("""
        mark 94
        expect bob flat
        expect no event LOSS_SHARED
        expect event BAD_DEBT alice amount 100
    """)


def test_the_fund_pays_first(exchange: Venue):
    """R86, R103. With 40 in the fund only 60 are shared: 40 and 20."""
    exchange.play(residual("socialise_positions")).play(START).play("""
        deposit fund 40
        mark 94
        expect event SHORTFALL alice amount 40
        expect event LOSS_SHARED bob amount 40
        expect event LOSS_SHARED carol amount 20
    """)


def test_winners_of_the_session_pay_for_the_fund(exchange: Venue):
    """R104. At the end of the session, at mark 94: Bob has won 14 a lot, 140, Carol 6 a lot, 30.
    The fund lacks 100: 100 * 140 / 170 and 100 * 30 / 170, each rounded down."""
    exchange.play(residual("socialise_profit")).play(START).play("""
        mark 94
        expect event BAD_DEBT alice amount 100
        settle all
        expect event SETTLED bob amount 140
        expect event SETTLED carol amount 30
        expect event CLAWED_BACK bob amount 82.35
        expect event CLAWED_BACK carol amount 17.64
        expect fund wallet -0.01
        settle all
        expect events
    """)


def test_nobody_pays_more_than_the_profit(exchange: Venue):
    """R104. At 84 Bob has won 40, Carol 80 less: short from 81 she has lost 15."""
    exchange.play(residual("socialise_profit")).play(
        START.replace("seed carol -5 @ 100", "seed carol -5 @ 81")
    ).play("""
        mark 84
        settle all
        expect event CLAWED_BACK bob amount 40
        expect no event CLAWED_BACK carol
        expect fund wallet -60
    """)


def test_a_settlement_of_one_market_takes_nothing_back(exchange: Venue):
    """R104. Only that of every market ends the session."""
    exchange.play(residual("socialise_profit")).play(START).play("""
        mark 94
        settle here
        expect event SETTLED bob amount 140
        expect no event CLAWED_BACK
        settle all
        expect event CLAWED_BACK bob amount 82.35
    """)


TWO = """
    given two markets
    in market 2
    index 100
    open dave
    deposit dave 1000
    seed dave 10 @ 90
    in market 1
"""


@pytest.mark.parametrize(
    ("scope", "bob", "dave"),
    [("account", "51.85", "37.03"), ("market", "82.35", "")],
)
def test_profits_count_by_account_or_by_market(exchange: Venue, scope: str, bob: str, dave: str):
    """R104. Dave won 100 in the other market: of 270, Bob's 140 are 51.85, Dave's 37.03. Where each
    market pays for its own loss Dave pays nothing."""
    exchange.play(residual("socialise_profit", f"given losses.profit_scope = {scope}")).play(
        START.replace("    index 100\n", TWO + "    index 100\n", 1)
    ).play(f"""
        mark 94
        settle all
        expect event CLAWED_BACK bob amount {bob}
        expect {f"event CLAWED_BACK dave amount {dave}" if dave else "no event CLAWED_BACK dave"}
    """)


def test_withdrawals_pay_the_deficit(exchange: Venue):
    """R126. The fund lacks 100 of the 2 000 deposited: 5 % of 50. Then 97.50 of 1 952.50: of one
    unit a whole one, rounded up."""
    exchange.play(residual("withdrawal_haircut")).play(START).play("""
        withdraw carol 50
        expect events WITHDRAWN
        deposit carol 50
        mark 94
        expect event BAD_DEBT alice amount 100
        withdraw carol 50
        expect events HAIRCUT WITHDRAWN
        expect event HAIRCUT carol amount 2.5
        expect event WITHDRAWN carol amount 47.5
        expect carol wallet 950
        expect fund wallet -97.5
        withdraw carol 0.01
        expect event HAIRCUT carol amount 0.01
        expect event WITHDRAWN carol amount 0
    """)


def test_profit_may_be_locked_until_the_session_ends(exchange: Venue):
    """R46. Bob has sold his ten lots at 90 and won 100: 900 of 1 000 may leave."""
    exchange.play("""
        given losses.profit_lock = true
        index 100
        open bob
        deposit bob 900
        seed bob 10 @ 80
        deliver 90
        expect bob wallet 1000
        withdraw bob 900.01
        expect rejected INSUFFICIENT_BALANCE
        settle all
        withdraw bob 1000
    """)
