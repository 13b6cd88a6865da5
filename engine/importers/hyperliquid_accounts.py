"""Account snapshots of a chain's clearinghouse -> the positions file that a population reads.

One JSON object a line: `{"user": "0x...", "state": S}`, where S is the venue's answer to a
`clearinghouseState` request. A position's equity is its raw money plus size times mark, and the
same for all cross positions of an account together. Entry prices are averages and are rounded to
the tick; the collateral written is the raw money plus size times that rounded entry, so the
equity stays what it was at every mark. Positions of other coins are settled at their value of
the snapshot: it becomes part of the account's cross collateral.
"""

import re
from collections.abc import Iterator
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl
from msgspec import Struct

from engine.constants import FIRST_USER_ID, LEVERAGE_MAX
from engine.importers.common import FormatCode, FormatError, ImportReport, MarketSpec, shown
from engine.importers.json_lines import read_messages
from engine.units import UnitError, format_decimal

# Sums and products of such numbers are exact in DIGITS; an exponent could ask for any length.
DIGITS = 80
_NUMBER = re.compile(r"^-?[0-9]{1,18}(?:\.[0-9]{1,18})?\Z", re.ASCII)
COLUMNS = ("account_id", "market", "lots", "entry_price", "collateral", "isolated", "leverage")


class _Leverage(Struct):
    kind: Literal["cross", "isolated"] = msgspec.field(name="type")
    value: int
    raw: str = msgspec.field(name="rawUsd", default="0")


class _Position(Struct):
    coin: str
    size: str = msgspec.field(name="szi")
    entry: str = msgspec.field(name="entryPx")
    value: str = msgspec.field(name="positionValue")
    leverage: _Leverage


class _Leg(Struct):
    position: _Position


class _Summary(Struct):
    raw: str = msgspec.field(name="totalRawUsd")


class _State(Struct):
    legs: list[_Leg] = msgspec.field(name="assetPositions")
    cross: _Summary = msgspec.field(name="crossMarginSummary")


class _Account(Struct):
    user: str
    state: _State


def read_accounts(
    path: Path | str, market: MarketSpec, symbol: str, coin: str, decimals: int,
    report: ImportReport,
) -> Iterator[pl.DataFrame]:  # fmt: skip
    """Yield the positions in `coin` as text columns, those of `population/file.py`.

    `symbol` is the market they get, `decimals` those of the settlement asset. Accounts are
    numbered from FIRST_USER_ID in the order of the file. `counts`: accounts, other_markets,
    empty_accounts, and `in_debt`, whose negative collateral becomes 0.
    """
    place = _Place(report.source)
    number = FIRST_USER_ID
    for messages in read_messages(path, msgspec.json.Decoder(_Account)):
        rows = []
        for place.line, account in messages:
            report.rows_read += 1
            report.count("accounts")
            with localcontext(prec=DIGITS):
                rows += _positions(
                    account.state, number, market, symbol, coin, decimals, place, report
                )
            number += 1
        report.rows_kept += len(rows)
        report.commands += len(rows)
        yield pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


class _Place:
    """Where the reader is, for a refusal."""

    def __init__(self, source: str) -> None:
        self.source, self.line = source, 0

    def number(self, field: str, text: str) -> Decimal:
        if not _NUMBER.match(text):
            reason = f"expected a number, got {shown(text)}"
            raise self.refusal(field, FormatCode.NOT_A_NUMBER, reason)
        return Decimal(text)

    def refusal(self, field: str, code: FormatCode, reason: str) -> FormatError:
        return FormatError(self.source, f"line {self.line}", field, code, reason)


def _positions(
    state: _State, number: int, market: MarketSpec, symbol: str, coin: str, decimals: int,
    place: _Place, report: ImportReport,
) -> list[tuple[str, ...]]:  # fmt: skip
    """Rows of one account: the cross money goes to its cross position, if it has one here."""
    money = place.number("totalRawUsd", state.cross.raw)
    rows: list[tuple[str, ...]] = []
    kept: list[tuple[_Position, Decimal, Decimal]] = []
    for leg in state.legs:
        position = leg.position
        size = place.number("szi", position.size)
        cross = position.leverage.kind == "cross"
        if position.coin != coin:
            report.count("other_markets")
            if cross:
                value = abs(place.number("positionValue", position.value))
                money += value if size > 0 else -value
            continue
        entry = _entry(position, market, place)
        raw = place.number("rawUsd", position.leverage.raw)
        money += size * entry if cross else 0
        kept.append((position, entry, raw + size * entry))
    if not kept:
        report.count("empty_accounts")
    for position, entry, alone in kept:
        cross = position.leverage.kind == "cross"
        collateral = money if cross else alone
        if collateral < 0:
            report.count("in_debt")
        unit = Decimal(1).scaleb(-decimals)
        funds = max(collateral, Decimal(0)).quantize(unit, ROUND_FLOOR)
        lots = _lots(position.size, market, place)
        if not 1 <= position.leverage.value <= LEVERAGE_MAX:
            reason = f"expected 1 to {LEVERAGE_MAX}, got {position.leverage.value}"
            raise place.refusal("leverage", FormatCode.OUT_OF_RANGE, reason)
        rows.append(
            (
                *(str(number), symbol, str(lots), f"{entry:f}", f"{funds:f}"),
                *("false" if cross else "true", str(position.leverage.value)),
            )
        )
    return rows


def _entry(position: _Position, market: MarketSpec, place: _Place) -> Decimal:
    """The entry price, rounded half to even to a tick, one tick at least."""
    tick = Decimal(format_decimal(market.tick_price, market.price_decimals))
    ticks = (place.number("entryPx", position.entry) / tick).to_integral_value(ROUND_HALF_EVEN)
    if ticks < 1:
        reason = f"expected a price of a tick or more, got {shown(position.entry)}"
        raise place.refusal("entryPx", FormatCode.PRICE, reason)
    return ticks * tick


def _lots(text: str, market: MarketSpec, place: _Place) -> int:
    """Signed whole lots, not 0."""
    try:
        lots = market.lots_of(text.removeprefix("-"))
    except UnitError as error:
        raise place.refusal("szi", FormatCode.LOTS, f"{error}") from None
    if lots == 0:
        raise place.refusal("szi", FormatCode.ZERO, "expected a position, got 0")
    return -lots if text.startswith("-") else lots
