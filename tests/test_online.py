"""The online store on a real Valkey: newest line of each key, through outages, behind the back."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.fraud import pipeline as fraud
from jobs.online import reading
from jobs.online.layout import key_name
from jobs.online.lines import entities
from jobs.online.store import OnlineStore
from jobs.pipeline import Flow, Scored
from jobs.stack.redis import Redis
from streams.batch import Batch
from streams.errors import ConfigError
from streams.latest import Latest, Lines
from streams.schema import DAY
from tests.batches import PIPELINE, Row, batch_of
from tests.kafka_server import unique
from tests.test_redis import wait_until

redis = pytest.importorskip("redis")
T = 200 * DAY
DOCS = Path(__file__).parents[1] / "docs" / "online.md"


@contextmanager
def storing(server: Redis, name: str) -> Iterator[OnlineStore]:
    store = OnlineStore(server.address, replace(PIPELINE, name=name))
    try:
        yield store
    finally:
        store.close(timeout=5.0)


def held(server: Redis, name: str, entity: str, key: object) -> dict[str, Any]:
    with redis.Redis(port=server.settings.port) as client:
        line: dict[str, Any] = json.loads(client.get(key_name(name, entity, str(key))))
        return line


def scored_of(rows: list[Row], sequence: int = 0) -> tuple[Batch, Scored]:
    """A batch and scores made up for it: the score is the id over a million."""
    batch, n = batch_of(rows), len(rows)
    return batch, Scored(
        rows=np.arange(n),
        number=np.arange(n),
        scores=batch.idents[:, 0, 1:].astype(np.float64) / 1e6,
        intervals=np.tile([0.0, 1.0], (n, 1)),
        version=np.full(n, sequence),
        review=np.zeros(n, np.bool_),
        late=np.zeros(n, np.bool_),
        features=np.tile(batch.idents[:, 0, 1:].astype(np.float64), (1, 6)),
        letters=[],
        windows=[],
        champions={},
    )


def test_a_key_holds_the_features_of_its_entity_as_of_its_latest_event(
    redis_server: Redis, tmp_path: Path
) -> None:
    name = unique("latest")
    rows = [
        Row(1, T, customer=7, terminal=3, amount=1050),
        Row(2, T + 60, customer=7, terminal=4, amount=2050),
        Row(3, T + 90, customer=8, terminal=3, amount=50),
    ]
    batch = batch_of(rows)
    scored = Flow(PIPELINE, tmp_path).process(batch)
    with storing(redis_server, name) as store:
        store.offer(batch, scored)
        wait_until(lambda: store.written == 4)
    line = held(redis_server, name, "customer", 7)
    assert (line["id"], line["time"], line["layout"]) == ("2", T + 60, 1)
    assert line["score"] == scored.scores[1, 0]
    assert (line["decision"], line["model_version"]) == ("approve", 0)
    made = dict(zip(PIPELINE.features, scored.features[1].tolist(), strict=True))
    assert line["features"] == {n: made[n] for n in ("amount", "count", "mean", "ratio")}
    risk = held(redis_server, name, "terminal", 3)
    assert risk["id"] == "3"
    assert risk["features"] == {"amount": 0.5, "risk": 0.0, "run": None}


def test_an_entity_keeps_what_reads_it_or_nothing_and_for_its_longest_horizon() -> None:
    customer, terminal = entities(fraud)
    assert customer.entity == "customer" and len(customer.names) == 3 + 6 + 5
    assert terminal.entity == "terminal" and len(terminal.names) == 3 + 6 + 5
    assert {"amount", "night", "weekend"} == set(customer.names) & set(terminal.names)
    assert customer.keep_ms == terminal.keep_ms == 90 * DAY // 1000
    with pytest.raises(ConfigError, match="nothing to keep"):
        entities(replace(PIPELINE, features={"amount": PIPELINE.features["amount"]}))


def test_events_out_of_order_and_resent_leave_the_latest(redis_server: Redis) -> None:
    name = unique("order")
    rows = [Row(n, T + n % 50, customer=n % 3) for n in range(300)]
    with storing(redis_server, name) as store:
        for shift in (0, 17):
            for n in np.random.default_rng(shift).permutation(300).tolist():
                store.offer(*scored_of([rows[n]]))
            wait_until(lambda: store.lag == 0)
        assert store.up and store.failures == 0
    for customer in range(3):
        latest = max((row for row in rows if row.customer == customer), key=lambda row: row.place)
        assert held(redis_server, name, "customer", customer)["id"] == str(latest.ident)


def test_a_paused_server_delays_no_offer_and_is_caught_up_afterwards(own_redis: Redis) -> None:
    with storing(own_redis, "p") as store:
        store.offer(*scored_of([Row(1, T, customer=5)]))
        wait_until(lambda: store.written == 2)
        own_redis.pause()
        slowest = 0.0
        for n in range(2, 3002):
            batch, scored = scored_of([Row(n, T + n, customer=n % 10, terminal=n % 7)])
            began = time.perf_counter()
            store.offer(batch, scored)
            slowest = max(slowest, time.perf_counter() - began)
        wait_until(lambda: store.lag > 0.1 and store.waiting > 0)
        own_redis.resume()
        wait_until(lambda: store.lag == 0)
    assert slowest < 0.5  # a call to the server would have hung for a second
    assert held(own_redis, "p", "customer", 1)["id"] == "3001"
    assert held(own_redis, "p", "terminal", 3001 % 7)["id"] == "3001"


def test_a_killed_server_is_caught_up_once_it_is_back(own_redis: Redis) -> None:
    with storing(own_redis, "p") as store:
        store.offer(*scored_of([Row(1, T, customer=5)]))
        wait_until(lambda: store.written == 2)
        own_redis.kill()
        for n in range(2, 200):
            store.offer(*scored_of([Row(n, T + n, customer=n % 10)]))
        wait_until(lambda: store.failures > 2)
        assert store.trouble.startswith(f"{own_redis.address}/0: cannot be reached")
        own_redis.start()
        wait_until(lambda: store.up and store.lag == 0)
    assert [held(own_redis, "p", "customer", key)["id"] for key in (9, 0)] == ["199", "190"]


def test_a_server_that_is_not_there_at_the_start_is_waited_for(own_redis: Redis) -> None:
    own_redis.kill()
    with storing(own_redis, "p") as store:
        store.offer(*scored_of([Row(1, T, customer=5)]))
        wait_until(lambda: not store.up)
        own_redis.start()
        wait_until(lambda: store.written == 2)


def test_memory_is_bounded_by_the_keys_that_changed(own_redis: Redis) -> None:
    rng = np.random.default_rng(3)
    own_redis.kill()
    with storing(own_redis, "p") as store:
        for n in range(0, 60_000, 1000):
            keys = rng.integers(0, 1000, (1000, 2)).tolist()
            rows = [Row(n + i, T + n + i, *pair) for i, pair in enumerate(keys)]
            store.offer(*scored_of(rows))
            wait_until(lambda: not store._queue)
        # A line that is being moved is for a moment counted nowhere, or twice.
        wait_until(lambda: store.superseded + store.waiting == 2 * 60_000)
        assert store.waiting <= 2 * (2 * 1000 + 4096)
        own_redis.start()
        wait_until(lambda: store.lag == 0)
        assert store.written <= 2 * (2 * 1000 + 4096)


def test_closing_writes_what_waits_and_says_what_it_could_not(own_redis: Redis) -> None:
    rows = [Row(n, T + n, customer=n) for n in range(2000)]
    store = OnlineStore(own_redis.address, replace(PIPELINE, name="p"))
    store.offer(*scored_of(rows))
    assert store.close(timeout=10.0) == 0
    assert held(own_redis, "p", "customer", 1999)["id"] == "1999"
    own_redis.pause()
    store = OnlineStore(own_redis.address, replace(PIPELINE, name="p"))
    store.offer(*scored_of(rows))
    began = time.monotonic()
    assert store.close(timeout=0.3) >= 2000
    assert time.monotonic() - began < 5
    own_redis.resume()


def test_the_rights_that_the_docs_name_are_enough(own_redis: Redis) -> None:
    rights = re.search(r"`ACL SETUSER ([^`]*)`", DOCS.read_text(encoding="utf-8"))
    assert rights
    port = own_redis.settings.port
    with redis.Redis(port=port) as client:
        client.execute_command("ACL", "SETUSER", *rights[1].split())
        url = f"redis://headrace:secret@127.0.0.1:{port}"
        store = OnlineStore(url, replace(PIPELINE, name="p"))
        store.offer(*scored_of([Row(1, T, customer=5)]))
        assert store.close(10.0) == 0 and store.up
        assert client.execute_command("ACL", "LOG") == []
    assert reading.find(url, "p", "customer", "5").line.id == "1"


def test_the_docs_read_a_line_in_python(own_redis: Redis) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    with storing(own_redis, "fraud") as store:
        store.offer(*scored_of([Row(1, T, customer=42)]))
        wait_until(lambda: store.lag == 0)
    said = code[1].replace('host="cache"', f"port={own_redis.settings.port}")
    names: dict[str, Any] = {}
    exec(said.replace("customer_mean_7d", "mean"), names)
    assert names["line"]["features"]["mean"] == 1


def test_an_error_of_the_program_reaches_the_one_who_offers(redis_server: Redis) -> None:
    with storing(redis_server, unique("crash")) as store:
        batch, scored = scored_of([Row(1, T)])
        store.offer(batch, replace(scored, features=scored.features[:, :1]))
        store._thread.join(10)
        with pytest.raises(IndexError):
            store.offer(batch, scored)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 3), st.booleans()),
        max_size=60,
    )
)
def test_what_waits_is_the_last_of_each_key_by_time_and_tie(
    said: list[tuple[int, int, int, bool]],
) -> None:
    latest, newest = Latest(), dict[int, tuple[int, int, int]]()
    for n, (key, at, tie, give_back) in enumerate(said):
        if give_back and (taken := latest.take()) is not None:
            latest.give_back(taken)
        latest.add(lines_of([(key, at, tie, n)]))
        newest[key] = max(newest.get(key, (-1, -1, -1)), (at, tie, n))
    taken = latest.take()
    found = {} if taken is None else dict(zip(taken.key[:, 1].tolist(), tuples(taken), strict=True))
    assert found == newest
    assert len(latest) == 0 and latest.superseded == len(said) - len(newest)


def test_a_line_has_waited_since_the_first_of_its_key() -> None:
    latest = Latest()
    for n in range(3):
        latest.add(lines_of([(1, 5, n, n + 10), (2, 5, n, n + 20)]))
    assert latest.since == 10
    taken = latest.take()
    assert taken is not None and taken.since.tolist() == [10, 20]


def lines_of(rows: list[tuple[int, int, int, int]]) -> Lines:
    """Lines of (key, time, tie, n); n is the version, and since when it waits."""
    key, at, tie, n = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    texts = pa.array([str(row) for row in rows], pa.large_string())
    return Lines(
        key=np.column_stack([np.zeros_like(key), key]),
        time=at,
        tie=tie,
        since=n.astype(np.float64),
        score=np.zeros(len(rows)),
        review=np.zeros(len(rows), np.bool_),
        version=n,
        features=np.zeros((len(rows), 2)),
        texts=(texts, texts),
    )


def tuples(lines: Lines) -> list[tuple[int, int, int]]:
    return list(zip(lines.time.tolist(), lines.tie.tolist(), lines.version.tolist(), strict=True))


def features_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli", "features", "get", *arguments]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_features_get_shows_a_key_in_words_and_as_json(redis_server: Redis) -> None:
    name = unique("get")
    now = time.time_ns() // 1000
    with storing(redis_server, name) as store:
        store.offer(*scored_of([Row(77, now - 3_700_000_000, customer=42)]))
    asked = ["customer=42", "--online", redis_server.address, "--pipeline", name]
    said = features_get(*asked)
    assert said.returncode == 0, said.stderr
    for text in (
        "customer 42",
        "77, 20",
        "1 h 1 min ago",
        "7.7e-05, approve, by version 0",
        "mean",
    ):
        assert text in said.stdout
    found = json.loads(features_get(*asked, "--json").stdout)
    assert found["features"]["mean"] == 77 and 3600 < found["age_seconds"] < 3800
    assert 8 * 86_400 < found["keep_seconds"] <= 9 * 86_400


def test_features_get_ends_with_one_line_when_there_is_nothing(own_redis: Redis) -> None:
    asked = ["customer=43", "--online", own_redis.address]
    nothing = features_get(*asked)
    assert nothing.returncode == 1 and nothing.stderr.count("\n") == 1
    assert "nothing is held under headrace:fraud:customer:43" in nothing.stderr
    own_redis.kill()
    away = features_get(*asked)
    assert away.returncode == 1 and away.stderr.count("\n") == 1
    assert "cannot be reached" in away.stderr
