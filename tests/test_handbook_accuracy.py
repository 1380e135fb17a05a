"""The shipped pipeline on the Handbook's data: one pass, labels seven days late, no retraining."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.fraud import pipeline
from jobs.handbook import HandbookQuality, Quality, evaluate_handbook
from jobs.pipeline import Flow
from streams.schema import DAY
from streams.sources import FileSource

COLUMNS = {
    "id": "TRANSACTION_ID",
    "time": "TX_DATETIME",
    "customer": "CUSTOMER_ID",
    "terminal": "TERMINAL_ID",
    "amount": "TX_AMOUNT",
    "fraud": "TX_FRAUD",
}
CARDS = 100 * 7 * 4
"""Cards looked at in all: 100 on each of 7 days in 4 folds."""


@pytest.fixture(scope="module")
def quality(handbook: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, HandbookQuality]:
    """The judged scores of every model, by name."""
    source = FileSource([handbook], pipeline.event, COLUMNS, label_delay_us=7 * DAY)
    flow = Flow(pipeline, tmp_path_factory.mktemp("flow"))
    ids, times, customers, scores = [], [], [], []
    for batch, letters in source:
        assert not letters
        scored = flow.process(batch)
        at = pa.array(scored.rows)
        ids.append(batch.texts[0].take(at))
        times.append(batch.time[scored.rows])
        customers.append(batch.texts[1].take(at))
        scores.append(scored.scores)
    rows = {
        "id": pa.concat_arrays(ids).cast(pa.string()),
        "time": pa.array(np.concatenate(times)),
        "customer": pa.concat_arrays(customers).cast(pa.string()),
        "label": pq.read_table(handbook)["TX_FRAUD"].combine_chunks().cast(pa.int8()),
    }
    whole = np.concatenate(scores)
    return {
        name: evaluate_handbook(pa.table({**rows, "score": whole[:, place]}))
        for place, name in enumerate(flow.lineup.names)
    }


def mean(quality: Quality) -> tuple[float, float, int]:
    """AUC and AP over the folds, and the cards that were rightly flagged."""
    folds = quality.folds
    auc = float(np.mean([fold.auc for fold in folds]))
    precision = float(np.mean([fold.average_precision for fold in folds]))
    return auc, precision, round(sum(fold.card_precision for fold in folds) / 4 * CARDS)


def test_the_champion_beats_every_published_model(quality: dict[str, HandbookQuality]) -> None:
    auc, precision, cards = mean(quality["champion"].test)
    assert auc >= 0.880
    assert precision >= 0.750
    assert cards / CARDS >= 0.310


def test_no_score_is_too_good_to_be_true(quality: dict[str, HandbookQuality]) -> None:
    for each in quality.values():
        for folds in (each.test, each.validation):
            auc, precision, cards = mean(folds)
            assert auc <= 0.902
            assert precision <= 0.785
            assert cards / CARDS <= 0.317


def test_the_published_inputs_alone_do_as_well_as_published(
    quality: dict[str, HandbookQuality],
) -> None:
    auc, precision, cards = mean(quality["published inputs"].test)
    assert auc >= 0.875
    assert precision >= 0.670
    assert cards / CARDS >= 0.300


def test_the_baselines_know_next_to_nothing(quality: dict[str, HandbookQuality]) -> None:
    assert abs(mean(quality["random"].test)[0] - 0.5) < 0.02
    assert mean(quality["prior"].test)[1] < 0.01
    assert mean(quality["amount"].test)[1] < 0.25
