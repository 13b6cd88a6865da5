"""The rulebook's sizes, limits and fees of liquidation orders."""

from engine.constants import PPB, PPM, Channel, Limit, Payoff, Size
from engine.reference import fund, margin
from engine.reference.ledger import World
from engine.reference.levels import case_of
from engine.reference.records import Case, Domain, Position
from engine.venue import StepNumbers


def tier_index(world: World, position: Position) -> int:
    numbers = world.markets[position.market_id].numbers
    return margin.tier_of(
        numbers,
        world.profile.margin,
        position.lots,
        world.position_notional(position),
        position.entry_quote,
    )


def step_lots(world: World, domain: Domain, position: Position, step: StepNumbers) -> int:
    """R111. How much a step closes, 0 if it does not apply: not for a small position, not below a
    tier, not again too soon, not to rest in the book below zero equity, not beyond the market's
    window. Floors and caps are notionals."""
    held, size = abs(position.lots), world.position_notional(position)
    case = world.cases.get(domain, Case())
    soon = case.once_ns is not None and world.now_ns - case.once_ns < step.once_in_ns
    if tier_index(world, position) + 1 < step.from_tier or soon:
        return 0
    if step.channel == Channel.REST and world.equity(domain) < 0:
        return 0
    if step.above_quote and size <= step.above_quote:
        return 0
    lots = wanted_lots(world, domain, position, step)
    if lots and step.floor_quote:
        lots = max(lots, lots_of(step.floor_quote, held, size, up=True))
    if lots and step.cap_quote:
        lots = min(lots, max(1, lots_of(step.cap_quote, held, size, up=False)))
    if step.window_lots:
        lots = min(lots, window_room(world, position, step))
    return min(lots, held)


def lots_of(quote: int, held: int, size: int, up: bool) -> int:
    """Part of R111: lots whose share of the position's notional is this amount."""
    if size == 0 or quote >= size:
        return held
    return margin.ceil_div(quote * held, size) if up else quote * held // size


def window_room(world: World, position: Position, step: StepNumbers) -> int:
    """R112. What is left of the market's liquidation window; a window begins with the first step
    after the last one ended."""
    market = world.markets[position.market_id]
    over = world.now_ns - market.window_start_ns >= step.window_ns
    return step.window_lots - (0 if over else min(market.window_lots, step.window_lots))


def use_window(world: World, position: Position, step: StepNumbers, lots: int) -> None:
    """Part of R112."""
    market = world.markets[position.market_id]
    if market.window_lots == 0 or world.now_ns - market.window_start_ns >= step.window_ns:
        market.window_start_ns, market.window_lots = world.now_ns, 0
    market.window_lots += lots


def wanted_lots(world: World, domain: Domain, position: Position, step: StepNumbers) -> int:
    """Part of R111: by the step's own rule, before bounds."""
    held, size = abs(position.lots), world.position_notional(position)
    if step.size == Size.FRACTION:
        return margin.ceil_div(held * step.fraction_ppm, PPM)
    if step.size == Size.CHUNK:
        return step.chunk_lots
    if step.size == Size.COVER_SHORTAGE:
        lacking = ramped(world, domain, step)
        fee_ppm = world.markets[position.market_id].numbers.liquidation_fee_ppm
        gain = covered_ppm(world, position, step) - fee_ppm
        return margin.shortage_lots(held, size, gain, lacking)
    if step.size == Size.LOWER_TIER:
        return tier_lots(world, position, step, held, size)
    return held


def shortage(world: World, domain: Domain) -> int:
    """Part of R72: what equity lacks to the exit level, negative if it is beyond."""
    return world.exit_requirement(domain) - world.equity(domain)


def begin_ramp(world: World, domain: Domain) -> int:
    """Part of R128: the clock of a domain's ramp starts with its first liquidation; returns the
    shortage before anything was done."""
    if any(step.ramp_ns or step.ramp_ppm for step in world.policy.steps):
        case = case_of(world, domain)
        case.ramp_since_ns = case.ramp_since_ns or max(1, world.now_ns)
    return shortage(world, domain)


def count_freed(world: World, domain: Domain, before: int) -> None:
    """Part of R128: shortage covered by cancelling and closing counts towards the ramp."""
    case = case_of(world, domain)
    if case.ramp_since_ns:
        case.freed_quote += max(0, before - shortage(world, domain))


def ramped(world: World, domain: Domain, step: StepNumbers) -> int:
    """R128. With a ramp only a share of the whole shortage, covered and left, may be covered so
    far: the first share grows with the time since the liquidation began, to all of it."""
    left = shortage(world, domain)
    if step.ramp_ns == 0 and step.ramp_ppm == 0:
        return left
    case = world.cases.get(domain, Case())
    waited = max(0, world.now_ns - case.ramp_since_ns) if case.ramp_since_ns else 0
    share = min(PPM, step.ramp_ppm + waited * PPM // max(1, step.ramp_ns))
    return max(0, min(left, (left + case.freed_quote) * share // PPM - case.freed_quote))


def covered_ppm(world: World, position: Position, step: StepNumbers) -> int:
    """Part of R72: the rate that closing at the step's price frees: the tier's, by the exit level
    with its buffer or the leverage's, less the distance of the price from mark."""
    numbers = world.markets[position.market_id].numbers
    trigger = world.profile.trigger
    if trigger.exit == "initial":
        rate = PPM // position.leverage
    elif world.profile.margin.maintenance == "share_of_initial":
        rate = world.profile.margin.initial_share_ppm // position.leverage
    else:
        rate = numbers.tier_maintenance_ppm[tier_index(world, position)]
    if trigger.exit == "buffer":
        rate += trigger.exit_buffer_ppm
    return rate - (step.limit_ppm if step.limit == Limit.MARK else 0)


def tier_lots(world: World, position: Position, step: StepNumbers, held: int, size: int) -> int:
    """R113. Just enough to fit a lower tier: so many below the present one, or the lowest."""
    index = tier_index(world, position)
    if index == 0:
        return 0
    target = max(0, index - step.tiers_down) if step.tiers_down else 0
    bound = world.markets[position.market_id].numbers.tier_to[target]
    if world.profile.margin.tier_by == "contracts":
        return max(0, held - bound)
    return held - (bound * held // size if size > bound else held)


# -- prices -----------------------------------------------------------------------------------


def bankruptcy(world: World, domain: Domain, position: Position) -> int:
    """R70 for a position of a domain: all of its equity, or the share of it that the position has
    in maintenance margin (floored), stands behind the position."""
    market = world.markets[position.market_id]
    equity = world.equity(domain)
    rules = world.profile.margin
    if rules.bankruptcy_split == "by_maintenance":
        total = world.maintenance(domain)
        if total:
            equity = equity * world.position_maintenance(position) // total
    fee_ppm = market.numbers.taker_fee_ppm if rules.bankruptcy_fee else 0
    return margin.bankruptcy_price(
        market.numbers, position.lots, market.mark_price, equity, fee_ppm
    )


def limit_price(
    world: World, domain: Domain, position: Position, step: StepNumbers, lots: int
) -> int:
    """R101. The price bound of a step: the bankruptcy price; mark less a spread; a distance from
    mark or from the best price on the other side; or none."""
    market = world.markets[position.market_id]
    numbers = market.numbers
    worst = numbers.price_min if position.lots > 0 else numbers.price_max
    if step.limit == Limit.BANKRUPTCY:
        return bankruptcy(world, domain, position)
    if step.limit == Limit.MARK:
        return margin.price_beside(numbers, position.lots, market.mark_price, step.limit_ppm)
    if step.limit == Limit.TOUCH:
        best = market.book.best(1 if position.lots > 0 else 2)
        if best == 0:
            return numbers.price_max if position.lots > 0 else numbers.price_min
        return margin.price_beside(numbers, position.lots, best, step.limit_ppm)
    if step.limit == Limit.SPREAD:
        return spread_price(world, domain, position, step, lots)
    return worst


def spread_price(
    world: World, domain: Domain, position: Position, step: StepNumbers, lots: int
) -> int:
    """R114. Mark less a spread that is 0 at the maintenance level and grows to the step's multiple
    of the position's maintenance margin at zero equity; no worse than the bankruptcy price if the
    fund could not pay for the difference."""
    market = world.markets[position.market_id]
    need = max(1, world.maintenance(domain))
    rating = min(max(need - world.equity(domain), 0) * PPB // need, PPB)
    whole = world.position_maintenance(position) * step.limit_ppm // PPM
    price = margin.bankruptcy_price(
        market.numbers, position.lots, market.mark_price, whole * rating // PPB
    )
    zero = bankruptcy(world, domain, position)
    change = lots if position.lots > 0 else -lots
    loss = margin.value(market.numbers, change, zero) - margin.value(market.numbers, change, price)
    return price if loss <= fund.allowance(world, position.market_id) else zero


# -- fees -------------------------------------------------------------------------------------


def fee_terms(
    world: World, domain: Domain, position: Position, step: StepNumbers
) -> tuple[int, int, bool]:
    """R115. Rate of the liquidation fee, bankruptcy price and whether it is a long, all before the
    order. A faded rate is 0.95 of what closing everything would leave above the shortage, at most
    the full one."""
    numbers = world.markets[position.market_id].numbers
    rate = numbers.liquidation_fee_ppm
    if world.profile.liquidation.fee_cap == "faded":
        lacking = max(0, shortage(world, domain))
        share = margin.ceil_div(lacking * PPM, max(1, world.position_notional(position)))
        left = covered_ppm(world, position, step) - share
        rate = min(rate, max(0, left * 19 // 20))
    return rate, bankruptcy(world, domain, position), position.lots > 0


def charge_fee(
    world: World,
    domain: Domain,
    position: Position,
    terms: tuple[int, int, bool],
    filled: int,
    traded: int,
) -> None:
    """R79. Liquidation fee: ppm of the notional the order filled (a faded one of that at mark, as
    it was derived from), rounded up, at most the equity left, or at most what the fills brought
    above the bankruptcy price; what they brought below it is then paid by the fund at once. It
    goes to the insurance fund or to the venue."""
    rate, zero, long = terms
    if filled == 0:
        return
    numbers = world.markets[position.market_id].numbers
    mark = world.markets[position.market_id].mark_price
    faded = world.profile.liquidation.fee_cap == "faded"
    fee = margin.fee(margin.notional(numbers, filled, mark) if faded else traded, rate)
    if world.profile.liquidation.fee_cap == "surplus":
        surplus = traded - margin.notional(numbers, filled, zero)
        if (numbers.payoff == Payoff.LINEAR) != long:
            surplus = -surplus
        fee = min(fee, max(0, surplus))
        if surplus < 0:
            fund.pay_from_fund(world, domain, position.market_id, -surplus)
    fee = min(fee, max(0, world.equity(domain)))
    if fee:
        fund.book_fee(world, domain, position.market_id, fee)
