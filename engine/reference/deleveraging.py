"""The rulebook's deleveraging: who is ranked how, and who is closed at which price."""

from engine.constants import (
    PPM,
    AdlScore,
    CancelReason,
    Cause,
    Contract,
    EventKind,
    Side,
    SystemAccount,
)
from engine.reference import candidates, margin, orders, policies
from engine.reference.ledger import World
from engine.reference.records import Account, Position

POOL = SystemAccount.BACKSTOP


def adl_price(world: World, position: Position, bankruptcy: int) -> int:
    """R119. Deleveraging happens at the bankruptcy price, at mark, at the mark before it, or at
    mark unless the fund is low."""
    market, rule = world.markets[position.market_id], world.profile.losses.adl_price
    if rule == "mark":
        return market.mark_price
    if rule == "previous_mark":
        return market.previous_mark_price or market.mark_price
    if rule == "mark_unless_fund_low":
        low = world.fund_of(position.market_id).wallet_quote < world.policy.fund_low_quote
        return bankruptcy if low else market.mark_price
    return bankruptcy


def deleverage(world: World, position: Position, price: int) -> None:
    """R84. Close ranked opposite positions against the bankrupt one, off book at one price, until
    nothing is left. Whoever it would leave below zero is passed over; orders of whoever is closed
    are cancelled, in the market or everywhere, as the profile says; the last one is closed in
    part."""
    if world.profile.losses.adl_policy != "ranking":
        share_lots(world, position, price)
        return
    for _, _, account_row, leg in ranking(world, position):
        counter = world.accounts[account_row].positions[position.market_id, leg]
        close_against(world, position, counter, abs(counter.lots), price)


def close_against(
    world: World, position: Position, counter: Position, lots: int, price: int
) -> None:
    """Part of R84: one of them, by so many lots at most."""
    scope, account = world.profile.losses.adl_cancel, world.accounts[counter.account_row]
    lots = min(lots, abs(position.lots))
    change = lots if position.lots > 0 else -lots
    if lots == 0 or not stays_solvent(world, counter, change, price):
        return
    if scope != "none":
        market_id = position.market_id if scope == "market" else 0
        orders.cancel_all(world, account, market_id, CancelReason.ADL)
    bankrupt = world.accounts[position.account_row]
    world.trade(bankrupt, position, account, counter, -change, price, Cause.ADL)


def share_lots(world: World, position: Position, price: int) -> None:
    """R138. With a policy instead of the ranking, the bankrupt position's lots are shared out over
    the candidates of R83 by it, in contract space; each is closed by its share as in R84, in
    account order. What the policy would close beyond the bankrupt position is taken back from the
    last in the order of its score.
    `wealth_to_lots` is asked for the money that the lots lose at the price."""
    losses = world.profile.losses
    side = 1 if position.lots > 0 else -1
    winners = losses.adl_candidates == "winners"
    asked = candidates.bearers(world, position.market_id, side, winners, position.account_row)
    shares = candidates.shared_lots(world, asked, abs(position.lots), side, price)
    for counter, lots in zip(asked, shares, strict=True):
        close_against(world, position, counter, lots, price)


def stays_solvent(world: World, counter: Position, change: int, price: int) -> bool:
    """R85. Trading at this price instead of mark must not take the domain's equity below zero."""
    market = world.markets[counter.market_id]
    gap = margin.value(market.numbers, change, market.mark_price)
    gap -= margin.value(market.numbers, change, price)
    return world.equity(world.domain_of(counter)) + gap >= 0


def ranking(world: World, position: Position) -> list[tuple[int, int, int, int]]:
    """Part of R83: candidates are all user positions on the other side of the market but the
    bankrupt account's own, or only those in profit."""
    winners = world.profile.losses.adl_candidates == "winners"
    long = position.lots < 0
    return rank_side(world, position.market_id, long, winners, position.account_row)


def rank_side(
    world: World, market_id: int, long: bool, winners: bool, without_row: int = 0
) -> list[tuple[int, int, int, int]]:
    """Part of R83: the user positions of one side, as the profile scores them."""
    candidates = []
    unsized = world.profile.losses.adl_score == "none"
    for account in world.accounts.values():
        if world.is_system(account) or account.row == without_row:
            continue
        for other in account.positions.values():
            if other.market_id != market_id or not (other.lots > 0 if long else other.lots < 0):
                continue
            if winners and world.unrealised(other) <= 0:
                continue
            score = adl_score(world, account, other)
            notional = 0 if unsized else world.position_notional(other)
            candidates.append((score, notional, account.row, other.position_side))
    return policies.ranked(candidates)


def adl_score(world: World, account: Account, position: Position) -> int:
    kind = AdlScore[world.profile.losses.adl_score.upper()]
    if kind == AdlScore.RANDOM:
        return margin.mixed(world.seq, 4 * account.row + position.position_side)
    domain = world.domain_of(position)
    size = world.position_notional(position)
    return policies.score(
        kind,
        profit_quote=world.unrealised(position),
        wallet_quote=world.domain_balance(domain),
        entry_value_quote=abs(position.entry_quote),
        initial_quote=world.initial(position, position.lots, size),
        position_quote=size,
        notional_quote=sum(world.margined_notional(p) for p in world.domain_positions(domain)),
        maintenance_quote=world.maintenance(domain),
        equity_quote=world.equity(domain),
        gains_with_value=(world.markets[position.market_id].numbers.payoff == 1)
        == (position.lots > 0),
    )


def cut_profits(world: World) -> None:
    """R131. At the scheduled check: where the profit of a side of a market, its losers' loss
    deducted, is above its share of the pool's balance, its winners are closed against the pool at
    mark, the highest score first, the last as far as is needed, down to the stop share."""
    losses, pool = world.profile.losses, world.accounts[POOL]
    if losses.pool_profit_ppm == 0:
        return
    balance = max(0, pool.wallet_quote)
    most, stop = (
        balance * ppm // PPM for ppm in (losses.pool_profit_ppm, losses.pool_profit_stop_ppm)
    )
    for market in world.markets.values():
        if market.numbers.contract == Contract.COLLATERAL:
            continue
        for long in (True, False):
            profit = side_profit(world, market.market_id, long)
            if profit > most:
                side = Side.BUY if long else Side.SELL
                world.emit(
                    EventKind.PROFIT_CAPPED,
                    market_id=market.market_id,
                    side=side,
                    price=market.mark_price,
                    amount=profit,
                    fee=balance,
                )
                cut_side(world, market.market_id, long, profit - stop)


def side_profit(world: World, market_id: int, long: bool) -> int:
    """Part of R131: what the users of one side have won and lost at mark."""
    return sum(
        world.unrealised(position)
        for account in world.accounts.values()
        for position in account.positions.values()
        if position.market_id == market_id
        and (position.lots > 0) == long
        and not world.is_system(account)
    )


def cut_side(world: World, market_id: int, long: bool, excess: int) -> None:
    """Part of R131."""
    market, scope = world.markets[market_id], world.profile.losses.adl_cancel
    pool = world.accounts[POOL]
    for _, _, account_row, leg in rank_side(world, market_id, long, winners=True):
        if excess <= 0:
            return
        account = world.accounts[account_row]
        winner = account.positions[market_id, leg]
        profit, held = world.unrealised(winner), abs(winner.lots)
        lots = min(held, margin.ceil_div(excess * held, profit))
        if scope != "none":
            orders.cancel_all(
                world, account, market_id if scope == "market" else 0, CancelReason.ADL
            )
        against = world.position(pool, market_id, 0)
        change = lots if long else -lots
        world.trade(pool, against, account, winner, change, market.mark_price, Cause.ADL)
        excess -= profit - world.unrealised(winner)
