"""A loop in C or C++ that feeds another engine, compiled where a compiler is at hand."""

import ctypes
import shutil
import subprocess
from pathlib import Path


def built(source: str, folder: Path, more: list[str]) -> ctypes.CDLL:
    """The library made of a source beside this file; `more` goes to the compiler.

    Raises NotImplementedError where there is no compiler, or it refuses.
    """
    compiler = shutil.which("g++" if source.endswith(".cpp") else "gcc")
    if compiler is None:
        raise NotImplementedError("no C compiler on this machine")
    library = folder / f"{source.partition('.')[0]}.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC", "-o", str(library)]
    path = Path(__file__).with_name(source)
    command = [compiler, *flags, str(path), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotImplementedError(f"its loop does not compile: {done.stderr.strip()[:200]}")
    return ctypes.CDLL(str(library))
