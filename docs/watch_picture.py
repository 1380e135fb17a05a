"""Draw docs/images/watch.svg: what `headrace watch` shows of jobs that run.

headrace up kafka
headrace run --learn --metrics-port 9464 &
headrace publish --simulate --with-labels --speed 20000x &
python docs/watch_picture.py 90
"""

from __future__ import annotations

import sys
import time
from io import StringIO
from pathlib import Path

from rich.console import Console

from jobs.commands.watch import ADDRESSES
from jobs.config import Settings
from jobs.watching.alarms import DriftTopic
from jobs.watching.screen import screen
from jobs.watching.watch import of_jobs
from streams.topics import DRIFT

OUT = Path(__file__).parent / "images" / "watch.svg"
WIDTH, HEIGHT = 120, 52


def main(seconds: int) -> None:
    """Watch for so long, and draw the last screen."""
    settings = Settings.load()
    with DriftTopic(settings.broker, settings.topic(DRIFT)) as drift:
        look = of_jobs(ADDRESSES, drift, once=False)
        for _ in range(seconds):
            figures = look("Ctrl-C ends it")
            time.sleep(1)
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(screen(figures, width=WIDTH, height=HEIGHT))
    OUT.write_text(console.export_svg(title="headrace watch"), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]))
