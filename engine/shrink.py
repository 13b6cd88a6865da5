"""A failing list of commands made as short as it will go, and kept as text that reads and replays.

    # seed 7: what failed, in words
    {"seed":7,"profile":...}
    OPEN_ACCOUNT account_id=16
    NEW_ORDER account_id=16 market_id=1 side=BUY order_type=LIMIT lots=5 price=101 ...

A line is one command: its kind, then every field that is not zero, enums by name. `write_kept` and
`read_kept` are each other's inverse. The line before the commands is the whole setup, so that the
file says the same when seeds draw something else.
"""

import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

import msgspec

from engine import constants as c
from engine.fuzz import Setup
from engine.refusal import Refusal
from engine.rows import COMMAND

Row = tuple[int, ...]
KIND = COMMAND.names.index("kind")
_NAMED: dict[str, type[IntEnum]] = {
    "side": c.Side,
    "order_type": c.OrderType,
    "time_in_force": c.TimeInForce,
    "position_side": c.PositionSide,
    "self_trade": c.SelfTrade,
    "trigger_kind": c.TriggerPrice,
}


class KeptError(Refusal):
    """A kept tape cannot be read."""


def in_words(row: Row) -> str:
    """One command as a line.

    >>> in_words(from_words("DEPOSIT account_id=16 amount=5"))
    'DEPOSIT account_id=16 amount=5'
    """
    values = dict(zip(COMMAND.names, row, strict=True))
    kind = values.pop("kind")
    words = [c.CommandKind(kind).name if kind in tuple(c.CommandKind) else f"KIND_{kind}"]
    for name, value in values.items():
        if value:
            enum = _NAMED.get(name)
            known = enum is not None and value in tuple(enum)
            words.append(f"{name}={enum(value).name if known else value}")
    return " ".join(words)


def from_words(line: str) -> Row:
    """The command of a line of `in_words`."""
    first, *rest = line.split()
    values = dict.fromkeys(COMMAND.names, 0)
    try:
        values["kind"] = (
            int(first.removeprefix("KIND_"))
            if first.startswith("KIND_")
            else int(c.CommandKind[first])
        )
        for word in rest:
            name, _, text = word.partition("=")
            number = text.lstrip("-").isdecimal()
            values[name] = int(text) if number else int(_NAMED[name][text])
    except (KeyError, ValueError) as error:
        raise KeptError(f"{line!r}: not a command: {error}") from None
    if len(values) != len(COMMAND.names):
        raise KeptError(f"{line!r}: not a field of a command")
    return tuple(values.values())


def write_kept(path: Path, setup: Setup, reason: str, rows: list[Row]) -> None:
    """Keep the commands of a setup with what they show."""
    lines = [f"# {line}" for line in reason.splitlines()]
    lines += [msgspec.json.encode(setup).decode(), *map(in_words, rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_kept(path: Path) -> tuple[Setup, list[Row]]:
    """The setup and the commands of a kept tape."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if line.strip() and not line.startswith("#")]
        setup = msgspec.json.decode(lines[0] if lines else "", type=Setup)
    except (OSError, UnicodeDecodeError, RecursionError, msgspec.MsgspecError) as error:
        raise KeptError(f"{path.name}: expected a setup before the commands: {error}") from None
    return setup, [from_words(line) for line in lines[1:]]


def shrink(
    rows: list[Row], fails: Callable[[list[Row]], bool], seconds_max: float = 60.0
) -> list[Row]:
    """A part of `rows` that still fails and from which no single command can be taken (delta
    debugging), or as far as that was reached in the time.

    >>> shrink([(n,) for n in range(100)], lambda part: (7,) in part and (60,) in part)
    [(7,), (60,)]
    """
    end = time.monotonic() + seconds_max
    size = max(1, len(rows) // 2)
    while time.monotonic() < end:
        place, before = 0, len(rows)
        while place < len(rows) and time.monotonic() < end:
            without = rows[:place] + rows[place + size :]
            if without and fails(without):
                rows = without
            else:
                place += size
        if size > 1:
            size = max(1, size // 2)
        elif len(rows) == before:
            break
    return rows
