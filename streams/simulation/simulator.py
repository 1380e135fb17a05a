"""Simulated card traffic with ground truth: to Batches, numpy columns, Parquet or NDJSON.

The same `Traffic` gives the same bytes, cut into batches of any size, stopped and resumed anywhere.
The world itself is described in docs/simulator.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from streams.batch import LABEL, UNKNOWN, Batch
from streams.errors import ConfigError, DeadLetter, StateError
from streams.schema import MISSING, Event, Label, Number, duration_us
from streams.simulation.drift import life, silent
from streams.simulation.garbage import garbage
from streams.simulation.lines import lines
from streams.simulation.population import TACTICS, VOUCHERS, World, world
from streams.simulation.scenarios import (
    ARRIVAL,
    CASE_COLUMNS,
    CENTS,
    CONFLICTING,
    COPY,
    COUNTERS,
    ENDED,
    HELD,
    ID,
    IS_LABEL,
    KNOWN,
    OPEN,
    RECORD_COLUMNS,
    RESENT,
    SENT,
    TACTIC,
    TIME,
    TOUCHED,
    WAITING,
    WHERE,
    WHO,
    Run,
    begin,
)
from streams.simulation.traffic import Traffic
from streams.simulation.transport import arrive
from streams.simulation.truth import Change, Truth

Int64s = npt.NDArray[np.int64]

PAYMENT = Event(
    "payment",
    keys=("customer", "terminal"),
    label=Label("fraud", maturity="7d"),
    numbers=(Number("amount", scale=2, maximum=100_000),),
)
"""The event that is simulated."""

COLUMNS = {
    "id": ID,
    "time": TIME,
    "customer": WHO,
    "terminal": WHERE,
    "amount": CENTS,
    "tactic": TACTIC,
    "known": KNOWN,
    "received": ARRIVAL,
    "copy": COPY,
    "touched": TOUCHED,
}
_PARQUET = pa.schema(
    [
        ("id", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("customer", pa.int64()),
        ("terminal", pa.int64()),
        ("amount", pa.float64()),
        ("fraud", pa.bool_()),
        ("tactic", pa.dictionary(pa.int8(), pa.string())),
        ("known", pa.timestamp("us", "UTC")),
    ]
)
_DRIFT = pa.field("drift", pa.dictionary(pa.int32(), pa.string()))
_CHUNK = 65_536


class _State(msgspec.Struct):
    traffic: str
    counters: bytes
    offset: bytes
    rng: bytes
    held: bytes
    cases: bytes
    delayed: bytes


class Simulation:
    """A source of simulated traffic that stands at some record and goes on from there.

    Records come in order of arrival: transactions, resent and contradicting ones among them, and
    chargebacks as they become known; at equal times labels come first, then lower ids. Ids,
    customers and terminals are whole numbers from 1. What is still under way when the world ends
    arrives after it, so the last records are the last labels.

    >>> simulation = Simulation(Traffic(events=1000))
    >>> sum(len(batch) for batch, _ in simulation)
    1019
    """

    def __init__(self, traffic: Traffic, batch_size: int = 8192) -> None:
        """Stand before the first record; batches have `batch_size` rows, the last one fewer."""
        self.traffic = traffic
        self.batch_size = batch_size
        self._world: World = world(traffic)
        self._run = Run(
            counters=np.zeros(COUNTERS, np.int64),
            offset=np.zeros(1),
            rng=np.array(_seeds(traffic), np.uint64),
            held=np.zeros(RECORD_COLUMNS, np.int64),
            cases=np.zeros((256, CASE_COLUMNS), np.int64),
            delayed=np.zeros((256, RECORD_COLUMNS), np.int64),
        )
        self._truth = Truth(traffic)
        begin(self._world, self._run)

    @property
    def total_rows(self) -> int | None:
        """About how many rows there are from first to last, or None if there is no last."""
        return self.traffic.expected_rows

    def topic(self, partition: int) -> str:
        """What the rows come from; there is one partition."""
        return "simulation"

    @property
    def row(self) -> int:
        """How many rows have been given out."""
        return int(self._run.counters[SENT])

    def __iter__(self) -> Iterator[tuple[Batch, list[DeadLetter]]]:
        """Batches from here to the end; nothing simulated as rows is ever a dead letter."""
        while len(batch := self.batch(self.batch_size)):
            yield batch, []

    def batch(self, n: int) -> Batch:
        """The next n rows, fewer at the end, none after it."""
        first = self.row
        rows = self._take(n, labels=True)
        count = len(rows)
        is_label = rows[:, IS_LABEL] == 1
        idents = np.zeros((count, 3, 2), np.int64)
        idents[:, :, 1] = rows[:, [ID, WHO, WHERE]]
        return Batch(
            kind=is_label.astype(np.uint8) * np.uint8(LABEL),
            time=rows[:, TIME].copy(),
            idents=idents,
            numbers=rows[:, CENTS : CENTS + 1].copy(),
            categories=np.empty((count, 0), np.int64),
            label=np.where(is_label, 1, UNKNOWN).astype(np.int8),
            received=rows[:, ARRIVAL].copy(),
            partition=np.zeros(count, np.int32),
            offset=np.arange(first, first + count),
            texts=tuple(pa.array(idents[:, column, 1]) for column in range(3)),
        )

    def columns(self, n: int) -> dict[str, Int64s]:
        """The next n transactions with their ground truth, fewer at the end; no labels.

        `amount` is in cents, `tactic` a place in `TACTICS`, `known` when the chargeback comes (0:
        never), `received` when the transaction arrives, `copy` 0, or 1 of one sent again unchanged,
        or 2 of one sent again with another amount; bit i of `touched` says that drift i of the
        traffic has touched it. Times are in microseconds. A missing amount is `MISSING`.
        """
        rows = self._take(n, labels=False)
        return {name: rows[:, column].copy() for name, column in COLUMNS.items()}

    def state(self) -> bytes:
        """All that is needed to go on from here, in another process."""
        run, counters = self._run, self._run.counters
        return msgspec.msgpack.encode(
            _State(
                _digest(self.traffic),
                counters.tobytes(),
                run.offset.tobytes(),
                run.rng.tobytes(),
                run.held.tobytes(),
                run.cases[: counters[OPEN]].tobytes(),
                run.delayed[: counters[WAITING]].tobytes(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Stand where a simulation of the same traffic stood at its `state()`."""
        try:
            saved = msgspec.msgpack.decode(state, type=_State)
        except msgspec.DecodeError as error:
            raise StateError(f"the state of the simulation cannot be read: {error}") from None
        if saved.traffic != _digest(self.traffic):
            wanted = f"wanted {_digest(self.traffic)}, got {saved.traffic}"
            advice = "give the Traffic it was saved with, or start anew"
            raise StateError(f"the state is of a simulation of other traffic: {wanted}; {advice}")
        self._run = Run(
            counters=np.frombuffer(saved.counters, np.int64).copy(),
            offset=np.frombuffer(saved.offset, np.float64).copy(),
            rng=np.frombuffer(saved.rng, np.uint64).copy(),
            held=np.frombuffer(saved.held, np.int64).copy(),
            cases=_doubled(np.frombuffer(saved.cases, np.int64).reshape(-1, CASE_COLUMNS)),
            delayed=_doubled(np.frombuffer(saved.delayed, np.int64).reshape(-1, RECORD_COLUMNS)),
        )

    def truth(self) -> tuple[Change, ...]:
        """Each drift of the traffic, and which of the payments given out here it has touched."""
        return self._truth.changes()

    def lives(self, time: int) -> Int64s:
        """By which habits each customer lives then, (customers,): another number, another life."""
        w, count = self._world, self.traffic.customers
        return np.array([life(w.seed, w.drifts, i, time) for i in range(count)])

    def silent(self, time: int) -> npt.NDArray[np.bool_]:
        """Which terminals an outage keeps from being heard then, (terminals,)."""
        w, count = self._world, self.traffic.terminals
        return np.array([silent(w.seed, w.drifts, i, time) for i in range(count)])

    def to_parquet(self, path: str | Path) -> Counter[str]:
        """Write all transactions from here in order of arrival, each with its ground truth.

        Counted are `transactions` (each id once), the `late` ones of them, `duplicates` and
        `conflicts`.
        """
        written: Counter[str] = Counter()
        self._must_end()
        with pq.ParquetWriter(path, self._parquet) as writer:
            while len((columns := self.columns(_CHUNK))["id"]):
                writer.write_table(self._table(columns))
                delay = columns["received"] - columns["time"]
                written.update(self._count(columns["copy"], delay))
        return written

    def to_ndjson(self, path: str | Path) -> Counter[str]:
        """Write all records from here as lines, in order of arrival, with garbage among them.

        Counted are, beside what `to_parquet` counts, `labels` and the garbage, by the
        `streams.errors.Reason` it is to be refused for.
        """
        written: Counter[str] = Counter()
        self._must_end()
        with Path(path).open("wb") as file:
            while True:
                first = self.row
                rows = self._take(_CHUNK, labels=True)
                if not len(rows):
                    return written
                text, ends = lines(rows)
                at = 0
                for place, reason, line in garbage(self.traffic, first, len(rows)):
                    stop = int(ends[place])
                    file.write(text[at:stop])
                    file.write(line)
                    at = stop
                    written[reason] += 1
                file.write(text[at:])
                written["labels"] += int(rows[:, IS_LABEL].sum())
                sent = rows[rows[:, IS_LABEL] == 0]
                written.update(self._count(sent[:, COPY], sent[:, ARRIVAL] - sent[:, TIME]))

    def _take(self, n: int, *, labels: bool) -> Int64s:
        """The next n records, (n, RECORD_COLUMNS), fewer at the end."""
        out = np.empty((n, RECORD_COLUMNS), np.int64)
        got = 0
        while got < n:
            got += arrive(self._world, self._run, labels, out[got:])
            counters = self._run.counters
            if counters[ENDED] and not counters[HELD] and not counters[WAITING]:
                break
            if 2 * counters[OPEN] > len(self._run.cases):
                self._run = self._run._replace(cases=_doubled(self._run.cases))
            if 2 * counters[WAITING] > len(self._run.delayed):
                self._run = self._run._replace(delayed=_doubled(self._run.delayed))
        self._truth.take(out[:got])
        return out[:got]

    def _count(self, copy: Int64s, delay: Int64s) -> dict[str, int]:
        late = (copy == 0) & (delay > duration_us(self.traffic.max_delay))
        return {
            "transactions": int((copy == 0).sum()),
            "late": int(late.sum()),
            "duplicates": int((copy == RESENT).sum()),
            "conflicts": int((copy == CONFLICTING).sum()),
        }

    @property
    def _parquet(self) -> pa.Schema:
        return _PARQUET.append(_DRIFT) if self.traffic.drifts else _PARQUET

    def _table(self, columns: dict[str, Int64s]) -> pa.Table:
        if not self.traffic.drifts:
            return _table(columns, TACTICS[: VOUCHERS + 1])
        drift = self._truth.named(columns["touched"])
        return _table(columns, TACTICS).append_column(_DRIFT, drift)

    def _must_end(self) -> None:
        if self.traffic.expected_rows is None:
            raise ConfigError(
                "traffic without end does not fit a file; give Traffic days or events"
            )


def _seeds(traffic: Traffic) -> list[int]:
    """Where each of the run's generators begins."""
    words = hashlib.blake2b(f"run {traffic.seed}".encode(), digest_size=40).digest()
    return [int.from_bytes(words[i : i + 8], "little") for i in range(0, 40, 8)]


def _digest(traffic: Traffic) -> str:
    shape = f"{COUNTERS} {RECORD_COLUMNS} {CASE_COLUMNS}"
    return hashlib.blake2b(f"{shape} {traffic.definition}".encode(), digest_size=16).hexdigest()


def _doubled(queue: Int64s) -> Int64s:
    """The queue at the head of an array that has room for as many rows again and 256 more."""
    roomy = np.zeros((2 * len(queue) + 256, queue.shape[1]), np.int64)
    roomy[: len(queue)] = queue
    return roomy


def _table(columns: dict[str, Int64s], tactics: Sequence[str]) -> pa.Table:
    tactic = pa.array(columns["tactic"].astype(np.int8))
    known = pa.array(columns["known"], mask=columns["known"] == 0)
    return pa.table(
        [
            pa.array(columns["id"]),
            pa.array(columns["time"]).cast(_PARQUET.field("time").type),
            pa.array(columns["customer"]),
            pa.array(columns["terminal"]),
            pa.array(columns["amount"] / 100, mask=columns["amount"] == MISSING),
            pa.array(columns["tactic"] > 0),
            pa.DictionaryArray.from_arrays(tactic, pa.array(tactics)),
            known.cast(_PARQUET.field("known").type),
        ],
        schema=_PARQUET,
    )
