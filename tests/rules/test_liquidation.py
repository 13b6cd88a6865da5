"""Liquidation: from the breach to the book. What the book does not take is in test_absorbers.

Alice holds ten lots at 100 with a wallet of 100. At mark 95 she has 50 and needs 47.50; at 94 she
has 40 and needs 47.00, and her bankruptcy price is 90. Every number here is ours.
"""

import pytest
from notation import Venue
from small_venues import ALICE_AND_BOB as START

COVER = "given liquidation.steps = cancel_orders cover_shortage\n"


def test_it_starts_when_equity_is_below_maintenance(exchange: Venue):
    """R73, R75."""
    exchange.play(START).play("""
        mark 95
        expect events MARK_SET
        mark 94
        expect event LIQUIDATION_STARTED alice amount 40 fee 47 price 0 market_id 0
    """)


def test_the_book_takes_everything_above_the_bankruptcy_price(exchange: Venue):
    """R78. Sold at 92: 80 lost, 20 left, and they stay with the user here."""
    exchange.play(START).play("""
        buy bob 10 @ 92
        mark 94
        expect events MARK_SET LIQUIDATION_STARTED FILL.LIQUIDATION FILL.LIQUIDATION \
LIQUIDATION_ENDED.CLOSED_IN_BOOK
        expect event FILL alice lots -10 price 92 amount -80 fee 0
        expect alice flat
        expect alice wallet 20
    """)


@pytest.mark.parametrize(
    ("surplus", "wallet", "fund"), [("to_user", "20", "0"), ("to_fund", "0", "20")]
)
def test_who_gets_the_surplus(exchange: Venue, surplus: str, wallet: str, fund: str):
    """R86."""
    exchange.play(f"given liquidation.surplus = {surplus}").play(START).play(f"""
        withdraw fund 100000
        buy bob 10 @ 92
        mark 94
        expect {"event" if surplus == "to_fund" else "no event"} SURPLUS alice amount 20
        expect alice wallet {wallet}
        expect fund wallet {fund}
    """)


def test_the_order_does_not_go_below_the_bankruptcy_price(exchange: Venue):
    """R70, R71, R78. Bids at 90 are taken, those at 89 are not; the fund takes the rest at 90."""
    exchange.play(START).play("""
        buy bob 4 @ 90
        buy bob 4 @ 89
        mark 94
        expect event FILL.LIQUIDATION alice lots -4 price 90
        expect event CANCELLED.IOC_REMAINDER alice lots 6 price 90
        expect event FILL.TAKEOVER alice lots -6 price 90
        expect event LIQUIDATION_ENDED.TAKEN_OVER alice amount 0
        expect book 89x4 |
        expect alice wallet 0
    """)


def test_a_better_fill_lowers_the_bankruptcy_price_of_the_rest(exchange: Venue):
    """R70, R80. At 93 she has 30; four sold at 92 leave a wallet of 68 and 26 against 27.90: the
    other six go at 100 - 68 / 6 = 88.67, so at 89."""
    exchange.play(START).play("""
        buy bob 4 @ 92
        mark 93
        expect event FILL.LIQUIDATION alice lots -4 price 92 amount -32
        expect event FILL.TAKEOVER alice lots -6 price 89 amount -66
        expect alice wallet 2
    """)


def test_the_bankruptcy_price_is_rounded_to_the_solvent_side(exchange: Venue):
    """R70, R86. Wallet 95: zero at 90.5, so 91 for a long, and 5 are left over."""
    exchange.play(START.replace("deposit alice 100", "deposit alice 95")).play("""
        mark 94
        expect event FILL.TAKEOVER alice lots -10 price 91
        expect event LIQUIDATION_ENDED alice amount 5
        expect alice wallet 5
    """)


def test_and_below_it_for_a_short(exchange: Venue):
    """R70. Short ten at 100, wallet 95: zero at 109.5, so 109. Above 1 000 the margin is 10 %
    less 50: at 104 it has 55 and needs 54, at 105 it has 45 and needs 55."""
    exchange.play("""
        index 100
        open alice
        deposit alice 95
        deposit fund 100000
        seed alice -10 @ 100
        mark 104
        expect no event LIQUIDATION_STARTED
        mark 105
        expect event LIQUIDATION_STARTED alice amount 45 fee 55
        expect event FILL.TAKEOVER alice lots 10 price 109
        expect alice wallet 5
    """)


def test_the_order_is_limited_by_the_next_tick(exchange: Venue):
    """R71. Wallet 90, bankruptcy price 91, tick 5: the order's limit is 95, the takeover at 91."""
    exchange.play("given market.tick = 5").play(
        START.replace("deposit alice 100", "deposit alice 90")
    ).play("""
        buy bob 10 @ 90
        mark 94
        expect event CANCELLED.IOC_REMAINDER alice lots 10 price 95
        expect event FILL.TAKEOVER alice price 91
    """)


def test_covering_sells_just_enough(exchange: Venue):
    """R72, R76. 7 are short; each lot at 94 frees 4.70 of margin: two lots, then 40 against
    37.60 is enough."""
    exchange.play(COVER).play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -2 price 94
        expect event LIQUIDATION_ENDED.RESTORED alice amount 40
        expect alice long 8 @ 100
        expect alice wallet 88
        expect fund wallet 100000
    """)


def test_covering_counts_the_fee(exchange: Venue):
    """R72, R79. Fee 1 %: a lot frees 4.70 and costs 0.94: 7 / 0.04 = 175 of 940, two lots. They
    pay 1.88; 38.12 against 37.60 is still enough."""
    exchange.play(COVER).play("given market.liquidation_fee_ppm = 10000").play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -2
        expect event LIQUIDATION_FEE alice amount 1.88
        expect event LIQUIDATION_ENDED.RESTORED alice amount 38.12
        expect fund wallet 100001.88
    """)


def test_if_the_fee_is_not_below_the_rate_everything_is_sold(exchange: Venue):
    """R72. Fee 5 % and rate 5 %: selling frees nothing."""
    exchange.play(COVER).play("given market.liquidation_fee_ppm = 50000").play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -10
        expect event LIQUIDATION_FEE alice amount 40      -- 47 owed, 40 left
        expect alice wallet 0
    """)


def test_covering_that_fails_hands_over_the_rest(exchange: Venue):
    """R76, R80. Two lots at 90 cost 8: 32 against 37.60 is not enough; eight go at 90."""
    exchange.play(COVER).play(START).play("""
        buy bob 10 @ 90
        mark 94
        expect event FILL.LIQUIDATION alice lots -2 price 90
        expect event FILL.TAKEOVER alice lots -8 price 90
        expect event LIQUIDATION_ENDED.TAKEN_OVER alice amount 0
        expect book 90x8 |
    """)


def test_the_fee_is_charged_on_what_the_order_filled(exchange: Venue):
    """R79. 1 % of 10 * 92 is 9.20 of the 20 left."""
    exchange.play("given market.liquidation_fee_ppm = 10000").play(START).play("""
        withdraw fund 100000
        buy bob 10 @ 92
        mark 94
        expect event LIQUIDATION_FEE alice amount 9.2
        expect alice wallet 10.8
        expect fund wallet 9.2
    """)


def test_the_fee_is_at_most_what_is_left(exchange: Venue):
    """R79. 1 % of 910 is 9.10; sold at 91 there are 10; at 90 nothing is left and nothing due."""
    exchange.play("given market.liquidation_fee_ppm = 30000").play(START).play("""
        buy bob 10 @ 91
        mark 94
        expect event LIQUIDATION_FEE alice amount 10
        expect alice wallet 0
    """)
    other = Venue(exchange.implementation)
    other.play("given market.liquidation_fee_ppm = 30000").play(START).play("""
        buy bob 10 @ 90
        mark 94
        expect no event LIQUIDATION_FEE
        expect alice wallet 0
    """)


def test_every_order_of_the_account_is_cancelled_first(exchange: Venue):
    """R76. In every market, oldest first, stops too."""
    exchange.play("given two markets").play(
        START.replace("deposit alice 100", "deposit alice 110")
    ).play("""
        stop sell alice 1 @ 50 mark #1
        sell alice 2 @ 120 #2
        in market 2
        index 100
        sell alice 1 @ 110 #3
        in market 1
        mark 93
        expect events MARK_SET LIQUIDATION_STARTED CANCELLED.LIQUIDATION CANCELLED.LIQUIDATION \
CANCELLED.LIQUIDATION CANCELLED.IOC_REMAINDER FILL.TAKEOVER FILL.TAKEOVER LIQUIDATION_ENDED
    """)
    cancelled = [int(event["order_id"]) for event in exchange.events if event["kind"] == 11]
    assert cancelled[:3] == [1, 2, 3]


def test_a_venue_may_leave_the_orders_alone(exchange: Venue):
    """R76, R78. Without that step her own bid is in the way: it is cancelled as a self-trade."""
    exchange.play("given liquidation.steps = close_position").play("""
        index 100
        open alice
        deposit alice 110
        deposit fund 100000
        seed alice 9 @ 100
        buy alice 1 @ 93
        sell alice 1 @ 120
        mark 92
        expect event LIQUIDATION_STARTED alice amount 38 fee 41.4
        expect event CANCELLED.SELF_TRADE alice lots 1 price 93
        expect no event CANCELLED.LIQUIDATION
        expect alice orders 1
        expect book | 120x1
    """)


def test_the_largest_position_goes_first_and_may_be_enough(exchange: Venue):
    """R77. 540 in market 2, 400 in market 1: selling market 2 at mark leaves 40 against 20."""
    exchange.play("given two markets").play("""
        index 100
        open alice
        open bob
        deposit alice 100
        deposit bob 100000
        seed alice 4 @ 100
        in market 2
        index 100
        seed alice 6 @ 100
        buy bob 6 @ 90
        mark 90
        expect event LIQUIDATION_STARTED alice amount 40 fee 47
        expect event FILL.LIQUIDATION alice lots -6 price 90 market_id 2
        expect event LIQUIDATION_ENDED.RESTORED alice amount 40
        expect alice flat
        in market 1
        expect alice long 4 @ 100
    """)


def test_a_tie_goes_to_the_lower_market(exchange: Venue):
    """R77. At mark 80 in market 2 both positions are 400. Market 1 is sold, at 99 for 4 less, and
    26 against 20 is enough."""
    exchange.play("given two markets").play("""
        index 100
        open alice
        open bob
        deposit alice 130
        deposit bob 100000
        buy bob 5 @ 99
        seed alice 4 @ 100
        in market 2
        index 100
        buy bob 5 @ 80
        seed alice 5 @ 100
        mark 80
        expect event LIQUIDATION_STARTED alice amount 30 fee 40
        expect event FILL.LIQUIDATION alice market_id 1 lots -4
        expect event LIQUIDATION_ENDED.RESTORED alice amount 26
        expect alice long 5 @ 100
    """)


def test_accounts_are_liquidated_in_order(exchange: Venue):
    """R74. By account, whatever the size of the breach; the second takes what the book has left."""
    exchange.play(START).play("""
        open carol
        deposit carol 55
        seed carol 5 @ 100
        buy bob 12 @ 91
        mark 92
        expect liquidated alice carol
        expect event FILL.LIQUIDATION alice lots -10 price 91
        expect event FILL.LIQUIDATION carol lots -2 price 91
        expect event FILL.TAKEOVER carol lots -3 price 88  -- 92 - 13 / 3
        expect alice wallet 10
        expect carol wallet 1
    """)


def test_a_position_of_one_lot_is_closed_whole(exchange: Venue):
    """R72. Covering always sells at least a lot."""
    exchange.play(COVER).play("""
        index 100
        open alice
        open bob
        deposit alice 10
        deposit bob 1000
        seed alice 1 @ 100
        buy bob 1 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -1
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount 4
    """)


def test_the_inverse_bankruptcy_price(exchange: Venue):
    """R70. 1 000 lots at 10 000 are 10 coin, wallet 0.5: zero where they are worth 10.5, at
    9 523.81, so at 9 524, where they are worth 10.49979. At mark 9 600 they are 10.41666667: 0.083
    left, and 2.5 % less 0.15 needed."""
    exchange.play("""
        given inverse
        index 10000
        open alice
        deposit alice 0.5
        deposit fund 100000
        seed alice 1000 @ 10000
        mark 9600
        expect event LIQUIDATION_STARTED alice amount 0.08333333 fee 0.11041667
        expect event FILL.TAKEOVER alice lots -1000 price 9524
        expect alice wallet 0.00021
    """)


BOTH = "given liquidation.steps = cancel_orders cover_shortage close_position\n"


def test_a_second_order_for_everything_follows_the_first(exchange: Venue):
    """R87. Two lots at 90 leave 32 against 37.60; the order for the other eight also finds 90."""
    exchange.play(BOTH).play(START).play("""
        buy bob 10 @ 90
        mark 94
        expect event FILL.LIQUIDATION alice lots -2 price 90
        expect event FILL.LIQUIDATION alice lots -8 price 90
        expect no event FILL.TAKEOVER
        expect event LIQUIDATION_ENDED.CLOSED_IN_BOOK alice amount 0
    """)


def test_the_second_order_is_not_needed_after_a_good_first_one(exchange: Venue):
    """R87. Two lots at 94 are enough."""
    exchange.play(BOTH).play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event LIQUIDATION_ENDED.RESTORED alice amount 40
        expect alice long 8
    """)


def test_there_is_no_second_order_after_one_for_everything(exchange: Venue):
    """R87. One lot is the whole position: one order, one cancellation, then the fund."""
    exchange.play(BOTH).play("""
        index 100
        open alice
        deposit alice 10
        deposit fund 1000
        seed alice 1 @ 100
        mark 94
        expect events MARK_SET LIQUIDATION_STARTED CANCELLED.IOC_REMAINDER FILL.TAKEOVER \
FILL.TAKEOVER LIQUIDATION_ENDED.TAKEN_OVER
    """)
