"""Exact ways to share a whole number out, in plain Python, for the exact policies.

They follow the definitions, not the compiled algorithms: levels are fractions found by sorting.
"""

from collections.abc import Sequence
from fractions import Fraction

Ints = Sequence[int]


def in_order(first: Ints, second: Ints, ids: Ints) -> list[int]:
    """Places: larger first key, larger second key, smaller id, earlier place."""
    return sorted(range(len(ids)), key=lambda i: (-first[i], -second[i], ids[i], i))


def walk(need: int, order: Ints, caps: Ints, whole: bool = False) -> list[int]:
    """Take up to its capacity from each in order until the need is met; `whole`: all of it."""
    out, rest = [0] * len(caps), need
    for place in order:
        if rest <= 0:
            break
        out[place] = caps[place] if whole else min(caps[place], rest)
        rest -= out[place]
    return out


def level(need: int, weights: Ints, caps: Ints) -> Fraction | None:
    """t with sum of min(cap, t * weight) = need; None if all with a weight must give all."""
    places = [i for i in range(len(caps)) if weights[i] > 0]
    places.sort(key=lambda i: Fraction(caps[i], weights[i]))
    rest, weight_sum = Fraction(need), sum(weights[i] for i in places)
    for i in places:
        if rest * weights[i] < caps[i] * weight_sum:
            return rest / weight_sum
        rest -= caps[i]
        weight_sum -= weights[i]
    return None


def ideals(need: int, weights: Ints, caps: Ints) -> list[Fraction]:
    """Fractional amounts at the level; all capacity of those with a weight where it falls short."""
    t = level(need, weights, caps)
    if t is None:
        return [Fraction(c if w > 0 else 0) for c, w in zip(caps, weights, strict=True)]
    return [min(Fraction(c), t * w) for c, w in zip(caps, weights, strict=True)]


def largest_remainder(amounts: Sequence[Fraction], ids: Ints) -> list[int]:
    """Whole amounts of the same (whole) sum: floors, then one by descending fraction, then id."""
    out = [int(a) for a in amounts]
    left = int(sum(amounts)) - sum(out)
    fractions = [a - int(a) for a in amounts]
    for place in in_order(fractions, fractions, ids)[:left]:
        out[place] += 1
    return out


def share(need: int, weights: Ints, caps: Ints, ids: Ints) -> list[int]:
    """Amounts min(cap, t * weight), made whole by largest remainder."""
    return largest_remainder(ideals(need, weights, caps), ids)


def share_least_maximum(need: int, weights: Ints, caps: Ints, ids: Ints) -> list[int]:
    """Whole amounts whose largest amount / weight is least: unit by unit to the cheapest."""
    out = [int(a) for a in ideals(need, weights, caps)]
    open_caps = [c if w > 0 else 0 for c, w in zip(caps, weights, strict=True)]
    for _ in range(min(need, sum(open_caps)) - sum(out)):
        able = [i for i in range(len(out)) if out[i] < open_caps[i]]
        out[min(able, key=lambda i: (Fraction(out[i] + 1, weights[i]), ids[i], i))] += 1
    return out


def to_lots(targets: Ints, gaps: Ints, caps: Ints, ids: Ints) -> list[int]:
    """Lots worth the targets: floors, then again and again one to the largest residual / gap,
    while the money realised is below the sum of the targets."""
    out = [min(c, t // g) if g else 0 for t, g, c in zip(targets, gaps, caps, strict=True)]
    realised = sum(k * g for k, g in zip(out, gaps, strict=True))
    while realised < sum(targets):
        residuals = [t - k * g for t, k, g in zip(targets, out, gaps, strict=True)]
        able = [i for i, r in enumerate(residuals) if r > 0 and gaps[i] and out[i] < caps[i]]
        if not able:
            break
        place = max(able, key=lambda i: (Fraction(residuals[i], gaps[i]), -ids[i], -i))
        out[place] += 1
        realised += gaps[place]
    return out


def product_weights(a: Ints, b: Ints) -> list[int]:
    """Weights in proportion to a * b: floor(a * floor(b * F / max b) / max a) with
    F = 2**61 // n, 1 at least where both are positive."""
    scale = 2**61 // max(1, len(a))
    a_max, b_max = max([1, *a]), max([1, *b])
    return [
        max(1, x * (y * scale // b_max) // a_max) if x > 0 and y > 0 else 0
        for x, y in zip(a, b, strict=True)
    ]
