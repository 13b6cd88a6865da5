"""Liquidation: from a breached margin domain to the last absorber.

Implements R75-R81 and R86. It reads the profile's steps and its ordered list of absorbers from
the header and knows no venue.
"""

from engine.constants import (
    LIQUIDATION_ORDER_ID_BASE,
    PPM,
    Absorber,
    CancelReason,
    Cause,
    EventKind,
    LiquidationEnd,
    PositionSide,
    RefusedTakeover,
    SelfTrade,
    Side,
    SurplusRule,
)
from engine.core.arithmetic import mul_div
from engine.core.deleveraging import deleverage
from engine.core.events import emit
from engine.core.kernel import INT, NOTHING, kernel, part
from engine.core.ledger import (
    FUND,
    cross_health,
    domain_health,
    emit_domain,
    move_margin,
    position_notional,
    to_fund,
    touch_account,
    touch_position,
)
from engine.core.margin import (
    bankruptcy_price,
    fee,
    notional,
    order_price,
    shortage_lots,
    tier_row,
    value,
)
from engine.core.orders import cancel_all, emit_cancelled, match, trade_off_book
from engine.core.position import find_position, get_position
from engine.core.state import H, accounts, header, markets, positions, tiers

NET = PositionSide.NET.value


@kernel
def largest_position(s, account_row, domain_row):
    """Implements R77: 0 when the domain is flat."""
    if domain_row != 0:
        return domain_row if positions(s)[domain_row]["lots"] != 0 else 0
    best, best_quote = 0, -1
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        if positions(s)[row]["isolated"] == 0 and positions(s)[row]["lots"] != 0:
            size = position_notional(s, row)
            if size > best_quote:
                best, best_quote = row, size
        row = positions(s)[row]["account_next"]
    return best


@part(INT)
def place_liquidation_order(s, account_row, domain_row, position_row, cover):
    """Implements R78 and R79; returns 1 if the order was for everything."""
    words = header(s)
    position = positions(s)[position_row]
    market_id = position["market_id"]
    market = markets(s)[market_id]
    equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
    lots = abs(position["lots"])
    whole = abs(position["lots"])
    if cover != 0:
        size = position_notional(s, position_row)
        rate_ppm = tiers(s)[tier_row(s, market, size)]["maintenance_ppm"]
        lots = shortage_lots(market, position["lots"], size, rate_ppm, maintenance - equity)
    bankruptcy = bankruptcy_price(market, position["lots"], market["mark_price"], equity)
    limit = order_price(market, position["lots"], bankruptcy)
    side = Side.SELL.value if position["lots"] > 0 else Side.BUY.value
    position_side = position["position_side"]
    order_id = LIQUIDATION_ORDER_ID_BASE + words[H.LIQUIDATIONS_COUNT]
    left, _, traded_quote = match(
        s,
        account_row,
        order_id,
        market_id,
        side,
        position_side,
        lots,
        limit,
        0,
        SelfTrade.CANCEL_OLDEST.value,
        Cause.LIQUIDATION.value,
        0,
    )
    if left > 0:
        emit_cancelled(
            s,
            accounts(s)[account_row]["account_id"],
            order_id,
            market_id,
            side,
            position_side,
            limit,
            left,
            0,
            CancelReason.IOC_REMAINDER.value,
        )
    charge = fee(traded_quote, market["liquidation_fee_ppm"])
    charge = min(charge, max(0, domain_health(s, account_row, domain_row)[0]))
    if charge > 0:
        to_fund(s, EventKind.LIQUIDATION_FEE, account_row, domain_row, charge)
    return 1 if lots == whole else 0


@kernel
def hand_to_fund(s, position_row, price, cause):
    """The insurance fund becomes the owner of a whole position, at a price."""
    position = positions(s)[position_row]
    fund_row = get_position(s, FUND, position["market_id"], NET)
    trade_off_book(s, position_row, fund_row, -position["lots"], price, cause)


@part(NOTHING)
def take_over(s, position_row, price):
    """Implements R81."""
    words = header(s)
    position = positions(s)[position_row]
    lots, market_id = position["lots"], position["market_id"]
    inventory = 0
    for other in range(1, words[H.MARKETS_COUNT] + 1):
        held = find_position(s, FUND, other, NET)
        net = positions(s)[held]["lots"]
        if other == market_id:
            net += lots
        if net != 0:
            market = markets(s)[other]
            inventory += notional(market, net, market["mark_price"])
    fund_balance = accounts(s)[FUND]["wallet_quote"]
    limit = mul_div(max(0, fund_balance), words[H.FUND_INVENTORY_PPM], PPM)
    market = markets(s)[market_id]
    gap = value(market, lots, market["mark_price"]) - value(market, lots, price)
    refused = 0
    if inventory > limit:
        refused = RefusedTakeover.INVENTORY_FULL.value
    elif cross_health(s, FUND)[0] + gap < 0:
        refused = RefusedTakeover.CANNOT_PAY.value
    if refused == 0:
        hand_to_fund(s, position_row, price, Cause.TAKEOVER)
        return
    account_id = accounts(s)[position["account_row"]]["account_id"]
    side = position["position_side"]
    kind = EventKind.TAKEOVER_REFUSED
    emit(s, kind, account_id, 0, 0, price, lots, 0, 0, market_id, refused, 0, side, 0)


@kernel
def absorb(s, account_row, domain_row, position_row):
    """Implements R80: walk the waterfall until the position is flat."""
    words = header(s)
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    end = LiquidationEnd.RESIDUAL.value
    for index in range(words[H.WATERFALL_COUNT]):
        equity = domain_health(s, account_row, domain_row)[0]
        price = bankruptcy_price(market, position["lots"], market["mark_price"], equity)
        absorber = words[H.WATERFALL_1 + index]
        if absorber == Absorber.INSURANCE_FUND:
            end = LiquidationEnd.TAKEN_OVER.value
            take_over(s, position_row, price)
        elif absorber == Absorber.ADL:
            end = LiquidationEnd.DELEVERAGED.value
            deleverage(s, position_row, price)
        else:
            end = LiquidationEnd.RESIDUAL.value
            hand_to_fund(s, position_row, price, Cause.RESIDUAL)
        if position["lots"] == 0:
            break
    return end


@kernel
def work_off(s, account_row, domain_row):
    """Implements R76 and R87."""
    words = header(s)
    if words[H.CANCEL_FIRST] != 0:
        cancel_all(s, account_row, 0, CancelReason.LIQUIDATION)
        equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
        if equity >= maintenance:
            return LiquidationEnd.RESTORED.value
    end = LiquidationEnd.NEGATIVE_BALANCE.value
    position_row = largest_position(s, account_row, domain_row)
    while position_row != 0:
        end = LiquidationEnd.CLOSED_IN_BOOK.value
        whole = 0
        for cover in range(1, -1, -1):
            step = words[H.COVER_SHORTAGE] if cover == 1 else words[H.CLOSE_POSITION]
            if step == 0 or whole == 1:
                continue
            whole = place_liquidation_order(s, account_row, domain_row, position_row, cover)
            equity, maintenance, _, legs = domain_health(s, account_row, domain_row)
            if equity >= maintenance:
                return LiquidationEnd.RESTORED.value if legs > 0 else end
        if positions(s)[position_row]["lots"] != 0:
            end = absorb(s, account_row, domain_row, position_row)
            equity, maintenance, _, legs = domain_health(s, account_row, domain_row)
            if equity >= maintenance and legs > 0:
                return LiquidationEnd.RESTORED.value
        position_row = largest_position(s, account_row, domain_row)
    return end


@kernel
def settle_balance(s, account_row, domain_row):
    """Implements R86."""
    balance = accounts(s)[account_row]["wallet_quote"]
    if domain_row != 0:
        balance = positions(s)[domain_row]["margin_quote"]
    if balance > 0:
        if header(s)[H.SURPLUS_RULE] == SurplusRule.TO_FUND:
            to_fund(s, EventKind.SURPLUS, account_row, domain_row, balance)
        elif domain_row != 0:
            move_margin(s, domain_row, -balance)
    elif balance < 0:
        paid = min(-balance, max(0, accounts(s)[FUND]["wallet_quote"]))
        if paid > 0:
            to_fund(s, EventKind.SHORTFALL, account_row, domain_row, -paid)
        if -balance > paid:
            to_fund(s, EventKind.BAD_DEBT, account_row, domain_row, balance + paid)


@part(NOTHING)
def liquidate(s, account_row, domain_row):
    """Implements R75: one queued domain, checked again first."""
    words = header(s)
    if domain_row != 0:
        touch_position(s, domain_row)
    else:
        touch_account(s, account_row)
    equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
    if equity >= maintenance:
        return
    words[H.LIQUIDATIONS_COUNT] += 1
    mark = 0
    if domain_row != 0:
        mark = markets(s)[positions(s)[domain_row]["market_id"]]["mark_price"]
    started = EventKind.LIQUIDATION_STARTED
    emit_domain(s, started, account_row, domain_row, mark, equity, maintenance, 0)
    end = work_off(s, account_row, domain_row)
    if end != LiquidationEnd.RESTORED:
        settle_balance(s, account_row, domain_row)
    equity = domain_health(s, account_row, domain_row)[0]
    emit_domain(s, EventKind.LIQUIDATION_ENDED, account_row, domain_row, 0, equity, 0, end)
