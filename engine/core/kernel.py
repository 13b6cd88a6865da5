"""The one place where numba is configured: what a kernel is and where its machine code is kept.

Inner kernels are compiled into their callers; entry kernels are also cached on disk, in a folder
named by a hash of every source file that can change their machine code, because numba by itself
does not notice an edited constant or callee in another file. With NUMBA_DISABLE_JIT=1 the same
functions run as plain Python.
"""

import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils, typed_passes, untyped_passes
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic

if not __debug__:
    raise RuntimeError("python -O is refused: assertions are part of the engine")

JIT = not config.DISABLE_JIT
OPTIONS = {"fastmath": False, "error_model": "python"}
INTEGERS = (types.Integer, types.Boolean, types.IntEnumMember)


SKIPPED = (
    untyped_passes.WithLifting,
    untyped_passes.InlineClosureLikes,
    untyped_passes.RewriteDynamicRaises,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.InlineInlinables,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.LiteralUnroll,
    untyped_passes.LiteralPropagationSubPipelinePass,
    typed_passes.InlineOverloads,
    typed_passes.NopythonRewrites,
)


class _Lean(CompilerBase):
    """numba's passes without those that look for what no kernel has: closures, comprehensions,
    loops over literals, expressions of whole arrays."""

    def define_pipelines(self) -> list[PassManager]:
        lean = PassManager("kernel")
        for made, about in DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
            if made not in SKIPPED:
                lean.add_pass(made, about)
        lean.finalize()
        return [lean]


INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _Lean}


def source_hash() -> str:
    """Hash of the core's sources, the shared vocabulary and the compiler's version."""
    here = Path(__file__).parent
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    shared = [here.parent / "constants.py", here.parent / "bearers.py"]
    for path in [*shared, *sorted(here.glob("*.py"))]:
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


def kernel(function: Callable) -> Callable:
    """An inner kernel: a call in the caller's machine code, or merged into it if LLVM prefers. It
    is said that this is not forced: numba would take it from whoever is compiled first."""
    if not JIT:
        return _plain(function)
    return _widened(numba.njit(forceinline=False, **OPTIONS, **INNER)(function))


def inlined(function: Callable) -> Callable:
    """A small inner kernel whose machine code is always merged into its caller."""
    if not JIT:
        return _plain(function)
    return _widened(numba.njit(forceinline=True, **OPTIONS, **INNER)(function))


def _plain(function: Callable) -> Callable:
    """The uncompiled lane of a kernel: narrow record fields are widened here too."""

    @functools.wraps(function)
    def shell(*arguments):
        return function(
            *[np.int64(value) if isinstance(value, np.integer) else value for value in arguments]
        )

    return shell


def _widened(compiled: Dispatcher) -> Dispatcher:
    """Widen every integer argument to int64 at the call, so that one compilation of a kernel
    serves narrow record fields, enum members, booleans and plain integers alike."""
    lookup = compiled.get_call_template

    def get_call_template(arguments, keywords):
        widened = [
            types.int64 if isinstance(kind, INTEGERS) else kind
            for kind in map(types.unliteral, arguments)
        ]
        return lookup(tuple(widened), keywords)

    compiled.get_call_template = get_call_template
    return compiled


# -- parts ------------------------------------------------------------------------------------
#
# A kernel contains the machine code of everything it calls, and so does every kernel above it:
# one tree of two hundred functions would be optimised over and over, for minutes. So the tree is
# cut into parts. A part is compiled and cached by itself; other parts reach it through an address
# that `link_parts` writes into the header of a State block.

NOTHING = types.none
INT = types.int64
INTS_3 = types.UniTuple(types.int64, 3)
INTS_4 = types.UniTuple(types.int64, 4)

PART_WORDS = 128  # words of the header kept for addresses
FIRST_PART_WORD = 256


def _places() -> dict[tuple[str, str], int]:
    """Every part in the sources and the word of its address. Machine code in the cache knows these
    words, so they must not depend on which file happens to be imported first."""
    found = [
        (path.stem, name)
        for path in sorted(Path(__file__).parent.glob("*.py"))
        for name in re.findall(
            r"^@part\(\w+(?:, python=True)?\)\ndef (\w+)\(", path.read_text("utf-8"), re.M
        )
    ]
    assert len(found) <= PART_WORDS, "the header has no word left for another part"
    return {key: place for place, key in enumerate(found)}


PLACES = _places()


class Part(NamedTuple):
    """A kernel whose machine code stands by itself: takes int64 only, returns what is said."""

    function: Callable
    returns: types.Type
    called: Dispatcher | None = None  # what Python calls; None: only other parts call it

    @property
    def name(self) -> str:
        return f"{self.function.__module__}.{self.function.__name__}"

    @property
    def arguments(self) -> tuple[types.Type, ...]:
        return (types.int64,) * self.function.__code__.co_argcount


PARTS: dict[str, Part] = {}
FRONTS: dict[Callable, Callable] = {}  # what Python calls: its compiled function, once loaded
WORDS: dict[str, int] = {}  # of the header: where the address of a part is


def part(returns: types.Type, *, python: bool = False) -> Callable:
    """Decorator of a kernel that is a part: takes int64 only, `s` first; returns what is said.
    With `python`, Python may call it too: see `callable_part`."""

    def make(function: Callable) -> Callable:
        if not JIT:
            return _plain(function)
        made = _member(function, returns, python)
        word = FIRST_PART_WORD + PLACES[function.__module__.rpartition(".")[2], function.__name__]
        WORDS[made.name] = word
        names = ", ".join(function.__code__.co_varnames[: len(made.arguments)])
        source = f"def shell({names}):\n    return call(s, ({names},))\n"
        scope = {"call": _call_through(word, returns)}
        exec(source, scope)
        shell = _widened(numba.njit(forceinline=True, **OPTIONS, **INNER)(scope["shell"]))
        shell.part = made
        return shell

    return make


def _member(function: Callable, returns: types.Type, python: bool) -> Part:
    made = Part(function, returns, numba.njit(**OPTIONS)(function) if python else None)
    PARTS[made.name] = made
    return made


def front(function: Callable) -> Callable:
    """A part that only Python calls, with plain integers; it returns one."""
    return _member(function, INT, python=True).called if JIT else function


def _call_through(word: int, returns: types.Type) -> Callable:
    """An intrinsic: call the part whose address is in a header word; faults propagate."""

    @intrinsic
    def call(typing_context, s, arguments):
        signature = returns(s, arguments)

        def codegen(context, builder, signature, values):
            kinds = signature.args[1].types
            convention = context.call_conv
            function = convention.get_function_type(returns, kinds)
            words = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
            place = builder.gep(words, [ir.Constant(ir.IntType(64), word)])
            pointer = builder.inttoptr(builder.load(place), function.as_pointer())
            with builder.goto_entry_block():
                result_at, fault_at = (builder.alloca(kind.pointee) for kind in function.args[:2])
            unpacked = cgutils.unpack_tuple(builder, values[1], len(kinds))
            code = builder.call(pointer, [result_at, fault_at, *unpacked])
            faulty = builder.icmp_signed("!=", code, ir.Constant(code.type, 0))
            with cgutils.if_unlikely(builder, faulty):
                builder.store(builder.load(fault_at), builder.function.args[1])
                builder.ret(code)
            return context.get_returned_value(builder, returns, builder.load(result_at))

        return signature, codegen

    return call


def direct(made: Callable, count: int) -> Callable:
    """An entry kernel of `count` plain integers as Python calls it fastest: its compiled function,
    without the dispatcher that looks at every argument first. A front must be loaded."""
    if not JIT:
        return made
    if made in FRONTS:
        return FRONTS[made]
    arguments = (types.int64,) * count
    if arguments not in made.overloads:
        made.compile(arguments)
    return made.overloads[arguments].entry_point


def _cached(function: Callable) -> Dispatcher:
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    finally:
        config.CACHE_DIR = previous


def entry(function: Callable) -> Callable:
    """A kernel that Python calls: compiled once, cached under `CACHE_FOLDER`."""
    return _cached(function) if JIT else function
