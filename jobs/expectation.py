"""What a pipeline file expects of its models: how a score answers when inputs are changed.

    Pipeline(..., behaviour={
        "a cent is nothing": steady({"amount": lambda x: x + 0.01}, within=0.1),
        "the weekday alone decides nothing": invariant({"weekday": lambda x: (x + 1) % 7}),
        "one more fraud here raises": raises({"run_length": lambda n: n + 1}, share=0.95),
    })

Each is tried on events as they were logged (`headrace check behaviour`): perturbation, invariance
and directional expectations, after Ribeiro and others, *Beyond Accuracy: Behavioral Testing of NLP
Models with CheckList*, 2020. What a state depends on they are no part of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.errors import ConfigError

Floats = npt.NDArray[np.float64]
Change = Callable[[Floats], Any]
"""From the values of an input, (n,), NaN where missing, what they would be instead."""
Where = Callable[[Floats], Any]
"""From the values of an input, which events are meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A change of inputs, and how far it may move the log-odds of an event's score.

    `change`, by input, of all at once: an input that follows from another is changed along with it.
    `share`: of the events that it changes, how many at least must move by `low` to `high`. `mean`:
    which way the score must move on average, 1 up, -1 down, 0 either. `where`, by input: which
    events it is tried on, by default all. `of`: of which models it is expected, by default of all.
    """

    change: Mapping[str, Change]
    low: float = -math.inf
    high: float = math.inf
    share: float = 1.0
    mean: int = 0
    where: Mapping[str, Where]
    of: tuple[str, ...]

    @property
    def said(self) -> str:
        """What it expects, in words.

        >>> raises({"amount": lambda x: 2 * x}, share=0.9).said
        'never falls for 90% of events, and rises on average'
        """
        if self.low == self.high == 0:
            one = "stays the same to the bit"
        elif self.mean:
            one = "never falls" if self.mean > 0 else "never rises"
        else:
            one = f"moves by at most {self.high:g}"
        mean = {1: "rises on average", -1: "falls on average"}.get(self.mean, "")
        of = f" for {self.share:.0%} of events" if self.share < 1 else ""
        if not self.share:
            return mean
        return f"{one}{of}, and {mean}" if mean else f"{one}{of}"

    def check(self, name: str, inputs: Collection[str], models: Collection[str]) -> None:
        """ConfigError where it speaks of an input or a model that is not there."""
        for kind, asked, there in (
            ("input", (*self.change, *self.where), inputs),
            ("model", self.of, models),
        ):
            if unknown := [each for each in asked if each not in there]:
                raise ConfigError(
                    f"behaviour {name!r}: there is no {kind} {unknown[0]!r}; there are "
                    f"{', '.join(there)}"
                )


def steady(
    change: Mapping[str, Change],
    *,
    within: float,
    share: float = 1.0,
    where: Mapping[str, Where] | None = None,
    of: tuple[str, ...] = (),
) -> Expectation:
    """Expect that a small change moves the log-odds by `within` at most, of a `share` of events."""
    return Expectation(
        change=change, low=-within, high=within, share=share, where=where or {}, of=of
    )


def invariant(
    change: Mapping[str, Change],
    *,
    where: Mapping[str, Where] | None = None,
    of: tuple[str, ...] = (),
) -> Expectation:
    """Expect that these inputs do not matter: the score stays the same to the bit."""
    return Expectation(change=change, low=0.0, high=0.0, where=where or {}, of=of)


def raises(
    change: Mapping[str, Change],
    *,
    share: float = 1.0,
    where: Mapping[str, Where] | None = None,
    of: tuple[str, ...] = (),
) -> Expectation:
    """Expect that the change lowers no score of a `share` of events, and raises it on average."""
    return Expectation(change=change, low=0.0, share=share, mean=1, where=where or {}, of=of)


def lowers(
    change: Mapping[str, Change],
    *,
    share: float = 1.0,
    where: Mapping[str, Where] | None = None,
    of: tuple[str, ...] = (),
) -> Expectation:
    """Expect that the change raises no score of a `share` of events, and lowers it on average."""
    return Expectation(change=change, high=0.0, share=share, mean=-1, where=where or {}, of=of)
