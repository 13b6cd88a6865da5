"""A population as columns, and the commands that put it into an exchange.

One row for every account and one for every position, all integers; where they come from is the
business of `drawn.py` and `file.py`. Commands leave in phases (open every account, then every
deposit, and so on), in blocks, so that a million accounts never exist as command rows at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np

from engine.constants import CommandKind, Flag, PositionSide
from engine.refusal import Refusal
from engine.rows import COMMAND

BLOCK_ROWS_MAX = 65_536  # commands in one block: 4.7 MB


def _none() -> np.ndarray:
    return np.zeros(0, np.int64)


class PopulationError(Refusal):
    """A population cannot be made or read: where, what was expected and what was found."""


@dataclass(frozen=True)
class FitRow:
    """One line of asked against drawn. Integers in the unit named; `asked` None: not asked for."""

    name: str
    market: str  # empty: the whole population
    asked: int | None
    drawn: int
    unit: str


@dataclass(frozen=True)
class Population:
    """Accounts and their first positions. Every array is int64.

    Accounts, shape (accounts,): `account_id` rising, `deposit_quote` money before any of it is
    moved to an isolated position, `hedge` 0 or 1. Positions, shape (positions,), ordered by
    account: `account_row` index into the accounts, `market_id`, `position_side`, signed `lots`,
    `entry_price` in price units, `leverage`, `isolated` 0 or 1, `margin_quote` moved from the
    wallet to an isolated position (0 if cross). Collateral held, shape (assets,): `asset_row`
    index into the accounts, `asset_market_id`, `asset_lots`. `entries_moved` and
    `deposits_raised` count the positions that had to be changed so that nobody starts below
    maintenance.
    """

    account_id: np.ndarray
    deposit_quote: np.ndarray
    hedge: np.ndarray
    account_row: np.ndarray
    market_id: np.ndarray
    position_side: np.ndarray
    lots: np.ndarray
    entry_price: np.ndarray
    leverage: np.ndarray
    isolated: np.ndarray
    margin_quote: np.ndarray
    asset_row: np.ndarray = field(default_factory=_none)
    asset_market_id: np.ndarray = field(default_factory=_none)
    asset_lots: np.ndarray = field(default_factory=_none)
    entries_moved: int = 0
    deposits_raised: int = 0

    def open_interest(self, market_id: int) -> tuple[int, int]:
        """Long lots and short lots (both positive) of one market."""
        lots = self.lots[self.market_id == market_id]
        return int(lots[lots > 0].sum()), -int(lots[lots < 0].sum())


def join(parts: list[Population]) -> Population:
    """Populations one after the other as one; their account ids must follow each other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.account_id) for part in parts)]).tolist()
    made = {}
    for each in fields(Population):
        values = [getattr(part, each.name) for part in parts]
        if each.name in ("entries_moved", "deposits_raised"):
            made[each.name] = sum(values)
            continue
        if each.name in ("account_row", "asset_row"):
            values = [value + start for value, start in zip(values, starts, strict=False)]
        made[each.name] = np.concatenate(values)
    return Population(**made)


def population_commands(population: Population, time_ns: int) -> Iterator[np.ndarray]:
    """Blocks of COMMAND rows that open, fund and seed every account, all at `time_ns`.

    OPEN_ACCOUNT, DEPOSIT, DEPOSIT_ASSET, SET_MARGIN_MODE (isolated markets only, once each),
    SET_LEVERAGE, SEED_POSITION. Blocks hold 1..BLOCK_ROWS_MAX rows. Isolated positions are seeded
    first: later a cross position's loss would tie up the wallet that their margin comes from.
    """
    people, rows = len(population.account_id), len(population.account_row)
    funded = np.flatnonzero(population.deposit_quote > 0)
    owner = population.account_id[population.account_row]
    flags = population.isolated * int(Flag.ISOLATED)
    isolated = _first_of_market(population)
    seeding = np.argsort(1 - population.isolated, kind="stable")
    phases = (
        (CommandKind.OPEN_ACCOUNT, np.arange(people), {
            "account_id": population.account_id, "flags": population.hedge * int(Flag.HEDGE),
        }),
        (CommandKind.DEPOSIT, funded, {
            "account_id": population.account_id, "amount": population.deposit_quote,
        }),
        (CommandKind.DEPOSIT_ASSET, np.arange(len(population.asset_row)), {
            "account_id": population.account_id[population.asset_row],
            "market_id": population.asset_market_id, "lots": population.asset_lots,
        }),
        (CommandKind.SET_MARGIN_MODE, isolated, {
            "account_id": owner, "market_id": population.market_id, "flags": flags,
        }),
        (CommandKind.SET_LEVERAGE, np.arange(rows), {
            "account_id": owner, "market_id": population.market_id,
            "position_side": population.position_side, "amount": population.leverage,
        }),
        (CommandKind.SEED_POSITION, seeding, {
            "account_id": owner, "market_id": population.market_id,
            "position_side": population.position_side, "lots": population.lots,
            "price": population.entry_price, "amount": population.margin_quote, "flags": flags,
        }),
    )  # fmt: skip
    for kind, chosen, columns in phases:
        for start in range(0, len(chosen), BLOCK_ROWS_MAX):
            part = chosen[start : start + BLOCK_ROWS_MAX]
            block = np.zeros(len(part), COMMAND)
            block["time_ns"] = time_ns
            block["kind"] = kind
            for name, column in columns.items():
                block[name] = column[part]
            yield block


def _first_of_market(population: Population) -> np.ndarray:
    """Rows that are the first isolated position of their account in their market.

    The margin mode belongs to the account and market, so the two legs of a hedge set it once.
    """
    rows = np.flatnonzero(population.isolated)
    keys = population.account_row[rows] * (1 << 16) + population.market_id[rows]
    return rows[np.sort(np.unique(keys, return_index=True)[1])]


def side_of(lots: np.ndarray, hedge: np.ndarray) -> np.ndarray:
    """Position side of each position: NET in one-way mode, else LONG or SHORT by sign."""
    legs = np.where(lots > 0, int(PositionSide.LONG), int(PositionSide.SHORT))
    return np.where(hedge > 0, legs, int(PositionSide.NET)).astype(np.int64)
