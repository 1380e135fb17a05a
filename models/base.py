"""A `Model` is configuration, a `Learner` holds what was learnt, a `Version` scores.

    model = Linear(crosses=[("amount", "customer_mean_30d")])   # in a pipeline file
    learner = model.bind(names)                                # empty, for these inputs
    learner.learn_many(x, y, weight)                           # matured examples, in order
    version = learner.version()                                # frozen; learning goes on
    version.predict_many(x)                                    # calibrated probabilities

`models.checks` is this contract as code: a new model is tested by being listed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from streams.errors import ConfigError

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Reasons = npt.NDArray[np.int16]
Tensors = dict[str, npt.NDArray[Any]]
"""Named arrays: what a version or a learner's state consists of, besides its configuration."""


class Version(Protocol):
    """Everything that scores, frozen: weights, bin edges, calibration, threshold.

    Scoring is one scalar kernel applied to row after row, so a batch scores as its rows do one by
    one, bit for bit, and it is safe from several threads at once.
    """

    kind: ClassVar[str]
    """What `models.registry` finds the class by."""
    names: tuple[str, ...]
    """The inputs, in the order of the columns of x."""

    @property
    def threshold(self) -> float:
        """A score of at least this is for review. 1.0 (nothing is) before any example."""

    def predict_many(self, x: Floats) -> Floats:
        """Probabilities of a positive label, strictly between 0 and 1.

        `x` is float64 (n, len(names)), C-contiguous, NaN where missing; the result is (n,).
        ValueError on another number of columns, TypeError on another type or layout.
        """

    def reasons_many(self, x: Floats, k: int) -> Reasons:
        """The up to k inputs that raise each score's log-odds most above the average, int16 (n, k).

        Indices into `names`, the largest contribution first, -1 where fewer raise it.
        """

    def contributions_many(self, x: Floats) -> Floats:
        """What each input adds to each score's log-odds, last the base: float64 (n, inputs + 1).

        A row sums to the log-odds of its score. The base is what an event of which nothing is known
        scores, or the average event, where the model keeps that.
        """

    def intervals_many(self, scores: Floats) -> Floats:
        """Between what shares of positives events of such scores have had of late, float64 (n, 2).

        The least and the most, at 95 % (`models.intervals`); 0 and 1 where nothing is known. A
        score outside its interval is not to be taken at its word.
        """

    def tensors(self) -> Tensors:
        """The arrays of the version."""

    def config(self) -> dict[str, Any]:
        """What else it takes to score, as JSON values."""

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The version whose `config()` and `tensors()` these are; it scores to the same bit."""


class Learner(Protocol):
    """What has been learnt so far. No clock and no unseeded randomness: same calls, same bits."""

    names: tuple[str, ...]

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        """Learn matured examples one by one in order.

        `x` as in `Version.predict_many`; `y` int8 (n,) of 0 and 1; `weight` float64 (n,), how many
        examples each stands for. Any cut of the same examples into calls gives the same bits.
        """

    def version(self) -> Version:
        """What scores as of now: a copy that later learning does not change."""

    def state(self) -> Tensors:
        """A copy of everything learnt."""

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` as if never interrupted, to the bit.

        StateError when it comes from another configuration or other inputs.
        """


@runtime_checkable
class Adaptive(Protocol):
    """A learner whose pace can be changed while it learns."""

    def adapt(self, rate: float) -> None:
        """Learn from here on `rate` times as fast as declared; 1 is as declared.

        What is scored does not change by it, and the rate is part of `state()`. ConfigError where
        the configuration leaves nothing to change.
        """


@runtime_checkable
class Retrainable(Protocol):
    """A learner that is made anew from time to time, from examples it keeps."""

    def retrain(self) -> None:
        """Be made anew now; when it is due next does not change."""


class Model(Protocol):
    """A model's configuration, as a pipeline file states it."""

    def bind(self, names: tuple[str, ...]) -> Learner:
        """A learner that has seen nothing, for inputs of these names in this order.

        ConfigError when the configuration speaks of an input that is not among them.
        """


def column(names: tuple[str, ...], name: str, model: str) -> int:
    """Where the input is.

    >>> column(("amount", "night"), "night", "Linear")
    1
    """
    if name not in names:
        wanted = f"{model} uses the input {name!r}, which the pipeline does not make"
        raise ConfigError(f"{wanted}; it makes {', '.join(names) or 'none'}")
    return names.index(name)


def examine(names: tuple[str, ...], x: Floats) -> None:
    """ValueError unless x has one column for each name."""
    if x.ndim != 2 or x.shape[1] != len(names):
        wanted = f"inputs of shape (n, {len(names)}), a column for each of {', '.join(names)}"
        raise ValueError(f"wanted {wanted}; got {x.shape}")
