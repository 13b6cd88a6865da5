"""A venue as data: the VenueProfile struct, its strict decoding and its validation.

A profile is a TOML file of numbers and named behaviours. Amounts and prices are decimal text,
ratios are whole ppm, times are whole nanoseconds. Unknown fields, NaN and out-of-range numbers
are refused with the file and the field. Nothing here knows numpy or the core.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from engine import constants as c
from engine.refusal import Refusal
from engine.units import UnitError, parse_decimal

DecimalText = Annotated[str, Meta(pattern=r"^-?[0-9]{1,24}(\.[0-9]{1,18})?$")]
Ppm = Annotated[int, Meta(ge=0, le=c.PPM)]
SignedPpm = Annotated[int, Meta(ge=-c.PPM, le=c.PPM)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:/-]+$")]


class ProfileError(Refusal):
    """A profile or a patch to it is refused: the file, the field and what was expected."""


class Frozen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part of a profile: immutable, keyword-only, unknown fields refused."""


class Settlement(Frozen, frozen=True, kw_only=True):
    """The asset every balance is kept in; `decimals` fixes the smallest unit of money."""

    asset: Name
    decimals: Annotated[int, Meta(ge=0, le=12)]


class Tier(Frozen, frozen=True, kw_only=True):
    """One margin tier: notional up to and including `notional_to`, in settlement money."""

    notional_to: DecimalText
    leverage_max: Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)]
    maintenance_ppm: Ppm


class Market(Frozen, frozen=True, kw_only=True):
    """One contract. Linear: `lot` is base per lot. Inverse: `lot` is the face value per lot."""

    symbol: Name
    payoff: Literal["linear", "inverse"]
    price_decimals: Annotated[int, Meta(ge=0, le=12)]
    tick: DecimalText
    lot: DecimalText
    price_min: DecimalText | None = None  # least price of any kind; one tick if not given
    price_max: DecimalText
    order_lots_min: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)] = 1
    order_lots_max: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)]
    open_interest_lots_max: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)]
    leverage_default: Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)] = 20
    maker_fee_ppm: SignedPpm
    taker_fee_ppm: Ppm
    price_band_ppm: Ppm = 0  # 0: no band; else orders within mark * (1 -/+ band)
    liquidation_fee_ppm: Ppm
    tiers: Annotated[list[Tier], Meta(min_length=1, max_length=c.TIERS_MAX)]


class Margin(Frozen, frozen=True, kw_only=True):
    tier_mode: Literal["marginal", "flat"]


class Mark(Frozen, frozen=True, kw_only=True):
    """How the mark is made. `median` follows R51; `tape` takes the recorded mark."""

    source: Literal["tape", "median"]
    basis_samples: Annotated[int, Meta(ge=1, le=c.BASIS_SAMPLES_MAX)] = 30
    basis_interval_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 5_000_000_000


class Funding(Frozen, frozen=True, kw_only=True):
    interval_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 28_800_000_000_000
    rate_cap_ppb: Annotated[int, Meta(ge=0, le=c.PPB)] = c.PPB


class Liquidation(Frozen, frozen=True, kw_only=True):
    """Axes A to C: what is done to an account that is below maintenance."""

    steps: list[Literal["cancel_orders", "cover_shortage", "close_position"]]
    surplus: Literal["to_user", "to_fund"]


class Losses(Frozen, frozen=True, kw_only=True):
    """Axes D to G: who absorbs what the book did not, in order; the last one always can."""

    waterfall: list[Literal["insurance_fund", "adl", "fund_unlimited"]]
    adl_score: Literal["wallet_pct_margin_ratio", "profit_times_leverage"]
    fund_inventory_ppm: Annotated[int, Meta(ge=0, le=1_000 * c.PPM)] = c.PPM


class Evidence(Frozen, frozen=True, kw_only=True):
    """Where a number comes from. `assumed` fields are listed by every report."""

    field: Annotated[str, Meta(min_length=1, max_length=200)]
    source: Annotated[str, Meta(min_length=1, max_length=1000)]
    status: Literal["published", "third_party", "assumed"]


class VenueProfile(Frozen, frozen=True, kw_only=True):
    """Everything the engine knows of a venue. See `venues/` for examples."""

    name: Name
    as_of: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    settlement: Settlement
    margin: Margin
    mark: Mark
    funding: Funding
    liquidation: Liquidation
    losses: Losses
    markets: Annotated[list[Market], Meta(min_length=1, max_length=c.MARKETS_MAX)]
    evidence: list[Evidence] = []

    def market_id(self, symbol: str) -> int:
        """The id of a market in commands: its place in the profile, from 1."""
        for index, market in enumerate(self.markets):
            if market.symbol == symbol:
                return index + 1
        names = ", ".join(market.symbol for market in self.markets)
        raise ProfileError(f"{self.name}: no market {symbol!r}; it has {names}")

    def hash(self) -> str:
        """BLAKE2b-128 of the canonical encoding: equal for equal profiles."""
        encoded = msgspec.json.encode(self, order="deterministic")
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()


class MarketNumbers(Frozen, frozen=True, kw_only=True):
    """A market in integers: what both implementations compute with.

    Prices in price units, money in the smallest settlement unit. `unit_quote` is money per lot
    per price unit (linear, else 0); `face_quote` is money times price units per lot (inverse).
    Tier columns are equally long: tier t holds notionals up to and including `tier_to[t]`.
    """

    symbol: str
    payoff: c.Payoff
    tick_price: int
    price_min: int
    price_max: int
    unit_quote: int
    face_quote: int
    order_lots_min: int
    order_lots_max: int
    open_interest_lots_max: int
    leverage_default: int
    maker_fee_ppm: int
    taker_fee_ppm: int
    price_band_ppm: int
    liquidation_fee_ppm: int
    tier_to: tuple[int, ...]
    tier_leverage_max: tuple[int, ...]
    tier_maintenance_ppm: tuple[int, ...]
    tier_deduction: tuple[int, ...]


class DepthLevel(Frozen, frozen=True, kw_only=True):
    """One level of the market maker's curve, on both sides of the index."""

    offset_ppm: Annotated[int, Meta(ge=1, le=c.PPM - 1)]
    lots: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)]


class DepthCurve(Frozen, frozen=True, kw_only=True):
    """Quotes of the market-maker account round the index; levels from the touch outwards.

    What trading takes out of a level comes back by half in every `refill_half_life_ns`
    (0: at once).
    """

    levels: Annotated[list[DepthLevel], Meta(min_length=1, max_length=c.DEPTH_LEVELS_MAX)]
    refill_half_life_ns: Annotated[int, Meta(ge=0, le=c.TIME_MAX_NS)] = 0


class Capacities(Frozen, frozen=True, kw_only=True):
    """How much of everything one exchange can hold; a full table is a named refusal."""

    accounts_max: Annotated[int, Meta(ge=1, le=2**25)] = 1 << 16
    positions_max: Annotated[int, Meta(ge=1, le=2**27)] = 1 << 17
    orders_max: Annotated[int, Meta(ge=1, le=2**25)] = 1 << 16


def market_numbers(profile: VenueProfile, market: Market) -> MarketNumbers:
    """Turn one market into integers, refusing whatever cannot be exact.

    >>> profile = load_venue(shipped_venues()[0])
    >>> market_numbers(profile, profile.markets[0]).tier_deduction[:3]
    (0, 50000000, 950000000)
    """
    where = f"{profile.name}: markets.{market.symbol}"
    money_decimals = profile.settlement.decimals

    def integer(field: str, text: str, decimals: int) -> int:
        try:
            value = parse_decimal(text, decimals)
        except UnitError as error:
            raise ProfileError(f"{where}.{field}: {error}") from None
        if value <= 0:
            raise ProfileError(f"{where}.{field}: expected more than 0, got {text}")
        return value

    tick_price = integer("tick", market.tick, market.price_decimals)
    price_max = integer("price_max", market.price_max, market.price_decimals)
    if price_max % tick_price or price_max // tick_price >= c.TICKS_MAX:
        raise ProfileError(
            f"{where}.price_max: expected a multiple of the tick, below {c.TICKS_MAX} ticks"
        )
    price_min = tick_price
    if market.price_min is not None:
        price_min = integer("price_min", market.price_min, market.price_decimals)
    if price_min > price_max or price_min < tick_price:
        raise ProfileError(f"{where}.price_min: expected from one tick to price_max")
    unit_quote = face_quote = 0
    if market.payoff == "linear":
        unit_quote = integer("lot", market.lot, money_decimals - market.price_decimals)
        exposure = market.open_interest_lots_max * price_max * unit_quote
    else:
        face_quote = integer("lot", market.lot, money_decimals + market.price_decimals)
        exposure = market.open_interest_lots_max * face_quote // price_min
    if exposure > c.MONEY_MAX // len(profile.markets):
        raise ProfileError(
            f"{where}.open_interest_lots_max: open interest at price_max (inverse: price_min) "
            f"is {exposure}, above the money bound {c.MONEY_MAX // len(profile.markets)}"
        )
    if market.order_lots_min > market.order_lots_max:
        raise ProfileError(f"{where}.order_lots_min: expected at most order_lots_max")
    tiers = _tier_columns(where, market, money_decimals)
    return MarketNumbers(
        symbol=market.symbol,
        payoff=c.Payoff[market.payoff.upper()],
        tick_price=tick_price,
        price_min=price_min,
        price_max=price_max,
        unit_quote=unit_quote,
        face_quote=face_quote,
        order_lots_min=market.order_lots_min,
        order_lots_max=market.order_lots_max,
        open_interest_lots_max=market.open_interest_lots_max,
        leverage_default=min(market.leverage_default, tiers[1][0]),
        maker_fee_ppm=market.maker_fee_ppm,
        taker_fee_ppm=market.taker_fee_ppm,
        price_band_ppm=market.price_band_ppm,
        liquidation_fee_ppm=market.liquidation_fee_ppm,
        tier_to=tiers[0],
        tier_leverage_max=tiers[1],
        tier_maintenance_ppm=tiers[2],
        tier_deduction=tiers[3],
    )


def _tier_columns(where: str, market: Market, money_decimals: int) -> tuple[tuple[int, ...], ...]:
    """Integer tier columns; the deduction makes the marginal requirement continuous.

    deduction[t] = deduction[t-1] + floor[t] * (rate[t] - rate[t-1]): the amount the venues call
    the maintenance amount. It must be whole money.
    """
    bounds: list[int] = []
    leverages: list[int] = []
    rates: list[int] = []
    deductions: list[int] = []
    floor = previous_rate = deduction = 0
    for index, tier in enumerate(market.tiers):
        place = f"{where}.tiers[{index}]"
        try:
            bound = parse_decimal(tier.notional_to, money_decimals)
        except UnitError as error:
            raise ProfileError(f"{place}.notional_to: {error}") from None
        if not floor < bound <= c.MONEY_MAX:
            raise ProfileError(f"{place}.notional_to: expected above {floor} and rising")
        if tier.maintenance_ppm <= previous_rate:
            raise ProfileError(f"{place}.maintenance_ppm: expected above {previous_rate}")
        if leverages and tier.leverage_max > leverages[-1]:
            raise ProfileError(f"{place}.leverage_max: expected at most {leverages[-1]}")
        if tier.maintenance_ppm * tier.leverage_max > c.PPM:
            raise ProfileError(f"{place}.maintenance_ppm: above the initial margin of its leverage")
        step = floor * (tier.maintenance_ppm - previous_rate)
        if step % c.PPM:
            raise ProfileError(f"{place}: the maintenance deduction is not whole money")
        deduction += step // c.PPM
        bounds.append(bound)
        leverages.append(tier.leverage_max)
        rates.append(tier.maintenance_ppm)
        deductions.append(deduction)
        floor, previous_rate = bound, tier.maintenance_ppm
    return tuple(bounds), tuple(leverages), tuple(rates), tuple(deductions)


def validate(profile: VenueProfile) -> VenueProfile:
    """Check what spans several fields; returns the profile or raises ProfileError."""
    symbols = [market.symbol for market in profile.markets]
    if len(set(symbols)) != len(symbols):
        raise ProfileError(f"{profile.name}: markets: a symbol occurs twice")
    for market in profile.markets:
        market_numbers(profile, market)
    steps = profile.liquidation.steps
    if not steps or steps[-1] == "cancel_orders" or len(set(steps)) != len(steps):
        raise ProfileError(f"{profile.name}: liquidation.steps: each once, an order step last")
    order = ("cancel_orders", "cover_shortage", "close_position")
    if list(steps) != [step for step in order if step in steps]:
        raise ProfileError(f"{profile.name}: liquidation.steps: expected in the order {order}")
    waterfall = profile.losses.waterfall
    if not waterfall or waterfall[-1] != "fund_unlimited" or len(set(waterfall)) != len(waterfall):
        raise ProfileError(f"{profile.name}: losses.waterfall: each once, fund_unlimited last")
    return profile


def decode_venue(data: bytes, source: str) -> VenueProfile:
    """Decode and validate a profile; `source` names it in errors."""
    try:
        return validate(msgspec.toml.decode(data, type=VenueProfile))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProfileError(f"{source}: {error}") from None
    except RecursionError:
        raise ProfileError(f"{source}: nested too deeply") from None


def shipped_venues() -> list[str]:
    """Names of the profiles that ship with the engine, sorted."""
    return sorted(path.stem for path in (Path(__file__).parent / "venues").glob("*.toml"))


def load_venue(name_or_path: str | Path) -> VenueProfile:
    """Load a shipped profile by name, or any profile by path (a name with .toml).

    >>> load_venue(shipped_venues()[0]).settlement.asset
    'USDT'
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = Path(__file__).parent / "venues" / f"{name_or_path}.toml"
    try:
        data = path.read_bytes()
    except OSError as error:
        known = ", ".join(shipped_venues())
        raise ProfileError(f"{path.name}: {error.strerror}; shipped profiles: {known}") from None
    return decode_venue(data, path.name)
