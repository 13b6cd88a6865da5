"""A snapshot: the State block at one command, in one file that is whole or not there.

All numbers are little-endian:

    header  magic 8s, format version u32, metadata bytes u32, digest bytes u32, pages u32
    rest    metadata (canonical JSON), state of the event digest, page numbers u32 each,
            pages of 4,096 bytes, BLAKE2b-256 of everything before

Only pages that hold something are written: most of a book is empty. Addresses are left out; they
are those of the process that opens the snapshot. The hash finds accidents; it carries no key, and
compiled code trusts the links inside a block, so a snapshot is no format to take from strangers.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from engine import constants as c
from engine.core.kernel import FIRST_PART_WORD, PART_WORDS
from engine.core.records import TABLES
from engine.core.state import H
from engine.core.tables import Block
from engine.digest import EventDigest
from engine.disk import Disk, replace_file
from engine.exchange import Exchange
from engine.journal import JournalError

MAGIC = b"CRASHSNP"
SNAPSHOT = "snapshot"
PAGE_BYTES = 4_096
METADATA_BYTES_MAX = 2**20

_HEADER = struct.Struct("<8sIIII")
_HASH_BYTES = 32
_PAGE_WORDS = PAGE_BYTES // 8
_SCAN_PAGES = 4_096  # looked through at once for what is not zero
# Words of the header that belong to a process, not to a state.
_OWN_WORDS: list[int] = [word for word in H if word.name.endswith("_AT")]
_OWN_WORDS += [H.EVENTS_COUNT, H.EVENTS_ROWS, H.CHECK_INDEX]
_OWN_WORDS += list(range(FIRST_PART_WORD, FIRST_PART_WORD + PART_WORDS))

Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*$", max_length=64)]


class SnapshotMetadata(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which state this is: of which core and profile, at which command of which journal."""

    core: Hex
    profile_hash: Hex
    seq: Annotated[int, Meta(ge=0)]
    journal_chain: Hex
    state_digest: Hex
    tables: dict[str, int]  # rows of every table


@dataclass(frozen=True)
class Snapshot:
    """A snapshot read and checked: `pages` has shape (n, 512), int64."""

    metadata: SnapshotMetadata
    digest: EventDigest
    numbers: np.ndarray
    pages: np.ndarray


@cache
def core_version() -> str:
    """Hash of every source that decides what a State block means: 32 hexadecimal digits."""
    here = Path(__file__).parent
    shared = [here / f"{name}.py" for name in ("constants", "bearers", "rows", "units", "venue")]
    running = hashlib.blake2b(digest_size=16)
    for path in [*shared, *sorted((here / "core").glob("*.py"))]:
        data = path.read_bytes()
        running.update(f"{path.name} {len(data)} ".encode())
        running.update(data)
    return running.hexdigest()


def _used_words(block: Block) -> np.ndarray:
    """The words of a block, without what alignment left over behind its last table."""
    ends = (block.offsets[name] + rows * TABLES[name].itemsize for name, rows in block.rows.items())
    return block.words[: -(-max(ends) // 8)]


def _pages(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and contents of the pages that are not all zero; addresses count as zero."""
    numbers, pages = [], []
    step = _SCAN_PAGES * _PAGE_WORDS
    for start in range(0, len(words), step):
        part = words[start : start + step]
        whole = np.zeros(-(-len(part) // _PAGE_WORDS) * _PAGE_WORDS, np.int64)
        whole[: len(part)] = part
        if start == 0:
            whole[_OWN_WORDS] = 0
        rows = whole.reshape(-1, _PAGE_WORDS)
        used = np.flatnonzero(rows.any(axis=1))
        numbers.append(used + start // _PAGE_WORDS)
        pages.append(rows[used])
    return np.concatenate(numbers).astype("<u4"), np.concatenate(pages)


def write_snapshot(
    path: Path, exchange: Exchange, digest: EventDigest, seq: int, chain: bytes, disk: Disk
) -> None:
    """Write the state of an exchange after command `seq`, where a journal's chain is `chain`.

    `digest` has taken every event so far. Raises OSError; an older snapshot is then intact.
    """
    metadata = SnapshotMetadata(
        core=core_version(),
        profile_hash=exchange.profile.hash(),
        seq=seq,
        journal_chain=chain.hex(),
        state_digest=exchange.digest(),
        tables=exchange.block.rows,
    )
    text = msgspec.json.encode(metadata, order="deterministic")
    numbers, pages = _pages(_used_words(exchange.block))
    state = digest.state()
    header = _HEADER.pack(MAGIC, c.FORMAT_VERSION, len(text), len(state), len(numbers))
    data = pages.reshape(-1).view(np.uint8).data
    pieces: list[bytes | memoryview] = [header + text + state + numbers.tobytes(), data]
    running = hashlib.blake2b(digest_size=_HASH_BYTES)
    for piece in pieces:
        running.update(piece)
    replace_file(disk, path, [*pieces, running.digest()])


def read_snapshot(path: Path) -> Snapshot:
    """Read and check a snapshot file; JournalError names the byte that is wrong.

    Memory is bounded by the size of the file, which must be what its header announces.
    """
    with open(path, "rb") as file:
        size = path.stat().st_size
        fixed = file.read(_HEADER.size)
        if len(fixed) < _HEADER.size:
            raise JournalError(path, len(fixed), "torn: expected a header")
        magic, version, text_bytes, digest_bytes, count = _HEADER.unpack(fixed)
        if magic != MAGIC:
            raise JournalError(path, 0, f"magic: expected {MAGIC!r}, got {magic!r}")
        if version != c.FORMAT_VERSION:
            reason = f"format version: expected {c.FORMAT_VERSION}, got {version}"
            raise JournalError(path, 8, reason)
        if text_bytes > METADATA_BYTES_MAX:
            raise JournalError(path, 12, f"metadata bytes: at most {METADATA_BYTES_MAX}")
        end = _HEADER.size + text_bytes + digest_bytes + count * (4 + PAGE_BYTES) + _HASH_BYTES
        if end != size:
            raise JournalError(path, min(end, size), f"expected {end} bytes, found {size}")
        rest = file.read(size - _HEADER.size)
    if len(rest) != size - _HEADER.size:
        raise JournalError(path, len(rest), "torn: the file shrank")
    body = memoryview(rest)[:-_HASH_BYTES]
    running = hashlib.blake2b(fixed, digest_size=_HASH_BYTES)
    running.update(body)
    if running.digest() != rest[-_HASH_BYTES:]:
        raise JournalError(path, size - _HASH_BYTES, "hash: the snapshot was altered")
    try:
        metadata = msgspec.json.decode(body[:text_bytes], type=SnapshotMetadata)
        digest = EventDigest.resumed(bytes(body[text_bytes : text_bytes + digest_bytes]))
    except (msgspec.MsgspecError, ValueError) as error:
        raise JournalError(path, _HEADER.size, str(error)) from None
    place = text_bytes + digest_bytes
    numbers = np.frombuffer(body[place : place + 4 * count], "<u4").astype(np.int64)
    pages = np.frombuffer(body[place + 4 * count :], "<i8").reshape(count, _PAGE_WORDS)
    return Snapshot(metadata, digest, numbers, pages)


def restore(path: Path, snapshot: Snapshot, exchange: Exchange) -> None:
    """Put a snapshot into an exchange that has taken no command yet.

    Raises JournalError where it is of another core, profile or size, or where the restored
    state has not the digest it had; the exchange must then not be used.
    """
    metadata = snapshot.metadata
    checks = (
        ("core", metadata.core, core_version()),
        ("profile", metadata.profile_hash, exchange.profile.hash()),
        ("tables", metadata.tables, exchange.block.rows),
    )
    for what, found, expected in checks:
        if found != expected:
            raise JournalError(path, _HEADER.size, f"{what}: expected {expected}, got {found}")
    words = _used_words(exchange.block)
    last = -(-len(words) // _PAGE_WORDS) - 1
    numbers = snapshot.numbers
    if len(numbers) and (numbers[-1] > last or (np.diff(numbers) <= 0).any()):
        raise JournalError(path, _HEADER.size, f"page numbers: expected rising, up to {last}")
    check_index = words[H.CHECK_INDEX]
    for number in np.setdiff1d(_pages(words)[0], numbers).tolist():
        words[number * _PAGE_WORDS : (number + 1) * _PAGE_WORDS] = 0
    for number, page in zip(numbers.tolist(), snapshot.pages, strict=True):
        place = words[number * _PAGE_WORDS : (number + 1) * _PAGE_WORDS]
        place[:] = page[: len(place)]
    words[H.CHECK_INDEX] = check_index
    exchange.relink()
    if int(words[H.SEQ]) != metadata.seq or exchange.digest() != metadata.state_digest:
        raise JournalError(path, 0, "state digest: the restored state is not the one recorded")
