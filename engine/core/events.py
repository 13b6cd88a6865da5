"""emit(): append one row to the event buffer of the present batch.

The buffer belongs to the caller; its address and size are in the header. Room is checked once per
unit of work by `step`, so that a unit never stops half-way.
"""

from engine.core.kernel import kernel
from engine.core.state import H, header
from engine.core.windows import window_at
from engine.rows import EVENT

EVENT_ROW = EVENT


@kernel
def emit(
    s,
    kind,
    account_id,
    order_id,
    other_id,
    price,
    lots,
    amount,
    fee,
    market_id,
    reason,
    side,
    position_side,
    flags,
):
    """One event row; see docs/events.md for what each kind puts where."""
    words = header(s)
    count = words[H.EVENTS_COUNT]
    assert count < words[H.EVENTS_ROWS], "event buffer is full inside a unit of work"
    row = window_at(words[H.EVENTS_AT], words[H.EVENTS_ROWS], EVENT_ROW)[count]
    row["seq"] = words[H.SEQ]
    row["time_ns"] = words[H.NOW_NS]
    row["account_id"] = account_id
    row["order_id"] = order_id
    row["other_id"] = other_id
    row["price"] = price
    row["lots"] = lots
    row["amount"] = amount
    row["fee"] = fee
    row["market_id"] = market_id
    row["kind"] = kind
    row["reason"] = reason
    row["side"] = side
    row["position_side"] = position_side
    row["flags"] = flags
    row["reserved"] = 0
    words[H.EVENTS_COUNT] = count + 1
