"""Sizes, limits and fees of liquidation orders. Implements R70, R79, R101 and R111-R115."""

from engine.constants import PPB, PPM, Channel, Exit, FeeCap, Limit, Payoff, Side, Size, TierBy
from engine.core.arithmetic import divide_down, mul_div, mul_div_bounded, mul_div_up
from engine.core.book import best_price
from engine.core.fund import allowance, book_fee, pay_from_fund
from engine.core.kernel import INT, NOTHING, kernel, part
from engine.core.ledger import (
    case_row,
    domain_health,
    exit_requirement,
    position_maintenance,
    position_notional,
)
from engine.core.margin import (
    bankruptcy_price,
    fee,
    notional,
    price_beside,
    shortage_lots,
    tier_of,
    value,
)
from engine.core.records import HAD_ONCE
from engine.core.state import H, cases, header, markets, positions, steps, tiers


@part(INT)
def tier_row_of(s, position_row):
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    size = position_notional(s, position_row)
    return tier_of(s, market, position["lots"], size, position["entry_quote"])


@kernel
def lots_of(quote, held, size, up):
    """Part of R111: lots whose share of the position's notional is this amount."""
    if size == 0 or quote >= size:
        return held
    return mul_div_up(quote, held, size) if up != 0 else mul_div(quote, held, size)


@part(INT)
def step_lots(s, account_row, domain_row, position_row, step_index):
    """Implements R111."""
    step = steps(s)[step_index]
    position = positions(s)[position_row]
    held = abs(position["lots"])
    size = position_notional(s, position_row)
    market = markets(s)[position["market_id"]]
    case = cases(s)[case_row(s, account_row, domain_row)]
    now_ns = header(s)[H.NOW_NS]
    if tier_row_of(s, position_row) - market["tier_row"] + 1 < step["from_tier"]:
        return 0
    if case["bits"] & HAD_ONCE != 0 and now_ns - case["once_ns"] < step["once_in_ns"]:
        return 0
    if step["above_quote"] != 0 and size <= step["above_quote"]:
        return 0
    if step["channel"] == Channel.REST and domain_health(s, account_row, domain_row)[0] < 0:
        return 0
    lots = wanted_lots(s, account_row, domain_row, position_row, step_index)
    if lots != 0 and step["floor_quote"] != 0:
        lots = max(lots, lots_of(step["floor_quote"], held, size, 1))
    if lots != 0 and step["cap_quote"] != 0:
        lots = min(lots, max(1, lots_of(step["cap_quote"], held, size, 0)))
    if step["window_lots"] != 0:
        over = now_ns - market["window_start_ns"] >= step["window_ns"]
        used = 0 if over else min(market["window_lots"], step["window_lots"])
        lots = min(lots, step["window_lots"] - used)
    return min(lots, held)


@kernel
def use_window(s, market, step, lots):
    """Implements R112."""
    now_ns = header(s)[H.NOW_NS]
    if market["window_lots"] == 0 or now_ns - market["window_start_ns"] >= step["window_ns"]:
        market["window_start_ns"] = now_ns
        market["window_lots"] = 0
    market["window_lots"] += lots


@part(INT)
def wanted_lots(s, account_row, domain_row, position_row, step_index):
    """Part of R111: by the step's own rule, before bounds."""
    step = steps(s)[step_index]
    position = positions(s)[position_row]
    held = abs(position["lots"])
    rule = step["size"]
    if rule == Size.FRACTION:
        return mul_div_up(held, step["fraction_ppm"], PPM)
    if rule == Size.CHUNK:
        return step["chunk_lots"]
    if rule == Size.LOWER_TIER:
        return tier_lots(s, position_row, step["tiers_down"])
    if rule == Size.COVER_SHORTAGE:
        size = position_notional(s, position_row)
        lacking = ramped(s, account_row, domain_row, step_index)
        fee_ppm = markets(s)[position["market_id"]]["liquidation_fee_ppm"]
        gain = covered_ppm(s, position_row, step_index) - fee_ppm
        return shortage_lots(held, size, gain, lacking)
    return held


@part(INT)
def shortage_of(s, account_row, domain_row):
    """Implements R72: what equity lacks to the exit level, negative if it is beyond."""
    equity = domain_health(s, account_row, domain_row)[0]
    return exit_requirement(s, account_row, domain_row) - equity


@kernel
def begin_ramp(s, account_row, domain_row):
    """Part of R128; returns the shortage before anything was done."""
    words = header(s)
    if words[H.HAS_RAMP] == 0:
        return 0
    case = cases(s)[case_row(s, account_row, domain_row)]
    if case["ramp_since_ns"] == 0:
        case["ramp_since_ns"] = max(1, words[H.NOW_NS])
    return shortage_of(s, account_row, domain_row)


@kernel
def count_freed(s, account_row, domain_row, before):
    """Part of R128: shortage covered by cancelling and closing counts towards the ramp."""
    case = cases(s)[case_row(s, account_row, domain_row)]
    if case["ramp_since_ns"] != 0:
        case["freed_quote"] += max(0, before - shortage_of(s, account_row, domain_row))


@kernel
def ramped(s, account_row, domain_row, step_index):
    """Implements R128."""
    step = steps(s)[step_index]
    left = shortage_of(s, account_row, domain_row)
    if step["ramp_ns"] == 0 and step["ramp_ppm"] == 0:
        return left
    case = cases(s)[case_row(s, account_row, domain_row)]
    waited_ns = 0
    if case["ramp_since_ns"] != 0:
        waited_ns = max(0, header(s)[H.NOW_NS] - case["ramp_since_ns"])
    grown = mul_div_bounded(waited_ns, PPM, max(1, step["ramp_ns"]), PPM)
    share_ppm = min(PPM, step["ramp_ppm"] + grown)
    freed = case["freed_quote"]
    whole = left + freed
    allowed = mul_div(whole, share_ppm, PPM) if whole > 0 else 0
    return max(0, min(left, allowed - freed))


@part(INT)
def covered_ppm(s, position_row, step_index):
    """Implements R72: the rate that closing at the step's price frees."""
    words = header(s)
    step = steps(s)[step_index]
    position = positions(s)[position_row]
    if words[H.EXIT] == Exit.INITIAL:
        rate_ppm = divide_down(PPM, position["leverage"])
    elif words[H.SHARE_OF_INITIAL_PPM] != 0:
        rate_ppm = divide_down(words[H.SHARE_OF_INITIAL_PPM], position["leverage"])
    else:
        rate_ppm = tiers(s)[tier_row_of(s, position_row)]["maintenance_ppm"]
    if words[H.EXIT] == Exit.BUFFER:
        rate_ppm += words[H.EXIT_BUFFER_PPM]
    if step["limit"] == Limit.MARK:
        rate_ppm -= step["limit_ppm"]
    return rate_ppm


@kernel
def tier_lots(s, position_row, tiers_down):
    """Implements R113."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    held = abs(position["lots"])
    index = tier_row_of(s, position_row) - market["tier_row"]
    if index == 0:
        return 0
    target = max(0, index - tiers_down) if tiers_down != 0 else 0
    bound = tiers(s)[market["tier_row"] + target]["notional_to"]
    if header(s)[H.TIER_BY] == TierBy.CONTRACTS:
        return max(0, held - bound)
    size = position_notional(s, position_row)
    return held - mul_div(bound, held, size) if size > bound else 0


# -- prices -----------------------------------------------------------------------------------


@part(INT)
def bankruptcy(s, account_row, domain_row, position_row):
    """Implements R70 for a position of a domain."""
    words = header(s)
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
    if words[H.SPLIT_BY_MAINTENANCE] != 0 and maintenance != 0:
        part_quote = position_maintenance(s, position_row)
        if equity < 0:
            equity = -mul_div_up(-equity, part_quote, maintenance)
        else:
            equity = mul_div(equity, part_quote, maintenance)
    fee_ppm = market["taker_fee_ppm"] if words[H.BANKRUPTCY_FEE] != 0 else 0
    return bankruptcy_price(market, position["lots"], market["mark_price"], equity, fee_ppm)


@part(INT)
def limit_price(s, account_row, domain_row, position_row, step_index, lots):
    """Implements R101."""
    step = steps(s)[step_index]
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    long = position["lots"] > 0
    rule = step["limit"]
    if rule == Limit.BANKRUPTCY:
        return bankruptcy(s, account_row, domain_row, position_row)
    if rule == Limit.MARK:
        return price_beside(market, position["lots"], market["mark_price"], step["limit_ppm"])
    if rule == Limit.TOUCH:
        return touch_price(market, position["lots"], step["limit_ppm"])
    if rule == Limit.SPREAD:
        return spread_price(s, account_row, domain_row, position_row, step["limit_ppm"], lots)
    return market["price_min"] if long else market["price_max"]


@kernel
def touch_price(market, lots, distance_ppm):
    """Part of R101: beside the best price on the other side; without one, where nothing trades."""
    best = best_price(market, Side.BUY.value if lots > 0 else Side.SELL.value)
    if best == 0:
        return market["price_max"] if lots > 0 else market["price_min"]
    return price_beside(market, lots, best, distance_ppm)


@part(INT)
def spread_price(s, account_row, domain_row, position_row, spread_ppm, lots):
    """Implements R114."""
    position = positions(s)[position_row]
    market = markets(s)[position["market_id"]]
    equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
    need = max(1, maintenance)
    short = min(max(need - equity, 0), need)
    rating = mul_div(short, PPB, need)
    whole = mul_div(position_maintenance(s, position_row), spread_ppm, PPM)
    spread = mul_div(whole, rating, PPB)
    price = bankruptcy_price(market, position["lots"], market["mark_price"], spread, 0)
    zero = bankruptcy(s, account_row, domain_row, position_row)
    change = lots if position["lots"] > 0 else -lots
    loss = value(market, change, zero) - value(market, change, price)
    return price if loss <= allowance(s, position["market_id"]) else zero


# -- fees -------------------------------------------------------------------------------------


@part(INT)
def fee_rate(s, account_row, domain_row, position_row, step_index):
    """Implements R115."""
    market = markets(s)[positions(s)[position_row]["market_id"]]
    rate_ppm = market["liquidation_fee_ppm"]
    if header(s)[H.FEE_CAP] == FeeCap.FADED:
        equity = domain_health(s, account_row, domain_row)[0]
        shortage = max(0, exit_requirement(s, account_row, domain_row) - equity)
        size = max(1, position_notional(s, position_row))
        share = mul_div_bounded(shortage, PPM, size, 4 * PPM)
        if share < 4 * PPM:
            share = mul_div_up(shortage, PPM, size)
        left = covered_ppm(s, position_row, step_index) - share
        rate_ppm = min(rate_ppm, max(0, left * 19 // 20))
    return rate_ppm


@part(NOTHING)
def charge_fee(s, account_row, domain_row, position_row, rate_ppm, zero, long, filled, traded):
    """Implements R79."""
    if filled == 0:
        return
    market_id = positions(s)[position_row]["market_id"]
    market = markets(s)[market_id]
    basis = traded
    if header(s)[H.FEE_CAP] == FeeCap.FADED:
        basis = notional(market, filled, market["mark_price"])
    charge = fee(basis, rate_ppm)
    if header(s)[H.FEE_CAP] == FeeCap.SURPLUS:
        surplus = traded - notional(market, filled, zero)
        if (market["payoff"] == Payoff.LINEAR) != (long != 0):
            surplus = -surplus
        charge = min(charge, max(0, surplus))
        if surplus < 0:
            pay_from_fund(s, account_row, domain_row, market_id, -surplus)
    charge = min(charge, max(0, domain_health(s, account_row, domain_row)[0]))
    if charge > 0:
        book_fee(s, account_row, domain_row, market_id, charge)
