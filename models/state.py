"""Putting a stored state back into the arrays it came from, or refusing it by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.base import Tensors
from streams.errors import StateError


def restore(
    parts: Tensors,
    fixed: Tensors,
    state: Mapping[str, npt.NDArray[Any]],
    model: str,
) -> None:
    """Copy the state's arrays into `parts`, after all were found sound.

    StateError unless the state has exactly the arrays of `parts` and `fixed`, each of the shape and
    type they have here, and those of `fixed` equal what they are here.
    """
    wanted = parts | fixed
    if set(state) != set(wanted):
        raise StateError(
            f"{model}: the state should hold {sorted(wanted)}; it holds {sorted(state)}. "
            "It was made by another model; start without it or name the model that made it"
        )
    for name, part in wanted.items():
        given = state[name]
        if given.shape != part.shape or given.dtype != part.dtype:
            raise StateError(
                f"{model}: {name} should be {part.dtype} {part.shape}; it is {given.dtype} "
                f"{given.shape}. The state was made by another configuration; start without it or "
                "go back to the configuration it was made by"
            )
        if name in fixed and not np.array_equal(given, part):
            raise StateError(
                f"{model}: {name} differs from this configuration's. The state was made by another "
                "configuration or other inputs; start without it or go back to those"
            )
    for name, part in parts.items():
        part[...] = state[name]


def prefixed(prefix: str, parts: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    """The parts under names that begin so."""
    return {f"{prefix}{name}": part for name, part in parts.items()}


def under(prefix: str, parts: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    """The parts whose names begin so, under the rest of their names.

    >>> under("a/", {"a/b": np.zeros(1), "c": np.ones(1)})
    {'b': array([0.])}
    """
    return {name.removeprefix(prefix): v for name, v in parts.items() if name.startswith(prefix)}
