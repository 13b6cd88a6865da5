"""The same tape gives the same bytes: whatever the batches, the buffers, the compiler, the hashes.

Digests are over every event row and over the state's tables.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.core.state import H
from engine.digest import EventDigest
from engine.fuzz import Setup, batches, draw_setup, run_differential
from engine.rows import COMMAND

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = 500
SEEDS = (0, 5, 12, 25, 33, 47)  # with and without a curve, one market and two, linear and inverse
SCRIPT = """
import sys
import numpy as np
from engine.core.kernel import JIT
from engine.fuzz import run_differential
assert JIT is (sys.argv[1] == "jit"), "the wrong lane"
np.seterr(over="raise")  # an int64 that wraps round must not pass unseen
for seed in map(int, sys.argv[3:]):
    outcome = run_differential(seed, int(sys.argv[2]))
    assert not outcome.difference, outcome.difference
    print(outcome.event_digest, outcome.state_digest)
"""


def digests(setup: Setup, size: int, slack: int) -> tuple[str, str]:
    """Event and state digest of the core, fed in batches of `size` (0: all at once)."""
    exchange = setup.core(events_slack=slack)
    rows = setup.commands(COMMANDS)
    running = EventDigest()
    for part in batches(rows, size or len(rows)):
        running.update(exchange.submit(np.array(part, dtype=COMMAND)))
    return running.hexdigest(), exchange.digest()


def in_subprocess(lane: str, commands: int, seeds: tuple[int, ...], **variables: str) -> list[str]:
    """One line of two digests a seed, from a new process with these environment variables."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, lane, str(commands), *map(str, seeds)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_do_not_matter(seed: int):
    """R90. One by one, by seven, by two hundred, all at once."""
    setup = draw_setup(seed)
    whole = digests(setup, 0, 65_536)
    for size in (1, 7, 200):
        assert digests(setup, size, 65_536) == whole, f"batches of {size}"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_event_buffer_does_not_matter(seed: int):
    """R90. With room for one unit of work only, a cascade is drained in many portions."""
    setup = draw_setup(seed)
    whole = digests(setup, 0, 65_536)
    for slack in (0, 1, 50):
        assert digests(setup, 0, slack) == whole, f"{slack} rows beyond one unit"


def test_a_cascade_is_drained_in_portions():
    """R90. Seed 24 has an avalanche; with no slack one submit yields many portions, in order."""
    setup = draw_setup(24)
    assert setup.avalanche
    exchange = setup.core(events_slack=0)
    rows = np.array(setup.commands(COMMANDS), dtype=COMMAND)
    portions = list(exchange.stream(rows))
    assert len(portions) > 3
    events = np.concatenate(portions)
    assert (np.diff(events["seq"]) >= 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_events_read_in_place_are_those_copied(seed: int):
    """R90. A portion read in place is gone when the next is asked for, so it is copied here."""
    setup = draw_setup(seed)
    rows = np.array(setup.commands(COMMANDS), dtype=COMMAND)
    copied = np.concatenate(list(setup.core(events_slack=0).stream(rows)))
    exchange = setup.core(events_slack=0)
    portions = [part.copy() for part in exchange.stream(rows, in_place=True)]
    assert (np.concatenate(portions) == copied).all()
    assert exchange.block.words[H.EVENTS_ROWS] == len(exchange._events)


def test_compiled_and_plain_python_agree():
    """With NUMBA_DISABLE_JIT=1 the same kernels run as plain Python, and the rulebook beside them
    agrees in that process too."""
    seeds = SEEDS[1:4]
    compiled = [run_differential(seed, 150) for seed in seeds]
    expected = [f"{outcome.event_digest} {outcome.state_digest}" for outcome in compiled]
    assert in_subprocess("plain", 150, seeds, NUMBA_DISABLE_JIT="1") == expected


def test_hash_seeds_and_processes_agree():
    """Nothing depends on the order of a set or a dict of strings, or on the process."""
    here = [run_differential(seed, COMMANDS) for seed in SEEDS]
    expected = [f"{outcome.event_digest} {outcome.state_digest}" for outcome in here]
    assert in_subprocess("jit", COMMANDS, SEEDS, PYTHONHASHSEED="1") == expected
    assert in_subprocess("jit", COMMANDS, SEEDS, PYTHONHASHSEED="2") == expected
