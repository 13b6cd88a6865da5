"""A venue in integers: what both implementations compute with, and the loading of profiles.

A profile (`profile`) is a TOML file of numbers and named behaviours. Decoding and validation refuse
what is unknown, out of range or not exact, with the file and the field. Nothing here knows numpy or
the core.
"""

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from engine import constants as c
from engine.funds import fund_id
from engine.profile import Frozen, Market, ProfileError, Tier, VenueProfile
from engine.units import UnitError, parse_decimal


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
    tier_initial_ppm: tuple[int, ...]
    contract: c.Contract = c.Contract.FUTURE
    haircut_ppm: int = 0
    slope_ppb: int = 0  # rate in ppb = ceil(size * slope_ppb / slope_unit); size in lots
    initial_slope_ppb: int = 0
    slope_unit: int = 1  # (linear) or in notional (inverse)
    sqrt_square: int = 0  # rate in ppb = isqrt(lots * sqrt_square)
    scaling_from: int = 0  # open interest in money; 0 and 0: no scaling
    scaling_to: int = 0
    funding_cap_ppb: int = c.PPB
    fund_id: int = c.SystemAccount.INSURANCE_FUND  # account of the fund that answers for it


class StepNumbers(Frozen, frozen=True, kw_only=True):
    """One order step in integers: money in the smallest settlement unit."""

    size: c.Size
    fraction_ppm: int
    tiers_down: int
    chunk_lots: int
    floor_quote: int
    cap_quote: int
    above_quote: int
    from_tier: int
    once_in_ns: int
    window_lots: int
    window_ns: int
    channel: c.Channel
    limit: c.Limit
    limit_ppm: int
    pause_ns: int
    ramp_ppm: int
    ramp_ns: int


class PolicyNumbers(Frozen, frozen=True, kw_only=True):
    """The amounts among a profile's choices, in integers."""

    steps: tuple[StepNumbers, ...]
    fund_low_quote: int
    fund_cap_quote: int
    equity_min_quote: int


class DepthLevel(Frozen, frozen=True, kw_only=True):
    """One level of the market maker's curve, on both sides of the index."""

    offset_ppm: Annotated[int, Meta(ge=1, le=c.PPM - 1)]
    lots: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)]


class DepthCurve(Frozen, frozen=True, kw_only=True):
    """Quotes of the market-maker account: levels round the index from the touch outwards, or where
    there are none the recorded depth of the tape.

    What trading takes out of a level comes back by half in every `refill_half_life_ns` (0: at
    once; of recorded depth with the next record). A curve's levels shrink in the ratio in which
    its volatility is above `volatility_ppm` (0: they do not); that is the sum of the index's moves,
    each forgotten by half in every `volatility_half_life_ns`. `permanent_ppm` is the share of the
    distance that trades went from the curve's middle by which the middle then stays off the
    index.
    """

    levels: Annotated[list[DepthLevel], Meta(max_length=c.DEPTH_LEVELS_MAX)] = msgspec.field(
        default_factory=list
    )
    refill_half_life_ns: Annotated[int, Meta(ge=0, le=c.TIME_MAX_NS)] = 0
    volatility_ppm: Annotated[int, Meta(ge=0, le=c.PPM)] = 0
    volatility_half_life_ns: Annotated[int, Meta(ge=0, le=c.TIME_MAX_NS)] = 0
    permanent_ppm: Annotated[int, Meta(ge=0, le=c.PPM)] = 0


class Capacities(Frozen, frozen=True, kw_only=True):
    """How much of everything one exchange can hold; a full table is a named refusal."""

    accounts_max: Annotated[int, Meta(ge=1, le=2**25)] = 1 << 16
    positions_max: Annotated[int, Meta(ge=1, le=2**27)] = 1 << 17
    orders_max: Annotated[int, Meta(ge=1, le=2**25)] = 1 << 16


def market_numbers(profile: VenueProfile, market: Market) -> MarketNumbers:
    """Turn one market into integers, refusing whatever cannot be exact.

    >>> profile = load_venue(shipped_venues()[0])
    >>> market_numbers(profile, profile.markets[0]).tier_deduction[0]
    0
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
    if market.payoff == "inverse":
        face_quote = integer("lot", market.lot, money_decimals + market.price_decimals)
        exposure = market.open_interest_lots_max * face_quote // price_min
    else:
        unit_quote = _unit_quote(where, market, money_decimals)
        exposure = market.open_interest_lots_max * price_max * unit_quote
    if exposure > c.MONEY_MAX // len(profile.markets):
        raise ProfileError(
            f"{where}.open_interest_lots_max: open interest at price_max (inverse: price_min) "
            f"is {exposure}, above the money bound {c.MONEY_MAX // len(profile.markets)}"
        )
    if market.order_lots_min > market.order_lots_max:
        raise ProfileError(f"{where}.order_lots_min: expected at most order_lots_max")
    tiers = _tier_columns(where, profile, market)
    return MarketNumbers(
        symbol=market.symbol,
        payoff=c.Payoff.INVERSE if market.payoff == "inverse" else c.Payoff.LINEAR,
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
        tier_initial_ppm=tiers[4],
        contract=c.Contract[market.contract.upper()],
        haircut_ppm=market.haircut_ppm,
        **_further_numbers(where, profile, market),
    )


def _unit_quote(where: str, market: Market, money_decimals: int) -> int:
    """Money per lot and price unit; with a quanto the multiplier's."""
    unit = Decimal(market.lot)
    if market.payoff == "quanto":
        unit *= Decimal(market.multiplier)
    try:
        value = parse_decimal(f"{unit:f}", money_decimals - market.price_decimals)
    except UnitError as error:
        raise ProfileError(f"{where}.lot: {error}") from None
    if value <= 0:
        raise ProfileError(f"{where}.lot: expected more than 0, got {unit}")
    return value


def _further_numbers(where: str, profile: VenueProfile, market: Market) -> dict[str, int]:
    """The parts of the requirement curve that are not tiers, the funding cap and the fund."""
    money_decimals = profile.settlement.decimals
    if market.contract == "collateral" and market.payoff == "inverse":
        raise ProfileError(f"{where}.payoff: expected linear for a collateral")
    if Decimal(market.slope_per_coin) < 0 or Decimal(market.sqrt_per_coin) < 0:
        raise ProfileError(f"{where}: slope_per_coin, sqrt_per_coin: expected 0 or more")
    if Decimal(market.sqrt_per_coin) and market.payoff == "inverse":
        raise ProfileError(f"{where}.sqrt_per_coin: expected 0 for an inverse contract")
    coin = Fraction(Decimal(market.lot))  # of one lot
    if market.payoff == "inverse":
        coin = Fraction(1, 10**money_decimals)  # of one unit of notional
    slope = Fraction(Decimal(market.slope_per_coin)) * coin * c.PPB
    initial = slope
    if market.initial_slope_per_coin is not None:
        initial = Fraction(Decimal(market.initial_slope_per_coin)) * coin * c.PPB
    unit = math.lcm(slope.denominator, initial.denominator)
    root = Fraction(Decimal(market.sqrt_per_coin)) * c.PPB
    square = root * root * Fraction(Decimal(market.lot))
    if square.denominator != 1 or square >= 2**62 // market.open_interest_lots_max:
        raise ProfileError(f"{where}.sqrt_per_coin: too fine or too large for this lot")
    if max(slope * unit, initial * unit, Fraction(unit)) >= 2**62 or initial < slope:
        raise ProfileError(f"{where}.slope_per_coin: too fine, or above the initial one")
    numbers = {
        "slope_ppb": int(slope * unit),
        "initial_slope_ppb": int(initial * unit),
        "slope_unit": unit,
        "sqrt_square": int(square),
        "funding_cap_ppb": profile.funding.rate_cap_ppb,
        "fund_id": fund_id(profile, market),
    }
    if market.funding_cap_ppb is not None:
        numbers["funding_cap_ppb"] = market.funding_cap_ppb
    if market.scaling is not None:
        low, high = (parse_decimal(text, money_decimals) for text in market.scaling)
        if not 0 <= low < high <= c.MONEY_MAX:
            raise ProfileError(f"{where}.scaling: expected two amounts, the second larger")
        numbers |= {"scaling_from": low, "scaling_to": high}
    return numbers


def policy_numbers(profile: VenueProfile) -> PolicyNumbers:
    """Turn the amounts of a profile's choices into integers."""
    decimals = profile.settlement.decimals

    def money(field: str, text: str) -> int:
        try:
            value = parse_decimal(text, decimals)
        except UnitError as error:
            raise ProfileError(f"{profile.name}: {field}: {error}") from None
        if not 0 <= value <= c.MONEY_MAX:
            raise ProfileError(f"{profile.name}: {field}: expected 0 or more, got {text}")
        return value

    steps = []
    for index, step in enumerate(profile.liquidation.steps):
        place = f"liquidation.steps[{index}]"
        steps.append(
            StepNumbers(
                size=c.Size[step.size.upper()],
                fraction_ppm=step.fraction_ppm,
                tiers_down=step.tiers_down,
                chunk_lots=step.chunk_lots,
                floor_quote=money(f"{place}.floor", step.floor),
                cap_quote=money(f"{place}.cap", step.cap),
                above_quote=money(f"{place}.above", step.above),
                from_tier=step.from_tier,
                once_in_ns=step.once_in_ns,
                window_lots=step.window_lots,
                window_ns=step.window_ns,
                channel=c.Channel[step.order.upper()],
                limit=c.Limit[step.limit.upper()],
                limit_ppm=step.limit_ppm,
                pause_ns=step.pause_ns,
                ramp_ppm=step.ramp_ppm,
                ramp_ns=step.ramp_ns,
            )
        )
    return PolicyNumbers(
        steps=tuple(steps),
        fund_low_quote=money("losses.fund_low", profile.losses.fund_low),
        fund_cap_quote=money("losses.fund_cap", profile.losses.fund_cap),
        equity_min_quote=money("losses.sharing.equity_min", profile.losses.sharing.equity_min),
    )


def _expanded(where: str, market: Market) -> list[Tier]:
    """The tiers of a market, written out."""
    if (market.tier_steps is None) == (not market.tiers):
        raise ProfileError(f"{where}: expected tiers or tier_steps")
    if market.tier_steps is None:
        return market.tiers
    rule = market.tier_steps
    tiers = []
    for index in range(rule.count):
        initial_ppm = min(rule.initial_ppm + index * rule.maintenance_ppm, c.PPM)
        tiers.append(
            Tier(
                notional_to=f"{Decimal(rule.base) + index * Decimal(rule.step):f}",
                leverage_max=max(1, min(c.PPM // initial_ppm, c.LEVERAGE_MAX)),
                maintenance_ppm=(index + 1) * rule.maintenance_ppm,
                initial_ppm=initial_ppm,
            )
        )
    return tiers


def _tier_bound(place: str, tier: Tier, by: str, money_decimals: int) -> int:
    if (tier.lots_to is None) == (by == "contracts"):
        name = "lots_to" if by == "contracts" else "notional_to"
        raise ProfileError(f"{place}: expected {name}, since tiers go by {by}")
    if tier.lots_to is not None:
        return tier.lots_to
    try:
        return parse_decimal(tier.notional_to or "", money_decimals)
    except UnitError as error:
        raise ProfileError(f"{place}.notional_to: {error}") from None


def _tier_columns(where: str, profile: VenueProfile, market: Market) -> tuple[tuple[int, ...], ...]:
    """Integer tier columns; the deduction makes the marginal requirement continuous.

    deduction[t] = deduction[t-1] + floor[t] * (rate[t] - rate[t-1]): the amount the venues call
    the maintenance amount. With marginal tiers it must be whole money.
    """
    bounds: list[int] = []
    leverages: list[int] = []
    rates: list[int] = []
    deductions: list[int] = []
    initials: list[int] = []
    floor = previous_rate = deduction = 0
    sloped = bool(Decimal(market.slope_per_coin))  # then the first rate may be 0
    marginal = profile.margin.tier_mode == "marginal"
    for index, tier in enumerate(_expanded(where, market)):
        place = f"{where}.tiers[{index}]"
        bound = _tier_bound(place, tier, profile.margin.tier_by, profile.settlement.decimals)
        if not floor < bound <= c.MONEY_MAX:
            raise ProfileError(f"{place}.notional_to: expected above {floor} and rising")
        if tier.maintenance_ppm <= previous_rate and (index or not sloped):
            raise ProfileError(f"{place}.maintenance_ppm: expected above {previous_rate}")
        if leverages and tier.leverage_max > leverages[-1]:
            raise ProfileError(f"{place}.leverage_max: expected at most {leverages[-1]}")
        if tier.maintenance_ppm * tier.leverage_max > c.PPM:
            raise ProfileError(f"{place}.maintenance_ppm: above the initial margin of its leverage")
        initial_ppm = tier.initial_ppm
        if initial_ppm is None:
            initial_ppm = -(-c.PPM // tier.leverage_max)
        if initial_ppm < tier.maintenance_ppm:
            raise ProfileError(f"{place}.initial_ppm: expected at least the maintenance rate")
        step = floor * (tier.maintenance_ppm - previous_rate)
        if marginal and step % c.PPM:
            raise ProfileError(f"{place}: the maintenance deduction is not whole money")
        deduction += step // c.PPM if marginal else 0
        bounds.append(bound)
        leverages.append(tier.leverage_max)
        rates.append(tier.maintenance_ppm)
        deductions.append(deduction)
        initials.append(initial_ppm)
        floor, previous_rate = bound, tier.maintenance_ppm
    return tuple(bounds), tuple(leverages), tuple(rates), tuple(deductions), tuple(initials)


def validate(profile: VenueProfile) -> VenueProfile:
    """Check what spans several fields; returns the profile or raises ProfileError."""
    symbols = [market.symbol for market in profile.markets]
    if len(set(symbols)) != len(symbols):
        raise ProfileError(f"{profile.name}: markets: a symbol occurs twice")
    for market in profile.markets:
        market_numbers(profile, market)
    policy_numbers(profile)
    _check_margin(profile)
    _check_waterfall(profile)
    return profile


def _check_margin(profile: VenueProfile) -> None:
    """What the trigger index relies on: a position that gains never loses health by it."""
    name, margin, trigger = profile.name, profile.margin, profile.trigger
    if margin.tier_by == "contracts" and margin.tier_mode == "marginal":
        raise ProfileError(f"{name}: margin.tier_mode: expected flat, since tiers go by contracts")
    if margin.tier_by == "entry_value" and margin.worst_case_orders:
        raise ProfileError(f"{name}: margin.worst_case_orders: expected false with entry values")
    if margin.maintenance == "share_of_initial" and margin.initial_share_ppm == 0:
        raise ProfileError(f"{name}: margin.initial_share_ppm: expected more than 0")
    for market in profile.markets:
        if market.contract == "collateral" and market.payoff != "linear":
            raise ProfileError(f"{name}: markets.{market.symbol}.payoff: expected linear")
        if trigger.restrict != "none" and market.scaling is not None:
            raise ProfileError(f"{name}: trigger.restrict: expected none with markets.*.scaling")
    highest = max(
        rate
        for market in profile.markets
        for rate in market_numbers(profile, market).tier_maintenance_ppm
    )
    if 0 < trigger.warn_ppm <= c.PPM:
        raise ProfileError(f"{name}: trigger.warn_ppm: expected 0 or above {c.PPM}")
    if trigger.warn_ppm * highest > c.PPM * c.PPM:
        raise ProfileError(f"{name}: trigger.warn_ppm: times the highest rate it is above one")
    if trigger.backstop_ppm >= c.PPM:
        raise ProfileError(f"{name}: trigger.backstop_ppm: expected below {c.PPM}")
    losses = profile.losses
    if losses.pool_profit_stop_ppm > losses.pool_profit_ppm:
        raise ProfileError(f"{name}: losses.pool_profit_stop_ppm: expected at most pool_profit_ppm")
    if losses.drawdown_stop_ppm > losses.drawdown_ppm:
        raise ProfileError(f"{name}: losses.drawdown_stop_ppm: expected at most drawdown_ppm")


def _check_waterfall(profile: VenueProfile) -> None:
    name, waterfall = profile.name, profile.losses.waterfall
    if waterfall[-1] not in ("fund_unlimited", "pool", "retry") or len(set(waterfall)) != len(
        waterfall
    ):
        raise ProfileError(
            f"{name}: losses.waterfall: each once, fund_unlimited, pool or retry last"
        )
    ends = [place for place in waterfall[:-1] if place in ("fund_unlimited", "pool", "retry")]
    if ends:
        raise ProfileError(f"{name}: losses.waterfall: {ends[0]} takes everything: expected last")
    for index, step in enumerate(profile.liquidation.steps):
        place = f"{name}: liquidation.steps[{index}]"
        if step.order == "transfer" and step.limit not in ("mark", "bankruptcy"):
            raise ProfileError(f"{place}.limit: expected mark or bankruptcy for a transfer")
        if step.limit != "spread" and step.limit_ppm >= c.PPM:
            raise ProfileError(f"{place}.limit_ppm: expected at most {c.PPM - 1} for this limit")
        if step.order == "rest" and step.pause_ns == 0:
            raise ProfileError(f"{place}.pause_ns: expected more than 0 for an order that rests")
        if bool(step.window_lots) != bool(step.window_ns):
            raise ProfileError(f"{place}: expected both of window_lots and window_ns, or neither")


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

    >>> [load_venue(name).name for name in shipped_venues()] == shipped_venues()
    True
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
