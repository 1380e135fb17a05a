"""Draw docs/images/drift.svg: how soon each change is noticed, of docs/bench/drift.json.

python docs/drift_picture.py
"""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE / "images" / "drift.svg"
OURS = "Headrace"
"""What the names of our ways to notice begin with."""
WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 820, 170, 90, 56, 26, 36
LEAST, MOST = 1.5, 5.0
"""Powers of ten: the events that the scale begins and ends with."""
RADII = (3, 5, 7)
"""Of the three sizes of a change."""
COLOURS = {True: "#0b6e4f", False: "#b3541e"}
TITLE = "Events from a change until it is noticed"
KEY = "green: Headrace; brown: the best of its rivals; larger dots: larger changes"


def best(by: dict[str, Any], *, ours: bool) -> dict[str, Any]:
    """Who noticed most often, and of those the soonest: of our two ways, or of the rivals."""
    rows = [row for name, row in by.items() if name.startswith(OURS) == ours]
    never = float("inf")
    return min(rows, key=lambda row: (-row["detected"], row["delay"] or never))


def drawn(results: dict[str, Any]) -> str:
    """The picture: a row for each scenario, delays on a scale of powers of ten."""
    names = [name for name in results if name.split()[0] not in ("stationary", "season")]
    height = TOP + ROW * len(names) + BOTTOM
    edge = WIDTH - RIGHT

    def x(delay: float | None) -> float:
        if delay is None:
            return edge + 40
        power = min(max(math.log10(max(delay, 1)), LEAST), MOST)
        return LEFT + (power - LEAST) / (MOST - LEAST) * (edge - LEFT)

    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'{svg} font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="14">{TITLE}</text>',
        f'<text x="10" y="38">{KEY}</text>',
    ]
    for power in range(math.ceil(LEAST), int(MOST) + 1):
        at, foot = x(10.0**power), height - BOTTOM
        parts.append(f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{foot}" stroke="#ddd"/>')
        parts.append(f'<text x="{at}" y="{foot + 18}" text-anchor="middle">{10**power:,}</text>')
    parts.append(f'<text x="{x(None)}" y="{height - 18}" text-anchor="middle">never</text>')
    for place, name in enumerate(names):
        y = TOP + ROW * (place + 0.5)
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for by, radius in zip(results[name].values(), RADII, strict=True):
            for ours in (False, True):
                at, colour = x(best(by, ours=ours)["delay"]), COLOURS[ours]
                shift = -4 if ours else 4
                parts.append(
                    f'<circle cx="{at:.1f}" cy="{y + shift}" r="{radius}" fill="{colour}" '
                    'fill-opacity="0.7"/>'
                )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    kept = json.loads((HERE / "bench" / "drift.json").read_text("utf-8"))
    OUT.write_text(drawn(kept["result"]), "utf-8")
