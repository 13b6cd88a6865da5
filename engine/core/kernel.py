"""The one place where numba is configured: what a kernel is and where its machine code is kept.

Inner kernels are compiled into their callers; entry kernels are also cached on disk, in a folder
named by a hash of every source file that can change their machine code, because numba by itself
does not notice an edited constant or callee in another file. With NUMBA_DISABLE_JIT=1 the same
functions run as plain Python.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numba
from numba import config

if not __debug__:
    raise RuntimeError("python -O is refused: assertions are part of the engine")

JIT = not config.DISABLE_JIT
OPTIONS = {"fastmath": False, "error_model": "python"}


def source_hash() -> str:
    """Hash of the core's sources, the constants and the compiler's version."""
    here = Path(__file__).parent
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    for path in [here.parent / "constants.py", *sorted(here.glob("*.py"))]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where compiled entry kernels are kept; CRASHTAPE_CACHE_DIR overrides it."""
    chosen = os.environ.get("CRASHTAPE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    folder = Path(chosen) if chosen else Path.home() / ".cache"
    folder = folder / "crashtape" / f"kernels-{source_hash()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"crashtape-kernels-{source_hash()}"
        folder.mkdir(parents=True, exist_ok=True)
    return folder


CACHE_FOLDER = cache_folder() if JIT else Path(tempfile.gettempdir())


def is_cold() -> bool:
    """Whether the entry kernels are still to be compiled on this machine."""
    return JIT and not any(CACHE_FOLDER.glob("**/*.nbc"))


def kernel(function: Callable) -> Callable:
    """An inner kernel: a call in the caller's machine code."""
    return numba.njit(**OPTIONS)(function)


def inlined(function: Callable) -> Callable:
    """A small inner kernel whose machine code is always merged into its caller."""
    return numba.njit(forceinline=True, **OPTIONS)(function)


def entry(function: Callable) -> Callable:
    """A kernel that Python calls: compiled once, cached under `CACHE_FOLDER`."""
    if not JIT:
        return function
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    finally:
        config.CACHE_DIR = previous
