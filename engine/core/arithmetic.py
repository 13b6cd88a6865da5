"""Exact integer arithmetic for money: products with 128-bit intermediates, named roundings, bits.

The only file of the core that may use a float or an unsigned operation, and only where the exact
integer result is restored before it is returned. Every function has a plain-Python twin that runs
when compilation is off.
"""

import numpy as np
from numba import types
from numba.extending import intrinsic

from engine.core.kernel import JIT, inlined, kernel

QUOTIENT_MAX = 2**62  # results of mul_div stay below it
INVERSE_BITS = 62


# -- intrinsics -------------------------------------------------------------------------------


@intrinsic
def _mul128(typing_context, a, b):
    """(high, low) words of the signed 128-bit product."""

    def codegen(context, builder, signature, args):
        import llvmlite.ir as ir

        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.sext(args[0], wide), builder.sext(args[1], wide))
        high = builder.trunc(builder.ashr(product, ir.Constant(wide, 64)), word)
        low = builder.trunc(product, word)
        return context.make_tuple(builder, signature.return_type, [high, low])

    return types.UniTuple(types.int64, 2)(types.int64, types.int64), codegen


@intrinsic
def _count_trailing_zeros(typing_context, word):
    """Index of the lowest set bit; 64 for zero."""

    def codegen(context, builder, signature, args):
        import llvmlite.ir as ir

        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), codegen


@intrinsic
def _count_leading_zeros(typing_context, word):
    """Zero bits above the highest set bit; 64 for zero."""

    def codegen(context, builder, signature, args):
        import llvmlite.ir as ir

        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), codegen


@intrinsic
def _divide_unsigned(typing_context, a, c):
    """a / c rounded down, without asking for signs or for zero."""

    def codegen(context, builder, signature, args):
        return builder.udiv(*args)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _mul_shifted(typing_context, a, b):
    """a * b / 2**INVERSE_BITS rounded down, for a, b >= 0."""

    def codegen(context, builder, signature, args):
        import llvmlite.ir as ir

        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, INVERSE_BITS)), word)

    return types.int64(types.int64, types.int64), codegen


# -- multiply and divide ----------------------------------------------------------------------


@inlined
def _divide_compiled_word(a, c):
    assert (a | (c - 1)) >= 0, "divide_down takes a >= 0 and c > 0"
    return _divide_unsigned(a, c)


def _divide_plain_word(a, c):
    assert a >= 0 and c > 0, "divide_down takes a >= 0 and c > 0"
    return int(a) // int(c)


divide_down = _divide_compiled_word if JIT else _divide_plain_word
"""a / c rounded down, for a >= 0 and c > 0."""


def inverse_of(divisor: int, largest: int) -> int:
    """What `times_inverse` divides by a divisor with, for numbers up to `largest`; 0 where it could
    be wrong. The inverse is rounded up by less than one part in 2**62 / divisor, which moves no
    quotient over an integer as long as largest * (divisor - 1) < 2**62."""
    return -(-(2**INVERSE_BITS) // divisor) if largest * (divisor - 1) < 2**INVERSE_BITS else 0


def _times_inverse_plain(a, inverse):
    return int(a) * int(inverse) >> INVERSE_BITS


@inlined
def _times_inverse_compiled(a, inverse):
    return _mul_shifted(a, inverse)


times_inverse = _times_inverse_compiled if JIT else _times_inverse_plain
"""a / c rounded down, for the inverse of c that holds up to a >= 0; without a division."""


@kernel
def _divide_slowly(high, low, c):
    """Quotient and remainder of a 126-bit product by long division, one bit at a time."""
    quotient, rest = np.int64(0), high
    for index in range(64):
        bit = (low >> (63 - index)) & 1
        rest = (rest << 1) | bit
        quotient = quotient << 1
        if rest >= c:
            rest -= c
            quotient |= 1
    return quotient, rest


@inlined
def _divide_compiled(a, b, c):
    high, low = _mul128(a, b)
    if high == 0 and (a | b | low | (c - 1)) >= 0:
        quotient = _divide_unsigned(low, c)
        return quotient, low - quotient * c
    return _divide_wide(a, b, c)


@kernel
def _divide_wide(a, b, c):
    """The same where the product passes 2**63, and the refusal of what is not allowed."""
    assert a >= 0 and b >= 0 and c > 0, "mul_div takes a, b >= 0 and c > 0"
    high, low = _mul128(a, b)
    assert high <= c >> 2 and c > 2, "mul_div quotient passes 2**62"
    if high == c >> 2:
        quotient, rest = _divide_slowly(high, low, c)
        assert quotient < QUOTIENT_MAX, "mul_div quotient passes 2**62"
        return quotient, rest
    if high >= 1 << 40 or c >= 1 << 50:
        return _divide_slowly(high, low, c)
    # a float estimate, off by less than 2**12, made exact by the remainder modulo 2**64
    quotient = np.int64(float(a) * float(b) / float(c))
    rest = low - quotient * c
    step = np.int64(float(rest) / float(c))
    quotient += step
    rest -= step * c
    if rest < 0:
        return quotient - 1, rest + c
    if rest >= c:
        return quotient + 1, rest - c
    return quotient, rest


def _divide_plain(a, b, c):
    a, b, c = int(a), int(b), int(c)
    assert a >= 0 and b >= 0 and c > 0, "mul_div takes a, b >= 0 and c > 0"
    quotient, rest = divmod(a * b, c)
    assert quotient < QUOTIENT_MAX, "mul_div quotient passes 2**62"
    return quotient, rest


divide_product = _divide_compiled if JIT else _divide_plain


@inlined
def mul_div(a, b, c):
    """a * b / c rounded down, for a, b >= 0 and c > 0."""
    return divide_product(a, b, c)[0]


@inlined
def mul_div_up(a, b, c):
    """a * b / c rounded up, for a, b >= 0 and c > 0."""
    quotient, rest = divide_product(a, b, c)
    return quotient + 1 if rest > 0 else quotient


@inlined
def mul_div_half_even(a, b, c):
    """a * b / c rounded to the nearest, a half to the even one, for a, b >= 0 and c > 0."""
    quotient, rest = divide_product(a, b, c)
    twice = 2 * rest
    if twice > c or (twice == c and quotient & 1):
        return quotient + 1
    return quotient


@inlined
def mul_div_signed(a, b, c):
    """a * b / c rounded toward zero, for any a, b >= 0 and c > 0."""
    if a < 0:
        return -mul_div(-a, b, c)
    return mul_div(a, b, c)


@kernel
def _bounded_compiled(a, b, c, bound):
    high, low = _mul128(a, b)
    if high == 0 and (low | (c - 1)) >= 0:
        return min(bound, _divide_unsigned(low, c))
    assert c > 0, "mul_div_bounded takes c > 0"
    if high > c >> 2 or c <= 2:
        return bound
    if high == c >> 2:
        return min(bound, _divide_slowly(high, low, c)[0])
    return min(bound, divide_product(a, b, c)[0])


def _bounded_plain(a, b, c, bound):
    return min(int(bound), int(a) * int(b) // int(c))


mul_div_bounded = _bounded_compiled if JIT else _bounded_plain
"""min(bound, a * b / c rounded down): saturates where mul_div would refuse."""


@inlined
def divide_up(a, b):
    """a / b rounded up, for b > 0."""
    if a < 0:
        return -divide_down(-a, b)
    quotient = divide_down(a, b)
    return quotient + np.int64(quotient * b != a)


@inlined
def divide_toward_zero(a, b):
    """a / b rounded toward zero, for b > 0."""
    return divide_down(a, b) if a >= 0 else -divide_down(-a, b)


@kernel
def square_root(a):
    """The largest integer whose square is not above a, for 0 <= a < 2**62."""
    root = np.int64(np.sqrt(float(a)))
    while root * root > a:
        root -= 1
    while (root + 1) * (root + 1) <= a:
        root += 1
    return root


# -- bits of a 64-bit word --------------------------------------------------------------------


def _with_bit_plain(word, bit):
    value = (int(word) & (2**64 - 1)) | (1 << int(bit))
    return value - 2**64 if value >> 63 else value


def _without_bit_plain(word, bit):
    value = (int(word) & (2**64 - 1)) & ~(1 << int(bit))
    return value - 2**64 if value >> 63 else value


def _first_bit_from_plain(word, bit):
    value = ((int(word) & (2**64 - 1)) >> int(bit)) << int(bit)
    return (value & -value).bit_length() - 1 if value else 64


def _last_bit_to_plain(word, bit):
    value = int(word) & ((1 << (int(bit) + 1)) - 1)
    return value.bit_length() - 1 if value else 64


@inlined
def _with_bit_compiled(word, bit):
    return word | (np.int64(1) << bit)


@inlined
def _without_bit_compiled(word, bit):
    return word & ~(np.int64(1) << bit)


@inlined
def _first_bit_from_compiled(word, bit):
    return _count_trailing_zeros(word & (np.int64(-1) << bit))


@inlined
def _last_bit_to_compiled(word, bit):
    kept = word & ~((np.int64(-1) << bit) << 1)
    return 63 - _count_leading_zeros(kept) if kept != 0 else 64


with_bit = _with_bit_compiled if JIT else _with_bit_plain
without_bit = _without_bit_compiled if JIT else _without_bit_plain
first_bit_from = _first_bit_from_compiled if JIT else _first_bit_from_plain
last_bit_to = _last_bit_to_compiled if JIT else _last_bit_to_plain
