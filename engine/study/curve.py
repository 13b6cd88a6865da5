"""The fund-size curve K*(r / kappa): how large a fund pays, for what a fund costs against a breach.

`needs` are what each seed needs of a field so that a condition no longer holds. Where a unit of
fund costs r and a unit of need beyond it costs kappa, r*K + kappa*E[(need - K)+] is least at the K
that a need passes with probability r / kappa. K* is that quantile of the seeds' needs; how often it
is passed on other seeds is found by running them.
"""

from collections.abc import Sequence
from statistics import NormalDist

import msgspec

from engine import constants as c

CONFIDENCE = 0.95


class Share(msgspec.Struct, frozen=True):
    """How often something happened, and the 95 % band of its probability (Wilson's)."""

    count: int
    of: int
    low: float
    high: float


class CurvePoint(msgspec.Struct, frozen=True):
    """One ratio: the size that serves it, None beyond the range; breaches on the study's seeds and
    on others, where the size was run."""

    ratio_ppm: int
    units: int | None
    breaches: Share
    checked: Share | None = None


def share(count: int, of: int) -> Share:
    """A count as a share of `of` cases, 1 at least, with its band.

    >>> share(0, 10).low, round(share(0, 10).high, 6)
    (0.0, 0.277533)
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    p, widening = count / of, 1 + z * z / of
    middle = (p + z * z / (2 * of)) / widening
    half = z / widening * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
    low = 0.0 if count == 0 else middle - half
    return Share(count, of, low, 1.0 if count == of else middle + half)


def percent_band(found: Share) -> str:
    """The band of a share in percent.

    >>> percent_band(share(1, 4))
    '4.6 to 69.9 %'
    """
    return f"{found.low * 100:.1f} to {found.high * 100:.1f} %"


def sizes(needs: Sequence[int | None], ratios_ppm: Sequence[int]) -> list[CurvePoint]:
    """The least size for each ratio that no larger share of the needs passes; None: more than all.

    >>> [point.units for point in sizes([40, 10, None, 20], [500_000, 250_000, 100_000])]
    [20, 40, None]
    """
    known = sorted(need for need in needs if need is not None)
    points = []
    for ratio in ratios_ppm:
        passed = len(needs) * ratio // c.PPM  # so many seeds may need more
        place = max(0, len(needs) - passed - 1)
        units = known[place] if place < len(known) else None
        above = sum(need is None or (units is not None and need > units) for need in needs)
        points.append(CurvePoint(ratio, units, share(above, len(needs))))
    return points
