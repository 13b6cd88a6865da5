"""Which column of any CSV means what: how a scenario or the command line describes one."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

# Of a column map: what its rows are -> the meanings that must have a column.
MEANINGS = {
    "trade": ("time", "price", "size"),
    "quote": ("time", "bid_price", "bid_size", "ask_price", "ask_size"),
    "book": ("time", "side", "price", "size"),
    "ticker": ("time", "due", "rate", "index", "mark"),
    "funding": ("time", "rate"),
}
MEANINGS_MORE = {"trade": ("side", "symbol"), "quote": ("symbol",), "ticker": ("symbol",),
                 "book": ("group", "snapshot", "symbol"), "funding": ("symbol",)}  # fmt: skip


class ColumnMap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which column of a CSV means what: `fields` maps a meaning to the name of its column.

    `unit` is that of the time. `names` are the columns of a file without a header, in order;
    `repeats` the columns that together tell a row sent twice. Rows of a book with the same
    `group` (without one: the same time) are one message; `snapshot` is true or false.
    """

    rows: Literal["trade", "quote", "book", "ticker", "funding"] = "trade"
    fields: dict[str, Annotated[str, Meta(min_length=1, max_length=100)]]
    unit: Literal["s", "ms", "us", "ns", "datetime", "datetimeT"] = "ms"
    names: list[str] = []
    repeats: list[str] = []

    def __post_init__(self) -> None:
        needed, more = MEANINGS[self.rows], MEANINGS_MORE[self.rows]
        for name in needed:
            if name not in self.fields:
                raise ValueError(f"Expected a column for {name} in fields of {self.rows} rows")
        for name in self.fields:
            if name not in needed + more:
                raise ValueError(f"Expected fields of {', '.join(needed + more)}, got {name!r}")
