"""The rulebook's insurance fund: what it may pay, what it is paid, and its drawdown."""

from engine.constants import PPM, EventKind, SystemAccount
from engine.reference import margin
from engine.reference.ledger import World
from engine.reference.levels import emit_domain
from engine.reference.records import Domain

FUND = SystemAccount.INSURANCE_FUND
PEAK_PARTS = 16


def to_fund(world: World, domain: Domain, kind: EventKind, amount: int) -> None:
    """Book money from a domain's row to the insurance fund, or back when negative."""
    move(world, domain, kind, amount, FUND)


def move(world: World, domain: Domain, kind: EventKind, amount: int, to: SystemAccount) -> None:
    account = world.accounts[domain[0]]
    position = world.domain_positions(domain)[0] if domain[1] else None
    world.credit(position, account, -amount)
    world.accounts[to].wallet_quote += amount
    emit_domain(world, domain, kind, amount=abs(amount))


def book_fee(world: World, domain: Domain, fee: int) -> None:
    """Part of R79."""
    if world.profile.liquidation.fee_to == "fund":
        to_fund(world, domain, EventKind.LIQUIDATION_FEE, fee)
    else:
        move(world, domain, EventKind.VENUE_FEE, fee, SystemAccount.FEES)


def allowance(world: World) -> int:
    """R99. What the fund may pay now: its balance, no more than is left of its cap in this window,
    no more than keeps it above the drawdown limit."""
    fund, losses = world.fund, world.profile.losses
    balance = world.accounts[FUND].wallet_quote
    room = max(0, balance) if losses.fund_pays else 0
    cap = world.policy.fund_cap_quote
    if cap:
        room = min(room, max(0, cap - (0 if is_new_window(world) else fund.paid_quote)))
    if losses.drawdown_ppm:
        floor = margin.ceil_div(peak(world) * (PPM - losses.drawdown_ppm), PPM)
        room = min(room, max(0, balance - floor))
    return room


def pay_from_fund(world: World, domain: Domain, missing: int) -> int:
    """Part of R99: the fund pays into a domain what it may; returns how much."""
    paid = min(missing, allowance(world))
    if paid <= 0:
        return 0
    if is_new_window(world):
        world.fund.paid_since_ns, world.fund.paid_quote = world.now_ns, 0
    world.fund.paid_quote += paid
    to_fund(world, domain, EventKind.SHORTFALL, -paid)
    return paid


def is_new_window(world: World) -> bool:
    """Part of R99: the window of the fund's cap is over."""
    window = world.profile.losses.fund_cap_window_ns
    return window != 0 and world.now_ns - world.fund.paid_since_ns >= window


def peak(world: World) -> int:
    """Highest balance of the fund seen in the drawdown window."""
    return max(world.fund.peaks.values(), default=0)


def watch_fund(world: World) -> None:
    """R98. After every unit of work the fund's balance joins the highest of the present sixteenth
    of the drawdown window; parts older than the window are forgotten. The rule is active from
    when the fund has fallen by its share of the highest until it is less than the stop share
    below it."""
    losses, fund = world.profile.losses, world.fund
    if losses.drawdown_ppm == 0:
        return
    part = world.now_ns // max(1, losses.drawdown_window_ns // PEAK_PARTS)
    balance = world.accounts[FUND].wallet_quote
    fund.peaks[part] = max(balance, fund.peaks.get(part, 0))
    fund.peaks = {p: high for p, high in fund.peaks.items() if p > part - PEAK_PARTS}
    high = peak(world)
    fallen = (high - balance) * PPM
    if not fund.drawdown and high > 0 and fallen >= losses.drawdown_ppm * high:
        fund.drawdown = True
        world.emit(EventKind.DRAWDOWN, world.accounts[FUND], reason=1, amount=balance, fee=high)
    elif fund.drawdown and (balance >= high or fallen < losses.drawdown_stop_ppm * high):
        fund.drawdown = False
        world.emit(EventKind.DRAWDOWN, world.accounts[FUND], reason=2, amount=balance, fee=high)
