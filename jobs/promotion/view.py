"""Versions and decisions to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jobs.promotion.catalogue import Catalogue, differences
from models.base import Version
from models.decisions import Decision
from models.manifest import Manifest
from streams.timestamps import time_text

SOFT = "bright_black"
LONG = 60
"""Letters of a value that are shown in a line."""
TIMES = ("since_us", "until_us", "at_us")


def listing(catalogue: Catalogue, most: int) -> Iterator[RenderableType]:
    """The newest versions, which of them scores, and what was decided."""
    shown = Table(box=None, pad_edge=False, header_style=SOFT)
    for name in ("version", "name", "model", "", "examples", "learnt until", "AUC", "AP"):
        right = name in ("version", "examples", "AUC", "AP")
        shown.add_column(name, no_wrap=True, justify="right" if right else "left")
    versions = catalogue.own
    newest = versions[-most:] if most else versions
    if any(each.response for each in newest):
        shown.add_column("came of")
    for each in reversed(newest):
        shown.add_row(*_row(each, catalogue))
    yield shown
    others = len(catalogue.versions) - len(versions)
    hidden = max(len(versions) - most, 0) if most else 0
    more = [f"{hidden:,} older ones (--all)"] if hidden else []
    more += [f"{others:,} of other pipelines"] if others else []
    if more:
        yield Text(f"and {', '.join(more)}", style=SOFT)
    yield Text("")
    yield from (Text(line) for line in _decided(catalogue))


def _row(version: Manifest, catalogue: Catalogue) -> list[str]:
    kept = "kept" if version.sequence in catalogue.kept else ""
    return [
        f"{version.sequence}",
        version.title,
        version.name,
        "scores" if version.sequence == catalogue.in_force else kept,
        f"{version.examples:,}",
        "" if version.until_us is None else time_text(version.until_us)[:16],
        _number(version.metrics.get("auc")),
        _number(version.metrics.get("average_precision")),
        *([version.response] if version.response else []),
    ]


def _decided(catalogue: Catalogue) -> Iterator[str]:
    decisions = catalogue.decisions
    if not decisions.log:
        yield f"nothing was decided: the newest version of {decisions.model} scores"
        return
    for each in decisions.log:
        yield sentence(each)
    if decisions.held is None:
        yield f"so the newest version of {decisions.model} scores"
    else:
        yield f"so version {decisions.held} scores, whatever is learnt, until the next decision"


def sentence(decision: Decision) -> str:
    """A decision in a line.

    >>> sentence(Decision(number=2, action="rollback", model="forest", sequence=7, before=9,
    ...                   pipeline="9f3a", by="ann", reason="too many alerts", at_us=0))
    '2  1970-01-01T00:00:00  rollback to version 7 of forest, from 9, by ann: too many alerts'
    """
    what = {
        "promote": f"promote {decision.model}, version {decision.sequence}",
        "rollback": f"rollback to version {decision.sequence} of {decision.model}",
    }[decision.action]
    reason = f": {decision.reason}" if decision.reason else ""
    when = time_text(decision.at_us)[:19]
    return f"{decision.number}  {when}  {what}, from {decision.before}, by {decision.by}{reason}"


def page(version: Manifest, catalogue: Catalogue) -> Iterator[str]:
    """All there is to say of a version."""
    for name in ("sequence", "title", *version.__struct_fields__[3:]):
        value = getattr(version, name)
        if isinstance(value, dict):
            for key, part in value.items():
                yield f"{name + '.' + key:<28}{_short(part)}"
        elif value not in ("", ()):
            yield f"{name:<28}{_said(name, value)}"
    yield f"{'weights':<28}{'kept' if version.sequence in catalogue.kept else 'no longer kept'}"
    for each in catalogue.decisions.log:
        if version.sequence in (each.sequence, each.before):
            yield f"{'decision':<28}{sentence(each)}"


def comparison(one: Manifest, other: Manifest, weights: Sequence[str]) -> RenderableType:
    """What two versions have otherwise, their weights as `tensors` says."""
    shown = Table(box=None, pad_edge=False, header_style=SOFT)
    for name in ("", f"{one.sequence}  {one.title}", f"{other.sequence}  {other.title}"):
        shown.add_column(name, overflow="fold")
    for name, left, right in differences(one, other):
        shown.add_row(name, _said(name, left), _said(name, right))
    for line in weights:
        name, _, said = line.partition(": ")
        shown.add_row(name, said)
    return shown


def tensors(one: Version, other: Version) -> list[str]:
    """How the weights of two versions differ, a line for each array that does."""
    left, right = one.tensors(), other.tensors()
    lines = []
    for name in dict.fromkeys([*left, *right]):
        mine, theirs = left.get(name), right.get(name)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            shapes = ["none" if each is None else f"{each.shape}" for each in (mine, theirs)]
            lines.append(f"tensor {name}: {shapes[0]}, {shapes[1]}")
            continue
        other_bits = mine != theirs
        if mine.dtype.kind == "f":
            other_bits &= ~(np.isnan(mine) & np.isnan(theirs))
        if count := int(other_bits.sum()):
            gap = np.abs(mine[other_bits].astype(float) - theirs[other_bits].astype(float)).max()
            lines.append(f"tensor {name}: {count:,} of {mine.size:,} differ, by at most {gap:.4g}")
    return lines


def as_json(catalogue: Catalogue) -> str:
    """Versions and decisions for other programs."""
    return orjson.dumps(
        {
            "versions": [_fields(each, catalogue) for each in catalogue.own],
            "decisions": [msgspec.to_builtins(each) for each in catalogue.decisions.log],
            "scores": catalogue.in_force,
        }
    ).decode()


def version_as_json(version: Manifest, catalogue: Catalogue) -> str:
    """A version for other programs."""
    return orjson.dumps(_fields(version, catalogue)).decode()


def _fields(version: Manifest, catalogue: Catalogue) -> Mapping[str, Any]:
    kept = version.sequence in catalogue.kept
    return {**msgspec.to_builtins(version), "title": version.title, "kept": kept}


def _said(name: str, value: Any) -> str:
    if name in TIMES and isinstance(value, int):
        return time_text(value)
    return _short(", ".join(value) if isinstance(value, tuple) else value)


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else f"{value}"
    return text if len(text) <= LONG else f"{text[:LONG]}… ({len(text):,} letters)"


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
