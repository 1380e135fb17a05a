"""The report is one file that needs nothing else and says what the run said."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.report import axes, charts, plot
from jobs.report.page import Balance, Figure, Report, Version, page, write_report
from operators.evaluate import DAY_US, Prequential

START = 1_522_540_800_000_000
VOID = {"meta", "br"}


def evaluated(days: int = 6) -> Prequential:
    random = np.random.default_rng(2)
    n = 300 * days
    time = np.sort(START + random.integers(0, days * DAY_US, n))
    label = (random.random(n) < 0.05).astype(np.int8)
    score = np.clip(0.5 * label * random.random(n) + 0.4 * random.random(n), 0, 1)
    judge = Prequential(("champion", "prior"), {"channel": ("online", "terminal")})
    codes, prior = random.integers(0, 2, (n, 1)), np.full(n, 0.05)
    judge.observe(time, time, np.column_stack([score, prior]), label, time % 50, codes)
    judge.finish()
    return judge


def report() -> Report:
    judge = evaluated()
    return Report(
        title="Card fraud",
        subtitle="Six days",
        summary=[Figure("transactions", "1,800", "in 6 days")],
        windows=judge.rows(),
        overall=judge.overall(),
        calibration={"champion": judge.calibration_curve("champion", 32)},
        scores={"champion": judge.score_histogram("champion")},
        importance=[("terminal risk", 0.5), ("amount", 0.25)],
        contributions={"champion": [("since fraud", 0.7)], "plain": [("amount", 0.31)]},
        throughput=[(0.0, 90_000.0), (1.0, 110_000.0)],
        ledger=[Balance("transactions", 1800, {"predictions": 1799, "dead letters": 1})],
        versions=[Version(3, "linear", "9f3c1a77be20d4", START, 1200, "champion")],
        marks=[(START + DAY_US, "drift: amount")],
        footer="Headrace",
    )


class Elements(HTMLParser):
    """Checks that elements are closed in order, and keeps the text outside the style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.text += "" if "style" in self.open else text


def test_the_page_is_well_formed_and_fetches_nothing(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", report())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    names = Elements(text).names
    assert {"svg", "table", "details", "dl"} <= names
    assert not names & {"script", "link", "img", "iframe"}
    assert not re.search(r"https?:|src=|url\(|@import|nan|inf[^e]", text)


def test_the_same_report_gives_the_same_bytes() -> None:
    assert page(report()) == page(report())


def test_every_part_is_on_the_page() -> None:
    text = Elements(page(report())).text
    for said in (
        "1,800",
        "Average precision over time",
        "AUC over time",
        "drift: amount",
        "Every window of champion",
        "By channel",
        "Calibration",
        "Scores of champion",
        "terminal risk",
        "What moves the scores",
        "since fraud",
        "0.31",
        "median 110k",
        "1,799 predictions + 1 dead letters",
        "balanced",
        "9f3c1a77be20",
    ):
        assert said in text, said
    assert "unaccounted" not in text


def test_an_empty_report_has_its_title_and_no_empty_parts() -> None:
    elements = Elements(page(Report("Nothing yet")))
    assert "Nothing yet" in elements.text
    assert not elements.names & {"svg", "section", "figure", "dl"}


def test_what_is_missing_in_the_ledger_is_said() -> None:
    lossy = replace(report(), ledger=[Balance("labels", 10, {"joined": 12})])
    assert "-2 unaccounted for" in Elements(page(lossy)).text


@given(st.text(max_size=20))
def test_no_name_breaks_out_of_its_element(name: str) -> None:
    hostile = f'<b a="{name}">&'
    shown = replace(
        report(),
        title=hostile,
        importance=[(hostile, 1.0)],
        contributions={hostile: [(hostile, 1.0)], "other": [(hostile, 0.0)]},
        marks=[(START + DAY_US, hostile)],
        ledger=[Balance(hostile, 1, {hostile: 1})],
    )
    assert "b" not in Elements(page(shown)).names


def test_one_window_and_metrics_that_are_undefined_can_be_drawn() -> None:
    judge = Prequential(("champion",))
    time = np.full(3, START)
    judge.observe(time, time, np.full((3, 1), 0.5), np.zeros(3, np.int8), time)
    judge.finish()
    shown = Report(
        "One window",
        windows=judge.rows(),
        overall=judge.overall(),
        calibration={"champion": judge.calibration_curve("champion")},
        scores={"champion": judge.score_histogram("champion")},
        throughput=[(0.0, 0.0)],
        importance=[("nothing", 0.0)],
        contributions={"champion": [("nothing", 0.0)], "silent": []},
    )
    text = Elements(page(shown)).text
    assert "–" in text and "nan" not in text


@given(
    st.floats(-1e9, 1e9, allow_nan=False), st.floats(0, 1e9, allow_nan=False), st.integers(2, 10)
)
def test_ticks_of_numbers_hold_the_range_and_are_few(low: float, span: float, count: int) -> None:
    axis = axes.number_axis(low, low + span, count=count)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low <= low + slack and axis.high >= low + span - slack
    assert 2 <= len(axis.ticks) <= count + 3


@given(st.integers(0, 4 * 10**15), st.integers(0, 40 * 366 * DAY_US), st.integers(4, 12))
def test_ticks_of_time_are_inside_and_few(low: int, span: int, count: int) -> None:
    axis = axes.time_axis(low, low + span, count=count)
    assert len(axis.ticks) <= count + 1
    assert all(axis.low <= tick <= axis.high for tick, _ in axis.ticks)


def test_months_are_ticks_of_a_long_range() -> None:
    axis = axes.time_axis(START, START + 330 * DAY_US, count=12)
    texts = [text for _, text in axis.ticks]
    assert " ".join(texts) == "Apr May Jun Jul Aug Sep Oct Nov Dec Jan Feb"
    assert axis.title == "2018–2019, UTC"


@given(st.lists(st.floats(0, 200), max_size=10))
def test_labels_are_moved_apart_and_stay_inside(heights: list[float]) -> None:
    moved = plot.spread(sorted(heights), 16.0, 0.0, 200.0)
    assert moved == sorted(moved)
    assert all(b - a >= 16 - 1e-9 for a, b in pairwise(moved))
    assert all(-1e-9 <= height <= 200 + 1e-9 for height in moved)


def test_a_gap_in_a_series_is_a_gap_in_its_line() -> None:
    points = [(START + day * DAY_US, math.nan if day == 2 else 0.5) for day in range(5)]
    drawn = charts.time_chart([plot.Series("champion", points)], "a gap")
    assert drawn.count('class="line s0"') == 2


def test_a_bin_says_something_only_with_enough_examples() -> None:
    judge = evaluated()
    curve = judge.calibration_curve("champion", 32)
    drawn = charts.spots(curve)
    assert drawn and all(spot.examples >= charts.ENOUGH for spot in drawn)
    assert all(spot.least < spot.share < spot.most for spot in drawn if 0 < spot.share < 1)


@pytest.mark.parametrize(("share", "n"), [(0.0, 10), (1.0, 10), (0.5, 1)])
def test_an_interval_of_a_share_is_between_0_and_1(share: float, n: int) -> None:
    least, most = charts.wilson(share, n)
    assert 0 < least < most < 1
