"""What does the venue say? Prices, margins, ranks and losses of any profile, by name.

Every call takes a profile (name or path) and named inputs as decimal text, whole numbers, Decimal
or Fraction, in the venue's own units, and returns exact fractions. A state is built and the engine
is asked (`implementation` says which); only what `formulas` holds is computed from a formula.
Refusals are CalculateError, a ValueError of one line.

>>> from engine.venue import shipped_venues
>>> made = {"qty": "1", "entry_price": "40000", "wallet_balance": "5000", "mmr": "0.01"}
>>> found = liquidation_price(shipped_venues()[0], side="long", **made)
>>> float(round(found, 3))
35353.535
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from engine.calculate import formulas, levels, losses, margins, orders
from engine.calculate.numbers import Answer, CalculateError, from_json, to_json
from engine.calculate.question import Question, question_of
from engine.situation import Implementation
from engine.venue import load_venue

__all__ = [
    "CalculateError",
    "TOPICS",
    "adl_fills",
    "adl_score",
    "ask",
    "bankruptcy_price",
    "example",
    "fund_delta",
    "funding",
    "initial_margin",
    "is_formula",
    "is_liquidatable",
    "liquidation_order_price",
    "liquidation_price",
    "liquidation_size",
    "maintenance_margin",
    "mark_price",
    "socialised_loss",
    "takeover",
    "tier",
]


def _funding(q: Question) -> Answer:
    i = q.inputs
    if i.has("last_settlement", "now"):
        return formulas.sampling_window(q)
    if i.has("position", "qty"):
        return losses.funding_payment(q)
    return formulas.rate(q, load_venue(q.venue).funding)


def _fee(q: Question) -> Answer:
    return formulas.keeper_fee(q) if q.inputs.has("slots_since_active") else orders.fee(q)


def _margin(q: Question) -> Answer:
    return margins.skew_margin(q) if q.inputs.has("skew_scale") else margins.margin(q)


def _size(q: Question) -> Answer:
    return formulas.ramp(q) if q.inputs.has("call_slots") else orders.size(q)


def _deleveraging(q: Question) -> Answer:
    pool = q.inputs.has("max_pnl_factor_for_adl")
    return losses.pool_deleveraging(q) if pool else losses.adl_trigger(q)


TOPICS: dict[str, Callable[[Question], Answer]] = {
    "liquidation_price": margins.liquidation_price,
    "bankruptcy_price": margins.bankruptcy_price,
    "initial_margin": _margin,
    "maintenance_margin": _margin,
    "maintenance_amount": margins.maintenance_amount,
    "tier_lookup": margins.tier_of,
    "trigger": levels.trigger,
    "margin_call": levels.margin_call,
    "mark_price": levels.mark_price,
    "funding_rate": _funding,
    "adl_rank": levels.adl_rank,
    "adl_allocation": losses.adl_fills,
    "adl_price": losses.adl_price,
    "adl_trigger": _deleveraging,
    "insurance_fund": losses.insurance_fund,
    "liquidation_execution": orders.execution,
    "liquidation_fee": _fee,
    "liquidation_order_price": orders.order_price,
    "partial_liquidation": _size,
    "residual_loss": losses.residual_loss,
    "takeover": losses.takeover,
}


def ask(
    topic: str, venue: str, inputs: dict[str, Any], implementation: Implementation = "rulebook"
) -> Answer:
    """Everything a topic can say about these inputs, as exact fractions, text and truth values."""
    if topic not in TOPICS:
        raise CalculateError(f"topic: expected one of {', '.join(TOPICS)}, got {topic!r}")
    return TOPICS[topic](question_of(venue, topic, inputs, implementation))


def example(
    venue: str, topic: str, inputs: dict[str, Any], implementation: Implementation = "rulebook"
) -> Answer:
    """A published example: JSON inputs (plain or as value and unit) to JSON outputs by name."""
    return to_json(ask(topic, venue, from_json(inputs), implementation))


def is_formula(topic: str, inputs: dict[str, Any]) -> bool:
    """Whether such an example is answered by a formula because the engine has no such rule."""
    names = {
        "funding_rate": ({"position", "qty"}, False),
        "liquidation_fee": ({"slots_since_active"}, True),
        "partial_liquidation": ({"call_slots"}, True),
    }
    wanted, given = names.get(topic, (set(), True))
    return bool(wanted & set(inputs)) == given if wanted else False


# -- one question, one answer -----------------------------------------------------------------


def liquidation_price(venue: str, **inputs: Any) -> Fraction | None:
    """The mark at which a position's domain is in breach; None if no mark does that.

    `side`, `qty` (inverse: `contracts`), `entry_price`, and `wallet_balance` (cross), `margin` or
    `leverage` with `extra_margin` (isolated). `market` takes the venue's own market; with `mmr`
    (and `cum`, `taker_fee`) one is made with these rates. `tmm_other` and `upnl_other`, or
    `other_qty` and its fellows, are further positions.
    """
    return ask("liquidation_price", venue, *_split(inputs))["liquidation_price"]


def bankruptcy_price(venue: str, **inputs: Any) -> Fraction:
    """The price at which closing leaves nothing. Inputs as for `liquidation_price`."""
    return ask("bankruptcy_price", venue, *_split(inputs))["bankruptcy_price"]


def maintenance_margin(venue: str, **inputs: Any) -> Fraction:
    """Maintenance margin of `qty` (or `contracts`) at `mark_price` in `market`."""
    return ask("maintenance_margin", venue, *_split(inputs))["maintenance_margin"]


def initial_margin(venue: str, **inputs: Any) -> Fraction:
    """Initial margin of `qty` (or `contracts`) at `mark_price` in `market`, with `leverage`."""
    return ask("initial_margin", venue, *_split(inputs))["initial_margin"]


def tier(venue: str, **inputs: Any) -> Answer:
    """Tier and rates of `position_value` (or `position`) in `market`."""
    return ask("tier_lookup", venue, *_split(inputs))


def funding(venue: str, **inputs: Any) -> Answer:
    """A rate from `avg_premium`, `premiums` or impact prices; a payment with `position`; or the
    sampling window at `now`."""
    return ask("funding_rate", venue, *_split(inputs))


def mark_price(venue: str, **inputs: Any) -> Fraction:
    """The mark that `index_price`, `last_price` and the last `funding_rate` make."""
    return ask("mark_price", venue, *_split(inputs))["mark_price"]


def adl_score(venue: str, **inputs: Any) -> Answer:
    """Score of a position in the deleveraging queue, and its factors."""
    return ask("adl_rank", venue, *_split(inputs))


def adl_fills(venue: str, **inputs: Any) -> list[dict[str, Any]]:
    """Who is closed against `liquidated_qty` at `bankruptcy_price`, and how much."""
    return ask("adl_allocation", venue, *_split(inputs))["fills"]


def liquidation_size(venue: str, **inputs: Any) -> Answer:
    """How much the liquidation of `qty` at `mark_price` in `market` closes first."""
    return ask("partial_liquidation", venue, *_split(inputs))


def liquidation_order_price(venue: str, **inputs: Any) -> Fraction:
    """The limit of a liquidation order of a portfolio at oracle prices."""
    return ask("liquidation_order_price", venue, *_split(inputs))["liquidation_order_price"]


def fund_delta(venue: str, **inputs: Any) -> Fraction:
    """What a liquidation adds to the insurance fund, or takes from it."""
    return ask("insurance_fund", venue, *_split(inputs))["fund_delta"]


def socialised_loss(venue: str, **inputs: Any) -> Answer:
    """Who pays a loss that the fund did not cover."""
    return ask("residual_loss", venue, *_split(inputs))


def is_liquidatable(venue: str, **inputs: Any) -> bool | list[bool]:
    """Whether `net_collateral` against `maintenance_requirement` is in breach."""
    return ask("trigger", venue, *_split(inputs))["liquidatable"]


def takeover(venue: str, **inputs: Any) -> list[Fraction]:
    """What the book leaves of each of `positions` and volunteers are assigned."""
    return ask("takeover", venue, *_split(inputs))["assigned"]


def _split(inputs: dict[str, Any]) -> tuple[dict[str, Any], Implementation]:
    kept = {name: value for name, value in inputs.items() if name != "implementation"}
    return kept, inputs.get("implementation", "rulebook")
