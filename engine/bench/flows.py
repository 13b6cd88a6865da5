"""Seeded order flows on one market, and what the rulebook's book makes of each.

`realistic` rests, cancels and takes round a walking price; `exchcore` is the mix of commands that
exchange-core publishes for its own benchmark; `crash` falls by 30 % through a deep book with bursts
of market sells. Two more begin with a book of so many orders: `live` keeps their number, and
`cancelled` takes nearly all of them out, one by one, and trades across the gaps. Every cancel and
move names an order that is live at that moment. Nothing here is timed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from engine.constants import Side
from engine.core.flow import FLOW, MULTIPLIER, Op
from engine.reference.book import Book, Order, crosses, opposite

MASK = 2**64 - 1
MID = 100_000
BUY, SELL = int(Side.BUY), int(Side.SELL)


@dataclass(frozen=True)
class Flow:
    """FLOW rows, and the trades, quantity, checksum and live orders they must give."""

    name: str
    rows: np.ndarray
    trades: int
    qty: int
    checksum: int
    live: int
    opening: int = 0  # rows that only fill the book


class Recorder:
    """Applies each message to the rulebook's book and keeps it as a row."""

    def __init__(self, count: int) -> None:
        self.rows = np.zeros(count, dtype=FLOW)
        self.count = 0
        self.next_id = 1
        self.book = Book()
        self.live: dict[int, Order] = {}
        self.ids: list[int] = []  # live ids, for uniform picks
        self.place: dict[int, int] = {}
        self.trades = self.qty = self.checksum = 0
        self.last_trade = MID

    def _row(self, op: Op, order_id: int, side: int, price: int, lots: int) -> None:
        self.rows[self.count] = (op, order_id, side, price, lots)
        self.count += 1

    def _match(self, order_id: int, side: int, limit: int, lots: int) -> int:
        """Trade what crosses; limit 0 is no limit. Returns the lots left."""
        against = opposite(side)
        while lots and (best := self.book.best(against)):
            if limit and not crosses(side, limit, best):
                break
            maker = self.book.first(against)
            fill = min(lots, maker.lots)
            lots -= fill
            maker.lots -= fill
            for value in (maker.order_id, order_id, best, fill):
                self.checksum = (self.checksum * MULTIPLIER + value) & MASK
            self.trades += 1
            self.qty += fill
            self.last_trade = best
            if maker.lots == 0:
                self._remove(maker.order_id)
        return lots

    def _remove(self, order_id: int) -> Order:
        order = self.live.pop(order_id)
        self.book.remove(order)
        at, last = self.place.pop(order_id), self.ids.pop()
        if last != order_id:
            self.ids[at] = last
            self.place[last] = at
        return order

    def _enter(self, order_id: int, side: int, price: int, lots: int) -> None:
        lots = self._match(order_id, side, price, lots)
        if lots:
            order = Order(order_id, 1, 1, side, 0, 1, 1, price, lots, 0, 0, 0, 0, order_id)
            self.book.rest(order)
            self.live[order_id] = order
            self.place[order_id] = len(self.ids)
            self.ids.append(order_id)

    def limit(self, side: int, price: int, lots: int) -> int:
        """A limit order that rests what does not trade; returns its id."""
        order_id = self.next_id
        self.next_id += 1
        self._row(Op.LIMIT, order_id, side, price, lots)
        self._enter(order_id, side, price, lots)
        return order_id

    def market(self, side: int, lots: int) -> bool:
        """A market order; returns whether all of it traded."""
        order_id = self.next_id
        self.next_id += 1
        self._row(Op.IOC, order_id, side, 0, lots)
        return self._match(order_id, side, 0, lots) == 0

    def cancel(self, order_id: int) -> None:
        """Take a live order out."""
        order = self._remove(order_id)
        self._row(Op.CANCEL, order_id, order.side, order.price, 0)

    def move(self, order_id: int, price: int) -> None:
        """Enter a live order again at another price, with the lots it has left."""
        order = self._remove(order_id)
        self._row(Op.MOVE, order_id, order.side, price, order.lots)
        self._enter(order_id, order.side, price, order.lots)

    def best(self, side: int) -> int:
        """Best price of a side, 0 where it is empty."""
        return self.book.best(side)

    def depth(self, side: int, levels: int) -> int:
        """Lots in the best `levels` price levels of a side."""
        best = islice(self.book.side(side).values(), levels)
        return sum(order.lots for level in best for order in level.values())

    def passive(self, side: int, fair: int, away: int, lots: int) -> int:
        """Rest an order `away` from the fair price, or just short of the other side."""
        other = self.best(opposite(side))
        if side == BUY:
            price = min(fair - away, other - 1) if other else fair - away
        else:
            price = max(fair + 1 + away, other + 1) if other else fair + 1 + away
        return self.limit(side, price, lots)


def realistic(flow: Recorder, count: int, seed: int) -> None:
    """About 45 % passive limits with a fat-tailed depth, 45 % cancels, 10 % marketable."""
    rng = np.random.default_rng(seed)
    act, pick, third = (rng.random(count).tolist() for _ in range(3))
    walk = (MID + np.cumsum(rng.normal(0, 0.2, count))).tolist()
    away = np.minimum(rng.pareto(1.2, count) * 3, 3_000).astype(int).tolist()
    lots = (1 + rng.lognormal(3.0, 1.0, count)).astype(int).tolist()
    big = (1 + rng.lognormal(2.5, 1.1, count)).astype(int).tolist()
    recent = [0] * 512
    for i in range(count):
        live = len(flow.ids)
        cancels = min(0.7, max(0.0, 0.45 + 0.15 * (live - 4_000) / 4_000))
        side = BUY if pick[i] < 0.5 else SELL
        thin = live < 200 or not flow.best(BUY) or not flow.best(SELL)
        if not thin and act[i] < cancels:
            order_id = recent[int(third[i] * 512)] if pick[i] < 0.5 else 0
            if order_id not in flow.live:
                order_id = flow.ids[int(third[i] * live)]
            flow.cancel(order_id)
        elif thin or act[i] < 0.90:
            order_id = flow.passive(side, int(walk[i]), away[i], lots[i])
            recent[order_id % 512] = order_id
        elif third[i] < 0.5:
            flow.market(side, big[i])
        else:
            through = int(third[i] * 8) - 4
            best = flow.best(opposite(side))
            flow.limit(side, best + through if side == BUY else best - through, big[i])


class _ExchcoreMix:
    """9 % limit orders, 3 % market orders, 6 % cancels, 82 % moves over about 1,000 live orders.

    A new order is placed round the last trade, a move goes 1 % of the way to it.
    """

    HALF, DEVIATION = 500, 5_000

    def __init__(self, flow: Recorder, count: int, seed: int) -> None:
        self.flow = flow
        draws = np.random.default_rng(seed).random(16 * count).tolist()
        self.draw: Callable[[], float] = iter(draws).__next__
        self.ages: dict[int, None] = {}  # live ids, oldest first; a move keeps its place
        self.lack = {BUY: self.HALF, SELL: self.HALF}
        self.full = False

    def side(self) -> int:
        return BUY if int(self.draw() * 4) >= 2 else SELL

    def last(self) -> int:
        reach = 5 * self.DEVIATION
        return min(MID + reach, max(MID - reach, self.flow.last_trade))

    def size(self) -> int:
        draw = self.draw
        return 1 + int(draw() * 6) * int(draw() * 6) * int(draw() * 6)

    def rest(self) -> None:
        side = self.side()
        reach = 1 + int(self.draw() ** 2 * self.DEVIATION)
        away = abs(sum(int(self.draw() * reach) for _ in range(4)) // 4 * 2 - reach)
        price = self.last() + (away if side == SELL else -away)
        self.ages[self.flow.limit(side, price, self.size())] = None

    def count_sides(self) -> None:
        bids = sum(order.side == BUY for order in self.flow.live.values())
        asks = len(self.flow.live) - bids
        self.lack = {BUY: self.HALF - bids, SELL: self.HALF - asks}

    def step(self) -> None:
        side = self.side()
        grows = self.lack[side] > 0
        fast = not self.full or self.lack[side] > 375
        self.full |= not self.full and not grows
        pick = int(self.draw() * ((2 if fast else 10) if grows else 40))
        if pick >= 2 and self.ages:
            self.change(pick)
        elif grows:
            self.rest()
        elif not self.flow.market(self.side(), self.size()):
            self.count_sides()

    def change(self, pick: int) -> None:
        """Cancel or move one of the oldest 512."""
        flow, draw = self.flow, self.draw
        while True:
            at = int(draw() * min(len(self.ages), 512))
            order_id = next(islice(self.ages, at, None))
            if order_id in flow.live:
                break
            del self.ages[order_id]
        if pick == 2:
            del self.ages[order_id]
            flow.cancel(order_id)
            return
        before, last = flow.live[order_id].price, self.last()
        way = (last - before) * 0.01
        if before > last:
            way = int(np.floor(way))
        elif before < last:
            way = int(np.ceil(way))
        else:
            way = int(draw() * 2) * 2 - 1
        flow.move(order_id, min(before + way, MID + 5 * self.DEVIATION))


def exchcore(flow: Recorder, count: int, seed: int) -> None:
    """The mix of exchange-core's benchmark; see `_ExchcoreMix`."""
    mix = _ExchcoreMix(flow, count, seed)
    check = 512
    for i in range(count):
        if i < 2 * mix.HALF:
            mix.rest()
        else:
            mix.step()
        if i >= check:
            check += 512
            mix.count_sides()


def crash(flow: Recorder, count: int, seed: int) -> None:
    """A fall of 30 %; every 2,500 messages five market sells of the best 100 bid levels each."""
    rng = np.random.default_rng(seed)
    act, pick, third = (rng.random(count).tolist() for _ in range(3))
    fall = MID * (1 - 0.30 * np.arange(count) / count)
    fair = (fall + np.cumsum(rng.normal(0, 0.5, count))).tolist()
    away = np.minimum(rng.pareto(1.1, count) * 40, 3_000).astype(int).tolist()
    lots = (1 + rng.lognormal(2.5, 1.0, count)).astype(int).tolist()
    for i in range(count):
        live, bid, ask = len(flow.ids), flow.best(BUY), flow.best(SELL)
        phase = i % 2_500
        if i > 20_000 and phase < 100 and phase % 20 == 0 and bid:
            flow.market(SELL, flow.depth(BUY, 100))
            continue
        thin = live < 1_000 or not bid or not ask
        cancels = min(0.7, max(0.05, 0.38 + 0.3 * (live - 7_000) / 7_000))
        if not thin and act[i] < cancels:
            flow.cancel(flow.ids[int(third[i] * live)])
        elif thin or act[i] < 0.95:
            flow.passive(BUY if pick[i] < 0.6 else SELL, int(fair[i]), away[i], lots[i])
        elif pick[i] < 0.8:
            flow.market(SELL, 3 * lots[i])
        else:
            flow.limit(BUY, ask + int(third[i] * 10), 3 * lots[i])


REACH = 30_000  # ticks of a deep book on either side of the middle
LEFT = 200  # orders that `cancelled` leaves


def _fill_book(flow: Recorder, orders: int, rng: np.random.Generator) -> None:
    """Rest that many orders at random prices within REACH."""
    away = rng.integers(1, REACH, orders).tolist()
    lots = (1 + rng.lognormal(3.0, 1.0, orders)).astype(int).tolist()
    for number, (ticks, size) in enumerate(zip(away, lots, strict=True)):
        flow.passive(BUY if number % 2 else SELL, MID, ticks, size)


def live(flow: Recorder, count: int, rng: np.random.Generator) -> None:
    """A tenth takes about one order; the rest are new orders and cancels, so that as many stay."""
    wanted = len(flow.ids)
    act, pick, third = (rng.random(count).tolist() for _ in range(3))
    away = rng.integers(1, REACH, count).tolist()
    lots = (1 + rng.lognormal(3.0, 1.0, count)).astype(int).tolist()
    for i in range(count):
        side = BUY if pick[i] < 0.5 else SELL
        more = 0.5 - 0.5 * (len(flow.ids) - wanted) / wanted
        if act[i] < min(0.8, max(0.1, more)):
            flow.passive(side, MID, away[i], lots[i])
        elif act[i] < 0.9:
            flow.cancel(flow.ids[int(third[i] * len(flow.ids))])
        else:
            flow.market(side, lots[i])


def cancelled(flow: Recorder, count: int, rng: np.random.Generator) -> None:
    """Nine of ten cancel a random order until LEFT are left; the rest trade or rest anew."""
    act, pick, third = (rng.random(count).tolist() for _ in range(3))
    away = rng.integers(1, REACH, count).tolist()
    lots = (1 + rng.lognormal(2.0, 1.0, count)).astype(int).tolist()
    for i in range(count):
        side = BUY if pick[i] < 0.5 else SELL
        if act[i] < 0.9 and len(flow.ids) > LEFT:
            flow.cancel(flow.ids[int(third[i] * len(flow.ids))])
        elif act[i] < 0.95:
            flow.market(side, lots[i])
        else:
            flow.passive(side, MID, away[i], lots[i])


FLOWS = {"realistic": realistic, "exchcore": exchcore, "crash": crash}
DEEP_FLOWS = {"live": live, "cancelled": cancelled}


def make_flow(name: str, count: int, seed: int) -> Flow:
    """A flow by name; the same numbers give the same rows.

    >>> flow = make_flow("realistic", 2_000, 1)
    >>> len(flow.rows), flow.trades > 0
    (2000, True)
    """
    recorder = Recorder(count)
    FLOWS[name](recorder, count, seed)
    return _recorded(name, recorder, 0)


def make_deep_flow(name: str, orders: int, count: int, seed: int) -> Flow:
    """A flow of `count` messages on a book of `orders` orders, which its first rows put there.

    >>> flow = make_deep_flow("live", 1_000, 500, 1)
    >>> len(flow.rows), flow.opening
    (1500, 1000)
    """
    recorder, rng = Recorder(orders + count), np.random.default_rng(seed)
    _fill_book(recorder, orders, rng)
    DEEP_FLOWS[name](recorder, count, rng)
    return _recorded(name, recorder, orders)


def _recorded(name: str, made: Recorder, opening: int) -> Flow:
    return Flow(name, made.rows, made.trades, made.qty, made.checksum, len(made.live), opening)
