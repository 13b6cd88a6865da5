"""What went wrong somewhere, in small numbers: the mechanism is kept, the amounts are ours.

Each says what happened and who told it. The venue is the small one of `small_venues`: a lot at
price 100 is worth 100.00.
"""

import pytest
from notation_more import Stage


def test_dydx_2025_10_10_the_whole_open_interest_goes_and_the_fund_can_pay(stage: Stage):
    """R77, R86. dYdX Chain, 10 October 2025 (dydx.xyz/blog, October 2025 dYdX Chain incident
    review): one liquidation took the whole open interest of an isolated market. The market's fund
    could pay, so nobody was deleveraged; but the collateral left over was moved before the fund had
    paid, the amount was negative, and a failsafe stopped the chain for hours.

    Alice's ten lots are all there is, and Bob, who holds the other side, bids 80, ten below her
    bankruptcy price: she is 100 short in the instant of the fill. The fund has 101 and pays it in
    the same command; nobody is deleveraged, nothing is below zero, and the next command works."""
    stage.play("""
        given losses.waterfall = adl fund_unlimited
        given steps = all limit none
        index 100
        open alice
        open bob
        deposit alice 100
        deposit bob 1000
        deposit fund 101
        seed alice 10 @ 100
        seed bob -10 @ 100
        buy bob 10 @ 80
        mark 80
        expect event LIQUIDATION_STARTED alice amount -100 fee 40
        expect event FILL.LIQUIDATION alice price 80 lots -10 amount -200
        expect event SHORTFALL alice amount 100
        expect no event FILL.ADL
        expect no event BAD_DEBT
        expect open interest 0
        expect alice wallet 0
        expect bob wallet 1200
        expect fund wallet 1
        withdraw bob 1200
        expect bob wallet 0
    """)


def test_a_balance_left_below_zero_stops_withdrawals_for_a_time(stage: Stage):
    """R81, R84, R125. No incident, but the safeguard of the same venue (docs.dydx.xyz, withdrawal
    rate limits and gating; dydxprotocol/v4-chain pull request 936): when an account below zero can
    be neither liquidated nor deleveraged, nobody withdraws for 50 blocks.

    Alice's ten lots are all there is. At 80 she is at -100; Bob buys back at her 90 instead, which
    is 100 less than his due. Carol's five have nobody on the other side; at 60 she is 60 short."""
    stage.play("""
        given losses.waterfall = insurance_fund adl pool
        given losses.residual = negative_left
        given losses.gate_ns = 5m
        index 100
        open alice
        open bob
        open carol
        deposit alice 100
        deposit bob 1000
        deposit carol 40
        seed alice 10 @ 100
        seed bob -10 @ 100
        mark 80
        expect event LIQUIDATION_STARTED alice amount -100 fee 40
        expect event TAKEOVER_REFUSED.INVENTORY_FULL alice price 90 lots 10
        expect event FILL.ADL bob lots 10 price 90 amount 100
        expect event LIQUIDATION_ENDED.DELEVERAGED alice amount 0
        expect no event SHORTFALL
        expect open interest 0
        expect bob wallet 1100
        withdraw bob 1
        seed carol 5 @ 80
        mark 60
        expect event LIQUIDATION_STARTED carol amount -60
        expect event LIQUIDATION_ENDED.BACKSTOPPED carol amount -60
        expect event DEBT_LEFT carol amount 60
        expect carol wallet -60
        withdraw bob 1
        expect rejected WITHDRAWALS_GATED
        wait 299s
        withdraw bob 1
        expect rejected WITHDRAWALS_GATED
        deposit bob 1
        wait 1s
        withdraw bob 1
        expect fund wallet 0
    """)


def test_hyperliquid_2025_03_12_the_margin_leaves_before_the_liquidation(stage: Stage):
    """R27, R118. Hyperliquid, 12 March 2025 (the venue's statement on X of that day; followin.io
    16823567 and coin360.com have the amounts): the owner of a long of 160,000 ETH in profit took
    17.09 million USDC out, so that the liquidation came early and the vault had the position at
    1,915, which the book would not pay. The vault lost about 4 million, the owner won about 1.8.

    At 120 the 200 of margin are worth 400 and 120 must stay; all that was put in may go. At 105
    there are 50 and 55 are needed: the vault takes ten lots and the 50. At 90 it has lost 100.
    With the 200 still there nothing would have been liquidated, as Bob shows."""
    stage.play("""
        given losses.waterfall = vault fund_unlimited
        index 100
        open alice
        open bob
        isolated alice
        isolated bob
        deposit alice 200
        deposit bob 200
        seed alice 10 @ 100 isolated 200
        seed bob 10 @ 100 isolated 200
        mark 120
        margin alice -200.01
        expect rejected INSUFFICIENT_BALANCE
        margin alice -200
        withdraw alice 200
        mark 106
        expect events MARK_SET
        mark 105
        expect liquidated alice
        expect event LIQUIDATION_STARTED alice amount 50 fee 55
        expect event FILL.TRANSFER alice lots -10 price 105 amount 50
        expect event SEIZED alice amount 50
        expect event LIQUIDATION_ENDED.BACKSTOPPED alice
        expect alice wallet 0
        expect vault long 10 @ 105
        expect vault wallet 50
        mark 90
        expect events MARK_SET
        expect vault equity -100
        expect bob long 10 @ 100
    """)


def test_jelly_2025_03_26_the_vault_inherits_a_short_and_the_market_is_settled(stage: Stage):
    """R118, R121. Hyperliquid, JELLY, 26 March 2025 (the venue's statements on X of 26 and 27
    March; the second has the recap): a trader sold 4 million USDC of the contract to himself at
    0.0095 and drove the price up more than fourfold; the vault took over the short, and since it
    shared its collateral with other vaults nobody was deleveraged. The validators delisted the
    market and settled it at 0.0095. (Longs were later paid up to 0.037555 by the foundation: no
    rule here.)

    At 105 the vault has ten lots short and 50. Fourfold the price is 2 900 below zero for it; in
    between nobody else is liquidated, since the short has one owner. Settled at the 100 at which
    the short was opened it has won the 100 that were its owner's."""
    stage.play("""
        given losses.waterfall = vault fund_unlimited
        index 100
        open alice
        open bob
        isolated alice
        deposit alice 100
        deposit bob 1000
        leverage bob 2
        seed alice -10 @ 100 isolated 100
        seed bob 10 @ 100
        mark 105
        expect event LIQUIDATION_STARTED alice amount 50 fee 55
        expect event CANCELLED.IOC_REMAINDER alice lots 10
        expect event SEIZED alice amount 50
        expect vault short 10 @ 105
        mark 400
        expect events MARK_SET
        expect vault equity -2900
        expect bob equity 4000
        buy bob 1 @ 390
        deliver 100
        expect event CANCELLED.DELIVERY bob
        expect event FILL.DELIVERY bob lots -10 price 100 amount 0
        expect vault flat
        expect vault wallet 100
        expect bob wallet 1000
        expect fund wallet 0
        expect open interest 0
    """)


def test_a_stale_index_after_an_outage(stage: Stage):
    """R03, R51, R73. dYdX Chain again, in the night of 10 October 2025 (the same review, and the
    compensation for it of 28 October): when the chain went on, its prices were those of before,
    and accounts were traded and liquidated by them. An index that stands still while the last
    price falls: the median keeps the mark at the two prices that rest on the index. What comes
    late with an old time is refused and changes nothing; with the first new index everybody
    falls in one command."""
    stage.play("""
        given mark.source = median
        index 100
        last 100
        open alice
        open bob
        deposit alice 100
        deposit bob 80
        deposit fund 100000
        seed alice 10 @ 100
        seed bob 10 @ 100
        at 10m
        last 60
        expect events LAST_SET
        expect mark 100
        at 9m
        index 70
        expect rejected TIME_WENT_BACKWARDS
        expect mark 100
        expect index 100
        at 11m
        index 60
        expect mark 60
        expect liquidated alice bob
        expect event FILL.TAKEOVER alice price 90
        expect event FILL.TAKEOVER bob price 92
    """)


@pytest.mark.parametrize("terms", ["@ 100", "@ 100 ioc", "@ 100 fok", "market"])
def test_a_duplicate_id_that_would_match_is_refused_before_it_matches(stage: Stage, terms: str):
    """R02, R04. A fault that engines can have, of no venue in particular and without a source: the
    id is looked up only when the order is to rest, so a duplicate that crosses trades first, or
    takes the place of the order that has it."""
    stage.play(f"""
        index 100
        open alice
        open bob
        deposit alice 10000
        deposit bob 10000
        sell bob 5 @ 100 #7
        buy alice 1 @ 90 #8
        buy alice 5 {terms} #8
        expect rejected DUPLICATE_ORDER_ID
        buy alice 5 {terms} #7
        expect rejected DUPLICATE_ORDER_ID
        expect book 90x1 | 100x5
        expect alice flat
        expect bob flat
        cancel alice #8
        expect event CANCELLED.USER alice order_id 8 lots 1
        buy alice 5 {terms} #8
        expect alice long 5 @ 100
    """)


OKEX = """
    given two markets
    index 100
    mark 110
    in market 2
    index 100
    mark 96
    seed bob 1 @ 100
    in market 1
    seed bob 1 @ 100
    seed carol 666 @ 100
    deposit fund 2500
    seed alice -380 @ 100
    expect event LIQUIDATION_STARTED alice amount -3700
    expect event SHORTFALL alice amount 2500
    expect event BAD_DEBT alice amount 1200
    expect fund wallet -1200
"""
OPENED = """
    open alice
    open bob
    open carol
    deposit alice 100
    deposit bob 1000
    deposit carol 50000
"""


@pytest.mark.parametrize(
    ("scope", "bob", "carol", "left"),
    [("account", "1.08", "1198.91", "-0.01"), ("market", "1.79", "1198.20", "-0.01")],
)
def test_okex_2018_winners_pay_what_the_fund_cannot(
    stage: Stage, scope: str, bob: str, carol: str, left: str
):
    """R104. OKEx, BTC0928 of 31 July 2018 (the venue's notice of 3 August 2018, as quoted by
    coindesk.com of that day; the rate by cryptovest.com and others, one source says 17 %): a
    long of 4,168,515 contracts was taken over by the venue and could not be closed. The venue
    put 2,500 BTC of its own into the fund, which had about 10; the rest, about 1,200, was taken
    from the net profits of the week at one rate, about 18 %. `okex_classic.clawback` is the
    worked example.

    3 700 are missing, 2 500 are paid, 1 200 of 6 666 profit is 18 %; who loses is short here.
    Bob won 10 and lost 4 in another contract: by account 6 * 18 % = 1.08, by market 10 of 6 670
    = 1.79. Each is rounded down; a unit stays with the fund."""
    opening = OKEX.replace("    index 100\n", "    index 100\n" + OPENED, 1)
    stage.play(f"""
        given losses.waterfall = pool
        given losses.residual = socialise_profit
        given losses.profit_scope = {scope}
    """).play(opening).play(f"""
        settle
        expect event SETTLED bob amount 10
        expect event SETTLED bob amount -4
        expect event SETTLED carol amount 6660
        expect event CLAWED_BACK bob amount {bob}
        expect event CLAWED_BACK carol amount {carol}
        expect fund wallet {left}
        settle
        expect no event CLAWED_BACK
    """)
