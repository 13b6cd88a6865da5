"""The loss waterfall: who takes a bankrupt position, at which price, and who pays what is missing.

Alice holds ten lots at 100 with a wallet of 100; at mark 94 she has 40, her bankruptcy price is 90
and the position's notional 940. Nobody bids. Every number here is ours.
"""

import pytest
from notation import Venue
from small_venues import ALICE_BOB_CAROL

ALICE = """
    index 100
    open alice
    deposit alice 100
    seed alice 10 @ 100
"""


def test_the_fund_takes_over_at_the_bankruptcy_price(exchange: Venue):
    """R81. It holds 10 lots for 900 and is 40 ahead at mark."""
    exchange.play(ALICE).play("""
        deposit fund 5000
        mark 94
        expect events MARK_SET LIQUIDATION_STARTED CANCELLED.IOC_REMAINDER FILL.TAKEOVER \
FILL.TAKEOVER LIQUIDATION_ENDED.TAKEN_OVER
        expect event FILL alice lots -10 price 90 amount -100 fee 0 order_id 0
        expect fund long 10 @ 90
        expect fund wallet 5000
        expect fund equity 5040
        expect alice wallet 0
    """)


@pytest.mark.parametrize(("fund", "end"), [("940", "TAKEN_OVER"), ("939.99", "RESIDUAL")])
def test_the_funds_inventory_is_limited_by_its_balance(exchange: Venue, fund: str, end: str):
    """R81. 940 of notional: a fund of 940 takes it, one unit less refuses (ADL finds nobody, so
    the last absorber has it)."""
    exchange.play(ALICE).play(f"""
        deposit fund {fund}
        mark 94
        expect event LIQUIDATION_ENDED.{end} alice
        expect fund long 10 @ 90
    """)
    if end == "RESIDUAL":
        exchange.play("expect event TAKEOVER_REFUSED.INVENTORY_FULL alice price 90 lots 10")


def test_what_the_fund_already_holds_counts(exchange: Venue):
    """R81. The first takeover leaves 940 of 1 500; the second of 470 fits, a third does not."""
    exchange.play(ALICE).play("""
        open bob
        open carol
        deposit bob 50
        deposit carol 50
        seed bob 5 @ 100
        seed carol 5 @ 100
        deposit fund 1500
        mark 94
        expect liquidated alice bob carol
        expect event FILL.TAKEOVER alice lots -10
        expect event FILL.TAKEOVER bob lots -5
        expect event TAKEOVER_REFUSED.INVENTORY_FULL carol lots 5
        expect event FILL.RESIDUAL carol lots -5 price 90
        expect fund long 20 @ 90
    """)


def test_an_opposite_position_makes_room(exchange: Venue):
    """R81. The fund is short ten from before: taking ten long makes it flat, whatever it owns."""
    exchange.play("given losses.fund_inventory_ppm = 0").play("""
        index 100
        open alice
        open bob
        deposit bob 50
        seed bob -10 @ 100
        expect no event LIQUIDATION_STARTED
        mark 101
        expect event LIQUIDATION_ENDED.RESIDUAL bob
        expect fund short 10
        deposit alice 100
        seed alice 10 @ 100
        mark 94
        expect event LIQUIDATION_ENDED.TAKEN_OVER alice
        expect fund flat
    """)


@pytest.mark.parametrize(("fund", "end"), [("100", "TAKEN_OVER"), ("99.99", "RESIDUAL")])
def test_the_fund_must_be_able_to_pay(exchange: Venue, fund: str, end: str):
    """R81. At mark 80 Alice is at -100: taking ten lots at 90 costs the fund 100 at once."""
    exchange.play("given losses.fund_inventory_ppm = 10000000").play(ALICE).play(f"""
        deposit fund {fund}
        mark 80
        expect event LIQUIDATION_STARTED alice amount -100 fee 40
        expect event LIQUIDATION_ENDED.{end} alice amount 0
        expect alice wallet 0
    """)
    if end == "RESIDUAL":
        exchange.play("expect event TAKEOVER_REFUSED.CANNOT_PAY alice")


def test_deleveraging_goes_by_score(exchange: Venue):
    """R82, R83, R84. Bob: 36 / 100 * 28.20 / 136 = 0.0746. Carol: 128 / 1 000 * 37.60 / 1 128 =
    0.0043. Bob first, whole; Carol in part. Both buy back at 90, better than mark 94."""
    exchange.play(ALICE_BOB_CAROL).play("""
        mark 94
        expect event TAKEOVER_REFUSED.INVENTORY_FULL alice
        expect event FILL.ADL bob lots 6 price 90 amount 60 fee 0
        expect event FILL.ADL carol lots 4 price 90 amount 80 fee 0
        expect event LIQUIDATION_ENDED.DELEVERAGED alice amount 0
        expect bob flat
        expect carol short 4 @ 110
        expect bob wallet 160
        expect carol wallet 1080
        expect alice wallet 0
    """)


def test_the_score_weighs_maintenance_not_size(exchange: Venue):
    """R82. Carol, short 40 in a higher tier: 240 / 760 * 326 / 1 000 = 0.103 beats Bob's 0.0746,
    although Bob has more notional for his equity (564 / 136 against 3 760 / 1 000)."""
    exchange.play("""
        index 100
        open alice
        open bob
        open carol
        deposit alice 100
        deposit bob 100
        deposit carol 760
        seed alice 10 @ 100
        seed bob -6 @ 100
        seed carol -40 @ 100
        mark 94
        expect event FILL.ADL carol lots 10 price 90
        expect bob short 6
    """)


def test_another_score_another_order(exchange: Venue):
    """R82. Profit by leverage: Bob 36 / 600 * 564 / 136 = 0.249, Carol 128 / 880 * 752 / 1 128 =
    0.097. With a wallet of 50 for Carol it is 0.145 * 752 / 178 = 0.61, and she comes first."""
    exchange.play("given losses.adl_score = profit_times_leverage").play(
        ALICE_BOB_CAROL.replace("deposit carol 1000", "deposit carol 50")
    ).play("""
        mark 94
        expect event FILL.ADL carol lots 8 price 90
        expect event FILL.ADL bob lots 2 price 90
        expect bob short 4
    """)


def test_orders_of_whoever_is_deleveraged_are_cancelled(exchange: Venue):
    """R84. In that market only."""
    exchange.play("given two markets").play(ALICE_BOB_CAROL).play("""
        buy bob 1 @ 80 #1
        stop buy bob 1 @ 120 mark #2
        buy carol 1 @ 80 #3
        in market 2
        index 100
        buy carol 1 @ 90 #4
        in market 1
        mark 94
        expect event CANCELLED.ADL bob order_id 1
        expect event CANCELLED.ADL bob order_id 2
        expect event CANCELLED.ADL carol order_id 3
        expect carol orders 1
    """)


def test_ties_go_by_size_then_by_account(exchange: Venue):
    """R83. Three losers score 0: 7 lots before 4, and of two with 4 the older account."""
    exchange.play("""
        index 100
        open alice
        open bob
        open carol
        open dave
        deposit alice 100
        deposit bob 1000
        deposit carol 1000
        deposit dave 1000
        seed alice 10 @ 100
        seed bob -4 @ 80
        seed carol -4 @ 80
        seed dave -7 @ 80
        mark 94
        expect dave flat
        expect bob short 1
        expect carol short 4
    """)


def test_whoever_it_would_ruin_is_passed_over(exchange: Venue):
    """R85. At mark 80 Alice's price is 90. Bob, short six at 79 with 30, has 24 and would lose 60;
    Carol takes what she has, the rest is residual."""
    exchange.play("""
        index 80
        open alice
        open bob
        open carol
        deposit bob 30
        deposit carol 1000
        seed bob -6 @ 79
        seed carol -3 @ 79
        deposit alice 100
        seed alice 10 @ 100
        expect event LIQUIDATION_STARTED alice amount -100 fee 40
        expect event FILL.ADL carol lots 3 price 90
        expect event FILL.RESIDUAL alice lots -7 price 90
        expect bob short 6 @ 79
    """)


def test_just_solvent_is_solvent_enough(exchange: Venue):
    """R85. Closing six at 90 instead of 80 costs 60: with 66 in the wallet exactly 0 is left."""
    for money, taken in (("66", True), ("65.99", False)):
        venue = Venue(exchange.implementation)
        venue.play(f"""
            index 80
            open alice
            open bob
            deposit bob {money}
            seed bob -6 @ 79
            deposit alice 100
            seed alice 10 @ 100
            expect {"event" if taken else "no event"} FILL.ADL bob lots 6 price 90
        """)


def test_the_bankrupts_own_legs_are_no_counterparties(exchange: Venue):
    """R83. Alice is long and short in hedge mode; her short leg is isolated and in profit."""
    exchange.play("""
        index 100
        open alice hedge
        isolated alice
        deposit alice 200
        seed alice 5 @ 100 long isolated 50
        seed alice -5 @ 100 short isolated 50
        mark 94
        expect no event FILL.ADL
        expect event FILL.RESIDUAL alice position_side 1 lots -5
        expect alice short 5 @ 100
    """)


def test_the_last_absorber_always_can(exchange: Venue):
    """R80. No money, no counterparties: the fund has it all the same, and is worth -100."""
    exchange.play(ALICE).play("""
        mark 80
        expect event TAKEOVER_REFUSED.INVENTORY_FULL alice
        expect event FILL.RESIDUAL alice lots -10 price 90
        expect event LIQUIDATION_ENDED.RESIDUAL alice amount 0
        expect fund long 10 @ 90
        expect fund equity -100
    """)


def test_the_order_of_the_waterfall_is_the_profiles(exchange: Venue):
    """R80. ADL first: the fund could pay and is not asked."""
    exchange.play("given losses.waterfall = adl insurance_fund fund_unlimited").play(
        ALICE_BOB_CAROL
    ).play("""
        deposit fund 5000
        mark 94
        expect event FILL.ADL bob lots 6
        expect no event FILL.TAKEOVER
        expect fund flat
    """)


def test_deleveraging_leaves_the_fund_the_rest(exchange: Venue):
    """R80. ADL closes six against Bob, the fund takes four."""
    exchange.play("given losses.waterfall = adl insurance_fund fund_unlimited").play("""
        index 100
        open alice
        open bob
        deposit alice 100
        deposit bob 100
        deposit fund 5000
        seed alice 10 @ 100
        seed bob -6 @ 100
        mark 94
        expect event FILL.ADL bob lots 6 price 90
        expect event FILL.TAKEOVER alice lots -4 price 90
        expect event LIQUIDATION_ENDED.TAKEN_OVER alice
    """)


LOSS = """
    index 100
    open alice
    open bob
    deposit alice 100
    deposit bob 100000
    seed alice 10 @ 100
    buy bob 10 @ 50
"""


@pytest.mark.parametrize(
    ("fund", "paid", "debt"),
    [
        ("400.01", "400", ""),
        ("400", "400", ""),
        ("399.99", "399.99", "0.01"),
        ("0.01", "0.01", "399.99"),
        ("", "", "400"),
    ],
)
def test_the_fund_pays_what_is_missing_and_the_rest_is_bad_debt(
    exchange: Venue, fund: str, paid: str, debt: str
):
    """R86. Alice dumps her ten lots at 50: 500 lost, 100 owned. One unit more or less in the fund
    is one unit of bad debt less or more."""
    exchange.play(LOSS).play(f"deposit fund {fund}" if fund else "").play(f"""
        sell alice 10 market reduce
        expect event LIQUIDATION_STARTED alice amount -400 fee 0
        expect {f"event SHORTFALL alice amount {paid}" if paid else "no event SHORTFALL"}
        expect {f"event BAD_DEBT alice amount {debt}" if debt else "no event BAD_DEBT"}
        expect event LIQUIDATION_ENDED.NEGATIVE_BALANCE alice amount 0
        expect alice wallet 0
        expect fund wallet {"0.01" if fund == "400.01" else "0" if not debt else "-" + debt}
    """)


def test_a_fund_in_debt_pays_nothing(exchange: Venue):
    """R86. 400 of bad debt from Alice; a second loss adds to it whole."""
    exchange.play(LOSS).play("""
        sell alice 10 market reduce
        expect fund wallet -400
        leverage bob 2
        open carol
        deposit carol 100
        seed carol 10 @ 100
        buy bob 10 @ 80
        sell carol 10 market reduce
        expect no event SHORTFALL
        expect event BAD_DEBT carol amount 100
        expect fund wallet -500
    """)


def test_beyond_the_price_range_the_fund_pays_the_difference(exchange: Venue):
    """R70, R81, R86. No price above 150. Six lots from 100 at mark 150, 250 lost elsewhere: 50
    left, 45 needed. Funding of 10 % takes 90: the bankruptcy price 156.67 becomes 150, and 40 are
    missing after the takeover there."""
    exchange.play("""
        given market.price_max = 150
        given funding.rate_cap_ppb = 1000000000
        given losses.fund_inventory_ppm = 1000000000
        given two markets
    """).play("""
        index 150
        open alice
        open bob
        deposit bob 1000
        deposit fund 39.99
        seed alice 6 @ 100
        in market 2
        index 100
        seed alice 5 @ 100
        buy bob 5 @ 50
        sell alice 5 @ 50
        expect alice wallet -250
        expect alice equity 50
        in market 1
        funding 100000 ppm
        expect event LIQUIDATION_STARTED alice amount -40 fee 45
        expect event FILL.TAKEOVER alice lots -6 price 150 amount 300
        expect event SHORTFALL alice amount 39.99
        expect event BAD_DEBT alice amount 0.01
        expect fund wallet -0.01
    """)
