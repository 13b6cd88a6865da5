"""Events and rules in words, for the people an account belongs to."""

from decimal import Decimal

from engine import constants as c
from engine.constants import Cause, EventKind, Flag, Level, LiquidationEnd
from engine.situation import Event, Stage

RESIDUAL_WORDS = {
    "fund": "nothing is owed: a balance below zero is paid by the insurance fund, and what it does "
    "not have is the venue's bad debt",
    "debt": "a balance below zero is a debt of the customer, to be paid",
    "negative_left": "a balance below zero stays in the account; everybody's withdrawals wait a "
    "while, and nobody is asked to pay it in",
    "socialise_positions": "nothing is owed: what the fund does not pay is taken at once from "
    "every open position of the market",
    "socialise_profit": "nothing is owed: what the fund does not pay is taken from the profits of "
    "winners at settlement",
    "withdrawal_haircut": "nothing is owed: what the fund does not pay is charged on withdrawals",
    "pool": "nothing is owed: what the fund does not pay is paid by the pool that takes positions",
}
SURPLUS_WORDS = {
    "to_user": "what is left after a liquidation stays with the customer",
    "to_fund": "what is left after a liquidation goes to the insurance fund",
}
CAUSE_WORDS = {
    Cause.TRADE: "in the book",
    Cause.LIQUIDATION: "in the book, by liquidation",
    Cause.TAKEOVER: "with the insurance fund, which takes it over",
    Cause.ADL: "with a winner, by deleveraging",
    Cause.RESIDUAL: "with the fund beyond its limits, which is the venue itself",
    Cause.NETTED: "against the account's own other leg",
    Cause.TRANSFER: "by transfer to the backstop",
    Cause.ASSIGNED: "with a volunteer, by assignment",
    Cause.DELIVERY: "by delivery",
}
END_WORDS = {
    LiquidationEnd.RESTORED: "margin is restored",
    LiquidationEnd.CLOSED_IN_BOOK: "everything was closed in the book",
    LiquidationEnd.TAKEN_OVER: "the insurance fund took over",
    LiquidationEnd.DELEVERAGED: "winners were deleveraged",
    LiquidationEnd.RESIDUAL: "the venue itself took what was left",
    LiquidationEnd.NEGATIVE_BALANCE: "no position was left, only a balance",
    LiquidationEnd.PAUSED: "paused, to be looked at again",
    LiquidationEnd.ASSIGNED_OUT: "volunteers took over",
    LiquidationEnd.BACKSTOPPED: "the backstop took over",
}
MONEY_WORDS = {
    EventKind.LIQUIDATION_FEE: "{who} pays a liquidation fee of {amount} to the insurance fund",
    EventKind.VENUE_FEE: "{who} pays a liquidation fee of {amount} to the venue",
    EventKind.SURPLUS: "{amount} left over goes from {who} to the insurance fund",
    EventKind.SHORTFALL: "the insurance fund pays {amount} into {who}",
    EventKind.BAD_DEBT: "{amount} of {who} is bad debt: the fund goes below what it has",
    EventKind.LOSS_SHARED: "{who} gives {amount} for somebody else's loss",
    EventKind.LOSS_COVERED: "{who} is brought to zero with {amount} collected from everybody",
    EventKind.DEBT_LEFT: "{who} owes {amount} from now on",
    EventKind.DEBT_WAIVED: "the debt of {who} of {amount} is waived; the fund pays it",
    EventKind.CLAWED_BACK: "{amount} of the profit of {who} is taken for the fund's deficit",
    EventKind.SEIZED: "{amount} of margin of {who} goes to the backstop with the position",
    EventKind.MARGIN_CALLED: "{who} gets a margin call for {amount}",
}


def sentence(stage: Stage, names: dict[int, str], event: Event) -> str | None:
    """One event in words, or None where it says nothing to an account's owner."""
    who = names.get(event.account_id, str(event.account_id))
    if event.kind in MONEY_WORDS:
        text = f"{stage.money_text(event.amount)} {stage.profile.settlement.asset}"
        return MONEY_WORDS[EventKind(event.kind)].format(who=who, amount=text)
    symbols = {market_id: symbol for symbol, market_id in stage.market_ids.items()}
    symbol = symbols.get(event.market_id, "")
    if event.kind == EventKind.MARK_SET:
        return f"the mark of {symbol} is {stage.price_text(symbol, event.price)}"
    if event.kind == EventKind.FILL:
        return fill_words(stage, names, event, symbol)
    if event.kind == EventKind.LIQUIDATION_STARTED:
        equity, need = stage.money_text(event.amount), stage.money_text(event.fee)
        return f"liquidation of {who} begins: equity {equity} against a requirement of {need}"
    if event.kind == EventKind.LIQUIDATION_ENDED:
        left = stage.money_text(event.amount)
        end = END_WORDS[LiquidationEnd(event.reason)]
        return f"liquidation of {who}: {end}; equity {left}"
    return other_words(stage, event, who, symbol)


def fill_words(stage: Stage, names: dict[int, str], event: Event, symbol: str) -> str | None:
    """A fill, from the side of whoever began it."""
    if event.flags & Flag.MAKER or event.reason not in CAUSE_WORDS:
        return None
    size = abs(event.lots) * Decimal(stage.spec(symbol).lot)
    verb = "buys" if event.lots > 0 else "sells"
    price, other = stage.price_text(symbol, event.price), names.get(event.other_id, "")
    who = names.get(event.account_id, "")
    cause = CAUSE_WORDS[Cause(event.reason)]
    return f"{who} {verb} {size:f} {symbol} at {price} {cause} ({other})"


def other_words(stage: Stage, event: Event, who: str, symbol: str) -> str | None:
    """The events that need no amount."""
    if event.kind == EventKind.CANCELLED:
        if event.reason == c.CancelReason.IOC_REMAINDER:
            size = event.lots * Decimal(stage.spec(symbol).lot)
            limit = stage.price_text(symbol, event.price)
            return f"{size:f} {symbol} of {who} found nobody in the book down to {limit}"
        return f"an order of {who} in {symbol} is cancelled"
    if event.kind in (EventKind.LEVEL_ENTERED, EventKind.LEVEL_LEFT):
        word = "warned" if event.reason == Level.WARNED else "restricted to closing"
        return f"{who} is {'' if event.kind == EventKind.LEVEL_ENTERED else 'no longer '}{word}"
    if event.kind == EventKind.TAKEOVER_REFUSED:
        reason = c.RefusedTakeover(event.reason).name.lower().replace("_", " ")
        return f"the insurance fund does not take over the position of {who}: {reason}"
    if event.kind == EventKind.MARGIN_CALL_ENDED:
        return f"the margin call of {who} is {c.CallEnd(event.reason).name.lower()}"
    if event.kind == EventKind.DRAWDOWN:
        word = "begins" if event.reason == 1 else "ends"
        return f"the insurance fund fell too far too fast: deleveraging in its place {word}"
    return None
