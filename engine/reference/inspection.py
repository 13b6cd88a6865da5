"""The rulebook's answer to "how do I stand?": the views of one account."""

from engine.reference import deleveraging, sizing
from engine.reference.ledger import World
from engine.reference.records import Case, Domain, Position
from engine.views import DomainView, PositionView, StepView


def inspect(world: World, account_id: int) -> list[DomainView]:
    """R127. The domains of an account, cross first, each with its legs that hold lots."""
    account = world.accounts[world.row_of_id[account_id]]
    domains: list[Domain] = [(account.row, 0, 0)]
    domains += [world.domain_of(p) for p in account.positions.values() if p.isolated]
    return [domain_view(world, domain) for domain in domains]


def domain_view(world: World, domain: Domain) -> DomainView:
    case = world.cases.get(domain, Case())
    positions = [p for p in world.domain_positions(domain) if p.lots]
    return DomainView(
        market_id=domain[1],
        position_side=max(0, domain[2] - 1),
        balance=world.domain_balance(domain),
        equity=world.equity(domain),
        maintenance=world.maintenance(domain),
        requirement=world.trigger_requirement(domain),
        exit_requirement=world.exit_requirement(domain),
        initial=world.initial_of(domain),
        notional=sum(world.margined_notional(p) for p in positions),
        level=int(case.level),
        due_ns=case.due_ns or 0,
        positions=[position_view(world, domain, p) for p in positions],
    )


def position_view(world: World, domain: Domain, position: Position) -> PositionView:
    size = world.position_notional(position)
    held = world.is_collateral(position)
    steps = []
    for index, step in enumerate(world.policy.steps):
        lots = 0 if held else max(0, sizing.step_lots(world, domain, position, step))
        price = sizing.limit_price(world, domain, position, step, lots) if lots else 0
        steps.append(StepView(step=index, lots=lots, limit_price=price))
    return PositionView(
        market_id=position.market_id,
        position_side=position.position_side,
        lots=position.lots,
        entry_quote=position.entry_quote,
        notional=size,
        unrealised=world.unrealised(position),
        tier=sizing.tier_index(world, position),
        maintenance=world.position_maintenance(position),
        initial=world.initial(position, position.lots, size),
        bankruptcy_price=sizing.bankruptcy(world, domain, position),
        adl_score=deleveraging.adl_score(world, world.accounts[domain[0]], position),
        steps=steps,
    )
