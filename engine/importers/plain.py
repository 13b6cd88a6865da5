"""Plain lines of a CSV by compiled passes: where the fields lie, and exact numbers from them.

Everything here answers "as expected" or "not": nothing is refused and nothing explained. What is
not plain (quotes, other bytes than ASCII, a field too many, a number to be rounded) is read by the
parser of `table.py`, which says what is wrong with it, and where, or takes it.
"""

from collections.abc import Sequence

import numpy as np

from engine.core.kernel import JIT, entry

LIMIT = 2**62  # no number is larger
_TENTH = LIMIT // 10 - 1
_WHOLE_DIGITS_MAX, _FRACTION_DIGITS_MAX = 24, 18
_WORD_BYTES = 8
_EXPONENT_BYTES_MAX = 24  # the longest number with an exponent that `Table.expand` knows
_COMMA, _LINE_FEED, _RETURN, _QUOTE, _DOT, _ZERO, _MINUS = 44, 10, 13, 34, 46, 48, 45
_NOT_ASCII = 128


@entry
def _scan(data, columns, slots, may_be_empty, starts, ends):
    """Lines of `data`, each of exactly `columns` fields; -1 where one is anything but plain."""
    row = column = begin = np.int64(0)
    for place in range(len(data)):
        byte = data[place]
        if byte > _COMMA and byte < _NOT_ASCII:  # letters and digits: nearly every byte
            continue
        if byte != _COMMA and byte != _LINE_FEED:
            alone = byte == _RETURN and data[place + 1] != _LINE_FEED
            if byte == _QUOTE or byte >= _NOT_ASCII or alone:
                return np.int64(-1)
            continue
        slot, end = slots[column], place
        if slot >= 0:
            if byte == _LINE_FEED and end > begin and data[end - 1] == _RETURN:
                end -= 1
            if end == begin and not may_be_empty[slot]:
                return np.int64(-1)
            starts[slot, row], ends[slot, row] = begin, end
        begin = place + 1
        column += 1
        if (byte == _LINE_FEED) != (column == columns):
            return np.int64(-1)
        if byte == _LINE_FEED:
            row += 1
            column = np.int64(0)
    return row


@entry
def _numbers(data, starts, ends, decimals, dotted, out):
    """Numbers in units of 10**-decimals; whether each is one, exact and at most LIMIT."""
    for row in range(len(starts)):
        value, place, end = np.int64(0), starts[row], ends[row]
        begin = place
        while place < end and _ZERO <= data[place] <= _ZERO + 9 and value <= _TENTH:
            value = value * 10 + (data[place] - _ZERO)
            place += 1
        if place == begin or place - begin > _WHOLE_DIGITS_MAX:
            return False
        missing = decimals
        if place < end:
            if data[place] != _DOT or place + 1 == end or not dotted:
                return False
            place += 1
            if end - place > _FRACTION_DIGITS_MAX:
                return False
            while place < end:
                digit = np.int64(data[place]) - _ZERO
                if digit < 0 or digit > 9 or (missing == 0 and digit != 0) or value > _TENTH:
                    return False
                if missing > 0:
                    value = value * 10 + digit
                    missing -= 1
                place += 1
        while missing > 0:
            if value > _TENTH:
                return False
            value *= 10
            missing -= 1
        out[row] = value
    return True


@entry
def _words(data, starts, ends, lower, out):
    """Short texts as the integers their bytes are, the first byte lowest; whether all are short."""
    for row in range(len(starts)):
        first, size = starts[row], ends[row] - starts[row]
        if size > _WORD_BYTES:
            return False
        word = np.int64(0)
        for place in range(size):
            byte = np.int64(data[first + place])
            if lower and 65 <= byte <= 90:
                byte += 32
            word |= byte << (8 * place)
        out[row] = word
    return True


@entry
def _equal(data, starts, ends, text, out):
    """Which fields are this very text."""
    for row in range(len(starts)):
        first = starts[row]
        same = ends[row] - first == len(text)
        place = 0
        while same and place < len(text):
            same = data[first + place] == text[place]
            place += 1
        out[row] = same


@entry
def _hashes(data, starts, ends, out):
    """Continue a hash of each row with a field; whether none is empty or has an exponent."""
    for row in range(len(starts)):
        first, end = starts[row], ends[row]
        if first == end:
            return False
        value = out[row]
        for place in range(first, end):
            byte = np.int64(data[place])
            if byte == _MINUS and end - first <= _EXPONENT_BYTES_MAX and place > first:
                return False
            value = (value ^ byte) * 0x100000001B3
            value ^= value >> 29
        out[row] = (value ^ (end - first)) * 0x2545F4914F6CDD1D
    return True


@entry
def _distinct(values, table):
    """Whether no value comes twice; `table` is zeroed, and longer than the values."""
    mask = np.int64(len(table) - 1)
    for value in values:
        if value == 0:
            return False
        place = (value ^ (value >> 32)) & mask
        while table[place] != 0:
            if table[place] == value:
                return False
            place = (place + 1) & mask
        table[place] = value
    return True


def all_distinct(values: np.ndarray) -> bool:
    """Whether int64 hashes are surely those of different rows; False says nothing.

    >>> all_distinct(np.array([5, 7])), all_distinct(np.array([5, 7, 5]))
    (True, False)
    """
    return bool(_distinct(values, np.zeros(1 << (2 * len(values)).bit_length(), np.int64)))


class Fields:
    """Where fields of some columns lie in whole lines; every answer is for all rows."""

    def __init__(
        self, data: np.ndarray, names: tuple[str, ...], starts: np.ndarray, ends: np.ndarray
    ) -> None:
        self._data, self._names = data, names
        self._starts, self._ends = starts, ends

    def __len__(self) -> int:
        return self._starts.shape[1]

    def part(self, wanted: np.ndarray) -> "Fields":
        """The rows where `wanted` is true."""
        return Fields(self._data, self._names, self._starts[:, wanted], self._ends[:, wanted])

    def _of(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        slot = self._names.index(name)
        return self._data, self._starts[slot], self._ends[slot]

    def text(self, name: str, row: int) -> str:
        """One field."""
        data, starts, ends = self._of(name)
        return data[starts[row] : ends[row]].tobytes().decode("ascii")

    def numbers(self, name: str, decimals: int, dotted: bool = True) -> np.ndarray | None:
        """Numbers of 0 or more in units of 10**-decimals, or None where one is not exactly that.

        `dotted` allows a fraction; digits beyond the unit must be zeros.
        """
        out = np.empty(len(self), np.int64)
        return out if _numbers(*self._of(name), decimals, dotted, out) else None

    def words(self, name: str, lower: bool = True) -> np.ndarray | None:
        """Texts of at most 8 bytes as `word` gives them, or None."""
        out = np.empty(len(self), np.int64)
        return out if _words(*self._of(name), lower, out) else None

    def equal(self, name: str, text: str) -> np.ndarray:
        """Which fields are this text; bool."""
        out = np.empty(len(self), bool)
        _equal(*self._of(name), np.frombuffer(text.encode(), np.uint8), out)
        return out

    def filled(self, name: str) -> np.ndarray:
        """Which fields are not empty; bool."""
        _, starts, ends = self._of(name)
        return ends > starts

    def hashes(self, names: Sequence[str]) -> np.ndarray | None:
        """A hash of some columns of each row: different ones are those of different texts.

        None also without compilation, where words do not wrap around in silence.
        """
        if not JIT:
            return None
        out = np.zeros(len(self), np.int64)
        return out if all(_hashes(*self._of(name), out) for name in names) else None


def word(text: str) -> int:
    """What `Fields.words` gives for a text.

    >>> word("B"), word("")
    (66, 0)
    """
    return int.from_bytes(text.encode(), "little")


def fields_of(
    lines: bytes, names: tuple[str, ...], wanted: Sequence[str], may_be_empty: Sequence[str]
) -> Fields | None:
    """The `wanted` columns of whole lines with the columns `names`, or None: see above.

    >>> fields = fields_of(b"1,x,0.5\\n2,y,1\\n", ("a", "b", "c"), ("c",), ())
    >>> fields.numbers("c", 2).tolist()
    [50, 100]
    """
    data = np.frombuffer(lines, np.uint8)
    slots = np.full(len(names), -1, np.int64)
    slots[[names.index(name) for name in wanted]] = np.arange(len(wanted))
    empty = np.array([name in may_be_empty for name in wanted])
    rows_max = len(data) // len(names) + 1  # a line has as many commas, but one, and its end
    starts = np.empty((len(wanted), rows_max), np.int32)
    ends = np.empty_like(starts)
    rows = _scan(data, len(names), slots, empty, starts, ends)
    if rows < 0:
        return None
    return Fields(data, tuple(wanted), starts[:, :rows], ends[:, :rows])
