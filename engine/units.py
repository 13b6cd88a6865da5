"""Exact decimal text to integers and back. Money, prices and lots enter and leave here.

No float is ever involved: text is split into digits. Files that carry floats (an `.npz` event
array, a Parquet column) go through `scale_float`, which refuses a value that is not a whole
number of units instead of rounding it.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

_DECIMAL = re.compile(r"^(-?)([0-9]{1,24})(?:\.([0-9]{1,18}))?\Z")
_TIME = re.compile(
    r"^(\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnitError(ValueError):
    """Text is not a decimal number, or is finer than the unit it must be a multiple of."""


def parse_decimal(text: str, decimals: int) -> int:
    """The whole number of 10**-decimals units in `text`; refuses anything finer.

    `decimals` may be negative: the unit is then a power of ten above one.

    >>> parse_decimal("7365.87", 2)
    736587
    >>> parse_decimal("0.001", 2)
    Traceback (most recent call last):
    ...
    engine.units.UnitError: expected at most 2 decimals, got 0.001
    """
    match = _DECIMAL.match(text)
    if match is None:
        raise UnitError(f"expected a decimal number, got {text!r}")
    sign, whole, fraction = match.group(1), match.group(2), match.group(3) or ""
    scaled: int = int(whole + fraction)
    shift = decimals - len(fraction)
    if shift >= 0:
        scaled *= 10**shift
    else:
        scaled, rest = divmod(scaled, 10**-shift)
        if rest:
            raise UnitError(f"expected at most {decimals} decimals, got {text}")
    return -scaled if sign else scaled


def format_decimal(value: int, decimals: int) -> str:
    """`value` units of 10**-decimals as exact decimal text.

    >>> format_decimal(-736587, 2)
    '-7365.87'
    """
    if decimals <= 0:
        return str(value * 10**-decimals)
    whole, fraction = divmod(abs(value), 10**decimals)
    return f"{'-' if value < 0 else ''}{whole}.{fraction:0{decimals}d}"


@lru_cache(maxsize=1 << 12)  # a scenario is read once a run, and its times more than once
def parse_time_ns(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time; a zone is required, a leap second refused.

    >>> parse_time_ns("2020-03-12T10:48:00Z")
    1584010080000000000
    >>> parse_time_ns("1970-01-01T01:00:00.000000001+01:00")
    1
    >>> parse_time_ns("2020-03-12 10:48:00")
    Traceback (most recent call last):
    ...
    engine.units.UnitError: expected a time like 2020-03-12T10:48:00Z, got '2020-03-12 10:48:00'
    """
    match = _TIME.match(text)
    if match is None:
        raise UnitError(f"expected a time like 2020-03-12T10:48:00Z, got {text!r}")
    zone = match.group(3).replace("Z", "+00:00").replace("z", "+00:00")
    try:
        moment = datetime.fromisoformat(match.group(1).replace(" ", "T").upper() + zone)
    except ValueError as error:
        raise UnitError(
            f"expected a time like 2020-03-12T10:48:00Z, got {text!r}: {error}"
        ) from None
    since = moment - _EPOCH
    nanoseconds = int((match.group(2) or "0").ljust(9, "0"))
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + nanoseconds


def format_time_ns(time_ns: int) -> str:
    """A time in nanoseconds since 1970 as RFC 3339 text in UTC, as short as it is exact.

    >>> format_time_ns(1584010080000000000), format_time_ns(1)
    ('2020-03-12T10:48:00Z', '1970-01-01T00:00:00.000000001Z')
    """
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{text}{fraction}Z"
