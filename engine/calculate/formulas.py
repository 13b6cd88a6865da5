"""Published formulas for which the engine has no switch, with exact fractions.

Funding rates are made outside the state machine, which is told them. The rest are rules of venues
that no axis expresses yet: a keeper's fee that grows with time since the account became
liquidatable, and a growing share of the position whose loss counts with the buffer on top.
"""

from fractions import Fraction
from math import ceil, floor

from engine.calculate.numbers import Answer, CalculateError
from engine.calculate.question import Question
from engine.profile import Funding

HOUR_MINUTES, DAY_MINUTES = 60, 1_440
PPB = 10**9
PERCENT_STEPS = 10_000  # a share of a position is rounded down to a hundredth of a percent


def clamped(value: Fraction, low: Fraction, high: Fraction) -> Fraction:
    """A value within two bounds."""
    return min(max(value, low), high)


def funding_rate(
    rules: Funding,
    premium: Fraction,
    interest: Fraction | None = None,
    band: Fraction | None = None,
    formula: str | None = None,
) -> Fraction:
    """R64. The rate of one period from the mean premium, by the profile's formula.

    `interest_band`: premium + clamp(interest - premium, +-band). `dead_zone`: what the premium is
    above the band, or below minus the band. `premium`: the premium itself.
    """
    interest = Fraction(rules.interest_ppb, PPB) if interest is None else interest
    band = Fraction(rules.band_ppb, PPB) if band is None else band
    formula = formula or rules.formula
    if formula == "interest_band":
        return premium + clamped(interest - premium, -band, band)
    if formula == "dead_zone":
        return max(band, premium) + min(-band, premium)
    return premium


def impact_premium(bid: Fraction, ask: Fraction, index: Fraction) -> Fraction:
    """How far the prices of a trade of some size are off the index, on the side that is off."""
    return (max(bid - index, 0) - max(index - ask, 0)) / index


def rate(q: Question, rules: Funding) -> Answer:
    """A funding rate from a premium, premium samples or impact prices, within its caps."""
    i, answer = q.inputs, {}
    if i.has("avg_premium", "premium_rate", "premium"):
        premium = i.get("avg_premium", "premium_rate", "premium")
    elif i.has("premiums"):
        samples = i.several("premiums")
        premium = sum(samples, Fraction(0)) / len(samples)
    else:
        index = i.get("oracle_price", "index_price")
        bid, ask = (i.get(name, default=index) for name in ("impact_bid", "impact_ask"))
        premium = impact_premium(bid, ask, index)
    interest = i.get("interest") if i.has("interest") else None
    band = i.get("clamp_half_width", "damper") if i.has("clamp_half_width", "damper") else None
    formula = "interest_band" if i.has("clamp_half_width") else None
    found = funding_rate(rules, premium, interest, band, formula)
    cap = i.get("cap", default=Fraction(rules.rate_cap_ppb, PPB))
    found = clamped(found, i.get("floor", default=-cap), cap)
    return {**answer, "premium": premium, "funding_rate": found}


def minutes_of(text: str) -> int:
    """Minutes since midnight of `HH:MM`."""
    hours, _, minutes = str(text).partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2):
        raise CalculateError(f"time: expected HH:MM, got {text!r}")
    return int(hours) * HOUR_MINUTES + int(minutes)


def sampling_window(q: Question) -> Answer:
    """The rolling window of premium samples that a rate at some time is the mean of."""
    i = q.inputs
    period = i.get("sample_period", default=1)
    length = i.get("interval") * HOUR_MINUTES
    first = (minutes_of(i.raw("now")) - length + period) % DAY_MINUTES
    text = f"{int(first) // HOUR_MINUTES:02d}:{int(first) % HOUR_MINUTES:02d}"
    return {"first_sample": text, "samples": length / period}


# -- a keeper's fee and a ramp ----------------------------------------------------------------


def keeper_fee(q: Question) -> Answer:
    """The keeper's fee: the base, and after the grace period an increment for every slot since
    the account was last active, up to the highest."""
    i = q.inputs
    slots, fee = i.get("slots_since_active"), i.get("base_fee")
    if slots >= i.get("grace"):
        fee = min(fee + slots * i.get("increment"), max(fee, i.get("max_fee")))
    return {"liquidator_fee": fee}


def ramp(q: Question) -> Answer:
    """Liquidation whose share of the shortage grows with time since it began.

    Cancelling open orders comes first and counts. What may be freed by then is the whole shortage
    times the initial share plus the elapsed part of the duration; a losing position counts its
    loss with the buffer on top, as the published code does.
    """
    i = q.inputs
    base, price = i.get("base"), i.get("oracle_price")
    need = (i.get("mm_ratio") + i.get("buffer")) * price
    keeper, fund = i.get("liquidator_fee") * price, i.get("if_fee_max") * price
    equity, step = i.get("deposit") + i.get("quote") + base * price, i.get("step_size")
    loss, freed = max(Fraction(0), i.get("deposit") - equity), Fraction(0)
    open_bid = i.get("open_bid", default=0)
    after: list[Fraction] = []
    freed_after: list[Fraction] = []
    for slot, most in zip(i.several("call_slots"), i.several("liquidator_max"), strict=True):
        if open_bid:
            freed += open_bid * need + Fraction(1, 100)
            open_bid = Fraction(0)
        short = base * need - equity + loss * i.get("buffer")
        share = min(1, i.get("initial_pct") + (slot - i.get("entered_at_slot")) / i.get("duration"))
        room = max(0, (short + freed) * floor(share * PERCENT_STEPS) / PERCENT_STEPS - freed)
        part = Fraction(floor(min(1, room / short) * PERCENT_STEPS), PERCENT_STEPS)
        closed = ceil(short / (need - keeper - fund) * part / step) * step
        closed = min(closed, most, base)
        base, cost = base - closed, closed * (keeper + fund)
        equity, loss = equity - cost, loss + cost
        freed += short - (base * need - equity + loss * i.get("buffer"))
        if equity >= base * need:
            freed = Fraction(0)
        after.append(base)
        freed_after.append(freed)
    return {"base_after": after, "margin_freed_after": freed_after}
