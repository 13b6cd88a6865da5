"""Every kind of file there is an importer for: what its rows can be used as, and who reads it."""

from pathlib import Path

from engine.column_map import ColumnMap
from engine.constants import CommandKind
from engine.importers import (
    binance_vision,
    databento_mbo,
    hftbacktest_npz,
    json_lines,
    raw_websocket,
)
from engine.importers.columnar import read_format
from engine.importers.common import Import, MarketSpec
from engine.importers.formats import FORMATS, ROLES, Format, Shape

GENERIC = "csv"  # any CSV, with a column map
BANDS = "bookDepth"  # distances from a mid price: without an index they are no prices yet
ACCOUNTS = "hyperliquid.accounts"  # positions of accounts: a population, not a history
FACTS = "facts"  # the role of rows that no command has: they go into a table of their own

# kind -> what its rows can be used as; the first is meant where nothing is said
KINDS: dict[str, tuple[str, ...]] = {
    "klines": ("index", "mark"),
    "indexPriceKlines": ("index",),
    "markPriceKlines": ("mark",),
    BANDS: ("depth", FACTS),
    "hftbacktest": ("depth",),
    "rawWebsocket": ("depth",),
    **{each.kind: ROLES[each.shape] for each in FORMATS.values()},
    "bybit.ob500": ("depth",),
    "hyperliquid.nodeFills": ("trade", "index", "mark", FACTS),
    "databento.mbo": ("depth",),
    ACCOUNTS: (FACTS,),
    GENERIC: ("trade", "index", "mark", "depth", "funding", "prices"),
}

# The order of rows of equal times, whatever their files: a payment is due before the prices of
# its instant move, prices come before trades, and trades before the book they have changed.
ROLE_ORDER = ("funding", "prices", "index", "mark", "trade", "depth")

_SIDE_WORDS = {"buy": 1, "b": 1, "bid": 1, "sell": 2, "s": 2, "ask": 2, "a": 2}
_SNAPSHOT_WORDS = {"true": 1, "1": 1, "false": 0, "0": 0}


def check_columns(columns: ColumnMap | None, role: str) -> str:
    """Why a generic CSV cannot be read as `role`, or "" where it can."""
    if columns is None:
        return f"expected a column map for {GENERIC}"
    roles = ROLES[Shape(columns.rows)]
    if role not in roles:
        return f"expected as = {' or '.join(roles)} for rows of {columns.rows}, got {role!r}"
    return ""


def generic_format(columns: ColumnMap) -> Format:
    """The format a column map describes. Sides are buy, bid, b or sell, ask, a, s."""
    return Format(
        kind=GENERIC,
        shape=Shape(columns.rows),
        fields=columns.fields,
        unit=columns.unit,
        sides=_SIDE_WORDS,
        snapshots=_SNAPSHOT_WORDS,
        layouts=(tuple(columns.names),) if columns.names else (),
        repeats=tuple(columns.repeats),
        exponents=True,
    )


def read_file(
    kind: str,
    path: Path,
    market: MarketSpec,
    role: str,
    symbol: str,
    *,
    columns: ColumnMap | None = None,
    trim_spaces: bool = False,
) -> Import:
    """Import one file of one of KINDS, but for ACCOUNTS, as one of its roles.

    `symbol` is the market's name in the file. Depth bands come as BANDS rows whatever the role.
    """
    if kind in FORMATS:
        return read_format(FORMATS[kind], path, market, role, symbol)
    if kind == GENERIC:
        assert columns is not None, "checked by check_columns"
        return read_format(generic_format(columns), path, market, role, symbol)
    if kind == "klines":
        as_kind = CommandKind.INDEX if role == "index" else CommandKind.MARK
        return binance_vision.read_klines(path, market, as_kind=as_kind)
    if kind == BANDS:
        return binance_vision.read_book_depth(path, market, trim_spaces=trim_spaces)
    plain = {
        "indexPriceKlines": binance_vision.read_index_klines,
        "markPriceKlines": binance_vision.read_mark_klines,
        "hftbacktest": hftbacktest_npz.read_hftbacktest,
        "databento.mbo": databento_mbo.read_mbo,
    }
    if kind in plain:
        return plain[kind](path, market)
    if kind == "rawWebsocket":
        return raw_websocket.read_raw_feed(path, market, symbol)
    messages = {
        "bybit.ob500": json_lines.read_orderbook_500,
        "hyperliquid.nodeFills": json_lines.read_node_fills,
    }
    return messages[kind](path, market, role, symbol)
