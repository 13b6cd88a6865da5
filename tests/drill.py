"""The crash drill: kills at every call, every truncation and every altered byte, counted.

    python tests/drill.py           everything, a few minutes (`make drill`)
    python tests/drill.py --small   a sample in seconds, as one of the tests

A child process keeps a journaled exchange and says over a pipe what was acknowledged; it kills
itself with SIGKILL before, in the middle of or after its n-th call of the disk, or is killed by
the clock. Another process then opens what is left. Exit status 1 if anything was lost or a
changed file was taken for a sound one.
"""

import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from journals import CountingDisk, commands, create, mark, marks  # noqa: E402

from engine.durable import DurableExchange  # noqa: E402
from engine.journal import JournalError  # noqa: E402
from engine.snapshot import core_version, read_snapshot  # noqa: E402

SIZES = (1, 2, 1, 5, 1, 1, 3)  # of the batches of one life
SNAPSHOTS_AFTER = (1, 4)  # batches
COMMANDS = 400
DELAY_MAX = 0.15  # seconds until the clock kills
OPENED_EVERY = 20  # of the damaged snapshots; the others are only read
CALLS_MAX = 60  # of the disk, in one life
SEED = 20_260_101


class KillingDisk(CountingDisk):
    """Kills its process at call `number`: before it, with half a write taken, or after it."""

    def __init__(self, number: int, moment: str) -> None:
        super().__init__()
        self.number, self.moment = number, moment

    def before(self, name, arguments):
        """The end, before the call or in the middle of a write."""
        if self.calls != self.number:
            return
        if self.moment == "before":
            die()
        if self.moment == "within" and name == "write":
            descriptor, data = arguments
            os.write(descriptor, bytes(data)[: len(data) // 2])
            die()

    def after(self, name):
        """The end, when the call has done its work."""
        if self.calls == self.number and self.moment == "after":
            die()


def die() -> None:
    """What the power switch does to a process."""
    os.kill(os.getpid(), signal.SIGKILL)


class Tally(Counter):
    """What is printed at the end; the last two lines must be 0."""

    def print(self, started: float) -> None:
        """The result, a line each."""
        for name in (
            *("kills", "lives that ended by themselves", "recoveries", "recoveries by snapshot"),
            *("torn batches cut", "truncations", "altered bytes", "refused with an offset"),
            *("recovered and reported", "acknowledged commands lost", "silent acceptances"),
        ):
            print(f"{name:<32}{self[name]:>9,}")
        print(f"{'seconds':<32}{time.monotonic() - started:>9.0f}")


def in_child(work) -> tuple[int, bytes]:
    """Run `work(pipe)` in a forked process; its wait status and what it wrote into the pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            work(writing)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    said = b""
    while data := os.read(reading, 65_536):
        said += data
    os.close(reading)
    return os.waitpid(child, 0)[1], said


def live(folder: Path, disk: CountingDisk, pipe: int, patience: float = 0.0) -> None:
    """Create or open, submit batches and take snapshots; say each acknowledged number."""
    exists = (folder / "journal").exists()
    durable = DurableExchange.open(folder, disk=disk) if exists else create(folder, disk)
    os.write(pipe, struct.pack("<q", durable.journal.seq))
    for place, size in enumerate(SIZES):
        seq = durable.journal.seq
        durable.submit(commands(COMMANDS)[seq : seq + size])
        os.write(pipe, struct.pack("<q", durable.journal.seq))
        if place in SNAPSHOTS_AFTER:
            durable.snapshot()
        time.sleep(patience)
    durable.close()


def check(folder: Path, acknowledged: int, tally: Tally) -> int:
    """Open what a dead process left, in a process of its own, and compare.

    `acknowledged` is -1 where not even the journal was. Returns the last command recovered.
    """

    def look(pipe: int) -> None:
        with DurableExchange.open(folder) as durable:
            seq, recovery = durable.journal.seq, durable.recovery
            assert mark(durable) == marks(COMMANDS)[seq], "not the state of a prefix"
            found = (seq, recovery.snapshot_seq, recovery.torn_bytes, len(recovery.notes))
            os.write(pipe, struct.pack("<4q", *found))

    if not (folder / "journal").exists():
        assert acknowledged == -1, "a journal that was acknowledged is gone"
        return -1
    status, said = in_child(look)
    assert status == 0, f"not recovered, status {status}"
    seq, snapshot, torn, notes = struct.unpack("<4q", said)
    tally["recoveries"] += 1
    tally["recoveries by snapshot"] += snapshot > 0
    tally["torn batches cut"] += torn > 0
    tally["acknowledged commands lost"] += max(0, acknowledged - seq)
    tally["silent acceptances"] += torn > 0 and notes == 0
    assert seq - max(acknowledged, 0) <= max(SIZES), "more than one batch beyond"
    return seq


def acknowledged_in(said: bytes, before: int) -> int:
    """The last number a child said; what was acknowledged `before` where it said none."""
    return struct.unpack_from("<q", said, len(said) - 8)[0] if len(said) >= 8 else before


def kill_everywhere(base: Path, tally: Tally, step: int) -> None:
    """A kill at every `step`-th call and moment of a first life and of the life after it."""
    for first in (True, False):  # a new journal; one that was left by a life of its own
        for moment in ("before", "within", "after"):
            for number in range(1, CALLS_MAX, step):
                folder = base / "kill"
                shutil.rmtree(folder, ignore_errors=True)
                before = -1 if first else sum(SIZES)
                if not first:
                    in_child(lambda pipe, folder=folder: live(folder, CountingDisk(), pipe))
                disk = KillingDisk(number, moment)
                status, said = in_child(
                    lambda pipe, folder=folder, disk=disk: live(folder, disk, pipe)
                )
                killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
                assert not (killed and number > CALLS_MAX - 5), "a life has more calls than that"
                assert killed or status == 0, f"the child failed with status {status}"
                tally["kills" if killed else "lives that ended by themselves"] += 1
                check(folder, acknowledged_in(said, before), tally)


def kill_at_random(base: Path, tally: Tally, lives: int) -> None:
    """Lives of one journal, each killed by the clock of another process."""
    draw = random.Random(SEED)
    folder, before = base / "random", -1
    for _ in range(lives):
        delay = draw.random() * DELAY_MAX
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                live(folder, CountingDisk(), writing, patience=0.001)
            finally:
                os._exit(0)
        os.close(writing)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        said = b""
        while data := os.read(reading, 65_536):
            said += data
        os.close(reading)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        tally["kills" if killed else "lives that ended by themselves"] += 1
        before = check(folder, acknowledged_in(said, before), tally)
        if before + 2 * sum(SIZES) > COMMANDS:
            shutil.rmtree(folder)
            before = -1


def damage_everywhere(base: Path, tally: Tally, step: int) -> None:
    """Every truncation and every altered byte of a small journal, with and without a snapshot."""
    folder, bad = base / "sound", base / "bad"
    bad.mkdir()
    in_child(lambda pipe: live(folder, CountingDisk(), pipe))
    files = {name: (folder / name).read_bytes() for name in ("journal", "snapshot")}
    for name, data in files.items():
        for place in range(0, len(data), step):
            altered = bytearray(data)
            altered[place] ^= 1 << place % 8
            for what, changed in (("truncations", data[:place]), ("altered bytes", altered)):
                for other, content in files.items():
                    (bad / other).write_bytes(changed if other == name else content)
                tally[what] += 1
                if name == "snapshot" and place % (OPENED_EVERY * step):
                    refuse_snapshot(bad / "snapshot", tally)
                    continue
                if name == "journal" and place % 2:  # without a snapshot the journal is all
                    (bad / "snapshot").unlink()
                open_damaged(bad, tally)


def refuse_snapshot(path: Path, tally: Tally) -> None:
    """A damaged snapshot must be refused; opening a folder then does not use it."""
    try:
        read_snapshot(path)
        tally["silent acceptances"] += 1
    except JournalError:
        tally["refused with an offset"] += 1


def open_damaged(folder: Path, tally: Tally) -> None:
    """A damaged folder must be refused with its offset, or give a prefix and say what is wrong."""
    try:
        with DurableExchange.open(folder) as durable:
            right = mark(durable) == marks(COMMANDS)[durable.journal.seq]
            reported = right and durable.recovery.notes
            tally["recovered and reported" if reported else "silent acceptances"] += 1
    except JournalError as error:
        named = f"byte {error.offset}: " in str(error)
        tally["refused with an offset" if named else "silent acceptances"] += 1


def main() -> None:
    """Run the drill, print the tally, and exit with 1 if it is bad."""
    small = "--small" in sys.argv
    started, tally = time.monotonic(), Tally()
    marks(COMMANDS)  # before any fork, so that no child compiles or computes them
    core_version()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        kill_everywhere(base, tally, 5 if small else 1)
        kill_at_random(base, tally, 10 if small else 300)
        damage_everywhere(base, tally, 251 if small else 1)
    tally.print(started)
    sys.exit(bool(tally["acknowledged commands lost"] or tally["silent acceptances"]))


if __name__ == "__main__":
    main()
