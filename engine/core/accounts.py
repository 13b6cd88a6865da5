"""Account commands: open, deposit, withdraw, leverage, modes, margin moves, seeded positions.

Implements R24, R27, R45-R49 and R89. Each takes a COMMAND record and returns 0 or a Reject;
with a Reject nothing has changed.
"""

from engine.constants import (
    ACCOUNT_ID_MAX,
    FIRST_USER_ID,
    LOTS_MAX,
    MONEY_MAX,
    Cause,
    Contract,
    EventKind,
    Flag,
    PositionSide,
    Reject,
    Residual,
    SystemAccount,
)
from engine.core.admission import OK, price_fits, side_fits
from engine.core.arithmetic import mul_div_bounded, mul_div_up
from engine.core.events import emit
from engine.core.kernel import INT, inlined, kernel, part
from engine.core.ledger import (
    FUND,
    NAMED_ROWS,
    credit_wallet,
    cross_equity,
    domain_health,
    is_system,
    leg_initial,
    position_notional,
    position_requirement,
    repay,
    requirement,
    spendable,
    touch_position,
)
from engine.core.ledger import move_margin as transfer_margin
from engine.core.margin import fits_tiers, notional, worst_lots
from engine.core.matching import trade_off_book
from engine.core.position import find_position, get_position
from engine.core.records import WAITS
from engine.core.slots import find_account, register_account
from engine.core.state import (
    H,
    accounts,
    cases,
    header,
    markets,
    orders,
    positions,
    tiers,
)

NET, LONG, SHORT = PositionSide.NET.value, PositionSide.LONG.value, PositionSide.SHORT.value


@inlined
def known_market(s, market_id):
    return 1 <= market_id <= header(s)[H.MARKETS_COUNT]


@kernel
def emit_account(s, kind, account_row, amount, market_id, position_side, flags):
    account_id = accounts(s)[account_row]["account_id"]
    emit(s, kind, account_id, 0, 0, 0, 0, amount, 0, market_id, 0, 0, position_side, flags)


@kernel
def emit_paid(s, kind, account_row, system_row, amount, market_id):
    """An event about money that went to a system account."""
    account_id = accounts(s)[account_row]["account_id"]
    other_id = accounts(s)[system_row]["account_id"]
    emit(s, kind, account_id, 0, other_id, 0, 0, amount, 0, market_id, 0, 0, 0, 0)


@kernel
def open_account(s, command):
    words = header(s)
    account_id = command["account_id"]
    if not 1 <= account_id <= ACCOUNT_ID_MAX:
        return Reject.ACCOUNT_ID_OUT_OF_RANGE.value
    if find_account(s, account_id) != 0:
        return Reject.ACCOUNT_EXISTS.value
    if account_id < FIRST_USER_ID:
        return Reject.ACCOUNT_ID_OUT_OF_RANGE.value
    if command["flags"] & ~Flag.HEDGE.value:
        return Reject.INVALID_FLAGS.value
    if words[H.ACCOUNTS_COUNT] - words[H.SYSTEM_ROWS] >= words[H.USERS_MAX]:
        return Reject.ACCOUNTS_FULL.value
    words[H.ACCOUNTS_COUNT] += 1
    row = words[H.ACCOUNTS_COUNT]
    accounts(s)[row]["account_id"] = account_id
    accounts(s)[row]["hedge"] = 1 if command["flags"] & Flag.HEDGE else 0
    register_account(s, row)
    emit_account(s, EventKind.ACCOUNT_OPENED, row, 0, 0, 0, command["flags"])
    return OK


@kernel
def deposit(s, command):
    """Implements R45."""
    words = header(s)
    row = find_account(s, command["account_id"])
    amount = command["amount"]
    if row == 0:
        return Reject.UNKNOWN_ACCOUNT.value
    if not 1 <= amount <= MONEY_MAX:
        return Reject.AMOUNT_OUT_OF_RANGE.value
    if words[H.DEPOSITS_QUOTE] + amount > MONEY_MAX:
        return Reject.MONEY_BOUND.value
    words[H.DEPOSITS_QUOTE] += amount
    credit_wallet(s, row, amount)
    repay(s, row)
    emit_account(s, EventKind.DEPOSITED, row, amount, 0, 0, 0)
    return OK


@kernel
def withdraw(s, command):
    """Implements R46."""
    row = find_account(s, command["account_id"])
    amount = command["amount"]
    if row == 0:
        return Reject.UNKNOWN_ACCOUNT.value
    if not 1 <= amount <= MONEY_MAX:
        return Reject.AMOUNT_OUT_OF_RANGE.value
    if is_gated(s):
        return Reject.WITHDRAWALS_GATED.value
    if amount > spendable(s, row):
        return Reject.INSUFFICIENT_BALANCE.value
    cut = 0 if is_system(s, row) else haircut(s, row, amount)
    header(s)[H.WITHDRAWALS_QUOTE] += amount - cut
    credit_wallet(s, row, cut - amount)
    emit_account(s, EventKind.WITHDRAWN, row, amount - cut, 0, 0, 0)
    return OK


@inlined
def is_gated(s):
    """Implements R125."""
    words = header(s)
    return words[H.NOW_NS] < words[H.GATE_UNTIL_NS]


@kernel
def deficit_of(s, row):
    """What an insurance fund is below zero; 0 for any other account."""
    is_fund = row == FUND or row > NAMED_ROWS
    return max(0, -accounts(s)[row]["wallet_quote"]) if is_fund else 0


@part(INT)
def haircut(s, account_row, amount):
    """Implements R126; returns the charge."""
    words = header(s)
    if words[H.RESIDUAL] != Residual.WITHDRAWAL_HAIRCUT:
        return 0
    deficit = 0
    for row in range(1, words[H.SYSTEM_ROWS] + 1):
        deficit += deficit_of(s, row)
    if deficit == 0:
        return 0
    held = max(1, words[H.DEPOSITS_QUOTE] - words[H.WITHDRAWALS_QUOTE])
    charge = min(amount, deficit)
    if mul_div_bounded(amount, deficit, held, charge) < charge:
        charge = min(charge, mul_div_up(amount, deficit, held))
    left = charge
    for row in range(1, words[H.SYSTEM_ROWS] + 1):
        cut = min(left, deficit_of(s, row))
        if cut > 0:
            left -= cut
            credit_wallet(s, account_row, -cut)
            credit_wallet(s, row, cut)
            emit_paid(s, EventKind.HAIRCUT, account_row, row, cut, 0)
    return charge


@kernel
def check_user(s, account_row):
    """Unknown and system accounts are refused."""
    if account_row == 0:
        return Reject.UNKNOWN_ACCOUNT.value
    return Reject.ACCOUNT_IS_SYSTEM.value if is_system(s, account_row) else OK


@kernel
def check_leg(s, account_row, command):
    """Market, user account and a position side that fits the account's mode."""
    if not known_market(s, command["market_id"]):
        return Reject.UNKNOWN_MARKET.value
    if markets(s)[command["market_id"]]["contract"] == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL.value
    reject = check_user(s, account_row)
    if reject == OK and not side_fits(s, account_row, command["position_side"]):
        return Reject.POSITION_SIDE_MISMATCH.value
    return reject


@inlined
def has_room(s, missing):
    """Implements R24: room for this many new legs."""
    words = header(s)
    return words[H.USER_POSITIONS_COUNT] + missing <= words[H.USER_POSITIONS_MAX]


@inlined
def missing_leg(s, account_row, market_id, position_side):
    return 1 if find_position(s, account_row, market_id, position_side) == 0 else 0


@kernel
def set_leverage(s, command):
    """Implements R47."""
    row = find_account(s, command["account_id"])
    reject = check_leg(s, row, command)
    if reject != OK:
        return reject
    market_id, side, leverage = command["market_id"], command["position_side"], command["amount"]
    market = markets(s)[market_id]
    if not 1 <= leverage <= tiers(s)[market["tier_row"]]["leverage_max"]:
        return Reject.LEVERAGE_OUT_OF_RANGE.value
    if not has_room(s, missing_leg(s, row, market_id, side)):
        return Reject.POSITIONS_FULL.value
    leg = find_position(s, row, market_id, side)
    if leg != 0:
        reject = check_leverage(s, row, leg, leverage)
        if reject != OK:
            return reject
    leg = get_position(s, row, market_id, side)
    positions(s)[leg]["leverage"] = leverage
    touch_position(s, leg)
    emit_account(s, EventKind.LEVERAGE_SET, row, leverage, market_id, side, 0)
    return OK


@kernel
def check_leverage(s, account_row, leg, leverage):
    position = positions(s)[leg]
    market = markets(s)[position["market_id"]]
    lots = worst_lots(position["lots"], position["buy_lots"], position["sell_lots"])
    if lots == 0:
        return OK
    size = notional(market, lots, market["mark_price"])
    if not fits_tiers(s, market, lots, size, leverage):
        return Reject.POSITION_LIMIT.value
    before = requirement(s, account_row)
    after = before - position_requirement(s, market, position)
    previous = position["leverage"]
    position["leverage"] = leverage
    after += position_requirement(s, market, position)
    position["leverage"] = previous
    if after > before and cross_equity(s, account_row) < after:
        return Reject.INSUFFICIENT_MARGIN.value
    return OK


@inlined
def is_leg_busy(s, leg):
    """Whether a leg holds lots or margin or waits; row 0 is free."""
    if leg == 0:
        return False
    waits = cases(s)[header(s)[H.ACCOUNTS_ROWS] + leg]["bits"] & WAITS != 0
    return waits or positions(s)[leg]["lots"] != 0 or positions(s)[leg]["margin_quote"] != 0


@kernel
def has_orders(s, account_row, market_id):
    """Whether the account has an order, resting or waiting, in a market."""
    row = accounts(s)[account_row]["order_head"]
    while row != 0:
        if orders(s)[row]["market_id"] == market_id:
            return True
        row = orders(s)[row]["account_next"]
    return False


@kernel
def set_margin_mode(s, command):
    """Implements R48."""
    market_id = command["market_id"]
    if not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    if markets(s)[market_id]["contract"] == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL.value
    row = find_account(s, command["account_id"])
    reject = check_user(s, row)
    if reject != OK:
        return reject
    if command["flags"] & ~Flag.ISOLATED.value:
        return Reject.INVALID_FLAGS.value
    first = LONG if accounts(s)[row]["hedge"] != 0 else NET
    last = SHORT if accounts(s)[row]["hedge"] != 0 else NET
    missing = 0
    for side in range(first, last + 1):
        missing += missing_leg(s, row, market_id, side)
    if not has_room(s, missing):
        return Reject.POSITIONS_FULL.value
    for side in range(first, last + 1):
        if is_leg_busy(s, find_position(s, row, market_id, side)):
            return Reject.POSITION_OR_ORDERS_OPEN.value
    if has_orders(s, row, market_id):
        return Reject.POSITION_OR_ORDERS_OPEN.value
    isolated = 1 if command["flags"] & Flag.ISOLATED else 0
    for side in range(first, last + 1):
        positions(s)[get_position(s, row, market_id, side)]["isolated"] = isolated
    emit_account(s, EventKind.MARGIN_MODE_SET, row, 0, market_id, 0, command["flags"])
    return OK


@kernel
def set_position_mode(s, command):
    """Implements R49."""
    row = find_account(s, command["account_id"])
    reject = check_user(s, row)
    if reject != OK:
        return reject
    if command["flags"] & ~Flag.HEDGE.value:
        return Reject.INVALID_FLAGS.value
    leg = accounts(s)[row]["position_head"]
    while leg != 0:
        if is_leg_busy(s, leg):
            return Reject.POSITION_OR_ORDERS_OPEN.value
        leg = positions(s)[leg]["account_next"]
    if accounts(s)[row]["orders_count"] != 0:
        return Reject.POSITION_OR_ORDERS_OPEN.value
    accounts(s)[row]["hedge"] = 1 if command["flags"] & Flag.HEDGE else 0
    emit_account(s, EventKind.POSITION_MODE_SET, row, 0, 0, 0, command["flags"])
    return OK


@kernel
def move_margin(s, command):
    """Implements R27."""
    row = find_account(s, command["account_id"])
    reject = check_leg(s, row, command)
    if reject != OK:
        return reject
    amount = command["amount"]
    if not 1 <= abs(amount) <= MONEY_MAX:
        return Reject.AMOUNT_OUT_OF_RANGE.value
    leg = find_position(s, row, command["market_id"], command["position_side"])
    if positions(s)[leg]["isolated"] == 0 or positions(s)[leg]["lots"] == 0:
        return Reject.NOT_ISOLATED.value
    if amount > 0 and amount > spendable(s, row):
        return Reject.INSUFFICIENT_BALANCE.value
    if amount < 0:
        needed = leg_initial(s, leg, positions(s)[leg]["lots"], position_notional(s, leg))
        equity = domain_health(s, row, leg)[0]
        if equity + amount < needed or positions(s)[leg]["margin_quote"] + amount < 0:
            return Reject.INSUFFICIENT_BALANCE.value
    transfer_margin(s, leg, amount)
    return OK


@kernel
def check_seed(s, command, isolated):
    """Ranges of a seeded position."""
    market = markets(s)[command["market_id"]]
    lots, side = command["lots"], command["position_side"]
    if command["flags"] & ~Flag.ISOLATED.value:
        return Reject.INVALID_FLAGS.value
    if lots == 0 or abs(lots) > LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE.value
    if (side == LONG and lots < 0) or (side == SHORT and lots > 0):
        return Reject.LOTS_OUT_OF_RANGE.value
    if not price_fits(market, command["price"]):
        return Reject.PRICE_OUT_OF_RANGE.value
    amount = command["amount"]
    if not 0 <= amount <= MONEY_MAX or (amount != 0 and not isolated):
        return Reject.AMOUNT_OUT_OF_RANGE.value
    return Reject.NO_MARK_PRICE.value if market["mark_price"] == 0 else OK


@kernel
def seed_position(s, command):
    """Implements R89."""
    row = find_account(s, command["account_id"])
    reject = check_leg(s, row, command)
    if reject != OK:
        return reject
    isolated = command["flags"] & Flag.ISOLATED != 0
    reject = check_seed(s, command, isolated)
    if reject != OK:
        return reject
    market_id, side = command["market_id"], command["position_side"]
    market = markets(s)[market_id]
    leg = find_position(s, row, market_id, side)
    if is_leg_busy(s, leg) or has_orders(s, row, market_id):
        return Reject.POSITION_OR_ORDERS_OPEN.value
    if not has_room(s, missing_leg(s, row, market_id, side)):
        return Reject.POSITIONS_FULL.value
    if market["open_interest_lots"] + abs(command["lots"]) > market["open_interest_lots_max"]:
        return Reject.OPEN_INTEREST_BOUND.value
    if command["amount"] != 0 and command["amount"] > spendable(s, row):
        return Reject.INSUFFICIENT_BALANCE.value
    leg = get_position(s, row, market_id, side)
    positions(s)[leg]["isolated"] = 1 if isolated else 0
    transfer_margin(s, leg, command["amount"])
    clearing = get_position(s, SystemAccount.CLEARING, market_id, NET)
    trade_off_book(s, leg, clearing, command["lots"], command["price"], Cause.SEED)
    return OK
