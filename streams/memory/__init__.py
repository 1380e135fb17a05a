"""A broker in memory, for tests and simulation: Kafka's semantics without Kafka or a second thread.

    cluster = Cluster()
    broker = MemoryBroker(cluster)
    producer = broker.producer()
    producer.send("labels", [b'{"id":"a","time":7,"fraud":true}'])
    producer.flush(1.0)

Without faults all goes through at the next call, and time passes only while a client waits. With
faults a record may stay unsent, or be in the log without its sender's knowing; a fetch may return
part of what is there, or nothing; and a process may end at any call.
"""

from streams.memory.broker import MemoryBroker
from streams.memory.cluster import Clock, Cluster, Crash, Faults
from streams.memory.log import Record

__all__ = ["Clock", "Cluster", "Crash", "Faults", "MemoryBroker", "Record"]
