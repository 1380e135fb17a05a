"""A network as an ONNX file, for servers of other makes: inputs in, calibrated probabilities out.

    Path("fraud.onnx").write_bytes(onnx_of(version))

The graph does what `models.network` does, and takes the same rows: "inputs", float64 (n, names),
NaN where missing, gives "score", float64 (n,). Sums may be taken in another order, so scores differ
from ours by rounding, of single precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from models.calibration import CURVE, INTERCEPT, SHIFT, SLOPE
from models.network import FURTHEST, LARGEST, MULTIPLIER, PRIME
from models.network_shape import Shape
from models.neural_version import NeuralVersion
from models.protobuf import field
from streams.errors import ConfigError

OPSET = 13
_IR = 8
_FLOAT, _INT64, _BOOL, _DOUBLE = 1, 7, 9, 11
_TYPES = {"float32": _FLOAT, "int64": _INT64, "float64": _DOUBLE}
_LIMIT = 35.0


class _Graph:
    """Nodes in order, and the constants they use; names are numbers."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, value: npt.ArrayLike, kind: str = "float64") -> str:
        """A constant of the graph."""
        array = np.asarray(value, kind)
        name = f"c{len(self._constants)}"
        raw = b"".join(field(1, size) for size in array.shape) + field(2, _TYPES[kind])
        raw += field(8, name) + field(9, array.astype(array.dtype.newbyteorder("<")).tobytes())
        self._constants.append(field(5, raw))
        return name

    def add(self, operation: str, *inputs: str, output: str = "", **attributes: int) -> str:
        """The result of an operation."""
        name = output or f"n{len(self._nodes)}"
        raw = b"".join(field(1, each) for each in inputs) + field(2, name) + field(4, operation)
        for key, value in attributes.items():
            raw += field(5, field(1, key) + field(3, value) + field(20, 2))
        self._nodes.append(field(1, raw))
        return name

    def written(self, width: int) -> bytes:
        """The graph with its input of so many columns and its output."""
        ends = field(11, _value("inputs", [field(2, "n"), field(1, width)]))
        ends += field(12, _value("score", [field(2, "n")]))
        return b"".join(self._nodes) + field(2, "headrace") + b"".join(self._constants) + ends


def _value(name: str, sizes: list[bytes]) -> bytes:
    shape = b"".join(field(1, size) for size in sizes)
    return field(1, name) + field(2, field(1, field(1, _DOUBLE) + field(2, shape)))


def onnx_of(version: NeuralVersion) -> bytes:
    """The bytes of an ONNX file that scores as the version does; it holds the inputs' names.

    ConfigError for one whose calibration is a curve.
    """
    published = version.tensors()["calibration"]
    if len(published) > CURVE:
        raise ConfigError(
            "onnx_of writes a calibration of slope and intercept; got one by a rising curve: train "
            "with Calibration(platt=True), without isotonic, to export"
        )
    graph = _Graph()
    rows, shares = _located(graph, version)
    raw = _log_odds(graph, version, rows, shares)
    slope = float(published[SLOPE])
    moved = slope * (float(version.tensors()["offset"][0]) + published[SHIFT])
    z = graph.add("Mul", raw, graph.constant(slope))
    z = graph.add("Add", z, graph.constant(moved + published[INTERCEPT]))
    z = graph.add("Clip", z, graph.constant(-_LIMIT), graph.constant(_LIMIT))
    graph.add("Sigmoid", z, output="score")
    names = field(1, "names") + field(2, orjson.dumps(list(version.names)))
    head = field(1, _IR) + field(2, "headrace") + field(8, field(2, OPSET))
    return head + field(7, graph.written(len(version.names))) + field(14, names)


def _located(graph: _Graph, version: NeuralVersion) -> tuple[str, str]:
    """Where inputs lie in the table, as `network.locate` has it: rows, and shares of the next."""
    shape, cut, inputs = version.frame.shape, version.frame.numbers, len(version.frame.shape.slots)
    starts, kinds = np.array(shape.starts), inputs + np.arange(shape.kinds)
    tables = np.concatenate([np.arange(inputs), np.tile(kinds, shape.tokens)])
    parts = []
    for columns, locate in (
        (slice(cut), _of_numbers),
        (slice(cut, inputs), _of_categories),
        (slice(inputs, None), _of_numbers),
    ):
        own = version.frame.columns[columns]
        if own:
            x = graph.add("Gather", "inputs", graph.constant(own, "int64"), axis=1)
            missing = graph.add("IsNaN", x)
            x = graph.add("Where", missing, graph.constant(0.0), x)
            row, share = locate(graph, version, x, tables[columns])
            absent = graph.constant(starts[tables[columns] + 1] - 1, "int64")
            none = graph.constant(0.0, "float32")
            row = graph.add("Where", missing, absent, row)
            parts.append((row, graph.add("Where", missing, none, share)))
    rows, shares = zip(*parts, strict=True)
    return graph.add("Concat", *rows, axis=1), graph.add("Concat", *shares, axis=1)


def _of_numbers(
    graph: _Graph, version: NeuralVersion, x: str, tables: npt.NDArray[np.int64]
) -> tuple[str, str]:
    frame = version.frame
    after = len(frame.shape.slots)
    knots = version.knots[np.where(tables < after, tables, tables - after + frame.numbers)]
    inputs, count = knots.shape
    first = count * np.arange(inputs)
    x = graph.add("Clip", x, graph.constant(-LARGEST), graph.constant(LARGEST))
    wide = graph.add("Unsqueeze", x, graph.constant([2], "int64"))
    above = graph.add("GreaterOrEqual", wide, graph.constant(knots))
    above = graph.add("Cast", above, to=_INT64)
    place = graph.add("ReduceSum", above, graph.constant([2], "int64"), keepdims=0)
    place = graph.add("Sub", place, graph.constant(1, "int64"))
    place = graph.add("Max", place, graph.constant(0, "int64"))
    at = graph.add("Add", place, graph.constant(first, "int64"))
    lows = np.where(np.isfinite(knots), knots, 0.0)
    highs = np.column_stack([knots[:, 1:], np.full(inputs, np.inf)])
    low = graph.add("Gather", graph.constant(lows.ravel()), at)
    high = graph.add("Gather", graph.constant(highs.ravel()), at)
    share = graph.add("Div", graph.add("Sub", x, low), graph.add("Sub", high, low))
    share = graph.add("Max", share, graph.constant(0.0))
    starts = graph.constant(np.array(frame.shape.starts)[tables], "int64")
    return graph.add("Add", place, starts), graph.add("Cast", share, to=_FLOAT)


def _of_categories(
    graph: _Graph, version: NeuralVersion, x: str, tables: npt.NDArray[np.int64]
) -> tuple[str, str]:
    shape = version.frame.shape
    prime = graph.constant(PRIME, "int64")
    code = graph.add("Clip", x, graph.constant(-FURTHEST), graph.constant(FURTHEST))
    code = graph.add("Cast", graph.add("Floor", code), to=_INT64)
    code = graph.add("Mod", code, prime)
    code = graph.add("Mod", graph.add("Mul", code, graph.constant(MULTIPLIER, "int64")), prime)
    code = graph.add("Mod", code, graph.constant(np.array(shape.slots)[tables], "int64"))
    starts = graph.constant(np.array(shape.starts)[tables], "int64")
    share = graph.add("Mul", graph.add("Cast", code, to=_FLOAT), graph.constant(0.0, "float32"))
    return graph.add("Add", code, starts), share


def _log_odds(graph: _Graph, version: NeuralVersion, rows: str, shares: str) -> str:
    """The layers, as in `models.network`, but for the offset: float64 (n,)."""
    shape = version.frame.shape
    parts: dict[str, Any] = {
        name: graph.constant(part.reshape(-1, 1) if name == "out w" else part, "float32")
        for name, part in shape.views(version.weights).items()
    }
    next_rows = graph.add("Add", rows, graph.constant(1, "int64"))
    here, there = (graph.add("Gather", parts["table"], each) for each in (rows, next_rows))
    share = graph.add("Unsqueeze", shares, graph.constant([2], "int64"))
    part = graph.add("Mul", share, graph.add("Sub", there, here))
    embedded = graph.add("Add", here, part)
    inputs = len(shape.slots)
    own = _some(graph, embedded, range(inputs)) if shape.tokens else embedded
    x0 = _as(graph, own, -1, inputs * shape.width)
    if shape.tokens:
        tokens = range(inputs, len(version.frame.columns))
        past = _some(graph, embedded, tokens), _some(graph, rows, tokens)
        x0 = graph.add("Concat", x0, _attended(graph, shape, parts, x0, *past), axis=1)
    x = x0

    def dense(x: str, weights: str, bias: str) -> str:
        return graph.add("Add", graph.add("MatMul", x, parts[weights]), parts[bias])

    for layer in range(shape.crosses):
        t = graph.add("MatMul", x, parts[f"cross {layer} V"])
        y = dense(t, f"cross {layer} U", f"cross {layer} b")
        x = graph.add("Add", x, graph.add("Mul", x0, y))
    h = graph.add("Relu", dense(x, "dense W", "dense b"))
    for block in range(shape.blocks):
        g = graph.add("Relu", dense(h, f"block {block} A", f"block {block} a"))
        h = graph.add("Add", h, dense(g, f"block {block} B", f"block {block} b"))
    raw = graph.add("Cast", dense(h, "out w", "out c"), to=_DOUBLE)
    return graph.add("Reshape", raw, graph.constant([-1], "int64"))


def _attended(
    graph: _Graph, shape: Shape, parts: dict[str, str], own: str, embedded: str, rows: str
) -> str:
    """What the heads find among the tokens: float32 (n, heads * size)."""
    kinds, tokens = shape.kinds, shape.tokens
    missing = graph.constant(np.array(shape.starts)[len(shape.slots) + 1 :] - 1, "int64")
    known = graph.add("Equal", _as(graph, rows, -1, tokens, kinds), missing)
    known = graph.add("Cast", graph.add("Not", known), to=_INT64)
    known = graph.add("ReduceSum", known, graph.constant([2], "int64"), keepdims=1)
    there = graph.add("Cast", known, to=_BOOL)

    def heads(of: str, name: str) -> str:
        made = graph.add("MatMul", of, parts[f"attention {name}"])
        made = graph.add("Add", made, parts[f"attention {name} b"])
        return _as(graph, made, -1, tokens if name != "query" else 1, shape.heads, shape.size)

    past = _as(graph, embedded, -1, tokens, kinds * shape.width)
    q, k, v = heads(own, "query"), heads(past, "key"), heads(past, "value")
    within, over = graph.constant([3], "int64"), graph.constant([1], "int64")
    scores = graph.add("ReduceSum", graph.add("Mul", q, k), within, keepdims=0)
    scores = graph.add("Div", scores, graph.constant(math.sqrt(shape.size), "float32"))
    scores = graph.add("Where", there, scores, graph.constant(-math.inf, "float32"))
    nothing = graph.add("Mul", q, graph.constant(0.0, "float32"))
    nothing = graph.add("ReduceSum", nothing, within, keepdims=0)
    shares = graph.add("Softmax", graph.add("Concat", scores, nothing, axis=1), axis=1)
    shares = graph.add("Unsqueeze", _some(graph, shares, range(tokens)), within)
    found = graph.add("ReduceSum", graph.add("Mul", shares, v), over, keepdims=0)
    return _as(graph, found, -1, shape.heads * shape.size)


def _some(graph: _Graph, x: str, columns: range) -> str:
    return graph.add("Gather", x, graph.constant(columns, "int64"), axis=1)


def _as(graph: _Graph, x: str, *sizes: int) -> str:
    return graph.add("Reshape", x, graph.constant(sizes, "int64"))
