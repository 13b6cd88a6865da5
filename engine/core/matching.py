"""Matching: an arriving order against the book, fills off the book, and what becomes of the rest.

Implements R16-R19, R26, R28, R29 and R134. An order enters and leaves in `orders`; what a fill does
to money is in `position`.
"""

from engine.constants import (
    CancelReason,
    Cause,
    Flag,
    OrderType,
    SelfTrade,
    TimeInForce,
)
from engine.core.admission import market_limit
from engine.core.book import (
    best_price,
    crosses,
    first_order,
    opposite,
    shrink,
    signed,
)
from engine.core.kernel import INTS_3, NOTHING, inlined, kernel, part
from engine.core.margin import decayed, notional
from engine.core.orders import (
    FLAG_BITS,
    MAKER_ROW,
    cancel,
    count_lots,
    emit_cancelled,
    forget,
    leg_of,
    reducible_lots,
    rest_order,
    trim_reduce_only,
)
from engine.core.position import fill_side, make_position, move_margin_after_fill
from engine.core.prices import touch_mark
from engine.core.records import REDUCES
from engine.core.state import H, accounts, header, lacking, markets, orders, positions, reducing
from engine.core.tickets import command_of

NO_REASON = 0


@inlined
def after_fill(s, position_row, lots, price, fee_ppm, booked_quote, before, liquidating):
    """Implements R26 and R28, for one side of a fill; `before` is (lots, margin) before it."""
    position = positions(s)[position_row]
    if position["isolated"] != 0 and not liquidating:
        move_margin_after_fill(
            s, position_row, lots, price, fee_ppm, booked_quote, before[0], before[1]
        )
    if position["beside"] & REDUCES != 0:
        trim_reduce_only(s, position_row)


@part(NOTHING)
def trade_off_book(s, taker_row, maker_row, lots, price, cause):
    """Implements R29: a fill between two positions at a price, without orders or fees; the
    first side is in liquidation or being seeded, so no margin follows it."""
    taker_account = positions(s)[taker_row]["account_row"]
    maker_account = positions(s)[maker_row]["account_row"]
    taker_ppm, maker_ppm = 0, 0
    if cause == Cause.ADL and header(s)[H.ADL_FEE] != 0:
        market = markets(s)[positions(s)[taker_row]["market_id"]]
        taker_ppm, maker_ppm = market["taker_fee_ppm"], market["maker_fee_ppm"]
    flag = Flag.MAKER.value
    before = held_by(s, taker_row)
    taken = fill_side(s, taker_row, 0, maker_account, lots, price, cause, taker_ppm, 0)
    before_maker = held_by(s, maker_row)
    made = fill_side(s, maker_row, 0, taker_account, -lots, price, cause, maker_ppm, flag)
    after_fill(s, taker_row, lots, price, taker_ppm, taken, before, True)
    after_fill(s, maker_row, -lots, price, maker_ppm, made, before_maker, False)


@inlined
def held_by(s, position_row):
    """(lots, margin) of a leg."""
    position = positions(s)[position_row]
    return position["lots"], position["margin_quote"]


@kernel
def lacking_at(s, market_id, price):
    """Implements R134: what is still lacking at a recorded level."""
    market = markets(s)[market_id]
    row = lacking(s)[market["level_row"] + price // market["tick_price"]]
    return decayed(row["lots"], header(s)[H.NOW_NS] - row["since_ns"], market["memory_ns"])


@part(NOTHING)
def remember_taken(s, market_id, price, lots):
    """Part of R134: what orders of ours took from a recorded level."""
    market = markets(s)[market_id]
    left = lacking_at(s, market_id, price)
    row = lacking(s)[market["level_row"] + price // market["tick_price"]]
    row["lots"] = left + lots
    row["since_ns"] = header(s)[H.NOW_NS]


@inlined
def meets(s, market_id, side, limit):
    """Whether an order with this limit meets a resting one."""
    price = best_price(markets(s)[market_id], opposite(side))
    return price != 0 and crosses(side, limit, price)


@part(INTS_3)
def match(s, taker_row, order_id, side, lots, limit, flags, self_trade, cause):
    """Implements R16: trade an arriving order of a leg against the book.

    Returns (lots left, CancelReason or 0, notional traded)."""
    account_row = positions(s)[taker_row]["account_row"]
    market = markets(s)[positions(s)[taker_row]["market_id"]]
    against = opposite(side)
    traded_quote = 0
    while lots > 0:
        price = best_price(market, against)
        if price == 0 or not crosses(side, limit, price):
            return lots, NO_REASON, traded_quote
        fill = lots
        if flags & Flag.REDUCE_ONLY:
            fill = min(fill, reducible_lots(s, taker_row, side))
            if fill == 0:
                return lots, CancelReason.REDUCE_ONLY.value, traded_quote
        resting = first_order(s, market, against)
        checked = self_trade != SelfTrade.ALLOW or flags & Flag.REDUCE_ONLY
        if orders(s)[resting]["account_row"] == account_row and checked:
            if self_trade != SelfTrade.CANCEL_NEWEST:
                cancel(s, resting, CancelReason.SELF_TRADE)
            if self_trade == SelfTrade.CANCEL_NEWEST or self_trade == SelfTrade.CANCEL_BOTH:
                return lots, CancelReason.SELF_TRADE.value, traded_quote
            continue
        fill = min(fill, orders(s)[resting]["lots"])
        lots -= fill
        trade_with(s, resting, taker_row, order_id, side, fill, price, flags, cause)
        traded_quote += notional(market, fill, price)
    return lots, NO_REASON, traded_quote


@inlined
def trade_with(s, resting, taker_row, order_id, side, fill, price, flags, cause):
    """Implements R17, R18: the resting order shrinks or leaves, then both sides are booked, the
    taker's event first. Only who trades of their own will pays the taker's fee."""
    order = orders(s)[resting]
    market_id = order["market_id"]
    market = markets(s)[market_id]
    maker_account = order["account_row"]
    maker_order = order["order_id"]
    maker_flags = (order["bits"] & FLAG_BITS) | Flag.MAKER
    maker_row = leg_of(s, order)
    market["last_price"] = price
    touch_mark(s, market_id)
    if maker_account == MAKER_ROW:
        market["taken_price"] = price
        if market["memory_ns"] != 0:
            remember_taken(s, market_id, price, fill)
    if fill == order["lots"]:
        forget(s, resting, maker_row)
    else:
        count_lots(s, resting, maker_row, -fill)
        shrink(s, resting, fill)
    change, account_row = signed(side, fill), positions(s)[taker_row]["account_row"]
    taker_ppm, maker_ppm = market["taker_fee_ppm"], market["maker_fee_ppm"]
    if cause != Cause.TRADE:
        taker_ppm = 0
    before = held_by(s, taker_row)
    taken = fill_side(s, taker_row, order_id, maker_account, change, price, cause, taker_ppm, flags)
    before_maker = held_by(s, maker_row)
    made = fill_side(
        s, maker_row, maker_order, account_row, -change, price, cause, maker_ppm, maker_flags
    )
    after_fill(s, taker_row, change, price, taker_ppm, taken, before, cause == Cause.LIQUIDATION)
    after_fill(s, maker_row, -change, price, maker_ppm, made, before_maker, False)


@kernel
def place(s, ticket_at, account_row, leg, flags):
    """Implements R19: match an admitted order, then rest or cancel what is left of it."""
    order = command_of(ticket_at)
    order_id, market_id, side = order["order_id"], order["market_id"], order["side"]
    position_side, price, left = order["position_side"], order["price"], order["lots"]
    if leg == 0:
        leg = make_position(s, account_row, market_id, position_side)
    limit, reason = price, NO_REASON
    if order["order_type"] == OrderType.MARKET:
        limit = market_limit(markets(s)[market_id], side)
    if meets(s, market_id, side, limit):
        left, reason, _ = match(
            s, leg, order_id, side, left, limit, flags, order["self_trade"], Cause.TRADE.value
        )
        if left == 0:
            return
    if reason == NO_REASON and order["order_type"] == OrderType.MARKET:
        reason = CancelReason.MARKET_REMAINDER.value
    elif reason == NO_REASON and order["time_in_force"] == TimeInForce.IOC:
        reason = CancelReason.IOC_REMAINDER.value
    account_id, cancelled = accounts(s)[account_row]["account_id"], 0
    if reason != NO_REASON:
        cancelled = left
    elif flags & Flag.REDUCE_ONLY:
        room = max(0, reducible_lots(s, leg, side) - reducing(s)[leg])
        cancelled = max(0, left - room)
        reason = CancelReason.REDUCE_ONLY.value
    if cancelled > 0:
        emit_cancelled(
            s, account_id, order_id, market_id, side, position_side, price, cancelled, flags, reason
        )
    if left > cancelled:
        rest_order(s, leg, order_id, side, price, left - cancelled, flags, order["self_trade"])
