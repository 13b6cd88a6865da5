"""The core's integer arithmetic against Python's unbounded integers, at every edge.

Products go up to 2**124, quotients up to 2**62. From 2**63 on an assertion must stop the engine;
between the two the compiled lane may return the exact quotient, never another number.
"""

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace

import numba
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.core import arithmetic
from engine.core.kernel import JIT, OPTIONS

LIMIT = 2**62
POWERS = [2**k + d for k in range(63) for d in (-1, 0, 1) if 0 <= 2**k + d <= LIMIT]
MONEY = st.one_of(st.integers(0, LIMIT), st.sampled_from(POWERS), st.integers(0, 10))
DIVISORS = st.one_of(
    st.integers(1, LIMIT), st.sampled_from([p for p in POWERS if p]), st.integers(1, 3)
)


def from_python(name: str, arguments: int) -> Callable:
    """An inner kernel has no entry from Python; this makes one."""
    inner = getattr(arithmetic, name)
    if not JIT:
        return inner
    if arguments == 2:
        return numba.njit(**OPTIONS)(lambda a, b: inner(a, b))
    if arguments == 3:
        return numba.njit(**OPTIONS)(lambda a, b, c: inner(a, b, c))
    return numba.njit(**OPTIONS)(lambda a, b, c, d: inner(a, b, c, d))


TWO = ("divide_up", "divide_toward_zero", "times_inverse")
BITS = ("with_bit", "without_bit", "first_bit_from", "last_bit_to")
THREE = ("mul_div", "mul_div_up", "mul_div_half_even", "mul_div_signed")
core = SimpleNamespace(
    **{name: from_python(name, 2) for name in (*TWO, *BITS)},
    **{name: from_python(name, 3) for name in THREE},
    mul_div_bounded=from_python("mul_div_bounded", 4),
)


def expected(name: str, a: int, b: int, c: int) -> int:
    """What the name promises, in unbounded integers."""
    quotient, rest = divmod(a * b, c)
    if name == "mul_div_up":
        return quotient + (rest > 0)
    if name == "mul_div_half_even":
        return round(Fraction(a * b, c))
    return quotient


def check(name: str, a: int, b: int, c: int) -> None:
    agrees(getattr(core, name), (a, b, c), expected(name, a, b, c))


def agrees(function: Callable, arguments: tuple[int, ...], exact: int) -> None:
    """Exact below 2**62, refused from 2**63 on, and never wrong."""
    try:
        found = function(*arguments)
    except AssertionError:
        assert abs(exact) >= LIMIT, f"refused, although the result is {exact}"
    else:
        assert found == exact
        assert abs(exact) < 2 * LIMIT


@pytest.mark.parametrize("name", ["mul_div", "mul_div_up", "mul_div_half_even", "mul_div_signed"])
def test_mul_div_at_the_edges(name: str):
    """Every pair of powers of two and their neighbours, by 1, 2, 3 and the powers near them."""
    some = POWERS[::5]
    for a in some:
        for b in some:
            near = max(1, a * b // LIMIT)
            for c in {1, 2, 3, max(1, a), max(1, b), near, near + 1, LIMIT, LIMIT - 1}:
                if c <= LIMIT:
                    check(name, a, b, c)


@settings(max_examples=400, deadline=None)
@given(a=MONEY, b=MONEY, c=DIVISORS)
@example(a=LIMIT - 1, b=LIMIT - 1, c=LIMIT)
@example(a=2**61, b=2, c=1)
@example(a=2**61, b=3, c=1)
@example(a=2**62, b=2, c=2)
@example(a=1, b=1, c=2)
@example(a=3, b=1, c=2)
def test_mul_div_anywhere(a: int, b: int, c: int):
    for name in ("mul_div", "mul_div_up", "mul_div_half_even"):
        check(name, a, b, c)


@settings(max_examples=300, deadline=None)
@given(a=st.integers(-LIMIT, LIMIT), b=MONEY, c=DIVISORS)
def test_mul_div_signed_rounds_toward_zero(a: int, b: int, c: int):
    exact = abs(a) * b // c
    agrees(core.mul_div_signed, (a, b, c), exact if a >= 0 else -exact)


@settings(max_examples=400, deadline=None)
@given(a=MONEY, b=MONEY, c=DIVISORS, bound=MONEY)
@example(a=LIMIT, b=LIMIT, c=1, bound=2**60)
@example(a=LIMIT, b=LIMIT, c=3, bound=2**60)
@example(a=LIMIT, b=4, c=4, bound=LIMIT)
def test_mul_div_bounded_saturates(a: int, b: int, c: int, bound: int):
    assert core.mul_div_bounded(a, b, c, bound) == min(bound, a * b // c)


@settings(max_examples=300, deadline=None)
@given(a=st.integers(-LIMIT, LIMIT), b=DIVISORS)
def test_plain_divisions_name_their_direction(a: int, b: int):
    assert core.divide_up(a, b) == -((-a) // b)
    assert core.divide_toward_zero(a, b) == (a // b if a >= 0 else -(-a // b))


@settings(max_examples=400, deadline=None)
@given(divisor=DIVISORS, share=st.integers(0, LIMIT), near=st.integers(-1, 1))
@example(divisor=1, share=LIMIT, near=0)
@example(divisor=3, share=LIMIT, near=-1)
@example(divisor=10, share=2**58, near=0)
def test_an_inverse_divides_exactly_or_is_none(divisor: int, share: int, near: int):
    """Up to the largest number that it was made for, above all next to multiples."""
    largest = LIMIT // divisor
    inverse = arithmetic.inverse_of(divisor, largest)
    assert inverse != 0
    a = min(largest, max(0, min(share, largest) // divisor * divisor + near))
    assert core.times_inverse(a, inverse) == a // divisor


def test_there_is_no_inverse_for_numbers_too_large_for_it():
    """For those the rule is to divide: ticks of 2**31 units and prices up to 2**31 of them."""
    assert arithmetic.inverse_of(2**31, 2**31) == 2**31
    assert arithmetic.inverse_of(2**31, 2**31 + 2) == 0
    assert arithmetic.inverse_of(1, LIMIT) == LIMIT


def test_bits_of_a_word():
    """A 64-bit word as a set of numbers 0 to 63; 64 means none."""
    for members in ([], [0], [63], [0, 63], [5, 17, 40], list(range(64)), [62, 63]):
        word = 0
        for bit in members:
            word = core.with_bit(word, bit)
        for bit in range(64):
            assert core.first_bit_from(word, bit) == min(
                (m for m in members if m >= bit), default=64
            )
            assert core.last_bit_to(word, bit) == max((m for m in members if m <= bit), default=64)
        for bit in members:
            word = core.without_bit(word, bit)
        assert word == 0
