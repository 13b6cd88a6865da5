"""Windows: typed views of raw memory for kernels, without what an array costs them.

A numba array wraps negative indices round, which needs its length at every access, and reloads its
address after every store. A window has neither: rows are counted from 0, and the header word that
holds a table's address never changes while a kernel runs, which LLVM is told.
"""

import ctypes
import operator

import numpy as np
from llvmlite import ir
from numba import carray, from_dtype, types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from engine.core.kernel import INTEGERS, JIT, inlined

WORD = ir.IntType(64)


class Window(types.Type):
    """Rows of one record or integer type in memory that somebody else owns."""

    def __init__(self, row: types.Type):
        self.row = row
        super().__init__(name=f"Window({row})")


@register_model(Window)
class WindowModel(models.StructModel):
    """Where the rows begin, and how many there are."""

    def __init__(self, manager, kind):
        super().__init__(manager, kind, [("at", types.voidptr), ("rows", types.int64)])


@infer_global(operator.getitem)
class _TakeRow(AbstractTemplate):
    def generic(self, arguments, keywords):
        window, index = arguments
        if isinstance(window, Window) and isinstance(index, INTEGERS):
            return signature(window.row, window, types.intp)
        return None


@infer_global(operator.setitem)
class _PutRow(AbstractTemplate):
    def generic(self, arguments, keywords):
        window, index, _ = arguments
        if isinstance(window, Window) and isinstance(index, INTEGERS):
            return signature(types.none, window, types.intp, window.row)
        return None


@infer_global(len)
class _CountRows(AbstractTemplate):
    def generic(self, arguments, keywords):
        (window,) = arguments
        return signature(types.intp, window) if isinstance(window, Window) else None


def _row_pointer(context, builder, kind, window, index):
    at = cgutils.create_struct_proxy(kind)(context, builder, window).at
    size = context.get_abi_sizeof(context.get_data_type(kind.row))
    place = builder.gep(at, [builder.mul(index, ir.Constant(WORD, size), flags=["nsw"])])
    return builder.bitcast(place, context.get_data_type(kind.row).as_pointer())


@lower_builtin(operator.getitem, Window, types.intp)
def _take_row(context, builder, sig, arguments):
    kind = sig.args[0]
    pointer = _row_pointer(context, builder, kind, *arguments)
    if isinstance(kind.row, types.Record):
        return builder.bitcast(pointer, context.get_value_type(kind.row))
    return context.unpack_value(builder, kind.row, pointer)


@lower_builtin(operator.setitem, Window, types.intp, types.Any)
def _put_row(context, builder, sig, arguments):
    kind = sig.args[0]
    pointer = _row_pointer(context, builder, kind, *arguments[:2])
    if isinstance(kind.row, types.Record):
        count = ir.Constant(WORD, kind.row.size)
        cgutils.raw_memcpy(builder, pointer, arguments[2], count, 1)
    else:
        context.pack_value(builder, kind.row, arguments[2], pointer)
    return context.get_dummy_value()


@lower_builtin(len, Window)
def _count_rows(context, builder, sig, arguments):
    return cgutils.create_struct_proxy(sig.args[0])(context, builder, arguments[0]).rows


def _open(context, builder, kind, at, rows):
    window = cgutils.create_struct_proxy(kind)(context, builder)
    window.at = builder.inttoptr(at, cgutils.voidptr_t)
    window.rows = rows
    return window._getvalue()


@intrinsic
def _window(typing_context, address, rows, dtype):
    kind = Window(dtype.dtype)

    def codegen(context, builder, sig, arguments):
        return _open(context, builder, kind, *arguments[:2])

    return kind(types.int64, types.int64, dtype), codegen


def _load_fixed(builder, words, number):
    """A header word that need be loaded only once by whoever needs it often."""
    word = builder.load(builder.gep(words, [ir.Constant(WORD, number)]))
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word


def table_window(at: int, rows: int, dtype: np.dtype):
    """An intrinsic: State address -> window on the table whose address and size are in these two
    words of the header, which stay as they are while a kernel runs."""
    kind = Window(from_dtype(dtype))

    @intrinsic
    def table(typing_context, s):
        def codegen(context, builder, sig, arguments):
            words = builder.inttoptr(arguments[0], WORD.as_pointer())
            place, count = (_load_fixed(builder, words, number) for number in (at, rows))
            return _open(context, builder, kind, place, count)

        return kind(types.int64), codegen

    return table


@intrinsic
def fetch_at(typing_context, address):
    """Ask for the line of memory at an address."""

    def codegen(context, builder, sig, arguments):
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        line = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        builder.call(ask, [line, number(1), number(3), number(1)])  # to be written, kept near
        return context.get_dummy_value()

    return types.none(types.int64), codegen


def table_fetch(at: int, dtype: np.dtype, further: int = 0):
    """An asker: the line of memory where a row of a table begins, or so many bytes further, is
    wanted soon. It changes nothing but the time."""
    size = dtype.itemsize
    if not JIT:
        return lambda s, row: None

    @intrinsic
    def place_of(typing_context, s, row):
        def codegen(context, builder, sig, arguments):
            words = builder.inttoptr(arguments[0], WORD.as_pointer())
            offset = builder.mul(arguments[1], ir.Constant(WORD, size))
            offset = builder.add(offset, ir.Constant(WORD, further))
            return builder.add(_load_fixed(builder, words, at), offset)

        return types.int64(types.int64, types.int64), codegen

    @inlined
    def fetch(s, row):
        fetch_at(place_of(s, row))

    return fetch


def plain_window(address: int, rows: int, dtype: np.dtype) -> np.ndarray:
    """The same for the lane that is not compiled."""
    memory = (ctypes.c_char * (int(rows) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memory, dtype=dtype)


@intrinsic
def _pointer(typing_context, address):
    def codegen(context, builder, sig, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@inlined
def _array(address, rows, dtype):
    return carray(_pointer(address), (rows,), dtype)


window_at = _window if JIT else plain_window
"""Window on rows of a dtype at an address."""

view_at = _array if JIT else plain_window
"""The same as an array, for whoever wants slices of it."""
