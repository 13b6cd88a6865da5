"""A population drawn from a seed to match published aggregates.

Randomness is the raw 64-bit output of PCG64 and nothing else of numpy's generators, whose
derived streams may change with its version. Floats occur only between a raw draw and the whole
number it is rounded to, element by element; sums, orderings and money are integers. Two maths
libraries that differ in a last bit so give the same bytes, but for a draw within that bit of a
half. No account starts below maintenance at the first mark.

The crowd is drawn cohort by cohort, each from streams of its own; market makers and the whale
(`extras.py`) come last. Without `cohort_accounts` the crowd is one cohort.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from engine.constants import FIRST_USER_ID, LOTS_MAX, MONEY_MAX, PPM
from engine.peopled import DrawnMarket, DrawnPopulation
from engine.population import margins
from engine.population.chance import Randomness
from engine.population.columns import Population, PopulationError, join, side_of
from engine.population.entries import VolumeProfile
from engine.population.extras import (
    extra_accounts,
    held_collateral,
    reserved_lots,
)
from engine.population.margins import MarketStart
from engine.population.sizes import CohortSizes, fit_lots, pareto_weights
from engine.profile import Margin

WALLET_FACTOR_MAX_PPM = 1_000 * PPM  # a wallet a thousand times the margin is idle money anyway
MARKET_STREAM, LINK_STREAM = 16, 2  # of a market, after its id; of accounts tied to one direction


@dataclass(frozen=True)
class Backing:
    """What a draw needs beyond the request, by market: volume profiles in ticks, collateral
    markets and their first prices, and the whale's entry in price units (None: the first price)."""

    volumes: Mapping[str, VolumeProfile] = field(default_factory=dict)
    assets: Mapping[str, MarketStart] = field(default_factory=dict)
    whale_entry: int | None = None


@dataclass(frozen=True)
class _Cohort:
    number: int
    first: int  # accounts before it
    accounts: int

    def part(self, share_ppm: int) -> int:
        """How many of its accounts a share gets, so that cohorts lose nothing by rounding."""
        before = self.first * share_ppm // PPM
        return (self.first + self.accounts) * share_ppm // PPM - before


def _cohorts(spec: DrawnPopulation) -> list[_Cohort]:
    size = spec.cohort_accounts or spec.accounts
    starts = list(range(0, spec.accounts, size))
    if len(starts) > 1 and spec.accounts - starts[-1] < size // 2:
        starts.pop()  # a small rest joins the cohort before it
    ends = [*starts[1:], spec.accounts]
    return [
        _Cohort(number, first, end - first)
        for number, (first, end) in enumerate(zip(starts, ends, strict=True))
    ]


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
    linked: np.ndarray  # 1: side and size follow the account's own, -1: the opposite side, 0: free
    side_key: np.ndarray  # uint64, of accounts
    size_draw: np.ndarray  # of accounts, 0..2**53-1


def _assign(spec: DrawnPopulation, cohort: _Cohort, seed: int) -> _Draft:
    """Who trades where: home market, hedge legs, further markets; ordered by account."""
    people, random = cohort.accounts, Randomness(seed, 1, cohort.number)
    counts = _shares(people, [market.weight for market in spec.markets])
    home = np.repeat(np.arange(len(counts)), counts)[random.order(people)]
    everyone = np.arange(people)
    hedge = _flagged(random, everyone, cohort.part(spec.hedge_ppm), people)
    isolated = _flagged(random, everyone, cohort.part(spec.isolated_ppm), people)
    plain = np.flatnonzero((hedge == 0) & (isolated == 0))
    wanted = cohort.part(spec.multi_market_ppm)
    multi = np.flatnonzero(_flagged(random, plain, wanted, people))
    hedgers = np.flatnonzero(hedge)
    others = max(1, len(counts) - 1)
    away = random.uniform(len(multi))
    further = [
        (home[multi] + 1 + (away + step) % others) % len(counts)
        for step in range(spec.further_markets)
    ]
    link, tied = Randomness(seed, LINK_STREAM, cohort.number), np.zeros(people, np.int64)
    if spec.correlation_ppm:
        tied = _flagged(link, multi, len(multi) * abs(spec.correlation_ppm) // PPM, people)
    turn = 1 if spec.correlation_ppm > 0 else -1
    account_row = np.concatenate([everyone, hedgers, *[multi] * len(further)])
    market = np.concatenate([home, home[hedgers], *further])
    more = np.zeros(len(multi) * len(further), np.int64)
    leg = np.concatenate([hedge, np.full(len(hedgers), 2), more])
    linked = tied[account_row] * np.where(np.arange(len(market)) < people, 1, turn)
    order = np.argsort(account_row, kind="stable")
    return _Draft(
        account_row[order], market[order], leg[order], hedge, isolated, linked[order],
        link.keys(people), link.uniform(people),
    )  # fmt: skip


def _draw_sides(
    spec: DrawnPopulation, wanted: DrawnMarket, draft: _Draft, mine: np.ndarray,
    random: Randomness, alone: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Which of one market's positions `mine` are long, and the weights of their sizes."""
    leg, linked, rows = draft.leg[mine], draft.linked[mine], draft.account_row[mine]
    free = np.flatnonzero(leg == 0)
    longs = len(free) * spec.long_share_ppm // PPM
    if alone and not (leg == 1).any():  # without hedge accounts each side still needs somebody
        longs = min(max(longs, 1), len(free) - 1)
    is_long = leg == 1
    keys = random.keys(len(free))
    tied = linked[free]
    own = draft.side_key[rows[free]]
    keys = np.where(tied > 0, own, np.where(tied < 0, ~own, keys))
    is_long[free[np.argsort(keys, kind="stable")[:longs]]] = True
    draws = np.where(linked != 0, draft.size_draw[rows], random.uniform(len(leg)))
    return is_long, pareto_weights(draws, wanted.size_tail_ppm)


Totals = dict[tuple[int, int], list[int]]  # by index of the market and sign: lots by cohort


def _totals(spec: DrawnPopulation, starts: list[MarketStart], seed: int) -> Totals:
    """How many lots each cohort gets on each side of each market."""
    cohorts, reserved = _cohorts(spec), reserved_lots(spec)
    whole = {
        (index, sign): market.open_interest_lots - reserved.get((index, sign), 0)
        for index, market in enumerate(spec.markets)
        for sign in (1, -1)
    }
    if len(cohorts) == 1:
        return {key: [total] for key, total in whole.items()}
    sizes = {
        key: CohortSizes(total, spec.markets[key[0]].lots_min, spec.markets[key[0]].lots_max)
        for key, total in whole.items()
    }
    for look in (CohortSizes.count, CohortSizes.measure):
        for cohort in cohorts:
            draft = _assign(spec, cohort, seed)
            for index, (wanted, start) in enumerate(zip(spec.markets, starts, strict=True)):
                random = Randomness(seed, MARKET_STREAM + start.market_id, cohort.number)
                mine = np.flatnonzero(draft.market == index)
                is_long, weights = _draw_sides(spec, wanted, draft, mine, random, False)
                look(sizes[index, 1], weights[is_long])
                look(sizes[index, -1], weights[~is_long])
    found = {}
    for (index, sign), each in sizes.items():
        try:
            found[index, sign] = each.totals()
        except PopulationError as error:
            raise _refused(spec.markets[index], sign, error) from None
    return found


def _refused(wanted: DrawnMarket, sign: int, error: PopulationError) -> PopulationError:
    side = "long" if sign > 0 else "short"
    place = f"population.markets.{wanted.market}.open_interest_lots ({side})"
    return PopulationError(f"{place}: {error}")


def _fit_sides(
    wanted: DrawnMarket, is_long: np.ndarray, weights: np.ndarray, totals: dict[int, int],
    alone: bool,
) -> np.ndarray:  # fmt: skip
    """Signed lots: each side sums to its total."""
    lots = np.zeros(len(weights), np.int64)
    for sign, rows in ((1, np.flatnonzero(is_long)), (-1, np.flatnonzero(~is_long))):
        if len(rows) == 0 and alone:
            place = f"population.markets.{wanted.market}"
            raise PopulationError(f"{place}: expected a long and a short position at least")
        if len(rows) == 0:
            continue
        try:
            lots[rows] = sign * fit_lots(
                weights[rows], totals[sign], wanted.lots_min, wanted.lots_max
            )
        except PopulationError as error:
            raise _refused(wanted, sign, error) from None
    return lots


def _draw_entries(
    spec: DrawnPopulation, start: MarketStart, count: int, random: Randomness,
    volume: VolumeProfile | None,
) -> np.ndarray:  # fmt: skip
    """Entry prices on the tick grid: as traded, or lognormal round the shifted first price."""
    tick = start.numbers.tick_price
    if volume is not None:
        return volume.draw(count, random) * tick
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
    noise = random.lognormal_ppm(len(lots), spec.leverage_sd_ppm) / PPM
    if spec.leverage_by_size:
        edges = np.array([band.lots_to for band in spec.leverage_by_size], np.int64)
        medians = np.array([band.median for band in spec.leverage_by_size], np.int64)
        wanted = noise * medians[np.minimum(np.searchsorted(edges, sizes), len(edges) - 1)]
    else:
        median = max(1, int(np.sort(sizes)[len(sizes) // 2]))
        damping = np.power(sizes / median, -spec.leverage_size_elasticity_ppm / PPM)
        wanted = noise * damping * spec.leverage_median
    leverage = np.rint(np.minimum(wanted, spec.leverage_max))
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


def _check_bounds(spec: DrawnPopulation, index: int, start: MarketStart, rule: Margin) -> None:
    """Refuse a request that the market's own bounds cannot hold."""
    wanted = spec.markets[index]
    place = f"population.markets.{wanted.market}"
    numbers = start.numbers
    limit = min(numbers.open_interest_lots_max, LOTS_MAX)
    if wanted.open_interest_lots > limit:
        raise PopulationError(
            f"{place}.open_interest_lots: expected at most {limit}, got {wanted.open_interest_lots}"
        )
    most, field_name = min(wanted.lots_max, wanted.open_interest_lots), f"{place}.lots_max"
    if spec.whale is not None and spec.whale.market == wanted.market and spec.whale.lots > most:
        most, field_name = spec.whale.lots, "population.whale.lots"
    largest = np.array([most], np.int64)
    if not margins.faces_fit(most, numbers):
        raise PopulationError(f"{field_name}: lots * face passes 2**62, got {most}")
    by_lots = rule.tier_by == "contracts"
    value = int(margins.notional(largest, start.first_price, numbers)[0])
    if (most if by_lots else value) > numbers.tier_to[-1]:
        words = "" if by_lots else f" are {value} at the first price"
        raise PopulationError(
            f"{field_name}: {most} lots{words}, above the last margin tier {numbers.tier_to[-1]}"
        )


def draw_cohorts(
    spec: DrawnPopulation, starts: list[MarketStart], rule: Margin, seed: int,
    backing: Backing | None = None,
) -> Iterator[Population]:  # fmt: skip
    """Draw the population asked for part by part; `starts` in the order of `spec.markets`.

    Account ids follow each other from part to part. Longs and shorts of each market sum to its
    open interest to the lot. `rule` is the venue's margin rule. Raises PopulationError where a
    request cannot be met.
    """
    backing = backing or Backing()
    for index, start in enumerate(starts):
        _check_bounds(spec, index, start, rule)
    totals, cohorts = _totals(spec, starts, seed), _cohorts(spec)
    alone = len(cohorts) == 1
    for cohort in cohorts:
        draft = _assign(spec, cohort, seed)
        rows = len(draft.account_row)
        lots, entries, leverage, funds, margin = (np.zeros(rows, np.int64) for _ in range(5))
        moved = raised = 0
        for index, (wanted, start) in enumerate(zip(spec.markets, starts, strict=True)):
            random = Randomness(seed, MARKET_STREAM + start.market_id, cohort.number)
            mine = np.flatnonzero(draft.market == index)
            if len(mine) == 0 and not alone:
                continue
            is_long, weights = _draw_sides(spec, wanted, draft, mine, random, alone)
            asked = {sign: totals[index, sign][cohort.number] for sign in (1, -1)}
            size = _fit_sides(wanted, is_long, weights, asked, alone)
            alone_rows = draft.isolated[draft.account_row[mine]] > 0
            volume = backing.volumes.get(wanted.market)
            drawn = _positions(spec, wanted, start, rule, size, alone_rows, volume, random)
            lots[mine], entries[mine], leverage[mine] = size, drawn.entries, drawn.leverage
            margin[mine], funds[mine] = np.where(alone_rows, drawn.healthy, 0), drawn.funds
            moved, raised = moved + drawn.moved, raised + drawn.raised
        deposits = _sum_by_account(funds, draft.account_row, cohort.accounts)
        assets = held_collateral(spec, cohort.part, draft.isolated, deposits, backing.assets,
                                 Randomness(seed, 3, cohort.number))  # fmt: skip
        yield Population(
            account_id=FIRST_USER_ID + cohort.first + np.arange(cohort.accounts, dtype=np.int64),
            deposit_quote=deposits,
            hedge=draft.hedge,
            account_row=draft.account_row,
            market_id=np.array([start.market_id for start in starts], np.int64)[draft.market],
            position_side=side_of(lots, draft.hedge[draft.account_row]),
            lots=lots,
            entry_price=entries,
            leverage=leverage,
            isolated=draft.isolated[draft.account_row],
            margin_quote=margin,
            asset_row=assets[0],
            asset_market_id=assets[1],
            asset_lots=assets[2],
            entries_moved=moved,
            deposits_raised=raised,
        )
    extra = extra_accounts(spec, starts, rule, backing.whale_entry)
    if extra is not None:
        yield extra


def draw_population(
    spec: DrawnPopulation, starts: list[MarketStart], rule: Margin, seed: int,
    backing: Backing | None = None,
) -> Population:  # fmt: skip
    """The whole population at once; see `draw_cohorts`."""
    return join(list(draw_cohorts(spec, starts, rule, seed, backing)))


@dataclass(frozen=True)
class _Positions:
    entries: np.ndarray
    leverage: np.ndarray
    healthy: np.ndarray  # funds behind each position alone, after repairs
    funds: np.ndarray  # what each position brings to its account
    moved: int
    raised: int


def _positions(
    spec: DrawnPopulation, wanted: DrawnMarket, start: MarketStart, rule: Margin,
    size: np.ndarray, isolated: np.ndarray, volume: VolumeProfile | None, random: Randomness,
) -> _Positions:  # fmt: skip
    """Entries, leverage and funds of one market's positions."""
    entry = _draw_entries(spec, start, len(size), random, volume)
    at_mark = margins.notional(size, start.first_price, start.numbers)
    at_entry = margins.notional(size, entry, start.numbers)
    measures = np.abs(size) if rule.tier_by == "contracts" else np.maximum(at_mark, at_entry)
    lever = _draw_leverage(spec, size, measures, start, random)
    initial = -(-at_entry // lever)
    free = _draw_free(spec, wanted, initial, random)
    # An isolated position has its initial margin alone; the rest of the wallet is out of reach.
    backing = np.where(isolated, initial, initial + free)
    entry, healthy, moves, raises = margins.make_healthy(
        spec.health_buffer_ppm, start, rule, lever, size, entry, backing.copy()
    )
    funds = initial + free + (healthy - backing)
    return _Positions(entry, lever, healthy, funds, moves, raises)


def _sum_by_account(funds: np.ndarray, account_row: np.ndarray, people: int) -> np.ndarray:
    """Money of each account, summed in integers; refuses what the engine could not hold."""
    if sum(int(part.sum()) for part in np.array_split(funds >> 20, 64)) >= MONEY_MAX >> 20:
        raise PopulationError(f"population: deposits pass the money bound {MONEY_MAX}")
    deposits = np.zeros(people, np.int64)
    np.add.at(deposits, account_row, funds)
    return deposits
