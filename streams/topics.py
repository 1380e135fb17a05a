"""The topics: what each holds, how it is keyed, kept and cut, in one place.

All of them are stamped by the broker when it appends: time retention and the merge of several
topics go by that stamp, never by the event's own time, which may lie years back.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

DAY_MS = 86_400_000
FOREVER_MS = -1


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a deployment, by its name without the prefix."""

    name: str
    record: str
    """What a record is; those that others read or write have a JSON Schema in `docs/schemas`."""
    key: str
    """What records are keyed by: it decides the partition, and with it whose order is kept."""
    partitions: int = 1
    retention_ms: int = 30 * DAY_MS
    """How long records are kept by the time they were appended; FOREVER_MS is no limit."""
    compacted: bool = False
    """Whether only the last record of a key is kept."""
    max_bytes: int = 1 << 20
    """The largest record the broker takes."""

    @property
    def settings(self) -> dict[str, str]:
        """The broker's settings for this topic."""
        return {
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(self.retention_ms),
            "cleanup.policy": "compact" if self.compacted else "delete",
            "max.message.bytes": str(self.max_bytes),
        }


TRANSACTIONS, LABELS = "transactions", "labels"
PREDICTIONS, OUTCOMES, EXAMPLES = "predictions", "outcomes", "examples"
MODELS, DRIFT, DEAD_LETTERS = "models", "drift", "dead-letters"

TOPICS = MappingProxyType(
    {
        topic.name: topic
        for topic in (
            Topic(TRANSACTIONS, "transaction", "any; by customer where their order must be kept"),
            Topic(LABELS, "label", "any; the id it speaks of is usual"),
            Topic(PREDICTIONS, "prediction", "the first entity key, as the customer"),
            Topic(OUTCOMES, "outcomes", "none: one partition, in the order they became known"),
            Topic(EXAMPLES, "example", "the prediction's number"),
            Topic(
                MODELS,
                "model_manifest",
                "version/chunk, version/manifest, decision/name",
                retention_ms=FOREVER_MS,
                compacted=True,
            ),
            Topic(DRIFT, "alarm", "what has changed, as covariate; or response"),
            Topic(DEAD_LETTERS, "dead_letter", "topic/partition/offset", max_bytes=4 << 20),
        )
    }
)
