"""Take the picture of Flink's web page that docs/flink.md shows; wants `chromium`.

headrace up kafka flink && headrace flink submit --parallelism 2
headrace publish --simulate --with-labels --speed 10000x &
python docs/flink_page.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jobs.flink_host.cluster import FlinkCluster

OUT = Path(__file__).parent / "images" / "flink.png"
SIZE = "1400,900"
PAGE_MS = 20_000
"""How long the page may take to draw the job."""

cluster = FlinkCluster(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8081")
job = next(job for job in cluster.jobs() if job.state == "RUNNING")
page = f"{cluster.address}/#/job/running/{job.id}/overview"
subprocess.run(  # noqa: S603
    [  # noqa: S607
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--window-size={SIZE}", f"--virtual-time-budget={PAGE_MS}", f"--screenshot={OUT}", page,
    ],
    check=True,
)  # fmt: skip
