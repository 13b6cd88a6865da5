"""Formats of one JSON message a line: order-book archives and the fills of a chain's nodes.

The messages are decoded here and become the columns that `columnar.py` reads like those of any
other format, so prices, sizes, time and repeats obey one set of rules.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta, Struct

from engine.constants import Cause
from engine.importers.columnar import import_tables
from engine.importers.common import (
    FormatCode,
    FormatError,
    Import,
    MarketSpec,
    shown,
    source_name,
)
from engine.importers.formats import NODE_FILLS, NODE_LIQUIDATIONS, ORDERBOOK_500
from engine.importers.packed import JSON_ERRORS, read_lines
from engine.importers.table import Table

T = TypeVar("T")
DELEVERAGED = "Auto-Deleveraging"  # `dir` of the fill of the one who is deleveraged
Columns = dict[str, list]


def read_messages(path: Path | str, decoder: msgspec.json.Decoder[T]) -> Iterator[list]:
    """Yield lists of (line, message), a chunk of the file at a time."""
    source = source_name(path)
    for first_line, chunk in read_lines(path):
        messages = []
        for line, text in enumerate(chunk.removesuffix(b"\n").split(b"\n"), first_line):
            try:
                messages.append((line, decoder.decode(text)))
            except JSON_ERRORS as error:
                reason = f"{error}, got {shown(text)}"
                raise FormatError(source, f"line {line}", "", FormatCode.CONTENTS, reason) from None
        yield messages


def _table(source: str, columns: Columns) -> Table:
    lines = np.array(columns.pop("line"), np.int64)
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return Table(source, 0, frame, lines)


# --- order books: a snapshot of 500 levels, then what changed

Levels = list[tuple[str, str]]


class _BookData(Struct):
    symbol: str = msgspec.field(name="s")
    bids: Levels = msgspec.field(name="b")
    asks: Levels = msgspec.field(name="a")
    update: Annotated[int, Meta(ge=1)] = msgspec.field(name="u")


class _BookMessage(Struct):
    kind: Literal["snapshot", "delta"] = msgspec.field(name="type")
    sent_ms: int = msgspec.field(name="ts")
    data: _BookData
    matched_ms: int = msgspec.field(name="cts", default=0)


def read_orderbook_500(path: Path | str, market: MarketSpec, role: str, symbol: str) -> Import:
    """Import `orderbook.500` messages as DEPTH_CLEAR and DEPTH rows at the engine's time `cts`.

    A message that does not follow the one before (`u`) is counted as a gap and withdraws
    the book until the next snapshot; the messages in between are counted as `unsynced`.
    """
    tables = _book_tables(path, symbol)
    return import_tables(ORDERBOOK_500, tables, source_name(path), market, role, symbol)


def _book_tables(path: Path | str, symbol: str) -> Iterator[Table]:
    source, update = source_name(path), 0
    for messages in read_messages(path, msgspec.json.Decoder(_BookMessage)):
        names = ("line", "time", "message", "snapshot", "side", "price", "size")
        columns: Columns = {name: [] for name in names}
        counts = {"messages": len(messages), "gaps": 0, "unsynced": 0}
        levels_read = 0
        for line, message in messages:
            data = message.data
            if data.symbol != symbol:
                reason = f"expected {symbol}, got {shown(data.symbol)}"
                raise FormatError(source, f"line {line}", "s", FormatCode.WRONG_MARKET, reason)
            levels = [("b", *level) for level in data.bids] + [("a", *level) for level in data.asks]
            levels_read += len(levels)
            follows = message.kind == "snapshot" or (update and data.update == update + 1)
            if not follows:
                counts["unsynced"] += 1
                counts["gaps"] += update > 0
                # An empty snapshot: a level of size 0 is none, but the book is cleared.
                levels = [(side, price, "0") for side, price, _ in levels[:1]] if update else []
            update = data.update if follows else 0
            count = len(levels)
            columns["line"] += [line] * count
            columns["time"] += [str(message.matched_ms or message.sent_ms)] * count
            columns["message"] += [str(line)] * count
            columns["snapshot"] += ["0" if message.kind == "delta" and follows else "1"] * count
            for column, values in zip(
                ("side", "price", "size"), zip(*levels, strict=True), strict=False
            ):
                columns[column] += values
        table = _table(source, columns)
        table.rows_read, table.counts = levels_read, counts
        yield table


# --- fills of a chain's nodes, block by block


class _Liquidation(Struct):
    user: str = msgspec.field(name="liquidatedUser")
    method: str


class _Fill(Struct):
    coin: str
    price: str = msgspec.field(name="px")
    size: str = msgspec.field(name="sz")
    side: Literal["A", "B"]
    time_ms: int = msgspec.field(name="time")
    direction: str = msgspec.field(name="dir")
    trade: int = msgspec.field(name="tid")
    crossed: bool
    liquidation: _Liquidation | None = None


class _Block(Struct):
    events: list[tuple[str, _Fill]]


def read_node_fills(path: Path | str, market: MarketSpec, role: str, symbol: str) -> Import:
    """Import `node_fills_by_block`: one TRADE for the two fills of a trade; or, as facts, one
    LIQUIDATION row for each fill of a liquidated account and each deleveraged one.

    A trade that deleverages somebody is made outside the book and is no TRADE row: it is counted
    as `adl_fills`. Fills of other coins are counted as `other_markets`.
    """
    facts = role == "facts"
    spec = NODE_LIQUIDATIONS if facts else NODE_FILLS
    tables = _fill_tables(path, symbol, facts)
    return import_tables(spec, tables, source_name(path), market, role, symbol)


def _fill_tables(path: Path | str, symbol: str, facts: bool) -> Iterator[Table]:
    for blocks in read_messages(path, msgspec.json.Decoder(_Block)):
        names = ("line", "time", "side", "price", "size", "cause")
        columns: Columns = {name: [] for name in names}
        counts = dict.fromkeys(("other_markets", "adl_fills", "liquidation_fills"), 0)
        fills_read, others = 0, set()
        for line, block in blocks:
            fills_read += len(block.events)
            own = [(user, fill) for user, fill in block.events if fill.coin == symbol]
            if len(own) < len(block.events):
                counts["other_markets"] += len(block.events) - len(own)
                others.add(next(fill.coin for _, fill in block.events if fill.coin != symbol))
            causes = [_cause(user, fill) for user, fill in own]
            counts["adl_fills"] += causes.count(Cause.ADL)
            counts["liquidation_fills"] += len(own) - causes.count(0) - causes.count(Cause.ADL)
            if facts:
                kept = [
                    (fill, cause) for (_, fill), cause in zip(own, causes, strict=True) if cause
                ]
            else:
                kept = _trades([fill for _, fill in own], causes)
            for fill, cause in kept:
                columns["line"].append(line)
                columns["time"].append(str(fill.time_ms))
                columns["side"].append(fill.side)
                columns["price"].append(fill.price)
                columns["size"].append(fill.size)
                columns["cause"].append(str(int(cause)))
        table = _table(source_name(path), columns)
        table.rows_read, table.counts = fills_read, counts
        table.others = tuple(others)
        yield table


def _cause(user: str, fill: _Fill) -> int:
    """The Cause of a fill that was forced on this user; 0 where it was not."""
    if fill.direction.startswith(DELEVERAGED):
        return Cause.ADL
    if fill.liquidation is None or fill.liquidation.user != user:
        return 0
    return Cause.TAKEOVER if fill.liquidation.method == "backstop" else Cause.LIQUIDATION


def _trades(fills: list[_Fill], causes: list[int]) -> list[tuple[_Fill, int]]:
    """The taker's fill of each trade of one block, without those that deleverage."""
    outside = {fill.trade for fill, cause in zip(fills, causes, strict=True) if cause == Cause.ADL}
    taken: dict[int, _Fill] = {}
    for fill in fills:
        if fill.trade not in outside and (fill.crossed or fill.trade not in taken):
            taken[fill.trade] = fill
    return [(fill, 0) for fill in taken.values()]
