"""A scenario's files of public formats as COMMAND rows: which importer reads which kind.

Importers turn bytes into rows; here a scenario's `kind` and `as` choose one, and depth bands,
which are distances from a mid price, meet the index they are distances from.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from engine.constants import CommandKind, Flag, Side
from engine.importers import binance_vision, hftbacktest_npz, raw_websocket
from engine.importers.common import MarketSpec, new_commands
from engine.messages import PriceFile
from engine.venue import MarketNumbers

# kind -> what its rows can be used as
KINDS = {
    "klines": ("index", "mark"),
    "indexPriceKlines": ("index",),
    "markPriceKlines": ("mark",),
    "bookDepth": ("depth",),
    "hftbacktest": ("depth",),
    "rawWebsocket": ("depth",),
}


def check_kind(file: PriceFile) -> str:
    """Why a file cannot be read as asked, or "" where it can."""
    if file.kind not in KINDS:
        return f"expected a kind of {', '.join(KINDS)}, got {file.kind!r}"
    if file.role not in KINDS[file.kind]:
        return f"expected as = {' or '.join(KINDS[file.kind])} for {file.kind}, got {file.role!r}"
    return ""


def file_rows(
    file: PriceFile, path: Path, spec: MarketSpec, numbers: MarketNumbers,
    index: Iterable[np.ndarray],
) -> Iterable[np.ndarray]:  # fmt: skip
    """Rows of one file in time order. `index` is the market's INDEX rows, for depth bands.

    Raises FormatError where the file is damaged and ValueError where bands and index do not fit.
    """
    if file.kind == "klines":
        kind = CommandKind.INDEX if file.role == "index" else CommandKind.MARK
        return binance_vision.read_klines(path, spec, as_kind=kind)
    if file.kind == "indexPriceKlines":
        return binance_vision.read_index_klines(path, spec)
    if file.kind == "markPriceKlines":
        return binance_vision.read_mark_klines(path, spec)
    if file.kind == "hftbacktest":
        return hftbacktest_npz.read_hftbacktest(path, spec)
    if file.kind == "rawWebsocket":
        return raw_websocket.read_raw_feed(path, spec, file.market)
    return _band_rows(file, path, spec, numbers, index)


def _band_rows(
    file: PriceFile, path: Path, spec: MarketSpec, numbers: MarketNumbers,
    index: Iterable[np.ndarray],
) -> Iterator[np.ndarray]:  # fmt: skip
    """Depth bands as DEPTH_CLEAR and DEPTH rows round the last index price before them."""
    prices = ((int(row["time_ns"]), int(row["price"])) for rows in index for row in rows)
    mid, ahead = 0, next(prices, None)
    for bands in binance_vision.read_book_depth(path, spec, trim_spaces=file.trim_spaces):
        parts = []
        for block in binance_vision.split_bands(bands):
            time_ns = int(block["time_ns"][0])
            while ahead is not None and ahead[0] <= time_ns:
                mid, ahead = ahead[1], next(prices, None)
            if mid:
                parts.append(_quotes(file, block, mid, spec.market_id, numbers))
        if parts:
            yield np.concatenate(parts)


def _quotes(
    file: PriceFile, block: np.ndarray, mid: int, market_id: int, numbers: MarketNumbers
) -> np.ndarray:
    """One block of bands round `mid`: DEPTH_CLEAR, then each level, prices rounded away from it."""
    bids, asks = binance_vision.curve_from_bands(
        block,
        sides="averaged" if file.average_sides else "separate",
        levels_per_band=file.levels_per_band,
        subtract_lots=file.subtract_lots,
    )
    tick = numbers.tick_price
    sides = []
    for side, levels, sign in ((Side.BUY, bids, -1), (Side.SELL, asks, 1)):
        away = -(-mid * levels[:, 0] // (1_000_000 * tick)) * tick
        price = (mid // tick if sign < 0 else -(-mid // tick)) * tick + sign * away
        rows = new_commands(len(levels), market_id)
        rows["kind"], rows["side"] = CommandKind.DEPTH, side
        rows["price"], rows["lots"] = price, levels[:, 1]
        held = (levels[:, 1] > 0) & (price >= numbers.price_min) & (price <= numbers.price_max)
        sides.append(rows[held])
    clear = new_commands(1, market_id)
    clear["kind"] = CommandKind.DEPTH_CLEAR
    quotes = np.concatenate([clear, *sides])
    quotes["time_ns"] = block["time_ns"][0]
    quotes["flags"][-1] = Flag.LAST_OF_BLOCK if len(quotes) > 1 else 0
    return quotes
