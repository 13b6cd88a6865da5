"""Reads the tables of a run back as small series that fit on a page.

Prices keep the first, lowest, highest and last value of every stretch, so no spike is lost;
counts and sums are per stretch of a round length. Floats are fine from here on: what is drawn is
rounded to the eye, the tables keep every digit.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from engine.report.liquidations import BY_CAUSE

LINE_STRETCHES = 450  # four points each: below 2,000 points a line
TABLE_STRETCHES_MAX = 96
PRICE_BUCKETS_MAX = 48
MARKETS_MAX = 4  # drawn in full; the others are listed
_MAP_REACH = 0.6  # of the mark's range, drawn beyond it on the liquidation-price map
_SECOND = 1_000_000_000
_CLOSER_NS, _CLOSER_STRETCH_NS = 3_600 * _SECOND, 60 * _SECOND
_CLOSER_FROM_NS = 3 * _CLOSER_NS  # a shorter run is drawn finely enough as a whole
_ROUND_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600)
_CAUSES = {"book": "liquidation", "fund": "takeover", "adl": "adl", "residual": "residual"}

assert tuple(_CAUSES) == tuple(BY_CAUSE.values())


class Line(msgspec.Struct):
    """A line: UTC nanoseconds and values, equally long."""

    time_ns: list[int]
    value: list[float]


class Stretch(msgspec.Struct):
    """What happened to one market in one stretch of time; None where no price was known."""

    start_ns: int
    mark_low: float | None
    mark_high: float | None
    mark_last: float | None
    index_last: float | None
    liquidations: int
    notional: float
    adl_fills: int
    adl_notional: float


class PriceBucket(msgspec.Struct):
    """Notional of longs and of shorts whose price falls in [low, high)."""

    low: float
    high: float
    longs: float
    shorts: float


class MarketSeries(msgspec.Struct):
    """Everything drawn of one market. `map_planned`: the map holds prices known at the start."""

    symbol: str
    mark: Line
    index: Line
    stretches: list[Stretch]
    map_planned: bool
    map_buckets: list[PriceBucket]
    map_outside: float  # notional beyond the drawn range


class Closer(msgspec.Struct):
    """The busiest stretch of time of the market with most liquidations, drawn at a finer scale."""

    first_ns: int
    last_ns: int
    stretch_ns: int
    market: MarketSeries


class FundStretch(msgspec.Struct):
    """The fund in one stretch of time: what came in, what went out, and its balance after."""

    start_ns: int
    received: float
    paid: float
    balance: float


class RunSeries(msgspec.Struct):
    """All series of a page. `others`: markets not drawn, with their liquidated notional."""

    first_ns: int
    last_ns: int
    stretch_ns: int
    price_decimals: int
    markets: list[MarketSeries]
    others: list[tuple[str, float]]
    fund: Line
    fund_stretches: list[FundStretch]
    closer: Closer | None  # None where the whole run is short, or nobody was liquidated


# Prices at which accounts would be liquidated: per symbol prices, notional, side (+1 long, -1).
LiquidationMap = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def thin(time_ns: np.ndarray, value: np.ndarray, stretches: int = LINE_STRETCHES) -> Line:
    """At most four points a stretch: first, lowest, highest, last, in order of time.

    >>> line = thin(np.arange(10_000), np.arange(10_000) % 7.0, 5)
    >>> len(line.time_ns) <= 20, line.value[-1]
    (True, 3.0)
    """
    kept = thin_places(time_ns, value, stretches)
    return Line(time_ns[kept].tolist(), value[kept].tolist())


def thin_places(time_ns: np.ndarray, value: np.ndarray, stretches: int) -> np.ndarray:
    """Which points `thin` keeps, as places in order."""
    if len(time_ns) <= 4 * stretches:
        return np.arange(len(time_ns))
    edges = np.linspace(time_ns[0], time_ns[-1], stretches + 1)[1:-1]
    starts = np.concatenate([[0], np.searchsorted(time_ns, edges)])
    ends = np.concatenate([starts[1:], [len(time_ns)]])
    kept: list[int] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if start < end:
            part = value[start:end]
            points = {start, start + int(part.argmin()), start + int(part.argmax()), end - 1}
            kept.extend(sorted(points))
    return np.array(kept)


def stretch_length(first_ns: int, last_ns: int) -> int:
    """A round length in nanoseconds that cuts the span into at most 96 stretches.

    >>> stretch_length(0, 86_400 * _SECOND) // _SECOND
    1800
    """
    span = max(last_ns - first_ns, 1)
    for seconds in _ROUND_SECONDS:
        if span // (seconds * _SECOND) < TABLE_STRETCHES_MAX - 1:
            return seconds * _SECOND
    days = 1 + span // (86_400 * _SECOND * (TABLE_STRETCHES_MAX - 1))
    return days * 86_400 * _SECOND


def read_series(run_dir: str | Path, planned: LiquidationMap | None = None) -> RunSeries:
    """Read the tables of a run folder; `planned` are liquidation prices known at the start."""
    run_dir = Path(run_dir)
    tables = {
        name: pl.scan_parquet(run_dir / f"{name}.parquet")
        for name in ("marks", "fund", "fills", "liquidations", "adl")
    }
    clock = pl.col("time").cast(pl.Int64).alias("t")
    bounds = tables["marks"].select(clock.min().alias("a"), clock.max().alias("b")).collect()
    first, last = bounds["a"][0] or 0, bounds["b"][0] or 0
    stretch_ns = stretch_length(first, last)
    span = (first, last)
    first -= first % stretch_ns
    closed = (
        tables["fills"]
        .filter(pl.col("cause").cast(pl.String).is_in(list(_CAUSES.values())))
        .select(
            clock,
            "seq",
            pl.col("market").cast(pl.String),
            pl.col("taker_account").alias("account_id"),
            pl.col("price").cast(pl.Float64),
            "notional",
            pl.when(pl.col("taker_side").cast(pl.String) == "sell")
            .then(1)
            .otherwise(-1)
            .alias("side"),
        )
        .collect()
    )
    totals = dict(closed.group_by("market").agg(_exactly("notional")).rows())
    present = tables["marks"].select(pl.col("market").cast(pl.String)).unique().collect()
    symbols = sorted(present["market"].to_list(), key=lambda s: (-totals.get(s, 0.0), s))
    fund, fund_stretches = _fund(tables["fund"].filter(clock >= first), first, stretch_ns)
    return RunSeries(
        first_ns=span[0],
        last_ns=span[1],
        stretch_ns=stretch_ns,
        price_decimals=tables["marks"].collect_schema()["mark_price"].scale,
        markets=[
            _market(symbol, tables, closed, (first, last, stretch_ns), planned)
            for symbol in symbols[:MARKETS_MAX]
        ],
        others=[(symbol, totals.get(symbol, 0.0)) for symbol in symbols[MARKETS_MAX:]],
        fund=reaching(fund, span[1]),
        fund_stretches=fund_stretches,
        closer=_closer(symbols, tables, closed, span),
    )


def _exactly(column: str, chosen: pl.Expr | bool = True) -> pl.Expr:
    """The sum of exact decimals, rounded once and not at every term."""
    return pl.col(column).filter(chosen).sum().cast(pl.Float64)


def _closer(
    symbols: list[str],
    tables: Mapping[str, pl.LazyFrame],
    closed: pl.DataFrame,
    span: tuple[int, int],
) -> Closer | None:
    """The hour in which most notional was liquidated in the most liquidated market."""
    mine = closed.filter(pl.col("market") == symbols[0]) if symbols else closed
    if span[1] - span[0] < _CLOSER_FROM_NS or not mine.height:
        return None
    times, notional = mine["t"].to_numpy(), mine["notional"].cast(pl.Float64).to_numpy()
    total = np.concatenate([[0.0], np.cumsum(notional)])
    ends = np.searchsorted(times, times + _CLOSER_NS, side="right")
    start = int(times[int(np.argmax(total[ends] - total[:-1]))])
    start -= start % _CLOSER_STRETCH_NS
    clock = (start, start + _CLOSER_NS, _CLOSER_STRETCH_NS)
    return Closer(*clock, _market(symbols[0], tables, closed, clock, None))


def _fund(table: pl.LazyFrame, first: int, stretch_ns: int) -> tuple[Line, list[FundStretch]]:
    rows = table.select(
        pl.col("time").cast(pl.Int64).alias("t"),
        "amount",
        pl.col("balance").cast(pl.Float64),
    ).collect()
    if not rows.height:
        return Line([], []), []
    grouped = (
        rows.with_columns(((pl.col("t") - first) // stretch_ns).alias("n"))
        .group_by("n")
        .agg(
            _exactly("amount", pl.col("amount") > 0).alias("received"),
            -_exactly("amount", pl.col("amount") < 0).alias("paid"),
            pl.col("balance").last(),
        )
        .sort("n")
    )
    stretches = [
        FundStretch(first + n * stretch_ns, received, paid or 0.0, balance)
        for n, received, paid, balance in grouped.rows()
    ]
    return thin(rows["t"].to_numpy(), rows["balance"].to_numpy()), stretches


def reaching(line: Line, last_ns: int) -> Line:
    """The line with its last value held until `last_ns`, so that it does not seem to stop."""
    if not line.time_ns or line.time_ns[-1] >= last_ns:
        return line
    return Line([*line.time_ns, last_ns], [*line.value, line.value[-1]])


def _market(
    symbol: str,
    tables: Mapping[str, pl.LazyFrame],
    closed: pl.DataFrame,
    clock: tuple[int, int, int],
    planned: LiquidationMap | None,
) -> MarketSeries:
    mine = pl.col("market").cast(pl.String) == symbol
    inside = pl.col("time").cast(pl.Int64).is_between(clock[0], clock[1])
    prices = (
        tables["marks"]
        .filter(mine & inside)
        .select(
            pl.col("time").cast(pl.Int64).alias("t"),
            pl.col("mark_price").cast(pl.Float64).alias("mark"),
            pl.col("index_price").cast(pl.Float64).alias("index"),
        )
        .collect()
    )
    lines = {}
    for name in ("mark", "index"):
        known = prices.filter(pl.col(name).is_not_null())
        changed = known.filter((pl.col(name) != pl.col(name).shift(1)).fill_null(True))
        line = thin(changed["t"].to_numpy(), changed[name].to_numpy())
        if not line.time_ns:
            line = _before(tables["marks"].filter(mine), f"{name}_price", clock[0])
        lines[name] = reaching(line, clock[1])
    fills = closed.filter((pl.col("market") == symbol) & pl.col("t").is_between(*clock[:2]))
    if planned is not None and symbol in planned:
        where = planned[symbol]
    else:
        floats = fills.select("price", pl.col("notional").cast(pl.Float64), "side")
        where = tuple(column.to_numpy() for column in floats)
    buckets, outside = price_buckets(*where, np.array(lines["mark"].value))
    return MarketSeries(
        symbol=symbol,
        mark=lines["mark"],
        index=lines["index"],
        stretches=_stretches(symbol, tables, prices, fills, clock),
        map_planned=planned is not None and symbol in planned,
        map_buckets=buckets,
        map_outside=outside,
    )


def _before(marks: pl.LazyFrame, column: str, first_ns: int) -> Line:
    """The last price before a stretch in which it never changed; empty if none was known."""
    time = pl.col("time").cast(pl.Int64)
    known = marks.filter((time < first_ns) & pl.col(column).is_not_null())
    last = known.select(pl.col(column).cast(pl.Float64)).tail(1).collect()
    return Line([first_ns], last[column].to_list()) if last.height else Line([], [])


def _stretches(
    symbol: str,
    tables: Mapping[str, pl.LazyFrame],
    prices: pl.DataFrame,
    fills: pl.DataFrame,
    clock: tuple[int, int, int],
) -> list[Stretch]:
    first, last, width = clock

    def number(column: str = "t") -> pl.Expr:
        return ((pl.col(column) - first) // width).alias("n")

    by_price = prices.group_by(number()).agg(
        pl.col("mark").min().alias("low"),
        pl.col("mark").max().alias("high"),
        pl.col("mark").last(),
        pl.col("index").last(),
    )
    started = tables["liquidations"].select(
        pl.col("start").cast(pl.Int64).alias("t"),
        "seq",
        "account_id",
        pl.col("market").cast(pl.String),
    )
    alone = started.filter(pl.col("market") == symbol).collect()
    across = started.filter(pl.col("market").is_null()).collect()
    across = across.join(
        fills.select("seq", "account_id").unique(), on=["seq", "account_id"], how="semi"
    )
    started_here = pl.concat([alone, across]).group_by(number()).agg(pl.len().alias("liq"))
    notional = fills.group_by(number()).agg(_exactly("notional"))
    adl = (
        tables["adl"]
        .filter(pl.col("market").cast(pl.String) == symbol)
        .select(pl.col("time").cast(pl.Int64).alias("t"), "notional")
        .collect()
        .group_by(number())
        .agg(pl.len().alias("adl"), _exactly("notional").alias("adl_notional"))
    )
    grid = pl.DataFrame({"n": np.arange((last - first) // width + 1)})
    for part in (by_price, started_here, notional, adl):
        grid = grid.join(part, on="n", how="left")
    grid = grid.sort("n").with_columns(
        pl.col("mark").forward_fill(), pl.col("index").forward_fill()
    )
    counts = ("liq", "notional", "adl", "adl_notional")
    grid = grid.with_columns(pl.col(name).fill_null(0) for name in counts)
    order = ["n", "low", "high", "mark", "index", *counts]
    return [Stretch(first + n * width, *values) for n, *values in grid.select(order).rows()]


def price_buckets(
    prices: np.ndarray, notional: np.ndarray, side: np.ndarray, marks: np.ndarray
) -> tuple[list[PriceBucket], float]:
    """Notional per price bucket of a round width around the mark's range, and what is beyond."""
    if not len(prices):
        return [], 0.0
    reach = marks if len(marks) else prices
    low, high = float(reach.min()), float(reach.max())
    margin = max(_MAP_REACH * (high - low), 0.02 * high)
    low, high = max(low - margin, 0.0), high + margin
    inside = (prices >= low) & (prices <= high)
    if not inside.any():
        return [], float(notional.sum())
    low, high = min(low, float(reach.min())), max(high, float(reach.max()))
    width = _round_up((high - low) / PRICE_BUCKETS_MAX)
    number = np.floor(prices[inside] / width).astype(np.int64)
    base = int(number.min())
    size = int(number.max()) - base + 1
    sums = [
        np.bincount(number[chosen] - base, notional[inside][chosen], size)
        for chosen in (side[inside] > 0, side[inside] <= 0)
    ]
    buckets = [
        PriceBucket((base + i) * width, (base + i + 1) * width, longs, shorts)
        for i, (longs, shorts) in enumerate(zip(*(s.tolist() for s in sums), strict=True))
    ]
    return buckets, float(notional[~inside].sum())


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= value))
