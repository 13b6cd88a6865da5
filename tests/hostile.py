"""Hostile files: every public format, mutated by seed, read back, and what must not happen counted.

    python tests/hostile.py [N]     N mutations of each format, 20,000 unless said (`make drill`)

A reader may refuse with its own error, in one line, or accept. It must not fail in another way,
hang, take memory without bound, or take a hash-chained file that was changed for a sound one.
"""

import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import msgspec  # noqa: E402
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from journals import commands, create  # noqa: E402

from engine.journal import JournalError, JournalReader  # noqa: E402
from engine.population.columns import PopulationError  # noqa: E402
from engine.population.file import read_population  # noqa: E402
from engine.population.margins import MarketStart  # noqa: E402
from engine.scenario import load_scenario, setup_commands  # noqa: E402
from engine.snapshot import read_snapshot  # noqa: E402
from engine.strict import ScenarioError, toml_text  # noqa: E402
from engine.tape import TapeError, TapeMarket, TapeMetadata, TapeWriter, verify_tape  # noqa: E402
from engine.venue import (  # noqa: E402
    ProfileError,
    VenueProfile,
    load_venue,
    market_numbers,
)
from small_scenario import SMALL  # noqa: E402

SECONDS_MAX = 5  # for one file of a few kilobytes; the slowest takes milliseconds
GROWTH_MAX = 600 * 2**20  # bytes of memory over all mutations of a format
OUTCOMES = ("refused", "noticed", "accepted", "taken for sound")
LINE_MAX = 1_000
SEED = 7
NUMBERS = [b"0", b"-1", b"9" * 30, b"1e999", b"nan", b"inf", b"-0", b"2147483648", b"true", b'""']
TOKENS = [b"[" * 3_000, b"{" * 300, b'"', b"\\u0000", b"\xff\xfe", b"..", b"/", b"\n", b"a.b.c = 1"]
WORDS = [0, 1, 2**31 - 1, 2**32 - 1, 2**20, 2**63 - 1, 2**64 - 1]


def mutate(draw: random.Random, data: bytes) -> bytes:
    """The file with one to three things wrong: bits, bytes, lengths, pieces, numbers or words."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        place = draw.randrange(len(changed) + 1)
        end = min(len(changed), place + draw.choice((1, 2, 4, 16, 200)))
        kind = draw.randrange(9)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place:end] = draw.randbytes(end - place)
        elif kind == 2:
            del changed[place:end]
        elif kind == 3:
            changed[place:place] = changed[place:end]
        elif kind == 4:
            size = draw.choice((4, 8))
            changed[place : place + size] = (draw.choice(WORDS) % 2 ** (8 * size)).to_bytes(
                size, "little"
            )
        elif kind == 5:
            del changed[place:]
        elif kind == 6:
            changed[place:place] = draw.choice(TOKENS)
        elif kind == 7:
            digits = [i for i, byte in enumerate(changed) if 48 <= byte <= 57]
            place = draw.choice(digits) if digits else 0
            changed[place : place + 1] = draw.choice(NUMBERS)
        else:
            lines = bytes(changed).split(b"\n")
            draw.shuffle(lines) if draw.random() < 0.1 else lines.pop(draw.randrange(len(lines)))
            changed = bytearray(b"\n".join(lines))
    return bytes(changed)


class Hang(Exception):
    """One file took longer than SECONDS_MAX."""


def _stop(*_: object) -> None:
    raise Hang


class Format:
    """A format: a sound file, its reader, the error it may raise, and whether hashes guard it.

    `read` returns whether it noticed something by other means than its error.
    """

    def __init__(
        self,
        name: str,
        file: Path,
        read: Callable[[Path], bool],
        error: type[Exception],
        chained: bool,
    ) -> None:
        self.name, self.file, self.read = name, file, read
        self.error, self.chained = error, chained

    def run(self, count: int, seed: int = SEED) -> Counter[str]:
        """Mutate and read `count` times; AssertionError names the mutation that went wrong."""
        sound = self.file.read_bytes()
        path = self.file.with_name(f"mutated{self.file.suffix}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
        seen: Counter[str] = Counter()
        old = signal.signal(signal.SIGALRM, _stop)
        try:
            for number in range(count):
                data = mutate(random.Random(f"{self.name} {seed} {number}"), sound)
                path.write_bytes(data)
                signal.setitimer(signal.ITIMER_REAL, SECONDS_MAX)
                outcome = self.outcome(path, f"{self.name}: mutation {number} of seed {seed}")
                signal.setitimer(signal.ITIMER_REAL, 0)
                if outcome == "accepted" and self.chained and data != sound:
                    outcome = "taken for sound"
                seen[outcome] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 - before
        assert grown < GROWTH_MAX, f"{self.name}: memory grew by {grown:,} bytes"
        assert seen["taken for sound"] == 0, f"{self.name}: changed files were accepted: {seen}"
        return seen

    def outcome(self, path: Path, place: str) -> str:
        """Read one file: refused, noticed or accepted; anything else is an AssertionError."""
        try:
            noticed = self.read(path)
        except self.error as error:
            line = str(error)
            assert line and "\n" not in line, f"{place}: not one line: {line!r}"
            assert len(line) <= LINE_MAX, f"{place}: {len(line)} characters"
            return "refused"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise AssertionError(f"{place}: {type(error).__name__}: {error}") from error
        return "noticed" if noticed else "accepted"


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


def read_whole_journal(path: Path) -> bool:
    """Scan a journal; whether it says that it is torn or was not closed."""
    reader = JournalReader(path)
    try:
        for _ in reader.batches():
            pass
    finally:
        reader.close()
    return reader.torn_bytes > 0 or not reader.closed


def read_scenario(path: Path) -> bool:
    """Load a scenario and, where it is small still, make its set-up."""
    loaded = load_scenario(path)
    population = loaded.scenario.population
    small = population is not None and getattr(population, "accounts", 0) <= 200
    if small and sum(len(rows) for rows in setup_commands(loaded)) == 0:
        raise AssertionError("a set-up without a command")
    return False


def read_profile(path: Path) -> bool:
    """Load a profile; what is accepted has exact numbers."""
    profile = load_venue(path)
    for market in profile.markets:
        market_numbers(profile, market)
    return False


def formats(folder: Path) -> list[Format]:
    """A small sound file of every format, written into `folder`, and how it is read."""
    profile = small_profile()
    symbol = profile.markets[0].symbol
    numbers = market_numbers(profile, profile.markets[0])
    starts = {symbol: MarketStart(1, numbers, 70_000 * numbers.tick_price)}
    sources = {"markets": [TapeMarket(symbol=symbol, price_decimals=2, lot="0.001")]}
    rows = commands(40)[:12].copy()
    rows["time_ns"], rows["kind"], rows["market_id"] = np.arange(12), 1, 1
    with TapeWriter(folder / "sound.tape", TapeMetadata(**sources), 5) as tape:
        tape.append(rows)
    with create(folder / "kept") as durable:
        durable.submit(commands(40)[:3])
        durable.submit(commands(40)[3:8])
        durable.snapshot()
    shutil.copy(folder / "kept" / "journal", folder / "sound.journal")
    shutil.copy(folder / "kept" / "snapshot", folder / "sound.snapshot")
    (folder / "venue.toml").write_text(toml_text(msgspec.to_builtins(profile)))
    text = SMALL.replace('"binance_usdm"', '"venue.toml"').replace("BTCUSDT", symbol)
    (folder / "scenario.toml").write_text(text)
    table = population_table(symbol)
    table.write_csv(folder / "people.csv")
    table.write_parquet(folder / "people.parquet")

    def people(path: Path) -> bool:
        read_population(path, profile, starts)
        return False

    def tape_of(path: Path) -> bool:
        verify_tape(path)
        return False

    def snapshot_of(path: Path) -> bool:
        read_snapshot(path)
        return False

    return [
        Format("tape", folder / "sound.tape", tape_of, TapeError, True),
        Format("journal", folder / "sound.journal", read_whole_journal, JournalError, True),
        Format("snapshot", folder / "sound.snapshot", snapshot_of, JournalError, True),
        Format("profile", folder / "venue.toml", read_profile, ProfileError, False),
        Format("scenario", folder / "scenario.toml", read_scenario, ScenarioError, False),
        Format("population csv", folder / "people.csv", people, PopulationError, False),
        Format("population parquet", folder / "people.parquet", people, PopulationError, False),
    ]


def main() -> None:
    """Mutate every format and print what became of it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as name:
        for each in formats(Path(name)):
            started = time.monotonic()
            seen = each.run(count)
            words = ", ".join(f"{seen[what]:,} {what}" for what in OUTCOMES)
            seconds = time.monotonic() - started
            print(f"{each.name:<20}{count:>8,} mutations: {words}; {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
