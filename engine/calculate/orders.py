"""Questions about one liquidation: how much is closed, at what price, what it costs.

Accounts are driven into breach on a bench and the events, or the steps the engine would take, are
read.
"""

from fractions import Fraction

from engine.calculate.bench import Bench, single_tier
from engine.calculate.margins import portfolio
from engine.calculate.numbers import Answer, CalculateError, common_unit, ppm, rounded_up
from engine.calculate.question import (
    Question,
    find_domain,
    money_of,
    price_of,
    side_of,
    size_of,
)
from engine.constants import PPM, EventKind, SystemAccount
from engine.situation import Event, Stage
from engine.views import StepView

SECOND_NS = 10**9
RETRY = {"waterfall": ["retry"], "retry_ns": 10**15}


def order_price(q: Question) -> Answer:
    """The limit of the liquidation order: the oracle less a spread that grows with the loss."""
    bench, symbol, _ = portfolio(q)
    i = q.inputs
    multiple = i.get("spread_to_mm_ratio") * adjusted(q, bench, symbol)
    step = {"size": "all", "limit": "spread", "limit_ppm": int(multiple * PPM)}
    bench.change({"liquidation": {"steps": [step]}})
    stage = bench.stage(held="a")
    found = chosen_step(stage, "a", symbol)
    price = price_of(stage, symbol, found.limit_price)
    return {"fillable_price": price, "liquidation_order_price": price}


def adjusted(q: Question, bench: Bench, symbol: str) -> Fraction:
    """What an adjustment of the distance to bankruptcy multiplies the spread by."""
    factor = q.inputs.get("bankruptcy_adjustment", default=1)
    if factor == 1:
        return Fraction(1)
    domain, _ = find_domain(bench.stage(held="a"), "a", symbol)
    distance = Fraction(domain.maintenance - domain.equity, domain.maintenance)
    return min(factor, 1 / distance) if distance > 0 else factor


def chosen_step(stage: Stage, name: str, symbol: str) -> StepView:
    """The first step of the profile that applies to a position now."""
    _, position = find_domain(stage, name, symbol)
    for step in position.steps:
        if step.lots > 0:
            return step
    raise CalculateError(f"{symbol}: no step of the profile applies")


def size(q: Question) -> Answer:
    """How much a liquidation closes, by whichever rule the inputs belong to."""
    i = q.inputs
    if i.has("rule"):
        return tier_size(q)
    if i.has("max_portion"):
        return portion_size(q)
    if i.has("rounds_per_second"):
        return paced_size(q)
    if i.has("seconds_since_partial"):
        return cooled_size(q)
    if i.has("call_times"):
        return window_size(q)
    if i.has("margin_shortage"):
        return cover_size(q)
    return step_size(q)


def step_size(q: Question) -> Answer:
    """What the profile's own steps would close of a position now, in its own market."""
    i, bench = q.inputs, q.bench()
    mark = i.get("mark_price", "price")
    symbol = bench.own_market(i.raw("market", default="") or None, mark)
    bench.seat("a", i.get("wallet_balance", default=0))
    entry = i.get("entry_price", default=mark)
    bench.hold("a", side_of(i), i.get("qty", "size"), entry, symbol)
    stage = bench.stage(held="a")
    step = chosen_step(stage, "a", symbol)
    return {
        "close_qty": size_of(stage, symbol, step.lots),
        "limit_price": price_of(stage, symbol, step.limit_price),
    }


def tier_size(q: Question) -> Answer:
    """Contracts to close so that a lower tier fits: the lowest, or so many tiers down."""
    i, tiers = q.inputs, []
    number = 1
    while i.has(f"tier{number}_max"):
        rate = Fraction(number, 1000)
        tiers.append({**single_tier(rate)[0], "bound": i.get(f"tier{number}_max")})
        number += 1
    tiers.append(single_tier(Fraction(number, 1000))[0])
    words = {"to_tier_1": 0, "one_tier_down": 1, "two_tiers_down": 2}
    if (rule := i.raw("rule")) not in words:
        raise CalculateError(f"rule: expected one of {', '.join(words)}, got {rule!r}")
    step = {"size": "lower_tier", "tiers_down": words[rule]}
    bench = q.bench(liquidation__steps=[step], margin__tier_mode="flat")
    bench.change({"margin": {"tier_by": "contracts", "close_fee": "none"}})
    bench.market(payoff="linear", tiers=tiers, lot=Fraction(1), mark=Fraction(100))
    bench.seat("a")
    bench.hold("a", 1, i.get("position"), Fraction(100))
    stage = bench.stage(held="a")
    return {"close_qty": size_of(stage, "M", chosen_step(stage, "a", "M").lots)}


def portion_size(q: Question) -> Answer:
    """A share of the position, no less than a minimum of notional."""
    i, price = q.inputs, Fraction(100)
    portion = {"size": "fraction", "fraction_ppm": ppm(i.get("max_portion"), "max_portion")}
    step = {**portion, "floor": str(i.raw("min_notional", default=0)), "limit": "none"}
    bench = q.bench(liquidation__steps=[step])
    value = i.get("position_notional")
    bench.market(payoff="linear", lot=value / price / 10**6, mark=price)
    bench.seat("a")
    bench.hold("a", 1, value / price, price)
    stage = bench.stage(held="a")
    lots = chosen_step(stage, "a", "M").lots
    return {"max_liquidatable": size_of(stage, "M", lots) * price}


def cover_bench(q: Question, base: Fraction, lot: Fraction) -> Bench:
    """A position that is short of a given amount of margin, closed by transfer at a discount."""
    i = q.inputs
    price, ratio = i.get("oracle_price"), i.get("margin_ratio", "mm_ratio")
    price *= i.get("quote_price", default=1)  # what money is worth in the oracle's dollars
    keeper = {"order": "transfer", "limit": "mark"}
    keeper["limit_ppm"] = ppm(i.get("liquidator_fee"), "liquidator_fee")
    fee = ppm(i.get("if_fee", "max_if_fee", "if_fee_max"), "if_fee")
    bench = q.bench(trigger__exit="maintenance", losses=RETRY, liquidation__fee_cap="faded")
    bench.change({"losses": {"residual": "negative_left", "fund_cap": "0"}})
    steps = [{"size": "cover_shortage", **keeper, "pause_ns": SECOND_NS}]
    bench.change({"liquidation": {"steps": steps}})
    bench.market(
        payoff="linear",
        tiers=single_tier(ratio),
        lot=lot,
        mark=price,
        liquidation_fee_ppm=fee,
    )
    short = i.get("margin_shortage")
    bench.seat("a", base * price * ratio - short)
    bench.hold("a", 1, base, price)
    return bench


def cover_size(q: Question) -> Answer:
    """Just enough to cover a shortage of margin."""
    i = q.inputs
    base = i.get("base", default=0)
    if not base:
        base, price = Fraction(4), i.get("oracle_price") * i.get("quote_price", default=1)
        gain = i.get("margin_ratio") - i.get("liquidator_fee") - i.get("if_fee", default=0)
        while gain > 0 and base * gain * price < 2 * i.get("margin_shortage"):
            base *= 2
    stage = cover_bench(q, base, Fraction(1, 10**9)).stage(held="a")
    return {"base_to_close": size_of(stage, "M", chosen_step(stage, "a", "M").lots)}


def fee(q: Question) -> Answer:
    """The fund's fee in a liquidation, as a share of what was closed at mark."""
    base = q.inputs.get("base")
    bench = cover_bench(q, base, base / 10**6)
    bench.tree["liquidation"]["steps"][0] |= {"size": "fraction", "fraction_ppm": 10_000}
    stage = bench.stage()
    closed = sum(e.lots for e in stage.events if is_fill(e, stage.ids["a"], "liquidated"))
    paid = sum(e.amount for e in stage.events if e.kind == EventKind.LIQUIDATION_FEE)
    value = abs(size_of(stage, "M", closed)) * q.inputs.get("oracle_price")
    return {"if_fee": money_of(stage, paid) / value}


def is_fill(event: Event, account_id: int, cause: str = "") -> bool:
    """Whether an event is a fill of an account, apart from how its position began."""
    seeded = event.reason == 5 and bool(cause)
    return event.kind == EventKind.FILL and event.account_id == account_id and not seeded


def execution(q: Question) -> Answer:
    """One liquidation by transfer at a discount: what user, keeper and fund have afterwards."""
    i = q.inputs
    base, price, deposit = i.get("base"), i.get("oracle_price"), i.get("deposit")
    q.inputs.values["margin_shortage"] = 0
    bench = cover_bench(q, base, base / 10**9)
    buffer = ppm(i.get("buffer"), "buffer")
    bench.change({"trigger": {"exit": "buffer", "exit_buffer_ppm": buffer}})
    wallet = deposit + i.get("quote") + base * price
    bench.seats["a"].wallet = wallet
    bench.money.append(abs(wallet))
    stage = bench.stage()
    view = stage.views("a")[0]
    left = view.positions[0] if view.positions else None
    entry = left.entry_quote if left else 0
    lots = left.lots if left else 0
    legs = [r for r in stage.table("positions") if r[0] == SystemAccount.BACKSTOP]
    keeper_lots, keeper_entry = (legs[0][3], legs[0][4]) if legs else (0, 0)
    paid = sum(e.amount for e in stage.events if e.kind == EventKind.LIQUIDATION_FEE)
    user_base = size_of(stage, "M", lots)
    return {
        "base_closed": base - user_base,
        "user_base_after": user_base,
        "user_quote_after": money_of(stage, view.balance - entry) - deposit,
        "liquidator_base": size_of(stage, "M", keeper_lots),
        "liquidator_quote": -money_of(stage, keeper_entry),
        "if_fee_paid": money_of(stage, paid),
        "open_orders_after": len(stage.table("orders")),
        "margin_ratio_after": Fraction(view.equity, view.notional) if view.notional else None,
    }


# -- pacing -----------------------------------------------------------------------------------


def paced_size(q: Question) -> Answer:
    """Fixed chunks at a fixed pace: what is sold within one second."""
    i = q.inputs
    face = Fraction(q.bench().base["lot"])
    chunk, pause = int(i.get("step")), SECOND_NS / i.get("rounds_per_second")
    step = {"size": "chunk", "chunk_lots": chunk, "limit": "none", "pause_ns": int(pause)}
    bench = q.bench(liquidation__steps=[step], losses=RETRY)
    held = face * chunk * 1_000
    bench.market(payoff="inverse", tiers=single_tier(Fraction(1, 100)), lot=face)
    bench.seat("a", Fraction(1, 100))
    bench.hold("a", 1, held, Fraction(10_000))
    bench.offer("buy", Fraction(10_000), held)
    stage = bench.stage()
    while stage.now_ns + pause < 2 * SECOND_NS:
        stage.wait(int(pause))
    sold = -sum(e.lots for e in stage.events if is_fill(e, stage.ids["a"], "liquidated"))
    return {"max_rate_contracts": sold, "max_rate_usd": sold * face}


def cooled_size(q: Question) -> Answer:
    """A large position is closed by a fraction first; within the cool-down, whole."""
    i = q.inputs
    asked = i.raw("seconds_since_partial")
    answers = [cooled_order(q, each) for each in (asked if isinstance(asked, list) else [asked])]
    return {"order_fraction": answers if isinstance(asked, list) else answers[0]}


def cooled_order(q: Question, since: object) -> Fraction:
    """The share of the position that the next order is for."""
    i, price = q.inputs, Fraction(100)
    share, value = i.get("fraction"), i.get("notional")
    first = {"size": "fraction", "fraction_ppm": ppm(share, "fraction"), "pause_ns": 1}
    first["above"] = str(i.raw("threshold"))
    first["once_in_ns"] = int(i.get("cooldown") * SECOND_NS)
    steps = [{**step, "limit": "none"} for step in (first, {"size": "all", "pause_ns": 1})]
    bench = q.bench(liquidation__steps=steps, losses=RETRY, trigger__backstop_ppm=0)
    if since is not None:
        value = rounded_up(value / (1 - share), 2)
    held = value / price
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 2)), lot=held / 10**6, mark=price)
    bench.seat("a", value / 1000)
    bench.hold("a", 1, held, price)
    bench.offer("buy", price, held)
    stage = bench.stage(start={"M": 3 * price})
    if since is None:
        return first_fill(stage.events, stage.ids["a"], held, stage)
    partial = first_fill(stage.events, stage.ids["a"], Fraction(1), stage)
    events = stage.wait(int(Fraction(str(since)) * SECOND_NS))
    return first_fill(events, stage.ids["a"], held - partial, stage)


def first_fill(events: list[Event], account_id: int, held: Fraction, stage: Stage) -> Fraction:
    """The first liquidation fill of an account, as a share of what it held."""
    for event in events:
        if is_fill(event, account_id, "liquidated"):
            return abs(size_of(stage, "M", event.lots)) / held
    raise CalculateError("liquidation: nothing was filled")


def window_size(q: Question) -> Answer:
    """No more than the market's capacity within a window; what is left of the position."""
    i, price = q.inputs, Fraction(100)
    fees = i.get("maker_fee") + i.get("taker_fee")
    capacity = fees * i.get("skew_scale") * i.get("multiplier", default=1) * i.get("window")
    held = i.get("position")
    step = {"size": "all", "order": "transfer", "limit": "mark", "pause_ns": 1}
    lot = common_unit([capacity, held])
    step["window_lots"] = int(capacity / lot)
    step["window_ns"] = int(i.get("window") * SECOND_NS)
    bench = q.bench(liquidation__steps=[step], losses={**RETRY, "retry_ns": 1})
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 2)), lot=lot, mark=price)
    bench.seat("a", held)
    bench.hold("a", 1, held, price)
    stage = bench.stage()
    began, sizes = stage.now_ns, []
    for second in i.several("call_times"):
        moment = began + int(second * SECOND_NS)
        if moment > stage.now_ns:
            stage.wait(moment - stage.now_ns)
        positions = stage.views("a")[0].positions
        sizes.append(size_of(stage, "M", positions[0].lots) if positions else Fraction(0))
    return {"window_capacity": capacity, "size_after": sizes}
