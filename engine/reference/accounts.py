"""The rulebook's account commands: opening, money in and out, leverage, modes, margin, seeding.

Each takes the `World` and a command, checks it in order, and either returns the reason of its
refusal or changes the state and returns None. What follows from a change is in `exchange`.
"""

from engine.constants import (
    ACCOUNT_ID_MAX,
    FIRST_USER_ID,
    LOTS_MAX,
    MONEY_MAX,
    Cause,
    Contract,
    EventKind,
    Flag,
    PositionSide,
    Reject,
    Side,
    SystemAccount,
)
from engine.reference import admission, levels, margin
from engine.reference.ledger import World, leg_is_closing
from engine.reference.records import Account, Command, Position


def find_account(world: World, command: Command) -> tuple[Account | None, Reject | None]:
    row = world.row_of_id.get(command.account_id)
    if row is None:
        return None, Reject.UNKNOWN_ACCOUNT
    return world.accounts[row], None


def find_user(world: World, command: Command) -> tuple[Account | None, Reject | None]:
    account, reject = find_account(world, command)
    if account is not None and world.is_system(account):
        return None, Reject.ACCOUNT_IS_SYSTEM
    return account, reject


def open_account(world: World, command: Command) -> Reject | None:
    if not 1 <= command.account_id <= ACCOUNT_ID_MAX:
        return Reject.ACCOUNT_ID_OUT_OF_RANGE
    if command.account_id in world.row_of_id:
        return Reject.ACCOUNT_EXISTS
    if command.account_id < FIRST_USER_ID:
        return Reject.ACCOUNT_ID_OUT_OF_RANGE
    if command.flags & ~Flag.HEDGE:
        return Reject.INVALID_FLAGS
    users = len(world.accounts) - len(world.system_rows())
    if users >= world.capacities.accounts_max:
        return Reject.ACCOUNTS_FULL
    row = len(world.accounts) + 1
    account = Account(row, command.account_id, hedge=bool(command.flags & Flag.HEDGE))
    world.accounts[row] = account
    world.row_of_id[command.account_id] = row
    world.emit(EventKind.ACCOUNT_OPENED, account, flags=command.flags)
    return None


def deposit(world: World, command: Command) -> Reject | None:
    """R45. Deposits, also into system accounts (the insurance fund); bounded in sum."""
    account, reject = find_account(world, command)
    if reject is not None:
        return reject
    if not 1 <= command.amount <= MONEY_MAX:
        return Reject.AMOUNT_OUT_OF_RANGE
    if world.deposits_quote + command.amount > MONEY_MAX:
        return Reject.MONEY_BOUND
    world.deposits_quote += command.amount
    account.wallet_quote += command.amount
    levels.repay(account)
    world.emit(EventKind.DEPOSITED, account, amount=command.amount)
    return None


def spendable(world: World, account: Account) -> int:
    """R46. What may leave a wallet: its balance, and no more than is free, less the profit since
    the last settlement where that is locked; a system account's whole balance."""
    if world.is_system(account):
        return account.wallet_quote
    room = min(account.wallet_quote, world.free(account))
    if world.profile.losses.profit_lock:
        profit = sum(position.session_quote for position in account.positions.values())
        room -= max(0, profit)
    return room


def is_gated(world: World) -> bool:
    """R125. While somebody's balance was left negative not long ago, nothing is withdrawn."""
    return world.now_ns < world.gate_ns


def haircut(world: World, account: Account, amount: int) -> int:
    """R126. Where withdrawals pay for the deficits of the funds, each is charged the share that
    these have of all money deposited and not withdrawn, rounded up, to the funds in turn, each up
    to its deficit. Returns the charge."""
    lacking = [f for row in world.funds if (f := world.accounts[row]).wallet_quote < 0]
    if world.profile.losses.residual != "withdrawal_haircut" or not lacking:
        return 0
    deficit = -sum(fund.wallet_quote for fund in lacking)
    held = world.deposits_quote - world.withdrawals_quote
    left = charge = min(amount, deficit, margin.ceil_div(amount * deficit, max(1, held)))
    for fund in lacking:
        cut = min(left, -fund.wallet_quote)
        if cut:
            left -= cut
            account.wallet_quote -= cut
            fund.wallet_quote += cut
            world.emit(EventKind.HAIRCUT, account, amount=cut, other_id=fund.account_id)
    return charge


def withdraw(world: World, command: Command) -> Reject | None:
    account, reject = find_account(world, command)
    if reject is not None:
        return reject
    if not 1 <= command.amount <= MONEY_MAX:
        return Reject.AMOUNT_OUT_OF_RANGE
    if is_gated(world):
        return Reject.WITHDRAWALS_GATED
    if command.amount > spendable(world, account):
        return Reject.INSUFFICIENT_BALANCE
    cut = 0 if world.is_system(account) else haircut(world, account, command.amount)
    world.withdrawals_quote += command.amount - cut
    account.wallet_quote -= command.amount - cut
    world.emit(EventKind.WITHDRAWN, account, amount=command.amount - cut)
    return None


def find_leg(world: World, command: Command) -> tuple[Account | None, Reject | None]:
    """Market, user account and a position side that fits the account's mode."""
    if command.market_id not in world.markets:
        return None, Reject.UNKNOWN_MARKET
    if world.markets[command.market_id].numbers.contract == Contract.COLLATERAL:
        return None, Reject.NOT_COLLATERAL
    account, reject = find_user(world, command)
    if reject is None and not admission.side_fits(account, command.position_side):
        return None, Reject.POSITION_SIDE_MISMATCH
    return account, reject


def is_full(world: World, account: Account, legs: list[tuple[int, int]]) -> bool:
    """R24. Whether making these legs would pass the capacity for positions."""
    missing = sum(leg not in account.positions for leg in legs)
    return world.user_positions_count + missing > world.capacities.positions_max


def set_leverage(world: World, command: Command) -> Reject | None:
    """R47. A leg's leverage; its present size and the account's equity must allow it."""
    account, reject = find_leg(world, command)
    if reject is not None:
        return reject
    market = world.markets[command.market_id]
    if not 1 <= command.amount <= market.numbers.tier_leverage_max[0]:
        return Reject.LEVERAGE_OUT_OF_RANGE
    leg = (command.market_id, command.position_side)
    if is_full(world, account, [leg]):
        return Reject.POSITIONS_FULL
    position = world.find_position(account, *leg)
    if position is not None:
        reject = check_leverage(world, account, position, command.amount)
        if reject is not None:
            return reject
    world.position(account, *leg).leverage = command.amount
    world.emit(
        EventKind.LEVERAGE_SET,
        account,
        market_id=command.market_id,
        position_side=command.position_side,
        amount=command.amount,
    )
    return None


def check_leverage(
    world: World, account: Account, position: Position, leverage: int
) -> Reject | None:
    market = world.markets[position.market_id]
    lots = margin.worst_lots(position.lots, position.buy_lots, position.sell_lots)
    if lots == 0:
        return None
    worst = margin.notional(market.numbers, lots, market.mark_price)
    if not margin.fits_tiers(market.numbers, world.profile.margin, lots, worst, leverage):
        return Reject.POSITION_LIMIT
    before, previous = world.requirement(account), position.leverage
    position.leverage = leverage
    after = world.requirement(account)
    position.leverage = previous
    if after > before and world.equity((account.row, 0, 0)) < after:
        return Reject.INSUFFICIENT_MARGIN
    return None


def set_margin_mode(world: World, command: Command) -> Reject | None:
    """R48. Cross or isolated, for every leg of a market; only while it has no lots or orders."""
    if command.market_id not in world.markets:
        return Reject.UNKNOWN_MARKET
    if world.markets[command.market_id].numbers.contract == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL
    account, reject = find_user(world, command)
    if reject is not None:
        return reject
    if command.flags & ~Flag.ISOLATED:
        return Reject.INVALID_FLAGS
    sides = (PositionSide.LONG, PositionSide.SHORT) if account.hedge else (PositionSide.NET,)
    legs = [(command.market_id, int(side)) for side in sides]
    if is_full(world, account, legs):
        return Reject.POSITIONS_FULL
    for leg in legs:
        if is_busy(world, account, leg):
            return Reject.POSITION_OR_ORDERS_OPEN
    if any(order.market_id == command.market_id for order in account.orders.values()):
        return Reject.POSITION_OR_ORDERS_OPEN
    for leg in legs:
        world.position(account, *leg).isolated = bool(command.flags & Flag.ISOLATED)
    world.emit(
        EventKind.MARGIN_MODE_SET,
        account,
        market_id=command.market_id,
        flags=command.flags,
    )
    return None


def is_busy(world: World, account: Account, leg: tuple[int, int]) -> bool:
    """Part of R48: the leg holds lots or margin, or its domain waits to be looked at again."""
    position = account.positions.get(leg)
    if position is None:
        return False
    case = world.cases.get((account.row, leg[0], leg[1] + 1))
    waits = case is not None and case.due_ns is not None
    return waits or bool(position.lots or position.margin_quote)


def set_position_mode(world: World, command: Command) -> Reject | None:
    """R49. One-way or hedge; only while the account has no position and no order."""
    account, reject = find_user(world, command)
    if reject is not None:
        return reject
    if command.flags & ~Flag.HEDGE:
        return Reject.INVALID_FLAGS
    busy = any(is_busy(world, account, leg) for leg in account.positions)
    if busy or account.orders:
        return Reject.POSITION_OR_ORDERS_OPEN
    account.hedge = bool(command.flags & Flag.HEDGE)
    world.emit(EventKind.POSITION_MODE_SET, account, flags=command.flags)
    return None


def move_margin(world: World, command: Command) -> Reject | None:
    """R27. Into an isolated position as far as is free; out of it down to its initial margin."""
    account, reject = find_leg(world, command)
    if reject is not None:
        return reject
    if not 1 <= abs(command.amount) <= MONEY_MAX:
        return Reject.AMOUNT_OUT_OF_RANGE
    position = world.find_position(account, command.market_id, command.position_side)
    if position is None or not position.isolated or position.lots == 0:
        return Reject.NOT_ISOLATED
    if command.amount > 0 and command.amount > spendable(world, account):
        return Reject.INSUFFICIENT_BALANCE
    if command.amount < 0:
        needed = world.initial(position, position.lots, world.position_notional(position))
        equity = world.equity(world.domain_of(position))
        if equity + command.amount < needed or position.margin_quote + command.amount < 0:
            return Reject.INSUFFICIENT_BALANCE
    world.move_margin(account, position, command.amount)
    return None


def seed_position(world: World, command: Command) -> Reject | None:
    """R89. A position that exists from the start: a fill against CLEARING at the entry price."""
    account, reject = find_leg(world, command)
    if reject is not None:
        return reject
    market = world.markets[command.market_id]
    numbers = market.numbers
    isolated = bool(command.flags & Flag.ISOLATED)
    if command.flags & ~Flag.ISOLATED:
        return Reject.INVALID_FLAGS
    wrong_leg = command.position_side != PositionSide.NET and leg_is_closing(
        command.position_side, Side.BUY if command.lots > 0 else Side.SELL
    )
    if command.lots == 0 or abs(command.lots) > LOTS_MAX or wrong_leg:
        return Reject.LOTS_OUT_OF_RANGE
    if not numbers.price_min <= command.price <= numbers.price_max:
        return Reject.PRICE_OUT_OF_RANGE
    if not 0 <= command.amount <= MONEY_MAX or (command.amount and not isolated):
        return Reject.AMOUNT_OUT_OF_RANGE
    if market.mark_price == 0:
        return Reject.NO_MARK_PRICE
    leg = (command.market_id, command.position_side)
    if is_busy(world, account, leg):
        return Reject.POSITION_OR_ORDERS_OPEN
    if any(order.market_id == command.market_id for order in account.orders.values()):
        return Reject.POSITION_OR_ORDERS_OPEN
    if is_full(world, account, [leg]):
        return Reject.POSITIONS_FULL
    if market.open_interest_lots + abs(command.lots) > numbers.open_interest_lots_max:
        return Reject.OPEN_INTEREST_BOUND
    if command.amount and command.amount > spendable(world, account):
        return Reject.INSUFFICIENT_BALANCE
    position = world.position(account, *leg)
    position.isolated = isolated
    world.move_margin(account, position, command.amount)
    clearing = world.accounts[SystemAccount.CLEARING]
    clearing_position = world.position(clearing, command.market_id, 0)
    # `trade` moves no margin on its first side: the seeded margin is exactly what was asked
    world.trade(
        account, position, clearing, clearing_position, command.lots, command.price, Cause.SEED
    )
    return None
