"""Two venues with numbers small enough for mental arithmetic, as profile texts, and patches; and a
beginning that many examples share.

LINEAR: one lot at price 100 is worth 100.00. INVERSE: one lot has a face of 100, so at price
10 000 it is worth 0.01 coin. No fees unless an example asks for them, so that its numbers show
one thing at a time.
"""

from typing import Any

import msgspec

from engine.venue import VenueProfile, validate

LINEAR = """
name = "small"
as_of = "2025-01-01"
settlement = { asset = "USD", decimals = 2 }
margin = { tier_mode = "marginal" }
mark = { source = "tape", basis_samples = 3, basis_interval_ns = 1_000_000_000 }
funding = { interval_ns = 28_800_000_000_000, rate_cap_ppb = 20_000_000 }
liquidation = { cancel = "account", steps = [{ size = "all" }], surplus = "to_user" }

[losses]
waterfall = ["insurance_fund", "adl", "fund_unlimited"]
adl_score = "wallet_pct_margin_ratio"
fund_inventory_ppm = 1_000_000

[[markets]]
symbol = "X"
payoff = "linear"
price_decimals = 0
tick = "1"
lot = "1"
price_max = "100000"
order_lots_min = 1
order_lots_max = 1_000
open_interest_lots_max = 5_000
leverage_default = 10
maker_fee_ppm = 0
taker_fee_ppm = 0
liquidation_fee_ppm = 0
tiers = [
  { notional_to = "1000", leverage_max = 10, maintenance_ppm = 50_000 },
  { notional_to = "5000", leverage_max = 5, maintenance_ppm = 100_000 },
  { notional_to = "20000", leverage_max = 2, maintenance_ppm = 200_000 },
]
"""

INVERSE = """
name = "small_coin"
as_of = "2025-01-01"
settlement = { asset = "COIN", decimals = 8 }
margin = { tier_mode = "marginal" }
mark = { source = "tape", basis_samples = 3, basis_interval_ns = 1_000_000_000 }
funding = { interval_ns = 28_800_000_000_000, rate_cap_ppb = 20_000_000 }
liquidation = { cancel = "account", steps = [{ size = "all" }], surplus = "to_user" }

[losses]
waterfall = ["insurance_fund", "adl", "fund_unlimited"]
adl_score = "wallet_pct_margin_ratio"
fund_inventory_ppm = 1_000_000

[[markets]]
symbol = "C"
payoff = "inverse"
price_decimals = 0
tick = "1"
lot = "100"
price_min = "100"
price_max = "100000"
order_lots_max = 10_000
open_interest_lots_max = 50_000
leverage_default = 10
maker_fee_ppm = 0
taker_fee_ppm = 0
liquidation_fee_ppm = 0
tiers = [
  { notional_to = "10", leverage_max = 50, maintenance_ppm = 10_000 },
  { notional_to = "50", leverage_max = 20, maintenance_ppm = 25_000 },
  { notional_to = "500", leverage_max = 10, maintenance_ppm = 50_000 },
]
"""


# Most examples of liquidation begin like this: Alice is long ten lots at ten times leverage.
ALICE_AND_BOB = """
    index 100
    open alice
    open bob
    deposit alice 100
    deposit bob 100000
    leverage bob 2
    deposit fund 100000
    seed alice 10 @ 100
"""


# And many of deleveraging: Alice is long, Bob and Carol are short, Carol with more behind her.
ALICE_BOB_CAROL = """
    index 100
    open alice
    open bob
    open carol
    deposit alice 100
    deposit bob 100
    deposit carol 1000
    seed alice 10 @ 100
    seed bob -6 @ 100
    seed carol -8 @ 110
"""


def raw_profile(text: str) -> dict[str, Any]:
    """A profile text as plain dicts, to be patched."""
    return msgspec.toml.decode(text.encode())


def patch(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set one field: `losses.waterfall`, or `market.tick` for every market."""
    section, *inner, name = path.split(".")
    places = raw["markets"] if section == "market" else [raw.setdefault(section, {})]
    for part in inner:
        places = [place.setdefault(part, {}) for place in places]
    for place in places:
        place[name] = value


def build(raw: dict[str, Any]) -> VenueProfile:
    """The validated profile."""
    return validate(msgspec.convert(raw, VenueProfile))
