"""Rows of falls: index ticks down 30 % through a deep and a thin book, liquidations, fund and ADL.

A fall that takes too long is broken off between two ticks, and its row says where. Every round must
give the events of the first; a small crowd must give those of the whole rulebook.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from engine.bench.crowds import populated_exchange
from engine.bench.results import Row
from engine.bench.rounds import counted, row, same, timed
from engine.bench.tick_rows import FALL, check_falls
from engine.bench.work import PRICE, Sizes, mark_ticks
from engine.constants import Cause, CommandKind, EventKind
from engine.digest import EventDigest
from engine.exchange import Exchange

DEEP_LOTS, THIN_LOTS = 2_000_000, 10  # a level, for a thousand accounts and for one
DEEP_ACCOUNTS, THIN_PER = 100_000, 1_000
PART_MAX = 1_024  # ticks a call
MILLION_ROUNDS = 3

Say = Callable[[str], None]


class Fall:
    """One run: seconds inside the exchange, ticks that were done, and what happened."""

    def __init__(self, exchange: Exchange, ticks: np.ndarray, limit_s: float) -> None:
        self.seconds, self.ticks, self.found = 0.0, 0, Counter()
        self._digest, part = EventDigest(), PART_MAX // 16
        while self.ticks < len(ticks) and self.seconds < limit_s:
            rows = ticks[self.ticks : self.ticks + part]
            spent, _ = timed(lambda rows=rows: exchange.stream(rows, in_place=True), self._look)
            self.seconds += spent
            self.ticks += len(rows)
            # Where ticks are slow, few go together, so that the limit is seen in time.
            part = max(1, part // 8) if spent > limit_s / 100 else min(PART_MAX, part * 2)
        self.result = self._digest.hexdigest()

    def _look(self, events: np.ndarray) -> None:
        self._digest.update(events)
        self.found["events"] += len(events)
        self.found["quotes"] += counted(events, EventKind.DEPTH_SET)
        self.found["liquidations"] += counted(events, EventKind.LIQUIDATION_STARTED)
        self.found["adl"] += counted(events, EventKind.FILL, Cause.ADL) // 2


def fall_rows(
    key: str, work: str, accounts: int, lots: int, count: int, rounds: int, limit_s: float
) -> Iterator[Row]:
    """Events a second of a fall, and its seconds."""
    ticks = mark_ticks(count, PRICE, FALL, kind=CommandKind.INDEX)
    seconds, first = [], None
    for _ in range(rounds):
        exchange = populated_exchange(accounts, depth_lots=lots)
        # Later rounds do what the first one managed to do.
        fall = Fall(exchange, ticks, limit_s if first is None else float("inf"))
        first = first or fall
        same(work, (first.ticks, first.result), (fall.ticks, fall.result))
        seconds.append(fall.seconds)
        if fall.ticks < count:
            break
    found = first.found
    note = (
        f"{found['liquidations']:,} liquidations, {found['adl']:,} by ADL; "
        f"{found['quotes']:,} of {found['events']:,} events are quotes"
    )
    if first.ticks < count:
        note = f"broken off at tick {first.ticks:,} of {count:,}; {note}"
    work = f"{work}, {accounts:,} accounts"
    result = first.result[:16]
    yield row(key, work, seconds, found["events"], accounts, result, note=note)
    yield row(f"{key}-tick", f"{work}, a tick", seconds, first.ticks, accounts, result, "ns")


def crash_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """A deep book and a thin one."""
    check_falls(DEEP_LOTS, 1_000, 0)
    say("measuring the fall")
    accounts, rest = sizes.crash_accounts, (sizes.crash_ticks, sizes.rounds, sizes.crash_limit_s)
    yield from fall_rows("crash-deep", "fall, deep book", accounts, DEEP_LOTS, *rest)
    thin = max(1, accounts * THIN_LOTS // THIN_PER)
    yield from fall_rows("crash-thin", "fall, thin book", accounts, thin, *rest)


def million_group(sizes: Sizes, say: Say) -> Iterator[Row]:
    """The same over many more accounts: few deleveragings, then many."""
    check_falls(DEEP_LOTS, 1_000)
    accounts = sizes.million_accounts
    rounds = min(MILLION_ROUNDS, sizes.rounds)
    rest = (sizes.crash_ticks, rounds, sizes.crash_limit_s)
    say("measuring the fall of a million")
    yield from fall_rows("million-few", "fall, few ADL", accounts, DEEP_LOTS, *rest)
    thin = max(1, accounts * THIN_LOTS // THIN_PER)
    yield from fall_rows("million-heavy", "fall, heavy ADL", accounts, thin, *rest)
