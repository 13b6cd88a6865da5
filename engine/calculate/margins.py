"""Questions about one account: prices of liquidation and bankruptcy, margins, tiers.

Every function builds a state on a bench and reads what the engine says about it.
"""

from fractions import Fraction
from typing import Any

from engine.calculate.bench import LEVERAGE_MAX, Bench, single_tier, tier
from engine.calculate.numbers import (
    Answer,
    CalculateError,
    exact,
    rounded_up,
    written,
)
from engine.calculate.question import (
    Question,
    account_of,
    deducted_tiers,
    find_domain,
    first_breach,
    market_for,
    money_of,
    read_position,
    side_of,
)
from engine.constants import PPM
from engine.situation import SituationError
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


def skew_margin(q: Question) -> Answer:
    """A rate that grows with the size over the market's scale; maintenance is a share of it."""
    i, least = q.inputs, q.inputs.get("min_position_margin", default=0)
    base, share = i.get("min_im_ratio", default=0), i.get("mm_scalar")
    slope = i.get("im_fraction") / i.get("skew_scale")
    bench = q.bench(margin__initial="tiers")
    tiers = [tier(base * share, base, least_ppm=0)]
    slopes = {"slope_per_coin": written(slope * share), "initial_slope_per_coin": written(slope)}
    price = i.get("price", "mark_price", "index_price")
    bench.market(payoff="linear", tiers=tiers, mark=price, **slopes)
    found = one_margin(bench, "M", abs(i.get("size", "position")), price, side_of(i), LEVERAGE_MAX)
    for name in ("initial_margin", "maintenance_margin"):
        found[name] += least
    return found


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
