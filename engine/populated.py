"""A scenario's population: what the draw needs from venue, files and prices, and the draw itself.

Texts of the request become integers here; refusals name the field of the scenario.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from engine.constants import Contract
from engine.importers.catalogue import GENERIC, KINDS, check_columns, read_file
from engine.importers.common import market_spec
from engine.peopled import DrawnMarket, DrawnPopulation
from engine.population.columns import Population, PopulationError
from engine.population.drawn import Backing, draw_cohorts
from engine.population.entries import VolumeProfile, profile_of_bands, profile_of_trades
from engine.population.fit import Fit
from engine.population.margins import MarketStart
from engine.profile import VenueProfile
from engine.units import UnitError, parse_decimal


@dataclass(frozen=True)
class Request:
    """A drawn population asked for by a scenario.

    `starts` has the first price of every market the scenario uses; `resolve` finds a file and
    `fail` refuses a field, both by its place in the scenario.
    """

    spec: DrawnPopulation
    profile: VenueProfile
    starts: Mapping[str, MarketStart]
    seed: int
    resolve: Callable[[str, str], Path]
    fail: Callable[[str, str], NoReturn]

    def parts(self) -> tuple[Iterator[Population], Fit]:
        """The population part by part, and the fit that every part is to be given to."""
        order = [self.starts[market.market] for market in self.spec.markets]
        backing = self._backing()
        drawn = draw_cohorts(self.spec, order, self.profile.margin, self.seed, backing)
        return drawn, Fit(self.spec, order, backing)

    def _backing(self) -> Backing:
        volumes = {
            market.market: self._volume(market, f"population.markets[{index}]")
            for index, market in enumerate(self.spec.markets)
            if market.volume or market.volume_file
        }
        assets = {held.market: self.starts[held.market] for held in self.spec.collateral}
        for index, held in enumerate(self.spec.collateral):
            if assets[held.market].numbers.contract != Contract.COLLATERAL:
                place = f"population.collateral[{index}].market"
                self.fail(place, f"expected a collateral, got {held.market!r}")
        whale, entry = self.spec.whale, None
        if whale is not None and whale.entry is not None:
            entry = self._price(whale.entry, whale.market, "population.whale.entry")
            numbers = self.starts[whale.market].numbers
            inside = numbers.price_min <= entry <= numbers.price_max
            if not inside or entry % numbers.tick_price:
                self.fail("population.whale.entry", f"outside the market's prices: {whale.entry}")
        return Backing(volumes, assets, entry)

    def _price(self, text: str, symbol: str, place: str) -> int:
        market = self.profile.markets[self.starts[symbol].market_id - 1]
        try:
            return parse_decimal(text, market.price_decimals)
        except UnitError as error:
            self.fail(place, str(error))

    def _volume(self, market: DrawnMarket, place: str) -> VolumeProfile:
        numbers = self.starts[market.market].numbers
        try:
            if market.volume_file is None:
                bands = [
                    (
                        self._price(band.low, market.market, f"{place}.volume[{nth}].low"),
                        self._price(band.high, market.market, f"{place}.volume[{nth}].high"),
                        band.weight,
                    )
                    for nth, band in enumerate(market.volume)
                ]
                return profile_of_bands(bands, numbers, f"{place}.volume")
            return profile_of_trades(
                self._trades(market, f"{place}.volume_file"), numbers, f"{place}.volume_file"
            )
        except PopulationError as error:
            self.fail(*str(error).split(": ", 1))

    def _trades(self, market: DrawnMarket, place: str) -> Iterator[np.ndarray]:
        file = market.volume_file
        assert file is not None, "asked for by _volume"
        if "trade" not in KINDS.get(file.kind, ()):
            wanted = ", ".join(kind for kind, roles in KINDS.items() if "trade" in roles)
            self.fail(f"{place}.kind", f"expected a kind of {wanted}, got {file.kind!r}")
        if file.kind == GENERIC and (reason := check_columns(file.columns, "trade")):
            self.fail(f"{place}.columns", reason)
        path = self.resolve(file.path, f"{place}.path")
        spec, name = market_spec(self.profile, market.market), file.symbol or market.market
        try:
            yield from read_file(file.kind, path, spec, "trade", name, columns=file.columns)
        except PopulationError:
            raise
        except ValueError as error:
            self.fail(place, str(error))
