"""Random exchanges and the comparison of core and rulebook on random commands.

A seed fixes everything: the profile, the capacities, the depth curve, the feedback, the size of
the event buffer and of the batches, and every command. `run_differential` feeds one stream to
both implementations, compares every event row and the final state, and counts what it saw.
"""

import copy
import random
from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np

from engine import constants as c
from engine.digest import EventDigest, state_digest
from engine.exchange import Exchange
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND, EVENT
from engine.venue import (
    Capacities,
    DepthCurve,
    DepthLevel,
    VenueProfile,
    load_venue,
    shipped_venues,
    validate,
)
from engine.workload import Fuzzer

BASE_PROFILE = next(n for n in shipped_venues() if load_venue(n).settlement.asset == "USDT")
COVER, ALL = {"size": "cover_shortage"}, {"size": "all"}
PLAIN_STEPS = ([COVER], [ALL], [COVER, ALL])
ENDS = ("fund_unlimited", "pool", "retry")
ABSORBERS = ("insurance_fund", "fund_payment", "adl", "volunteers", "covered_book", "vault")
COLLATERAL = {
    "symbol": "ASSET",
    "payoff": "linear",
    "contract": "collateral",
    "haircut_ppm": 100_000,
    "price_decimals": 2,
    "tick": "0.01",
    "lot": "0.001",
    "price_max": "1600",
    "order_lots_max": 2_000,
    "open_interest_lots_max": 1_000_000,
    "maker_fee_ppm": 0,
    "taker_fee_ppm": 0,
    "liquidation_fee_ppm": 0,
    "tiers": [{"notional_to": "1000000000", "leverage_max": 1, "maintenance_ppm": 1}],
}
INVERSE = {
    "symbol": "COIN",
    "payoff": "inverse",
    "price_decimals": 1,
    "tick": "0.5",
    "lot": "100",
    "price_min": "100",
    "price_max": "200000",
    "order_lots_max": 100_000,
    "open_interest_lots_max": 1_000_000,
    "leverage_default": 10,
    "maker_fee_ppm": -100,
    "taker_fee_ppm": 500,
    "liquidation_fee_ppm": 5_000,
    "tiers": [
        {"notional_to": "50", "leverage_max": 100, "maintenance_ppm": 5_000},
        {"notional_to": "500", "leverage_max": 50, "maintenance_ppm": 10_000},
        {"notional_to": "5000", "leverage_max": 20, "maintenance_ppm": 25_000},
    ],
}
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


def draw_step(rng: random.Random) -> dict[str, object]:
    """One order step of a liquidation."""
    order = rng.choice(["ioc", "ioc", "fok", "transfer"])
    step: dict[str, object] = {
        "size": rng.choice(["all", "cover_shortage", "fraction", "lower_tier", "chunk"]),
        "fraction_ppm": rng.choice([100_000, 500_000]),
        "tiers_down": rng.choice([0, 1, 2]),
        "chunk_lots": rng.choice([1, 20]),
        "order": order,
        "limit": rng.choice(["bankruptcy", "spread", "mark", "touch", "none"]),
        "limit_ppm": rng.choice([0, 2_000, 50_000]),
        "pause_ns": rng.choice([0, 0, 1, 10**9]),
        "once_in_ns": rng.choice([0, 0, 10**10]),
        "from_tier": rng.choice([1, 1, 2]),
    }
    for name, amounts in (("floor", ["5"]), ("cap", ["50", "0.001"]), ("above", ["10", "0.001"])):
        if rng.random() < 0.25:
            step[name] = rng.choice(amounts)
    if rng.random() < 0.2:
        step |= {"window_lots": 50, "window_ns": 10**10}
    if order == "transfer":
        step["limit"] = rng.choice(["mark", "bankruptcy"])
    return step


def draw_liquidation(rng: random.Random) -> dict[str, object]:
    """Axes B, C and H."""
    plain = rng.random() < 0.35
    steps = [draw_step(rng) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    if plain:
        steps = rng.choice(
            [
                [{"size": "cover_shortage"}],
                [{"size": "all"}],
                [{"size": "cover_shortage"}, {"size": "all"}],
            ]
        )
    return {
        "cancel": rng.choice(["none", "market", "account", "account"]),
        "net_hedged": rng.random() < 0.3,
        "sell_collateral": rng.choice(["last", "first"]),
        "select": rng.choice(["largest", "largest", "largest_loss", "random"]),
        "lowest_tier_closes_all": rng.random() < 0.2,
        "steps": steps,
        "fee_cap": rng.choice(["equity", "equity", "surplus", "faded"]),
        "fee_to": rng.choice(["fund", "fund", "venue"]),
        "surplus": rng.choice(["to_user", "to_fund"]),
        "order": rng.choice(["account", "account", "worst_first", "random"]),
        "phase": rng.choice(["per_account", "per_account", "adl_last"]),
    }


def draw_losses(rng: random.Random) -> dict[str, object]:
    """Axes D to G."""
    absorbers = rng.sample(ABSORBERS, rng.choice([0, 1, 2, 3, 4]))
    if rng.random() < 0.4:
        absorbers = ["insurance_fund", "adl"]
    residuals = ["fund", "debt", "negative_left", "socialise_positions", "socialise_profit"]
    scores = ["wallet_pct_margin_ratio", "profit_times_leverage", "return_times_leverage"]
    prices = ["bankruptcy", "bankruptcy", "mark", "previous_mark", "mark_unless_fund_low"]
    return {
        "waterfall": [*absorbers, rng.choice([*ENDS, "fund_unlimited"])],
        "adl_score": rng.choice([*scores, "price_gain_times_leverage", "random", "none"]),
        "adl_candidates": rng.choice(["opposite", "opposite", "winners"]),
        "adl_price": rng.choice(prices),
        "adl_cancel": rng.choice(["none", "market", "account"]),
        "fund_inventory_ppm": rng.choice([0, 10**6, 10**8]),
        "fund_pays": rng.random() < 0.9,
        "fund_low": rng.choice(["0", "10", "1000"]),
        "drawdown_ppm": rng.choice([0, 0, 0, 100_000, 500_000]),
        "drawdown_stop_ppm": rng.choice([0, 50_000]),
        "drawdown_window_ns": rng.choice([1, 10**10, 10**12]),
        "fund_cap": rng.choice(["0", "0", "1", "20"]),
        "fund_cap_window_ns": rng.choice([0, 10**10]),
        "volunteer_edge_ppm": rng.choice([0, 10_000]),
        "covered_band_ppm": rng.choice([0, 50_000]),
        "retry_ns": rng.choice([1, 10**9]),
        "residual": rng.choice(["fund", *residuals, "withdrawal_haircut"]),
        "profit_scope": rng.choice(["account", "market"]),
        "profit_lock": rng.random() < 0.2,
        "gate_ns": rng.choice([0, 10**10]),
        "waive_after_ns": rng.choice([0, 1, 10**11]),
    }


def draw_margin(rng: random.Random) -> dict[str, object]:
    """What a position must be covered with."""
    plain = rng.random() < 0.4
    by = "notional" if plain else rng.choice(["notional", "notional", "entry_value", "contracts"])
    return {
        "tier_mode": "flat" if by == "contracts" else rng.choice(["marginal", "flat"]),
        "tier_by": by,
        "maintenance": "tiers" if plain else rng.choice(["tiers", "tiers", "share_of_initial"]),
        "initial_share_ppm": 500_000,
        "initial": rng.choice(["leverage", "leverage", "tiers"]),
        "worst_case_orders": not plain and by != "entry_value" and rng.random() < 0.25,
        "close_fee": "none" if plain else rng.choice(["none", "taker"]),
        "bankruptcy_fee": rng.random() < 0.3,
        "bankruptcy_split": rng.choice(["all", "by_maintenance"]),
    }


def draw_trigger(rng: random.Random) -> dict[str, object]:
    """Axis A."""
    return {
        "comparison": rng.choice(["below", "at_or_below"]),
        "warn_ppm": rng.choice([0, 0, 1_250_000, 2_000_000]),
        "restrict": rng.choice(["none", "none", "initial"]),
        "backstop_ppm": rng.choice([0, 0, 666_667]),
        "exit": rng.choice(["maintenance", "maintenance", "buffer", "initial"]),
        "exit_buffer_ppm": rng.choice([0, 20_000]),
        "second_price": rng.choice(["none", "none", "none", "average_last"]),
        "average_half_life_ns": rng.choice([0, 10**9, 10**11]),
        "cure_ns": rng.choice([0, 10**9, 10**11]),
    }


def curve_of(rng: random.Random, market: dict, linear: bool, scaled: bool) -> None:
    """A requirement curve beyond tiers, now and then."""
    pick = rng.random()
    if pick < 0.15:
        market["slope_per_coin"] = rng.choice(["0.0001", "0.01", "0.5"])
    elif pick < 0.25 and linear:
        market["sqrt_per_coin"] = rng.choice(["0.001", "0.01"])
    if scaled and rng.random() < 0.3:
        market["scaling"] = rng.choice([["10", "1000"], ["0", "100000"]])


def by_contracts(markets: list[dict]) -> None:
    """Tiers by lots instead of notional."""
    for market in markets:
        for index, tier in enumerate(market["tiers"]):
            tier |= {"notional_to": None, "lots_to": 20 * 5**index}


def draw_profile(seed: int) -> VenueProfile:
    """A valid profile with every switch drawn at random.

    >>> draw_profile(1) == draw_profile(1)
    True
    """
    rng = random.Random(seed)
    raw = msgspec.to_builtins(load_venue(BASE_PROFILE))
    raw |= {"evidence": [], "margin": draw_margin(rng), "trigger": draw_trigger(rng)}
    raw |= {"liquidation": draw_liquidation(rng), "losses": draw_losses(rng)}
    raw["losses"]["drawdown_stop_ppm"] = min(
        raw["losses"]["drawdown_stop_ppm"], raw["losses"]["drawdown_ppm"]
    )
    raw["mark"] = {
        "source": rng.choice(["median", "median", "median", "tape", "index", "last"]),
        "basis_samples": rng.choice([1, 3, 30]),
        "basis_interval_ns": rng.choice([1, 10**9]),
    }
    raw["funding"] |= {
        "accrual": rng.choice(["interval", "interval", "continuous"]),
        "price": rng.choice(["mark", "mark", "index"]),
    }
    raw["markets"] = draw_markets(rng, raw)
    return validate(msgspec.convert(raw, VenueProfile))


def draw_markets(rng: random.Random, raw: dict) -> list[dict]:
    """One or two linear markets, perhaps with an asset, or an inverse one."""
    linear, second = copy.deepcopy(raw["markets"][:2])
    linear |= {
        "tick": rng.choice(["0.01", "0.10"]),
        "price_max": "1600",
        "price_band_ppm": rng.choice([0, 50_000]),
        "maker_fee_ppm": rng.choice([200, -50]),
        "open_interest_lots_max": rng.choice([5_000, 200_000]),
        "order_lots_max": 2_000,
        "payoff": rng.choice(["linear", "linear", "quanto"]),
    }
    second |= {"price_max": "1600", "open_interest_lots_max": 1_000_000}
    kind = rng.random()
    markets = [linear] if kind < 0.5 else [linear, second]
    if kind >= 0.75:
        raw["settlement"] = {"asset": "COIN", "decimals": 8}
        markets = [copy.deepcopy(INVERSE)]
    scaled = raw["trigger"]["restrict"] == "none"
    for market in markets:
        curve_of(rng, market, kind < 0.75, scaled)
    if kind < 0.75 and rng.random() < 0.4:
        markets.append(copy.deepcopy(COLLATERAL))
    if raw["margin"]["tier_by"] == "contracts":
        by_contracts(markets)
    return markets


def draw_setup(seed: int) -> Setup:
    """A random exchange; its profile is `draw_profile(seed)`."""
    rng = random.Random(seed * 7 + 1)
    profile = draw_profile(seed)
    curves = {}
    avalanche = 24 if seed % 8 == 0 and profile.mark.source == "median" else 0
    if rng.random() < 0.5 and not avalanche:
        levels = [DepthLevel(offset_ppm=offset, lots=lots) for offset, lots in CURVE_LEVELS]
        half_life_ns = rng.choice([0, 10**9, 10**10])
        curves[1] = DepthCurve(levels=levels, refill_half_life_ns=half_life_ns)
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
