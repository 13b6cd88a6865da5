"""How much of a need to share out, and what carries over from one shock to the next.

Scalars in integers, decided once a shock: theta in parts per billion, money in units. `severity`
shares the part theta by profit; any other policy can be given the reduced need.
"""

from fractions import Fraction
from math import isqrt

from engine.reference import sharing

PPB = 1_000_000_000


def static(theta_ppb: int) -> int:
    """The same theta at every shock. Source: [C25v1]."""
    return min(PPB, max(0, theta_ppb))


def cap_by_survivor(ratio_ppb: int, endowment_max: int, deficit: int) -> int:
    """Largest theta that keeps the top winner above `ratio` of what the others lose, in ppb:
    r / (1 + r) * largest endowment / deficit, at most 1. Source: [C25v1]. Rounding: down."""
    if deficit <= 0:
        return PPB
    return min(PPB, ratio_ppb * endowment_max * PPB // ((PPB + ratio_ppb) * deficit))


def backoff(previous_ppb: int, decay_ppb: int, floor_ppb: int, cap_ppb: int) -> int:
    """theta = min(max(decay * previous, floor), cap). Source: [C25v1]. Rounding: down."""
    return min(max(decay_ppb * previous_ppb // PPB, floor_ppb), cap_ppb)


def mirror(
    previous_ppb: int, shock: int, rate_ppb: int, cap_ppb: int, gain_ppb: int, hazard_ppb: int,
    threshold_ppb: int, excess_ppb: int,
) -> int:  # fmt: skip
    """One projected gradient step: theta - rate / sqrt(shock) * slope, within [0, cap].

    The slope is per unit of deficit: -gain, -hazard while theta is below the threshold, and
    2 * excess * (theta - 1)+. `shock` counts from 1. Source: [C25v1]. Rounding: toward a smaller
    theta at both divisions.
    """
    slope = -gain_ppb + 2 * excess_ppb * max(0, previous_ppb - PPB) // PPB
    if previous_ppb < threshold_ppb:
        slope -= hazard_ppb
    step = -rate_ppb * slope // isqrt(shock * PPB * PPB)
    return min(cap_ppb, max(0, previous_ppb + step))


def part_of(need: int, theta_ppb: int) -> int:
    """The need times theta, rounded down."""
    return need * theta_ppb // PPB


def forecast_error(need: int, theta_ppb: int, previous_need: int) -> int:
    """Published budget, theta of the previous need, minus the budget this need asks for.

    Above zero it is overshoot, below zero residual.
    """
    return part_of(previous_need, theta_ppb) - part_of(need, theta_ppb)


def after_haircut(participation_ppb: int, haircut: int, capacity: int, decay: int = 8) -> int:
    """How willing a winner still is: participation * exp(-decay * haircut / capacity), in ppb.

    For repeated shocks under `profit_queue`. Source: [OSS]. Rounding: down, of the exact value:
    exp is bracketed by its series until both ends round alike.
    """
    if haircut == 0 or capacity == 0:
        return participation_ppb
    x = Fraction(decay * haircut, capacity)
    total, term, count = Fraction(1), Fraction(1), 0
    while True:
        count += 1
        term = term * x / count
        total += term
        if count > 2 * x:  # the terms left sum to less than the last one
            low = participation_ppb / (total + term)
            high = participation_ppb / total
            if int(low) == int(high):
                return int(low)


def profit_shock(
    profits: list[int], capacities: list[int], participation_ppb: list[int], decay: int = 8
) -> tuple[list[int], list[int]]:
    """One shock of the published profit queue: what each row gives, and its participation after.

    Rows are closes of winners: closed profit and capacity, raised to the profit where it is less;
    both count times the participation. The budget is the smaller of both sums, the order is by
    profit, then place. Source: [OSS]. Rounding: down.
    """
    profits = [p * m // PPB for p, m in zip(profits, participation_ppb, strict=True)]
    caps = [max(c * m // PPB, p)
            for c, p, m in zip(capacities, profits, participation_ppb, strict=True)]  # fmt: skip
    places = range(len(caps))
    order = sharing.in_order(profits, profits, places)
    taken = sharing.walk(min(sum(profits), sum(caps)), order, caps)
    rows = zip(participation_ppb, taken, caps, strict=True)
    return taken, [after_haircut(m, x, c, decay) for m, x, c in rows]


def fund_draw(loss: int, vault: int, market_cap: int) -> int:
    """What the fund pays before `size_levy`: min(loss, vault - 1, cap of the market), at least 0.
    Source: [FND]."""
    return max(0, min(loss, vault - 1, market_cap))


def split_over_markets(budget: int, at_risk: list[int], gaps: list[int]) -> list[int]:
    """Lots to close in each market for one budget in money: shared by dollars at risk, then up to
    whole lots at each market's gap. Source: [OSS]. Rounding: largest remainder, then up."""
    places = list(range(len(gaps)))
    money = sharing.share(budget, at_risk, at_risk, places)
    return [-(-m // g) if g else 0 for m, g in zip(money, gaps, strict=True)]
