"""What random runs must have reached: events, refusals, reasons, switches, waterfalls, cascades.

A fuzz that never reaches a rule says nothing about it. Names come from the enums and from the
types of the profile, so that a new one is asked for without a line here.
"""

from collections import Counter
from types import UnionType
from typing import Literal, get_args, get_origin, get_type_hints

from engine import constants as c
from engine import profile as p
from engine.fuzz import everything
from engine.profile import VenueProfile

CASCADE_MIN = 11  # liquidations in one command, each set off by the mark the last one made
PREFIX_MAX = 2  # absorbers of a prefix of the waterfall
ENDS = ("fund_unlimited", "pool", "retry")  # they take everything, so nothing follows
NEEDS_A_TEST_OF_ITS_OWN = {
    "CANCELLED REQUOTE": "the market maker's own quotes are announced by DEPTH_SET",
    "CANCELLED DEPTH": "the market maker's own quotes are announced by DEPTH_SET",
    "REJECTED TOO_MANY_ORDERS": "needs thousands of orders of one account",
    "waterfall vault pool": "BACKSTOP takes it either way: no event tells one from the other",
}
# How a liquidation ended, and who of the waterfall had the last lot.
_TOOK = {
    c.LiquidationEnd.TAKEN_OVER: ("insurance_fund",),
    c.LiquidationEnd.DELEVERAGED: ("adl",),
    c.LiquidationEnd.RESIDUAL: ("fund_unlimited",),
    c.LiquidationEnd.ASSIGNED_OUT: ("volunteers",),
    c.LiquidationEnd.BACKSTOPPED: ("vault", "pool"),
    c.LiquidationEnd.PAUSED: ("retry",),
}
_SECTIONS = {
    "margin": p.Margin,
    "mark": p.Mark,
    "trigger": p.Trigger,
    "liquidation": p.Liquidation,
    "steps": p.Step,
    "losses": p.Losses,
    "sharing": p.Sharing,
    "market": p.Market,
}


def _choices(kind: object) -> tuple[object, ...]:
    """The values of a switch: a Literal's, or a bool's; () for anything else."""
    if get_origin(kind) is UnionType:
        return tuple(value for part in get_args(kind) for value in _choices(part))
    if get_origin(kind) is Literal:
        return get_args(kind)
    return (False, True) if kind is bool else ()


def _switches(struct: type) -> dict[str, tuple[object, ...]]:
    hints = get_type_hints(struct)
    return {name: values for name, kind in hints.items() if (values := _choices(kind))}


def switch_values() -> set[str]:
    """Every value of every switch that the engine reads: `losses.residual=debt`.

    >>> {"steps.size=chunk", "trigger.restrict=initial"} <= switch_values()
    True
    """
    found = {
        f"{s}.{n}={v}" for s, t in _SECTIONS.items() for n, vs in _switches(t).items() for v in vs
    }
    return found | {
        f"funding.{n}={v}" for n in ("accrual", "price") for v in _switches(p.Funding)[n]
    }


def switches_of(profile: VenueProfile) -> set[str]:
    """The switch values of one profile."""
    parts = {name: [getattr(profile, name, None)] for name in (*_SECTIONS, "funding")}
    parts |= {"steps": profile.liquidation.steps, "market": profile.markets}
    parts["sharing"] = [profile.losses.sharing]
    known = switch_values()
    found = set()
    for section, structs in parts.items():
        for struct in structs:
            names = struct.__struct_fields__
            found |= {f"{section}.{name}={getattr(struct, name)}" for name in names}
    return found & known


def waterfall_prefixes() -> set[str]:
    """Every way a waterfall can begin, of up to two absorbers: `waterfall adl vault`."""
    names = get_args(p.AbsorberName)
    first = [(name,) for name in names]
    pairs = [(a, b) for a in names for b in names if a != b and a not in ENDS]
    return {f"waterfall {' '.join(prefix)}" for prefix in [*first, *pairs]}


def prefixes_reached(profile: VenueProfile, seen: Counter[str]) -> set[str]:
    """The beginnings of this profile's waterfall that a liquidation went through: the absorber
    that ended one is at their end or beyond it."""
    names, deepest = profile.losses.waterfall, -1
    waits = any(step.pause_ns for step in profile.liquidation.steps)
    waits = waits or profile.liquidation.phase == "adl_last"
    for end, takers in _TOOK.items():
        if not seen[f"LIQUIDATION_ENDED {end.name}"]:
            continue
        if end == c.LiquidationEnd.PAUSED and waits:
            continue
        places = [names.index(name) for name in takers if name in names]
        deepest = max([deepest, *places[:1]])
    return {f"waterfall {' '.join(names[:n])}" for n in range(1, min(deepest + 1, PREFIX_MAX) + 1)}


def wanted() -> set[str]:
    """Everything that a long enough campaign must reach."""
    found = everything() | switch_values() | waterfall_prefixes() | {"cascade"}
    return found - set(NEEDS_A_TEST_OF_ITS_OWN)


class Coverage:
    """What a campaign reached so far."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.deepest = 0

    def add(self, profile: VenueProfile, seen: Counter[str], depth: int) -> None:
        """One run: its profile, what `fuzz.coverage` counted, its deepest cascade."""
        self.seen.update(seen)
        self.seen.update(switches_of(profile))
        self.seen.update(prefixes_reached(profile, seen))
        self.deepest = max(self.deepest, depth)
        self.seen["cascade"] += depth >= CASCADE_MIN

    def merge(self, other: "Coverage") -> None:
        """What another campaign reached, too."""
        self.seen.update(other.seen)
        self.deepest = max(self.deepest, other.deepest)

    def missing(self) -> list[str]:
        """What was never reached, by name."""
        return sorted(name for name in wanted() if not self.seen[name])
