"""A venue profile as strict structs: its markets and every named behaviour it can choose.

One struct a group of choices: margin, trigger, liquidation (reduction and order placement), losses
(takeover, fund, deleveraging, residual). Unknown fields are refused. Amounts are decimal text in
the settlement asset, ratios whole ppm, times whole nanoseconds. What each choice does is a
numbered rule (`docs/rules.md`).
"""

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from engine import constants as c
from engine.refusal import Refusal

DecimalText = Annotated[str, Meta(pattern=r"^-?[0-9]{1,24}(\.[0-9]{1,18})?$")]
Ppm = Annotated[int, Meta(ge=0, le=c.PPM)]
SignedPpm = Annotated[int, Meta(ge=-c.PPM, le=c.PPM)]
Multiple = Annotated[int, Meta(ge=0, le=1_000 * c.PPM)]  # ppm of something, above one too
Nanoseconds = Annotated[int, Meta(ge=0, le=c.TIME_MAX_NS)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Lots = Annotated[int, Meta(ge=0, le=c.LOTS_MAX)]


class ProfileError(Refusal):
    """A profile or a patch to it is refused: the file, the field and what was expected."""


class Frozen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part of a profile: immutable, keyword-only, unknown fields refused."""


class Margin(Frozen, frozen=True, kw_only=True):
    """What a position must be covered with (R31, R32, R34, R70).

    `tier_by` says what selects the tier; by entry value the rate applies to the entry value too.
    `maintenance = "share_of_initial"` takes a share of the initial margin at the leverage chosen
    instead of a tier's rate. `initial = "tiers"` asks for at least the tier's own initial rate.
    """

    tier_mode: Literal["marginal", "flat"]
    tier_by: Literal["notional", "entry_value", "contracts"] = "notional"
    maintenance: Literal["tiers", "share_of_initial"] = "tiers"
    initial_share_ppm: Ppm = 0
    initial: Literal["leverage", "tiers"] = "leverage"
    worst_case_orders: bool = False  # maintenance on the largest size open orders can make
    close_fee: Literal["none", "taker"] = "none"  # the fee of closing at mark is part of it
    bankruptcy_fee: bool = False  # the bankruptcy price leaves the taker fee of closing there
    bankruptcy_split: Literal["all", "by_maintenance"] = "all"  # of a cross domain's equity


class Mark(Frozen, frozen=True, kw_only=True):
    """How the mark is made. `median` follows R51; the others take one price as it is."""

    source: Literal["tape", "median", "index", "last"]
    basis_samples: Annotated[int, Meta(ge=1, le=c.BASIS_SAMPLES_MAX)] = 30
    basis_interval_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 5_000_000_000


class Funding(Frozen, frozen=True, kw_only=True):
    """When and on what funding is paid (R60, R61), and how a rate follows from premiums (R64).

    `continuous` scales each rate by the time since the last one. Rates are ppb per `rate_period`.
    """

    interval_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 28_800_000_000_000
    rate_cap_ppb: Annotated[int, Meta(ge=0, le=c.PPB)] = c.PPB
    accrual: Literal["interval", "continuous"] = "interval"
    price: Literal["mark", "index"] = "mark"
    rate_period_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 28_800_000_000_000
    formula: Literal["interest_band", "premium", "dead_zone"] = "interest_band"
    interest_ppb: Annotated[int, Meta(ge=-c.PPB, le=c.PPB)] = 0  # per rate_period
    band_ppb: Annotated[int, Meta(ge=0, le=c.PPB)] = 0
    sample_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 60_000_000_000
    window_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 28_800_000_000_000


class Trigger(Frozen, frozen=True, kw_only=True):
    """Axis A: the levels of a margin domain (R73, R92-R95).

    Health is equity against maintenance margin at mark. `restrict` cancels opening orders and
    refuses new ones while equity is below initial margin. `backstop_ppm` of maintenance is where
    orders stop and the waterfall begins at once. `exit` is what ends a liquidation. With a
    `second_price` the domain must be in breach at that price too. `cure_ns` gives a margin call
    that CHECK_MARGIN finds this long to be cured.
    """

    comparison: Literal["below", "at_or_below"] = "below"
    warn_ppm: Multiple = 0
    restrict: Literal["none", "initial"] = "none"
    backstop_ppm: Ppm = 0
    exit: Literal["maintenance", "buffer", "initial"] = "maintenance"
    exit_buffer_ppm: Ppm = 0
    second_price: Literal["none", "average_last"] = "none"
    average_half_life_ns: Nanoseconds = 60_000_000_000
    cure_ns: Nanoseconds = 0


class Step(Frozen, frozen=True, kw_only=True):
    """One order step of a liquidation (R87): when it applies, how much, where and at what price.

    `above` applies it only to positions of more notional, `from_tier` only from that tier (from
    1) on, `once_in_ns` not again so soon after this domain's last such step. `fraction_ppm`,
    `tiers_down` (0: to the lowest) and `chunk_lots` belong to their sizes; `floor` and `cap`
    bound any size by notional, `window_lots` in `window_ns` for the whole market. `transfer`
    hands the lots to the BACKSTOP account instead of the book; `rest` leaves what was not filled in
    the book while the domain waits (R133). `pause_ns` lets the domain rest
    before it is looked at again; a pausing step that filled nothing below zero equity goes on.
    """

    size: Literal["all", "cover_shortage", "fraction", "lower_tier", "chunk"]
    fraction_ppm: Annotated[int, Meta(ge=1, le=c.PPM)] = c.PPM
    tiers_down: Annotated[int, Meta(ge=0, le=c.TIERS_MAX)] = 0
    chunk_lots: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)] = 1
    floor: DecimalText = "0"
    cap: DecimalText = "0"  # 0: none
    above: DecimalText = "0"
    from_tier: Annotated[int, Meta(ge=1, le=c.TIERS_MAX)] = 1
    once_in_ns: Nanoseconds = 0
    window_lots: Lots = 0  # 0: no window
    window_ns: Nanoseconds = 0
    order: Literal["ioc", "fok", "rest", "transfer"] = "ioc"
    limit: Literal["bankruptcy", "spread", "mark", "touch", "none"] = "bankruptcy"
    limit_ppm: Multiple = 0  # beyond mark or touch; of `spread`, per unit of maintenance rate
    pause_ns: Nanoseconds = 0
    ramp_ppm: Ppm = 0  # of `cover_shortage`: share of the shortage that may be covered at once,
    ramp_ns: Nanoseconds = 0  # growing to all of it over this time


class Liquidation(Frozen, frozen=True, kw_only=True):
    """Axes B, C and H: what is done to a domain in breach, in which order (R75-R79, R87, R88)."""

    cancel: Literal["none", "market", "account"] = "account"
    net_hedged: bool = False
    sell_collateral: Literal["last", "first"] = "last"
    select: Literal["largest", "largest_loss", "random"] = "largest"
    lowest_tier_closes_all: bool = False  # below the lowest tier's requirement no step is tried
    drawdown_closes_all: bool = False  # no step is tried while the fund's drawdown rule is active
    steps: Annotated[list[Step], Meta(max_length=c.STEPS_MAX)]
    fee_cap: Literal["equity", "surplus", "faded"] = "equity"
    fee_to: Literal["fund", "venue"] = "fund"
    surplus: Literal["to_user", "to_fund"]
    order: Literal["account", "worst_first", "random"] = "account"
    phase: Literal["per_account", "adl_last"] = "per_account"


AbsorberName = Literal[
    "insurance_fund",
    "fund_payment",
    "adl",
    "volunteers",
    "covered_book",
    "vault",
    "pool",
    "retry",
    "fund_unlimited",
    "loss_sharing",
]
ShareName = Literal[
    "queue_full",
    "queue_partial",
    "queue_lots",
    "smart_queue",
    "profit_queue",
    "lottery",
    "wealth_pro_rata",
    "capped_pro_rata",
    "weighted_pro_rata",
    "risk_pro_rata",
    "contract_pro_rata",
    "wealth_to_lots",
    "min_max_haircut",
    "min_max_leverage",
    "vector_descent",
    "severity",
    "any_side_queue",
    "size_levy",
    "profit_clawback",
    "withdrawal_levy",
    "profit_scaling",
    "side_scaling",
    "gains_haircut",
]


class Sharing(Frozen, frozen=True, kw_only=True):
    """What the policies of `adl_policy` and `sharing_policy` read: docs/policies.md says which."""

    score: Literal[
        "gain_leverage",
        "profit_pct_leverage",
        "leverage_over_bankruptcy",
        "leverage_over_mark",
        "profit_times_leverage",
        "profit_over_equity",
        "size",
        "profit",
        "endowment",
    ] = "profit"
    weight: Literal["endowment", "profit", "equity", "notional", "leveraged_endowment"] = (
        "endowment"
    )
    exponent: Annotated[int, Meta(ge=0, le=16)] = 2
    threshold_ppm: Multiple = 0
    haircut_max_ppm: Ppm = c.PPM
    equity_min: DecimalText = "0"
    tries_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000_000
    theta_ppm: Ppm = c.PPM
    withdrawal_ppm: Ppm = c.PPM
    matured_ppm: Ppm = c.PPM


class Losses(Frozen, frozen=True, kw_only=True):
    """Axes D to G: who absorbs what the book did not, in order, and who pays what is missing."""

    waterfall: Annotated[list[AbsorberName], Meta(min_length=1, max_length=c.WATERFALL_MAX)]
    adl_score: Literal[
        "wallet_pct_margin_ratio",
        "profit_times_leverage",
        "return_times_leverage",
        "price_gain_times_leverage",
        "random",
        "none",
    ]
    adl_candidates: Literal["opposite", "winners"] = "opposite"
    adl_policy: Literal["ranking", ShareName] = (
        "ranking"  # or how lots are shared out over the candidates (R138)
    )
    adl_price: Literal["bankruptcy", "mark", "previous_mark", "mark_unless_fund_low"] = "bankruptcy"
    adl_cancel: Literal["none", "market", "account"] = "market"
    adl_fee: Literal["none", "maker_taker"] = "none"  # maker's of the winner, taker's of the other
    fund_scope: Literal["venue", "group", "market"] = "venue"  # group: `markets.*.fund_group`
    fund_inventory_ppm: Multiple = c.PPM
    fund_disposal: Literal["keep", "rest"] = "keep"  # of inventory: an order where it was taken
    fund_pays: bool = True  # false: the fund never pays into an account
    fund_low: DecimalText = "0"  # the fund below this is low: `mark_unless_fund_low`
    drawdown_ppm: Ppm = 0  # 0: no drawdown rule; else ADL starts when the fund fell this much
    drawdown_stop_ppm: Ppm = 0
    drawdown_window_ns: Nanoseconds = 28_800_000_000_000
    fund_cap: DecimalText = "0"  # most the fund pays in one window; 0: what it has
    fund_cap_window_ns: Nanoseconds = 0  # 0: one window for ever
    fund_cap_scope: Literal["fund", "market"] = "fund"  # whose window it is
    sharing_policy: ShareName = "wealth_pro_rata"  # of the absorber `loss_sharing` (R139)
    sharing: Sharing = Sharing()  # what the policies of R138 and R139 read
    volunteer_edge_ppm: Ppm = 0
    covered_band_ppm: Ppm = 0
    retry_ns: Annotated[int, Meta(ge=1, le=c.TIME_MAX_NS)] = 1_000_000_000
    residual: Literal[
        "fund",
        "debt",
        "negative_left",
        "socialise_positions",
        "socialise_profit",
        "withdrawal_haircut",
        "pool",
    ] = "fund"
    profit_scope: Literal["account", "market"] = "account"  # of `socialise_profit`
    profit_lock: bool = False  # profit since the last settlement cannot be withdrawn
    gate_ns: Nanoseconds = 0  # `negative_left`: withdrawals wait this long
    waive_after_ns: Nanoseconds = 0  # `debt`: written off by CHECK_MARGIN after this; 0: never
    pool_profit_ppm: Multiple = 0  # a side's profit above this share of the pool is cut (R131)
    pool_profit_stop_ppm: Multiple = 0  # to this share; 0 for the first: never

    @property
    def limits_fund(self) -> bool:
        """Whether the fund may keep money although an account's loss is not paid."""
        return not self.fund_pays or self.fund_cap != "0" or self.drawdown_ppm > 0


class Evidence(Frozen, frozen=True, kw_only=True):
    """Where a number comes from. `assumed` fields are listed by every report.

    `field` is a path: `losses.adl_score`, `markets.BTC.tiers[0].leverage_max`, `markets.*.tick`;
    several last names with commas. It speaks for everything below it unless a longer path does.
    A `source` that begins with `not modelled: ` is a rule of the venue that no choice expresses.
    """

    field: Annotated[str, Meta(min_length=1, max_length=200)]
    source: Annotated[str, Meta(min_length=1, max_length=1000)]
    status: Literal["published", "third_party", "assumed"]


class Settlement(Frozen, frozen=True, kw_only=True):
    """The asset every balance is kept in; `decimals` fixes the smallest unit of money."""

    asset: Name
    decimals: Annotated[int, Meta(ge=0, le=12)]


class Tier(Frozen, frozen=True, kw_only=True):
    """One margin tier: notional (or entry value) up to and including `notional_to`, in settlement
    money, or with `tier_by = "contracts"` size up to and including `lots_to`."""

    notional_to: DecimalText | None = None
    lots_to: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)] | None = None
    leverage_max: Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)]
    maintenance_ppm: Ppm
    initial_ppm: Ppm | None = None  # one over leverage_max if not given


class TierSteps(Frozen, frozen=True, kw_only=True):
    """Tiers by rule: the first up to `base`, then one for every further `step`, each adding
    `maintenance_ppm` to the maintenance rate and to the initial rate."""

    base: DecimalText
    step: DecimalText
    count: Annotated[int, Meta(ge=1, le=c.TIERS_MAX)]
    maintenance_ppm: Ppm
    initial_ppm: Ppm


class Market(Frozen, frozen=True, kw_only=True):
    """One contract. Linear: `lot` is base per lot. Inverse: `lot` is the face value per lot.

    Quanto: linear, with one price unit of one `lot` worth `multiplier` of the settlement asset.
    `slope_per_coin` adds to both margin rates per coin of size (a fraction as decimal text),
    `sqrt_per_coin` makes the rate at least 0.8 of the tier's plus this times the root of the size
    in coin. Between the open interests of `scaling` (in settlement money, at mark) the initial
    rate rises to one. A `collateral` is an asset held, valued with `haircut_ppm` off.
    """

    symbol: Name
    payoff: Literal["linear", "inverse", "quanto"]
    contract: Literal["future", "collateral"] = "future"
    haircut_ppm: Ppm = 0
    multiplier: DecimalText = "1"
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
    funding_cap_ppb: Annotated[int, Meta(ge=0, le=c.PPB)] | None = None  # instead of the venue's
    fund_group: Name | None = None  # markets of one group share an insurance fund (R130)
    tiers: Annotated[list[Tier], Meta(max_length=c.TIERS_MAX)] = []
    tier_steps: TierSteps | None = None
    slope_per_coin: DecimalText = "0"
    initial_slope_per_coin: DecimalText | None = None  # of the initial rate; the same if not given
    sqrt_per_coin: DecimalText = "0"
    scaling: Annotated[list[DecimalText], Meta(min_length=2, max_length=2)] | None = None


class VenueProfile(Frozen, frozen=True, kw_only=True):
    """Everything the engine knows of a venue. See `venues/` for examples."""

    name: Name
    as_of: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    settlement: Settlement
    margin: Margin
    mark: Mark
    funding: Funding
    trigger: Trigger = Trigger()
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
