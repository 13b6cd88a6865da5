"""Seeded command generators: for fuzzing both implementations, benchmarks and synthetic crashes.

A `Fuzzer` draws commands that are mostly sensible and sometimes wrong in every way there is a
refusal for. Sizes and prices are biased to edges. The same seed draws the same commands; what it
draws depends on nothing but the seed and the options.
"""

import random
from dataclasses import dataclass, field

from engine import constants as c
from engine.constants import CommandKind as K
from engine.profile import VenueProfile
from engine.rows import COMMAND
from engine.venue import DepthCurve, market_numbers

FIELDS = COMMAND.names

WEIGHTS = {
    K.OPEN_ACCOUNT: 2,
    K.DEPOSIT: 6,
    K.WITHDRAW: 6,
    K.SET_LEVERAGE: 4,
    K.SET_MARGIN_MODE: 3,
    K.SET_POSITION_MODE: 1,
    K.MOVE_MARGIN: 3,
    K.NEW_ORDER: 60,
    K.CANCEL: 10,
    K.CANCEL_ALL: 1,
    K.AMEND: 8,
    K.INDEX: 14,
    K.MARK: 2,
    K.TRADE: 3,
    K.DEPTH: 6,
    K.DEPTH_CLEAR: 1,
    K.FUNDING: 3,
    K.SEED_POSITION: 4,
    K.FORCE_CLOSE: 1,
    K.CHECK_MARGIN: 2,
    K.SETTLE: 2,
    K.DELIVER: 0.4,
    K.DEPOSIT_ASSET: 3,
    K.WITHDRAW_ASSET: 2,
    K.VOLUNTEER: 3,
    K.CLOCK: 4,
}


@dataclass
class Fuzzer:
    """Draws commands for one profile. `wrong` is the share of commands with a broken field."""

    profile: VenueProfile
    seed: int
    curves: dict[int, DepthCurve] = field(default_factory=dict)
    accounts: int = 12
    wrong: float = 0.05
    swing_ppm: int = 30_000  # size of an ordinary index move
    deposit_quote: int = 0  # typical deposit; 0: one order's initial margin

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.numbers = [market_numbers(self.profile, market) for market in self.profile.markets]
        self.prices = [
            max(n.price_min, min(n.price_max // 4, n.tick_price * 20_000)) for n in self.numbers
        ]
        self.start_prices = list(self.prices)
        self.now_ns = 0
        self.next_order_id = 1
        self.open_orders: list[tuple[int, ...]] = []  # account_id, order_id, market, price, lots
        self.weights = dict(WEIGHTS)
        for kind in self.weights:  # swarm: every seed has its own temper
            self.weights[kind] *= self.random.choice((0.2, 1, 1, 1, 3))
        self.hedged = set()

    # -- pieces -------------------------------------------------------------------------------

    def account(self) -> int:
        """An account id, opened or not."""
        return c.FIRST_USER_ID + self.random.randrange(self.accounts)

    def funds(self) -> list[int]:
        """Account ids of the insurance funds."""
        return sorted({c.SystemAccount.INSURANCE_FUND.value, *(n.fund_id for n in self.numbers)})

    def market(self) -> int:
        """The index of a market."""
        return self.random.randrange(len(self.numbers))

    def near(self, index: int, spread_ppm: int) -> int:
        """A price on the tick, near the market's present one."""
        numbers, rng = self.numbers[index], self.random
        price = self.prices[index]
        price += price * rng.randint(-spread_ppm, spread_ppm) // c.PPM
        price = price // numbers.tick_price * numbers.tick_price
        low = -(-numbers.price_min // numbers.tick_price) * numbers.tick_price
        return min(max(price, low), numbers.price_max)

    def lots(self, index: int) -> int:
        """A size; one of the edges now and then."""
        numbers, rng = self.numbers[index], self.random
        pick = rng.random()
        if pick < 0.05:
            return numbers.order_lots_min
        if pick < 0.08:
            return numbers.order_lots_max
        if pick < 0.12:
            return min(numbers.order_lots_max, 2 ** rng.randrange(1, 20) + rng.randint(-1, 1) or 1)
        return rng.randint(1, 40) * rng.choice((1, 1, 5, 25))

    def money(self) -> int:
        """An amount round the typical deposit, or one unit."""
        rng = self.random
        typical = self.deposit_quote or 10 ** (self.profile.settlement.decimals + 3)
        return rng.choice((1, typical, typical // 7, typical * 10)) + rng.randint(0, 3)

    # -- commands -----------------------------------------------------------------------------

    def draw(self, count: int) -> list[tuple[int, ...]]:
        """The next `count` commands, as tuples in COMMAND field order."""
        kinds, weights = list(self.weights), list(self.weights.values())
        return [self.one(kind) for kind in self.random.choices(kinds, weights=weights, k=count)]

    def opening(self) -> list[tuple[int, ...]]:
        """Prices, a fund and accounts with money, so that a short run already trades."""
        rows = []
        for index in range(len(self.numbers)):
            rows.append(self.row(kind=K.INDEX, market_id=index + 1, price=self.prices[index]))
        for fund in self.funds():
            rows.append(self.row(kind=K.DEPOSIT, account_id=fund, amount=self.money()))
        for offset in range(self.accounts - 2):
            account_id = c.FIRST_USER_ID + offset
            flags = int(c.Flag.HEDGE) if offset % 4 == 3 else 0
            if flags:
                self.hedged.add(account_id)
            rows.append(self.row(kind=K.OPEN_ACCOUNT, account_id=account_id, flags=flags))
            rows.append(self.row(kind=K.DEPOSIT, account_id=account_id, amount=self.money()))
        return rows

    def avalanche(self, count: int) -> list[tuple[int, ...]]:
        """Longs with ever more margin over a book with one lot every 3 000 ppm, and the trade
        that starts them falling: each liquidation takes the bid that liquidates the next.

        It needs a market without a curve whose mark is the median: recorded quotes far below
        the index make a basis that lets the mark follow the last price down.
        """
        numbers = self.numbers[0]
        price = self.start_prices[0]
        self.prices[0] = price

        def below(ppm: int) -> int:
            return price * (c.PPM - ppm) // c.PPM // numbers.tick_price * numbers.tick_price

        rows = [self.row(kind=K.DEPTH_CLEAR, market_id=1)]
        for side, ppm in ((1, 300_000), (2, 280_000)):
            rows.append(self.row(kind=K.DEPTH, market_id=1, side=side, price=below(ppm), lots=1))
        for _ in range(32):
            self.now_ns += 10**10
            rows.append(self.row(kind=K.INDEX, market_id=1, price=price))
        rows.append(self.row(kind=K.DEPTH_CLEAR, market_id=1))
        rows.append(self.row(kind=K.TRADE, market_id=1, price=price))
        lots = 20
        notional = lots * (price * numbers.unit_quote or numbers.face_quote // price)
        for place in range(1, count + 1):
            account_id = c.FIRST_USER_ID + self.accounts + place
            wallet = notional * (numbers.tier_maintenance_ppm[0] + 3_000 * place - 500) // c.PPM
            position = {"market_id": 1, "lots": lots, "price": price}
            rows.append(self.row(kind=K.OPEN_ACCOUNT, account_id=account_id))
            rows.append(self.row(kind=K.DEPOSIT, account_id=account_id, amount=wallet))
            rows.append(self.row(kind=K.SEED_POSITION, account_id=account_id, **position))
            bid = {"market_id": 1, "side": 1, "price": below(3_000 * place + 3_000), "lots": 1}
            rows.append(self.row(kind=K.DEPTH, **bid))
        rows.append(self.row(kind=K.TRADE, market_id=1, price=below(3_000)))
        return rows

    def one(self, kind: int) -> tuple[int, ...]:
        """One command of a kind, perhaps with a field spoiled."""
        self.now_ns += self.random.choice((0, 0, 1, 10**6, 10**9, 7 * 10**9))
        values = getattr(self, f"_{K(kind).name.lower()}")()
        values["kind"] = kind
        if self.random.random() < self.wrong:
            self.spoil(values)
        return self.row(**values)

    def row(self, **values: int) -> tuple[int, ...]:
        """A command tuple from its fields; the time is now unless given."""
        values.setdefault("time_ns", self.now_ns)
        return tuple(int(values.get(name, 0)) for name in FIELDS)

    def spoil(self, values: dict[str, int]) -> None:
        """Break one field."""
        rng = self.random
        name = rng.choice([name for name in FIELDS if name != "reserved"])
        small = name in ("side", "order_type", "time_in_force", "position_side")
        small = small or name in ("self_trade", "trigger_kind", "flags", "kind", "market_id")
        if small:
            values[name] = rng.choice((-1, 0, 1, 2, 3, 4, 5, 8, 9, 99))
        elif name == "time_ns":
            values[name] = self.now_ns - rng.choice((1, 10**9, 10**18))
        elif name == "order_id" and self.open_orders and rng.random() < 0.7:
            values[name] = rng.choice(self.open_orders)[1]  # taken, or somebody else's
        else:
            old = values.get(name, 0)
            values[name] = rng.choice((-1, 0, 1, old + 1, old - 1, -old, 2**40, 2**61, 2**62 + 1))

    def _side(self, account_id: int) -> int:
        if account_id in self.hedged:
            return self.random.choice((1, 2))
        return 0

    def _open_account(self) -> dict[str, int]:
        return {"account_id": self.account(), "flags": self.random.choice((0, 0, 4))}

    def _deposit(self) -> dict[str, int]:
        venue = self.random.choice((*self.funds(), c.SystemAccount.BACKSTOP.value))
        account_id = self.random.choice((self.account(), self.account(), venue))
        amount = c.MONEY_MAX if self.random.random() < 0.02 else self.money()
        return {"account_id": account_id, "amount": amount}

    def _withdraw(self) -> dict[str, int]:
        return {"account_id": self.account(), "amount": self.money() // 5 + 1}

    def _set_leverage(self) -> dict[str, int]:
        account_id = self.account()
        return {
            "account_id": account_id,
            "market_id": self.market() + 1,
            "position_side": self._side(account_id),
            "amount": self.random.choice((1, 2, 5, 20, 50, 100, 125)),
        }

    def _set_margin_mode(self) -> dict[str, int]:
        return {
            "account_id": self.account(),
            "market_id": self.market() + 1,
            "flags": self.random.choice((0, 8, 8)),
        }

    def _set_position_mode(self) -> dict[str, int]:
        return {"account_id": self.account(), "flags": self.random.choice((0, 4))}

    def _move_margin(self) -> dict[str, int]:
        account_id = self.account()
        return {
            "account_id": account_id,
            "market_id": self.market() + 1,
            "position_side": self._side(account_id),
            "amount": self.money() // 20 * self.random.choice((1, -1)) or 1,
        }

    def _new_order(self) -> dict[str, int]:
        rng, index, account_id = self.random, self.market(), self.account()
        order_id = self.next_order_id
        self.next_order_id += 1
        kind = rng.choices((1, 2, 3, 4), weights=(60, 20, 10, 10))[0]
        values = {
            "account_id": account_id,
            "order_id": order_id,
            "market_id": index + 1,
            "side": rng.choice((1, 2)),
            "order_type": kind,
            "time_in_force": rng.choices((1, 2, 3), weights=(80, 12, 8))[0],
            "position_side": self._side(account_id),
            "lots": self.lots(index),
            "self_trade": rng.randrange(4),
            "flags": rng.choices((0, 1, 2, 3), weights=(75, 14, 9, 2))[0],
        }
        if kind in (1, 3):
            values["price"] = self.near(index, rng.choice((200, 2_000, 20_000, 80_000)))
        if values["flags"] & 2 and (kind not in (1, 3) or rng.random() < 0.9):
            values["time_in_force"] = 1
        if kind in (3, 4):
            values["trigger_kind"] = rng.choice((1, 2, 3))
            values["trigger_price"] = self.near(index, 30_000)
        if rng.random() < 0.01:
            values[rng.choice(("price", "trigger_price"))] = self.near(index, 30_000) + 1
        if self.open_orders and rng.random() < 0.01:
            values["order_id"] = order_id = rng.choice(self.open_orders)[1]
        live = (account_id, order_id, index, values.get("price", 0), values["lots"])
        self.open_orders = [*self.open_orders[-59:], live]
        return values

    def _live(self) -> tuple[int, ...]:
        if self.open_orders and self.random.random() < 0.95:
            return self.random.choice(self.open_orders)
        return self.account(), self.next_order_id + 5, self.market(), 0, 1

    def _cancel(self) -> dict[str, int]:
        account_id, order_id, *_ = self._live()
        if self.random.random() < 0.03:
            account_id = self.account()
        return {"account_id": account_id, "order_id": order_id}

    def _cancel_all(self) -> dict[str, int]:
        return {"account_id": self.account(), "market_id": self.random.choice((0, 1))}

    def _amend(self) -> dict[str, int]:
        account_id, order_id, index, price, lots = self._live()
        if self.random.random() < 0.5:
            lots = max(1, lots * self.random.randint(1, 4) // 4)
        else:
            price, lots = self.near(index, 5_000), self.lots(index)
        return {"account_id": account_id, "order_id": order_id, "price": price, "lots": lots}

    def _move(self, index: int) -> int:
        """The next index price: usually near, sometimes a crash, sometimes back home."""
        rng, numbers = self.random, self.numbers[index]
        price = self.prices[index]
        pick = rng.random()
        if pick < 0.02:
            price = self.start_prices[index]
        elif pick < 0.05:
            price = price * rng.choice((60, 75, 130, 160)) // 100
        else:
            price += price * rng.randint(-self.swing_ppm, self.swing_ppm) // c.PPM
        price = min(max(price, numbers.price_min), numbers.price_max)
        self.prices[index] = price
        return price

    def _index(self) -> dict[str, int]:
        index = self.market()
        return {"market_id": index + 1, "price": self._move(index)}

    def _mark(self) -> dict[str, int]:
        index = self.market()
        return {"market_id": index + 1, "price": self._move(index)}

    def _trade(self) -> dict[str, int]:
        index, side = self.market(), self.random.choice((0, 1, 2))
        trade = {"market_id": index + 1, "price": self.near(index, 20_000), "side": side}
        return trade | {"lots": self.lots(index) if side else 0}

    def _depth(self) -> dict[str, int]:
        rng, index = self.random, self.market()
        side = rng.choice((1, 2))
        price = self.near(index, rng.choice((10_000, 10_000, 300_000)))
        lots = rng.choice((0, self.lots(index) * 5, 1))
        return {"market_id": index + 1, "side": side, "price": price, "lots": lots}

    def _depth_clear(self) -> dict[str, int]:
        return {"market_id": self.market() + 1}

    def _funding(self) -> dict[str, int]:
        index = self.market()
        price = self._move(index) if self.random.random() < 0.4 else 0
        rate = self.random.choice((0, 1, -1, 100_000, -750_000, 10_000_000, 30_000_000))
        return {"market_id": index + 1, "price": price, "amount": rate}

    def _seed_position(self) -> dict[str, int]:
        rng, index, account_id = self.random, self.market(), self.account()
        isolated = rng.random() < 0.5
        side = self._side(account_id)
        sign = {0: rng.choice((1, -1)), 1: 1, 2: -1}[side]
        return {
            "account_id": account_id,
            "market_id": index + 1,
            "position_side": side,
            "lots": sign * self.lots(index),
            "price": self.near(index, 20_000),
            "amount": self.money() // 3 if isolated else 0,
            "flags": 8 if isolated else 0,
        }

    def _force_close(self) -> dict[str, int]:
        return {
            "account_id": self.account(),
            "market_id": self.random.choice((0, self.market() + 1)),
            "lots": self.random.choice((0, 0, 5, 40)),
            "amount": self.random.choice((1, 2, 3, 4)),
        }

    def _check_margin(self) -> dict[str, int]:
        return {}

    def _settle(self) -> dict[str, int]:
        index = self.market()
        market_id = self.random.choice((0, 0, index + 1))
        price = self.near(index, 5_000) if market_id and self.random.random() < 0.5 else 0
        return {"market_id": market_id, "price": price}

    def _deliver(self) -> dict[str, int]:
        index = self.market()
        return {"market_id": index + 1, "price": self.near(index, 20_000)}

    def _asset_market(self) -> int:
        found = [i for i, n in enumerate(self.numbers) if n.contract == c.Contract.COLLATERAL]
        return (self.random.choice(found) if found else self.market()) + 1

    def _deposit_asset(self) -> dict[str, int]:
        market_id = self._asset_market()
        return {
            "account_id": self.account(),
            "market_id": market_id,
            "lots": self.lots(market_id - 1),
        }

    def _withdraw_asset(self) -> dict[str, int]:
        market_id = self._asset_market()
        return {
            "account_id": self.account(),
            "market_id": market_id,
            "lots": self.random.choice((1, 10, 100)),
        }

    def _volunteer(self) -> dict[str, int]:
        account_id = self.account()
        return {
            "account_id": account_id,
            "market_id": self.market() + 1,
            "position_side": self._side(account_id),
            "lots": self.random.choice((0, 3, 50, 10_000)),
        }

    def _clock(self) -> dict[str, int]:
        return {}
