"""Recorded crash days with 100,000 accounts: to the end, to the unit, and the same every time."""

from pathlib import Path

import numpy as np
import pytest

from engine.constants import CommandKind
from engine.digest import EventDigest, state_digest
from engine.exchange import Exchange
from engine.replay import replay
from engine.rows import rebatch
from engine.scenario import (
    LoadedScenario,
    depth_curves,
    engine_capacities,
    load_scenario,
    market_commands,
    setup_commands,
)

pytestmark = pytest.mark.realdata

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
MINUTES = "crash_minutes/binance_usdm_BTCUSDT_1m_"
BANDS = "crash_minutes/binance_um_bookDepth_BTCUSDT_2025-10-10.csv.gz"
ACCOUNTS = 100_000

# The shipped scenario, the recorded minutes in place of its points, their lowest price, and a
# fund that leaves hundreds of accounts to ADL, not tens of thousands: each of them ranks every
# opposite position, which is what makes such a day slow.
DAYS = {
    "2020-03-12": ("2020-03-12-black-thursday", "20200312T0945_1207", 519_917, 57_000_000),
    "2020-03-13": ("2020-03-12-black-thursday", "20200313T0045_0307", 362_181, 40_000_000),
    "2021-05-19": ("2021-05-19", "20210519T1219_1432", 2_868_800, 430_000_000),
    "2025-10-10": ("2025-10-10-binance", "20251010T2025_2233", 10_151_650, 700_000_000),
}


def load_day(day: str, data: Path) -> LoadedScenario:
    """The scenario of a day. 10 October 2025 brings its depth bands, less the stale bid of
    17.652 BTC that stays in the archive's bid side from 15:30 on."""
    scenario, minutes, _, fund = DAYS[day]
    files = f'{{kind="klines", path="{MINUTES}{minutes}.csv.gz", market="BTCUSDT"}}'
    changes = [f"population.accounts={ACCOUNTS}", "funding=[]", f'fund="{fund}"']
    if day == "2025-10-10":
        files += (
            f', {{kind="bookDepth", as="depth", path="{BANDS}", market="BTCUSDT", '
            "subtract_lots=17_652, average_sides=true, trim_spaces=true}"
        )
        changes.append('liquidity.BTCUSDT={kind="tape"}')
        changes.append(
            f'prices={{files=[{files}], begin="2025-10-10T20:25:00Z", end="2025-10-10T22:34:00Z"}}'
        )
    else:
        changes.append(f"prices={{files=[{files}]}}")
    return load_scenario(SCENARIOS / f"{scenario}.toml", changes, data)


@pytest.fixture(scope="module", params=DAYS)
def run(request, shared_data, tmp_path_factory):
    loaded = load_day(request.param, shared_data)
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, loaded, replay(loaded, folder, keep_tape=False)


def test_a_crash_runs_to_its_end_and_conserves_money(run):
    day, _, report = run
    assert report.accounts_count == ACCOUNTS
    assert report.identity.difference_quote == 0 and all(report.invariants.values())
    assert report.refused == []
    summary = report.summary
    assert summary.accounts_liquidated_count > 5_000
    assert summary.notional_book_quote > 0
    parts = ("book", "fund", "adl", "residual")
    taken = [getattr(summary, f"notional_{part}_quote") for part in parts]
    assert sum(taken) == summary.notional_liquidated_quote
    shares = ", ".join(
        f"{part} {100 * value // sum(taken)} %" for part, value in zip(parts, taken, strict=True)
    )
    print(f"\n{day}: {summary.accounts_liquidated_count:,} accounts liquidated, {shares}")


@pytest.mark.parametrize("batch_size", [1, 7, 4_096])
def test_a_crash_is_the_same_every_time(run, batch_size):
    day, loaded, report = run
    exchange = Exchange(
        loaded.profile,
        capacities=engine_capacities(loaded),
        curves=depth_curves(loaded),
        feedback_ppm=loaded.scenario.feedback_ppm,
    )
    digest, held, lowest = EventDigest(), [], 2**62
    for blocks in (setup_commands(loaded), market_commands(loaded)):
        for batch in rebatch(blocks, batch_size):
            held.append(exchange.submit(batch))
            if len(held) == 4_096:
                digest.update(np.concatenate(held))
                held = []
            indices = batch["price"][batch["kind"] == CommandKind.INDEX]
            lowest = min(lowest, *indices.tolist()) if len(indices) else lowest
    digest.update(np.concatenate([*held, exchange.submit(np.zeros(0, batch.dtype))]))
    assert lowest == DAYS[day][2]
    assert digest.hexdigest() == report.event_digest
    assert state_digest(exchange.rows()) == report.state_digest
