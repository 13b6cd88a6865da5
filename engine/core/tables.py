"""VenueTables: a profile, as integers, in the State block; and the making of that block.

The only core file that knows `venue`. It sizes every table from the capacities, so that whatever
was admitted has room, and writes the profile's switches and numbers where the kernels read them.
"""

import numpy as np

from engine.bearers import Score, SharePolicy, Weight
from engine.constants import (
    BASIS_SAMPLES_MAX,
    FIRST_USER_ID,
    STEPS_MAX,
    Absorber,
    AdlCandidates,
    AdlPrice,
    AdlScore,
    Contract,
    Exit,
    FeeCap,
    MarkSource,
    QueueOrder,
    Residual,
    Scope,
    Select,
    SurplusRule,
    SystemAccount,
    TierBy,
    TierMode,
)
from engine.core import records
from engine.core.adl_index import CELLS, EDGES, LINES, USED_WORDS
from engine.core.arithmetic import inverse_of
from engine.core.policies import COLUMNS, OPTION_WORDS
from engine.core.slots import home_slot
from engine.core.state import HEADER_WORDS, LADDERS_PER_MARKET, MAGIC, H, Ladders
from engine.profile import Liquidation, Losses, Trigger, VenueProfile
from engine.venue import (
    Capacities,
    DepthCurve,
    MarketNumbers,
    market_numbers,
    policy_numbers,
)

TRIGGER_BUCKETS_MAX = 1 << 20  # of one trigger ladder; coarser buckets only fire earlier
LINE = 64  # bytes; tables start on a cache line


def power_of_two(least: int) -> int:
    """The smallest power of two that is not below `least`."""
    return 1 << max(1, (least - 1).bit_length())


def bucket_shift(numbers: MarketNumbers) -> int:
    """How much coarser than a price unit the trigger buckets of a market are."""
    return max(0, (numbers.price_max + 2).bit_length() - TRIGGER_BUCKETS_MAX.bit_length() + 1)


def ladder_sizes(numbers: MarketNumbers) -> list[int]:
    """Bits of each ladder of a market: ticks for the book, buckets for the triggers."""
    book = numbers.price_max // numbers.tick_price + 1
    triggers = (numbers.price_max >> bucket_shift(numbers)) + 2
    return [book] + [triggers] * (LADDERS_PER_MARKET - 1)


def bitmap_words(size: int) -> tuple[int, int, int, int]:
    """Words of the four levels of a bitmap, leaves first."""
    levels = []
    for _ in range(4):
        size = (size + 63) // 64
        levels.append(size)
    assert levels[3] == 1, "a ladder holds at most 2**24 positions"
    return tuple(levels)


def remembers(curve: DepthCurve) -> bool:
    """Whether what our orders take from recorded depth is remembered."""
    return not curve.levels and curve.refill_half_life_ns != 0


def own_funds(markets: list[MarketNumbers]) -> list[int]:
    """Account ids of the insurance funds besides the venue's, in the order of their rows."""
    venue = SystemAccount.INSURANCE_FUND
    return list(dict.fromkeys(m.fund_id for m in markets if m.fund_id != venue))


def system_rows(markets: list[MarketNumbers]) -> int:
    """How many accounts are the venue's own: the first rows."""
    return len(SystemAccount) + len(own_funds(markets))


def table_rows(
    markets: list[MarketNumbers], capacities: Capacities, curves: dict[int, DepthCurve]
) -> dict[str, int]:
    """Rows of every table, row 0 included."""
    system = system_rows(markets)
    quotes = 2 * sum(len(curve.levels) for curve in curves.values())
    accounts = 1 + system + capacities.accounts_max
    # a fund of its own holds positions in the markets that it answers for
    positions = 1 + (len(SystemAccount) + 1) * len(markets) + capacities.positions_max
    orders = 1 + capacities.orders_max + quotes + 1
    sizes = [ladder_sizes(numbers) for numbers in markets]
    levels = 1 + sum(size[0] for size in sizes)
    return {
        "ACCOUNTS": accounts,
        "POSITIONS": positions,
        "LEG_LINKS": positions,
        "REDUCING": positions,
        "NODES": 2 * positions,
        "ORDERS": orders,
        "TRIGGERS": orders,
        "MARKETS": 1 + len(markets),
        "TIERS": 1 + sum(len(numbers.tier_to) for numbers in markets),
        "LEVELS": levels,
        "BUCKETS": 1 + sum(sum(size[1:]) for size in sizes),
        "WORDS": 1 + sum(sum(bitmap_words(bits)) for size in sizes for bits in size),
        "LADDERS": LADDERS_PER_MARKET * (1 + len(markets)),
        "ACCOUNT_SLOTS": power_of_two(2 * max(accounts, FIRST_USER_ID)),
        "ORDER_SLOTS": power_of_two(orders),
        "ORDER_LINKS": orders,
        "TOUCHED": 2 * (accounts + positions),
        "BREACHED": accounts + positions,
        "LIQUIDATIONS": power_of_two(accounts + positions + 1),
        "STOPS": power_of_two(orders + 1),
        "REACHED": orders,
        "RANKS": positions + 1,
        "CURVES": 1 + quotes,
        "BASIS": 1 + BASIS_SAMPLES_MAX * len(markets),
        "STALE": 1 + len(markets),
        "CASES": accounts + positions,
        "STEPS": STEPS_MAX,
        "WAITING": accounts + positions,
        "GATED": accounts + positions,
        "ADL_QUEUE": power_of_two(accounts + positions + 1),
        "VOLUNTEERS": positions,
        "PEAKS": records.PEAK_PARTS * (1 + system),
        "FUNDS": 1 + system + len(markets),
        "ADL_NODES": positions,
        "ADL_GRIDS": 2 * (1 + len(markets)),
        "ADL_CELLS": CELLS * 2 * (1 + len(markets)),
        "ADL_LINES": LINES * 2 * (1 + len(markets)),
        "ADL_USED": USED_WORDS * 2 * (1 + len(markets)),
        "ADL_EDGES": EDGES * 2 * (1 + len(markets)),
        "ADL_HEAP": LINES + 1,
        "ADL_ORDER": positions,
        "SHARES": OPTION_WORDS + COLUMNS * positions,
        "TICKETS": 1,
        "LACKING": levels if any(remembers(curve) for curve in curves.values()) else 1,
    }


MARKET_CONSTANTS = (
    "payoff",
    "contract",
    "haircut_ppm",
    "slope_ppb",
    "initial_slope_ppb",
    "slope_unit",
    "sqrt_square",
    "scaling_from",
    "scaling_to",
    "funding_cap_ppb",
    "tick_price",
    "price_min",
    "price_max",
    "unit_quote",
    "face_quote",
    "order_lots_min",
    "order_lots_max",
    "open_interest_lots_max",
    "leverage_default",
    "maker_fee_ppm",
    "taker_fee_ppm",
    "price_band_ppm",
    "liquidation_fee_ppm",
)


def events_per_unit_max(rows: dict[str, int]) -> int:
    """Most event rows one unit of work can append: every order traded (two fills, two margin
    moves) and every order cancelled, every position deleveraged, assigned three times, settled,
    paid funding or made to share a loss twice, every level entered or left twice, every account
    called and waived, every quote withdrawn and renewed, every mark set, and the unit's own few."""
    return (
        5 * rows["ORDERS"]
        + 18 * rows["POSITIONS"]
        + 6 * rows["ACCOUNTS"]
        + 2 * rows["CURVES"]
        + rows["MARKETS"]
        + 64
    )


class Block:
    """The State block: its memory, the address kernels take, and views for Python.

    `memory` is an int64 array; `address` stays valid as long as the Block lives.
    """

    def __init__(self, rows: dict[str, int]) -> None:
        self.rows = rows
        offset = HEADER_WORDS * 8
        self.offsets: dict[str, int] = {}
        for name, count in rows.items():
            offset = -(-offset // LINE) * LINE
            self.offsets[name] = offset
            offset += count * records.TABLES[name].itemsize
        self.memory = np.zeros(offset // 8 + 2 * LINE // 8, dtype=np.int64)
        shift = -self.memory.ctypes.data % LINE // 8
        self.words = self.memory[shift:]
        self.address = self.words.ctypes.data
        self.words[H.MAGIC] = MAGIC
        self.rebase()

    def rebase(self) -> None:
        """Write the addresses of the tables into the header: after making or copying a block."""
        for name, count in self.rows.items():
            self.words[H[f"{name}_AT"]] = self.address + self.offsets[name]
            self.words[H[f"{name}_ROWS"]] = count

    def table(self, name: str) -> np.ndarray:
        """A view of a whole table, row 0 included."""
        dtype = records.TABLES[name]
        start = self.offsets[name]
        raw = self.words.view(np.uint8)[start : start + self.rows[name] * dtype.itemsize]
        return raw.view(dtype)


def allocate(
    profile: VenueProfile,
    capacities: Capacities,
    curves: dict[int, DepthCurve],
    feedback_ppm: int,
    check_index: bool,
) -> Block:
    """A fresh exchange: empty tables, system accounts, the profile's switches and numbers."""
    numbers = [market_numbers(profile, market) for market in profile.markets]
    block = Block(table_rows(numbers, capacities, curves))
    words = block.words
    words[H.MARKETS_COUNT] = len(numbers)
    words[H.USERS_MAX] = capacities.accounts_max
    words[H.USER_POSITIONS_MAX] = capacities.positions_max
    words[H.USER_ORDERS_MAX] = capacities.orders_max
    words[H.FEEDBACK_PPM] = feedback_ppm
    words[H.CHECK_INDEX] = int(check_index)
    write_switches(words, profile)
    write_steps(block, profile)
    fund_rows = write_accounts(block, numbers)
    cursor = {"TIERS": 1, "LEVELS": 1, "BUCKETS": 1, "WORDS": 1, "CURVES": 1, "BASIS": 1}
    for market_id, market in enumerate(numbers, start=1):
        write_market(block, market_id, market, cursor, is_plain(profile, market))
        block.table("MARKETS")[market_id]["fund_row"] = fund_rows[market.fund_id]
        write_curve(block, market_id, curves.get(market_id), cursor)
        write_ladders(block, market_id, market, cursor)
    return block


def write_accounts(block: Block, markets: list[MarketNumbers]) -> dict[int, int]:
    """The venue's own accounts; returns the row of each."""
    accounts, slots = block.table("ACCOUNTS"), block.table("ACCOUNT_SLOTS")
    home = getattr(home_slot, "py_func", home_slot)  # an inner kernel cannot be called from here
    ids = [*map(int, SystemAccount), *own_funds(markets)]
    rows = {account_id: row for row, account_id in enumerate(ids, start=1)}
    for account_id, row in rows.items():
        accounts[row]["account_id"] = account_id
        slot = home(len(slots), account_id)
        while slots[slot]:
            slot = (slot + 1) % len(slots)
        slots[slot] = row
    block.words[H.ACCOUNTS_COUNT] = block.words[H.SYSTEM_ROWS] = len(rows)
    return rows


def write_switches(words: np.ndarray, profile: VenueProfile) -> None:
    """The profile's named behaviours as integers in the header."""
    margin, mark, funding = profile.margin, profile.mark, profile.funding
    words[H.TIER_MODE] = TierMode[margin.tier_mode.upper()]
    words[H.TIER_BY] = TierBy[margin.tier_by.upper()]
    if margin.maintenance == "share_of_initial":
        words[H.SHARE_OF_INITIAL_PPM] = margin.initial_share_ppm
    words[H.INITIAL_BY_TIERS] = margin.initial == "tiers"
    words[H.WORST_CASE_ORDERS] = margin.worst_case_orders
    words[H.CLOSE_FEE] = margin.close_fee == "taker"
    words[H.BANKRUPTCY_FEE] = margin.bankruptcy_fee
    words[H.SPLIT_BY_MAINTENANCE] = margin.bankruptcy_split == "by_maintenance"
    words[H.MARK_SOURCE] = MarkSource[mark.source.upper()]
    words[H.BASIS_SAMPLES] = mark.basis_samples
    words[H.BASIS_INTERVAL_NS] = mark.basis_interval_ns
    words[H.FUNDING_INTERVAL_NS] = funding.interval_ns
    words[H.FUNDING_CONTINUOUS] = funding.accrual == "continuous"
    words[H.FUNDING_ON_INDEX] = funding.price == "index"
    words[H.RATE_PERIOD_NS] = funding.rate_period_ns
    write_trigger(words, profile.trigger)
    write_liquidation(words, profile.liquidation)
    write_losses(words, profile.losses)
    amounts = policy_numbers(profile)
    words[H.FUND_LOW_QUOTE] = amounts.fund_low_quote
    words[H.FUND_CAP_QUOTE] = amounts.fund_cap_quote
    words[H.SHARE_EQUITY_MIN_QUOTE] = amounts.equity_min_quote


def write_trigger(words: np.ndarray, trigger: Trigger) -> None:
    """Axis A."""
    words[H.AT_OR_BELOW] = trigger.comparison == "at_or_below"
    words[H.WARN_PPM] = trigger.warn_ppm
    words[H.RESTRICT] = trigger.restrict == "initial"
    words[H.BACKSTOP_PPM] = trigger.backstop_ppm
    words[H.EXIT] = Exit[trigger.exit.upper()]
    words[H.EXIT_BUFFER_PPM] = trigger.exit_buffer_ppm
    words[H.SECOND_PRICE] = trigger.second_price != "none"
    words[H.AVERAGE_HALF_LIFE_NS] = trigger.average_half_life_ns
    words[H.CURE_NS] = trigger.cure_ns


def write_liquidation(words: np.ndarray, rules: Liquidation) -> None:
    """Axes B, C and H."""
    words[H.CANCEL_SCOPE] = Scope[rules.cancel.upper()]
    words[H.NET_HEDGED] = rules.net_hedged
    words[H.COLLATERAL_FIRST] = rules.sell_collateral == "first"
    words[H.SELECT] = Select[rules.select.upper()]
    words[H.LOWEST_TIER_CLOSES_ALL] = rules.lowest_tier_closes_all
    words[H.DRAWDOWN_CLOSES_ALL] = rules.drawdown_closes_all
    words[H.HAS_RAMP] = any(step.ramp_ns or step.ramp_ppm for step in rules.steps)
    words[H.FEE_CAP] = FeeCap[rules.fee_cap.upper()]
    words[H.FEE_TO_VENUE] = rules.fee_to == "venue"
    words[H.SURPLUS_RULE] = SurplusRule[rules.surplus.upper()]
    words[H.QUEUE_ORDER] = QueueOrder[rules.order.upper()]
    words[H.ADL_LAST] = rules.phase == "adl_last"


def write_losses(words: np.ndarray, losses: Losses) -> None:
    """Axes D to G."""
    words[H.ADL_SCORE] = AdlScore[losses.adl_score.upper()]
    write_sharing(words, losses)
    words[H.ADL_CANDIDATES] = AdlCandidates[losses.adl_candidates.upper()]
    words[H.ADL_PRICE] = AdlPrice[losses.adl_price.upper()]
    words[H.ADL_FEE] = losses.adl_fee == "maker_taker"
    words[H.ADL_CANCEL] = Scope[losses.adl_cancel.upper()]
    words[H.FUND_INVENTORY_PPM] = losses.fund_inventory_ppm
    words[H.FUND_RESTS] = losses.fund_disposal == "rest"
    words[H.FUND_PAYS] = losses.fund_pays
    words[H.FUND_CAP_WINDOW_NS] = losses.fund_cap_window_ns
    words[H.FUND_CAP_BY_MARKET] = losses.fund_cap_scope == "market"
    words[H.POOL_PROFIT_PPM] = losses.pool_profit_ppm
    words[H.POOL_PROFIT_STOP_PPM] = losses.pool_profit_stop_ppm
    words[H.DRAWDOWN_PPM] = losses.drawdown_ppm
    words[H.DRAWDOWN_STOP_PPM] = losses.drawdown_stop_ppm
    words[H.DRAWDOWN_PART_NS] = max(1, losses.drawdown_window_ns // records.PEAK_PARTS)
    words[H.VOLUNTEER_EDGE_PPM] = losses.volunteer_edge_ppm
    words[H.COVERED_BAND_PPM] = losses.covered_band_ppm
    words[H.RETRY_NS] = losses.retry_ns
    words[H.RESIDUAL] = Residual[losses.residual.upper()]
    words[H.PROFIT_BY_MARKET] = losses.profit_scope == "market"
    words[H.PROFIT_LOCK] = losses.profit_lock
    words[H.GATE_NS] = losses.gate_ns
    words[H.WAIVE_AFTER_NS] = losses.waive_after_ns
    words[H.WATERFALL_COUNT] = len(losses.waterfall)
    for index, absorber in enumerate(losses.waterfall):
        words[H.WATERFALL_1 + index] = Absorber[absorber.upper()]


def write_sharing(words: np.ndarray, losses: Losses) -> None:
    """Policies that share a loss out, and what they read."""
    sharing = losses.sharing
    words[H.ADL_POLICY] = SharePolicy[losses.adl_policy.upper()]
    words[H.SHARING_POLICY] = SharePolicy[losses.sharing_policy.upper()]
    words[H.SHARE_SCORE] = Score[sharing.score.upper()]
    words[H.SHARE_WEIGHT] = Weight[sharing.weight.upper()]
    words[H.SHARE_EXPONENT] = sharing.exponent
    words[H.SHARE_THRESHOLD_PPM] = sharing.threshold_ppm
    words[H.SHARE_HAIRCUT_MAX_PPM] = sharing.haircut_max_ppm
    words[H.SHARE_TRIES_MAX] = sharing.tries_max
    words[H.SHARE_THETA_PPM] = sharing.theta_ppm
    words[H.SHARE_WITHDRAWAL_PPM] = sharing.withdrawal_ppm
    words[H.SHARE_MATURED_PPM] = sharing.matured_ppm


def write_steps(block: Block, profile: VenueProfile) -> None:
    """The order steps of a liquidation."""
    steps = policy_numbers(profile).steps
    block.words[H.STEPS_COUNT] = len(steps)
    for index, step in enumerate(steps):
        row = block.table("STEPS")[index]
        for name in records.STEP.names:
            row[name] = getattr(step, name)


def is_plain(profile: VenueProfile, numbers: MarketNumbers) -> bool:
    """Whether maintenance follows from notional and tiers alone, which is most venues' case."""
    rules = profile.margin
    simple = rules.maintenance == "tiers" and rules.close_fee == "none"
    simple = simple and rules.tier_by == "notional" and not rules.worst_case_orders
    curved = numbers.initial_slope_ppb or numbers.sqrt_square or numbers.contract != Contract.FUTURE
    return simple and not curved


def write_market(
    block: Block,
    market_id: int,
    numbers: MarketNumbers,
    cursor: dict[str, int],
    plain: bool,
) -> None:
    """The constants and tiers of one market."""
    market = block.table("MARKETS")[market_id]
    for name in MARKET_CONSTANTS:
        market[name] = getattr(numbers, name)
    market["market_id"] = market_id
    market["tick_inverse"] = inverse_of(numbers.tick_price, numbers.price_max)
    market["plain"] = plain
    market["tiers_count"] = len(numbers.tier_to)
    market["tier_row"] = cursor["TIERS"]
    market["basis_row"] = cursor["BASIS"]
    market["bucket_shift"] = bucket_shift(numbers)
    cursor["BASIS"] += BASIS_SAMPLES_MAX
    for index in range(len(numbers.tier_to)):
        tier = block.table("TIERS")[cursor["TIERS"]]
        tier["notional_to"] = numbers.tier_to[index]
        tier["leverage_max"] = numbers.tier_leverage_max[index]
        tier["maintenance_ppm"] = numbers.tier_maintenance_ppm[index]
        tier["deduction_quote"] = numbers.tier_deduction[index]
        tier["initial_ppm"] = numbers.tier_initial_ppm[index]
        cursor["TIERS"] += 1


def write_curve(
    block: Block, market_id: int, curve: DepthCurve | None, cursor: dict[str, int]
) -> None:
    """How the market maker quotes in one market: a curve, bids then asks, or recorded depth."""
    if curve is None:
        return
    market = block.table("MARKETS")[market_id]
    if not curve.levels:
        market["memory_ns"] = curve.refill_half_life_ns
        return
    market["curve_row"] = cursor["CURVES"]
    market["curve_levels"] = len(curve.levels)
    market["half_life_ns"] = curve.refill_half_life_ns
    market["calm_ppm"] = curve.volatility_ppm
    market["volatility_half_life_ns"] = curve.volatility_half_life_ns
    market["permanent_ppm"] = curve.permanent_ppm
    table = block.table("CURVES")
    for level in [*curve.levels, *curve.levels]:
        table[cursor["CURVES"]]["offset_ppm"] = level.offset_ppm
        table[cursor["CURVES"]]["target_lots"] = level.lots
        cursor["CURVES"] += 1


def write_ladders(
    block: Block, market_id: int, numbers: MarketNumbers, cursor: dict[str, int]
) -> None:
    """Where each ladder of one market has its words and heads."""
    for kind, size in enumerate(ladder_sizes(numbers)):
        ladder = block.table("LADDERS")[market_id * LADDERS_PER_MARKET + kind]
        ladder["size"] = size
        for level, count in enumerate(bitmap_words(size)):
            ladder[f"word_{level}"] = cursor["WORDS"]
            cursor["WORDS"] += count
        if kind == Ladders.BOOK:
            block.table("MARKETS")[market_id]["level_row"] = cursor["LEVELS"]
            cursor["LEVELS"] += size
        else:
            ladder["bucket_row"] = cursor["BUCKETS"]
            cursor["BUCKETS"] += size
