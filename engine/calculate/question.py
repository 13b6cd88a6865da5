"""A question to a venue: its profile, what it changes there, its inputs; and common starts.

Published examples name venues loosely and leave things open that a profile fixes; `venues.toml`
beside this file says which profile is meant and what differs from it, topic by topic.
"""

import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from engine.calculate.bench import Bench, single_tier, tier
from engine.calculate.numbers import CalculateError, Inputs, ppm
from engine.constants import PPM
from engine.situation import Implementation, Stage, liquidation_mark
from engine.views import DomainView, PositionView


@cache
def aliases() -> dict[str, Any]:
    """What published examples call a venue, and what that means here."""
    return tomllib.loads((Path(__file__).parent / "venues.toml").read_text("utf-8"))


@dataclass
class Question:
    """One question: `options` are the named differences between an example and its profile."""

    venue: str
    inputs: Inputs
    patch: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    implementation: Implementation = "rulebook"

    def bench(self, **patch: Any) -> Bench:
        """A bench of this venue, with its patch and these changes (dots written as `__`)."""
        bench = Bench(self.venue, self.patch, self.implementation)
        bench.change({name.replace("__", "."): value for name, value in patch.items()})
        return bench


def question_of(
    venue: str, topic: str, inputs: dict[str, Any], implementation: Implementation
) -> Question:
    """The profile and options meant by a venue's name in an example, or a profile by its name."""
    values = Inputs(inputs)
    named = aliases().get(venue, {})
    named = aliases().get(named.get("like"), {}) | named
    profile = named.get("profile", venue)
    if values.has("contracts") and not values.has("qty", "positions"):
        profile = named.get("inverse", profile)
    rules = {"asks": topic.removesuffix("_margin"), **named.get(topic, {})}
    profile = rules.get("profile", profile)
    return Question(profile, values, rules.get("patch", {}), rules, implementation)


def side_of(inputs: Inputs) -> int:
    """+1 long, -1 short; also as a word."""
    raw = inputs.raw("side", default=1)
    if raw in ("long", "buy", "short", "sell"):
        return 1 if raw in ("long", "buy") else -1
    sign = inputs.get("side", default=1)
    if sign not in (1, -1):
        raise CalculateError(f"side: expected 1 or -1, long or short, got {raw!r}")
    return int(sign)


def deducted_tiers(rate: Fraction, amount: Fraction) -> list[dict[str, Any]]:
    """Two tiers, of which the second has this rate and this maintenance amount (its deduction)."""
    if amount == 0:
        return single_tier(rate)
    high = ppm(rate, "mmr")
    for low in range(1, high):
        bound = amount * PPM / (high - low)
        if (bound * 10**6).denominator == 1:
            return [tier(Fraction(low, PPM), bound=bound), tier(rate)]
    raise CalculateError("cum: expected an amount that some lower tier can leave")


def value_of(bench: Bench, symbol: str, size: Fraction, price: Fraction) -> Fraction:
    """Notional of a size in settlement money."""
    made = bench.made[symbol]
    if made.payoff == "inverse":
        return size / price
    return size * price * Fraction(made.fields.get("multiplier", 1))


def market_for(q: Question, bench: Bench, mark: Fraction | None = None) -> str:
    """The market of a question: made from its rates if it gives any, else the venue's own."""
    i = q.inputs
    if not i.has("mmr", "mm_rate", "tiers", "maker_rate") and not (
        q.options.get("made") and not i.has("market")
    ):
        symbol = bench.own_market(i.raw("market", default="") or None, mark)
        if i.has("taker_fee"):
            for market in bench.tree["markets"]:
                market["taker_fee_ppm"] = ppm(i.get("taker_fee"), "taker_fee")
        return symbol
    rate = i.get("mmr", "mm_rate", default="0.001")
    tiers = deducted_tiers(rate, i.get("cum", "mm_deduction", default=0))
    fields = {"taker_fee_ppm": ppm(i.get("taker_fee", default=0), "taker_fee")}
    if bench.tree["margin"].get("tier_by") == "contracts":
        bench.change({"margin": {"tier_by": "notional"}})
    if i.has("cum", "mm_deduction"):
        bench.change({"margin": {"tier_mode": "marginal"}})
    bench.change({"margin": {"maintenance": "tiers"}})
    if not i.has("taker_fee") or q.options.get("fee_at") == "bankruptcy":
        bench.change({"margin": {"close_fee": "none"}})
    if not i.has("taker_fee"):
        bench.change({"margin": {"bankruptcy_fee": False}})
        bench.change(q.options.get("without_fee", {}))
    inverse = i.has("contracts") and not i.has("qty") and bench.base["payoff"] == "inverse"
    bench.market(payoff="inverse" if inverse else "linear", tiers=tiers, mark=mark, **fields)
    return "M"


def add_others(q: Question, bench: Bench) -> Fraction:
    """Other positions of the account: in full, or as what they add; returns the wallet's change."""
    i, change = q.inputs, Fraction(0)
    if i.has("other_qty"):
        tiers = deducted_tiers(i.get("other_mmr"), i.get("other_cum", default=0))
        bench.market("OTHER", payoff="linear", tiers=tiers, mark=i.get("other_mark"))
        side = 1 if i.get("other_side", default=1) > 0 else -1
        bench.hold("a", side, i.get("other_qty"), i.get("other_entry"), "OTHER")
    elif i.get("tmm_other", default=0):
        mark = 2 * i.get("tmm_other")
        bench.market("OTHER", payoff="linear", tiers=single_tier(Fraction(1, 2)), mark=mark)
        bench.hold("a", 1, Fraction(1), mark, "OTHER")
    return change + i.get("upnl_other", default=0)


def account_of(q: Question, bench: Bench, symbol: str) -> tuple[int, Fraction, Fraction]:
    """Seat the account of a question: one position, cross or isolated. Side, size and entry."""
    i, side = q.inputs, side_of(q.inputs)
    size = i.get("qty", "contracts", "size", default=1)
    entry = i.get("entry_price", "mark_price")
    value = value_of(bench, symbol, size, entry)
    margin = None
    if i.has("margin", "isolated_margin"):
        margin = i.get("margin", "isolated_margin")
    elif not i.has("wallet_balance", "account_balance"):
        margin = value / i.get("leverage") + i.get("extra_margin", default=0)
        margin += reserve_change(q, bench, symbol, side, size, entry, margin)
    wallet = i.get("wallet_balance", "account_balance", default=0)
    bench.seat("a", wallet - i.get("order_margin", default=0))
    leverage = i.raw("leverage", default=0)
    leverage = int(leverage) if leverage and symbol != "M" else None
    bench.hold("a", side, size, entry, symbol, margin=margin, leverage=leverage)
    bench.seats["a"].wallet += add_others(q, bench)
    if not bench.own:
        bench.made[symbol].reach = entry + (margin or wallet) * entry / value / 2
    return side, size, entry


def reserve_change(
    q: Question,
    bench: Bench,
    symbol: str,
    side: int,
    size: Fraction,
    entry: Fraction,
    margin: Fraction,
) -> Fraction:
    """Where closing at the bankruptcy price is paid from the margin: what was set aside for it
    when the position was opened less what is needed now, with what was added since."""
    extra = q.inputs.get("extra_margin", default=0)
    if q.options.get("fee_at") != "bankruptcy" or not extra:
        return Fraction(0)
    values = []
    for held in (margin - extra, margin):
        probe = q.bench(margin__close_fee="none", margin__bankruptcy_fee=False)
        probe.market(payoff=bench.made[symbol].payoff)
        probe.seat("a")
        probe.hold("a", side, size, entry, margin=held)
        zero = read_position(probe.stage(held="a"), "a", "M")[1]
        values.append(value_of(probe, "M", size, zero))
    return q.inputs.get("taker_fee", default=0) * (values[0] - values[1])


def find_domain(stage: Stage, name: str, symbol: str) -> tuple[DomainView, PositionView]:
    """The domain and the leg of an account in a market."""
    market_id = stage.market_ids[symbol]
    for domain in stage.views(name):
        for position in domain.positions:
            if position.market_id == market_id:
                return domain, position
    raise CalculateError(f"{symbol}: the account holds no position there")


def read_position(stage: Stage, name: str, symbol: str) -> tuple[PositionView, Fraction]:
    """A leg and its bankruptcy price."""
    _, position = find_domain(stage, name, symbol)
    return position, price_of(stage, symbol, position.bankruptcy_price)


def price_of(stage: Stage, symbol: str, units: int) -> Fraction:
    """Price units as a number."""
    return Fraction(units, 10 ** stage.spec(symbol).price_decimals)


def money_of(stage: Stage, units: int) -> Fraction:
    """Money units as a number."""
    return Fraction(units, 10**stage.profile.settlement.decimals)


def size_of(stage: Stage, symbol: str, lots: int) -> Fraction:
    """Lots as a size in base (inverse: face value)."""
    return lots * Fraction(stage.spec(symbol).lot)


def first_breach(bench: Bench, symbol: str, side: int) -> Fraction | None:
    """The liquidation price of account `a`'s position."""
    profile = bench.profile()
    situation = bench.situation(profile)
    position = next(p for p in situation.accounts["a"].positions if p.market == symbol)
    market = profile.markets[profile.market_id(symbol) - 1]
    isolated = position.margin is not None
    units = liquidation_mark(
        profile,
        situation,
        "a",
        symbol,
        market_id=profile.market_id(symbol) if isolated else 0,
        side="long" if side > 0 else "short",
        implementation=bench.implementation,
    )
    return None if units is None else Fraction(units, 10**market.price_decimals)
