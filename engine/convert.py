"""Files of public formats to a tape: the work behind `crashtape import`.

The importers read, the tape writer writes; here the units come from a venue profile, and several
files of one market become one stream in order of time.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from engine.importers.common import FormatCode, FormatError, Import, ImportReport, market_spec
from engine.messages import PriceFile
from engine.price_files import KINDS, check_kind, file_rows
from engine.tape import TapeInfo, TapeMarket, TapeMetadata, TapeWriter, verify_tape
from engine.venue import ProfileError, load_venue, market_numbers

BANDS = "bookDepth"  # distances from a mid price: without one they are no prices yet


def import_tape(
    kind: str, files: Sequence[Path], venue: str, symbol: str, output: Path, role: str
) -> tuple[list[ImportReport], TapeInfo]:
    """Write a tape of one market; returns a report a file, and what the tape holds.

    Raises FormatError, ProfileError and TapeError; no tape is left where one file is refused.
    """
    profile = load_venue(venue)
    spec = market_spec(profile, symbol)
    market = profile.markets[spec.market_id - 1]
    numbers = market_numbers(profile, market)
    wanted = [name for name in KINDS if name != BANDS]
    if kind not in wanted:
        raise ProfileError(f"import: kind: expected one of {', '.join(wanted)}, got {kind!r}")
    if KINDS[kind] != KINDS["klines"]:
        role = KINDS[kind][0]
    asked = PriceFile(kind=kind, path="x", market=symbol, role=role)
    if reason := check_kind(asked):
        raise ProfileError(f"import: --as: {reason}")
    units = TapeMarket(symbol=symbol, price_decimals=market.price_decimals, lot=market.lot)
    metadata = TapeMetadata(markets=[units], sources=[f"{kind} {file.name}" for file in files])
    reports: list[ImportReport] = []
    before_ns = 0
    with TapeWriter(output, metadata) as tape:
        for file in files:
            rows = file_rows(asked, file, spec, numbers, ())
            assert isinstance(rows, Import), "every importer but the one of bands keeps a report"
            before_ns = _append(tape, rows, before_ns, file)
            reports.append(rows.report)
    return reports, verify_tape(output)


def _append(tape: TapeWriter, rows: Iterable[np.ndarray], before_ns: int, file: Path) -> int:
    """Write one file's rows as market 1; a file that begins before the last one ends is refused."""
    for block in rows:
        first_ns = int(block["time_ns"][0])
        if first_ns < before_ns:
            reason = "begins before the file given before it ends"
            raise FormatError(file.name, "", "time", FormatCode.TIME_BACKWARDS, reason)
        before_ns = int(block["time_ns"][-1])
        block["market_id"] = 1
        tape.append(block)
    return before_ns
