"""What every function of a job on Flink is given when the job is put together."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.config import Settings


@dataclass(frozen=True)
class Plan:
    """What every function of a job is given."""

    settings: Settings
    keys: tuple[str, ...]
    """Flink's key of each lane."""
    tasks: int
    """How many there are of each operator."""
    memory_bytes: int
    """Of the records that a task keeps at hand."""
    pace_s: float
    """The least time between two batches of a reader, while they are small."""
    release: str
    """Of the code that put the job together."""
    definition: str
    """Of the pipeline as it was there."""
    brought: str = ""
    """The folder of a state that comes from elsewhere; empty if none does."""
    leaving: str = ""
    """The folder that the state is written to; it is all that such a job does."""
    warm_up: bool = False
    """Whether features that are new to the job's state may begin short."""

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self.keys)

    @property
    def strict(self) -> bool:
        """Whether rows wait to be sorted."""
        return self.settings.order == "strict"
