"""Canonical rows to digests: one for the stream of events, one for the state after it.

The compiled core and the rulebook hand over the same rows, so equal behaviour gives equal bytes
here and a difference of one unit gives another digest. This file sees rows and events only,
never the inside of either implementation, and decides nothing about what the rows mean.
"""

import hashlib
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from engine.rows import EVENT

DIGEST_BYTES = 32
_EVENT_DOMAIN = b"crashtape.events"
_STATE_DOMAIN = b"crashtape.state"
_BLOCK_ROWS = 4_096
_BLOCK_BYTES = _BLOCK_ROWS * EVENT.itemsize
_STATE_BYTES = 8 + DIGEST_BYTES

Table = Sequence[tuple[int, ...]] | np.ndarray


class EventDigest:
    """Running hash over EVENT rows; the same however the rows are split into batches.

    Rows are hashed in blocks of 4,096: a chain value is BLAKE2b-256 of the one before (32 zero
    bytes at first) and a full block, the digest that of the chain value, the rows that fill no
    block yet and the number of all rows (u64). So what it knows can be kept (`state`) and gone
    on with in another process (`resumed`).

    >>> whole, split = EventDigest(), EventDigest()
    >>> events = np.zeros(3, EVENT)
    >>> whole.update(events)
    >>> split.update(events[:1])
    >>> split = EventDigest.resumed(split.state())
    >>> split.update(events[1:])
    >>> whole.hexdigest() == split.hexdigest()
    True
    """

    def __init__(self) -> None:
        self._chain = bytes(DIGEST_BYTES)
        self._rest = bytearray()  # of the block that is not full yet
        self.count = 0

    def update(self, events: np.ndarray) -> None:
        """Append EVENT rows of shape (n,); TypeError if they have another dtype."""
        if events.dtype != EVENT:
            raise TypeError(f"expected rows of dtype EVENT, got {events.dtype}")
        if len(events) == 0:
            return
        self.count += len(events)
        data = np.ascontiguousarray(events).view(np.uint8).data
        taken = 0
        if self._rest:
            taken = min(len(data), _BLOCK_BYTES - len(self._rest))
            self._rest += data[:taken]
            if len(self._rest) < _BLOCK_BYTES:
                return
            self._chain = self._hash(self._rest)
            self._rest = bytearray()
        while len(data) - taken >= _BLOCK_BYTES:
            self._chain = self._hash(data[taken : taken + _BLOCK_BYTES])
            taken += _BLOCK_BYTES
        self._rest += data[taken:]

    def _hash(self, rows: bytes | bytearray | memoryview, more: bytes = b"") -> bytes:
        running = hashlib.blake2b(self._chain, digest_size=DIGEST_BYTES, person=_EVENT_DOMAIN)
        running.update(rows)
        running.update(more)
        return running.digest()

    def digest(self) -> bytes:
        """The 32 bytes over all rows so far; more rows may follow."""
        return self._hash(self._rest, self.count.to_bytes(8, "little"))

    def hexdigest(self) -> str:
        """`digest()` as 64 hexadecimal digits."""
        return self.digest().hex()

    def state(self) -> bytes:
        """Everything there is to know, in at most 360,488 bytes."""
        return self.count.to_bytes(8, "little") + self._chain + bytes(self._rest)

    @classmethod
    def resumed(cls, state: bytes) -> "EventDigest":
        """The digest that gave this `state()`; ValueError if none can have given it."""
        made = cls()
        made.count = int.from_bytes(state[:8], "little")
        made._chain, made._rest = state[8:_STATE_BYTES], bytearray(state[_STATE_BYTES:])
        if len(state) != _STATE_BYTES + made.count % _BLOCK_ROWS * EVENT.itemsize:
            raise ValueError(f"state of an event digest: {len(state)} bytes are not expected")
        return made


def state_digest(rows: Mapping[str, Table]) -> str:
    """BLAKE2b-256 of tables of integers, in the order of their names, as 64 hex digits.

    A table is a sequence of equally long tuples of ints or an int64 array of shape
    (rows, columns); both forms of the same table give the same digest. The order of the rows
    counts: hand them over sorted. An empty table has no columns, whatever its form. Raises
    TypeError for anything but integers, OverflowError beyond int64, ValueError for ragged rows.

    >>> one = state_digest({"accounts": [(16, -5), (17, 9)], "orders": []})
    >>> one == state_digest({"orders": [], "accounts": np.array([[16, -5], [17, 9]])})
    True
    >>> one == state_digest({"accounts": [(16, -5, 17, 9)], "orders": []})
    False
    """
    running = hashlib.blake2b(digest_size=DIGEST_BYTES, person=_STATE_DOMAIN)
    for name in sorted(rows):
        table = rows[name]
        row_count = len(table)
        column_count = len(table[0]) if row_count else 0
        encoded = name.encode()
        running.update(_words([len(encoded)]))
        running.update(encoded)
        running.update(_words([column_count, row_count]))
        if row_count:
            running.update(_table_bytes(name, table, column_count))
    return running.hexdigest()


def _table_bytes(name: str, table: Table, column_count: int) -> bytes:
    if isinstance(table, np.ndarray):
        if table.dtype != np.int64 or table.ndim != 2:
            raise TypeError(f"{name}: expected int64 of two dimensions, got {table.dtype}")
        return np.ascontiguousarray(table, dtype="<i8").tobytes()
    if any(len(row) != column_count for row in table):
        raise ValueError(f"{name}: expected {column_count} columns in every row")
    return _words(chain.from_iterable(table))


def _words(values: Iterable[int]) -> bytes:
    """Integers as little-endian int64; `array` refuses floats where numpy would truncate."""
    words = array("q", values)
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()
