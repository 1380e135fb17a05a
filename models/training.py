"""One step of training a network with torch, which this file alone imports.

Torch computes on one thread and by deterministic algorithms, and the weights always lie alike in
its memory, so the same examples leave the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.base import Floats, Labels
from models.network_shape import Ints, Shape, Singles
from streams.errors import ConfigError
from streams.processor import let_others

WEIGHTS, FIRST, SECOND = range(3)
"""Rows of what a step changes: the weights, and the fading means of gradients and their squares."""
_FADING = 0.9, 0.999
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Lesson:
    """Located examples: what they are, and how much each counts."""

    rows: Ints
    shares: Singles
    y: Labels
    count: Floats


def torch_of(device: str) -> tuple[Any, Any]:
    """Torch, set to one thread, and the device: "auto" is a graphics processor where there is one.

    Raises ConfigError where torch is not installed, or the device is not there.
    """
    try:
        import torch  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(
            "Neural learns with torch, which is not installed; it comes by: uv sync --extra torch. "
            "What has been learnt scores without it"
        ) from error
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch, torch.empty(0, device=found if device == "auto" else device).device
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(f"Neural: wanted the device {device!r}; torch says: {error}") from error


class Trainer:
    """Adam (Kingma and Ba, 2015) with decoupled decay, over the weights as one vector.

    `clip`: the longest that a gradient may be. `focus`: the exponent of the focal loss (Lin et al.,
    2017), by which an example that is predicted well counts less; 0 is the logarithmic loss.
    """

    def __init__(
        self, shape: Shape, *, device: str, decay: float, clip: float, focus: float
    ) -> None:
        self._torch, self._device = torch_of(device)
        self._shape = shape
        self._decay, self._clip, self._focus = decay, clip, focus
        self._parts = dict(shape.parts())
        self._sizes = [math.prod(part) for part in self._parts.values()]

    def _there(self, array: Any) -> Any:
        """A copy on the device, aligned as all that torch allocates."""
        return self._torch.from_numpy(array).to(self._device, copy=True)

    def log_odds(self, weights: Singles, rows: Ints, shares: Singles) -> Floats:
        """Of located rows, as torch computes them."""
        given = [self._there(each) for each in (weights, rows, shares)]
        return np.asarray(self._forward(*given).cpu(), np.float64)

    def _forward(self, weights: Any, rows: Any, shares: Any) -> Any:
        torch = self._torch
        pieces = torch.split(weights, self._sizes)
        part = {
            name: piece.view(shape)
            for (name, shape), piece in zip(self._parts.items(), pieces, strict=True)
        }
        look_up = torch.nn.functional.embedding
        here, there = look_up(rows, part["table"]), look_up(rows + 1, part["table"])
        embedded = here + shares.unsqueeze(2) * (there - here)
        inputs = len(self._shape.slots)
        x0 = embedded[:, :inputs].flatten(1)
        if self._shape.tokens:
            found = self._attend(part, x0, embedded[:, inputs:], rows[:, inputs:])
            x0 = torch.cat([x0, found], 1)
        x = x0
        for layer in range(self._shape.crosses):
            v, u, b = (part[f"cross {layer} {name}"] for name in "VUb")
            x = torch.addcmul(x, x0, torch.addmm(b, x @ v, u))
        h = torch.addmm(part["dense b"], x, part["dense W"]).relu()
        for block in range(self._shape.blocks):
            inner, a, outer, b = (part[f"block {block} {name}"] for name in "AaBb")
            h = h + torch.addmm(b, torch.addmm(a, h, inner).relu(), outer)
        return h @ part["out w"] + part["out c"]

    def _attend(self, part: Any, own: Any, embedded: Any, rows: Any) -> Any:
        """What the heads find: scaled dot-product attention to the tokens, and to nothing."""
        torch, shape = self._torch, self._shape
        n, kinds = len(rows), len(shape.slots) + np.arange(shape.kinds)
        missing = self._there(np.array(shape.starts)[kinds + 1] - 1)
        absent = (rows.view(n, shape.tokens, shape.kinds) == missing).all(2)
        tokens = embedded.reshape(n, shape.tokens, -1)

        def heads(of: Any, name: str) -> Any:
            made = of @ part[f"attention {name}"] + part[f"attention {name} b"]
            return made.view(n, -1, shape.heads, shape.size)

        q, k, v = heads(own, "query"), heads(tokens, "key"), heads(tokens, "value")
        scores = (q * k).sum(3) / math.sqrt(shape.size)
        scores = scores.masked_fill(absent.unsqueeze(2), -math.inf)
        scores = torch.cat([scores, torch.zeros_like(scores[:, :1])], 1)
        return (scores.softmax(1)[:, :-1].unsqueeze(3) * v).sum(1).flatten(1)

    def step(self, held: Singles, lesson: Lesson, number: int, rate: float) -> None:
        """Change the weights and the means held (3, weights) by a lesson, the number-th, from 1.

        A gradient that is not finite changes nothing. On the way whoever waits for the processor
        has it, such as who scores.
        """
        torch = self._torch
        let_others()
        weights, first, second = (self._there(row) for row in held)
        weights.requires_grad_()
        z = self._forward(weights, self._there(lesson.rows), self._there(lesson.shares))
        y = self._there(lesson.y.astype(np.float32))
        count = self._there((lesson.count / lesson.count.sum()).astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        if self._focus:
            loss = loss * (1.0 - torch.exp(-loss)).pow(self._focus)
        let_others()
        (gradient,) = torch.autograd.grad((loss * count).sum(), weights)
        let_others()
        length = float(gradient.norm())
        if not math.isfinite(length):
            return
        if length > self._clip:
            gradient *= self._clip / length
        with torch.no_grad():
            first.lerp_(gradient, 1.0 - _FADING[0])
            second.lerp_(gradient.square(), 1.0 - _FADING[1])
            started = [1.0 - fading**number for fading in _FADING]
            spread = (second / started[1]).sqrt_().add_(_EPSILON)
            weights *= 1.0 - rate * self._decay
            weights.addcdiv_(first, spread, value=-rate / started[0])
            for row, changed in zip(held, (weights, first, second), strict=True):
                row[:] = changed.cpu().numpy()
