"""Rows of reading: files of different formats until their rows are what the kernel takes.

Every read must give the rows that were written: all bytes of them for the tape, sums of prices and
sizes for what is parsed. Files are in the page cache; writing them is not timed.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from engine.bench.pace import PACE
from engine.bench.results import Row
from engine.bench.rounds import row, same
from engine.bench.work import FIRST_ID, PRICE, Sizes, mark_ticks
from engine.constants import CommandKind, Side
from engine.core.flow import Op
from engine.importers.catalogue import read_file
from engine.importers.common import MarketSpec
from engine.match import read_commands
from engine.rows import COMMAND
from engine.tape import TapeMarket, TapeMetadata, TapeWriter, read_tape

BEGIN_NS = 1_700_000_000_000_000_000
MARKET = MarketSpec(market_id=1, price_decimals=2, lot="0.001", tick_price=1)
METADATA = TapeMetadata(markets=[TapeMarket(symbol="X", price_decimals=2, lot="0.001")])

Say = Callable[[str], None]
Read = Callable[[], Iterator[np.ndarray]]


def commands_of(count: int) -> np.ndarray:
    """Orders round a walking price, a microsecond apart."""
    rows = mark_ticks(count, PRICE, 0.0)
    number = np.arange(count)
    rows["time_ns"] = BEGIN_NS + 1_000 * number
    rows["kind"] = CommandKind.NEW_ORDER
    rows["account_id"], rows["order_id"] = FIRST_ID + number % 1_000, 1 + number
    rows["side"] = np.where(number % 2, Side.BUY, Side.SELL)
    rows["lots"] = 1 + number % 97
    return rows


def _sums(parts: list[np.ndarray]) -> str:
    """Rows, and sums of prices and sizes, of what was parsed."""
    rows = sum(len(part) for part in parts)
    return "/".join(str(int(sum(int(part[name].sum()) for part in parts)))
                    for name in ("price", "lots")) + f"/{rows}"  # fmt: skip


def _bytes(parts: list[np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    return digest.hexdigest()


def read_row(
    key: str, work: str, rounds: int, wanted: str, result: Callable[[list], str], read: Read,
    count: int, size: int,
) -> Row:  # fmt: skip
    """Rows a second of a way to read; `result` of what was read must be `wanted`."""
    seconds = []
    for _ in range(rounds + 1):
        PACE.steady()
        began = time.perf_counter()
        parts = list(read())
        seconds.append(time.perf_counter() - began)
        assert all(part.flags.c_contiguous for part in parts), "the kernel takes rows by address"
        same(work, wanted, result(parts))
    note = f"{size / count:.1f} bytes a row"
    return row(key, work, seconds[1:], count, count, wanted[:16], note=note)


def own_rows(folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """The own format: every block's checks computed, left out, and its identity as well."""
    rows, path = commands_of(count), folder / "a.tape"
    with TapeWriter(path, METADATA) as tape:
        tape.append(rows)
    wanted, size = _bytes([rows]), path.stat().st_size
    for key, work, ways in (
        ("tape-own", "tape, hashes checked", {}),
        ("tape-unhashed", "tape, hashes left out", {"verify": False}),
        ("tape-identity", "tape, its tape hash made anew", {"identity": True}),
    ):
        yield read_row(key, work, rounds, wanted, _bytes,
                       lambda ways=ways: read_tape(path, **ways), count, size)  # fmt: skip


def _flow_frame(rows: np.ndarray) -> pl.DataFrame:
    """Order flow as `crashtape match` reads it."""
    return pl.DataFrame(
        {
            "cmd": rows["order_id"],
            "ts_event_ns": rows["time_ns"],
            "op": np.full(len(rows), Op.LIMIT.name.lower()),
            "order_id": rows["order_id"],
            "side": np.where(rows["side"] == Side.BUY, "B", "A"),
            "price_ticks": rows["price"],
            "size": rows["lots"],
        }
    )


def flow_file_rows(folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """Order flow in Parquet and in CSV."""
    rows = commands_of(count)
    frame, wanted = _flow_frame(rows), _sums([rows])
    for key, work, path in (
        ("tape-parquet", "order flow in Parquet", folder / "flow.parquet"),
        ("tape-csv-flow", "order flow in CSV", folder / "flow.csv"),
    ):
        if path.suffix == ".parquet":
            frame.write_parquet(path)
        else:
            frame.write_csv(path)
        size = path.stat().st_size
        yield read_row(key, work, rounds, wanted, _sums,
                       lambda path=path: iter([read_commands(path)[0]]), count, size)  # fmt: skip


def csv_row(folder: Path, count: int, rounds: int) -> Row:
    """Recorded trades in CSV, decimals and times parsed exactly."""
    rows, path = commands_of(count), folder / "trades.csv"
    prices = pl.Series(rows["price"])
    text = (prices // 100).cast(pl.String) + "." + (prices % 100).cast(pl.String).str.zfill(2)
    lots = "0." + pl.Series(rows["lots"]).cast(pl.String).str.zfill(3)
    micros = pl.Series(rows["time_ns"] // 1_000)
    side = pl.Series(np.where(rows["side"] == Side.BUY, "buy", "sell"))
    columns = {"exchange": pl.repeat("x", count, eager=True),
               "symbol": pl.repeat("X", count, eager=True), "timestamp": micros,
               "local_timestamp": micros, "id": rows["order_id"], "side": side, "price": text,
               "amount": lots}  # fmt: skip
    pl.DataFrame(columns).write_csv(path)
    read = lambda: iter(read_file("tardis.trades", path, MARKET, "trade", "X"))  # noqa: E731
    size = path.stat().st_size
    return read_row("tape-csv", "trades in CSV", rounds, _sums([rows]), _sums, read, count, size)


def tape_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """The own format, Parquet and CSV."""
    say("measuring files")
    assert COMMAND.itemsize == 72, "a row of the tape is a row of the kernel"
    with tempfile.TemporaryDirectory() as name:
        folder, size = Path(name), (sizes.tape_rows, sizes.rounds)
        yield from own_rows(folder, *size)
        yield from flow_file_rows(folder, *size)
        yield csv_row(folder, *size)
