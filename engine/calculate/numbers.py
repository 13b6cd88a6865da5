"""Numbers on their way into and out of a calculation: exact fractions, never floats.

Inputs are whole numbers, decimal text, Decimal or Fraction. A refusal is one line.
"""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil, floor
from typing import Any

from engine.constants import PPB, PPM

Answer = dict[str, Any]
Number = int | str | Decimal | Fraction


class CalculateError(ValueError):
    """A question that cannot be answered: which input, and what was expected."""


def exact(value: Any, name: str = "number") -> Fraction:
    """A number as a fraction; floats are refused, since they are not what was written.

    >>> exact("0.1"), exact(3)
    (Fraction(1, 10), Fraction(3, 1))
    """
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal | Fraction):
        raise CalculateError(f"{name}: expected a whole number or decimal text, got {value!r}")
    try:
        return Fraction(Decimal(value)) if isinstance(value, str) else Fraction(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise CalculateError(f"{name}: expected a decimal number, got {value!r}") from None


def places(value: Fraction) -> int:
    """Decimals that write a fraction exactly (negative: it ends in zeros); 99 if none do.

    >>> places(Fraction(1, 8)), places(Fraction(200)), places(Fraction(1, 3))
    (3, -2, 99)
    """
    if value == 0:
        return -99
    for decimals in range(31):
        scaled = value * 10**decimals
        if scaled.denominator == 1:
            whole, zeros = abs(int(scaled)), 0
            while decimals == 0 and whole % 10 == 0:
                whole, zeros = whole // 10, zeros + 1
            return decimals - zeros
    return 99


def written(value: Fraction, decimals: int = 18) -> str:
    """Decimal text of a fraction, to the nearest of so many decimals."""
    scaled = round(value * 10**decimals)
    text = f"{Decimal(scaled).scaleb(-decimals):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ppm(value: Fraction, name: str) -> int:
    """A ratio as whole parts per million; finer ones are refused."""
    scaled = value * PPM
    if scaled.denominator != 1:
        raise CalculateError(f"{name}: expected whole parts per million, got {float(value)}")
    return int(scaled)


def ppb(value: Fraction, name: str) -> int:
    """A ratio as whole parts per billion; finer ones are refused."""
    scaled = value * PPB
    if scaled.denominator != 1:
        raise CalculateError(f"{name}: expected whole parts per billion, got {float(value)}")
    return int(scaled)


def rounded_up(value: Fraction, decimals: int) -> Fraction:
    """The next multiple of 10**-decimals towards plus infinity."""
    return Fraction(ceil(value * 10**decimals), 10**decimals)


def rounded_down(value: Fraction, decimals: int) -> Fraction:
    """The next multiple of 10**-decimals towards minus infinity."""
    return Fraction(floor(value * 10**decimals), 10**decimals)


def common_unit(values: list[Fraction]) -> Fraction:
    """The largest unit of which all values are whole multiples.

    >>> common_unit([Fraction(3, 2), Fraction(1, 5)])
    Fraction(1, 10)
    """
    unit = Fraction(0)
    for value in values:
        a, b = unit, abs(value)
        while b:
            a, b = b, a % b
        unit = a
    if unit == 0:
        raise CalculateError("size: expected at least one that is not 0")
    return unit


class Inputs:
    """Named inputs of a question; whoever reads one by several names says so once.

    A value may be written as `{"value": ..., "unit": ...}`.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = {name: _plain(value) for name, value in values.items()}

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def raw(self, *names: str, default: Any = None) -> Any:
        """The first of these inputs that is given, as it is."""
        for name in names:
            if name in self:
                return self.values[name]
        if default is None:
            raise CalculateError(f"{names[0]}: expected this input, got nothing")
        return default

    def get(self, *names: str, default: Any = None) -> Fraction:
        """The first of these inputs that is given, exactly."""
        return exact(self.raw(*names, default=default), names[0])

    def several(self, *names: str) -> list[Fraction]:
        """A list of numbers; one alone is a list of one."""
        found = self.raw(*names)
        return [exact(v, names[0]) for v in (found if isinstance(found, list) else [found])]

    def has(self, *names: str) -> bool:
        """Whether any of these inputs is given."""
        return any(name in self for name in names)


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and "value" in value and set(value) <= {"value", "unit"}:
        return _plain(value["value"])
    return value


def from_json(value: Any) -> Any:
    """JSON numbers as decimal text, so that 0.1 means a tenth; the rest unchanged."""
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    if isinstance(value, dict):
        return {name: from_json(item) for name, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def to_json(value: Any) -> Any:
    """Fractions as JSON numbers: whole where they are, else the nearest float."""
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    return [to_json(item) for item in value] if isinstance(value, list | tuple) else value
