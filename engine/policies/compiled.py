"""Every policy compiled: one kernel that fills an array of amounts, told which policy by a number.

It follows the exact policies of `closing` and `loss_sharing`, where rules, sources and roundings
are stated; the numbers are theirs. The result is the same on every machine.
"""

import numpy as np

from engine.core.arithmetic import divide_product, divide_up, mul_div, mul_div_bounded, mul_div_up
from engine.core.kernel import inlined, kernel
from engine.policies.candidates import PPM, Space, Weight
from engine.policies.closing import FACTOR, LEVERAGE_MAX, PRIME, RISK_MAX
from engine.policies.kernels import (
    entry,
    product_weights,
    share,
    share_least_maximum,
    sort_places,
    to_lots,
    total_of,
    walk,
    walk_whole,
)
from engine.policies.scores import score_of

# -- what winners have ------------------------------------------------------------------------


@inlined
def opposed(c, place, side):
    """On the other side of the bankrupt position."""
    return c.lots[place] < 0 if side > 0 else c.lots[place] > 0


@inlined
def endowment(c, place, side):
    """Profit of a winner on the other side, in money."""
    return max(0, c.pnl[place]) if opposed(c, place, side) else 0


@inlined
def covered(c, place, o):
    """Endowment within the haircut limit and above the equity floor, in money."""
    w = endowment(c, place, o.side)
    limit = min(w, mul_div(w, max(0, o.haircut_max_ppm), PPM))
    return max(0, min(limit, c.equity[place] - o.equity_min))


@inlined
def within(c, place, money, space):
    """A limit in money as a capacity: itself, or the whole lots it pays for."""
    if space == Space.WEALTH or money == 0:
        return money
    size, gap = abs(c.lots[place]), c.gap[place]
    return min(size, money // gap) if gap > 0 else size


@inlined
def leverage_ppm(c, place):
    """Notional / equity, rounded down, saturated; saturated where no equity is left."""
    if c.equity[place] <= 0:
        return LEVERAGE_MAX
    notional = abs(c.lots[place]) * c.mark[place]
    return mul_div_bounded(notional, PPM, c.equity[place], LEVERAGE_MAX)


@kernel
def fill_endowments(c, o, space, money, caps):
    """Endowments of all in money, and as capacities of the space."""
    for place in range(len(caps)):
        money[place] = endowment(c, place, o.side)
        caps[place] = within(c, place, money[place], space)


@kernel
def fill_covered(c, o, space, caps):
    """What winners can lose, as capacities of the space."""
    for place in range(len(caps)):
        caps[place] = within(c, place, covered(c, place, o), space)


@kernel
def fill_at_risk(c, o, space, caps):
    """All lots of winners, or what closing them costs."""
    for place in range(len(caps)):
        caps[place] = 0
        if endowment(c, place, o.side) > 0:
            caps[place] = abs(c.lots[place]) * (c.gap[place] if space == Space.WEALTH else 1)


# -- queues -----------------------------------------------------------------------------------


@kernel
def queue_order(c, score, last):
    """All places by score, larger notional, id."""
    n = len(c.id)
    ranks, notionals = np.empty(n, np.int64), np.empty(n, np.int64)
    order = np.arange(n)
    for place in range(n):
        price = last if last > 0 else c.mark[place]
        ranks[place] = score_of(c, place, score, price)
        notionals[place] = abs(c.lots[place]) * c.mark[place]
    return sort_places(ranks, notionals, c.id, order, n)


@kernel
def queue(number, need, space, c, o, money, caps, out):
    """4.1 to 4.4 and 4.17: capacities, an order, a walk."""
    whole = number == 1
    fill_endowments(c, o, space, money, caps)
    if number == 3:
        fill_at_risk(c, o, space, caps)
    elif number == 4:
        fill_covered(c, o, space, caps)
    elif number == 17:
        whole = space == Space.CONTRACT
        for place in range(len(caps)):
            held = abs(c.lots[place]) if whole else c.pnl[place]
            caps[place] = held if c.pnl[place] > 0 else 0
    order = queue_order(c, o.score, o.last)
    if whole:
        walk_whole(need, order, len(order), caps, out)
    else:
        walk(need, order, len(order), caps, out)


@inlined
def mixed(seed):
    """A number that looks random, from a seed: three multiplications modulo a prime."""
    z = seed % PRIME
    for _ in range(3):
        z = divide_product((z ^ (z >> 29)) % PRIME, FACTOR, PRIME)[1] + 1
    return z


@kernel
def lottery(need, space, c, o, out):
    """4.6: list order from a random start."""
    n, rest = len(out), need
    start = mixed(o.seed) % max(1, n)
    for step in range(min(n, o.tries_max)):
        place = (start + step) % n
        size, gap = abs(c.lots[place]), c.gap[place]
        taken = min(rest, size * gap if space == Space.WEALTH else size)
        cost = taken if space == Space.WEALTH else taken * gap
        if opposed(c, place, o.side) and cost <= c.equity[place]:
            out[place] = taken
            rest -= taken


# -- shares -----------------------------------------------------------------------------------


@kernel
def fill_weights(c, o, money, caps, weights):
    """4.9: the weight that the options name; `caps` is scratch."""
    kind = o.weight
    for place in range(len(weights)):
        if kind == Weight.EQUITY:
            weights[place] = max(0, c.equity[place])
        elif kind == Weight.NOTIONAL:
            weights[place] = abs(c.lots[place]) * c.mark[place]
        elif kind == Weight.LEVERAGED_ENDOWMENT:
            caps[place] = leverage_ppm(c, place)
        else:
            profit = kind == Weight.PROFIT
            weights[place] = money[place] if profit else covered(c, place, o)
    if kind == Weight.LEVERAGED_ENDOWMENT:
        product_weights(money, caps, weights)


@inlined
def risk_ppm(c, place, o):
    """Risk weight: leverage to the exponent, or leverage * (leverage - threshold)+."""
    leverage = leverage_ppm(c, place)
    if o.threshold_ppm != 0:
        excess = max(0, leverage - o.threshold_ppm)
        return mul_div_bounded(leverage, excess, PPM, RISK_MAX)
    risk = np.int64(PPM)
    for _ in range(o.exponent):
        risk = mul_div_bounded(risk, leverage, PPM, RISK_MAX)
    return risk


@kernel
def pro_rata(number, need, space, c, o, money, caps, weights, out):
    """4.7 to 4.10 and 4.16: shares by weight under caps."""
    fill_endowments(c, o, space, money, caps)
    budget = need
    if number == 7 or number == 16:
        weights[:] = money
        if number == 16:
            budget = mul_div(need, o.theta_ppm, PPM)
    else:
        if number == 8:
            weights[:] = money
        elif number == 9:
            fill_weights(c, o, money, caps, weights)
        else:
            for place in range(len(caps)):
                caps[place] = risk_ppm(c, place, o)
            product_weights(money, caps, weights)
        fill_covered(c, o, space, caps)
    share(budget, weights, caps, c.id, out)


@kernel
def wealth_to_lots(need, space, c, o, money, caps, targets, out):
    """4.12: targets in money, then lots; in wealth space the money they realise."""
    fill_endowments(c, o, Space.WEALTH, money, caps)
    for place in range(len(caps)):
        caps[place] = min(money[place], abs(c.lots[place]) * c.gap[place])
    share(need, money, caps, c.id, targets)
    fill_at_risk(c, o, Space.CONTRACT, caps)
    to_lots(targets, c.gap, caps, c.id, out)
    if space == Space.WEALTH:
        for place in range(len(out)):
            out[place] *= c.gap[place]


@kernel
def min_max_leverage(need, space, c, o, money, caps, weights, out):
    """4.14: what survives is shared by equity, the rest is closed."""
    if space == Space.WEALTH:
        fill_endowments(c, o, space, caps, money)
        for place in range(len(caps)):
            leverage = leverage_ppm(c, place)
            usable = leverage > 0 and c.equity[place] > 0
            money[place] = PPM * PPM // leverage if usable else 0
        product_weights(caps, money, weights)
    else:
        fill_at_risk(c, o, space, caps)
        for place in range(len(caps)):
            weights[place] = max(0, c.equity[place])
    kept_need = max(0, total_of(caps) - need)
    share(kept_need, weights, caps, c.id, out)
    last = np.zeros_like(caps)
    for place in range(len(caps)):
        last[place] = caps[place] if weights[place] == 0 else 0
    share(kept_need - total_of(out), last, last, c.id, money)
    for place in range(len(out)):
        out[place] = caps[place] - out[place] - money[place]


@kernel
def vector_descent(need, space, c, o, caps, weights, out):
    """4.15: a share by squares, then the cut."""
    fill_at_risk(c, o, space, caps)
    product_weights(caps, caps, weights)
    share(need, weights, caps, c.id, out)
    fill_covered(c, o, space, caps)
    for place in range(len(out)):
        out[place] = min(out[place], caps[place])


# -- sharing a loss without closing -----------------------------------------------------------


@kernel
def fill_base(number, c, o, base):
    """What 4.18 to 4.23 measure everyone by: lots, profit, equity."""
    for place in range(len(base)):
        if number == 18:
            base[place] = abs(c.lots[place])
        elif number == 20:
            base[place] = max(0, c.equity[place])
        elif number == 22:
            base[place] = abs(c.lots[place]) if opposed(c, place, o.side) else 0
        elif number == 23:
            base[place] = endowment(c, place, o.side)
        else:
            base[place] = max(0, c.pnl[place])
            if number == 21:
                base[place] = mul_div(base[place], o.matured_ppm, PPM)


@kernel
def levy(number, need, space, c, o, base, out):
    """4.18 to 4.23: in proportion to a base."""
    fill_base(number, c, o, base)
    total = total_of(base)
    if total == 0 or (space == Space.CONTRACT and number != 22):
        return
    if number == 19:
        share(need, base, base, c.id, out)
        return
    shrinks = number == 21 or number == 23 or space == Space.CONTRACT
    kept = max(0, total - need)
    for place in range(len(out)):
        if shrinks:
            out[place] = base[place] - mul_div(base[place], kept, total)
        elif number == 18:
            out[place] = divide_up(need, total) * base[place]
        elif number == 20:
            withdrawn = mul_div(base[place], o.withdrawal_ppm, PPM)
            out[place] = mul_div_up(withdrawn, min(need, total), total)
        else:
            out[place] = mul_div_up(need, base[place], total)


@entry
def allocate_into(number, need, space, c, o, out):
    """Fill `out` (int64, zeroed here) by the policy of that number; arrays as `Candidates`."""
    n = len(out)
    out[:] = 0
    money, caps, weights = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    if number <= 4 or number == 17:
        queue(number, need, space, c, o, money, caps, out)
    elif number == 5:
        fill_covered(c, o, space, out)
    elif number == 6:
        lottery(need, space, c, o, out)
    elif number <= 10 or number == 16:
        pro_rata(number, need, space, c, o, money, caps, weights, out)
    elif number == 11:
        fill_at_risk(c, o, space, caps)
        share(need, caps, caps, c.id, out)
    elif number == 12:
        wealth_to_lots(need, space, c, o, money, caps, weights, out)
    elif number == 13:
        fill_covered(c, o, space, caps)
        for place in range(n):
            weights[place] = max(0, c.equity[place])
        share_least_maximum(need, weights, caps, c.id, out)
    elif number == 14:
        min_max_leverage(need, space, c, o, money, caps, weights, out)
    elif number == 15:
        vector_descent(need, space, c, o, caps, weights, out)
    else:
        levy(number, need, space, c, o, money, out)
