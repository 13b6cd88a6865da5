"""Runs one other engine in its own environment: a round for every line that comes in.

`python serve.py ADAPTER WAY FOLDER` reads FOLDER/work.npy and says in a line of JSON which version
answers, or why it cannot; then, for every line on standard input, the seconds of one round and what
it gave. Nothing of Crashtape is imported here: only what the environment holds.
"""

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

MASK, MULTIPLIER = 2**64 - 1, 1_000_003


def checksum(trades: list[Any]) -> int:
    """The order-sensitive checksum over maker, taker, price and lots of each trade."""
    value = 0
    for trade in trades:
        for number in trade:
            value = (value * MULTIPLIER + int(number)) & MASK
    return value


def say(**found: object) -> None:
    """One line of JSON."""
    print(json.dumps(found), flush=True)


def main(adapter: str, way: str, folder: str) -> None:
    """Serve rounds until the input ends."""
    module = importlib.import_module(adapter)
    rows = np.load(Path(folder) / "work.npy")
    try:
        play = module.player(way, rows, Path(folder))
    except OSError as reason:
        say(reason=str(reason))
        return
    say(version=metadata.version(module.PACKAGE))
    for _ in sys.stdin:
        seconds, trades = play()
        say(seconds=seconds, trades=len(trades), checksum=checksum(trades))


if __name__ == "__main__":
    main(*sys.argv[1:])
