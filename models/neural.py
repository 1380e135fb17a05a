"""A neural network that learns from micro-batches with torch, and scores without it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models import network
from models.base import Floats, Labels, Tensors, column, examine
from models.calibration import (
    Calibration,
    importances,
    observe_many,
    publish,
    score_many,
)
from models.knots import carry, no_knots
from models.network_shape import ATTENTION, Ints, Shape, Singles
from models.network_start import begin
from models.neural_version import Frame, NeuralVersion
from models.reservoir import Reservoir
from models.state import restore
from models.training import WEIGHTS, Lesson, Trainer
from streams.draw import uniform
from streams.errors import ConfigError
from streams.jit import kernel

Loss = Literal["log", "balanced", "focal"]
_CALIBRATED = Calibration(platt=True)
_SEEN, _STEPS, _SINCE, _MEASURED, _RANDOM = range(5)
_POSITIVE, _TOTAL, _LATE, _LATE_COUNT, _LONG, _LONG_COUNT = range(6)
_LATE_SPAN, _LONG_SPAN, _RISE = 8_192, 65_536, 1.5
_WARM_UP, _SLOWING = 50, 1_000
_MEMORY = 0.98
_FOCUS = 2.0
WORTH_A_CARD = 1_024
"""Examples of a step, from which on a graphics card is ahead of one processor core."""
_SAMPLE = 512
_MOST_KNOTS, _MOST_SLOTS = 256, 1 << 20


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Attention to the last events of a key: each is a token, and the event at hand asks.

    `tokens`: for each of these events the names of its inputs, all of them numbers, the same for
    each in the same order, as `Entity.lag`, `Entity.since_last` and `Entity.same` make them. One of
    which every input is missing is not there. `heads` attend to them, each by queries, keys and
    values of `size` numbers. The names are no inputs besides.

    >>> Attention(tokens=[(f"since_{n}", f"amount_{n}") for n in range(1, 4)]).tokens[2]
    ('since_3', 'amount_3')
    """

    tokens: Sequence[Sequence[str]]
    heads: int = 2
    size: int = 8

    def __post_init__(self) -> None:
        names = self.names
        if not (names and min(self.heads, self.size) >= 1 and len(set(names)) == len(names)):
            wanted = "heads and a size of at least 1, and tokens of inputs that are not twice there"
            raise ConfigError(f"Attention wants {wanted}; got {self}")
        if len(set(map(len, self.tokens))) > 1:
            raise ConfigError(f"Attention wants tokens of as many inputs each; got {self}")

    @property
    def names(self) -> list[str]:
        """The inputs of all tokens."""
        return [name for token in self.tokens for name in token]


@dataclass(frozen=True, kw_only=True)
class Neural:
    """Embeddings, a cross network and residual layers (`models.network`), trained by torch.

    `inputs`: names of the inputs it looks at; all of the pipeline when empty. `categories`: those
    among them that are codes, not amounts, and how many rows of embeddings each hashes to. A number
    is embedded between `knots` quantiles, drawn anew whenever the examples have doubled since
    `learnt_after` of them; until then it knows their share of positives alone.

    `width` numbers embed an input; `crosses` layers of rank `rank`; `hidden` units, and `blocks`
    residual blocks of as many. `attention`: to the last events, see `Attention`. Every `batch`
    examples are one step, with `replay` others from a reservoir of `reservoir` of each class, half
    of each and weighed as often as they came.

    `loss`: "log", "balanced", where the classes weigh the same, or "focal"; the probabilities are
    those of the stream with each. `rate`: the largest step, which grows smaller with the root of
    the number of steps, and is taken again when the loss of late is half as much again as it was.
    `decay`, `clip`: see `Trainer`. `device`: a name of torch's, or "auto": a graphics card where
    there is one and steps are large enough for it. `seed`: of what is random. Learning wants torch,
    by `uv sync --extra torch`; scoring does not.

    >>> model = Neural(categories={"shop": 64}, width=2)
    >>> model.frame(("shop", "amount")).columns
    [1, 0]
    """

    inputs: Sequence[str] = ()
    categories: Mapping[str, int] = field(default_factory=dict)
    knots: int = 32
    learnt_after: int = 2_000
    width: int = 4
    crosses: int = 2
    rank: int = 16
    hidden: int = 32
    blocks: int = 1
    batch: int = 256
    replay: int = 256
    reservoir: int = 4_096
    loss: Loss = "log"
    rate: float = 0.01
    decay: float = 1e-4
    clip: float = 1.0
    prior: float = 0.01
    device: str = "auto"
    seed: int = 0
    calibration: Calibration = _CALIBRATED
    attention: Attention | None = None

    def __repr__(self) -> str:
        """All but what is off: by this a state is known, those from before attention too."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        said = (f"{name}={value!r}" for name, value in given.items() if value is not None)
        return f"Neural({', '.join(said)})"

    def __post_init__(self) -> None:
        sizes = (self.learnt_after, self.width, self.rank, self.hidden, self.batch, self.reservoir)
        if not (min(sizes) >= 1 and min(self.crosses, self.blocks, self.replay) >= 0):
            raise ConfigError(f"Neural wants sizes of at least 1; got {self}")
        slots = self.categories.values()
        if not (2 <= self.knots <= _MOST_KNOTS and all(1 <= n <= _MOST_SLOTS for n in slots)):
            wanted = f"2 to {_MOST_KNOTS} knots and 1 to {_MOST_SLOTS:,} rows a category"
            raise ConfigError(f"Neural wants {wanted}; got {self}")
        if not (min(self.rate, self.clip) > 0 and self.decay >= 0 and 0 < self.prior < 1):
            wanted = "rate and clip above 0, decay of at least 0 and a prior inside (0, 1)"
            raise ConfigError(f"Neural wants {wanted}; got {self}")
        if self.loss not in {"log", "balanced", "focal"}:
            raise ConfigError(f"Neural wants a loss of log, balanced or focal; got {self.loss!r}")

    def bind(self, names: tuple[str, ...]) -> NeuralLearner:
        return NeuralLearner(self, names)

    def frame(self, names: tuple[str, ...]) -> Frame:
        """The inputs, numbers first, as columns of `names`, and the network over them."""
        tokens = self.attention.names if self.attention else []
        chosen = [name for name in self.inputs or names if name not in tokens]
        strange = [name for name in self.categories if name not in chosen]
        if strange:
            raise ConfigError(f"Neural: categories {strange} are not among its inputs {chosen}")
        if tokens and not chosen:
            raise ConfigError(f"Neural wants an input beside those of its tokens; got {self}")
        numbers = [name for name in chosen if name not in self.categories]
        columns = [column(names, name, "Neural") for name in (*numbers, *self.categories, *tokens)]
        slots = (*(0 for _ in numbers), *self.categories.values())
        sizes = [self.knots, self.width, self.crosses, self.rank, self.hidden, self.blocks]
        if self.attention:
            count = len(self.attention.tokens)
            sizes += [len(tokens) // count, count, self.attention.heads, self.attention.size]
        return Frame(names, columns, Shape(slots, *sizes))


@kernel("void(int64[::1], int64, int64[::1])")
def _draw(words: Ints, count: int, out: Ints) -> None:
    """Places below count, each as likely, into out."""
    for i in range(len(out)):
        out[i] = np.int64(uniform(words, _RANDOM) * count)


@kernel("void(float64[::1], float64[::1], int8[::1], float64[::1])")
def _follow(tallies: Floats, scores: Floats, y: Labels, weight: Floats) -> None:
    """Take the scores of examples, from before they are learnt, into the mean losses."""
    for i in range(len(scores)):
        loss = -weight[i] * np.log(scores[i] if y[i] else 1.0 - scores[i])
        for place, span in ((_LATE, _LATE_SPAN), (_LONG, _LONG_SPAN)):
            tallies[place] += loss - tallies[place] / span
            tallies[place + 1] += weight[i] - tallies[place + 1] / span


class NeuralLearner:
    """What a `Neural` has learnt. See `models.base.Learner`.

    What scores is a fading mean of the weights of past steps (Polyak and Juditsky, 1992).
    """

    def __init__(self, model: Neural, names: tuple[str, ...]) -> None:
        self.names, self._model = names, model
        self._frame = model.frame(names)
        shape = self._frame.shape
        focus = _FOCUS if model.loss == "focal" else 0.0
        few = model.batch + model.replay < WORTH_A_CARD
        device = "cpu" if model.device == "auto" and few else model.device
        self._trainer = Trainer(
            shape, device=device, decay=model.decay, clip=model.clip, focus=focus
        )
        self._held = np.zeros((3, shape.weights), np.float32)
        self._average = np.zeros(shape.weights, np.float32)
        self._knots = no_knots(self._frame.knotted, model.knots)
        self._waiting = np.zeros((model.batch, len(names) + 2))
        self._reservoir = Reservoir(model.reservoir, len(names) + 1, strata=2, seed=model.seed)
        self._words = np.zeros(5, np.int64)
        rng = np.random.default_rng(model.seed)
        self._words[_RANDOM] = rng.integers(1, 2**62)
        self._tallies = np.zeros(6)
        self._calibration = model.calibration.start()
        self._pace = np.ones(1)

    def adapt(self, rate: float) -> None:
        """Steps are so many times as large as they are by now."""
        self._pace[0] = rate

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        examine(self.names, x)
        start, size = 0, len(self._waiting)
        while start < len(x):
            at = int(self._words[_SEEN]) % size
            rows = slice(start, min(start + size - at, len(x)))
            start = rows.stop
            taken = start - rows.start
            self._waiting[at : at + taken] = np.column_stack([x[rows], y[rows], weight[rows]])
            self._words[_SEEN] += taken
            if at + taken == size:
                self._learn(
                    np.ascontiguousarray(self._waiting[:, :-2]),
                    self._waiting[:, -2].astype(np.int8),
                    np.ascontiguousarray(self._waiting[:, -1]),
                )

    def _learn(self, x: Floats, y: Labels, weight: Floats) -> None:
        """Learn a micro-batch, judged before."""
        count = np.empty(len(y))
        importances(self._calibration, y, weight, count)
        self._tallies[_POSITIVE] += float(count[y > 0].sum())
        self._tallies[_TOTAL] += float(count.sum())
        if self._words[_MEASURED]:
            rows, shares = self._frame.locate(x, self._knots)
            self._judge(rows, shares, y, weight)
            self._step(rows, shares, y, count)
        self._reservoir.add(np.column_stack([x, count]), stratum=y.astype(np.int64))
        if self._words[_SEEN] >= self._model.learnt_after << int(self._words[_MEASURED]):
            self._measure()

    def _judge(self, rows: Ints, shares: Singles, y: Labels, weight: Floats) -> None:
        raw = self._frame.log_odds(rows, shares, self._average, self._offset)
        scores = np.empty(len(raw))
        score_many(publish(self._calibration), raw, scores)
        _follow(self._tallies, scores, y, weight)
        observe_many(self._calibration, raw, y, weight)
        late, late_count, long, long_count = self._tallies[_LATE:].tolist()
        if long_count > _LATE_SPAN and late * long_count > _RISE * long * late_count:
            self._tallies[_LONG:] = late, late_count
            self._words[_SINCE] = 0

    def _step(self, rows: Ints, shares: Singles, y: Labels, count: Floats) -> None:
        """Learn located examples together with some of the reservoir's."""
        lesson = self._with_replay(Lesson(rows, shares, y, count))
        self._words[[_STEPS, _SINCE]] += 1
        steps, since = int(self._words[_STEPS]), int(self._words[_SINCE])
        rate = self._model.rate * min(1.0, steps / _WARM_UP) / math.sqrt(1 + since / _SLOWING)
        rate *= float(self._pace[0])
        self._trainer.step(self._held, lesson, steps, rate)
        memory = min(_MEMORY, (1 + steps) / (10 + steps))
        self._average += np.float32(1 - memory) * (self._held[WEIGHTS] - self._average)

    def _with_replay(self, fresh: Lesson) -> Lesson:
        """The examples with as many of either class from the reservoir, weighed by the loss."""
        share, wanted = self._share, self._wanted
        by_class = np.array([(1 - wanted) / (1 - share), wanted / share])
        lessons = [Lesson(fresh.rows, fresh.shares, fresh.y, fresh.count * by_class[fresh.y])]
        total = self._model.replay * float(fresh.count.sum()) / len(fresh.y)
        for label, part in enumerate((1 - wanted, wanted)):
            held = self._reservoir.held(label)
            places = np.empty(self._model.replay // 2 if len(held) else 0, np.int64)
            if len(places):
                _draw(self._words, len(held), places)
                past = held[places]
                count = past[:, -1] / past[:, -1].mean()
                where = self._frame.locate(np.ascontiguousarray(past[:, :-1]), self._knots)
                y = np.full(len(places), label, np.int8)
                lessons.append(Lesson(*where, y, count * (total * part / len(places))))
        columns = zip(
            *((each.rows, each.shares, each.y, each.count) for each in lessons), strict=True
        )
        return Lesson(*map(np.concatenate, columns))

    def _measure(self) -> None:
        """Draw the knots from the reservoir; what was learnt at the old ones is carried over."""
        rows = np.concatenate([self._reservoir.held(label) for label in (0, 1)])
        knots = self._frame.knots_of(rows)
        if self._words[_MEASURED]:
            for weights in (*self._held, self._average):
                table = self._frame.shape.views(weights)["table"]
                numeric = self._frame.shape.numeric
                for start, old, new in zip(numeric, self._knots, knots, strict=True):
                    carry(table[start:], old, new)
        else:
            begin(self._frame.shape, self._held[WEIGHTS], knots, self._wanted, self._model.seed)
            self._average[:] = self._held[WEIGHTS]
        self._knots[:] = knots
        self._words[_MEASURED] += 1

    @property
    def _share(self) -> float:
        """The share of positives among the examples, by weight."""
        positive, total = self._tallies[[_POSITIVE, _TOTAL]].tolist()
        return float((self._model.prior + positive) / (1 + total))

    @property
    def _wanted(self) -> float:
        """The share of positives that it learns by."""
        return 0.5 if self._model.loss == "balanced" else self._share

    @property
    def _offset(self) -> float:
        """What to add to log-odds that are learnt, to have those of the stream."""
        learnt = self._wanted if self._words[_MEASURED] else 0.5
        return _log_odds(self._share) - _log_odds(learnt)

    def version(self) -> NeuralVersion:
        rows, shares = self._frame.locate(
            np.ascontiguousarray(self._reservoir.held()[:_SAMPLE, :-1]), self._knots
        )
        means = np.empty(self._frame.shape.means, np.float32)
        network.mean_embeddings(rows, shares, self._frame.plan, self._average, means)
        return NeuralVersion(
            self._frame,
            knots=self._knots.copy(),
            weights=self._average.copy(),
            means=means,
            offset=np.array([self._offset]),
            calibration=publish(self._calibration),
        )

    def _parts(self) -> Tensors:
        return {f"reservoir/{name}": part for name, part in self._reservoir.parts().items()} | {
            "held": self._held,
            "average": self._average,
            "knots": self._knots,
            "waiting": self._waiting,
            "words": self._words,
            "tallies": self._tallies,
            "calibration": self._calibration,
            "pace": self._pace,
        }

    def _fixed(self) -> Tensors:
        model = self._model
        rates = [model.rate, model.decay, model.clip, model.prior, model.replay, model.learnt_after]
        return {
            "plan": np.delete(self._frame.plan, ATTENTION),
            "attention": self._frame.plan[ATTENTION],
            "rates": np.array(rates, np.float64),
            "loss": np.frombuffer(model.loss.encode(), np.uint8),
        }

    def state(self) -> Tensors:
        return {name: part.copy() for name, part in (self._parts() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        before = {"pace": np.ones(1), "attention": np.zeros(4, np.int64)}
        restore(self._parts(), self._fixed(), before | {**state}, "Neural")


def _log_odds(share: float) -> float:
    return math.log(share) - math.log1p(-share)
