"""Who takes what the book did not, and who pays what is then missing.

Implements R80, R81, R86, R103, R116-R118, R139. Deleveraging is in `deleveraging`.
"""

from engine.bearers import NUMBER_MAX, Space
from engine.constants import (
    DISPOSAL_ORDER_ID_BASE,
    PPM,
    Absorber,
    Cause,
    EventKind,
    Flag,
    LiquidationEnd,
    PositionSide,
    RefusedTakeover,
    Residual,
    SelfTrade,
    Side,
    SurplusRule,
    SystemAccount,
)
from engine.core.arithmetic import mul_div, mul_div_up
from engine.core.candidates import bearer_row, gather, share_case
from engine.core.deleveraging import adl_price, deleverage, stays_solvent
from engine.core.events import emit
from engine.core.fund import in_drawdown, loss_market, pay_from_fund
from engine.core.kernel import INT, NOTHING, kernel, part
from engine.core.ledger import (
    credit_domain,
    credit_position,
    credit_wallet,
    cross_equity,
    cross_health,
    domain_health,
    emit_domain,
    fund_row,
    is_collateral,
    is_system,
    move_margin,
    move_to,
)
from engine.core.levels import is_below_backstop, put_off, wait
from engine.core.liquidation_orders import hand_over, trade_order
from engine.core.margin import notional, order_price, price_beside, value
from engine.core.matching import match, trade_off_book
from engine.core.orders import rest
from engine.core.policies import amounts_at, columns_at
from engine.core.position import find_position, get_position
from engine.core.sizing import bankruptcy, touch_price
from engine.core.state import H, accounts, cases, header, leg_links, markets, positions, volunteers

NET = PositionSide.NET.value
BACKSTOP = SystemAccount.BACKSTOP.value
ROUNDING = SystemAccount.ROUNDING.value
CHOSEN = -1  # a volunteer's lots are negative while it is chosen for the present round


@part(NOTHING)
def offer(s, market_id, lots, price):
    """Implements R129."""
    words = header(s)
    if words[H.ORDERS_COUNT] - words[H.CURVE_ORDERS_COUNT] >= words[H.USER_ORDERS_MAX]:
        return
    words[H.DISPOSALS_COUNT] += 1
    order_id = DISPOSAL_ORDER_ID_BASE + words[H.DISPOSALS_COUNT]
    fund = fund_row(s, market_id)
    limit = order_price(markets(s)[market_id], lots, price)
    side = Side.SELL.value if lots > 0 else Side.BUY.value
    leg, oldest = get_position(s, fund, market_id, NET), SelfTrade.CANCEL_OLDEST.value
    left, _, _ = match(s, leg, order_id, side, abs(lots), limit, 0, oldest, Cause.TRADE.value)
    if left > 0:
        rest(s, leg, order_id, side, limit, left, 0, oldest)


@part(NOTHING)
def take_over(s, position_row, price):
    """Implements R81."""
    words = header(s)
    position = positions(s)[position_row]
    lots, market_id = position["lots"], position["market_id"]
    fund = fund_row(s, market_id)
    inventory = 0
    for other in range(1, words[H.MARKETS_COUNT] + 1):
        held = find_position(s, fund, other, NET)
        net = positions(s)[held]["lots"]
        if other == market_id:
            net += lots
        if net != 0:
            market = markets(s)[other]
            inventory += notional(market, net, market["mark_price"])
    fund_balance = accounts(s)[fund]["wallet_quote"]
    limit = mul_div(max(0, fund_balance), words[H.FUND_INVENTORY_PPM], PPM)
    market = markets(s)[market_id]
    gap = value(market, lots, market["mark_price"]) - value(market, lots, price)
    refused = 0
    if in_drawdown(s, market_id):
        refused = RefusedTakeover.DRAWDOWN.value
    elif inventory > limit:
        refused = RefusedTakeover.INVENTORY_FULL.value
    elif cross_equity(s, fund) + gap < 0:
        refused = RefusedTakeover.CANNOT_PAY.value
    if refused == 0:
        hand_over(s, position_row, abs(lots), price, fund, Cause.TAKEOVER.value)
        if words[H.FUND_RESTS] != 0:
            offer(s, market_id, lots, price)
        return
    account_id = accounts(s)[position["account_row"]]["account_id"]
    side = position["position_side"]
    kind = EventKind.TAKEOVER_REFUSED
    emit(s, kind, account_id, 0, 0, price, lots, 0, 0, market_id, refused, 0, side, 0)


@kernel
def leg_after(s, account_row, position_row, market_id):
    """The account's leg after this one, or its first; 0 when there is none in the market left."""
    row = accounts(s)[account_row]["position_head"]
    if position_row != 0:
        row = positions(s)[position_row]["account_next"]
    while row != 0 and positions(s)[row]["market_id"] != market_id:
        row = positions(s)[row]["account_next"]
    return row


@kernel
def is_ready(s, row, bankrupt_row, price):
    """Part of R116: a volunteer who would stay solvent."""
    ready = volunteers(s)[row]
    bankrupt = positions(s)[bankrupt_row]
    if ready == 0 or positions(s)[row]["account_row"] == bankrupt["account_row"]:
        return False
    side = positions(s)[row]["position_side"]
    if side != NET and (side == PositionSide.LONG) != (bankrupt["lots"] > 0):
        return False
    lots = min(ready, abs(bankrupt["lots"]))
    return stays_solvent(s, row, lots if bankrupt["lots"] > 0 else -lots, price) != 0


@part(NOTHING)
def assign(s, position_row, price):
    """Implements R116. Who is ready is told before a round begins, so it is marked first."""
    words = header(s)
    position = positions(s)[position_row]
    market_id = position["market_id"]
    market = markets(s)[market_id]
    edge_ppm = words[H.VOLUNTEER_EDGE_PPM]
    if edge_ppm != 0:
        edge = price_beside(market, position["lots"], market["mark_price"], edge_ppm)
        price = min(price, edge) if position["lots"] > 0 else max(price, edge)
    for turn in range(3):
        count = 0
        for account_row in range(1, words[H.ACCOUNTS_COUNT] + 1):
            row = leg_after(s, account_row, 0, market_id)
            while row != 0:
                if is_ready(s, row, position_row, price):
                    volunteers(s)[row] *= CHOSEN
                    count += 1
                row = leg_after(s, account_row, row, market_id)
        if count == 0:
            return
        share = abs(position["lots"])
        if turn < 2:
            share = max(1, share // count)
        for account_row in range(1, words[H.ACCOUNTS_COUNT] + 1):
            row = leg_after(s, account_row, 0, market_id)
            while row != 0:
                if volunteers(s)[row] < 0:
                    volunteers(s)[row] *= CHOSEN
                    assign_to(s, position_row, row, share, price)
                row = leg_after(s, account_row, row, market_id)


@kernel
def assign_to(s, position_row, row, share, price):
    position = positions(s)[position_row]
    lots = min(share, min(volunteers(s)[row], abs(position["lots"])))
    if lots == 0:
        return
    volunteers(s)[row] -= lots
    change = -lots if position["lots"] > 0 else lots
    trade_off_book(s, position_row, row, change, price, Cause.ASSIGNED.value)


@kernel
def sell_covered(s, position_row):
    """Implements R117."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    best = market["best_bid_tick"] if position["lots"] > 0 else market["best_ask_tick"]
    if best == 0:
        return
    limit = touch_price(market, position["lots"], header(s)[H.COVERED_BAND_PPM])
    trade_order(s, position_row, abs(position["lots"]), limit, 0)


@part(INT)
def take_domain(s, account_row, domain_row):
    """Implements R118; 1 if the vault took it."""
    words = header(s)
    if domain_health(s, account_row, domain_row)[0] < 0:
        return 0
    if words[H.BACKSTOP_PPM] != 0 and not is_below_backstop(s, account_row, domain_row):
        return 0
    cause = Cause.TRANSFER.value
    row = domain_row if domain_row != 0 else accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        mine = domain_row != 0 or (position["isolated"] == 0 and not is_collateral(s, row))
        if mine and position["lots"] != 0:
            mark = markets(s)[position["market_id"]]["mark_price"]
            hand_over(s, row, abs(position["lots"]), mark, BACKSTOP, cause)
        row = 0 if domain_row != 0 else position["account_next"]
    balance = balance_of(s, account_row, domain_row)
    if balance > 0:
        move_to(s, EventKind.SEIZED, account_row, domain_row, balance, BACKSTOP)
    return 1


@kernel
def balance_of(s, account_row, domain_row):
    if domain_row != 0:
        return positions(s)[domain_row]["margin_quote"]
    return accounts(s)[account_row]["wallet_quote"]


@part(NOTHING)
def share_money(s, account_row, domain_row, position_row, price):
    """Implements R139."""
    need = -domain_health(s, account_row, domain_row)[0]
    market_id = positions(s)[position_row]["market_id"]
    side = 1 if positions(s)[position_row]["lots"] > 0 else -1
    count = gather(s, market_id, 0, 0, account_row, price) if need > 0 else 0
    if count == 0:
        return
    at = share_case(s, count, header(s)[H.SHARING_POLICY], need, Space.WEALTH, side, NUMBER_MAX)
    collected = 0
    for place in range(count):
        pays = amounts_at(at, count)[place]
        if pays > 0:
            collected += pays
            give(s, bearer_row(s, market_id, columns_at(at, count).id[place]), pays)
    if collected == 0:
        return
    credit_domain(s, account_row, domain_row, collected)
    emit_domain(s, EventKind.LOSS_COVERED, account_row, domain_row, 0, collected, 0, 0)
    if collected > need:
        kind = EventKind.SURPLUS
        move_to(s, kind, account_row, domain_row, collected - need, fund_row(s, market_id))


@kernel
def give(s, row, pays):
    """A position pays for somebody else's loss."""
    position = positions(s)[row]
    credit_position(s, row, -pays)
    account_id = accounts(s)[position["account_row"]]["account_id"]
    flags = Flag.ISOLATED.value if position["isolated"] != 0 else 0
    market_id, side = position["market_id"], position["position_side"]
    emit(s, EventKind.LOSS_SHARED, account_id, 0, 0, 0, 0, pays, 0, market_id, 0, 0, side, flags)


@part(INT)
def take(s, account_row, domain_row, position_row, absorber):
    """One absorber: how the liquidation ends if it took the last lot, 0 if it takes none."""
    position = positions(s)[position_row]
    price = bankruptcy(s, account_row, domain_row, position_row)
    mark = markets(s)[position["market_id"]]["mark_price"]
    if absorber == Absorber.INSURANCE_FUND:
        take_over(s, position_row, price)
        return LiquidationEnd.TAKEN_OVER.value
    if absorber == Absorber.FUND_PAYMENT:
        equity = domain_health(s, account_row, domain_row)[0]
        pay_from_fund(s, account_row, domain_row, position["market_id"], -equity)
        return 0
    if absorber == Absorber.LOSS_SHARING:
        share_money(s, account_row, domain_row, position_row, price)
        return 0
    if absorber == Absorber.ADL:
        deleverage(s, position_row, adl_price(s, position_row, price))
        return LiquidationEnd.DELEVERAGED.value
    if absorber == Absorber.VOLUNTEERS:
        assign(s, position_row, price)
        return LiquidationEnd.ASSIGNED_OUT.value
    if absorber == Absorber.COVERED_BOOK:
        sell_covered(s, position_row)
        return LiquidationEnd.CLOSED_IN_BOOK.value
    if absorber == Absorber.VAULT:
        took = take_domain(s, account_row, domain_row)
        return LiquidationEnd.BACKSTOPPED.value if took != 0 else 0
    if absorber == Absorber.POOL:
        hand_over(s, position_row, abs(position["lots"]), mark, BACKSTOP, Cause.TRANSFER.value)
        return LiquidationEnd.BACKSTOPPED.value
    if absorber == Absorber.RETRY:
        wait(s, account_row, domain_row, header(s)[H.RETRY_NS])
        return LiquidationEnd.PAUSED.value
    fund = fund_row(s, position["market_id"])
    hand_over(s, position_row, abs(position["lots"]), price, fund, Cause.RESIDUAL.value)
    return LiquidationEnd.RESIDUAL.value


@part(INT)
def absorb(s, account_row, domain_row, position_row, deferred):
    """Implements R80: walk the waterfall until the position is flat."""
    words = header(s)
    end = LiquidationEnd.RESIDUAL.value
    skipping = deferred != 0
    for index in range(words[H.WATERFALL_COUNT]):
        absorber = words[H.WATERFALL_1 + index]
        if absorber == Absorber.ADL:
            if deferred == 0 and words[H.ADL_LAST] != 0:
                put_off(s, account_row, domain_row)
                return LiquidationEnd.PAUSED.value
            skipping = False
        if skipping:
            continue
        found = take(s, account_row, domain_row, position_row, absorber)
        if found != 0:
            end = found
        if positions(s)[position_row]["lots"] == 0 or end == LiquidationEnd.PAUSED:
            return end
    return end


# -- what is left of a flat domain ------------------------------------------------------------


@part(NOTHING)
def settle_balance(s, account_row, domain_row, keep_surplus):
    """Implements R86."""
    if domain_health(s, account_row, domain_row)[3] != 0:
        return
    balance = balance_of(s, account_row, domain_row)
    market_id = loss_market(s, account_row, domain_row)
    to_fund_wanted = header(s)[H.SURPLUS_RULE] == SurplusRule.TO_FUND and keep_surplus == 0
    if balance > 0 and to_fund_wanted:
        kind = EventKind.SURPLUS
        move_to(s, kind, account_row, domain_row, balance, fund_row(s, market_id))
    elif balance > 0 and domain_row != 0:
        move_margin(s, domain_row, -balance)
    elif balance < 0:
        paid = pay_from_fund(s, account_row, domain_row, market_id, -balance)
        missing = -balance - paid
        if missing > 0:
            leave(s, account_row, domain_row, missing)


@part(NOTHING)
def leave(s, account_row, domain_row, missing):
    """Implements R103."""
    rule = header(s)[H.RESIDUAL]
    market_id = loss_market(s, account_row, domain_row)
    if rule == Residual.POOL:
        move_to(s, EventKind.POOL_PAID, account_row, domain_row, -missing, BACKSTOP)
        return
    if rule == Residual.DEBT or rule == Residual.NEGATIVE_LEFT:
        owe(s, account_row, domain_row, missing)
        return
    shared = rule == Residual.SOCIALISE_POSITIONS and market_id != 0
    if shared and share_loss(s, account_row, domain_row, market_id, missing):
        return
    kind = EventKind.BAD_DEBT
    move_to(s, kind, account_row, domain_row, -missing, fund_row(s, market_id))
    if market_id != 0:
        markets(s)[market_id]["loss_quote"] += missing


@kernel
def owe(s, account_row, domain_row, missing):
    """Part of R103: the wallet is left negative, and noted when it was not before."""
    words = header(s)
    if domain_row != 0:
        move_margin(s, domain_row, missing)
    case = cases(s)[account_row]
    owed = -accounts(s)[account_row]["wallet_quote"]
    if owed <= case["debt_quote"] or cross_health(s, account_row)[3] != 0:
        return
    case["debt_quote"] = owed
    if case["debt_ns"] == 0:
        case["debt_ns"] = max(1, words[H.NOW_NS])
    emit_domain(s, EventKind.DEBT_LEFT, account_row, 0, 0, owed, 0, 0)
    if words[H.RESIDUAL] == Residual.NEGATIVE_LEFT:
        words[H.GATE_UNTIL_NS] = words[H.NOW_NS] + words[H.GATE_NS]


@kernel
def share_loss(s, account_row, domain_row, market_id, missing):
    """Part of R103: every open user position of the market pays by its lots."""
    words = header(s)
    table = positions(s)
    total = 0
    row = markets(s)[market_id]["position_head"]
    while row != 0:
        if not is_system(s, table[row]["account_row"]):
            total += abs(table[row]["lots"])
        row = leg_links(s)[row]
    if total == 0:
        return False
    collected = 0
    for payer_row in range(1, words[H.ACCOUNTS_COUNT] + 1):
        row = 0 if is_system(s, payer_row) else leg_after(s, payer_row, 0, market_id)
        while row != 0:
            if table[row]["lots"] != 0:
                pays = mul_div_up(missing, abs(table[row]["lots"]), total)
                collected += pays
                give(s, row, pays)
            row = leg_after(s, payer_row, row, market_id)
    credit_domain(s, account_row, domain_row, missing)
    credit_wallet(s, ROUNDING, collected - missing)
    covered = EventKind.LOSS_COVERED
    emit_domain(s, covered, account_row, domain_row, 0, missing, collected - missing, 0)
    return True
