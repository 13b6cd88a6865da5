"""Questions about who pays: the fund, deleveraged winners, volunteers, everybody.

Several accounts are put on a bench, one of them is driven into bankruptcy, and the events and
balances that follow are read.
"""

from fractions import Fraction
from typing import Any

from engine.calculate.bench import Bench, single_tier
from engine.calculate.numbers import (
    Answer,
    CalculateError,
    exact,
    ppm,
    rounded_up,
    written,
)
from engine.calculate.question import (
    Question,
    find_domain,
    money_of,
    price_of,
    side_of,
    size_of,
)
from engine.constants import Cause, CommandKind, EventKind, RefusedTakeover, SystemAccount
from engine.situation import Event, Stage

FUND = SystemAccount.INSURANCE_FUND
HALF = Fraction(1, 2)
NO_ORDERS: dict[str, Any] = {"steps": []}
TO_THE_END = {"residual": "fund", "drawdown_ppm": 0, "drawdown_stop_ppm": 0}


def fills(events: list[Event], cause: Cause, account_id: int = 0) -> list[Event]:
    """Fills of one cause, of everybody or of one account."""
    return [
        e
        for e in events
        if e.kind == EventKind.FILL and e.reason == cause and account_id in (0, e.account_id)
    ]


def fund_equity(stage: Stage) -> Fraction:
    """The insurance fund with its positions at mark."""
    return money_of(stage, stage.exchange.inspect(FUND)[0].equity)


def bankrupt(
    bench: Bench,
    side: int,
    size: Fraction,
    zero: Fraction,
    entry: Fraction,
    name: str = "bankrupt",
    symbol: str = "M",
) -> None:
    """A position whose bankruptcy price is given: its whole margin is what lies between."""
    margin = side * size * (entry - zero)
    if margin < 0:
        raise CalculateError("bankruptcy_price: expected it on the losing side of the entry")
    bench.seat(name, margin)
    bench.hold(name, side, size, entry, symbol)


# -- deleveraging -----------------------------------------------------------------------------


def adl_fills(q: Question) -> Answer:
    """Who is closed against a bankrupt position, in order of rank, how much and at what price."""
    i = q.inputs
    side = 1 if i.raw("liquidated_side") == "long" else -1
    rows = i.raw("shorts" if side > 0 else "longs", "candidates")
    zero, size = i.get("bankruptcy_price"), i.get("liquidated_qty")
    bench = q.bench(losses={**TO_THE_END, "waterfall": ["adl", "fund_unlimited"]})
    bench.change({"liquidation": NO_ORDERS, "losses": {"adl_price": "bankruptcy"}})
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=zero)
    bankrupt(bench, side, size, zero, zero * (1 + side * Fraction(1, 10)))
    highest = max(int(row["rank"]) for row in rows)
    for row in rows:
        held, rank = exact(row["qty"], "qty"), exact(row["rank"], "rank")
        gain = zero * rank / highest / 2  # the higher the rank, the more it has won
        name = str(row["account"])
        bench.seat(name, held * (zero - gain) if side < 0 else held * zero)
        bench.hold(name, -side, held, zero + side * gain)
    stage = bench.stage(start={"M": zero * (1 + side * Fraction(1, 10))})
    return adl_answer(stage, rows)


def adl_answer(stage: Stage, rows: list[dict[str, Any]]) -> Answer:
    """The fills in order, and what everybody named has left."""
    names = {stage.ids[str(row["account"])]: row["account"] for row in rows}
    found = [
        {
            "account": names[e.account_id],
            "qty": abs(size_of(stage, "M", e.lots)),
            "price": price_of(stage, "M", e.price),
        }
        for e in fills(stage.events, Cause.ADL)
        if e.account_id in names
    ]
    answer: Answer = {"fills": found}
    left = {row[0]: row[3] for row in stage.table("positions")}
    for account_id, account in names.items():
        answer[f"account{account}_remaining"] = abs(size_of(stage, "M", left.get(account_id, 0)))
    return answer


def adl_price(q: Question) -> Answer:
    """Deleveraging of one account against another: price and quote balances afterwards."""
    i = q.inputs
    short, long = i.raw("liquidated"), i.raw("offsetting")
    asset = next(name for name in short if name != "quote")
    sizes = [exact(each[asset], asset) for each in (short, long)]
    quotes = [exact(each["quote"], "quote") for each in (short, long)]
    zero = abs(quotes[0] / sizes[0])
    mark = i.get("oracle_price", default=zero - (1 if sizes[0] > 0 else -1))
    bench = q.bench(losses={**TO_THE_END, "waterfall": ["adl", "fund_unlimited"]})
    bench.change({"liquidation": NO_ORDERS})
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=mark)
    for name, held, quote in zip(("liquidated", "offsetting"), sizes, quotes, strict=True):
        bench.seat(name, quote + held * zero)
        bench.hold(name, 1 if held > 0 else -1, abs(held), zero)
    stage = bench.stage(start={"M": zero * (1 + (1 if sizes[0] > 0 else -1) * HALF)})
    done = fills(stage.events, Cause.ADL, stage.ids["liquidated"])
    entries = {row[0]: row[4] for row in stage.table("positions")}
    after = {}
    for name in ("liquidated", "offsetting"):
        number = stage.ids[name]
        after[name] = money_of(stage, stage.balance(number) - entries.get(number, 0))
    return {
        "price": price_of(stage, "M", done[0].price),
        "liquidated_quote_after": after["liquidated"],
        "offsetting_quote_after": after["offsetting"],
        "fee": money_of(stage, sum(e.fee for e in done)),
    }


def adl_trigger(q: Question) -> Answer:
    """Whether the fund's fall within its window starts deleveraging, and what that bears."""
    i = q.inputs
    pool = i.get("pool_balance")
    peak = i.get("pool_max_balance_8h", "pool_max_balance", default=pool)
    fallen = -i.get("worst_symbol_pnl_ratio", default=0) * max(Fraction(0), peak)
    loss = i.get("symbol_max_pnl_8h", default=0) - i.get("symbol_pnl", default=-fallen)
    start = -i.get("insurance_pnl_ratio")
    mark = Fraction(100)
    rules = {"drawdown_ppm": int(start * 10**6)}
    rules["drawdown_stop_ppm"] = int(-i.get("adl_stop_ratio", default=-start) * 10**6)
    waterfall = ["fund_payment", "adl", "fund_unlimited"]
    bench = q.bench(losses={**rules, "waterfall": waterfall, "residual": "fund"})
    bench.change({"liquidation": {**NO_ORDERS, "surplus": "to_user"}})
    bench.change({"losses": {"adl_price": "bankruptcy"}})
    size = max(loss, Fraction(1)) / mark * 2
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=mark)
    bench.fund = max(Fraction(0), peak)
    bench.seat("bankrupt", mark * size / 10)
    entry = mark + mark / 10 + loss / size
    bench.hold("bankrupt", 1, size, entry)
    bench.seat("winner", mark * size)
    bench.hold("winner", -1, size, entry)
    stage = bench.stage(start={"M": entry})
    borne = sum(
        ((mark - price_of(stage, "M", e.price)) * abs(size_of(stage, "M", e.lots)) * -1)
        for e in fills(stage.events, Cause.ADL, stage.ids["winner"])
    )
    drawn = any(e.kind == EventKind.DRAWDOWN and e.reason == 1 for e in stage.events)
    empty = pool <= 0
    worst = i.get("worst_symbol_pnl_ratio", default=-loss / peak if peak else 0)
    borne = max(Fraction(0), borne)
    return {
        "pnl_ratio": worst,
        "adl_triggered": drawn or (empty and borne >= 0 and bool(fills(stage.events, Cause.ADL))),
        "amount_borne_by_adl": borne if not empty else loss,
        "reason": "pool_equity" if empty else "drawdown" if drawn else "none",
    }


# -- the fund ---------------------------------------------------------------------------------


def insurance_fund(q: Question) -> Answer:
    """What a liquidation does to the insurance fund."""
    if q.inputs.has("cap_multiple"):
        return inventory(q)
    if q.inputs.has("bankruptcy_quote"):
        return fund_delta(q)
    return fund_after(q)


def inventory(q: Question) -> Answer:
    """Whether the fund takes over a position on top of what it holds."""
    i, mark = q.inputs, Fraction(100)
    bench = q.bench(losses={**TO_THE_END, "waterfall": ["insurance_fund", "adl", "fund_unlimited"]})
    bench.change({"liquidation": {**NO_ORDERS, "surplus": "to_user"}})
    bench.change({"losses": {"fund_inventory_ppm": int(i.get("cap_multiple") * 10**6)}})
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=mark)
    bench.fund = i.get("fund_balance")
    bench.market("N", payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=2 * mark)
    held, incoming = i.get("fund_net_notional") / mark, i.get("incoming_notional") / mark
    spare = 2 * held * mark / i.get("cap_multiple")  # enough for what it is to hold already
    bench.fund += spare
    for symbol, name, size in (("M", "held", held), ("N", "incoming", incoming)):
        if size:
            bankrupt(bench, 1, size, mark, 2 * mark, name, symbol)
            bench.seat(f"against {name}", mark * size)
            bench.hold(f"against {name}", -1, size, 2 * mark, symbol)
    stage = bench.stage(start={"M": 2 * mark})
    if spare:
        amount = int(spare * 10**stage.profile.settlement.decimals)
        stage.send(CommandKind.WITHDRAW, account_id=FUND, amount=amount)
    stage.set_mark("N", written(mark))
    taken = fills(stage.events, Cause.TAKEOVER, stage.ids["incoming"])
    refused = [e for e in stage.events if e.kind == EventKind.TAKEOVER_REFUSED]
    full = any(e.reason == RefusedTakeover.INVENTORY_FULL for e in refused)
    route = "insurance_fund" if taken else "counterparty_liquidation"
    return {"fund_accepts": bool(taken), "route": route, "inventory_full": full}


def fund_after(q: Question) -> Answer:
    """The fund after a liquidation that filled at a price; worse than the bankruptcy price the
    fund holds the position, and is counted at the price it could be sold at."""
    i, side = q.inputs, side_of(q.inputs)
    size, entry = i.get("qty", default=1), i.get("entry_price")
    zero, fill = i.get("bankruptcy_price"), i.get("fill_price")
    mark = i.get("liquidation_price", default=zero)
    bench = q.bench(losses={**TO_THE_END, "waterfall": ["insurance_fund", "fund_unlimited"]})
    bench.change({"liquidation": {"steps": [{"size": "all"}], "surplus": "to_fund"}})
    rate = side * (mark - zero) / mark
    rounded = rounded_up(max(rate, Fraction(1, 10**6)), 6)
    bench.market(payoff="linear", tiers=single_tier(rounded + Fraction(1, 10**6)), mark=mark)
    bench.fund = i.get("fund_before", default=0)
    bankrupt(bench, side, size, zero, entry)
    bench.offer("buy" if side > 0 else "sell", fill, size)
    stage = bench.stage(start={"M": entry})
    decimals = stage.spec("M").price_decimals
    stage.send(CommandKind.MARK, market_id=1, price=int(fill * 10**decimals))
    after = fund_equity(stage)
    return {"fund_after": after, "fund_delta": after - bench.fund}


def fund_delta(q: Question) -> Answer:
    """What the fund receives or pays when a position with this bankruptcy quote fills for another:
    a fee of no more than the gain, or the loss."""
    i = q.inputs
    zero, fill = i.get("bankruptcy_quote"), i.get("fill_quote")
    side, size = (1, i.get("size", default=1)) if zero > 0 else (-1, i.get("size", default=1))
    zero, fill = abs(zero) / size, abs(fill) / size
    fee = int(i.get("max_liquidation_fee") * 10**6)
    bench = q.bench(losses={**TO_THE_END, "waterfall": ["retry"]}, liquidation__fee_cap="surplus")
    steps = [{"size": "all", "limit": "none"}]
    bench.change({"liquidation": {"steps": steps, "surplus": "to_user", "fee_to": "fund"}})
    bench.change({"losses": {"fund_cap": "0"}, "trigger": {"backstop_ppm": 0}})
    rate = max(HALF, min(Fraction(1), abs(fill - zero) / fill + Fraction(1, 10**6)))
    bench.market(
        payoff="linear",
        tiers=single_tier(rounded_up(rate, 6)),
        mark=fill,
        liquidation_fee_ppm=fee,
    )
    bench.fund = 10 * size * (zero + fill)
    entry = zero * 2 if side > 0 else zero / 2
    bankrupt(bench, side, size, zero, entry)
    bench.offer("buy" if side > 0 else "sell", fill, size)
    start = zero * 4 if side > 0 else zero / 4
    stage = bench.stage(start={"M": start})
    return {"fund_delta": money_of(stage, stage.balance(FUND)) - bench.fund}


# -- what nobody paid -------------------------------------------------------------------------


def residual_loss(q: Question) -> Answer:
    """Who pays a loss that is left: winners by their profit, or every position of the market."""
    if q.inputs.has("oi_long"):
        return socialised_loss(q)
    return clawback(q)


def loser(bench: Bench, loss: Fraction, price: Fraction) -> None:
    """An account that is short of this much when its position is handed over at mark."""
    bench.seat("bankrupt")
    bench.hold("bankrupt", 1, Fraction(1), price + loss)


def socialised_loss(q: Question) -> Answer:
    """The loss per unit of open interest, both sides paying alike, after the fund has paid."""
    i, mark = q.inputs, Fraction(100)
    loss, long, short = i.get("loss"), i.get("oi_long"), i.get("oi_short")
    long, short = abs(long), abs(short)
    bench = q.bench(losses={"waterfall": ["pool"], "residual": "socialise_positions"})
    bench.change({"liquidation": NO_ORDERS, "losses": {"fund_cap": "0"}})
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=mark)
    bench.fund = i.get("insurance_vault", default=0) + i.get("fee_pool", default=0)
    for name, side, size in (("long", 1, long), ("short", -1, short)):
        if size:
            bench.seat(name, size * mark + loss)
            bench.hold(name, side, size, mark)
    loser(bench, loss, mark)
    stage = bench.stage()
    answer: Answer = {}
    for name, size in (("long", long), ("short", short)):
        paid = shared(stage, name) if size else Fraction(0)
        answer[f"{name}{size}_pays"] = paid
        if size:
            each = rounded_up(paid / size - Fraction(1, 10**9), 6)
            answer |= {"cumulative_funding_delta": each, "loss_per_base": each}
    answer["bankrupt_debt_after"] = -money_of(stage, stage.balance(stage.ids["bankrupt"]))
    return answer


def pool_deleveraging(q: Question) -> Answer:
    """Whether what one side has won of a pool is so much that its winners are closed."""
    i, side = q.inputs, side_of(q.inputs)
    price, entry = i.get("price"), i.get("entry_price")
    most = ppm(i.get("max_pnl_factor_for_adl"), "max_pnl_factor_for_adl")
    bench = q.bench(losses={"pool_profit_ppm": most, "pool_profit_stop_ppm": 0})
    bench.market(payoff="linear", tiers=single_tier(Fraction(1, 100)), mark=price)
    size = i.get("position_size_at_entry") / entry
    bench.seat("trader", 2 * size * max(price, entry))
    bench.hold("trader", side, size, entry)
    pool = i.get("pool") * price
    bench.money.append(pool)
    stage = bench.stage()
    amount = int(pool * 10**stage.profile.settlement.decimals)
    stage.send(CommandKind.DEPOSIT, account_id=SystemAccount.BACKSTOP, amount=amount)
    _, position = find_domain(stage, "trader", "M")
    won = money_of(stage, position.unrealised) / money_of(stage, amount)
    events = stage.send(CommandKind.CHECK_MARGIN)
    capped = any(e.kind == EventKind.PROFIT_CAPPED for e in events)
    return {"pnl_to_pool": won, "adl_enabled": capped}


def shared(stage: Stage, name: str) -> Fraction:
    """What an account gave for somebody else's loss."""
    number = stage.ids[name]
    shares = [e.amount for e in stage.events if e.kind == EventKind.LOSS_SHARED]
    owners = [e.account_id for e in stage.events if e.kind == EventKind.LOSS_SHARED]
    paid = sum(a for a, owner in zip(shares, owners, strict=True) if owner == number)
    return money_of(stage, paid)


def clawback(q: Question) -> Answer:
    """A loss beyond the fund is taken from winners at settlement, by their share of all profit."""
    i = q.inputs
    loss = i.get("overloss", "liquidation_loss", "loss")
    fund = i.get("fund", "fund_cover", default=0)
    total = i.get("total_net_profit_of_winners", "total_winner_profit")
    mine = i.get("user_net_profit", "user_profit")
    other = i.get("user_net_profit_other_contract", default=0)
    mark = 2 * (loss + total + abs(mine) + abs(other))
    bench = q.bench(losses={"waterfall": ["pool"], "residual": "socialise_profit"})
    bench.change({"liquidation": {**NO_ORDERS}, "trigger": {"second_price": "none"}})
    for symbol in ("M", "N"):
        bench.market(symbol, payoff="linear", tiers=single_tier(Fraction(1, 10**6)), mark=mark)
    bench.fund = fund
    bench.seat("user", mark)
    bench.seat("others", mark)
    one = Fraction(1)
    bench.hold("user", 1, one, mark - mine)
    bench.hold("user", 1, one, mark - other, "N")
    netted = mine + other if bench.tree["losses"].get("profit_scope") != "market" else mine
    bench.hold("others", 1, one, mark - (total - max(Fraction(0), netted)))
    loser(bench, loss, mark)
    stage = bench.stage()
    short = max(0, -stage.balance(FUND))
    events = stage.send(CommandKind.SETTLE)
    pays = sum(
        e.amount
        for e in events
        if e.kind == EventKind.CLAWED_BACK and e.account_id == stage.ids["user"]
    )
    uncovered = money_of(stage, short)
    rate = uncovered / total
    return {
        "uncovered": uncovered,
        "rate": rate,
        "coefficient": rate,
        "user_pays": money_of(stage, pays),
    }


def takeover(q: Question) -> Answer:
    """What the book leaves of each position goes to volunteers."""
    i, mark = q.inputs, Fraction(10_000)
    bench = q.bench(losses={**TO_THE_END, "waterfall": ["volunteers", "fund_unlimited"]})
    bench.change({"liquidation": {"steps": [{"size": "all"}], "surplus": "to_user"}})
    bench.change({"losses": {"volunteer_edge_ppm": 0}, "margin": {"close_fee": "none"}})
    rows = [
        (row["symbol"], exact(row["qty"], "qty"), exact(row["book_filled"], "book_filled"))
        for row in i.raw("positions")
    ]
    rate, whole = single_tier(Fraction(1, 100)), sum(abs(size) for _, size, _ in rows) / mark
    bench.seat("a", whole / 10**6)
    bench.seat("volunteer", 2 * whole)
    start = {}
    for symbol, size, filled in rows:
        bench.market(symbol, payoff="inverse", tiers=rate, lot=Fraction(1), mark=mark)
        bench.hold("a", 1 if size > 0 else -1, abs(size), mark, symbol)
        start[symbol] = mark * 4 if size > 0 else mark / 4
        if filled:
            bench.offer("buy" if size > 0 else "sell", mark, filled, symbol)
        bench.hold("volunteer", 1, Fraction(1), mark, symbol, volunteers=abs(size))
    stage = bench.stage(start=start)
    assigned = []
    for symbol, _, _ in rows:
        market_id = stage.market_ids[symbol]
        found = fills(stage.events, Cause.ASSIGNED, stage.ids["volunteer"])
        lots = sum(abs(e.lots) for e in found if e.market_id == market_id)
        assigned.append(Fraction(lots))
    return {"assigned": assigned}


# -- funding ----------------------------------------------------------------------------------


def funding_payment(q: Question) -> Answer:
    """What a position pays in one interval at the rate of a whole period."""
    i = q.inputs
    rate = i.get("funding_rate_8h", "funding_rate")
    mark = i.get("oracle_price", "index_price", "mark_price")
    size = i.get("position", "qty")
    bench = q.bench(funding__rate_cap_ppb=10**9)
    rules = bench.tree["funding"]
    share = Fraction(rules["interval_ns"], rules.get("rate_period_ns", rules["interval_ns"]))
    paid_ppb = rate * share * 10**9
    if paid_ppb.denominator != 1:
        raise CalculateError("funding_rate: expected whole parts per billion an interval")
    bench.change({"funding": {"accrual": "interval"}})
    bench.market(payoff="linear", mark=mark)
    bench.seat("a", abs(size) * mark)
    bench.hold("a", 1 if size > 0 else -1, abs(size), mark)
    stage = bench.stage()
    events = stage.send(CommandKind.FUNDING, market_id=1, amount=int(paid_ppb))
    paid = -sum(
        e.amount
        for e in events
        if e.kind == EventKind.FUNDING_PAID and e.account_id == stage.ids["a"]
    )
    money = money_of(stage, paid)
    return {"payment": money, "hourly_payment_by_long": money if size > 0 else -money}
