"""The auditor: rebuilds ledger, positions, orders and prices from events alone and compares.

It reads EVENT rows as an outsider would and then the canonical rows of the state. It knows
neither the core nor the rulebook and shares no formula with them. Every invariant has an id, a
sentence and, if broken, the first place where it broke. Vectorised with numpy: one pass over
large pieces of the stream, cut at command boundaries so that no trade is split.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from engine import constants as c
from engine.vectors import (
    Registry,
    WholeCommands,
    as_table,
    grow,
    position_values,
    share_toward_zero,
)
from engine.venue import MarketNumbers

_KEY_BITS = 12  # market id (up to 512) and position side below the account's row

INVARIANTS = {
    "A01": "Command numbers start at 1 or later and never decrease.",
    "A02": "Time never decreases.",
    "A03": "Every event kind is known and every amount is within the money bound.",
    "A04": "Fills come in pairs: taker then other side, opposite lots, one price.",
    "A05": "No fill at a price of zero; fills in the book are on the tick and within bounds.",
    "A06": "Realised profit is value given minus the share of the entry value, on every fill.",
    "A07": "No command creates or destroys money.",
    "A08": "The fund goes below zero only by bad debt, waived debts and its own positions; paid "
    "shortfalls leave it at zero or more.",
    "A09": "Liquidations start at or below maintenance, end, and do not overlap per account.",
    "A10": "Whoever is filled in the book had an order there with enough lots.",
    "A11": "Balances minus entry values equal deposits minus withdrawals.",
    "A12": "Lots sum to zero in every market.",
    "A13": "Every balance equals the one rebuilt from events; no account without an opening.",
    "A14": "Every position and isolated margin equals the one rebuilt from events.",
    "A15": "Every resting order equals the one rebuilt from events.",
    "A16": "Index, mark and last price of every market equal the last ones announced.",
}

# Sign with which a kind's `amount` is booked to the event's own ledger row.
_OWN_SIGN = np.zeros(64, np.int64)
_TAKEN = ("WITHDRAWN", "MARGIN_MOVED", "LIQUIDATION_FEE", "SURPLUS", "VENUE_FEE", "SEIZED")
for _kind in ("DEPOSITED", "FILL", "FUNDING_PAID", "SHORTFALL", "BAD_DEBT", "SETTLED"):
    _OWN_SIGN[c.EventKind[_kind]] = 1
for _kind in ("LOSS_COVERED", "DEBT_WAIVED", "POOL_PAID"):
    _OWN_SIGN[c.EventKind[_kind]] = 1
for _kind in (*_TAKEN, "LOSS_SHARED", "CLAWED_BACK", "HAIRCUT"):
    _OWN_SIGN[c.EventKind[_kind]] = -1
_ALWAYS_WALLET = (c.EventKind.DEPOSITED, c.EventKind.WITHDRAWN, c.EventKind.MARGIN_MOVED)
# Kinds whose amount a system account, named by `other_id`, has the other side of.
_WITH_VENUE = (
    *(c.EventKind.LIQUIDATION_FEE, c.EventKind.SURPLUS, c.EventKind.SHORTFALL),
    *(c.EventKind.BAD_DEBT, c.EventKind.DEBT_WAIVED, c.EventKind.CLAWED_BACK),
    *(c.EventKind.HAIRCUT, c.EventKind.VENUE_FEE, c.EventKind.SEIZED, c.EventKind.POOL_PAID),
)
_MAY_OVERDRAW = (  # the fund, besides its own fills
    *(c.EventKind.BAD_DEBT, c.EventKind.FUNDING_PAID, c.EventKind.DEBT_WAIVED),
    c.EventKind.SETTLED,
)
_IN_BOOK = (c.Cause.TRADE, c.Cause.LIQUIDATION)


class Check(msgspec.Struct, frozen=True):
    """One invariant: its id (`A01`...), its sentence, and the first difference ("" if none)."""

    id: str
    sentence: str
    ok: bool
    difference: str


class AuditResult(msgspec.Struct, frozen=True):
    """What the auditor found; money in the smallest settlement unit."""

    checks: list[Check]
    events: int
    deposits: int
    withdrawals: int
    fund_quote: int
    fees_quote: int
    rounding_quote: int
    identity_difference: int  # sum(balances) - sum(entry values) - deposits + withdrawals
    open_interest_lots: list[int]  # per market, in profile order

    @property
    def ok(self) -> bool:
        """Whether every invariant holds."""
        return all(check.ok for check in self.checks)


class Audit:
    """One audit of one run: `update` with every event in order, then `finish` with the rows.

    `markets` are the profile's markets in order: market id 1 is the first. `fund_is_limited`: the
    profile lets the fund keep money although there is bad debt.
    """

    def __init__(self, markets: Sequence[MarketNumbers], *, fund_is_limited: bool = False) -> None:
        self._markets = list(markets)
        self._fund_is_limited = fund_is_limited
        self._pieces = WholeCommands()
        self._failures: dict[str, str] = {}
        self._accounts = Registry()
        self._ledger = Registry()  # keys: account row, market, position side; 0, 0 is a wallet
        self._booked = np.zeros((0, 3), np.int64)  # balance or margin, lots, entry_quote
        self._orders = np.zeros((0, 6), np.int64)  # id, account, market, side, price, lots
        self._prices = np.zeros((len(self._markets) + 1, 3), np.int64)  # index, mark, last
        self._opened: list[np.ndarray] = []
        self._liquidating: set[int] = set()
        self._events = self._deposits = self._withdrawals = 0
        self._funds = dict.fromkeys([c.SystemAccount.INSURANCE_FUND.value], 0)
        self._funds |= dict.fromkeys((market.fund_id for market in markets), 0)
        self._venue_ids = [*c.SystemAccount, *self._funds]
        self._seq, self._time_ns = 1, -c.TIME_MAX_NS

    def update(self, events: np.ndarray) -> None:
        """Take the next EVENT rows, in batches of any size."""
        for piece in self._pieces.push(events):
            self._read(piece)

    def finish(self, rows: Mapping[str, Sequence[tuple[int, ...]] | np.ndarray]) -> AuditResult:
        """Compare with the state's rows and report; call it once, after the last event.

        Tables and their leading columns: accounts (account_id, balance_quote), positions
        (account_id, market_id, position_side, lots, entry_quote, margin_quote), orders
        (order_id, account_id, market_id, side, price, lots), markets (market_id, index_price,
        tape_mark_price, mark_price, last_price); rows in any order. Further columns and the
        recorded mark are not audited, nor positions that hold nothing but a leverage.
        """
        rest = self._pieces.rest()
        if len(rest):
            self._read(rest)
        for account in sorted(self._liquidating):
            self._fail("A09", f"account {account}: liquidation never ended")
        wallets, positions = self._rebuilt()
        balance = dict(wallets[wallets[:, 0] < c.FIRST_USER_ID].tolist())
        difference = self._compare_money(rows, wallets, positions)
        held = as_table(rows["positions"], 6)
        held = held[(held[:, 3:] != 0).any(axis=1)]
        self._compare_rows("A14", ("account", "market", "side"), positions, held)
        resting, waiting = as_table(rows["orders"], 6), as_table(rows.get("stops", []), 6)
        orders = np.concatenate([resting, waiting])
        mine = self._orders.copy()
        maker = mine[:, 1] == c.SystemAccount.MARKET_MAKER
        mine[maker, 0] = -(-mine[maker, 0] // 2)
        if not (orders[:, 1] == c.SystemAccount.MARKET_MAKER).any():
            mine = mine[mine[:, 1] != c.SystemAccount.MARKET_MAKER]
        self._compare_rows("A15", ("order",), mine, orders)
        announced = np.column_stack([np.arange(len(self._prices)), self._prices])[1:]
        in_state = as_table(rows["markets"], 5)[:, [0, 1, 3, 4]]
        self._compare_rows("A16", ("market",), announced, in_state)
        longs = [
            int(positions[(positions[:, 1] == m + 1) & (positions[:, 3] > 0), 3].sum())
            for m in range(len(self._markets))
        ]
        checks = [
            Check(key, sentence, key not in self._failures, self._failures.get(key, ""))
            for key, sentence in INVARIANTS.items()
        ]
        return AuditResult(
            checks=checks,
            events=self._events,
            deposits=self._deposits,
            withdrawals=self._withdrawals,
            fund_quote=sum(self._funds.values()),
            fees_quote=balance.get(c.SystemAccount.FEES, 0),
            rounding_quote=balance.get(c.SystemAccount.ROUNDING, 0),
            identity_difference=difference,
            open_interest_lots=longs,
        )

    def _fail(self, key: str, text: str) -> None:
        self._failures.setdefault(key, text)

    def _fail_first(self, key: str, events: np.ndarray, broken: np.ndarray, text: str) -> None:
        """Note the first event where `broken` (bool, one per event) holds."""
        if key not in self._failures and broken.any():
            event = events[int(np.argmax(broken))]
            self._fail(
                key,
                f"{text}: seq {event['seq']}, kind {event['kind']}, account "
                f"{event['account_id']}, market {event['market_id']}, price {event['price']}, "
                f"lots {event['lots']}, amount {event['amount']}",
            )

    def _read(self, events: np.ndarray) -> None:
        """One piece of the stream; whole commands only."""
        self._events += len(events)
        self._check_sequence(events)
        kind = events["kind"]
        fills = kind == c.EventKind.FILL
        values = self._fill_values(events, fills)
        self._check_fills(events[fills], np.flatnonzero(fills))
        self._check_conservation(events, fills, values)
        self._book_money(events, fills)
        moved = fills | (kind == c.EventKind.SETTLED)
        self._book_positions(events[moved], values[moved])
        self._check_liquidations(events)
        self._follow_orders(events)
        self._follow_prices(events)
        opened = kind == c.EventKind.ACCOUNT_OPENED
        self._opened.append(events["account_id"][opened])

    def _check_sequence(self, events: np.ndarray) -> None:
        kind, seq, time_ns = events["kind"], events["seq"], events["time_ns"]
        before = np.concatenate([[self._seq], seq[:-1]])
        self._fail_first("A01", events, seq < before, "command number went back")
        before = np.concatenate([[self._time_ns], time_ns[:-1]])
        self._fail_first("A02", events, time_ns < before, "time went back")
        self._seq, self._time_ns = int(seq[-1]), int(time_ns[-1])
        self._fail_first(
            "A03", events, (kind < 1) | (kind > max(c.EventKind)), "unknown event kind"
        )
        for name in ("amount", "fee"):
            beyond = (events[name] > c.MONEY_MAX) | (events[name] < -c.MONEY_MAX)
            self._fail_first("A03", events, beyond, f"{name} beyond the money bound")

    def _fill_values(self, events: np.ndarray, fills: np.ndarray) -> np.ndarray:
        """V of every FILL row, 0 on other rows."""
        values = np.zeros(len(events), np.int64)
        ids = events["market_id"]
        for market_id in np.unique(ids[fills]):
            mine = fills & (ids == market_id)
            if not 1 <= market_id <= len(self._markets):
                self._fail_first("A04", events, mine, "fill in an unknown market")
                continue
            market = self._markets[market_id - 1]
            try:
                values[mine] = position_values(market, events["lots"][mine], events["price"][mine])
            except OverflowError:
                self._fail_first("A03", events, mine, "the value of a fill is beyond the bound")
            in_book = mine & np.isin(events["reason"], _IN_BOOK)
            off = in_book & (
                (events["price"] % market.tick_price != 0) | (events["price"] > market.price_max)
            )
            self._fail_first("A05", events, off, "fill in the book off the tick or beyond bounds")
        free = fills & (events["price"] <= 0) & (events["reason"] != c.Cause.ASSET)
        self._fail_first("A05", events, free, "fill without a price")
        return values

    def _check_fills(self, fills: np.ndarray, places: np.ndarray) -> None:
        pairs = len(fills) // 2
        taker, other = fills[0 : 2 * pairs : 2], fills[1 : 2 * pairs : 2]
        broken = places[1 : 2 * pairs : 2] - places[0 : 2 * pairs : 2] != 1
        for name in ("seq", "market_id", "price", "reason"):
            broken |= taker[name] != other[name]
        broken |= (taker["lots"] != -other["lots"]) | (taker["lots"] == 0)
        broken |= taker["account_id"] != other["other_id"]
        broken |= taker["other_id"] != other["account_id"]
        in_book = np.isin(taker["reason"], _IN_BOOK)
        is_maker = (other["flags"] & c.Flag.MAKER) != 0
        broken |= in_book & (~is_maker | ((taker["flags"] & c.Flag.MAKER) != 0))
        broken |= ~in_book & ((taker["order_id"] != 0) | (other["order_id"] != 0))
        broken |= (taker["side"] == c.Side.BUY) != (taker["lots"] > 0)
        broken |= (other["side"] == c.Side.BUY) != (other["lots"] > 0)
        self._fail_first("A04", taker, broken, "not a pair")
        if len(fills) % 2:
            self._fail_first("A04", fills[-1:], np.ones(1, bool), "a fill without its other side")

    def _check_conservation(
        self, events: np.ndarray, fills: np.ndarray, values: np.ndarray
    ) -> None:
        """All other kinds move money between rows; a fill's value and funding must cancel."""
        kind = events["kind"]
        funding = (kind == c.EventKind.FUNDING_PAID) | (kind == c.EventKind.FUNDING_SETTLED)
        created = np.where(fills, -values, 0) + np.where(funding, events["amount"], 0)
        created -= np.where(kind == c.EventKind.LOSS_SHARED, events["amount"], 0)
        covered = kind == c.EventKind.LOSS_COVERED
        created += np.where(covered, events["amount"] + events["fee"], 0)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(events["seq"])) + 1])
        sums = np.add.reduceat(created, starts)
        self._fail_first("A07", events[starts], sums != 0, "the command's money does not cancel")

    def _book_money(self, events: np.ndarray, fills: np.ndarray) -> None:
        kind, amount = events["kind"], events["amount"]
        known = np.where((kind >= 0) & (kind < len(_OWN_SIGN)), kind, 0)
        own = _OWN_SIGN[known] * amount - np.where(fills, events["fee"], 0)
        isolated = ((events["flags"] & c.Flag.ISOLATED) != 0) & ~np.isin(kind, _ALWAYS_WALLET)
        self._add(events, own != 0, isolated, 0, own)
        moved = kind == c.EventKind.MARGIN_MOVED
        self._add(events, moved, moved, 0, amount)
        self._deposits += int(amount[kind == c.EventKind.DEPOSITED].sum())
        self._withdrawals += int(amount[kind == c.EventKind.WITHDRAWN].sum())
        self._add_to(c.SystemAccount.FEES, int(events["fee"][fills].sum()))
        settled = kind == c.EventKind.FUNDING_SETTLED
        self._add_to(c.SystemAccount.ROUNDING, int(amount[settled].sum()))
        covered = kind == c.EventKind.LOSS_COVERED
        self._add_to(c.SystemAccount.ROUNDING, int(events["fee"][covered].sum()))
        with_venue = np.isin(kind, _WITH_VENUE)
        strange = with_venue & ~np.isin(events["other_id"], self._venue_ids)
        self._fail_first("A07", events, strange, "money went to an account that is not the venue's")
        for system in np.unique(events["other_id"][with_venue]).tolist():
            mine = with_venue & (events["other_id"] == system)
            self._add_to(system, int(-own[mine].sum()))
        for fund, balance in self._funds.items():
            mine = np.where((events["account_id"] == fund) & ~isolated, own, 0)
            mine -= np.where(with_venue & (events["other_id"] == fund), own, 0)
            self._check_fund(events, balance + np.cumsum(mine), mine)
            self._funds[fund] = balance + int(mine.sum())

    def _check_fund(self, events: np.ndarray, after: np.ndarray, change: np.ndarray) -> None:
        kind, moved = events["kind"], change != 0
        crossed = (after < 0) & (after - change >= 0)
        allowed = (kind == c.EventKind.FILL) | np.isin(kind, _MAY_OVERDRAW)
        self._fail_first("A08", events, crossed & ~allowed, "the fund went below zero")
        unpaid = moved & (kind == c.EventKind.SHORTFALL) & (after < 0)
        self._fail_first("A08", events, unpaid, "a shortfall was paid that the fund did not have")
        had = moved & (kind == c.EventKind.BAD_DEBT) & (after >= 0)
        if not self._fund_is_limited:
            self._fail_first("A08", events, had, "bad debt although the fund had the money")

    def _keys(self, events: np.ndarray, in_position: np.ndarray) -> np.ndarray:
        rows = self._accounts.rows(events["account_id"]) << _KEY_BITS
        market = events["market_id"].astype(np.int64) << 2
        return rows | np.where(in_position, market | events["position_side"], 0)

    def _add(self, events, chosen, in_position, column: int, values: np.ndarray) -> None:
        """Add `values` of the chosen events to one column of their ledger rows."""
        rows = self._ledger.rows(self._keys(events[chosen], in_position[chosen]))
        self._booked = grow(self._booked, len(self._ledger.keys))
        np.add.at(self._booked[:, column], rows, values[chosen])

    def _add_to(self, account_id: int, amount: int) -> None:
        """Add to the wallet of a system account."""
        rows = self._ledger.rows(self._accounts.rows(np.array([account_id])) << _KEY_BITS)
        self._booked = grow(self._booked, len(self._ledger.keys))
        self._booked[rows, 0] += amount

    def _book_positions(self, fills: np.ndarray, values: np.ndarray) -> None:
        """Lots and entry values of FILL and SETTLED rows; checks every realised profit."""
        if not len(fills):
            return
        rows = self._ledger.rows(self._keys(fills, np.ones(len(fills), bool)))
        self._booked = grow(self._booked, len(self._ledger.keys))
        order = np.argsort(rows, kind="stable")
        rows, fills, values = rows[order], fills[order], values[order]
        traded = fills["kind"] == c.EventKind.FILL
        lots = np.where(traded, fills["lots"], 0)
        starts = np.flatnonzero(np.concatenate([[True], np.diff(rows) != 0]))
        sizes = np.diff(np.concatenate([starts, [len(rows)]]))
        before = []
        for column, change in ((1, lots), (2, values + fills["amount"])):
            running = np.cumsum(change) - change  # wraps modulo 2**64, and unwraps below
            running = running - np.repeat(running[starts], sizes)
            before.append(running + self._booked[rows, column])
            self._booked[rows[starts], column] += np.add.reduceat(change, starts)
        before = [column[traded] for column in before]
        self._check_realised(fills[traded], values[traded], before[0], before[1])

    def _check_realised(self, fills, values, lots, entry) -> None:
        """R of a fill: nothing when it opens; else -V(closed) - entry * closed / open."""
        change = fills["lots"]
        closing = (np.sign(lots) * np.sign(change)) < 0
        open_lots = np.maximum(np.abs(lots), 1)
        closed = np.where(closing, np.minimum(np.abs(change), open_lots), 0)
        closed_values = values.copy()
        flips = np.flatnonzero(closing & (np.abs(change) > np.abs(lots)))
        for market_id in np.unique(fills["market_id"][flips]):
            mine = flips[fills["market_id"][flips] == market_id]
            if 1 <= market_id <= len(self._markets):
                closed_values[mine] = position_values(
                    self._markets[market_id - 1], -lots[mine], fills["price"][mine]
                )
        moved = share_toward_zero(entry, closed, open_lots)
        expected = np.where(closing, -closed_values - moved, 0)
        self._fail_first("A06", fills, fills["amount"] != expected, "realised profit")

    def _check_liquidations(self, events: np.ndarray) -> None:
        kind = events["kind"]
        started = kind == c.EventKind.LIQUIDATION_STARTED
        above = started & (events["amount"] > events["fee"])
        self._fail_first("A09", events, above, "liquidated above maintenance margin")
        chosen = started | (kind == c.EventKind.LIQUIDATION_ENDED)
        for account, starts in zip(
            events["account_id"][chosen].tolist(), started[chosen].tolist(), strict=True
        ):
            if starts == (account in self._liquidating):
                self._fail("A09", f"account {account}: liquidation started or ended twice")
            (self._liquidating.add if starts else self._liquidating.discard)(account)

    def _follow_orders(self, events: np.ndarray) -> None:
        """Orders known so far and this piece's changes, in order; keep what still rests.

        An announcement sets the lots of an order (0: gone), a maker's fill takes lots away.
        """
        kind = events["kind"]
        gone = np.isin(kind, (c.EventKind.CANCELLED, c.EventKind.STOP_TRIGGERED))
        names = ("RESTED", "AMENDED", "STOP_PLACED", "DEPTH_SET")
        sets = gone | np.isin(kind, [c.EventKind[name] for name in names])
        fills = (kind == c.EventKind.FILL) & ((events["flags"] & c.Flag.MAKER) != 0)
        fills &= np.isin(events["reason"], _IN_BOOK)
        chosen = sets | fills
        if not chosen.any():
            return
        rows = events[chosen]
        depth = rows["kind"] == c.EventKind.DEPTH_SET
        quote = -((rows["market_id"].astype(np.int64) << c.MAKER_ID_MARKET_SHIFT) | rows["price"])
        ids = np.where(depth, quote, rows["order_id"])
        owner = np.where(depth, c.SystemAccount.MARKET_MAKER, rows["account_id"])
        # the market maker has a level a side at a price: two keys for what has one id
        maker = owner == c.SystemAccount.MARKET_MAKER
        ids = np.where(maker, 2 * ids - (rows["side"] == c.Side.SELL), ids)
        lots = np.where(gone[chosen], 0, np.abs(rows["lots"]))
        changes = np.column_stack(
            [ids, owner, rows["market_id"], rows["side"], rows["price"], lots]
        )
        table = np.concatenate([self._orders, changes])
        is_set = np.concatenate([np.ones(len(self._orders), bool), sets[chosen]])
        order = np.argsort(table[:, 0], kind="stable")
        table, is_set = table[order], is_set[order]
        starts = np.flatnonzero(np.concatenate([[True], np.diff(table[:, 0]) != 0]))
        ends = np.concatenate([starts[1:], [len(table)]]) - 1
        last_set = np.maximum.reduceat(np.where(is_set, np.arange(len(table)), -1), starts)
        taken = np.cumsum(np.where(is_set, 0, table[:, 5]))
        unknown = last_set < 0
        left = table[last_set].copy()
        left[:, 5] -= taken[ends] - taken[last_set]
        for bad, text in ((unknown, "not in the book"), (~unknown & (left[:, 5] < 0), "had fewer")):
            if bad.any():
                self._fail("A10", f"order {int(table[starts[bad][0], 0])} was filled, {text}")
        self._orders = left[~unknown & (left[:, 5] > 0)]

    def _follow_prices(self, events: np.ndarray) -> None:
        kind = events["kind"]
        trades = (kind == c.EventKind.FILL) & np.isin(events["reason"], _IN_BOOK)
        last = trades | (kind == c.EventKind.LAST_SET)
        marks = (kind == c.EventKind.INDEX_SET, kind == c.EventKind.MARK_SET, last)
        for column, chosen in enumerate(marks):
            ids = events["market_id"][chosen]
            ids = np.where((ids < 1) | (ids > len(self._markets)), 0, ids)
            self._prices[ids, column] = events["price"][chosen]

    def _rebuilt(self) -> tuple[np.ndarray, np.ndarray]:
        """Wallets (account_id, balance) and positions (six columns), sorted by their keys."""
        keys = self._ledger.keys
        account = self._accounts.keys[keys >> _KEY_BITS]
        market, side = (keys >> 2) & 1023, keys & 3
        booked = self._booked[: len(keys)]
        wallet = market == 0
        wallets = np.column_stack([account, booked[:, 0]])[wallet]
        columns = [account, market, side, booked[:, 1], booked[:, 2], booked[:, 0]]
        positions = np.column_stack(columns)[~wallet]
        positions = positions[(positions[:, 3:] != 0).any(axis=1)]
        return wallets, positions

    def _compare_money(self, rows, wallets: np.ndarray, positions: np.ndarray) -> int:
        balances = sum(wallets[:, 1].tolist()) + sum(positions[:, 5].tolist())
        difference = balances - sum(positions[:, 4].tolist()) - self._deposits + self._withdrawals
        if difference:
            self._fail("A11", f"rebuilt from events the difference is {difference}")
        accounts, theirs = as_table(rows["accounts"], 2), as_table(rows["positions"], 6)
        balances = sum(accounts[:, 1].tolist()) + sum(theirs[:, 5].tolist())
        in_state = balances - sum(theirs[:, 4].tolist()) - self._deposits + self._withdrawals
        if in_state:
            self._fail("A11", f"in the state's rows the difference is {in_state}")
        for market_id in range(1, len(self._markets) + 1):
            for name, table in (("events", positions), ("state", theirs)):
                total = int(table[table[:, 1] == market_id, 3].sum())
                if total:
                    self._fail("A12", f"market {market_id}: {name} sum to {total} lots")
        opened = np.concatenate([*self._opened, np.array(self._venue_ids, np.int64)])
        never = np.setdiff1d(np.concatenate([accounts[:, 0], wallets[:, 0]]), opened)
        lost = np.setdiff1d(np.concatenate(self._opened or [opened[:0]]), accounts[:, 0])
        for ids, text in ((never, "was never opened"), (lost, "is missing from the state")):
            if len(ids):
                self._fail("A13", f"account {ids[0]} {text}")
        mine = wallets[wallets[:, 1] != 0]
        self._compare_rows("A13", ("account",), mine, accounts[accounts[:, 1] != 0])
        return in_state or difference

    def _compare_rows(self, key: str, names: tuple[str, ...], mine: np.ndarray, theirs) -> None:
        """Compare rebuilt rows with the state's, by their leading `names` columns."""
        theirs = as_table(theirs, mine.shape[1])
        mine = mine[np.lexsort(mine.T[::-1])]
        theirs = theirs[np.lexsort(theirs.T[::-1])]
        if np.array_equal(mine, theirs):
            return
        width = len(names)
        a = {tuple(row[:width]): row[width:] for row in mine.tolist()}
        b = {tuple(row[:width]): row[width:] for row in theirs.tolist()}
        for place in sorted(a.keys() | b.keys()):
            if a.get(place) != b.get(place):
                where = ", ".join(f"{n} {v}" for n, v in zip(names, place, strict=True))
                self._fail(key, f"{where}: from events {a.get(place)}, in the state {b.get(place)}")
                return
        self._fail(key, "a row occurs twice")
