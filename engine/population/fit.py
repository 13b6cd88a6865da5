"""Asked against drawn, gathered part by part so that no population need be held whole.

Sizes go into a histogram whose buckets are 1/256 wide: a median or a largest share is that exact,
sums are to the lot. What the crowd is asked for is measured on the crowd; open interest on all.
"""

from collections.abc import Mapping

import numpy as np

from engine.constants import FIRST_USER_ID, LEVERAGE_MAX, PPM
from engine.peopled import DrawnPopulation
from engine.population import margins
from engine.population.columns import FitRow, Population
from engine.population.drawn import Backing
from engine.population.entries import VolumeProfile
from engine.population.margins import MarketStart
from engine.population.sizes import BUCKETS, bucket_floor, bucket_of

TAIL_PPM = 50_000  # the share of the largest positions that the tail index is estimated from
BITS = 42  # of a size: classes of leverage by size are powers of two


class Sizes:
    """Sizes, leverage and entries of one market's crowd."""

    def __init__(self, volume: VolumeProfile | None) -> None:
        self.volume = volume
        self.counts = np.zeros(BUCKETS, np.int64)
        self.sums = np.zeros(BUCKETS, np.int64)
        self.leverage = np.zeros((BITS, LEVERAGE_MAX + 1), np.int64)
        self.bands = np.zeros(len(volume.low) + 1 if volume else 0, np.int64)
        self.long = self.short = self.largest = self.at_most = 0

    def update(self, lots: np.ndarray, leverage: np.ndarray, ticks: np.ndarray, most: int) -> None:
        """Take more positions; `most` is the largest size there can be."""
        sizes = np.abs(lots)
        if len(sizes) == 0:
            return
        buckets = bucket_of(sizes)
        self.counts += np.bincount(buckets, minlength=BUCKETS)
        np.add.at(self.sums, buckets, sizes)
        classes = np.frexp(sizes.astype(np.float64))[1]
        np.add.at(self.leverage, (classes, leverage), 1)
        self.largest = max(self.largest, int(sizes.max()))
        self.at_most += int((sizes >= most).sum())
        if self.volume is not None:
            self.bands += np.bincount(self.volume.band_of(ticks) + 1, minlength=len(self.bands))

    def middle(self) -> int:
        """The median size."""
        middle = int(self.counts.sum()) // 2
        return int(bucket_floor(np.searchsorted(np.cumsum(self.counts), middle, side="right")))

    def top_share_ppm(self) -> int:
        """What the largest hundredth holds of all lots."""
        left = max(1, int(self.counts.sum()) // 100)
        held = 0
        for bucket in np.flatnonzero(self.counts)[::-1].tolist():
            count, lots = int(self.counts[bucket]), int(self.sums[bucket])
            if count >= left:
                return (held + lots * left // count) * PPM // max(int(self.sums.sum()), 1)
            left, held = left - count, held + lots
        return PPM

    def tail_ppm(self) -> int | None:
        """Hill's estimate over the largest TAIL_PPM, those cut at the largest size censored.

        None where they are too few or too small to tell.
        """
        wanted = int(self.counts.sum()) * TAIL_PPM // PPM
        used = np.flatnonzero(self.counts)[::-1]
        sizes = self.sums[used] / self.counts[used]
        above = np.cumsum(self.counts[used])
        last = int(np.searchsorted(above, wanted))
        if wanted < 20 or last >= len(used) - 1:
            return None
        edge = (sizes[last] + sizes[last + 1]) / 2
        logs = float((self.counts[used[: last + 1]] * np.log(sizes[: last + 1] / edge)).sum())
        whole = int(above[last]) - self.at_most
        return round(whole * PPM / logs) if logs > 0 and whole > 0 else None

    def leverage_rows(self, spec: DrawnPopulation, market: str) -> list[FitRow]:
        """Median leverage of the size class of the median and of the largest hundredth."""
        found = []
        people = np.cumsum(self.leverage.sum(axis=1))
        middle = self.middle()
        for name, place in (("typical", people[-1] // 2), ("large", people[-1] * 99 // 100)):
            size_class = int(np.searchsorted(people, place, side="right"))
            held = np.cumsum(self.leverage[size_class])
            got = int(np.searchsorted(held, held[-1] // 2, side="right"))
            size = int(1.5 * 2 ** (size_class - 1))
            if spec.leverage_by_size:
                bands = spec.leverage_by_size
                asked = next((b.median for b in bands if size <= b.lots_to), bands[-1].median)
            else:
                bend = -spec.leverage_size_elasticity_ppm / PPM
                asked = round(spec.leverage_median * (size / max(middle, 1)) ** bend)
            found.append(FitRow(f"leverage of {name} sizes", market, asked, got, "times"))
        return found

    def entries_gap_ppm(self) -> int:
        """The largest distance between the profile's distribution and that of the entries."""
        shares = np.cumsum(self.bands) / max(int(self.bands.sum()), 1)
        wanted = np.concatenate([[0.0], self.volume.shares()])
        return round(float(np.abs(shares - wanted).max()) * PPM)


class Fit:
    """Gathers parts of a drawn population, in order, and says what was asked and what came."""

    def __init__(
        self, spec: DrawnPopulation, starts: list[MarketStart], backing: Backing | None = None
    ) -> None:
        self.spec, self.starts = spec, starts
        volumes: Mapping[str, VolumeProfile] = backing.volumes if backing else {}
        self._assets = dict(backing.assets) if backing else {}
        self._markets = [Sizes(volumes.get(market.market)) for market in spec.markets]
        self._leverage = np.zeros(LEVERAGE_MAX + 1, np.int64)
        self._held = dict.fromkeys(self._assets, (0, 0))
        self._counts = dict.fromkeys(
            ("accounts", "positions", "longs", "isolated", "hedge", "several", "pairs", "alike",
             "moved", "raised", "maker lots", "deposits"), 0,
        )  # fmt: skip

    def update(self, population: Population) -> None:
        """Take the next part."""
        count, ids = self._counts, population.account_id
        crowd = int((ids < FIRST_USER_ID + self.spec.accounts).sum())
        mine = population.account_row < crowd
        rows, lots = population.account_row[mine], population.lots[mine]
        legs = np.bincount(rows, minlength=crowd)
        several = (legs > 1) & (population.hedge[:crowd] == 0)
        adjacent = (rows[1:] == rows[:-1]) & several[rows[1:]]
        for name, more in (
            ("accounts", len(ids)),
            ("positions", len(lots)),
            ("longs", int((lots > 0).sum())),
            ("isolated", len(np.unique(rows[population.isolated[mine] > 0]))),
            ("hedge", int(population.hedge[:crowd].sum())),
            ("several", int(several.sum())),
            ("pairs", int(adjacent.sum())),
            ("alike", int((adjacent & ((lots[1:] > 0) == (lots[:-1] > 0))).sum())),
            ("moved", population.entries_moved),
            ("raised", population.deposits_raised),
            ("deposits", sum(population.deposit_quote.tolist())),
        ):
            count[name] += more
        self._leverage += np.bincount(population.leverage[mine], minlength=LEVERAGE_MAX + 1)
        makers = self.spec.makers.accounts if self.spec.makers else 0
        made = ~mine & (population.account_row < crowd + makers)
        count["maker lots"] += int(np.abs(population.lots[made]).sum())
        for sizes, start, wanted in zip(self._markets, self.starts, self.spec.markets, strict=True):
            here = population.market_id == start.market_id
            held = population.lots[here]
            sizes.long += int(held[held > 0].sum())
            sizes.short -= int(held[held < 0].sum())
            use = here & mine
            ticks = population.entry_price[use] // start.numbers.tick_price
            sizes.update(population.lots[use], population.leverage[use], ticks, wanted.lots_max)
        for symbol, start in self._assets.items():
            held = population.asset_lots[population.asset_market_id == start.market_id]
            people, total = self._held[symbol]
            self._held[symbol] = people + len(held), total + int(held.sum())

    def rows(self) -> list[FitRow]:
        """The table: of the whole, then market by market, then of collateral and extras."""
        spec, count = self.spec, self._counts
        people, rows = spec.accounts, max(count["positions"], 1)
        extra = (spec.makers.accounts if spec.makers else 0) + (spec.whale is not None)
        typical = int(np.searchsorted(np.cumsum(self._leverage), rows // 2, side="right"))
        table = [
            FitRow("accounts", "", people + extra, count["accounts"], "accounts"),
            FitRow("long share", "", spec.long_share_ppm, count["longs"] * PPM // rows, "ppm"),
            FitRow("isolated", "", spec.isolated_ppm, count["isolated"] * PPM // people, "ppm"),
            FitRow("hedge", "", spec.hedge_ppm, count["hedge"] * PPM // people, "ppm"),
            FitRow("several markets", "", spec.multi_market_ppm,
                   count["several"] * PPM // people, "ppm"),
            FitRow("leverage median", "", None if spec.leverage_by_size else spec.leverage_median,
                   typical, "times"),
            FitRow("entries moved", "", None, count["moved"], "positions"),
            FitRow("deposits raised", "", None, count["raised"], "positions"),
        ]  # fmt: skip
        if count["pairs"]:
            share = count["alike"] * PPM // count["pairs"]
            table.append(FitRow("pairs on the same side", "", self._alike_ppm(), share, "ppm"))
        for sizes, wanted in zip(self._markets, spec.markets, strict=True):
            table += _market_rows(spec, wanted.market, sizes, wanted.open_interest_lots)
        return table + self._extra_rows()

    def _alike_ppm(self) -> int:
        """Pairs of neighbouring positions of an account that are asked to be on the same side."""
        spec, longs = self.spec, self.spec.long_share_ppm
        by_chance = (longs * longs + (PPM - longs) * (PPM - longs)) // PPM
        tied, rank = abs(spec.correlation_ppm), PPM if spec.correlation_ppm > 0 else 0
        if spec.correlation_ppm < 0:  # of opposite ranks at most these are on one side
            rank = abs(2 * longs - PPM)
        return (tied * rank + (PPM - tied) * by_chance) // PPM

    def _extra_rows(self) -> list[FitRow]:
        spec, table = self.spec, []
        for held in spec.collateral:
            people, lots = self._held[held.market]
            share = people * PPM // spec.accounts
            table.append(FitRow("held by accounts", held.market, held.accounts_ppm, share, "ppm"))
            start = self._assets[held.market]
            worth = margins.notional(np.array([lots]), start.first_price, start.numbers)
            table.append(FitRow("collateral held", held.market, None, int(worth[0]), "money"))
        if spec.makers:
            asked = sum(2 * (m.open_interest_lots * spec.makers.share_ppm // PPM)
                        for m in spec.markets)  # fmt: skip
            table.append(FitRow("market makers", "", asked, self._counts["maker lots"], "lots"))
        if spec.whale:
            got = sum(s.long + s.short for s in self._markets) - self._counts["maker lots"]
            got -= sum(int(s.sums.sum()) for s in self._markets)
            table.append(FitRow("whale", spec.whale.market, spec.whale.lots, got, "lots"))
        return table


def _market_rows(
    spec: DrawnPopulation, market: str, sizes: Sizes, open_interest: int
) -> list[FitRow]:
    wanted = next(each for each in spec.markets if each.market == market)
    table = [
        FitRow("long lots", market, open_interest, sizes.long, "lots"),
        FitRow("short lots", market, open_interest, sizes.short, "lots"),
        FitRow("median size", market, None, sizes.middle(), "lots"),
        FitRow("largest size", market, wanted.lots_max, sizes.largest, "lots"),
        FitRow("held by the top 1 %", market, None, sizes.top_share_ppm(), "ppm"),
    ]
    tail = sizes.tail_ppm()
    if tail is not None:
        table.append(FitRow("tail index", market, wanted.size_tail_ppm, tail, "ppm"))
    if sizes.counts.any():
        table += sizes.leverage_rows(spec, market)
    if sizes.volume is not None:
        gap = sizes.entries_gap_ppm()
        table.append(FitRow("entries off the volume profile", market, 0, gap, "ppm"))
    return table


def fit_rows(
    population: Population, spec: DrawnPopulation, starts: list[MarketStart],
    backing: Backing | None = None,
) -> list[FitRow]:  # fmt: skip
    """Asked against drawn of a whole population."""
    fit = Fit(spec, starts, backing)
    fit.update(population)
    return fit.rows()
