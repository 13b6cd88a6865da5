"""A small sound file of every public format, written here, and how each is read.

`formats` gives them all; `hostile.py` mutates them. The files follow the documented headers; none
is a recording. A reader raises the error of its format, or returns whether it noticed anything
by other means.
"""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import test_import_messages as messages
import test_importers as archive
from journals import commands, create, setup

from engine.convert import market_units
from engine.importers.catalogue import ACCOUNTS, BANDS, FACTS, GENERIC, KINDS, read_file
from engine.importers.common import FormatError, ImportReport, MarketSpec
from engine.importers.hyperliquid_accounts import read_accounts
from engine.importers.lobster import read_lobster
from engine.journal import JournalError, JournalReader
from engine.match import MatchError, run_match, run_npy
from engine.messages import PriceFile
from engine.population.columns import PopulationError
from engine.population.drawn import MarketStart
from engine.population.file import read_population
from engine.price_files import band_rows
from engine.refusal import Refusal
from engine.rows import COMMAND
from engine.scenario import load_scenario, setup_commands
from engine.shrink import KeptError, read_kept, write_kept
from engine.situation import Stage, load_situation
from engine.snapshot import read_snapshot
from engine.strict import ScenarioError, toml_text
from engine.study.plan import load_study, points
from engine.tape import TapeError, TapeMarket, TapeMetadata, TapeWriter, verify_tape
from engine.venue import ProfileError, VenueProfile, load_venue, market_numbers
from import_samples import BTC, SAMPLES
from small_scenario import SMALL

CHECKED = (".gz", ".zip")  # containers that hold a checksum of what is in them
Read = Callable[[Path], bool | None]
METADATA = TapeMetadata(markets=[TapeMarket(symbol="X", price_decimals=2, lot="0.001")])
METRICS = """create_time,symbol,sum_open_interest,sum_open_interest_value,\
count_toptrader_long_short_ratio,sum_toptrader_long_short_ratio,count_long_short_ratio,\
sum_taker_long_short_vol_ratio
2023-11-14 22:15:00,BTCUSDT,1000.500,36000000.5,1.5,1.25,2.0,0.9
2023-11-14 22:20:00,BTCUSDT,1001.500,36100000.5,1.5,,2.0,1.1
"""
SITUATION = """title = "one long"
venue = "venue.toml"
fund = "1000"
[markets.SYMBOL]
mark = "40000"
index = "40001"
book = [{ side = "buy", price = "36500.00", size = "0.4" }]
[accounts.alice]
wallet = "10.5"
positions = [{ market = "SYMBOL", side = "long", size = "1", entry = "40000", leverage = 10, \
margin = "4000" }]
[accounts.bob]
wallet = "50000"
hedge = false
positions = [{ market = "SYMBOL", side = "short", lots = 1000, entry = "52000", leverage = 2 }]
orders = [{ market = "SYMBOL", side = "buy", price = "30000", size = "0.5", reduce_only = true }]
"""
STUDY = """name = "s"
title = "a study"
scenario = "scenario.toml"
set = ["fund=\\"7\\""]
seeds = 2
[[vary]]
field = "fund"
values = ["500000", "2000000"]
[[vary]]
field = "seed"
values = [3, 4]
[reverse]
condition = "winner_cut_ppm > 2000"
within = 20_000
vary = { field = "shock_ppm", low = 100_000, high = 1_500_000 }
"""
FLOW = """cmd,ts_event_ns,op,order_id,side,price_ticks,size,tag
1,10,add,1,B,100,5,
2,10,limit,2,A,101,7,
3,12,ioc,3,B,101,2,x
4,15,reduce,1,,,1,
5,15,replace,2,A,102,3,
"""
ARRAY = [
    [0, 1, 0, 100, 5],
    [0, 2, 1, 101, 7],
    [1, 3, 0, 101, 2],
    [3, 2, 1, 102, 4],
    [2, 1, 0, 0, 0],
]


class Sound(NamedTuple):
    """A sound file, its reader, what it may raise, and whether hashes guard it."""

    name: str
    file: Path
    read: Read
    error: type[Exception]
    chained: bool = False


def small_profile() -> VenueProfile:
    """One market with three tiers: what is read thousands of times should be short."""
    profile = load_venue("binance_usdm")
    market = profile.markets[0]
    market = msgspec.structs.replace(market, tiers=market.tiers[:3])
    return msgspec.structs.replace(profile, markets=[market], evidence=profile.evidence[:2])


def population_table(symbol: str) -> pl.DataFrame:
    """A few positions as text, both sides, one of them isolated."""
    return pl.DataFrame(
        {
            "account_id": ["100", "101", "102", "103"],
            "market": [symbol] * 4,
            "side": ["long", "short", "long", "short"],
            "size": ["0.010", "0.020", "1.5", "0.001"],
            "entry_price": ["7000.00", "7100.50", "6999.99", "7000"],
            "collateral": ["100", "250.5", "2000", "9.75"],
            "isolated": ["false", "true", "false", "false"],
            "leverage": ["10", "20", "5", "1"],
        }
    )


# -- readers ----------------------------------------------------------------------------------


def read_whole_journal(path: Path) -> bool:
    """Scan a journal; whether it says that it is torn or was not closed."""
    reader = JournalReader(path)
    try:
        for _ in reader.batches():
            pass
    finally:
        reader.close()
    return reader.torn_bytes > 0 or not reader.closed


def read_scenario(path: Path) -> None:
    """Load a scenario and, where it is small still, make its set-up."""
    loaded = load_scenario(path)
    population = loaded.scenario.population
    small = population is not None and getattr(population, "accounts", 0) <= 200
    if small and sum(len(rows) for rows in setup_commands(loaded)) == 0:
        raise AssertionError("a set-up without a command")


def read_profile(path: Path) -> None:
    """Load a profile; what is accepted has exact numbers."""
    profile = load_venue(path)
    for market in profile.markets:
        market_numbers(profile, market)


def read_situation(path: Path) -> None:
    """Load a situation and set it up in the rulebook, as `crashtape explain` does."""
    loaded = load_situation(path)
    Stage(loaded.profile, loaded.situation)


def read_study(path: Path) -> None:
    """Load a study and its scenario; write its design out where that is short."""
    loaded = load_study(path)
    if (loaded.study.points or 1) <= 1_000:
        points(loaded)


def taken(blocks) -> None:
    """Exhaust an import; rows of commands must be such as a tape may hold."""
    try:
        with TapeWriter(None, METADATA, 64) as tape:
            for block in blocks:
                if block.dtype == COMMAND:
                    tape.append(block)
    except TapeError as error:
        raise AssertionError(f"an importer made a row that no tape may hold: {error}") from error


def reader_of(kind: str, market: MarketSpec, role: str, symbol: str) -> Read:
    """The reader of one kind of the catalogue."""
    columns = messages.MAP if kind == GENERIC else None
    units = market_units("BTCUSDT", "binance_usdm")
    index = np.zeros(1, COMMAND)
    index["price"] = 11_000_000

    def read(path: Path) -> None:
        if kind == ACCOUNTS:
            report = ImportReport(source=path.name, format=kind)
            for _ in read_accounts(path, market, "ETHUSD", symbol, 6, report):
                pass
            return
        rows = read_file(kind, path, market, role, symbol, columns=columns)
        if kind == BANDS:
            asked = PriceFile(kind=kind, path=path.name, market="x", role=role)
            rows = band_rows(asked, rows, 1, units.numbers, [index])
        taken(rows)

    return read


# -- files ------------------------------------------------------------------------------------


def _lines(objects: list) -> str:
    return "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in objects)


def _feed() -> str:
    return "".join(f"17000000000000000{n:02} {json.dumps(m)}\n" for n, m in enumerate(archive.FEED))


def _imports(folder: Path) -> list[Sound]:
    """One file of every kind of the catalogue; kinds with facts are read as those too."""
    texts: dict[str, tuple[str, MarketSpec, str]] = {
        each.kind: (each.text, each.market, each.symbol) for each in SAMPLES
    }
    bars = archive.KLINES.decode()
    texts |= dict.fromkeys(("klines", "indexPriceKlines", "markPriceKlines"), (bars, BTC, ""))
    texts |= {
        BANDS: (archive.BANDS, BTC, ""),
        "metrics": (METRICS, BTC, "BTCUSDT"),
        "rawWebsocket": (_feed(), BTC, "BTCUSDT"),
        "bybit.ob500": (_lines(messages.BOOK), BTC, "BTCUSDT"),
        "hyperliquid.nodeFills": (_lines(messages.FILLS), BTC, "BTC"),
        "databento.mbo": (messages.MBO, messages.ES, ""),
        ACCOUNTS: (_lines(messages.ACCOUNTS), messages.ETH, "ETH"),
        GENERIC: (messages.GENERIC_TEXT, BTC, ""),
    }
    array = archive.hft_file(folder / "hftbacktest.npz")
    found = [Sound("hftbacktest", array, reader_of("hftbacktest", BTC, "depth", ""), FormatError)]
    for kind, (text, market, symbol) in texts.items():
        path = folder / f"{kind}.txt"
        path.write_text(text)
        for role in {KINDS[kind][0], FACTS} & set(KINDS[kind]):
            name = kind if role == KINDS[kind][0] else f"{kind} as {role}"
            found.append(Sound(name, path, reader_of(kind, market, role, symbol), FormatError))
    assert {each.name.split(" ")[0] for each in found} == KINDS.keys()
    return sorted(found)


def _containers(folder: Path) -> list[Sound]:
    """Trades in every container that is unpacked."""
    data = next(each.text for each in SAMPLES if each.kind == "aggTrades").encode()
    (folder / "trades.gz").write_bytes(gzip.compress(data, mtime=0))
    with zipfile.ZipFile(folder / "trades.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        # Deflated: stored text that loses what is round it is a plain file, and a sound one.
        packed.writestr(zipfile.ZipInfo("a.csv"), data, zipfile.ZIP_DEFLATED)
    for codec in ("zstd", "lz4"):
        with pa.CompressedOutputStream(str(folder / f"trades.{codec}"), codec) as stream:
            stream.write(data)

    def rows(path: Path) -> np.ndarray:
        return np.concatenate([*read_file("aggTrades", path, BTC, "trade", "")])

    def read(path: Path) -> None:
        found = rows(path)
        if path.suffix in CHECKED and not np.array_equal(found, rows(folder / "trades.gz")):
            raise AssertionError("other rows than were packed: the container's checksum was passed")

    paths = [folder / f"trades.{name}" for name in ("gz", "zip", "zstd", "lz4")]
    return [Sound(f"trades in {path.suffix[1:]}", path, read, FormatError) for path in paths]


def _lobster(folder: Path) -> list[Sound]:
    """A pair of files, each mutated beside the other as it should be."""
    message, book = folder / "message.csv", folder / "book.csv"
    message.write_text(archive.MESSAGES)
    book.write_text(archive.BOOK_ROWS)

    def read(path: Path) -> None:
        first = path if "message" in path.name else message
        for _ in read_lobster(first, book if first == path else path):
            pass

    return [
        Sound("lobster messages", message, read, FormatError),
        Sound("lobster book", book, read, FormatError),
    ]


def _own(folder: Path) -> list[Sound]:
    """What the project writes itself: tape, journal, snapshot, and the tape a fuzz keeps."""
    symbol = small_profile().markets[0].symbol
    sources = {"markets": [TapeMarket(symbol=symbol, price_decimals=2, lot="0.001")]}
    rows = commands(40)[:12].copy()
    rows["time_ns"], rows["kind"], rows["market_id"] = np.arange(12), 1, 1
    with TapeWriter(folder / "sound.tape", TapeMetadata(**sources), 5) as tape:
        tape.append(rows)
    with create(folder / "kept") as durable:
        durable.submit(commands(40)[:3])
        durable.submit(commands(40)[3:8])
        durable.snapshot()
    for name in ("journal", "snapshot"):
        (folder / f"sound.{name}").write_bytes((folder / "kept" / name).read_bytes())
    write_kept(folder / "seed.txt", setup(), "a reason", commands(40)[:8].tolist())

    def tape_of(path: Path) -> None:
        verify_tape(path)

    def snapshot_of(path: Path) -> None:
        read_snapshot(path)

    def kept_of(path: Path) -> None:
        read_kept(path)

    return [
        Sound("tape", folder / "sound.tape", tape_of, TapeError, True),
        Sound("journal", folder / "sound.journal", read_whole_journal, JournalError, True),
        Sound("snapshot", folder / "sound.snapshot", snapshot_of, JournalError, True),
        Sound("kept tape", folder / "seed.txt", kept_of, KeptError),
    ]


def _written(folder: Path) -> list[Sound]:
    """What a user writes: profile, scenario, situation, study, positions, order flow."""
    profile = small_profile()
    symbol = profile.markets[0].symbol
    numbers = market_numbers(profile, profile.markets[0])
    starts = {symbol: MarketStart(1, numbers, 70_000 * numbers.tick_price)}
    (folder / "venue.toml").write_text(toml_text(msgspec.to_builtins(profile)))
    text = SMALL.replace('"binance_usdm"', '"venue.toml"').replace("BTCUSDT", symbol)
    (folder / "scenario.toml").write_text(text)
    (folder / "situation.toml").write_text(SITUATION.replace("SYMBOL", symbol))
    (folder / "study.toml").write_text(STUDY)
    table = population_table(symbol)
    table.write_csv(folder / "people.csv")
    table.write_parquet(folder / "people.parquet")
    (folder / "flow.csv").write_text(FLOW)
    pl.read_csv(folder / "flow.csv").write_parquet(folder / "flow.parquet")

    def people(path: Path) -> None:
        read_population(path, profile, starts)

    np.save(folder / "flow.npy", np.array(ARRAY, np.int64))

    def flow(path: Path) -> None:
        run_match(path)

    def array(path: Path) -> None:
        run_npy(path)

    return [
        Sound("profile", folder / "venue.toml", read_profile, ProfileError),
        Sound("scenario", folder / "scenario.toml", read_scenario, ScenarioError),
        Sound("situation", folder / "situation.toml", read_situation, Refusal),
        Sound("study", folder / "study.toml", read_study, ScenarioError),
        Sound("population csv", folder / "people.csv", people, PopulationError),
        Sound("population parquet", folder / "people.parquet", people, PopulationError),
        Sound("order flow csv", folder / "flow.csv", flow, MatchError),
        Sound("order flow parquet", folder / "flow.parquet", flow, MatchError),
        Sound("order flow array", folder / "flow.npy", array, MatchError),
    ]


def formats(folder: Path) -> list[Sound]:
    """A small sound file of every format, written into `folder`, and how it is read."""
    parts = (_own, _written, _imports, _containers, _lobster)
    return [each for part in parts for each in part(folder)]
