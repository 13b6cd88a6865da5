"""A bench: the rules of a venue, markets made to measure, and accounts in them.

A question comes with its own rates, sizes and prices. The bench keeps every named behaviour of
the profile, makes markets whose tiers and scales fit the numbers of the question, and hands out
a `Stage` on which the engine answers. Nothing is computed here but scales.
"""

import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import msgspec

from engine import situation as s
from engine.calculate.numbers import CalculateError, common_unit, places, ppm, written
from engine.constants import MONEY_MAX, PPM
from engine.patched import shipped_path
from engine.profile import ProfileError, VenueProfile
from engine.strict import flatten, set_path
from engine.venue import validate

MONEY_DECIMALS_MAX = PRICE_DECIMALS_MAX = 12
HEADROOM = 4  # prices may rise to this many times the highest given
LEVERAGE_MAX = 255


@dataclass
class Made:
    """One market of a bench; `tiers` without an upper bound reach as far as money does."""

    symbol: str
    payoff: str
    tiers: list[dict[str, Any]]
    fields: dict[str, Any]
    lot: Fraction | None
    sizes: list[Fraction] = field(default_factory=list)
    prices: list[Fraction] = field(default_factory=list)
    book: list[tuple[str, Fraction, Fraction]] = field(default_factory=list)
    mark: Fraction = Fraction(0)
    reach: Fraction = Fraction(0)  # a price the market should reach that nothing has


@dataclass
class Seat:
    """One account of a bench: wallet beside isolated margins, and positions as given."""

    wallet: Fraction
    positions: list[dict[str, Any]]


def read_tree(venue: str) -> dict[str, Any]:
    """The profile of a venue, by name or path, as plain tables."""
    path = Path(venue) if venue.endswith(".toml") else shipped_path(venue)
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError:
        names = ", ".join(sorted(p.stem for p in shipped_path("").parent.glob("*.toml")))
        raise CalculateError(f"venue: no profile {venue!r}; shipped: {names}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CalculateError(f"venue: {path.name}: {error}") from None


def single_tier(maintenance: Fraction, initial: Fraction | None = None) -> list[dict[str, Any]]:
    """One tier for every size."""
    return [tier(maintenance, initial)]


def tier(
    maintenance: Fraction,
    initial: Fraction | None = None,
    bound: Fraction | None = None,
    least_ppm: int = 1,
) -> dict[str, Any]:
    """One tier of a made market; a rate of 0 goes with a slope only."""
    rate = max(least_ppm, ppm(maintenance, "mmr"))
    first = max(rate, ppm(initial, "imr")) if initial is not None else None
    highest = max(1, min(LEVERAGE_MAX, PPM // max(1, first or rate)))
    made: dict[str, Any] = {"maintenance_ppm": rate, "leverage_max": highest}
    if first is not None:
        made["initial_ppm"] = first
    return made | ({"bound": bound} if bound is not None else {})


class Bench:
    """Markets and accounts under the rules of one venue."""

    def __init__(
        self,
        venue: str,
        patch: dict[str, Any] | None = None,
        implementation: s.Implementation = "rulebook",
    ) -> None:
        self.venue, self.implementation = venue, implementation
        self.tree = read_tree(venue)
        self.base = self.tree["markets"][0]
        self.made: dict[str, Made] = {}
        self.seats: dict[str, Seat] = {}
        self.fund = Fraction(0)
        self.money: list[Fraction] = []
        self.own = False
        self.change({"losses": {"fund_scope": "venue"}})  # a question knows one fund
        self.change(patch or {})

    def change(self, patch: dict[str, Any]) -> None:
        """Change named behaviours of the profile, by dotted path."""
        for dotted, value in flatten(patch):
            set_path(self.tree, dotted.split("."), value)

    # -- what is in it ------------------------------------------------------------------------

    def market(
        self,
        symbol: str = "M",
        *,
        payoff: str | None = None,
        tiers: list[dict[str, Any]] | None = None,
        lot: Fraction | None = None,
        mark: Fraction | None = None,
        **fields: Any,
    ) -> None:
        """A market made to measure; without fees unless they are given."""
        kind = payoff or ("inverse" if self.base["payoff"] == "inverse" else "linear")
        made = Made(symbol, kind, tiers or single_tier(Fraction(1, 1000)), fields, lot)
        if mark is not None:
            made.mark = mark
            made.prices.append(mark)
        self.made[symbol] = made

    def own_market(self, symbol: str | None, mark: Fraction | None = None) -> str:
        """A market of the profile as it is, at its own scales; the first unless named."""
        for market in self.tree["markets"]:
            if symbol in (None, market["symbol"]):
                self.own = True
                made = Made(market["symbol"], market["payoff"], [], {}, Fraction(market["lot"]))
                made.mark = mark or Fraction(0)
                self.made[made.symbol] = made
                return made.symbol
        names = ", ".join(market["symbol"] for market in self.tree["markets"])
        raise CalculateError(f"market: no {symbol!r} at {self.venue}; it has {names}")

    def seat(self, name: str, wallet: Fraction = Fraction(0)) -> None:
        """An account. A wallet below zero is carried by the entry of its first position."""
        self.seats[name] = Seat(wallet, [])
        self.money.append(abs(wallet))

    def hold(
        self,
        name: str,
        side: int,
        size: Fraction,
        entry: Fraction,
        symbol: str = "M",
        **more: Any,
    ) -> None:
        """A position: +1 long or -1 short, turned round by a size below zero; `margin`, `leverage`
        and `volunteers` as in a file."""
        made, side, size = self.made[symbol], side if size > 0 else -side, abs(size)
        made.sizes.append(size)
        made.prices.append(entry)
        if made.mark == 0:
            made.mark = entry
        if more.get("volunteers"):
            made.sizes.append(more["volunteers"])
        if more.get("margin") is not None:
            self.money.append(more["margin"])
        word = "long" if side > 0 else "short"
        position = {"market": symbol, "side": word, "size": size, "entry": entry, **more}
        self.seats[name].positions.append(position)

    def offer(self, side: str, price: Fraction, size: Fraction, symbol: str = "M") -> None:
        """What somebody offers in the book."""
        made = self.made[symbol]
        made.book.append((side, price, size))
        made.prices.append(price)
        made.sizes.append(size)

    # -- scales -------------------------------------------------------------------------------

    def _scales(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """Money decimals and the raw market of every made market."""
        facts = {}
        largest = [Fraction(1), 2 * sum(self.money, self.fund)]
        for made in self.made.values():
            lot = made.lot or common_unit(made.sizes or [Fraction(1)])
            if made.payoff == "inverse" and lot.denominator == 1:
                lot = made.lot or Fraction(1)
            high = ceil(HEADROOM * max(*made.prices, made.reach))
            fine = min([0, *(-places(p) for _, p, _ in made.book)])
            tick = Fraction(10) ** fine
            while not made.book and high / tick > 2**18:
                tick *= 10
            while not made.book and high / tick < 2**14 and tick > Fraction(1, 10**9):
                tick /= 10
            high = ceil(high / tick) * tick
            low = tick
            if made.payoff == "inverse":
                low = max(tick, tick * ceil(min(made.prices) / 50 / tick))
            interest = 2 * sum(made.sizes, lot)
            exposure = interest / low if made.payoff == "inverse" else interest * high
            bounds = [t["bound"] for t in made.tiers if "bound" in t]
            largest += [exposure * len(self.made), 2 * max(bounds, default=Fraction(0))]
            facts[made.symbol] = (lot, tick, low, high, interest)
        money = MONEY_DECIMALS_MAX
        while max(largest) * 10**money * 2 > MONEY_MAX:
            money -= 1
        if money < 0:
            raise CalculateError("sizes and prices: their product is more than money can hold")
        made = self.made.values()
        return money, {m.symbol: self._raw_market(m, money, *facts[m.symbol]) for m in made}

    def _raw_market(
        self,
        made: Made,
        money: int,
        lot: Fraction,
        tick: Fraction,
        low: Fraction,
        high: Fraction,
        interest: Fraction,
    ) -> dict[str, Any]:
        if made.payoff == "inverse":
            decimals = min(PRICE_DECIMALS_MAX, 17 - money - max(0, -places(lot)))
        else:
            decimals = min(PRICE_DECIMALS_MAX, money - places(lot))
        needed = max(places(p) for p in (*made.prices, tick))
        if not max(0, needed) <= decimals and needed < 99:
            raise CalculateError(f"{made.symbol}: sizes and prices are too fine for each other")
        lots = int(interest / lot)
        tiers = []
        for each in made.tiers:
            bound = each.get("bound", Fraction(MONEY_MAX // 4, 10**money))
            kept = {name: value for name, value in each.items() if name != "bound"}
            measure = {"notional_to": written(bound, money)}
            if self.tree["margin"].get("tier_by") == "contracts":
                measure = {"lots_to": int(each["bound"] / lot) if "bound" in each else 2**40}
            tiers.append(measure | kept)
        return {
            "symbol": made.symbol,
            "payoff": made.payoff,
            "price_decimals": decimals,
            "tick": written(tick),
            "lot": written(lot),
            "price_min": written(low),
            "price_max": written(high),
            "order_lots_max": 2**40,
            "open_interest_lots_max": lots,
            "leverage_default": 1,
            "maker_fee_ppm": 0,
            "taker_fee_ppm": 0,
            "liquidation_fee_ppm": 0,
            "tiers": tiers,
            **made.fields,
        }

    # -- the stage ----------------------------------------------------------------------------

    def profile(self) -> VenueProfile:
        """The venue with the markets of this bench."""
        if not self.own:
            money, raw = self._scales()
            self.tree["settlement"]["decimals"] = money
            self.tree["markets"] = list(raw.values())
        try:
            return validate(msgspec.convert(self.tree, VenueProfile))
        except (msgspec.ValidationError, ProfileError) as error:
            raise CalculateError(f"{self.venue}: {error}") from None

    def situation(self, profile: VenueProfile) -> s.Situation:
        """The accounts of this bench as a situation."""
        money = profile.settlement.decimals
        decimals = {market.symbol: market.price_decimals for market in profile.markets}
        accounts = {}
        for name, seat in self.seats.items():
            wallet = self._carried(seat)
            positions = [
                s.PositionState(
                    market=p["market"],
                    side=p["side"],
                    size=written(p["size"]),
                    entry=written(p["entry"], decimals[p["market"]]),
                    leverage=p.get("leverage"),
                    margin=None if p.get("margin") is None else written(p["margin"], money),
                    volunteers=None if p.get("volunteers") is None else written(p["volunteers"]),
                )
                for p in seat.positions
            ]
            hedge = len({p["market"] for p in seat.positions}) < len(seat.positions)
            accounts[name] = s.AccountState(
                wallet=written(wallet, money), positions=positions, hedge=hedge
            )
        markets = {
            made.symbol: s.MarketState(
                mark=written(made.mark, decimals[made.symbol]),
                book=[
                    s.BookLevel(side=side, price=written(price), size=written(size))
                    for side, price, size in made.book
                ],
            )
            for made in self.made.values()
        }
        fund = written(self.fund, money)
        return s.Situation(venue=self.venue, fund=fund, markets=markets, accounts=accounts)

    def _carried(self, seat: Seat) -> Fraction:
        """The wallet, with what it is below zero moved into the entry of a position."""
        if seat.wallet >= 0:
            return seat.wallet
        for position in seat.positions:
            made = self.made[position["market"]]
            shift = Fraction(ceil(-seat.wallet / position["size"]))
            sign = 1 if position["side"] == "long" else -1
            if made.payoff != "inverse" and position["entry"] + sign * shift > 0:
                position["entry"] += sign * shift
                seat.wallet += shift * position["size"]
                return seat.wallet
        raise CalculateError("wallet_balance: expected 0 or more, or a linear position to carry it")

    def stage(self, held: str | None = None, start: dict[str, Fraction] | None = None) -> s.Stage:
        """An exchange with everything in place. `start`: marks to set the accounts up at."""
        profile = self.profile()
        begin = {symbol: written(mark) for symbol, mark in (start or {}).items()}
        try:
            return s.Stage(
                profile,
                self.situation(profile),
                implementation=self.implementation,
                held=held,
                start=begin,
            )
        except s.SituationError as error:
            raise CalculateError(str(error)) from None
