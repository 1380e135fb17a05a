"""The online model that scores first: logistic regression over bins and crosses of inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models import ftrl
from models.base import Floats, Labels, Reasons, Tensors, column, examine
from models.bins import Edges, automatic_edges
from models.calibration import Calibrated, Calibration, blank, calibrate, publish
from models.contributions import largest, through
from models.state import restore
from streams.errors import ConfigError

_FEWEST_BITS, _MOST_BITS = 4, 28


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Logistic regression by FTRL-proximal over binned, crossed and hashed inputs.

    `inputs`: bin edges by input, or the inputs' names alone for automatic edges; all inputs of the
    pipeline when empty. Each is a term of its own but for those that are `Edges.for_crosses`.
    `crosses`: tuples of inputs whose bins are weighed jointly. `bits`: the table
    has 2**bits slots of 20 bytes, a version 4 of them. `alpha`, `beta`, `l1`, `l2`: as in McMahan
    et al. `prior`: the share of positives assumed before any example. `focus`: above 0 for a focal
    loss, by which what is predicted well counts less (`models.ftrl`); probabilities are put right.

    >>> model = Linear(inputs=["amount", "night"], crosses=[("amount", "night")], bits=12)
    >>> learner = model.bind(("amount", "night"))
    >>> x = np.array([[900.0, 1.0], [20.0, 0.0]] * 200)
    >>> learner.learn_many(x, np.array([1, 0] * 200, np.int8), np.ones(400))
    >>> (learner.version().predict_many(x[:2]) > 0.5).tolist()
    [True, False]
    """

    inputs: Mapping[str, Edges] | Sequence[str] = ()
    crosses: Sequence[tuple[str, ...]] = ()
    bits: int = 18
    alpha: float = 0.1
    beta: float = 1.0
    l1: float = 0.0
    l2: float = 1e-3
    prior: float = 0.01
    focus: float = 0.0
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        if not _FEWEST_BITS <= self.bits <= _MOST_BITS:
            wanted = f"between {_FEWEST_BITS} and {_MOST_BITS} bits"
            raise ConfigError(f"Linear wants {wanted}; got {self.bits}")
        least = min(self.l1, self.l2, self.focus)
        sound = min(self.alpha, self.beta) > 0 and least >= 0 and 0 < self.prior < 1
        if not sound:
            wanted = "alpha and beta above 0, l1, l2 and focus not below, and a prior inside (0, 1)"
            raise ConfigError(f"Linear wants {wanted}; got {self}")

    def bind(self, names: tuple[str, ...]) -> LinearLearner:
        return LinearLearner(self, names)


def _edges(model: Linear, names: tuple[str, ...]) -> dict[str, Edges]:
    """The edges of each input under the name that crosses know it by, most edges first."""
    if isinstance(model.inputs, Mapping):
        given = dict(model.inputs)
    else:
        given = {name: automatic_edges() for name in (model.inputs or names)}
    by_count = sorted(given.items(), key=lambda entry: -len(entry[1].values))
    return {name: edges if edges.feature else edges.of(name) for name, edges in by_count}


class _Frame:
    """What neither learning nor scoring changes: names, inputs, terms, and the kernels' plan."""

    def __init__(
        self,
        names: tuple[str, ...],
        inputs: Sequence[tuple[str, str, int, bool]],
        crosses: Sequence[Sequence[str]],
        bits: int,
        prior: float,
        focus: float,
    ) -> None:
        """`inputs` are name, column's name, number of edges and whether only crossed."""
        known = [name for name, *_ in inputs]
        unknown = sorted({name for cross in crosses for name in cross} - set(known))
        if unknown:
            raise ConfigError(f"Linear crosses {unknown}; its inputs are {known}")
        self.names, self.inputs, self.bits = names, inputs, bits
        self.prior, self.focus = float(prior), float(focus)
        self.crosses = [list(cross) for cross in crosses]
        columns = [column(names, feature, "Linear") for _, feature, _, _ in inputs]
        terms = [[place] for place, (*_, crossed_only) in enumerate(inputs) if not crossed_only]
        terms += [[known.index(name) for name in cross] for cross in crosses]
        counts = [count for _, _, count, _ in inputs]
        for term in terms:
            if math.prod(counts[place] + 2 for place in term) >= 2**62:
                raise ConfigError(
                    f"Linear: the cross {[known[i] for i in term]} has too many cells"
                )
        self.plan = ftrl.layout(columns, counts, terms, bits)
        self.places = ftrl.edge_places(counts)
        self.terms = len(terms)
        self.offset = ftrl.focused(math.log(prior / (1 - prior)), self.focus)

    def config(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "inputs": [list(entry) for entry in self.inputs],
            "crosses": self.crosses,
            "bits": self.bits,
            "prior": self.prior,
            "focus": self.focus,
        }


class LinearLearner:
    """What a `Linear` has learnt; 20 bytes a slot. See `models.base.Learner`."""

    def __init__(self, model: Linear, names: tuple[str, ...]) -> None:
        given = _edges(model, names)
        inputs = [
            (name, edges.feature, len(edges.values), edges.crossed_only)
            for name, edges in given.items()
        ]
        self.names = names
        self._frame = _Frame(names, inputs, model.crosses, model.bits, model.prior, model.focus)
        rates = [model.alpha, model.beta, model.l1, model.l2, self._frame.offset, model.focus]
        self._rates, self._declared = np.array(rates), np.array(rates)
        self._pace = np.ones(1)
        self._room = ftrl.room_for(self._frame.plan)
        self._edges = np.full(self._frame.places[-1], math.inf)
        self._learnt = []
        for start, edges in zip(self._frame.places, given.values(), strict=False):
            self._edges[start : start + len(edges.values)] = edges.values
            if edges.learnt_after:
                where = column(names, edges.feature, "Linear")
                self._learnt.append((where, start, len(edges.values)))
        self._warm_up = max((edges.learnt_after for edges in given.values()), default=0)
        self._first = np.empty((self._warm_up, len(self._learnt)))
        slots = (1 << model.bits) + 1
        self._table = np.zeros((slots, 2))
        self._weights = np.zeros(slots, np.float32)
        self._averages = np.zeros(self._frame.terms)
        self._calibration = model.calibration.start()
        self._seen = np.zeros(1, np.int64)

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        examine(self.names, x)
        cut = min(max(self._warm_up - int(self._seen[0]), 0), len(x))
        if cut:
            self._remember(x[:cut])
            self._learn(x[:cut], y[:cut], weight[:cut])
            if self._seen[0] == self._warm_up:
                self._settle()
        self._learn(x[cut:], y[cut:], weight[cut:])

    def _learn(self, x: Floats, y: Labels, weight: Floats) -> None:
        ftrl.learn(
            x,
            y,
            weight,
            self._edges,
            self._frame.plan,
            self._rates,
            self._table,
            self._weights,
            self._averages,
            self._calibration,
            self._seen,
            self._room,
        )

    def adapt(self, rate: float) -> None:
        self._pace[0] = rate
        ftrl.pace(self._table, self._rates, rate * self._declared[ftrl.ALPHA])

    def _remember(self, x: Floats) -> None:
        start = int(self._seen[0])
        for place, (where, _, _) in enumerate(self._learnt):
            self._first[start : start + len(x), place] = x[:, where]

    def _settle(self) -> None:
        """Fix the edges that are quantiles of the first examples; one never seen keeps none."""
        for place, (_, start, count) in enumerate(self._learnt):
            values = np.sort(self._first[:, place])
            values = values[np.isfinite(values)]
            if len(values):
                ranks = (np.arange(1, count + 1) * len(values)) // (count + 1)
                self._edges[start : start + count] = values[ranks]

    def version(self) -> LinearVersion:
        return LinearVersion(
            self._frame,
            edges=self._edges.copy(),
            weights=self._weights.copy(),
            averages=self._averages.copy(),
            calibration=publish(self._calibration),
        )

    def _parts(self) -> Tensors:
        return {
            "first": self._first,
            "edges": self._edges,
            "table": self._table,
            "weights": self._weights,
            "averages": self._averages,
            "calibration": self._calibration,
            "seen": self._seen,
            "pace": self._pace,
        }

    def _fixed(self) -> Tensors:
        return {"plan": self._frame.plan, "rates": self._declared}

    def state(self) -> Tensors:
        return {name: part.copy() for name, part in (self._parts() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed(), {"pace": np.ones(1)} | {**state}, "Linear")
        self._rates[ftrl.ALPHA] = self._pace[0] * self._declared[ftrl.ALPHA]


class LinearVersion(Calibrated):
    """A `Linear` as it scores; 4 bytes a slot. See `models.base.Version`."""

    kind: ClassVar[str] = "linear"

    def __init__(
        self,
        frame: _Frame,
        *,
        edges: Floats,
        weights: ftrl.Weights,
        averages: Floats,
        calibration: Floats,
    ) -> None:
        self.names = frame.names
        self._frame, self._edges, self._weights = frame, edges, weights
        self._averages, self._calibration = averages, calibration

    def predict_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        out = np.empty(len(x))
        plan = self._frame.plan
        room = ftrl.room_for(plan)
        ftrl.predict(
            x,
            self._edges,
            plan,
            self._frame.offset,
            self._frame.focus,
            self._weights,
            self._calibration,
            room,
            out,
        )
        return out

    def reasons_many(self, x: Floats, k: int) -> Reasons:
        return largest(self._contributions(x), k)

    def contributions_many(self, x: Floats) -> Floats:
        out = self._contributions(x)
        calibrate(self._calibration, out)
        return out

    def _contributions(self, x: Floats) -> Floats:
        """Those to the raw log-odds."""
        examine(self.names, x)
        out = np.empty((len(x), len(self.names) + 1))
        plan, offset = self._frame.plan, self._frame.offset
        room = ftrl.room_for(plan)
        ftrl.contributions(x, self._edges, plan, offset, self._weights, self._averages, room, out)
        if self._frame.focus:
            through(out, self._unfocused)
        return out

    def _unfocused(self, totals: Floats) -> Floats:
        return np.array([ftrl.unfocused(each, self._frame.focus) for each in totals.tolist()])

    def tensors(self) -> Tensors:
        return {
            "edges": self._edges,
            "weights": self._weights,
            "averages": self._averages,
            "calibration": self._calibration,
        }

    def config(self) -> dict[str, Any]:
        return self._frame.config()

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        names, inputs = tuple(config["names"]), [tuple(entry) for entry in config["inputs"]]
        focus = config.get("focus", 0.0)  # what was published before there was one has none
        frame = _Frame(names, inputs, config["crosses"], config["bits"], config["prior"], focus)
        version = cls(
            frame,
            edges=np.empty(frame.places[-1]),
            weights=np.empty((1 << frame.bits) + 1, np.float32),
            averages=np.empty(frame.terms),
            calibration=blank(tensors),
        )
        restore(version.tensors(), {}, tensors, "Linear")
        return version
