"""Writing the latest line of each key to Valkey: our layout beside three others, and what it costs
the thread that scores.

`python -m benchmarks.bench_online` prints the table: microseconds of processor time a line, of the
process that writes and of the server. Every key is written `PASSES` times, each with a newer event;
the first pass, into an empty server, is left out where there are others.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

from jobs.fraud import pipeline
from jobs.online.layout import WRITE_NEWER
from jobs.online.lines import EntityLines, entities
from jobs.online.store import OnlineStore
from jobs.online.writer import KEYS_A_CALL, write
from jobs.pipeline import Scored
from jobs.stack.ports import free_port
from jobs.stack.redis import Redis, RedisSettings
from streams.batch import UNKNOWN, Batch
from streams.errors import OutputError
from streams.latest import Lines
from streams.redis import Address, Connection, Script

KEYS = 20_000
PASSES = 4
EVENTS, BATCH = 50_000, 10
T0 = 1_719_835_200_000_000
Write: TypeAlias = Callable[[Connection, EntityLines, Lines], int]
"""Writes a line of every key; how many were newer."""

WRITE_HASH = Script("""
local width, written = tonumber(ARGV[2]), 0
for i, key in ipairs(KEYS) do
  local at = 3 + (i - 1) * width
  local held = redis.call('HMGET', key, 'time', 'tie')
  local time = held[1] and tonumber(held[1])
  local own = tonumber(ARGV[at + 1])
  if not time or time < own or (time == own and held[2] <= ARGV[at + 3]) then
    redis.call('HSET', key, unpack(ARGV, at, at + width - 1))
    redis.call('PEXPIRE', key, ARGV[1])
    written = written + 1
  end
end
return written
""")
WRITE_PACKED = Script("""
local written = 0
for i, key in ipairs(KEYS) do
  local held = redis.call('GETRANGE', key, 0, 15)
  local newer = #held < 16
  if not newer then
    local time, high, low = struct.unpack('>dI4I4', held)
    local own, own_high, own_low = struct.unpack('>dI4I4', ARGV[i + 1])
    newer = time < own or (time == own and (high < own_high or
      (high == own_high and low <= own_low)))
  end
  if newer then
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
    written = written + 1
  end
end
return written
""")


def run() -> dict[str, Any]:
    """Processor time in microseconds, and lines a second, by what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        server = Redis(Path(folder), RedisSettings(port=free_port()))
        server.start()
        try:
            connection = Connection(Address.parse(server.address), OutputError)
            layouts = {name: _layout(connection, send) for name, send in WRITERS.items()}
            connection.close()
            return layouts | {"the store": _store(server.address)}
        finally:
            server.kill()


def _layout(connection: Connection, send: Write) -> dict[str, float]:
    connection.ask([b"FLUSHALL"])
    customer, ours, servers = entities(pipeline)[0], [], []
    for number in range(PASSES):
        lines = _lines(number, len(customer.names))
        began, server = time.process_time(), _server_seconds(connection)
        assert send(connection, customer, lines) == KEYS
        ours.append(time.process_time() - began)
        servers.append(_server_seconds(connection) - server)
    key = customer.prefix + b"0"
    return {
        "writer, us a line": min(ours[1:] or ours) / KEYS * 1e6,
        "server, us a line": min(servers[1:] or servers) / KEYS * 1e6,
        "bytes a key": float(connection.ask([b"MEMORY", b"USAGE", key])),
    }


def _json(connection: Connection, entity: EntityLines, lines: Lines) -> int:
    return write(connection, entity.chunk(lines)).newer


def _json_array(connection: Connection, entity: EntityLines, lines: Lines) -> int:
    columns = zip(*_columns(lines), lines.features, strict=True)
    values = [
        orjson.dumps(
            {
                "time": time_us, "tie": f"{tie:019}", "layout": 1, "id": str(tie), "score": score,
                "decision": "approve", "model_version": 7, "features": row,
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        for time_us, tie, score, row in columns
    ]  # fmt: skip
    return _send(connection, WRITE_NEWER, entity, [[value] for value in values])


def _hash(connection: Connection, entity: EntityLines, lines: Lines) -> int:
    names = [name.encode() for name in entity.names]
    arguments = []
    for time_us, tie, score, row in zip(*_columns(lines), lines.features.tolist(), strict=True):
        fields = [b"time", b"%d" % time_us, b"tie", b"%019d" % tie, b"id", b"%d" % tie, b"score"]
        fields += [repr(score).encode(), b"decision", b"approve", b"model_version", b"7"]
        for name, value in zip(names, row, strict=True):
            fields += [name, repr(value).encode()]
        arguments.append(fields)
    return _send(connection, WRITE_HASH, entity, arguments, b"%d" % len(arguments[0]))


def _packed(connection: Connection, entity: EntityLines, lines: Lines) -> int:
    kind = [("time", ">f8"), ("tie", ">i8"), ("score", "<f8"), ("version", "<i8")]
    table = np.zeros(KEYS, [*kind, ("features", "<f8", (lines.features.shape[1],))])
    for name in table.dtype.names or ():
        table[name] = getattr(lines, name)
    whole, width = table.tobytes(), table.itemsize
    values = [[whole[n * width : (n + 1) * width]] for n in range(KEYS)]
    return _send(connection, WRITE_PACKED, entity, values)


WRITERS: dict[str, Write] = {
    "a line of JSON, ours": _json,
    "JSON, features as an array": _json_array,
    "a hash with a field a feature": _hash,
    "packed binary": _packed,
}


def _columns(lines: Lines) -> tuple[list[int], list[int], list[float]]:
    return lines.time.tolist(), lines.tie.tolist(), lines.score.tolist()


def _send(
    connection: Connection,
    script: Script,
    entity: EntityLines,
    arguments: list[list[bytes]],
    *first: bytes,
) -> int:
    keys = [entity.prefix + b"%d" % key for key in range(KEYS)]
    keep, newer = b"%d" % entity.keep_ms, 0
    for start in range(0, KEYS, KEYS_A_CALL):
        some = slice(start, start + KEYS_A_CALL)
        flat = [word for each in arguments[some] for word in each]
        newer += connection.call(script, keys[some], [keep, *first, *flat])
    return newer


def _store(url: str) -> dict[str, float]:
    """What it costs to offer, on the scoring thread and behind it; and how fast it is written."""
    random = np.random.default_rng(7)
    offers = [_scored(random, start) for start in range(0, EVENTS, BATCH)]
    store = OnlineStore(url, pipeline)
    began, wall = time.thread_time(), time.perf_counter()
    for batch, scored in offers:
        store.offer(batch, scored)
    offered = time.thread_time() - began
    behind = time.pthread_getcpuclockid(store._thread.ident or 0)  # noqa: SLF001
    while store.lag:
        time.sleep(0.01)
    wall, gathered = time.perf_counter() - wall, time.clock_gettime(behind)
    written = store.written + store.older
    store.close(1.0)
    return {
        "offer, us a batch of 10": offered / len(offers) * 1e6,
        "thread behind it, us an event": gathered / EVENTS * 1e6,
        "lines of two entities a second": written / wall,
    }


def _server_seconds(connection: Connection) -> float:
    said = connection.ask([b"INFO", b"cpu"]).decode().split()
    used = dict(line.split(":") for line in said if ":" in line)
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _lines(number: int, width: int) -> Lines:
    """A line for every key, newer with every number."""
    random = np.random.default_rng(number)
    keys = np.arange(KEYS)
    texts = pa.array(keys).cast(pa.large_string())
    return Lines(
        key=np.column_stack([np.zeros_like(keys), keys]),
        time=T0 + number * 1_000_000 + keys,
        tie=keys,
        since=np.zeros(KEYS),
        score=random.random(KEYS),
        review=np.zeros(KEYS, np.bool_),
        version=np.full(KEYS, 7),
        features=random.lognormal(3, 1, (KEYS, width)),
        texts=(texts, texts),
    )


def _scored(random: np.random.Generator, start: int) -> tuple[Batch, Scored]:
    """A batch of events of random customers and terminals, and their scores."""
    ids = np.arange(start, start + BATCH)
    idents = np.zeros((BATCH, 3, 2), np.int64)
    idents[:, 0, 1], idents[:, 1:, 1] = ids, random.integers(0, EVENTS, (BATCH, 2))
    none = np.zeros(BATCH, np.int64)
    batch = Batch(
        kind=none.astype(np.uint8),
        time=T0 + ids,
        idents=idents,
        numbers=none[:, None],
        categories=idents[:, 0, :0],
        label=np.full(BATCH, UNKNOWN, np.int8),
        received=T0 + ids,
        partition=none.astype(np.int32),
        offset=ids,
        texts=tuple(pa.array(c.copy()).cast(pa.large_string()) for c in idents[:, :, 1].T),
    )
    return batch, Scored(
        rows=np.arange(BATCH),
        number=ids,
        scores=random.random((BATCH, 1)),
        intervals=random.random((BATCH, 2)),
        version=none + 7,
        review=none.astype(np.bool_),
        late=none.astype(np.bool_),
        features=random.lognormal(3, 1, (BATCH, len(pipeline.features))),
        letters=[],
        windows=[],
        champions={},
    )


if __name__ == "__main__":
    for name, figures in run().items():
        print(name, {what: round(figure, 2) for what, figure in figures.items()})
