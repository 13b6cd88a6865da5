"""Admission: what an order needs before it may touch the book. Every number here is ours.

At leverage 10 one lot at mark 100 needs 10.00; the first margin tier ends at 1 000.00.
"""

import pytest
from notation import Venue

from engine.constants import CommandKind, OrderType, Side

START = """
    index 100
    open alice
    open bob
    deposit bob 100000
"""


@pytest.mark.parametrize(
    ("money", "order", "answer"),
    [
        ("100", "buy alice 10 @ 100", ""),  # 10 * 100 / 10
        ("99.99", "buy alice 10 @ 100", "INSUFFICIENT_MARGIN"),
        ("20", "buy alice 1 @ 110", ""),  # margin 10 at mark, and 10 lost at once
        ("19.99", "buy alice 1 @ 110", "INSUFFICIENT_MARGIN"),
        ("20", "sell alice 1 @ 90", ""),
        ("19.99", "sell alice 1 @ 90", "INSUFFICIENT_MARGIN"),
        ("10", "buy alice 1 @ 90", ""),  # below mark nothing is lost
        ("100", "buy alice 10 market", ""),  # without a band a market order costs mark
        ("99.99", "buy alice 10 market", "INSUFFICIENT_MARGIN"),
    ],
)
def test_margin_and_open_loss(exchange: Venue, money: str, order: str, answer: str):
    """R32, R40, R41. Equity must cover initial margin plus what the limit loses against mark."""
    exchange.play(START).play(f"deposit alice {money}")
    exchange.play(f"{order}\nexpect rejected {answer}" if answer else order)


def test_the_fee_is_part_of_the_cost(exchange: Venue):
    """R22, R40. 10 lots at 100: margin 100 and a taker's fee of 0.50."""
    exchange.play("given market.taker_fee_ppm = 500").play(START).play("""
        deposit alice 100.49
        buy alice 10 @ 100
        expect rejected INSUFFICIENT_MARGIN
        deposit alice 0.01
        buy alice 10 @ 100
    """)


def test_a_market_order_costs_the_edge_of_the_band(exchange: Venue):
    """R05, R41. Band 5 %: it may pay 105, so 5 lots can lose 25 on top of a margin of 50."""
    exchange.play("given market.price_band_ppm = 50000").play(START).play("""
        deposit alice 74.99
        buy alice 5 market
        expect rejected INSUFFICIENT_MARGIN
        deposit alice 0.01
        buy alice 5 market
    """)


def test_orders_on_both_sides_need_margin_for_the_worse_one(exchange: Venue):
    """R34, R38. 5 to buy and 5 to sell can make 5 either way: margin 50 is enough."""
    exchange.play(START).play("""
        deposit alice 50
        buy alice 5 @ 99
        sell alice 5 @ 101
        sell alice 1 @ 101
        expect rejected INSUFFICIENT_MARGIN
    """)


def test_an_order_that_reduces_needs_nothing(exchange: Venue):
    """R34, R40. Long 10 with equity at the margin: selling 20 turns it round and needs no more."""
    exchange.play(START).play("""
        deposit alice 100
        buy alice 10 @ 100
        sell bob 10 @ 100
        sell alice 21 @ 101
        expect rejected POSITION_LIMIT        -- 11 short are 1 100, above the tier
        sell alice 20 @ 101
        expect alice orders 1
    """)


def test_withdrawals_leave_what_orders_need(exchange: Venue):
    """R39, R46. 100 deposited, 50 needed by an order: 50 are free."""
    exchange.play(START).play("""
        deposit alice 100
        buy alice 5 @ 100
        withdraw alice 50.01
        expect rejected INSUFFICIENT_BALANCE
        withdraw alice 50
        expect alice wallet 50
    """)


def test_profit_is_margin_but_cannot_be_withdrawn(exchange: Venue):
    """R39, R46. At 110 equity is 150 and 55 are needed: 95 are free. At 130 it is 250 and 65: 185
    are free, but the wallet holds 100."""
    exchange.play(START).play("""
        deposit alice 100
        seed alice 5 @ 100
        index 110
        withdraw alice 95.01
        expect rejected INSUFFICIENT_BALANCE
        index 130
        expect alice equity 250
        withdraw alice 100.01
        expect rejected INSUFFICIENT_BALANCE
        withdraw alice 100
        expect alice equity 150
    """)


def test_a_tier_limits_size_at_a_leverage(exchange: Venue):
    """R33. Leverage 10 is for 1 000 at most, leverage 5 for 5 000, leverage 2 for 20 000."""
    exchange.play(START).play("""
        deposit alice 100000
        buy alice 10 @ 100
        buy alice 1 @ 100
        expect rejected POSITION_LIMIT
        leverage alice 5
        buy alice 40 @ 100
        buy alice 1 @ 100
        expect rejected POSITION_LIMIT
        leverage alice 2
        buy alice 150 @ 100
        buy alice 1 @ 100
        expect rejected POSITION_LIMIT
    """)


def test_open_interest_is_bounded(exchange: Venue):
    """R40. 12 lots open of 20 at most: an order of 9 could make 21."""
    exchange.play("given market.open_interest_lots_max = 20").play(START).play("""
        deposit alice 10000
        seed bob 12 @ 100
        buy alice 9 @ 100
        expect rejected OPEN_INTEREST_BOUND
        buy alice 8 @ 100
        expect open interest 12
    """)


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        ("buy bob 1 @ 102", "PRICE_OFF_TICK"),
        ("buy bob 1 @ 105", ""),
        ("buy bob 1 @ 0", "PRICE_OUT_OF_RANGE"),
        ("buy bob 1 @ 100000", ""),
        ("buy bob 1 @ 100005", "PRICE_OUT_OF_RANGE"),
        ("buy bob 0 @ 100", "LOTS_OUT_OF_RANGE"),
        ("buy bob 1001 @ 100", "LOTS_OUT_OF_RANGE"),
        ("buy bob 1 @ 100 post ioc", "INVALID_FLAGS"),
        ("buy bob 1 market post", "INVALID_FLAGS"),
        ("buy bob 1 @ 100 long", "POSITION_SIDE_MISMATCH"),
        ("buy bob 1 @ 100 #0", "ORDER_ID_OUT_OF_RANGE"),
        ("buy bob 1 @ 100 #4611686018427387904", ""),  # 2**62
        ("buy bob 1 @ 100 #4611686018427387905", "ORDER_ID_OUT_OF_RANGE"),
        ("buy fund 1 @ 100", "ACCOUNT_IS_SYSTEM"),
        ("buy nobody 1 @ 100", "UNKNOWN_ACCOUNT"),
        ("cancel bob #99", "UNKNOWN_ORDER"),
        ("stop buy bob 1 @ 112 mark", "TRIGGER_PRICE_OFF_TICK"),
        ("stop buy bob 1 @ 0 mark", "TRIGGER_PRICE_OUT_OF_RANGE"),
    ],
)
def test_the_shape_of_an_order(exchange: Venue, order: str, answer: str):
    """R04. Tick 5, prices 5 to 100 000, sizes 1 to 1 000."""
    exchange.play("given market.tick = 5").play(START).play("deposit bob 900000")
    exchange.play(f"{order}\nexpect rejected {answer}" if answer else order)


@pytest.mark.parametrize(
    ("field", "value", "answer"),
    [
        ("side", 0, "INVALID_SIDE"),
        ("side", 3, "INVALID_SIDE"),
        ("order_type", 5, "INVALID_ORDER_TYPE"),
        ("time_in_force", 0, "INVALID_TIME_IN_FORCE"),
        ("self_trade", 4, "INVALID_SELF_TRADE"),
        ("trigger_kind", 1, "INVALID_TRIGGER"),  # of an order that is no stop
        ("trigger_price", 100, "TRIGGER_PRICE_OUT_OF_RANGE"),
        ("flags", 8, "INVALID_FLAGS"),
        ("market_id", 2, "UNKNOWN_MARKET"),
        ("market_id", 0, "UNKNOWN_MARKET"),
        ("kind", 99, "UNKNOWN_COMMAND"),
        ("time_ns", -1, "TIME_OUT_OF_RANGE"),
        ("price", 5, ""),
    ],
)
def test_every_wrong_field_has_its_code(exchange: Venue, field: str, value: int, answer: str):
    """R03, R04. One field of a good order is broken."""
    exchange.play(START)
    good = {
        "kind": CommandKind.NEW_ORDER,
        "account_id": exchange.account("bob"),
        "order_id": 1,
        "market_id": 1,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "time_in_force": 1,
        "price": 100,
        "lots": 1,
    }
    exchange.send(**{**good, field: value})
    if answer:
        exchange.play(f"expect rejected {answer}")


def test_a_refused_command_changes_nothing_but_the_command_number(exchange: Venue):
    """R02. Not even the time: the next command may be earlier than the refused one."""
    exchange.play(START).play("buy bob 1 @ 99")
    before = exchange.engine.rows()
    exchange.play("""
        at 5s
        buy bob 1 @ 100001
        expect rejected PRICE_OUT_OF_RANGE
    """)
    after = exchange.engine.rows()
    for name in ("accounts", "positions", "orders", "stops", "markets"):
        assert [tuple(row) for row in before[name]] == [tuple(row) for row in after[name]]
    now, number, *totals = (int(value) for value in after["totals"][0])
    old_now, old_number, *old_totals = (int(value) for value in before["totals"][0])
    assert (now, number, totals) == (old_now, old_number + 1, old_totals)
    exchange.play("at 1s\nbuy bob 1 @ 98")


def test_time_never_goes_back(exchange: Venue):
    """R03."""
    exchange.play(START).play("""
        at 5s
        index 101
        at 4s
        index 102
        expect rejected TIME_WENT_BACKWARDS
        expect index 101
        at 5s
        index 102
    """)


def test_an_id_is_taken_while_its_order_lives(exchange: Venue):
    """R04. After the order is gone the id may be used again."""
    exchange.play(START).play("""
        deposit alice 1000
        buy bob 1 @ 99 #7
        buy alice 1 @ 99 #7
        expect rejected DUPLICATE_ORDER_ID
        cancel alice #7
        expect rejected NOT_YOUR_ORDER
        cancel bob #7
        buy alice 1 @ 99 #7
    """)


def test_no_order_before_the_first_price(exchange: Venue):
    """R08."""
    exchange.play("""
        open alice
        deposit alice 1000
        buy alice 1 @ 99
        expect rejected NO_MARK_PRICE
        seed alice 1 @ 99
        expect rejected NO_MARK_PRICE
        stop buy alice 1 @ 120 mark
        expect rejected NO_MARK_PRICE
    """)


def test_limit_prices_stay_within_the_band(exchange: Venue):
    """R05. Band 5 % of mark 101: buys up to 106.05, floored; sells from 95.95, rounded up."""
    exchange.play("given market.price_band_ppm = 50000").play(START).play("""
        index 101
        buy bob 1 @ 107
        expect rejected OUTSIDE_PRICE_BAND
        buy bob 1 @ 106
        cancel bob all
        sell bob 1 @ 95
        expect rejected OUTSIDE_PRICE_BAND
        sell bob 1 @ 96
    """)


def test_full_tables_refuse_and_later_commands_work(exchange: Venue):
    """R07, R24. Two accounts, two orders, one position."""
    exchange.play("""
        given capacity accounts 2
        given capacity orders 2
        given capacity positions 1
        index 100
        open alice
        open bob
        open carol
        expect rejected ACCOUNTS_FULL
        deposit alice 1000
        deposit bob 1000
        buy alice 1 @ 99 #1
        buy alice 1 @ 98
        buy bob 1 @ 97
        expect rejected ORDERS_FULL
        cancel alice #1
        buy bob 1 @ 97
        expect rejected POSITIONS_FULL
        leverage bob 5
        expect rejected POSITIONS_FULL
        buy alice 1 @ 99
        expect book 99x1 98x1 |
    """)


def test_accounts_and_money_at_the_edge(exchange: Venue):
    """R45, R46. Deposits sum to 2**60 units at most; system accounts take deposits too."""
    exchange.play("""
        open alice
        open alice
        expect rejected ACCOUNT_EXISTS
        deposit alice 0
        expect rejected AMOUNT_OUT_OF_RANGE
        deposit fund 5
        withdraw fund 5.01
        expect rejected INSUFFICIENT_BALANCE
        withdraw fund 4
        expect fund wallet 1
        deposit alice 11529215046068469.77
        expect rejected AMOUNT_OUT_OF_RANGE
        deposit alice 11529215046068469.76
        expect rejected MONEY_BOUND
        deposit alice 11529215046068464.76
        deposit alice 0.01
        expect rejected MONEY_BOUND
        withdraw alice 11529215046068464.76
        expect alice wallet 0
        deposit nobody 5
        expect rejected UNKNOWN_ACCOUNT
    """)
