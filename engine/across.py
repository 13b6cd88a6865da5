"""The same position on several venues: a situation carried over, unit by unit.

A market is found by its base asset. Settlement in a kind of dollar is taken one for one; between
a linear and an inverse contract sizes and money are converted at the mark and rounded down to the
venue's units. What cannot be carried over is refused in words.
"""

import re
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

from msgspec.structs import replace

from engine.explain import Explanation, explain
from engine.funds import fund_id
from engine.patched import load_patched
from engine.profile import Market, VenueProfile
from engine.shapes import Message
from engine.situation import (
    AccountState,
    Implementation,
    LoadedSituation,
    MarketState,
    PositionState,
    Situation,
    SituationError,
)
from engine.strict import ScenarioError

NOT_A_BASE = ("FX", "PI", "PF", "FI")
QUOTE = re.compile(r"(USDT|USDC|USD|JPY|PERP)$")


class Row(Message, kw_only=True):
    """One venue's answer, or why there is none."""

    venue: str
    market: str
    explanation: Explanation | None
    refused: str


def base_of(symbol: str) -> str:
    """The base asset of a symbol.

    >>> base_of("BTCUSDT"), base_of("PI_XBTUSD"), base_of("BTC-USDT-SWAP"), base_of("FX_BTC_JPY")
    ('BTC', 'BTC', 'BTC', 'BTC')
    """
    words = [word for word in re.split(r"[^A-Z]+", symbol.upper()) if word]
    words = [word for word in words if word not in NOT_A_BASE] or words
    base = QUOTE.sub("", words[0]) if words else symbol
    return "BTC" if base == "XBT" else base


def is_dollar(asset: str) -> bool:
    """Whether an asset is a kind of dollar."""
    return "USD" in asset.upper()


def target_market(profile: VenueProfile, symbol: str) -> Market:
    """The venue's first market of the same base."""
    for market in profile.markets:
        if market.contract == "future" and base_of(market.symbol) == base_of(symbol):
            return market
    raise SituationError(f"{profile.name} has no market in {base_of(symbol)}")


class Carrier:
    """Carries one situation from its venue to another."""

    def __init__(self, loaded: LoadedSituation, profile: VenueProfile) -> None:
        self.old, self.new = loaded.profile, profile
        self.situation = loaded.situation
        used = list(self.situation.markets)
        self.pairs = {symbol: target_market(profile, symbol) for symbol in used}
        if len({fund_id(profile, market) for market in self.pairs.values()}) > 1:
            one = replace(profile.losses, fund_scope="venue")  # what is given is one sum
            self.new = replace(profile, losses=one)
        if len({market.symbol for market in self.pairs.values()}) < len(used):
            raise SituationError(f"{profile.name} has one market for several of the situation's")
        old = {symbol: self.market(symbol) for symbol in used}
        kinds = {m.payoff for m in (*old.values(), *self.pairs.values())}
        if "quanto" in kinds:
            raise SituationError("a quanto contract has no equal elsewhere")
        coins = {self.old.settlement.asset, profile.settlement.asset}
        inverse = {m.payoff for m in old.values()} | {m.payoff for m in self.pairs.values()}
        same = len(coins) == 1 or all(is_dollar(asset) for asset in coins)
        if not same and "inverse" not in inverse:
            raise SituationError(f"{' and '.join(sorted(coins))} are not the same money")
        if len(used) > 1 and not same:
            raise SituationError("several markets cannot be converted at one mark")

    def market(self, symbol: str) -> Market:
        """The market of the situation's own venue."""
        return self.old.markets[self.old.market_id(symbol) - 1]

    def mark(self, symbol: str) -> Decimal:
        """The mark of the situation."""
        return Decimal(self.situation.markets[symbol].mark)

    def price(self, symbol: str, text: str) -> str:
        """A price in the units of the other venue."""
        step = Decimal(1).scaleb(-self.pairs[symbol].price_decimals)
        return f"{Decimal(text).quantize(step, ROUND_DOWN):f}"

    def size(self, symbol: str, position: PositionState) -> str:
        """A size in the units of the other venue's contract."""
        old, new = self.market(symbol), self.pairs[symbol]
        size = Decimal(position.size or 0) or position.lots * Decimal(old.lot)
        return self.sized(symbol, size, new)

    def sized(self, symbol: str, size: Decimal, new: Market) -> str:
        """Base and face value converted at the mark; rounded down to lots."""
        old = self.market(symbol)
        if old.payoff != new.payoff:
            size = size * self.mark(symbol) if new.payoff == "inverse" else size / self.mark(symbol)
        lots = int(size / Decimal(new.lot))
        if lots == 0:
            raise SituationError(f"{new.symbol}: the position is smaller than one lot of {new.lot}")
        return f"{lots * Decimal(new.lot):f}"

    def money(self, text: str) -> str:
        """Money in the other venue's settlement asset."""
        symbol = next(iter(self.pairs))
        old, new, amount = self.market(symbol), self.pairs[symbol], Decimal(text)
        if old.payoff != new.payoff:
            mark = self.mark(symbol)
            amount = amount / mark if new.payoff == "inverse" else amount * mark
        step = Decimal(1).scaleb(-self.new.settlement.decimals)
        return f"{amount.quantize(step, ROUND_DOWN):f}"

    def position(self, position: PositionState) -> PositionState:
        """One position in the other venue's units."""
        symbol = position.market
        return replace(
            position,
            market=self.pairs[symbol].symbol,
            size=self.size(symbol, position),
            lots=None,
            entry=self.price(symbol, position.entry),
            margin=None if position.margin is None else self.money(position.margin),
        )

    def account(self, account: AccountState) -> AccountState:
        """One account; assets and orders stay behind."""
        if account.assets:
            raise SituationError("assets held as collateral cannot be carried over")
        positions = [self.position(p) for p in account.positions]
        return replace(account, wallet=self.money(account.wallet), positions=positions, orders=[])

    def all_funds(self) -> str:
        """What the situation's insurance funds have together."""
        given = [self.situation.fund, *self.situation.funds.values()]
        return f"{sum(map(Decimal, given)):f}"

    def carried(self) -> Situation:
        """The whole situation; the book is carried over, too."""
        markets = {}
        for symbol, market in self.situation.markets.items():
            new = self.pairs[symbol]
            tick = Decimal(new.tick)
            book = [
                replace(
                    level,
                    price=f"{Decimal(level.price) // tick * tick:f}",
                    size=self.sized(symbol, Decimal(level.size), new),
                )
                for level in market.book
            ]
            markets[new.symbol] = MarketState(mark=self.price(symbol, market.mark), book=book)
        return Situation(
            title=self.situation.title,
            venue=self.new.name,
            fund=self.money(self.all_funds()),
            markets=markets,
            accounts={n: self.account(a) for n, a in self.situation.accounts.items()},
        )


def across(
    loaded: LoadedSituation,
    venues: list[str],
    account: str | None = None,
    marks: dict[str, str] | None = None,
    implementation: Implementation = "rulebook",
) -> list[Row]:
    """One row for the situation's own venue and one for every other."""
    own = explain(loaded, account, marks, implementation)
    symbols = ", ".join(loaded.situation.markets)
    rows = [Row(venue=loaded.profile.name, market=symbols, explanation=own, refused="")]
    for venue in venues:
        try:
            profile, patches = load_patched(venue, Path(), None, venue, {}, [])
            carrier = Carrier(loaded, profile)
            moved = LoadedSituation(venue, carrier.carried(), carrier.new, patches)
            goals = {
                carrier.pairs[symbol].symbol: carrier.price(symbol, price)
                for symbol, price in (marks or {}).items()
            }
            answer = explain(moved, account, goals or None, implementation)
        except (SituationError, ScenarioError) as error:
            rows.append(Row(venue=venue, market="", explanation=None, refused=str(error)))
            continue
        symbols = ", ".join(moved.situation.markets)
        rows.append(Row(venue=venue, market=symbols, explanation=answer, refused=""))
    return rows
