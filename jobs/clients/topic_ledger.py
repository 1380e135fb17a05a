"""The ledger recomputed from the topics alone: everything that came in is somewhere.

Records are told by the 128-bit idents of their ids. They are kept on disk, 32 bytes each, and a
thirty-second of them at a time is in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from jobs.clients.answers import Answers
from jobs.clients.buckets import BUCKETS, Buckets, Int64s
from jobs.clients.dead_letters import Place
from jobs.clients.gathered import CAUSE, CONTENT, INPUTS, NUMBER, OFFSETS, PLACE, WHEN, Gathered
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.report.page import Balance
from operators.labels import BY_LABEL, BY_MATURITY
from streams.broker import Broker
from streams.schema import duration_us
from streams.topics import LABELS, PREDICTIONS, TRANSACTIONS

Watch = Callable[[int, float], None]
NEVER_HELD = 2**62
SHOWN = 3
"""Places of what is lost that are named."""


class Ledger(NamedTuple):
    """What was found."""

    balances: list[Balance]
    faults: list[str]
    """What does not add up, in sentences; none if all does."""


def recompute(
    broker: Broker, settings: Settings, pipeline: Pipeline, since_us: int, watch: Watch
) -> Ledger:
    """Read all topics and add up. What is dated before `since_us` needs no answer.

    Raises InputError for a topic that is not there, OutputError for want of room for the ids.
    """
    with TemporaryDirectory(prefix="headrace-ledger-") as folder:
        found = Gathered(broker, settings, pipeline.event, Path(folder), watch)
        account = _Account(found, Buckets(Path(folder), "joined", 4))
        for number in range(BUCKETS):
            account.join(number)
        for number in range(BUCKETS):
            account.add(number)
        lateness_us = duration_us(pipeline.lateness) if settings.order == "strict" else None
        return account.close(settings, since_us, lateness_us)


class _Account:
    """Adds up bucket by bucket: first outcomes to their predictions, then all to the records."""

    def __init__(self, found: Gathered, joined: Buckets) -> None:
        self._found, self._joined = found, joined
        self._counts = Counter[str]()
        self._faults = Counter[str]()
        self._answers = {name: Answers() for name in INPUTS}
        self._latest = 0

    def join(self, number: int) -> None:
        """Give the outcomes of predictions the idents of those; count what became of them."""
        told = self._found.numbers.bucket(number)
        told = told[np.unique(told[:, 1], return_index=True)[1]]
        outcomes = np.unique(self._found.outcomes.bucket(number), axis=0)
        first = np.isin(outcomes[:, CAUSE], (BY_LABEL, BY_MATURITY))
        known = np.isin(outcomes[:, 1], told[:, 1])
        _, times = np.unique(outcomes[first, 1], return_counts=True)
        self._faults["predictions with two first outcomes"] += int((times > 1).sum())
        by_label = known & (outcomes[:, CAUSE] == BY_LABEL)
        self._counts["by label"] += int(by_label.sum())
        self._counts["matured"] += int((known & first & ~by_label).sum())
        outcomes = outcomes[known]
        at = np.searchsorted(told[:, 1], outcomes[:, 1])
        self._joined.add(np.column_stack([told[at, 2:], outcomes[:, [1, CAUSE]]]))

    def add(self, number: int) -> None:
        """Compare records, predictions and outcomes of the same ids."""
        found = self._found
        events, labels = (found.records[name].bucket(number) for name in INPUTS)
        later, later_labels = (found.later[name].bucket(number) for name in INPUTS)
        events, labels = self._alive(TRANSACTIONS, events), self._alive(LABELS, labels)
        predictions = self._once(found.predictions.bucket(number))
        joined = self._joined.bucket(number)
        tables = (events, labels, later, later_labels, predictions, joined)
        event, label, late, late_label, told, outcome = groups = _grouped(tables)
        size = 1 + max((int(each.max()) for each in groups if len(each)), default=-1)
        n, m, p = (np.bincount(each, minlength=size) for each in (event, label, told))
        self._add_events(events, event, n, p, np.bincount(late, minlength=size))
        by_label = np.bincount(outcome[joined[:, 3] != BY_MATURITY], minlength=size)
        any_outcome = np.bincount(outcome, minlength=size)
        more = np.bincount(late_label, minlength=size)
        self._add_labels(labels, label, m, p, by_label, any_outcome, more)

    def _alive(self, name: str, rows: Int64s) -> Int64s:
        """The rows that are no dead letters.

        Those are no sign of how far a job is: they are read last, so that none lacks for what was
        read before.
        """
        dead = np.isin(rows[:, PLACE], self._found.dead[name])
        self._counts[f"dead {name}"] += int(dead.sum())
        return rows[~dead]

    def _once(self, rows: Int64s) -> Int64s:
        """Each prediction once; repeats are counted, and must be equal to the byte."""
        _, first, which = np.unique(rows[:, NUMBER], return_index=True, return_inverse=True)
        self._counts["predictions"] += len(first)
        self._counts["repeats"] += len(rows) - len(first)
        differs = rows[:, CONTENT] != rows[first[which], CONTENT]
        self._faults["repeated predictions that differ from the first"] += int(differs.sum())
        return rows[first]

    def _add_events(self, rows: Int64s, group: Int64s, n: Int64s, p: Int64s, later: Int64s) -> None:
        """Count events by group: n of them, p predictions, and `later` ones not counted."""
        self._latest = max(self._latest, int(rows[:, WHEN].max()) if len(rows) else 0)
        self._counts["predicted"] += int(np.minimum(n, p).sum())
        self._counts["duplicates"] += int(np.maximum(n - p, 0)[p > 0].sum())
        if TRANSACTIONS not in self._found.forgotten:
            excess = np.maximum(p - n - later, 0)
            self._faults["predictions without a transaction"] += int(excess.sum())
        sure = (n[group] == 1) & (p[group] > 0)
        self._answers[TRANSACTIONS].add(rows[p[group] == 0], rows[sure, PLACE])

    def _add_labels(
        self,
        rows: Int64s,
        group: Int64s,
        m: Int64s,
        p: Int64s,
        by_label: Int64s,
        outcomes: Int64s,
        later: Int64s,
    ) -> None:
        """Count labels by group: m of them, p predictions of their ids, and their outcomes."""
        learnt = np.minimum(m, by_label)
        silent = (p > 0) & (outcomes == 0)
        self._counts["learnt"] += int(learnt.sum())
        self._counts["unknown"] += int(m[p == 0].sum())
        self._counts["no news"] += int((m - learnt)[(p > 0) & (outcomes > 0)].sum())
        if LABELS not in self._found.forgotten:
            excess = np.maximum(by_label - m - later, 0)
            self._faults["outcomes by a label without one"] += int(excess.sum())
        sure = (m[group] == 1) & (by_label[group] == 1)
        self._answers[LABELS].add(rows[silent[group]], rows[sure, PLACE])

    def close(self, settings: Settings, since_us: int, lateness_us: int | None) -> Ledger:
        """The balances and what is wrong."""
        counts, taken = self._counts, self._found.taken
        held_from = NEVER_HELD if lateness_us is None else self._latest - lateness_us
        open_, lost = {}, {}
        for name in INPUTS:
            forgotten = bool(self._found.forgotten & {PREDICTIONS, name})
            open_[name], lost[name] = self._answers[name].settle(
                since_us, held_from, forgotten=forgotten
            )
        faults = [f"{number:,} {what}" for what, number in self._faults.items() if number]
        faults += [_said(settings.topic(name), lost[name]) for name in INPUTS if lost[name]]
        balances = [
            Balance(
                "transactions",
                taken[TRANSACTIONS],
                {
                    "predictions": counts["predicted"],
                    "duplicates": counts["duplicates"],
                    "dead letters": counts[f"dead {TRANSACTIONS}"],
                }
                | open_[TRANSACTIONS],
            ),
            Balance(
                "labels",
                taken[LABELS],
                {
                    "learnt from": counts["learnt"],
                    "of no known transaction": counts["unknown"],
                    "no news": counts["no news"],
                    "dead letters": counts[f"dead {LABELS}"],
                }
                | open_[LABELS],
            ),
            Balance(
                "predictions",
                taken[PREDICTIONS],
                {
                    "got a label": counts["by label"],
                    "matured without": counts["matured"],
                    "not matured yet": counts["predictions"]
                    - counts["by label"]
                    - counts["matured"],
                    "sent again, byte-equal": counts["repeats"],
                },
            ),
        ]
        return Ledger(balances, faults)


def _grouped(tables: Sequence[Int64s]) -> list[Int64s]:
    """For each table the group of each row: rows with the same first two words have the same."""
    words = np.concatenate([table[:, :2] for table in tables])
    order = np.lexsort((words[:, 1], words[:, 0]))
    placed = words[order]
    group = np.empty(len(words), np.int64)
    group[order] = np.cumsum(np.any(np.diff(placed, axis=0, prepend=placed[:1]) != 0, axis=1))
    return np.split(group, np.cumsum([len(table) for table in tables])[:-1])


def _said(topic: str, places: Sequence[int]) -> str:
    """What is lost, and where the first of it is."""
    shown = [
        str(Place(topic, place >> OFFSETS, place & (1 << OFFSETS) - 1)) for place in places[:SHOWN]
    ]
    more = ", …" if len(places) > SHOWN else ""
    return f"{len(places):,} records of {topic} without an answer: {', '.join(shown)}{more}"
