"""The parts in this process: loaded from their file, or compiled first, and where they are.

They are loaded once, for all exchanges of a process.
"""

import threading
from collections.abc import Callable

import numpy as np

from engine.core.kernel import JIT, PARTS, WORDS
from engine.core.machine_code import load, read, together, write

Tell = Callable[[str, int, int], None]

ADDRESSES: dict[str, int] = {}  # of the parts that are loaded
LOCK = threading.Lock()


def is_cold() -> bool:
    """Whether parts are still to be compiled on this machine."""
    return JIT and not PARTS.keys() <= read(together()).keys()


def have_parts(names: list[str], tell: Tell | None = None) -> None:
    """Load parts that are not loaded; `tell` hears (name, number, total) before compiling one."""
    with LOCK:
        wanted = [name for name in names if name not in ADDRESSES]
        if not wanted:
            return
        kept = read(together())
        lacking = [name for name in wanted if name not in kept]
        if lacking:
            from engine.core.compiling import compile_parts

            kept |= compile_parts(lacking, tell)
            write(together(), kept)
        ADDRESSES.update(load({name: kept[name] for name in wanted}))


def link_parts(words: np.ndarray, tell: Tell | None = None) -> None:
    """Write the address of every part into a header; `tell` as for `have_parts`."""
    have_parts(list(PARTS), tell)
    for name, word in WORDS.items():
        words[word] = ADDRESSES[name]


def callable_part(made: Callable) -> Callable:
    """What Python calls, with plain integers only, of a part made for it (`python=True`); one that
    reads no State, as nothing is linked."""
    if not JIT:
        return made
    have_parts([made.part.name])
    return made.part.called
