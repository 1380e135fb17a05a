"""Records of a topic as lines to look at: what each has to say in a line, and no more than fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from streams.schema import LATEST
from streams.timestamps import time_text
from streams.topics import DEAD_LETTERS, DRIFT, EXAMPLES, LABELS, MODELS, OUTCOMES, PREDICTIONS

MOST, PARTS = 20, 4
"""Lines a second, and in how many parts of it, so that they are not all of its beginning."""
SOFT = "bright_black"


class Record(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int
    stamp_us: int
    """When the broker appended it."""
    key: bytes | None
    value: bytes | None
    fields: Mapping[str, Any]
    """Of a JSON object; of anything else none."""


Cell = Callable[[Record, int], str]
"""Says something of a record; the integer is now, in microseconds."""


class Column(NamedTuple):
    """A heading, its width (negative: flush right), and what stands below it."""

    heading: str
    width: int
    cell: Cell


def ago(us: int) -> str:
    """How long ago, in a few letters.

    >>> ago(12_400), ago(90_000_000), ago(200_000_000_000)
    ('12 ms', '90 s', '2 d')
    """
    for unit, size in (("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 120_000_000)):
        if us >= size:
            return f"{us // (60_000_000 if unit == 'min' else size)} {unit}"
    return f"{us // 1_000_000} s" if us >= 1_000_000 else f"{max(us, 0) // 1000} ms"


def _plain(name: str) -> Cell:
    return lambda record, _: str(record.fields.get(name, ""))


def _time(name: str = "time") -> Cell:
    """Month, day and time of day."""

    def said(record: Record, _: int) -> str:
        value = record.fields.get(name)
        if isinstance(value, int) and 0 <= value < LATEST:
            value = time_text(value)
        return value[5:19].replace("T", " ") if isinstance(value, str) else ""

    return said


def _score(name: str = "score") -> Cell:
    def said(record: Record, _: int) -> str:
        value = record.fields.get(name)
        return f"{value:.4f}" if isinstance(value, (int, float)) else ""

    return said


def _interval(record: Record, _: int) -> str:
    bounds = _list(record, "interval")
    return " to ".join(f"{each:.2g}" for each in bounds if isinstance(each, (int, float)))


def _key(record: Record, _: int) -> str:
    return "" if record.key is None else record.key.decode(errors="replace")


def _text(record: Record, _: int) -> str:
    return "nothing" if record.value is None else record.value.decode(errors="replace")


def _age(record: Record, now_us: int) -> str:
    return ago(now_us - record.stamp_us)


def _list(record: Record, name: str) -> list[Any]:
    found = record.fields.get(name)
    return found if isinstance(found, list) else []


def _reasons(record: Record, _: int) -> str:
    return ", ".join(map(str, _list(record, "reasons")))


def _model(record: Record, now_us: int) -> str:
    if record.value is None:
        return "superseded"
    fields = record.fields
    if "action" in fields:
        what, who = f"{fields['action']} {fields.get('model')}", fields.get("by")
        return f"decision {fields.get('number')}: {what} {fields.get('sequence')}, by {who}"
    if "examples" not in fields:
        return f"{len(record.value):,} bytes of weights"
    until = _time("until_us")(record, now_us)
    signed = ", signed" if fields.get("signature") else ""
    what = f"{fields.get('name')}, {fields.get('kind')}"
    return f"{what}, {fields['examples']} examples until {until}{signed}"


def _figure(record: Record, _: int) -> str:
    value = record.fields.get("size")
    return f"{value:.4g}" if isinstance(value, (int, float)) else ""


def _changed(record: Record, _: int) -> str:
    """The features, the slice, and whether it is over; of a response what was done."""
    if "what" in record.fields:
        return f"{record.fields.get('model')} {record.fields['what']}"
    slice_, value = (record.fields.get(name) for name in ("slice", "value"))
    parts = [", ".join(map(str, _list(record, "features")))]
    parts += [f"where {slice_} is {value}"] if slice_ else []
    parts += ["over"] if record.fields.get("over") is True else []
    return "; ".join(part for part in parts if part)


TIME, AGE = Column("time", 14, _time()), Column("age", -6, _age)
ID, KEY = Column("id", 9, _plain("id")), Column("key", 6, _key)
SCORE, VERSION = Column("score", -6, _score()), Column("version", -7, _plain("model_version"))
COLUMNS: dict[str, tuple[Column, ...]] = {
    PREDICTIONS: (
        TIME,
        ID,
        KEY,
        SCORE,
        Column("interval", 14, _interval),
        Column("decision", 8, _plain("decision")),
        VERSION,
        AGE,
        Column("reasons", 0, _reasons),
    ),
    EXAMPLES: (
        TIME,
        Column("number", -9, _plain("number")),
        Column("label", -5, _plain("value")),
        SCORE,
        VERSION,
        Column("known", 14, _time("known")),
        Column("by", 0, _plain("cause")),
    ),
    OUTCOMES: (
        Column("clock", 14, _time("clock")),
        AGE,
        Column("predictions", -11, _plain("next")),
        Column("labels", -6, lambda record, _: str(len(_list(record, "values")))),
        Column("positive", -8, lambda record, _: str(_list(record, "values").count(1))),
    ),
    MODELS: (Column("key", 20, _key), AGE, Column("holds", 0, _model)),
    DEAD_LETTERS: (
        Column("place", 24, _key),
        AGE,
        Column("reason", 22, _plain("reason")),
        Column("detail", 0, _plain("detail")),
    ),
    DRIFT: (
        Column("at", 14, _time("at_us")),
        Column("number", -6, _plain("number")),
        Column("kind", 11, _plain("kind")),
        Column("by", 14, _plain("detector")),
        Column("size", -8, _figure),
        Column("since", 14, _time("since_us")),
        Column("version", -7, _plain("version")),
        Column("what", 0, _changed),
    ),
    LABELS: (TIME, ID, AGE, Column("label", 0, _text)),
}
_ANY = (TIME, KEY, AGE, Column("record", 0, _text))


def columns(topic: str) -> tuple[Column, ...]:
    """What is shown of the records of a topic, by its name without the prefix."""
    return COLUMNS.get(topic, _ANY)


@dataclass(slots=True)
class View:
    """Prints a line a record, on a terminal at most `MOST` a second and then how many more.

    With `every` it prints them all.
    """

    topic: str
    console: Console
    every: bool
    clock: Callable[[], float] = time.time
    _part: int = 0
    _shown: int = 0
    _left_out: int = 0
    _headed: bool = field(default=False)

    def show(self, records: Sequence[Record]) -> None:
        """Print them, or count them. To be called when there are none too."""
        now = self.clock()
        part = int(now * PARTS)
        if part // PARTS != self._part // PARTS and self._left_out:
            self._say(Text(f"… {self._left_out:,} more", SOFT))
            self._left_out = 0
        if part != self._part:
            self._part, self._shown = part, 0
        for record in records:
            if self._shown < MOST // PARTS or self.every:
                self._shown += 1
                self._print(record, int(now * 1_000_000))
            else:
                self._left_out += 1

    def _print(self, record: Record, now_us: int) -> None:
        shown = columns(self.topic)
        if not self._headed:
            self._headed = True
            self._say(Text(_row([(each.heading, each.width) for each in shown]), SOFT))
        review = record.fields.get("decision") == "review"
        cells = [(each.cell(record, now_us), each.width) for each in shown]
        self._say(Text(_row(cells), "bold red" if review else ""))

    def _say(self, text: Text) -> None:
        self.console.print(text, no_wrap=True, overflow="ellipsis", crop=True)


def _row(cells: list[tuple[str, int]]) -> str:
    """The cells side by side, in one line whatever they hold."""
    parts = [text.rjust(-width) if width < 0 else text.ljust(width) for text, width in cells]
    return "".join(each if each.isprintable() else "·" for each in "  ".join(parts).rstrip())
