"""Draw docs/images/adaptation.svg: average precision through changes, of docs/bench.

python docs/adaptation_picture.py
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE / "images" / "adaptation.svg"
COLUMNS, WIDTH, HEIGHT, MARGIN, HEAD, BEFORE = 3, 300, 190, 34, 98, 0.12
"""Pictures in a row; the size of each in pixels; what of its width is of before the change."""
COLOURS = {
    "Linear": ("#1b6ca8", "5 4"),
    "Linear responding": ("#1b6ca8", "1 3"),
    "Linear renewed": ("#1b6ca8", ""),
    "Forest": ("#2e8540", "5 4"),
    "Forest responding": ("#2e8540", "1 3"),
    "Forest renewed": ("#2e8540", ""),
    "Forest and neighbours": ("#7b3fa0", "5 4"),
    "Forest and neighbours responding": ("#7b3fa0", "1 3"),
    "Forest and neighbours renewed": ("#7b3fa0", ""),
    "LightGBM weekly": ("#8a8a8a", ""),
    "River ARF": ("#c2571a", ""),
}
TITLE = "Average precision before a change (left of the line) and window by window after it"


def line(points: list[tuple[float, float]], who: str) -> str:
    """A curve as the contender's."""
    colour, dashes = COLOURS[who]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dashed}/>'


def panel(name: str, rows: dict[str, Any], left: float, top: float) -> list[str]:
    """One stream."""
    wide, high = WIDTH - MARGIN - 12, HEIGHT - 44
    most = max(max(row["before"], *row["curve"]) for row in rows.values())
    scale = next(each for each in (0.2, 0.4, 0.6, 0.8, 1.0) if each >= min(most, 1.0))
    x0, y0, change = left + MARGIN, top + 22, left + MARGIN + BEFORE * wide

    def y(precision: float) -> float:
        return y0 + high * (1 - precision / scale)

    parts = [f'<text x="{x0}" y="{top + 14}" font-weight="bold">{escape(name)}</text>']
    for tick in (0.0, scale / 2, scale):
        at = f"{y(tick):.1f}"
        parts += [
            f'<line x1="{x0}" x2="{x0 + wide}" y1="{at}" y2="{at}" stroke="#ddd"/>',
            f'<text x="{x0 - 5}" y="{at}" dy="4" text-anchor="end">{tick:.1f}</text>',
        ]
    parts.append(f'<line x1="{change}" x2="{change}" y1="{y0}" y2="{y0 + high}" stroke="#888"/>')
    for who, row in rows.items():
        step = (1 - BEFORE) * wide / max(len(row["curve"]) - 1, 1)
        after = [(change + at * step, y(each)) for at, each in enumerate(row["curve"])]
        parts.append(line([(x0, y(row["before"])), (change, y(row["before"]))], who))
        parts.append(line(after, who))
    return parts


def drawn(results: dict[str, Any]) -> str:
    """All streams."""
    rows = -(-len(results) // COLUMNS)
    width, height = COLUMNS * WIDTH, HEAD + rows * HEIGHT
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    parts = [
        f'{svg} font-family="sans-serif" font-size="11" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="12" y="20" font-size="14">{TITLE}</text>',
    ]
    for place, who in enumerate(COLOURS):
        below, beside = divmod(place, 4)
        at, y = 12 + beside * (width - 24) / 4, 40 + 18 * below
        parts.append(line([(at, y), (at + 24, y)], who))
        parts.append(f'<text x="{at + 30:.0f}" y="{y + 4}">{escape(who)}</text>')
    for place, (name, contenders) in enumerate(results.items()):
        row, column = divmod(place, COLUMNS)
        parts += panel(name, contenders, column * WIDTH, HEAD + row * HEIGHT)
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    streams: dict[str, dict[str, Any]] = {}
    for part, row in json.loads((HERE / "bench" / "adaptation.json").read_bytes())[
        "result"
    ].items():
        stream, who = part.split(": ")
        streams.setdefault(stream, {})[who] = row
    OUT.write_text(drawn(streams))
