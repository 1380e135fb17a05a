"""What a proof is: a claim, and steps that hold or raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""What a step found, as JSON."""


class BrokenError(AssertionError):
    """The claim does not hold; the text says where and how."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A claim that takes long to try."""

    claim: str
    count: int
    """How often it is tried at full count."""
    unit: str
    """What is counted."""
    steps: Callable[[int, Sequence[Record], Path], Iterator[Record]]
    """Called with the count, the records of the steps that are done and an empty folder, it yields
    the record of each further step. Raises BrokenError when the claim does not hold."""
    figures: Callable[[Sequence[Record]], Record]
    """What all steps together found, `count` among it."""
