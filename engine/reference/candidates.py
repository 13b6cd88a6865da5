"""The rulebook's candidates of a policy: who may have to bear a loss, and how much of it."""

from dataclasses import replace

from engine.bearers import NUMBER_MAX, Options, Score, SharePolicy, Space, Weight
from engine.bearers import Position as Bearer
from engine.reference import margin, policies, sharing
from engine.reference.closing import Case
from engine.reference.ledger import World
from engine.reference.records import Position


def bearers(
    world: World, market_id: int, side: int, winners: bool, without_row: int
) -> list[Position]:
    """Part of R138 and R139: open user positions of a market in account order, but those of one
    account; those against a bankrupt long (side 1) or short (-1), or with side 0 all; or of them
    those in profit."""
    return [
        position
        for account in world.accounts.values()
        for position in account.positions.values()
        if position.market_id == market_id
        and position.lots
        and position.lots * side <= 0
        and account.row != without_row
        and not world.is_system(account)
        and (not winners or world.unrealised(position) > 0)
    ]


def bearer(world: World, position: Position, price: int) -> Bearer:
    """Part of R138 and R139: a position as a candidate. Its money per lot is at mark, at entry
    rounded down, and what closing it at the price loses against mark, rounded up; equity and
    maintenance are its margin domain's."""
    market = world.markets[position.market_id]
    numbers, mark, size = market.numbers, market.mark_price, abs(position.lots)
    lost = margin.value(numbers, position.lots, mark) - margin.value(numbers, position.lots, price)
    domain = world.domain_of(position)
    return Bearer(
        id=4 * position.account_row + position.position_side,
        lots=position.lots,
        mark=margin.notional(numbers, 1, mark),
        entry=abs(position.entry_quote) // size,
        pnl=world.unrealised(position),
        equity=world.equity(domain),
        maintenance=world.maintenance(domain),
        gap=margin.ceil_div(max(0, lost), size),
    )


def bounded(values: list[int]) -> list[int]:
    """Where amounts add up to more than policies count to, none is above an equal share of it."""
    if sum(map(abs, values)) < NUMBER_MAX:
        return values
    most = (NUMBER_MAX - 1) // len(values)
    return [min(most, max(-most, value)) for value in values]


def case_of(
    world: World, asked: list[Position], need: int, space: Space, side: int, price: int
) -> Case:
    """Part of R138 and R139: what a policy is given. The lottery starts at a place that follows
    from the number of the command."""
    found = [bearer(world, position, price) for position in asked]
    pnl, equity = bounded([b.pnl for b in found]), bounded([b.equity for b in found])
    found = [b._replace(pnl=p, equity=e) for b, p, e in zip(found, pnl, equity, strict=True)]
    rules = world.profile.losses.sharing
    options = Options(
        side=side,
        score=Score[rules.score.upper()],
        weight=Weight[rules.weight.upper()],
        exponent=rules.exponent,
        threshold_ppm=rules.threshold_ppm,
        haircut_max_ppm=rules.haircut_max_ppm,
        equity_min=world.policy.equity_min_quote,
        seed=world.seq,
        tries_max=rules.tries_max,
        theta_ppm=rules.theta_ppm,
        withdrawal_ppm=rules.withdrawal_ppm,
        matured_ppm=rules.matured_ppm,
    )
    return Case(found, need, space, options)


def shared_lots(world: World, asked: list[Position], need: int, side: int, price: int) -> list[int]:
    """Part of R138."""
    policy = SharePolicy[world.profile.losses.adl_policy.upper()]
    case = case_of(world, asked, need, Space.CONTRACT, side, price)
    if policy == SharePolicy.WEALTH_TO_LOTS and case.positions:
        case = replace(case, need=need * case.positions[0].gap)
    lots = policies.SHARED_BY[policy](case)
    return sharing.walk(need, case.order(case.options.score), lots)


def shared_money(
    world: World, asked: list[Position], need: int, side: int, price: int
) -> list[int]:
    """Part of R139."""
    policy = SharePolicy[world.profile.losses.sharing_policy.upper()]
    return policies.SHARED_BY[policy](case_of(world, asked, need, Space.WEALTH, side, price))
