"""What may change in the middle of a run, why, and the change itself.

A field may change where no part of the state was made by it: it is asked when something happens (a
fill, a liquidation, a loss, a new price) and forgotten after. What a margin or a trigger is was
asked when every leg was hung on its ladder, and what a price is went into the marks; such a change
would need every leg hung anew, and is refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import msgspec

from engine.core.tables import is_plain, write_curve, write_market, write_steps, write_switches
from engine.exchange import Exchange
from engine.funds import fund_deposits
from engine.messages import Scenario
from engine.patched import load_patched
from engine.profile import ProfileError, VenueProfile
from engine.refusal import Refusal
from engine.run_folder import SCENARIO, VENUE, RunFolder
from engine.scenario import LoadedScenario, depth_curves
from engine.strict import decode_tree, flatten, parse_override, set_path
from engine.study.changes import scale_of, thinned
from engine.venue import DepthCurve, market_numbers

WHOLE = ("losses", "liquidation")  # tables of a profile whose fields may change, but for MAY_NOT
SINGLE = {
    "margin.bankruptcy_fee", "margin.bankruptcy_split", "trigger.exit", "trigger.exit_buffer_ppm",
    "funding.rate_cap_ppb", "funding.price",
}  # fmt: skip
OF_A_MARKET = {
    "maker_fee_ppm", "taker_fee_ppm", "liquidation_fee_ppm", "price_band_ppm", "order_lots_min",
    "order_lots_max", "open_interest_lots_max", "leverage_default", "funding_cap_ppb",
}  # fmt: skip
MAY_NOT = {
    "losses.residual": "it decides which wallets below zero are in breach, and they were sorted",
    "losses.fund_scope": "each fund is an account that the run opened at its beginning",
    "losses.profit_lock": "it decides which profit since the last settlement was locked",
    "margin": "every leg was hung on its ladder by what it requires",
    "trigger": "levels that were entered and ladders that legs hang on were made by it",
    "mark": "the samples behind the marks were taken by it",
    "funding": "the interval that is running began by it",
    "markets": "legs, orders and prices are in its units, tiers and bounds",
}
FUND, DEPTH = "fund_deposit", "depth_ppm"
DRAWDOWN = ("drawdown_ppm", "drawdown_stop_ppm", "drawdown_window_ns")


class ForkError(Refusal):
    """A run cannot be forked as asked: one line with the folder or the change."""


@dataclass(frozen=True)
class Turn:
    """What is other from some command on: the profile, the market maker's curves (None: as they
    are), and what is paid into insurance funds at that moment: account and money."""

    profile: VenueProfile
    curves: dict[int, DepthCurve] | None = None
    deposits: list[tuple[int, int]] = field(default_factory=list)

    def make(self, exchange: Exchange) -> None:
        """Give an exchange that is between two commands this policy, from the next command on.

        The funds' highs of the drawdown rule begin anew where that rule changes. Deposits are
        commands, and whoever feeds the exchange puts them first.
        """
        before, now = exchange.profile.losses, self.profile.losses
        block = exchange.block
        write_switches(block.words, self.profile)
        write_steps(block, self.profile)
        # Rows of tiers, samples and curves are given out in the order in which they were.
        cursor = {"TIERS": 1, "BASIS": 1, "CURVES": 1}
        for market_id, market in enumerate(self.profile.markets, start=1):
            numbers = market_numbers(self.profile, market)
            write_market(block, market_id, numbers, cursor, is_plain(self.profile, numbers))
            if self.curves is not None:
                write_curve(block, market_id, self.curves.get(market_id), cursor)
        if any(getattr(before, name) != getattr(now, name) for name in DRAWDOWN):
            block.table("PEAKS")[:] = 0
            block.table("FUNDS")["drawdown"] = 0
        exchange.profile = self.profile


def read_turn(run: RunFolder, changes: Sequence[str]) -> Turn:
    """The changes of one variant of a fork. Raises ForkError for one that may not be made there,
    and ScenarioError for one that no profile or scenario could have."""
    forced: list[tuple[str, Any]] = []
    liquidity: list[tuple[list[str], Any]] = []
    depth_ppm, fund, funds = None, "0", {}
    for text in changes:
        segments, value = parse_override(text)
        if segments[0] == "venue" and len(segments) > 1:
            leaves = list(flatten({".".join(segments[1:]): value}))
            for path, _ in leaves:
                _check_venue(run.loaded.profile, path, text)
            forced += leaves
        elif segments[0] == "liquidity":
            liquidity.append((segments, value))
        elif segments == [DEPTH]:
            depth_ppm = scale_of(SCENARIO, text, value)
        elif segments == [FUND] and isinstance(value, str):
            fund = value
        elif segments[0] == FUND and len(segments) == 2 and isinstance(value, str):
            funds[segments[1]] = value
        else:
            reason = f"expected venue.*, liquidity.*, {DEPTH}, or {FUND} as text"
            raise ForkError(f"--set {text!r}: {reason}: all else is in the tape or made its state")
    curves = None
    if liquidity or depth_ppm is not None:
        curves = _curves(run, liquidity, depth_ppm)
    profile = load_patched(VENUE, run.folder, None, VENUE, {}, forced)[0] if forced else None
    profile = profile or run.loaded.profile
    try:
        deposits = fund_deposits(profile, run.loaded.scenario.markets, fund, funds)
    except ProfileError as error:
        raise ForkError(f"--set {FUND}: {error}") from None
    return Turn(profile, curves, deposits)


def _check_venue(profile: VenueProfile, path: str, text: str) -> None:
    """Refuse a field of the profile that made a part of the state."""
    table, *rest = path.split(".")

    def refuse(reason: str) -> NoReturn:
        raise ForkError(f"--set {text!r}: may not change at a fork: {reason}")

    if path in MAY_NOT:
        refuse(MAY_NOT[path])
    if table in WHOLE or path in SINGLE:
        return
    name = rest[-1] if len(rest) == 2 else ""
    if table != "markets" or name not in OF_A_MARKET:
        refuse(MAY_NOT.get(table, "no part of the state may have been made by it"))
    if name == "taker_fee_ppm" and profile.margin.close_fee == "taker":
        refuse("this venue counts the fee of closing into what every leg requires")


def _curves(
    run: RunFolder, changes: Sequence[tuple[list[str], Any]], depth_ppm: int | None
) -> dict[int, DepthCurve]:
    """The market maker's curves with changes; as many levels as before, which have their places."""
    loaded = _with_liquidity(run, run.loaded, changes)
    if depth_ppm is not None:
        scaled = [parse_override(text) for text in thinned(loaded, depth_ppm)]
        loaded = _with_liquidity(run, loaded, scaled)
    before, after = depth_curves(run.loaded), depth_curves(loaded)
    for symbol, (market_id, _) in run.loaded.numbers.items():
        old, new = (each.get(market_id, DepthCurve()) for each in (before, after))
        if len(old.levels) != len(new.levels) or (not old.levels and old != new):
            reason = "expected a curve with as many levels as before; they have places of their own"
            raise ForkError(f"liquidity.{symbol}: {reason}")
        if bool(old.volatility_ppm) != bool(new.volatility_ppm):
            reason = "whether volatility counts may not change at a fork: it was sampled, or not"
            raise ForkError(f"liquidity.{symbol}: {reason}")
    return after


def _with_liquidity(
    run: RunFolder, loaded: LoadedScenario, changes: Sequence[tuple[list[str], Any]]
) -> LoadedScenario:
    """A scenario with changes below `liquidity`."""
    tree = msgspec.to_builtins(loaded.scenario)
    for segments, value in changes:
        try:
            set_path(tree, segments, value)
        except KeyError as error:
            raise ForkError(f"--set {'.'.join(segments)}: no such field: {error.args[0]}") from None
    return replace(loaded, scenario=decode_tree(SCENARIO, tree, Scenario, "$"))
