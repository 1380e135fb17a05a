"""NannyML's confidence-based performance estimation: AUC and average precision of windows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

PACKAGES = ("nannyml==0.13.1", "statsmodels>=0.14")  # the second it uses and does not ask for


def run(reference: Path, windows: Path, size: int) -> None:
    """Estimate each window of so many scores, by a reference of (n, 2) scores and labels.

    Prints the version and the estimates.
    """
    import nannyml
    import numpy as np
    import pandas as pd

    held, scores = np.load(reference), np.load(windows)
    columns = {"score": held[:, 0], "review": (held[:, 0] > 0.5) * 1, "fraud": held[:, 1] * 1}
    metrics = ["roc_auc", "average_precision"]
    estimator = nannyml.CBPE(
        problem_type="classification_binary", y_pred_proba="score", y_pred="review",
        y_true="fraud", metrics=metrics, chunk_size=size,
    )  # fmt: skip
    estimator.fit(pd.DataFrame(columns).astype({"review": int, "fraud": int}))
    analysed = pd.DataFrame({"score": scores, "review": (scores > 0.5).astype(int)})
    found = estimator.estimate(analysed).filter(period="analysis").to_df()
    estimates = {metric: found[metric]["value"].tolist() for metric in metrics}
    sys.stdout.write(json.dumps({"version": nannyml.__version__, **estimates}))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
