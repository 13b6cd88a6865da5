"""Trades, liquidations, funding rates, tickers and metrics: each row of the file stands alone.

A converter takes a table and the times of its rows and returns rows of the tape, or rows of
facts that no command has. What is left out or rounded is counted in the report.
"""

from abc import ABC, abstractmethod

import numpy as np

from engine import constants as c
from engine.importers.common import FormatCode, ImportReport, MarketSpec, new_commands
from engine.importers.formats import LIQUIDATION, METRICS, METRICS_DECIMALS, Format
from engine.importers.table import Table
from engine.rows import COMMAND

RATE_DECIMALS = 9  # of a funding rate: parts per billion
RATIO_DECIMALS = 6  # of a ratio: ppm
PRICE_KINDS = {
    "trade": c.CommandKind.TRADE,
    "index": c.CommandKind.INDEX,
    "mark": c.CommandKind.MARK,
}


class Converter(ABC):
    """One file's rows on their way; the state that goes from one table to the next."""

    def __init__(self, spec: Format, market: MarketSpec, role: str, report: ImportReport) -> None:
        self.spec, self.market, self.role, self.report = spec, market, role, report
        self.fields = spec.fields

    @abstractmethod
    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """Rows of `table`, whose times in ns do not fall; shape (n,)."""

    def end(self) -> np.ndarray:
        """What was held back until the end of the file was known."""
        return np.zeros(0, COMMAND)

    def _commands(self, times: np.ndarray, kind: c.CommandKind) -> np.ndarray:
        rows = new_commands(len(times), self.market.market_id)
        rows["time_ns"], rows["kind"] = times, kind
        return rows

    def _averages(self, table: Table, field: str) -> np.ndarray:
        """Prices that are no quotes: rounded to price units and counted."""
        prices, rounded = table.prices(field, self.market)
        self.report.rounded += int(rounded.sum())
        return prices


class Trades(Converter):
    """TRADE rows; or INDEX or MARK rows, of which only the price is read."""

    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """One row for every row of the table."""
        rows = self._commands(times, PRICE_KINDS[self.role])
        price, size = self.fields["price"], self.fields["size"]
        if "side" in self.fields:
            sides = self._sides(table)
            if self.role == "trade":
                rows["side"] = sides
        if self.role == "trade":
            rows["price"] = table.quotes(price, self.market)
            rows["lots"] = self._sizes(table, size)
        else:
            rows["price"] = self._averages(table, price)
            table.decimals(size, 0)
        self.report.rows_kept += len(rows)
        return rows

    def _sides(self, table: Table) -> np.ndarray:
        """Sides of the taker as the file has them, 0 where it says nothing."""
        field = self.fields["side"]
        if field not in self.spec.may_be_empty:
            return table.words(field, self.spec.sides)
        filled = table.filled([field])
        sides = np.zeros(table.height, np.int64)
        sides[filled] = table.part(filled).words(field, self.spec.sides)
        return sides

    def _sizes(self, table: Table, field: str) -> np.ndarray:
        lots = table.lots(field, self.market)
        table.refuse(lots == 0, field, FormatCode.ZERO, "expected a size above 0")
        return lots


class Liquidations(Trades):
    """LIQUIDATION rows, or TRADE rows where the file is used as one. Sums go to `counts`; those
    of deleveraged accounts are not among them."""

    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """One row for every order of which something was filled."""
        size = self.fields["size"]
        filled = table.lots(size, self.market) > 0
        if not filled.all():
            self.report.count("unfilled", int((~filled).sum()))
        table, times = table.part(filled), times[filled]
        sides, lots = self._sides(table), table.lots(size, self.market)
        if self.spec.averaged:
            prices = self._averages(table, self.fields["price"])
        else:
            prices = table.quotes(self.fields["price"], self.market)
        field = self.fields.get("cause")
        causes = table.whole(field) if field else np.full(len(lots), c.Cause.LIQUIDATION)
        for name, side in (("longs", c.Side.SELL), ("shorts", c.Side.BUY)):
            mine = (sides == side) & (causes != c.Cause.ADL)
            self.report.count(f"{name}_liquidated", int(mine.sum()))
            self.report.count(f"{name}_liquidated_lots", int(lots[mine].sum()))
        self.report.rows_kept += table.height
        if self.role == "trade":
            rows = self._commands(times, c.CommandKind.TRADE)
        else:
            rows = np.zeros(len(times), LIQUIDATION)
            rows["time_ns"], rows["cause"] = times, causes
        rows["side"] = sides
        rows["price"], rows["lots"] = prices, lots
        return rows


class Funding(Converter):
    """FUNDING rows at the price in force."""

    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """One row for every rate; a rate finer than 1 ppb is rounded and counted."""
        rates, rounded = table.signed(self.fields["rate"], RATE_DECIMALS)
        self.report.rounded += int(rounded.sum())
        rows = self._commands(times, c.CommandKind.FUNDING)
        rows["amount"] = rates
        self.report.rows_kept += len(rows)
        return rows


class Metrics(Converter):
    """METRICS rows."""

    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """One row for every row of the table; an empty ratio becomes 0."""
        rows = np.zeros(len(times), METRICS)
        rows["time_ns"] = times
        for name in METRICS.names[1:]:
            field = self.fields[name]
            decimals = METRICS_DECIMALS if name.startswith("open") else RATIO_DECIMALS
            whole = Table(table.source, table.first_line, table.frame.fill_null("0"), table.lines)
            rows[name], rounded = whole.decimals(field, decimals)
            self.report.rounded += int(rounded.sum())
        self.report.rows_kept += len(rows)
        return rows


class Ticker(Converter):
    """INDEX and MARK rows where the price changed, and FUNDING rows where a payment fell due.

    A rate is known before it is paid: the last one published before its due time is paid by the
    first row at or after it, at that row's mark.
    """

    def __init__(self, spec: Format, market: MarketSpec, role: str, report: ImportReport) -> None:
        super().__init__(spec, market, role, report)
        self.last = {"index": 0, "mark": 0}
        self.time_ns = self.due_ns = self.rate_ppb = 0

    def rows(self, table: Table, times: np.ndarray) -> np.ndarray:
        """Rows in the order of the table; within a row index, mark, funding."""
        parts, places = [], []
        prices = {name: self._prices(table, name) for name in ("index", "mark")}
        for name, changed in prices.items():
            if self.role in ("prices", name):
                at = np.flatnonzero(changed)
                part = self._commands(times[at], PRICE_KINDS[name])
                part["price"] = changed[at]
                parts.append(part)
                places.append(at)
        if self.role in ("prices", "funding"):
            at, rates = self._payments(table, times)
            part = self._commands(times[at], c.CommandKind.FUNDING)
            part["amount"] = rates
            parts.append(part)
            places.append(at)
        self.report.rows_kept += len(times)
        return np.concatenate(parts)[np.argsort(np.concatenate(places), kind="stable")]

    def _prices(self, table: Table, name: str) -> np.ndarray:
        """The price of each row where it is given and differs from the one before, else 0."""
        field = self.fields[name]
        given = table.filled([field])
        prices = self._averages(table.part(given), field)
        before = np.concatenate(([self.last[name]], prices[:-1]))
        if len(prices):
            self.last[name] = int(prices[-1])
        changed = np.zeros(len(given), np.int64)
        changed[given] = np.where(prices != before, prices, 0)
        return changed

    def _payments(self, table: Table, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers at which funding is paid, and the rates in ppb."""
        fields = [self.fields["due"], self.fields["rate"]]
        given = table.filled(fields)
        part = table.part(given)
        due = part.times(fields[0], self.spec.unit)
        rates, rounded = part.signed(fields[1], RATE_DECIMALS)
        self.report.rounded += int(rounded.sum())
        # The announcement in force before each row: the last given one above it.
        announced = np.concatenate(([0], np.cumsum(given)[:-1]))
        due = np.concatenate(([self.due_ns], due))
        rates = np.concatenate(([self.rate_ppb], rates))
        before = np.concatenate(([self.time_ns], times[:-1]))
        paid = (due[announced] > before) & (due[announced] <= times)
        self.time_ns, self.due_ns, self.rate_ppb = int(times[-1]), int(due[-1]), int(rates[-1])
        return np.flatnonzero(paid), rates[announced[paid]]
