"""The mark: taken from the tape, or derived from index, basis and last price by the profile.

Implements R51-R53 and R59. It decides what the mark is; what a new mark sets off is in `triggers`
and `step`.
"""

from engine.constants import PPM, MarkSource
from engine.core.arithmetic import mul_div_signed
from engine.core.kernel import inlined, kernel
from engine.core.margin import decayed, mean, premium_price
from engine.core.state import H, basis, header, markets, stale


@inlined
def touch_mark(s, market_id):
    """Implements R59: the market's mark is to be made anew at the end of the unit."""
    market = markets(s)[market_id]
    if market["stale"] == 0:
        market["stale"] = 1
        words = header(s)
        stale(s)[words[H.STALE_COUNT]] = market_id
        words[H.STALE_COUNT] += 1


@kernel
def sample_basis(s, market_id):
    """Implements R52: mid less index joins the last samples, at most once per interval."""
    words = header(s)
    market = markets(s)[market_id]
    bid, ask = market["best_bid_tick"], market["best_ask_tick"]
    if market["index_price"] == 0 or bid == 0 or ask == 0:
        return
    taken = market["basis_count"]
    waited_ns = words[H.NOW_NS] - market["basis_time_ns"]
    if taken != 0 and waited_ns < words[H.BASIS_INTERVAL_NS]:
        return
    sample = ((bid + ask) * market["tick_price"]) // 2 - market["index_price"]
    slot = market["basis_row"] + taken % words[H.BASIS_SAMPLES]
    market["basis_sum"] += sample - basis(s)[slot]
    basis(s)[slot] = sample
    market["basis_count"] = taken + 1
    market["basis_time_ns"] = words[H.NOW_NS]


@inlined
def median(a, b, c):
    return max(min(a, b), min(max(a, b), c))


@inlined
def derived_mark(s, market):
    """Implements R51."""
    words = header(s)
    index = market["index_price"]
    if index == 0:
        index = market["tape_mark_price"]
    interval_ns = words[H.FUNDING_INTERVAL_NS]
    left_ns = 0
    if market["funding_time_ns"] != 0:
        left_ns = max(0, market["funding_time_ns"] + interval_ns - words[H.NOW_NS])
    first = premium_price(index, market["funding_rate_ppb"], left_ns, interval_ns)
    second = index
    held = min(market["basis_count"], words[H.BASIS_SAMPLES])
    if held > 0:
        second += mean(market["basis_sum"], held)
    last = market["last_price"]
    if last == 0:
        last = index
    return median(first, second, last)


@kernel
def update_average(s, market):
    """Implements R93."""
    words = header(s)
    last = market["last_price"]
    if words[H.SECOND_PRICE] == 0 or last == 0:
        return
    elapsed_ns = words[H.NOW_NS] - market["average_time_ns"]
    market["average_time_ns"] = words[H.NOW_NS]
    if market["average_price"] == 0:
        market["average_price"] = last
        market["average_last"] = last
        return
    held = market["average_last"]
    gap = held - market["average_price"]
    left = decayed(abs(gap), elapsed_ns, words[H.AVERAGE_HALF_LIFE_NS])
    market["average_price"] = held - (left if gap > 0 else -left)
    market["average_last"] = last


@kernel
def mark_price(s, market_id):
    """Implements R53."""
    words = header(s)
    market = markets(s)[market_id]
    base = market["tape_mark_price"]
    if base == 0:
        base = market["index_price"]
    feedback = words[H.FEEDBACK_PPM]
    source = words[H.MARK_SOURCE]
    if source == MarkSource.INDEX:
        return market["index_price"] if market["index_price"] != 0 else base
    if source == MarkSource.LAST:
        return market["last_price"] if market["last_price"] != 0 else base
    if base == 0 or source == MarkSource.TAPE or feedback == 0:
        return base
    step = mul_div_signed(derived_mark(s, market) - base, feedback, PPM)
    return min(max(base + step, market["price_min"]), market["price_max"])
