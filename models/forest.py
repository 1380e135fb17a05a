"""A forest that learns event by event: aggregated trees over ranked inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models import cuts, prunings
from models.base import Floats, Labels, Tensors, examine
from models.calibration import (
    Calibrated,
    Calibration,
    blank,
    calibrate,
    importances,
    observe_many,
    publish,
    score_many,
)
from models.contributions import Contributing, spread, to_log_odds
from models.cuts import PRIOR, SMOOTHING, STEP
from models.ranks import KNOTS, Ranks, ranks_of
from models.state import restore
from streams.errors import ConfigError, StateError

_FEWEST_NODES, _MOST_NODES = 3, 1 << 24


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Trees that are cut where it has paid, each a mean over all its prunings (`models.cuts`).

    `inputs`: names of the inputs it looks at; all of the pipeline when empty. `trees`, and `nodes`
    the most that each may have; a leaf tries `cuts` cuts of each input at a time. A node takes 68
    bytes and, for each input, 4 and 12 a cut; one of a version 32. Inputs are ranked among the
    first `learnt_after` examples, which are learnt again each time that twice as many have come.
    `step`: how fast the weights of prunings follow their losses; 1 is the exact mixture.
    `smoothing`: the geometric mean of the positives and negatives that a node begins with, whose
    odds are those of the node above; the root's are of share `prior`. `seed`: of what is random.

    >>> model = Forest(trees=5, nodes=255, learnt_after=100)
    >>> learner = model.bind(("amount", "night"))
    >>> x = np.array([[900.0, 1.0], [5.0, 0.0]] * 200)
    >>> learner.learn_many(x, np.array([1, 0] * 200, np.int8), np.ones(400))
    >>> (learner.version().predict_many(x[:2]) > 0.5).tolist()
    [True, False]
    """

    inputs: tuple[str, ...] = ()
    trees: int = 10
    nodes: int = 1 << 12
    cuts: int = 3
    learnt_after: int = 1000
    step: float = 1.0
    smoothing: float = 0.5
    prior: float = 0.5
    seed: int = 0
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        sizes = min(self.trees, self.cuts) >= 1 and _FEWEST_NODES <= self.nodes <= _MOST_NODES
        if not (sizes and self.learnt_after >= 1 and min(self.step, self.smoothing) > 0):
            wanted = f"trees, cuts, {_FEWEST_NODES} to {_MOST_NODES} nodes, step, smoothing above 0"
            raise ConfigError(f"Forest wants {wanted}; got {self}")
        if not 0 < self.prior < 1:
            raise ConfigError(f"Forest wants a prior inside (0, 1); got {self}")

    def bind(self, names: tuple[str, ...]) -> ForestLearner:
        return ForestLearner(self, names)


class ForestLearner:
    """What a `Forest` has learnt. See `models.base.Learner`."""

    def __init__(self, model: Forest, names: tuple[str, ...]) -> None:
        self.names = names
        self._ranks = Ranks(names, model.inputs, model.learnt_after, "Forest")
        self._rates = np.zeros(3)
        self._rates[[STEP, SMOOTHING, PRIOR]] = model.step, model.smoothing, model.prior
        self._links, self._values, self._tried = cuts.nodes_of(
            model.trees, model.nodes, len(self._ranks.columns), model.cuts
        )
        self._model = model
        self._book = cuts.book_of(model.trees, model.seed)
        self._calibration = model.calibration.start()
        self._pace = np.ones(1)

    def _forget(self) -> None:
        """Begin again with trees that have no node."""
        self._book[:] = cuts.book_of(self._model.trees, self._model.seed)
        self._calibration[:] = self._model.calibration.start()

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        for anew, ranks, labels, weights in self._ranks.learnable(x, y, weight):
            if anew:
                self._forget()
            raw = np.empty(len(ranks))
            heavy = np.empty(len(ranks))
            importances(self._calibration, labels, weights, heavy)
            heavy *= self._pace
            cuts.learn(
                ranks, labels, heavy, self._rates, self._links,
                self._values, self._tried, self._book, raw,
            )  # fmt: skip
            prunings.to_log_odds(raw)
            observe_many(self._calibration, raw, labels, weights)

    def adapt(self, rate: float) -> None:
        """An example counts for so many, beside those that the nodes have seen."""
        self._pace[0] = rate

    def version(self) -> ForestVersion:
        links, nodes, roots = prunings.scoring(self._links, self._values, self._book, self._rates)
        return ForestVersion(
            self.names,
            self._ranks.columns,
            knots=self._ranks.knots,
            links=links,
            nodes=nodes,
            roots=roots,
            calibration=publish(self._calibration),
        )

    def _parts(self) -> Tensors:
        return self._ranks.parts() | {
            "links": self._links,
            "values": self._values,
            "tried": self._tried,
            "book": self._book,
            "calibration": self._calibration,
            "pace": self._pace,
        }

    def _fixed(self) -> Tensors:
        return {"rates": self._rates, "columns": np.array(self._ranks.columns)}

    def state(self) -> Tensors:
        return {name: part.copy() for name, part in (self._parts() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed(), {"pace": np.ones(1)} | {**state}, "Forest")


class ForestVersion(Calibrated, Contributing):
    """A `Forest` as it scores. See `models.base.Version`."""

    kind: ClassVar[str] = "forest"

    def __init__(
        self,
        names: tuple[str, ...],
        columns: list[int],
        *,
        knots: Floats,
        links: cuts.Links,
        nodes: Floats,
        roots: cuts.Ints,
        calibration: Floats,
    ) -> None:
        self.names, self._columns, self._knots = names, columns, knots
        self._links, self._nodes, self._roots = links, nodes, roots
        self._calibration = calibration

    def _ranked(self, x: Floats) -> cuts.Singles:
        examine(self.names, x)
        return ranks_of(np.ascontiguousarray(x[:, self._columns]), self._knots)

    def predict_many(self, x: Floats) -> Floats:
        ranks, out = self._ranked(x), np.empty(len(x))
        prunings.predict(ranks, self._links, self._nodes, self._roots, out)
        prunings.to_log_odds(out)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        ranks, parts = self._ranked(x), np.empty((len(x), len(self._columns) + 1))
        prunings.contributions(ranks, self._links, self._nodes, self._roots, parts)
        to_log_odds(parts)
        calibrate(self._calibration, parts)
        return spread(parts, self._columns, len(self.names))

    def tensors(self) -> Tensors:
        return {
            "knots": self._knots,
            "links": self._links,
            "nodes": self._nodes,
            "roots": self._roots,
            "calibration": self._calibration,
        }

    def config(self) -> dict[str, Any]:
        return {"names": list(self.names), "columns": list(self._columns)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        columns = [int(each) for each in config["columns"]]
        roots = tensors.get("roots", np.zeros(1, np.int64))
        version = cls(
            tuple(config["names"]),
            columns,
            knots=np.empty((len(columns), 1 + KNOTS)),
            links=np.empty((int(roots[-1]), 2), np.int32),
            nodes=np.empty((int(roots[-1]), 3)),
            roots=np.empty(len(roots), np.int64),
            calibration=blank(tensors),
        )
        restore(version.tensors(), {}, tensors, "Forest")
        if not prunings.sound(version._links, version._roots, len(columns)):
            raise StateError("Forest: its nodes lead outside their trees; the version is damaged")
        return version
