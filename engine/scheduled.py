"""Accounts stated by name and commands at times, as COMMAND rows.

`Stage` turns the texts of a scenario into integers and refuses, by field, what does not fit the
venue. What the messages hold is said in `staged.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from engine import constants as c
from engine.constants import CommandKind, Flag, PositionSide
from engine.profile import VenueProfile
from engine.rows import COMMAND
from engine.staged import FUND_NAME, Account, HeldPosition, Scheduled
from engine.units import UnitError, parse_decimal
from engine.venue import MarketNumbers

BLOCK_ROWS_MAX = 65_536
ORDERS = ("buy", "sell")
SIDES = {"long": PositionSide.LONG, "short": PositionSide.SHORT}

Row = dict[str, int]


@dataclass(frozen=True)
class Stage:
    """Named accounts and scheduled commands of one scenario on its venue.

    `first_id` is the id of the first copy of the first account; `fail` refuses a field.
    """

    accounts: Sequence[Account]
    schedule: Sequence[Scheduled]
    profile: VenueProfile
    numbers: Mapping[str, tuple[int, MarketNumbers]]
    first_id: int
    fail: Callable[[str, str], NoReturn]

    @cached_property
    def ids(self) -> dict[str, range]:
        """Account ids of every name, one for each copy."""
        found, next_id = {FUND_NAME: range(1, 2)}, self.first_id
        for account in self.accounts:
            found[account.name] = range(next_id, next_id + account.copies)
            next_id += account.copies
        return found

    def check(self) -> None:
        """Refuse what does not fit the venue."""
        for index in range(len(self.accounts)):
            self._phases(index)
        for index in range(len(self.schedule)):
            self._scheduled(index)

    def setup(self, time_ns: int) -> Iterator[np.ndarray]:
        """Blocks that open, fund and seed every named account, phase by phase."""
        opened = [self._phases(index) for index in range(len(self.accounts))]
        for phase in range(max(map(len, opened), default=0)):
            for account, phases in zip(self.accounts, opened, strict=True):
                for row in phases[phase]:
                    yield from _copied(row, self.ids[account.name], range(time_ns, time_ns + 1))

    def streams(self) -> Iterator[Iterator[np.ndarray]]:
        """One stream of rows for every scheduled command."""
        orders = 0
        for index, item in enumerate(self.schedule):
            row, owners = self._scheduled(index), range(1)
            if item.account == FUND_NAME:
                owners = self._fund(item, f"schedule[{index}]")
            elif item.account is not None:
                owners = self.ids[item.account]
            times = item.times_ns()
            if item.command in ORDERS:
                yield _copied(row, owners, times, orders + 1)
                orders += len(owners) * len(times)
            else:
                yield _copied(row, owners, times)

    def _fund(self, item: Scheduled, place: str) -> range:
        """The one insurance fund that answers for the command's market, or for all of the run's."""
        symbols = [item.market] if item.market else self.numbers
        found = {self.numbers[symbol][1].fund_id for symbol in symbols}
        if len(found) > 1:
            self.fail(f"{place}.market", f"expected one of {len(found)} markets with a fund each")
        account_id = found.pop()
        return range(account_id, account_id + 1)

    def _price(self, text: str, symbol: str, field: str) -> int:
        market = self.profile.markets[self.numbers[symbol][0] - 1]
        return self._parsed(text, market.price_decimals, field)

    def _money(self, text: str, field: str) -> int:
        return self._parsed(text, self.profile.settlement.decimals, field)

    def _parsed(self, text: str, decimals: int, field: str) -> int:
        try:
            value = parse_decimal(text, decimals)
        except UnitError as error:
            self.fail(field, str(error))
        if abs(value) > c.MONEY_MAX:
            self.fail(field, f"expected at most {c.MONEY_MAX} smallest units, got {text}")
        return value

    def _phases(self, index: int) -> list[list[Row]]:
        """Rows without owner that set up one account, in phases: isolated seeds before cross."""
        account, place = self.accounts[index], f"accounts[{index}]"
        wallet = self._money(account.wallet, f"{place}.wallet")
        phases: list[list[Row]] = [[] for _ in range(5)]
        flags = Flag.HEDGE if account.hedge else 0
        phases[0].append(_row(CommandKind.OPEN_ACCOUNT, flags=flags))
        if wallet:
            phases[1].append(_row(CommandKind.DEPOSIT, amount=wallet))
        for nth, asset in enumerate(account.assets):
            market_id, numbers = self.numbers[asset.market]
            if numbers.contract != c.Contract.COLLATERAL:
                field = f"{place}.assets[{nth}].market"
                self.fail(field, f"expected a collateral, got {asset.market!r}")
            kind = CommandKind.DEPOSIT_ASSET
            phases[2].append(_row(kind, market_id=market_id, lots=asset.lots))
        for nth, held in enumerate(account.positions):
            rows = self._position(held, account.hedge, f"{place}.positions[{nth}]")
            phases[2] += rows[:-1]
            phases[3 if held.margin is not None else 4].append(rows[-1])
        return phases

    def _position(self, held: HeldPosition, hedge: bool, place: str) -> list[Row]:
        """Margin mode, leverage and the position itself."""
        market_id, numbers = self.numbers[held.market]
        if numbers.contract == c.Contract.COLLATERAL:
            self.fail(f"{place}.market", f"expected a futures market, got {held.market!r}")
        entry = self._price(held.entry, held.market, f"{place}.entry")
        if not numbers.price_min <= entry <= numbers.price_max:
            self.fail(f"{place}.entry", f"outside the market's prices: {held.entry}")
        side = SIDES[held.side] if hedge else PositionSide.NET
        leg: Row = {"market_id": market_id, "position_side": int(side)}
        isolated = int(Flag.ISOLATED) if held.margin is not None else 0
        rows = []
        if isolated:
            rows.append(_row(CommandKind.SET_MARGIN_MODE, market_id=market_id, flags=isolated))
        if held.leverage is not None:
            rows.append(_row(CommandKind.SET_LEVERAGE, **leg, amount=held.leverage))
        margin = self._money(held.margin or "0", f"{place}.margin")
        lots = held.lots if held.side == "long" else -held.lots
        seed = {"lots": lots, "price": entry, "amount": margin, "flags": isolated}
        return [*rows, _row(CommandKind.SEED_POSITION, **leg, **seed)]

    def _scheduled(self, index: int) -> Row:
        """One scheduled command without owner and time."""
        item, place = self.schedule[index], f"schedule[{index}]"
        market_id = self.numbers[item.market][0] if item.market else 0
        values: Row = {"market_id": market_id, "lots": item.lots or 0}
        if item.price is not None and item.market is not None:
            values["price"] = self._price(item.price, item.market, f"{place}.price")
        if item.amount is not None:
            values["amount"] = self._money(item.amount, f"{place}.amount")
        if item.rate_ppb is not None:
            values["amount"] = item.rate_ppb
        if item.account == FUND_NAME:
            if item.command != "deposit":
                self.fail(f"{place}.account", "the fund only takes deposits")
            self._fund(item, place)
            values["market_id"] = 0
        elif item.command == "deposit" and item.market:
            self.fail(f"{place}.market", "expected a market with the fund only")
        if item.command == "force_close":
            values["amount"] = int(c.Force.EMERGENCY)
        if item.command not in ORDERS:
            return _row(CommandKind[item.command.upper()], **values)
        values["side"] = int(c.Side.BUY if item.command == "buy" else c.Side.SELL)
        limit = item.price is not None
        values["order_type"] = int(c.OrderType.LIMIT if limit else c.OrderType.MARKET)
        values["time_in_force"] = int(c.TimeInForce.GTC if limit else c.TimeInForce.IOC)
        return _row(CommandKind.NEW_ORDER, **values)


def _row(kind: CommandKind, **fields: int) -> Row:
    return {"kind": int(kind), **fields}


def _copied(row: Row, owners: range, times: range, order_id: int = 0) -> Iterator[np.ndarray]:
    """The row for every owner at every time, in blocks; with order ids from `order_id` on."""
    total = len(owners) * len(times)
    for start in range(0, total, BLOCK_ROWS_MAX):
        nth = np.arange(start, min(start + BLOCK_ROWS_MAX, total))
        block = np.zeros(len(nth), COMMAND)
        for name, value in row.items():
            block[name] = value
        block["time_ns"] = times.start + nth // len(owners) * times.step
        block["account_id"] = owners.start + nth % len(owners)
        if order_id:
            block["order_id"] = order_id + nth
        yield block
