"""The one place that unpickles: River's estimators, by an unpickler that admits classes by name.

A pickle can call whatever it can name. Here it can name classes of River's models (and the
functions by which Cython rebuilds them, and its distance), numpy's arrays and random states, and
plain containers. Two more come with them: `random.Random`, which seeded estimators hold, and
`functools.partial`, by which naive Bayes, neighbours and forests say what a new entry starts from;
it can call only what is named, so it reaches nothing more. Even so, only local files and signed
versions come here.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from streams.errors import StateError

_ADMITTED = {
    "builtins": {"bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list"}
    | {"object", "range", "set", "slice", "str", "tuple"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "functools": {"partial"},
    "river.utils.math": {"minkowski_distance"},
    "random": {"Random"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.random._pickle": {"__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"},
    "numpy.random._mt19937": {"MT19937"},
    "numpy.random._pcg64": {"PCG64"},
}
_WITHOUT = ("api", "bandit", "checks", "datasets", "evaluate", "stream")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        parts = module.split(".")
        river = parts[0] == "river" and not set(parts[1:2]) & set(_WITHOUT) and "." not in name
        if name in _ADMITTED.get(module, ()):
            return super().find_class(module, name)
        found = super().find_class(module, name) if river else None
        rebuilds = river and name.startswith("__pyx_unpickle_")
        if rebuilds or (isinstance(found, type) and found.__module__ == module):
            return found
        raise StateError(
            f"an estimator's state names {module}.{name}, which is not among River's models, "
            "numpy's arrays and containers, so it was not read; restore only what this program "
            "wrote, with estimators that River itself defines"
        )


def dumps(estimator: object) -> bytes:
    """The estimator as bytes."""
    return pickle.dumps(estimator, protocol=5)


def loads(raw: bytes) -> Any:
    """The estimator back; StateError when the bytes name anything that is not admitted."""
    try:
        return _Unpickler(io.BytesIO(raw)).load()
    except StateError:
        raise
    except Exception as error:
        raise StateError(
            f"an estimator's state of {len(raw)} bytes cannot be read ({error!r}); "
            "it is damaged or was written by another version of River"
        ) from error
