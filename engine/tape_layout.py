"""What a tape is made of: COMMAND rows in hash-chained blocks of fixed size.

A tape is one file: a header, blocks of at most `block_records` rows, and an end block. Every
block but the last is full, so the bytes and the tape hash do not depend on how the rows were
handed over. All numbers are little-endian. Blocks of a multiple of 8 rows begin on cache lines.

    header  magic 8s, format version u32, record bytes u32, block records u32, markets u32,
            metadata bytes u32, zero u32, metadata (canonical JSON), seed 16 bytes, zeros up to a
            multiple of 64 bytes
    block   records u32 (1 or more), zero u32, first seq u64, sum of the rows 16 bytes, identity
            16 bytes, check 16 bytes, rows
    end     a head: records u32 = 0, zero u32, total count u64, zeros 16 bytes, identity, check

Two chains run through the blocks. *Checks* find damage at the speed of memory and are met by
every reading: the seed is BLAKE2b-128 of the header before it, a check that of the check before
and of the 48 bytes of its head, where `sum` is XXH3-128 of the rows (`core/checksum.py`). They
keep nobody from forging. The *identity* is cryptographic and says which rows these are: BLAKE2b-128
of the identity before, the records (u32), the first seq (u64) and the rows; the first one follows
from the header as version 1 had it. The last identity is the tape hash. It is computed anew where
rows stand for a hash that was written down: `verify_tape`, or `identity=True`. Neither carries a
key, so neither says who wrote the tape.

Version 1, which is still read, had a block head of records u32, first seq u64 and identity, and no
other hash.

What the rows mean is decided by the exchange. Public formats are turned into rows by `importers`.
"""

import hashlib
import struct
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from engine import constants as c
from engine.core.checksum import SUM, scan_rows, working_memory
from engine.refusal import Refusal
from engine.rows import COMMAND

MAGIC = b"CRASHTAP"
VERSION = 2
VERSIONS_READ = (1, VERSION)
BLOCK_RECORDS_DEFAULT = 16_384  # 1.2 MB: what is done once a block does not count
BLOCK_RECORDS_MAX = 2**20  # 72 MiB: bounds the memory one damaged length can ask for
METADATA_BYTES_MAX = 2**20

HEADER = struct.Struct("<8sIIIIII")
HEAD = struct.Struct("<IIQ16s16s")  # a check follows
HEAD_1 = struct.Struct("<IQ16s")  # of version 1
IDENTITY = struct.Struct("<IQ")  # what of a head is part of the identity
HASH_BYTES = 16
LINE_BYTES = 64
CHUNK_BYTES = 2**21  # written at once: Linux can then keep and map it as one page of that size
NO_SUM = bytes(HASH_BYTES)
_PLACES = {name: place for name, (_, place, *_) in (COMMAND.fields or {}).items()}
_KINDS = frozenset(int(kind) for kind in c.CommandKind)
HEAD_BYTES = {1: HEAD_1.size, VERSION: HEAD.size + HASH_BYTES}


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


class Head(NamedTuple):
    """What stands before the rows of a block; version 1 has neither sum nor check."""

    records: int
    seq: int
    identity: bytes
    rows_sum: bytes
    check: bytes
    checked: bytes  # the bytes that the check covers


def digest(*parts: bytes | memoryview) -> bytes:
    """BLAKE2b-128 of the parts one after the other."""
    state = hashlib.blake2b(digest_size=HASH_BYTES)
    for part in parts:
        state.update(part)
    return state.digest()


def _fault(row: np.void, time_ns: int, markets_count: int) -> tuple[int, str]:
    """What is wrong with a row that `scan_rows` stopped at: the byte of its field, the reason.

    `time_ns` is the time of the row before it.
    """
    now_ns, market_id = int(row["time_ns"]), int(row["market_id"])
    checks = (
        (0 <= now_ns <= c.TIME_MAX_NS, "time_ns", f"0 to {c.TIME_MAX_NS}"),
        (now_ns >= time_ns, "time_ns", "time that does not go backwards"),
        (int(row["kind"]) in _KINDS, "kind", "a known command kind"),
        (row["reserved"] == 0, "reserved", "0"),
        (0 <= market_id <= markets_count, "market_id", f"0 to {markets_count}"),
    )
    for holds, field, expected in checks:
        if not holds:
            return _PLACES[field], f"{field}: expected {expected}, got {row[field]}"
    raise AssertionError("the scan stopped at a row without a fault")


class Scan:
    """Rows looked at one after the other, each part in one pass over its memory."""

    def __init__(self, markets_count: int) -> None:
        self.markets_count = markets_count
        self.time_ns = 0  # of the last row of all parts so far
        self._words = working_memory()
        self._words_at = self._words.ctypes.data
        self._sum = self._words.data.cast("B")[8 * SUM : 8 * (SUM + 2)]

    def sum(self, rows: np.ndarray, at: int) -> bytes:
        """XXH3-128 of rows that were checked before and lie at the address `at`."""
        scan_rows(at, len(rows), 0, self.markets_count, self._words_at)
        return bytes(self._sum)

    def check(self, rows: np.ndarray, at: int, summed: bool) -> tuple[bytes, int]:
        """(sum or zeros, the first row that no tape may hold, or their number)."""
        work_at = self._words_at if summed else 0
        fault = scan_rows(at, len(rows), self.time_ns, self.markets_count, work_at)
        return bytes(self._sum) if summed else NO_SUM, fault

    def fault(self, rows: np.ndarray, row: int) -> tuple[int, str]:
        """The byte of the field that is wrong in a row, and why."""
        before = int(rows["time_ns"][row - 1]) if row else self.time_ns
        return _fault(rows[row], before, self.markets_count)


def first_identity(fixed: bytes, text: bytes) -> bytes:
    """Where the identity begins: the header as version 1 had it, so that equal rows under equal
    metadata have one hash whatever the version of the file."""
    magic, _, *rest = HEADER.unpack(fixed)
    return digest(HEADER.pack(magic, 1, *rest), text)


def sizes_of(path: Path, fixed: bytes) -> tuple[int, int, int, int]:
    """Version, block records, markets and metadata bytes of a header, each within its bounds."""
    magic, version, record, block, markets, text_bytes, zero = HEADER.unpack(fixed)
    checks = (
        (magic == MAGIC, 0, f"magic: expected {MAGIC!r}, got {magic!r}"),
        (version in VERSIONS_READ, 8, f"format version: expected 1 or {VERSION}, got {version}"),
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
    return version, block, markets, text_bytes


def decode_metadata(path: Path, text: bytes, markets_count: int) -> TapeMetadata:
    """Decode the header's JSON; it must be the canonical text of what it says."""
    if len(text) > METADATA_BYTES_MAX:
        raise TapeError(path, HEADER.size, f"metadata: at most {METADATA_BYTES_MAX} bytes")
    try:
        metadata = msgspec.json.decode(text, type=TapeMetadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TapeError(path, HEADER.size, f"metadata: {error}") from None
    if msgspec.json.encode(metadata, order="deterministic") != text:
        raise TapeError(path, HEADER.size, "metadata: expected canonical JSON")
    if len(metadata.markets) != markets_count:
        raise TapeError(path, HEADER.size, f"metadata: expected {markets_count} markets")
    return metadata
