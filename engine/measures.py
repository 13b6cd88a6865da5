"""What a run shows, by name: the numbers that a scenario's facts are compared with.

A measure is a field of the summary without its `_quote`, or one of the names in `MEASURES`
followed by what it is of. Amounts are decimal text in the settlement asset, prices as quoted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from engine import constants as c
from engine import measured_adl
from engine.constants import EventKind, SystemAccount
from engine.funds import fund_ids
from engine.messages import Fact, MeasuredFact, Overshoot, RunSummary
from engine.profile import VenueProfile
from engine.staged import FUND_NAME
from engine.units import format_decimal
from engine.vectors import position_values
from engine.venue import market_numbers

MEASURES = {
    "sum": "amounts of every event of a kind",
    "count": "events of a kind",
    "lowest_mark": "of a market",
    "highest_mark": "of a market",
    "last_mark": "of a market",
    "open_interest": "lots of a market that accounts hold long at the end",
    "liquidations": "that began of an account",
    "balance": "wallet and isolated margins of an account at the end",
    "equity": "balance and open profit at the last mark, of an account at the end",
    "lots": "of an account at the end, over every market",
    "clawback_percent": "what winners gave of their profit, in per cent",
    **measured_adl.MEASURES,
}
_PLACES = Decimal("0.0001")


class MeasureError(ValueError):
    """A fact names a measure that does not exist."""


class Measures:
    """Reads every event of a run; then answers by name.

    `ids` are the named accounts' ids. What deleveraging did is followed only where one of `facts`
    asks for it: that reads every fill.
    """

    def __init__(
        self, profile: VenueProfile, ids: Mapping[str, range], facts: Sequence[Fact] = ()
    ) -> None:
        asked = any(fact.measure in measured_adl.MEASURES for fact in facts)
        self._adl = measured_adl.DeleveragingMeasures(profile) if asked else None
        self._profile = profile
        names = {each.name.lower(): range(each, each + 1) for each in SystemAccount}
        funds = range(min(fund_ids(profile)), SystemAccount.INSURANCE_FUND + 1)  # of every market
        self._ids = {**names, **ids, FUND_NAME: funds}
        self._sums: Counter[int] = Counter()
        self._counts: Counter[int] = Counter()
        self._marks: dict[int, tuple[int, int, int]] = {}  # lowest, highest, last
        self._started: Counter[int] = Counter()
        self._profits: Counter[int] = Counter()
        self._clawed: Counter[int] = Counter()

    def update(self, events: np.ndarray) -> None:
        """Take the next EVENT rows."""
        if self._adl is not None:
            self._adl.update(events)
        kinds, counts = np.unique(events["kind"], return_counts=True)
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            mine = events[events["kind"] == kind]
            self._counts[kind] += count
            self._sums[kind] += sum(mine["amount"].tolist())
            if kind == EventKind.MARK_SET:
                self._take_marks(mine)
            elif kind == EventKind.LIQUIDATION_STARTED:
                self._started.update(mine["account_id"].tolist())
            elif kind in (EventKind.FILL, EventKind.SETTLED):
                self._add(self._profits, mine)
            elif kind == EventKind.CLAWED_BACK:
                self._add(self._clawed, mine)

    def _add(self, totals: Counter[int], rows: np.ndarray) -> None:
        owners, place = np.unique(rows["account_id"], return_inverse=True)
        amounts = np.zeros(len(owners), np.int64)
        np.add.at(amounts, place, rows["amount"])
        for owner, amount in zip(owners.tolist(), amounts.tolist(), strict=True):
            totals[owner] += amount

    def _take_marks(self, rows: np.ndarray) -> None:
        for market_id in np.unique(rows["market_id"]).tolist():
            prices = rows["price"][rows["market_id"] == market_id].tolist()
            low, high, _ = self._marks.get(market_id, (prices[0], prices[0], 0))
            self._marks[market_id] = (min(low, *prices), max(high, *prices), prices[-1])

    def overshoot(self, replayed: "Measures") -> list[Overshoot]:
        """How much further marks went than in another run, market by market."""
        found = []
        for market_id, (low, high, _) in sorted(self._marks.items()):
            market = self._profile.markets[market_id - 1]
            other_low, other_high, _ = replayed._marks.get(market_id, (low, high, 0))
            texts = (format_decimal(p, market.price_decimals) for p in (low, other_low))
            lowest, lowest_replayed = texts
            texts = (format_decimal(p, market.price_decimals) for p in (high, other_high))
            highest, highest_replayed = texts
            found.append(
                Overshoot(
                    market=market.symbol,
                    lowest=lowest,
                    lowest_replayed=lowest_replayed,
                    below_ppm=(other_low - low) * c.PPM // other_low,
                    highest=highest,
                    highest_replayed=highest_replayed,
                    above_ppm=(high - other_high) * c.PPM // other_high,
                )
            )
        return found

    def compare(
        self, facts: list[Fact], summary: RunSummary, rows: Mapping[str, np.ndarray]
    ) -> list[MeasuredFact]:
        """Every fact that names a measure, with what the run shows and whether it agrees."""
        found = []
        for fact in facts:
            if fact.measure is None:
                continue
            got = self.value(fact.measure, summary, rows)
            off = abs(got - Decimal(fact.expected))
            found.append(
                MeasuredFact(
                    what=fact.what,
                    measure=fact.measure,
                    expected=fact.expected,
                    tolerance=fact.tolerance,
                    got=f"{got:f}",
                    ok=off <= Decimal(fact.tolerance),
                )
            )
        return found

    def value(self, name: str, summary: RunSummary, rows: Mapping[str, np.ndarray]) -> Decimal:
        """One measure. Raises MeasureError for a name that is none."""
        for field in (name, f"{name}_quote"):
            value = getattr(summary, field, None)
            if isinstance(value, int):
                return self._money(value) if field.endswith("_quote") else Decimal(value)
        if self._adl is not None and name in measured_adl.MEASURES:
            return self._adl.value(name)
        what, _, of = name.partition(":")
        try:
            return self._named(what, of, rows)
        except (KeyError, ValueError):
            wanted = ", ".join(MEASURES)
            raise MeasureError(f"no measure {name!r}: expected one of {wanted}") from None

    def _money(self, value: int) -> Decimal:
        return Decimal(value).scaleb(-self._profile.settlement.decimals)

    def _named(self, what: str, of: str, rows: Mapping[str, np.ndarray]) -> Decimal:
        if what == "clawback_percent":
            clawed = sum(self._clawed.values())
            profit = sum(self._profits[owner] for owner in self._clawed)
            return (Decimal(100 * clawed) / max(1, profit)).quantize(_PLACES)
        if what in ("sum", "count"):
            kind = EventKind[of.upper()]
            return self._money(self._sums[kind]) if what == "sum" else Decimal(self._counts[kind])
        if what.endswith("_mark") or what == "open_interest":
            market_id = self._market_id(of)
            if what == "open_interest":
                held = rows["positions"]
                mine = (held[:, 1] == market_id) & (held[:, 3] > 0)
                users = held[:, 0] >= c.FIRST_USER_ID
                return Decimal(int(held[mine & users, 3].sum()))
            decimals = self._profile.markets[market_id - 1].price_decimals
            place = ("lowest_mark", "highest_mark", "last_mark").index(what)
            return Decimal(self._marks[market_id][place]).scaleb(-decimals)
        ids = self._ids[of]
        if what == "liquidations":
            return Decimal(sum(self._started[owner] for owner in ids))
        wallets, held = rows["accounts"], rows["positions"]
        mine = (held[:, 0] >= ids.start) & (held[:, 0] < ids.stop)
        if what == "lots":
            return Decimal(int(held[mine, 3].sum()))
        if what not in ("balance", "equity"):
            raise KeyError(what)
        owned = (wallets[:, 0] >= ids.start) & (wallets[:, 0] < ids.stop)
        total = int(wallets[owned, 1].sum()) + int(held[mine, 5].sum())
        return self._money(total + (self._open_profit(held[mine]) if what == "equity" else 0))

    def _open_profit(self, held: np.ndarray) -> int:
        """What positions (canonical rows) would bring at the last mark of their market."""
        profit = 0
        for market_id in np.unique(held[:, 1]).tolist():
            numbers = market_numbers(self._profile, self._profile.markets[market_id - 1])
            mine = held[held[:, 1] == market_id]
            marks = np.full(len(mine), self._marks[market_id][2])
            values = position_values(numbers, mine[:, 3], marks)
            profit += int(values.sum()) - int(mine[:, 4].sum())
        return profit

    def _market_id(self, symbol: str) -> int:
        symbols = [market.symbol for market in self._profile.markets]
        return symbols.index(symbol) + 1
