"""How does an account stand, what happens if the mark moves, who pays, and what is still owed?

Answers are messages with stable names (`docs/explain.md`); everything is read from an exchange
that was put into the situation and run. Amounts, prices and sizes are exact decimal text in the
venue's own units.
"""

from decimal import Decimal
from fractions import Fraction

from engine import constants as c
from engine.constants import CommandKind, EventKind, SystemAccount
from engine.funds import fund_id, fund_ids
from engine.messages import Patch
from engine.profile import VenueProfile
from engine.reference.margin import value
from engine.shapes import Message
from engine.situation import (
    Event,
    Implementation,
    LoadedSituation,
    Situation,
    SituationError,
    Stage,
    liquidation_mark,
)
from engine.units import format_decimal
from engine.venue import market_numbers
from engine.views import DomainView, PositionView
from engine.wording import RESIDUAL_WORDS, SURPLUS_WORDS, sentence

ROUNDS_MAX = 200  # how often a waiting domain is looked at again
LIGHTS = 5
RATIO_DECIMALS = 6


class PositionAnswer(Message, kw_only=True):
    """One position. `liquidation_price` is null where no mark of this market alone does it."""

    market: str
    side: str
    size: str
    entry_price: str
    mark_price: str
    notional: str
    unrealised_pnl: str
    tier: int
    initial_margin: str
    maintenance_margin: str
    liquidation_price: str | None
    bankruptcy_price: str
    adl_score: str
    adl_rank: int  # 1 is closed first; 0: not in the queue
    adl_queue: int
    adl_lights: int  # 5 is the fifth that is closed first; 0: not in the queue
    first_order_size: str
    first_order_limit: str | None


class DomainAnswer(Message, kw_only=True):
    """One margin domain: the wallet with all cross positions, or one isolated position."""

    domain: str
    balance: str
    equity: str
    initial_margin: str
    maintenance_margin: str
    liquidation_requirement: str
    exit_requirement: str
    margin_ratio: str | None  # maintenance over equity; null at no equity
    is_liquidatable: bool
    state: str
    positions: list[PositionAnswer]


class AccountAnswer(Message, kw_only=True):
    """One account and its domains, cross first."""

    account: str
    domains: list[DomainAnswer]


class StepAnswer(Message, kw_only=True):
    """One thing that happened, in words and as the event that says so."""

    seconds: str
    event: str
    account: str
    text: str


class Payer(Message, kw_only=True):
    """Somebody who bears a part of the loss, or takes a part of the position."""

    who: str
    amount: str
    note: str


class Outcome(Message, kw_only=True):
    """What an account has afterwards; `owes` is what it still has to pay."""

    account: str
    equity_before: str
    equity_after: str
    lost: str
    wallet_after: str
    positions_after: list[str]
    was_liquidated: bool
    still_in_liquidation: bool  # it waits, for a book or a counterparty
    owes: str
    owes_rule: str


class Move(Message, kw_only=True):
    """What happens when marks go somewhere."""

    marks: dict[str, str]
    steps: list[StepAnswer]
    who_pays: list[Payer]
    outcomes: list[Outcome]


class Explanation(Message, kw_only=True):
    """The whole answer."""

    title: str
    venue: str
    as_of: str
    asset: str
    residual_rule: str
    surplus_rule: str
    accounts: list[AccountAnswer]
    move: Move | None
    assumed: list[str]
    patches: list[Patch]


def explain(
    loaded: LoadedSituation,
    account: str | None = None,
    marks: dict[str, str] | None = None,
    implementation: Implementation = "rulebook",
) -> Explanation:
    """Answer for one account or for all; with `marks`, what happens when they are reached."""
    profile, situation = loaded.profile, loaded.situation
    if account is not None and account not in situation.accounts:
        names = ", ".join(situation.accounts)
        raise SituationError(f"{loaded.file}: no account {account!r}; it has {names}")
    chosen = [account] if account else list(situation.accounts)
    stages = {
        name: Stage(profile, situation, implementation=implementation, held=name)
        for name in situation.accounts
    }
    queue = adl_queue(stages)
    answers = [
        AccountAnswer(
            account=name,
            domains=[
                domain_answer(stages[name], name, view, queue, implementation)
                for view in stages[name].views(name)
            ],
        )
        for name in chosen
    ]
    losses = profile.losses
    return Explanation(
        title=situation.title,
        venue=profile.name,
        as_of=profile.as_of,
        asset=profile.settlement.asset,
        residual_rule=RESIDUAL_WORDS[losses.residual],
        surplus_rule=SURPLUS_WORDS[profile.liquidation.surplus],
        accounts=answers,
        move=move(profile, situation, chosen, marks, implementation) if marks else None,
        assumed=assumed(profile, list(situation.markets)),
        patches=list(loaded.patches),
    )


def assumed(profile: VenueProfile, symbols: list[str]) -> list[str]:
    """Assumed fields of the profile that these markets depend on."""
    found = []
    for each in profile.evidence:
        parts = each.field.split(".")
        elsewhere = parts[0] == "markets" and len(parts) > 1 and parts[1] not in (*symbols, "*")
        matters = parts[0] in ("margin", "trigger", "liquidation", "losses", "markets")
        if each.status == "assumed" and matters and not elsewhere:
            found.append(f"{each.field}: {each.source}")
    return found


# -- how it stands ----------------------------------------------------------------------------


def adl_queue(stages: dict[str, Stage]) -> dict[tuple[int, bool], list[tuple[int, str, int]]]:
    """Candidates of every market and side, the first to be closed first."""
    queue: dict[tuple[int, bool], list[tuple[int, str, int]]] = {}
    for name, stage in stages.items():
        winners = stage.profile.losses.adl_candidates == "winners"
        if "adl" not in stage.profile.losses.waterfall:
            continue
        for view in stage.views(name):
            for p in view.positions:
                if not winners or p.unrealised > 0:
                    key = (p.market_id, p.lots > 0)
                    queue.setdefault(key, []).append((-p.adl_score, name, p.position_side))
    for ranked in queue.values():
        ranked.sort(key=lambda row: row[0])
    return queue


def domain_answer(
    stage: Stage, name: str, view: DomainView, queue: dict, implementation: Implementation
) -> DomainAnswer:
    """One domain in the venue's units."""
    symbols = {number: symbol for symbol, number in stage.market_ids.items()}
    money = stage.money_text
    held = any(is_future(stage, symbols, p) for p in view.positions)
    breached = held and view.equity < view.requirement
    state = "ok"
    if view.level & c.Level.WARNED:
        state = "warned"
    if view.level & c.Level.RESTRICTED:
        state = "restricted"
    ratio = None
    if view.equity > 0:
        exact = Fraction(view.maintenance, view.equity) * 10**RATIO_DECIMALS
        ratio = format_decimal(round(exact), RATIO_DECIMALS)
    return DomainAnswer(
        domain=f"isolated {symbols[view.market_id]}" if view.market_id else "cross",
        balance=money(view.balance),
        equity=money(view.equity),
        initial_margin=money(view.initial),
        maintenance_margin=money(view.maintenance),
        liquidation_requirement=money(view.requirement),
        exit_requirement=money(view.exit_requirement),
        margin_ratio=ratio,
        is_liquidatable=breached,
        state="liquidation" if breached else state,
        positions=[
            position_answer(stage, name, view, p, symbols[p.market_id], queue, implementation)
            for p in view.positions
            if is_future(stage, symbols, p)
        ],
    )


def is_future(stage: Stage, symbols: dict[int, str], p: PositionView) -> bool:
    """Whether a leg is a position with margin, not an asset held."""
    return stage.spec(symbols[p.market_id]).contract == "future"


def position_answer(
    stage: Stage,
    name: str,
    view: DomainView,
    p: PositionView,
    symbol: str,
    queue: dict,
    implementation: Implementation,
) -> PositionAnswer:
    """One position in the venue's units, with its place in the deleveraging queue."""
    situation, side = stage.situation, "long" if p.lots > 0 else "short"
    found = liquidation_mark(
        stage.profile,
        situation,
        name,
        symbol,
        market_id=view.market_id,
        position_side=view.position_side,
        side=side,
        implementation=implementation,
    )
    ranked = queue.get((p.market_id, p.lots > 0), [])
    mine = [n for n, row in enumerate(ranked) if row[1:] == (name, p.position_side)]
    step = next((step for step in p.steps if step.lots > 0), None)
    mark = stage.price(symbol, situation.markets[symbol].mark)
    entry = next(
        each.entry
        for each in situation.accounts[name].positions
        if each.market == symbol and each.side == side
    )
    return PositionAnswer(
        market=symbol,
        side=side,
        size=size_text(stage, symbol, abs(p.lots)),
        entry_price=stage.price_text(symbol, stage.price(symbol, entry)),
        mark_price=stage.price_text(symbol, mark),
        notional=stage.money_text(p.notional),
        unrealised_pnl=stage.money_text(p.unrealised),
        tier=p.tier + 1,
        initial_margin=stage.money_text(p.initial),
        maintenance_margin=stage.money_text(p.maintenance),
        liquidation_price=None if found is None else stage.price_text(symbol, found),
        bankruptcy_price=stage.price_text(symbol, p.bankruptcy_price),
        adl_score=format_decimal(p.adl_score, 9),
        adl_rank=mine[0] + 1 if mine else 0,
        adl_queue=len(ranked),
        adl_lights=LIGHTS - mine[0] * LIGHTS // len(ranked) if mine else 0,
        first_order_size=size_text(stage, symbol, step.lots if step else 0),
        first_order_limit=stage.price_text(symbol, step.limit_price) if step else None,
    )


def size_text(stage: Stage, symbol: str, lots: int) -> str:
    """Lots as a size in base (inverse: face value)."""
    return f"{(lots * Decimal(stage.spec(symbol).lot)):f}"


# -- what happens -----------------------------------------------------------------------------


def equity_of(stage: Stage, name: str) -> int:
    """Equity of an account over all its domains, in money units."""
    return sum(view.equity for view in stage.views(name))


def move(
    profile: VenueProfile,
    situation: Situation,
    chosen: list[str],
    marks: dict[str, str],
    implementation: Implementation,
) -> Move:
    """Run the situation, move the marks, let time pass until nobody waits, and tell it."""
    stage = Stage(profile, situation, implementation=implementation)
    unknown = [symbol for symbol in marks if symbol not in stage.market_ids]
    if unknown:
        known = ", ".join(stage.market_ids)
        raise SituationError(f"--mark {unknown[0]}: no such market here; it has {known}")
    before = {name: equity_of(stage, name) for name in situation.accounts}
    fund = funds_equity(stage)
    begun = [e for e in stage.events if e.kind == EventKind.LIQUIDATION_STARTED]
    first = stage.events.index(begun[0]) if begun else len(stage.events)
    for symbol, price in marks.items():
        stage.set_mark(symbol, price)
    run_out(stage)
    events = stage.events[first:]
    names = {number: name for name, number in stage.ids.items()}
    names |= {int(a): a.name.lower().replace("_", " ") for a in SystemAccount}
    for market in reversed(stage.profile.markets):
        if (fund_of := fund_id(stage.profile, market)) < 0:
            names[fund_of] = f"insurance fund of {market.fund_group or market.symbol}"
    steps = []
    for event in events:
        text = sentence(stage, names, event)
        if text is not None:
            steps.append(
                StepAnswer(
                    seconds=format_decimal(event.time_ns - stage.situation_ns, 9),
                    event=EventKind(event.kind).name,
                    account=names.get(event.account_id, ""),
                    text=text,
                )
            )
    return Move(
        marks={s: stage.price_text(s, stage.price(s, price)) for s, price in marks.items()},
        steps=steps,
        who_pays=payers(stage, first, fund),
        outcomes=[outcome(stage, name, before[name], events) for name in chosen],
    )


def run_out(stage: Stage) -> None:
    """Let time pass until nobody waits; make and enforce margin calls; settle what is shared at a
    settlement."""
    trigger, losses = stage.profile.trigger, stage.profile.losses
    for _ in range(ROUNDS_MAX):
        due = [view.due_ns for name in stage.ids for view in stage.views(name) if view.due_ns]
        if not due:
            break
        stage.wait(max(0, min(due) - stage.now_ns))
    if trigger.cure_ns:
        stage.send(CommandKind.CHECK_MARGIN)
        stage.wait(trigger.cure_ns)
        stage.send(CommandKind.CHECK_MARGIN)
    lacking = any(stage.balance(fund) < 0 for fund in fund_ids(stage.profile))
    if losses.residual == "socialise_profit" and lacking:
        stage.send(CommandKind.SETTLE)


def given_up(stage: Stage, first: int, cause: c.Cause) -> int:
    """What counterparties of fills gave up against the mark of that moment, from an event on."""
    marks: dict[int, int] = {}
    users, total = set(stage.ids.values()), 0
    for index, event in enumerate(stage.events):
        if event.kind == EventKind.MARK_SET:
            marks[event.market_id] = event.price
        fill = event.kind == EventKind.FILL and event.reason == cause
        if not fill or index < first or not event.flags & c.Flag.MAKER:
            continue
        if event.account_id in users:
            market = stage.profile.markets[event.market_id - 1]
            numbers = market_numbers(stage.profile, market)
            at_mark = value(numbers, event.lots, marks[event.market_id])
            total += value(numbers, event.lots, event.price) - at_mark
    return total


def funds_equity(stage: Stage) -> int:
    """What the insurance funds have together, with their positions at mark."""
    return sum(stage.exchange.inspect(fund)[0].equity for fund in fund_ids(stage.profile))


def payers(stage: Stage, first: int, fund: int) -> list[Payer]:
    """Everybody who bears a part of it, from the events and the fund's equity."""
    found, events = [], stage.events[first:]

    def add(who: str, amount: int, note: str) -> None:
        if amount:
            found.append(Payer(who=who, amount=stage.money_text(amount), note=note))

    def total(kind: EventKind) -> int:
        return sum(e.amount for e in events if e.kind == kind)

    after = funds_equity(stage)
    paid, own = max(0, fund) - max(0, after), max(0, -after) - max(0, -fund)
    add("insurance fund", paid, "what its equity fell by" if paid > 0 else "what it gained")
    add("venue", own, "what the fund is below zero by: the venue's own")
    add("deleveraged winners", given_up(stage, first, c.Cause.ADL), "against the mark")
    add("volunteers", given_up(stage, first, c.Cause.ASSIGNED), "against the mark")
    add("everybody with a position", total(EventKind.LOSS_SHARED), "paid at once")
    add("winners at settlement", total(EventKind.CLAWED_BACK), "by their share of all profit")
    owed = {e.account_id: e.amount for e in events if e.kind == EventKind.DEBT_LEFT}  # the last
    add("the customer", sum(owed.values()), "a debt, as long as it is not waived")
    return found


def outcome(stage: Stage, name: str, before: int, events: list[Event]) -> Outcome:
    """What an account has left, and what it owes."""
    number, money = stage.ids[name], stage.money_text
    views = stage.views(name)
    after = sum(view.equity for view in views)
    wallet = stage.balance(number)
    symbols = {market_id: symbol for symbol, market_id in stage.market_ids.items()}
    flat = not any(is_future(stage, symbols, p) for view in views for p in view.positions)
    owed = max(0, -wallet) if flat else 0
    held = [
        f"{'long' if p.lots > 0 else 'short'} {size_text(stage, symbols[p.market_id], abs(p.lots))}"
        f" {symbols[p.market_id]}"
        for view in views
        for p in view.positions
    ]
    return Outcome(
        account=name,
        equity_before=money(before),
        equity_after=money(after),
        lost=money(before - after),
        wallet_after=money(wallet),
        positions_after=held,
        was_liquidated=any(
            e.kind == EventKind.LIQUIDATION_STARTED and e.account_id == number for e in events
        ),
        still_in_liquidation=any(view.due_ns for view in views),
        owes=money(owed),
        owes_rule=RESIDUAL_WORDS[stage.profile.losses.residual],
    )
