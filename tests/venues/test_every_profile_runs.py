"""One scenario on every venue profile, in both implementations: money is conserved to the unit.

`one_crash.toml` is written in shares; each venue's market gives it prices and lots. What is
checked on every venue is the same: the set-up is accepted, accounts are liquidated, core and
rulebook say the same, and no unit of money appears or is lost.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from engine import constants as c
from engine.audit import Audit
from engine.digest import EventDigest, state_digest
from engine.exchange import Exchange
from engine.profile import VenueProfile
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND, EVENT
from engine.scenario import (
    LoadedScenario,
    depth_curves,
    engine_capacities,
    load_scenario,
    market_commands,
    setup_commands,
)
from engine.venue import load_venue, market_numbers, shipped_venues

TEMPLATE = Path(__file__).with_name("one_crash.toml")
STARTS = {"JPY": 1_000_000}  # the market's first price by settlement asset; else 10,000
INTEREST = {"linear": 10_000_000, "inverse": 1_000, "quanto": 1_000}  # open interest in the asset


def scenario_of(profile: VenueProfile, folder: Path, seed: int) -> LoadedScenario:
    """The one scenario, in the units of a profile's first market."""
    market = profile.markets[0]
    start = STARTS.get(profile.settlement.asset, 10_000)
    per_lot = Decimal(market.lot) * start if market.payoff == "linear" else Decimal(market.lot)
    wanted = INTEREST[market.payoff] * (start // 10_000 if market.payoff == "linear" else start)
    interest = int(wanted / per_lot)
    values = {
        "venue": profile.name,
        "market": market.symbol,
        "fund": INTEREST[market.payoff] * (start // 10_000) // 200,
        "start": start,
        "half": start * 7 // 10,
        "low": start * 3 // 10,
        "end": start * 8 // 10,
        "leverage": min(10, market.leverage_default),
        "interest": interest,
        "largest": min(interest // 5, market.order_lots_max),
        "near": interest // 100,
        "far": interest // 25,
    }
    text = TEMPLATE.read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = folder / "one_crash.toml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path, [f"seed={seed}"])


def commands_of(loaded: LoadedScenario) -> tuple[np.ndarray, np.ndarray]:
    """The commands of the set-up and those of history."""
    empty = np.zeros(0, COMMAND)
    return (
        np.concatenate([empty, *setup_commands(loaded)]),
        np.concatenate([empty, *market_commands(loaded)]),
    )


def money_difference(rows: dict[str, np.ndarray], events: np.ndarray) -> int:
    """sum(balances) - sum(entry values) - (deposits - withdrawals), in smallest units."""
    balances = sum(rows["accounts"][:, 1].tolist()) + sum(rows["positions"][:, 5].tolist())
    entries = sum(rows["positions"][:, 4].tolist())

    def total(kind: c.EventKind) -> int:
        return sum(events["amount"][events["kind"] == kind].tolist())

    deposits = total(c.EventKind.DEPOSITED) - total(c.EventKind.WITHDRAWN)
    return balances - entries - deposits


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("venue", shipped_venues())
def test_one_crash_on_every_venue_conserves_money_to_the_unit(venue: str, seed: int, tmp_path):
    profile = load_venue(venue)
    loaded = scenario_of(profile, tmp_path, seed)
    setup, history = commands_of(loaded)
    capacities, curves = engine_capacities(loaded), depth_curves(loaded)
    core = Exchange(profile, capacities=capacities, curves=curves, check_index=True)
    book = ReferenceExchange(profile, capacities=capacities, curves=curves)
    numbers = [market_numbers(profile, market) for market in profile.markets]
    audit = Audit(numbers, fund_is_limited=profile.losses.limits_fund)
    ours, theirs = EventDigest(), EventDigest()
    parts = []
    for commands in (setup, history):
        events = core.submit(commands)
        rulebook = np.array(book.submit(commands.tolist()), dtype=EVENT)
        assert np.array_equal(events, rulebook), f"{venue} seed {seed}: core and rulebook differ"
        ours.update(events)
        theirs.update(rulebook)
        audit.update(events)
        parts.append(events)
    unwanted = {c.EventKind.REJECTED, c.EventKind.LIQUIDATION_STARTED}
    assert not unwanted & set(parts[0]["kind"].tolist()), "accepted, and nobody starts in breach"
    events, rows = np.concatenate(parts), core.rows()
    assert (events["kind"] == c.EventKind.LIQUIDATION_STARTED).sum() > 5
    broken = [f"{x.id}: {x.difference}" for x in audit.finish(rows).checks if not x.ok]
    assert not broken, f"{venue} seed {seed}: {broken}"
    assert money_difference(rows, events) == 0
    assert (rows["markets"][:, 0] == np.arange(1, len(profile.markets) + 1)).all()
    assert ours.hexdigest() == theirs.hexdigest()
    assert state_digest(rows) == state_digest(book.rows())
