"""The rulebook's insurance funds: what one may pay, what it is paid, and its drawdown."""

from engine.constants import PPM, EventKind, SystemAccount
from engine.reference import margin
from engine.reference.ledger import World
from engine.reference.levels import case_of, emit_domain
from engine.reference.records import Account, Domain, Paid

PEAK_PARTS = 16


def loss_market(world: World, domain: Domain) -> int:
    """Part of R130. The market whose fund answers for a domain: its own, or that of the position
    it last lost; 0 if there was none."""
    return domain[1] or case_of(world, domain).last_market


def move(world: World, domain: Domain, kind: EventKind, amount: int, to: Account) -> None:
    """Book money from a domain's row to a system account, or back when negative."""
    account = world.accounts[domain[0]]
    position = world.domain_positions(domain)[0] if domain[1] else None
    world.credit(position, account, -amount)
    to.wallet_quote += amount
    emit_domain(world, domain, kind, amount=abs(amount), other_id=to.account_id)


def book_fee(world: World, domain: Domain, market_id: int, fee: int) -> None:
    """Part of R79."""
    if world.profile.liquidation.fee_to == "fund":
        move(world, domain, EventKind.LIQUIDATION_FEE, fee, world.fund_of(market_id))
    else:
        move(world, domain, EventKind.VENUE_FEE, fee, world.accounts[SystemAccount.FEES])


def paid_of(world: World, market_id: int) -> Paid:
    """Part of R99: whose window of the cap it is, the fund's or that of the market alone."""
    by_market = world.profile.losses.fund_cap_scope == "market"
    key = (world.fund_of(market_id).row, market_id if by_market else 0)
    return world.paid.setdefault(key, Paid())


def allowance(world: World, market_id: int) -> int:
    """R99. What a market's fund may pay now: its balance, no more than is left of its cap in this
    window, no more than keeps it above the drawdown limit."""
    fund, losses = world.fund_of(market_id), world.profile.losses
    room = max(0, fund.wallet_quote) if losses.fund_pays else 0
    cap, paid = world.policy.fund_cap_quote, paid_of(world, market_id)
    if cap:
        room = min(room, max(0, cap - (0 if is_new_window(world, paid) else paid.quote)))
    if losses.drawdown_ppm:
        floor = margin.ceil_div(peak(world, fund.row) * (PPM - losses.drawdown_ppm), PPM)
        room = min(room, max(0, fund.wallet_quote - floor))
    return room


def pay_from_fund(world: World, domain: Domain, market_id: int, missing: int) -> int:
    """Part of R99: the market's fund pays into a domain what it may; returns how much."""
    amount = min(missing, allowance(world, market_id))
    if amount <= 0:
        return 0
    paid = paid_of(world, market_id)
    if is_new_window(world, paid):
        paid.since_ns, paid.quote = world.now_ns, 0
    paid.quote += amount
    move(world, domain, EventKind.SHORTFALL, -amount, world.fund_of(market_id))
    return amount


def is_new_window(world: World, paid: Paid) -> bool:
    """Part of R99: the window of the cap is over."""
    window = world.profile.losses.fund_cap_window_ns
    return window != 0 and world.now_ns - paid.since_ns >= window


def peak(world: World, row: int) -> int:
    """Highest balance of a fund seen in the drawdown window."""
    return max(world.funds[row].peaks.values(), default=0)


def in_drawdown(world: World, market_id: int) -> bool:
    """Part of R98: the rule is active for the market's fund."""
    return world.funds[world.fund_of(market_id).row].drawdown


def watch_funds(world: World) -> None:
    """R98. After every unit of work the balance of each fund joins the highest of the present
    sixteenth of the drawdown window; parts older than the window are forgotten. The rule is active
    from when the fund has fallen by its share of the highest until it is less than the stop share
    below it."""
    if world.profile.losses.drawdown_ppm:
        for row in world.funds:
            watch_fund(world, row)


def watch_fund(world: World, row: int) -> None:
    losses, fund, account = world.profile.losses, world.funds[row], world.accounts[row]
    part = world.now_ns // max(1, losses.drawdown_window_ns // PEAK_PARTS)
    balance = account.wallet_quote
    fund.peaks[part] = max(balance, fund.peaks.get(part, 0))
    fund.peaks = {p: high for p, high in fund.peaks.items() if p > part - PEAK_PARTS}
    high = peak(world, row)
    fallen = (high - balance) * PPM
    if not fund.drawdown and high > 0 and fallen >= losses.drawdown_ppm * high:
        fund.drawdown = True
        world.emit(EventKind.DRAWDOWN, account, reason=1, amount=balance, fee=high)
    elif fund.drawdown and (balance >= high or fallen < losses.drawdown_stop_ppm * high):
        fund.drawdown = False
        world.emit(EventKind.DRAWDOWN, account, reason=2, amount=balance, fee=high)
