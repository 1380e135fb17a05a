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
NINES = 5
"""The plot ends at 99.999 %."""


def table(results: Mapping[str, Series], title: str) -> Table:
    """A line for each target: medians of its runs, and what was lost in any of them."""
    made = Table(title=title, caption="milliseconds from the intended send; median of the runs")
    made.add_column("")
    for name in (*PERCENTILES, "events/s", "missing", "duplicates", "late p99", "late max", "runs"):
        made.add_column(name, justify="right")
    for name, series in results.items():
        made.add_row(name, *_latencies(medians(series.runs)), *_rest(series))
        if series.runs[0].burst_ms is not None:
            made.add_row("  in bursts", *_latencies(medians(series.runs, burst=True)))
    return made


def _latencies(found: Mapping[str, float]) -> list[str]:
    return [f"{found[name]:.2f}" for name in PERCENTILES]


def _rest(series: Series) -> list[str]:
    runs = series.runs
    late = [statistics.median(run.late_ms[name] for run in runs) for name in ("p99", "max")]
    again = f" (+{series.repeated} late)" if series.repeated else ""
    kept = f", {series.late} late" if series.late else ""
    return [
        f"{statistics.median(run.throughput for run in runs):,.0f}",
        f"{sum(run.missing for run in runs):,}",
        f"{sum(run.duplicates for run in runs):,}",
        *(f"{each:.1f}" for each in late),
        f"{len(runs)}{kept}{again}",
    ]


def processes(results: Mapping[str, Series]) -> Table:
    """CPU and memory of each process, median over the runs of each target."""
    made = Table(title="CPU (per cent of one core) and memory held")
    made.add_column("while measuring")
    made.add_column("process")
    for name in ("CPU", "MB"):
        made.add_column(name, justify="right")
    for target, series in results.items():
        for name in series.runs[0].processes:
            used = [run.processes[name] for run in series.runs]
            cpu = statistics.median(each["cpu"] for each in used)
            rss = statistics.median(each["rss"] for each in used)
            made.add_row(target, name, f"{cpu:.0%}", f"{rss / MB:,.0f}")
    return made


def summary(results: Mapping[str, Series]) -> dict[str, Any]:
    """The medians by target, as JSON takes them: what a report quotes."""
    return {
        name: {
            "latency_ms": medians(series.runs),
            "events_per_second": statistics.median(run.throughput for run in series.runs),
            "missing": sum(run.missing for run in series.runs),
            "duplicates": sum(run.duplicates for run in series.runs),
            "runs": len(series.runs),
            "repeated_late": series.repeated,
        }
        | (
            {"burst_ms": medians(series.runs, burst=True)}
            if series.runs[0].burst_ms is not None
            else {}
        )
        for name, series in results.items()
    }


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
    histogram = merged(series.runs)
    found = []
    for step in range(1, 8 * NINES + 1):
        nines = step / 8
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
