"""Where the training of a network begins."""

from __future__ import annotations

import math

import numpy as np

from models.base import Floats
from models.network_shape import Shape, Singles


def begin(shape: Shape, weights: Singles, knots: Floats, share: float, seed: int) -> None:
    """Weights before the first step: every number a line of its quantiles, no crosses, no blocks,
    nothing of value to attend to.

    `share`: of positives, by which everything is predicted at first, but for the dense layer.
    """
    rng = np.random.default_rng(seed)
    parts = shape.views(weights)
    for name, part in parts.items():
        kind = name.rpartition(" ")[2]
        if kind in {"query", "key", "V", "A", "W", "w"}:
            gain = 2.0 if kind in {"A", "W"} else 1.0
            part[:] = rng.normal(0.0, math.sqrt(gain / len(part)), part.shape)
        elif kind == "table":
            part[:] = rng.normal(0.0, 0.05, part.shape)
    parts["out c"][:] = math.log(share / (1.0 - share))
    for start, own in zip(shape.numeric, knots, strict=True):
        count = int(np.isfinite(own).sum())
        line = np.linspace(-1.0, 1.0, count) if count > 1 else np.zeros(count)
        slope = rng.normal(0.0, math.sqrt(0.75), shape.width)
        parts["table"][start : start + count] += np.outer(line, slope).astype(np.float32)
