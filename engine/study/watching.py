"""What happens to one account over the seeds: how likely it is deleveraged, and what that costs.

To hold its hedge again the account trades the lots it lost once more, some seconds later. That
costs the move from the price at which it was deleveraged to the mark of then, and the taker's fee;
the spread and what the trade itself moves are left out.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import polars as pl

from engine import constants as c
from engine.report.liquidations import Deleveraging
from engine.scenario import LoadedScenario
from engine.study.curve import Share, percent_band, share
from engine.vectors import position_values

NS = 1_000_000_000


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account by its name in the scenario or its number, and when it hedges again."""

    account: str
    rehedge_seconds: int = 0


class WatchedAccount:
    """Hears a run and keeps what happens to one account, all copies of its name together.

    Raises ScenarioError where the scenario has no such account.
    """

    def __init__(self, loaded: LoadedScenario, wanted: Wanted) -> None:
        self.numbers = loaded.numbers
        self._delay_ns = wanted.rehedge_seconds * NS
        names = loaded.stage.ids
        if wanted.account in names:
            self._ids = frozenset(names[wanted.account])
        elif wanted.account.isdecimal() and self._exists(loaded, int(wanted.account)):
            self._ids = frozenset([int(wanted.account)])
        else:
            loaded.fail("accounts", f"expected an account {wanted.account!r} to watch, got none")
        self._fills: list[Deleveraging] = []
        self._liquidations = 0
        self._marks: list[np.ndarray] = []

    @staticmethod
    def _exists(loaded: LoadedScenario, account_id: int) -> bool:
        population = loaded.population[0]
        return population is not None and bool((population.account_id == account_id).any())

    def adl(self, fills: Sequence[Deleveraging]) -> None:
        """Keep the fills that deleverage the account."""
        self._fills += [fill for fill in fills if fill.counterparty_id in self._ids]

    def events(self, events: np.ndarray) -> None:
        """Count the account's liquidations and keep every mark."""
        kind = events["kind"]
        started = events["account_id"][kind == c.EventKind.LIQUIDATION_STARTED]
        self._liquidations += int(np.isin(started, list(self._ids)).sum())
        if self._delay_ns:
            marks = events[kind == c.EventKind.MARK_SET]
            self._marks.append(marks[["time_ns", "market_id", "price"]])

    def columns(self) -> dict[str, int]:
        """What a row says of the account; prices are averages over the lots, rounded down."""
        fills = self._fills
        found = {
            "watch_liquidations_count": self._liquidations,
            "watch_adl_fills_count": len(fills),
            "watch_adl_notional_quote": sum(fill.notional for fill in fills),
            "watch_haircut_quote": sum(fill.haircut for fill in fills),
            "watch_rehedge_quote": sum(map(self._rehedge, fills)),
        }
        for symbol, (market_id, _) in self.numbers.items():
            mine = [fill for fill in fills if fill.market_id == market_id]
            lots = sum(abs(fill.lots) for fill in mine)
            for name in ("price", "mark_price"):
                total = sum(abs(fill.lots) * getattr(fill, name) for fill in mine)
                found[f"watch_adl_{name}_{symbol}"] = total // lots if lots else 0
            found[f"watch_adl_lots_{symbol}"] = lots
        return found

    def _rehedge(self, fill: Deleveraging) -> int:
        """Cost of trading a fill's lots back, in the smallest unit of money; a gain is negative."""
        numbers = next(each for mid, each in self.numbers.values() if mid == fill.market_id)
        price = self._mark_after(fill)
        lots = np.array([fill.lots, fill.lots], np.int64)
        taken, back = position_values(numbers, lots, np.array([fill.price, price], np.int64))
        fee = -(-abs(int(back)) * numbers.taker_fee_ppm // c.PPM)
        return int(taken) - int(back) + fee

    def _mark_after(self, fill: Deleveraging) -> int:
        """The mark in force some seconds after a fill, the run's last one where it ends before."""
        if not self._delay_ns:
            return fill.mark_price
        marks = np.concatenate(self._marks)
        marks = marks[marks["market_id"] == fill.market_id]
        place = np.searchsorted(marks["time_ns"], fill.time_ns + self._delay_ns, side="right")
        return int(marks["price"][place - 1])


def liquidated(rows: pl.DataFrame) -> Share:
    """In how many of these runs the account was liquidated."""
    return share(rows.filter(pl.col("watch_liquidations_count") > 0).height, rows.height)


def deleveraged(rows: pl.DataFrame) -> Share:
    """In how many of these runs the account was deleveraged."""
    return share(rows.filter(pl.col("watch_adl_fills_count") > 0).height, rows.height)


def watch_rows(
    rows: pl.DataFrame, written: Callable[[float], str], decimals: Mapping[str, int]
) -> list[tuple[str, str]]:
    """What the rows of one variant say of the account: name and text. `written` shows money,
    `decimals` are those of the prices of each market."""
    rows = rows.filter(pl.col("error") == "")
    if rows.is_empty():
        return []
    hit = rows.filter(pl.col("watch_adl_fills_count") > 0)
    found = []
    for label, seen in (("P(ADL)", deleveraged(rows)), ("P(liquidation)", liquidated(rows))):
        found.append((label, f"{100 * seen.count / seen.of:.1f} % ({seen.count} of {seen.of})"))
        found.append((f"{label}, 95 % band", percent_band(seen)))
    for label, column in (
        ("Notional, when it is", "watch_adl_notional_quote"),
        ("Haircut, when it is", "watch_haircut_quote"),
        ("Re-hedge, when it is", "watch_rehedge_quote"),
    ):
        values = hit[column].to_list()
        found.append((f"{label}: mean", written(sum(values) / len(values)) if values else "none"))
        found.append((f"{label}: most", written(max(values)) if values else "none"))
    for symbol, places in decimals.items():
        for label, name in (("Price", "price"), ("Mark then", "mark_price")):
            column, lots = f"watch_adl_{name}_{symbol}", f"watch_adl_lots_{symbol}"
            if column in hit.columns and (total := hit[lots].sum()):
                average = (hit[column] * hit[lots]).sum() / total / 10**places
                found.append((f"{label}, {symbol}: mean over the lots", f"{average:,.{places}f}"))
    return found
