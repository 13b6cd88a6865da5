"""Money and margin domains: the only code that changes a balance, and what it touches.

A margin domain is an isolated position, or an account with all its cross positions. Whatever
changes a domain's health marks it touched, so that it is examined at the end of the unit of work.
"""

import numpy as np

from engine.constants import (
    PPM,
    Contract,
    EventKind,
    Exit,
    Flag,
    Residual,
    SystemAccount,
)
from engine.core.arithmetic import mul_div_up
from engine.core.events import emit
from engine.core.kernel import INT, INTS_4, inlined, kernel, part
from engine.core.margin import (
    initial_margin,
    maintenance_margin,
    notional,
    plain_margin,
    value,
    worst_lots,
    worth,
)
from engine.core.records import TOUCHED
from engine.core.state import H, accounts, cases, header, markets, positions, touched

BALANCE_MAX = 2**62
DOMAIN_BITS = 12  # low bits of a domain key: 0 for cross, else market and leg
FUND = SystemAccount.INSURANCE_FUND.value
NAMED_ROWS = max(SystemAccount).value  # after them come funds of groups and markets


@inlined
def is_system(s, account_row):
    return account_row <= header(s)[H.SYSTEM_ROWS]


@inlined
def fund_row(s, market_id):
    """Implements R130."""
    return markets(s)[market_id]["fund_row"] if market_id != 0 else FUND


@inlined
def domain_key(s, position_row):
    """Key of the domain of a position: sorts by account row, cross first, market, leg."""
    position = positions(s)[position_row]
    key = np.int64(position["account_row"]) << DOMAIN_BITS
    if position["isolated"] != 0:
        key += ((position["market_id"] << 2) | position["position_side"]) + 1
    return key


@kernel
def touch_account(s, account_row):
    """The account's cross domain is to be examined."""
    account = accounts(s)[account_row]
    if account["awaits"] & TOUCHED == 0 and not is_system(s, account_row):
        account["awaits"] |= TOUCHED
        words = header(s)
        touched(s)[words[H.TOUCHED_COUNT]] = np.int64(account_row) << DOMAIN_BITS
        words[H.TOUCHED_COUNT] += 1


@kernel
def touch_position(s, position_row):
    """The domain of a position is to be examined."""
    position = positions(s)[position_row]
    if position["isolated"] == 0:
        touch_account(s, position["account_row"])
    elif position["awaits"] & TOUCHED == 0:
        position["awaits"] |= TOUCHED
        words = header(s)
        touched(s)[words[H.TOUCHED_COUNT]] = domain_key(s, position_row)
        words[H.TOUCHED_COUNT] += 1


@kernel
def credit_wallet(s, account_row, amount):
    """Book money to a wallet."""
    account = accounts(s)[account_row]
    account["wallet_quote"] += amount
    assert abs(account["wallet_quote"]) < BALANCE_MAX, "a balance passes its bound"
    touch_account(s, account_row)


@kernel
def credit_position(s, position_row, amount):
    """Book money to the row of a position's domain: its margin, or its account's wallet."""
    position = positions(s)[position_row]
    if position["isolated"] != 0:
        position["margin_quote"] += amount
        touch_position(s, position_row)
    else:
        credit_wallet(s, position["account_row"], amount)


@kernel
def credit_domain(s, account_row, position_row, amount):
    """Book money to a domain: an isolated position, or with row 0 a wallet."""
    if position_row != 0:
        credit_position(s, position_row, amount)
    else:
        credit_wallet(s, account_row, amount)


@kernel
def move_margin(s, position_row, amount):
    """Implements R27: positive amounts go from the wallet to the isolated position."""
    if amount == 0:
        return
    position = positions(s)[position_row]
    credit_wallet(s, position["account_row"], -amount)
    position["margin_quote"] += amount
    touch_position(s, position_row)
    account_id = accounts(s)[position["account_row"]]["account_id"]
    emit(
        s,
        EventKind.MARGIN_MOVED,
        account_id,
        0,
        0,
        0,
        0,
        amount,
        0,
        position["market_id"],
        0,
        0,
        position["position_side"],
        0,
    )


@kernel
def move_to(s, kind, account_row, position_row, amount, system_row):
    """Book money from a domain to a system account, or back when negative; one event."""
    credit_domain(s, account_row, position_row, -amount)
    credit_wallet(s, system_row, amount)
    other_id = accounts(s)[system_row]["account_id"]
    emit_between(s, kind, account_row, position_row, other_id, 0, abs(amount), 0, 0)


@kernel
def emit_domain(s, kind, account_row, position_row, price, amount, fee, reason):
    """An event about a domain; position_row is 0 for a cross account."""
    emit_between(s, kind, account_row, position_row, 0, price, amount, fee, reason)


@kernel
def emit_between(s, kind, account_row, position_row, other_id, price, amount, fee, reason):
    """The same with the account on the other side."""
    account_id = accounts(s)[account_row]["account_id"]
    market_id = 0
    side = 0
    flags = 0
    if position_row != 0:
        market_id = positions(s)[position_row]["market_id"]
        side = positions(s)[position_row]["position_side"]
        flags = Flag.ISOLATED.value
    emit(s, kind, account_id, 0, other_id, price, 0, amount, fee, market_id, reason, 0, side, flags)


# -- health -----------------------------------------------------------------------------------


@inlined
def price_of(s, market, second):
    """The mark, or the second price that must agree with it."""
    if second != 0 and market["average_price"] != 0:
        return market["average_price"]
    return market["mark_price"]


@inlined
def is_collateral(s, position_row):
    market = markets(s)[positions(s)[position_row]["market_id"]]
    return market["contract"] == Contract.COLLATERAL


@inlined
def unrealised(s, position_row):
    """What a position adds to equity at mark."""
    position = positions(s)[position_row]
    if position["lots"] == 0:
        return 0
    market = markets(s)[position["market_id"]]
    return worth(market, position["lots"], market["mark_price"]) - position["entry_quote"]


@inlined
def position_notional(s, position_row):
    position = positions(s)[position_row]
    if position["lots"] == 0:
        return 0
    market = markets(s)[position["market_id"]]
    return notional(market, position["lots"], market["mark_price"])


@inlined
def margined_notional(s, position_row):
    """Part of R95: notional of what needs margin."""
    return 0 if is_collateral(s, position_row) else position_notional(s, position_row)


@part(INT)
def margin_at(s, position_row, price):
    """Implements R31 for a leg at a price."""
    position = positions(s)[position_row]
    lots = position["lots"]
    if header(s)[H.WORST_CASE_ORDERS] != 0:
        lots = worst_lots(lots, position["buy_lots"], position["sell_lots"])
    if lots == 0:
        return 0
    market = markets(s)[position["market_id"]]
    size = notional(market, lots, price)
    return maintenance_margin(s, market, lots, size, position["entry_quote"], position["leverage"])


@inlined
def position_maintenance(s, position_row):
    return margin_at(
        s, position_row, markets(s)[positions(s)[position_row]["market_id"]]["mark_price"]
    )


@inlined
def leg_initial(s, position_row, lots, size):
    """Implements R32 for lots of this notional in a leg."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    return initial_margin(s, market, lots, size, position["leverage"])


@part(INTS_4)
def cross_sums(s, account_row, second):
    """Implements R36, R37 for a wallet: (equity, maintenance margin, notional, open legs)."""
    return sums_of_legs(s, account_row, second)


@inlined
def sums_of_legs(s, account_row, second):
    """The same, for whoever asks often."""
    equity = accounts(s)[account_row]["wallet_quote"]
    maintenance = np.int64(0)
    size = np.int64(0)
    legs = np.int64(0)
    worst = header(s)[H.WORST_CASE_ORDERS] != 0
    row = accounts(s)[account_row]["position_head"]
    table = positions(s)
    while row != 0:
        position = table[row]
        if position["isolated"] == 0 and (position["lots"] != 0 or worst):
            market = markets(s)[position["market_id"]]
            price = price_of(s, market, second)
            if market["plain"] != 0:
                value_quote = value(market, position["lots"], price)
                equity += value_quote - position["entry_quote"]
                size += abs(value_quote)
                legs += 1
                maintenance += plain_margin(s, market, abs(value_quote))
            else:
                if position["lots"] != 0:
                    equity += worth(market, position["lots"], price) - position["entry_quote"]
                    if market["contract"] == Contract.FUTURE:
                        size += notional(market, position["lots"], price)
                        legs += 1
                maintenance += margin_at(s, row, price)
        row = position["account_next"]
    return equity, maintenance, size, legs


@inlined
def cross_health(s, account_row):
    """(equity, maintenance margin, notional, open legs) of a wallet, at mark."""
    return cross_sums(s, account_row, 0)


@part(INTS_4)
def health_at(s, account_row, position_row, second):
    """(equity, maintenance margin, notional, open legs) of a domain at its mark, or at the
    second price."""
    if position_row == 0:
        return cross_sums(s, account_row, second)
    return isolated_health(s, position_row, second)


@inlined
def isolated_health(s, position_row, second):
    """The same for an isolated position."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    price = price_of(s, market, second)
    held_quote, legs = np.int64(0), np.int64(0)
    if position["lots"] != 0:
        held_quote, legs = value(market, position["lots"], price), np.int64(1)
    equity = position["margin_quote"] + held_quote - position["entry_quote"]
    if market["plain"] != 0:
        margin = plain_margin(s, market, abs(held_quote)) if legs != 0 else np.int64(0)
    else:
        margin = margin_at(s, position_row, price)
    return equity, margin, abs(held_quote), legs


@inlined
def domain_health(s, account_row, position_row):
    """(equity, maintenance margin, notional, open legs) of a domain."""
    return health_at(s, account_row, position_row, 0)


@part(INT)
def initial_of(s, account_row, position_row):
    """Implements R94: initial margin of a domain at its present size."""
    if position_row != 0:
        lots = positions(s)[position_row]["lots"]
        return leg_initial(s, position_row, lots, position_notional(s, position_row))
    total = 0
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        if position["isolated"] == 0 and position["lots"] != 0:
            total += leg_initial(s, row, position["lots"], position_notional(s, row))
        row = position["account_next"]
    return total


@inlined
def trigger_requirement(s, maintenance):
    """Implements R92."""
    return maintenance + 1 if maintenance > 0 and header(s)[H.AT_OR_BELOW] != 0 else maintenance


@part(INT)
def exit_requirement(s, account_row, position_row):
    """Implements R95."""
    words = header(s)
    _, maintenance, size, _ = domain_health(s, account_row, position_row)
    need = trigger_requirement(s, maintenance)
    if words[H.EXIT] == Exit.INITIAL:
        return max(need, initial_of(s, account_row, position_row))
    if words[H.EXIT] == Exit.BUFFER:
        return need + mul_div_up(size, words[H.EXIT_BUFFER_PPM], PPM)
    return need


@inlined
def breached_with(s, equity, maintenance, legs):
    """Implements R73 at one price."""
    if legs == 0:
        residual = header(s)[H.RESIDUAL]
        left = residual == Residual.DEBT or residual == Residual.NEGATIVE_LEFT
        return equity < 0 and not left
    return equity < trigger_requirement(s, maintenance)


@part(INT)
def is_breached(s, account_row, position_row):
    """Implements R73; 1 if so."""
    equity, maintenance, _, legs = health_at(s, account_row, position_row, 0)
    if not breached_with(s, equity, maintenance, legs):
        return 0
    if legs == 0 or header(s)[H.SECOND_PRICE] == 0:
        return 1
    equity, maintenance, _, legs = health_at(s, account_row, position_row, 1)
    return 1 if breached_with(s, equity, maintenance, legs) else 0


@inlined
def domain_equity(s, account_row, position_row):
    if position_row != 0:
        return isolated_health(s, position_row, 0)[0]
    return cross_equity(s, account_row)


@inlined
def domain_of(s, position_row):
    """The position row that names a position's domain: its own if isolated, else 0."""
    return position_row if positions(s)[position_row]["isolated"] != 0 else 0


@kernel
def position_requirement(s, market, position):
    """Implements R38 for one leg."""
    lots = worst_lots(position["lots"], position["buy_lots"], position["sell_lots"])
    if position["isolated"] != 0:
        lots -= abs(position["lots"])
    if lots == 0:
        return 0
    size = notional(market, lots, market["mark_price"])
    return initial_margin(s, market, lots, size, position["leverage"])


@inlined
def equity_and_requirement(s, account_row, without):
    """Implements R36 for a wallet, at mark, and R38 for its account without one leg, or with all
    of them for 0."""
    equity = accounts(s)[account_row]["wallet_quote"]
    needed = np.int64(0)
    row = accounts(s)[account_row]["position_head"]
    table = positions(s)
    while row != 0:
        position = table[row]
        market = markets(s)[position["market_id"]]
        if row != without:
            needed += position_requirement(s, market, position)
        if position["isolated"] == 0 and position["lots"] != 0:
            equity += worth(market, position["lots"], market["mark_price"])
            equity -= position["entry_quote"]
        row = position["account_next"]
    return equity, needed


@part(INT)
def requirement(s, account_row):
    """Implements R38."""
    return equity_and_requirement(s, account_row, 0)[1]


@kernel
def cross_equity(s, account_row):
    """Implements R36 for a wallet, at mark."""
    equity = accounts(s)[account_row]["wallet_quote"]
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        if positions(s)[row]["isolated"] == 0:
            equity += unrealised(s, row)
        row = positions(s)[row]["account_next"]
    return equity


@part(INT)
def spendable(s, account_row):
    """Implements R46."""
    wallet = accounts(s)[account_row]["wallet_quote"]
    if is_system(s, account_row):
        return wallet
    equity, needed = equity_and_requirement(s, account_row, 0)
    room = min(wallet, equity - needed)
    if header(s)[H.PROFIT_LOCK] != 0:
        room -= max(0, session_profit(s, account_row, 0))
    return room


@kernel
def session_profit(s, account_row, market_id):
    """Implements R104: profit booked since the last settlement, in one market or with 0 in all."""
    total = 0
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        if market_id == 0 or position["market_id"] == market_id:
            total += position["session_quote"]
        row = position["account_next"]
    return total


@kernel
def repay(s, account_row):
    """Part of R106: what came in since is owed no longer."""
    wallet = accounts(s)[account_row]["wallet_quote"]
    case = cases(s)[account_row]
    case["debt_quote"] = min(case["debt_quote"], max(0, -wallet))
    if wallet >= 0:
        case["debt_ns"] = 0


# -- what is remembered of a domain -----------------------------------------------------------


@inlined
def case_row(s, account_row, position_row):
    return header(s)[H.ACCOUNTS_ROWS] + position_row if position_row != 0 else account_row
