"""Changes a study can make that are no single field: a deeper fall, thinner depth, another venue.

`shock_ppm=1_500_000` makes every move away from a market's first price half as large again,
`depth_ppm=500_000` leaves half of the quoted lots, `profile="name"` moves the scenario to another
venue: its markets are found by base asset, prices take that venue's tick and sizes its lot. Each is
turned into plain overrides of the scenario, so a run remains one scenario and nothing else.
"""

import json
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from engine import constants as c
from engine.across import target_market
from engine.messages import CurveLiquidity, PricePoint
from engine.peopled import DrawnPopulation
from engine.profile import Losses, Market, ProfileError
from engine.scenario import LoadedScenario, load_scenario
from engine.situation import SituationError
from engine.strict import ScenarioError, parse_override, toml_value
from engine.venue import load_venue

SCALES = ("shock_ppm", "depth_ppm")
SCALE_MAX_PPM = 100 * c.PPM
PROFILE = "profile"


def override(field: str, value: Any) -> str:
    """The text that sets a field to a value: text, a whole number, a boolean, a list or a table.

    >>> override("fund", "10"), override("losses.waterfall", ["adl", "pool"])
    ('fund="10"', 'losses.waterfall=["adl", "pool"]')
    """
    return f"{field}={toml_value(value)}"


def expand(
    scenario: Path | str, changes: Sequence[str], data: Path | str | None = None
) -> list[str]:
    """The changes with every scale and profile written out as plain overrides.

    The profile comes first, then the plain changes, then the scales, which see all of those.
    Raises ScenarioError.
    """
    plain, scales, profiles = [], {}, []
    for text in changes:
        segments, value = parse_override(text)
        if segments[0] == PROFILE and len(segments) == 1:
            profiles.append(value)
        elif segments[0] in SCALES and len(segments) == 1:
            scales[segments[0]] = scale_of(Path(scenario).name, text, value)
        else:
            plain.append(text)
    if profiles:
        plain = [*moved(load_scenario(scenario, (), data), str(profiles[-1])), *plain]
    if scales:
        loaded = load_scenario(scenario, plain, data)
        plain += _shocked(loaded, scales.get("shock_ppm", c.PPM))
        plain += thinned(loaded, scales.get("depth_ppm", c.PPM))
    return plain


def scale_of(file: str, text: str, value: Any) -> int:
    """The value of a scale; ScenarioError naming the file and the change where it is none."""
    if type(value) is not int or not 0 <= value <= SCALE_MAX_PPM:
        reason = f"expected 0 to {SCALE_MAX_PPM}, got {value!r}"
        raise ScenarioError(f"{file}: --set {text!r}: {reason}")
    return value


def _market(loaded: LoadedScenario, symbol: str) -> Market:
    return loaded.profile.markets[loaded.numbers[symbol][0] - 1]


def _on_tick(price: Decimal, market: Market) -> str:
    """The nearest price of the market's grid that it allows."""
    tick = Decimal(market.tick)
    lowest = Decimal(market.price_min or market.tick)
    ticks = (price / tick).to_integral_value(ROUND_HALF_EVEN)
    return f"{max(lowest, min(ticks * tick, Decimal(market.price_max))):f}"


def _shocked(loaded: LoadedScenario, shock_ppm: int) -> list[str]:
    """Every published price, further from its market's first one, or nearer to it."""
    points = loaded.scenario.prices.points
    if shock_ppm == c.PPM:
        return []
    if not points:
        loaded.fail("shock_ppm", "expected a scenario with prices.points")
    first: dict[tuple[str, str], PricePoint] = {}
    changes = []
    for index, point in enumerate(points):
        start = Decimal(first.setdefault((point.market, point.role), point).price)
        price = start + (Decimal(point.price) - start) * shock_ppm / c.PPM
        text = _on_tick(price, _market(loaded, point.market))
        changes.append(override(f"prices.points.{index}.price", text))
    return changes


def _scaled(lots: int, numerator: int, denominator: int) -> int:
    return max(1, lots * numerator // denominator)


def thinned(loaded: LoadedScenario, depth_ppm: int) -> list[str]:
    """The overrides that make every quoted lot its part of the scale, one lot at least."""
    if depth_ppm == c.PPM:
        return []
    changes = []
    for symbol, curve in loaded.scenario.liquidity.items():
        if isinstance(curve, CurveLiquidity) and curve.depth_lots is not None:
            lots = _scaled(curve.depth_lots, depth_ppm, c.PPM)
            changes.append(override(f"liquidity.{symbol}.depth_lots", lots))
        elif isinstance(curve, CurveLiquidity):
            kind = "bands" if curve.bands else "levels"
            for index, each in enumerate(getattr(curve, kind)):
                lots = _scaled(each.lots, depth_ppm, c.PPM)
                changes.append(override(f"liquidity.{symbol}.{kind}.{index}.lots", lots))
    if not changes:
        loaded.fail("depth_ppm", "expected a market whose liquidity is a curve")
    return changes


def moved(loaded: LoadedScenario, name: str) -> list[str]:
    """The overrides that move a scenario to another venue; none where it is there already."""
    if name == loaded.scenario.venue:
        return []
    try:
        profile = load_venue(name)
        pairs = {symbol: target_market(profile, symbol) for symbol in loaded.scenario.markets}
    except (ProfileError, SituationError) as error:
        loaded.fail(PROFILE, str(error))
    scenario = loaded.scenario
    if scenario.patch:
        loaded.fail(PROFILE, "expected a scenario without a patch of its own venue")
    if not (scenario.prices.points and isinstance(scenario.population, DrawnPopulation)):
        loaded.fail(PROFILE, "expected prices.points and a drawn population")
    for symbol, market in pairs.items():
        if (_market(loaded, symbol).payoff, market.payoff) != ("linear", "linear"):
            loaded.fail(PROFILE, f"{market.symbol} of {name}: expected linear contracts")
    changes = [override("venue", name)]
    changes.append(override("markets", [market.symbol for market in pairs.values()]))
    if profile.mark.source == "tape":
        changes.append(override("feedback_ppm", 0))
    for index, point in enumerate(scenario.prices.points):
        market = pairs[point.market]
        text = _on_tick(Decimal(point.price), market)
        changes.append(override(f"prices.points.{index}.price", text))
        changes.append(override(f"prices.points.{index}.market", market.symbol))
    for index, tick in enumerate(scenario.funding):
        changes.append(override(f"funding.{index}.market", pairs[tick.market].symbol))
    return changes + _resized(loaded, pairs)


def _resized(loaded: LoadedScenario, pairs: dict[str, Market]) -> list[str]:
    """Sizes of the population and of the depth in the lots of the other venue."""
    changes = []
    population = loaded.scenario.population
    assert isinstance(population, DrawnPopulation), "checked before"
    for index, drawn in enumerate(population.markets):
        new = pairs[drawn.market]
        ratio = Decimal(_market(loaded, drawn.market).lot) / Decimal(new.lot)
        numerator, denominator = ratio.as_integer_ratio()
        place = f"population.markets.{index}"
        changes.append(override(f"{place}.market", new.symbol))
        for name in ("open_interest_lots", "lots_min", "lots_max"):
            lots = _scaled(getattr(drawn, name), numerator, denominator)
            changes.append(override(f"{place}.{name}", lots))
    liquidity = {}
    for symbol, curve in loaded.scenario.liquidity.items():
        table = msgspec.to_builtins(curve)
        ratio = Decimal(_market(loaded, symbol).lot) / Decimal(pairs[symbol].lot)
        for each in (*table.get("levels", ()), *table.get("bands", ())):
            each["lots"] = _scaled(each["lots"], *ratio.as_integer_ratio())
        if isinstance(curve, CurveLiquidity):
            if curve.depth_lots is not None:
                table["depth_lots"] = _scaled(curve.depth_lots, *ratio.as_integer_ratio())
            stated = {"levels": curve.levels, "bands": curve.bands}
            table = {k: v for k, v in table.items() if v is not None and stated.get(k, True)}
        liquidity[pairs[symbol].symbol] = table
    return [*changes, override("liquidity", liquidity)]


def policy_change(text: str) -> str:
    """A choice about losses as an override: `field=value`, or a value only one field can take.

    >>> policy_change("profit_times_leverage"), policy_change("adl_price=mark")
    ('venue.losses.adl_score="profit_times_leverage"', 'venue.losses.adl_price="mark"')
    """
    choices = {
        name: [each for each in get_args(hint) if isinstance(each, str)]
        for name, hint in get_type_hints(Losses).items()
    }
    field, equals, value = text.partition("=")
    if equals:
        if field not in choices:
            raise ScenarioError(f"--policies {text!r}: no such field of losses: {field}")
        is_word = value in choices[field]
        return f"venue.losses.{field}={json.dumps(value) if is_word else value}"
    fields = [name for name, words in choices.items() if text in words]
    if len(fields) != 1:
        listed = ", ".join(f"{name}={text}" for name in fields)
        known = ", ".join(dict.fromkeys(word for words in choices.values() for word in words))
        reason = f"say which: {listed}" if fields else f"expected one of {known}"
        raise ScenarioError(f"--policies {text!r}: {reason}")
    return override(f"venue.losses.{fields[0]}", text)
