"""The one door to numba: `kernel` is a typed `njit` whose cache cannot go stale.

numba keys its disk cache by the kernel's own file, so a kernel that inlines one from another file
would keep the old code when that file changes. Here the cache folder is named by the content of the
file and of every project file it imports, and by nothing else: kernels are found again after the
project has moved. `NUMBA_DISABLE_JIT=1` runs every kernel as plain Python.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import config as numba_config
from numba.core import types
from numba.core.caching import UserProvidedCacheLocator
from numba.core.cgutils import create_struct_proxy, get_null_value, raw_memcpy
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic as numba_intrinsic
from numba.np.arrayobj import make_array, populate_array

Function = Callable[..., Any]
intrinsic: Any = numba_intrinsic  # its own type counts the compiler's context as an argument

CACHE = Path(
    os.environ.get("HEADRACE_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"
)
config: Any = numba_config  # its names are set at run time
PROJECT = Path(__file__).parent.parent
OURS = ("streams", "models", "operators", "jobs", "benchmarks", "headrace")
folders: set[Path] = set()
"""Where the compiled code of this process's kernels is cached."""
_digests: dict[Path, bytes] = {}
_announced = False


class ByContent(UserProvidedCacheLocator):
    """Finds compiled code by the name of its folder alone; numba's own also wants the same path."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        return Path(py_file).stem


# After ours numba's own, as by default: for folders that cannot be written to.
config.CACHE_LOCATOR_CLASSES = (
    f"{__name__}.ByContent,InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator"
)


def kernel(*signatures: str, inline: bool = False) -> Callable[[Function], Function]:
    """Compile a function to machine code for the given numba signatures, now, and cache it on disk.

    Strict IEEE arithmetic in program order (no fastmath), numpy's rules for division by zero, and
    the interpreter lock released while it runs. With no signature it compiles at its first call:
    for kernels that only other kernels call. An `inline` one
    becomes part of its callers.

    >>> @kernel("int64(int64)")
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> double(21)
    42
    """

    def wrap(function: Function) -> Function:
        source = Path(function.__code__.co_filename)
        cached = source.is_file() and function.__closure__ is None
        if cached:
            name = hashlib.blake2b(_digest(source) + function.__module__.encode(), digest_size=12)
            folder = CACHE / "kernels" / name.hexdigest()
            if signatures and not config.DISABLE_JIT and not folder.exists():
                _announce()
            folders.add(folder)
            config.CACHE_DIR = str(folder)
        compile_it: Any = numba.njit(
            list(signatures) or None,
            cache=cached,
            nogil=True,
            error_model="numpy",
            inline="always" if inline else "never",
        )
        return compile_it(function)  # type: ignore[no-any-return]

    return wrap


def _digest(path: Path) -> bytes:
    """The content of a file and of every project file it imports, from their import lines."""
    if path not in _digests:
        _digests[path] = b""  # ends the descent into files that import each other
        text = path.read_bytes()
        digest = hashlib.blake2b(f"{numba.__version__} {sys.version}".encode() + text)
        for name in re.findall(rb"^(?:from|import) ([\w.]+)", text, re.MULTILINE):
            imported = PROJECT / (name.decode().replace(".", "/") + ".py")
            # Installed, the project lies among libraries, which are not part of it.
            if imported.is_file() and name.decode().partition(".")[0] in OURS:
                digest.update(_digest(imported))
        _digests[path] = digest.digest()
    return _digests[path]


def _announce() -> None:
    global _announced  # noqa: PLW0603 - said once a process
    if not _announced:
        _announced = True
        sys.stderr.write("headrace: compiling kernels for this machine, once (about a minute)\n")
        sys.stderr.flush()


@intrinsic  # type: ignore[untyped-decorator]
def borrow(typing_context: Any, array: Any) -> Any:  # noqa: ARG001 - numba passes it
    """The same array without its owner, inside a kernel.

    Passing an array from kernel to kernel counts references with atomic instructions, several a
    call. A borrowed one has no owner to count; the caller's argument keeps the memory alive.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        struct: Any = make_array(array)  # type: ignore[no-untyped-call]
        null: Any = get_null_value
        given, lent = struct(context, builder, arguments[0]), struct(context, builder)
        for name in ("data", "shape", "strides", "itemsize", "nitems"):
            setattr(lent, name, getattr(given, name))
        for name in ("meminfo", "parent"):
            setattr(lent, name, null(getattr(lent, name).type))
        return lent._getvalue()  # noqa: SLF001 - the way numba's own intrinsics end

    return array(array), codegen


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, place: Any) -> Any:  # noqa: ARG001
    """Ask for the cache line of `array[place]`, flat, that will be read or written soon.

    A table larger than the cache costs one memory latency a look-up, unless several are under way.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct: Any = make_array(array)  # type: ignore[no-untyped-call]
        item = builder.gep(struct(context, builder, arguments[0]).data, [arguments[1]])
        byte = builder.bitcast(item, ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte.type], kind)
        builder.call(function, [byte, word(1), word(3), word(1)])
        return context.get_constant_generic(builder, signature.return_type, None)

    return types.none(array, place), codegen


@intrinsic  # type: ignore[untyped-decorator]
def copy_bytes(typing_context: Any, out: Any, at: Any, text: Any, start: Any, count: Any) -> Any:  # noqa: ARG001
    """out[at : at + count] = text[start : start + count], of two arrays that share no memory.

    A loop asks first whether they do, which takes longer than most texts.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct: Any = make_array
        copy: Any = raw_memcpy
        to, source = (
            builder.gep(struct(kind)(context, builder, array).data, [place])
            for kind, array, place in ((out, *arguments[:2]), (text, *arguments[2:4]))
        )
        copy(builder, to, source, arguments[4], 1)
        return context.get_constant_generic(builder, signature.return_type, None)

    return types.none(out, at, text, start, count), codegen


@intrinsic  # type: ignore[untyped-decorator]
def word_at(typing_context: Any, text: Any, at: Any) -> Any:  # noqa: ARG001
    """text[at : at + 8], all of which is there, as one number whose lowest byte is the first."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        struct: Any = make_array(text)  # type: ignore[no-untyped-call]
        byte = builder.gep(struct(context, builder, arguments[0]).data, [arguments[1]])
        word = builder.load(builder.bitcast(byte, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(text, at), codegen


@intrinsic  # type: ignore[untyped-decorator]
def first_byte(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    """Which byte of a word is its lowest that is not zero; 8: none is."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        zeros = builder.cttz(arguments[0], ir.IntType(1)(0))
        return builder.lshr(zeros, zeros.type(3))

    return types.int64(types.uint64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def foreign(typing_context: Any, function: Any, one: Any, other: Any) -> Any:  # noqa: ARG001
    """Call the C function at an address with two words, or with the first; what it gives back.

    Of a result of half a word only the lower half means anything.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

    return types.int64(types.int64, types.int64, types.int64), codegen


if config.DISABLE_JIT:  # plain Python counts references as it does, and fetches when it reads

    def borrow(array: Any) -> Any:
        """The array itself."""
        return array

    def prefetch(array: Any, place: Any) -> None:
        """Nothing."""

    def copy_bytes(out: Any, at: int, text: Any, start: int, count: int) -> None:
        """The same."""
        out[at : at + count] = text[start : start + count]

    def word_at(text: Any, at: int) -> Any:
        """The same."""
        return np.uint64(int.from_bytes(bytes(text[at : at + 8]), "little"))

    def first_byte(word: Any) -> int:
        """The same."""
        return next((place for place in range(8) if int(word) >> 8 * place & 0xFF), 8)

    def foreign(function: int, one: int, other: int) -> int:
        """The same."""
        word = ctypes.c_int64
        return int(ctypes.CFUNCTYPE(word, word, word)(function)(one, other))


def lend(*arrays: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where C-contiguous arrays of one or two dimensions lie, as rows (address, rows, columns).

    Handing an array to a kernel takes a tenth of a microsecond, which counts when a batch is one
    event; so what stays the same between calls is handed over as one table, and `lent` kernels
    take the arrays out of it. The caller keeps the arrays alive, and in place.
    """
    rows = [(a.__array_interface__["data"][0], *a.shape, 1)[:3] for a in arrays]
    return np.array(rows, np.int64)


def lent(kind: str) -> Any:
    """A function for kernels, (table, row), that gives back an array of this type from `lend`."""
    normalise: Any = normalize_signature
    ((array_type,), _) = normalise(f"void({kind})")
    if config.DISABLE_JIT:
        return _plainly_lent(array_type)

    @intrinsic  # type: ignore[untyped-decorator]
    def take(typing_context: Any, table: Any, row: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
            make: Any = make_array
            rows = make(table)(context, builder, values[0]).data
            first = builder.mul(values[1], values[1].type(3))
            places = [builder.add(first, first.type(column)) for column in range(3)]
            address, *shape = [builder.load(builder.gep(rows, [place])) for place in places]
            array = make(array_type)(context, builder)
            size = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
            strides = [first.type(size)]
            if array_type.ndim > 1:
                strides.insert(0, builder.mul(shape[1], strides[0]))
            populate: Any = populate_array
            populate(
                array,
                data=builder.inttoptr(address, array.data.type),
                shape=shape[: array_type.ndim],
                strides=strides,
                itemsize=first.type(size),
                meminfo=None,
            )
            return array._getvalue()  # noqa: SLF001

        return array_type(table, types.int64), codegen

    return take


def _plainly_lent(array_type: Any) -> Function:
    def take(table: npt.NDArray[np.int64], row: int) -> npt.NDArray[Any]:
        address, rows, columns = table[row].tolist()
        dtype = np.dtype(str(array_type.dtype))
        memory = (ctypes.c_byte * (rows * columns * dtype.itemsize)).from_address(address)
        flat = np.frombuffer(memory, dtype)
        return flat if array_type.ndim == 1 else flat.reshape(rows, columns)

    return take


_plain_functions: list[Function] = []


def address_of(function: Function) -> int:
    """Where a kernel of one signature lies in memory, for `from_address`; keep the kernel alive."""
    if config.DISABLE_JIT:
        _plain_functions.append(function)
        return len(_plain_functions) - 1
    compiled: Any = function
    (result,) = compiled.overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def from_address(signature: str) -> Any:
    """A function for kernels that makes an address a function of this signature again.

    Handing a function itself to a kernel takes numba 40 microseconds a call.
    """
    if config.DISABLE_JIT:
        return _plain_functions.__getitem__
    normalise: Any = normalize_signature
    arguments, result = normalise(signature)
    kind = types.FunctionType(result(*arguments))

    @intrinsic  # type: ignore[untyped-decorator]
    def call(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
            proxy: Any = create_struct_proxy(kind)  # type: ignore[no-untyped-call]
            function = proxy(context, builder)
            function.jit_addr = builder.inttoptr(values[0], ir.IntType(8).as_pointer())
            return function._getvalue()  # noqa: SLF001

        return kind(address), codegen

    return call
