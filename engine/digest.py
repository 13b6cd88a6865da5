"""Canonical rows to digests: one for the stream of events, one for the state after it.

The compiled core and the rulebook hand over the same rows, so equal behaviour gives equal bytes
here and a difference of one unit gives another digest. This file sees rows and events only,
never the inside of either implementation, and decides nothing about what the rows mean.
"""

import hashlib
import sys
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from engine.rows import EVENT

DIGEST_BYTES = 32
_EVENT_DOMAIN = b"crashtape.events"
_STATE_DOMAIN = b"crashtape.state"

Table = Sequence[tuple[int, ...]] | np.ndarray


class EventDigest:
    """Running BLAKE2b-256 over EVENT rows; the same however the rows are split into batches.

    >>> whole, split = EventDigest(), EventDigest()
    >>> events = np.zeros(3, EVENT)
    >>> whole.update(events)
    >>> split.update(events[:1]); split.update(events[1:])
    >>> whole.hexdigest() == split.hexdigest()
    True
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES, person=_EVENT_DOMAIN)

    def update(self, events: np.ndarray) -> None:
        """Append EVENT rows of shape (n,); TypeError if they have another dtype."""
        if events.dtype != EVENT:
            raise TypeError(f"expected rows of dtype EVENT, got {events.dtype}")
        if len(events):
            self._hash.update(np.ascontiguousarray(events).view(np.uint8).data)

    def digest(self) -> bytes:
        """The 32 bytes over all rows so far; more rows may follow."""
        return self._hash.digest()

    def hexdigest(self) -> str:
        """`digest()` as 64 hexadecimal digits."""
        return self._hash.hexdigest()


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


def _words(values) -> bytes:
    """Integers as little-endian int64; `array` refuses floats where numpy would truncate."""
    words = array("q", values)
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()
