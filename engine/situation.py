"""A situation: venue, prices, accounts with their positions and orders; and an exchange in it.

A situation is a TOML file without history. `load_situation` reads one, strictly; `Stage` builds an
exchange of either implementation from it, command by command, and is then driven further. Marks
are given, so the way the venue makes its mark is put aside: only the command MARK moves it.
"""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from msgspec import Meta, field
from msgspec.structs import replace

from engine import constants as c
from engine.constants import CommandKind, EventKind
from engine.exchange import Exchange
from engine.funds import fund_deposits
from engine.messages import Patch
from engine.patched import load_patched
from engine.profile import Market, VenueProfile
from engine.reference.exchange import ReferenceExchange
from engine.refusal import Refusal
from engine.rows import COMMAND, EVENT
from engine.shapes import DecimalText, Message, Name, PathText
from engine.strict import ScenarioError, decode_tree
from engine.units import UnitError, format_decimal, parse_decimal
from engine.venue import Capacities
from engine.views import DomainView

Implementation = Literal["rulebook", "core"]
ORDER_ID_FIRST = 1_000
START_NS = 1_000_000_000  # nothing happens at time 0, which some rules read as "never"
AverageKnown = "average_last"


class SituationError(Refusal):
    """A situation that cannot be: the account or market, and what the exchange refused."""


class Event(NamedTuple):
    """One EVENT row in Python."""

    seq: int
    time_ns: int
    account_id: int
    order_id: int
    other_id: int
    price: int
    lots: int
    amount: int
    fee: int
    market_id: int
    kind: int
    reason: int
    side: int
    position_side: int
    flags: int
    reserved: int


class BookLevel(Message, kw_only=True):
    """What somebody else offers in the book: size in units of the base (inverse: face value)."""

    side: Literal["buy", "sell"]
    price: DecimalText
    size: DecimalText


class MarketState(Message, kw_only=True):
    """Prices of one market; the index and the last price are the mark unless given."""

    mark: DecimalText
    index: DecimalText | None = None
    last: DecimalText | None = None
    book: tuple[BookLevel, ...] = ()


class PositionState(Message, kw_only=True):
    """A position: `size` in base (inverse: face value) or `lots`; `margin` makes it isolated."""

    market: Name
    side: Literal["long", "short"]
    size: DecimalText | None = None
    lots: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)] | None = None
    entry: DecimalText
    leverage: Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)] | None = None
    margin: DecimalText | None = None
    volunteers: DecimalText | None = None  # size it is ready to be assigned


class AssetState(Message, kw_only=True):
    """An asset held as collateral: `amount` in units of the asset, or `lots`."""

    market: Name
    amount: DecimalText | None = None
    lots: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)] | None = None


class OrderState(Message, kw_only=True):
    """A resting limit order."""

    market: Name
    side: Literal["buy", "sell"]
    price: DecimalText
    size: DecimalText | None = None
    lots: Annotated[int, Meta(ge=1, le=c.LOTS_MAX)] | None = None
    reduce_only: bool = False


class AccountState(Message, kw_only=True):
    """A customer: wallet beside isolated margins, assets, positions and orders."""

    wallet: DecimalText = "0"
    hedge: bool = False
    assets: tuple[AssetState, ...] = ()
    positions: tuple[PositionState, ...] = ()
    orders: tuple[OrderState, ...] = ()


class Situation(Message, kw_only=True):
    """A venue profile with changes, prices, the insurance fund and the accounts, by name."""

    title: str = ""
    venue: PathText
    patch: dict[str, Any] = field(default_factory=dict)
    fund: DecimalText = "0"
    funds: dict[str, DecimalText] = field(default_factory=dict)
    markets: Annotated[dict[str, MarketState], Meta(min_length=1)]
    accounts: Annotated[dict[str, AccountState], Meta(min_length=1)]


class LoadedSituation(NamedTuple):
    """A situation with the profile it patches, and every difference it makes there."""

    file: str
    situation: Situation
    profile: VenueProfile
    patches: tuple[Patch, ...]


def load_situation(path: Path | str) -> LoadedSituation:
    """Read and check a situation file. Raises ScenarioError, one line."""
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path.name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(f"{path.name}: {error}") from None
    situation = decode_tree(path.name, tree, Situation, "$")
    found = load_patched(path.name, path.parent, None, situation.venue, situation.patch, [])
    return LoadedSituation(path.name, situation, *found)


def held_profile(profile: VenueProfile) -> VenueProfile:
    """The profile on which an account can be looked at in breach: a second price must agree.

    The stage then keeps that price where nobody is in breach, so that nothing is done to anyone.
    """
    trigger = replace(profile.trigger, second_price=AverageKnown)
    return replace(profile, trigger=trigger)


class Stage:
    """An exchange in a situation, ready to be driven further.

    `held` names an account that is only to be looked at: whatever its health, nothing is done to
    it. `start` gives other marks to set the accounts up at; the situation's marks come after.
    With `derive_mark` the venue makes its mark as its profile says.
    """

    def __init__(
        self,
        profile: VenueProfile,
        situation: Situation,
        *,
        implementation: Implementation = "rulebook",
        held: str | None = None,
        start: dict[str, str] | None = None,
        derive_mark: bool = False,
    ) -> None:
        self.profile = profile
        if not derive_mark:
            self.profile = replace(profile, mark=replace(profile.mark, source="tape"))
        if held is not None:
            self.profile = held_profile(self.profile)
        self.situation, self.held = situation, held
        self.ids = {name: c.FIRST_USER_ID + n for n, name in enumerate(situation.accounts)}
        self.market_ids = {symbol: self.profile.market_id(symbol) for symbol in situation.markets}
        self.now_ns = self.situation_ns = START_NS
        self.orders_count = ORDER_ID_FIRST
        self.events: list[Event] = []
        legs = sum(len(a.positions) + len(a.assets) for a in situation.accounts.values())
        sizes = Capacities(
            accounts_max=len(self.ids) + c.FIRST_USER_ID,
            positions_max=4 * legs + 64,
            orders_max=4_096,
        )
        self.core = implementation == "core"
        make = Exchange if self.core else ReferenceExchange
        self.exchange = make(self.profile, capacities=sizes)
        self._set_up(start or {})

    # -- units --------------------------------------------------------------------------------

    def spec(self, symbol: str) -> Market:
        """The profile's market of this symbol."""
        return self.profile.markets[self.profile.market_id(symbol) - 1]

    def price(self, symbol: str, text: str) -> int:
        """Decimal text as price units of a market."""
        try:
            return parse_decimal(text, self.spec(symbol).price_decimals)
        except UnitError as error:
            raise SituationError(f"{symbol}: price: {error}") from None

    def money(self, text: str) -> int:
        """Decimal text as money units."""
        try:
            return parse_decimal(text, self.profile.settlement.decimals)
        except UnitError as error:
            raise SituationError(f"money: {error}") from None

    def lots(self, symbol: str, size: str | None, lots: int | None = None) -> int:
        """A size (or lots as they are) in lots; refuses what is not a whole number of them."""
        if (size is None) == (lots is None):
            raise SituationError(f"{symbol}: expected exactly one of size and lots")
        if lots is not None:
            return lots
        lot = Decimal(self.spec(symbol).lot)
        found = Decimal(size) / lot
        if found != int(found):
            raise SituationError(f"{symbol}: expected a multiple of {lot}, got {size}")
        return int(found)

    def price_text(self, symbol: str, price: int) -> str:
        """Price units as exact decimal text."""
        return format_decimal(price, self.spec(symbol).price_decimals)

    def money_text(self, amount: int) -> str:
        """Money units as exact decimal text."""
        return format_decimal(amount, self.profile.settlement.decimals)

    # -- commands -----------------------------------------------------------------------------

    def send(self, kind: CommandKind, **values: int) -> list[Event]:
        """One command; returns its events. Raises SituationError when it is refused."""
        row = np.zeros(1, COMMAND)
        row["kind"], row["time_ns"] = kind, self.now_ns
        try:
            for name, value in values.items():
                row[name] = value
        except OverflowError:
            raise SituationError(f"{kind.name}: {name}: a number too large: {value}") from None
        if self.core:
            found = self.exchange.submit(row).tolist()
        else:
            found = self.exchange.submit([row[0].tolist()])
        events = [Event(*event) for event in found]
        if events and events[0].kind == EventKind.REJECTED:
            who = {number: name for name, number in self.ids.items()}
            reason = c.Reject(events[0].reason).name
            place = f"{who.get(values.get('account_id'), 'venue')}: {kind.name}"
            raise SituationError(f"{place}: refused: {reason}")
        self.events += events
        return events

    def wait(self, nanoseconds: int) -> list[Event]:
        """Let time pass."""
        self.now_ns += nanoseconds
        return self.send(CommandKind.CLOCK)

    def set_mark(self, symbol: str, text: str) -> list[Event]:
        """Index, last price and mark of a market move to a price; the mark at last.

        Where an average of the last price counts too, time passes until it is there. On a held
        stage only index and mark move.
        """
        market_id, price = self.market_ids[symbol], self.price(symbol, text)
        events = []
        if self.held is None:
            events += self.send(CommandKind.TRADE, market_id=market_id, price=price)
            if self.profile.trigger.second_price == AverageKnown:
                self.now_ns += 62 * self.profile.trigger.average_half_life_ns
                events += self.send(CommandKind.TRADE, market_id=market_id, price=price)
        events += self.send(CommandKind.INDEX, market_id=market_id, price=price)
        return events + self.send(CommandKind.MARK, market_id=market_id, price=price)

    def views(self, name: str) -> list[DomainView]:
        """The margin domains of an account as the engine sees them now."""
        return self.exchange.inspect(self.ids[name])

    def table(self, name: str) -> list[tuple[int, ...]]:
        """One canonical table of the state, as tuples."""
        return [tuple(int(value) for value in row) for row in self.exchange.rows()[name]]

    def balance(self, account_id: int) -> int:
        """The wallet of any account, in money units."""
        return next(row[1] for row in self.table("accounts") if row[0] == account_id)

    # -- set-up -------------------------------------------------------------------------------

    def _set_up(self, start: dict[str, str]) -> None:
        for symbol, market in self.situation.markets.items():
            market_id = self.market_ids[symbol]
            mark = self.price(symbol, start.get(symbol, market.mark))
            last = self._safe_price(symbol) if self.held else None
            if last is None:
                last = mark if market.last is None else self.price(symbol, market.last)
            index = mark if market.index is None else self.price(symbol, market.index)
            self.send(CommandKind.TRADE, market_id=market_id, price=last)
            self.send(CommandKind.INDEX, market_id=market_id, price=index)
            self.send(CommandKind.MARK, market_id=market_id, price=mark)
        given = self.situation.fund, self.situation.funds
        for account_id, amount in fund_deposits(self.profile, self.situation.markets, *given):
            self.send(CommandKind.DEPOSIT, account_id=account_id, amount=amount)
        for symbol, market in self.situation.markets.items():
            for level in market.book:
                self._depth(symbol, level)
        for name, account in self.situation.accounts.items():
            self._open(name, account)
        for name, account in self.situation.accounts.items():
            for order in account.orders:
                self._order(name, order)
        for symbol in start:
            price = self.price(symbol, self.situation.markets[symbol].mark)
            self.send(CommandKind.MARK, market_id=self.market_ids[symbol], price=price)

    def _safe_price(self, symbol: str) -> int | None:
        """The price at which the account that is held could not be in breach by this market."""
        market = self.spec(symbol)
        sides = {p.side for p in self.situation.accounts[self.held].positions if p.market == symbol}
        if sides == {"short"}:
            return self.price(symbol, market.price_min or market.tick)
        return self.price(symbol, market.price_max) if sides == {"long"} else None

    def _depth(self, symbol: str, level: BookLevel) -> None:
        self.send(
            CommandKind.DEPTH,
            market_id=self.market_ids[symbol],
            side=c.Side[level.side.upper()],
            price=self.price(symbol, level.price),
            lots=self.lots(symbol, level.size),
        )

    def _open(self, name: str, account: AccountState) -> None:
        account_id = self.ids[name]
        flags = c.Flag.HEDGE if account.hedge else 0
        self.send(CommandKind.OPEN_ACCOUNT, account_id=account_id, flags=flags)
        deposit = self.money(account.wallet)
        deposit += sum(self.money(p.margin) for p in account.positions if p.margin is not None)
        if deposit:
            self.send(CommandKind.DEPOSIT, account_id=account_id, amount=deposit)
        for asset in account.assets:
            lots = self.lots(asset.market, asset.amount, asset.lots)
            market_id = self._market_id(asset.market)
            self.send(
                CommandKind.DEPOSIT_ASSET, account_id=account_id, market_id=market_id, lots=lots
            )
        for position in sorted(account.positions, key=self._gain, reverse=True):
            self._seed(account_id, account.hedge, position)

    def _market_id(self, symbol: str) -> int:
        if symbol not in self.market_ids:
            raise SituationError(f"{symbol}: expected a table [markets.{symbol}] with its mark")
        return self.market_ids[symbol]

    def _gain(self, position: PositionState) -> Decimal:
        """Rough gain of a position at mark: gains are booked first, so that no account is in
        breach on the way to a situation in which it is not."""
        self._market_id(position.market)
        state, market = self.situation.markets[position.market], self.spec(position.market)
        lots = self.lots(position.market, position.size, position.lots)
        if not Decimal(position.entry):
            raise SituationError(f"{position.market}: entry: expected more than 0")
        gain = lots * (Decimal(state.mark) - Decimal(position.entry)) / Decimal(position.entry)
        gain *= Decimal(market.lot) * (1 if market.payoff == "inverse" else Decimal(position.entry))
        return gain if position.side == "long" else -gain

    def _seed(self, account_id: int, hedge: bool, position: PositionState) -> None:
        leg = {"account_id": account_id, "market_id": self.market_ids[position.market]}
        if hedge:
            leg["position_side"] = c.PositionSide[position.side.upper()]
        lots = self.lots(position.market, position.size, position.lots)
        isolated = position.margin is not None
        if position.leverage is not None:
            self.send(CommandKind.SET_LEVERAGE, **leg, amount=position.leverage)
        self.send(
            CommandKind.SEED_POSITION,
            **leg,
            lots=lots if position.side == "long" else -lots,
            price=self.price(position.market, position.entry),
            amount=self.money(position.margin) if isolated else 0,
            flags=c.Flag.ISOLATED if isolated else 0,
        )
        if position.volunteers is not None:
            ready = self.lots(position.market, position.volunteers)
            self.send(CommandKind.VOLUNTEER, **leg, lots=ready)

    def _order(self, name: str, order: OrderState) -> None:
        self.orders_count += 1
        self.send(
            CommandKind.NEW_ORDER,
            account_id=self.ids[name],
            order_id=self.orders_count,
            market_id=self._market_id(order.market),
            side=c.Side[order.side.upper()],
            order_type=c.OrderType.LIMIT,
            time_in_force=c.TimeInForce.GTC,
            price=self.price(order.market, order.price),
            lots=self.lots(order.market, order.size, order.lots),
            flags=c.Flag.REDUCE_ONLY if order.reduce_only else 0,
        )


assert Event._fields == EVENT.names


def liquidation_mark(
    profile: VenueProfile,
    situation: Situation,
    account: str,
    symbol: str,
    *,
    market_id: int = 0,
    position_side: int = 0,
    side: str = "long",
    implementation: Implementation = "rulebook",
) -> int | None:
    """The first mark, in price units from the safe side, at which a domain is in breach.

    Found by bisection on the engine's own health; None where no mark of the market's range does
    it. `market_id` and `position_side` name an isolated domain. The account is looked at alone:
    what the move would do to others first is the business of `Stage`. Orders may be cancelled on
    the way down, so an account with orders is built anew for every probe.
    """
    market = profile.markets[profile.market_id(symbol) - 1]
    low = parse_decimal(market.price_min or market.tick, market.price_decimals)
    high = parse_decimal(market.price_max, market.price_decimals)
    situation = replace(situation, accounts={account: situation.accounts[account]})
    orders = bool(situation.accounts[account].orders)
    stage: Stage | None = None

    def is_breached(price: int) -> bool:
        nonlocal stage
        text = format_decimal(price, market.price_decimals)
        if stage is None or orders:
            stage = Stage(profile, situation, implementation=implementation, held=account)
        stage.set_mark(symbol, text)
        for view in stage.views(account):
            if (view.market_id, view.position_side) == (market_id, position_side):
                return view.equity < view.requirement
        raise SituationError(f"{account}: has no such margin domain")

    good, bad = (high, low) if side == "long" else (low, high)
    if is_breached(good) or not is_breached(bad):
        return None
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        if is_breached(middle):
            bad = middle
        else:
            good = middle
    return bad
