"""Settlements: sessions, deliveries, assets, forced closing, volunteers.

Implements R104, R109, R120-R124. Each takes a COMMAND record and returns 0 or a Reject; with a
Reject nothing has changed.
"""

from engine.constants import (
    LOTS_MAX,
    CancelReason,
    Cause,
    Contract,
    EventKind,
    Flag,
    Force,
    PositionSide,
    Reject,
    Residual,
    SystemAccount,
)
from engine.core.accounts import (
    check_leg,
    check_user,
    deficit_of,
    emit_paid,
    find_account,
    has_room,
    is_gated,
    known_market,
    missing_leg,
)
from engine.core.admission import OK, price_fits
from engine.core.arithmetic import mul_div_bounded
from engine.core.events import emit
from engine.core.kernel import INT, NOTHING, kernel, part
from engine.core.ledger import (
    credit_position,
    credit_wallet,
    cross_equity,
    fund_row,
    is_collateral,
    requirement,
    session_profit,
    touch_position,
)
from engine.core.liquidation_orders import close_lots, return_margin
from engine.core.margin import value, worth
from engine.core.matching import trade_off_book
from engine.core.orders import cancel_all
from engine.core.position import find_position, get_position
from engine.core.state import H, accounts, header, markets, positions, volunteers

NET = PositionSide.NET.value
CLEARING = SystemAccount.CLEARING.value


@part(INT)
def force_close(s, account_id, market_id, lots, reason):
    """Implements R120."""
    words = header(s)
    account_row = find_account(s, account_id)
    reject = check_user(s, account_row)
    if reject != OK:
        return reject
    if market_id != 0 and not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    if not 0 <= lots <= LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE.value
    if reason < Force.POSITION_LIMIT or reason > Force.EMERGENCY:
        return Reject.INVALID_REASON.value
    cancel_all(s, account_row, market_id, CancelReason.LIQUIDATION)
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        over = abs(position["lots"]) - lots
        chosen = market_id == 0 or position["market_id"] == market_id
        if chosen and over > 0 and not is_collateral(s, row):
            words[H.LIQUIDATIONS_COUNT] += 1
            close_lots(s, row, over)
            return_margin(s, row)
            market, side = position["market_id"], position["position_side"]
            kind = EventKind.FORCE_CLOSED
            emit(s, kind, account_id, 0, 0, 0, over, 0, 0, market, reason, 0, side, 0)
        row = position["account_next"]
    return OK


@part(INT)
def deliver(s, market_id, price):
    """Implements R121."""
    words = header(s)
    if not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    if markets(s)[market_id]["contract"] == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL.value
    if not price_fits(markets(s)[market_id], price):
        return Reject.PRICE_OUT_OF_RANGE.value
    for account_row in range(1, words[H.ACCOUNTS_COUNT] + 1):
        cancel_all(s, account_row, market_id, CancelReason.DELIVERY)
    against = get_position(s, CLEARING, market_id, NET)
    for account_row in range(1, words[H.ACCOUNTS_COUNT] + 1):
        row = accounts(s)[account_row]["position_head"] if account_row != CLEARING else 0
        while row != 0:
            position = positions(s)[row]
            if position["market_id"] == market_id and position["lots"] != 0:
                cause = Cause.DELIVERY.value
                trade_off_book(s, row, against, -position["lots"], price, cause)
                return_margin(s, row)
            row = position["account_next"]
    return OK


# -- sessions ---------------------------------------------------------------------------------


@part(INT)
def settle(s, market_id, price):
    """Implements R104."""
    words = header(s)
    if market_id != 0 and not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    if price != 0 and (market_id == 0 or not price_fits(markets(s)[market_id], price)):
        return Reject.PRICE_OUT_OF_RANGE.value
    for other in range(1, words[H.MARKETS_COUNT] + 1):
        market = markets(s)[other]
        chosen = market_id == 0 or market_id == other
        unpriced = market["mark_price"] == 0 and price == 0
        if chosen and unpriced and market["open_interest_lots"] != 0:
            return Reject.NO_MARK_PRICE.value
    for account_row in range(1, words[H.ACCOUNTS_COUNT] + 1):
        row = accounts(s)[account_row]["position_head"]
        while row != 0:
            if market_id == 0 or positions(s)[row]["market_id"] == market_id:
                settle_leg(s, row, price)
            row = positions(s)[row]["account_next"]
    if market_id == 0:
        if words[H.RESIDUAL] == Residual.SOCIALISE_PROFIT:
            claw_back(s)
        for row in range(1, words[H.POSITIONS_COUNT] + 1):
            positions(s)[row]["session_quote"] = 0
        for other in range(1, words[H.MARKETS_COUNT] + 1):
            markets(s)[other]["loss_quote"] = 0
    return OK


@kernel
def settle_leg(s, position_row, price):
    """One leg's profit becomes balance."""
    position = positions(s)[position_row]
    if position["lots"] == 0 or is_collateral(s, position_row):
        return
    market_id = position["market_id"]
    market = markets(s)[market_id]
    at = price if price != 0 else market["mark_price"]
    profit = value(market, position["lots"], at) - position["entry_quote"]
    if profit == 0:
        return
    position["entry_quote"] += profit
    position["session_quote"] += profit
    credit_position(s, position_row, profit)
    touch_position(s, position_row)
    account_id = accounts(s)[position["account_row"]]["account_id"]
    flags = Flag.ISOLATED.value if position["isolated"] != 0 else 0
    lots, side, kind = position["lots"], position["position_side"], EventKind.SETTLED
    emit(s, kind, account_id, 0, 0, at, lots, profit, 0, market_id, 0, 0, side, flags)


@part(NOTHING)
def claw_back(s):
    """Implements R104."""
    words = header(s)
    if words[H.PROFIT_BY_MARKET] == 0:
        for row in range(1, words[H.SYSTEM_ROWS] + 1):
            take_profits(s, 0, deficit_of(s, row), row)
        return
    for market_id in range(1, words[H.MARKETS_COUNT] + 1):
        row = fund_row(s, market_id)
        loss = min(markets(s)[market_id]["loss_quote"], deficit_of(s, row))
        take_profits(s, market_id, loss, row)


@part(NOTHING)
def take_profits(s, market_id, loss, paid_row):
    """Part of R104: the winners of one market, or with 0 of all, pay for a fund's loss."""
    words = header(s)
    total = 0
    for account_row in range(words[H.SYSTEM_ROWS] + 1, words[H.ACCOUNTS_COUNT] + 1):
        total += max(0, session_profit(s, account_row, market_id))
    if loss == 0 or total == 0:
        return
    for account_row in range(words[H.SYSTEM_ROWS] + 1, words[H.ACCOUNTS_COUNT] + 1):
        profit = session_profit(s, account_row, market_id)
        if profit > 0:
            wallet = accounts(s)[account_row]["wallet_quote"]
            pays = min(mul_div_bounded(loss, profit, total, profit), max(0, wallet))
            if pays > 0:
                credit_wallet(s, account_row, -pays)
                credit_wallet(s, paid_row, pays)
                emit_paid(s, EventKind.CLAWED_BACK, account_row, paid_row, pays, market_id)


# -- assets and volunteers --------------------------------------------------------------------


@kernel
def check_asset(s, account_row, market_id, lots):
    """An asset command's market, account and size."""
    if not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    if markets(s)[market_id]["contract"] != Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL.value
    reject = check_user(s, account_row)
    if reject == OK and not 1 <= lots <= LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE.value
    return reject


@part(INT)
def deposit_asset(s, account_id, market_id, lots):
    """Implements R122."""
    account_row = find_account(s, account_id)
    reject = check_asset(s, account_row, market_id, lots)
    if reject != OK:
        return reject
    market = markets(s)[market_id]
    if market["mark_price"] == 0:
        return Reject.NO_MARK_PRICE.value
    if not has_room(s, missing_leg(s, account_row, market_id, NET)):
        return Reject.POSITIONS_FULL.value
    if market["open_interest_lots"] + lots > market["open_interest_lots_max"]:
        return Reject.OPEN_INTEREST_BOUND.value
    move_asset(s, get_position(s, account_row, market_id, NET), lots)
    return OK


@kernel
def move_asset(s, position_row, lots):
    """An asset comes in or goes out at a price of 0, against CLEARING."""
    against = get_position(s, CLEARING, positions(s)[position_row]["market_id"], NET)
    trade_off_book(s, position_row, against, lots, 0, Cause.ASSET.value)


@part(INT)
def withdraw_asset(s, account_id, market_id, lots):
    """Implements R123."""
    account_row = find_account(s, account_id)
    reject = check_asset(s, account_row, market_id, lots)
    if reject != OK:
        return reject
    if is_gated(s):
        return Reject.WITHDRAWALS_GATED.value
    row = find_position(s, account_row, market_id, NET)
    if row == 0 or positions(s)[row]["lots"] < lots:
        return Reject.INSUFFICIENT_BALANCE.value
    market = markets(s)[market_id]
    held, mark = positions(s)[row]["lots"], market["mark_price"]
    lost = worth(market, held, mark) - worth(market, held - lots, mark)
    free = cross_equity(s, account_row) - requirement(s, account_row)
    if free - lost < 0:
        return Reject.INSUFFICIENT_BALANCE.value
    move_asset(s, row, -lots)
    return OK


@kernel
def volunteer(s, command):
    """Implements R124."""
    account_row = find_account(s, command["account_id"])
    reject = check_leg(s, account_row, command)
    if reject != OK:
        return reject
    market_id, side, lots = command["market_id"], command["position_side"], command["lots"]
    if not 0 <= lots <= LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE.value
    if not has_room(s, missing_leg(s, account_row, market_id, side)):
        return Reject.POSITIONS_FULL.value
    volunteers(s)[get_position(s, account_row, market_id, side)] = lots
    account_id, kind = command["account_id"], EventKind.VOLUNTEERED
    emit(s, kind, account_id, 0, 0, 0, lots, 0, 0, market_id, 0, 0, side, 0)
    return OK
