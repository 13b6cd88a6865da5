"""The rulebook's order book: price-time priority on two SortedDicts.

Orders and levels only. Who may trade, what a fill does to a position and what it costs are in
other files. Prices are price units, sizes are lots.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sortedcontainers import SortedDict

from engine.constants import Side


@dataclass
class Order:
    """One order, resting in the book or waiting for its trigger."""

    order_id: int
    account_row: int
    market_id: int
    side: int
    position_side: int
    order_type: int
    time_in_force: int
    price: int
    lots: int
    flags: int
    self_trade: int
    trigger_price: int
    trigger_kind: int
    seq: int
    triggered: bool = False


class Book:
    """R10. Better prices first; at one price, earlier orders first."""

    def __init__(self) -> None:
        self.bids: SortedDict = SortedDict()  # minus price -> {order_id: Order}, oldest first
        self.asks: SortedDict = SortedDict()  # price -> {order_id: Order}, oldest first

    def side(self, side: int) -> SortedDict:
        return self.bids if side == Side.BUY else self.asks

    @staticmethod
    def key(side: int, price: int) -> int:
        return -price if side == Side.BUY else price

    def best(self, side: int) -> int:
        """Best price of a side, 0 when it is empty."""
        levels = self.side(side)
        return abs(levels.peekitem(0)[0]) if levels else 0

    def first(self, side: int) -> Order:
        """The order that trades next on a side that is not empty."""
        return next(iter(self.side(side).peekitem(0)[1].values()))

    def rest(self, order: Order) -> None:
        levels = self.side(order.side)
        levels.setdefault(self.key(order.side, order.price), {})[order.order_id] = order

    def remove(self, order: Order) -> None:
        levels = self.side(order.side)
        key = self.key(order.side, order.price)
        del levels[key][order.order_id]
        if not levels[key]:
            del levels[key]

    def orders(self, side: int) -> Iterator[Order]:
        """Every order of a side in the order in which it would trade."""
        for level in self.side(side).values():
            yield from level.values()


def crosses(side: int, limit: int, price: int) -> bool:
    """R11. A buy trades at its limit or below, a sell at its limit or above."""
    return price <= limit if side == Side.BUY else price >= limit


def opposite(side: int) -> int:
    return Side.SELL if side == Side.BUY else Side.BUY


def signed(side: int, lots: int) -> int:
    """Lots as a change of position: buying is positive."""
    return lots if side == Side.BUY else -lots
