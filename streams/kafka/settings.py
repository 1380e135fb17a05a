"""What librdkafka is told, each with its reason."""

from __future__ import annotations

from typing import Any

SESSION_MS = 120_000
"""How long a member of a group that fell silent counts as alive."""
LONGEST_MS = 86_400_000
QUEUE = 200_000
"""Records that a producer holds at most."""
TRANSACTION_MS = 300_000
"""How long an open transaction may wait for its broker to come back."""
LARGEST_BYTES = 64 << 20
"""Above any topic's own limit, so that it is the topic's that a record meets."""

CONNECTION: dict[str, Any] = {
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    "retry.backoff.ms": 50,
    "socket.keepalive.enable": True,
    # By default a client that lost all brokers forgets them, and a transaction that was about to
    # commit its positions then waits for a coordinator without end.
    "metadata.recovery.strategy": "none",
}

FETCH_BYTES = 1 << 20
"""What a patient consumer would rather have at once."""

CONSUMER: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # A position that is not there any more is an error, never a silent jump.
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    # How an input is known to be read to its end though its last offset is a transaction's mark.
    "enable.partition.eof": True,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 50,
    # Prefetched records are bounded in bytes; a full queue is looked at again after 5 ms, not 1 s.
    "queued.min.messages": 100_000,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 5,
    # A static member's place is its own until the session ends, so a restart takes it at once.
    "session.timeout.ms": SESSION_MS,
    "heartbeat.interval.ms": 1000,
    # A long snapshot or a slow broker is no reason to lose the group.
    "max.poll.interval.ms": LONGEST_MS,
    "partition.assignment.strategy": "range",
}

LINGER_MS = 1.0
"""How long a record waits for others to be sent with it."""
PATIENT_LINGER_MS = 20.0
"""The same where nobody waits for it."""

PRODUCER: dict[str, Any] = {
    "acks": "all",
    # One request at a time keeps the order. An idempotent producer keeps it too, but takes a core
    # for itself while records wait for an answer (docs/decisions/0015-one-request-at-a-time.md).
    "max.in.flight.requests.per.connection": 1,
    "linger.ms": LINGER_MS,
    # An outage of the broker drops nothing, however long it is.
    "message.timeout.ms": 0,
    "queue.buffering.max.messages": QUEUE,
    "queue.buffering.max.kbytes": 2_147_483_647,
    "message.max.bytes": LARGEST_BYTES,
    # Batches count against a topic's largest record, so they stay well below.
    "batch.size": 500_000,
    # The partition that every other client gives a key.
    "partitioner": "murmur2_random",
}

TRANSACTIONS: dict[str, Any] = {
    **PRODUCER,
    "enable.idempotence": True,
    "max.in.flight.requests.per.connection": 5,
    # To commit sends at once what waits; until then nobody could read it.
    "linger.ms": 5,
    "transaction.timeout.ms": TRANSACTION_MS,
    # The coordinator takes some ms to end a transaction; the next waits for no longer.
    "retry.backoff.ms": 3,
}
