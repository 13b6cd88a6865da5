"""Machine code of parts as it is kept in files, and loaded.

numba's own cache is a file for every kernel, each of them unpickled, rebuilt and resolved for
itself: a second for all parts. Here a part is the object code of one function. One file holds all
of them, and one engine links them in a few hundredths of a second.

A file is a digest and what the digest is of, so what was cut or altered is told from what is
whole, and counts as not there. Its folder is named by everything that machine code depends on: the
sources, numba and Python, LLVM, the processor.
"""

import ctypes
import hashlib
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import msgspec
from numba import _dynfunc, config
from numba.core.base import _load_global_helpers
from numba.core.codegen import get_host_cpu_features, initialize_llvm
from numba.core.runtime import _nrt_python

from engine.core.kernel import CACHE_FOLDER, FRONTS, PARTS

DIGEST_BYTES = 32


class Code(msgspec.Struct):
    """One part: its object code and the names in it. `wrapper` is what Python calls and
    `environment` a word that the wrapper reads; both are empty where Python never calls."""

    symbol: str
    wrapper: str
    environment: str
    needs: list[str]  # names that the process must have an address for
    object: bytes


Codes = dict[str, Code]  # by the name of the part
DECODER = msgspec.msgpack.Decoder(Codes)


@cache
def folder() -> Path:
    """Where code for this processor and this compiler is kept."""
    depends = (
        llvmlite.__version__,
        ".".join(map(str, llvm.llvm_version_info)),
        sys.implementation.cache_tag,
        llvm.get_process_triple(),
        config.CPU_NAME or llvm.get_host_cpu_name(),
        config.CPU_FEATURES or get_host_cpu_features(),
        str(config.OPT),
    )
    key = hashlib.blake2b("\n".join(depends).encode(), digest_size=8).hexdigest()
    return CACHE_FOLDER.joinpath(f"code-{key}")


def together() -> Path:
    """The file of all parts."""
    return folder().joinpath("all.bin")


def alone(name: str) -> Path:
    """The file of one part: what processes that compile side by side leave for each other."""
    return folder().joinpath(f"{name}.bin")


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


@cache
def _name_helpers() -> None:
    """Tell LLVM where the functions of numba are that code may call, as numba does itself once it
    compiles."""
    _load_global_helpers()
    for name, address in _nrt_python.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


def read(path: Path) -> Codes:
    """What a file holds; nothing where it is missing, damaged, or not of this process."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    body = memoryview(data)[DIGEST_BYTES:]
    if _digest(body) != data[:DIGEST_BYTES]:
        return {}
    codes = DECODER.decode(body)
    _name_helpers()
    needs = {name for code in codes.values() for name in code.needs}
    # LLVM ends the process over a name without an address
    return codes if all(map(llvm.address_of_symbol, needs)) else {}


def write(path: Path, codes: Codes) -> None:
    """Put a file in its place as a whole; without one, as where nothing may be written, the next
    process compiles again."""
    body = msgspec.msgpack.encode(codes)
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(_digest(body) + body)
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink()


@cache
def _engine() -> llvm.ExecutionEngine:
    """What holds the code of all parts for as long as the process lives."""
    initialize_llvm()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


@cache
def _environment() -> _dynfunc.Environment:
    """What wrappers want to have; they only look whether it is there."""
    return _dynfunc.Environment(globals={})


def load(codes: Codes) -> dict[str, int]:
    """Load parts that are not loaded yet; returns their addresses. Those that Python may call are
    given to what Python calls."""
    engine = _engine()
    for code in codes.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(code.object))
    engine.finalize_object()
    for name, code in codes.items():
        if code.wrapper:
            _open(name, code)
    return {name: engine.get_function_address(code.symbol) for name, code in codes.items()}


def _open(name: str, code: Code) -> None:
    """Let Python call a part."""
    made, engine = PARTS[name], _engine()
    place = engine.get_global_value_address(code.environment)
    ctypes.c_void_p.from_address(place).value = id(_environment())
    function = _dynfunc.make_function(
        sys.modules[made.function.__module__], made.function.__name__, name,
        engine.get_function_address(code.wrapper), _environment(), (),
    )  # fmt: skip
    FRONTS[made.called] = function  # numba takes it for one that is kept elsewhere
    made.called._insert([kind._code for kind in made.arguments], function)
