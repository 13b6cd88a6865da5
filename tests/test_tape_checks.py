"""What stands behind the hashes of a tape: its checks, its identity, the version before, XXH3."""

import hashlib
import io
import struct

import numpy as np
import pytest
from test_tape import (
    BLOCK_RECORDS,
    FIXED_BYTES,
    HEAD_BYTES,
    header_bytes,
    read_all,
    rows_of,
    write,
)

from engine import constants as c
from engine import tape
from engine.core import checksum
from engine.rows import COMMAND
from engine.tape import TapeError, read_tape, tape_info, verify_tape
from engine.tape_layout import CHUNK_BYTES


@pytest.fixture
def tape_bytes(tmp_path):
    write(tmp_path / "good.tape", rows_of(10))
    return (tmp_path / "good.tape").read_bytes()


def hashed(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


def first_version(data: bytes, rows: np.ndarray) -> bytes:
    """The same rows and metadata as version 1 wrote them, in blocks of BLOCK_RECORDS."""
    text_end = FIXED_BYTES + struct.unpack_from("<I", data, 24)[0]
    header = data[:8] + struct.pack("<I", 1) + data[12:text_end]
    parts, chain = [header, hashed(header)], hashed(header)
    for start in range(0, len(rows), BLOCK_RECORDS):
        block = rows[start : start + BLOCK_RECORDS]
        fields = struct.pack("<IQ", len(block), start + 1)
        chain = hashed(chain, fields, block.tobytes())
        parts += [fields, chain, block.tobytes()]
    end = struct.pack("<IQ", 0, len(rows))
    return b"".join([*parts, end, hashed(chain, end)])


def with_new_checks(data: bytes) -> bytearray:
    """The sums and checks of every block as its rows are, as who alters a tape could write them."""
    data, place = bytearray(data), header_bytes(data)
    text_end = FIXED_BYTES + struct.unpack_from("<I", data, 24)[0]
    check, words = bytes(data[text_end : text_end + 16]), checksum.working_memory()
    while place < len(data):
        count = struct.unpack_from("<I", data, place)[0]
        first, size = place + HEAD_BYTES, count * COMMAND.itemsize
        if count:
            rows = np.frombuffer(bytes(data[first : first + size]), COMMAND)
            checksum.scan_rows(rows.ctypes.data, count, 0, 2, words.ctypes.data)
            data[place + 16 : place + 32] = words[checksum.SUM : checksum.SUM + 2].tobytes()
        check = hashed(check, bytes(data[place : place + 48]))
        data[place + 48 : place + 64] = check
        place = first + size
    return data


@pytest.mark.parametrize("count", [0, 3, 4, 10])
def test_version_1_is_read_and_its_hash_is_the_hash(tmp_path, count):
    rows, path = rows_of(count), tmp_path / "a.tape"
    written = write(path, rows)
    (tmp_path / "old.tape").write_bytes(first_version(path.read_bytes(), rows))
    assert np.array_equal(read_all(tmp_path / "old.tape"), rows)
    old, new = verify_tape(tmp_path / "old.tape"), verify_tape(path)
    assert old == tape_info(tmp_path / "old.tape")
    assert (old.format_version, new.format_version) == (1, 2)
    assert old.tape_hash == new.tape_hash == written.tape_hash


def test_every_altered_byte_of_version_1_is_refused(tmp_path, tape_bytes):
    path, data = tmp_path / "bad.tape", first_version(tape_bytes, rows_of(10))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        with pytest.raises(TapeError) as caught:
            read_all(path)
        assert 0 <= caught.value.offset <= len(data)
        path.write_bytes(data[:place])
        for read in (read_all, tape_info, lambda p: read_all(p, verify=False)):
            with pytest.raises(TapeError):
                read(path)


def test_other_rows_with_sound_checks_are_found_by_the_identity_alone(tmp_path, tape_bytes):
    """Whoever alters rows can make the checks anew; the tape hash is out of reach."""
    path, place = tmp_path / "other.tape", header_bytes(tape_bytes) + HEAD_BYTES + 24
    assert with_new_checks(tape_bytes) == tape_bytes
    damaged = bytearray(tape_bytes)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(TapeError, match="block hash: the block of 4 rows"):
        read_all(path)
    path.write_bytes(with_new_checks(damaged))
    assert len(read_all(path)) == 10
    for read in (verify_tape, lambda p: list(read_tape(p, identity=True))):
        with pytest.raises(TapeError, match="identity: the 4 rows") as caught:
            read(path)
        assert caught.value.offset == header_bytes(tape_bytes)


# What the reference implementation (xxhash 0.8) gives for so many bytes, each 7 times its place
# plus 3 modulo 251; the high word first.
XXH3_128 = {
    4: "49b3727bdba671d64b4e8e282020e66e",
    14: "cf63bb8ba4cd7ff5ebc96ba11677f5a3",
    113: "7b67e2839222b75d3dd292bf598f3c7b",
    114: "99fd80a0776b3f41bc7607314d3139b2",
    127: "702bb56bedcd5ae89b54115d4f851be0",
    128: "706881832d835e09d77c6434452cb7d0",
    129: "5174ab3ea3baaac0a3284b3fb3bcd55b",
    1000: "bc9aa17408b9490cfb92dd7d05127d0f",
}


@pytest.mark.parametrize("count", XXH3_128)
def test_the_sum_of_rows_is_the_published_hash(count):
    data = (np.arange(count * COMMAND.itemsize) * 7 + 3) % 251
    rows, words = data.astype(np.uint8).view(COMMAND), checksum.working_memory()
    checksum.scan_rows(rows.ctypes.data, count, 0, 1, words.ctypes.data)
    high_first = words[checksum.SUM : checksum.SUM + 2][::-1].astype(">i8")
    assert high_first.tobytes().hex() == XXH3_128[count]


FAULTS = [
    *(("kind", kind) for kind in range(-1, 80) if kind not in list(c.CommandKind)),
    *(("kind", kind) for kind in (128, 2**15 - 1, -(2**15), 1 - 2**15)),
    *(("market_id", market) for market in (3, 2**16, 2**31 - 1, -1, -(2**31))),
    *(("reserved", value) for value in (1, 2**15 - 1, -1, -(2**15))),
    *(("time_ns", time) for time in (999, 0, -1, -(2**63), c.TIME_MAX_NS + 1, 2**63 - 1)),
]


@pytest.mark.parametrize("summed", [False, True])
def test_the_first_fault_is_found_wherever_it_stands(summed):
    rows, words = rows_of(300), checksum.working_memory()
    at, work_at = rows.ctypes.data, words.ctypes.data if summed else 0
    assert checksum.scan_rows(at, 300, 1_000, 2, work_at) == 300
    assert checksum.scan_rows(at, 300, 1_001, 2, work_at) == 0
    for row in (0, 1, 126, 127, 128, 129, 255, 256, 299):
        kept = rows[row].copy()
        for field, value in FAULTS:
            rows[field][row] = value
            rows["reserved"][299] = 1  # a later fault changes nothing
            assert checksum.scan_rows(at, 300, 1_000, 2, work_at) == row
            rows["reserved"][299], rows[row] = 0, kept


@pytest.mark.parametrize("row", range(16))
def test_one_of_eight_rows_is_enough(row):
    """Rows are checked in eights, of which nothing but the checked fields may decide."""
    sound = np.frombuffer(np.random.default_rng(row).bytes(17 * 72), np.uint8).view(COMMAND).copy()
    sound["time_ns"], sound["market_id"] = 2_000 + np.arange(17), np.arange(17) % 3
    sound["kind"], sound["reserved"] = list(c.CommandKind)[:17], 0
    unaligned = np.zeros(17 * 72 + 1, np.uint8)[1:].view(COMMAND)
    for rows in (sound.copy(), unaligned):
        rows[:] = sound
        at = rows.ctypes.data
        assert checksum.scan_rows(at, 17, 2_000, 2, 0) == 17
        for field, value in (
            *FAULTS,
            ("time_ns", int(sound["time_ns"][row - 1 if row else 0]) - 1),
        ):
            rows[field][row] = value
            assert checksum.scan_rows(at, 17, 2_000, 2, 0) == row, (field, value)
            rows[row] = sound[row]
        rows["time_ns"][: row + 1] = c.TIME_MAX_NS
        assert checksum.scan_rows(at, 17, c.TIME_MAX_NS, 2, 0) == row + 1


def test_a_file_is_written_in_pieces_of_one_large_page(tmp_path, monkeypatch):
    """A system that writes such pieces where they begin on one keeps each as one page."""
    rows, sizes = rows_of(70_000), []

    class Sizes(io.FileIO):
        def write(self, data):
            sizes.append((self.tell(), len(data)))
            return super().write(data)

    monkeypatch.setattr(tape, "open", lambda path, mode: io.BufferedWriter(Sizes(path, "w")), False)
    write(tmp_path / "a.tape", rows, 16_384, pieces=7)
    monkeypatch.undo()
    total = (tmp_path / "a.tape").stat().st_size
    starts = range(0, total, CHUNK_BYTES)
    assert sizes == [(start, min(CHUNK_BYTES, total - start)) for start in starts]
    assert np.array_equal(read_all(tmp_path / "a.tape"), rows)
