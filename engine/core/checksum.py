"""Rows of a tape in one pass: which of them no tape may hold, and XXH3-128 of their bytes.

A span of rows is hashed and, while it is in the nearest cache, checked, so that the memory is
read once. The hash is XXH3 in its form for long inputs, which is the standard one above 240 bytes
(four rows); its eight lanes are one vector. It finds damage and keeps nobody from forging.
"""

import ctypes

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
SPAN_ROWS = 128  # 9,216 bytes: nine blocks exactly
AHEAD_BYTES = 6_144  # how far ahead memory is asked for: past the page where hardware stops

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
_KIND_MAX = int(max(c.CommandKind))
_TIME_MAX_NS = c.TIME_MAX_NS
_ROW_BYTES = COMMAND.itemsize
WORD = np.dtype("<i8")
assert _KIND_MAX < 63, "kinds are the bits of one word"


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
_VECTOR = ir.VectorType(_WORD, 8)
_NEIGHBOURS = ir.Constant(ir.VectorType(ir.IntType(32), 8), [1, 0, 3, 2, 5, 4, 7, 6])


def _all(value: int) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * 8)


@intrinsic
def _stripe_compiled(typing_context, lanes_at, data_at, key_at):
    """Take 64 bytes into the lanes."""

    def codegen(context, builder, signature, args):
        places = [builder.inttoptr(arg, _VECTOR.as_pointer()) for arg in args]
        lanes = builder.load(places[0], align=STRIPE_BYTES)
        data, key = builder.load(places[1], align=1), builder.load(places[2], align=8)
        mixed = builder.xor(data, key)
        halves = builder.and_(mixed, _all(_LOW_32)), builder.lshr(mixed, _all(32))
        swapped = builder.shuffle_vector(data, data, _NEIGHBOURS)
        lanes = builder.add(builder.add(lanes, swapped), builder.mul(*halves))
        builder.store(lanes, places[0], align=STRIPE_BYTES)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen


@intrinsic
def _scramble_compiled(typing_context, lanes_at, key_at):
    def codegen(context, builder, signature, args):
        places = [builder.inttoptr(arg, _VECTOR.as_pointer()) for arg in args]
        lanes = builder.load(places[0], align=STRIPE_BYTES)
        lanes = builder.xor(lanes, builder.lshr(lanes, _all(47)))
        lanes = builder.xor(lanes, builder.load(places[1], align=8))
        builder.store(builder.mul(lanes, _all(_SCRAMBLE)), places[0], align=STRIPE_BYTES)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def _prefetch_compiled(typing_context, address):
    """Ask for the cache line at an address; one outside of any memory does no harm."""

    def codegen(context, builder, signature, args):
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        flags = [ir.Constant(flag, value) for value in (0, 3, 1)]  # to read, keep, data
        builder.call(function, [builder.inttoptr(args[0], byte), *flags])
        return context.get_dummy_value()

    return types.none(types.int64), codegen


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


def _scramble_plain(lanes_at, key_at):
    lanes = _lanes_at(lanes_at)
    lanes ^= (lanes >> 47) ^ _lanes_at(key_at)
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
_scramble = _scramble_compiled if JIT else _scramble_plain
_finish = _finish_compiled if JIT else _finish_plain
_prefetch = _prefetch_compiled if JIT else lambda address: None


# -- rows -------------------------------------------------------------------------------------


@inlined
def _first_fault(rows_at, first, until, time_ns, markets_count, asks):
    """The first row no tape may hold, or `until`; `time_ns` is the time before `first`. `asks`
    for memory ahead, where hashing has not."""
    rows = window_at(rows_at, until, COMMAND)
    for index in range(first, until):
        if asks:
            _prefetch(rows_at + index * _ROW_BYTES + AHEAD_BYTES)
        row = rows[index]
        now_ns, kind, market_id = row["time_ns"], np.int64(row["kind"]), row["market_id"]
        if now_ns < time_ns or now_ns > _TIME_MAX_NS or row["reserved"] != 0:
            return index
        if kind < 0 or kind > _KIND_MAX or _KINDS_KNOWN >> kind & 1 == 0:
            return index
        if market_id < 0 or market_id > markets_count:
            return index
        time_ns = now_ns
    return until


@entry
def scan_rows(rows_at, count, time_ns, markets_count, work_at):
    """The first of `count` (1 or more) rows that no tape may hold, or `count`.

    `time_ns` is the time of the row before, `work_at` the address of `working_memory`, where
    XXH3-128 of all rows is then in the two words from SUM on, the low one first; 0 leaves it out.
    """
    size = count * _ROW_BYTES
    blocks = (size - 1) // BLOCK_BYTES if work_at != 0 else 0  # the last one is not scrambled
    keys_at, block = work_at + 8 * _KEYS, 0
    if work_at != 0:
        words = window_at(work_at, _WORDS, WORD)
        for lane in range(8):
            words[lane] = _LANES[lane]
    first, fault = 0, count
    while first < count:
        until = min(first + SPAN_ROWS, count)
        while block < blocks and (block + 1) * BLOCK_BYTES <= until * _ROW_BYTES:
            for stripe in range(BLOCK_STRIPES):
                at = rows_at + block * BLOCK_BYTES + stripe * STRIPE_BYTES
                _prefetch(at + AHEAD_BYTES)
                _stripe(work_at, at, keys_at + 8 * stripe)
            _scramble(work_at, keys_at + 8 * BLOCK_STRIPES)
            block += 1
        if fault == count:
            found = _first_fault(rows_at, first, until, time_ns, markets_count, work_at == 0)
            fault = found if found < until else count
            time_ns = window_at(rows_at, until, COMMAND)[until - 1]["time_ns"]
        first = until
    if work_at != 0:
        words = window_at(work_at, _WORDS, WORD)
        for stripe in range((size - 1 - blocks * BLOCK_BYTES) // STRIPE_BYTES):
            at = rows_at + blocks * BLOCK_BYTES + stripe * STRIPE_BYTES
            _stripe(work_at, at, keys_at + 8 * stripe)
        _stripe(work_at, rows_at + size - STRIPE_BYTES, work_at + 8 * _LAST_KEY)
        _finish(words, size)
    return fault
