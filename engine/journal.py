"""A journal: batches of COMMAND rows on disk before they are applied, append-only, hash-chained.

A journal is a folder with a lock and one file; all numbers are little-endian:

    header  magic 8s, format version u32, record bytes u32, metadata bytes u32, zero u32,
            metadata (canonical JSON of whoever keeps the journal), seed 16 bytes
    batch   commands u32 (1 or more), first seq u64, mark 8 bytes, chain 16 bytes, rows
    close   commands u32 = 0, total count u64, mark 8 bytes, chain 16 bytes

The seed is BLAKE2b-128 of the header before it; a mark is BLAKE2b-64 of the chain value before
and the first two fields, so that no length is believed unchecked; a chain value is BLAKE2b-128 of
the one before, these fields and the rows. A close says that whoever wrote had no more; batches
may follow it when the journal was opened again. The chain finds accidents; it carries no key.

What a crash may leave is a last record that breaks off: it is cut and reported. A record that is
all there and does not fit its hash was damaged later: it is refused with its offset.
"""

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine import constants as c
from engine.disk import Disk, replace_file, write_all
from engine.refusal import Refusal
from engine.rows import COMMAND

MAGIC = b"CRASHJNL"
BATCH_RECORDS_MAX = 2**20  # 72 MiB: bounds the memory that one length can ask for
METADATA_BYTES_MAX = 2**22
JOURNAL, LOCK = "journal", "lock"

_HEADER = struct.Struct("<8sIIII")
_FIELDS = struct.Struct("<IQ")
_MARK_BYTES, _CHAIN_BYTES = 8, 16
RECORD_BYTES = _FIELDS.size + _MARK_BYTES + _CHAIN_BYTES


class JournalError(Refusal):
    """A journal or a snapshot is damaged, foreign or in use. One line names the place.

    `offset` is the byte of the file at which it was noticed, `reason` what was expected.
    """

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path.parent.name}/{path.name}: byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason


class JournalFault(RuntimeError):
    """The device refused: the batch was not applied. `undone` tells whether its bytes were taken
    back; if not, the batch may be found whole when the journal is opened again."""

    def __init__(self, message: str, undone: bool) -> None:
        super().__init__(message)
        self.undone = undone


@dataclass(frozen=True)
class Batch:
    """One journaled batch: its rows, the number of its last command, where it ends in the file
    and the chain value there."""

    rows: np.ndarray
    seq: int
    end: int
    chain: bytes


def _hash(size: int, *parts: bytes | memoryview) -> bytes:
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        state.update(part)
    return state.digest()


def _record(chain: bytes, count: int, seq: int, rows: bytes | memoryview) -> tuple[bytes, bytes]:
    """The bytes before the rows of a record, and its chain value."""
    fields = _FIELDS.pack(count, seq)
    mark = _hash(_MARK_BYTES, chain, fields)
    chain = _hash(_CHAIN_BYTES, chain, fields, mark, rows)
    return fields + mark + chain, chain


class JournalReader:
    """Reads a journal file from its beginning; memory is bounded by one batch.

    After the last batch `torn_bytes` is how much of a broken last record follows byte `offset`,
    and `closed` whether the last record says that nothing was to follow.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115 - read on until `close`
        self._size = os.fstat(self._file.fileno()).st_size
        self.offset = self.seq = self.torn_bytes = 0
        self.closed = False
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _read_header(self) -> None:
        path = self.path
        fixed = self._take(_HEADER.size, "a header")
        magic, version, record, text_bytes, zero = _HEADER.unpack(fixed)
        checks = (
            (magic, MAGIC, 0, "magic"),
            (version, c.FORMAT_VERSION, 8, "format version"),
            (record, COMMAND.itemsize, 12, "record bytes"),
            (zero, 0, 20, "reserved"),
        )
        for got, expected, place, what in checks:
            if got != expected:
                raise JournalError(path, place, f"{what}: expected {expected!r}, got {got!r}")
        if text_bytes > METADATA_BYTES_MAX:
            reason = f"metadata bytes: expected at most {METADATA_BYTES_MAX}, got {text_bytes}"
            raise JournalError(path, 16, reason)
        self.metadata = self._take(text_bytes, f"{text_bytes} bytes of metadata")
        place = self.offset
        self.chain = self._take(_CHAIN_BYTES, "the header's hash")
        if _hash(_CHAIN_BYTES, fixed, self.metadata) != self.chain:
            raise JournalError(path, place, "header hash: the header was altered")

    def _left(self) -> int:
        return self._size - self.offset

    def _take(self, count: int, what: str) -> bytes:
        """The next bytes; what is asked for is compared with the file's size before reading."""
        if count > self._left():
            reason = f"torn: expected {what}, {self._left()} bytes left"
            raise JournalError(self.path, self.offset, reason)
        data = self._file.read(count)
        if len(data) != count:
            raise JournalError(self.path, self.offset, f"expected {what}, the file shrank")
        self.offset += count
        return data

    def batches(self) -> Iterator[Batch]:
        """The batches in order; JournalError at the first damaged record."""
        while self._left():
            start = self.offset
            if self._left() < RECORD_BYTES:
                self.torn_bytes = self._left()
                return
            head = self._take(RECORD_BYTES, "a record")
            count, seq = self._check_fields(start, head)
            if count * COMMAND.itemsize > self._left():
                self.torn_bytes = RECORD_BYTES + self._left()
                self.offset = start
                return
            data = self._take(count * COMMAND.itemsize, f"{count} rows")
            expected, chain = _record(self.chain, count, seq, data)
            if head != expected:
                what = f"the batch of {count} commands" if count else "the close"
                reason = f"hash: {what} that begins here was altered"
                raise JournalError(self.path, start, reason)
            self.chain, self.closed = chain, count == 0
            if count:
                self.seq += count
                rows = np.frombuffer(bytearray(data), COMMAND)
                yield Batch(rows, self.seq, self.offset, chain)

    def _check_fields(self, start: int, head: bytes) -> tuple[int, int]:
        """Count and seq of a record whose mark is right."""
        fields = head[: _FIELDS.size]
        mark = head[_FIELDS.size : _FIELDS.size + _MARK_BYTES]
        if _hash(_MARK_BYTES, self.chain, fields) != mark:
            reason = "mark: a record was altered, or something else follows the last one"
            raise JournalError(self.path, start, reason)
        count, seq = _FIELDS.unpack(fields)
        expected = self.seq + 1 if count else self.seq
        if count > BATCH_RECORDS_MAX:
            reason = f"commands: expected at most {BATCH_RECORDS_MAX}, got {count}"
            raise JournalError(self.path, start, reason)
        if seq != expected:
            raise JournalError(self.path, start + 4, f"seq: expected {expected}, got {seq}")
        return count, seq


def _lock(folder: Path) -> int:
    """Take the journal for this process; the system gives it back when the process ends."""
    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(path, 0, "in use: another process has this journal open") from None
    return descriptor


class Journal:
    """A journal open for appending; made by `create` or `open`. Use it as a context manager.

    `seq` counts the journaled commands, `size` and `chain` tell where the file ends. After an
    error of the device it takes no more: open it again.
    """

    def __init__(self, folder: Path, lock: int, disk: Disk) -> None:
        self.folder = folder
        self.path = folder / JOURNAL
        self.disk = disk
        self.metadata = b""
        self.seq = self.size = self.torn_bytes = 0
        self.chain = self.batch_chain = b""  # of the last record; of the last batch
        self.was_closed = True
        self._reader: JournalReader | None = None
        self._lock: int | None = lock
        self._descriptor: int | None = None
        self._failed = ""

    @classmethod
    def create(
        cls,
        folder: Path | str,
        metadata: bytes,
        disk: Disk | None = None,
        *,
        replace: bool = False,
    ) -> "Journal":
        """A new journal in a folder, which is made if it is absent.

        `metadata` is what the owner wants back at `open`. Raises JournalError where there is a
        journal already (unless it is to be replaced), or one is in use, JournalFault where the
        device refuses.
        """
        if len(metadata) > METADATA_BYTES_MAX:
            raise ValueError(f"metadata: expected at most {METADATA_BYTES_MAX} bytes")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        journal = cls(folder, _lock(folder), disk or Disk())
        try:
            if journal.path.exists() and not replace:
                raise JournalError(journal.path, 0, "expected no journal here; open it instead")
            fixed = (MAGIC, c.FORMAT_VERSION, COMMAND.itemsize, len(metadata), 0)
            header = _HEADER.pack(*fixed) + metadata
            chain = _hash(_CHAIN_BYTES, header)
            try:
                replace_file(journal.disk, journal.path, [header + chain])
                journal.disk.sync_folder(folder.parent)
                journal._descriptor = journal.disk.reopen(journal.path)
            except OSError as error:
                raise JournalFault(f"{folder.name}: not created: {error}", True) from None
            journal.metadata = metadata
            journal.chain = journal.batch_chain = chain
            journal.size = len(header) + len(chain)
        except BaseException:
            journal.release()
            raise
        return journal

    @classmethod
    def open(cls, folder: Path | str, disk: Disk | None = None) -> "Journal":
        """An existing journal with its `metadata`; exhaust `recover` before appending.

        Raises JournalError where there is none, its header is damaged or it is in use.
        """
        folder = Path(folder)
        path = folder / JOURNAL
        if not path.is_file():
            raise JournalError(path, 0, "No such file; expected a journal")
        journal = cls(folder, _lock(folder), disk or Disk())
        try:
            journal._reader = JournalReader(path)
            journal.metadata = journal._reader.metadata
            journal.batch_chain = journal._reader.chain
        except BaseException:
            journal.release()
            raise
        return journal

    def recover(self) -> Iterator[Batch]:
        """The journaled batches, in order; after the last one the journal can be appended to.

        A last record that breaks off is cut (`torn_bytes` of it). Raises JournalError at damage.
        """
        assert self._reader is not None, "a journal is recovered once, after open"
        reader = self._reader
        for batch in reader.batches():
            self.batch_chain = batch.chain
            yield batch
        reader.close()
        self._reader = None
        self.seq, self.size, self.chain = reader.seq, reader.offset, reader.chain
        self.torn_bytes, self.was_closed = reader.torn_bytes, reader.closed
        try:
            descriptor = self.disk.reopen(self.path)
            self._descriptor = descriptor
            if self.torn_bytes:
                self.disk.truncate(descriptor, self.size)
                self.disk.sync(descriptor)
        except OSError as error:
            self._failed = f"the torn end was not cut: {error}"
            raise JournalFault(f"{self.folder.name}: {self._failed}", False) from None

    def append(self, rows: np.ndarray) -> None:
        """Bring a batch (shape (n,), dtype COMMAND, n from 1) to the device; then apply it.

        Raises JournalFault where the device refuses: the batch must then not be applied.
        """
        if rows.dtype != COMMAND or rows.ndim != 1:
            raise TypeError(f"expected COMMAND rows, got {rows.dtype} {rows.shape}")
        if not 1 <= len(rows) <= BATCH_RECORDS_MAX:
            raise ValueError(f"expected 1 to {BATCH_RECORDS_MAX} commands, got {len(rows)}")
        data = np.ascontiguousarray(rows).tobytes()
        head, chain = _record(self.chain, len(rows), self.seq + 1, data)
        self._write(head + data, f"commands from {self.seq + 1} on were not applied")
        self.seq += len(rows)
        self.chain = self.batch_chain = chain

    def _write(self, record: bytes, consequence: str) -> None:
        if self._descriptor is None or self._failed:
            reason = self._failed or "it is not open"
            raise JournalFault(f"{self.folder.name}: {consequence}: {reason}", True)
        try:
            write_all(self.disk, self._descriptor, record)
            self.disk.sync(self._descriptor)
        except OSError as error:
            undone = self._take_back()
            self._failed = f"an earlier write failed ({error}); open the journal again"
            fate = "" if undone else "; they may be found when the journal is opened again"
            message = f"{self.folder.name}: {consequence}: {error}{fate}"
            raise JournalFault(message, undone) from None
        self.size += len(record)

    def _take_back(self) -> bool:
        """Cut what a failed write may have left; whether that is certain."""
        assert self._descriptor is not None, "only an open journal is written"
        try:
            self.disk.truncate(self._descriptor, self.size)
            self.disk.sync(self._descriptor)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Note that nothing follows, and let go; a journal that failed is only let go."""
        try:
            if self._descriptor is not None and not self._failed:
                head, chain = _record(self.chain, 0, self.seq, b"")
                self._write(head, "the close was not written")
                self.chain = chain
        finally:
            self.release()

    def release(self) -> None:
        """Let go of file and lock and write nothing."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        for descriptor in (self._descriptor, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._lock = None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.release()
