"""Which version scores: what operators have decided, in one order, each decision once.

    Decisions(pipeline).take(decision)    # as they come; whether it counts

Before any decision the newest version scores of the model that the pipeline declares as its
champion. `promote` gives that to another of its models, whose newest version scores from then on.
`rollback` makes one version score, and no newer one, until the next decision. Learning goes on
untouched by either: every model learns everything, whoever scores.

Decisions are numbered from 1. Of two with the same number the first counts, so that who decides
without knowing of the last decision decides nothing.
"""

from __future__ import annotations

from typing import Literal

from msgspec.json import Decoder

from models.manifest import Sealed

CHAMPION = "champion"
"""The name of the model that a pipeline declares as its champion."""


class Decision(Sealed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the audit log."""

    number: int
    action: Literal["promote", "rollback"]
    model: str
    """Whose versions score from now on."""
    sequence: int
    """Of a rollback the version that scores; of a promotion the newest there was."""
    before: int
    """The version that was to score until then; 0 is the prior."""
    pipeline: str
    """The hash of the pipeline that this is about: for any other nothing follows."""
    by: str
    """Who decided."""
    reason: str = ""
    at_us: int
    """When, microseconds UTC of the wall clock."""

    @property
    def held(self) -> int | None:
        """The version that scores whatever is learnt; None if newer ones take over."""
        return self.sequence if self.action == "rollback" else None


DECODER = Decoder(Decision)


class Decisions:
    """The decisions of a deployment, and what follows for the pipeline of one definition.

    >>> decisions = Decisions("9f3a")
    >>> about = {"model": "forest", "before": 8, "pipeline": "9f3a", "by": "ann", "at_us": 0}
    >>> decisions.take(Decision(number=1, action="promote", sequence=7, **about))
    True
    >>> decisions.take(Decision(number=1, action="rollback", sequence=5, **about))
    False
    >>> decisions.model, decisions.held
    ('forest', None)
    """

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self.log: list[Decision] = []
        self.model = CHAMPION
        """Whose versions score."""
        self.held: int | None = None
        """The one version that scores; None if it is always the newest."""

    @property
    def named(self) -> set[int]:
        """Versions that a decision has named: they are kept for good."""
        return {number for each in self.log for number in (each.sequence, each.before)}

    def take(self, decision: Decision) -> bool:
        """Whether this is the next decision: then it counts."""
        if decision.number != len(self.log) + 1:
            return False
        self.log.append(decision)
        if decision.pipeline == self._pipeline:
            self.model, self.held = decision.model, decision.held
        return True
