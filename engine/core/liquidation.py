"""Liquidation: from a margin domain in breach to its last absorber.

Implements R75-R78, R86-R88, R95, R107-R110 and R132. It reads the profile's steps and its
ordered list of absorbers from the header and knows no venue.
"""

from engine.constants import (
    CancelReason,
    Cause,
    Channel,
    EventKind,
    LiquidationEnd,
    PositionSide,
    Residual,
    Scope,
    Select,
    SystemAccount,
)
from engine.core.absorbers import absorb, settle_balance
from engine.core.arithmetic import mul_div_up
from engine.core.fund import in_drawdown
from engine.core.kernel import INT, NOTHING, inlined, kernel, part
from engine.core.ledger import (
    DOMAIN_BITS,
    case_row,
    domain_health,
    emit_domain,
    exit_requirement,
    is_breached,
    is_collateral,
    margined_notional,
    position_notional,
    touch_account,
    touch_position,
    trigger_requirement,
    unrealised,
)
from engine.core.levels import is_below_backstop, wait
from engine.core.liquidation_orders import close_lots, hand_over, take_back, trade_order
from engine.core.margin import fee, mixed, notional
from engine.core.matching import trade_off_book
from engine.core.orders import cancel_all
from engine.core.position import find_position
from engine.core.records import ESCALATED, FORCED, HAD_ONCE, RESUMED, WAITS
from engine.core.sizing import (
    bankruptcy,
    begin_ramp,
    charge_fee,
    count_freed,
    fee_rate,
    limit_price,
    shortage_of,
    step_lots,
    use_window,
)
from engine.core.sorting import sort_keys
from engine.core.state import (
    H,
    accounts,
    cases,
    header,
    markets,
    positions,
    steps,
    tiers,
    touched,
)
from engine.core.triggers import is_queued, position_of_key

BACKSTOP = SystemAccount.BACKSTOP.value
SHORT = PositionSide.SHORT.value
GO_ON = 0  # of `place_steps`: the position goes on to the waterfall


@kernel
def weight_of(s, position_row, select):
    """Part of R77."""
    if select == Select.LARGEST_LOSS:
        return -unrealised(s, position_row)
    if select == Select.RANDOM:
        position = positions(s)[position_row]
        leg = 4 * position["market_id"] + position["position_side"]
        return mixed(header(s)[H.SEQ], leg)
    return position_notional(s, position_row)


@part(INT)
def next_position(s, account_row, domain_row):
    """Implements R77: 0 when the domain is flat."""
    if domain_row != 0:
        return domain_row if positions(s)[domain_row]["lots"] != 0 else 0
    select = header(s)[H.SELECT]
    best, best_weight = 0, 0
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        if position["isolated"] == 0 and position["lots"] != 0 and not is_collateral(s, row):
            weight = weight_of(s, row, select)
            if best == 0 or weight > best_weight:
                best, best_weight = row, weight
        row = position["account_next"]
    return best


@part(INT)
def is_restored(s, account_row, domain_row):
    """Implements R95: 1 if the exit level is reached; a flat domain has nothing to exit from."""
    equity, _, _, legs = domain_health(s, account_row, domain_row)
    if legs == 0:
        return 1 - is_breached(s, account_row, domain_row)
    return 1 if equity >= exit_requirement(s, account_row, domain_row) else 0


@kernel
def is_open(s, account_row, domain_row):
    return domain_health(s, account_row, domain_row)[3] != 0


@kernel
def restored_open(s, account_row, domain_row):
    return is_open(s, account_row, domain_row) and is_restored(s, account_row, domain_row) != 0


@kernel
def cancel_orders(s, account_row, domain_row):
    """Part of R76."""
    scope = header(s)[H.CANCEL_SCOPE]
    if scope == Scope.ACCOUNT:
        cancel_all(s, account_row, 0, CancelReason.LIQUIDATION)
    elif scope == Scope.MARKET and domain_row != 0:
        if positions(s)[domain_row]["lots"] != 0:
            market_id = positions(s)[domain_row]["market_id"]
            cancel_all(s, account_row, market_id, CancelReason.LIQUIDATION)
    elif scope == Scope.MARKET:
        row = accounts(s)[account_row]["position_head"]
        while row != 0:
            position = positions(s)[row]
            if position["isolated"] == 0 and position["lots"] != 0:
                cancel_all(s, account_row, position["market_id"], CancelReason.LIQUIDATION)
            row = position["account_next"]


@kernel
def net_hedged(s, account_row):
    """Implements R108."""
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        long = positions(s)[row]
        if long["isolated"] == 0 and long["position_side"] == PositionSide.LONG:
            other = find_position(s, account_row, long["market_id"], SHORT)
            if other != 0 and positions(s)[other]["isolated"] == 0:
                lots = min(long["lots"], -positions(s)[other]["lots"])
                if lots > 0:
                    mark = markets(s)[long["market_id"]]["mark_price"]
                    trade_off_book(s, row, other, -lots, mark, Cause.NETTED.value)
        row = long["account_next"]


@part(NOTHING)
def sell_collateral(s, account_row, whole):
    """Implements R110."""
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        following = position["account_next"]
        if is_collateral(s, row) and position["lots"] > 0:
            lots = position["lots"]
            if whole == 0:
                short = -accounts(s)[account_row]["wallet_quote"]
                if short <= 0:
                    return
                worth = unrealised(s, row) + position["entry_quote"]
                if worth > short:
                    lots = mul_div_up(short, lots, worth)
            if markets(s)[position["market_id"]]["mark_price"] != 0:
                close_lots(s, row, lots)
        row = following


@part(INT)
def skips_orders(s, account_row, domain_row, market_id):
    """Implements R107; 1 if so."""
    words = header(s)
    if is_below_backstop(s, account_row, domain_row) != 0:
        return 1
    if words[H.DRAWDOWN_CLOSES_ALL] != 0 and in_drawdown(s, market_id):
        return 1
    if words[H.LOWEST_TIER_CLOSES_ALL] == 0:
        return 0
    need = 0
    row = domain_row if domain_row != 0 else accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        if domain_row != 0 or position["isolated"] == 0:
            market = markets(s)[position["market_id"]]
            rate_ppm = tiers(s)[market["tier_row"]]["maintenance_ppm"]
            if words[H.CLOSE_FEE] != 0:
                rate_ppm += market["taker_fee_ppm"]
            need += fee(margined_notional(s, row), rate_ppm)
        row = 0 if domain_row != 0 else position["account_next"]
    return 1 if domain_health(s, account_row, domain_row)[0] < need else 0


@part(INT)
def place_order(s, account_row, domain_row, position_row, step_index, lots):
    """Implements R78; returns the lots filled."""
    step = steps(s)[step_index]
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    if step["once_in_ns"] != 0:
        case = cases(s)[case_row(s, account_row, domain_row)]
        case["bits"] |= HAD_ONCE
        case["once_ns"] = header(s)[H.NOW_NS]
    bound = limit_price(s, account_row, domain_row, position_row, step_index, lots)
    rate_ppm = fee_rate(s, account_row, domain_row, position_row, step_index)
    zero = bankruptcy(s, account_row, domain_row, position_row)
    long = 1 if position["lots"] > 0 else 0
    before = abs(position["lots"])
    lacking = 0
    if header(s)[H.HAS_RAMP] != 0:
        lacking = shortage_of(s, account_row, domain_row)
    if step["channel"] == Channel.TRANSFER:
        hand_over(s, position_row, lots, bound, BACKSTOP, Cause.TRANSFER.value)
        traded = notional(market, lots, bound)
    else:
        _, _, traded = trade_order(s, position_row, lots, bound, step["channel"])
    filled = before - abs(position["lots"])
    if step["window_lots"] != 0 and filled != 0:
        use_window(s, market, step, filled)
    charge_fee(s, account_row, domain_row, position_row, rate_ppm, zero, long, filled, traded)
    count_freed(s, account_row, domain_row, lacking)
    return filled


@kernel
def same_terms(s, index, other):
    """Part of R87: two steps that ask the same market for the same price."""
    a, b = steps(s)[index], steps(s)[other]
    same = a["limit"] == b["limit"] and a["limit_ppm"] == b["limit_ppm"]
    return same and a["channel"] == b["channel"]


@part(INT)
def place_steps(s, account_row, domain_row, position_row):
    """Implements R87: how the liquidation ended, or 0 when the position goes on."""
    position = positions(s)[position_row]
    tried = -1
    for index in range(header(s)[H.STEPS_COUNT]):
        if tried >= 0 and same_terms(s, index, tried):
            continue
        lots = step_lots(s, account_row, domain_row, position_row, index)
        if lots == 0:
            continue
        whole = lots == abs(position["lots"])
        filled = place_order(s, account_row, domain_row, position_row, index, lots)
        if not is_open(s, account_row, domain_row):
            return GO_ON
        if is_restored(s, account_row, domain_row):
            take_back(s, account_row, domain_row)
            return LiquidationEnd.RESTORED.value
        pause_ns = steps(s)[index]["pause_ns"]
        stays = filled > 0 or steps(s)[index]["channel"] == Channel.REST
        if pause_ns != 0 and (stays or domain_health(s, account_row, domain_row)[0] >= 0):
            wait(s, account_row, domain_row, pause_ns)
            return LiquidationEnd.PAUSED.value
        if whole:
            tried = index
    return GO_ON


@part(INT)
def before_orders(s, account_row, domain_row):
    """Implements R76: what comes before any order; 1 if the domain is restored by it."""
    words = header(s)
    lacking = begin_ramp(s, account_row, domain_row)
    cancel_orders(s, account_row, domain_row)
    count_freed(s, account_row, domain_row, lacking)
    if restored_open(s, account_row, domain_row):
        return 1
    if words[H.NET_HEDGED] != 0 and domain_row == 0:
        net_hedged(s, account_row)
        if restored_open(s, account_row, domain_row):
            return 1
    if words[H.COLLATERAL_FIRST] != 0 and domain_row == 0:
        sell_collateral(s, account_row, 1)
        return 1 if restored_open(s, account_row, domain_row) else 0
    return 0


@part(INT)
def work_off(s, account_row, domain_row, deferred):
    """Implements R76."""
    if before_orders(s, account_row, domain_row):
        return LiquidationEnd.RESTORED.value
    end = LiquidationEnd.NEGATIVE_BALANCE.value
    position_row = next_position(s, account_row, domain_row)
    while position_row != 0:
        position = positions(s)[position_row]
        cases(s)[case_row(s, account_row, domain_row)]["last_market"] = position["market_id"]
        end = LiquidationEnd.CLOSED_IN_BOOK.value
        if deferred == 0 and not skips_orders(s, account_row, domain_row, position["market_id"]):
            found = place_steps(s, account_row, domain_row, position_row)
            if found != GO_ON:
                return found
            if not is_open(s, account_row, domain_row):
                break
        if position["lots"] != 0:
            end = absorb(s, account_row, domain_row, position_row, deferred)
            if end == LiquidationEnd.PAUSED:
                return end
            if restored_open(s, account_row, domain_row):
                return LiquidationEnd.RESTORED.value
        position_row = next_position(s, account_row, domain_row)
    if domain_row == 0:
        sell_collateral(s, account_row, 0)
    return end


@part(INT)
def close_out(s, account_row, domain_row):
    """Implements R109."""
    cancel_all(s, account_row, 0, CancelReason.LIQUIDATION)
    position_row = next_position(s, account_row, domain_row)
    while position_row != 0:
        position = positions(s)[position_row]
        cases(s)[case_row(s, account_row, domain_row)]["last_market"] = position["market_id"]
        close_lots(s, position_row, abs(position["lots"]))
        position_row = next_position(s, account_row, domain_row)
    if domain_row == 0:
        sell_collateral(s, account_row, 0)
    return LiquidationEnd.CLOSED_IN_BOOK.value


@kernel
def is_still_due(s, account_row, domain_row, resumed):
    """Part of R75: in breach, or after a wait below the exit level."""
    if resumed and is_open(s, account_row, domain_row):
        equity = domain_health(s, account_row, domain_row)[0]
        return equity < exit_requirement(s, account_row, domain_row)
    return is_breached(s, account_row, domain_row) != 0


@kernel
def end_ramp(s, account_row, domain_row):
    case = cases(s)[case_row(s, account_row, domain_row)]
    case["ramp_since_ns"] = 0
    case["freed_quote"] = 0


@part(NOTHING)
def liquidate(s, account_row, domain_row, deferred):
    """Implements R75: one queued domain, checked again first."""
    words = header(s)
    if domain_row != 0:
        touch_position(s, domain_row)
    else:
        touch_account(s, account_row)
    take_back(s, account_row, domain_row)
    case = cases(s)[case_row(s, account_row, domain_row)]
    forced = case["bits"] & FORCED != 0
    resumed = case["bits"] & RESUMED != 0
    if not is_still_due(s, account_row, domain_row, resumed) and not forced:
        case["bits"] &= ~(RESUMED | ESCALATED)
        end_ramp(s, account_row, domain_row)
        return
    equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
    need = trigger_requirement(s, maintenance)
    if resumed:
        need = exit_requirement(s, account_row, domain_row)
    words[H.LIQUIDATIONS_COUNT] += 1
    mark = 0
    if domain_row != 0:
        mark = markets(s)[positions(s)[domain_row]["market_id"]]["mark_price"]
    shown = max(need, equity) if forced else need
    started = EventKind.LIQUIDATION_STARTED
    emit_domain(s, started, account_row, domain_row, mark, equity, shown, 0)
    case["bits"] &= ~(FORCED | RESUMED)
    if forced:
        end = close_out(s, account_row, domain_row)
    else:
        end = work_off(s, account_row, domain_row, deferred)
    if end != LiquidationEnd.RESTORED and end != LiquidationEnd.PAUSED:
        settle_balance(s, account_row, domain_row, 1 if forced else 0)
    if end != LiquidationEnd.PAUSED:
        case["bits"] &= ~ESCALATED
        end_ramp(s, account_row, domain_row)
    equity = domain_health(s, account_row, domain_row)[0]
    emit_domain(s, EventKind.LIQUIDATION_ENDED, account_row, domain_row, 0, equity, 0, end)


# -- debts that come about outside a liquidation ----------------------------------------------


@inlined
def books_debts(s):
    """Whether balances below zero stay with their owners (R132)."""
    residual = header(s)[H.RESIDUAL]
    return residual == Residual.DEBT or residual == Residual.NEGATIVE_LEFT


@part(NOTHING)
def book_debts(s):
    """Implements R132, for whoever was touched in this unit."""
    words = header(s)
    count = words[H.TOUCHED_COUNT]
    sort_keys(touched(s), count)
    for index in range(count):
        key = touched(s)[index]
        account_row, domain_row = key >> DOMAIN_BITS, position_of_key(s, key)
        if owes_unbooked(s, account_row, domain_row) != 0:
            words[H.LIQUIDATIONS_COUNT] += 1
            if domain_row == 0:
                sell_collateral(s, account_row, 0)
            settle_balance(s, account_row, domain_row, 1)


@part(INT)
def owes_unbooked(s, account_row, domain_row):
    """Part of R132; 1 if so."""
    case = cases(s)[case_row(s, account_row, domain_row)]
    if is_queued(s, account_row, domain_row) or case["bits"] & WAITS != 0:
        return 0
    equity, _, _, legs = domain_health(s, account_row, domain_row)
    if legs != 0 or equity >= 0:
        return 0
    owed = -accounts(s)[account_row]["wallet_quote"]
    return 1 if domain_row != 0 or owed > case["debt_quote"] else 0
