"""Journal and snapshots: what was acknowledged comes back, and what is bad is refused or cut."""

import os
import subprocess
import sys
from itertools import pairwise

import journals
import numpy as np
import pytest
from journals import FaultyDisk, ShortDisk, commands, create, mark, marks

from engine.digest import EventDigest
from engine.disk import Disk
from engine.durable import DurableExchange
from engine.fuzz import draw_setup
from engine.journal import RECORD_BYTES, Journal, JournalError, JournalFault, JournalReader
from engine.rows import COMMAND, EVENT
from engine.snapshot import read_snapshot

COUNT = 120
SIZES = (1, 3, 1, 2)  # of the batches of the small journal


def rows_after(seq: int) -> np.ndarray:
    return commands(COUNT)[seq:]


def feed(durable: DurableExchange, sizes=SIZES) -> None:
    for size in sizes:
        seq = durable.journal.seq
        durable.submit(rows_after(seq)[:size])


@pytest.fixture
def journal_bytes(tmp_path):
    """A journal of four batches, closed, and where each record of it ends."""
    with create(tmp_path / "good") as durable:
        ends = [durable.journal.size]
        for size in SIZES:
            feed(durable, [size])
            ends.append(durable.journal.size)
    data = (tmp_path / "good" / "journal").read_bytes()
    return data, [*ends, len(data)]


def place(tmp_path, data: bytes):
    folder = tmp_path / "bad"
    folder.mkdir(exist_ok=True)
    (folder / "journal").write_bytes(data)
    return folder


def scan(path) -> JournalReader:
    reader = JournalReader(path)
    try:
        for _ in reader.batches():
            pass
    finally:
        reader.close()
    return reader


def test_a_snapshot_at_every_command_resumes_to_the_same_digest(tmp_path):
    with create(tmp_path / "a") as durable:
        for seq in range(COUNT):
            durable.snapshot()
            with DurableExchange.open(copied(tmp_path)) as other:
                assert other.recovery.snapshot_seq == seq
                other.submit(rows_after(seq))
                assert mark(other) == marks(COUNT)[COUNT]
            durable.submit(rows_after(seq)[:1])
            assert mark(durable) == marks(COUNT)[seq + 1]


def copied(tmp_path):
    """The folder a as another process would find it now."""
    folder = tmp_path / "b"
    folder.mkdir(exist_ok=True)
    for name in ("journal", "snapshot"):
        (folder / name).write_bytes((tmp_path / "a" / name).read_bytes())
    return folder


@pytest.mark.parametrize("seed", [0, 3, 8, 11])
def test_other_exchanges_resume_too(tmp_path, seed):
    """Inverse contracts, cascades, recorded marks: whatever the seed draws."""
    setup = draw_setup(seed)
    rows = np.array(setup.commands(300), COMMAND)
    plain, digest = setup.core(check_index=False), EventDigest()
    digest.update(plain.submit(rows))
    options = {"curves": setup.curves, "feedback_ppm": setup.feedback_ppm}
    options["capacities"] = setup.capacities
    for cut in range(1, len(rows), len(rows) // 6):
        folder = tmp_path / f"{cut}"
        with DurableExchange.create(folder, setup.profile, **options) as durable:
            durable.submit(rows[:cut])
            durable.snapshot()
        with DurableExchange.open(folder) as durable:
            assert durable.recovery.snapshot_seq == cut
            durable.submit(rows[cut:])
            assert mark(durable) == (digest.hexdigest(), plain.digest())


OTHER_PROCESS = """
import sys
from pathlib import Path
import journals
from engine.durable import DurableExchange
with DurableExchange.open(sys.argv[1]) as durable:
    assert durable.recovery.snapshot_seq == 60, durable.recovery
    durable.snapshot()
    snapshot = (Path(sys.argv[1]) / "snapshot").read_bytes()
    durable.submit(journals.commands(120)[90:])
    print(*journals.mark(durable), len(snapshot))
"""


@pytest.mark.parametrize("plain_python", ["0", "1"])
def test_another_process_goes_on_to_the_same_digest(tmp_path, plain_python):
    with create(tmp_path / "a") as durable:
        durable.submit(rows_after(0)[:60])
        durable.snapshot()
        durable.submit(rows_after(60)[:30])
        before = (tmp_path / "a" / "snapshot").read_bytes()
        durable.snapshot()
        now = (tmp_path / "a" / "snapshot").read_bytes()
    (tmp_path / "a" / "snapshot").write_bytes(before)
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "a")]
    env = environment() | {"NUMBA_DISABLE_JIT": plain_python}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    *digests, size = done.stdout.split()
    assert tuple(digests) == marks(COUNT)[COUNT]
    assert int(size) == len(now)
    assert (tmp_path / "a" / "snapshot").read_bytes() == now, "a snapshot depends on the state only"


def environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": ":".join(path for path in sys.path if path)}


def test_batch_sizes_change_nothing_but_the_journal(tmp_path):
    for name, sizes in (("a", [COUNT]), ("b", [7] * (COUNT // 7 + 1))):
        with create(tmp_path / name) as durable:
            feed(durable, [size for size in sizes if size])
            assert mark(durable) == marks(COUNT)[COUNT]
        with DurableExchange.open(tmp_path / name) as durable:
            assert mark(durable) == marks(COUNT)[COUNT]
            assert durable.recovery.notes == [] and durable.recovery.was_closed


def test_opened_and_closed_again_and_again(tmp_path):
    create(tmp_path / "a").close()
    for seq in range(8):
        with DurableExchange.open(tmp_path / "a") as durable:
            assert durable.journal.seq == seq and durable.recovery.was_closed
            assert mark(durable) == marks(COUNT)[seq]
            if seq % 2:
                durable.snapshot()
            durable.submit(rows_after(seq)[:1])


def test_a_second_opening_is_refused(tmp_path):
    with create(tmp_path / "a") as durable:
        durable.submit(rows_after(0)[:2])
        for attempt in (DurableExchange.open, Journal.open):
            with pytest.raises(JournalError, match="a/lock: byte 0: in use: another process"):
                attempt(tmp_path / "a")
        with pytest.raises(JournalError, match="in use"):
            create(tmp_path / "a")
        durable.submit(rows_after(2)[:1])
    with pytest.raises(JournalError, match="expected no journal here"):
        create(tmp_path / "a")
    with pytest.raises(JournalError, match="No such file"):
        DurableExchange.open(tmp_path / "none")


def test_every_truncation_is_cut_to_a_prefix_and_reported(tmp_path, journal_bytes):
    data, ends = journal_bytes
    seqs = np.cumsum([0, *SIZES])
    for length in range(len(data)):
        folder = place(tmp_path, data[:length])
        if length < ends[0]:
            with pytest.raises(JournalError, match="torn") as caught:
                scan(folder / "journal")
            assert 0 <= caught.value.offset <= length
            continue
        with DurableExchange.open(folder) as durable:
            records = int(np.searchsorted(ends, length, side="right")) - 1
            assert mark(durable) == marks(COUNT)[seqs[records]]
            assert durable.recovery.torn_bytes == length - ends[records]
            assert not durable.recovery.was_closed and durable.recovery.notes
            durable.submit(rows_after(durable.journal.seq)[:1])
        with DurableExchange.open(folder) as durable:
            assert durable.recovery.notes == []
            assert mark(durable) == marks(COUNT)[seqs[records] + 1]


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_altered_byte_is_refused_with_the_offset_of_its_record(tmp_path, journal_bytes, flip):
    data, ends = journal_bytes
    for spot in range(len(data)):
        damaged = bytearray(data)
        damaged[spot] ^= flip
        folder = place(tmp_path, bytes(damaged))
        with pytest.raises(JournalError) as caught:
            scan(folder / "journal")
        start = max([0, *(end for end in ends if end <= spot)])
        assert start <= caught.value.offset <= spot or start == 0
        assert str(caught.value).startswith(f"bad/journal: byte {caught.value.offset}: ")


def test_a_refused_journal_is_left_as_it_was(tmp_path, journal_bytes):
    data, ends = journal_bytes
    damaged = bytearray(data)
    damaged[ends[1] + 50] ^= 1
    folder = place(tmp_path, bytes(damaged))
    with pytest.raises(JournalError, match=f"byte {ends[1]}: hash: the batch of 3 commands"):
        DurableExchange.open(folder)
    assert (folder / "journal").read_bytes() == damaged
    (folder / "journal").write_bytes(data)
    DurableExchange.open(folder).close()  # the lock was given back


def test_records_swapped_repeated_or_from_elsewhere_are_refused(tmp_path, journal_bytes):
    data, ends = journal_bytes
    head = data[: ends[0]]
    first, second, *rest = [data[a:b] for a, b in pairwise(ends)]
    for records in (second + first, first + first + second, second, first + b"\0" * 200):
        folder = place(tmp_path, head + records + b"".join(rest))
        with pytest.raises(JournalError, match="mark"):
            DurableExchange.open(folder)


def test_no_length_is_trusted(tmp_path, journal_bytes):
    data, ends = journal_bytes
    for place_of, value in ((16, 2**32 - 1), (16, 2**22), (ends[0], 2**32 - 1)):
        damaged = bytearray(data)
        damaged[place_of : place_of + 4] = value.to_bytes(4, "little")
        folder = place(tmp_path, bytes(damaged))
        with pytest.raises(JournalError):
            DurableExchange.open(folder)


def test_a_journal_of_another_core_is_refused(tmp_path, monkeypatch):
    with create(tmp_path / "a") as durable:
        durable.snapshot()
    monkeypatch.setattr("engine.durable.core_version", lambda: "ff" * 16)
    with pytest.raises(JournalError, match=r"written by core \w+ of version"):
        DurableExchange.open(tmp_path / "a")
    monkeypatch.undo()
    monkeypatch.setattr("engine.snapshot.core_version", lambda: "ff" * 16)
    with DurableExchange.open(tmp_path / "a") as durable:
        assert "core: expected ffff" in durable.recovery.notes[0]
        assert durable.recovery.snapshot_seq == 0


# -- snapshots --------------------------------------------------------------------------------


@pytest.fixture
def snapshot_folder(tmp_path):
    with create(tmp_path / "a") as durable:
        feed(durable)
        durable.snapshot()
        feed(durable, [2])
    return tmp_path / "a"


def test_a_damaged_snapshot_is_reported_and_not_used(snapshot_folder):
    path = snapshot_folder / "snapshot"
    data = path.read_bytes()
    size = len(data)
    damages = [data[:cut] for cut in range(0, size, 997)] + [data + b"\0"]
    for spot in [*range(64), *range(64, size, 499), *range(size - 40, size)]:
        damaged = bytearray(data)
        damaged[spot] ^= 0x41
        damages.append(bytes(damaged))
    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises(JournalError) as caught:
            read_snapshot(path)
        assert 0 <= caught.value.offset <= max(size, len(damaged))
    with DurableExchange.open(snapshot_folder) as durable:
        assert durable.recovery.snapshot_seq == 0
        consequence = "not used, every batch was applied again"
        assert durable.recovery.notes == [f"{caught.value}; {consequence}"]
        assert mark(durable) == marks(COUNT)[9]


def test_a_snapshot_of_another_journal_is_refused(snapshot_folder, tmp_path):
    other = create(tmp_path / "other")
    other.submit(rows_after(0)[:7])  # another batch of the same commands: another chain
    other.close()
    data = (snapshot_folder / "snapshot").read_bytes()
    (tmp_path / "other" / "snapshot").write_bytes(data)
    with pytest.raises(JournalError, match="of another journal"):
        DurableExchange.open(tmp_path / "other")
    with DurableExchange.open(tmp_path / "other", use_snapshot=False) as durable:
        assert mark(durable) == marks(COUNT)[7]


def test_a_journal_that_lost_what_its_snapshot_has_is_refused(snapshot_folder):
    path = snapshot_folder / "journal"
    path.write_bytes(path.read_bytes()[: -2 * (RECORD_BYTES + 2 * COMMAND.itemsize)])
    with pytest.raises(JournalError, match="of command 7; the journal, to 5, has no batch"):
        DurableExchange.open(snapshot_folder)


# -- devices that refuse ----------------------------------------------------------------------


def attempts(fault: str, dead: bool):
    """A disk that fails at its n-th call, for every n until nothing fails any more."""
    for number in range(1, 200):
        yield FaultyDisk(number, fault, dead)
    raise AssertionError("the story has fewer calls than this")


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("fault", ["full", "short", "error"])
def test_a_fault_at_every_call_leaves_what_was_acknowledged(tmp_path, fault, dead):
    for disk in attempts(fault, dead):
        folder = tmp_path / f"{disk.number}"
        done, undone, faults = story(folder, disk)
        if done is not None:
            with DurableExchange.open(folder) as durable:
                seq = durable.journal.seq
                assert seq == done or (not undone and seq == done + 1)
                assert mark(durable) == marks(COUNT)[seq]
                durable.submit(rows_after(seq)[:1])
                assert mark(durable) == marks(COUNT)[seq + 1]
        if disk.calls < disk.number:
            assert faults == 0
            return


def story(folder, disk) -> tuple[int | None, bool, int]:
    """Create, six batches and two snapshots, going on after each fault of a snapshot.

    Returns how many commands were acknowledged (None: the journal was not made), whether a
    failed batch was taken back, and how many faults there were.
    """
    faults = 0
    try:
        durable = create(folder, disk)
    except JournalFault:
        return None, True, 1
    undone = True
    for seq in range(6):
        fault = refusal(durable, seq)
        if fault is not None:
            faults += 1
            undone = fault.undone
            assert mark(durable) == marks(COUNT)[seq], "nothing was applied"
            with pytest.raises(JournalFault, match="open the journal again"):
                durable.submit(rows_after(seq)[:1])
            break
        assert mark(durable) == marks(COUNT)[seq + 1]
        if seq in (1, 4):
            try:
                durable.snapshot()
            except JournalFault:
                faults += 1
    done = durable.journal.seq
    try:
        durable.close()
    except JournalFault:
        faults += 1
    return done, undone, faults


def refusal(durable: DurableExchange, seq: int) -> JournalFault | None:
    """What submitting the next command raised."""
    try:
        durable.submit(rows_after(seq)[:1])
    except JournalFault as fault:
        caught = fault
    else:
        return None
    text = str(caught)
    assert f"commands from {seq + 1} on were not applied" in text
    assert ("they may be found" in text) == (not caught.undone)
    return caught


@pytest.mark.parametrize("taken", [0, 1, RECORD_BYTES, RECORD_BYTES + 71])
def test_a_write_that_takes_less_is_a_fault(tmp_path, taken):
    with create(tmp_path / "a", ShortDisk(3, taken)) as durable:
        durable.submit(rows_after(0)[:1])
        with pytest.raises(JournalFault, match=f"short write: {taken} of 108 bytes"):
            durable.submit(rows_after(1)[:1])
        size = durable.journal.size
    assert (tmp_path / "a" / "journal").stat().st_size == size
    with DurableExchange.open(tmp_path / "a") as durable:
        assert mark(durable) == marks(COUNT)[1]


def test_a_torn_end_that_cannot_be_cut_is_a_fault(tmp_path, journal_bytes):
    data, _ = journal_bytes
    folder = place(tmp_path, data[:-1])
    for number in range(1, 4):
        with pytest.raises(JournalFault, match="the torn end was not cut"):
            DurableExchange.open(folder, disk=FaultyDisk(number, "error", True))
    DurableExchange.open(folder).close()


class ListingDisk(journals.CountingDisk):
    def __init__(self):
        super().__init__()
        self.names = []

    def before(self, name, arguments):
        self.names.append(name)


def test_the_device_is_waited_for_before_a_batch_is_applied_and_before_a_name_is_given(tmp_path):
    replaced = ["create", "write", "sync", "close", "rename", "sync_folder"]
    disk = ListingDisk()
    with create(tmp_path / "a", disk) as durable:
        assert disk.names == [*replaced, "sync_folder", "reopen"]
        applied = []
        real = durable.exchange.submit
        durable.exchange.submit = lambda rows: (applied.append(list(disk.names)), real(rows))[1]
        disk.names.clear()
        feed(durable, [2])
        assert applied == [["write", "sync"]]
        disk.names.clear()
        durable.snapshot()
        assert disk.names == ["create", *["write"] * 3, *replaced[2:]]
        disk.names.clear()
    assert disk.names == ["write", "sync"]


def test_what_the_disk_is_asked_the_system_is_asked(tmp_path, monkeypatch):
    """The other tests watch the calls of a Disk; here those of the system behind it."""
    asked = []
    for name in ("fsync", "replace", "ftruncate"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=real: (asked.append(n), f(*a))[1])
    disk, file = Disk(), tmp_path / "a"
    descriptor = disk.create(file)
    disk.sync(descriptor)
    assert asked == ["fsync"]
    disk.truncate(descriptor, 0)
    disk.close(descriptor)
    disk.rename(file, tmp_path / "b")
    disk.sync_folder(tmp_path)
    assert asked == ["fsync", "ftruncate", "replace", "fsync"]


# -- pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [np.zeros(0, COMMAND), np.zeros(3), np.zeros((2, 2), COMMAND)])
def test_what_is_no_batch_is_refused_before_the_device(tmp_path, rows):
    with create(tmp_path / "a") as durable:
        with pytest.raises((TypeError, ValueError), match="expected"):
            durable.submit(rows)
        durable.submit(rows_after(0)[:1])
        assert mark(durable) == marks(COUNT)[1]


def test_the_event_digest_goes_on_from_any_row():
    draw = np.random.default_rng(1)
    events = np.frombuffer(draw.bytes(9_000 * EVENT.itemsize), EVENT)
    whole = EventDigest()
    whole.update(events)
    for cut in (0, 1, 4_095, 4_096, 4_097, 8_192, 9_000):
        split = EventDigest()
        split.update(events[:cut])
        split = EventDigest.resumed(split.state())
        split.update(events[cut:])
        assert split.hexdigest() == whole.hexdigest()
        with pytest.raises(ValueError, match="state of an event digest"):
            EventDigest.resumed(split.state() + b"\0")


def test_the_seed_of_these_tests_trades_and_liquidates():
    from engine.fuzz import coverage

    events = journals.setup().core(check_index=False).submit(commands(COUNT))
    assert coverage(events)["FILL"] and coverage(events)["REJECTED"]
