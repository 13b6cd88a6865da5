"""From a scenario file to commands: strict reading, overrides, price paths, set-up.

`load_scenario` is the only way in and raises ScenarioError, one line naming file and field, for
everything that is wrong with the file. `setup_commands` builds the exchange's starting state,
`market_commands` is what history then does to it; both stream blocks of at most BLOCK_ROWS_MAX
rows. How files of public formats are read is the importers' business, how accounts are drawn the
population's.
"""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from engine import constants as c
from engine.constants import CommandKind
from engine.funds import fund_deposits
from engine.importers.catalogue import ROLE_ORDER
from engine.importers.common import market_spec, merge_by_time
from engine.messages import (
    CurveLiquidity,
    Patch,
    Scenario,
    TapeLiquidity,
)
from engine.participants import Crowd, Ground, check_participants
from engine.patched import load_patched
from engine.peopled import DrawnPopulation
from engine.populated import Request
from engine.population.columns import (
    BLOCK_ROWS_MAX,
    FitRow,
    Population,
    PopulationError,
    join,
    population_commands,
)
from engine.population.file import file_fit_rows, read_population
from engine.population.margins import MarketStart
from engine.price_files import check_kind, file_rows, recorded_as
from engine.price_points import POINT_KINDS, command_block, point_rows, stride_ns
from engine.profile import ProfileError, VenueProfile
from engine.scheduled import Stage
from engine.strict import (
    ScenarioError,
    decode_tree,
    flatten,
    parse_override,
    resolve_path,
    set_path,
    toml_tree,
)
from engine.tape import TapeError, read_tape, tape_info
from engine.units import UnitError, parse_decimal, parse_time_ns
from engine.venue import (
    Capacities,
    DepthCurve,
    DepthLevel,
    MarketNumbers,
    market_numbers,
)

STEPS_MAX = 10_000_000  # of one stretch between two points: its noise is held in memory
SEARCH_ROWS_MAX = 2_000_000  # how far into a tape a market's first price may be


@dataclass(frozen=True)
class LoadedScenario:
    """A decoded and checked scenario with the venue profile it patches.

    `folder` holds the scenario file, `data` the folder the user named for larger files (or
    None). `patches` lists every difference between the named profile and `profile`.
    """

    file: str
    folder: Path
    data: Path | None
    scenario: Scenario
    profile: VenueProfile
    patches: tuple[Patch, ...]

    @cached_property
    def numbers(self) -> dict[str, tuple[int, MarketNumbers]]:
        """Market id and integers of each market the scenario uses, by symbol, in its order."""
        found = {}
        for symbol in self.scenario.markets:
            market_id = self.profile.market_id(symbol)
            market = self.profile.markets[market_id - 1]
            found[symbol] = (market_id, market_numbers(self.profile, market))
        return found

    @cached_property
    def fund_deposits(self) -> list[tuple[int, int]]:
        """Initial balances of the insurance funds: account and money units."""
        given = self.scenario.fund, self.scenario.funds
        return fund_deposits(self.profile, self.scenario.markets, *given)

    @cached_property
    def start(self) -> tuple[int, dict[str, MarketStart]]:
        """Time of the first command of history, and each market's first price."""
        return _find_start(self)

    @cached_property
    def population(self) -> tuple[Population | None, list[FitRow]]:
        """The population and its table of asked against drawn."""
        return _build_population(self)

    @cached_property
    def stage(self) -> Stage:
        """The named accounts, with ids after those of the population, and the schedule."""
        population, first_id = self.population[0], c.FIRST_USER_ID
        if population is not None:
            first_id = int(population.account_id.max(initial=first_id - 1)) + 1
        return self._stage(first_id)

    def _stage(self, first_id: int) -> Stage:
        stated, schedule = self.scenario.accounts, self.scenario.schedule
        return Stage(stated, schedule, self.profile, self.numbers, first_id, self.fail)

    def check_stage(self) -> None:
        """Refuse named accounts, scheduled commands and participants that do not fit the venue."""
        self._stage(c.FIRST_USER_ID).check()
        scenario, people = self.scenario, self.scenario.population is not None
        check_participants(scenario.participants, self.profile, self.numbers, people, self.fail)

    def crowd(self) -> Crowd:
        """The participants of one run, new and before their first act."""
        stage, (start_ns, starts) = self.stage, self.start
        ground = Ground(
            profile=self.profile,
            starts=starts,
            start_ns=start_ns,
            population=self.population[0],
            first_id=stage.first_id + sum(account.copies for account in stage.accounts),
            seed=self.scenario.seed,
        )
        return Crowd(self.scenario.participants, ground)

    def fail(self, field: str, reason: str) -> NoReturn:
        """Raise ScenarioError naming the file and the field."""
        raise ScenarioError(f"{self.file}: $.{field}: {reason}")

    def resolve(self, text: str, field: str) -> Path:
        """The file a scenario's path means; refuses what lies outside the allowed folders."""
        return resolve_path(self.file, self.folder, self.data, text, field)


def depth_curves(loaded: LoadedScenario) -> dict[int, DepthCurve]:
    """How the market maker quotes, by market id; nothing for depth that is not remembered."""
    found = {}
    for symbol, liquidity in loaded.scenario.liquidity.items():
        market_id = loaded.numbers[symbol][0]
        if isinstance(liquidity, CurveLiquidity):
            found[market_id] = DepthCurve(
                levels=[
                    DepthLevel(offset_ppm=quote.offset_ppm, lots=quote.lots)
                    for quote in liquidity.quotes()
                ],
                refill_half_life_ns=liquidity.refill_half_life_ns,
                volatility_ppm=liquidity.calm_ppm,
                volatility_half_life_ns=liquidity.volatility_half_life_ns,
                permanent_ppm=liquidity.permanent_ppm,
            )
        elif isinstance(liquidity, TapeLiquidity) and liquidity.memory == "persistent":
            found[market_id] = DepthCurve(refill_half_life_ns=liquidity.refill_half_life_ns)
    return found


def engine_capacities(loaded: LoadedScenario) -> Capacities:
    """Sizes of the engine's tables: what the scenario states, else enough for its population."""
    asked, least = loaded.scenario.capacities, Capacities()
    population, _ = loaded.population
    accounts = positions = 0
    if population is not None:
        # A hedged market may hold both legs, and trading may open more than was seeded.
        accounts, positions = len(population.account_id), 2 * len(population.account_row)
        positions += len(population.asset_row)
    for stated in loaded.scenario.accounts:
        accounts += stated.copies
        positions += stated.copies * (2 * len(stated.positions) + len(stated.assets))
    crowd = loaded.crowd()
    accounts, positions = accounts + crowd.accounts, positions + crowd.accounts
    accounts = max(least.accounts_max, accounts + c.FIRST_USER_ID)
    positions = max(least.positions_max, positions)
    return Capacities(
        accounts_max=asked.accounts_max or accounts,
        positions_max=asked.positions_max or positions,
        orders_max=asked.orders_max or least.orders_max + crowd.orders,
    )


def assumed_fields(loaded: LoadedScenario) -> list[str]:
    """Every field of scenario and venue whose evidence is an assumption, for the report."""
    mine = [e.field for e in loaded.scenario.evidence if e.status == "assumed"]
    venue = [f"venue.{e.field}" for e in loaded.profile.evidence if e.status == "assumed"]
    return mine + venue


def load_scenario(
    path: Path | str, overrides: Iterable[str] = (), data: Path | str | None = None
) -> LoadedScenario:
    """Read, override, decode and check a scenario file.

    `overrides` are texts `path.to.field=value`, applied in order before decoding; a path that
    begins with `venue.` patches the profile. `data` is a folder the scenario's files may also be
    in. Raises ScenarioError.
    """
    path = Path(path)
    try:
        tree = toml_tree(path.read_text("utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path.name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(f"{path.name}: {error}") from None
    forced: list[tuple[str, Any]] = []
    for text in overrides:
        segments, value = parse_override(text)
        if segments[0] == "venue" and len(segments) > 1:
            forced.extend(flatten({".".join(segments[1:]): value}))
            continue
        try:
            set_path(tree, segments, value)
        except KeyError as error:
            reason = f"no such field: {error.args[0]}"
            raise ScenarioError(f"{path.name}: --set {text!r}: {reason}") from None
    scenario = decode_tree(path.name, tree, Scenario, "$")
    folder, data = path.parent, None if data is None else Path(data)
    profile, patches = load_patched(path.name, folder, data, scenario.venue, scenario.patch, forced)
    loaded = LoadedScenario(path.name, folder, data, scenario, profile, patches)
    _check(loaded)
    return loaded


def _check(loaded: LoadedScenario) -> None:
    """Refuse what only scenario and profile together can show to be wrong."""
    scenario, profile = loaded.scenario, loaded.profile
    for index, symbol in enumerate(scenario.markets):
        try:
            profile.market_id(symbol)
        except ProfileError as error:
            loaded.fail(f"markets[{index}]", str(error))
    if scenario.feedback_ppm and profile.mark.source == "tape":
        loaded.fail("feedback_ppm", "expected 0: the venue's mark is taken from the tape")
    points = scenario.prices.points
    for symbol in scenario.markets if points else ():
        roles = [point.role for point in points if point.market == symbol]
        if "index" not in roles:
            loaded.fail("prices.points", f"expected an index price of {symbol}, got none")
        for role in POINT_KINDS:
            _check_points(loaded, symbol, role)
    for index, file in enumerate(scenario.prices.files):
        if reason := check_kind(file):
            loaded.fail(f"prices.files[{index}].kind", reason)
        loaded.resolve(file.path, f"prices.files[{index}].path")
    if scenario.prices.tape is not None:
        loaded.resolve(scenario.prices.tape, "prices.tape")
    loaded.check_stage()
    try:
        _ = loaded.fund_deposits
    except ProfileError as error:
        raise ScenarioError(f"{loaded.file}: $.{error}") from None
    _check_funding(loaded)


def _check_funding(loaded: LoadedScenario) -> None:
    """Refuse funding and scheduled commands before the first price, or funding out of order."""
    scenario = loaded.scenario
    points = scenario.prices.points
    first = {point.market: parse_time_ns(point.time) for point in reversed(points)}
    for index, tick in enumerate(scenario.funding):
        if points and parse_time_ns(tick.time) < first[tick.market]:
            loaded.fail(f"funding[{index}].time", "expected a time at or after the first price")
    begin_ns = min((parse_time_ns(point.time) for point in points), default=0)
    for index, item in enumerate(scenario.schedule):
        if parse_time_ns(item.time) < begin_ns:
            loaded.fail(f"schedule[{index}].time", "expected a time at or after the first price")
    for before, after in pairwise(parse_time_ns(tick.time) for tick in scenario.funding):
        if after < before:
            loaded.fail("funding", "expected times that do not go backwards")


def _check_points(loaded: LoadedScenario, symbol: str, role: str) -> None:
    """Refuse points off the tick grid, out of range or out of order."""
    market_id, numbers = loaded.numbers[symbol]
    decimals = loaded.profile.markets[market_id - 1].price_decimals
    last_ns = step_ns = 0
    for index, point in enumerate(loaded.scenario.prices.points):
        if (point.market, point.role) != (symbol, role):
            continue
        place = f"prices.points[{index}]"
        try:
            price = parse_decimal(point.price, decimals)
        except UnitError as error:
            loaded.fail(f"{place}.price", str(error))
        if not numbers.price_min <= price <= numbers.price_max or price % numbers.tick_price:
            market = loaded.profile.markets[market_id - 1]
            lowest = market.price_min or market.tick
            expected = f"a multiple of {market.tick} from {lowest} to {market.price_max}"
            loaded.fail(f"{place}.price", f"expected {expected}, got {point.price}")
        time_ns = parse_time_ns(point.time)
        if not last_ns < time_ns <= c.TIME_MAX_NS:
            loaded.fail(
                f"{place}.time", f"expected a time after the point before, got {point.time}"
            )
        if last_ns and (time_ns - last_ns) // step_ns > STEPS_MAX:
            loaded.fail(f"{place}.time", f"more than {STEPS_MAX} steps after the point before")
        last_ns, step_ns = time_ns, stride_ns(loaded.scenario.prices, point)


def _points(loaded: LoadedScenario, symbol: str, role: str) -> Iterator[np.ndarray]:
    """The path through one market's points of one role."""
    market_id, numbers = loaded.numbers[symbol]
    decimals = loaded.profile.markets[market_id - 1].price_decimals
    points = [p for p in loaded.scenario.prices.points if (p.market, p.role) == (symbol, role)]
    seed = loaded.scenario.seed
    return point_rows(loaded.scenario.prices, points, market_id, numbers, decimals, seed)


def _funding_rows(loaded: LoadedScenario) -> Iterator[np.ndarray]:
    """The scenario's own funding settlements; price 0 leaves the mark as it is."""
    for tick in loaded.scenario.funding:
        market_id, _ = loaded.numbers[tick.market]
        block = command_block(CommandKind.FUNDING, market_id, parse_time_ns(tick.time), 0)
        block["amount"] = tick.rate_ppb
        yield block


def _tape_rows(loaded: LoadedScenario, path: Path) -> Iterator[np.ndarray]:
    """A tape's rows with its market ids turned into the profile's."""
    try:
        markets = tape_info(path).metadata.markets
    except TapeError as error:
        loaded.fail("prices.tape", str(error))
    ids = np.zeros(len(markets) + 1, np.int32)
    for place, market in enumerate(markets):
        if market.symbol not in loaded.numbers:
            loaded.fail("prices.tape", f"the tape has {market.symbol}, which is not in markets")
        ids[place + 1] = loaded.numbers[market.symbol][0]
        ours = loaded.profile.markets[ids[place + 1] - 1]
        if (market.price_decimals, market.lot) != (ours.price_decimals, ours.lot):
            reason = f"{market.symbol}: price_decimals or lot differ from the venue's"
            loaded.fail("prices.tape", reason)
    for block in read_tape(path):
        rows = block.copy()  # what is read is not to be written to
        rows["market_id"] = ids[block["market_id"]]
        yield rows


def _index_rows(loaded: LoadedScenario, symbol: str) -> Iterator[np.ndarray]:
    """The INDEX rows of one market from its files, for the depth bands that refer to them."""
    for index, file in enumerate(loaded.scenario.prices.files):
        if file.market == symbol and file.role == "index":
            yield from _file_rows(loaded, index)


def _file_rows(loaded: LoadedScenario, index: int) -> Iterator[np.ndarray]:
    """One file's rows through its importer."""
    file = loaded.scenario.prices.files[index]
    path = loaded.resolve(file.path, f"prices.files[{index}].path")
    spec = market_spec(loaded.profile, file.market)
    base = _index_rows(loaded, file.market) if file.role == "depth" else ()
    try:
        yield from file_rows(file, path, spec, loaded.numbers[file.market][1], base)
    except ValueError as error:
        loaded.fail(f"prices.files[{index}]", str(error))


def _streams(loaded: LoadedScenario) -> Iterator[Iterable[np.ndarray]]:
    """Every source of history in the order in which rows of equal times are to be applied."""
    prices = loaded.scenario.prices
    yield _funding_rows(loaded)
    if prices.tape is not None:
        yield _tape_rows(loaded, loaded.resolve(prices.tape, "prices.tape"))
    for symbol in loaded.scenario.markets:
        files = [index for index, file in enumerate(prices.files) if file.market == symbol]
        roles = {point.role for point in prices.points if point.market == symbol}
        yield from (_points(loaded, symbol, role) for role in sorted(roles))
        for role in ROLE_ORDER:
            yield from (_file_rows(loaded, i) for i in files if prices.files[i].role == role)


def market_commands(loaded: LoadedScenario) -> Iterator[np.ndarray]:
    """What history does: blocks of 1..BLOCK_ROWS_MAX COMMAND rows in time order.

    At equal times: funding, each market's prices, trades and depth (`ROLE_ORDER`), then what is
    scheduled. Raises ScenarioError and TapeError.
    """
    return _history(loaded, loaded.stage.streams())


def _history(
    loaded: LoadedScenario, scheduled: Iterable[Iterable[np.ndarray]]
) -> Iterator[np.ndarray]:
    """Prices and funding with the streams of scheduled commands."""
    prices = loaded.scenario.prices
    begin_ns = 0 if prices.begin is None else parse_time_ns(prices.begin)
    end_ns = c.TIME_MAX_NS + 1 if prices.end is None else parse_time_ns(prices.end)
    for merged in merge_by_time([*_streams(loaded), *scheduled]):
        edges = np.searchsorted(merged["time_ns"], (begin_ns, end_ns), side="left")
        block = recorded_as(merged[edges[0] : edges[1]], loaded.scenario.recorded_trades)
        for start in range(0, len(block), BLOCK_ROWS_MAX):
            yield block[start : start + BLOCK_ROWS_MAX]
        if edges[1] < len(merged):
            return


def _find_start(loaded: LoadedScenario) -> tuple[int, dict[str, MarketStart]]:
    """First time of history and first index (else mark, else trade) of every market."""
    wanted = {market_id: symbol for symbol, (market_id, _) in loaded.numbers.items()}
    kinds = (CommandKind.INDEX, CommandKind.MARK, CommandKind.TRADE)
    found: dict[int, list[int]] = {market_id: [0, 0, 0] for market_id in wanted}
    start_ns, rows = -1, 0
    for block in _history(loaded, ()):
        start_ns = int(block["time_ns"][0]) if start_ns < 0 else start_ns
        for market_id, first in found.items():
            mine = block[block["market_id"] == market_id]
            for place, kind in enumerate(kinds):
                prices = mine["price"][mine["kind"] == kind]
                first[place] = first[place] or (int(prices[0]) if len(prices) else 0)
        rows += len(block)
        if all(first[0] for first in found.values()) or rows > SEARCH_ROWS_MAX:
            break
    starts = {}
    for market_id, symbol in wanted.items():
        price = next((price for price in found[market_id] if price), 0)
        if price == 0:
            loaded.fail("prices", f"expected a price of {symbol}, got none")
        starts[symbol] = MarketStart(market_id, loaded.numbers[symbol][1], price)
    return start_ns, starts


def population_request(loaded: LoadedScenario) -> Request:
    """What the scenario asks of a drawn population; it must ask for one."""
    wanted, scenario = loaded.scenario.population, loaded.scenario
    assert isinstance(wanted, DrawnPopulation), "only a drawn population is asked for"
    starts = loaded.start[1]
    return Request(wanted, loaded.profile, starts, scenario.seed, loaded.resolve, loaded.fail)


def _build_population(loaded: LoadedScenario) -> tuple[Population | None, list[FitRow]]:
    """Draw or read the population; refusals name the scenario."""
    wanted, starts = loaded.scenario.population, loaded.start[1]
    rule = loaded.profile.margin
    if wanted is None:
        return None, []
    try:
        if isinstance(wanted, DrawnPopulation):
            parts, fit = population_request(loaded).parts()
            drawn = join(list(parts))
            fit.update(drawn)
            return drawn, fit.rows()
        path = loaded.resolve(wanted.path, "population.path")
        read = read_population(path, loaded.profile, starts, wanted.columns)
        return read, file_fit_rows(read, starts, rule)
    except PopulationError as error:
        raise ScenarioError(f"{loaded.file}: $.{error}") from None


def setup_commands(loaded: LoadedScenario) -> Iterator[np.ndarray]:
    """The state before history: first prices, the fund's deposit, the population.

    Blocks of 1..BLOCK_ROWS_MAX COMMAND rows, all at the time of the first command of history.
    """
    start_ns, starts = loaded.start
    first = [
        command_block(CommandKind.INDEX, s.market_id, start_ns, s.first_price)
        for s in starts.values()
    ]
    yield np.concatenate(first)
    for account_id, quote in loaded.fund_deposits:
        deposit = command_block(CommandKind.DEPOSIT, 0, start_ns, 0)
        deposit["account_id"] = account_id
        deposit["amount"] = quote
        yield deposit
    population, _ = loaded.population
    if population is not None:
        yield from population_commands(population, start_ns)
    yield from loaded.stage.setup(start_ns)
    yield from loaded.crowd().setup()
