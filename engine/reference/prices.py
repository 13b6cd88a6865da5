"""The rulebook's prices: index, mark, the market maker's quotes, and funding.

Nothing here admits a user's order or liquidates anyone; `exchange` decides when these run.
"""

from engine.constants import (
    MAKER_ID_MARKET_SHIFT,
    PPB,
    PPM,
    CancelReason,
    Cause,
    EventKind,
    Flag,
    OrderType,
    PositionSide,
    SelfTrade,
    Side,
    SystemAccount,
    TimeInForce,
)
from engine.reference import margin, orders
from engine.reference.book import Order, crosses, opposite
from engine.reference.ledger import World
from engine.reference.records import Market


def set_index(world: World, market: Market, price: int) -> None:
    """R50. A new index price: sample the basis of the old one, then requote the curve."""
    sample_basis(world, market)
    if market.curve is not None:
        keep_gap(market)
        sample_volatility(world, market, price)
    market.index_price = price
    market.mark_is_stale = True
    world.emit(EventKind.INDEX_SET, market_id=market.market_id, price=price)
    if market.curve is not None:
        requote(world, market)


def middle(market: Market) -> int:
    """Part of R136: the index and by how much the curve's middle stays off it, toward zero, within
    the market's price range."""
    price = market.index_price + margin.trunc_div(market.index_price * market.shift_ppb, PPB)
    return min(max(price, market.numbers.price_min), market.numbers.price_max)


def keep_gap(market: Market) -> None:
    """R136. Of the distance between the curve's middle and the last price at which its quotes were
    taken the venue's share in price discovery is permanent: by so much, toward zero, the middle
    is off the index from then on, at most by half of it."""
    share = market.curve.permanent_ppm
    if share and market.taken_price and market.index_price:
        centre = middle(market)
        gap = margin.trunc_div((market.taken_price - centre) * PPB, centre)
        moved = market.shift_ppb + margin.trunc_div(gap * share, PPM)
        market.shift_ppb = min(max(moved, -PPB // 2), PPB // 2)
    market.taken_price = 0


def sample_volatility(world: World, market: Market, price: int) -> None:
    """R135. The sum of the index's moves in ppm of it, floored, each forgotten by half in every
    half-life, at most 10**9."""
    curve = market.curve
    if curve.volatility_ppm == 0 or market.index_price == 0:
        return
    elapsed = world.now_ns - market.quote_time_ns
    kept = margin.decayed(market.volatility_ppm, elapsed, curve.volatility_half_life_ns)
    moved = abs(price - market.index_price) * PPM // market.index_price
    market.volatility_ppm = min(kept + moved, PPB)


def target_lots(market: Market, lots: int) -> int:
    """Part of R135: above its calm volatility a curve offers less in the same ratio."""
    calm = market.curve.volatility_ppm
    return lots if market.volatility_ppm <= calm else lots * calm // market.volatility_ppm


def sample_basis(world: World, market: Market) -> None:
    """R52. At most once per interval, the mid of a two-sided book less the index (floored) joins
    the last samples."""
    bid, ask = market.book.best(Side.BUY), market.book.best(Side.SELL)
    rules = world.profile.mark
    if market.index_price == 0 or bid == 0 or ask == 0:
        return
    if market.basis and world.now_ns - market.basis_time_ns < rules.basis_interval_ns:
        return
    market.basis.append((bid + ask) // 2 - market.index_price)
    market.basis = market.basis[-rules.basis_samples :]
    market.basis_time_ns = world.now_ns


def mark_price(world: World, market: Market) -> int:
    """R53. The mark: the index, or the last price, where the profile says so; else the tape's own
    (the index if it has none), plus the feedback share of what the derived mark differs from it,
    within the market's price range."""
    source = world.profile.mark.source
    base = market.tape_mark_price or market.index_price
    if source == "index":
        return market.index_price or base
    if source == "last":
        return market.last_price or base
    if base == 0 or source == "tape" or world.feedback_ppm == 0:
        return base
    derived = derived_mark(world, market)
    mark = base + margin.trunc_div((derived - base) * world.feedback_ppm, PPM)
    return min(max(mark, market.numbers.price_min), market.numbers.price_max)


def derived_mark(world: World, market: Market) -> int:
    """R51. Median of the funding-adjusted index, the index plus the mean basis (toward zero),
    and the last price; whatever does not exist yet is the index."""
    index = market.index_price or market.tape_mark_price
    interval = world.profile.funding.interval_ns
    left = max(0, market.funding_time_ns + interval - world.now_ns)
    if market.funding_time_ns == 0:
        left = 0
    first = margin.premium_price(index, market.funding_rate_ppb, left, interval)
    second = index
    if market.basis:
        second += margin.trunc_div(sum(market.basis), len(market.basis))
    return sorted((first, second, market.last_price or index))[1]


def update_marks(world: World) -> None:
    """R59. The mark is made anew by a new index, tape mark, recorded trade or funding rate, and
    after any unit of work that traded in the market; a change is an event."""
    for market in world.markets.values():
        if not market.mark_is_stale:
            continue
        market.mark_is_stale = False
        update_average(world, market)
        mark = mark_price(world, market)
        if mark != market.mark_price:
            market.previous_mark_price = market.mark_price
            market.mark_price = mark
            world.emit(EventKind.MARK_SET, market_id=market.market_id, price=mark)


def update_average(world: World, market: Market) -> None:
    """R93. The second price approaches the last price by half in every half-life that it holds,
    made anew with the mark: a price that has just come has no weight yet. Breach must hold
    there too."""
    rules = world.profile.trigger
    if rules.second_price == "none" or market.last_price == 0:
        return
    elapsed, market.average_time_ns = world.now_ns - market.average_time_ns, world.now_ns
    if market.average_price == 0:
        market.average_price = market.average_last = market.last_price
        return
    gap = market.average_last - market.average_price
    left = margin.decayed(abs(gap), elapsed, rules.average_half_life_ns)
    market.average_price = market.average_last - (left if gap > 0 else -left)
    market.average_last = market.last_price


# -- the market maker's quotes ----------------------------------------------------------------


def maker_order(world: World, market: Market, side: int, price: int, lots: int) -> Order:
    return Order(
        order_id=-(market.market_id << MAKER_ID_MARKET_SHIFT | price),
        account_row=int(SystemAccount.MARKET_MAKER),
        market_id=market.market_id,
        side=int(side),
        position_side=int(PositionSide.NET),
        order_type=int(OrderType.LIMIT),
        time_in_force=int(TimeInForce.GTC),
        price=price,
        lots=lots,
        flags=0,
        self_trade=int(SelfTrade.CANCEL_OLDEST),
        trigger_price=0,
        trigger_kind=0,
        seq=0,
    )


def find_quote(world: World, market: Market, price: int) -> Order | None:
    return world.orders.get(-(market.market_id << MAKER_ID_MARKET_SHIFT | price))


def set_depth(world: World, market: Market, side: int, price: int, lots: int) -> None:
    """R55. Recorded depth: the market maker's level is made to hold `lots`. Less keeps its place
    in the queue, more goes to the back, and a level that crosses trades with what it crosses
    (the market maker's own crossed levels are withdrawn). Less what is lacking there."""
    if lots == 0:
        market.lacking.pop(price, None)
    elif market.memory_ns:
        lots = max(0, lots - orders.lacking(world, market, price))
    quote = find_quote(world, market, price)
    if quote is not None and quote.side == side and 0 < lots <= quote.lots:
        quote.lots = lots
        orders.emit_depth(world, quote, lots)
        return
    if quote is not None and (quote.side == side or lots):
        orders.cancel(world, quote, CancelReason.DEPTH)
    elif lots == 0:
        orders.emit_depth(world, maker_order(world, market, side, price, 0), 0)
    if lots:
        place_quote(world, maker_order(world, market, side, price, lots))


def take_recorded(world: World, market: Market, side: int, price: int, lots: int) -> None:
    """R137. A recorded trade with a side takes its lots from the book, at its price or better: of
    the market maker's quotes without a fill, since both sides are history; an order of ours trades
    with the market maker, as far as the bound on open interest allows."""
    quote = maker_order(world, market, side, price, lots)
    maker = world.accounts[SystemAccount.MARKET_MAKER]
    against = opposite(side)
    while quote.lots:
        best = market.book.best(against)
        if best == 0 or not crosses(side, price, best):
            return
        resting = market.book.first(against)
        taken = min(quote.lots, resting.lots)
        if resting.account_row == maker.row:
            quote.lots -= taken
            if taken == resting.lots:
                orders.cancel(world, resting, CancelReason.DEPTH)
            else:
                resting.lots -= taken
                orders.emit_depth(world, resting, resting.lots)
            continue
        taken = min(taken, market.numbers.open_interest_lots_max - market.open_interest_lots)
        if taken <= 0:
            return
        quote.lots -= taken
        orders.fill_resting(world, resting, taken)
        position = world.position(maker, market.market_id, 0)
        orders.book_trade(world, quote, resting, position, taken, best, Cause.TRADE, 0)


def place_quote(world: World, quote: Order) -> None:
    orders.match(world, quote, quote.price, Cause.TRADE, 0)
    if quote.lots:
        orders.rest(world, quote)


def clear_depth(world: World, market: Market) -> None:
    """R56. The market maker withdraws: bids best first, then asks best first."""
    for side in (Side.BUY, Side.SELL):
        quotes = [
            order
            for order in market.book.orders(side)
            if order.account_row == SystemAccount.MARKET_MAKER
        ]
        for quote in quotes:
            orders.cancel(world, quote, CancelReason.REQUOTE)


def requote(world: World, market: Market) -> None:
    """R57. The curve round a new index: remember what each level lacks, withdraw every quote,
    let the deficits decay, place bids then asks from the touch outwards."""
    remember_deficits(world, market)
    clear_depth(world, market)
    elapsed = world.now_ns - market.quote_time_ns
    half_life = market.curve.refill_half_life_ns
    market.quote_time_ns = world.now_ns
    market.quotes = {}
    for side in (Side.BUY, Side.SELL):
        previous = 0
        for level, spec in enumerate(market.curve.levels):
            deficit = margin.decayed(market.deficits.get((side, level), 0), elapsed, half_life)
            market.deficits[side, level] = deficit
            price = quote_price(market, side, spec.offset_ppm, previous)
            if price == 0:
                break
            previous = price
            room = market.numbers.open_interest_lots_max - market.open_interest_lots
            lots = min(target_lots(market, spec.lots) - deficit, room)
            if lots > 0:
                market.quotes[side, level] = (price, lots)
                place_quote(world, maker_order(world, market, side, price, lots))


def remember_deficits(world: World, market: Market) -> None:
    """R54. What trading took out of a level since it was quoted adds to its deficit."""
    for (side, level), (price, lots) in market.quotes.items():
        quote = find_quote(world, market, price)
        left = quote.lots if quote is not None and quote.side == side else 0
        market.deficits[side, level] = market.deficits.get((side, level), 0) + lots - left


def quote_price(market: Market, side: int, offset_ppm: int, previous: int) -> int:
    """R58. A level's price: the curve's middle * (1 -/+ offset), away from it to the tick, at least
    a tick beyond the level before it; 0 when it leaves the price range."""
    numbers = market.numbers
    tick = numbers.tick_price
    if side == Side.BUY:
        price = middle(market) * (PPM - offset_ppm) // PPM // tick * tick
        if previous:
            price = min(price, previous - tick)
        return price if price >= numbers.price_min else 0
    price = margin.ceil_div(middle(market) * (PPM + offset_ppm), PPM)
    price = margin.ceil_div(price, tick) * tick
    if previous:
        price = max(price, previous + tick)
    return price if price <= numbers.price_max else 0


# -- funding ----------------------------------------------------------------------------------


def settle_funding(world: World, market: Market, rate_ppb: int) -> None:
    """R61. Every open position pays or receives, in order of account row and leg, at the mark or
    the index of this instant; what rounding leaves goes to ROUNDING. Where funding accrues all the
    time the rate counts for the time since it was last paid."""
    total = 0
    mark = market.mark_price
    if world.profile.funding.price == "index":
        mark = market.index_price or mark
    charged_ppb = accrued_ppb(world, market, rate_ppb)
    for account in world.accounts.values():
        for position in account.positions.values():
            if position.market_id != market.market_id or position.lots == 0:
                continue
            amount = margin.funding_amount(market.numbers, position.lots, mark, charged_ppb)
            if amount == 0:
                continue
            total += amount
            world.credit(position, account, amount)
            world.emit(
                EventKind.FUNDING_PAID,
                account,
                market_id=market.market_id,
                position_side=position.position_side,
                price=mark,
                lots=position.lots,
                amount=amount,
                flags=Flag.ISOLATED if position.isolated else 0,
            )
    world.accounts[SystemAccount.ROUNDING].wallet_quote -= total
    market.funding_rate_ppb = rate_ppb
    market.funding_time_ns = world.now_ns
    market.mark_is_stale = True
    world.emit(
        EventKind.FUNDING_SETTLED,
        market_id=market.market_id,
        price=mark,
        amount=-total,
        fee=rate_ppb,
    )


def accrued_ppb(world: World, market: Market, rate_ppb: int) -> int:
    """Part of R61: toward zero, nothing the first time."""
    rules = world.profile.funding
    if rules.accrual == "interval":
        return rate_ppb
    if market.funding_time_ns == 0:
        return 0
    elapsed = world.now_ns - market.funding_time_ns
    return margin.trunc_div(rate_ppb * elapsed, rules.rate_period_ns)
