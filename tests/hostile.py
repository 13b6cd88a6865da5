"""Hostile files: every public format, mutated by seed, read back, and what must not happen counted.

    python tests/hostile.py [N] [NAME ...]     N mutations of each format (of those named), 20,000
                                               unless said, in two processes (`make hostile`)

A reader may refuse with its own error, in one line, or accept. It must not fail in another way,
hang, take much memory, or take a hash-chained file that was changed for a sound one. A mutation is
known by format, seed and number; the file that went wrong is kept in runs/hostile.
"""

import faulthandler
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# Files of a few lines: threads, and plans made for long ones, would only cost.
os.environ |= {"POLARS_MAX_THREADS": "1", "POLARS_ENGINE_AFFINITY": "in-memory"}

from hostile_files import Sound, formats  # noqa: E402

from engine.refusal import LINE_MAX  # noqa: E402

SECONDS_MAX = 5  # for one file of a few kilobytes; the slowest takes milliseconds
GROWTH_MAX = 192 * 2**20  # bytes by which one file may raise the process's peak of memory
SPACE_MAX = 16 * 2**30  # address space of a process: a bomb must not take the machine with it
OUTCOMES = ("refused", "noticed", "accepted", "taken for sound")
SEED = 7
PROCESSES = 2
AT_ONCE = 2_500  # mutations of one task
KEPT = Path("runs/hostile")
NUMBERS = [b"0", b"-1", b"9" * 30, b"1e999", b"nan", b"inf", b"-0", b"2147483648", b"true", b'""']
NUMBERS += [b"1e-999999999", b"1e99999999999", b"0.0000000000000000001", b"1152921504606846977"]
TOKENS = [b"[" * 3_000, b"{" * 300, b'"', b"\\u0000", b"\xff\xfe", b"..", b"/", b"\n", b"a.b.c = 1"]
TOKENS += [b",", b"null", b"\r\n", b"\x00", "\u0661".encode()]
WORDS = [0, 1, 2**31 - 1, 2**32 - 1, 2**20, 2**60, 2**63 - 1, 2**64 - 1]


def mutate(draw: random.Random, data: bytes) -> bytes:
    """The file with one to three things wrong: bits, bytes, lengths, pieces, numbers or lines."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        place = draw.randrange(len(changed) + 1)
        end = min(len(changed), place + draw.choice((1, 2, 4, 16, 200)))
        kind = draw.randrange(11)
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
            word = draw.choice(WORDS) % 2 ** (8 * size)
            changed[place : place + size] = word.to_bytes(size, draw.choice(("little", "big")))
        elif kind == 5:
            del changed[place:]
        elif kind == 6:
            changed[place:place] = draw.choice(TOKENS)
        else:
            changed = _text_mutation(draw, kind, changed)
    return bytes(changed)


def _text_mutation(draw: random.Random, kind: int, data: bytearray) -> bytearray:
    """A number, a digit, or lines: what leaves a text file in good order otherwise."""
    digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57] if kind <= 8 else []
    if kind == 7:
        place = draw.choice(digits) if digits else 0
        data[place : place + 1] = draw.choice(NUMBERS)
    elif kind == 8 and digits:
        data[draw.choice(digits)] = draw.randrange(48, 58)
    elif kind >= 9:
        lines = bytes(data).split(b"\n")
        if kind == 9:
            draw.shuffle(lines) if draw.random() < 0.1 else lines.pop(draw.randrange(len(lines)))
        else:
            lines.insert(draw.randrange(len(lines)), draw.choice(lines))
        data = bytearray(b"\n".join(lines))
    return data


class Hang(Exception):
    """One file took longer than SECONDS_MAX."""


def _stop(*_: object) -> None:
    raise Hang


def _peak() -> int:
    """The most memory this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024


def run(sound: Sound, count: int, first: int = 0, seed: int = SEED) -> Counter[str]:
    """Mutate and read; AssertionError names the mutation that went wrong, and keeps its file."""
    data = sound.file.read_bytes()
    path = sound.file.with_name(f"mutated {sound.file.name}")
    outcome_of(sound, sound.file, sound.name)  # what is loaded once is not any file's doing
    seen: Counter[str] = Counter()
    before = _peak()
    old = signal.signal(signal.SIGALRM, _stop)
    try:
        for number in range(first, first + count):
            changed = mutate(random.Random(f"{sound.name} {seed} {number}"), data)
            path.write_bytes(changed)
            place = f"{sound.name}: mutation {number} of seed {seed}"
            signal.setitimer(signal.ITIMER_REAL, SECONDS_MAX)
            outcome = outcome_of(sound, path, place)
            signal.setitimer(signal.ITIMER_REAL, 0)
            peak = _peak()
            grown, before = peak - before, peak
            assert grown < GROWTH_MAX, f"{place}: memory grew by {grown:,} bytes"
            forged = outcome == "accepted" and sound.chained and changed != data
            assert not forged, f"{place}: a changed file was taken for sound"
            seen[outcome] += 1
    except BaseException:
        KEPT.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, KEPT / path.name)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    return seen


def outcome_of(sound: Sound, path: Path, place: str) -> str:
    """Read one file: refused, noticed or accepted; anything else is an AssertionError."""
    try:
        noticed = sound.read(path)
    except sound.error as error:
        line = str(error)
        assert line and "\n" not in line, f"{place}: not one line: {line!r}"
        assert len(line) <= LINE_MAX, f"{place}: {len(line)} characters"
        return "refused"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of a library is no Exception
        raise AssertionError(f"{place}: {type(error).__name__}: {error}") from error
    return "noticed" if noticed else "accepted"


# -- two processes ----------------------------------------------------------------------------

_SOUND: dict[str, Sound] = {}


def _begin(folder: str) -> None:
    """A worker's own files, and a bound on what it may take."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (SPACE_MAX, SPACE_MAX))
    _SOUND.update((each.name, each) for each in formats(Path(tempfile.mkdtemp(dir=folder))))


def _task(name: str, count: int, first: int) -> tuple[Counter[str], float]:
    """A part of the mutations of one format, and the seconds of a processor that took."""
    began = time.process_time()
    return run(_SOUND[name], count, first), time.process_time() - began


def _all(folder: str, count: int, names: list[str]) -> int:
    """Every format; prints a line each and returns the number of failures."""
    failed = mutations = 0
    work = 0.0
    with ProcessPoolExecutor(
        PROCESSES, multiprocessing.get_context("spawn"), _begin, (folder,)
    ) as pool:
        parts = [(n, min(AT_ONCE, count - n)) for n in range(0, count, AT_ONCE)]
        tasks = {name: [pool.submit(_task, name, n, first) for first, n in parts] for name in names}
        for name, futures in tasks.items():
            seen: Counter[str] = Counter()
            seconds = 0.0
            try:
                for future in futures:
                    part, took = future.result()
                    seen, seconds = seen + part, seconds + took
            except Exception as error:  # also a process that died
                failed += 1
                print(f"{name:<34}FAILED: {type(error).__name__}: {error}", flush=True)
                continue
            mutations, work = mutations + seen.total(), work + seconds
            words = ", ".join(f"{seen[what]:,} {what}" for what in OUTCOMES if seen[what])
            print(f"{name:<34}{seen.total():>7,} mutations: {words}; {seconds:.1f} s", flush=True)
    print(f"{len(names)} formats, {mutations:,} mutations, {work:.0f} s of one core")
    return failed


def main() -> int:
    """Mutate every format and print what became of it; 1 where something went wrong."""
    arguments = sys.argv[1:]
    count = int(arguments.pop(0)) if arguments and arguments[0].isdecimal() else 20_000
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a file of memory is enough
    with tempfile.TemporaryDirectory(dir=base) as folder:
        whole = Path(folder) / "names"
        whole.mkdir()
        names = [each.name for each in formats(whole)]
        chosen = [name for name in names if not arguments or name in arguments]
        return 1 if _all(folder, count, chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
