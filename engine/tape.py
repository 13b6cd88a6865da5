"""Read, write and verify tapes: COMMAND rows in hash-chained blocks of fixed size.

A tape is one file: a header, blocks of at most `block_records` rows, and an end block. Every
block but the last is full, so the bytes and the tape hash do not depend on how the rows were
handed over. All numbers are little-endian.

    header  magic 8s, format version u32, record bytes u32, block records u32, markets u32,
            metadata bytes u32, zero u32, metadata (canonical JSON), seed 16 bytes
    block   records u32 (1 or more), first seq u64, chain 16 bytes, rows
    end     records u32 = 0, total count u64, chain 16 bytes

The seed is BLAKE2b-128 of the header before it; a chain value is BLAKE2b-128 of the previous one,
the first two fields of its block and the rows. The last chain value is the tape hash. The chain
finds accidents; it carries no key, so it does not authenticate whoever wrote the tape.

What the rows mean is decided by the exchange. Public formats are turned into rows by `importers`.
"""

import hashlib
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Self

import msgspec
import numpy as np
from msgspec import Meta, Struct

from engine import constants as c
from engine.refusal import Refusal
from engine.rows import COMMAND

MAGIC = b"CRASHTAP"
BLOCK_RECORDS_DEFAULT = 16_384  # 1.2 MB: large enough to hash and read at full speed
BLOCK_RECORDS_MAX = 2**20  # 72 MiB: bounds the memory one damaged length can ask for
METADATA_BYTES_MAX = 2**20

_HEADER = struct.Struct("<8sIIIIII")
_BLOCK = struct.Struct("<IQ")
_HASH_BYTES = 16
_PLACES = {name: place for name, (_, place, *_) in (COMMAND.fields or {}).items()}
_BLOCK_BYTES = _BLOCK.size + _HASH_BYTES
_KIND_MAX = max(c.CommandKind)
_KIND_KNOWN = np.isin(np.arange(_KIND_MAX + 1), [int(kind) for kind in c.CommandKind])


class TapeError(Refusal):
    """A tape is torn, altered or holds rows no tape may hold. One line names the place.

    `offset` is the byte of the file at which the damage was noticed, `reason` what was expected.
    """

    def __init__(self, path: Path | str, offset: int, reason: str) -> None:
        super().__init__(f"{Path(path).name}: byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason


class TapeMarket(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One market of a tape; its place in the list, from 1, is the `market_id` of the rows."""

    symbol: Annotated[str, Meta(min_length=1, max_length=64)]
    price_decimals: Annotated[int, Meta(ge=0, le=12)]
    lot: Annotated[str, Meta(pattern=r"^[0-9]{1,24}(\.[0-9]{1,18})?$")]


class TapeMetadata(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the integers of a tape stand for, and where they come from."""

    markets: Annotated[list[TapeMarket], Meta(max_length=c.MARKETS_MAX)]
    sources: list[Annotated[str, Meta(max_length=1000)]] = []


class TapeInfo(Struct, frozen=True, kw_only=True):
    """Header and end block of a tape. `tape_hash` is hex; `file_bytes` the size of the file."""

    metadata: TapeMetadata
    format_version: int
    block_records: int
    records: int
    file_bytes: int
    tape_hash: str


def _digest(*parts: bytes | memoryview) -> bytes:
    state = hashlib.blake2b(digest_size=_HASH_BYTES)
    for part in parts:
        state.update(part)
    return state.digest()


def _first_fault(rows: np.ndarray, time_ns: int, markets_count: int) -> tuple[int, int, str] | None:
    """The first fault no tape may hold: its row, the byte of its field in the row, the reason.

    `rows` is not empty; `time_ns` is the time of the row before it.
    """
    times = rows["time_ns"]
    kinds = rows["kind"]
    late = times < np.concatenate(([time_ns], times[:-1]))
    known = (kinds > 0) & (kinds <= _KIND_MAX)
    known &= _KIND_KNOWN[np.where(known, kinds, 0)]
    markets = rows["market_id"]
    checks = (
        ((times < 0) | (times > c.TIME_MAX_NS), "time_ns", f"0 to {c.TIME_MAX_NS}"),
        (late, "time_ns", "time that does not go backwards"),
        (~known, "kind", "a known command kind"),
        (rows["reserved"] != 0, "reserved", "0"),
        ((markets < 0) | (markets > markets_count), "market_id", f"0 to {markets_count}"),
    )
    for wrong, field, expected in checks:
        if wrong.any():
            row = int(wrong.argmax())
            reason = f"{field}: expected {expected}, got {rows[field][row]}"
            return row, _PLACES[field], reason
    return None


class TapeWriter:
    """Writes a tape; the file appears under its name only when it is complete.

    Use it as a context manager: leaving the block normally writes the end block, flushes to disk
    and renames; leaving it by an exception removes the partial file. `records` and, afterwards,
    `tape_hash` (hex) tell what was written. Without a path the rows are checked and hashed, and
    no file is made.

    >>> import tempfile
    >>> metadata = TapeMetadata(
    ...     markets=[TapeMarket(symbol="BTCUSDT", price_decimals=2, lot="0.001")])
    >>> rows = np.zeros(2, COMMAND)
    >>> rows["kind"], rows["market_id"], rows["price"] = c.CommandKind.INDEX, 1, 500_000
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
        self._time_ns = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        text = msgspec.json.encode(self.metadata, order="deterministic")
        _decode_metadata(self.path, text, len(self.metadata.markets))
        fixed = _HEADER.pack(
            MAGIC,
            c.FORMAT_VERSION,
            COMMAND.itemsize,
            len(self._buffer),
            len(self.metadata.markets),
            len(text),
            0,
        )
        self._chain = _digest(fixed, text)
        self._file = open(self._temporary if self._is_kept else os.devnull, "wb")
        self._write(fixed, text, self._chain)
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
        fault = _first_fault(commands, self._time_ns, len(self.metadata.markets))
        if fault is not None:
            row, place, reason = fault
            raise TapeError(self.path, self._row_offset(row) + place, reason)
        self._time_ns = int(commands["time_ns"][-1])
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
        before = block * (len(self._buffer) * COMMAND.itemsize + _BLOCK_BYTES)
        return self._offset + before + _BLOCK_BYTES + place * COMMAND.itemsize

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
        end = _BLOCK.pack(0, self.records)
        self._chain = _digest(self._chain, end)
        self._write(end, self._chain)
        if self._is_kept:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self._temporary, self.path)
        self.tape_hash = self._chain.hex()

    def _flush(self) -> None:
        fields = _BLOCK.pack(self._buffered, self.records + 1)
        payload = self._buffer[: self._buffered].tobytes()
        self._chain = _digest(self._chain, fields, payload)
        self._write(fields, self._chain, payload)
        self.records += self._buffered
        self._buffered = 0

    def _write(self, *parts: bytes) -> None:
        assert self._file is not None, "the tape is open"
        for part in parts:
            self._file.write(part)
            self._offset += len(part)


def _decode_metadata(path: Path, text: bytes, markets_count: int) -> TapeMetadata:
    """Decode the header's JSON; it must be the canonical text of what it says."""
    if len(text) > METADATA_BYTES_MAX:
        raise TapeError(path, _HEADER.size, f"metadata: at most {METADATA_BYTES_MAX} bytes")
    try:
        metadata = msgspec.json.decode(text, type=TapeMetadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TapeError(path, _HEADER.size, f"metadata: {error}") from None
    if msgspec.json.encode(metadata, order="deterministic") != text:
        raise TapeError(path, _HEADER.size, "metadata: expected canonical JSON")
    if len(metadata.markets) != markets_count:
        raise TapeError(path, _HEADER.size, f"metadata: expected {markets_count} markets")
    return metadata


class _Reader:
    """An open tape: its checked header, and a position that never passes the file's size."""

    def __init__(self, path: Path, file: io.BufferedReader, verify: bool) -> None:
        self.path = path
        self.file = file
        self.verify = verify
        self.size = os.fstat(file.fileno()).st_size
        self.offset = 0
        fixed = self.take(_HEADER.size, "a header")
        magic, version, record, block, markets, text_bytes, zero = _HEADER.unpack(fixed)
        checks = (
            (magic == MAGIC, 0, f"magic: expected {MAGIC!r}, got {magic!r}"),
            (
                version == c.FORMAT_VERSION,
                8,
                f"format version: expected {c.FORMAT_VERSION}, got {version}",
            ),
            (
                record == COMMAND.itemsize,
                12,
                f"record bytes: expected {COMMAND.itemsize}, got {record}",
            ),
            (
                1 <= block <= BLOCK_RECORDS_MAX,
                16,
                f"block records: expected 1 to {BLOCK_RECORDS_MAX}, got {block}",
            ),
            (
                markets <= c.MARKETS_MAX,
                20,
                f"markets: expected at most {c.MARKETS_MAX}, got {markets}",
            ),
            (
                text_bytes <= METADATA_BYTES_MAX,
                24,
                f"metadata bytes: expected at most {METADATA_BYTES_MAX}, got {text_bytes}",
            ),
            (zero == 0, 28, f"reserved: expected 0, got {zero}"),
        )
        for holds, place, reason in checks:
            if not holds:
                raise TapeError(path, place, reason)
        text = self.take(text_bytes, f"{text_bytes} bytes of metadata")
        place = self.offset
        self.chain = self.take(_HASH_BYTES, "the header's hash")
        if _digest(fixed, text) != self.chain:
            raise TapeError(path, place, "header hash: the header was altered")
        self.metadata = _decode_metadata(path, text, markets)
        self.block_records = block
        self.records = 0
        self.time_ns = 0

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; the length is checked against the file before reading."""
        left = self.size - self.offset
        if count > left:
            raise TapeError(self.path, self.offset, f"torn: expected {what}, {left} bytes left")
        data = self.file.read(count)
        if len(data) != count:
            raise TapeError(self.path, self.offset, f"torn: expected {what}, the file shrank")
        self.offset += count
        return data

    def take_rows(self, count: int) -> np.ndarray:
        left = self.size - self.offset
        if count * COMMAND.itemsize > left:
            reason = f"torn: expected {count} rows, {left} bytes left"
            raise TapeError(self.path, self.offset, reason)
        rows = np.empty(count, COMMAND)
        if self.file.readinto(rows.view(np.uint8).data) != rows.nbytes:
            raise TapeError(self.path, self.offset, f"torn: expected {count} rows, file shrank")
        self.offset += rows.nbytes
        return rows

    def next_block(self) -> np.ndarray | None:
        """The next block's rows, checked; None after a valid end block."""
        start = self.offset
        fields = self.take(_BLOCK.size, "a block or the end block")
        count, seq = _BLOCK.unpack(fields)
        chain = self.take(_HASH_BYTES, "a block's hash")
        if count == 0:
            self._end(start, fields, seq, chain)
            return None
        if count > self.block_records:
            reason = f"records: expected at most {self.block_records}, got {count}"
            raise TapeError(self.path, start, reason)
        if seq != self.records + 1:
            reason = f"first seq: expected {self.records + 1}, got {seq}"
            raise TapeError(self.path, start + 4, reason)
        if self.records % self.block_records:
            raise TapeError(self.path, start, "expected the end block after a short block")
        place = self.offset
        rows = self.take_rows(count)
        if self.verify and _digest(self.chain, fields, rows.view(np.uint8).data) != chain:
            reason = f"block hash: the block of {count} rows that begins here was altered"
            raise TapeError(self.path, start, reason)
        fault = _first_fault(rows, self.time_ns, len(self.metadata.markets))
        if fault is not None:
            row, byte, reason = fault
            raise TapeError(self.path, place + row * COMMAND.itemsize + byte, reason)
        self.time_ns = int(rows["time_ns"][-1])
        self.chain = chain
        self.records += count
        return rows

    def _end(self, start: int, fields: bytes, total: int, chain: bytes) -> None:
        if total != self.records:
            reason = f"total count: expected {self.records}, got {total}"
            raise TapeError(self.path, start + 4, reason)
        if self.verify and _digest(self.chain, fields) != chain:
            raise TapeError(self.path, start + _BLOCK.size, "end hash: altered")
        if self.offset != self.size:
            reason = f"expected the end of the file, {self.size - self.offset} bytes follow"
            raise TapeError(self.path, self.offset, reason)
        self.chain = chain

    def info(self) -> TapeInfo:
        return TapeInfo(
            metadata=self.metadata,
            format_version=c.FORMAT_VERSION,
            block_records=self.block_records,
            records=self.records,
            file_bytes=self.size,
            tape_hash=self.chain.hex(),
        )


def _open(path: Path) -> io.BufferedReader:
    try:
        return open(path, "rb")
    except OSError as error:
        raise TapeError(path, 0, f"{error.strerror}") from None


def read_tape(path: Path | str, verify: bool = True) -> Iterator[np.ndarray]:
    """Yield the rows block by block: new writable C-contiguous arrays, shape (n,), dtype COMMAND.

    Damage raises TapeError before the damaged block is handed out; blocks before it were sound.
    Use `verify_tape` first where nothing may be applied of a damaged tape. `verify=False` leaves
    out the hashes and keeps every other check. Memory is bounded by one block.
    """
    path = Path(path)
    with _open(path) as file:
        reader = _Reader(path, file, verify)
        while (rows := reader.next_block()) is not None:
            yield rows


def verify_tape(path: Path | str) -> TapeInfo:
    """Read the whole tape, check everything and describe it; raises TapeError."""
    path = Path(path)
    with _open(path) as file:
        reader = _Reader(path, file, True)
        while reader.next_block() is not None:
            pass
        return reader.info()


def tape_info(path: Path | str) -> TapeInfo:
    """Describe a tape from its header and end block; the rows between are not read.

    The file must have exactly the size its end block announces, so a torn tape is refused here
    too; altered rows are found only by reading them.
    """
    path = Path(path)
    with _open(path) as file:
        reader = _Reader(path, file, False)
        first = reader.offset
        end = reader.size - _BLOCK_BYTES
        if end < first:
            raise TapeError(path, first, "torn: expected an end block")
        file.seek(end)
        reader.offset = end
        count, total = _BLOCK.unpack(reader.take(_BLOCK.size, "the end block"))
        if count != 0:
            raise TapeError(path, end, "torn: expected an end block")
        blocks = -(-total // reader.block_records)
        expected = first + blocks * _BLOCK_BYTES + total * COMMAND.itemsize
        if expected != end:
            raise TapeError(path, end, f"total count: {total} rows would end at byte {expected}")
        reader.chain = reader.take(_HASH_BYTES, "the tape hash")
        reader.records = total
        return reader.info()
