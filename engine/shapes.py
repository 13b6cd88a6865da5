"""Shapes that every message from outside is made of: bounded text, times, amounts.

Names, not rules: what a field means is said where a message is defined.
"""

from typing import Annotated

from msgspec import Meta, Struct

from engine import constants as c
from engine.units import parse_time_ns

DecimalText = Annotated[str, Meta(pattern=r"^[0-9]{1,24}(\.[0-9]{1,18})?$")]
Ppm = Annotated[int, Meta(ge=0, le=c.PPM)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Text = Annotated[str, Meta(min_length=1, max_length=1_000)]
PathText = Annotated[str, Meta(min_length=1, max_length=400)]
Lots = Annotated[int, Meta(ge=1, le=c.LOTS_MAX)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every message: immutable, keyword-only, unknown fields refused."""


def checked_ns(text: str) -> int:
    """The time in nanoseconds, or the ValueError that msgspec reports with its path."""
    time_ns = parse_time_ns(text)
    if not 0 <= time_ns <= c.TIME_MAX_NS:
        raise ValueError(f"expected a time from 1970 to the year 2116, got {text}")
    return time_ns
