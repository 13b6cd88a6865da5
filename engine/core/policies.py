"""Every policy compiled: one kernel that fills an array of amounts, told which policy by a number.

It follows the exact policies of `closing` and `loss_sharing`, where rules, sources and roundings
are stated; the numbers are theirs. The result is the same on every machine.
"""

from engine.bearers import (
    LEVERAGE_PPM_MAX,
    LOTTERY_FACTOR,
    LOTTERY_PRIME,
    RISK_MAX,
    Candidates,
    Options,
    SharePolicy,
    Space,
    Weight,
)
from engine.constants import PPM
from engine.core.arithmetic import divide_product, divide_up, mul_div, mul_div_bounded, mul_div_up
from engine.core.kernel import NOTHING, inlined, kernel, part
from engine.core.records import INT64
from engine.core.scores import score_of
from engine.core.shares import (
    WORK_COLUMNS,
    column,
    product_weights,
    share,
    share_least_maximum,
    sort_places,
    to_lots,
    total_of,
    walk,
    walk_whole,
)
from engine.core.windows import view_at

OPTION_WORDS = 16  # of a case; as many as Options has fields are used
INPUT_COLUMNS = len(Candidates._fields)
COLUMNS = INPUT_COLUMNS + 1 + 3 + WORK_COLUMNS  # amounts, three measures, scratch
assert len(Options._fields) <= OPTION_WORDS


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
        return LEVERAGE_PPM_MAX
    notional = abs(c.lots[place]) * c.mark[place]
    return mul_div_bounded(notional, PPM, c.equity[place], LEVERAGE_PPM_MAX)


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
def queue_order(c, score, last, work):
    """All places by score, larger notional, id."""
    n = len(c.id)
    ranks, notionals, order = column(work, 0, n), column(work, 1, n), column(work, 2, n)
    for place in range(n):
        order[place] = place
        price = last if last > 0 else c.mark[place]
        ranks[place] = score_of(c, place, score, price)
        notionals[place] = abs(c.lots[place]) * c.mark[place]
    return sort_places(ranks, notionals, c.id, order, column(work, 3, n), n)


@kernel
def queue(number, need, space, c, o, money, caps, out, work):
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
    order = queue_order(c, o.score, o.last, work)
    if whole:
        walk_whole(need, order, len(order), caps, out)
    else:
        walk(need, order, len(order), caps, out)


@inlined
def mixed(seed):
    """A number that looks random, from a seed: three multiplications modulo a prime."""
    z = seed % LOTTERY_PRIME
    for _ in range(3):
        z = divide_product((z ^ (z >> 29)) % LOTTERY_PRIME, LOTTERY_FACTOR, LOTTERY_PRIME)[1] + 1
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
    risk = PPM
    for _ in range(o.exponent):
        risk = mul_div_bounded(risk, leverage, PPM, RISK_MAX)
    return risk


@kernel
def copy_into(to, values):
    """In a loop: numba takes seconds to compile the assignment of one array to another."""
    for place in range(len(to)):
        to[place] = values[place]


@kernel
def pro_rata(number, need, space, c, o, money, caps, weights, out, work):
    """4.7 to 4.10 and 4.16: shares by weight under caps."""
    fill_endowments(c, o, space, money, caps)
    budget = need
    if number == 7 or number == 16:
        copy_into(weights, money)
        if number == 16:
            budget = mul_div(need, o.theta_ppm, PPM)
    else:
        if number == 8:
            copy_into(weights, money)
        elif number == 9:
            fill_weights(c, o, money, caps, weights)
        else:
            for place in range(len(caps)):
                caps[place] = risk_ppm(c, place, o)
            product_weights(money, caps, weights)
        fill_covered(c, o, space, caps)
    share(budget, weights, caps, c.id, out, work)


@kernel
def wealth_to_lots(need, space, c, o, money, caps, targets, out, work):
    """4.12: targets in money, then lots; in wealth space the money they realise."""
    fill_endowments(c, o, Space.WEALTH, money, caps)
    for place in range(len(caps)):
        caps[place] = min(money[place], abs(c.lots[place]) * c.gap[place])
    share(need, money, caps, c.id, targets, work)
    fill_at_risk(c, o, Space.CONTRACT, caps)
    to_lots(targets, c.gap, caps, c.id, out, work)
    if space == Space.WEALTH:
        for place in range(len(out)):
            out[place] *= c.gap[place]


@kernel
def min_max_leverage(need, space, c, o, money, caps, weights, out, work):
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
    share(kept_need, weights, caps, c.id, out, work)
    last = column(work, WORK_COLUMNS - 1, len(caps))
    for place in range(len(caps)):
        last[place] = caps[place] if weights[place] == 0 else 0
    share(kept_need - total_of(out), last, last, c.id, money, work)
    for place in range(len(out)):
        out[place] = caps[place] - out[place] - money[place]


@kernel
def vector_descent(need, space, c, o, caps, weights, out, work):
    """4.15: a share by squares, then the cut."""
    fill_at_risk(c, o, space, caps)
    product_weights(caps, caps, weights)
    share(need, weights, caps, c.id, out, work)
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
def levy(number, need, space, c, o, base, out, work):
    """4.18 to 4.23: in proportion to a base."""
    fill_base(number, c, o, base)
    total = total_of(base)
    if total == 0 or (space == Space.CONTRACT and number != 22):
        return
    if number == 19:
        share(need, base, base, c.id, out, work)
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


@kernel
def allocate(number, need, space, c, o, out, money, caps, weights, work):
    """Fill `out` by the policy of that number; arrays as `Candidates`."""
    out[:] = 0
    if number <= SharePolicy.SMART_QUEUE or number == SharePolicy.ANY_SIDE_QUEUE:
        queue(number, need, space, c, o, money, caps, out, work)
    elif number == SharePolicy.PROFIT_QUEUE:
        fill_covered(c, o, space, out)
    elif number == SharePolicy.LOTTERY:
        lottery(need, space, c, o, out)
    elif number <= SharePolicy.RISK_PRO_RATA or number == SharePolicy.SEVERITY:
        pro_rata(number, need, space, c, o, money, caps, weights, out, work)
    elif number == SharePolicy.CONTRACT_PRO_RATA:
        fill_at_risk(c, o, space, caps)
        share(need, caps, caps, c.id, out, work)
    elif number == SharePolicy.WEALTH_TO_LOTS:
        wealth_to_lots(need, space, c, o, money, caps, weights, out, work)
    elif number == SharePolicy.MIN_MAX_HAIRCUT:
        fill_covered(c, o, space, caps)
        for place in range(len(out)):
            weights[place] = max(0, c.equity[place])
        share_least_maximum(need, weights, caps, c.id, out, work)
    elif number == SharePolicy.MIN_MAX_LEVERAGE:
        min_max_leverage(need, space, c, o, money, caps, weights, out, work)
    elif number == SharePolicy.VECTOR_DESCENT:
        vector_descent(need, space, c, o, caps, weights, out, work)
    else:
        levy(number, need, space, c, o, money, out, work)


@kernel
def trim(need, c, o, out, caps, work):
    """Where more than the need was shared out, take it back from the last in the score's order."""
    if total_of(out) <= need:
        return
    for place in range(len(out)):
        caps[place] = out[place]
    walk(need, queue_order(c, o.score, o.last, work), len(out), caps, out)


# -- a case in memory -------------------------------------------------------------------------
#
# OPTION_WORDS words of options, then COLUMNS columns of `count` words: the candidates' fields, the
# amounts, and scratch. Nothing is allocated while the exchange runs.


@inlined
def options_at(at):
    """The options of a case."""
    w = view_at(at, OPTION_WORDS, INT64)
    return Options(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12])


@inlined
def columns_at(at, count):
    """The candidates of a case."""
    a = at + 8 * OPTION_WORDS
    return Candidates(
        column(a, 0, count),
        column(a, 1, count),
        column(a, 2, count),
        column(a, 3, count),
        column(a, 4, count),
        column(a, 5, count),
        column(a, 6, count),
        column(a, 7, count),
    )


@inlined
def amounts_at(at, count):
    """The amounts of a case, as `share_out` leaves them."""
    return column(at + 8 * OPTION_WORDS, INPUT_COLUMNS, count)


@part(NOTHING, python=True)
def share_out(s, at, count, number, need, space, most):
    """Fill the amounts of the case at an address by the policy of that number, up to `most` in all.
    `s` is not read, so that arrays of a caller in Python are shared out by the same machine code.
    """
    a = at + 8 * OPTION_WORDS
    first = INPUT_COLUMNS + 1
    c, o, out = columns_at(at, count), options_at(at), amounts_at(at, count)
    money, caps, weights = (
        column(a, first, count),
        column(a, first + 1, count),
        column(a, first + 2, count),
    )
    work = a + 8 * (first + 3) * count
    allocate(number, need, space, c, o, out, money, caps, weights, work)
    trim(most, c, o, out, caps, work)
