"""The Handbook's folds, its compromised cards and its figures."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jobs import handbook as protocol
from operators import metrics
from operators.metrics import Ints


def predictions(n: int = 4000, seed: int = 0) -> pa.Table:
    """Transactions of 60 cards over all eight folds, with scores that know something."""
    random = np.random.default_rng(seed)
    start = int(datetime(2018, 6, 20, tzinfo=UTC).timestamp() * 1e6)
    time = np.sort(start + random.integers(0, 77 * protocol.DAY_US, n))
    label = (random.random(n) < 0.02).astype(np.int8)
    return pa.table(
        {
            "id": [str(number) for number in range(n)],
            "time": pa.array(time).cast(pa.timestamp("us")),
            "customer": [f"card {card}" for card in random.integers(0, 60, n)],
            "score": np.clip(0.4 * label + 0.6 * random.random(n), 0, 1),
            "label": label,
        }
    )


def judged_by_hand(day: Ints, customer: Ints, label: Ints, first: int) -> list[int]:
    kept = []
    for k in range(7):
        known = set(range(first, first + 7)) | set(range(first + 7, first + 7 + k))
        compromised = {
            c for d, c, y in zip(day, customer, label, strict=True) if y == 1 and d in known
        }
        kept += [
            row
            for row, (d, c) in enumerate(zip(day, customer, strict=True))
            if d == first + 14 + k and c not in compromised
        ]
    return kept


@given(st.integers(0, 2**32), st.integers(0, 9))
def test_compromised_cards_leave_the_test_as_the_definition_says(seed: int, first: int) -> None:
    random = np.random.default_rng(seed)
    day, customer = np.sort(random.integers(0, 30, 200)), random.integers(0, 20, 200)
    label = (random.random(200) < 0.1).astype(np.int64)
    got = protocol.judged_rows(day, customer, label.astype(np.int8), first)
    assert got.tolist() == judged_by_hand(day, customer, label, first)


def test_there_are_four_test_folds_and_four_validation_folds() -> None:
    days = [day.isoformat()[5:] for day in protocol.TEST_FOLDS + protocol.VALIDATION_FOLDS]
    assert days == ["08-15", "08-08", "08-01", "07-25", "07-11", "07-04", "06-27", "06-20"]


def test_means_and_deviations_are_over_the_folds() -> None:
    quality = protocol.evaluate_handbook(predictions()).test
    aucs = [fold.auc for fold in quality.folds]
    assert quality.mean[0] == pytest.approx(np.mean(aucs))
    assert quality.std[0] == pytest.approx(np.std(aucs, ddof=0))
    assert quality.folds[0].test_start == "2018-08-29"


def test_a_folder_of_predictions_with_labels_apart_is_judged_as_one_table(tmp_path: Path) -> None:
    table = predictions()
    expected = protocol.evaluate_handbook(table)
    time = table["time"].cast(pa.int64())
    unlabelled = table.drop_columns("label").set_column(1, "time", time)
    pq.write_table(unlabelled, tmp_path / "predictions.parquet")
    labels = table.select(["label", "id"]).take(np.arange(len(table))[::-1])
    pq.write_table(labels, tmp_path / "labels.parquet")
    assert protocol.evaluate_handbook(tmp_path, tmp_path / "labels.parquet") == expected
    with pytest.raises(ValueError, match=r"missing are \['label'\]"):
        protocol.evaluate_handbook(tmp_path)


def test_an_unknown_label_is_an_error_that_says_how_many() -> None:
    table = predictions()
    label = table["label"].to_numpy().copy()
    label[-3:] = -1
    with pytest.raises(ValueError, match="3 unknown labels"):
        protocol.evaluate_handbook(table.set_column(4, "label", pa.array(label)))
    with pytest.raises(ValueError, match="4 unknown labels"):
        protocol.evaluate_handbook(table, table.select(["id", "label"]).slice(0, len(table) - 4))


def test_a_fold_without_transactions_is_an_error() -> None:
    with pytest.raises(ValueError, match="wanted 7 test days"):
        protocol.evaluate_handbook(predictions().slice(0, 1000))


def test_json_and_table_hold_ours_beside_the_published() -> None:
    quality = protocol.evaluate_handbook(predictions())
    document = json.loads(protocol.to_json({"ours": quality}))
    assert document["ours"]["ours"]["test"]["mean"] == list(quality.test.mean)
    assert document["published"]["logistic regression"] == [0.868, 0.623, 0.297]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(protocol.results_table({"ours": quality}))
    assert "XGBoost" in capture.get()
    assert f"{quality.test.mean[1]:.3f} ± {quality.test.std[1]:.3f}" in capture.get()


@pytest.fixture(scope="module")
def transactions(handbook: Path) -> pa.Table:
    """The published transactions in the shape of predictions, scored by their amount."""
    raw = pq.read_table(handbook)
    amount = raw["TX_AMOUNT"].to_numpy()
    return pa.table(
        {
            "id": raw["TRANSACTION_ID"].cast(pa.string()),
            "time": raw["TX_DATETIME"],
            "customer": raw["CUSTOMER_ID"].cast(pa.string()),
            "score": amount / (amount + 100),
            "label": raw["TX_FRAUD"],
        }
    )


def test_the_first_fold_has_the_published_number_of_rows(transactions: pa.Table) -> None:
    scored = protocol.read(transactions)
    first = protocol.day_number(protocol.TEST_FOLDS[-1])
    train = protocol.training_rows(scored.day, first)
    test = protocol.judged_rows(scored.day, scored.customer, scored.label, first)
    assert (len(train), scored.label[train].sum()) == (67_240, 598)
    assert (len(test), scored.label[test].sum()) == (58_264, 385)


def test_the_published_transactions_can_be_judged_by_their_amount_alone(
    transactions: pa.Table,
) -> None:
    quality = protocol.evaluate_handbook(transactions).test
    fold = quality.folds[-1]
    assert (fold.rows, fold.frauds) == (58_264, 385)
    scored = protocol.read(transactions)
    first = protocol.day_number(protocol.TEST_FOLDS[-1])
    rows = protocol.judged_rows(scored.day, scored.customer, scored.label, first)
    assert fold.auc == metrics.auc(scored.score[rows], scored.label[rows])
    assert 0 < quality.mean[2] < 0.5
