"""A population read from a CSV or Parquet file of positions.

One row for every position, with a header. Columns, in any order:

| column | content |
|---|---|
| `account_id` | whole number from 16 (smaller ids are the venue's own) |
| `market` | a symbol of the scenario |
| `side` | `long` or `short`; leave the column out where `size` or `lots` carries the sign |
| `size` or `lots` | base quantity (inverse: face value) as decimal text, or whole lots |
| `entry_price` | decimal text, on the tick grid |
| `collateral` | money this position brings; isolated positions keep it to themselves |
| `isolated` | true or false; without the column every position is cross |
| `leverage` | whole number, 1 to 255 |
| `wallet` | money of the account beside its positions; may be left out |

Instead of `account_id` a file may have `account`, any text (an address): the id is then a hash of
it. With a column map the file's columns have their own names, and those it does not name are not
read. A row of a collateral market is an asset held: `lots` or `size` of it, entry price 0.

Columns of Parquet are text, whole numbers, decimals or booleans; floats are refused because they
are not exact. An account with a long and a short row of one market is in hedge mode. Nothing is
adjusted: an account below maintenance at the first price is liquidated by it. Where longs and
shorts differ, the clearing account keeps the difference, and the fit says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from engine.constants import FIRST_USER_ID, LEVERAGE_MAX, LOTS_MAX, MARKETS_MAX, MONEY_MAX, Contract
from engine.importers.common import FormatError
from engine.importers.whole import ROWS_MAX, read_csv_frame, read_parquet_frame
from engine.population import margins
from engine.population.columns import FitRow, Population, PopulationError, side_of
from engine.population.margins import MarketStart
from engine.profile import Margin, Market, VenueProfile
from engine.units import format_decimal, parse_decimal

REQUIRED = ("account_id", "market", "entry_price", "collateral", "leverage")
OPTIONAL = ("side", "size", "lots", "isolated", "wallet")
DECIMAL_TEXT = r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$"
CHUNK_ROWS, CHUNK_BYTES = 65_536, 4 << 20


class _Table:
    """Columns of a file as text, and the refusals that name file, row and field.

    `origin` is the row in the file of each row here, so that a part of a file names its rows.
    """

    def __init__(self, name: str, frame: pl.DataFrame, origin: np.ndarray) -> None:
        self.name, self.rows, self._frame, self._origin = name, frame.height, frame, origin
        self.columns = {column: frame[column] for column in frame.columns}

    def part(self, rows: np.ndarray) -> "_Table":
        """The rows given, in that order, as a table of their own."""
        return _Table(self.name, self._frame[rows], self._origin[rows])

    def refuse(self, field: str, bad: np.ndarray, expected: str) -> None:
        """Raise for the row of `bad` that comes first in the file; rows count from 1."""
        if bad.any():
            rows = np.flatnonzero(bad)
            row = int(rows[np.argmin(self._origin[rows])])
            found = self.columns[field][row]
            shown = "nothing" if found is None else repr(found)
            raise PopulationError(
                f"{self.name}: row {self._origin[row] + 1}, field {field}: "
                f"expected {expected}, got {shown}"
            )

    def whole(self, field: str, low: int, high: int) -> np.ndarray:
        """A column of whole numbers within bounds, int64."""
        return self.decimal(field, 0, low, high)

    def decimal(self, field: str, decimals: int, low: int, high: int) -> np.ndarray:
        """A column of decimal text as int64 units of 10**-decimals, within bounds."""
        text = self.columns[field]
        shaped = text.str.contains(DECIMAL_TEXT).fill_null(False)
        self.refuse(field, ~shaped.to_numpy(), "a decimal number")
        whole = text.str.extract(r"^(-?[0-9]+)", 1)
        fraction = text.str.extract(r"\.([0-9]+)$", 1).fill_null("").str.strip_chars_end("0")
        too_fine = (fraction.str.len_bytes() > decimals).to_numpy()
        self.refuse(field, too_fine, f"at most {decimals} decimals")
        joined = pl.DataFrame({"a": whole, "b": fraction.str.pad_end(decimals, "0")})
        units = joined.select(pl.concat_str("a", "b").cast(pl.Int64, strict=False))["a"]
        span = f"{format_decimal(low, decimals)} to {format_decimal(high, decimals)}"
        self.refuse(field, units.is_null().to_numpy(), span)
        values = units.to_numpy().astype(np.int64)
        self.refuse(field, (values < low) | (values > high), span)
        return values

    def word(self, field: str, words: tuple[str, str]) -> np.ndarray:
        """A column of two words as int64 0 (the first) or 1."""
        text = self.columns[field].str.to_lowercase()
        second = (text == words[1]).fill_null(False).to_numpy()
        first = (text == words[0]).fill_null(False).to_numpy()
        self.refuse(field, ~(first | second), f"{words[0]} or {words[1]}")
        return second.astype(np.int64)


def _checked(name: str, frame: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Every column as text under the name of its meaning; refuses what is missing or unknown."""

    def fail(reason: str) -> NoReturn:
        raise PopulationError(f"{name}: {reason}")

    for meaning, column in columns.items():
        if column not in frame.columns:
            fail(f"column {column} ({meaning}) is missing; it has {', '.join(frame.columns)}")
    if columns:
        frame = frame.select(pl.col(column).alias(meaning) for meaning, column in columns.items())
    for column, kind in frame.schema.items():
        if column in (*REQUIRED, *OPTIONAL, "account") and not (
            kind.is_integer() or kind.is_decimal() or kind in (pl.String, pl.Boolean)
        ):
            fail(f"column {column}: expected text, whole numbers or decimals, got {kind}")
    if "account" in frame.columns and "account_id" not in frame.columns:
        frame = frame.with_columns(account_id=_ids(frame["account"])).drop("account")
    for column in REQUIRED:
        if column not in frame.columns:
            fail(f"column {column} is missing; it has {', '.join(frame.columns)}")
    if ("size" in frame.columns) == ("lots" in frame.columns):
        fail("expected exactly one of the columns size and lots")
    for column in frame.columns:
        if column not in REQUIRED + OPTIONAL:
            fail(f"unknown column {column}")
    return frame.cast(pl.String)


def _ids(names: pl.Series) -> pl.Series:
    """A number for every name, the same in every file: 60 bits of a hash, after the venue's own."""
    known = names.cast(pl.String).unique().drop_nulls()
    ids = [
        str(FIRST_USER_ID + int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) // 16)
        for name in known
    ]
    return names.cast(pl.String).replace_strict(known, ids, default=None, return_dtype=pl.String)


def _frames(path: Path) -> Iterator[pl.DataFrame]:
    """The file in chunks, as it is read; unreadable ones are refused."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                    batch.validate(full=True)
                    table = pa.Table.from_batches([batch])
                    yield pl.from_arrow(
                        pa.Table.from_arrays(table.columns, names=table.column_names)
                    )
        else:
            header = pl.read_csv(path, infer_schema=False, n_rows=0, glob=False).columns
            types = dict.fromkeys(header, pa.string())
            options = pa_csv.ConvertOptions(column_types=types, strings_can_be_null=True)
            reading = pa_csv.ReadOptions(block_size=CHUNK_BYTES)
            parsing = pa_csv.ParseOptions(quote_char=False)
            opened = pa_csv.open_csv(path, reading, parsing, options)
            for batch in opened:
                yield pl.from_arrow(pa.Table.from_batches([batch]))
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise PopulationError(f"{path.name}: {reason}") from None
    except pl.exceptions.PolarsError as error:
        raise PopulationError(f"{path.name}: {str(error).splitlines()[0]}") from None


def _read(path: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    """The whole file."""

    def fail(reason: str) -> NoReturn:
        raise PopulationError(f"{path.name}: {reason}") from None

    try:
        if path.suffix == ".parquet":
            frame = read_parquet_frame(path)
        else:
            frame = read_csv_frame(path, quote_char=None)
    except FormatError as error:
        raise PopulationError(f"{path.name}: {error.reason}") from None
    frame = _checked(path.name, frame, columns)
    if not 0 < frame.height <= ROWS_MAX:
        fail(f"expected 1 to {ROWS_MAX} rows, got {frame.height}")
    return frame


def _signed_lots(table: _Table, market: Market, lots_max: int) -> np.ndarray:
    """Signed lots of every row of a table whose rows are all of one market."""
    limit = min(lots_max, LOTS_MAX)
    if "lots" in table.columns:
        field, lots = "lots", table.whole("lots", -limit, limit)
    else:
        field, decimals = "size", len(market.lot.partition(".")[2])
        unit = parse_decimal(market.lot, decimals)
        bound = min(limit * unit, 2**62)
        units = table.decimal("size", decimals, -bound, bound)
        table.refuse(field, units % unit != 0, f"a multiple of the lot {market.lot}")
        lots = units // unit
    if "side" in table.columns:
        table.refuse(field, lots <= 0, "more than 0 beside a side")
        return lots * (1 - 2 * table.word("side", ("long", "short")))
    table.refuse(field, lots == 0, "a position, not 0")
    return lots


@dataclass(frozen=True)
class Rows:
    """Rows of a positions file in integers, one each, in the order of the file. int64."""

    account: np.ndarray
    market_id: np.ndarray
    lots: np.ndarray
    entry: np.ndarray
    leverage: np.ndarray
    isolated: np.ndarray
    funds: np.ndarray
    wallet: np.ndarray


def _rows(table: _Table, profile: VenueProfile, starts: Mapping[str, MarketStart]) -> Rows:
    """Every row in integers; raises PopulationError with its place."""
    account = table.whole("account_id", FIRST_USER_ID, 2**62)
    leverage = table.whole("leverage", 1, LEVERAGE_MAX)
    isolated = np.zeros(table.rows, np.int64)
    if "isolated" in table.columns:
        isolated = table.word("isolated", ("false", "true"))
    decimals = profile.settlement.decimals
    funds, wallet = table.decimal("collateral", decimals, 0, MONEY_MAX), np.zeros_like(account)
    if "wallet" in table.columns:
        wallet = table.decimal("wallet", decimals, 0, MONEY_MAX)
    symbols = table.columns["market"]
    lots, entry, market_id = (np.zeros(table.rows, np.int64) for _ in range(3))
    for symbol, start in starts.items():
        mine = np.flatnonzero((symbols == symbol).fill_null(False).to_numpy())
        if len(mine) == 0:
            continue
        market = profile.markets[start.market_id - 1]
        numbers, part = start.numbers, table.part(mine)
        market_id[mine] = start.market_id
        lots[mine] = _signed_lots(part, market, numbers.open_interest_lots_max)
        held = numbers.contract == Contract.COLLATERAL
        low, high = (0, 0) if held else (numbers.price_min, numbers.price_max)
        prices = part.decimal("entry_price", market.price_decimals, low, high)
        part.refuse("entry_price", prices % numbers.tick_price != 0, f"a tick of {market.tick}")
        entry[mine] = prices
        if held:
            part.refuse("market", lots[mine] < 0, "a collateral that is held, not owed")
            part.refuse("collateral", funds[mine] != 0, "0 beside an asset: it is the collateral")
    table.refuse("market", market_id == 0, f"a market of {', '.join(starts)}")
    return Rows(account, market_id, lots, entry, leverage, isolated, funds, wallet)


def stream_rows(
    path: Path, profile: VenueProfile, starts: Mapping[str, MarketStart],
    columns: Mapping[str, str],
) -> Iterator[Rows]:  # fmt: skip
    """The rows chunk by chunk, each checked by itself: memory does not grow with the file.

    What only the whole file shows (an account's rows that contradict each other) is not checked.
    """
    yield from frames_rows(path.name, _frames(path), profile, starts, columns)


def frames_rows(
    name: str, frames: Iterable[pl.DataFrame], profile: VenueProfile,
    starts: Mapping[str, MarketStart], columns: Mapping[str, str],
) -> Iterator[Rows]:  # fmt: skip
    """The rows of frames with the columns of a positions file; `name` is said in refusals."""
    done = 0
    for frame in frames:
        checked = _checked(name, frame, columns)
        origin = np.arange(done, done + checked.height)
        done += checked.height
        if checked.height:
            yield _rows(_Table(name, checked, origin), profile, starts)
    if not done:
        raise PopulationError(f"{name}: expected 1 row or more, got 0")


def read_population(
    path: Path, profile: VenueProfile, starts: Mapping[str, MarketStart],
    columns: Mapping[str, str] | None = None,
) -> Population:  # fmt: skip
    """Read positions of the markets in `starts` (by symbol). Raises PopulationError with place.

    Accounts are ordered by id, positions by account, then by their row in the file.
    """
    frame = _read(path, columns or {})
    table = _Table(path.name, frame, np.arange(frame.height))
    rows = _rows(table, profile, starts)
    money = rows.funds + rows.wallet
    if sum(int(part.sum()) for part in np.array_split(money >> 20, 64)) >= MONEY_MAX >> 20:
        raise PopulationError(f"{table.name}: collateral passes the money bound {MONEY_MAX}")
    assets = [s.market_id for s in starts.values() if s.numbers.contract == Contract.COLLATERAL]
    return _assemble(table, rows, np.isin(rows.market_id, assets))


def _assemble(table: _Table, rows: Rows, is_asset: np.ndarray) -> Population:
    """Group the rows by account; refuse what an account cannot be."""
    order = np.argsort(rows.account, kind="stable")
    people, row = np.unique(rows.account[order], return_inverse=True)
    market_id, lots, isolated = rows.market_id[order], rows.lots[order], rows.isolated[order]
    funds, is_asset = rows.funds[order], is_asset[order]
    ordered = table.part(order)
    keys = row * (2 * MARKETS_MAX + 2) + market_id * 2
    repeated = np.ones(table.rows, bool)
    repeated[np.unique(keys + (lots < 0), return_index=True)[1]] = False
    ordered.refuse("market", repeated, "one row for each account, market and side")
    mixed = np.isin(keys, keys[isolated == 1]) & np.isin(keys, keys[isolated == 0])
    ordered.refuse("isolated", mixed, "one margin mode for both legs of a market")
    hedge = np.zeros(len(people), np.int64)
    hedge[row[np.isin(keys, keys[lots > 0]) & np.isin(keys, keys[lots < 0])]] = 1
    deposits = np.zeros(len(people), np.int64)
    np.add.at(deposits, row, funds + rows.wallet[order])
    held = np.flatnonzero(~is_asset)
    owner = row[held].astype(np.int64)
    return Population(
        account_id=people,
        deposit_quote=deposits,
        hedge=hedge,
        account_row=owner,
        market_id=market_id[held],
        position_side=side_of(lots[held], hedge[owner]),
        lots=lots[held],
        entry_price=rows.entry[order][held],
        leverage=rows.leverage[order][held],
        isolated=isolated[held],
        margin_quote=np.where(isolated > 0, funds, 0)[held],
        asset_row=row[is_asset].astype(np.int64),
        asset_market_id=market_id[is_asset],
        asset_lots=lots[is_asset],
    )


def file_fit_rows(
    population: Population, starts: Mapping[str, MarketStart], rule: Margin
) -> list[FitRow]:
    """What the file holds: accounts, open interest, what clearing keeps, who starts unhealthy."""
    table = [FitRow("accounts", "", None, len(population.account_id), "accounts")]
    equity = population.deposit_quote.copy()
    np.subtract.at(equity, population.account_row, population.margin_quote)
    needs, sick_alone = np.zeros(len(equity), np.int64), 0
    for symbol, start in starts.items():
        if start.numbers.contract == Contract.COLLATERAL:
            held = population.asset_market_id == start.market_id
            worth = margins.notional(population.asset_lots[held], start.first_price, start.numbers)
            worth -= margins.mul_ppm_up(worth, np.int64(start.numbers.haircut_ppm))
            np.add.at(equity, population.asset_row[held], worth)
            lots = int(population.asset_lots[held].sum())
            table.append(FitRow("collateral held", symbol, None, lots, "lots"))
            continue
        mine = np.flatnonzero(population.market_id == start.market_id)
        lots, alone = population.lots[mine], population.isolated[mine] > 0
        gains = margins.profit(lots, population.entry_price[mine], start.first_price, start.numbers)
        at_mark = margins.notional(lots, start.first_price, start.numbers)
        at_entry = margins.notional(lots, population.entry_price[mine], start.numbers)
        sizes = margins.Sizes(lots, at_mark, at_entry, population.leverage[mine])
        need = margins.maintenance(sizes, start.numbers, rule)
        sick_alone += int((alone & (population.margin_quote[mine] + gains < need)).sum())
        np.add.at(equity, population.account_row[mine[~alone]], gains[~alone])
        np.add.at(needs, population.account_row[mine[~alone]], need[~alone])
        long_lots, short_lots = population.open_interest(start.market_id)
        table += [
            FitRow("long lots", symbol, None, long_lots, "lots"),
            FitRow("short lots", symbol, None, short_lots, "lots"),
            FitRow("kept by clearing", symbol, 0, short_lots - long_lots, "lots"),
        ]
    crossed = int((equity < needs).sum())
    table.append(FitRow("cross accounts below maintenance", "", 0, crossed, "accounts"))
    table.append(FitRow("isolated below maintenance", "", 0, sick_alone, "positions"))
    return table
