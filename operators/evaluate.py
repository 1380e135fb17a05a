"""Prequential evaluation: every score is judged by the label that came after it was made."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from operators import metrics
from operators.metrics import Floats, Ints, Labels
from operators.openwindow import Examples, OpenWindow
from operators.scorebins import CalibrationCurve, ScoreBins, ScoreHistogram

DAY_US = 86_400_000_000
LONG_AGO = -(2**62)
_Rows: TypeAlias = tuple[Ints, Floats]
"""(r, 7) start, end, group, scorer, examples, frauds, exact; (r, 7) the metrics of each."""

METRICS = (
    "auc",
    "average_precision",
    "recall_at_budget",
    "log_loss",
    "brier",
    "calibration_error",
    "card_precision",
)
"""What is measured, in the order of the columns of `_Rows` and of the fields of a row."""


@dataclass(frozen=True, slots=True)
class WindowMetrics:
    """Quality of one scorer on the transactions of one window, or on one slice of them."""

    start_us: int
    end_us: int
    scorer: str
    slice: str
    """Name of the slice, empty for all examples."""
    value: str
    """The slice's value, empty for all examples."""
    examples: int
    frauds: int
    exact: bool
    """False where the rank metrics and the calibration error come from binned scores."""
    auc: float
    average_precision: float
    recall_at_budget: float
    log_loss: float
    brier: float
    calibration_error: float
    card_precision: float


class Prequential:
    """Metrics per window of event time and overall, for several scorers on the same examples.

    `scorers` names the columns of the scores, the serving model first; every score is a
    probability. `slices` names what is also judged apart, each with its values in code order.

    An example belongs to the window of its *transaction*. A window closes when the watermark, the
    latest time at which a label became known, reaches the window's end plus `maturity_us`; it is
    then reduced to rows, and what comes for it afterwards counts as `late`: in the overall metrics
    but in no window. Any cut of the examples into calls gives identical rows.

    Card precision of a window looks at that window alone: cards detected earlier are not left
    out. Overall it is the mean over the closed windows that have it.

    Memory: the examples of open windows, 8 scorers + 4 slices + 13 bytes each and half as much to
    spare, up to `exact_examples` a window; beyond, the window's scores are binned (64 KiB per
    scorer and group, a group being everything or one value of a slice) and its card precision is
    nan. The windows open are at most maturity / window + 2 where no label is known before its
    transaction. Overall 64 KiB per scorer and group. Rows of the last `keep` windows.

    >>> judge = Prequential(("champion", "prior"), window_us=10, maturity_us=5)
    >>> judge.observe(
    ...     time_us=np.array([3, 4, 12]),
    ...     known_us=np.array([9, 9, 17]),
    ...     scores=np.array([[0.9, 0.1], [0.2, 0.1], [0.3, 0.1]]),
    ...     label=np.array([1, 0, 0], np.int8),
    ...     customer=np.array([1, 2, 3]),
    ... )[0].auc
    1.0
    >>> [(row.scorer, row.start_us, row.examples) for row in judge.rows()]
    [('champion', 0, 2), ('prior', 0, 2)]
    """

    def __init__(
        self,
        scorers: Sequence[str],
        slices: Mapping[str, Sequence[str]] | None = None,
        *,
        window_us: int = DAY_US,
        maturity_us: int = 7 * DAY_US,
        budget: float = 0.01,
        k: int = 100,
        exact_examples: int = 1_000_000,
        keep: int = 400,
    ) -> None:
        self.scorers = tuple(scorers)
        self.slices = {name: tuple(values) for name, values in (slices or {}).items()}
        self.window_us = window_us
        self.maturity_us = maturity_us
        self.budget = budget
        self.k = k
        self.exact_examples = exact_examples
        self.late = 0
        self._groups = [("", ""), *((s, v) for s, values in self.slices.items() for v in values)]
        self._sizes = np.array([len(values) for values in self.slices.values()], np.int64)
        self._first_group = 1 + np.cumsum(self._sizes) - self._sizes
        self._watermark = LONG_AGO
        self._span = (-LONG_AGO, LONG_AGO)
        self._open: dict[int, OpenWindow] = {}
        self._closed: deque[_Rows] = deque(maxlen=keep)
        self._bins = self._new_bins()
        self._cards = np.zeros((2, len(self._groups), len(self.scorers)))
        """Sum of the closed windows' card precision, and how many windows had one."""

    def observe(
        self,
        time_us: Ints,
        known_us: Ints,
        scores: Floats,
        label: Labels,
        customer: Ints,
        codes: Ints | None = None,
    ) -> list[WindowMetrics]:
        """Take n examples in the order their labels became known; return the rows this closes.

        `scores` is (n, scorers), `customer` any int64 code of the card, `codes` (n, slices) the
        place of each example's value in its slice, anything outside meaning none. ValueError when
        a score is no probability or a label is neither 0 nor 1: nothing of the call is taken.
        """
        if not len(time_us):
            return []
        examples = self._examples(len(time_us), scores, label, customer, codes)
        watermark = np.maximum.accumulate(np.maximum(known_us, self._watermark))
        window = time_us // self.window_us
        late = watermark >= (window + 1) * self.window_us + self.maturity_us
        order = np.argsort(window, kind="stable")
        order = order[~late[order]]
        sorted_ = window[order]
        bounds = np.flatnonzero(np.diff(sorted_, prepend=LONG_AGO, append=LONG_AGO))
        by_window = examples.take(order)
        if len(order) < len(late):
            self._count(examples.take(np.flatnonzero(late)))
            self.late += len(late) - len(order)
        for start, stop in pairwise(bounds.tolist()):
            number = int(sorted_[start])
            if number not in self._open:
                self._open[number] = OpenWindow(self._nothing())
            held = self._open[number]
            held.add(by_window.cut(start, stop), self.exact_examples, self._new_bins)
        return self.advance(int(watermark[-1]))

    def advance(self, watermark_us: int) -> list[WindowMetrics]:
        """Say that every label known by `watermark_us` was given; return the rows it closes."""
        self._watermark = max(self._watermark, watermark_us)
        whole = (self._watermark - self.maturity_us) // self.window_us
        closing = sorted(number for number in self._open if number < whole)
        closed = [self._close(number, self._open.pop(number)) for number in closing]
        self._closed.extend(closed)
        return [row for rows in closed for row in self._named(rows)]

    def finish(self) -> list[WindowMetrics]:
        """Close every window as it is, for the end of a stream."""
        if not self._open:
            return []
        return self.advance((max(self._open) + 1) * self.window_us + self.maturity_us)

    def rows(self) -> list[WindowMetrics]:
        """The rows of the closed windows still kept, by window, then slice, then scorer."""
        return [row for rows in self._closed for row in self._named(rows)]

    def latest(self) -> list[WindowMetrics]:
        """A row per scorer: the window that closed last, over all its examples."""
        rows = self._named(self._closed[-1]) if self._closed else ()
        return [row for row in rows if not row.slice]

    def overall(self) -> list[WindowMetrics]:
        """A row per slice value and scorer over all closed windows, and what came late for them.

        An open window is left out: its frauds may be known already and its negatives not yet.
        """
        with np.errstate(invalid="ignore"):
            cards = self._cards[0] / self._cards[1]
        rows = self._binned(*self._span, self._bins)
        for key, values in zip(*rows, strict=True):
            values[-1] = cards[key[2], key[3]]
        return list(self._named(rows))

    def calibration_curve(self, scorer: str, bins: int = 64) -> CalibrationCurve:
        """How far the scores of closed windows kept their word."""
        return self._bins.calibration_curve(0, self.scorers.index(scorer), bins)

    def score_histogram(self, scorer: str, bins: int = 64) -> ScoreHistogram:
        """The scores of closed windows by label; see `ScoreBins.histogram`."""
        return self._bins.histogram(0, self.scorers.index(scorer), bins)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything `load` needs to go on exactly from here, as copies."""
        windows = list(self._open.items())
        binned = [window.bins for _, window in windows if window.bins]
        held = Examples.joined([self._nothing(), *(window.held() for _, window in windows)])
        opened = [(number, window.used, window.bins is not None) for number, window in windows]
        return {
            "settings": np.frombuffer(self._settings(), np.uint8),
            "clock": np.array([self._watermark, *self._span, self.late]),
            "counts": self._bins.counts.copy(),
            "sums": self._bins.sums.copy(),
            "cards": self._cards.copy(),
            "open": np.array(opened, np.int64).reshape(-1, 3),
            **{f"open_{name}": column for name, column in held._asdict().items()},
            "open_counts": np.array([bins.counts for bins in binned], np.int64),
            "open_sums": np.array([bins.sums for bins in binned], np.int64),
            "row_keys": np.concatenate([np.zeros((0, 7), np.int64), *(k for k, _ in self._closed)]),
            "row_values": np.concatenate([np.zeros((0, 7)), *(v for _, v in self._closed)]),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a `state`; ValueError, and no change, when its settings are not these."""
        theirs, ours = state["settings"].tobytes(), self._settings()
        if theirs != ours:
            raise ValueError(
                f"evaluation state: wanted settings {ours.decode()}, got {theirs.decode()}; "
                "restore the settings or start the evaluation anew"
            )
        self._watermark, first, last, self.late = state["clock"].tolist()
        self._span = first, last
        self._bins = ScoreBins.of(state["counts"], state["sums"])
        self._cards = state["cards"].copy()
        held = Examples._make(state[f"open_{name}"] for name in Examples._fields)
        binned = map(ScoreBins.of, state["open_counts"], state["open_sums"])
        self._open = {}
        for number, used, is_binned in state["open"].tolist():
            stop = 0 if is_binned else used
            rows, held = held.cut(0, stop).copy(), held.cut(stop, len(held.label))
            self._open[number] = OpenWindow(rows, used, next(binned) if is_binned else None)
        keys, values = state["row_keys"], state["row_values"]
        cuts = np.flatnonzero(np.diff(keys[:, 0])) + 1
        self._closed.clear()
        if len(keys):
            self._closed.extend(zip(np.split(keys, cuts), np.split(values, cuts), strict=True))

    def _examples(
        self, n: int, scores: Floats, label: Labels, customer: Ints, codes: Ints | None
    ) -> Examples:
        wanted = (n, len(self.scorers)), (n,), (n,)
        shapes = scores.shape, label.shape, customer.shape
        if shapes != wanted:
            raise ValueError(
                f"evaluate: wanted scores of shape {wanted[0]} for the scorers {self.scorers} and "
                f"{n} labels and customers, got shapes {shapes}"
            )
        probable, known = (scores >= 0) & (scores <= 1), (label == 0) | (label == 1)
        if not (probable.all() and known.all()):
            row = int((probable.all(axis=1) & known).argmin())
            raise ValueError(
                f"evaluate: wanted probabilities and a label of 0 or 1, got {scores[row]} and "
                f"{label[row]} in row {row}; leave out examples whose label is unknown"
            )
        group = np.zeros((len(label), 1 + len(self.slices)), np.int32)
        if self.slices:
            code = np.asarray(codes)
            inside = (code >= 0) & (code < self._sizes)
            group[:, 1:] = np.where(inside, code + self._first_group, -1)
        return Examples(
            np.asarray(scores, np.float64),
            np.asarray(customer, np.int64),
            np.asarray(label, np.int8),
            group,
        )

    def _nothing(self) -> Examples:
        shapes = (0, len(self.scorers)), (0, 1 + len(self.slices))
        return Examples(
            np.zeros(shapes[0]),
            np.zeros(0, np.int64),
            np.zeros(0, np.int8),
            np.zeros(shapes[1], np.int32),
        )

    def _close(self, number: int, window: OpenWindow) -> _Rows:
        start, end = number * self.window_us, (number + 1) * self.window_us
        self._span = min(self._span[0], start), max(self._span[1], end)
        if window.bins:
            self._bins.merge(window.bins)
            return self._binned(start, end, window.bins)
        keys, values = [], []
        held = window.held()
        for group in range(len(self._groups)):
            inside = (held.group[:, 1:] == group).any(axis=1)
            examples = held.take(np.flatnonzero(inside)) if group else held
            count, frauds = len(examples.label), int(examples.label.sum())
            cards = metrics.cards(examples.customer)
            for scorer in range(len(self.scorers) if count else 0):
                keys.append((start, end, group, scorer, count, frauds, 1))
                values.append(self._measure(examples, cards, group, scorer))
                self._cards[:, group, scorer] += values[-1][-1], 1
        return np.array(keys, np.int64), np.array(values)

    def _count(self, examples: Examples) -> None:
        self._bins.add(examples.group, examples.score, examples.label)

    def _measure(
        self, examples: Examples, cards: metrics.Cards, group: int, scorer: int
    ) -> list[float]:
        """The metrics of one scorer on the examples of a group, which go to the overall bins."""
        score, label = np.ascontiguousarray(examples.score[:, scorer]), examples.label
        distinct, groups = ranked = metrics.ranked(score, label)
        caught = metrics.compromised_among_top_of(cards, score, label, self.k)
        losses, errors = metrics.losses(score, label), metrics.errors(score, label)
        self._bins.add_ranked(group, scorer, ranked, losses, errors)
        return [
            *metrics.ranking(groups, self.budget),
            float(np.mean(losses)),
            float(np.mean(errors)),
            metrics.calibration_error_of(distinct, groups),
            len(caught) / self.k,
        ]

    def _binned(self, start: int, end: int, bins: ScoreBins) -> _Rows:
        keys, values = [], []
        for group in range(len(self._groups)):
            count, frauds = bins.count(group)
            for scorer in range(len(self.scorers) if count else 0):
                keys.append((start, end, group, scorer, count, frauds, 0))
                ranking = metrics.ranking(bins.ranked(group, scorer), self.budget)
                losses = bins.mean_losses(group, scorer)
                error = bins.calibration_error(group, scorer)
                values.append([*ranking, *losses, error, math.nan])
        return np.array(keys, np.int64).reshape(-1, 7), np.array(values).reshape(-1, 7)

    def _named(self, rows: _Rows) -> Iterator[WindowMetrics]:
        for key, values in zip(rows[0].tolist(), rows[1].tolist(), strict=True):
            start, end, group, scorer, examples, frauds, exact = key
            named = dict(zip(METRICS, values, strict=True))
            slice_, value = self._groups[group]
            yield WindowMetrics(
                start,
                end,
                self.scorers[scorer],
                slice_,
                value,
                examples,
                frauds,
                exact == 1,
                **named,
            )

    def _new_bins(self) -> ScoreBins:
        return ScoreBins(len(self._groups), len(self.scorers))

    def _settings(self) -> bytes:
        names = ("scorers", "slices", "window_us", "maturity_us", "budget", "k", "exact_examples")
        return json.dumps({"format": 1} | {name: getattr(self, name) for name in names}).encode()
