"""How fast the processor is just now, and waiting until it is as fast as it was.

A processor that is shared, above all half of a core whose other half is somebody else's, takes
twice as long for moments or minutes, and the system sees nobody at work. A small piece of work
shows it.
"""

import hashlib
import statistics
import time

PIECE = bytes(1 << 18)
TRIES = 3  # of which the fastest counts
STEADY = 1.08  # times as long as the fastest ever, at most, is as fast as it was
FIRST_S = 20.0  # how long the fastest is looked for before anything is measured
PAUSE_S = 0.02


def probe() -> float:
    """Seconds for the piece of work: a hash, which needs nothing but the processor."""
    spent = []
    for _ in range(TRIES):
        began = time.perf_counter()
        hashlib.blake2b(PIECE).digest()
        spent.append(time.perf_counter() - began)
    return min(spent)


class Pace:
    """The fastest probe so far, what was seen since `taken`, and how long is left to wait."""

    def __init__(self, patience_s: float = 0.0) -> None:
        self.patience_s = patience_s
        self.best = float("inf")
        self.seen: list[float] = []

    def steady(self) -> None:
        """Before a round: wait, while there is patience, until the processor is as fast as it was.
        On a machine of one's own that takes a millisecond."""
        if self.best == float("inf"):
            until = time.monotonic() + min(FIRST_S, self.patience_s)
            self.best = probe()
            while time.monotonic() < until:
                self.best = min(self.best, probe())
        spent = probe()
        while spent > STEADY * self.best and self.patience_s > 0:
            began = time.monotonic()
            time.sleep(PAUSE_S)
            spent = probe()
            self.patience_s -= time.monotonic() - began
        self.best = min(self.best, spent)
        self.seen.append(spent)

    def taken(self) -> float:
        """The median of the probes since this was last asked; -1 where there was none."""
        seen, self.seen = self.seen, []
        return statistics.median(seen) if seen else -1.0

    def share(self, spent: float) -> float:
        """A probe as a share of the best pace; -1 where there was none."""
        return round(self.best / spent, 2) if spent > 0 else -1.0


PACE = Pace()
"""Of this process: every round of every row waits for it."""
