"""liquibook, a book in C++: called from Python through its wrapper, or by a loop in C++ over the
headers that the package brings.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "liquibook"
LIMIT, IOC, CANCEL, MOVE = range(4)

Player = Callable[[], tuple[float, list[Any]]]


def player(way: str, rows: np.ndarray, folder: Path) -> Player:
    """A function that plays the rows once; trades are (maker, taker, price, lots)."""
    return _calls(rows) if way == "calls" else _loop(rows, folder)


def _calls(rows: np.ndarray) -> Player:
    import liquibook

    messages = rows.tolist()

    class Listener(liquibook.OrderListener):  # type: ignore[misc]
        """Keeps what was filled, by the engine's own numbers of orders."""

        def __init__(self) -> None:
            super().__init__()
            self.found: list[Any] = []

        def on_fill(self, taker: Any, maker: Any, lots: int, price: int) -> None:
            """One trade."""
            self.found.append((maker.order_id_, taker.order_id_, price, lots))

        def on_accept(self, order: Any) -> None:
            """Not counted."""

        on_cancel = on_accept

    def play() -> tuple[float, list[Any]]:
        listener, book = Listener(), liquibook.DepthOrderBook()
        book.set_order_listener(listener)
        live: dict[int, Any] = {}
        names: dict[int, int] = {}
        began = time.perf_counter()
        for kind, order_id, sells, price, lots in messages:
            if kind >= CANCEL:
                book.cancel(live.pop(order_id))
            if kind == CANCEL:
                continue
            only_now = liquibook.oc_immediate_or_cancel if kind == IOC else 0
            order = liquibook.SimpleOrder(not sells, price, lots, 0, only_now)
            live[order_id] = order
            names[order.order_id_] = order_id
            book.add(order, only_now)
        seconds = time.perf_counter() - began
        return seconds, [(names[maker], names[taker], price, lots)
                         for maker, taker, price, lots in listener.found]  # fmt: skip

    return play


def _loop(rows: np.ndarray, folder: Path) -> Player:
    import liquibook
    from built import built, looped

    headers = Path(liquibook.__file__).parents[1] / "include" / "liquibook"
    library = built("liquibook_loop.cpp", folder, ["-std=c++17", f"-I{headers}"])
    return looped(library, rows)
