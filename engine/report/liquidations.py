"""Follows every liquidation through the events, from its start to its end.

A fill off the book, or of a liquidation order, belongs to the liquidation that started last for
that account and has not ended. This is the only part of the report that walks rows one by one:
there are few of them.
"""

from dataclasses import dataclass, field

import numpy as np

from engine import constants as c

BY_CAUSE = {
    int(c.Cause.LIQUIDATION): "book",
    int(c.Cause.TAKEOVER): "fund",
    int(c.Cause.ADL): "adl",
    int(c.Cause.RESIDUAL): "residual",
}
DESTINATIONS = tuple(BY_CAUSE.values())
_CHARGES = {
    int(c.EventKind.LIQUIDATION_FEE): "fee",
    int(c.EventKind.SURPLUS): "surplus",
    int(c.EventKind.SHORTFALL): "shortfall",
    int(c.EventKind.BAD_DEBT): "bad_debt",
}
_STARTED, _ENDED = int(c.EventKind.LIQUIDATION_STARTED), int(c.EventKind.LIQUIDATION_ENDED)
_FILL, _ADL = int(c.EventKind.FILL), int(c.Cause.ADL)


def _zeros() -> dict[str, int]:
    return dict.fromkeys(DESTINATIONS, 0)


@dataclass(slots=True)
class Liquidation:
    """One liquidation. Money in the smallest settlement unit, lots unsigned.

    `cost[d]` is what destination d lost at the mark of that instant by taking its parts at
    prices worse than the mark; `gain[d]` what it won on parts at better prices.
    """

    seq: int
    start_ns: int
    account_id: int
    market_id: int  # 0: a cross account, every market
    position_side: int
    isolated: bool
    mark_price: int
    equity: int
    maintenance: int
    end_ns: int = 0
    end: int = 0  # LiquidationEnd; 0 while it is open
    equity_left: int = 0
    fills: int = 0
    realised: int = 0
    trading_fee: int = 0
    fee: int = 0
    surplus: int = 0
    shortfall: int = 0
    bad_debt: int = 0
    lots: dict[str, int] = field(default_factory=_zeros)
    notional: dict[str, int] = field(default_factory=_zeros)
    cost: dict[str, int] = field(default_factory=_zeros)
    gain: dict[str, int] = field(default_factory=_zeros)


@dataclass(slots=True)
class Deleveraging:
    """One ADL fill, seen from the counterparty.

    `haircut` is what the mark would have paid more; negative if the price beat the mark.
    """

    seq: int
    time_ns: int
    market_id: int
    bankrupt_id: int
    counterparty_id: int
    lots: int  # signed change of the counterparty's position
    price: int
    mark_price: int
    notional: int
    haircut: int
    realised: int


def partners(kinds: np.ndarray) -> np.ndarray:
    """For each row the row of the other side of its trade; fills come in pairs, others get 0."""
    places = np.flatnonzero(kinds == _FILL)
    paired = places[: len(places) // 2 * 2]
    result = np.zeros(len(kinds), np.int64)
    result[paired[0::2]] = paired[1::2]
    result[paired[1::2]] = paired[0::2]
    return result


class LiquidationBook:
    """Open liquidations by account; hands out the finished ones and every ADL fill."""

    def __init__(self) -> None:
        self.open: dict[int, Liquidation] = {}

    def update(
        self, events: np.ndarray, values: np.ndarray, marks: np.ndarray, costs: np.ndarray
    ) -> tuple[list[Liquidation], list[Deleveraging]]:
        """Take whole commands: EVENT rows, and per row V, the market's mark and cost at mark."""
        kind = events["kind"]
        chosen = np.isin(kind, [_STARTED, _ENDED, *_CHARGES])
        chosen |= (kind == _FILL) & np.isin(events["reason"], list(BY_CAUSE))
        other_amount = events["amount"][partners(kind)]
        finished: list[Liquidation] = []
        shared: list[Deleveraging] = []
        columns = zip(
            events[chosen].tolist(),
            values[chosen].tolist(),
            marks[chosen].tolist(),
            costs[chosen].tolist(),
            other_amount[chosen].tolist(),
            strict=True,
        )
        for row, value, mark, cost, realised_other in columns:
            account_id, row_kind = row[2], row[10]
            if row_kind == _STARTED:
                self.open[account_id] = _start(row)
            elif (liquidation := self.open.get(account_id)) is None:
                continue
            elif row_kind == _ENDED:
                finished.append(_end(self.open.pop(account_id), row))
            elif row_kind == _FILL:
                _book_fill(liquidation, row, abs(value), cost)
                if row[11] == _ADL:
                    shared.append(_deleveraging(row, abs(value), mark, cost, realised_other))
            else:
                name = _CHARGES[row_kind]
                setattr(liquidation, name, getattr(liquidation, name) + row[7])
        return finished, shared


def _start(row: tuple) -> Liquidation:
    return Liquidation(
        seq=row[0],
        start_ns=row[1],
        account_id=row[2],
        market_id=row[9],
        position_side=row[13],
        isolated=bool(row[14] & c.Flag.ISOLATED),
        mark_price=row[5],
        equity=row[7],
        maintenance=row[8],
    )


def _end(liquidation: Liquidation, row: tuple) -> Liquidation:
    liquidation.end_ns, liquidation.end, liquidation.equity_left = row[1], row[11], row[7]
    return liquidation


def _book_fill(liquidation: Liquidation, row: tuple, notional: int, cost: int) -> None:
    where = BY_CAUSE[row[11]]
    liquidation.fills += 1
    liquidation.realised += row[7]
    liquidation.trading_fee += row[8]
    liquidation.lots[where] += abs(row[6])
    liquidation.notional[where] += notional
    liquidation.cost[where] += max(cost, 0)
    liquidation.gain[where] += max(-cost, 0)


def _deleveraging(
    row: tuple, notional: int, mark: int, cost: int, realised_other: int
) -> Deleveraging:
    return Deleveraging(
        seq=row[0],
        time_ns=row[1],
        market_id=row[9],
        bankrupt_id=row[2],
        counterparty_id=row[4],
        lots=-row[6],
        price=row[5],
        mark_price=mark,
        notional=notional,
        haircut=cost,
        realised=realised_other,
    )
