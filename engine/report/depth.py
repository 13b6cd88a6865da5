"""What the book held through time, and where liquidations printed into it.

Every announcement of a resting quantity (the market maker's levels, orders of users, what fills
took from either) is turned into the change it made; changes add up exactly, whatever the grid.
"""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from engine import constants as c

COLUMNS_MAX, BUCKETS_MAX = 180, 48  # of the grid; a cell is a stretch of time and of prices
_REACH = 0.04  # of the mark's range and of its highest, drawn beyond it
_SETS = ("depth_set", "rested", "amended", "cancelled")
_PRINTS = {"liquidation": "book", "takeover": "fund", "adl": "adl"}


class Print(msgspec.Struct):
    """Liquidated positions closed in one cell in one way: how many fills, lots and their mean."""

    start_ns: int
    way: str  # book, fund or adl
    price: float
    fills: int
    lots: int


class Depth(msgspec.Struct):
    """Lots resting at the end of each stretch: `bids[bucket][stretch]` and `asks`; and prints."""

    symbol: str
    first_ns: int
    stretch_ns: int
    low: float
    width: float
    bids: list[list[int]]
    asks: list[list[int]]
    prints: list[Print]


def changes(events: pl.LazyFrame, symbol: str) -> pl.DataFrame:
    """t, price (price units), side (1 bid, 2 ask) and lots by which the book changed there."""
    kind = pl.col("kind")
    maker = (pl.col("flags").cast(pl.Int64) & int(c.Flag.MAKER)) != 0
    filled = (kind == "fill") & maker & pl.col("reason").is_in(["trade", "liquidation"])
    own = pl.col("account_id") == int(c.SystemAccount.MARKET_MAKER)
    quoted = (kind == "depth_set") | own
    rows = (
        events.filter(pl.col("market") == symbol)
        .filter((kind.is_in(list(_SETS)) & ~(own & (kind == "cancelled"))) | filled)
        .select(
            pl.col("time").cast(pl.Int64).alias("t"),
            "price",
            "order_id",
            quoted=quoted,
            side=pl.when(pl.col("side") == "buy").then(1).otherwise(2),
            lots=pl.when(kind == "cancelled").then(0).otherwise(pl.col("lots").abs()),
            filled=filled,
        )
        .collect()
    )
    quotes, orders = rows.filter("quoted"), rows.filter(~pl.col("quoted"))
    level = quotes["price"].to_numpy() * 2 + quotes["side"].to_numpy()
    both = (_moved(quotes, level), _moved(orders, orders["order_id"].to_numpy()))
    return pl.concat(both).select("t", "price", "side", "change").filter(pl.col("change") != 0)


def _moved(rows: pl.DataFrame, key: np.ndarray) -> pl.DataFrame:
    """Rows that set what a key holds, or fill part of it: by how much each changes it."""
    order = np.argsort(key, kind="stable")
    rows, key = rows[order], key[order]
    lots, fills = rows["lots"].to_numpy(), rows["filled"].to_numpy()
    first = np.concatenate([[True], key[1:] != key[:-1]])[: len(key)]
    last_set = np.maximum.accumulate(np.where(first | ~fills, np.arange(len(key)), 0))
    taken = np.cumsum(np.where(fills, lots, 0))
    held = np.where(fills[last_set], 0, lots[last_set])
    rests = np.maximum(held - (taken - taken[last_set]), 0)
    before = np.where(first, 0, np.roll(rests, 1))
    return rows.with_columns(change=pl.Series(rests - before, dtype=pl.Int64))


def read_depth(
    run_dir: Path | str, moved: pl.DataFrame, symbol: str, clock: tuple[int, int], decimals: int
) -> Depth | None:
    """The grid of one market round its marks, from first to last nanosecond; None if empty.

    `moved` are the `changes` of the market, which has so many decimals.
    """
    marks = _marks(run_dir, symbol, clock)
    if not len(marks):
        return None
    stretch = _stretch(clock[1] - clock[0])
    first = clock[0] - clock[0] % stretch
    columns = (clock[1] - first) // stretch + 1
    low, width, buckets = _prices(marks)
    bucket = np.floor((moved["price"].to_numpy() / 10**decimals - low) / width).astype(np.int64)
    when = np.clip((moved["t"].to_numpy() - first) // stretch, 0, columns)
    inside = (bucket >= 0) & (bucket < buckets) & (moved["t"].to_numpy() <= clock[1])
    if not inside.any():
        return None
    grids = []
    for side in (1, 2):
        chosen = inside & (moved["side"].to_numpy() == side)
        grid = np.zeros((buckets, columns), np.int64)
        np.add.at(grid, (bucket[chosen], when[chosen]), moved["change"].to_numpy()[chosen])
        grids.append(np.cumsum(grid, axis=1).tolist())
    prints = _prints(run_dir, symbol, (first, clock[0], clock[1], stretch), (low, width))
    return Depth(symbol, first, stretch, low, width, *grids, prints)


def _marks(run_dir: Path | str, symbol: str, clock: tuple[int, int]) -> np.ndarray:
    return (
        pl.scan_parquet(Path(run_dir) / "marks.parquet")
        .filter(pl.col("market") == symbol)
        .filter(pl.col("time").cast(pl.Int64).is_between(*clock))
        .select(pl.col("mark_price").cast(pl.Float64))
        .collect()["mark_price"]
        .drop_nulls()
        .to_numpy()
    )


def _prints(
    run_dir: Path | str,
    symbol: str,
    clock: tuple[int, int, int, int],
    prices: tuple[float, float],
) -> list[Print]:
    base, first, last, stretch = clock
    low, width = prices
    time, lots = pl.col("time").cast(pl.Int64), pl.col("lots")
    price = pl.col("price").cast(pl.Float64)
    found = (
        pl.scan_parquet(Path(run_dir) / "fills.parquet")
        .filter((pl.col("market") == symbol) & pl.col("cause").is_in(list(_PRINTS)))
        .filter(time.is_between(first, last))
        .select(
            "lots",
            start=(time - base) // stretch * stretch + base,
            way=pl.col("cause").cast(pl.String).replace_strict(_PRINTS),
            bucket=((price - low) / width).floor(),
            weighed=price * lots,
        )
        .group_by("start", "way", "bucket")
        .agg(pl.col("weighed").sum() / lots.sum(), fills=pl.len(), total=lots.sum())
        .sort("start", "way", "bucket")
        .collect()
    )
    return [
        Print(start, way, price, fills, total)
        for start, way, price, fills, total in found.select(
            "start", "way", "weighed", "fills", "total"
        ).rows()
    ]


def _stretch(span_ns: int) -> int:
    """A round length that cuts a span into few enough stretches."""
    for seconds in (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600):
        if span_ns // (seconds * 10**9) < COLUMNS_MAX - 1:
            return seconds * 10**9
    days = 1 + span_ns // (86_400 * 10**9 * (COLUMNS_MAX - 1))
    return days * 86_400 * 10**9


def _prices(marks: np.ndarray) -> tuple[float, float, int]:
    """Lowest price, width and number of the buckets that hold the marks and a little beyond."""
    low, high = float(marks.min()), float(marks.max())
    beyond = max(_REACH * (high - low), _REACH * high)
    low, high = max(low - beyond, 0.0), high + beyond
    power = 10.0 ** np.floor(np.log10((high - low) / BUCKETS_MAX))
    width = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= (high - low) / BUCKETS_MAX)
    start = np.floor(low / width) * width
    return float(start), float(width), int(np.ceil((high - start) / width))
