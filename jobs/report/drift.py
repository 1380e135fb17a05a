"""Alarms in the report: a time line, a line a kind of change, and what each says."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from jobs.alarms import moment, what
from jobs.report.axes import Axis, time_axis
from jobs.report.parts import figure, more, table
from jobs.report.plot import COLOURS, LETTER, WIDE, svg, words
from operators.drift.alarm import Alarm
from operators.evaluate import WindowMetrics

ROW, FLOOR, DOT = 24.0, 36.0, 4.0
FIRST = 20
"""Alarms that are listed without being asked for."""


def drift(alarms: Sequence[Alarm], windows: Sequence[WindowMetrics]) -> str:
    """The figure, over the time of the metrics' windows; empty where no alarm was raised."""
    if not alarms:
        return ""
    raised = [each for each in alarms if not each.over]
    times = [time for each in alarms for time in (each.since_us, each.at_us)]
    times += [time for row in windows for time in (row.start_us, row.end_us)]
    note = (
        f"{len(raised):,} alarms: a bar from when a change began until it was over, a dot where it "
        "was told. Features are named, most changed first."
    )
    rows = [_row(each) for each in alarms]
    heads = ["alarm", "told", "since", "size", "told from", "version", "what"]
    below = table(heads, rows[:FIRST], ("told", "since", "what"))
    if len(rows) > FIRST:
        below += more(f"All {len(rows):,}", table(heads, rows, ("told", "since", "what")))
    return figure("Drift", note, time_line(alarms, time_axis(min(times), max(times))), below)


def marks(alarms: Sequence[Alarm]) -> list[tuple[int, str]]:
    """Moments for the charts over time: when changes were told, by kind and first feature."""
    return [
        (each.at_us, f"{each.kind}: {each.features[0]}" if each.features else each.kind)
        for each in alarms
        if not each.over
    ]


def _row(alarm: Alarm) -> list[str]:
    return [
        str(alarm.number),
        moment(alarm.at_us),
        moment(alarm.since_us),
        f"{alarm.size:.3g}",
        f"{alarm.threshold:.3g}",
        str(alarm.version),
        what(alarm) + (", over" if alarm.over else ""),
    ]


def time_line(alarms: Sequence[Alarm], x: Axis) -> str:
    """A line a kind of change, by event time."""
    kinds = list(dict.fromkeys(each.kind for each in alarms))
    left, right = max(map(len, kinds)) * LETTER + 16, WIDE - 16.0
    floor = ROW * len(kinds) + 8

    def at(time_us: float) -> float:
        return left + (right - left) * (time_us - x.low) / (x.high - x.low)

    drawn = [f'<path class="axis" d="M{left:.1f} {floor:.1f}H{right:.1f}"/>']
    clear = 0.0
    for time, text in x.ticks:
        half = len(text) * LETTER / 2
        if at(time) - half >= clear and at(time) + half <= WIDE:
            clear = at(time) + half + LETTER
            drawn.append(words(at(time), floor + 18, text, "tick middle"))
    for place, kind in enumerate(kinds):
        y, css = 8 + ROW * (place + 0.5), f"s{place % COLOURS}"
        drawn.append(words(left - 8, y + 4, kind, f"end name {css}"))
        for alarm in (each for each in alarms if each.kind == kind and not each.over):
            start, told, end = (
                at(t) for t in (alarm.since_us, alarm.at_us, _end(alarm, alarms, x))
            )
            said = escape(f"alarm {alarm.number}, {moment(alarm.at_us)}: {what(alarm)}")
            drawn.append(
                f'<rect class="bar {css}" x="{start:.1f}" y="{y - 3:.1f}" '
                f'width="{max(end - start, 1):.1f}" height="6" rx="2"><title>{said}</title></rect>'
                f'<circle class="point {css}" cx="{told:.1f}" cy="{y:.1f}" r="{DOT}">'
                f"<title>{said}</title></circle>"
            )
    return svg(WIDE, floor + FLOOR, f"Alarms over time: {', '.join(kinds)}", drawn)


def _end(alarm: Alarm, alarms: Sequence[Alarm], x: Axis) -> float:
    """When the change was over: with the next alarm of the same that says so, or not yet."""
    same = (
        each.at_us
        for each in alarms
        if each.over and each.number > alarm.number and _of(each) == _of(alarm)
    )
    return next(same, x.high)


def _of(alarm: Alarm) -> tuple[str, ...]:
    return alarm.kind, alarm.detector, alarm.slice, alarm.value
