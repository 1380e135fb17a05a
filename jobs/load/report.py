"""What a load test shows: a table, the CPU and memory behind it, and the percentiles as a plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from jobs.load.generator import Load
from jobs.load.results import PERCENTILES, medians, merged
from jobs.load.rounds import Series
from jobs.report.axes import Axis, log_axis
from jobs.report.plot import LETTER, WIDE, Plot, Points
from jobs.report.plot import Series as Line
from jobs.report.style import STYLE
from streams.atomic import write_whole

MB = 1 << 20
NINES, STEPS = 5, 16
"""The plot ends at 99.999 %; it has so many points for each nine."""
Summary = Mapping[str, Mapping[str, Any]]


def summary(results: Mapping[str, Series]) -> dict[str, dict[str, Any]]:
    """By target: medians of the runs, what was lost in any of them, and what processes used."""
    found = {}
    for name, series in results.items():
        runs = series.runs
        found[name] = {
            "latency_ms": medians(runs),
            "events_per_second": statistics.median(run.throughput for run in runs),
            "missing": sum(run.missing for run in runs),
            "duplicates": sum(run.duplicates for run in runs),
            "late_ms": {
                which: statistics.median(run.late_ms[which] for run in runs)
                for which in ("p99", "max")
            },
            "runs": len(runs),
            "late_runs": series.late,
            "repeated_runs": series.repeated,
            "bytes": statistics.median(run.bytes for run in runs),
            "processes": {
                process: {
                    what: statistics.median(run.processes[process][what] for run in runs)
                    for what in ("cpu", "rss")
                }
                for process in runs[0].processes
            },
        }
        if runs[0].burst_ms is not None:
            found[name]["burst_ms"] = medians(runs, burst=True)
    return found


def table(found: Summary, title: str) -> Table:
    """A line for each target."""
    made = Table(
        title=title,
        caption="milliseconds from the intended send, median of the runs; "
        "`late` is the sender's own lateness, at most, in the median run",
    )
    made.add_column("", no_wrap=True)
    for name in (*PERCENTILES, "events/s", "missing", "twice", "late", "runs", "repeated"):
        made.add_column(name, justify="right")
    for name, row in found.items():
        kept = f" ({row['late_runs']} late)" if row["late_runs"] else ""
        made.add_row(
            name,
            *_milliseconds(row["latency_ms"]),
            f"{row['events_per_second']:,.0f}",
            f"{row['missing']:,}",
            f"{row['duplicates']:,}",
            f"{row['late_ms']['max']:.1f}",
            f"{row['runs']}{kept}",
            str(row["repeated_runs"]),
        )
        if "burst_ms" in row:
            made.add_row("  in bursts", *_milliseconds(row["burst_ms"]))
    return made


def _milliseconds(found: Mapping[str, float]) -> list[str]:
    return [f"{found[name]:.2f}" for name in PERCENTILES]


def processes(found: Summary) -> Table:
    """CPU and memory of each process, medians over the runs of each target."""
    made = Table(title="CPU, per cent of one core, and memory held")
    made.add_column("while measuring")
    made.add_column("process")
    for name in ("CPU", "MB"):
        made.add_column(name, justify="right")
    for target, row in found.items():
        for name, used in row["processes"].items():
            made.add_row(target, name, f"{used['cpu']:.0%}", f"{used['rss'] / MB:,.0f}")
    return made


def plot(results: Mapping[str, Series], title: str) -> str:
    """Latency at every percentile of all runs together, both on log scales, as an SVG file."""
    lines = [Line(name, _points(series)) for name, series in results.items()]
    most = max(10**y for line in lines for _, y in line.points)
    longest = max(len(line.name) for line in lines)
    chart = Plot(_nines(), log_axis(most), width=WIDE, right=longest * LETTER + 34)
    for place, line in enumerate(lines):
        chart.line(line.points, f"s{place}")
    chart.end_labels(lines)
    drawn = chart.svg(f"Latency in milliseconds by percentile: {title}")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE}" '
    style = f"<style>{STYLE} svg {{ background:var(--card) }}</style>"
    return drawn.replace("<svg ", head, 1).replace(">", f">{style}", 1)


def _points(series: Series) -> Points:
    """As far as there are events beyond a percentile."""
    histogram = merged(series.runs)
    reach = min(math.log10(max(histogram.get_total_count(), 2)), NINES)
    found = []
    for step in range(1, int(STEPS * reach) + 1):
        nines = step / STEPS
        value = histogram.get_value_at_percentile(100 * (1 - 10**-nines)) / 1000
        found.append((nines, math.log10(max(value, 1e-3))))
    return found


def _nines() -> Axis:
    """Percentiles spaced by how few lie beyond."""
    ticks = [(math.log10(2), "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %")]
    ticks += [(4.0, "99.99 %"), (5.0, "99.999 %")]
    return Axis(0.0, float(NINES), tuple(ticks), "percentile; latency in milliseconds")


def write(results: Mapping[str, Series], load: Load, folder: Path, title: str) -> list[Path]:
    """Write every run, the medians and the plot into the folder; the files' paths."""
    whole = {
        "load": asdict(load),
        "medians": summary(results),
        "runs": {name: [asdict(run) for run in series.runs] for name, series in results.items()},
    }
    texts = {
        "load.json": orjson.dumps(whole, option=orjson.OPT_INDENT_2),
        "load.svg": plot(results, title).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, [text])
    return [folder / name for name in texts]
