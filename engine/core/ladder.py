"""Bitmap ladders: which ticks or buckets are occupied, and the next one up or down.

Four levels of 64-bit words over up to 2**24 positions; position 0 is never used, so 0 means
"none". A book, the triggers of liquidations and the stops all stand on this one structure; what
hangs on an occupied position is theirs.
"""

from engine.core.arithmetic import first_bit_from, last_bit_to, with_bit, without_bit
from engine.core.kernel import inlined, kernel
from engine.core.state import LADDERS_PER_MARKET, ladders, words


@inlined
def ladder_row(market_id, kind):
    """Row of a market's ladder; `kind` is a member of Ladders."""
    return market_id * LADDERS_PER_MARKET + kind


@inlined
def set_position(s, row, position):
    """Mark a position as occupied on all four levels."""
    ladder = ladders(s)[row]
    bitmap = words(s)
    at = ladder["word_0"] + (position >> 6)
    before = bitmap[at]
    bitmap[at] = with_bit(before, position & 63)
    if before == 0:
        at = ladder["word_1"] + (position >> 12)
        bitmap[at] = with_bit(bitmap[at], (position >> 6) & 63)
        at = ladder["word_2"] + (position >> 18)
        bitmap[at] = with_bit(bitmap[at], (position >> 12) & 63)
        at = ladder["word_3"]
        bitmap[at] = with_bit(bitmap[at], position >> 18)


@inlined
def clear_position(s, row, position):
    """Mark a position as free, and every word above it that became empty."""
    ladder = ladders(s)[row]
    bitmap = words(s)
    at = ladder["word_0"] + (position >> 6)
    left = without_bit(bitmap[at], position & 63)
    bitmap[at] = left
    if left == 0:
        at = ladder["word_1"] + (position >> 12)
        left = without_bit(bitmap[at], (position >> 6) & 63)
        bitmap[at] = left
        if left == 0:
            at = ladder["word_2"] + (position >> 18)
            left = without_bit(bitmap[at], (position >> 12) & 63)
            bitmap[at] = left
            if left == 0:
                at = ladder["word_3"]
                bitmap[at] = without_bit(bitmap[at], position >> 18)


@kernel
def _climb_up(s, row, position):
    """Next occupied position in a later word than this one's, 0 if none."""
    ladder = ladders(s)[row]
    bitmap = words(s)
    word_0, word_1 = ladder["word_0"], ladder["word_1"]
    word_2, word_3 = ladder["word_2"], ladder["word_3"]
    index = position >> 6
    bit = 64
    if index & 63 != 63:
        bit = first_bit_from(bitmap[word_1 + (index >> 6)], (index & 63) + 1)
    if bit == 64:
        index = index >> 6
        if index & 63 != 63:
            bit = first_bit_from(bitmap[word_2 + (index >> 6)], (index & 63) + 1)
        if bit == 64:
            index = index >> 6
            if index != 63:
                bit = first_bit_from(bitmap[word_3], index + 1)
            if bit == 64:
                return 0
            index = bit
            bit = first_bit_from(bitmap[word_2 + index], 0)
        else:
            index = index >> 6
        index = (index << 6) + bit
        bit = first_bit_from(bitmap[word_1 + index], 0)
    else:
        index = index >> 6
    index = (index << 6) + bit
    return (index << 6) + first_bit_from(bitmap[word_0 + index], 0)


@kernel
def _climb_down(s, row, position):
    """Next occupied position in an earlier word than this one's, 0 if none."""
    ladder = ladders(s)[row]
    bitmap = words(s)
    word_0, word_1 = ladder["word_0"], ladder["word_1"]
    word_2, word_3 = ladder["word_2"], ladder["word_3"]
    index = position >> 6
    bit = 64
    if index & 63 != 0:
        bit = last_bit_to(bitmap[word_1 + (index >> 6)], (index & 63) - 1)
    if bit == 64:
        index = index >> 6
        if index & 63 != 0:
            bit = last_bit_to(bitmap[word_2 + (index >> 6)], (index & 63) - 1)
        if bit == 64:
            index = index >> 6
            if index != 0:
                bit = last_bit_to(bitmap[word_3], index - 1)
            if bit == 64:
                return 0
            index = bit
            bit = last_bit_to(bitmap[word_2 + index], 63)
        else:
            index = index >> 6
        index = (index << 6) + bit
        bit = last_bit_to(bitmap[word_1 + index], 63)
    else:
        index = index >> 6
    index = (index << 6) + bit
    return (index << 6) + last_bit_to(bitmap[word_0 + index], 63)


@inlined
def first_from(s, row, position):
    """The lowest occupied position at or above this one, 0 if none."""
    word = words(s)[ladders(s)[row]["word_0"] + (position >> 6)]
    bit = first_bit_from(word, position & 63)
    if bit < 64:
        return (position >> 6 << 6) + bit
    return _climb_up(s, row, position)


@inlined
def last_to(s, row, position):
    """The highest occupied position at or below this one, 0 if none."""
    word = words(s)[ladders(s)[row]["word_0"] + (position >> 6)]
    bit = last_bit_to(word, position & 63)
    if bit < 64:
        return (position >> 6 << 6) + bit
    return _climb_down(s, row, position)
