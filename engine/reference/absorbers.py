"""The rulebook's absorbers: the fund, volunteers, the backstop, deleveraging, the residual.

Each takes a position, or part of it, off a bankrupt domain at its own price. What a liquidation
tries before them is in `waterfall`.
"""

from engine.constants import (
    DISPOSAL_ORDER_ID_BASE,
    PPM,
    Cause,
    EventKind,
    Flag,
    LiquidationEnd,
    OrderType,
    PositionSide,
    RefusedTakeover,
    SelfTrade,
    Side,
    SystemAccount,
    TimeInForce,
)
from engine.reference import candidates, margin, orders, sizing
from engine.reference.book import Order
from engine.reference.deleveraging import adl_price, deleverage, stays_solvent
from engine.reference.fund import in_drawdown, loss_market, move, pay_from_fund
from engine.reference.ledger import World
from engine.reference.levels import case_of, emit_domain, is_below_backstop
from engine.reference.liquidation_orders import liquidation_order, trade_order
from engine.reference.records import Domain, Position

BACKSTOP = SystemAccount.BACKSTOP


def absorb(world: World, domain: Domain, position: Position, deferred: bool) -> LiquidationEnd:
    """R80. Walk the waterfall: each absorber takes what it can, until nothing is left. With the
    phase `adl_last` deleveraging waits until no other liquidation is queued, and goes on there."""
    end = LiquidationEnd.RESIDUAL
    names = list(world.profile.losses.waterfall)
    if deferred:
        names = names[names.index("adl") :]
    for name in names:
        if name == "adl" and not deferred and world.profile.liquidation.phase == "adl_last":
            world.adl_queue.append(domain)
            return LiquidationEnd.PAUSED
        end = take(world, domain, position, name) or end
        if position.lots == 0 or end == LiquidationEnd.PAUSED:
            return end
    return end


def take(world: World, domain: Domain, position: Position, name: str) -> LiquidationEnd | None:
    """One absorber; returns how the liquidation ends if it took the last lot."""
    price = sizing.bankruptcy(world, domain, position)
    mark = world.markets[position.market_id].mark_price
    if name == "insurance_fund":
        take_over(world, position, price)
        return LiquidationEnd.TAKEN_OVER
    if name == "fund_payment":
        pay_from_fund(world, domain, position.market_id, -world.equity(domain))
        return None
    if name == "loss_sharing":
        share_money(world, domain, position, price)
        return None
    if name == "adl":
        deleverage(world, position, adl_price(world, position, price))
        return LiquidationEnd.DELEVERAGED
    if name == "volunteers":
        assign(world, position, price)
        return LiquidationEnd.ASSIGNED_OUT
    if name == "covered_book":
        sell_covered(world, position)
        return LiquidationEnd.CLOSED_IN_BOOK
    if name == "vault":
        return LiquidationEnd.BACKSTOPPED if take_domain(world, domain) else None
    if name == "pool":
        hand_over(world, position, abs(position.lots), mark, BACKSTOP, Cause.TRANSFER)
        return LiquidationEnd.BACKSTOPPED
    if name == "retry":
        case_of(world, domain).due_ns = world.now_ns + world.profile.losses.retry_ns
        return LiquidationEnd.PAUSED
    fund = world.fund_of(position.market_id)
    hand_over(world, position, abs(position.lots), price, fund.row, Cause.RESIDUAL)
    return LiquidationEnd.RESIDUAL


def hand_over(
    world: World, position: Position, lots: int, price: int, to_row: int, cause: Cause
) -> None:
    """Lots of a position go to a system account, off book."""
    taker = world.accounts[to_row]
    taker_position = world.position(taker, position.market_id, 0)
    account = world.accounts[position.account_row]
    change = -lots if position.lots > 0 else lots
    world.trade(account, position, taker, taker_position, change, price, cause)


def take_over(world: World, position: Position, price: int) -> None:
    """R81. The market's fund takes the whole position at the bankruptcy price, unless its net
    notional at mark would pass its inventory limit, its equity at mark would fall below zero, or
    the drawdown rule is active."""
    fund = world.fund_of(position.market_id)
    market = world.markets[position.market_id]
    inventory = 0
    for market_id, other in world.markets.items():
        held = world.find_position(fund, market_id, 0)
        lots = held.lots if held else 0
        lots += position.lots if market_id == position.market_id else 0
        if lots:
            inventory += margin.notional(other.numbers, lots, other.mark_price)
    refused = None
    limit = max(0, fund.wallet_quote) * world.profile.losses.fund_inventory_ppm // PPM
    gap = margin.value(market.numbers, position.lots, market.mark_price)
    gap -= margin.value(market.numbers, position.lots, price)
    if in_drawdown(world, position.market_id):
        refused = RefusedTakeover.DRAWDOWN
    elif inventory > limit:
        refused = RefusedTakeover.INVENTORY_FULL
    elif world.equity((fund.row, 0, 0)) + gap < 0:
        refused = RefusedTakeover.CANNOT_PAY
    if refused is None:
        lots = position.lots
        hand_over(world, position, abs(lots), price, fund.row, Cause.TAKEOVER)
        if world.profile.losses.fund_disposal == "rest":
            offer(world, market.market_id, lots, price)
        return
    world.emit(
        EventKind.TAKEOVER_REFUSED,
        world.accounts[position.account_row],
        market_id=position.market_id,
        position_side=position.position_side,
        price=price,
        lots=position.lots,
        reason=refused,
    )


def offer(world: World, market_id: int, lots: int, price: int) -> None:
    """R129. The fund offers what it took over at the price it took it at, to the tick on its own
    side: traded at once as far as the book goes, the rest waits there; nothing if there is no
    room for another order."""
    if len(world.orders) - world.curve_orders_count >= world.capacities.orders_max:
        return
    world.disposals_count += 1
    order = Order(
        order_id=DISPOSAL_ORDER_ID_BASE + world.disposals_count,
        account_row=world.fund_of(market_id).row,
        market_id=market_id,
        side=int(Side.SELL if lots > 0 else Side.BUY),
        position_side=int(PositionSide.NET),
        order_type=int(OrderType.LIMIT),
        time_in_force=int(TimeInForce.GTC),
        price=margin.order_price(world.markets[market_id].numbers, lots, price),
        lots=abs(lots),
        flags=0,
        self_trade=int(SelfTrade.CANCEL_OLDEST),
        trigger_price=0,
        trigger_kind=0,
        seq=0,
    )
    orders.match(world, order, order.price, Cause.TRADE, 0)
    if order.lots:
        orders.rest(world, order)


# -- volunteers, the book covered by the fund, the vault --------------------------------------


def assign(world: World, position: Position, price: int) -> None:
    """R116. Volunteers take the rest in equal shares, in account order, each as far as it is ready
    to; what is left over in equal shares again, and then as far as each is ready; at the bankruptcy
    price, or where that is not far enough from mark for them, at mark with their edge. Whoever it
    would leave below zero is passed over."""
    market = world.markets[position.market_id]
    edge_ppm = world.profile.losses.volunteer_edge_ppm
    if edge_ppm:
        edge = margin.price_beside(market.numbers, position.lots, market.mark_price, edge_ppm)
        price = min(price, edge) if position.lots > 0 else max(price, edge)
    bankrupt = world.accounts[position.account_row]
    for turn in range(3):
        ready = volunteers(world, position, price)
        if not ready:
            return
        share = max(1, abs(position.lots) // len(ready)) if turn < 2 else abs(position.lots)
        for other in ready:
            lots = min(share, other.volunteer_lots, abs(position.lots))
            if lots == 0:
                continue
            other.volunteer_lots -= lots
            change = -lots if position.lots > 0 else lots
            account = world.accounts[other.account_row]
            world.trade(bankrupt, position, account, other, change, price, Cause.ASSIGNED)


def volunteers(world: World, position: Position, price: int) -> list[Position]:
    """Part of R116: one lot must leave them solvent."""
    change = 1 if position.lots > 0 else -1
    return [
        other
        for account in world.accounts.values()
        for other in account.positions.values()
        if other.market_id == position.market_id
        and other.volunteer_lots
        and account.row != position.account_row
        and fits_leg(other, change)
        and stays_solvent(
            world, other, change * min(other.volunteer_lots, abs(position.lots)), price
        )
    ]


def fits_leg(position: Position, change: int) -> bool:
    """Part of R116: the long leg of hedge mode takes longs only, the short leg shorts only."""
    if position.position_side == PositionSide.NET:
        return True
    return (position.position_side == PositionSide.LONG) == (change > 0)


def sell_covered(world: World, position: Position) -> None:
    """R117. The rest is sold in the book down to a band beside the best price; what that loses
    beyond zero equity is the fund's."""
    market = world.markets[position.market_id]
    best = market.book.best(1 if position.lots > 0 else 2)
    if best == 0:
        return
    band_ppm = world.profile.losses.covered_band_ppm
    limit = margin.price_beside(market.numbers, position.lots, best, band_ppm)
    order = liquidation_order(world, position, abs(position.lots), limit)
    trade_order(world, order)


def take_domain(world: World, domain: Domain) -> bool:
    """R118. The vault takes every position of the domain at mark and its whole balance, unless its
    equity is negative or it is not below the backstop level."""
    backstop = world.profile.trigger.backstop_ppm
    if world.equity(domain) < 0 or (backstop and not is_below_backstop(world, domain)):
        return False
    for position in world.domain_positions(domain):
        if position.lots and not world.is_collateral(position):
            mark = world.markets[position.market_id].mark_price
            hand_over(world, position, abs(position.lots), mark, BACKSTOP, Cause.TRANSFER)
    balance = world.domain_balance(domain)
    if balance > 0:
        move(world, domain, EventKind.SEIZED, balance, world.accounts[BACKSTOP])
    return True


def share_money(world: World, domain: Domain, position: Position, price: int) -> None:
    """R139. Before a position is closed, what its domain is below zero is shared out by a policy,
    in wealth space, over all user positions of the market but the account's own; each pays from
    its own row, and what is collected beyond the need goes to the market's fund. What closing a
    lot costs is measured at the bankruptcy price."""
    need, side = -world.equity(domain), 1 if position.lots > 0 else -1
    asked = candidates.bearers(world, position.market_id, 0, False, position.account_row)
    if need <= 0:
        return
    shares = candidates.shared_money(world, asked, need, side, price)
    for payer, pays in zip(asked, shares, strict=True):
        if pays:
            give(world, payer, pays)
    collected = sum(shares)
    if collected == 0:
        return
    own = world.domain_positions(domain)[0] if domain[1] else None
    world.credit(own, world.accounts[domain[0]], collected)
    emit_domain(world, domain, EventKind.LOSS_COVERED, amount=collected)
    if collected > need:
        fund = world.fund_of(position.market_id)
        move(world, domain, EventKind.SURPLUS, collected - need, fund)


def give(world: World, position: Position, pays: int) -> None:
    """A position pays for somebody else's loss."""
    account = world.accounts[position.account_row]
    world.credit(position, account, -pays)
    world.emit(
        EventKind.LOSS_SHARED,
        account,
        market_id=position.market_id,
        position_side=position.position_side,
        amount=pays,
        flags=Flag.ISOLATED if position.isolated else 0,
    )


# -- what is left of a flat domain ------------------------------------------------------------


def settle_balance(world: World, domain: Domain, keep_surplus: bool) -> None:
    """R86. A flat domain: what is left goes to the fund or stays with the user, as the profile
    says; what is missing is paid by the fund as far as it may, and the rest as R103 says."""
    if world.is_open(domain):
        return
    balance, market_id = world.domain_balance(domain), loss_market(world, domain)
    to_fund_wanted = world.profile.liquidation.surplus == "to_fund" and not keep_surplus
    if balance > 0 and to_fund_wanted:
        move(world, domain, EventKind.SURPLUS, balance, world.fund_of(market_id))
    elif balance > 0 and domain[1]:
        position = world.domain_positions(domain)[0]
        world.move_margin(world.accounts[domain[0]], position, -balance)
    elif balance < 0:
        missing = -balance - pay_from_fund(world, domain, market_id, -balance)
        if missing:
            leave(world, domain, missing)


def leave(world: World, domain: Domain, missing: int) -> None:
    """R103. What no fund paid: bad debt of the fund; a debt of the customer; a negative balance
    that gates everybody's withdrawals; a payment of the pool that takes positions; or a loss
    shared at once by the open positions of the market. Bad debt is remembered by market for
    R104."""
    rule = world.profile.losses.residual
    market_id = loss_market(world, domain)
    if rule == "pool":
        move(world, domain, EventKind.POOL_PAID, -missing, world.accounts[BACKSTOP])
    elif rule in ("debt", "negative_left"):
        owe(world, domain, missing)
    elif rule == "socialise_positions" and share_loss(world, domain, market_id, missing):
        pass
    else:
        move(world, domain, EventKind.BAD_DEBT, -missing, world.fund_of(market_id))
        if market_id:
            world.markets[market_id].loss_quote += missing


def owe(world: World, domain: Domain, missing: int) -> None:
    """Part of R103: what an isolated position lacks is taken from the wallet; what a wallet without
    positions lacks is left negative, and noted when it is more than was owed before."""
    account = world.accounts[domain[0]]
    if domain[1]:
        world.move_margin(account, world.domain_positions(domain)[0], missing)
    owed = -account.wallet_quote
    if owed <= account.debt_quote or world.is_open((account.row, 0, 0)):
        return
    account.debt_quote = owed
    account.debt_ns = account.debt_ns or max(1, world.now_ns)
    world.emit(EventKind.DEBT_LEFT, account, amount=owed)
    if world.profile.losses.residual == "negative_left":
        world.gate_ns = world.now_ns + world.profile.losses.gate_ns


def share_loss(world: World, domain: Domain, market_id: int, missing: int) -> bool:
    """Part of R103: every open user position of the market pays its share by lots, rounded up;
    what is collected too much goes to ROUNDING. False if nobody is there to pay."""
    payers = [
        position
        for account in world.accounts.values()
        for position in account.positions.values()
        if position.market_id == market_id and position.lots and not world.is_system(account)
    ]
    total = sum(abs(position.lots) for position in payers)
    if total == 0:
        return False
    collected = 0
    for position in payers:
        pays = margin.ceil_div(missing * abs(position.lots), total)
        collected += pays
        give(world, position, pays)
    own = world.accounts[domain[0]]
    world.credit(world.domain_positions(domain)[0] if domain[1] else None, own, missing)
    world.accounts[SystemAccount.ROUNDING].wallet_quote += collected - missing
    emit_domain(world, domain, EventKind.LOSS_COVERED, amount=missing, fee=collected - missing)
    return True
