"""Writes small, consistent runs by hand: EVENT rows and the state's rows that belong to them.

Money moves in plain dictionaries and Python integers, one event at a time, so that the auditor
and the report are tested against something written differently. No exchange rules live here: a
story says what happened, whether or not a venue would have let it.
"""

import random
from collections import defaultdict

import numpy as np

from engine import constants as c
from engine.rows import EVENT
from engine.venue import MarketNumbers

FUND, FEES, ROUNDING = (int(c.SystemAccount[n]) for n in ("INSURANCE_FUND", "FEES", "ROUNDING"))
MAKER = int(c.SystemAccount.MARKET_MAKER)
K = c.EventKind


class Story:
    """Events so far and what they did."""

    def __init__(self, markets: list[MarketNumbers]) -> None:
        self.markets = markets
        self.seq, self.time_ns = 0, 1_584_000_000_000_000_000
        self.events: list[tuple] = []
        self.wallets: dict[int, int] = defaultdict(int)
        self.positions: dict[tuple[int, int, int], list[int]] = {}
        self.orders: dict[int, tuple[int, ...]] = {}
        self.prices = [[0, 0, 0] for _ in markets]
        self.accounts: list[int] = []

    def command(self, seconds: float = 1.0) -> None:
        self.seq += 1
        self.time_ns += int(seconds * 1e9)

    def emit(self, kind: int, **fields: int) -> None:
        row = {"seq": self.seq, "time_ns": self.time_ns, "kind": int(kind), **fields}
        self.events.append(tuple(row.get(name, 0) for name in EVENT.names))

    def array(self) -> np.ndarray:
        return np.array(self.events, EVENT)

    def open(self, account: int, amount: int) -> None:
        if account >= c.FIRST_USER_ID:
            self.command(0)
            self.accounts.append(account)
            self.emit(K.ACCOUNT_OPENED, account_id=account)
        self.command(0)
        self.wallets[account] += amount
        self.emit(K.DEPOSITED, account_id=account, amount=amount)

    def price(self, kind: int, price: int, market: int = 1) -> None:
        column = (K.INDEX_SET, K.MARK_SET, K.LAST_SET).index(kind)
        self.prices[market - 1][column] = price
        self.emit(kind, market_id=market, price=price)

    def rest(self, order: int, account: int, side: int, price: int, lots: int) -> None:
        self.orders[order] = (order, account, 1, side, price, lots)
        self.emit(
            K.RESTED,
            order_id=order,
            account_id=account,
            market_id=1,
            side=side,
            price=price,
            lots=lots,
        )

    def depth(self, side: int, price: int, lots: int) -> int:
        order = -(1 << c.MAKER_ID_MARKET_SHIFT | price)
        self.orders[order] = (order, MAKER, 1, side, price, lots)
        self.emit(K.DEPTH_SET, market_id=1, side=side, price=price, lots=lots)
        return order

    def value(self, market: int, lots: int, price: int) -> int:
        numbers = self.markets[market - 1]
        if numbers.payoff == c.Payoff.LINEAR:
            return lots * price * numbers.unit_quote
        whole, rest = divmod(-lots * numbers.face_quote, price)
        return whole + (2 * rest > price or (2 * rest == price and whole % 2 == 1))

    def fill(
        self,
        cause: int,
        taker: int,
        other: int,
        lots: int,
        price: int,
        *,
        fees: tuple[int, int] = (0, 0),
        maker_order: int = 0,
        market: int = 1,
        isolated: tuple[bool, bool] = (False, False),
    ) -> None:
        in_book = cause in (c.Cause.TRADE, c.Cause.LIQUIDATION)
        if maker_order:
            order = self.orders.pop(maker_order)
            if order[5] > abs(lots):
                self.orders[maker_order] = (*order[:5], order[5] - abs(lots))
        if in_book:
            self.prices[market - 1][2] = price
        for place, (me, you, change) in enumerate(((taker, other, lots), (other, taker, -lots))):
            realised = self._move(me, market, change, price, isolated[place])
            self._book(me, market, isolated[place], realised - fees[place])
            self.wallets[FEES] += fees[place]
            maker = in_book and place == 1
            self.emit(
                K.FILL,
                account_id=me,
                other_id=you,
                market_id=market,
                price=price,
                lots=change,
                order_id=maker_order if maker else 0,
                amount=realised,
                fee=fees[place],
                reason=int(cause),
                side=1 if change > 0 else 2,
                flags=c.Flag.MAKER * maker | c.Flag.ISOLATED * isolated[place],
            )

    def _move(self, account: int, market: int, change: int, price: int, isolated: bool) -> int:
        position = self.positions.setdefault((account, market, 0), [0, 0, 0])
        lots, entry, _ = position
        realised = 0
        if lots * change < 0:
            closed = min(abs(lots), abs(change))
            moved = abs(entry) * closed // abs(lots) * (1 if entry >= 0 else -1)
            realised = -self.value(market, closed if change > 0 else -closed, price) - moved
        position[0] += change
        position[1] += self.value(market, change, price) + realised
        return realised

    def _book(self, account: int, market: int, isolated: bool, amount: int) -> None:
        if isolated:
            self.positions[account, market, 0][2] += amount
        else:
            self.wallets[account] += amount

    def charge(self, kind: int, account: int, amount: int) -> None:
        """Fee, surplus, shortfall or bad debt between an account and the fund."""
        to_fund = amount if kind in (K.LIQUIDATION_FEE, K.SURPLUS) else -amount
        self.wallets[account] -= to_fund
        self.wallets[FUND] += to_fund
        self.emit(kind, account_id=account, other_id=FUND, market_id=1, amount=amount)

    def funding(self, account: int, amount: int) -> None:
        self.wallets[account] += amount
        self.emit(K.FUNDING_PAID, account_id=account, market_id=1, amount=amount)

    def start(self, account: int, equity: int, maintenance: int) -> None:
        mark = self.prices[0][1]
        self.emit(
            K.LIQUIDATION_STARTED, account_id=account, price=mark, amount=equity, fee=maintenance
        )

    def end(self, account: int, reason: int) -> None:
        amount = self.wallets[account]
        self.emit(K.LIQUIDATION_ENDED, account_id=account, amount=amount, reason=int(reason))

    def rows(self) -> dict[str, list[tuple[int, ...]]]:
        ids = sorted({*range(1, 6), *self.accounts})
        return {
            "accounts": [(i, self.wallets[i], 0) for i in ids],
            "positions": [(*key, *p, 0, 20) for key, p in sorted(self.positions.items()) if any(p)],
            "orders": [(*row, 0) for _, row in sorted(self.orders.items())],
            "markets": [(i + 1, p[0], 0, p[1], p[2]) for i, p in enumerate(self.prices)],
        }


def crash(markets: list[MarketNumbers], *, accounts: int = 400, minutes: int = 1200) -> Story:
    """A falling market: longs are liquidated into the book, the fund, and at last winners."""
    draw = random.Random(7)
    story = Story(markets)
    unit = markets[0].unit_quote
    start_price = 793_500
    story.open(FUND, 20_000_000 * 10**6)
    story.command()
    story.price(K.INDEX_SET, start_price)
    story.price(K.MARK_SET, start_price)
    longs, winner = [], 16
    story.open(winner, 900_000_000 * 10**6)
    story.open(17, 900_000_000 * 10**6)
    for account in range(18, 18 + accounts):
        lots = int(draw.paretovariate(1.2) * 2_000)
        leverage = draw.choice((3, 5, 10, 20, 50))
        entry = int(start_price * draw.uniform(0.98, 1.02))
        cost = lots * entry * unit
        story.open(account, cost // leverage)
        story.command(0)
        story.fill(c.Cause.SEED, account, draw.choice((16, 17)), lots, entry)
        longs.append((entry * (1 - 0.9 / leverage), account, lots, cost))
    longs.sort()
    mark = start_price
    for minute in range(minutes):
        story.command(60)
        drop = 260 * (1 + 4 * (480 < minute < 620))
        mark = max(380_000, mark + int(draw.gauss(-drop if minute < 900 else drop, 900)))
        story.price(K.INDEX_SET, mark + draw.randint(-700, 700))
        story.price(K.MARK_SET, mark)
        late = 1.05 if 540 < minute < 640 else 1.0
        while longs and longs[-1][0] > mark * late:
            _, account, lots, cost = longs.pop()
            _liquidate(story, draw, account, lots, cost, mark, minute)
        if minute % 480 == 479:
            story.funding(16, 1_000_000)
            story.funding(17, -1_000_001)
            story.wallets[ROUNDING] += 1
            story.emit(K.FUNDING_SETTLED, market_id=1, price=mark, amount=1)
    return story


def _liquidate(story, draw, account: int, lots: int, cost: int, mark: int, minute: int) -> None:
    """Part of it finds a bid; the rest goes to the fund, or to winners in the worst hour."""
    unit = story.markets[0].unit_quote
    equity = story.wallets[account] + lots * mark * unit - cost
    story.start(account, equity, max(equity, 0) + 1)
    bankrupt = (cost - story.wallets[account]) // (lots * unit)
    calm = minute < 480 or minute > 700
    booked = lots if calm else lots * draw.randint(20, 70) // 100
    price = max(mark - draw.randint(0, 400), bankrupt) if calm else max(bankrupt, mark - 300)
    order = story.depth(c.Side.BUY, price, booked)
    story.fill(
        c.Cause.LIQUIDATION,
        account,
        MAKER,
        -booked,
        price,
        maker_order=order,
        fees=(booked * price * unit // 2000, 0),
    )
    rest = lots - booked
    end = c.LiquidationEnd.CLOSED_IN_BOOK
    if rest:
        deleverage = 540 < minute < 640
        taker = draw.choice((16, 17)) if deleverage else FUND
        cause = c.Cause.ADL if deleverage else c.Cause.TAKEOVER
        story.fill(cause, account, taker, -rest, bankrupt)
        end = c.LiquidationEnd.DELEVERAGED if deleverage else c.LiquidationEnd.TAKEN_OVER
    _settle(story, account)
    story.end(account, end)


def _settle(story: Story, account: int) -> None:
    left = story.wallets[account]
    if left > 0:
        story.charge(K.LIQUIDATION_FEE, account, left // 2 or 1)
        if story.wallets[account]:
            story.charge(K.SURPLUS, account, story.wallets[account])
    elif left < 0:
        had = min(-left, max(story.wallets[FUND], 0))
        if had:
            story.charge(K.SHORTFALL, account, had)
        if had < -left:
            story.charge(K.BAD_DEBT, account, -left - had)
