"""Random venue profiles: every switch drawn, every combination valid."""

import copy
import random
from typing import get_args, get_type_hints

import msgspec

from engine.profile import AbsorberName, ShareName, Sharing, VenueProfile
from engine.venue import load_venue, shipped_venues, validate

BASE_PROFILE = next(n for n in shipped_venues() if load_venue(n).settlement.asset == "USDT")
COVER, ALL = {"size": "cover_shortage"}, {"size": "all"}
PLAIN_STEPS = ([COVER], [ALL], [COVER, ALL])
ENDS = ("fund_unlimited", "pool", "retry")
ABSORBERS = tuple(name for name in get_args(AbsorberName) if name not in ENDS)
SHARES = get_args(ShareName)
COLLATERAL = {
    "symbol": "ASSET",
    "payoff": "linear",
    "contract": "collateral",
    "haircut_ppm": 100_000,
    "price_decimals": 2,
    "tick": "0.01",
    "lot": "0.001",
    "price_max": "1600",
    "order_lots_max": 2_000,
    "open_interest_lots_max": 1_000_000,
    "maker_fee_ppm": 0,
    "taker_fee_ppm": 0,
    "liquidation_fee_ppm": 0,
    "tiers": [{"notional_to": "1000000000", "leverage_max": 1, "maintenance_ppm": 1}],
}
INVERSE = {
    "symbol": "COIN",
    "payoff": "inverse",
    "price_decimals": 1,
    "tick": "0.5",
    "lot": "100",
    "price_min": "100",
    "price_max": "200000",
    "order_lots_max": 100_000,
    "open_interest_lots_max": 1_000_000,
    "leverage_default": 10,
    "maker_fee_ppm": -100,
    "taker_fee_ppm": 500,
    "liquidation_fee_ppm": 5_000,
    "tiers": [
        {"notional_to": "50", "leverage_max": 100, "maintenance_ppm": 5_000},
        {"notional_to": "500", "leverage_max": 50, "maintenance_ppm": 10_000},
        {"notional_to": "5000", "leverage_max": 20, "maintenance_ppm": 25_000},
    ],
}


def draw_step(rng: random.Random) -> dict[str, object]:
    """One order step of a liquidation."""
    order = rng.choice(["ioc", "ioc", "fok", "rest", "transfer"])
    step: dict[str, object] = {
        "size": rng.choice(["all", "cover_shortage", "fraction", "lower_tier", "chunk"]),
        "fraction_ppm": rng.choice([100_000, 500_000]),
        "tiers_down": rng.choice([0, 1, 2]),
        "chunk_lots": rng.choice([1, 20]),
        "order": order,
        "limit": rng.choice(["bankruptcy", "spread", "mark", "touch", "none"]),
        "limit_ppm": rng.choice([0, 2_000, 50_000]),
        "pause_ns": rng.choice([0, 0, 1, 10**9]),
        "once_in_ns": rng.choice([0, 0, 10**10]),
        "from_tier": rng.choice([1, 1, 2]),
    }
    for name, amounts in (("floor", ["5"]), ("cap", ["50", "0.001"]), ("above", ["10", "0.001"])):
        if rng.random() < 0.25:
            step[name] = rng.choice(amounts)
    if rng.random() < 0.2:
        step |= {"ramp_ppm": rng.choice([0, 100_000]), "ramp_ns": rng.choice([1, 10**10])}
    if rng.random() < 0.2:
        step |= {"window_lots": 50, "window_ns": 10**10}
    if order == "rest":
        step["pause_ns"] = rng.choice([1, 10**9, 10**11])
    if order == "transfer":
        step["limit"] = rng.choice(["mark", "bankruptcy"])
    return step


def draw_liquidation(rng: random.Random) -> dict[str, object]:
    """Axes B, C and H."""
    plain = rng.random() < 0.35
    steps = [draw_step(rng) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    if plain:
        steps = rng.choice(PLAIN_STEPS)
    return {
        "cancel": rng.choice(["none", "market", "account", "account"]),
        "net_hedged": rng.random() < 0.8,
        "sell_collateral": rng.choice(["last", "first"]),
        "select": rng.choice(["largest", "largest", "largest_loss", "random"]),
        "lowest_tier_closes_all": rng.random() < 0.2,
        "steps": steps,
        "fee_cap": rng.choice(["equity", "equity", "surplus", "faded"]),
        "fee_to": rng.choice(["fund", "fund", "venue"]),
        "surplus": rng.choice(["to_user", "to_fund"]),
        "order": rng.choice(["account", "account", "worst_first", "random"]),
        "drawdown_closes_all": rng.random() < 0.3,
        "phase": rng.choice(["per_account", "per_account", "adl_last"]),
    }


def draw_sharing(rng: random.Random) -> dict[str, object]:
    """What policies read."""
    hints = get_type_hints(Sharing)
    part = [1_000_000, 1_000_000, 500_000, 1]
    return {
        "score": rng.choice(get_args(hints["score"])),
        "weight": rng.choice(get_args(hints["weight"])),
        "exponent": rng.choice([0, 1, 2, 4]),
        "threshold_ppm": rng.choice([0, 0, 900_000]),
        "haircut_max_ppm": rng.choice(part),
        "equity_min": rng.choice(["0", "0", "10"]),
        "tries_max": rng.choice([1, 3, 10**9]),
        "theta_ppm": rng.choice(part),
        "withdrawal_ppm": rng.choice(part),
        "matured_ppm": rng.choice(part),
    }


def draw_losses(rng: random.Random) -> dict[str, object]:
    """Axes D to G."""
    absorbers = rng.sample(ABSORBERS, rng.choice([0, 1, 2, 3, 4]))
    if rng.random() < 0.4:
        absorbers = ["insurance_fund", "adl"]
    residuals = ["fund", "debt", "negative_left", "socialise_positions", "socialise_profit"]
    scores = ["wallet_pct_margin_ratio", "profit_times_leverage", "return_times_leverage"]
    prices = ["bankruptcy", "bankruptcy", "mark", "previous_mark", "mark_unless_fund_low"]
    return {
        "waterfall": [*absorbers, rng.choice([*ENDS, "fund_unlimited"])],
        "adl_score": rng.choice([*scores, "price_gain_times_leverage", "random", "none"]),
        "adl_policy": rng.choice(["ranking"] * 20 + [*SHARES]),
        "sharing_policy": rng.choice(SHARES),
        "sharing": draw_sharing(rng),
        "adl_candidates": rng.choice(["opposite", "opposite", "winners"]),
        "adl_price": rng.choice(prices),
        "adl_fee": rng.choice(["none", "none", "maker_taker"]),
        "adl_cancel": rng.choice(["none", "market", "account"]),
        "fund_scope": rng.choice(["venue", "venue", "group", "market"]),
        "fund_inventory_ppm": rng.choice([0, 10**6, 10**8]),
        "fund_disposal": rng.choice(["keep", "rest"]),
        "fund_pays": rng.random() < 0.85,
        "fund_low": rng.choice(["0", "10", "1000"]),
        "drawdown_ppm": rng.choice([0, 0, 0, 100_000, 500_000]),
        "drawdown_stop_ppm": rng.choice([0, 50_000]),
        "drawdown_window_ns": rng.choice([1, 10**10, 10**12]),
        "fund_cap": rng.choice(["0", "0", "1", "20"]),
        "fund_cap_window_ns": rng.choice([0, 10**10]),
        "fund_cap_scope": rng.choice(["fund", "market"]),
        "volunteer_edge_ppm": rng.choice([0, 10_000]),
        "covered_band_ppm": rng.choice([0, 50_000]),
        "retry_ns": rng.choice([1, 10**9]),
        "residual": rng.choice(["fund", *residuals, "withdrawal_haircut", "pool"]),
        "profit_scope": rng.choice(["account", "market"]),
        "profit_lock": rng.random() < 0.2,
        "gate_ns": rng.choice([0, 10**11, 10**12]),
        "waive_after_ns": rng.choice([0, 1, 10**11]),
        "pool_profit_ppm": rng.choice([0, 0, 10_000, 450_000]),
        "pool_profit_stop_ppm": rng.choice([0, 5_000]),
    }


def draw_margin(rng: random.Random) -> dict[str, object]:
    """What a position must be covered with."""
    plain = rng.random() < 0.4
    by = "notional" if plain else rng.choice(["notional", "notional", "entry_value", "contracts"])
    return {
        "tier_mode": "flat" if by == "contracts" else rng.choice(["marginal", "flat"]),
        "tier_by": by,
        "maintenance": "tiers" if plain else rng.choice(["tiers", "tiers", "share_of_initial"]),
        "initial_share_ppm": 500_000,
        "initial": rng.choice(["leverage", "leverage", "tiers"]),
        "worst_case_orders": not plain and by != "entry_value" and rng.random() < 0.25,
        "close_fee": "none" if plain else rng.choice(["none", "taker"]),
        "bankruptcy_fee": rng.random() < 0.3,
        "bankruptcy_split": rng.choice(["all", "by_maintenance"]),
    }


def draw_trigger(rng: random.Random) -> dict[str, object]:
    """Axis A."""
    return {
        "comparison": rng.choice(["below", "at_or_below"]),
        "warn_ppm": rng.choice([0, 0, 1_250_000, 2_000_000]),
        "restrict": rng.choice(["none", "none", "initial"]),
        "backstop_ppm": rng.choice([0, 0, 666_667]),
        "exit": rng.choice(["maintenance", "maintenance", "buffer", "initial"]),
        "exit_buffer_ppm": rng.choice([0, 20_000]),
        "second_price": rng.choice(["none", "none", "none", "average_last"]),
        "average_half_life_ns": rng.choice([0, 10**9, 10**11]),
        "cure_ns": rng.choice([0, 10**9, 10**11]),
    }


def curve_of(rng: random.Random, market: dict, linear: bool, scaled: bool) -> None:
    """A requirement curve beyond tiers, now and then."""
    pick = rng.random()
    if pick < 0.15:
        market["slope_per_coin"] = rng.choice(["0.0001", "0.01", "0.5"])
        market["initial_slope_per_coin"] = rng.choice([None, "0.5"])
    elif pick < 0.25 and linear:
        market["sqrt_per_coin"] = rng.choice(["0.001", "0.01"])
    if scaled and rng.random() < 0.3:
        market["scaling"] = rng.choice([["10", "1000"], ["0", "100000"]])


def by_contracts(markets: list[dict]) -> None:
    """Tiers by lots instead of notional."""
    for market in markets:
        for index, tier in enumerate(market["tiers"]):
            tier |= {"notional_to": None, "lots_to": 20 * 5**index}


def draw_profile(seed: int) -> VenueProfile:
    """A valid profile with every switch drawn at random.

    >>> draw_profile(1) == draw_profile(1)
    True
    """
    rng = random.Random(seed)
    raw = msgspec.to_builtins(load_venue(BASE_PROFILE))
    raw |= {"evidence": [], "margin": draw_margin(rng), "trigger": draw_trigger(rng)}
    raw |= {"liquidation": draw_liquidation(rng), "losses": draw_losses(rng)}
    raw["losses"]["drawdown_stop_ppm"] = min(
        raw["losses"]["drawdown_stop_ppm"], raw["losses"]["drawdown_ppm"]
    )
    raw["losses"]["pool_profit_stop_ppm"] = min(
        raw["losses"]["pool_profit_stop_ppm"], raw["losses"]["pool_profit_ppm"]
    )
    raw["mark"] = {
        "source": rng.choice(["median", "median", "median", "tape", "index", "last"]),
        "basis_samples": rng.choice([1, 3, 30]),
        "basis_interval_ns": rng.choice([1, 10**9]),
    }
    raw["funding"] |= {
        "accrual": rng.choice(["interval", "interval", "continuous"]),
        "price": rng.choice(["mark", "mark", "index"]),
    }
    raw["markets"] = draw_markets(rng, raw)
    return validate(msgspec.convert(raw, VenueProfile))


def draw_markets(rng: random.Random, raw: dict) -> list[dict]:
    """One or two linear markets, perhaps with an asset, or an inverse one."""
    linear, second = copy.deepcopy(raw["markets"][:2])
    linear |= {
        "tick": rng.choice(["0.01", "0.10"]),
        "price_max": "1600",
        "price_band_ppm": rng.choice([0, 50_000]),
        "maker_fee_ppm": rng.choice([200, -50]),
        "open_interest_lots_max": rng.choice([5_000, 200_000]),
        "order_lots_max": 2_000,
        "payoff": rng.choice(["linear", "linear", "quanto"]),
    }
    second |= {"price_max": "1600", "open_interest_lots_max": 1_000_000}
    kind = rng.random()
    markets = [linear] if kind < 0.5 else [linear, second]
    if kind >= 0.75:
        raw["settlement"] = {"asset": "COIN", "decimals": 8}
        markets = [copy.deepcopy(INVERSE)]
    scaled = raw["trigger"]["restrict"] == "none"
    for market in markets:
        curve_of(rng, market, kind < 0.75, scaled)
    if kind < 0.75 and rng.random() < 0.4:
        markets.append(copy.deepcopy(COLLATERAL))
    if raw["margin"]["tier_by"] == "contracts":
        by_contracts(markets)
    if raw["losses"]["fund_scope"] == "group":
        for market in markets:
            market["fund_group"] = rng.choice([None, "one", "two"])
    return markets
