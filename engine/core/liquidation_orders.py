"""Orders of a liquidation, in the book or off it. Implements parts of R78, R109 and R133."""

import numpy as np

from engine.constants import (
    LIQUIDATION_ORDER_ID_BASE,
    ORDERS_PER_ACCOUNT_MAX,
    CancelReason,
    Cause,
    Channel,
    Flag,
    PositionSide,
    SelfTrade,
    Side,
)
from engine.core.admission import is_fillable
from engine.core.kernel import INTS_3, NOTHING, kernel, part
from engine.core.ledger import domain_of, fund_row, move_margin
from engine.core.margin import order_price
from engine.core.matching import match, trade_off_book
from engine.core.orders import (
    cancel,
    emit_cancelled,
    is_of_liquidation,
    rest,
)
from engine.core.position import find_position, get_position
from engine.core.state import H, accounts, header, markets, orders, positions, reducing

NET = PositionSide.NET.value


@part(INTS_3)
def trade_order(s, position_row, lots, bound, channel):
    """Sell lots of a position in the book down to a price, whatever the tick; the rest is
    cancelled, or stays there as far as R133 says. Returns (lots left, 0, notional traded)."""
    position = positions(s)[position_row]
    account_row, market_id = position["account_row"], position["market_id"]
    market = markets(s)[market_id]
    limit = order_price(market, position["lots"], bound)
    side = Side.SELL.value if position["lots"] > 0 else Side.BUY.value
    position_side = position["position_side"]
    order_id = LIQUIDATION_ORDER_ID_BASE + header(s)[H.LIQUIDATIONS_COUNT]
    self_trade = SelfTrade.CANCEL_OLDEST.value
    left, traded_quote = lots, 0
    possible = True
    if channel == Channel.FOK:
        possible = is_fillable(s, account_row, market_id, side, lots, limit, self_trade)
    if possible:
        left, _, traded_quote = match(
            s, position_row, order_id, side, lots, limit, 0, self_trade, Cause.LIQUIDATION.value
        )
    kept = 0
    if left > 0 and channel == Channel.REST:
        kept = min(left, room_to_rest(s, position_row))
    if left > kept:
        emit_cancelled(
            s,
            accounts(s)[account_row]["account_id"],
            order_id,
            market_id,
            side,
            position_side,
            limit,
            left - kept,
            0,
            CancelReason.IOC_REMAINDER.value,
        )
    if kept > 0:
        flags = Flag.REDUCE_ONLY.value
        rest(s, position_row, order_id, side, limit, kept, flags, self_trade)
    return left, np.int64(0), traded_quote


@kernel
def room_to_rest(s, position_row):
    """Implements R133: lots of the position that no other reduce-only order is to close."""
    words = header(s)
    position = positions(s)[position_row]
    if accounts(s)[position["account_row"]]["orders_count"] >= ORDERS_PER_ACCOUNT_MAX:
        return 0
    if words[H.ORDERS_COUNT] - words[H.CURVE_ORDERS_COUNT] >= words[H.USER_ORDERS_MAX]:
        return 0
    return max(0, abs(position["lots"]) - reducing(s)[position_row])


@part(NOTHING)
def take_back(s, account_row, domain_row):
    """Implements R133: the domain's resting liquidation orders leave the book."""
    row = accounts(s)[account_row]["order_head"]
    while row != 0:
        order = orders(s)[row]
        following = order["account_next"]
        if is_of_liquidation(s, row):
            leg = find_position(s, account_row, order["market_id"], order["position_side"])
            if leg != 0 and domain_of(s, leg) == domain_row:
                cancel(s, row, CancelReason.LIQUIDATION)
        row = following


@kernel
def hand_over(s, position_row, lots, price, system_row, cause):
    """Lots of a position go to a system account, off book."""
    position = positions(s)[position_row]
    taker_row = get_position(s, system_row, position["market_id"], NET)
    change = -lots if position["lots"] > 0 else lots
    trade_off_book(s, position_row, taker_row, change, price, cause)


@part(NOTHING)
def close_lots(s, position_row, lots):
    """Implements R109: in the book at any price, the fund takes the rest at mark."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    worst = market["price_min"] if position["lots"] > 0 else market["price_max"]
    left, _, _ = trade_order(s, position_row, lots, worst, 0)
    if left > 0:
        mark = market["mark_price"]
        fund = fund_row(s, position["market_id"])
        hand_over(s, position_row, left, mark, fund, Cause.TAKEOVER.value)


@kernel
def return_margin(s, position_row):
    """Isolated margin of a position that is flat goes back to the wallet."""
    position = positions(s)[position_row]
    if position["isolated"] != 0 and position["lots"] == 0 and position["margin_quote"] > 0:
        move_margin(s, position_row, -position["margin_quote"])
