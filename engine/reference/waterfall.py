"""The rulebook's liquidation: from a breached margin domain to the last absorber.

One call of `liquidate` is one unit of work. It reads the profile's steps and waterfall as
ordered lists and knows no venue. Orders are matched by `orders`, money moves in `ledger`.
"""

from engine.constants import (
    LIQUIDATION_ORDER_ID_BASE,
    PPM,
    AdlScore,
    CancelReason,
    Cause,
    EventKind,
    Flag,
    LiquidationEnd,
    OrderType,
    RefusedTakeover,
    SelfTrade,
    Side,
    SystemAccount,
    TimeInForce,
)
from engine.reference import margin, orders, policies
from engine.reference.book import Order
from engine.reference.ledger import Account, Domain, Position, World


def domains(world: World) -> list[Domain]:
    """Every margin domain, in order of account row, cross first, then market and leg."""
    found: list[Domain] = []
    for account in world.accounts.values():
        if world.is_system(account):
            continue
        found.append((account.row, 0, 0))
        found += [world.domain_of(p) for p in account.positions.values() if p.isolated]
    return found


def detect(world: World) -> None:
    """R74. After every unit of work all breached domains not yet queued join the queue, in the
    order of `domains`."""
    for domain in domains(world):
        if domain not in world.liquidation_queue and world.is_breached(domain):
            world.liquidation_queue.append(domain)


def emit_domain(world: World, domain: Domain, kind: EventKind, **values: int) -> None:
    account = world.accounts[domain[0]]
    world.emit(
        kind,
        account,
        market_id=domain[1],
        position_side=max(0, domain[2] - 1),
        flags=Flag.ISOLATED if domain[1] else 0,
        **values,
    )


def liquidate(world: World, domain: Domain) -> None:
    """R75. One queued domain: checked again, then cancel, reduce, place, absorb, settle."""
    if not world.is_breached(domain):
        return
    world.liquidations_count += 1
    mark = world.markets[domain[1]].mark_price if domain[1] else 0
    emit_domain(
        world,
        domain,
        EventKind.LIQUIDATION_STARTED,
        price=mark,
        amount=world.equity(domain),
        fee=world.maintenance(domain),
    )
    end = work_off(world, domain)
    if end != LiquidationEnd.RESTORED:
        settle_balance(world, domain)
    emit_domain(
        world,
        domain,
        EventKind.LIQUIDATION_ENDED,
        amount=world.equity(domain),
        reason=end,
    )


def work_off(world: World, domain: Domain) -> LiquidationEnd:
    """R76. Cancel if the profile says so; then position by position, the largest first, place
    the profile's orders and let the waterfall absorb the rest, until the domain is healthy or
    flat."""
    account = world.accounts[domain[0]]
    steps = world.profile.liquidation.steps
    if "cancel_orders" in steps:
        orders.cancel_all(world, account, 0, CancelReason.LIQUIDATION)
        if not world.is_breached(domain):
            return LiquidationEnd.RESTORED
    end = LiquidationEnd.NEGATIVE_BALANCE
    while position := largest_position(world, domain):
        end = LiquidationEnd.CLOSED_IN_BOOK
        for cover in order_steps(steps):
            whole = place_order(world, domain, position, cover)
            if not world.is_breached(domain):
                return LiquidationEnd.RESTORED if open_lots(world, domain) else end
            if whole:
                break
        if position.lots:
            end = absorb(world, domain, position)
            if open_lots(world, domain) and not world.is_breached(domain):
                return LiquidationEnd.RESTORED
    return end


def order_steps(steps: list[str]) -> list[bool]:
    """R87. An order for the shortage, one for everything, or the second after the first: whether
    each order step of the profile covers the shortage only."""
    return [step == "cover_shortage" for step in steps if step != "cancel_orders"]


def open_lots(world: World, domain: Domain) -> bool:
    return any(position.lots for position in world.domain_positions(domain))


def largest_position(world: World, domain: Domain) -> Position | None:
    """R77. The position with the largest notional at mark; ties by market, then leg."""
    positions = [p for p in world.domain_positions(domain) if p.lots]
    if not positions:
        return None
    return min(positions, key=lambda p: (-world.position_notional(p), p.market_id, p.position_side))


def place_order(world: World, domain: Domain, position: Position, cover: bool) -> bool:
    """R78. An IOC order limited by the bankruptcy price, for the shortage or for everything;
    then the liquidation fee on what it filled, at most what equity is left. Returns whether the
    order was for everything."""
    market = world.markets[position.market_id]
    numbers = market.numbers
    equity = world.equity(domain)
    lots = abs(position.lots)
    if cover:
        notional = world.position_notional(position)
        rate = numbers.tier_maintenance_ppm[margin.tier(numbers, notional)]
        shortage = world.maintenance(domain) - equity
        lots = margin.shortage_lots(numbers, position.lots, notional, rate, shortage)
    bankruptcy = margin.bankruptcy_price(numbers, position.lots, market.mark_price, equity)
    order = Order(
        order_id=LIQUIDATION_ORDER_ID_BASE + world.liquidations_count,
        account_row=position.account_row,
        market_id=position.market_id,
        side=int(Side.SELL if position.lots > 0 else Side.BUY),
        position_side=position.position_side,
        order_type=int(OrderType.LIMIT),
        time_in_force=int(TimeInForce.IOC),
        price=margin.order_price(numbers, position.lots, bankruptcy),
        lots=lots,
        flags=0,
        self_trade=int(SelfTrade.CANCEL_OLDEST),
        trigger_price=0,
        trigger_kind=0,
        seq=0,
    )
    whole = lots == abs(position.lots)
    before = len(world.events)
    orders.match(world, order, order.price, Cause.LIQUIDATION, 0)
    if order.lots:
        world.emit_order(EventKind.CANCELLED, order, order.lots, reason=CancelReason.IOC_REMAINDER)
    charge_fee(world, domain, position, order.order_id, before)
    return whole


def charge_fee(
    world: World, domain: Domain, position: Position, order_id: int, events_before: int
) -> None:
    """R79. Liquidation fee: ppm of the notional the order filled, rounded up, at most the equity
    left; it goes to the insurance fund."""
    numbers = world.markets[position.market_id].numbers
    filled = sum(
        margin.notional(numbers, event[6], event[5])
        for event in world.events[events_before:]
        if event[10] == EventKind.FILL and event[3] == order_id
    )
    fee = margin.fee(filled, numbers.liquidation_fee_ppm)
    fee = min(fee, max(0, world.equity(domain)))
    if fee:
        to_fund(world, domain, EventKind.LIQUIDATION_FEE, fee)


def to_fund(world: World, domain: Domain, kind: EventKind, amount: int) -> None:
    """Book money from a domain's row to the insurance fund, or back when negative."""
    account = world.accounts[domain[0]]
    position = world.domain_positions(domain)[0] if domain[1] else None
    world.credit(position, account, -amount)
    world.accounts[SystemAccount.INSURANCE_FUND].wallet_quote += amount
    emit_domain(world, domain, kind, amount=abs(amount))


# -- absorbers --------------------------------------------------------------------------------


def absorb(world: World, domain: Domain, position: Position) -> LiquidationEnd:
    """R80. Walk the waterfall: each absorber takes what it can at the bankruptcy price."""
    end = LiquidationEnd.RESIDUAL
    for absorber in world.profile.losses.waterfall:
        market = world.markets[position.market_id]
        price = margin.bankruptcy_price(
            market.numbers, position.lots, market.mark_price, world.equity(domain)
        )
        if absorber == "insurance_fund":
            end = LiquidationEnd.TAKEN_OVER
            take_over(world, position, price)
        elif absorber == "adl":
            end = LiquidationEnd.DELEVERAGED
            deleverage(world, position, price)
        else:
            end = LiquidationEnd.RESIDUAL
            hand_to_fund(world, position, price, Cause.RESIDUAL)
        if position.lots == 0:
            break
    return end


def hand_to_fund(world: World, position: Position, price: int, cause: Cause) -> None:
    fund = world.accounts[SystemAccount.INSURANCE_FUND]
    fund_position = world.position(fund, position.market_id, 0)
    account = world.accounts[position.account_row]
    world.trade(account, position, fund, fund_position, -position.lots, price, cause)


def take_over(world: World, position: Position, price: int) -> None:
    """R81. The fund takes the whole position at the bankruptcy price, unless its net notional at
    mark would pass its inventory limit, or its equity at mark would fall below zero."""
    fund = world.accounts[SystemAccount.INSURANCE_FUND]
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
    if inventory > limit:
        refused = RefusedTakeover.INVENTORY_FULL
    elif world.equity((fund.row, 0, 0)) + gap < 0:
        refused = RefusedTakeover.CANNOT_PAY
    if refused is None:
        hand_to_fund(world, position, price, Cause.TAKEOVER)
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


def deleverage(world: World, position: Position, price: int) -> None:
    """R84. Close ranked opposite positions against the bankrupt one, off book at one price, until
    nothing is left. Whoever it would leave below zero is passed over; the orders in the market
    of whoever is closed are cancelled; the last one is closed in part."""
    bankrupt = world.accounts[position.account_row]
    for _, _, account_row, leg in ranking(world, position):
        if position.lots == 0:
            return
        account = world.accounts[account_row]
        counter = account.positions[position.market_id, leg]
        lots = min(abs(counter.lots), abs(position.lots))
        change = lots if position.lots > 0 else -lots
        if not stays_solvent(world, counter, change, price):
            continue
        orders.cancel_all(world, account, position.market_id, CancelReason.ADL)
        world.trade(bankrupt, position, account, counter, -change, price, Cause.ADL)


def stays_solvent(world: World, counter: Position, change: int, price: int) -> bool:
    """R85. Trading at this price instead of mark must not take the domain's equity below zero."""
    market = world.markets[counter.market_id]
    gap = margin.value(market.numbers, change, market.mark_price)
    gap -= margin.value(market.numbers, change, price)
    return world.equity(world.domain_of(counter)) + gap >= 0


def ranking(world: World, position: Position) -> list[tuple[int, int, int, int]]:
    """Part of R83: candidates are all user positions on the other side of the market but the
    bankrupt account's own; losers score 0 and come last."""
    candidates = []
    for account in world.accounts.values():
        if world.is_system(account) or account.row == position.account_row:
            continue
        for other in account.positions.values():
            if other.market_id == position.market_id and other.lots * position.lots < 0:
                score = adl_score(world, account, other)
                notional = world.position_notional(other)
                candidates.append((score, notional, account.row, other.position_side))
    return policies.ranked(candidates)


def adl_score(world: World, account: Account, position: Position) -> int:
    domain = world.domain_of(position)
    kind = AdlScore[world.profile.losses.adl_score.upper()]
    return policies.score(
        kind,
        profit_quote=world.unrealised(position),
        wallet_quote=world.domain_balance(domain),
        entry_value_quote=abs(position.entry_quote),
        notional_quote=sum(world.position_notional(p) for p in world.domain_positions(domain)),
        maintenance_quote=world.maintenance(domain),
        equity_quote=world.equity(domain),
    )


def settle_balance(world: World, domain: Domain) -> None:
    """R86. A flat domain: what is left goes to the fund or stays with the user, as the profile
    says; what is missing is paid by the fund, and what the fund lacks is bad debt on its row."""
    if open_lots(world, domain):
        return
    balance = world.domain_balance(domain)
    if balance > 0 and world.profile.liquidation.surplus == "to_fund":
        to_fund(world, domain, EventKind.SURPLUS, balance)
    elif balance > 0 and domain[1]:
        position = world.domain_positions(domain)[0]
        world.move_margin(world.accounts[domain[0]], position, -balance)
    elif balance < 0:
        fund = world.accounts[SystemAccount.INSURANCE_FUND]
        paid = min(-balance, max(0, fund.wallet_quote))
        if paid:
            to_fund(world, domain, EventKind.SHORTFALL, -paid)
        if -balance - paid:
            to_fund(world, domain, EventKind.BAD_DEBT, balance + paid)
