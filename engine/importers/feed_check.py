"""Does what was imported lead to the best quotes the same source reports?

`check_feed` keeps a book of two dictionaries from the commands of a raw capture and compares it
with the quote in force; `check_flow` does so order by order with a LOBSTER replay. These are
checks of the files and their importers, without the engine; the reading is in those importers.

A difference gathers all updates from U to u and shows only the book after u. A quote message is
sent whenever the best bid or ask changes, and carries the id of that update. So the quote in
force at u is the one with the highest id up to u, whichever of the two messages arrived first.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from msgspec import Struct

from engine import constants as c
from engine.importers.lobster import FlowBlock
from engine.importers.raw_websocket import QUOTE, STATE, FeedBlock
from engine.rows import COMMAND

EXACT, COVERED, CARRIED = 1, 2, 3


class FeedCheck(Struct, kw_only=True):
    """What `check_feed` found. Every state is in one of the first six counts or in `unquoted`.

    A state is the book after one message. `exact`: the quote has the id of the state. `covered`:
    its id lies within the difference, before its last. `carried`: it is older than the
    difference, which did not touch the best prices. Each is split into `_equal`, best prices and
    sizes all four as quoted, and `_different`. `unquoted` states come before the first quote.
    `overtaken` quotes are comparable with no state: another quote follows within the same
    difference, or no book was held at their id. `examples` holds the first few differences.
    """

    states: int = 0
    quotes: int = 0
    exact_equal: int = 0
    exact_different: int = 0
    covered_equal: int = 0
    covered_different: int = 0
    carried_equal: int = 0
    carried_different: int = 0
    unquoted: int = 0
    overtaken: int = 0
    crossed: int = 0  # states whose best bid is not below the best ask
    examples: list[str] = []

    @property
    def different(self) -> int:
        """States that disagree with the quote in force."""
        return self.exact_different + self.covered_different + self.carried_different


def pair_quotes(states: np.ndarray, quotes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of the quote in force at each state, -1 if none, and the kind of the pair.

    `states` has dtype STATE, `quotes` QUOTE; kinds are EXACT, COVERED, CARRIED, or 0 if none.

    >>> states = np.array([(0, 10, 19), (0, 20, 29), (0, 30, 39)], STATE)
    >>> quotes = np.zeros(2, QUOTE)
    >>> quotes["update_id"] = 23, 29
    >>> [part.tolist() for part in pair_quotes(states, quotes)]
    [[-1, 1, 1], [0, 1, 3]]
    """
    if len(quotes) == 0:
        return np.full(len(states), -1), np.zeros(len(states), np.int64)
    order = np.argsort(quotes["update_id"], kind="stable")
    ordered_ids = quotes["update_id"][order]
    found = np.searchsorted(ordered_ids, states["last_id"], side="right") - 1
    ids = ordered_ids[found]
    kinds = np.where(ids >= states["first_id"], COVERED, CARRIED)
    kinds[ids == states["last_id"]] = EXACT
    none = found < 0
    return np.where(none, -1, order[found]), np.where(none, 0, kinds)


def check_feed(
    blocks: Iterable[FeedBlock],
    examples_max: int = 10,
    book_of: Callable[[np.ndarray], Any] | None = None,
) -> FeedCheck:
    """Apply the commands of a capture and compare every state of the book with the feed's quotes.

    `book_of` makes a book of all commands, with the methods `advance(count)` and `best()` of the
    dictionary book that is the default. Holds the whole capture in memory:
    quotes arrive before and after the state they belong to.
    """
    held = list(blocks)
    commands = np.concatenate([np.zeros(0, COMMAND), *(block.commands for block in held)])
    quotes = np.concatenate([np.zeros(0, QUOTE), *(block.quotes for block in held)])
    states = np.concatenate([np.zeros(0, STATE), *(block.states for block in held)])
    quote_of, kinds = pair_quotes(states, quotes)
    check = FeedCheck(states=len(states), quotes=len(quotes))
    check.unquoted = int((quote_of < 0).sum())
    check.overtaken = len(quotes) - len(np.unique(quote_of[quote_of >= 0]))
    names = {EXACT: "exact", COVERED: "covered", CARRIED: "carried"}
    book = (book_of or _Book)(commands)
    pairs = zip(states.tolist(), quote_of.tolist(), kinds.tolist(), strict=True)
    for (count, _, last_id), place, kind in pairs:
        book.advance(count)
        best = book.best()
        check.crossed += best[0] >= best[2] > 0
        if place < 0:
            continue
        quoted = tuple(quotes[place].tolist()[3:])
        name = f"{names[kind]}_{'equal' if best == quoted else 'different'}"
        setattr(check, name, getattr(check, name) + 1)
        if best != quoted and len(check.examples) < examples_max:
            check.examples.append(f"update {last_id}: book {best}, {names[kind]} quote {quoted}")
    return check


class _Book:
    """Price levels in dictionaries, moved forward along the commands."""

    def __init__(self, commands: np.ndarray) -> None:
        fields = ("kind", "side", "price", "lots")
        self.rows = zip(*(commands[field].tolist() for field in fields), strict=True)
        self.done = 0
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def advance(self, count: int) -> None:
        """Apply commands until `count` of them are applied."""
        while self.done < count:
            self.done += 1
            kind, side, price, lots = next(self.rows)
            if kind == c.CommandKind.DEPTH_CLEAR:
                self.bids.clear()
                self.asks.clear()
            elif kind == c.CommandKind.DEPTH:
                levels = self.bids if side == c.Side.BUY else self.asks
                if lots:
                    levels[price] = lots
                else:
                    levels.pop(price, None)

    def best(self) -> tuple[int, int, int, int]:
        """Bid price and lots, ask price and lots; 0 and 0 for an empty side."""
        bid, ask = max(self.bids, default=0), min(self.asks, default=0)
        return bid, self.bids.get(bid, 0), ask, self.asks.get(ask, 0)


def check_flow(blocks: Iterable[FlowBlock], book: Any = None) -> tuple[int, int]:
    """Run order flow through a book by price and time; returns (rows with equal quotes, rows).

    `book` has the methods `add`, `reduce`, `take` and `best` of the dictionary book that is the
    default.
    Flow that no book can take (an id used twice, a reduction of more than rests, a taker that
    finds another price, a crossing add) is a fault of the importer: AssertionError.
    """
    book = book or _OrderBook()
    equal = rows = done = 0
    for block in blocks:
        flow = block.flow.iter_rows()
        for _, last_cmd, *wanted, _ in block.quotes.tolist():
            while done < last_cmd:
                done, _, op, order_id, side, price, size, _ = next(flow)
                if op == "add":
                    book.add(order_id, side, price, size)
                elif op == "ioc":
                    book.take(side, price, size)
                else:
                    book.reduce(order_id, size)
            equal += book.best() == tuple(wanted)
            rows += 1
    return equal, rows


class _OrderBook:
    """Orders in dictionaries: side -> price -> order id -> size, each level in queue order."""

    def __init__(self) -> None:
        self.levels: dict[str, dict[int, dict[int, int]]] = {"B": {}, "A": {}}
        self.places: dict[int, tuple[str, int]] = {}

    def add(self, order_id: int, side: str, price: int, size: int) -> None:
        assert order_id not in self.places, "an id is used once"
        self.places[order_id] = side, price
        self.levels[side].setdefault(price, {})[order_id] = size
        ask, _, bid, _ = self.best()
        assert bid < ask or ask == 0, "an add does not cross"

    def reduce(self, order_id: int, size: int) -> None:
        side, price = self.places[order_id]
        level = self.levels[side][price]
        assert 0 < size <= level[order_id], "a reduction is of what rests"
        level[order_id] -= size
        if level[order_id] == 0:
            del level[order_id], self.places[order_id]
        if not level:
            del self.levels[side][price]

    def take(self, side: str, price: int, size: int) -> None:
        while size:
            ask, _, bid, _ = self.best()
            assert price == (ask if side == "B" else bid), "a taker names the best price"
            first, there = next(iter(self.levels["A" if side == "B" else "B"][price].items()))
            self.reduce(first, min(there, size))
            size -= min(there, size)

    def best(self) -> tuple[int, int, int, int]:
        """Ask price and size, bid price and size; 0 and 0 for an empty side."""
        asks, bids = self.levels["A"], self.levels["B"]
        ask, bid = min(asks, default=0), max(bids, default=0)
        return ask, sum(asks.get(ask, {}).values()), bid, sum(bids.get(bid, {}).values())
