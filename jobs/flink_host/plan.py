"""What every function of a job on Flink is given when the job is put together."""

from __future__ import annotations

from dataclasses import dataclass

from pyflink.common import Row

from jobs.config import Settings
from jobs.flink_host.parcel import address_of


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
    turn_s: float
    """How long a reader reads before it lets Flink take a checkpoint."""
    together: bool
    """Whether the operators of the only task run in one thread, one after the other."""
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

    def addressed(self, parcel: bytes) -> Row:
        """A parcel with the key by which Flink brings it to its task."""
        return Row(self.keys[address_of(parcel).lane], parcel)

    @property
    def by_turns(self) -> bool:
        """Whether state is written when a reader's turn ends, and not with every batch.

        In one thread nothing comes between a reader and what follows from what it read; a
        checkpoint is taken between two turns. In strict order rows go on when time does.
        """
        return self.together and not self.strict

    @property
    def strict(self) -> bool:
        """Whether rows wait to be sorted."""
        return self.settings.order == "strict"
