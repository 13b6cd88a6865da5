"""Bytes of a file as whole lines: plain, gzip, zip, zstandard or lz4, told apart by themselves.

A file is read in chunks, so memory does not grow with it and a small archive cannot unpack into
a large one. The name of a file says nothing: its first bytes do.
"""

import gzip
import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from engine.importers.common import FormatCode, FormatError, source_name

CHUNK_BYTES = 2**22  # unpacked text held at once
LINE_BYTES_MAX = 2**22  # a longer line is not one of these formats

# What the standard library raises on damaged archives: headers, names, checksums, methods.
UNPACK_ERRORS = (
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
)
# What the decoder of JSON raises; the last one where a message is nested too deeply.
JSON_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_ZLIB_DIVISOR = 31  # the first two bytes of a zlib stream are a multiple of it
_FRAMES = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_MEMBERS = (".csv", ".data", ".json", ".jsonl")  # what the one file in a zip may be called


class _Frames:
    """A reader of zstandard or lz4 frames whose damage is an EOFError like that of the others."""

    def __init__(self, file: BinaryIO, codec: str) -> None:
        import pyarrow  # half a second that files without frames need not wait for

        self._errors = (pyarrow.ArrowException, OSError)
        self._stream: Any = pyarrow.CompressedInputStream(file, codec)
        self._piece = bytearray()

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; b"" at the end.

        Into memory of our own: what the stream takes for itself it keeps after an error.
        """
        if len(self._piece) < count:
            self._piece = bytearray(count)
        try:
            found = self._stream.readinto(memoryview(self._piece)[:count])
        except self._errors as error:
            raise EOFError(f"{error}") from None
        return bytes(memoryview(self._piece)[:found])


@contextmanager
def open_bytes(path: Path | str) -> Iterator[Any]:
    """Open a file for `read(count)`: plain, gzip, zstandard, lz4, or a zip of exactly one member.

    Damage met while reading is raised as FormatError.
    """
    source = source_name(path)
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    yield unpacked
            elif magic[:2] == b"PK":
                with zipfile.ZipFile(file) as archive, archive.open(_member(archive, source)) as m:
                    yield m
            elif magic in _FRAMES:
                yield _Frames(file, _FRAMES[magic])
            else:
                yield file
    except UNPACK_ERRORS as error:
        raise FormatError(source, "", "", FormatCode.TORN, f"{error}") from None
    except OSError as error:
        raise FormatError(source, "", "", FormatCode.UNREADABLE, f"{error.strerror}") from None


def _member(archive: zipfile.ZipFile, source: str) -> zipfile.ZipInfo:
    members = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    if len(members) != 1 or not members[0].filename.lower().endswith(_MEMBERS):
        names = ", ".join(entry.filename for entry in members[:3])
        wanted = ", ".join(_MEMBERS)
        reason = f"expected exactly one {wanted} in the zip, got {len(members)} files: {names}"
        raise FormatError(source, "", "", FormatCode.CONTENTS, reason)
    if members[0].flag_bits & 1:
        raise FormatError(source, "", "", FormatCode.CONTENTS, "the zip is encrypted")
    check_method(members[0], source)
    return members[0]


def check_method(member: zipfile.ZipInfo, source: str) -> None:
    """Refuse methods other than stored and deflated: a header of theirs may ask for gigabytes."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        reason = f"expected a stored or deflated file, got method {member.compress_type}"
        raise FormatError(source, "", "", FormatCode.UNSUPPORTED, reason)


def is_packed(data: bytes) -> bool:
    """Whether four bytes could be the first of gzip, zip, zlib, zstandard or lz4.

    >>> is_packed(bytes([0x78, 0x9C, 1, 2])), is_packed(b"time")
    (True, False)
    """
    zlib_stream = data[:1] == b"x" and int.from_bytes(data[:2], "big") % _ZLIB_DIVISOR == 0
    return data in _FRAMES or data[:2] in (b"\x1f\x8b", b"PK") or zlib_stream


def array_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of an array file. Raises ValueError.

    Version 1.0 only: its length has two bytes, where a later one could ask for gigabytes.
    """
    wrong = (ValueError, OverflowError, RecursionError, SyntaxError, tokenize.TokenError, Warning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("expected an array header of version 1.0")
            return np.lib.format.read_array_header_1_0(file)
    except wrong as error:
        raise ValueError(f"no header of an array: {error}") from None


def lines_in(chunk: bytes) -> int:
    """Line feeds in a chunk, many at a time."""
    return int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == ord("\n")))


def read_lines(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """Yield (number of its first line from 1, whole lines) in chunks of about CHUNK_BYTES.

    Each chunk ends with a line feed; one is supplied where the file ends without.
    """
    source = source_name(path)
    with open_bytes(path) as file:
        first_line, rest = 1, b""
        while data := file.read(CHUNK_BYTES):
            end = data.rfind(b"\n") + 1
            if end == 0:
                rest += data
                if len(rest) > LINE_BYTES_MAX:
                    place = f"line {first_line}"
                    reason = f"a line of more than {LINE_BYTES_MAX} bytes"
                    raise FormatError(source, place, "", FormatCode.TEXT, reason)
                continue
            chunk = rest + data[:end]
            rest = data[end:]
            yield first_line, chunk
            first_line += lines_in(chunk)
        if rest:
            yield first_line, rest + b"\n"
