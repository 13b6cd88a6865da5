"""A scenario's files of public formats as COMMAND rows: which importer reads which kind.

Importers turn bytes into rows; here a scenario's file is checked and read by its `kind` and `as`,
and depth bands, which are distances from a mid price, meet the index they are distances from.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from engine.constants import CommandKind, Flag, Side
from engine.importers import binance_vision
from engine.importers.catalogue import (
    BANDS,
    FACTS,
    GENERIC,
    KINDS,
    check_columns,
    read_file,
)
from engine.importers.common import (
    FormatCode,
    FormatError,
    MarketSpec,
    new_commands,
    source_name,
)
from engine.messages import PriceFile
from engine.units import format_time_ns
from engine.venue import MarketNumbers


def check_kind(file: PriceFile) -> str:
    """Why a file cannot be read as asked, or "" where it can."""
    roles = [role for role in KINDS.get(file.kind, ()) if role != FACTS]
    if not roles:
        wanted = ", ".join(kind for kind, roles in KINDS.items() if roles != (FACTS,))
        return f"expected a kind of {wanted}, got {file.kind!r}"
    if file.role not in roles:
        return f"expected as = {' or '.join(roles)} for {file.kind}, got {file.role!r}"
    if file.kind == GENERIC:
        return check_columns(file.columns, file.role)
    return "" if file.columns is None else f"expected no column map for {file.kind}"


def file_rows(
    file: PriceFile, path: Path, spec: MarketSpec, numbers: MarketNumbers,
    index: Iterable[np.ndarray],
) -> Iterable[np.ndarray]:  # fmt: skip
    """Rows of one file in time order. `index` is the market's INDEX rows, for depth bands.

    Raises FormatError where the file is damaged, or its bands make no book as asked for.
    """
    rows = read_file(
        file.kind,
        path,
        spec,
        file.role,
        file.symbol or file.market,
        columns=file.columns,
        trim_spaces=file.trim_spaces,
    )
    return band_rows(file, rows, spec.market_id, numbers, index) if file.kind == BANDS else rows


def band_rows(
    file: PriceFile, bands_read: Iterable[np.ndarray], market_id: int, numbers: MarketNumbers,
    index: Iterable[np.ndarray],
) -> Iterator[np.ndarray]:  # fmt: skip
    """Depth bands as DEPTH_CLEAR and DEPTH rows round the last index price before them."""
    prices = ((int(row["time_ns"]), int(row["price"])) for rows in index for row in rows)
    mid, ahead = 0, next(prices, None)
    for bands in bands_read:
        parts = []
        for block in binance_vision.split_bands(bands):
            time_ns = int(block["time_ns"][0])
            while ahead is not None and ahead[0] <= time_ns:
                mid, ahead = ahead[1], next(prices, None)
            if mid:
                parts.append(_checked_quotes(file, block, mid, market_id, numbers))
        if parts:
            yield np.concatenate(parts)


def _checked_quotes(
    file: PriceFile, block: np.ndarray, mid: int, market_id: int, numbers: MarketNumbers
) -> np.ndarray:
    """The same, and a refusal where the bands of one time make no book as asked for."""
    try:
        return _quotes(file, block, mid, market_id, numbers)
    except ValueError as error:
        place = format_time_ns(int(block["time_ns"][0]))
        raise FormatError(
            source_name(file.path), place, "", FormatCode.CONTENTS, str(error)
        ) from None


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


def recorded_as(block: np.ndarray, use: str) -> np.ndarray:
    """Recorded trades that only tell a price lose their side: nothing is matched then (R137)."""
    sided = (block["kind"] == CommandKind.TRADE) & (block["side"] != 0)
    if use == "price" and sided.any():
        block = block.copy()
        block["side"][sided] = 0
    return block
