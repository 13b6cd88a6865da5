"""The structs that cross a file boundary: a scenario on its way in, a report on its way out.

Only shapes, bounds and checks that need nothing but the message itself. Reading files, applying
overrides and turning a scenario into commands is the work of `scenario.py`; what a report's
numbers mean is decided where they are counted. Every number is an integer whose name ends in its
unit; money and prices that people write are decimal text. So NaN cannot be written at all.
"""

import hashlib
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine import constants as c
from engine.column_map import ColumnMap
from engine.peopled import DrawnPopulation, FilePopulation, Participants
from engine.shapes import (
    DecimalText,
    Lots,
    Message,
    Name,
    PathText,
    Ppm,
    Seconds,
    Text,
    checked_ns,
)
from engine.staged import FUND_NAME, Account, Evidence, Fact, MeasuredFact, Scheduled
from engine.units import UnitError, parse_decimal

NOISE_MAX_PPM = 10_000  # 1 % a step; louder noise would drown the published points


class PricePoint(Message, frozen=True, kw_only=True):
    """A published price. `step_seconds` overrides the table's for the stretch that starts here."""

    time: str  # RFC 3339 with a zone: 2020-03-12T10:48:30Z
    market: Name
    price: DecimalText
    role: Literal["index", "mark", "trade"] = msgspec.field(default="index", name="as")
    source: str = ""  # empty: the source of the whole table
    step_seconds: Seconds | None = None

    def __post_init__(self) -> None:
        checked_ns(self.time)


class PriceFile(Message, frozen=True, kw_only=True):
    """A file of a public format. `kind` names the importer, `as` what its rows are used as.

    `symbol` is the market's name in the file where that is another. `columns` is for kind "csv".
    The last four fields are for depth bands: levels a band is cut into, lots of a stale bid to
    take off every bid band, whether both sides get their mean, and whether stray spaces are read.
    """

    kind: Name
    path: PathText
    market: Name
    role: Literal["index", "mark", "depth", "trade", "funding", "prices"] = msgspec.field(
        default="index", name="as"
    )
    symbol: str = ""
    columns: ColumnMap | None = None
    levels_per_band: Annotated[int, Meta(ge=1, le=c.DEPTH_LEVELS_MAX)] = 4
    subtract_lots: Annotated[int, Meta(ge=0, le=c.LOTS_MAX)] = 0
    average_sides: bool = False
    trim_spaces: bool = False


class Prices(Message, frozen=True, kw_only=True):
    """Where the prices come from: exactly one of `points`, `files` and `tape`.

    Between two points the price holds (`steps`) or moves on a straight line (`line`), with a row
    every `step_seconds`. `noise_ppm` is the standard deviation of one step of a seeded random
    walk that is pinned to zero at every point, so the published prices are met exactly. Rows
    before `begin` and from `end` on are left out; depth bands before the first index too.
    """

    points: list[PricePoint] = []
    interpolation: Literal["steps", "line"] = "line"
    step_seconds: Seconds = 60
    noise_ppm: Annotated[int, Meta(ge=0, le=NOISE_MAX_PPM)] = 0
    source: str = ""
    files: list[PriceFile] = []
    tape: PathText | None = None
    begin: str | None = None
    end: str | None = None

    def __post_init__(self) -> None:
        edges = [checked_ns(text) for text in (self.begin, self.end) if text is not None]
        if edges != sorted(set(edges)):
            raise ValueError("Expected begin before end")
        given = [bool(self.points), bool(self.files), self.tape is not None]
        if sum(given) != 1:
            raise ValueError(f"Expected exactly one of points, files, tape; got {sum(given)}")
        for index, point in enumerate(self.points):
            if not (point.source or self.source):
                raise ValueError(f"Expected points[{index}].source or a source of the table")


class FundingTick(Message, frozen=True, kw_only=True):
    """One funding settlement: positive `rate_ppb` is paid by longs."""

    time: str
    market: Name
    rate_ppb: Annotated[int, Meta(ge=-c.PPB, le=c.PPB)]

    def __post_init__(self) -> None:
        checked_ns(self.time)


class CurveLevel(Message, frozen=True, kw_only=True):
    """One quote on each side: `lots` at `offset_ppm` from the reference price."""

    offset_ppm: Annotated[int, Meta(ge=1, le=c.PPM - 1)]
    lots: Lots


class DepthBand(Message, frozen=True, kw_only=True):
    """Cumulative depth of one side: `lots` from the reference price out to `within_ppm`."""

    within_ppm: Annotated[int, Meta(ge=1, le=c.PPM - 1)]
    lots: Lots


class NoLiquidity(Message, tag_field="kind", tag="none", frozen=True, kw_only=True):
    """No market maker: the book holds users' orders only."""


class TapeLiquidity(Message, tag_field="kind", tag="tape", frozen=True, kw_only=True):
    """The market maker quotes the recorded depth of the tape.

    What a run's own orders took from a level is back with the next record of it (`transient`), or
    lacks there as well (`persistent`): for ever, or forgotten by half in every
    `refill_half_life_ns`.
    """

    memory: Literal["transient", "persistent"] = "transient"
    refill_half_life_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = c.TIME_MAX_NS


# BTCUSDT on 10 October 2025 until 14:00 UTC, medians of the published bands, mean of both sides:
# depth within 1, 2 and 5 % as shares of that within 1 % (2,252 BTC). CALM_PPM is what fits the rest
# of the day (`tests/test_realdata_depth.py`).
CALIBRATED_BANDS = ((10_000, 1_000_000), (20_000, 2_012_000), (50_000, 3_542_000))
CALM_PPM = 61_000


class CurveLiquidity(Message, tag_field="kind", tag="curve", frozen=True, kw_only=True):
    """The market maker quotes a depth curve round the index: `levels`, bands to be spread, or
    `depth_lots` within 1 % on each side in the shape of CALIBRATED_BANDS.

    What a trade takes away comes back by half every `refill_half_life_ns` (0: at once). Where
    `volatility_ppm` is given (CALM_PPM with `depth_lots`), levels shrink in the ratio in which the
    sum of the index's moves, forgotten by half in every `volatility_half_life_ns`, is above it.
    `permanent_ppm` of the way
    that a run's own trades went stays: so far the curve's middle is then off the index.
    """

    half_spread_ppm: Annotated[int, Meta(ge=0, le=c.PPM - 1)] = 50
    levels: Annotated[list[CurveLevel], Meta(max_length=c.DEPTH_LEVELS_MAX)] = []
    bands: list[DepthBand] = []
    depth_lots: Annotated[int, Meta(ge=1, le=c.LOTS_MAX // 8)] | None = None
    levels_count: Annotated[int, Meta(ge=1, le=c.DEPTH_LEVELS_MAX)] = 20
    refill_half_life_ns: Annotated[int, Meta(ge=0, le=c.TIME_MAX_NS)] = 10_000_000_000
    volatility_ppm: Annotated[int, Meta(ge=0, le=c.PPM)] | None = None
    volatility_half_life_ns: Annotated[int, Meta(ge=0, le=c.TIME_MAX_NS)] = 600_000_000_000
    permanent_ppm: Ppm = 0

    def __post_init__(self) -> None:
        if [bool(self.levels), bool(self.bands), self.depth_lots is not None].count(True) != 1:
            raise ValueError("Expected exactly one of levels, bands and depth_lots")
        offsets = [level.offset_ppm for level in self.levels]
        if any(after <= before for before, after in pairwise(offsets)):
            raise ValueError("Expected levels with rising offset_ppm")
        self.quotes()

    @property
    def calm_ppm(self) -> int:
        """The volatility up to which the curve is whole; 0: whatever it is."""
        if self.volatility_ppm is not None:
            return self.volatility_ppm
        return 0 if self.depth_lots is None else CALM_PPM

    def quotes(self) -> tuple[CurveLevel, ...]:
        """The levels to quote on each side, nearest first, whichever way they were written."""
        if self.levels:
            return tuple(self.levels)
        bands = self.bands
        if self.depth_lots is not None:
            bands = [
                DepthBand(within_ppm=within, lots=self.depth_lots * share_ppm // c.PPM)
                for within, share_ppm in CALIBRATED_BANDS
            ]
        return spread_depth(self.half_spread_ppm, bands, self.levels_count)


def spread_depth(
    half_spread_ppm: int, bands: list[DepthBand], levels_count: int
) -> tuple[CurveLevel, ...]:
    """Spread cumulative bands over `levels_count` levels, evenly inside each band, to the lot.

    Levels are dealt to the bands in turn, so every band has one at least; a band's lots are
    split evenly, remainder to the nearest levels. Raises ValueError where bands do not rise.

    >>> bands = [DepthBand(within_ppm=10_000, lots=5), DepthBand(within_ppm=20_000, lots=8)]
    >>> [(level.offset_ppm, level.lots) for level in spread_depth(1_000, bands, 4)]
    [(5500, 3), (10000, 2), (15000, 2), (20000, 1)]
    """
    levels: list[CurveLevel] = []
    inner_ppm, inner_lots = half_spread_ppm, 0
    if bands and levels_count < len(bands):
        raise ValueError(f"Expected levels_count of {len(bands)} or more, one for each band")
    for index, band in enumerate(bands):
        width_ppm, lots = band.within_ppm - inner_ppm, band.lots - inner_lots
        count = levels_count // len(bands) + (index < levels_count % len(bands))
        count = min(count, lots)  # a level holds one lot at least
        if lots <= 0 or width_ppm < count:
            raise ValueError(f"Expected bands[{index}] wider and deeper than what is inside it")
        for step in range(count):
            levels.append(
                CurveLevel(
                    offset_ppm=inner_ppm + width_ppm * (step + 1) // count,
                    lots=lots // count + (step < lots % count),
                )
            )
        inner_ppm, inner_lots = band.within_ppm, band.lots
    return tuple(levels)


class Capacities(Message, frozen=True, kw_only=True):
    """Sizes of the engine's tables where the scenario knows better; None leaves the default."""

    accounts_max: Annotated[int, Meta(ge=1, le=2**25)] | None = None
    positions_max: Annotated[int, Meta(ge=1, le=2**27)] | None = None
    orders_max: Annotated[int, Meta(ge=1, le=2**25)] | None = None


class Scenario(Message, frozen=True, kw_only=True):
    """One run as data: venue, prices, funding, population, liquidity and what it should show.

    `patch` maps a dotted path inside the venue profile to the value it takes instead.
    `feedback_ppm` is the share of the derived mark in the mark: at 0 the mark is the tape's own
    (the index where it has none) and the run a pure replay, at 1_000_000 it is derived as the
    profile says, so that liquidations move it. `recorded_trades` only move the last price, or with
    `match` those that have a side trade with the book as well. `digest` is the event digest of the
    run as shipped.
    """

    name: Name
    title: Text
    description: Annotated[str, Meta(max_length=10_000)] = ""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    venue: PathText
    markets: Annotated[list[Name], Meta(min_length=1, max_length=c.MARKETS_MAX)]
    patch: dict[str, Any] = {}
    prices: Prices
    funding: list[FundingTick] = []
    population: DrawnPopulation | FilePopulation | None = None
    participants: Participants = Participants()
    accounts: list[Account] = []
    schedule: list[Scheduled] = []
    liquidity: dict[Name, CurveLiquidity | TapeLiquidity | NoLiquidity] = {}
    recorded_trades: Literal["price", "match"] = "price"
    fund: DecimalText = "0"
    funds: dict[Name, DecimalText] = {}
    feedback_ppm: Ppm = c.PPM
    digest: Annotated[str, Meta(pattern="^([0-9a-f]{32,64})?$")] = ""
    facts: list[Fact] = []
    evidence: list[Evidence] = []
    capacities: Capacities = Capacities()

    def __post_init__(self) -> None:
        if len(set(self.markets)) != len(self.markets):
            raise ValueError("Expected each market once in markets")
        used = [(f"prices.points[{i}]", p.market) for i, p in enumerate(self.prices.points)]
        used += [(f"prices.files[{i}]", p.market) for i, p in enumerate(self.prices.files)]
        used += [(f"funding[{i}]", tick.market) for i, tick in enumerate(self.funding)]
        used += [("liquidity", market) for market in self.liquidity]
        for i, account in enumerate(self.accounts):
            used += [(f"accounts[{i}]", held.market) for held in account.positions]
            used += [(f"accounts[{i}]", asset.market) for asset in account.assets]
        used += [(f"schedule[{i}]", s.market) for i, s in enumerate(self.schedule) if s.market]
        if isinstance(self.population, DrawnPopulation):
            drawn = self.population.markets
            used += [(f"population.markets[{i}]", m.market) for i, m in enumerate(drawn)]
            assets = self.population.collateral
            used += [(f"population.collateral[{i}]", m.market) for i, m in enumerate(assets)]
        acting, place = self.participants, "participants"
        used += [(f"{place}.stops[{i}]", s.market) for i, s in enumerate(acting.stops)]
        hunting = enumerate(acting.bargain_hunters)
        used += [(f"{place}.bargain_hunters[{i}]", each.market) for i, each in hunting]
        for place, market in used:
            if market not in self.markets:
                names = ", ".join(self.markets)
                raise ValueError(f"Expected a market of {names}, got {market!r} - at `$.{place}`")

        owners = [account.name for account in self.accounts]
        if len(set(owners)) != len(owners):
            raise ValueError("Expected each account name once - at `$.accounts`")
        for index, item in enumerate(self.schedule):
            if item.account not in (None, FUND_NAME, *owners):
                wanted = ", ".join([FUND_NAME, *owners])
                where = f" - at `$.schedule[{index}].account`"
                raise ValueError(f"Expected one of {wanted}, got {item.account!r}{where}")

    def hash(self) -> str:
        """BLAKE2b-128 of the canonical encoding: equal for equal scenarios."""
        encoded = msgspec.json.encode(self, order="deterministic")
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def money_units(text: str, decimals: int) -> int:
    """Decimal text as money units, 0..MONEY_MAX; raises ValueError with the reason.

    >>> money_units("10.5", 2)
    1050
    """
    try:
        value = parse_decimal(text, decimals)
    except UnitError as error:
        raise ValueError(str(error)) from None
    if not 0 <= value <= c.MONEY_MAX:
        raise ValueError(f"expected 0 to {c.MONEY_MAX} smallest units, got {text}")
    return value


class Patch(Message, frozen=True, kw_only=True):
    """One change the scenario or the command line made to the venue profile."""

    path: str
    before: str  # TOML-like text; empty where the profile had no such value
    after: str
    origin: Literal["scenario", "override"]


class MoneyIdentity(Message, frozen=True, kw_only=True):
    """sum(balances) - sum(entries) == deposits - withdrawals; the difference is always 0."""

    deposits_quote: int
    withdrawals_quote: int
    balances_quote: int
    entries_quote: int
    difference_quote: int


class RunSummary(Message, frozen=True, kw_only=True):
    """What became of a run. Money is in the smallest unit of `asset`, see `money_decimals`.

    The four destinations of a liquidated position are the book, the fund (takeover), adl and the
    residual. `cost_*` is what a destination lost at the mark of the instant by taking positions
    at prices worse than the mark (for ADL the haircut of the winners), `gain_*` what it won on
    those at better prices. `shortfall` is the loss in cash beyond the equity of liquidated
    accounts: `fund_paid` of it from the fund, `bad_debt` beyond the fund. `equity_at_start` is
    what liquidated accounts had when their liquidation began. The fund's inventory is valued at
    the last mark.
    """

    asset: str
    money_decimals: int
    accounts_liquidated_count: int
    liquidations_count: int
    liquidation_ends: dict[str, int]
    notional_liquidated_quote: int
    notional_book_quote: int
    notional_fund_quote: int
    notional_adl_quote: int
    notional_residual_quote: int
    cost_book_quote: int
    cost_fund_quote: int
    cost_adl_quote: int
    cost_residual_quote: int
    gain_book_quote: int
    gain_fund_quote: int
    gain_adl_quote: int
    gain_residual_quote: int
    lots: dict[str, dict[str, int]]  # by destination, then market
    equity_at_start_quote: int
    liquidation_fees_quote: int
    surplus_quote: int
    shortfall_quote: int
    fund_paid_quote: int
    bad_debt_quote: int
    liquidation_fills_count: int
    takeovers_count: int
    takeovers_refused_count: int
    adl_fills_count: int
    adl_accounts_count: int
    fund_start_quote: int
    fund_min_quote: int
    fund_end_quote: int
    fund_lots: dict[str, int]  # inventory by market, signed
    fund_notional_quote: int
    fund_unrealised_quote: int
    trades_count: int
    notional_traded_quote: int
    rejected_count: int
    events_count: int


class RefusedCommand(Message, frozen=True, kw_only=True):
    """A command of the tape that the rules refused: nothing but a REJECTED event came of it."""

    seq: int
    time_ns: int
    kind: str
    account_id: int
    market: str  # empty: of no market
    reason: str


class Overshoot(Message, frozen=True, kw_only=True):
    """How far one market's mark went with feedback and in a pure replay of the same seed.

    Prices as decimal text; `below_ppm` and `above_ppm` are how much further the run went than the
    replay, in parts of the replay's extreme, negative if it went less far.
    """

    market: str
    lowest: str
    lowest_replayed: str
    below_ppm: int
    highest: str
    highest_replayed: str
    above_ppm: int


class Report(Message, frozen=True, kw_only=True):
    """The run's `report.json`: every number of the printed table, and what identifies the run.

    One convention for money: integers in the smallest settlement unit under names that end in
    `_quote`; `summary.money_decimals` says how many of their digits are decimals. They may pass
    2**53, so read the file with a JSON reader that keeps integers whole. Only `wall_ns` and
    `compile_ns` differ between two runs of the same scenario.
    """

    name: str
    title: str
    engine_version: str
    seed: int
    markets: list[str]
    feedback_ppm: int
    capacities: dict[str, int]
    scenario_hash: str
    profile_name: str
    profile_hash: str
    tape_hash: str
    event_digest: str
    state_digest: str
    patches: list[Patch]
    assumed_fields: list[str]
    facts: list[Fact]
    measured: list[MeasuredFact]
    start_ns: int
    end_ns: int
    setup_commands_count: int
    commands_count: int  # with those of the set-up
    accounts_count: int
    refused: list[RefusedCommand]  # the first ones; every one is in events.parquet
    refused_reasons: dict[str, int]
    summary: RunSummary
    identity: MoneyIdentity
    invariants: dict[str, bool]  # of the audit, by id
    overshoot: list[Overshoot] = []  # by market, where it was asked for
    wall_ns: int
    compile_ns: int


def encode_report(report: Report) -> bytes:
    """The report as indented JSON, fields in the order of the struct, newline at the end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def decode_report(data: bytes) -> Report:
    """Read what `encode_report` wrote; raises msgspec.ValidationError naming the field."""
    return msgspec.json.decode(data, type=Report)
