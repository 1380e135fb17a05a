"""What every function of a job on Flink is given when the job is put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyflink.common import Row

from jobs.config import Settings
from jobs.flink_host.parcel import KEEP, address_of, nothing_but
from jobs.lanes.lanes import first_lane


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

    def kept(self, reader: int) -> Iterator[Row]:
        """To each task: state is to be written, for a turn of this reader has ended.

        A checkpoint is taken between two turns, and follows what came of them from operator to
        operator: the last that any of them is told before it is this.
        """
        for task in range(self.tasks):
            lane = first_lane(task, self.lanes, self.tasks)
            yield self.addressed(nothing_but(lane, reader, KEEP))

    @property
    def strict(self) -> bool:
        """Whether rows wait to be sorted."""
        return self.settings.order == "strict"
