"""What the scoring half tells the learner, and in what portions."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from jobs.load.traffic import Traffic
from jobs.scoring import MOST_TOLD, Scoring
from streams.batch import EVENT
from streams.codec import Decoder
from streams.records import Outcomes
from streams.schema import DAY
from tests.batches import PIPELINE

TOPIC_TAKES = 1_000_000
"""Bytes of a record, a little less than a topic's default."""


def test_when_all_matures_at_once_it_is_told_in_records_that_a_topic_takes(tmp_path: Path) -> None:
    traffic = Traffic(run=1, keys="uniform", start_us=10_000 * DAY, per_day=10 * MOST_TOLD)
    payments = traffic.take(3 * MOST_TOLD)
    later = payments.values[-1].replace(b'"id":"1', b'"id":"2').replace(b'"1997', b'"1998')
    batch, letters = Decoder(PIPELINE.event, EVENT).decode([*payments.values, later], None)
    assert not letters
    scoring = Scoring(PIPELINE, tmp_path)
    scored, told = scoring.process(batch)
    scoring.close()
    records = [each.record() for each in told]
    assert max(map(len, records)) < TOPIC_TAKES
    outcomes = [msgspec.json.decode(each, type=Outcomes) for each in records]
    assert [msgspec.json.encode(each) for each in outcomes] == records
    numbers = np.concatenate([each.numbers for each in outcomes])
    assert numbers.tolist() == list(range(len(scored) - 1))
    assert scoring.outcomes == len(numbers)
