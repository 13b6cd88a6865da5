"""The policies that share a loss without choosing a counterparty, exact, and the severity rule.

Conventions are those of `closing`. In contract space nothing is closed and the whole need stays
residual, but for `side_scaling` and `severity`.
"""

from engine.bearers import Space
from engine.constants import PPM
from engine.reference import sharing
from engine.reference.closing import Case


def divide_up(a: int, b: int) -> int:
    """a / b rounded up, for b > 0."""
    return -(-a // b)


def nothing(case: Case) -> list[int]:
    """No position is closed."""
    return [0] * len(case.positions)


def severity(case: Case) -> list[int]:
    """4.16 Only a part theta of the need is shared out, each winner the same part of his profit.

    `severities` has the rules that choose theta. Source: [C25v1]. Rounding: the budget down, then
    largest remainder. Options: theta_ppm.
    """
    budget = case.need * case.options.theta_ppm // PPM
    return sharing.share(budget, case.endowments(), case.caps(case.endowment), case.ids)


def size_levy(case: Case) -> list[int]:
    """4.18 Every position on both sides, losing ones too, pays the same per lot.

    Source: [FND]. Rounding: the rate per lot up, so up to a unit a lot too much is taken.
    """
    interest = sum(p.size for p in case.positions)
    if case.space == Space.CONTRACT or interest == 0:
        return nothing(case)
    rate = divide_up(case.need, interest)
    return [rate * p.size for p in case.positions]


def profit_clawback(case: Case) -> list[int]:
    """4.19 Everyone with a net profit of the period, on either side, pays the same part of it.

    Source: [SET18]. Rounding: largest remainder.
    """
    if case.space == Space.CONTRACT:
        return nothing(case)
    profits = [max(0, p.pnl) for p in case.positions]
    return sharing.share(case.need, profits, profits, case.ids)


def withdrawal_levy(case: Case) -> list[int]:
    """4.20 Whoever withdraws pays the part of it that the need is of all equity; stayers nothing.

    Source: [WDR]. Rounding: withdrawals down, charges up, never above the withdrawal. Options:
    withdrawal_ppm.
    """
    equities = [max(0, p.equity) for p in case.positions]
    total = sum(equities)
    if case.space == Space.CONTRACT or total == 0:
        return nothing(case)
    factor_need = min(case.need, total)
    withdrawn = [e * case.options.withdrawal_ppm // PPM for e in equities]
    return [divide_up(x * factor_need, total) for x in withdrawn]


def profit_scaling(case: Case) -> list[int]:
    """4.21 All matured profits are worth one part h less, nobody is closed.

    h = residual value / matured profits. Source: [PERC]. Rounding: what a profit is still worth,
    down. Options: matured_ppm.
    """
    matured = [max(0, p.pnl) * case.options.matured_ppm // PPM for p in case.positions]
    total = sum(matured)
    if case.space == Space.CONTRACT or total == 0:
        return nothing(case)
    backed = max(0, total - case.need)
    return [m - m * backed // total for m in matured]


def side_scaling(case: Case) -> list[int]:
    """4.22 Every position of the other side shrinks by the same part and bears the loss per lot.

    Source: [PERC]. Rounding: lots that remain, down; losses, up.
    """
    sizes = [p.size if case.opposed(p) else 0 for p in case.positions]
    interest = sum(sizes)
    if interest == 0:
        return nothing(case)
    if case.space == Space.WEALTH:
        return [divide_up(case.need * s, interest) for s in sizes]
    kept = max(0, interest - case.need)
    return [s - s * kept // interest for s in sizes]


def gains_haircut(case: Case) -> list[int]:
    """4.23 The day's gains of the other side are paid at (1 - shortfall / all gains).

    Source: [C25] on clearing houses. Rounding: what is paid out, down.
    """
    gains = case.endowments()
    total = sum(gains)
    if case.space == Space.CONTRACT or total == 0:
        return nothing(case)
    paid = max(0, total - case.need)
    return [g - g * paid // total for g in gains]
