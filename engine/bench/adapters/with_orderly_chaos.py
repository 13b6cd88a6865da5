"""orderly-chaos, a book in C++: called from Python, or by a loop in C through its C interface."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "orderly-chaos"
LIMIT, IOC, CANCEL, MOVE = range(4)
BUY = 0

Player = Callable[[], tuple[float, list[Any]]]


def player(way: str, rows: np.ndarray, folder: Path) -> Player:
    """A function that plays the rows once; trades are (maker, taker, price, lots)."""
    return _calls(rows) if way == "calls" else _loop(rows, folder)


def _calls(rows: np.ndarray) -> Player:
    from orderly_chaos import LimitOrderBook, Side

    messages = rows.tolist()

    def play() -> tuple[float, list[Any]]:
        found: list[Any] = []
        book = LimitOrderBook(on_trade=found.append)
        began = time.perf_counter()
        for kind, order_id, sells, price, lots in messages:
            if kind == CANCEL:
                book.cancel(order_id)
                continue
            if kind == MOVE:
                book.cancel(order_id)
            side = Side.SELL if sells else Side.BUY
            if kind == IOC:
                book.market(side, order_id, lots)
            else:
                book.limit(side, order_id, lots, price)
        seconds = time.perf_counter() - began
        return seconds, [(t.maker_id, t.taker_id, t.price, t.quantity) for t in found]

    return play


def _loop(rows: np.ndarray, folder: Path) -> Player:
    from built import built, looped
    from orderly_chaos import _library

    engine = _library.candidate_paths()[0]
    library = built("orderly_chaos_loop.c", folder, [engine, f"-Wl,-rpath,{Path(engine).parent}"])
    return looped(library, rows)
