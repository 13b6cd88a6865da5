"""lrvx, a trading framework in C++: its liquidation engine on quiet marks over isolated positions.

The rows are accounts (quantity, entry, equity, each in its smallest unit) and then marks; a round
gives no trade, because no position may be liquidated.
"""

import time
from collections.abc import Callable
from io import UnsupportedOperation
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "lrvx"
SYMBOL = 1

Player = Callable[[], tuple[float, list[Any]]]


def player(way: str, rows: np.ndarray, folder: Path) -> Player:
    """A function that applies every mark once; each liquidation would count as a trade.

    Rows are tiers (0, least notional, rate in ppm, -), positions (1, milli-units, price in cents,
    millionths of equity), and marks (2, price in cents, -, -).
    """
    if way != "ticks":
        raise UnsupportedOperation("its order-by-order book does not match orders")
    from lrvx import LiquidationEngine

    engine = LiquidationEngine()
    marks = []
    for number, (kind, first, second, third) in enumerate(rows.tolist()):
        if kind == 0:
            engine.add_tier(first, second / 1e6)
        elif kind == 1:
            engine.open_position(number, SYMBOL, first / 1e3, second / 1e2, third / 1e6)
        else:
            marks.append(first / 1e2)

    def play() -> tuple[float, list[Any]]:
        began = time.perf_counter()
        for mark in marks:
            engine.on_mark(SYMBOL, mark)
        seconds = time.perf_counter() - began
        return seconds, [(0, 0, 0, 0)] * engine.liquidations_count()

    return play
