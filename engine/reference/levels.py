"""The rulebook's levels: who is in breach, who waits, who is warned, restricted or called.

`find` and `grade` run after every unit of work; margin calls run on CHECK_MARGIN. What is then
done to a domain is in `waterfall`.
"""

from engine.constants import (
    PPM,
    CallEnd,
    CancelReason,
    EventKind,
    Flag,
    Level,
)
from engine.reference import margin, orders
from engine.reference.book import Order
from engine.reference.ledger import World
from engine.reference.records import Account, Case, Command, Domain


def domains(world: World) -> list[Domain]:
    """Every margin domain, in order of account row, cross first, then market and leg."""
    found: list[Domain] = []
    for account in world.accounts.values():
        if world.is_system(account):
            continue
        found.append((account.row, 0, 0))
        found += [world.domain_of(p) for p in account.positions.values() if p.isolated]
    return found


def case_of(world: World, domain: Domain) -> Case:
    return world.cases.setdefault(domain, Case())


def emit_domain(world: World, domain: Domain, kind: EventKind, **values: int) -> None:
    world.emit(
        kind,
        world.accounts[domain[0]],
        market_id=domain[1],
        position_side=max(0, domain[2] - 1),
        flags=Flag.ISOLATED if domain[1] else 0,
        **values,
    )


# -- detection --------------------------------------------------------------------------------


def find(world: World) -> None:
    """R74. After every unit of work all domains to be liquidated that are not yet queued join the
    queue: those in breach, and those whose wait is over."""
    waiting = (*world.liquidation_queue, *world.adl_queue)
    found = [d for d in domains(world) if d not in waiting and is_due(world, d)]
    world.liquidation_queue += sorted(found, key=lambda domain: urgency(world, domain))


def is_due(world: World, domain: Domain) -> bool:
    """R88. A domain that waits is looked at again when its time has come, or once before it when
    it has fallen below the backstop level; then only the exit level ends its liquidation."""
    case = world.cases.get(domain, Case())
    if case.due_ns is None:
        return world.is_breached(domain)
    over = world.now_ns >= case.due_ns
    if not over and (case.escalated or not is_below_backstop(world, domain)):
        return False
    case.escalated = not over
    case.due_ns, case.resumed = None, True
    return True


def is_below_backstop(world: World, domain: Domain) -> bool:
    """Part of R95: equity below the backstop share of maintenance margin."""
    share = world.profile.trigger.backstop_ppm
    if share == 0 or not world.is_open(domain):
        return False
    return world.equity(domain) * PPM < share * world.maintenance(domain)


def urgency(world: World, domain: Domain) -> tuple[int, int, int, int]:
    """R102. The order in which domains found at one instant are liquidated: by account, the least
    healthy first (equity in ppm of maintenance margin, floored, from 0 to 2**24 - 1), or at
    random."""
    order, first = world.profile.liquidation.order, 0
    if order == "worst_first":
        need = max(1, world.maintenance(domain))
        first = min(max(world.equity(domain), 0) * PPM // need, 2**24 - 1)
    elif order == "random":
        first = margin.mixed(world.seq, domain[0])
    return (first, *domain)


# -- levels -----------------------------------------------------------------------------------


def grade(world: World) -> bool:
    """R94. Warnings and restrictions begin and end as health crosses their levels; a restriction
    cancels the domain's opening orders. Domains in liquidation keep theirs. Returns whether any
    order was cancelled."""
    rules = world.profile.trigger
    if rules.warn_ppm == 0 and rules.restrict == "none":
        return False
    cancelled = False
    for domain in domains(world):
        case = world.cases.get(domain, Case())
        if domain in world.liquidation_queue or domain in world.adl_queue:
            continue
        if case.due_ns is not None:
            continue
        if rules.warn_ppm:
            need = margin.ceil_div(rules.warn_ppm * world.maintenance(domain), PPM)
            set_level(world, domain, Level.WARNED, need)
        if rules.restrict != "none" and set_level(
            world, domain, Level.RESTRICTED, world.initial_of(domain)
        ):
            cancelled = cancel_opening(world, domain) or cancelled
    return cancelled


def set_level(world: World, domain: Domain, level: Level, need: int) -> bool:
    """Part of R94: one level; returns whether it was entered now."""
    case = world.cases.get(domain, Case())
    equity = world.equity(domain)
    below = need > 0 and equity < need
    if below == bool(case.level & level):
        return False
    case_of(world, domain).level ^= level
    kind = EventKind.LEVEL_ENTERED if below else EventKind.LEVEL_LEFT
    emit_domain(world, domain, kind, reason=level, amount=equity, fee=need)
    return below


def cancel_opening(world: World, domain: Domain) -> bool:
    """Part of R94: cancel the orders that could open or enlarge a position of the domain."""
    account = world.accounts[domain[0]]
    found = [
        order
        for order in account.orders.values()
        if not order.flags & Flag.REDUCE_ONLY and domain_of_order(world, account, order) == domain
    ]
    for order in sorted(found, key=lambda order: order.seq):
        orders.cancel(world, order, CancelReason.RESTRICTED)
    return bool(found)


def domain_of_order(world: World, account: Account, order: Order) -> Domain:
    """Part of R94: the domain of the order's leg, the cross one while there is no leg."""
    leg = world.find_position(account, order.market_id, order.position_side)
    return world.domain_of(leg) if leg else (account.row, 0, 0)


# -- margin calls -----------------------------------------------------------------------------


def check_margin(world: World, command: Command) -> None:
    """R105. The daily check. A wallet below initial margin is called to cure the shortfall; a call
    is cured when nothing is short at a later check, and enforced when its time is over: every
    position of the wallet is closed. Old debts are waived."""
    for account in list(world.accounts.values()):
        if world.is_system(account):
            continue
        check_call(world, account)
        waive_debt(world, account)


def check_call(world: World, account: Account) -> None:
    domain = (account.row, 0, 0)
    cure_ns = world.profile.trigger.cure_ns
    if cure_ns == 0:
        return
    short = world.initial_of(domain) - world.equity(domain)
    if account.call_ns == 0:
        if short > 0 and world.is_open(domain):
            account.call_ns = world.now_ns + cure_ns
            emit_domain(world, domain, EventKind.MARGIN_CALLED, amount=short, fee=cure_ns)
        return
    if short <= 0 or not world.is_open(domain):
        account.call_ns = 0
        emit_domain(world, domain, EventKind.MARGIN_CALL_ENDED, reason=CallEnd.CURED)
    elif world.now_ns >= account.call_ns:
        account.call_ns = 0
        emit_domain(
            world, domain, EventKind.MARGIN_CALL_ENDED, reason=CallEnd.EXPIRED, amount=short
        )
        case = case_of(world, domain)
        case.forced, case.due_ns = True, None
        if domain not in world.liquidation_queue and domain not in world.adl_queue:
            world.liquidation_queue.append(domain)


def repay(account: Account) -> None:
    """Part of R106: what came in since is owed no longer."""
    account.debt_quote = min(account.debt_quote, max(0, -account.wallet_quote))
    if account.wallet_quote >= 0:
        account.debt_ns = 0


def waive_debt(world: World, account: Account) -> None:
    """R106. A debt ends when the balance is no longer negative; after the waiting time of the
    profile the venue's own fund pays it."""
    repay(account)
    after_ns = world.profile.losses.waive_after_ns
    if account.debt_ns == 0 or after_ns == 0 or world.now_ns - account.debt_ns < after_ns:
        return
    owed, fund = -account.wallet_quote, world.fund_of(0)
    account.debt_ns = account.debt_quote = 0
    account.wallet_quote = 0
    fund.wallet_quote -= owed
    world.emit(EventKind.DEBT_WAIVED, account, amount=owed, other_id=fund.account_id)
