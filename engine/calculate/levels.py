"""Questions about one account: when it is in breach, called, marked, and how it ranks.

Every function builds a state on a bench and reads what the engine says about it.
"""

from fractions import Fraction

from engine.calculate.bench import Bench, single_tier
from engine.calculate.numbers import (
    Answer,
    CalculateError,
    common_unit,
    rounded_down,
    rounded_up,
)
from engine.calculate.question import (
    Question,
    find_domain,
    price_of,
    side_of,
    size_of,
    value_of,
)
from engine.constants import PPM, CommandKind, EventKind, Level
from engine.situation import SituationError, Stage


def trigger(q: Question) -> Answer:
    """Whether an account is in breach, and which level it is on."""
    i = q.inputs
    if i.has("used_margin"):
        return shared_trigger(q)
    equities = i.several("net_collateral", "margin_balance", "equity")
    many = isinstance(i.raw("net_collateral", "margin_balance", "equity"), list)
    needs = i.several("maintenance_requirement", "maintenance_margin")
    needs = needs if len(needs) == len(equities) else needs * len(equities)
    first = i.get("initial_margin", default=0)
    views = [level_at(q, e, n, first) for e, n in zip(equities, needs, strict=True)]
    states = [state for _, state in views]
    broken = [breached for breached, _ in views]
    return {
        "liquidatable": broken if many else broken[0],
        "state": states if many else states[0],
    }


def level_at(q: Question, equity: Fraction, need: Fraction, first: Fraction) -> tuple[bool, str]:
    """Breach and level of an account with this equity and these requirements."""
    bench = q.bench(margin__close_fee="none", margin__tier_mode="flat", margin__tier_by="notional")
    rules = bench.tree["trigger"]
    if need == 0 and equity < 0:
        return flat_breach(bench, equity), "ok"
    unit, part = common_unit([need, first, Fraction(1) if need == 0 else need]), PPM
    while part > 1 and 2 * part * max(need, first, unit) > unit * PPM:
        part //= 10
    mark = unit * PPM / part
    initial = first / mark if first else None
    bench.market(payoff="linear", tiers=single_tier(need / mark, initial), mark=mark)
    bench.seat("a", equity)
    if need:
        if first:
            bench.change({"margin": {"initial": "tiers"}})
        highest = bench.made["M"].tiers[0]["leverage_max"]
        bench.hold("a", 1, Fraction(1), mark, leverage=highest)
    try:
        view = bench.stage(held="a").views("a")[0]
    except SituationError as error:
        raise CalculateError(str(error)) from None
    if view.equity < view.requirement:
        end = {"initial": "_until_above_initial"}.get(rules.get("exit"), "")
        cancel = "" if bench.tree["liquidation"].get("cancel") == "none" else "cancel_all_and_"
        return True, f"{cancel}liquidate{end}"
    if view.level & Level.RESTRICTED:
        return False, "reduce_only_and_cancel_opening_orders"
    return False, "warned" if view.level & Level.WARNED else "ok"


def flat_breach(bench: Bench, equity: Fraction) -> bool:
    """Whether an account that has a balance below zero and nothing else is dealt with."""
    mark = Fraction(2) - equity
    bench.market(payoff="linear", mark=mark)
    bench.seat("a", equity)
    bench.hold("a", 1, Fraction(1), mark)
    stage = bench.stage(held="a")
    price = stage.price("M", stage.situation.markets["M"].mark)
    events = stage.send(CommandKind.DELIVER, market_id=1, price=price)
    return any(e.kind == EventKind.LIQUIDATION_STARTED for e in events)


def shared_trigger(q: Question) -> Answer:
    """A margin ratio that is equity over used margin less a factor; liquidated at zero."""
    i = q.inputs
    factor, used = i.get("adjustment_factor"), i.get("used_margin")
    share = {"maintenance": "share_of_initial", "initial_share_ppm": int(factor * PPM)}
    bench, mark, leverage = q.bench(), Fraction(100), int(i.get("leverage", default=10))
    bench.change({"margin": {**share, "initial": "leverage"}})
    bench.market(payoff="linear", mark=mark)
    bench.seat("a", i.get("equity"))
    bench.hold("a", 1, used * leverage / mark, mark, leverage=leverage)
    view = bench.stage(held="a").views("a")[0]
    ratio = Fraction(view.equity - view.maintenance, view.initial)
    return {"margin_ratio": ratio, "liquidate": view.equity < view.requirement}


def margin_call(q: Question) -> Answer:
    """A margin call, and whether another leverage cures it at the next check."""
    i, mark = q.inputs, Fraction(100)
    before, after = int(i.get("leverage_before")), int(i.get("leverage_after"))
    bench = q.bench(margin__initial="leverage")
    share = {"maintenance": "share_of_initial", "initial_share_ppm": PPM // 2}
    bench.change({"margin": share, "trigger": {"restrict": "none"}})
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=mark)
    bench.seat("a", i.get("ratio") * mark / before)
    bench.hold("a", 1, Fraction(1), mark, leverage=before)
    stage = bench.stage(held="a")
    called = stage.send(CommandKind.CHECK_MARGIN)
    leg = {"account_id": stage.ids["a"], "market_id": 1}
    stage.send(CommandKind.SET_LEVERAGE, **leg, amount=after)
    view = stage.views("a")[0]
    ended = stage.send(CommandKind.CHECK_MARGIN)
    return {
        "margin_called": any(e.kind == EventKind.MARGIN_CALLED for e in called),
        "ratio_after": Fraction(view.equity, view.initial),
        "margin_call_cured": any(e.kind == EventKind.MARGIN_CALL_ENDED for e in ended),
    }


def mark_price(q: Question) -> Answer:
    """The mark that index, last price and the last funding rate make. Without a last price it is
    taken far off, so that the index with the funding still to come, price 1, is the median."""
    i = q.inputs
    interval = int(i.get("funding_interval", default=8) * 3_600 * 10**9)
    left = int(i.get("time_until_funding", default=0) * 3_600 * 10**9)
    index = i.get("index_price")
    bench = q.bench(mark__source="median", funding__interval_ns=interval)
    bench.market(payoff="linear", mark=index)
    profile = bench.profile()
    situation = bench.situation(profile)
    stage = Stage(profile, situation, implementation=q.implementation, derive_mark=True)
    rate = i.get("funding_rate", default=0)
    stage.send(CommandKind.FUNDING, market_id=1, amount=int(rate * 10**9))
    far = situation.markets["M"].mark if rate == 0 else None
    if i.has("last_price"):
        last = stage.price("M", str(i.raw("last_price")))
    elif far is None:
        market = stage.spec("M")
        last = stage.price("M", market.price_max if rate > 0 else market.price_min)
    else:
        last = stage.price("M", far)
    stage.now_ns += interval - left
    stage.send(CommandKind.TRADE, market_id=1, price=last)
    units = stage.price("M", situation.markets["M"].mark)
    events = stage.send(CommandKind.INDEX, market_id=1, price=units)
    marks = [e.price for e in stage.events + events if e.kind == EventKind.MARK_SET]
    found = price_of(stage, "M", marks[-1])
    if i.has("last_price"):
        return {"mark_price": found}
    return {"mark_price": found, "price_1": found, "basis": found / index - 1}


def adl_rank(q: Question) -> Answer:
    """The ADL score of a position and the two factors it is made of."""
    i, bench = q.inputs, q.bench()
    if i.has("unrealized_profit") or i.has("pnl"):
        return score_of_amounts(q)
    mark, entry = i.get("mark_price"), i.get("entry_price")
    payoff = "inverse" if i.has("contracts") else "linear"
    size = i.get("contracts", "qty", default=1)
    bench.market(payoff=payoff, mark=mark)
    side = side_of(i)
    if i.has("bankruptcy_price"):
        zero = i.get("bankruptcy_price")
        wallet = abs(value_of(bench, "M", size, zero) - value_of(bench, "M", size, entry))
    else:
        share = i.get("account_value") / i.get("notional_position", default=mark * size)
        wallet = share * mark * size - side * size * (mark - entry)
    bench.seat("a", wallet)
    bench.hold("a", side, size, entry)
    return scores(bench)


def score_of_amounts(q: Question) -> Answer:
    """A score from profit, margins and balances, without a price."""
    i, bench, side = q.inputs, q.bench(), side_of(q.inputs)
    profit = i.get("unrealized_profit", "pnl")
    size = i.get("size", default=1)
    if i.has("maintenance_margin"):
        mark = i.get("maintenance_margin") * 20 + max(0, profit)
        rate, wallet, leverage = Fraction(1, 20), i.get("wallet_balance"), 1
        mark, first = i.get("maintenance_margin") / rate, None
        while mark <= profit * side:
            rate, mark = rate / 10, mark * 10
    else:
        mark = i.get("price")
        wallet = i.get("portfolio_value") - profit
        first = i.get("initial_margin") / (size * mark)
        leverage = min(255, max(1, int(1 / first)))
        rate = min(rounded_down(first / 2, 6), Fraction(1, 1000))
        whole = leverage * first == 1
        first = None if whole else rounded_up(first, 6)
        if whole:
            bench.change({"margin": {"initial": "leverage"}})
        else:
            leverage = min(leverage, int(1 / first))
    bench.market(payoff="linear", tiers=single_tier(rate, first), mark=mark)
    bench.seat("a", wallet)
    bench.hold("a", side, size, mark - side * profit / size, leverage=leverage)
    return scores(bench)


def scores(bench: Bench) -> Answer:
    """What the engine ranks account `a` by."""
    stage = bench.stage(held="a")
    domain, position = find_domain(stage, "a", "M")
    score = Fraction(position.adl_score, 10**9)
    unrealised = Fraction(position.unrealised)
    factor = Fraction(position.notional, domain.equity)
    return {
        "score": score,
        "leverage_pnl": score,
        "index": score,
        "pnl_percent": unrealised / (abs(position.entry_quote) or 1)
        if bench.tree["losses"]["adl_score"] != "wallet_pct_margin_ratio"
        else unrealised / domain.balance,
        "margin_ratio": Fraction(domain.maintenance, domain.equity),
        "effective_leverage": factor,
        "roe": unrealised / max(1, position.initial),
        "size": size_of(stage, "M", position.lots),
    }
