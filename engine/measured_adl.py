"""What deleveraging did, measured from events: who gave, how unequally, when and in which order.

The two fills of one deleveraging follow each other in the events: first the position that had to
be closed, then the one that is closed against it.
"""

from collections import defaultdict
from decimal import Decimal

import numpy as np

from engine.constants import Cause, EventKind, Payoff
from engine.profile import VenueProfile
from engine.venue import market_numbers

MEASURES = {
    "adl_gini": "of deleveraged notional over the accounts that gave",
    "adl_winners_percent": "of deleveraged positions were in profit",
    "adl_partial_percent": "of deleveragings left a part of the position open",
    "adl_delay_seconds": "from the first liquidation to the first deleveraging",
    "adl_markets": "markets with a deleveraging",
    "adl_losers": "accounts whose positions had to be closed",
    "adl_instants": "points in time with a deleveraging",
    "adl_disorder": "fills of liquidations after a deleveraging of the same instant",
    "adl_across_markets": "deleveragings of nobody in liquidation, or in another market",
}
_PLACES = Decimal("0.0001")
_OF_LIQUIDATIONS = (Cause.LIQUIDATION, Cause.TAKEOVER, Cause.TRANSFER)


class DeleveragingMeasures:
    """Reads every event of a run; then answers by the names in MEASURES."""

    def __init__(self, profile: VenueProfile) -> None:
        self._numbers = [market_numbers(profile, market) for market in profile.markets]
        self._given: defaultdict[int, int] = defaultdict(int)  # notional by account
        self._held: defaultdict[tuple[int, int, int], int] = defaultdict(int)
        self._count = self._winners = self._partial = self._disorder = self._across = 0
        self._first_liquidation_ns = self._first_ns = self._last_ns = -1
        self._markets: set[int] = set()
        self._losers: set[int] = set()
        self._instants: set[int] = set()
        self._liquidated: set[int] = set()

    def update(self, events: np.ndarray) -> None:
        """Take the next EVENT rows; the two fills of a deleveraging are never parted."""
        started = EventKind.LIQUIDATION_STARTED
        rows = events[(events["kind"] == EventKind.FILL) | (events["kind"] == started)]
        loser = None
        for row in rows:
            time_ns = int(row["time_ns"])
            if row["kind"] == started:
                if self._first_liquidation_ns < 0:
                    self._first_liquidation_ns = time_ns
                self._liquidated.add(int(row["account_id"]))
                continue
            leg = int(row["account_id"]), int(row["market_id"]), int(row["position_side"])
            self._held[leg] += int(row["lots"])
            if row["reason"] != Cause.ADL:
                self._disorder += row["reason"] in _OF_LIQUIDATIONS and time_ns == self._last_ns
                continue
            if loser is None:
                loser = row
                continue
            self._take(loser, row, leg)
            loser = None
        assert loser is None, "a deleveraging without its other side"

    def _take(self, loser: np.void, row: np.void, leg: tuple[int, int, int]) -> None:
        assert loser["other_id"] == row["account_id"], "two halves of one deleveraging"
        time_ns, market_id = int(row["time_ns"]), int(row["market_id"])
        if self._first_ns < 0:
            self._first_ns = time_ns
        self._last_ns = time_ns
        self._count += 1
        self._winners += int(row["amount"] > 0)
        self._partial += self._held[leg] != 0
        self._across += int(loser["account_id"]) not in self._liquidated
        self._across += int(loser["market_id"]) != market_id
        self._markets.add(market_id)
        self._losers.add(int(loser["account_id"]))
        self._instants.add(time_ns)
        numbers, lots = self._numbers[market_id - 1], abs(int(row["lots"]))
        if numbers.payoff == Payoff.LINEAR:
            value = lots * int(row["price"]) * numbers.unit_quote
        else:
            value = lots * numbers.face_quote // int(row["price"])
        self._given[int(row["account_id"])] += value

    def value(self, name: str) -> Decimal:
        """One measure; KeyError for a name that is none."""
        count = max(self._count, 1)
        counted = {
            "adl_markets": len(self._markets),
            "adl_losers": len(self._losers),
            "adl_instants": len(self._instants),
            "adl_disorder": self._disorder,
            "adl_across_markets": self._across,
        }
        if name in counted:
            return Decimal(counted[name])
        if name == "adl_gini":
            return self._gini().quantize(_PLACES)
        if name == "adl_delay_seconds":
            gap_ns = max(0, self._first_ns - self._first_liquidation_ns)
            return Decimal(gap_ns).scaleb(-9).quantize(_PLACES)
        part = {"adl_winners_percent": self._winners, "adl_partial_percent": self._partial}[name]
        return (Decimal(100 * part) / count).quantize(_PLACES)

    def _gini(self) -> Decimal:
        given = sorted(self._given.values())
        people, total = len(given), sum(given)
        ranked = sum((2 * rank - people - 1) * each for rank, each in enumerate(given, 1))
        return Decimal(ranked) / max(1, people * total)
