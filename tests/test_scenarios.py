"""Simulated changes are what their ground truth says: which law, from when, how much, for whom."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.simulate import parse_drift, simulate
from streams.batch import EVENT, Batch
from streams.errors import ConfigError, Reason
from streams.schema import DAY, MISSING
from streams.simulation.drift import drifts_of, strength
from streams.simulation.population import CHANGED, GENUINE, SLOW, TACTICS
from streams.simulation.simulator import PAYMENT, Simulation
from streams.simulation.traffic import (
    DRIFTS,
    SHAPES,
    ConceptShift,
    Drift,
    Holidays,
    InputShift,
    MissingField,
    PopulationShift,
    PriceInflation,
    PriorShift,
    Shape,
    SlowAttack,
    TerminalOutage,
    Traffic,
    UnitError,
    moment_us,
)
from streams.simulation.truth import Change
from streams.sources import FileSource

Columns = dict[str, npt.NDArray[np.int64]]
HOUR = DAY // 24
SAID = ("time", "customer", "terminal", "amount")
AT = "2024-01-15"
BEGIN = moment_us(AT)
EVERY = tuple(parse_drift(f"{kind}@{AT}" + "..2024-02-10" * (kind == "prices")) for kind in DRIFTS)


def columns(*drifts: Drift, days: float = 42, fraud_rate: float = 0.02) -> Columns:
    """All payments of six weeks, the drifts from the third on."""
    traffic = Traffic(days=days, per_day=8000, fraud_rate=fraud_rate, drifts=drifts, seed=5)
    return Simulation(traffic).columns(1_000_000)


@pytest.fixture(scope="module")
def still() -> Columns:
    """The world without a change."""
    return columns()


def rows(got: Columns, names: tuple[str, ...] = SAID) -> npt.NDArray[np.int64]:
    """Those columns side by side."""
    return np.stack([got[name] for name in names], axis=1)


def share(got: Columns, of: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The share of fraud among some payments, and its standard error if each were drawn alone."""
    fraud = (got["tactic"][of] != GENUINE).mean()
    return float(fraud), float(np.sqrt(fraud * (1 - fraud) / of.sum()))


def test_a_change_of_concept_moves_labels_and_nothing_else(still: Columns) -> None:
    got = columns(ConceptShift(AT, size=0.5))
    assert (rows(got) == rows(still)).all()
    was, now = still["tactic"] != GENUINE, got["tactic"] != GENUINE
    pardoned, charged = was & ~now, ~was & now
    # One is charged for each that was pardoned, as soon as one comes that looks so.
    assert 0 <= pardoned.sum() - charged.sum() <= 5
    assert pardoned[still["time"] >= BEGIN].sum() == pytest.approx(
        0.5 * was[still["time"] >= BEGIN].sum(), rel=0.06
    )
    assert ((got["touched"] == 1) == (pardoned | charged)).all()
    assert (got["tactic"][charged] == CHANGED).all()
    assert still["time"][pardoned | charged].min() >= BEGIN
    amount = still["amount"][charged]
    assert amount.min() >= 80_00
    assert amount.max() <= 99_99


def test_a_change_of_inputs_leaves_the_law_of_labels_given_them(still: Columns) -> None:
    got = columns(InputShift(AT, size=0.5))
    names = (*SAID, "tactic")
    kept = np.isin(_words(still, names), _words(got, names))
    assert kept.sum() == len(got["time"])
    small, late = still["amount"] < 26_00, still["time"] >= BEGIN
    assert kept[~(small & late)].all()
    # Whatever the label, half of what is small is not sent: sampling alone makes a difference.
    for fraud in (False, True):
        of = small & late & ((still["tactic"] != GENUINE) == fraud)
        assert abs(kept[of].mean() - 0.5) < 4 * 0.5 / np.sqrt(of.sum())
    got_late = got["time"] >= BEGIN
    for least, most in ((0, 26_00), (26_00, 80_00), (80_00, 10_000_000)):
        before, error = share(still, late & (still["amount"] >= least) & (still["amount"] < most))
        after, _ = share(got, got_late & (got["amount"] >= least) & (got["amount"] < most))
        assert abs(after - before) < 4 * error
    assert np.median(got["amount"][got_late]) > 1.2 * np.median(still["amount"][late])


def test_a_change_of_the_prior_leaves_the_law_of_inputs_given_the_label() -> None:
    usual = columns(days=80, fraud_rate=0.05)
    more = columns(PriorShift(AT, size=2.0), days=80, fraud_rate=0.05)
    genuine = [rows(got)[got["tactic"] == GENUINE] for got in (usual, more)]
    assert (genuine[0] == genuine[1]).all()
    # Two weeks after the change as many cases are young as ever.
    frauds = [
        {
            name: column[(got["tactic"] != GENUINE) & (got["time"] > BEGIN + 20 * DAY)]
            for name, column in got.items()
        }
        for got in (usual, more)
    ]
    assert len(frauds[1]["id"]) / len(frauds[0]["id"]) == pytest.approx(2, rel=0.1)
    for values in (
        [each["amount"] for each in frauds],
        [each["time"] % DAY for each in frauds],
        [each["tactic"] for each in frauds],
        [each["terminal"] for each in frauds],
    ):
        # Payments of one case are alike, so there are fewer independent ones: a twentieth of each.
        effective = 1 / (1 / len(values[0]) + 1 / len(values[1])) / 20
        assert _distance(values[0], values[1]) < 1.63 / np.sqrt(effective)


def _distance(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Kolmogorov's and Smirnov's: the farthest that the two distributions lie apart."""
    at = np.unique(np.concatenate([one, other]))
    below = [np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _words(got: Columns, names: tuple[str, ...]) -> npt.NDArray[np.void]:
    """Each row of those columns as one value."""
    wide = np.ascontiguousarray(rows(got, names))
    return wide.view(np.dtype((np.void, wide.shape[1] * 8))).ravel()


@pytest.mark.parametrize("size", [1.0, 0.3])
def test_a_unit_error_makes_units_of_cents_at_some_terminals(still: Columns, size: float) -> None:
    until = "2024-01-22"
    got = columns(UnitError(AT, until=until, size=size))
    wrong = got["touched"] == 1
    inside = (still["time"] >= BEGIN) & (still["time"] < moment_us(until))
    assert (rows(got)[~wrong] == rows(still)[~wrong]).all()
    most = PAYMENT.numbers[0].largest
    assert (got["amount"][wrong] == np.minimum(still["amount"][wrong] * 100, most)).all()
    assert not wrong[~inside].any()
    terminals = np.unique(still["terminal"][inside])
    erring = np.unique(still["terminal"][wrong])
    assert len(erring) / len(terminals) == pytest.approx(size, abs=0.03)
    assert wrong[inside & np.isin(still["terminal"], erring)].all()


def test_a_missing_amount_is_a_dead_letter_where_it_is_required_and_else_missing(
    tmp_path: Path,
) -> None:
    traffic = Traffic(days=6, per_day=2000, drifts=(MissingField("2024-01-04", size=0.4),))
    simulation = Simulation(traffic)
    simulation.to_ndjson(tmp_path / "out.ndjson")
    Simulation(traffic).to_parquet(tmp_path / "out.parquet")
    (change,) = simulation.truth()
    assert 1000 < change.events < 4000
    optional = replace(PAYMENT, numbers=(replace(PAYMENT.numbers[0], required=False),))
    for name in ("out.ndjson", "out.parquet"):
        refused = list(FileSource([tmp_path / name], PAYMENT, {}))
        letters = [letter.reason for _, letters in refused for letter in letters]
        assert letters == [Reason.MISSING_FIELD] * change.events
        taken = Batch.concat([batch for batch, _ in FileSource([tmp_path / name], optional, {})])
        events = taken.take(np.flatnonzero(taken.kind == EVENT))
        missing = events.numbers[:, 0] == MISSING
        ids = np.array(events.texts[0].to_pylist()).astype(np.int64)[missing]
        assert (missing.sum(), ids.min(), ids.max()) == (
            change.events, change.first_id, change.last_id,
        )  # fmt: skip


def test_a_slow_attacker_grows_is_spread_thin_and_touches_nothing_else(still: Columns) -> None:
    got = columns(SlowAttack(AT, size=0.5, span="28d"))
    slow = got["tactic"] == SLOW
    names = (*SAID, "tactic")
    assert (rows(got, names)[~slow] == rows(still, names)).all()
    assert ((got["touched"] == 1) == slow).all()
    at = got["time"][slow]
    assert at.min() >= BEGIN
    halves = np.histogram(at, [BEGIN, BEGIN + 14 * DAY, BEGIN + 28 * DAY])[0]
    # Of a pace that grows evenly from nothing, a quarter falls into the first half.
    assert halves[0] / halves.sum() == pytest.approx(0.25, abs=0.06)
    usual = (still["tactic"] != GENUINE).sum() / 42
    assert halves.sum() == pytest.approx(0.5 * 0.5 * usual * 28, rel=0.15)
    assert np.bincount(got["customer"][slow]).max() <= 4
    assert (at % DAY >= 7 * HOUR).all() and (at % DAY < 22 * HOUR).all()


def test_holidays_have_more_and_later_and_larger_payments_and_as_large_a_share_of_fraud(
    still: Columns,
) -> None:
    got = columns(Holidays(AT, until="2024-02-12", size=0.4))
    inside = [(each["time"] >= BEGIN) & (each["time"] < BEGIN + 28 * DAY) for each in (still, got)]
    assert inside[1].sum() / inside[0].sum() == pytest.approx(1.4, abs=0.03)
    medians = [np.median(e["amount"][of]) for e, of in zip((still, got), inside, strict=True)]
    assert medians[1] / medians[0] == pytest.approx(1.2, abs=0.02)
    late = [
        (each["time"][of] % DAY >= 20 * HOUR).mean()
        for each, of in zip((still, got), inside, strict=True)
    ]
    assert late[1] > 1.1 * late[0]
    # Cases that began before go on into it, so at first there is a little less.
    settled = [of & (each["time"] >= BEGIN + 14 * DAY)
               for each, of in zip((still, got), inside, strict=True)]  # fmt: skip
    shares = [share(each, of)[0] for each, of in zip((still, got), settled, strict=True)]
    assert shares[1] / shares[0] == pytest.approx(1, abs=0.15)
    outside = got["time"] < BEGIN
    assert (rows(got)[outside] == rows(still)[still["time"] < BEGIN]).all()
    assert got["touched"][inside[1]].all() and not got["touched"][~inside[1]].any()


def holds(shape: Shape, days: float) -> float:
    """How much of a change of that shape, two weeks long of four, holds after so many days."""
    drift = PriorShift(AT, until="2024-02-12", shape=shape, span="14d")
    made = drifts_of([drift])
    return float(strength(np.uint64(7), made.windows, 0, BEGIN + round(days * DAY)))


def test_a_change_has_the_shape_it_is_given() -> None:
    for shape in SHAPES:
        assert holds(shape, -0.01) == 0
        assert holds(shape, 28) == 0
    assert [holds("sudden", day) for day in (0, 7, 27.9)] == [1, 1, 1]
    assert [holds("incremental", day) for day in (0, 7, 14, 27.9)] == [0, 0.5, 1, 1]
    assert [holds("recurring", day) for day in (0, 13.9, 14, 27.9)] == [1, 1, 0, 0]
    hours = np.array([holds("gradual", hour / 24) for hour in range(28 * 24)])
    assert set(hours) == {0, 1}
    assert hours[: 7 * 24].mean() == pytest.approx(0.25, abs=0.1)
    assert hours[7 * 24 : 14 * 24].mean() == pytest.approx(0.75, abs=0.1)
    assert hours[14 * 24 :].all()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outage_of_any_shape_silences_as_many_terminals_as_it_should(shape: Shape) -> None:
    drift = TerminalOutage(AT, size=0.4, shape=shape, span="4d")
    simulation = Simulation(Traffic(days=30, drifts=(drift,)))
    shares = [simulation.silent(BEGIN + day * DAY).mean() for day in (-1, 2, 5)]
    wanted = {"sudden": (0, 0.4, 0.4), "incremental": (0, 0.2, 0.4), "recurring": (0, 0.4, 0)}
    if shape == "gradual":
        assert {round(s, 1) for s in shares} <= {0, 0.4}
        assert shares[2] == pytest.approx(0.4, abs=0.02)
    else:
        assert shares == pytest.approx(wanted[shape], abs=0.02)


def test_all_kinds_at_once_are_the_same_in_any_cut_restored_and_as_plain_python() -> None:
    program = (
        "import hashlib, warnings; warnings.simplefilter('ignore')\n"
        "from streams.simulation.simulator import Simulation\n"
        "from tests.test_scenarios import busy\n"
        "got = Simulation(busy()).columns(400)\n"
        "print(hashlib.md5(b''.join(c.tobytes() for c in got.values())).hexdigest())"
    )
    got = Simulation(busy()).columns(400)
    assert len(set(got["touched"].tolist())) > 8
    plain = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    whole = hashlib.md5(b"".join(column.tobytes() for column in got.values())).hexdigest()
    assert plain.stdout.strip() == whole


def busy() -> Traffic:
    """A few payments in which everything changes, in every shape."""
    shapes = [SHAPES[i % len(SHAPES)] for i in range(len(EVERY))]
    drifts = tuple(
        replace(drift, at="2024-01-02", shape="sudden" if drift.until else shape, span="2d")
        for drift, shape in zip(EVERY, shapes, strict=True)
    )
    return Traffic(
        customers=60, terminals=30, per_day=60, events=400, fraud_rate=0.3, drifts=drifts,
        conflicts=0.05,
    )  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 400), st.integers(1, 99))
def test_with_all_changes_any_cut_or_restart_gives_the_same_payments(stop: int, size: int) -> None:
    saved = Simulation(busy())
    first = [saved.columns(stop)]
    restored = Simulation(busy())
    restored.restore(saved.state())
    while len((part := restored.columns(size))["id"]):
        first.append(part)
    whole = Simulation(busy()).columns(1000)
    for name, column in whole.items():
        assert (np.concatenate([part[name] for part in first]) == column).all()


def test_the_truth_is_written_beside_the_stream(tmp_path: Path) -> None:
    drifts = ["unit@2024-01-03..2024-01-05=.5", "concept@2024-01-04=.8:gradual/2d"]
    simulate(tmp_path / "out.parquet", drifts, {"days": 8, "per_day": 2000, "fraud_rate": 0.05})
    simulate(tmp_path / "still.parquet", [], {"days": 1})
    assert {path.name for path in tmp_path.iterdir()} == {
        "out.parquet", "out.scenario.json", "still.parquet",
    }  # fmt: skip
    text = (tmp_path / "out.scenario.json").read_bytes()
    unit, concept = msgspec.json.decode(text, type=tuple[Change, ...])
    assert (unit.kind, unit.changes, unit.fields) == ("unit", ("inputs",), ("amount",))
    assert unit.until_us == moment_us("2024-01-05")
    assert (concept.shape, concept.span_us, concept.until_us) == ("gradual", 2 * DAY, None)
    table = pq.read_table(tmp_path / "out.parquet")
    touched = np.array(table["drift"].to_pylist())
    for change in (unit, concept):
        of = np.array([change.kind in each.split("+") for each in touched.tolist()])
        ids = table["id"].to_numpy()[of]
        assert (len(ids), ids.min(), ids.max()) == (change.events, change.first_id, change.last_id)
    assert json.loads(text)[0]["from_us"] == moment_us("2024-01-03")


@pytest.mark.parametrize(
    ("text", "drift"),
    [
        ("unit@2024-03-01..2024-03-08", UnitError("2024-03-01", until="2024-03-08")),
        ("concept@2024-03-01=.25", ConceptShift("2024-03-01", size=0.25)),
        ("prior@2024-03-01:recurring/7d", PriorShift("2024-03-01", shape="recurring", span="7d")),
        ("population@2024-03-01T06:30=0.2:gradual",
         PopulationShift("2024-03-01T06:30", size=0.2, shape="gradual")),
        ("attacker@2024-03-01", SlowAttack("2024-03-01")),
    ],
)  # fmt: skip
def test_a_drift_is_said_in_one_word(text: str, drift: Drift) -> None:
    assert parse_drift(text) == drift


@pytest.mark.parametrize(
    "text", ["unit", "units@2024-03-01", "prior@2024-03-01:slowly", "prior@2024-03-01=3:gradual/2w"]
)
def test_a_drift_that_is_none_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(ConfigError, match="wanted"):
        Traffic(drifts=(parse_drift(text),))


@pytest.mark.parametrize(
    "drift",
    [
        PriorShift(AT, shape="gradual", span="30m"),
        PriceInflation(AT, until="2024-02-01", shape="gradual"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(drift: Drift) -> None:
    with pytest.raises(ConfigError, match="got"):
        Traffic(drifts=(drift,))


def test_every_kind_says_what_it_changes() -> None:
    assert all(kind.changes for kind in DRIFTS.values())
    assert len(TACTICS) == CHANGED + 1
