"""The policies that close positions, exact: one short function each, in fractions and integers.

A docstring's first sentence is the rule, `Source:` its origin (keys are spelled out in
docs/policies.md), `Rounding:` how whole units are made. Every function returns an amount for each
position, in money (wealth space) or lots (contract space); `Case` has what both have in common.
"""

from dataclasses import dataclass

from engine.bearers import (
    LEVERAGE_PPM_MAX,
    LOTTERY_FACTOR,
    LOTTERY_PRIME,
    RISK_MAX,
    Options,
    Position,
    Score,
    Space,
    Weight,
)
from engine.constants import PPM
from engine.reference import scores, sharing


@dataclass(frozen=True)
class Case:
    """One need and the positions it is shared over."""

    positions: list[Position]
    need: int  # money or lots, by the space
    space: Space
    options: Options

    @property
    def ids(self) -> list[int]:
        """Identifiers, the last word in every tie."""
        return [p.id for p in self.positions]

    def opposed(self, p: Position) -> bool:
        """On the other side of the bankrupt position."""
        return p.lots * self.options.side < 0

    def endowment(self, p: Position) -> int:
        """Profit of a winner on the other side; cash is protected."""
        return max(0, p.pnl) if self.opposed(p) else 0

    def endowments(self) -> list[int]:
        """Endowment of every position, in money."""
        return [self.endowment(p) for p in self.positions]

    def covered(self, p: Position) -> int:
        """Endowment within the haircut limit and above the equity floor."""
        w, o = self.endowment(p), self.options
        return max(0, min(w, w * o.haircut_max_ppm // PPM, p.equity - o.equity_min))

    def at_risk(self, p: Position) -> int:
        """What closing all of a winner on the other side costs him: |lots| * gap in money."""
        return self.opened(p) * (p.gap if self.space == Space.WEALTH else 1)

    def opened(self, p: Position) -> int:
        """Lots of a winner on the other side."""
        return p.size if self.endowment(p) > 0 else 0

    def within(self, money: int, p: Position) -> int:
        """A limit in money as a capacity: itself, or the whole lots it pays for."""
        if self.space == Space.WEALTH:
            return money
        if money == 0:
            return 0
        return min(p.size, money // p.gap) if p.gap else p.size

    def caps(self, limit) -> list[int]:
        """Capacity of every position under a limit in money."""
        return [self.within(limit(p), p) for p in self.positions]

    def last(self, p: Position) -> int:
        """Last price, or the mark where none is given."""
        return self.options.last or p.mark

    def order(self, score: int) -> list[int]:
        """Places by score, larger notional, id."""
        function = scores.EXACT[Score(score)]
        ranks = [function(p, self.last(p)) for p in self.positions]
        return sharing.in_order(ranks, [p.notional for p in self.positions], self.ids)


def queue_full(case: Case) -> list[int]:
    """4.1 Close whole positions of winners in the order of the score until the need is covered.

    Source: [C25]. Rounding: none; the last position may pass the need. Options: score.
    """
    caps = case.caps(case.endowment)
    return sharing.walk(case.need, case.order(case.options.score), caps, whole=True)


def queue_partial(case: Case) -> list[int]:
    """4.2 Take winners' profit in the order of the score, of the last only what is missing.

    Source: [C25] eq. pl-ranking, [OSS]. Rounding: none. Options: score.
    """
    return sharing.walk(case.need, case.order(case.options.score), case.caps(case.endowment))


def queue_lots(case: Case) -> list[int]:
    """4.3 Close lots of winners at one price in the order of the score, whatever their profit.

    Source: venue practice. Rounding: none. Options: score.
    """
    caps = [case.at_risk(p) for p in case.positions]
    return sharing.walk(case.need, case.order(case.options.score), caps)


def smart_queue(case: Case) -> list[int]:
    """4.4 The partial queue over what winners can lose, min(profit, equity), and no further.

    Source: [C25v1]. Rounding: none. Options: score, haircut_max_ppm, equity_min.
    """
    return sharing.walk(case.need, case.order(case.options.score), case.caps(case.covered))


def profit_queue(case: Case) -> list[int]:
    """4.5 A queue whose target is the winners' profits instead of the need: each gives min(profit,
    equity), so it overshoots.

    `severities.profit_shock` is the source's form over rows, with participation that falls from
    shock to shock. Source: [OSS]. Rounding: none. Options: haircut_max_ppm, equity_min.
    """
    return case.caps(case.covered)


def lottery(case: Case) -> list[int]:
    """4.6 Close the other side in list order from a random start, in profit or not.

    Whoever could not pay the gap from his equity is skipped. Source: [V4]. Rounding: none.
    Options: seed, tries_max.
    """
    n = len(case.positions)
    out, rest = [0] * n, case.need
    start = mixed(case.options.seed) % n if n else 0
    for step in range(min(n, case.options.tries_max)):
        place = (start + step) % n
        p = case.positions[place]
        in_money = case.space == Space.WEALTH
        taken = min(rest, p.size * p.gap if in_money else p.size)
        cost = taken if in_money else taken * p.gap
        if case.opposed(p) and cost <= p.equity:
            out[place] = taken
            rest -= taken
    return out


def mixed(seed: int) -> int:
    """A number below 2**61 - 1 that looks random, from a seed: three multiplications modulo that
    prime with shifts between them."""
    z = seed % LOTTERY_PRIME
    for _ in range(3):
        z = (z ^ (z >> 29)) % LOTTERY_PRIME * LOTTERY_FACTOR % LOTTERY_PRIME + 1
    return z


def wealth_pro_rata(case: Case) -> list[int]:
    """4.7 Every winner gives the same part of his profit.

    Source: [C25] eq. pro-rata. Rounding: largest remainder.
    """
    w = case.endowments()
    return sharing.share(case.need, w, case.caps(case.endowment), case.ids)


def capped_pro_rata(case: Case) -> list[int]:
    """4.8 The same part of every profit up to each winner's cap; the others fill up (water level).

    Source: [C25] capped pro-rata. Rounding: largest remainder.
    Options: haircut_max_ppm, equity_min.
    """
    return sharing.share(case.need, case.endowments(), case.caps(case.covered), case.ids)


def weighted_pro_rata(case: Case) -> list[int]:
    """4.9 Shares in proportion to a chosen weight, cut at each cap and redistributed.

    Source: [OSS]. Rounding: largest remainder. Options: weight, haircut_max_ppm, equity_min.
    """
    caps = case.caps(case.covered)
    kind, w = case.options.weight, case.endowments()
    if kind == Weight.EQUITY:
        weights = [max(0, p.equity) for p in case.positions]
    elif kind == Weight.NOTIONAL:
        weights = [p.notional for p in case.positions]
    elif kind == Weight.LEVERAGED_ENDOWMENT:
        weights = sharing.product_weights(w, [leverage_ppm(p) for p in case.positions])
    else:
        weights = w if kind == Weight.PROFIT else [case.covered(p) for p in case.positions]
    return sharing.share(case.need, weights, caps, case.ids)


def leverage_ppm(p: Position) -> int:
    """Notional / equity, rounded down, saturated; saturated where no equity is left."""
    if p.equity <= 0:
        return LEVERAGE_PPM_MAX
    return min(p.notional * PPM // p.equity, LEVERAGE_PPM_MAX)


def risk_ppm(p: Position, options: Options) -> int:
    """Risk weight: leverage to the exponent, or leverage * (leverage - threshold)+."""
    leverage = leverage_ppm(p)
    if options.threshold_ppm:
        excess = max(0, leverage - options.threshold_ppm)
        return min(leverage * excess // PPM, RISK_MAX)
    risk = PPM
    for _ in range(options.exponent):
        risk = min(risk * leverage // PPM, RISK_MAX)
    return risk


def risk_pro_rata(case: Case) -> list[int]:
    """4.10 Haircuts in proportion to a growing function of leverage, up to each cap.

    Source: [C25] RAP; exponent 1 is its linear rule. Rounding: leverage in ppm, down; then largest
    remainder. Options: exponent, threshold_ppm, haircut_max_ppm, equity_min.
    """
    risks = [risk_ppm(p, case.options) for p in case.positions]
    weights = sharing.product_weights(case.endowments(), risks)
    return sharing.share(case.need, weights, case.caps(case.covered), case.ids)


def contract_pro_rata(case: Case) -> list[int]:
    """4.11 Every winner closes the same part of his lots.

    Source: [OSS], with its faults mended: real lots instead of whole coins, so that one pass of
    largest remainders meets the need, and ties by id. Rounding: largest remainder.
    """
    caps = [case.at_risk(p) for p in case.positions]
    return sharing.share(case.need, caps, caps, case.ids)


def wealth_to_lots(case: Case) -> list[int]:
    """4.12 A pro-rata target in money turned into whole lots, largest residual first.

    The need is money in both spaces, and so is the excess, below one lot. Source: [OSS].
    Rounding: down, then one lot by descending residual / gap.
    """
    limits = [
        min(w, p.size * p.gap) for w, p in zip(case.endowments(), case.positions, strict=True)
    ]
    targets = sharing.share(case.need, case.endowments(), limits, case.ids)
    gaps = [p.gap for p in case.positions]
    lots = sharing.to_lots(targets, gaps, [case.opened(p) for p in case.positions], case.ids)
    if case.space == Space.CONTRACT:
        return lots
    return [k * g for k, g in zip(lots, gaps, strict=True)]


def min_max_haircut(case: Case) -> list[int]:
    """4.13 The largest loss / equity of any winner is as small as whole lots allow.

    Source: [OSS] integer program, solved here without a solver. Rounding: the level on equity down,
    then unit by unit to whom it leaves the smallest ratio. Options: haircut_max_ppm, equity_min.
    """
    equity = [max(0, p.equity) for p in case.positions]
    return sharing.share_least_maximum(case.need, equity, case.caps(case.covered), case.ids)


def min_max_leverage(case: Case) -> list[int]:
    """4.14 The most leveraged winner is cut first, level by level.

    What survives is shared by equity: min(position, level * equity); whoever has no equity keeps
    nothing before all others keep all. Source: ours. Rounding: largest remainder of survivors.
    """
    wealth = case.space == Space.WEALTH
    caps = [case.endowment(p) if wealth else case.opened(p) for p in case.positions]
    equity = [max(0, p.equity) for p in case.positions]
    weights = equity
    if wealth:
        inverse = [PPM * PPM // leverage if (leverage := leverage_ppm(p)) and e else 0
                   for p, e in zip(case.positions, equity, strict=True)]  # fmt: skip
        weights = sharing.product_weights(caps, inverse)
    kept_need = max(0, sum(caps) - case.need)
    kept = sharing.share(kept_need, weights, caps, case.ids)
    last = [c if w == 0 else 0 for c, w in zip(caps, weights, strict=True)]
    spared = sharing.share(kept_need - sum(kept), last, last, case.ids)
    return [c - k - s for c, k, s in zip(caps, kept, spared, strict=True)]


def vector_descent(case: Case) -> list[int]:
    """4.15 Haircuts in proportion to what is at risk, so money grows with its square; then cut to
    min(profit, equity), which loses part of the need.

    One Euclidean projection of the zero vector on the budget. Source: [OSS]. Rounding: largest
    remainder before the cut. Options: haircut_max_ppm, equity_min.
    """
    risk = [case.at_risk(p) for p in case.positions]
    wanted = sharing.share(case.need, sharing.product_weights(risk, risk), risk, case.ids)
    return [min(a, c) for a, c in zip(wanted, case.caps(case.covered), strict=True)]


def any_side_queue(case: Case) -> list[int]:
    """4.17 A queue over every position in profit, on either side, each closed whole.

    In money the last gives what is missing; in lots it is closed whole too, and nothing stands
    against it, so open interest is not conserved. Source: [LIB]. Rounding: none. Options: score.
    """
    wealth = case.space == Space.WEALTH
    caps = [(p.pnl if wealth else p.size) if p.pnl > 0 else 0 for p in case.positions]
    return sharing.walk(case.need, case.order(case.options.score), caps, whole=not wealth)
