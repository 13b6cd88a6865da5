"""Writes the Parquet tables of a run while its events stream by, and sums them up.

One table per thing a risk engineer asks for: events (raw integers), fills, marks, fund,
liquidations, adl, and at the end accounts and positions. Money and prices are exact decimals,
times are UTC nanoseconds, and each file carries its units as metadata. Memory does not grow with
the run, except for the ids of accounts that were touched. Without a folder everything is summed
up and nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine import constants as c
from engine.funds import fund_ids
from engine.messages import RunSummary
from engine.profile import VenueProfile
from engine.report import columns as col
from engine.report.liquidations import (
    BY_CAUSE,
    DESTINATIONS,
    Deleveraging,
    Liquidation,
    LiquidationBook,
)
from engine.vectors import WholeCommands, as_table

_ROW_GROUP = 2**16
_IN_BOOK = (c.Cause.TRADE, c.Cause.LIQUIDATION)
_SHARES = ("notional", "cost", "gain")
_SUMS = ["liquidations", "equity", "fees", "surplus", "paid", "bad_debt", "adl_fills"]
_SUMS += ["trades", "traded", "rejected", "events", "refused_takeovers"]
_SUMS += [f"{what}_{where}" for what in _SHARES for where in DESTINATIONS]
_FUND_KINDS = {
    c.EventKind.LIQUIDATION_FEE: 1,
    c.EventKind.SURPLUS: 1,
    c.EventKind.SHORTFALL: -1,
    c.EventKind.BAD_DEBT: -1,
}
_FUND_OWN = {
    c.EventKind.DEPOSITED: 1,
    c.EventKind.WITHDRAWN: -1,
    c.EventKind.FUNDING_PAID: 1,
    c.EventKind.FILL: 1,
}
_KINDS, _SIDES, _POSITION_SIDES = (
    col.names(enum) for enum in (c.EventKind, c.Side, c.PositionSide)
)


class _Sink:
    """One Parquet file; small pieces are gathered into row groups of a useful size."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._pending: list[pa.Table] = []
        self._rows = 0

    def write(self, arrays: Sequence[pa.Array]) -> None:
        table = pa.Table.from_arrays(list(arrays), schema=self._schema)
        if table.num_rows:
            self._pending.append(table)
            self._rows += table.num_rows
        if self._rows >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            joined = pa.concat_tables(self._pending).combine_chunks()
            self._writer.write_table(joined, row_group_size=2 * _ROW_GROUP)
        self._pending, self._rows = [], 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _held(chosen: np.ndarray, values: np.ndarray, carry: int) -> np.ndarray:
    """At each row the value of the last chosen row so far, `carry` before the first."""
    places = np.maximum.accumulate(np.where(chosen, np.arange(len(values)), -1))
    return np.where(places < 0, carry, values[places])


def event_columns(units: col.Units, events: np.ndarray) -> dict[str, pa.Array]:
    """EVENT rows as the columns of `events.parquet`: names for codes, integers as they are."""
    fields = {
        "seq": pa.array(events["seq"]),
        "time": col.times(events["time_ns"]),
        "kind": col.named(events["kind"], _KINDS),
        "reason": col.reasons(events["kind"], events["reason"]),
        "market": units.markets(events["market_id"]),
        "side": col.named(events["side"], _SIDES),
        "position_side": col.named(events["position_side"], _POSITION_SIDES),
    }
    for name in ("account_id", "order_id", "other_id", "price", "lots", "amount", "fee"):
        fields[name] = pa.array(events[name])
    fields["flags"] = pa.array(events["flags"])
    return fields


class Watcher(Protocol):
    """Who wants to hear of the fund and of deleveraging while a run goes on."""

    def fund(self, times_ns: np.ndarray, balances: np.ndarray) -> None:
        """The fund's balance after each change, in order."""

    def adl(self, fills: list[Deleveraging]) -> None:
        """ADL fills, in order."""


class RunWriter:
    """Writes the tables of one run into a folder: `update` with every event, then `finish`.

    A folder that already holds tables is overwritten file by file. Rows must be EVENT rows in
    order; batches may have any size and give the same files. Without a folder only the summary
    is made. `watcher` is told of the fund and of ADL.
    """

    def __init__(
        self, out_dir: str | Path | None, profile: VenueProfile, watcher: Watcher | None = None
    ) -> None:
        self._dir = None if out_dir is None else Path(out_dir)
        if self._dir is not None:
            self._dir.mkdir(parents=True, exist_ok=True)
        self._watcher = watcher
        self.units = col.Units(profile)
        self._sinks: dict[str, _Sink] = {}
        self._pieces = WholeCommands()
        self._book = LiquidationBook()
        self._prices = np.zeros((len(profile.markets) + 1, 3), np.int64)  # index, mark, last
        self._fund_ids = fund_ids(profile)
        self._fund: int = 0
        self._fund_start: int | None = None
        self._fund_min: int | None = None
        self._ends: dict[str, int] = {}
        self._sums = dict.fromkeys(_SUMS, 0)
        causes, markets = max(c.Cause) + 1, len(profile.markets) + 1
        self._lots = np.zeros((causes, markets), np.int64)  # filled, by cause and market id
        self._fills = np.zeros(causes, np.int64)
        self._inventory = np.zeros((markets, 2), np.int64)  # the fund's lots, unrealised profit
        self._liquidated: dict[int, int] = {}  # account id -> liquidations
        self._deleveraged: dict[int, int] = {}  # account id -> ADL fills

    def update(self, events: np.ndarray) -> None:
        """Take the next EVENT rows, shape (n,)."""
        for piece in self._pieces.push(events):
            self._write_piece(piece)

    def finish(self, rows: Mapping[str, Sequence[tuple[int, ...]] | np.ndarray]) -> RunSummary:
        """Write what is left, the accounts and positions of the final rows; close every file."""
        self._write_piece(self._pieces.rest())
        open_ones = list(self._book.open.values())
        self._write_liquidations(open_ones)
        self._write_accounts(rows)
        for sink in self._sinks.values():
            sink.close()
        return self._summary()

    def _put(self, name: str, fields: Mapping[str, pa.Array]) -> None:
        assert self._dir is not None, "tables are built only for a folder"
        sink = self._sinks.get(name)
        if sink is None:
            schema = pa.schema(
                [(key, array.type) for key, array in fields.items()], self.units.metadata()
            )
            sink = self._sinks[name] = _Sink(self._dir / f"{name}.parquet", schema)
        sink.write(list(fields.values()))

    def _write_piece(self, events: np.ndarray) -> None:
        """One piece of whole commands; an empty one still creates every table."""
        kind = events["kind"]
        fills = kind == c.EventKind.FILL
        values = np.zeros(len(events), np.int64)
        chosen = events[fills]
        values[fills] = self.units.values(chosen["lots"], chosen["price"], chosen["market_id"])
        self._sums["events"] += len(events)
        self._sums["rejected"] += int((kind == c.EventKind.REJECTED).sum())
        refused = kind == c.EventKind.TAKEOVER_REFUSED
        self._sums["refused_takeovers"] += int(refused.sum())
        self._write_events(events)
        self._write_fills(events[fills], values[fills])
        self._write_fund(events)
        marks = self._write_marks(events)
        off_mark = np.zeros(len(events), np.int64)
        taken = fills & np.isin(events["reason"], list(BY_CAUSE)) & (marks > 0)
        at_mark = self.units.values(events["lots"][taken], marks[taken], events["market_id"][taken])
        off_mark[taken] = at_mark - values[taken]
        finished, shared = self._book.update(events, values, marks, off_mark)
        self._write_liquidations(finished)
        self._write_adl(shared)

    def _write_events(self, events: np.ndarray) -> None:
        if self._dir is None:
            return
        self._put("events", event_columns(self.units, events))

    def _write_fills(self, fills: np.ndarray, values: np.ndarray) -> None:
        """One row per trade: the taker's and the other side's fill together."""
        pairs = len(fills) // 2 * 2
        taker, other, notional = fills[0:pairs:2], fills[1:pairs:2], np.abs(values[0:pairs:2])
        traded = np.isin(taker["reason"], _IN_BOOK)
        self._sums["trades"] += int(traded.sum())
        self._sums["traded"] += sum(notional[traded].tolist())
        np.add.at(self._lots, (taker["reason"], taker["market_id"]), np.abs(taker["lots"]))
        np.add.at(self._fills, taker["reason"], 1)
        if self._dir is None:
            return
        fields = {
            "time": col.times(taker["time_ns"]),
            "seq": pa.array(taker["seq"]),
            "market": self.units.markets(taker["market_id"]),
            "cause": col.named(taker["reason"], col.names(c.Cause)),
            "taker_side": col.named(taker["side"], _SIDES),
            "price": self.units.prices(taker["price"], taker["market_id"]),
            "lots": pa.array(np.abs(taker["lots"])),
            "notional": self.units.money(notional),
        }
        for side, rows in (("taker", taker), ("maker", other)):
            fields[f"{side}_account"] = pa.array(rows["account_id"])
            fields[f"{side}_order"] = pa.array(rows["order_id"])
            fields[f"{side}_realised"] = self.units.money(rows["amount"])
            fields[f"{side}_fee"] = self.units.money(rows["fee"])
        self._put("fills", fields)

    def _write_fund(self, events: np.ndarray) -> None:
        """Every change of an insurance fund's wallet and the balance of all of them after it."""
        kind = events["kind"]
        change = np.zeros(len(events), np.int64)
        for each, sign in _FUND_KINDS.items():
            change += np.where(kind == each, sign * events["amount"], 0)
        mine = np.isin(events["account_id"], self._fund_ids)
        mine &= (events["flags"] & c.Flag.ISOLATED) == 0
        for each, sign in _FUND_OWN.items():
            fee = events["fee"] if each == c.EventKind.FILL else 0
            change += np.where(mine & (kind == each), sign * events["amount"] - fee, 0)
        chosen = change != 0
        rows, change = events[chosen], change[chosen]
        after = self._fund + np.cumsum(change)
        self._follow_fund(rows["kind"], after, change)
        if self._watcher is not None and len(rows):
            self._watcher.fund(rows["time_ns"], after)
        if self._dir is None:
            return
        fills = rows["kind"] == c.EventKind.FILL
        labels = _KINDS + [f"fill_{name}" for name in col.names(c.Cause)]
        codes = np.where(fills, len(_KINDS) + rows["reason"], rows["kind"])
        fields = {
            "time": col.times(rows["time_ns"]),
            "seq": pa.array(rows["seq"]),
            "cause": col.named(codes, labels),
            "account_id": pa.array(rows["account_id"]),
            "market": self.units.markets(rows["market_id"]),
            "amount": self.units.money(change),
            "balance": self.units.money(after),
        }
        self._put("fund", fields)

    def _follow_fund(self, kinds: np.ndarray, after: np.ndarray, change: np.ndarray) -> None:
        """Start is what deposits made of the fund before the run first touched it."""
        if not len(after):
            return
        touched = np.flatnonzero(kinds != c.EventKind.DEPOSITED)
        if self._fund_start is None and len(touched):
            first = touched[0]
            self._fund_start = self._fund_min = int(after[first] - change[first])
            after = after[first:]
        if self._fund_min is not None:
            self._fund_min = min(self._fund_min, int(after.min()))
        self._fund = int(after[-1])

    def _write_marks(self, events: np.ndarray) -> np.ndarray:
        """The three prices of each market as they change; returns the mark at every event."""
        kind = events["kind"]
        trades = (kind == c.EventKind.FILL) & np.isin(events["reason"], _IN_BOOK)
        sets = (
            kind == c.EventKind.INDEX_SET,
            kind == c.EventKind.MARK_SET,
            trades | (kind == c.EventKind.LAST_SET),
        )
        any_set = sets[0] | sets[1] | sets[2]
        marks = np.zeros(len(events), np.int64)
        ids = events["market_id"]
        places, prices = [], []
        for market_id in np.unique(ids[(ids >= 1) & (ids < len(self._prices))]):
            mine = np.flatnonzero(ids == market_id)
            carry = self._prices[market_id]
            held = np.column_stack(
                [_held(sets[i][mine], events["price"][mine], int(carry[i])) for i in range(3)]
            )
            marks[mine] = held[:, 1]
            keep = np.flatnonzero(any_set[mine])
            seqs = events["seq"][mine[keep]]
            keep = keep[np.concatenate([seqs[1:] != seqs[:-1], [True]])[: len(keep)]]
            before = np.concatenate([carry[None], held[keep]])[:-1]
            keep = keep[(held[keep] != before).any(axis=1)]
            places.append(mine[keep])
            prices.append(held[keep])
            self._prices[market_id] = held[-1]
        if self._dir is None:
            return marks
        place = np.concatenate([*places, np.zeros(0, np.int64)])
        order = np.argsort(place, kind="stable")
        price = np.concatenate([*prices, np.zeros((0, 3), np.int64)])[order]
        rows = events[place[order].astype(np.int64)]
        fields = {
            "time": col.times(rows["time_ns"]),
            "seq": pa.array(rows["seq"]),
            "market": self.units.markets(rows["market_id"]),
        }
        for column, name in enumerate(("index_price", "mark_price", "last_price")):
            exact = self.units.prices(price[:, column], rows["market_id"])
            fields[name] = col.blank_zeros(exact, price[:, column])
        self._put("marks", fields)
        return marks

    def _write_liquidations(self, done: list[Liquidation]) -> None:
        for each in done:
            self._sums["liquidations"] += 1
            self._sums["equity"] += each.equity
            self._sums["fees"] += each.fee
            self._sums["surplus"] += each.surplus
            self._sums["paid"] += each.shortfall
            self._sums["bad_debt"] += each.bad_debt
            self._liquidated[each.account_id] = self._liquidated.get(each.account_id, 0) + 1
            end = c.LiquidationEnd(each.end).name.lower() if each.end else "open"
            self._ends[end] = self._ends.get(end, 0) + 1
            for where in DESTINATIONS:
                self._sums[f"notional_{where}"] += each.notional[where]
                self._sums[f"cost_{where}"] += each.cost[where]
                self._sums[f"gain_{where}"] += each.gain[where]
        if self._dir is None:
            return
        rows = [asdict(each) for each in done]

        def ints(name: str, part: str | None = None) -> np.ndarray:
            return np.array([row[name][part] if part else row[name] for row in rows], np.int64)

        markets = ints("market_id")
        fields = {
            "start": col.times(ints("start_ns")),
            "end": col.times(ints("end_ns")),
            "seq": pa.array(ints("seq")),
            "account_id": pa.array(ints("account_id")),
            "market": self.units.markets(markets),
            "position_side": col.named(ints("position_side"), _POSITION_SIDES),
            "isolated": pa.array(ints("isolated") != 0),
            "mark_price": col.blank_zeros(
                self.units.prices(ints("mark_price"), markets), ints("mark_price")
            ),
            "end_reason": col.named(ints("end"), col.names(c.LiquidationEnd)),
            "fills": pa.array(ints("fills")),
        }
        for name in ("equity", "maintenance", "equity_left", "realised", "trading_fee", "fee"):
            fields[name] = self.units.money(ints(name))
        for name in ("surplus", "shortfall", "bad_debt"):
            fields[name] = self.units.money(ints(name))
        for where in DESTINATIONS:
            fields[f"lots_{where}"] = pa.array(ints("lots", where))
            fields[f"notional_{where}"] = self.units.money(ints("notional", where))
            fields[f"cost_at_mark_{where}"] = self.units.money(ints("cost", where))
            fields[f"gain_at_mark_{where}"] = self.units.money(ints("gain", where))
        self._put("liquidations", fields)

    def _write_adl(self, shared: list[Deleveraging]) -> None:
        for each in shared:
            who = each.counterparty_id
            self._deleveraged[who] = self._deleveraged.get(who, 0) + 1
        self._sums["adl_fills"] += len(shared)
        if self._watcher is not None and shared:
            self._watcher.adl(shared)
        if self._dir is None:
            return
        rows = [asdict(each) for each in shared]
        names = ("seq", "time_ns", "market_id", "bankrupt_id", "counterparty_id", "lots", "price")
        ints = {
            name: np.array([row[name] for row in rows], np.int64)
            for name in (*names, "mark_price", "notional", "haircut", "realised")
        }
        markets = ints["market_id"]
        fields = {
            "time": col.times(ints["time_ns"]),
            "seq": pa.array(ints["seq"]),
            "market": self.units.markets(markets),
            "bankrupt_account": pa.array(ints["bankrupt_id"]),
            "counterparty_account": pa.array(ints["counterparty_id"]),
            "counterparty_was": col.named(
                np.where(ints["lots"] < 0, 1, 2).astype(np.int64), _POSITION_SIDES
            ),
            "lots": pa.array(np.abs(ints["lots"])),
            "price": self.units.prices(ints["price"], markets),
            "mark_price": self.units.prices(ints["mark_price"], markets),
            "notional": self.units.money(ints["notional"]),
            "haircut_at_mark": self.units.money(ints["haircut"]),
            "counterparty_realised": self.units.money(ints["realised"]),
        }
        self._put("adl", fields)

    def _write_accounts(self, rows) -> None:
        """The final accounts and positions, with equity at the final mark."""
        accounts = as_table(rows["accounts"], 2)
        positions = as_table(rows["positions"], 6)
        markets, lots, entry, margin = (positions[:, i] for i in (1, 3, 4, 5))
        marks = self._prices[markets, 1]
        at_mark = np.where(marks > 0, self.units.values(lots, marks, markets), entry)
        unrealised = at_mark - entry
        of_fund = np.isin(positions[:, 0], self._fund_ids)
        np.add.at(self._inventory[:, 0], markets[of_fund], lots[of_fund])
        np.add.at(self._inventory[:, 1], markets[of_fund], unrealised[of_fund])
        if self._dir is None:
            return
        owner = np.searchsorted(accounts[:, 0], positions[:, 0])
        totals = np.zeros((len(accounts), 4), np.int64)
        for column, values in enumerate((margin, unrealised, np.abs(at_mark), lots != 0)):
            np.add.at(totals[:, column], owner, values)
        ids = accounts[:, 0]
        labels = [*col.names(c.SystemAccount), "user"]
        kinds = np.where(ids < c.FIRST_USER_ID, ids, len(labels) - 1)

        def counts(table: dict[int, int]) -> pa.Array:
            return pa.array([table.get(i, 0) for i in ids.tolist()], pa.int64())

        fields = {
            "account_id": pa.array(ids),
            "kind": col.named(kinds, labels),
            "balance": self.units.money(accounts[:, 1]),
            "isolated_margin": self.units.money(totals[:, 0]),
            "unrealised": self.units.money(totals[:, 1]),
            "equity": self.units.money(accounts[:, 1] + totals[:, 0] + totals[:, 1]),
            "notional": self.units.money(totals[:, 2]),
            "positions": pa.array(totals[:, 3]),
            "liquidations": counts(self._liquidated),
            "adl_fills": counts(self._deleveraged),
        }
        self._put("accounts", fields)
        fields = {
            "account_id": pa.array(positions[:, 0]),
            "market": self.units.markets(markets),
            "position_side": col.named(positions[:, 2], _POSITION_SIDES),
            "lots": pa.array(lots),
            "entry_value": self.units.money(entry),
            "mark_price": self.units.prices(marks, markets),
            "unrealised": self.units.money(unrealised),
            "isolated_margin": self.units.money(margin),
        }
        self._put("positions", fields)

    def _summary(self) -> RunSummary:
        sums = self._sums
        shares = {
            f"{what}_{where}_quote": sums[f"{what}_{where}"]
            for what in _SHARES
            for where in DESTINATIONS
        }
        symbols = self.units.symbols
        held = self._inventory[1:, 0]
        marks, ids = self._prices[1:, 1], np.arange(1, len(self._prices))
        return RunSummary(
            asset=self.units.asset,
            money_decimals=self.units.money_decimals,
            accounts_liquidated_count=len(self._liquidated),
            liquidations_count=sums["liquidations"],
            liquidation_ends=dict(sorted(self._ends.items())),
            notional_liquidated_quote=sum(sums[f"notional_{where}"] for where in DESTINATIONS),
            equity_at_start_quote=sums["equity"],
            liquidation_fees_quote=sums["fees"],
            surplus_quote=sums["surplus"],
            shortfall_quote=sums["paid"] + sums["bad_debt"],
            fund_paid_quote=sums["paid"],
            bad_debt_quote=sums["bad_debt"],
            liquidation_fills_count=int(self._fills[c.Cause.LIQUIDATION]),
            takeovers_count=int(self._fills[c.Cause.TAKEOVER]),
            takeovers_refused_count=sums["refused_takeovers"],
            adl_fills_count=sums["adl_fills"],
            adl_accounts_count=len(self._deleveraged),
            lots={
                where: dict(zip(symbols, self._lots[cause, 1:].tolist(), strict=True))
                for cause, where in BY_CAUSE.items()
            },
            fund_start_quote=self._fund if self._fund_start is None else self._fund_start,
            fund_min_quote=self._fund if self._fund_min is None else self._fund_min,
            fund_end_quote=self._fund,
            fund_lots=dict(zip(symbols, held.tolist(), strict=True)),
            fund_notional_quote=sum(np.abs(self.units.values(held, marks, ids)).tolist()),
            fund_unrealised_quote=sum(self._inventory[:, 1].tolist()),
            trades_count=sums["trades"],
            notional_traded_quote=sums["traded"],
            rejected_count=sums["rejected"],
            events_count=sums["events"],
            **shares,
        )
