"""A population as the columns of a positions file, and back out to Parquet chunk by chunk.

Exactly what `file.py` reads: what a chunk holds here and what is read from it there are the same
population, to the unit.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.population.columns import Population, PopulationError
from engine.population.file import Rows
from engine.profile import VenueProfile

CHUNK_ROWS = 65_536  # of one row group


def rows_of(population: Population) -> Rows:
    """One row for every position and every asset; an account's free money on its first row."""
    owner = np.concatenate([population.account_row, population.asset_row])
    order = np.argsort(owner, kind="stable")
    assets = np.zeros(len(population.asset_row), np.int64)
    funds = np.concatenate([population.margin_quote, assets])[order]
    free = population.deposit_quote.copy()
    np.subtract.at(free, population.account_row, population.margin_quote)
    owner = owner[order]
    wallet = np.zeros(len(owner), np.int64)
    known, first = np.unique(owner, return_index=True)
    wallet[first] = free[known]

    def joined(positions: np.ndarray, held: np.ndarray) -> np.ndarray:
        return np.concatenate([positions, held])[order]

    return Rows(
        account=population.account_id[owner],
        market_id=joined(population.market_id, population.asset_market_id),
        lots=joined(population.lots, population.asset_lots),
        entry=joined(population.entry_price, assets),
        leverage=joined(population.leverage, assets + 1),
        isolated=joined(population.isolated, assets),
        funds=funds,
        wallet=wallet,
    )


def arrow_table(rows: Rows, profile: VenueProfile) -> pa.Table:
    """The rows with the names and types that a positions file has."""
    symbols = pa.array(["", *(market.symbol for market in profile.markets)])
    places = [market.price_decimals for market in profile.markets]
    most = max(places)
    scale = np.array([1, *(10 ** (most - place) for place in places)], np.int64)[rows.market_id]
    if len(rows.entry) and int((rows.entry // 2**31).max()) * int(scale.max()) >= 2**31:
        raise PopulationError(f"entry_price: prices with {most} decimals pass 2**62")
    money = profile.settlement.decimals
    market = pa.DictionaryArray.from_arrays(pa.array(rows.market_id.astype(np.int32)), symbols)
    return pa.table({
        "account_id": rows.account,
        "market": market.cast(pa.string()),
        "lots": rows.lots,
        "entry_price": _decimals(rows.entry * scale, most),
        "collateral": _decimals(rows.funds, money),
        "isolated": pa.array(rows.isolated > 0),
        "leverage": rows.leverage.astype(np.int16),
        "wallet": _decimals(rows.wallet, money),
    })  # fmt: skip


def _decimals(units: np.ndarray, places: int) -> pa.Array:
    """Whole units as exact decimals: sixteen bytes each, low word first."""
    words = np.empty((len(units), 2), "<i8")
    words[:, 0], words[:, 1] = units, units >> 63
    kind = pa.decimal128(38, places)
    return pa.Array.from_buffers(kind, len(units), [None, pa.py_buffer(words)])


def write_rows(parts: Iterable[Rows], profile: VenueProfile, output: Path) -> int:
    """Write a Parquet file; it gets its name when it is whole. Returns the rows.

    Every row group but the last has CHUNK_ROWS rows, however the parts are cut.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    schema = arrow_table(Rows(*[np.zeros(0, np.int64)] * 8), profile).schema
    held, count = schema.empty_table(), 0
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for rows in parts:
                held = pa.concat_tables([held, arrow_table(rows, profile)])
                whole = len(held) // CHUNK_ROWS * CHUNK_ROWS
                for start in range(0, whole, CHUNK_ROWS):
                    writer.write_table(held.slice(start, CHUNK_ROWS))
                held, count = held.slice(whole), count + whole
            writer.write_table(held)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return count + len(held)
