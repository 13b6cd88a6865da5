"""The rulebook's liquidation: from a margin domain in breach to its last absorber.

One call of `liquidate` is one unit of work. It reads the profile's steps and waterfall as ordered
lists and knows no venue. Orders are matched by `orders`, money moves in `ledger`; who takes what
the book did not is in `absorbers`, what a size and a price are is in `sizing`.
"""

from engine.constants import (
    CancelReason,
    Cause,
    Channel,
    EventKind,
    LiquidationEnd,
    PositionSide,
    SystemAccount,
    TimeInForce,
)
from engine.reference import absorbers, levels, margin, orders, sizing
from engine.reference.fund import in_drawdown
from engine.reference.ledger import World
from engine.reference.levels import case_of, emit_domain, is_below_backstop
from engine.reference.liquidation_orders import (
    liquidation_order,
    take_back,
    trade_order,
    traded_quote,
)
from engine.reference.records import Case, Domain, Position
from engine.venue import StepNumbers

ENDED_WELL = (LiquidationEnd.RESTORED, LiquidationEnd.PAUSED)


def liquidate(world: World, domain: Domain, deferred: bool = False) -> None:
    """R75. One queued domain: checked again, then cancel, reduce, place, absorb, settle."""
    case = case_of(world, domain)
    take_back(world, domain)
    need = world.exit_requirement(domain) if case.resumed else world.trigger_requirement(domain)
    equity = world.equity(domain)
    breached = (
        equity < need if case.resumed and world.is_open(domain) else world.is_breached(domain)
    )
    if not breached and not case.forced:
        case.resumed = case.escalated = False
        case.ramp_since_ns = case.freed_quote = 0
        return
    world.liquidations_count += 1
    emit_domain(
        world,
        domain,
        EventKind.LIQUIDATION_STARTED,
        price=world.markets[domain[1]].mark_price if domain[1] else 0,
        amount=equity,
        fee=max(need, equity) if case.forced else need,
    )
    forced, case.forced = case.forced, False
    case.resumed = False
    end = close_out(world, domain) if forced else work_off(world, domain, deferred)
    if end not in ENDED_WELL:
        absorbers.settle_balance(world, domain, keep_surplus=forced)
    if end != LiquidationEnd.PAUSED:
        case.escalated = False
        case.ramp_since_ns = case.freed_quote = 0
    emit_domain(world, domain, EventKind.LIQUIDATION_ENDED, amount=world.equity(domain), reason=end)


def is_restored(world: World, domain: Domain) -> bool:
    """Part of R95: the exit level is reached; a flat domain has nothing left to exit from."""
    if not world.is_open(domain):
        return not world.is_breached(domain)
    return world.equity(domain) >= world.exit_requirement(domain)


def work_off(world: World, domain: Domain, deferred: bool) -> LiquidationEnd:
    """R76. Cancel orders and net hedged legs as the profile says; then position by position place
    the profile's orders and let the waterfall absorb the rest, until the domain has reached its
    exit level, waits, or is flat. Collateral is sold when a balance is left negative."""
    shortage = sizing.begin_ramp(world, domain)
    cancel_orders(world, domain)
    sizing.count_freed(world, domain, shortage)
    if world.is_open(domain) and is_restored(world, domain):
        return LiquidationEnd.RESTORED
    rules = world.profile.liquidation
    if rules.net_hedged:
        net_hedged(world, domain)
        if world.is_open(domain) and is_restored(world, domain):
            return LiquidationEnd.RESTORED
    if rules.sell_collateral == "first":
        sell_collateral(world, domain, whole=True)
        if world.is_open(domain) and is_restored(world, domain):
            return LiquidationEnd.RESTORED
    end = LiquidationEnd.NEGATIVE_BALANCE
    while position := next_position(world, domain):
        case_of(world, domain).last_market = position.market_id
        end = LiquidationEnd.CLOSED_IN_BOOK
        if not deferred and not skips_orders(world, domain, position.market_id):
            found = place_steps(world, domain, position)
            if found is not None:
                return found
            if not world.is_open(domain):
                break
        if position.lots:
            end = absorbers.absorb(world, domain, position, deferred)
            if end == LiquidationEnd.PAUSED:
                return end
            if world.is_open(domain) and is_restored(world, domain):
                return LiquidationEnd.RESTORED
    sell_collateral(world, domain, whole=False)
    return end


def place_steps(world: World, domain: Domain, position: Position) -> LiquidationEnd | None:
    """R87. The profile's order steps, each if it applies; after an order for everything no other
    on the same terms. Returns how the liquidation ended, or None when the position goes on to the
    waterfall."""
    tried = None
    for step in world.policy.steps:
        terms = (step.limit, step.limit_ppm, step.channel)
        if terms == tried:
            continue
        lots = sizing.step_lots(world, domain, position, step)
        if lots == 0:
            continue
        whole = lots == abs(position.lots)
        filled = place_order(world, domain, position, step, lots)
        if world.is_open(domain) and is_restored(world, domain):
            take_back(world, domain)
            return LiquidationEnd.RESTORED
        if not world.is_open(domain):
            return None
        stays = step.channel == Channel.REST or filled or world.equity(domain) >= 0
        if step.pause_ns and stays:
            wait(world, domain, step.pause_ns)
            return LiquidationEnd.PAUSED
        if whole:
            tried = terms
    return None


def wait(world: World, domain: Domain, pause_ns: int) -> None:
    """Part of R88."""
    case_of(world, domain).due_ns = world.now_ns + pause_ns


def skips_orders(world: World, domain: Domain, market_id: int) -> bool:
    """R107. Below the backstop level, and where the profile says so below what the lowest tier
    would ask or while the drawdown rule of the market's fund is active, no order is tried."""
    rules = world.profile.liquidation
    if is_below_backstop(world, domain):
        return True
    if rules.drawdown_closes_all and in_drawdown(world, market_id):
        return True
    if not rules.lowest_tier_closes_all:
        return False
    need = 0
    for position in world.domain_positions(domain):
        numbers = world.markets[position.market_id].numbers
        rate = numbers.tier_maintenance_ppm[0]
        if world.profile.margin.close_fee == "taker":
            rate += numbers.taker_fee_ppm
        need += margin.fee(world.margined_notional(position), rate)
    return world.equity(domain) < need


def cancel_orders(world: World, domain: Domain) -> None:
    """Part of R76: nobody's orders, those of the domain's markets, or the whole account's."""
    account, scope = world.accounts[domain[0]], world.profile.liquidation.cancel
    if scope == "account":
        orders.cancel_all(world, account, 0, CancelReason.LIQUIDATION)
    elif scope == "market":
        for position in world.domain_positions(domain):
            if position.lots:
                orders.cancel_all(world, account, position.market_id, CancelReason.LIQUIDATION)


def net_hedged(world: World, domain: Domain) -> None:
    """R108. Long and short leg of a cross account in one market close each other at mark."""
    account = world.accounts[domain[0]]
    if domain[1]:
        return
    for long in world.domain_positions(domain):
        short = world.find_position(account, long.market_id, PositionSide.SHORT)
        if long.position_side != PositionSide.LONG or short is None or short.isolated:
            continue
        lots = min(long.lots, -short.lots)
        if lots > 0:
            mark = world.markets[long.market_id].mark_price
            world.trade(account, long, account, short, -lots, mark, Cause.NETTED)


def next_position(world: World, domain: Domain) -> Position | None:
    """R77. The position with the largest notional at mark, the largest loss, or a random one, as
    the profile says; ties by market, then leg. Collateral is no position."""
    positions = [p for p in world.domain_positions(domain) if p.lots and not world.is_collateral(p)]
    if not positions:
        return None
    select = world.profile.liquidation.select

    def weight(p: Position) -> int:
        if select == "largest_loss":
            return -world.unrealised(p)
        if select == "random":
            return margin.mixed(world.seq, 4 * p.market_id + p.position_side)
        return world.position_notional(p)

    return min(positions, key=lambda p: (-weight(p), p.market_id, p.position_side))


# -- orders -----------------------------------------------------------------------------------


def place_order(
    world: World, domain: Domain, position: Position, step: StepNumbers, lots: int
) -> int:
    """R78. One step's order: in the book, all or nothing, resting, or a transfer to BACKSTOP;
    bounded by the step's price. Returns the lots filled."""
    if step.once_in_ns:
        case_of(world, domain).once_ns = world.now_ns
    limit = sizing.limit_price(world, domain, position, step, lots)
    terms = sizing.fee_terms(world, domain, position, step)
    before, shortage = position.lots, sizing.shortage(world, domain)
    if step.channel == Channel.TRANSFER:
        events = len(world.events)
        absorbers.hand_over(world, position, lots, limit, SystemAccount.BACKSTOP, Cause.TRANSFER)
        traded = margin.notional(world.markets[position.market_id].numbers, lots, limit)
    else:
        order = liquidation_order(world, position, lots, limit)
        events = len(world.events)
        if step.channel == Channel.FOK:
            order.time_in_force = int(TimeInForce.FOK)
        trade_order(world, order, rests=step.channel == Channel.REST)
        traded = traded_quote(world, order, events)
    filled = abs(before) - abs(position.lots)
    if step.window_lots and filled:
        sizing.use_window(world, position, step, filled)
    sizing.charge_fee(world, domain, position, terms, filled, traded)
    sizing.count_freed(world, domain, shortage)
    return filled


def book_debts(world: World) -> None:
    """R132. Where a negative balance is left to the customer, a domain without positions that fell
    below zero outside a liquidation (a delivery, a fee, funding) is settled as in R86, after its
    collateral was sold."""
    if world.profile.losses.residual not in ("debt", "negative_left"):
        return
    for domain in levels.domains(world):
        account, case = world.accounts[domain[0]], world.cases.get(domain, Case())
        if domain in world.liquidation_queue or domain in world.adl_queue:
            continue
        if case.due_ns is not None or world.is_open(domain) or world.equity(domain) >= 0:
            continue
        if domain[1] or -account.wallet_quote > account.debt_quote:
            world.liquidations_count += 1
            sell_collateral(world, domain, whole=False)
            absorbers.settle_balance(world, domain, keep_surplus=True)


# -- closing whatever the health --------------------------------------------------------------


def close_out(world: World, domain: Domain) -> LiquidationEnd:
    """R109. A domain that must be closed whatever its health: orders cancelled, each position sold
    in the book at any price, the fund takes the rest at mark."""
    orders.cancel_all(world, world.accounts[domain[0]], 0, CancelReason.LIQUIDATION)
    while position := next_position(world, domain):
        case_of(world, domain).last_market = position.market_id
        close_lots(world, position, abs(position.lots))
    sell_collateral(world, domain, whole=False)
    return LiquidationEnd.CLOSED_IN_BOOK


def close_lots(world: World, position: Position, lots: int) -> None:
    """Part of R109."""
    numbers = world.markets[position.market_id].numbers
    worst = numbers.price_min if position.lots > 0 else numbers.price_max
    order = liquidation_order(world, position, lots, worst)
    trade_order(world, order)
    if order.lots:
        mark = world.markets[position.market_id].mark_price
        fund = world.fund_of(position.market_id)
        absorbers.hand_over(world, position, order.lots, mark, fund.row, Cause.TAKEOVER)


def sell_collateral(world: World, domain: Domain, whole: bool) -> None:
    """R110. Assets of a cross account are sold like positions that must be closed: all of them, or
    just enough, at mark less the haircut, to lift a negative balance to zero."""
    if domain[1]:
        return
    account = world.accounts[domain[0]]
    for position in world.domain_positions(domain):
        if not world.is_collateral(position) or position.lots <= 0:
            continue
        lots = position.lots
        if not whole:
            worth = world.unrealised(position) + position.entry_quote
            short = -account.wallet_quote
            if short <= 0:
                return
            if worth > short:
                lots = margin.ceil_div(short * lots, worth)
        if world.markets[position.market_id].mark_price:
            close_lots(world, position, lots)
