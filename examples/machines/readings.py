"""Write simulated machine readings, and the failures as they become known, as NDJSON.

Machines wear: before a failure the vibration rises for about a day and a half. A failure labels the
readings of the day before it, and is known when the machine has stopped.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson

START = datetime(2024, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=30)
WEAR = timedelta(hours=36)
LABELLED = timedelta(days=1)
PROGRAMS = ("drill", "mill", "turn", "grind")


def readings(machines: int = 40, days: int = 45, seed: int = 1) -> list[bytes]:
    """Readings and labels as lines, in order of time; at equal times labels first."""
    rng = np.random.default_rng(seed)
    lines: list[tuple[datetime, int, dict[str, Any]]] = []
    for machine in range(machines):
        level = float(rng.lognormal(1.0, 0.5))
        fails = START + timedelta(days=float(rng.uniform(2, 15)))
        recent: list[tuple[str, datetime]] = []
        for step in range(days * 48):
            time = START + step * STEP + timedelta(seconds=machine)
            if time >= fails:
                for name, read_at in recent:
                    if fails - read_at <= LABELLED:
                        failed = {"id": name, "time": time.isoformat(), "failed": True}
                        lines.append((time, 0, failed))
                recent = []
                fails = time + timedelta(days=float(rng.uniform(4, 15)))
            worn = max(0.0, 1 - (fails - time) / WEAR)
            name = f"{machine}-{step}"
            recent.append((name, time))
            vibration = level * (1 + 0.8 * worn) * float(rng.lognormal(0, 0.4))
            record = {
                "id": name,
                "time": time.isoformat(),
                "machine": f"M{machine:03d}",
                "program": PROGRAMS[int(rng.integers(4))],
                "vibration": round(vibration, 3),
            }
            if rng.random() > 0.05:
                record["temperature"] = round(45 + 6 * worn + 8 * float(rng.normal()), 1)
            lines.append((time, 1, record))
    lines.sort(key=lambda line: line[:2])
    return [orjson.dumps(record) for _, _, record in lines]


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(b"\n".join([*readings(), b""]))
