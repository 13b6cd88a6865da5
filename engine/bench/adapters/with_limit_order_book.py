"""limit-order-book, a book in C++: its calls give back no trades, so nothing can be checked."""

from io import UnsupportedOperation
from pathlib import Path

import numpy as np

PACKAGE = "limit-order-book"


def player(way: str, rows: np.ndarray, folder: Path) -> None:
    """Refuses, unless a later version reports what was traded."""
    from limit_order_book import LimitOrderBook

    book = LimitOrderBook()
    book.limit_sell(1, 1, 100)
    book.limit_buy(2, 1, 100)
    reports = [name for name in dir(book) if "trade" in name or "fill" in name]
    raise UnsupportedOperation(
        f"reports trades by {reports[0]}, which is not used yet"
        if reports
        else "its interface reports no trades, so its result cannot be checked"
    )
