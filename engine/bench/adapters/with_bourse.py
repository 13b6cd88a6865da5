"""bourse, a market in Rust, called from Python. Its order ids count from 0 in order of arrival.

Its queues are ordered by price and time, so every order that rests needs a time of its own.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "bourse"
LIMIT, IOC, CANCEL, MOVE = range(4)

Player = Callable[[], tuple[float, list[Any]]]


def player(way: str, rows: np.ndarray, folder: Path) -> Player:
    """A function that plays the rows once; trades are (maker, taker, price, lots)."""
    from bourse.core import OrderBook

    messages = rows.tolist()

    def play() -> tuple[float, list[Any]]:
        book = OrderBook(0, 1, True)
        place, cancel, modify = book.place_order, book.cancel_order, book.modify_order
        set_time, now = book.set_time, 0
        began = time.perf_counter()
        for kind, order_id, sells, price, lots in messages:
            if kind in (LIMIT, MOVE):
                now += 1
                set_time(now)
            if kind == LIMIT:
                place(not sells, lots, 0, price)
            elif kind == IOC:
                place(not sells, lots, 0)
            elif kind == CANCEL:
                cancel(order_id - 1)
            else:
                modify(order_id - 1, price)
        trades = book.get_trades()
        seconds = time.perf_counter() - began
        return seconds, [(maker + 1, taker + 1, price, lots)
                         for _, _, price, lots, taker, maker in trades]  # fmt: skip

    return play
