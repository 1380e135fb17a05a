"""Python's idea of the current thread, put right inside a Java Virtual Machine.

In thread mode Flink's Python gives every operator a thread state of its own, also where several run
in one thread. Python's C interface knows one a thread: `PyGILState_Ensure`, which numba, ctypes and
pyarrow use, takes another than the one in force, and waits for ever for a lock that this very
thread holds. So whoever is called by Flink first says which thread state is in force.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import cache, wraps
from threading import Thread
from typing import Any

_KEYS = 1024
"""A process has no more thread-specific values (PTHREAD_KEYS_MAX)."""


def _function(library: ctypes.PyDLL, name: str, result: object, *arguments: object) -> Callable:  # type: ignore[type-arg]
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found  # type: ignore[no-any-return]


# PyDLL keeps the interpreter's lock during a call: no thread can come in between.
_own = ctypes.PyDLL(None)
_in_force = _function(ctypes.pythonapi, "PyThreadState_Get", ctypes.c_void_p)
_known = _function(ctypes.pythonapi, "PyGILState_GetThisThreadState", ctypes.c_void_p)
_get = _function(_own, "pthread_getspecific", ctypes.c_void_p, ctypes.c_uint)
_set = _function(_own, "pthread_setspecific", ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


@cache
def _key() -> int:
    """Under which key Python keeps a thread's state: the one that holds it in ordinary threads."""
    found = set(range(_KEYS))

    def look() -> None:
        state = _known()
        found.intersection_update({key for key in range(_KEYS) if _get(key) == state})

    for _ in range(2):
        thread = Thread(target=look)
        thread.start()
        thread.join()
    if len(found) != 1:
        raise RuntimeError(f"Python's thread states: wanted one key of them, found {sorted(found)}")
    return found.pop()


def adopt() -> None:
    """Let the thread state in force be the one that Python's C interface knows of this thread.

    >>> adopt()
    >>> _known() == _in_force()
    True
    """
    state = _in_force()
    if _known() != state:
        _set(_key(), state)


def adopted(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Adopt the state in force whenever Flink takes the next of what a generator function makes.

    In between it may have called another operator in this thread.
    """

    @wraps(function)
    def taken(*arguments: Any) -> Iterator[Any]:
        adopt()
        for each in function(*arguments):
            yield each
            adopt()

    return taken
