"""The two row formats that cross every boundary: COMMAND in, EVENT out.

Little-endian, fixed size, no padding: the same bytes from either implementation and on every
machine. Fields a kind does not use are zero. What each kind uses is stated beside the kind in
`constants.py`; units follow from the suffix (`_ns` nanoseconds, prices in price units, lots in
lots, amount and fee in the smallest settlement unit unless the kind says otherwise).
"""

from collections.abc import Iterable, Iterator

import numpy as np

COMMAND = np.dtype(
    [
        ("time_ns", "<i8"),  # tape time, never decreasing
        ("account_id", "<i8"),
        ("order_id", "<i8"),
        ("price", "<i8"),  # price units
        ("trigger_price", "<i8"),  # price units; 0 unless a stop
        ("lots", "<i8"),
        ("amount", "<i8"),  # money, leverage or rate: the kind says which
        ("market_id", "<i4"),  # 1 is the profile's first market
        ("kind", "<i2"),  # CommandKind
        ("flags", "<i2"),  # Flag bits
        ("side", "i1"),  # Side
        ("order_type", "i1"),  # OrderType
        ("time_in_force", "i1"),  # TimeInForce
        ("position_side", "i1"),  # PositionSide
        ("self_trade", "i1"),  # SelfTrade
        ("trigger_kind", "i1"),  # TriggerPrice
        ("reserved", "<i2"),  # zero
    ]
)

EVENT = np.dtype(
    [
        ("seq", "<i8"),  # number of the command that caused it, from 1
        ("time_ns", "<i8"),
        ("account_id", "<i8"),
        ("order_id", "<i8"),
        ("other_id", "<i8"),  # FILL: the counterparty's account id
        ("price", "<i8"),
        ("lots", "<i8"),  # FILL: signed change of the position
        ("amount", "<i8"),  # FILL: realised PnL booked to the account
        ("fee", "<i8"),  # FILL: fee charged (negative: rebate), booked to FEES
        ("market_id", "<i4"),
        ("kind", "<i2"),  # EventKind
        ("reason", "<i2"),  # Reject, Cause, CancelReason or LiquidationEnd, by kind
        ("side", "i1"),
        ("position_side", "i1"),
        ("flags", "<i2"),  # ISOLATED: booked to the position's own margin, not the wallet
        ("reserved", "<i4"),
    ]
)

assert COMMAND.itemsize == 72
assert EVENT.itemsize == 88


def rebatch(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows in arrays of exactly `size` rows; the last one may be shorter.

    An empty block asks for everything before it: what is held goes out, then the empty block.

    >>> [rows.tolist() for rows in rebatch([np.arange(3), np.arange(2)], 2)]
    [[0, 1], [2, 0], [1]]
    """
    held: list[np.ndarray] = []
    missing = size
    for block in blocks:
        start = 0
        if len(block) == 0:
            if held:
                yield np.concatenate(held)
                held, missing = [], size
            yield block
        while start < len(block):
            part = block[start : start + missing]
            held.append(part)
            start += len(part)
            missing -= len(part)
            if missing == 0:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held, missing = [], size
    if held:
        yield held[0] if len(held) == 1 else np.concatenate(held)
