"""COMMAND rows to an hftbacktest .npz: what `hftbacktest_npz.py` reads, and that tool's users.

TRADE, DEPTH and DEPTH_CLEAR rows of one market are written, exchange and local time the same;
other rows have no counterpart there and are left out. A TRADE row without a
side gives an event without one. A number becomes the float nearest to it.
"""

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from engine import constants as c
from engine.importers.common import MarketSpec
from engine.importers.hftbacktest_npz import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    HFT_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)

_EVENTS = {
    int(c.CommandKind.TRADE): TRADE_EVENT,
    int(c.CommandKind.DEPTH): DEPTH_EVENT,
    int(c.CommandKind.DEPTH_CLEAR): DEPTH_CLEAR_EVENT,
}
_SIDES = {int(c.Side.BUY): BUY_EVENT, int(c.Side.SELL): SELL_EVENT}


def write_hftbacktest(
    path: Path | str, blocks: Callable[[], Iterable[np.ndarray]], market: MarketSpec
) -> int:
    """Write the rows of `market.market_id` as a compressed .npz; returns the number of events.

    `blocks` gives the COMMAND rows from the beginning each time it is called: once to count,
    because the array's header states its length, and once to write. Memory is bounded by one
    block. The file appears under its name only when it is complete.
    """
    path = Path(path)
    count = sum(len(events) for events in _each(blocks(), market))
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    header = {"descr": HFT_EVENT.descr, "fortran_order": False, "shape": (count,)}
    try:
        with (
            zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("data.npy", "w", force_zip64=True) as member,
        ):
            np.lib.format.write_array_header_1_0(member, header)
            for events in _each(blocks(), market):
                member.write(events.tobytes())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _each(blocks: Iterable[np.ndarray], market: MarketSpec) -> Iterator[np.ndarray]:
    """Event arrays (dtype HFT_EVENT) of the rows that have a counterpart."""
    for block in blocks:
        known = np.isin(block["kind"], list(_EVENTS)) & (block["market_id"] == market.market_id)
        rows = block[known]
        events = np.zeros(len(rows), HFT_EVENT)
        events["ev"] = EXCH_EVENT | LOCAL_EVENT
        for column, codes in (("kind", _EVENTS), ("side", _SIDES)):
            for value, code in codes.items():
                events["ev"][rows[column] == value] |= np.uint64(code)
        events["exch_ts"] = events["local_ts"] = rows["time_ns"]
        events["px"] = rows["price"] / 10**market.price_decimals
        events["qty"] = rows["lots"] * market.lot_units / 10**market.lot_decimals
        yield events
