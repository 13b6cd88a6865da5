"""Who trades, as a scenario states it: populations drawn or read, and participants that react.

Shapes and the checks that need nothing but the message itself. `population/` draws and reads,
`participants.py` lets people act.
"""

from typing import Annotated, Literal

from msgspec import Meta

from engine import constants as c
from engine.column_map import ColumnMap
from engine.shapes import DecimalText, Lots, Message, Name, PathText, Ppm, Seconds
from engine.units import UnitError, parse_decimal

ACCOUNTS_MAX = 10_000_000  # of one drawn population; more does not fit a desk machine
ENTRY_SPREAD_MAX_PPM = 500_000  # entries further off would not be a venue's open interest
COHORT_MIN = 1_000  # smaller parts would round every share away
PRICE_TEXT_DECIMALS = 18

Leverage = Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)]
# What a column of a positions file can mean; `account` is any text, `account_id` a whole number.
POSITION_MEANINGS = (
    *("account", "account_id", "market", "side", "size", "lots", "entry_price", "collateral"),
    *("isolated", "leverage", "wallet"),
)


class VolumeBand(Message, frozen=True, kw_only=True):
    """Volume traded from `low` up to and including `high`, in any unit: only ratios count."""

    low: DecimalText
    high: DecimalText
    weight: Annotated[int, Meta(ge=1, le=2**40)]

    def __post_init__(self) -> None:
        try:
            low, high = (parse_decimal(each, PRICE_TEXT_DECIMALS) for each in (self.low, self.high))
        except UnitError as error:
            raise ValueError(f"Expected prices: {error}") from None
        if low > high:
            raise ValueError("Expected low at most high")


class VolumeFile(Message, frozen=True, kw_only=True):
    """Recorded trades of the days before, as a file of any public format that has trades."""

    kind: Name
    path: PathText
    symbol: str = ""
    columns: ColumnMap | None = None


class LeverageBand(Message, frozen=True, kw_only=True):
    """The median leverage of positions up to and including `lots_to`."""

    lots_to: Lots
    median: Leverage


class HeldCollateral(Message, frozen=True, kw_only=True):
    """A share of the accounts holds a part of its money in a collateral asset.

    The asset replaces cash at its value less haircut, so nobody starts weaker for it. Accounts
    with an isolated position hold cash only.
    """

    market: Name
    accounts_ppm: Annotated[int, Meta(ge=1, le=c.PPM)]
    part_ppm: Annotated[int, Meta(ge=1, le=c.PPM)] = c.PPM


class Makers(Message, frozen=True, kw_only=True):
    """Market makers: a share of each side of every market, alternately long and short."""

    accounts: Annotated[int, Meta(ge=2, le=100_000)]
    share_ppm: Annotated[int, Meta(ge=1, le=c.PPM - 1)]
    leverage: Leverage = 3


class Whale(Message, frozen=True, kw_only=True):
    """One account with one position, part of its market's open interest."""

    market: Name
    side: Literal["long", "short"]
    lots: Lots
    leverage: Leverage = 5
    isolated: bool = False
    entry: DecimalText | None = None  # None: the first price


class DrawnMarket(Message, frozen=True, kw_only=True):
    """One market of a drawn population: its open interest and the sizes that make it up.

    Sizes follow a Pareto law of tail index `size_tail_ppm` (1_200_000 is 1.2), scaled so that
    longs and shorts each sum to `open_interest_lots`, then bounded by `lots_min` and `lots_max`.
    Entries follow the traded volume of the days before where `volume` or `volume_file` gives it.
    """

    market: Name
    weight: Annotated[int, Meta(ge=1, le=c.PPM)] = 1
    open_interest_lots: Lots
    size_tail_ppm: Annotated[int, Meta(ge=200_000, le=10_000_000)] = 1_200_000
    lots_min: Lots = 1
    lots_max: Lots
    volume: list[VolumeBand] = []
    volume_file: VolumeFile | None = None

    def __post_init__(self) -> None:
        if self.volume and self.volume_file:
            raise ValueError("Expected volume or volume_file, not both")


class DrawnPopulation(Message, tag_field="kind", tag="drawn", frozen=True, kw_only=True):
    """A population drawn from a seed to match published aggregates.

    `long_share_ppm` is the share of positions that are long: fewer longs are larger longs.
    Leverage is lognormal round its median; a position twice the median size has its leverage
    multiplied by 2 ** -leverage_size_elasticity_ppm. Entries are lognormal round
    `first price * (1 + entry_shift_ppm)`. The wallet is the initial margin times a lognormal
    factor that is never below one.

    `leverage_by_size` gives medians by size instead; beyond its last band the last median holds.
    A multi-market account has its home and `further_markets` more; `correlation_ppm` of them
    (a minus: on opposite sides) take the same rank in side and size everywhere. `accounts` are
    the crowd: market makers and the whale come on top, within the open interest. With
    `cohort_accounts` the crowd is drawn in parts of that size, so that any number fits the memory.
    """

    accounts: Annotated[int, Meta(ge=2, le=ACCOUNTS_MAX)]
    markets: Annotated[list[DrawnMarket], Meta(min_length=1, max_length=c.MARKETS_MAX)]
    long_share_ppm: Ppm = 500_000
    isolated_ppm: Ppm = 300_000
    hedge_ppm: Ppm = 0
    multi_market_ppm: Ppm = 0
    further_markets: Annotated[int, Meta(ge=1, le=c.MARKETS_MAX - 1)] = 1
    correlation_ppm: Annotated[int, Meta(ge=-c.PPM, le=c.PPM)] = 0
    leverage_median: Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)] = 10
    leverage_sd_ppm: Annotated[int, Meta(ge=0, le=3_000_000)] = 800_000
    leverage_max: Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)] = c.LEVERAGE_MAX
    leverage_size_elasticity_ppm: Ppm = 150_000
    leverage_by_size: list[LeverageBand] = []
    entry_sd_ppm: Annotated[int, Meta(ge=0, le=ENTRY_SPREAD_MAX_PPM)] = 30_000
    entry_shift_ppm: Annotated[int, Meta(ge=-ENTRY_SPREAD_MAX_PPM, le=ENTRY_SPREAD_MAX_PPM)] = 0
    wallet_factor_ppm: Annotated[int, Meta(ge=c.PPM, le=1_000 * c.PPM)] = 1_500_000
    wallet_factor_sd_ppm: Annotated[int, Meta(ge=0, le=3_000_000)] = 500_000
    health_buffer_ppm: Annotated[int, Meta(ge=0, le=10 * c.PPM)] = 100_000
    collateral: list[HeldCollateral] = []
    makers: Makers | None = None
    whale: Whale | None = None
    cohort_accounts: Annotated[int, Meta(ge=COHORT_MIN, le=ACCOUNTS_MAX)] | None = None

    def __post_init__(self) -> None:
        names = [market.market for market in self.markets]
        if len(set(names)) != len(names):
            raise ValueError("Expected each market once in markets")
        if self.multi_market_ppm and len(names) < 2:
            raise ValueError("Expected two markets or more with multi_market_ppm")
        if self.further_markets >= max(2, len(names)):
            raise ValueError("Expected further_markets below the number of markets")
        if self.whale is not None and self.whale.market not in names:
            raise ValueError(f"Expected whale.market of {', '.join(names)}")
        sizes = [band.lots_to for band in self.leverage_by_size]
        if sizes != sorted(set(sizes)):
            raise ValueError("Expected leverage_by_size with rising lots_to")
        held = [each.market for each in self.collateral]
        if len(set(held)) != len(held) or sum(e.accounts_ppm for e in self.collateral) > c.PPM:
            raise ValueError("Expected each collateral once, and shares of 1000000 at most")
        for index, market in enumerate(self.markets):
            if market.lots_min > market.lots_max:
                raise ValueError(f"Expected markets[{index}].lots_min at most lots_max")


class FilePopulation(Message, tag_field="kind", tag="file", frozen=True, kw_only=True):
    """A population read from a CSV or Parquet file of positions (see `population/file.py`)."""

    path: PathText
    columns: dict[str, Name] = {}

    def __post_init__(self) -> None:
        for meaning in self.columns:
            if meaning not in POSITION_MEANINGS:
                wanted = ", ".join(POSITION_MEANINGS)
                raise ValueError(f"Expected columns of {wanted}, got {meaning!r}")


class Stops(Message, frozen=True, kw_only=True):
    """A share of a market's positions is guarded by a stop order near a round number.

    The stop closes the position at market once the mark is there. Half of the holders take the
    first multiple of `round` beyond the first price, half of the others the next, and so on up to
    `reach`; `scatter_ppm` is the standard deviation of how far beyond it the stop lies.
    """

    market: Name
    share_ppm: Annotated[int, Meta(ge=1, le=c.PPM)]
    round: DecimalText
    scatter_ppm: Annotated[int, Meta(ge=0, le=100_000)] = 500
    reach: Annotated[int, Meta(ge=1, le=32)] = 4


class MarginAdders(Message, frozen=True, kw_only=True):
    """A share of the population's accounts adds margin after a warning or a margin call.

    Every `every_seconds` of tape time those whose warning or call stands add `part_ppm` of their
    first deposit, at most `times` times each. Whoever is being liquidated is too late.
    """

    share_ppm: Annotated[int, Meta(ge=1, le=c.PPM)]
    every_seconds: Seconds = 60
    part_ppm: Annotated[int, Meta(ge=1, le=10 * c.PPM)] = 250_000
    times: Annotated[int, Meta(ge=1, le=1_000)] = 1


class BargainHunters(Message, frozen=True, kw_only=True):
    """Accounts that buy once at market when the mark is below its moving average.

    Every `every_seconds` the mark is compared with its mean over the last `average_seconds`, one
    sample an instant, as many as there are yet. A hunter waits for `below_ppm` and up to
    `spread_ppm` more, drawn evenly.
    """

    market: Name
    accounts: Annotated[int, Meta(ge=1, le=100_000)]
    lots: Lots
    wallet: DecimalText
    below_ppm: Annotated[int, Meta(ge=1, le=900_000)]
    spread_ppm: Annotated[int, Meta(ge=0, le=500_000)] = 0
    every_seconds: Seconds = 5
    average_seconds: Seconds = 3_600

    def __post_init__(self) -> None:
        if self.average_seconds % self.every_seconds:
            raise ValueError("Expected average_seconds as a multiple of every_seconds")
        if self.average_seconds // self.every_seconds > 100_000:
            raise ValueError("Expected at most 100000 samples in average_seconds")


class Participants(Message, frozen=True, kw_only=True):
    """Who acts besides those that history recorded; nobody unless stated."""

    stops: list[Stops] = []
    margin_adders: MarginAdders | None = None
    bargain_hunters: list[BargainHunters] = []
