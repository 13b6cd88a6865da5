"""Several insurance funds: one for every market, or for a group of markets.

Alice holds ten lots of X at 100 with a wallet of 100. Bob bids 50 for them: sold there she is 400
short. Every number here is ours.
"""

import pytest
from notation import Venue

START = """
    given two markets
    given steps = all limit none
    index 100
    in market 2
    index 100
    in market 1
    open alice
    open bob
    deposit alice 100
    deposit bob 100000
    leverage bob 2
    seed alice 10 @ 100
    buy bob 10 @ 50
"""


def test_each_market_has_its_own_fund(exchange: Venue):
    """R130. The fund of X pays 300 and is 100 below zero; Y's and the venue's are untouched."""
    exchange.play("given losses.fund_scope = market").play(START).play("""
        deposit fund-X 300
        deposit fund-Y 1000
        deposit fund 5000
        mark 94
        expect event SHORTFALL alice amount 300
        expect event BAD_DEBT alice amount 100
        expect fund-X wallet -100
        expect fund-Y wallet 1000
        expect fund wallet 5000
        expect alice wallet 0
    """)


@pytest.mark.parametrize(
    ("group", "fund_x", "fund_y", "fund"),
    [
        ("both", "600", "600", "5000"),  # one account: X comes first, so it carries its id
        ("only x", "600", "4600", "4600"),  # Y has no group: its fund is the venue's
    ],
)
def test_markets_of_a_group_share_a_fund(exchange: Venue, group, fund_x, fund_y, fund):
    """R130. A loss of 400 in Y is paid by the fund that answers for it."""
    exchange.play("given losses.fund_scope = group").play("given two markets")
    exchange.raw["markets"][0]["fund_group"] = "majors"
    exchange.raw["markets"][1]["fund_group"] = "majors" if group == "both" else None
    exchange.play(
        START.replace("given two markets", "").replace("seed alice", "in market 2\nseed alice")
    )
    exchange.play(f"""
        deposit fund-X {"1000" if group == "both" else "600"}
        deposit fund 5000
        mark 94
        expect event SHORTFALL alice amount 400
        expect fund-X wallet {fund_x}
        expect fund-Y wallet {fund_y}
        expect fund wallet {fund}
    """)


def test_a_fund_takes_over_for_its_market_alone(exchange: Venue):
    """R130, R81. Without a bid the fund of X takes ten lots at 90; that of Y could not have."""
    exchange.play("given losses.fund_scope = market").play(START).play("""
        cancel bob #1001
        deposit fund-X 2000
        mark 94
        expect fund-X long 10 @ 90
        expect fund flat
        expect fund-Y flat
        expect event LIQUIDATION_ENDED alice
    """)


def test_the_drawdown_rule_looks_at_each_fund(exchange: Venue):
    """R130, R98. The fund of X pays 300 and carries 100: down 40 %, and
    nothing of that in Y."""
    exchange.play("""
        given losses.fund_scope = market
        given losses.drawdown_ppm = 300000
    """).play(START).play("""
        deposit fund-X 1000
        deposit fund-Y 1000
        mark 94
        expect event SHORTFALL alice amount 300
        expect event DRAWDOWN fund-X amount 600 fee 1000
        expect no event DRAWDOWN fund-Y
    """)


@pytest.mark.parametrize(("scope", "second"), [("fund", "50"), ("market", "400")])
def test_a_cap_counts_by_fund_or_by_market(exchange: Venue, scope: str, second: str):
    """R99. One fund, 450 in all for ever: after 400 in X, 50 or again 450 are left for Y."""
    exchange.play(f"""
        given losses.fund_cap = 450
        given losses.fund_cap_scope = {scope}
        given losses.residual = debt
    """).play(START).play(f"""
        open carol
        deposit carol 100
        in market 2
        seed carol 10 @ 100
        buy bob 10 @ 50
        deposit fund 5000
        in market 1
        mark 94
        expect event SHORTFALL alice amount 400
        in market 2
        mark 94
        expect event SHORTFALL carol amount {second}
    """)


def test_a_clawback_fills_the_fund_that_lacks_it(exchange: Venue):
    """R104, R130. Bad debt of 100 in X; Dora won 60 there, Bob 440: 12 and 88 of the hundred."""
    exchange.play("""
        given losses.fund_scope = market
        given losses.residual = socialise_profit
        given losses.profit_scope = market
    """).play(START).play("""
        open dora
        deposit dora 10000
        deposit fund-X 300
        deposit fund-Y 1000
        seed dora -10 @ 100
        mark 94
        expect event BAD_DEBT alice amount 100
        expect fund-X wallet -100
        settle all
        expect event CLAWED_BACK dora amount 12
        expect event CLAWED_BACK bob amount 88
        expect fund-X wallet 0
        expect fund-Y wallet 1000
    """)


def test_withdrawals_pay_for_every_fund_below_zero(exchange: Venue):
    """R126, R130. 100 of 100 400 held are missing, in the fund of X: a withdrawal of 10 000 is
    charged 9.97 for it."""
    exchange.play("""
        given losses.fund_scope = market
        given losses.residual = withdrawal_haircut
    """).play(START).play("""
        deposit fund-X 300
        mark 94
        expect fund-X wallet -100
        withdraw bob 10000
        expect event HAIRCUT bob amount 9.97
        expect event WITHDRAWN bob amount 9990.03
        expect fund-X wallet -90.03
    """)


def test_a_fund_is_no_account_for_orders(exchange: Venue):
    """R130. Money may go in; nothing else is the fund's to do."""
    exchange.play("given losses.fund_scope = market").play(START).play("""
        deposit fund-X 300
        buy fund-X 1 @ 90
        expect rejected ACCOUNT_IS_SYSTEM
    """)
