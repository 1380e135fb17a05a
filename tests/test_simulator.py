"""Simulated traffic is reproducible to the byte, in order, and shows what its ground truth says."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.batch import EVENT, LABEL, Batch
from streams.errors import ConfigError, Reason, StateError
from streams.schema import DAY, LATEST
from streams.simulation.population import GENUINE, TACTICS, TAKEOVER, TERMINAL, TESTING, VOUCHERS
from streams.simulation.simulator import PAYMENT, Simulation
from streams.simulation.traffic import (
    NewTactic,
    PopulationShift,
    PriceInflation,
    PriorShift,
    TerminalOutage,
    Traffic,
    moment_us,
)
from streams.sources import FileSource

Columns = dict[str, npt.NDArray[np.int64]]
HOUR = DAY // 24
FAULTY = Traffic(
    days=3, per_day=3000, disorder=0.05, late=0.02, duplicates=0.02, conflicts=0.01, garbage=0.02,
    labels_missing=0.2, fraud_rate=0.02,
)  # fmt: skip


def columns(traffic: Traffic) -> Columns:
    """All transactions of the traffic."""
    return Simulation(traffic).columns(1_000_000)


def rows(batch: Batch) -> list[bytes]:
    """The bytes of every column."""
    arrays = [batch.kind, batch.time, batch.idents, batch.numbers, batch.label, batch.received]
    texts = [text.to_numpy() for text in batch.texts]
    return [array.tobytes() for array in (*arrays, batch.offset, *texts)]


@pytest.fixture(scope="module")
def month() -> Columns:
    """Six weeks of ordinary traffic."""
    return columns(Traffic(days=42, seed=3))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 2000), st.integers(0, 5))
def test_any_cut_into_batches_gives_the_same_rows(size: int, seed: int) -> None:
    traffic = Traffic(events=1500, seed=seed, disorder=0.1, duplicates=0.05, fraud_rate=0.05)
    whole = Simulation(traffic).batch(10_000)
    parts = Batch.concat([batch for batch, _ in Simulation(traffic, size)])
    assert rows(parts) == rows(whole)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        traffic = Traffic(events=3000, seed=seed, garbage=0.1, disorder=0.1)
        Simulation(traffic).to_parquet(tmp_path / f"{name}.parquet")
        Simulation(traffic).to_ndjson(tmp_path / f"{name}.ndjson")
    for kind in ("parquet", "ndjson"):
        a, b, c = ((tmp_path / f"{name}.{kind}").read_bytes() for name in "abc")
        assert a == b != c


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 9000), st.integers(1, 999))
def test_a_restored_simulation_goes_on_where_the_saved_one_stood(stop: int, n: int) -> None:
    saved = Simulation(FAULTY)
    saved.batch(stop)
    restored = Simulation(FAULTY)
    restored.batch(n)
    restored.restore(saved.state())
    assert rows(restored.batch(20_000)) == rows(saved.batch(20_000))


def test_kernels_run_as_plain_python_give_the_same_bytes() -> None:
    program = (
        "import hashlib, warnings; warnings.simplefilter('ignore')\n"
        "from streams.simulation.simulator import Simulation\n"
        "from streams.simulation.traffic import Traffic\n"
        "traffic = Traffic(customers=60, terminals=30, per_day=50, events=300, fraud_rate=0.2)\n"
        "got = Simulation(traffic).columns(300)\n"
        "print(hashlib.md5(b''.join(c.tobytes() for c in got.values())).hexdigest())"
    )
    traffic = Traffic(customers=60, terminals=30, per_day=50, events=300, fraud_rate=0.2)
    got = Simulation(traffic).columns(300)
    plain = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    compiled = hashlib.md5(b"".join(column.tobytes() for column in got.values()))
    assert plain.stdout.strip() == compiled.hexdigest()


def test_the_state_of_other_traffic_is_refused() -> None:
    state = Simulation(Traffic(events=10)).state()
    with pytest.raises(StateError, match="other traffic"):
        Simulation(Traffic(events=11)).restore(state)


def test_rows_arrive_in_order_with_labels_first_and_ids_in_order_of_time() -> None:
    batch = Simulation(FAULTY).batch(20_000)
    at = list(zip(batch.received, batch.kind != LABEL, batch.idents[:, 0, 1], strict=True))
    assert at == sorted(at)
    events = np.flatnonzero(batch.kind == EVENT)
    by_id = events[np.argsort(batch.idents[events, 0, 1])]
    assert (np.diff(batch.time[by_id]) >= 0).all()


def test_without_faults_the_order_of_arrival_is_that_of_time(month: Columns) -> None:
    assert (month["received"] == month["time"]).all()
    assert (np.diff(month["time"]) >= 0).all()
    assert (np.diff(month["id"]) == 1).all()


def test_every_chargeback_comes_once_and_after_its_transaction() -> None:
    traffic = Traffic(days=5, fraud_rate=0.05, disorder=0.5, late=0.2, label_delay="1m")
    batch = Simulation(traffic).batch(100_000)
    ids = batch.idents[:, 0, 1]
    event = {int(ids[i]): i for i in np.flatnonzero(batch.kind == EVENT)}
    labels = np.flatnonzero(batch.kind == LABEL)
    assert len(set(ids[labels].tolist())) == len(labels) > 1000
    assert all(event[int(ids[i])] < i for i in labels)
    assert (batch.received[labels] == batch.time[labels]).all()
    assert (batch.label[labels] == 1).all()


def test_delays_of_labels_have_the_asked_median_and_share_missing() -> None:
    fraud = columns(Traffic(days=20, fraud_rate=0.1, label_delay="5d", labels_missing=0.3))
    fraud = {name: column[fraud["tactic"] > 0] for name, column in fraud.items()}
    reported = fraud["known"] > 0
    assert reported.mean() == pytest.approx(0.7, abs=0.02)
    delays = (fraud["known"] - fraud["time"])[reported]
    assert np.median(delays) / DAY == pytest.approx(5, rel=0.03)
    assert np.log(delays / DAY).std() == pytest.approx(0.6, abs=0.02)


def test_events_of_the_day_and_the_share_of_fraud_are_as_asked(month: Columns) -> None:
    assert len(month["id"]) == pytest.approx(420_000, rel=0.02)
    assert (month["tactic"] > 0).mean() == pytest.approx(0.007, rel=0.15)


def test_days_and_weeks_have_their_seasons(month: Columns) -> None:
    day, hour = month["time"] // DAY, month["time"] % DAY // HOUR
    by_hour = np.bincount(hour, minlength=24)
    assert by_hour[12] > 5 * by_hour[3]
    by_weekday = np.bincount((day + 3) % 7)
    assert by_weekday[4] > 1.5 * by_weekday[6]


def test_customers_have_their_own_hours_amounts_and_terminals(month: Columns) -> None:
    genuine = month["tactic"] == GENUINE
    customer, terminal = month["customer"][genuine], month["terminal"][genuine]
    busiest = np.argsort(np.bincount(customer))[-200:]
    amount = np.log(month["amount"][genuine])
    logs = [amount[customer == who] for who in busiest]
    assert np.std([log.mean() for log in logs]) > 0.4
    assert np.mean([log.std() for log in logs]) < amount.std()
    favourite = [np.bincount(terminal[customer == who]).max() for who in busiest]
    assert np.median(np.array(favourite) / [len(log) for log in logs]) > 0.1
    night = month["time"][genuine] % DAY < 6 * HOUR
    assert np.std([night[customer == who].mean() for who in busiest]) > 0.04


def test_a_compromised_terminal_is_in_use_for_days_by_many_customers(month: Columns) -> None:
    case = _largest(month, TERMINAL, "terminal")
    assert len(np.unique(month["customer"][case])) > 10
    assert np.ptp(month["time"][case]) > 3 * DAY


def test_card_testing_is_many_small_amounts_then_large_ones(month: Columns) -> None:
    case = _largest(month, TESTING, "customer")
    amounts = month["amount"][case]
    assert (amounts[:3] <= 400).all()
    assert amounts[-1] > 400
    assert np.ptp(month["time"][case[:3]]) < 2 * HOUR


def test_an_account_takeover_inflates_amounts_over_days(month: Columns) -> None:
    who = np.flatnonzero(np.bincount(month["customer"][month["tactic"] == TAKEOVER]) >= 8)
    cases = [np.flatnonzero((month["tactic"] == TAKEOVER) & (month["customer"] == i)) for i in who]
    growth = [np.log(month["amount"][c[-1]] / month["amount"][c[0]]) for c in cases]
    assert np.mean(growth) > 0.5
    assert np.median([np.ptp(month["time"][c]) for c in cases]) > 3 * DAY


def test_stolen_cards_pay_more_and_elsewhere_in_a_burst(month: Columns) -> None:
    stolen = month["tactic"] == TACTICS.index("stolen")
    genuine = month["tactic"] == GENUINE
    assert np.median(month["amount"][stolen]) > 1.7 * np.median(month["amount"][genuine])
    pair = month["customer"] * 100_000 + month["terminal"]
    known = np.isin(pair[stolen], pair[genuine])
    assert known.mean() < 0.1
    case = _largest(month, TACTICS.index("stolen"), "customer")
    assert np.median(np.diff(month["time"][case])) < 2 * HOUR


def _largest(month: Columns, tactic: int, key: str) -> npt.NDArray[np.int64]:
    of_tactic = month["tactic"] == tactic
    who = np.bincount(month[key][of_tactic]).argmax()
    return np.flatnonzero(of_tactic & (month[key] == who))


def test_a_new_tactic_is_not_there_before_its_date() -> None:
    drift = NewTactic("2024-01-15", size=0.5)
    got = columns(Traffic(days=40, fraud_rate=0.1, drifts=(drift,)))
    new = got["time"][got["tactic"] == VOUCHERS]
    assert new.min() >= moment_us("2024-01-15")
    after = got["tactic"][got["time"] > moment_us("2024-01-28")]
    assert (after == VOUCHERS).sum() / (after > 0).sum() == pytest.approx(0.5, abs=0.06)


def test_a_tactic_that_is_given_twice_returns() -> None:
    drifts = (NewTactic("2024-01-06", until="2024-01-16"), NewTactic("2024-02-01"))
    got = columns(Traffic(days=40, fraud_rate=0.1, drifts=drifts))
    days = np.bincount((got["time"][got["tactic"] == VOUCHERS] - Traffic().begin) // DAY)
    # A case takes two days; the last of the first time are over by then.
    assert not days[:5].any() and not days[20:31].any()
    assert days[7:15].min() > 0 and days[33:].min() > 0


def test_a_prior_shift_multiplies_fraud_and_touches_no_genuine_payment() -> None:
    shift = PriorShift("2024-01-11", size=4.0, until="2024-02-01")
    still = columns(Traffic(days=40, fraud_rate=0.05))
    moved = columns(Traffic(days=40, fraud_rate=0.05, drifts=(shift,)))
    assert _genuine(moved) == _genuine(still)
    inside = [(c["time"] > moment_us("2024-01-20")) & (c["time"] < moment_us("2024-02-01"))
              for c in (still, moved)]  # fmt: skip
    usual, more = ((c["tactic"][w] > 0).sum() for c, w in zip((still, moved), inside, strict=True))
    assert more / usual == pytest.approx(4, rel=0.15)


def _genuine(columns: Columns) -> list[bytes]:
    rows = columns["tactic"] == GENUINE
    return [columns[name][rows].tobytes() for name in ("time", "customer", "terminal", "amount")]


def test_prices_grow_within_their_window_and_stay() -> None:
    drift = PriceInflation("2024-01-08", until="2024-01-15", size=2.0)
    still, dear = columns(Traffic(days=21)), columns(Traffic(days=21, drifts=(drift,)))
    ratio = dear["amount"] / still["amount"]
    edges = [moment_us(f"2024-01-{day:02d}") for day in (8, 11, 12, 15, 22)]
    before, _, middle, _, after = np.split(ratio, np.searchsorted(still["time"], edges[:-1]))
    assert (before == 1).all()
    assert np.median(middle) == pytest.approx(1.5, abs=0.08)
    assert np.median(after) == pytest.approx(2.0, abs=0.01)


def test_a_population_shift_moves_the_customers_it_says_and_no_others() -> None:
    traffic = Traffic(days=42, customers=300, per_day=6000, drifts=(PopulationShift("2024-01-22"),))
    simulation = Simulation(traffic)
    moved = simulation.lives(moment_us("2024-01-22")) != simulation.lives(moment_us("2024-01-21"))
    assert moved.mean() == pytest.approx(0.3, abs=0.08)
    got = simulation.columns(1_000_000)
    early = got["time"] < moment_us("2024-01-22")
    pair = got["customer"] * 100_000 + got["terminal"]
    seen = np.isin(pair[~early], pair[early])
    mover = moved[got["customer"][~early] - 1]
    assert seen[~mover].mean() > 3 * seen[mover].mean()


def test_terminals_in_an_outage_say_nothing_and_come_back() -> None:
    drift = TerminalOutage("2024-01-08", until="2024-01-10", size=0.2)
    simulation = Simulation(Traffic(days=21, drifts=(drift,)))
    silent = simulation.silent(moment_us("2024-01-09"))
    assert silent.mean() == pytest.approx(0.2, abs=0.02)
    got = simulation.columns(1_000_000)
    inside = (got["time"] >= drift.window[0]) & (got["time"] < drift.window[1])
    share = silent[got["terminal"] - 1]
    assert not share[inside].any()
    assert share[~inside].mean() == pytest.approx(0.2, abs=0.05)


def test_faults_of_the_transport_have_the_asked_rates_and_change_nothing_that_happened() -> None:
    faults = {"disorder": 0.1, "late": 0.02, "duplicates": 0.03, "conflicts": 0.01}
    clean, faulty = columns(Traffic(days=10)), columns(Traffic(days=10, **faults))  # type: ignore[arg-type]
    delay = (faulty["received"] - faulty["time"])[faulty["copy"] == 0]
    n = len(delay)
    assert ((delay > 0) & (delay <= 10 * 60e6)).sum() / n == pytest.approx(0.1, rel=0.05)
    assert (delay > 10 * 60e6).sum() / n == pytest.approx(0.02, rel=0.1)
    assert delay.max() <= 3 * DAY
    assert (faulty["copy"] == 1).sum() / n == pytest.approx(0.03, rel=0.1)
    assert (faulty["copy"] == 2).sum() / n == pytest.approx(0.01, rel=0.15)
    once = np.flatnonzero(faulty["copy"] == 0)
    once = once[np.argsort(faulty["id"][once])]
    for name in ("id", "time", "customer", "terminal", "amount", "tactic"):
        assert (faulty[name][once] == clean[name]).all()


def test_a_resent_transaction_is_the_same_and_a_conflicting_one_has_another_amount() -> None:
    got = columns(Traffic(days=2, duplicates=0.1, conflicts=0.1))
    first = got["copy"] == 0
    amount = dict(zip(got["id"][first].tolist(), got["amount"][first].tolist(), strict=True))
    said = np.array([amount[i] for i in got["id"].tolist()])
    assert ((said != got["amount"]) == (got["copy"] == 2)).all()


def test_ndjson_says_what_the_batches_say(tmp_path: Path) -> None:
    traffic = Traffic(days=2, disorder=0.1, duplicates=0.02, fraud_rate=0.05)
    Simulation(traffic).to_ndjson(tmp_path / "out.ndjson")
    batch = Simulation(traffic).batch(100_000)
    said = [json.loads(line) for line in (tmp_path / "out.ndjson").read_bytes().splitlines()]
    assert [int(line["id"]) for line in said] == batch.idents[:, 0, 1].tolist()
    assert [moment_us(line["time"]) for line in said] == batch.time.tolist()
    assert [line.get("fraud", False) for line in said] == (batch.kind == LABEL).tolist()
    cents = [round(line.get("amount", 0) * 100) for line in said]
    assert cents == batch.numbers[:, 0].tolist()
    assert [int(line.get("terminal", 0)) for line in said] == batch.idents[:, 2, 1].tolist()


def test_ndjson_counts_what_it_wrote_and_its_garbage_is_of_many_kinds(tmp_path: Path) -> None:
    traffic = Traffic(days=3, garbage=0.05, duplicates=0.02, conflicts=0.01)
    written = Simulation(traffic).to_ndjson(tmp_path / "out.ndjson")
    read = (tmp_path / "out.ndjson").read_bytes().count(b"\n")
    assert written.pop("late") == 0
    assert sum(written.values()) == read
    reasons = {reason for reason in Reason if written[reason]}
    assert len(reasons) >= 9
    records = sum(written[k] for k in ("transactions", "labels", "duplicates", "conflicts"))
    assert (read - records) / records == pytest.approx(0.05, rel=0.1)


def test_a_reader_refuses_exactly_the_garbage_and_for_its_reason(tmp_path: Path) -> None:
    traffic = Traffic(days=3, garbage=0.1, duplicates=0.02, fraud_rate=0.02)
    written = Simulation(traffic).to_ndjson(tmp_path / "out.ndjson")
    read = list(FileSource([tmp_path / "out.ndjson"], PAYMENT, {}))
    reasons = Counter(letter.reason for _, letters in read for letter in letters)
    assert reasons == {reason: written[reason] for reason in Reason if written[reason]}
    records = written["transactions"] + written["duplicates"] + written["labels"]
    assert sum(len(batch) for batch, _ in read) == records


def test_parquet_carries_the_ground_truth(tmp_path: Path) -> None:
    traffic = Traffic(days=4, fraud_rate=0.03, labels_missing=0.5)
    Simulation(traffic).to_parquet(tmp_path / "out.parquet")
    table, got = pq.read_table(tmp_path / "out.parquet"), columns(traffic)
    assert (table["amount"].to_numpy() * 100).round().astype(int).tolist() == got["amount"].tolist()
    assert table["fraud"].to_pylist() == (got["tactic"] > 0).tolist()
    assert table["tactic"].to_pylist() == [TACTICS[code] for code in got["tactic"]]
    assert table["known"].null_count == (got["known"] == 0).sum()


def test_a_million_customers_need_little_memory_each() -> None:
    simulation = Simulation(Traffic(customers=1_000_000, terminals=50_000, per_day=1e6, events=10))
    assert simulation.columns(20)["id"].tolist() == list(range(1, 11))
    assert simulation._world.customers.slots.nbytes == 16_000_000


def test_a_batch_fits_the_payment_event() -> None:
    batch, letters = next(iter(Simulation(Traffic(), batch_size=50)))
    assert len(batch) == 50
    assert letters == []
    assert batch.idents.shape == (50, 1 + len(PAYMENT.keys), 2)
    assert batch.numbers.max() <= PAYMENT.numbers[0].largest
    assert Simulation(Traffic()).total_rows is None
    assert Simulation(Traffic(days=1)).total_rows == 10_070


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": 1, "events": 1},
        {"garbage": 1.5},
        {"terminals": 3},
        {"max_delay": "4d"},
        {"drifts": (PriceInflation("2024-01-02"),)},
        {"drifts": (PriorShift("2024-01-02", until="2024-01-01"),)},
        {"seed": -1},
        {"start": "soon"},
    ],
)
def test_traffic_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="got"):
        Traffic(**wrong)  # type: ignore[arg-type]


def test_traffic_without_end_is_not_written_to_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="days or events"):
        Simulation(Traffic()).to_parquet(tmp_path / "out.parquet")
    assert Traffic().end == LATEST
