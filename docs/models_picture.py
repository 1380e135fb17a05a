"""Draw docs/images/models.svg: accuracy against cost an event, of docs/bench/accuracy.json.

python docs/models_picture.py
"""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE / "images" / "models.svg"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 820, 460, 60, 20, 40, 50
LEFT_OUT = {"Random"}
TITLE = "Average precision (Handbook protocol) against processor time to score and learn an event"
ROOM = 180
"""Pixels for the name of what costs most."""
NEAR = 16
"""Pixels between two names, one above the other."""

Place = tuple[float, float]


def places(results: dict[str, Any]) -> dict[str, Place]:
    """Microseconds to score and learn an event, and average precision on the test folds."""
    return {
        name: (row["learn_us"] + row["score_us"], row["test"]["average_precision"])
        for name, row in results.items()
        if name not in LEFT_OUT
    }


def drawn(learners: dict[str, Place]) -> str:
    """The picture: cost on a scale of powers of ten, average precision from 0."""
    costs = [cost for cost, _ in learners.values()]
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))

    def x(cost: float) -> float:
        return LEFT + (math.log10(cost) - low) / (high - low) * (WIDTH - LEFT - RIGHT - ROOM)

    def y(precision: float) -> float:
        return HEIGHT - BOTTOM - precision / 0.8 * (HEIGHT - TOP - BOTTOM)

    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'{svg} font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{TITLE}</text>',
    ]
    for tenth in range(0, 9, 2):
        at = y(tenth / 10)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4}" text-anchor="end">.{tenth}</text>')
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(
            f'<text x="{at}" y="{HEIGHT - 25}" text-anchor="middle">{10.0**power:g} µs</text>'
        )
    taken: list[Place] = []
    for name, (cost, precision) in sorted(learners.items(), key=lambda each: -each[1][1]):
        across, down = x(cost), y(precision)
        while any(abs(across - a) < 170 and abs(down - b) < NEAR for a, b in taken):
            down += 1
        taken.append((across, down))
        ours = not name.startswith(("River", "LightGBM"))
        colour = "#0b6e4f" if ours else "#b3541e"
        parts.append(f'<circle cx="{x(cost)}" cy="{y(precision)}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{across + 8}" y="{down + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    kept = json.loads((HERE / "bench" / "accuracy.json").read_text("utf-8"))
    OUT.write_text(drawn(places(kept["result"])), "utf-8")
