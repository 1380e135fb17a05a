"""What operators decide about the models of a run in one process, heeded between two batches."""

from __future__ import annotations

from jobs.pipeline import Flow
from models.decisions import Decision, Decisions
from models.registry import Registry


class Heeding:
    """Does in `flow` what is decided in `registry`.

    With which batch a decision began to count is written beside it: a run that goes on, or is made
    again, heeds it before the same batch.
    """

    def __init__(self, flow: Flow, registry: Registry) -> None:
        self._flow, self._registry = flow, registry
        self.decisions = Decisions(flow.pipeline.definition)

    def heed(self, batch: int, *, again: bool = False) -> None:
        """Before this batch, do what was decided; of one taken `again` only what was done then.

        Raises StateError where a decision is damaged or its version is gone.
        """
        while found := self._next():
            since = self._registry.effective(found.number)
            if since is None and again:
                return
            if since is None:
                self._registry.take_effect(found.number, batch)
            elif since > batch:
                return
            self._do(found)

    def heed_at_once(self, most: int | None = None) -> None:
        """Do all that was decided, or the first `most` decisions, and note nothing."""
        while (found := self._next()) and (most is None or found.number <= most):
            self._do(found)

    def _next(self) -> Decision | None:
        return self._registry.decision(len(self.decisions.log) + 1)

    def _do(self, decision: Decision) -> None:
        decisions, lineup = self.decisions, self._flow.lineup
        decisions.take(decision)
        place = list(self._flow.pipeline.contenders).index(decisions.model)
        if decisions.held is None:
            lineup.follow(place)
        else:
            lineup.hold(place, decisions.held, self._registry.load(decisions.held))
