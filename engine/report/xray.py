"""Every account of a run through time: its balances, legs and events, rebuilt from the events.

The tables hold what changed; what an account was worth between two events is nobody's event. Here
the state after every event of every account is rebuilt (balance, lots, entry value), in whole
numbers, and compared with what the engine said: equity and requirement of every liquidation when
it began, equity of every account at the end. The page values these states at the marks it draws.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from engine import constants as c
from engine.profile import VenueProfile
from engine.reference.margin import maintenance_margin
from engine.reference.margin import value as value_at
from engine.report.columns import Units
from engine.venue import MarketNumbers

K = c.EventKind
_GIVEN = (K.WITHDRAWN, K.MARGIN_MOVED, K.LIQUIDATION_FEE, K.SURPLUS, K.VENUE_FEE, K.SEIZED)
_GIVEN += (K.LOSS_SHARED, K.CLAWED_BACK, K.HAIRCUT)
_RECEIVED = (K.DEPOSITED, K.FILL, K.FUNDING_PAID, K.SHORTFALL, K.BAD_DEBT, K.SETTLED)
_RECEIVED += (K.LOSS_COVERED, K.DEBT_WAIVED, K.POOL_PAID)
SIGN = {int(k): 1 for k in _RECEIVED} | {int(k): -1 for k in _GIVEN}
_MOVES_LOTS = (int(K.FILL), int(K.SETTLED))
_OF_WALLET = [int(k) for k in (K.DEPOSITED, K.WITHDRAWN, K.MARGIN_MOVED)]
_SETTINGS = (K.ACCOUNT_OPENED, K.LEVERAGE_SET, K.MARGIN_MODE_SET, K.POSITION_MODE_SET)
_COLUMNS = ("seq", "time_ns", "kind", "reason", "market", "leg", "price", "balance", "lots")
_COLUMNS += ("entry", "first", "second", "other", "change", "moves_lots", "moves_entry", "value")
LEDGER_BIT, ISOLATED_BIT = 4, 8  # of `leg`, above the position side


class Found(msgspec.Struct, frozen=True):
    """How the rebuilt states compare with the engine; every count of how many agreed, of all."""

    accounts: int
    accounts_equal: int
    starts: int
    equity_equal: int
    requirement_equal: int


def is_plain(market: MarketNumbers, profile: VenueProfile) -> bool:
    """Whether the requirement of a leg follows from its tier alone, as the page can compute it."""
    rules = profile.margin
    plain = rules.maintenance == "tiers" and not rules.worst_case_orders
    return plain and not (market.slope_ppb or market.sqrt_square)


def _codes(enum) -> dict[str, int]:
    return {member.name.lower(): int(member) for member in enum}


def read_events(run_dir: Path | str, units: Units) -> pl.DataFrame:
    """Events of users and every mark, in order, as integers; `reason` stays a word."""
    symbols = {symbol: place + 1 for place, symbol in enumerate(units.symbols)}
    kind = pl.col("kind").cast(pl.String)
    users = pl.col("account_id") >= c.FIRST_USER_ID
    settings = kind.is_in([each.name.lower() for each in _SETTINGS])
    return (
        pl.scan_parquet(Path(run_dir) / "events.parquet")
        .with_row_index("row")
        .filter((users & ~settings) | (kind == "mark_set"))
        .select(
            pl.col("row").cast(pl.Int64),
            "seq",
            pl.col("time").cast(pl.Int64).alias("time_ns"),
            kind.replace_strict(_codes(K), return_dtype=pl.Int64),
            pl.col("reason").cast(pl.String).fill_null(""),
            pl.col("market")
            .cast(pl.String)
            .replace_strict(symbols, default=0, return_dtype=pl.Int64),
            pl.col("position_side")
            .cast(pl.String)
            .replace_strict(_codes(c.PositionSide) | {"": 0}, return_dtype=pl.Int64)
            .alias("side"),
            *(pl.col(name) for name in ("account_id", "other_id", "price", "lots", "amount")),
            "fee",
            (pl.col("flags").cast(pl.Int64) & int(c.Flag.ISOLATED) != 0).alias("isolated"),
        )
        .collect()
    )


def marks_of(events: pl.DataFrame) -> pl.DataFrame:
    """The mark each command left: row, seq, time_ns, market, price."""
    marks = events.filter(pl.col("kind") == int(K.MARK_SET))
    return marks.select("row", "seq", "time_ns", "market", "price")


def account_states(events: pl.DataFrame, units: Units) -> pl.DataFrame:
    """The state after every event of a user: one row an event, two where margin was moved.

    Sorted by account and time. `balance` is that of the wallet, or of the leg's own margin where
    `ledger` is 1; `lots` and `entry` are the leg's after a fill or a settlement, else 0 and the
    event's own lots. `first`, `second` hold the fee of a fill, or amount and fee of an event that
    moves no money. `change`, `moves_lots` and `moves_entry` are the differences to the row before
    of the same ledger and leg, `value` is V of a fill.
    """
    users = events.filter(pl.col("account_id") >= c.FIRST_USER_ID)
    kind, amount = pl.col("kind"), pl.col("amount")
    filled, settled = kind == int(K.FILL), kind == int(K.SETTLED)
    fills = (users["kind"] == int(K.FILL)).to_numpy()
    value = np.zeros(users.height, np.int64)
    value[fills] = units.values(*(users[n].to_numpy()[fills] for n in ("lots", "price", "market")))
    sign = kind.replace_strict(SIGN, default=0, return_dtype=pl.Int64)
    rows = users.with_columns(
        pl.Series("value", value),
        ledger=(pl.col("isolated") & ~kind.is_in(_OF_WALLET)).cast(pl.Int64),
        change=sign * amount - pl.when(filled).then("fee").otherwise(0),
    )
    moved = rows.filter(kind == int(K.MARGIN_MOVED)).with_columns(
        ledger=1, change=-pl.col("change")
    )
    rows = pl.concat([rows, moved.cast(rows.schema)]).sort("account_id", "row", "ledger")
    own = pl.col("ledger") == 1
    of_leg = ["account_id", "market", "side"]
    rows = rows.with_columns(
        ledger_market=pl.when(own).then("market").otherwise(0),
        ledger_side=pl.when(own).then("side").otherwise(0),
        moves_lots=filled.cast(pl.Int64) * pl.col("lots"),
        moves_entry=pl.when(filled)
        .then(pl.col("value") + amount)
        .when(settled)
        .then(amount)
        .otherwise(0),
    )
    changes_leg, moves_money = filled | settled, sign != 0
    return rows.with_columns(
        balance=pl.col("change").cum_sum().over("account_id", "ledger_market", "ledger_side"),
        lots=pl.when(changes_leg)
        .then(pl.col("moves_lots").cum_sum().over(of_leg))
        .otherwise("lots"),
        entry=pl.when(changes_leg).then(pl.col("moves_entry").cum_sum().over(of_leg)).otherwise(0),
        first=pl.when(filled).then("fee").when(moves_money).then(0).otherwise(amount),
        second=pl.when(moves_money).then(0).otherwise("fee"),
        leg=pl.col("side")
        + LEDGER_BIT * pl.col("ledger")
        + ISOLATED_BIT * pl.col("isolated").cast(pl.Int64),
        other=pl.col("other_id"),
    ).select("row", "account_id", *_COLUMNS)


class Account:
    """One account while its rows go by; its domains are None (cross) or (market, side)."""

    def __init__(self, profile: VenueProfile, units: Units) -> None:
        self._rules, self._units = profile.margin, units
        self._over = 1 if profile.trigger.comparison == "at_or_below" else 0
        self.wallet = 0
        self.legs: dict[tuple[int, int], list[int]] = {}  # lots, entry, margin, isolated

    def apply(self, kind: int, market: int, leg: int, balance: int, lots: int, entry: int) -> None:
        """The next row of `account_states`, by its columns."""
        key = (market, leg & 3)
        if kind in _MOVES_LOTS:
            own = self.legs.setdefault(key, [0, 0, 0, 0])
            own[0], own[1], own[3] = lots, entry, int(leg & ISOLATED_BIT != 0)
        if kind in SIGN:
            if leg & LEDGER_BIT:
                own = self.legs.setdefault(key, [0, 0, 0, 1])
                own[2], own[3] = balance, 1
            else:
                self.wallet = balance

    def domain(self, which: tuple[int, int] | None) -> Iterable[tuple[int, list[int]]]:
        """Market and leg of each position of a domain."""
        if which is not None:
            return [(which[0], self.legs.get(which, [0, 0, 0, 1]))]
        return [(key[0], leg) for key, leg in self.legs.items() if not leg[3]]

    def only_market(self, which: tuple[int, int] | None) -> int:
        """The market of all the lots of a domain; 0 where there are none, or several."""
        found = {market for market, leg in self.domain(which) if leg[0]}
        return found.pop() if len(found) == 1 else 0

    def stands(self, which: tuple[int, int] | None, marks: Mapping[int, int]) -> tuple[int, int]:
        """Equity and the requirement that liquidation starts below, at these marks."""
        equity = self.wallet if which is None else 0
        requirement = 0
        for market_id, (lots, entry, margin, isolated) in self.domain(which):
            market = self._units.numbers[market_id - 1]
            equity += margin if isolated else 0
            mark = marks.get(market_id, 0)
            if not lots or not mark:
                continue
            worth = value_at(market, lots, mark)
            if market.contract == c.Contract.COLLATERAL:
                equity += worth * (c.PPM - market.haircut_ppm) // c.PPM - entry
                continue
            equity += worth - entry
            requirement += maintenance_margin(
                market, self._rules, lots, abs(worth), entry, market.leverage_default
            )
        return equity, requirement + (self._over if requirement else 0)


def check(
    states: pl.DataFrame,
    marks: pl.DataFrame,
    accounts: pl.DataFrame,
    profile: VenueProfile,
    units: Units,
) -> tuple[Found, dict[int, tuple[int, int, int]]]:
    """Compare with the engine: every liquidation as it began, every account at the end.

    `accounts` is the table of the run folder. Requirements that hang on leverage or open orders,
    and those of forced closings, are not rebuilt; they count as not equal. Also by row the mark at
    a start, and what a reader expects there of equity and requirement, where the domain has lots
    in one market; 0 for a requirement that does not follow from the tier.
    """
    expected: dict[int, tuple[int, int, int]] = {}
    started = int(K.LIQUIDATION_STARTED)
    whose = states.filter(pl.col("kind") == started)["account_id"].unique()
    walked = states.filter(pl.col("account_id").is_in(whose.implode()))
    prices = {
        market: marks.filter(pl.col("market") == market).select("row", "price")
        for market in marks["market"].unique().to_list()
    }
    places = {
        market: (np.searchsorted(table["row"].to_numpy(), walked["row"].to_numpy()) - 1).tolist()
        for market, table in prices.items()
    }
    known = {market: table["price"].to_list() for market, table in prices.items()}
    starts = equity_equal = requirement_equal = 0
    account, last = Account(profile, units), None
    state = ("kind", "market", "leg", "balance", "lots", "entry")
    order = walked.select("account_id", "row", "first", "second", *state).iter_rows()
    for place, (whom, row, said_equity, said_requirement, *columns) in enumerate(order):
        if whom != last:
            account, last = Account(profile, units), whom
        if columns[0] == started:
            at = {m: known[m][p[place]] for m, p in places.items() if p[place] >= 0}
            domain = (columns[1], columns[2] & 3) if columns[2] & ISOLATED_BIT else None
            equity, requirement = account.stands(domain, at)
            starts += 1
            equity_equal += equity == said_equity
            requirement_equal += requirement == said_requirement
            if only := account.only_market(domain):
                plain = is_plain(units.numbers[only - 1], profile)
                expected[row] = (at.get(only, 0), equity, requirement if plain else 0)
        else:
            account.apply(*columns)
    users = accounts.filter(pl.col("account_id") >= c.FIRST_USER_ID)
    found = Found(
        accounts=users.height,
        accounts_equal=_equal_at_the_end(states, marks, users, units),
        starts=starts,
        equity_equal=equity_equal,
        requirement_equal=requirement_equal,
    )
    return found, expected


def _equal_at_the_end(
    states: pl.DataFrame, marks: pl.DataFrame, users: pl.DataFrame, units: Units
) -> int:
    """How many accounts have the equity of the engine's table at the last mark."""
    money = pl.col("kind").is_in(list(SIGN))
    own = pl.col("leg") & LEDGER_BIT
    which = [pl.when(own != 0).then(pl.col(n)).otherwise(-1).alias(n) for n in ("market", "leg")]
    balances = (
        states.filter(money)
        .select("account_id", *which, "balance")
        .group_by("account_id", "market", pl.col("leg") & 3)
        .agg(pl.col("balance").last())
        .group_by("account_id")
        .agg(pl.col("balance").sum())
    )
    legs = (
        states.filter(pl.col("kind").is_in([int(K.FILL), int(K.SETTLED)]))
        .group_by("account_id", "market", side=pl.col("leg") & 3)
        .agg(pl.col("lots").last(), pl.col("entry").last())
    )
    last = marks.group_by("market").agg(pl.col("price").last())
    legs = legs.join(last, on="market", how="left").with_columns(pl.col("price").fill_null(0))
    at_mark = units.values(*(legs[name].to_numpy() for name in ("lots", "price", "market")))
    profit = np.where(legs["price"].to_numpy() > 0, at_mark - legs["entry"].to_numpy(), 0)
    profits = (
        legs.with_columns(pl.Series("profit", profit))
        .group_by("account_id")
        .agg(pl.col("profit").sum())
    )
    scale = 10**units.money_decimals
    both = (
        users.select("account_id", (pl.col("equity") * scale).cast(pl.Int64))
        .join(balances, on="account_id", how="left")
        .join(profits, on="account_id", how="left")
        .with_columns(pl.col("balance", "profit").fill_null(0))
    )
    return int((both["equity"] == both["balance"] + both["profit"]).sum())
