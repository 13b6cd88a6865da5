"""One deleveraging over 100,000 positions: the tick that sets it off, in an empty book.

Every round has a bankrupt of its own; the positions closed are counted.
"""

import pytest

from engine.bench.adl_rows import crowded, falls
from engine.constants import Cause, EventKind

ACCOUNTS, ROUNDS = 100_000, 5


@pytest.mark.parametrize(
    ("closed", "clustered"), [(1, False), (100, False), (100, True)],
    ids=["first", "hundred", "clustered"],
)  # fmt: skip
def test_deleveraging(benchmark, closed, clustered):
    exchange = crowded(ACCOUNTS, ROUNDS + 1, closed, clustered)
    ticks, found = falls(ROUNDS + 1), []

    def setup():
        at = len(found)
        return (ticks[at : at + 1],), {}

    def work(tick):
        found.append(exchange.submit(tick))

    benchmark.pedantic(work, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    for events in found:
        adl = (events["kind"] == EventKind.FILL) & (events["reason"] == Cause.ADL)
        assert adl.sum() == 2 * closed
    benchmark.extra_info["positions"] = ACCOUNTS
