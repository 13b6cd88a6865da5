"""Legs: make, find, open, reduce and flip them, and book fills. The only code that changes lots
and entry_quote.
"""

from engine.constants import EventKind, Flag, Side, SystemAccount
from engine.core.arithmetic import mul_div, mul_div_up
from engine.core.events import emit
from engine.core.kernel import INT, NOTHING, kernel, part
from engine.core.ledger import (
    BALANCE_MAX,
    credit_position,
    credit_wallet,
    is_system,
    move_margin,
    touch_position,
)
from engine.core.margin import fee as fee_of
from engine.core.margin import initial_margin, notional, released_entry, value
from engine.core.state import H, accounts, header, leg_links, markets, positions


@kernel
def find_position(s, account_row, market_id, position_side):
    """Row of a leg, 0 if the account has none there."""
    table = positions(s)
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        if table[row]["market_id"] == market_id and table[row]["position_side"] == position_side:
            return row
        row = table[row]["account_next"]
    return 0


@part(INT)
def make_position(s, account_row, market_id, position_side):
    """Implements R24: a new leg, in the account's list by market and leg. Room was checked."""
    words = header(s)
    table = positions(s)
    words[H.POSITIONS_COUNT] += 1
    row = words[H.POSITIONS_COUNT]
    assert row < words[H.POSITIONS_ROWS], "no room for a position that was admitted"
    if not is_system(s, account_row):
        words[H.USER_POSITIONS_COUNT] += 1
    position = table[row]
    position["account_row"] = account_row
    position["market_id"] = market_id
    position["position_side"] = position_side
    market = markets(s)[market_id]
    position["leverage"] = market["leverage_default"]
    leg_links(s)[row] = market["position_head"]
    market["position_head"] = row
    key = (market_id << 2) | position_side
    previous = 0
    following = accounts(s)[account_row]["position_head"]
    while following != 0:
        other = table[following]
        if ((other["market_id"] << 2) | other["position_side"]) > key:
            break
        previous = following
        following = other["account_next"]
    position["account_next"] = following
    if previous == 0:
        accounts(s)[account_row]["position_head"] = row
    else:
        table[previous]["account_next"] = row
    return row


@kernel
def get_position(s, account_row, market_id, position_side):
    """Row of a leg, made if it is new."""
    row = find_position(s, account_row, market_id, position_side)
    if row == 0:
        row = make_position(s, account_row, market_id, position_side)
    return row


@kernel
def change_position(s, position_row, lots, price):
    """Implements R23: the realised PnL of moving a position by signed lots."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    traded = value(market, lots, price)
    before = position["lots"]
    after = before + lots
    market["open_interest_lots"] += max(0, after) - max(0, before)
    position["lots"] = after
    touch_position(s, position_row)
    if before == 0 or (before > 0) == (lots > 0):
        position["entry_quote"] += traded
        assert abs(position["entry_quote"]) < BALANCE_MAX, "an entry value passes its bound"
        return 0
    if abs(lots) <= abs(before):
        released = released_entry(position["entry_quote"], abs(lots), abs(before))
        position["entry_quote"] -= released
        return -traded - released
    closing = value(market, -before, price)
    realised = -closing - position["entry_quote"]
    position["entry_quote"] = traded - closing
    return realised


@part(INT)
def fill_side(s, position_row, order_id, other_row, lots, price, cause, fee_ppm, flags):
    """Implements R25: one side of a fill. Returns what it books to the leg's domain."""
    position = positions(s)[position_row]
    account_row = position["account_row"]
    realised, fee = change_position(s, position_row, lots, price), 0
    if fee_ppm != 0 and not is_system(s, account_row):
        market = markets(s)[position["market_id"]]
        fee = fee_of(notional(market, lots, price), fee_ppm)
    credit_position(s, position_row, realised - fee)
    position["session_quote"] += realised
    if fee != 0:
        credit_wallet(s, SystemAccount.FEES, fee)
    if position["isolated"] != 0:
        flags |= Flag.ISOLATED
    emit(
        s,
        EventKind.FILL,
        accounts(s)[account_row]["account_id"],
        order_id,
        accounts(s)[other_row]["account_id"],
        price,
        lots,
        realised,
        fee,
        position["market_id"],
        cause,
        Side.BUY if lots > 0 else Side.SELL,
        position["position_side"],
        flags,
    )
    return realised - fee


@part(NOTHING)
def move_margin_after_fill(
    s, position_row, lots, price, fee_ppm, booked_quote, lots_before, margin_before
):
    """Implements R26: closing returns margin to the wallet, opening takes it from there."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    closed = 0
    if (lots_before > 0) != (lots > 0):
        closed = min(abs(lots), abs(lots_before))
    opened, released = abs(lots) - closed, 0
    if closed != 0:
        if closed == abs(lots_before):
            released = max(0, position["margin_quote"])
        else:
            if margin_before < 0:
                share = -mul_div_up(-margin_before, closed, abs(lots_before))
            else:
                share = mul_div(margin_before, closed, abs(lots_before))
            released = max(0, share + booked_quote)
    move = -released
    if opened != 0:
        size, paid = notional(market, opened, price), fee_of(notional(market, lots, price), fee_ppm)
        wanted = initial_margin(s, market, opened, size, position["leverage"]) + max(0, paid)
        wallet = accounts(s)[position["account_row"]]["wallet_quote"]
        move += min(max(0, wallet - move), wanted)
    move_margin(s, position_row, move)
