"""A population drawn from a seed to match published aggregates.

Randomness is the raw 64-bit output of PCG64 and nothing else of numpy's generators, whose
derived streams may change with its version. Floats occur only between a raw draw and the whole
number it is rounded to, element by element; sums, orderings and money are integers. Two maths
libraries that differ in a last bit so give the same bytes, but for a draw within that bit of a
half. No account starts below maintenance at the first mark.
"""

from dataclasses import dataclass

import numpy as np

from engine.constants import FIRST_USER_ID, LOTS_MAX, MONEY_MAX, PPM
from engine.messages import DrawnMarket, DrawnPopulation
from engine.population import margins
from engine.population.columns import FitRow, Population, PopulationError, side_of
from engine.profile import Margin
from engine.venue import MarketNumbers

WEIGHT_UNIT = 1 << 10  # the smallest Pareto weight
WEIGHT_MAX = 1 << 36  # bounds weight * scale in int64; a tail beyond it meets lots_max anyway
SCALE_BITS = 20
SCALE_MAX = 1 << 26  # WEIGHT_MAX * SCALE_MAX = 2**62
WALLET_FACTOR_MAX_PPM = 1_000 * PPM  # a wallet a thousand times the margin is idle money anyway
ENTRY_ROUNDS = 6  # an entry comes halfway closer to the mark this often before it is at the mark


@dataclass(frozen=True)
class MarketStart:
    """What the draw must know of a market: its id, its numbers and its first mark."""

    market_id: int
    numbers: MarketNumbers
    first_price: int


class Randomness:
    """Integer draws from the raw stream of PCG64; `stream` separates uses of one seed."""

    def __init__(self, seed: int, stream: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, stream]))

    def uniform(self, count: int) -> np.ndarray:
        """int64 in 0..2**53-1."""
        return (self._bits.random_raw(count) >> np.uint64(11)).astype(np.int64)

    def normal(self, count: int) -> np.ndarray:
        """Twelve uniforms summed: standard normal to three sigma, never beyond six. float64.

        The sum is an integer below 2**36, so each value is exact and the same everywhere.
        """
        total = np.zeros(count, np.int64)
        for _ in range(6):
            raw = self._bits.random_raw(count)
            total += (raw >> np.uint64(32)).astype(np.int64)
            total += (raw & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return (total - (6 << 32)) / float(1 << 32)

    def lognormal_ppm(self, count: int, sd_ppm: int) -> np.ndarray:
        """exp(sd * normal) in whole ppm, int64; the median is one million."""
        return np.rint(np.exp(self.normal(count) * (sd_ppm / PPM)) * PPM).astype(np.int64)

    def order(self, count: int) -> np.ndarray:
        """A random permutation of 0..count-1; equal keys keep their order."""
        return np.argsort(self._bits.random_raw(count), kind="stable")


def fit_lots(weights: np.ndarray, total: int, lots_min: int, lots_max: int) -> np.ndarray:
    """Whole lots in proportion to `weights`, within the bounds, summing to `total` exactly.

    The remainder goes one lot each to the largest fractions, earlier rows first. Raises
    PopulationError where the bounds cannot hold the total.

    >>> fit_lots(np.array([1024, 1024, 4096]), 60, 1, 100).tolist()
    [10, 10, 40]
    >>> fit_lots(np.array([1024, 1024, 4096]), 60, 1, 25).tolist()
    [18, 17, 25]
    """
    count = len(weights)
    if not count * lots_min <= total <= count * lots_max:
        raise PopulationError(
            f"expected open interest of {count * lots_min} to {count * lots_max} lots for "
            f"{count} positions of {lots_min} to {lots_max} lots, got {total}"
        )
    low, high = 0, SCALE_MAX
    while low < high:  # the largest scale whose lots do not pass the total
        scale = (low + high + 1) // 2
        lots = np.clip(weights * scale >> SCALE_BITS, lots_min, lots_max)
        low, high = (scale, high) if int(lots.sum()) <= total else (low, scale - 1)
    lots = np.clip(weights * low >> SCALE_BITS, lots_min, lots_max)
    fractions = weights * low & ((1 << SCALE_BITS) - 1)
    order = np.argsort(-fractions, kind="stable")
    rest = total - int(lots.sum())
    while rest:
        open_rows = order[lots[order] < lots_max]
        each = max(1, rest // len(open_rows))
        chosen = open_rows[:rest]
        given = np.minimum(each, lots_max - lots[chosen])
        lots[chosen] += given
        rest -= int(given.sum())
    return lots


def _flagged(random: Randomness, eligible: np.ndarray, count: int, total: int) -> np.ndarray:
    """int64 0/1 of shape (total,): exactly `count` of the `eligible` rows, or all there are."""
    flags = np.zeros(total, np.int64)
    flags[eligible[random.order(len(eligible))[:count]]] = 1
    return flags


def _shares(count: int, weights: list[int]) -> list[int]:
    """Split `count` in proportion to `weights`, by largest remainder."""
    whole = [count * weight // sum(weights) for weight in weights]
    rests = [count * weight % sum(weights) for weight in weights]
    order = sorted(range(len(weights)), key=lambda row: (-rests[row], row))
    for row in order[: count - sum(whole)]:
        whole[row] += 1
    return whole


@dataclass
class _Draft:
    """Positions while they are drawn; arrays as in Population, `market` indexes the request."""

    account_row: np.ndarray
    market: np.ndarray
    leg: np.ndarray  # 0: side to be drawn, 1: long leg, 2: short leg of a hedge account
    hedge: np.ndarray  # of accounts
    isolated: np.ndarray  # of accounts


def _assign(spec: DrawnPopulation, random: Randomness) -> _Draft:
    """Who trades where: home market, hedge legs, second markets; ordered by account."""
    people = spec.accounts
    counts = _shares(people, [market.weight for market in spec.markets])
    home = np.repeat(np.arange(len(counts)), counts)[random.order(people)]
    everyone = np.arange(people)
    hedge = _flagged(random, everyone, people * spec.hedge_ppm // PPM, people)
    isolated = _flagged(random, everyone, people * spec.isolated_ppm // PPM, people)
    plain = np.flatnonzero((hedge == 0) & (isolated == 0))
    multi = np.flatnonzero(_flagged(random, plain, people * spec.multi_market_ppm // PPM, people))
    hedgers = np.flatnonzero(hedge)
    others = max(1, len(counts) - 1)
    second = (home[multi] + 1 + random.uniform(len(multi)) % others) % len(counts)
    account_row = np.concatenate([everyone, hedgers, multi])
    market = np.concatenate([home, home[hedgers], second])
    leg = np.concatenate([hedge, np.full(len(hedgers), 2), np.zeros(len(multi), np.int64)])
    order = np.argsort(account_row, kind="stable")
    return _Draft(account_row[order], market[order], leg[order], hedge, isolated)


def _draw_lots(
    spec: DrawnPopulation, wanted: DrawnMarket, leg: np.ndarray, random: Randomness
) -> np.ndarray:
    """Signed lots of one market's positions: longs and shorts each sum to the open interest."""
    place = f"population.markets.{wanted.market}"
    free = np.flatnonzero(leg == 0)
    longs = len(free) * spec.long_share_ppm // PPM
    if not (leg == 1).any():  # without hedge accounts each side still needs somebody
        longs = min(max(longs, 1), len(free) - 1)
    is_long = leg == 1
    is_long[free[random.order(len(free))[:longs]]] = True
    survival = (random.uniform(len(leg)) + 1) / float(1 << 53)
    tail = np.power(survival, -PPM / wanted.size_tail_ppm)
    weights = np.rint(np.minimum(tail, WEIGHT_MAX / WEIGHT_UNIT) * WEIGHT_UNIT).astype(np.int64)
    lots = np.zeros(len(leg), np.int64)
    for sign, rows in ((1, np.flatnonzero(is_long)), (-1, np.flatnonzero(~is_long))):
        if len(rows) == 0:
            raise PopulationError(f"{place}: expected a long and a short position at least")
        try:
            lots[rows] = sign * fit_lots(
                weights[rows], wanted.open_interest_lots, wanted.lots_min, wanted.lots_max
            )
        except PopulationError as error:
            side = "long" if sign > 0 else "short"
            raise PopulationError(f"{place}.open_interest_lots ({side}): {error}") from None
    return lots


def _draw_entries(
    spec: DrawnPopulation, start: MarketStart, count: int, random: Randomness
) -> np.ndarray:
    """Entry prices on the tick grid, lognormal round the shifted first price."""
    tick = start.numbers.tick_price
    middle = start.first_price * (PPM + spec.entry_shift_ppm) // PPM // tick
    factors = random.lognormal_ppm(count, spec.entry_sd_ppm)
    factors = np.clip(factors, PPM // 10, 10 * PPM)  # so ticks * factor stays below 2**48
    lowest, highest = -(-start.numbers.price_min // tick), start.numbers.price_max // tick
    return np.clip(middle * factors // PPM, lowest, highest) * tick


def _draw_leverage(
    spec: DrawnPopulation, lots: np.ndarray, measures: np.ndarray, start: MarketStart,
    random: Randomness,
) -> np.ndarray:  # fmt: skip
    """Whole leverage 1..cap: lognormal, lower for larger positions, never above the tier's."""
    sizes = np.abs(lots)
    median = max(1, int(np.sort(sizes)[len(sizes) // 2]))
    damping = np.power(sizes / median, -spec.leverage_size_elasticity_ppm / PPM)
    wanted = random.lognormal_ppm(len(lots), spec.leverage_sd_ppm) / PPM * damping
    leverage = np.rint(np.minimum(wanted * spec.leverage_median, spec.leverage_max))
    caps = np.minimum(margins.leverage_cap(measures, start.numbers), spec.leverage_max)
    return np.clip(leverage.astype(np.int64), 1, caps)


def _draw_free(
    spec: DrawnPopulation, wanted: DrawnMarket, initial: np.ndarray, random: Randomness
) -> np.ndarray:
    """Money an account holds beyond the initial margin of each position, 0 or more."""
    factors = random.lognormal_ppm(len(initial), spec.wallet_factor_sd_ppm)
    factors = np.minimum(factors, WALLET_FACTOR_MAX_PPM) * spec.wallet_factor_ppm // PPM
    factors = np.clip(factors, PPM, WALLET_FACTOR_MAX_PPM)
    if (int(initial.max()) // PPM + 1) * int(factors.max()) >= 2**62:
        raise PopulationError(
            f"population.markets.{wanted.market}: initial margins reach {int(initial.max())}, "
            f"too large for a wallet factor of {int(factors.max())} ppm"
        )
    return margins.mul_ppm_up(initial, factors) - initial


def _make_healthy(
    spec: DrawnPopulation, start: MarketStart, rule: Margin, leverage: np.ndarray,
    lots: np.ndarray, entries: np.ndarray, funds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int, int]:  # fmt: skip
    """Move entries towards the mark, then raise funds, until all are above maintenance.

    `funds` is what backs each position alone. Returns entries, funds, moved and raised counts.
    """
    mark = start.first_price
    at_mark = margins.notional(lots, mark, start.numbers)
    at_entry = np.maximum(at_mark, margins.notional(lots, entries, start.numbers))
    sizes = margins.Sizes(lots, at_mark, at_entry, leverage)
    needs = margins.maintenance(sizes, start.numbers, rule)
    needs = needs + margins.mul_ppm_up(needs, np.int64(spec.health_buffer_ppm)) + 3
    sick = np.flatnonzero(funds + margins.profit(lots, entries, mark, start.numbers) < needs)
    moved, round_count = len(sick), 0
    while len(sick):
        tick = start.numbers.tick_price
        gaps = (entries[sick] - mark) // 2 if round_count < ENTRY_ROUNDS else 0 * entries[sick]
        entries[sick] = (mark + gaps) // tick * tick
        gains = margins.profit(lots[sick], entries[sick], mark, start.numbers)
        missing = needs[sick] - funds[sick] - gains
        if round_count == ENTRY_ROUNDS:
            funds[sick] += np.maximum(missing, 0)
            return entries, funds, moved, int((missing > 0).sum())
        sick = sick[missing > 0]
        round_count += 1
    return entries, funds, moved, 0


def _check_bounds(wanted: DrawnMarket, start: MarketStart, rule: Margin) -> None:
    """Refuse a request that the market's own bounds cannot hold."""
    place = f"population.markets.{wanted.market}"
    numbers = start.numbers
    limit = min(numbers.open_interest_lots_max, LOTS_MAX)
    if wanted.open_interest_lots > limit:
        raise PopulationError(
            f"{place}.open_interest_lots: expected at most {limit}, got {wanted.open_interest_lots}"
        )
    largest = np.array([min(wanted.lots_max, wanted.open_interest_lots)], np.int64)
    if not margins.faces_fit(int(largest[0]), numbers):
        raise PopulationError(f"{place}.lots_max: lots * face passes 2**62, got {wanted.lots_max}")
    by_lots = rule.tier_by == "contracts"
    value = int(margins.notional(largest, start.first_price, numbers)[0])
    if (int(largest[0]) if by_lots else value) > numbers.tier_to[-1]:
        words = "" if by_lots else f" are {value} at the first price"
        raise PopulationError(
            f"{place}.lots_max: {int(largest[0])} lots{words}, "
            f"above the last margin tier {numbers.tier_to[-1]}"
        )


def draw_population(
    spec: DrawnPopulation, starts: list[MarketStart], rule: Margin, seed: int
) -> Population:
    """Draw the population asked for; `starts` in the order of `spec.markets`.

    Longs and shorts of each market sum to its open interest to the lot. `rule` is the
    venue's margin rule. Raises PopulationError where a request cannot be met.
    """
    for wanted, start in zip(spec.markets, starts, strict=True):
        _check_bounds(wanted, start, rule)
    draft = _assign(spec, Randomness(seed, 1))
    rows = len(draft.account_row)
    lots, entries, leverage, funds, margin = (np.zeros(rows, np.int64) for _ in range(5))
    isolated = draft.isolated[draft.account_row]
    moved = raised = 0
    for index, (wanted, start) in enumerate(zip(spec.markets, starts, strict=True)):
        random = Randomness(seed, 16 + start.market_id)
        mine = np.flatnonzero(draft.market == index)
        size = _draw_lots(spec, wanted, draft.leg[mine], random)
        entry = _draw_entries(spec, start, len(mine), random)
        at_mark = margins.notional(size, start.first_price, start.numbers)
        at_entry = margins.notional(size, entry, start.numbers)
        larger = np.maximum(at_mark, at_entry)
        measures = np.abs(size) if rule.tier_by == "contracts" else larger
        lever = _draw_leverage(spec, size, measures, start, random)
        initial = -(-at_entry // lever)
        free = _draw_free(spec, wanted, initial, random)
        # An isolated position has its initial margin alone; the rest of the wallet is out of reach.
        backing = np.where(isolated[mine] > 0, initial, initial + free)
        entry, healthy, moves, raises = _make_healthy(
            spec, start, rule, lever, size, entry, backing.copy()
        )
        lots[mine], entries[mine], leverage[mine] = size, entry, lever
        margin[mine] = np.where(isolated[mine] > 0, healthy, 0)
        funds[mine] = initial + free + (healthy - backing)
        moved, raised = moved + moves, raised + raises
    deposits = _sum_by_account(funds, draft.account_row, spec.accounts)
    return Population(
        account_id=FIRST_USER_ID + np.arange(spec.accounts, dtype=np.int64),
        deposit_quote=deposits,
        hedge=draft.hedge,
        account_row=draft.account_row,
        market_id=np.array([start.market_id for start in starts], np.int64)[draft.market],
        position_side=side_of(lots, draft.hedge[draft.account_row]),
        lots=lots,
        entry_price=entries,
        leverage=leverage,
        isolated=isolated,
        margin_quote=margin,
        entries_moved=moved,
        deposits_raised=raised,
    )


def _sum_by_account(funds: np.ndarray, account_row: np.ndarray, people: int) -> np.ndarray:
    """Money of each account, summed in integers; refuses what the engine could not hold."""
    if sum(int(part.sum()) for part in np.array_split(funds >> 20, 64)) >= MONEY_MAX >> 20:
        raise PopulationError(f"population: deposits pass the money bound {MONEY_MAX}")
    deposits = np.zeros(people, np.int64)
    np.add.at(deposits, account_row, funds)
    return deposits


def fit_rows(
    population: Population, spec: DrawnPopulation, starts: list[MarketStart]
) -> list[FitRow]:
    """Asked against drawn: accounts, shares, open interest, leverage, sizes, adjustments."""
    people, rows = spec.accounts, len(population.account_row)
    home = np.unique(population.account_row, return_counts=True)[1]
    several = int(((home > 1) & (population.hedge == 0)).sum())
    isolated = len(np.unique(population.account_row[population.isolated > 0]))
    longs = int((population.lots > 0).sum())
    typical = int(np.sort(population.leverage)[rows // 2])
    table = [
        FitRow("accounts", "", people, len(population.account_id), "accounts"),
        FitRow("long share", "", spec.long_share_ppm, longs * PPM // rows, "ppm"),
        FitRow("isolated", "", spec.isolated_ppm, isolated * PPM // people, "ppm"),
        FitRow("hedge", "", spec.hedge_ppm, int(population.hedge.sum()) * PPM // people, "ppm"),
        FitRow("several markets", "", spec.multi_market_ppm, several * PPM // people, "ppm"),
        FitRow("leverage median", "", spec.leverage_median, typical, "times"),
        FitRow("entries moved", "", None, population.entries_moved, "positions"),
        FitRow("deposits raised", "", None, population.deposits_raised, "positions"),
    ]
    for wanted, start in zip(spec.markets, starts, strict=True):
        sizes = np.sort(np.abs(population.lots[population.market_id == start.market_id]))
        long_lots, short_lots = population.open_interest(start.market_id)
        top = int(sizes[-max(1, len(sizes) // 100) :].sum())
        share = top * PPM // int(sizes.sum())
        asked = wanted.open_interest_lots
        table += [
            FitRow("long lots", wanted.market, asked, long_lots, "lots"),
            FitRow("short lots", wanted.market, asked, short_lots, "lots"),
            FitRow("median size", wanted.market, None, int(sizes[len(sizes) // 2]), "lots"),
            FitRow("largest size", wanted.market, wanted.lots_max, int(sizes[-1]), "lots"),
            FitRow("held by the top 1 %", wanted.market, None, share, "ppm"),
        ]
    return table
