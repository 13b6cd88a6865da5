"""Questions about one account: prices of liquidation and bankruptcy, margins, tiers, levels.

Every function builds a state on a bench and reads what the engine says about it.
"""

from fractions import Fraction
from typing import Any

from engine.calculate.bench import Bench, single_tier, tier
from engine.calculate.numbers import (
    Answer,
    CalculateError,
    common_unit,
    exact,
    rounded_down,
    rounded_up,
)
from engine.calculate.question import (
    Question,
    account_of,
    deducted_tiers,
    find_domain,
    first_breach,
    market_for,
    money_of,
    price_of,
    read_position,
    side_of,
    size_of,
    value_of,
)
from engine.constants import PPM, CommandKind, EventKind, Level
from engine.situation import SituationError, Stage
from engine.venue import market_numbers

ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")


def liquidation_price(q: Question) -> Answer:
    """The mark at which the position's margin domain is in breach."""
    bench = q.bench()
    if q.inputs.has("taker_fee") and q.options.get("fee_at", "mark") == "mark":
        bench.change({"margin": {"close_fee": "taker"}})
    symbol = market_for(q, bench)
    side, _, _ = account_of(q, bench, symbol)
    answer: Answer = {"liquidation_price": first_breach(bench, symbol, side)}
    if q.inputs.has("other_qty"):
        stage = bench.stage(held="a")
        _, other = find_domain(stage, "a", "OTHER")
        answer["tmm_other"] = money_of(stage, other.maintenance)
        answer["upnl_other"] = money_of(stage, other.unrealised)
    return answer


def bankruptcy_price(q: Question) -> Answer:
    """The price at which closing leaves nothing; of a portfolio, the quote for `delta` of it."""
    if q.inputs.has("quote_balance"):
        bench, symbol, _ = portfolio(q)
        _, price = read_position(bench.stage(held="a"), "a", symbol)
        quote = -q.inputs.get("delta", default=0) * price
        return {"bankruptcy_quote": rounded_up(quote, 6), "bankruptcy_price": price}
    bench = q.bench(margin__bankruptcy_fee=q.inputs.has("taker_fee"))
    symbol = market_for(q, bench)
    account_of(q, bench, symbol)
    return {"bankruptcy_price": read_position(bench.stage(held="a"), "a", symbol)[1]}


def portfolio(q: Question) -> tuple[Bench, str, int]:
    """An account given by its quote balance and sizes, marked at oracle prices; the market asked
    about, and its side."""
    i, bench = q.inputs, q.bench()
    oracle, held = i.raw("oracle_price"), i.raw("positions")
    wallet = i.get("quote_balance")
    sizes = {name: exact(size, f"positions.{name}") for name, size in held.items()}
    for name, size in sizes.items():
        price, rate = exact(oracle[name], f"oracle_price.{name}"), i.raw("mmr")
        rate = exact(rate[name] if isinstance(rate, dict) else rate, "mmr")
        bench.market(name, payoff="linear", tiers=single_tier(rate), mark=price)
        wallet += size * price
    asked = i.raw("perpetual", default=next(iter(held)))
    if i.has("delta"):
        bench.made[asked].sizes.append(abs(i.get("delta")))
    bench.seat("a", wallet)
    for name, size in sizes.items():
        bench.hold("a", 1 if size > 0 else -1, abs(size), bench.made[name].mark, name)
    bench.fund = 10 * max(Fraction(1), *(abs(s) * bench.made[n].mark for n, s in sizes.items()))
    return bench, asked, 1 if sizes[asked] > 0 else -1


# -- margins ----------------------------------------------------------------------------------


def margin(q: Question) -> Answer:
    """Initial and maintenance margin of a position, and the rates they are."""
    i = q.inputs
    if i.has("base_rate"):
        return sloped_margin(q)
    if i.has("open_notional"):
        return interest_margin(q)
    if i.has("tier_lower_bound"):
        return tiered_margin(q)
    if i.has("used_leverage"):
        return leveraged_margin(q)
    bench = q.bench()
    price = i.get("entry_price", "mark_price", "price", "index_price")
    symbol = market_for(q, bench, price)
    size = i.get("contracts", "qty", "position", "size")
    leverage = int(i.get("leverage", default=1))
    return one_margin(bench, symbol, size, price, side_of(i), leverage)


def one_margin(
    bench: Bench, symbol: str, size: Fraction, price: Fraction, side: int = 1, leverage: int = 1
) -> Answer:
    """Read margins and rates of one position at its entry."""
    bench.seat("a")
    bench.hold("a", side, size, price, symbol, leverage=leverage)
    stage = bench.stage(held="a")
    _, position = find_domain(stage, "a", symbol)
    value = money_of(stage, position.notional)
    initial, kept = money_of(stage, position.initial), money_of(stage, position.maintenance)
    return {
        "position_value": value,
        "initial_margin": initial,
        "maintenance_margin": kept,
        "initial_rate": initial / value,
        "maintenance_rate": kept / value,
        "im_ratio": initial / value,
    }


def sloped_margin(q: Question) -> Answer:
    """A rate that grows with every coin of size."""
    i = q.inputs
    base, slope = i.get("base_rate"), i.raw("slope", default="0")
    bench = q.bench(margin__initial="tiers")
    wanted = q.options.get("asks", "initial")  # or "maintenance"
    tiers = single_tier(base if wanted == "maintenance" else base / 2, base)
    price = i.get("index_price", "mark_price", "price")
    bench.market(payoff="linear", tiers=tiers, mark=price, slope_per_coin=str(slope))
    full = min(255, int(1 / base))
    found = one_margin(bench, "M", i.get("position", "size"), price, side_of(i), full)
    rate, money = found[f"{wanted}_rate"], found[f"{wanted}_margin"]
    return {"rate": rate, "margin": money, **found}


def interest_margin(q: Question) -> Answer:
    """The initial rate that rises with the open interest of the market."""
    i = q.inputs
    base, price = i.get("base_imf"), Fraction(100)
    caps = [str(i.get(name)) for name in ("lower_cap", "upper_cap")]
    bench = q.bench(margin__initial="tiers")
    tiers = single_tier(base * i.get("maintenance_fraction", default="0.5"), base)
    bench.market(payoff="linear", tiers=tiers, mark=price, scaling=caps)
    bench.seat("b")
    size = i.get("open_notional") / price
    bench.hold("b", 1, size - size / 1000, price)
    found = one_margin(bench, "M", size / 1000, price, 1, min(255, int(1 / base)))
    return {"effective_imf": found["initial_rate"], **found}


def tiered_margin(q: Question) -> Answer:
    """Tiers by their lower bounds and highest leverages; maintenance is half of those rates."""
    i = q.inputs
    floors, highest = i.several("tier_lower_bound"), i.several("max_leverage")
    bounds = [*floors[1:], None]
    tiers = [tier(1 / (2 * x), 1 / x, b) for x, b in zip(highest, bounds, strict=True)]
    bench = q.bench(margin__tier_mode="marginal")
    price = Fraction(1000)
    bench.market(payoff="linear", tiers=tiers, mark=price)
    value = i.get("notional")
    found = one_margin(bench, "M", value / price, price)
    index = max(n for n, floor in enumerate(floors) if value > floor or n == 0)
    rate = Fraction(tiers[index]["maintenance_ppm"], PPM)
    return {"maintenance_deduction": value * rate - found["maintenance_margin"], **found}


def leveraged_margin(q: Question) -> Answer:
    """Margins of one notional at several leverages."""
    i, price = q.inputs, Fraction(100)
    highest = i.get("asset_max_leverage", "max_leverage")
    found = []
    for used in i.several("used_leverage"):
        bench = q.bench()
        bench.market(payoff="linear", tiers=single_tier(1 / (2 * highest)), mark=price)
        size = i.get("notional") / price
        found.append(one_margin(bench, "M", size, price, 1, int(used)))
    several = {name: [each[name] for each in found] for name in found[0]}
    return several if isinstance(i.raw("used_leverage"), list) else found[0]


def maintenance_amount(q: Question) -> Answer:
    """What the tiers deduct: in every tier a position is held, and its maintenance margin read."""
    i = q.inputs
    if i.has("cum_prev"):
        return next_amount(q)
    rates = i.several("mmr")
    if i.has("tier_floor"):
        bounds = [*i.several("tier_floor")[1:], None]
    else:
        bounds = i.several("risk_limit_value")
    tiers = [tier(rate, bound=bound) for rate, bound in zip(rates, bounds, strict=True)]
    amounts = amounts_of(q, tiers)
    return {"cum": amounts, "mm_deduction": amounts}


def next_amount(q: Question) -> Answer:
    """One tier's amount from that of the tier before it."""
    i = q.inputs
    before = deducted_tiers(i.get("mmr_prev"), i.get("cum_prev"))
    before[-1]["bound"] = i.get("floor_n")
    return {"cum_n": amounts_of(q, [*before, tier(i.get("mmr_n"))])[-1]}


def amounts_of(q: Question, tiers: list[dict[str, Any]]) -> list[Fraction]:
    """The deduction of each tier, read off a position in it."""
    bench, price = q.bench(margin__tier_mode="marginal", margin__tier_by="notional"), Fraction(1)
    bench.change({"margin": {"close_fee": "none", "maintenance": "tiers"}})
    bench.market(payoff="linear", tiers=tiers, mark=price)
    for index, each in enumerate(tiers):
        floor = tiers[index - 1]["bound"] if index else Fraction(0)
        bench.seat(f"t{index}")
        bench.hold(f"t{index}", 1, each.get("bound", 2 * floor or Fraction(1)), price)
    stage = bench.stage(held="t0")
    amounts = []
    for index, each in enumerate(tiers):
        _, position = find_domain(stage, f"t{index}", "M")
        whole = money_of(stage, position.notional) * Fraction(each["maintenance_ppm"], PPM)
        amounts.append(whole - money_of(stage, position.maintenance))
    return amounts


# -- tiers ------------------------------------------------------------------------------------


def tier_of(q: Question) -> Answer:
    """Tier and rates of positions given by value or by size, in the venue's own tiers."""
    i = q.inputs
    if i.has("base_limit"):
        steps = {
            "base": str(i.get("base_limit")),
            "step": str(i.get("step")),
            "count": 40,
            "maintenance_ppm": int(i.get("base_mm") * PPM),
            "initial_ppm": int(i.get("base_im") * PPM),
        }
        patched = {f"markets.0.{name}": v for name, v in {"tier_steps": steps}.items()}
        q.patch = {**q.patch, **patched}
    by_value = i.has("position_value", "notional")
    names = ("position_value", "notional") if by_value else ("position", "size", "qty", "contracts")
    wanted = i.several(*names)
    found = [tier_at(q, each, by_value) for each in wanted]
    many = isinstance(i.raw(*names), list)
    answer = {name: [each[name] for each in found] for name in found[0]} if many else found[0]
    return answer | {f"mm_at_{v}": f["margin"] for v, f in zip(wanted, found, strict=True)}


def tier_at(q: Question, wanted: Fraction, by_value: bool) -> Answer:
    """One position in the venue's own market: which tier, which rates."""
    for digits in range(2, 7):
        bench, price = q.bench(), Fraction(10**digits)
        market = q.inputs.raw("market", default=q.options.get("market", "")) or None
        symbol = bench.own_market(market, price)
        made, size = bench.made[symbol], wanted
        if by_value:
            size = wanted * price if made.payoff == "inverse" else wanted / price
        elif bench.tree["margin"].get("tier_by") == "contracts" and not q.inputs.has("qty"):
            size = wanted * made.lot
        bench.seat("a")
        bench.hold("a", 1, size, price, symbol)
        try:
            stage = bench.stage(held="a")
        except (CalculateError, SituationError) as error:
            refused = error
            continue
        _, position = find_domain(stage, "a", symbol)
        numbers = market_numbers(stage.profile, stage.spec(symbol))
        index = position.tier
        kept = Fraction(numbers.tier_maintenance_ppm[index], PPM)
        first = Fraction(numbers.tier_initial_ppm[index], PPM)
        return {
            "tier": index + 1,
            "level": ROMAN[index] if index < len(ROMAN) else str(index + 1),
            "mmr": kept,
            "mm_rate": kept,
            "imr": first,
            "im_rate": first,
            "max_leverage": numbers.tier_leverage_max[index],
            "margin": money_of(stage, position.maintenance),
        }
    raise refused


# -- levels -----------------------------------------------------------------------------------


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
