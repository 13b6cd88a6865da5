"""Read, write and verify tapes. What the bytes of a tape are is said in `tape_layout.py`."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
import numpy as np
from msgspec import Struct

from engine.rows import COMMAND
from engine.tape_layout import (
    BLOCK_RECORDS_DEFAULT,
    BLOCK_RECORDS_MAX,
    CHUNK_BYTES,
    HASH_BYTES,
    HEAD,
    HEAD_1,
    HEAD_BYTES,
    HEADER,
    IDENTITY,
    LINE_BYTES,
    MAGIC,
    NO_SUM,
    VERSION,
    Head,
    Scan,
    TapeError,
    TapeMarket,
    TapeMetadata,
    decode_metadata,
    digest,
    first_identity,
    sizes_of,
)

__all__ = [
    "TapeError",
    "TapeInfo",
    "TapeMarket",
    "TapeMetadata",
    "TapeWriter",
    "read_tape",
    "tape_info",
    "verify_tape",
]


class TapeInfo(Struct, frozen=True, kw_only=True):
    """Header and end block of a tape. `tape_hash` is hex; `file_bytes` the size of the file."""

    metadata: TapeMetadata
    format_version: int
    block_records: int
    records: int
    file_bytes: int
    tape_hash: str


class TapeWriter:
    """Writes a tape; the file appears under its name only when it is complete.

    Use it as a context manager: leaving the block normally writes the end block, flushes to disk
    and renames; leaving it by an exception removes the partial file. `records` and, afterwards,
    `tape_hash` (hex) tell what was written. Without a path the rows are checked and hashed, and
    no file is made.

    >>> import tempfile
    >>> from engine.constants import CommandKind
    >>> metadata = TapeMetadata(
    ...     markets=[TapeMarket(symbol="BTCUSDT", price_decimals=2, lot="0.001")])
    >>> rows = np.zeros(2, COMMAND)
    >>> rows["kind"], rows["market_id"], rows["price"] = CommandKind.INDEX, 1, 500_000
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with TapeWriter(f"{folder}/two.tape", metadata) as tape:
    ...         tape.append(rows)
    ...     [block["price"].tolist() for block in read_tape(f"{folder}/two.tape")]
    [[500000, 500000]]
    """

    def __init__(
        self,
        path: Path | str | None,
        metadata: TapeMetadata,
        block_records: int = BLOCK_RECORDS_DEFAULT,
    ) -> None:
        if not 1 <= block_records <= BLOCK_RECORDS_MAX:
            raise ValueError(f"block_records: expected 1 to {BLOCK_RECORDS_MAX}")
        self._is_kept = path is not None
        self.path = Path("tape" if path is None else path)
        self.metadata = metadata
        self.records = 0
        self.tape_hash = ""
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._buffer = np.zeros(block_records, COMMAND)
        self._buffered = 0
        self._offset = 0
        self._scan = Scan(len(metadata.markets))
        self._file: BinaryIO | None = None
        self._chunk = bytearray()  # of the file, not written yet

    def __enter__(self) -> Self:
        text = msgspec.json.encode(self.metadata, order="deterministic")
        decode_metadata(self.path, text, len(self.metadata.markets))
        sizes = (len(self._buffer), len(self.metadata.markets), len(text), 0)
        fixed = HEADER.pack(MAGIC, VERSION, COMMAND.itemsize, *sizes)
        self._check, self._identity = digest(fixed, text), first_identity(fixed, text)
        self._file = open(self._temporary if self._is_kept else os.devnull, "wb")
        self._write(fixed, text, self._check)
        self._write(bytes(-self._offset % LINE_BYTES))
        return self

    def append(self, commands: np.ndarray) -> None:
        """Add rows (shape (n,), dtype COMMAND), all of them or none.

        A row no tape may hold raises TapeError with the offset it would have had in the file.
        """
        if self._file is None:
            raise ValueError("the tape is not open for writing")
        if commands.dtype != COMMAND or commands.ndim != 1:
            raise ValueError(f"expected rows of COMMAND, got {commands.dtype} {commands.shape}")
        if len(commands) == 0:
            return
        commands = np.ascontiguousarray(commands)
        _, fault = self._scan.check(commands, commands.ctypes.data, summed=False)
        if fault < len(commands):
            place, reason = self._scan.fault(commands, fault)
            raise TapeError(self.path, self._row_offset(fault) + place, reason)
        self._scan.time_ns = int(commands["time_ns"][-1])
        taken = 0
        while taken < len(commands):
            part = commands[taken : taken + len(self._buffer) - self._buffered]
            self._buffer[self._buffered : self._buffered + len(part)] = part
            self._buffered += len(part)
            taken += len(part)
            if self._buffered == len(self._buffer):
                self._flush()

    def _row_offset(self, row: int) -> int:
        """The byte at which the row would begin that comes `row` rows after the last one."""
        block, place = divmod(self._buffered + row, len(self._buffer))
        head = HEAD_BYTES[VERSION]
        before = block * (len(self._buffer) * COMMAND.itemsize + head)
        return self._offset + before + head + place * COMMAND.itemsize

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None, "the tape was entered"
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._file = None
            if self._is_kept:
                self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        assert self._file is not None, "the tape is open"
        if self._buffered:
            self._flush()
        self._put(0, self.records, self._buffer[:0])
        self._file.write(self._chunk)
        if self._is_kept:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self._temporary, self.path)
        self.tape_hash = self._identity.hex()

    def _flush(self) -> None:
        rows = self._buffer[: self._buffered]
        self._put(len(rows), self.records + 1, rows)
        self.records += self._buffered
        self._buffered = 0

    def _put(self, count: int, seq: int, rows: np.ndarray) -> None:
        """Write a block, or the end block, for which there are no rows."""
        payload = rows.view(np.uint8).data
        self._identity = digest(self._identity, IDENTITY.pack(count, seq), payload)
        rows_sum = self._scan.sum(rows, rows.ctypes.data) if count else NO_SUM
        head = HEAD.pack(count, 0, seq, rows_sum, self._identity)
        self._check = digest(self._check, head)
        self._write(head, self._check, payload)

    def _write(self, *parts: bytes | memoryview) -> None:
        assert self._file is not None, "the tape is open"
        for part in parts:
            self._offset += len(part)
            while part:
                room = CHUNK_BYTES - len(self._chunk)
                self._chunk += part[:room]
                part = part[room:]
                if len(self._chunk) == CHUNK_BYTES:
                    self._file.write(self._chunk)
                    self._chunk.clear()


class _Reader:
    """A mapped tape: its checked header, and a position that never passes the file's size.

    `verify` asks for the checks, `identity` for the identity as well; the only hash of version 1
    is its identity.
    """

    def __init__(self, path: Path, verify: bool, identity: bool) -> None:
        self.path = path
        self.data = _mapped(path)
        self.size = len(self.data)
        self.address = np.frombuffer(self.data, np.uint8).ctypes.data
        self.offset = 0
        fixed = self.take(HEADER.size, "a header")
        self.version, self.block_records, markets, text_bytes = sizes_of(path, fixed)
        text = self.take(text_bytes, f"{text_bytes} bytes of metadata")
        place = self.offset
        self.check = self.take(HASH_BYTES, "the header's hash")
        if digest(fixed, text) != self.check:
            raise TapeError(path, place, "header hash: the header was altered")
        self.metadata = decode_metadata(path, text, markets)
        self.is_first = self.version == 1
        self.seq_place = 4 if self.is_first else 8  # in a head
        self.identity = first_identity(fixed, text)
        self.verify = verify and not self.is_first
        self.identify = identity or (verify and self.is_first)
        if not self.is_first:
            place = self.offset
            if any(self.take(-place % LINE_BYTES, "zeros up to a line")):
                raise TapeError(path, place, "expected zeros up to a line")
        self.records = 0
        self.scan = Scan(markets)

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; the length is checked against the file before reading."""
        left = self.size - self.offset
        if count > left:
            raise TapeError(self.path, self.offset, f"torn: expected {what}, {left} bytes left")
        start = self.offset
        self.offset += count
        return self.data[start : self.offset]

    def take_head(self) -> Head:
        """The head of the next block."""
        head = self.take(HEAD_BYTES[self.version], "a block or the end block")
        if self.is_first:
            count, seq, identity = HEAD_1.unpack(head)
            return Head(count, seq, identity, NO_SUM, b"", b"")
        count, zero, seq, rows_sum, identity = HEAD.unpack_from(head)
        if zero != 0:
            place = self.offset - len(head) + 4
            raise TapeError(self.path, place, f"reserved: expected 0, got {zero}")
        return Head(count, seq, identity, rows_sum, head[HEAD.size :], head[: HEAD.size])

    def take_rows(self, count: int) -> np.ndarray:
        """Rows where they are mapped; those of version 1 lie anywhere and are copied."""
        left = self.size - self.offset
        if count * COMMAND.itemsize > left:
            reason = f"torn: expected {count} rows, {left} bytes left"
            raise TapeError(self.path, self.offset, reason)
        start = self.offset
        self.offset += count * COMMAND.itemsize
        rows = np.frombuffer(self.data, COMMAND, count, start)
        return rows.copy() if self.is_first else rows

    def next_block(self) -> np.ndarray | None:
        """The next block's rows, checked; None after a valid end block."""
        start = self.offset
        head = self.take_head()
        if head.records == 0:
            self._end(start, head)
            return None
        if head.records > self.block_records:
            reason = f"records: expected at most {self.block_records}, got {head.records}"
            raise TapeError(self.path, start, reason)
        if head.seq != self.records + 1:
            reason = f"first seq: expected {self.records + 1}, got {head.seq}"
            raise TapeError(self.path, start + self.seq_place, reason)
        if self.records % self.block_records:
            raise TapeError(self.path, start, "expected the end block after a short block")
        place = self.offset
        rows = self.take_rows(head.records)
        at = rows.ctypes.data if self.is_first else self.address + place
        rows_sum, fault = self.scan.check(rows, at, summed=self.verify)
        if self.verify and (rows_sum != head.rows_sum or self._next_check(head) != head.check):
            reason = f"block hash: the block of {head.records} rows that begins here was altered"
            raise TapeError(self.path, start, reason)
        if self.identify and self._next_identity(head, rows) != head.identity:
            reason = f"identity: the {head.records} rows of the block that begins here are others"
            raise TapeError(self.path, start, reason)
        if fault < head.records:
            byte, reason = self.scan.fault(rows, fault)
            raise TapeError(self.path, place + fault * COMMAND.itemsize + byte, reason)
        self.scan.time_ns = int(rows["time_ns"][-1])
        self.identity, self.check = head.identity, head.check
        self.records += head.records
        return rows

    def _next_check(self, head: Head) -> bytes:
        return digest(self.check, head.checked)

    def _next_identity(self, head: Head, rows: np.ndarray) -> bytes:
        fields = IDENTITY.pack(head.records, head.seq)
        return digest(self.identity, fields, rows.view(np.uint8).data)

    def _end(self, start: int, head: Head) -> None:
        if head.seq != self.records:
            reason = f"total count: expected {self.records}, got {head.seq}"
            raise TapeError(self.path, start + self.seq_place, reason)
        altered = self.verify and self._next_check(head) != head.check
        rows = np.zeros(0, COMMAND)
        if altered or (self.identify and self._next_identity(head, rows) != head.identity):
            raise TapeError(self.path, start, "end hash: altered")
        if self.offset != self.size:
            reason = f"expected the end of the file, {self.size - self.offset} bytes follow"
            raise TapeError(self.path, self.offset, reason)
        self.identity = head.identity

    def info(self) -> TapeInfo:
        return TapeInfo(
            metadata=self.metadata,
            format_version=self.version,
            block_records=self.block_records,
            records=self.records,
            file_bytes=self.size,
            tape_hash=self.identity.hex(),
        )


def _mapped(path: Path) -> mmap.mmap | bytes:
    """The bytes of a file, read only, where the system holds them; nothing is copied."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise TapeError(path, 0, f"{error.strerror}") from None
    except ValueError:
        raise TapeError(path, 0, "torn: the file shrank") from None


def read_tape(
    path: Path | str, verify: bool = True, *, identity: bool = False
) -> Iterator[np.ndarray]:
    """Yield the rows block by block: read-only C-contiguous arrays, shape (n,), dtype COMMAND.

    Damage raises TapeError before the damaged block is handed out; blocks before it were sound.
    Use `verify_tape` first where nothing may be applied of a damaged tape. `verify=False` leaves
    out the checks and keeps everything else; `identity=True` computes the identity too, which a
    reader needs who compared the tape hash with one written elsewhere.

    Rows are handed out where the file is mapped, so nothing is copied and the memory is the
    system's. The file must stay as it is meanwhile: a later change is not noticed, and one that
    is cut short under its reader ends the process, as with every mapped file.
    """
    reader = _Reader(Path(path), verify, identity)
    while (rows := reader.next_block()) is not None:
        yield rows


def verify_tape(path: Path | str) -> TapeInfo:
    """Read the whole tape, check everything, identity included; raises TapeError."""
    reader = _Reader(Path(path), True, True)
    while reader.next_block() is not None:
        pass
    return reader.info()


def tape_info(path: Path | str) -> TapeInfo:
    """Describe a tape from its header and end block; the rows between are not read.

    The file must have exactly the size its end block announces, so a torn tape is refused here
    too; altered rows are found only by reading them.
    """
    path = Path(path)
    reader = _Reader(path, False, False)
    first, head_bytes = reader.offset, HEAD_BYTES[reader.version]
    end = reader.size - head_bytes
    if end < first:
        raise TapeError(path, first, "torn: expected an end block")
    reader.offset = end
    head = reader.take_head()
    if head.records != 0:
        raise TapeError(path, end, "torn: expected an end block")
    total = head.seq
    blocks = -(-total // reader.block_records)
    expected = first + blocks * head_bytes + total * COMMAND.itemsize
    if expected != end:
        raise TapeError(path, end, f"total count: {total} rows would end at byte {expected}")
    reader.identity, reader.records = head.identity, total
    return reader.info()
