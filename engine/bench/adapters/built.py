"""A loop in C or C++ that feeds another engine, compiled where a compiler is at hand."""

import ctypes
import shutil
import subprocess
import time
from collections.abc import Callable
from io import UnsupportedOperation
from pathlib import Path
from typing import Any

import numpy as np


def built(source: str, folder: Path, more: list[str]) -> ctypes.CDLL:
    """The library made of a source beside this file; `more` goes to the compiler.

    Raises UnsupportedOperation where there is no compiler, or it refuses.
    """
    compiler = shutil.which("g++" if source.endswith(".cpp") else "gcc")
    if compiler is None:
        raise UnsupportedOperation("no C compiler on this machine")
    library = folder / f"{source.partition('.')[0]}.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC", "-o", str(library)]
    path = Path(__file__).with_name(source)
    command = [compiler, *flags, str(path), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnsupportedOperation(f"its loop does not compile: {done.stderr.strip()[:200]}")
    return ctypes.CDLL(str(library))


def looped(library: ctypes.CDLL, rows: np.ndarray) -> Callable[[], tuple[float, list[Any]]]:
    """A function that plays the rows once in the loop's own language: seconds, and the trades."""
    library.play.restype = ctypes.c_long
    rows = np.ascontiguousarray(rows)
    trades = np.empty((4 * len(rows), 4), dtype=np.int64)

    def play() -> tuple[float, list[Any]]:
        began = time.perf_counter()
        count = library.play(
            ctypes.c_void_p(rows.ctypes.data),
            ctypes.c_long(len(rows)),
            ctypes.c_void_p(trades.ctypes.data),
            ctypes.c_long(len(trades)),
        )
        return time.perf_counter() - began, trades[:count].tolist()

    return play
