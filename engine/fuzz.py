"""Random exchanges and the comparison of core and rulebook on random commands.

A seed fixes everything: the profile, the capacities, the depth curve, the feedback, the size of
the event buffer and of the batches, and every command. `run_differential` feeds one stream to
both implementations, compares every event row and the final state, and counts what it saw.
"""

import random
from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np

from engine import constants as c
from engine.digest import EventDigest, state_digest
from engine.drawn_profiles import draw_profile
from engine.exchange import Exchange
from engine.profile import VenueProfile
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND, EVENT
from engine.venue import (
    Capacities,
    DepthCurve,
    DepthLevel,
)
from engine.workload import Fuzzer

CURVE_LEVELS = ((200, 30), (2_000, 200), (20_000, 1_000))  # offset ppm, lots


class Setup(msgspec.Struct, frozen=True):
    """One random exchange and how it is fed."""

    seed: int
    profile: VenueProfile
    capacities: Capacities
    curves: dict[int, DepthCurve]
    feedback_ppm: int
    deposit_quote: int
    swing_ppm: int
    events_slack: int
    batch: int
    avalanche: int  # accounts that fall one after the other before the random commands; 0: none

    def fuzzer(self) -> Fuzzer:
        """The command generator of this setup, at its beginning."""
        return Fuzzer(
            self.profile,
            self.seed,
            curves=self.curves,
            deposit_quote=self.deposit_quote,
            swing_ppm=self.swing_ppm,
        )

    def commands(self, count: int) -> list[tuple[int, ...]]:
        """The opening and `count` random commands, as tuples in COMMAND field order."""
        fuzzer = self.fuzzer()
        rows = fuzzer.opening()
        if self.avalanche:
            rows += fuzzer.avalanche(self.avalanche)
        return rows + fuzzer.draw(count)

    def core(self, *, events_slack: int | None = None, check_index: bool = True) -> Exchange:
        """The compiled exchange of this setup."""
        return Exchange(
            self.profile,
            capacities=self.capacities,
            curves=self.curves,
            feedback_ppm=self.feedback_ppm,
            check_index=check_index,
            events_slack=self.events_slack if events_slack is None else events_slack,
        )

    def rulebook(self) -> ReferenceExchange:
        """The same exchange in plain Python."""
        return ReferenceExchange(
            self.profile,
            capacities=self.capacities,
            curves=self.curves,
            feedback_ppm=self.feedback_ppm,
        )


class Outcome(msgspec.Struct, frozen=True):
    """What one seed showed: `difference` is "" when the two implementations agree."""

    seed: int
    difference: str
    commands: int
    events: int
    seen: dict[str, int]  # how often each named thing happened; see `coverage`
    cascade_depth: int
    event_digest: str
    state_digest: str


def draw_setup(seed: int) -> Setup:
    """A random exchange; its profile is `draw_profile(seed)`."""
    rng = random.Random(seed * 7 + 1)
    profile = draw_profile(seed)
    curves = {}
    avalanche = 24 if seed % 8 == 0 and profile.mark.source == "median" else 0
    if rng.random() < 0.5 and not avalanche:
        levels = [DepthLevel(offset_ppm=offset, lots=lots) for offset, lots in CURVE_LEVELS]
        half_life_ns = rng.choice([0, 10**9, 10**10])
        curves[1] = DepthCurve(
            levels=levels,
            refill_half_life_ns=half_life_ns,
            volatility_ppm=rng.choice([0, 1_000, 100_000]),
            volatility_half_life_ns=rng.choice([0, 10**9, 10**11]),
            permanent_ppm=rng.choice([0, 200_000, 10**6]),
        )
    elif rng.random() < 0.5:
        curves[1] = DepthCurve(refill_half_life_ns=rng.choice([10**9, c.TIME_MAX_NS]))
    capacities = Capacities(
        accounts_max=rng.choice([10, 12]) + avalanche,
        positions_max=rng.choice([8, 24, 48]) + avalanche,
        orders_max=rng.choice([10, 60, 300]) + avalanche,
    )
    inverse = profile.markets[0].payoff == "inverse"
    return Setup(
        seed=seed,
        profile=profile,
        capacities=capacities,
        curves=curves,
        feedback_ppm=10**6 if avalanche else rng.choice([0, 500_000, 10**6]),
        deposit_quote=10**6 if inverse else rng.choice([10**6, 10**7, 10**8]),
        swing_ppm=rng.choice([3_000, 30_000]),
        events_slack=rng.choice([0, 10, 65_536]),
        batch=rng.choice([1, 7, 200]),
        avalanche=avalanche,
    )


# -- what a stream of events shows ------------------------------------------------------------

REASONS = {
    c.EventKind.REJECTED: c.Reject,
    c.EventKind.FILL: c.Cause,
    c.EventKind.CANCELLED: c.CancelReason,
    c.EventKind.LIQUIDATION_ENDED: c.LiquidationEnd,
    c.EventKind.TAKEOVER_REFUSED: c.RefusedTakeover,
}


def everything() -> set[str]:
    """Every name `coverage` can count."""
    kinds = {kind.name for kind in c.EventKind}
    return kinds | {f"{kind.name} {reason.name}" for kind in REASONS for reason in REASONS[kind]}


def coverage(events: np.ndarray) -> Counter[str]:
    """How often each event kind, and each kind with its reason, occurs in EVENT rows."""
    pairs, counts = np.unique(
        np.stack([events["kind"], events["reason"]]), axis=1, return_counts=True
    )
    seen: Counter[str] = Counter()
    for (kind, reason), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        name = c.EventKind(kind).name
        seen[name] += count
        if kind in REASONS:
            seen[f"{name} {REASONS[kind](reason).name}"] += count
    return seen


def cascade_depth(events: np.ndarray) -> int:
    """The longest chain of liquidations, inside one command, each of which follows a mark that
    moved after the one before it."""
    deepest = depth = 0
    moved, seq = False, 0
    chosen = np.isin(events["kind"], (c.EventKind.MARK_SET, c.EventKind.LIQUIDATION_STARTED))
    for event_seq, kind in zip(
        events["seq"][chosen].tolist(), events["kind"][chosen].tolist(), strict=True
    ):
        if event_seq != seq:
            seq, depth, moved = event_seq, 0, True
        if kind == c.EventKind.MARK_SET:
            moved = True
        elif moved:
            depth, moved = depth + 1, False
            deepest = max(deepest, depth)
    return deepest


# -- comparison -------------------------------------------------------------------------------


def batches(commands: list[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    """The commands in pieces of `size`."""
    for start in range(0, len(commands), size):
        yield commands[start : start + size]


def describe(event: np.void | None) -> str:
    """One EVENT row in words: its kind, its reason and the fields that are not zero."""
    if event is None:
        return "nothing"
    kind = c.EventKind(int(event["kind"]))
    words = [kind.name]
    if kind in REASONS:
        words.append(REASONS[kind](int(event["reason"])).name)
    names = [name for name in EVENT.names if name not in ("kind", "reason") and event[name]]
    return " ".join([*words, *(f"{name}={event[name]}" for name in names)])


def describe_command(row: tuple[int, ...]) -> str:
    """One command in words: its kind and the fields that are not zero."""
    values = dict(zip(COMMAND.names, row, strict=True))
    kind = values.pop("kind")
    known = kind in tuple(c.CommandKind)
    words = [c.CommandKind(kind).name if known else f"kind {kind}"]
    return " ".join([*words, *(f"{name}={value}" for name, value in values.items() if value)])


def first_difference(
    core: np.ndarray, rulebook: np.ndarray, commands: list[tuple[int, ...]]
) -> str:
    """The first row at which two streams differ, in words; "" if they are equal.

    `commands` are all commands of the run: the row's `seq` tells which one caused it.
    """
    if core.tobytes() == rulebook.tobytes():
        return ""
    shorter = min(len(core), len(rulebook))
    place = next((i for i in range(shorter) if core[i] != rulebook[i]), shorter)
    mine = core[place] if place < len(core) else None
    other = rulebook[place] if place < len(rulebook) else None
    either = mine if mine is not None else other
    lines = [f"command {either['seq']}: {describe_command(commands[int(either['seq']) - 1])}"]
    lines += [f"  both:     {describe(event)}" for event in core[max(0, place - 5) : place]]
    lines += [f"  core:     {describe(mine)}", f"  rulebook: {describe(other)}"]
    return "\n".join(lines)


def first_row_difference(core: dict, rulebook: dict) -> str:
    """The first row of the state tables that differs, in words; "" if all are equal."""
    for name, table in rulebook.items():
        mine = [tuple(int(value) for value in row) for row in core[name]]
        other = [tuple(int(value) for value in row) for row in table]
        for place in range(max(len(mine), len(other))):
            a, b = mine[place : place + 1], other[place : place + 1]
            if a != b:
                return f"table {name}, row {place}: core {a}, rulebook {b}"
    return ""


def as_events(rows: list[tuple[int, ...]]) -> np.ndarray:
    """The rulebook's tuples as EVENT rows."""
    return np.array(rows, dtype=EVENT)


def run_differential(seed: int, commands: int, *, setup: Setup | None = None) -> Outcome:
    """Feed the commands of a seed to both implementations and stop at the first difference."""
    setup = setup or draw_setup(seed)
    return compare(setup, setup.commands(commands))


def compare(setup: Setup, rows: list[tuple[int, ...]]) -> Outcome:
    """Feed these commands to both implementations and stop at the first difference."""
    core, rulebook = setup.core(), setup.rulebook()
    digest = EventDigest()
    seen: Counter[str] = Counter()
    difference, events, depth = "", 0, 0
    for part in batches(rows, setup.batch):
        mine = core.submit(np.array(part, dtype=COMMAND))
        other = as_events(rulebook.submit(part))
        difference = first_difference(mine, other, rows)
        if difference:
            break
        digest.update(mine)
        seen.update(coverage(mine))
        events += len(mine)
        depth = max(depth, cascade_depth(mine))
    difference = difference or first_row_difference(core.rows(), rulebook.rows())
    return Outcome(
        seed=setup.seed,
        difference=f"seed {setup.seed}: {difference}" if difference else "",
        commands=len(rows),
        events=events,
        seen=dict(seen),
        cascade_depth=depth,
        event_digest=digest.hexdigest(),
        state_digest=state_digest(core.rows()),
    )
