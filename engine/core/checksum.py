"""Rows of a tape in one pass: which of them no tape may hold, and XXH3-128 of their bytes.

Every kilobyte is hashed and then, from the nearest cache, checked, so that memory is read once and
at an even pace. Eight rows are checked together; one after the other only where one is wrong.
The hash is XXH3 in its form for long inputs, which is the standard one above 240 bytes (four
rows); its eight lanes are one vector. It finds damage and keeps nobody from forging.
"""

import ctypes
import functools
import struct

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from engine import constants as c
from engine.core.kernel import JIT, entry, inlined, kernel
from engine.core.windows import window_at
from engine.rows import COMMAND

STRIPE_BYTES = 64
BLOCK_STRIPES = 16  # until the lanes are scrambled; the secret moves on by a word a stripe
BLOCK_BYTES = STRIPE_BYTES * BLOCK_STRIPES
LANES = 8  # words of a stripe; and rows that are checked at once, a group
GROUP_STRIPES = 9
GROUP_BYTES = GROUP_STRIPES * STRIPE_BYTES
AHEAD_BYTES = 16_384  # how far ahead memory is asked for: past the pages where hardware stops
SECOND_CACHE = 2  # how near it is asked for: the nearest cache would be full of it

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_PRIME32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_PRIME64 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
_AVALANCHE = 0x165667919E3779F9  # below 2**63: the same as a signed word


def _signed(word: int) -> int:
    return word - 2**64 if word >> 63 else word


_LANES = tuple(map(_signed, (_PRIME32[2], *_PRIME64[:4], _PRIME32[1], _PRIME64[4], _PRIME32[0])))
_SCRAMBLE = _PRIME32[0]
_LENGTH_LOW, _LENGTH_HIGH = _signed(_PRIME64[0]), _signed(_PRIME64[1])
_LOW_27, _LOW_32 = 2**27 - 1, 2**32 - 1
# Words of the memory a caller lends: lanes, the secret, and its parts that lie between words.
_KEYS, _LAST_KEY, _LOW_KEY, _HIGH_KEY, SUM, _WORDS = 8, 32, 40, 48, 56, 64
_SECRET_ENDS = {_LAST_KEY: 121, _LOW_KEY: 11, _HIGH_KEY: 117}  # bytes at which they begin
_KINDS_KNOWN = sum(1 << int(kind) for kind in c.CommandKind)
_KINDS_UNKNOWN = 2**64 - 1 - _KINDS_KNOWN
_KIND_MAX = int(max(c.CommandKind))
_TIME_MAX_NS = c.TIME_MAX_NS
_ROW_BYTES = COMMAND.itemsize
_CHECKED = [(COMMAND.fields or {})[name][1] // 8 for name in ("time_ns", "market_id", "reserved")]
WORD = np.dtype("<i8")
assert _KIND_MAX < 63, "kinds are the bits of one word"
assert GROUP_BYTES == LANES * _ROW_BYTES


def working_memory() -> np.ndarray:
    """Words that `scan_rows` works in, on a cache line; one for each thread that calls it."""
    spare = np.zeros(_WORDS + 8, np.int64)
    first = -spare.ctypes.data % STRIPE_BYTES // 8
    words = spare[first : first + _WORDS]
    words[_KEYS : _KEYS + 24] = np.frombuffer(_SECRET, "<i8")
    for word, byte in _SECRET_ENDS.items():
        words[word : word + 8] = np.frombuffer(_SECRET, "<i8", 8, byte)
    return words


# -- eight lanes at once ----------------------------------------------------------------------

_WORD = ir.IntType(64)
_PLACE = ir.IntType(32)
_VECTOR, _PLACES = ir.VectorType(_WORD, LANES), ir.VectorType(_PLACE, LANES)
_CHOICE = ir.VectorType(ir.IntType(1), LANES)
_NEIGHBOURS = ir.Constant(_PLACES, [1, 0, 3, 2, 5, 4, 7, 6])


def _key(stripe: int) -> ir.Constant:
    """The part of the secret for a stripe; after the last one, that for scrambling."""
    return ir.Constant(_VECTOR, list(struct.unpack_from("<8q", _SECRET, 8 * stripe)))


def _all(value: int) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * LANES)


def _loaded(builder, address, align, offset=0):
    """Eight words at an address."""
    place = builder.add(address, ir.Constant(_WORD, offset))
    return builder.load(builder.inttoptr(place, _VECTOR.as_pointer()), align=align)


def _taken(builder, lanes, data, key):
    """The lanes after 64 more bytes."""
    mixed = builder.xor(data, key)
    halves = builder.and_(mixed, _all(_LOW_32)), builder.lshr(mixed, _all(32))
    swapped = builder.shuffle_vector(data, data, _NEIGHBOURS)
    return builder.add(builder.add(lanes, swapped), builder.mul(*halves))


@intrinsic
def _stripe_compiled(typing_context, lanes_at, data_at, key_at):
    """Take 64 bytes into the lanes."""

    def codegen(context, builder, signature, args):
        lanes, data = _loaded(builder, args[0], STRIPE_BYTES), _loaded(builder, args[1], 1)
        lanes = _taken(builder, lanes, data, _loaded(builder, args[2], 8))
        builder.store(lanes, builder.inttoptr(args[0], _VECTOR.as_pointer()), align=STRIPE_BYTES)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen


@intrinsic
def _block_compiled(typing_context, lanes_at, data_at):
    """Take BLOCK_BYTES into the lanes, which stay in a register meanwhile, and scramble them; ask
    for the memory ahead. The secret is part of the code, so that no key lies across two lines."""

    def codegen(context, builder, signature, args):
        lanes = _loaded(builder, args[0], STRIPE_BYTES)
        for stripe in range(BLOCK_STRIPES):
            _ask_for(builder, args[1], AHEAD_BYTES + stripe * STRIPE_BYTES)
            data = _loaded(builder, args[1], 1, stripe * STRIPE_BYTES)
            lanes = _taken(builder, lanes, data, _key(stripe))
        lanes = builder.xor(lanes, builder.lshr(lanes, _all(47)))
        lanes = builder.mul(builder.xor(lanes, _key(BLOCK_STRIPES)), _all(_SCRAMBLE))
        builder.store(lanes, builder.inttoptr(args[0], _VECTOR.as_pointer()), align=STRIPE_BYTES)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


def _ask_for(builder, address, offset):
    """Ask for the cache line at an address; one outside of any memory does no harm."""
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    flags = [ir.Constant(flag, value) for value in (0, SECOND_CACHE, 1)]  # to read, how near, data
    place = builder.add(address, ir.Constant(_WORD, offset))
    builder.call(function, [builder.inttoptr(place, byte), *flags])


@intrinsic
def _ask_compiled(typing_context, rows_at):
    """Ask for the memory ahead of eight rows."""

    def codegen(context, builder, signature, args):
        for line in range(GROUP_STRIPES):
            _ask_for(builder, args[0], AHEAD_BYTES + line * STRIPE_BYTES)
        return context.get_dummy_value()

    return types.none(types.int64), codegen


def _spread(builder, value):
    """A word in every lane."""
    one = builder.insert_element(_all(0), value, ir.Constant(_PLACE, 0))
    return builder.shuffle_vector(one, one, ir.Constant(_PLACES, [0] * LANES))


def _of_rows(builder, lines, word):
    """One word of each of eight rows, in some order: rows are nine words long, so that it lies in
    another lane of each."""
    taken = lines[word // LANES]
    for row in range(1, LANES):
        line, lane = divmod(row * GROUP_STRIPES + word, LANES)
        here = ir.Constant(_CHOICE, [place == lane for place in range(LANES)])
        taken = builder.select(here, lines[line], taken)
    return taken


@intrinsic
def _faults_compiled(typing_context, rows_at, time_ns, markets_count):
    """Not 0 where no tape may hold one of eight rows; `time_ns` is the time before them.

    Each condition is a word that is negative where the condition does not hold.
    """

    def codegen(context, builder, signature, args):
        lines = [_loaded(builder, args[0], 1, at * STRIPE_BYTES) for at in range(GROUP_STRIPES)]
        times, middles, lasts = (_of_rows(builder, lines, word) for word in _CHECKED)
        turned = ir.Constant(_PLACES, [LANES, *range(LANES - 1)])  # row i has lane i of `times`
        before = builder.shuffle_vector(times, _spread(builder, args[1]), turned)
        markets = builder.and_(middles, _all(_LOW_32))
        kinds = builder.and_(builder.lshr(middles, _all(32)), _all(0xFFFF))
        left = builder.sub(_all(63), kinds)  # to shift the bit of a kind up to the sign
        signs = (
            builder.sub(times, before),
            builder.sub(_all(_TIME_MAX_NS), times),
            builder.sub(_spread(builder, args[2]), markets),
            left,
            builder.shl(_all(_signed(_KINDS_UNKNOWN)), builder.and_(left, _all(63))),
            builder.sub(_all(0), builder.lshr(lasts, _all(48))),
        )
        wrong = functools.reduce(builder.or_, signs, times)
        faults = builder.bitcast(builder.icmp_signed("<", wrong, _all(0)), ir.IntType(LANES))
        return builder.zext(faults, _WORD)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def _mul_fold(typing_context, a, b):
    """Both halves of the unsigned 128-bit product, one over the other."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(*[builder.zext(arg, wide) for arg in args])
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, high), _WORD)

    return types.int64(types.int64, types.int64), codegen


@kernel
def _merged(words, key, value):
    for lane in range(0, 8, 2):
        left, right = words[lane] ^ words[key + lane], words[lane + 1] ^ words[key + lane + 1]
        value += _mul_fold(left, right)
    value ^= (value >> 37) & _LOW_27
    value *= _AVALANCHE
    return value ^ ((value >> 32) & _LOW_32)


@kernel
def _finish_compiled(words, size):
    words[SUM] = _merged(words, _LOW_KEY, size * _LENGTH_LOW)
    words[SUM + 1] = _merged(words, _HIGH_KEY, ~(size * _LENGTH_HIGH))


# -- the same without compilation -------------------------------------------------------------


def _lanes_at(address: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_uint8 * STRIPE_BYTES).from_address(int(address)), "<u8")


def _stripe_plain(lanes_at, data_at, key_at):
    lanes, data = _lanes_at(lanes_at), _lanes_at(data_at)
    mixed = data ^ _lanes_at(key_at)
    lanes += data.reshape(4, 2)[:, ::-1].ravel() + (mixed & np.uint64(_LOW_32)) * (mixed >> 32)


def _block_plain(lanes_at, data_at):
    secret = np.frombuffer(_SECRET, np.uint8)
    for stripe in range(BLOCK_STRIPES):
        _stripe_plain(lanes_at, data_at + stripe * STRIPE_BYTES, secret.ctypes.data + 8 * stripe)
    lanes = _lanes_at(lanes_at)
    lanes ^= (lanes >> 47) ^ _lanes_at(secret.ctypes.data + 8 * BLOCK_STRIPES)
    lanes *= np.uint64(_SCRAMBLE)


def _finish_plain(words, size):
    lanes = [int(word) % 2**64 for word in words]
    starts = (int(size) * _PRIME64[0], ~(int(size) * _PRIME64[1]))
    for place, (key, value) in enumerate(zip((_LOW_KEY, _HIGH_KEY), starts, strict=True)):
        for lane in range(0, 8, 2):
            left, right = (lanes[lane + each] ^ lanes[key + lane + each] for each in (0, 1))
            value += left * right % 2**64 ^ left * right >> 64
        value %= 2**64
        value = (value ^ value >> 37) * _AVALANCHE % 2**64
        words[SUM + place] = _signed(value ^ value >> 32)


_stripe = _stripe_compiled if JIT else _stripe_plain
_block = _block_compiled if JIT else _block_plain
_finish = _finish_compiled if JIT else _finish_plain
_ask = _ask_compiled if JIT else lambda rows_at: None
_faults = _faults_compiled if JIT else lambda rows_at, time_ns, markets_count: 1  # look closer


# -- rows -------------------------------------------------------------------------------------


@inlined
def _first_fault(rows_at, first, until, time_ns, markets_count, asks):
    """The first row no tape may hold, or `until`; `time_ns` is the time before row 0. `asks` for
    memory ahead, where hashing has not."""
    rows = window_at(rows_at, until, COMMAND)
    index = first
    if index > 0:
        time_ns = rows[index - 1]["time_ns"]
    while index + LANES <= until:
        if asks:
            _ask(rows_at + index * _ROW_BYTES)
        if _faults(rows_at + index * _ROW_BYTES, time_ns, markets_count) != 0:
            break
        index += LANES
        time_ns = rows[index - 1]["time_ns"]
    while index < until:
        row = rows[index]
        now_ns, kind, market_id = row["time_ns"], np.int64(row["kind"]), row["market_id"]
        if now_ns < time_ns or now_ns > _TIME_MAX_NS or row["reserved"] != 0:
            break
        if kind < 0 or kind > _KIND_MAX or _KINDS_KNOWN >> kind & 1 == 0:
            break
        if market_id < 0 or market_id > markets_count:
            break
        time_ns = now_ns
        index += 1
    return index


@entry
def scan_rows(rows_at, count, time_ns, markets_count, work_at):
    """The first of `count` (1 or more) rows that no tape may hold, or `count`.

    `time_ns` is the time of the row before, `work_at` the address of `working_memory`, where
    XXH3-128 of all rows is then in the two words from SUM on, the low one first; 0 leaves it out.
    """
    size = count * _ROW_BYTES
    blocks = (size - 1) // BLOCK_BYTES if work_at != 0 else 0  # the last one is not scrambled
    keys_at = work_at + 8 * _KEYS
    if work_at != 0:
        words = window_at(work_at, _WORDS, WORD)
        for lane in range(LANES):
            words[lane] = _LANES[lane]
    sound, until = np.int64(0), np.int64(0)
    for block in range(blocks):
        _block(work_at, rows_at + block * BLOCK_BYTES)
        if sound == until:  # no fault yet
            until = (block + 1) * BLOCK_BYTES // GROUP_BYTES * LANES
            sound = _first_fault(rows_at, sound, until, time_ns, markets_count, False)
    if sound == until:
        sound = _first_fault(rows_at, sound, count, time_ns, markets_count, work_at == 0)
    if work_at != 0:
        words = window_at(work_at, _WORDS, WORD)
        for stripe in range((size - 1 - blocks * BLOCK_BYTES) // STRIPE_BYTES):
            at = rows_at + blocks * BLOCK_BYTES + stripe * STRIPE_BYTES
            _stripe(work_at, at, keys_at + 8 * stripe)
        _stripe(work_at, rows_at + size - STRIPE_BYTES, work_at + 8 * _LAST_KEY)
        _finish(words, size)
    return sound
