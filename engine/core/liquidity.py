"""The market-maker account: its quotes from recorded depth, or from a curve round the index.

Implements R50, R54-R58 and R134-R137.
"""

import numpy as np

from engine.constants import (
    MAKER_ID_MARKET_SHIFT,
    PPB,
    PPM,
    CancelReason,
    Cause,
    EventKind,
    PositionSide,
    SelfTrade,
    Side,
)
from engine.core.arithmetic import divide_up, mul_div, mul_div_bounded, mul_div_up
from engine.core.book import (
    best_price,
    best_tick,
    crosses,
    find_order,
    first_order,
    next_order,
    opposite,
    shrink,
)
from engine.core.events import emit
from engine.core.kernel import NOTHING, inlined, kernel, part
from engine.core.margin import decayed
from engine.core.matching import lacking_at, match, meets, trade_with
from engine.core.orders import MAKER_ROW, cancel, emit_depth, rest
from engine.core.position import get_position
from engine.core.prices import sample_basis, touch_mark
from engine.core.state import H, curves, header, lacking, markets, orders

GAP_MAX = 2**55  # ppb; prices cannot be further apart


@inlined
def quote_id(market_id, price):
    return -((np.int64(market_id) << MAKER_ID_MARKET_SHIFT) | price)


@kernel
def place_quote(s, market_id, side, price, lots):
    """A quote trades with what it crosses, then rests; it never trades with another quote."""
    order_id = quote_id(market_id, price)
    leg = get_position(s, MAKER_ROW, market_id, PositionSide.NET.value)
    oldest = SelfTrade.CANCEL_OLDEST.value
    left = lots
    if meets(s, market_id, side, price):
        left, _, _ = match(s, leg, order_id, side, lots, price, 0, oldest, Cause.TRADE.value)
    if left > 0:
        rest(s, leg, order_id, side, price, left, 0, oldest)


@part(NOTHING)
def set_depth(s, market_id, side, price, lots):
    """Implements R55 and R134. The order of a price may stand on the other side: it is not this
    level."""
    market = markets(s)[market_id]
    if market["memory_ns"] != 0:
        if lots == 0:
            lacking(s)[market["level_row"] + price // market["tick_price"]]["lots"] = 0
        else:
            lots = max(0, lots - lacking_at(s, market_id, price))
    row = find_order(s, quote_id(market_id, price))
    if row != 0 and orders(s)[row]["side"] == side and 0 < lots <= orders(s)[row]["lots"]:
        shrink(s, row, orders(s)[row]["lots"] - lots)
        emit_depth(s, market_id, side, price, lots, EventKind.RESTED)
        return
    if row != 0 and (orders(s)[row]["side"] == side or lots > 0):
        cancel(s, row, CancelReason.DEPTH)
    elif lots == 0:
        emit_depth(s, market_id, side, price, 0, EventKind.RESTED)
    if lots > 0:
        place_quote(s, market_id, side, price, lots)


@part(NOTHING)
def clear_depth(s, market_id):
    """Implements R56: bids best first, then asks best first."""
    market = markets(s)[market_id]
    for side in (Side.BUY.value, Side.SELL.value):
        row = 0
        if best_tick(market, side) != 0:
            row = first_order(s, market, side)
        while row != 0:
            following = next_order(s, row)
            if orders(s)[row]["account_row"] == MAKER_ROW:
                cancel(s, row, CancelReason.REQUOTE)
            row = following


@part(NOTHING)
def take_recorded(s, market_id, side, price, lots):
    """Implements R137: a recorded trade takes from the book."""
    market = markets(s)[market_id]
    order_id = quote_id(market_id, price)
    against = opposite(side)
    while lots > 0:
        best = best_price(market, against)
        if best == 0 or not crosses(side, price, best):
            return
        row = first_order(s, market, against)
        held = orders(s)[row]["lots"]
        taken = min(lots, held)
        if orders(s)[row]["account_row"] == MAKER_ROW:
            lots -= taken
            if taken == held:
                cancel(s, row, CancelReason.DEPTH)
            else:
                shrink(s, row, taken)
                emit_depth(s, market_id, against, best, held - taken, EventKind.RESTED)
            continue
        room = market["open_interest_lots_max"] - market["open_interest_lots"]
        taken = min(taken, room)
        if taken <= 0:
            return
        lots -= taken
        maker_row = get_position(s, MAKER_ROW, market_id, PositionSide.NET.value)
        trade_with(s, row, maker_row, order_id, side, taken, best, 0, Cause.TRADE.value)


@kernel
def middle(market):
    """Implements R136: the index and by how much the curve's middle stays off it."""
    shift_ppb = market["shift_ppb"]
    moved = mul_div(market["index_price"], abs(shift_ppb), PPB)
    price = market["index_price"] + (moved if shift_ppb > 0 else -moved)
    return min(max(price, market["price_min"]), market["price_max"])


@kernel
def keep_gap(market):
    """Implements R136: the permanent share of how far the curve's quotes were taken."""
    share_ppm, taken = market["permanent_ppm"], market["taken_price"]
    if share_ppm != 0 and taken != 0 and market["index_price"] != 0:
        centre = middle(market)
        gap = mul_div_bounded(abs(taken - centre), PPB, centre, GAP_MAX)
        change = mul_div(gap, share_ppm, PPM)
        moved = market["shift_ppb"] + (change if taken > centre else -change)
        market["shift_ppb"] = min(max(moved, -(PPB // 2)), PPB // 2)
    market["taken_price"] = 0


@kernel
def sample_volatility(s, market, price):
    """Implements R135."""
    index = market["index_price"]
    if market["calm_ppm"] == 0 or index == 0:
        return
    elapsed_ns = header(s)[H.NOW_NS] - market["quote_time_ns"]
    kept = decayed(market["volatility_ppm"], elapsed_ns, market["volatility_half_life_ns"])
    moved = mul_div_bounded(abs(price - index), PPM, index, PPB)
    market["volatility_ppm"] = min(kept + moved, PPB)


@kernel
def remember_deficits(s, market_id):
    """Implements R54: what trading took out of each level since it was quoted."""
    market = markets(s)[market_id]
    levels_count = market["curve_levels"]
    for index in range(2 * levels_count):
        curve = curves(s)[market["curve_row"] + index]
        if curve["price"] == 0:
            continue
        side = Side.BUY if index < levels_count else Side.SELL
        row = find_order(s, quote_id(market_id, curve["price"]))
        left = 0
        if row != 0 and orders(s)[row]["side"] == side:
            left = orders(s)[row]["lots"]
        curve["deficit_lots"] += curve["quoted_lots"] - left
        curve["price"] = 0
        curve["quoted_lots"] = 0


@kernel
def quote_price(market, side, offset_ppm, previous):
    """Implements R58."""
    tick, index = market["tick_price"], middle(market)
    if side == Side.BUY:
        price = mul_div(index, PPM - offset_ppm, PPM) // tick * tick
        if previous != 0:
            price = min(price, previous - tick)
        return price if price >= market["price_min"] else 0
    price = divide_up(mul_div_up(index, PPM + offset_ppm, PPM), tick) * tick
    if previous != 0:
        price = max(price, previous + tick)
    return price if price <= market["price_max"] else 0


@part(NOTHING)
def requote(s, market_id):
    """Implements R57."""
    market = markets(s)[market_id]
    remember_deficits(s, market_id)
    clear_depth(s, market_id)
    now_ns = header(s)[H.NOW_NS]
    elapsed_ns = now_ns - market["quote_time_ns"]
    market["quote_time_ns"] = now_ns
    levels_count = market["curve_levels"]
    for side in (Side.BUY.value, Side.SELL.value):
        previous = 0
        first = market["curve_row"] + (0 if side == Side.BUY else levels_count)
        for level in range(levels_count):
            curve = curves(s)[first + level]
            deficit = decayed(curve["deficit_lots"], elapsed_ns, market["half_life_ns"])
            curve["deficit_lots"] = deficit
            price = quote_price(market, side, curve["offset_ppm"], previous)
            if price == 0:
                break
            previous = price
            room = market["open_interest_lots_max"] - market["open_interest_lots"]
            wanted = curve["target_lots"]
            if market["volatility_ppm"] > market["calm_ppm"]:
                wanted = mul_div(wanted, market["calm_ppm"], market["volatility_ppm"])
            lots = min(wanted - deficit, room)
            if lots > 0:
                curve["price"] = price
                curve["quoted_lots"] = lots
                place_quote(s, market_id, side, price, lots)


@part(NOTHING)
def set_index(s, market_id, price):
    """Implements R50."""
    market = markets(s)[market_id]
    sample_basis(s, market_id)
    if market["curve_row"] != 0:
        keep_gap(market)
        sample_volatility(s, market, price)
    market["index_price"] = price
    touch_mark(s, market_id)
    emit(s, EventKind.INDEX_SET, 0, 0, 0, price, 0, 0, 0, market_id, 0, 0, 0, 0)
    if market["curve_row"] != 0:
        requote(s, market_id)
