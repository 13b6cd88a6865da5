"""Compiling parts: numba types them and writes them in LLVM's language, LLVM does the rest, once.

By itself numba optimises and assembles every inner kernel as if someone were to call it. Nobody
does: inner kernels are merged into parts, and it is parts that are optimised in full.
"""

import gc
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FunctionType, ModuleType

import msgspec
import numba
from numba.core import codegen
from numba.core.callconv import CPUCallConv
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

from engine.core.kernel import INNER, OPTIONS, PARTS, Part
from engine.core.machine_code import DECODER, Code, Codes, alone, read, write

PROCESSES_MAX = 4  # that compile side by side
COLLECT_AFTER = 200_000  # objects
LENGTH_BYTES = 8  # before what is sent
ADDRESSES = "numba.dynamic.globals"  # names of what is only true in this process

Tell = Callable[[str, int, int], None]


class _Library(codegen.JITCodeLibrary):
    """Code that is merged into a part, or is one: not for numba to run."""

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager(
            loop_vectorize=False, slp_vectorize=False, opt=0, cost="cheap"
        )
        passes.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


class _Codegen(codegen.JITCPUCodegen):
    _library_class = _Library

    def set_env(self, env_name: str, env: object) -> None:
        """Nothing of it runs here."""


class _Calls(CPUCallConv):
    """numba's way of calling, without the zeros that it writes to where a result and a fault will
    be: whoever is called writes the one or the other, and neither is read before."""

    def call_function(self, builder, callee, resty, argtys, args, attrs=None):
        with builder.goto_entry_block():
            result_at, fault_at = (
                builder.alloca(kind.pointee) for kind in callee.function_type.args[:2]
            )
        packed = self._get_arg_packer(argtys).as_arguments(builder, args)
        code = builder.call(callee, [result_at, fault_at, *packed], attrs=attrs or ())
        status = self._get_return_status(builder, code, builder.load(fault_at))
        result = self.context.get_returned_value(builder, resty, builder.load(result_at))
        return status, result


@contextmanager
def _as_parts() -> Iterator[_Codegen]:
    """Let numba make what it compiles for parts, not to be run."""
    context = cpu_target.target_context
    usual, context._internal_codegen = context._internal_codegen, _CODEGEN
    usual_calls, CPUContext.call_conv = CPUContext.call_conv, property(_Calls)
    try:
        yield _CODEGEN
    finally:
        context._internal_codegen = usual
        CPUContext.call_conv = usual_calls


_CODEGEN = _Codegen("crashtape.parts")


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """A compiler makes objects by the million and keeps them; to search them for garbage again and
    again takes a twentieth of its time."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def machine_code(made: Part) -> Code:
    """Compile a part."""
    options = {**OPTIONS, **INNER, "no_cpython_wrapper": made.called is None}
    with global_compiler_lock, _seldom_collecting(), _as_parts() as generator:
        compiled = numba.njit(**options)(made.function)
        compiled.compile(made.arguments)
        result = compiled.overloads[made.arguments]
        returns = result.signature.return_type
        assert returns == made.returns, f"part {made.name} returns {returns}, not {made.returns}"
        names = result.fndesc
        wrapper = (names.llvm_cpython_wrapper_name, names.env_name)
        exported = [names.llvm_func_name, *(wrapper if made.called else ("", ""))]
        module = result.library._final_module
        _finish(generator, module, exported)
        values = [*module.functions, *module.global_variables]
        assert not any(value.name.startswith(ADDRESSES) for value in values), made.name
        needs = [
            value.name
            for value in values
            if value.is_declaration and not value.name.startswith("llvm.")
        ]
        return Code(*exported, needs, generator._tm.emit_object(module))


def _finish(generator: _Codegen, module, exported: list[str]) -> None:
    """Merge everything into what the part shows, and optimise it. Names that are not shown cannot
    be taken for those of another part, which may be from another process."""
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name not in exported:
            value.linkage = "internal"
    passes, builder = generator._module_pass_manager()
    passes.run(module, builder)


# -- side by side -----------------------------------------------------------------------------


def _size(made: Part) -> int:
    """About how much there is to compile: bytecode of everything that is merged into it."""
    found: dict[int, int] = {}
    left: list[FunctionType] = [made.function]
    while left:
        function = left.pop()
        code = function.__code__
        if id(code) in found:
            continue
        found[id(code)] = len(code.co_code)
        scopes = [function.__globals__]
        scopes += [vars(each) for each in scopes[0].values() if isinstance(each, ModuleType)]
        reached = (scope.get(name) for name in code.co_names for scope in scopes)
        left += [each.py_func for each in reached if isinstance(each, Dispatcher)]
    return sum(found.values())


def compile_parts(names: list[str], tell: Tell | None = None) -> Codes:
    """Compile parts, the largest first, in as many processes as there are processors: numba
    compiles one thing at a time in each. What a process that ended early left is in files of its
    own. `tell` hears (name, number, total) before each."""
    done: Codes = {}
    for name in names:
        done |= read(alone(name))
    lacking = sorted(set(names) - set(done), key=lambda name: (-_size(PARTS[name]), name))
    left = deque(lacking)
    count = min(PROCESSES_MAX, os.cpu_count() or 1, len(left)) - 1
    others = [threading.Thread(target=_feed, args=(left, done), daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    while True:
        name = _next(left)
        if name is None:
            for other in others:
                other.join()
            left.extend(each for each in lacking if each not in done)  # of one that ended early
            others, name = [], _next(left)
            if name is None:
                return done
        if tell is not None:
            tell(PARTS[name].function.__name__, len(done) + 1, len(names))
        done[name] = _one(name)


def _next(left: deque[str]) -> str | None:
    try:
        return left.popleft()
    except IndexError:
        return None


def _one(name: str) -> Code:
    """A part, from its file where another process has compiled it by now."""
    kept = read(alone(name))
    if name not in kept:
        kept = {name: machine_code(PARTS[name])}
        write(alone(name), kept)
    return kept[name]


def _feed(left: deque[str], done: Codes) -> None:
    """Hand parts to another process one by one, and take their code."""
    modules = sorted({made.function.__module__ for made in PARTS.values()})
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; import {', '.join(modules)}; "
        "from engine.core import compiling; compiling.serve()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with other, suppress(OSError, msgspec.DecodeError):
        while (name := _next(left)) is not None:
            other.stdin.write(f"{name}\n".encode())
            other.stdin.flush()
            length = int.from_bytes(other.stdout.read(LENGTH_BYTES), "little")
            done[name] = DECODER.decode(other.stdout.read(length))[name]


def serve() -> None:
    """The other process: names of parts in, their code out."""
    for line in sys.stdin:
        name = line.strip()
        body = msgspec.msgpack.encode({name: _one(name)})
        sys.stdout.buffer.write(len(body).to_bytes(LENGTH_BYTES, "little") + body)
        sys.stdout.buffer.flush()
