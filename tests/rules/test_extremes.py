"""The far ends: prices that all but vanish, empty books, one unit too little, everybody at once.

The numbers are the small venue's of `small_venues`: a lot at price 100 is worth 100.00.
"""

import numpy as np
import pytest
from notation import Venue
from small_venues import LINEAR, build, raw_profile

from engine import constants as c
from engine.constants import CommandKind as K
from engine.core.kernel import JIT
from engine.exchange import Exchange
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND
from engine.venue import Capacities

# -- prices -----------------------------------------------------------------------------------


def test_the_mark_falls_by_999_in_1000_and_is_back_in_the_same_nanosecond(exchange: Venue):
    """R70, R73, R81. Alice owned 100 of a loss of 999: her price is 900, the fund has the rest.
    One price unit is all that is left of 1 000; back there the fund is 100 ahead of her price."""
    exchange.play("""
        index 1000
        open alice
        open bob
        deposit alice 100
        deposit bob 100
        deposit fund 5000
        seed alice 1 @ 1000
        seed bob -1 @ 1000
        mark 1
        expect liquidated alice
        expect event LIQUIDATION_STARTED alice amount -899 fee 0.05
        expect event FILL.TAKEOVER alice lots -1 price 900 amount -100
        expect alice wallet 0
        expect bob equity 1099
        expect fund equity 4101
        mark 1000
        expect events MARK_SET
        expect bob equity 100
        expect fund equity 5100
        mark 1
        mark 1000
        expect events MARK_SET
        expect fund wallet 5000
    """)


def test_the_mark_rises_a_thousandfold_and_is_back_in_the_same_nanosecond(exchange: Venue):
    """R70, R83. A short with 50 is closed at 150, whatever the mark: the fund cannot hold 100 000,
    the long on the other side gives up all but 50 of its 99 900."""
    exchange.play("""
        index 100
        open alice
        open bob
        deposit alice 50
        deposit bob 10
        deposit fund 5000
        seed alice -1 @ 100
        seed bob 1 @ 100
        mark 100000
        expect event LIQUIDATION_STARTED alice amount -99850 fee 19450
        expect event TAKEOVER_REFUSED.INVENTORY_FULL alice
        expect event FILL.ADL bob lots -1 price 150 amount 50
        expect event LIQUIDATION_ENDED.DELEVERAGED alice amount 0
        expect alice wallet 0
        expect bob wallet 60
        expect fund wallet 5000
        expect open interest 0
        mark 1
        expect events MARK_SET
        mark 100
        expect events MARK_SET
    """)


def test_both_sides_fall_when_the_mark_goes_to_one_unit_and_then_a_thousandfold_up(
    exchange: Venue,
):
    """R73, R81. The long goes at its 60, the short at its 140; the fund is flat and has earned 80
    less the 80 that they lost between them: 40 each, none of it owed to anybody."""
    exchange.play("""
        given losses.fund_inventory_ppm = 100000000
    """).play("""
        index 100
        open alice
        open bob
        deposit alice 40
        deposit bob 40
        deposit fund 1000
        seed alice 1 @ 100
        seed bob -1 @ 100
        mark 1
        expect liquidated alice
        expect event FILL.TAKEOVER alice lots -1 price 60 amount -40
        expect fund equity 941
        mark 1000
        expect liquidated bob
        expect event FILL.TAKEOVER bob lots 1 price 140 amount -40
        expect fund flat
        expect fund wallet 1080
        expect alice wallet 0
        expect bob wallet 0
        mark 100
        expect events MARK_SET
    """)


def test_an_inverse_contract_at_the_least_price(exchange: Venue):
    """R20, R70. A lot of 100 is worth a whole coin at 100. Bought at 200 with 0.1: zero at 0.6
    coins, 166.67, so 167; there 100 / 167 = 0.59880240 leaves 0.0011976 of her own."""
    exchange.play("given inverse").play("""
        index 200
        open alice
        deposit alice 0.1
        deposit fund 10
        seed alice 1 @ 200
        expect alice equity 0.1
        mark 99
        expect rejected PRICE_OUT_OF_RANGE
        mark 100
        expect event LIQUIDATION_STARTED alice amount -0.4 fee 0.01
        expect event FILL.TAKEOVER alice lots -1 price 167 amount -0.0988024
        expect alice wallet 0.0011976
        expect fund equity 9.5988024
    """)


def test_no_bankruptcy_price_lies_below_the_least_price(exchange: Venue):
    """R70. With 0.505 coins zero is at 99.50; nothing trades below 100, and 0.005 is left."""
    exchange.play("given inverse").play("""
        index 200
        open alice
        deposit alice 0.505
        deposit fund 10
        seed alice 1 @ 200
        mark 100
        expect event LIQUIDATION_STARTED alice amount 0.005 fee 0.01
        expect event FILL.TAKEOVER alice lots -1 price 100 amount -0.5
        expect alice wallet 0.005
    """)


# -- books ------------------------------------------------------------------------------------


def test_an_empty_book(exchange: Venue):
    """R16, R19, R78. Nobody to trade with: a market order is cancelled whole, a liquidation's
    order too, and the fund takes the position."""
    exchange.play("""
        index 100
        open alice
        open bob
        deposit alice 100
        deposit bob 1000
        deposit fund 5000
        buy bob 3 market
        expect events CANCELLED.MARKET_REMAINDER
        seed alice 10 @ 100
        mark 94
        expect events MARK_SET LIQUIDATION_STARTED CANCELLED.IOC_REMAINDER FILL.TAKEOVER \
FILL.TAKEOVER LIQUIDATION_ENDED.TAKEN_OVER
        expect book |
    """)


@pytest.mark.parametrize(
    ("side", "price", "book"), [("buy", "99", "99x5 |"), ("sell", "101", "| 101x5")]
)
def test_a_book_with_one_side(exchange: Venue, side: str, price: str, book: str):
    """R16, R78. Whoever needs the side that is not there trades nothing and moves nothing."""
    sign, mark = ("-", "106") if side == "buy" else ("", "94")
    exchange.play(f"""
        index 100
        open alice
        open bob
        deposit alice 100
        deposit bob 1000
        deposit fund 5000
        {side} bob 5 @ {price}
        {side} alice 1 market
        expect events CANCELLED.MARKET_REMAINDER
        seed alice {sign}10 @ 100
        mark {mark}
        expect no event FILL.LIQUIDATION
        expect event LIQUIDATION_ENDED.TAKEN_OVER alice
        expect book {book}
        expect bob orders 1
    """)


# -- sizes ------------------------------------------------------------------------------------


def test_the_whole_open_interest_in_one_liquidation(exchange: Venue):
    """R40, R84. All 5 000 lots there may be: one long, one short, no fund. At 2 she has nothing and
    needs 1 450; both are closed at her price, 2, and nothing is open any more."""
    exchange.play("""
        index 4
        open alice
        open bob
        open carol
        deposit alice 10000
        deposit bob 100000
        deposit carol 100000
        leverage alice 2
        leverage bob 2
    """).play(5 * "buy alice 1000 @ 4\nsell bob 1000 @ 4\n").play("""
        expect open interest 5000
        buy carol 1 @ 4
        expect rejected OPEN_INTEREST_BOUND
        mark 3
        expect events MARK_SET
        mark 2
        expect event LIQUIDATION_STARTED alice amount 0 fee 1450
        expect event FILL.ADL alice lots -5000 price 2 amount -10000
        expect event FILL.ADL bob lots 5000 price 2 amount 10000
        expect event LIQUIDATION_ENDED.DELEVERAGED alice amount 0
        expect open interest 0
        expect alice wallet 0
        expect bob wallet 110000
        buy carol 1 @ 4
        expect events RESTED
    """)


TIER_EDGES = [
    *(("marginal", 999, "49.95"), ("marginal", 1_000, "50"), ("marginal", 1_001, "50.10")),
    *(("marginal", 4_999, "449.90"), ("marginal", 5_000, "450"), ("marginal", 5_001, "450.20")),
    *(("marginal", 19_999, "3449.80"), ("marginal", 20_000, "3450")),
    ("marginal", 20_001, "3450.20"),  # beyond the last bound the last tier goes on
    *(("flat", 999, "49.95"), ("flat", 1_000, "50"), ("flat", 1_001, "100.10")),
    *(("flat", 4_999, "499.90"), ("flat", 5_000, "500"), ("flat", 5_001, "1000.20")),
    *(("flat", 19_999, "3999.80"), ("flat", 20_000, "4000"), ("flat", 20_001, "4000.20")),
]


@pytest.mark.parametrize(("mode", "price", "maintenance"), TIER_EDGES)
def test_every_tier_edge(exchange: Venue, mode: str, price: int, maintenance: str):
    """R30, R31, R73. One lot at the last price of a tier, one below and one above: what it needs
    is enough, and one unit less is a liquidation."""
    exchange.play(f"given margin.tier_mode = {mode}").play(f"""
        index {price}
        open alice
        deposit alice {maintenance}
        seed alice 1 @ {price}
        expect no event LIQUIDATION_STARTED
        open bob
        deposit bob {maintenance}
        withdraw bob 0.01
        seed bob 1 @ {price}
        expect event LIQUIDATION_STARTED bob fee {maintenance}
    """)


LEVERAGE_125 = """
    given tier 1 leverage_max 125
    given tier 1 maintenance_ppm 4000
    given market.leverage_default = 125
    index 1000
    open alice
    open bob
    deposit bob 100000
    deposit fund 5000
    leverage bob 2
    sell bob 1 @ 1000
"""


def test_a_leverage_of_125_at_entry(exchange: Venue):
    """R32, R40, R73. 8 margin for 1 000; half of it is maintenance. At 996 the 4 left are more
    than 3.984, at 995 the 3 left are less than 3.98; 992 is where nothing is left."""
    exchange.play(LEVERAGE_125).play("""
        deposit alice 7.99
        buy alice 1 @ 1000
        expect rejected INSUFFICIENT_MARGIN
        deposit alice 0.01
        buy alice 1 @ 1000
        expect alice long 1 @ 1000
        expect alice leverage 125
        mark 996
        expect events MARK_SET
        mark 995
        expect event LIQUIDATION_STARTED alice amount 3 fee 3.98
        expect event FILL.TAKEOVER alice lots -1 price 992
        expect alice wallet 0
    """)


def test_more_than_the_greatest_leverage_is_refused(exchange: Venue):
    """R33, R47. 126 fits no tier, 256 is no leverage at all; 2 000 at 125 is a position that is
    too large: its tier ends at 1 000."""
    exchange.play(LEVERAGE_125).play("""
        deposit alice 1000
        leverage alice 126
        expect rejected LEVERAGE_OUT_OF_RANGE
        leverage alice 256
        expect rejected LEVERAGE_OUT_OF_RANGE
        buy alice 2 @ 1000
        expect rejected POSITION_LIMIT
    """)


# -- one unit ---------------------------------------------------------------------------------

TWO_AT_MINUS_100 = """
    given losses.waterfall = fund_payment pool
    index 100
    open alice
    open carol
    open bob
    deposit alice 100
    deposit carol 100
    deposit bob 10000
    seed alice 10 @ 100
    seed carol 10 @ 100
    seed bob -20 @ 100
"""


@pytest.mark.parametrize(
    ("fund", "second", "debt"),
    [("200.01", "100", ""), ("200", "100", ""), ("199.99", "99.99", "0.01")],
)
def test_a_fund_of_exactly_two_shortfalls_and_one_unit_either_side(
    exchange: Venue, fund: str, second: str, debt: str
):
    """R86, R99. Two accounts are at -100 by one mark; the first in order is paid whole."""
    exchange.play(TWO_AT_MINUS_100).play(f"""
        deposit fund {fund}
        mark 80
        expect liquidated alice carol
        expect event SHORTFALL alice amount 100
        expect event SHORTFALL carol amount {second}
        expect {f"event BAD_DEBT carol amount {debt}" if debt else "no event BAD_DEBT"}
        expect no event BAD_DEBT alice
        expect fund wallet {"-0.01" if debt else "0.01" if fund == "200.01" else "0"}
        expect alice wallet 0
        expect carol wallet 0
    """)


def test_one_unit_shared_by_three(exchange: Venue):
    """R103. 0.01 is missing: three owe a third each and pay one unit each; two units are rounding.
    The venue's own position, taken over from Alice, pays nothing."""
    exchange.play("""
        given losses.waterfall = fund_payment pool
        given losses.residual = socialise_positions
        index 100
        open alice
        open bob
        open carol
        open dave
        deposit alice 100
        deposit bob 1000
        deposit carol 1000
        deposit dave 1000
        deposit fund 99.99
        seed alice 10 @ 100
        seed bob -4 @ 100
        seed carol -3 @ 100
        seed dave -3 @ 100
        mark 80
        expect event SHORTFALL alice amount 99.99
        expect event LOSS_SHARED bob amount 0.01
        expect event LOSS_SHARED carol amount 0.01
        expect event LOSS_SHARED dave amount 0.01
        expect event LOSS_COVERED alice amount 0.01 fee 0.02
        expect alice wallet 0
        expect fund wallet 0
        expect rounding wallet 0.02
        expect bob wallet 999.99
        expect dave wallet 999.99
    """)


# -- the same instant -------------------------------------------------------------------------


def test_funding_and_liquidation_at_the_same_instant(exchange: Venue):
    """R62. At 101 Bob has 45 and would need 51; the 20.20 that he receives come first. Alice has
    70, pays 20.20 and is liquidated by the same command."""
    exchange.play("""
        index 100
        open alice
        open bob
        deposit alice 60
        deposit bob 55
        deposit fund 5000
        seed alice 10 @ 100
        seed bob -10 @ 100
        funding 20000 ppm at 101
        expect events MARK_SET FUNDING_PAID FUNDING_PAID FUNDING_SETTLED LIQUIDATION_STARTED \
CANCELLED.IOC_REMAINDER FILL.TAKEOVER FILL.TAKEOVER LIQUIDATION_ENDED
        expect event FUNDING_PAID alice amount -20.20 price 101
        expect event FUNDING_PAID bob amount 20.20 price 101
        expect event LIQUIDATION_STARTED alice amount 49.80 fee 51
        expect bob wallet 75.20
        expect bob short 10 @ 100
    """)


def test_whoever_was_liquidated_at_this_instant_pays_no_funding(exchange: Venue):
    """R61. The fund took the position at 90, so the fund pays."""
    exchange.play("""
        index 100
        open alice
        deposit alice 100
        deposit fund 5000
        seed alice 10 @ 100
        mark 94
        expect liquidated alice
        funding 10000 ppm
        expect no event FUNDING_PAID alice
        expect event FUNDING_PAID fund amount -9.40
        expect alice wallet 0
        expect fund wallet 4990.60
    """)


# -- everybody at once ------------------------------------------------------------------------


def crowd(count: int) -> np.ndarray:
    """`count` accounts, each with 10.00 and one lot bought at 100."""
    rows = np.zeros(2 + 3 * count, COMMAND)
    rows["kind"][0], rows["market_id"][0], rows["price"][0] = K.INDEX, 1, 100
    rows["kind"][1], rows["account_id"][1], rows["amount"][1] = K.DEPOSIT, 1, 10**12
    people = rows[2:].reshape(count, 3)
    people["account_id"] = (c.FIRST_USER_ID + np.arange(count))[:, None]
    people["kind"] = (K.OPEN_ACCOUNT, K.DEPOSIT, K.SEED_POSITION)
    people["amount"][:, 1] = 1_000
    people["market_id"][:, 2], people["price"][:, 2], people["lots"][:, 2] = 1, 100, 1
    return rows


@pytest.mark.parametrize(
    ("implementation", "count"), [("rulebook", 150), ("core", 100_000 if JIT else 150)]
)
def test_everybody_is_liquidated_by_one_mark(implementation: str, count: int):
    """R74. At 94 each has 4 and needs 4.70: all go, in the order of their accounts, at 90, by one
    command whose events are many times the buffer."""
    raw = raw_profile(LINEAR)
    raw["markets"][0]["open_interest_lots_max"] = 200_000
    capacities = Capacities(accounts_max=count, positions_max=count, orders_max=16)
    made = Exchange if implementation == "core" else ReferenceExchange
    engine = made(build(raw), capacities=capacities)
    fall = np.zeros(1, COMMAND)
    fall["kind"], fall["market_id"], fall["price"] = K.MARK, 1, 94
    if implementation == "core":
        engine.submit(crowd(count))
        events = engine.submit(fall)
        kinds, accounts = events["kind"], events["account_id"]
    else:
        engine.submit(crowd(count).tolist())
        rows = engine.submit(fall.tolist())
        kinds = np.array([row[10] for row in rows])
        accounts = np.array([row[2] for row in rows])
    started = accounts[kinds == c.EventKind.LIQUIDATION_STARTED]
    assert np.array_equal(started, c.FIRST_USER_ID + np.arange(count))
    assert (kinds == c.EventKind.LIQUIDATION_ENDED).sum() == count
    table = engine.rows()
    assert {int(row[1]) for row in table["accounts"] if row[0] >= c.FIRST_USER_ID} == {0}
    fund = [row for row in table["positions"] if row[0] == c.SystemAccount.INSURANCE_FUND]
    assert [(int(row[3]), int(row[4])) for row in fund] == [(count, count * 9_000)]
