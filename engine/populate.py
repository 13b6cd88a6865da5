"""Populations to Parquet: the work behind `crashtape population`.

A drawn population is written part by part as it is drawn, a file of positions chunk by chunk as it
is read, so memory does not grow with either. What was asked for stands beside what came.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from engine.constants import LEVERAGE_MAX, LOTS_MAX, PPM, Contract
from engine.importers.common import ImportReport, market_spec, source_name
from engine.importers.hyperliquid_accounts import read_accounts
from engine.peopled import DrawnPopulation
from engine.population.columns import FitRow, Population, PopulationError
from engine.population.file import Rows, frames_rows, stream_rows
from engine.population.fit import Fit, Sizes
from engine.population.margins import MarketStart
from engine.population.table import rows_of, write_rows
from engine.profile import VenueProfile
from engine.scenario import LoadedScenario, population_request
from engine.venue import market_numbers

Told = Callable[[int], None]  # rows so far


def write_scenario_population(
    loaded: LoadedScenario, output: Path, told: Told = lambda rows: None
) -> tuple[int, list[FitRow]]:
    """Write a scenario's population, as its run would have it; rows, and asked against drawn.

    Raises ScenarioError and PopulationError, also where the scenario has no population.
    """
    if isinstance(loaded.scenario.population, DrawnPopulation):
        parts, fit = population_request(loaded).parts()
        count = write_rows(_gathered(parts, fit, told), loaded.profile, output)
        return count, fit.rows()
    population, table = loaded.population
    if population is None:
        raise PopulationError(f"{loaded.file}: $.population: expected a population, got none")
    return write_rows([rows_of(population)], loaded.profile, output), table


def _gathered(parts: Iterable[Population], fit: Fit, told: Told) -> Iterator[Rows]:
    done = 0
    for part in parts:
        fit.update(part)
        rows = rows_of(part)
        done += len(rows.account)
        told(done)
        yield rows


def write_positions(
    path: Path, profile: VenueProfile, output: Path, *, columns: Mapping[str, str],
    told: Told = lambda rows: None,
) -> tuple[int, list[FitRow]]:  # fmt: skip
    """Write a CSV or Parquet file of positions in our columns; rows, and what they hold."""
    return _written(stream_rows(path, profile, _starts(profile), columns), profile, output, told)


def write_snapshot(
    path: Path, profile: VenueProfile, output: Path, *, market: str, coin: str,
    told: Told = lambda rows: None,
) -> tuple[int, list[FitRow]]:  # fmt: skip
    """The same for account snapshots of a chain's clearinghouse, one coin of them.

    Raises FormatError and ProfileError too.
    """
    report = ImportReport(source=source_name(path), format="account snapshots")
    spec, decimals = market_spec(profile, market), profile.settlement.decimals
    frames = read_accounts(path, spec, market, coin, decimals, report)
    rows = frames_rows(source_name(path), frames, profile, _starts(profile), {})
    return _written(rows, profile, output, told)


def _starts(profile: VenueProfile) -> dict[str, MarketStart]:
    """Every market, without a price: a file's own health is not known before a scenario's."""
    return {
        market.symbol: MarketStart(place + 1, market_numbers(profile, market), 0)
        for place, market in enumerate(profile.markets)
    }


def _written(
    parts: Iterable[Rows], profile: VenueProfile, output: Path, told: Told
) -> tuple[int, list[FitRow]]:
    seen = _Seen(_starts(profile))

    def watched() -> Iterator[Rows]:
        for rows in parts:
            seen.update(rows)
            told(seen.positions)
            yield rows

    return write_rows(watched(), profile, output), seen.rows()


class _Seen:
    """What the rows of a file hold, gathered chunk by chunk."""

    def __init__(self, starts: Mapping[str, MarketStart]) -> None:
        self._starts = starts
        self._sizes = {symbol: Sizes(None) for symbol in starts}
        self._leverage = np.zeros(LEVERAGE_MAX + 1, np.int64)
        self.positions = self._isolated = self._money = 0

    def update(self, rows: Rows) -> None:
        """Take the next chunk."""
        self.positions += len(rows.account)
        self._isolated += int(rows.isolated.sum())
        self._money += sum(rows.funds.tolist()) + sum(rows.wallet.tolist())
        self._leverage += np.bincount(rows.leverage, minlength=LEVERAGE_MAX + 1)
        for symbol, start in self._starts.items():
            mine = rows.market_id == start.market_id
            lots, sizes = rows.lots[mine], self._sizes[symbol]
            sizes.long += int(lots[lots > 0].sum())
            sizes.short -= int(lots[lots < 0].sum())
            sizes.update(lots, rows.leverage[mine], lots, LOTS_MAX)

    def rows(self) -> list[FitRow]:
        """The table: of the whole, then market by market."""
        middle = np.searchsorted(np.cumsum(self._leverage), self.positions // 2, side="right")
        share = self._isolated * PPM // max(self.positions, 1)
        table = [
            FitRow("rows", "", None, self.positions, "rows"),
            FitRow("isolated", "", None, share, "ppm"),
            FitRow("leverage median", "", None, int(middle), "times"),
            FitRow("collateral and wallets", "", None, self._money, "money"),
        ]
        for symbol, sizes in self._sizes.items():
            if not sizes.counts.any():
                continue
            if self._starts[symbol].numbers.contract == Contract.COLLATERAL:
                table.append(FitRow("collateral held", symbol, None, sizes.long, "lots"))
                continue
            table += [
                FitRow("long lots", symbol, None, sizes.long, "lots"),
                FitRow("short lots", symbol, None, sizes.short, "lots"),
                FitRow("median size", symbol, None, sizes.middle(), "lots"),
                FitRow("largest size", symbol, None, sizes.largest, "lots"),
                FitRow("held by the top 1 %", symbol, None, sizes.top_share_ppm(), "ppm"),
            ]
            if (tail := sizes.tail_ppm()) is not None:
                table.append(FitRow("tail index", symbol, None, tail, "ppm"))
        return table
