"""The rulebook's settlements: sessions, deliveries, assets, forced closing, volunteers."""

from engine.constants import (
    LOTS_MAX,
    CancelReason,
    Cause,
    Contract,
    EventKind,
    Flag,
    Force,
    PositionSide,
    Reject,
    SystemAccount,
)
from engine.reference import accounts, deleveraging, levels, margin, orders, waterfall
from engine.reference.ledger import World
from engine.reference.records import Account, Command, Market, Position


def check_margin(world: World, command: Command) -> Reject | None:
    levels.check_margin(world, command)
    deleveraging.cut_profits(world)
    return None


def clock(world: World, command: Command) -> Reject | None:
    """Part of R88: time alone can end a wait."""
    return None


def force_close(world: World, command: Command) -> Reject | None:
    """R120. A position limit, a delisting, a regulator or an emergency: orders of the market (or of
    all) are cancelled, and every leg larger than it may be is cut to that, as in R109."""
    account, reject = accounts.find_user(world, command)
    if reject is not None:
        return reject
    if command.market_id and command.market_id not in world.markets:
        return Reject.UNKNOWN_MARKET
    if not 0 <= command.lots <= LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE
    if command.amount not in tuple(Force):
        return Reject.INVALID_REASON
    orders.cancel_all(world, account, command.market_id, CancelReason.LIQUIDATION)
    for position in list(account.positions.values()):
        over = abs(position.lots) - command.lots
        chosen = command.market_id in (0, position.market_id)
        if not chosen or over <= 0 or world.is_collateral(position):
            continue
        world.liquidations_count += 1
        waterfall.close_lots(world, position, over)
        return_margin(world, account, position)
        world.emit(
            EventKind.FORCE_CLOSED,
            account,
            market_id=position.market_id,
            position_side=position.position_side,
            lots=over,
            reason=command.amount,
        )
    return None


def return_margin(world: World, account: Account, position: Position) -> None:
    """Isolated margin of a position that is flat goes back to the wallet."""
    if position.isolated and position.lots == 0 and position.margin_quote > 0:
        world.move_margin(account, position, -position.margin_quote)


def deliver(world: World, command: Command) -> Reject | None:
    """R121. Delivery or final settlement: every order of the market is cancelled, then every
    position is closed at the price against CLEARING."""
    market = world.markets.get(command.market_id)
    if market is None:
        return Reject.UNKNOWN_MARKET
    if market.numbers.contract == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL
    if not market.numbers.price_min <= command.price <= market.numbers.price_max:
        return Reject.PRICE_OUT_OF_RANGE
    for account in world.accounts.values():
        orders.cancel_all(world, account, market.market_id, CancelReason.DELIVERY)
    clearing = world.accounts[SystemAccount.CLEARING]
    against = world.position(clearing, market.market_id, 0)
    for account in world.accounts.values():
        for position in list(account.positions.values()):
            if position.market_id != market.market_id or position.lots == 0:
                continue
            if account is clearing:
                continue
            world.trade(
                account,
                position,
                clearing,
                against,
                -position.lots,
                command.price,
                Cause.DELIVERY,
            )
            return_margin(world, account, position)
    return None


# -- sessions ---------------------------------------------------------------------------------


def settle(world: World, command: Command) -> Reject | None:
    """R104. A session ends: every position is marked at the price of its market and its profit
    becomes balance. When every market settles and the venue shares losses by profit, the fund's
    deficit is taken from those who won since the last time."""
    if command.market_id and command.market_id not in world.markets:
        return Reject.UNKNOWN_MARKET
    if command.price:
        numbers = world.markets[command.market_id].numbers if command.market_id else None
        if numbers is None or not numbers.price_min <= command.price <= numbers.price_max:
            return Reject.PRICE_OUT_OF_RANGE
    chosen = [m for m in world.markets.values() if command.market_id in (0, m.market_id)]
    if any(m.mark_price == 0 and command.price == 0 and m.open_interest_lots for m in chosen):
        return Reject.NO_MARK_PRICE
    for account in world.accounts.values():
        for position in account.positions.values():
            market = world.markets[position.market_id]
            if market in chosen:
                settle_leg(world, account, position, market, command.price or market.mark_price)
    if command.market_id == 0 and world.profile.losses.residual == "socialise_profit":
        claw_back(world)
    if command.market_id == 0:
        for account in world.accounts.values():
            for position in account.positions.values():
                position.session_quote = 0
        for market in world.markets.values():
            market.loss_quote = 0
    return None


def settle_leg(
    world: World, account: Account, position: Position, market: Market, price: int
) -> None:
    if position.lots == 0 or world.is_collateral(position):
        return
    profit = margin.value(market.numbers, position.lots, price) - position.entry_quote
    if profit == 0:
        return
    position.entry_quote += profit
    position.session_quote += profit
    world.credit(position, account, profit)
    world.emit(
        EventKind.SETTLED,
        account,
        market_id=position.market_id,
        position_side=position.position_side,
        price=price,
        lots=position.lots,
        amount=profit,
        flags=Flag.ISOLATED if position.isolated else 0,
    )


def claw_back(world: World) -> None:
    """Part of R104: by account over all markets, fund by fund; or market by market, for its fund,
    up to its own bad debt. Each winner pays the loss times his share of all profit, rounded down,
    no more than the profit and no more than his wallet."""
    if world.profile.losses.profit_scope == "account":
        for row in world.funds:
            fund = world.accounts[row]
            take_profits(world, 0, max(0, -fund.wallet_quote), fund)
        return
    for market in world.markets.values():
        fund = world.fund_of(market.market_id)
        loss = min(market.loss_quote, max(0, -fund.wallet_quote))
        take_profits(world, market.market_id, loss, fund)


def take_profits(world: World, market_id: int, loss: int, fund: Account) -> None:
    profits = [
        (account, profit)
        for account in world.accounts.values()
        if not world.is_system(account) and (profit := session_profit(account, market_id)) > 0
    ]
    total = sum(profit for _, profit in profits)
    if loss == 0 or total == 0:
        return
    for account, profit in profits:
        pays = min(profit, loss * profit // total, max(0, account.wallet_quote))
        if pays:
            account.wallet_quote -= pays
            fund.wallet_quote += pays
            world.emit(
                EventKind.CLAWED_BACK,
                account,
                market_id=market_id,
                amount=pays,
                other_id=fund.account_id,
            )


def session_profit(account: Account, market_id: int) -> int:
    """Profit booked since the last settlement, in one market or with 0 in all."""
    return sum(
        position.session_quote
        for position in account.positions.values()
        if market_id in (0, position.market_id)
    )


# -- assets and volunteers --------------------------------------------------------------------


def asset_leg(world: World, command: Command) -> tuple[Account | None, Reject | None]:
    market = world.markets.get(command.market_id)
    if market is None:
        return None, Reject.UNKNOWN_MARKET
    if market.numbers.contract != Contract.COLLATERAL:
        return None, Reject.NOT_COLLATERAL
    account, reject = accounts.find_user(world, command)
    if reject is None and not 1 <= command.lots <= LOTS_MAX:
        reject = Reject.LOTS_OUT_OF_RANGE
    return account, reject


def deposit_asset(world: World, command: Command) -> Reject | None:
    """R122. An asset held as collateral is a leg without entry value: it comes in against CLEARING
    at a price of 0."""
    account, reject = asset_leg(world, command)
    if reject is not None:
        return reject
    market = world.markets[command.market_id]
    if market.mark_price == 0:
        return Reject.NO_MARK_PRICE
    leg = (command.market_id, int(PositionSide.NET))
    if accounts.is_full(world, account, [leg]):
        return Reject.POSITIONS_FULL
    if market.open_interest_lots + command.lots > market.numbers.open_interest_lots_max:
        return Reject.OPEN_INTEREST_BOUND
    move_asset(world, account, world.position(account, *leg), command.lots)
    return None


def move_asset(world: World, account: Account, position: Position, lots: int) -> None:
    clearing = world.accounts[SystemAccount.CLEARING]
    against = world.position(clearing, position.market_id, 0)
    world.trade(account, position, clearing, against, lots, 0, Cause.ASSET)


def withdraw_asset(world: World, command: Command) -> Reject | None:
    """R123. An asset leaves as far as it is held and what it adds to equity is free."""
    account, reject = asset_leg(world, command)
    if reject is not None:
        return reject
    if accounts.is_gated(world):
        return Reject.WITHDRAWALS_GATED
    position = world.find_position(account, command.market_id, PositionSide.NET)
    if position is None or position.lots < command.lots:
        return Reject.INSUFFICIENT_BALANCE
    numbers = world.markets[command.market_id].numbers
    mark = world.markets[command.market_id].mark_price
    after = margin.worth(numbers, position.lots - command.lots, mark)
    before = margin.worth(numbers, position.lots, mark)
    if world.free(account) - (before - after) < 0:
        return Reject.INSUFFICIENT_BALANCE
    move_asset(world, account, position, -command.lots)
    return None


def volunteer(world: World, command: Command) -> Reject | None:
    """R124. How many lots a leg is ready to be assigned from now on."""
    account, reject = accounts.find_leg(world, command)
    if reject is not None:
        return reject
    if not 0 <= command.lots <= LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE
    leg = (command.market_id, command.position_side)
    if accounts.is_full(world, account, [leg]):
        return Reject.POSITIONS_FULL
    world.position(account, *leg).volunteer_lots = command.lots
    world.emit(
        EventKind.VOLUNTEERED,
        account,
        market_id=command.market_id,
        position_side=command.position_side,
        lots=command.lots,
    )
    return None
