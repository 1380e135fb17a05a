"""docs/scale.md says what its calculator says of what was measured."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.capacity import Measured, Task, Wanted, kept, needs
from benchmarks.run import KEPT
from benchmarks.run import kept as result_kept
from benchmarks.scale import FIGURES, main, rewritten
from jobs.fraud import pipeline

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
TASK = Task(load=0.5, memory_gb=16, disk_gb=500, network_mb=125)


@pytest.fixture
def measured() -> Measured:
    return Measured.of(json.loads(FIGURES.read_text())["result"], pipeline)


def test_the_page_has_the_tables_that_the_calculator_makes_of_the_kept_figures() -> None:
    page = PAGE.read_text()
    assert rewritten(page, FIGURES) == page
    assert page.count("<!-- end -->") == page.count("<!-- python -m benchmarks.scale") == 4


def test_twice_the_rate_over_twice_the_keys_takes_twice_of_everything(measured: Measured) -> None:
    one, two = (
        {
            each.what: each.tasks
            for each in needs(measured, Wanted(n * 1e4, n * 1e6, 2, 10), TASK, pipeline)
        }
        for n in (1, 2)
    )
    assert {what: 2 * tasks for what, tasks in one.items()} == pytest.approx(two)


def test_a_record_holds_no_more_than_its_cap_however_few_keys_there_are(measured: Measured) -> None:
    state = kept(measured, Wanted(1e5, 1000, 1, 10), pipeline)
    assert set(state.events.values()) == {pipeline.cap}
    assert state.records < 1000 * 2 * 1.1 * 8 * (4 * pipeline.cap + 30)


def test_what_asks_for_most_comes_first_and_longer_records_ask_for_more(measured: Measured) -> None:
    few, many = (needs(measured, Wanted(1e5, keys, 2, 10), TASK, pipeline) for keys in (1e6, 1e9))
    assert [each.tasks for each in few] == sorted((each.tasks for each in few), reverse=True)
    processor = [next(n.tasks for n in each if "processor" in n.what) for each in (few, many)]
    assert processor[0] > processor[1] or not measured.byte_us


def test_it_says_which_parts_are_missing_and_how_to_measure_them(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text('{"result": {"keys": {}}}')
    done = CliRunner().invoke(main, ["--measured", "--figures", str(tmp_path / "some.json")])
    assert done.exit_code == 2
    assert "--only flink --parts state,throughput" in done.output


def test_a_part_that_is_measured_anew_leaves_the_others_with_their_commit() -> None:
    before = {"commit": "long ago", "result": {"keys": {"was": 1}, "state": {"was": 1}}}
    made = result_kept("flink", {"seconds": 1, "result": {"keys": {"is": 2}}}, before)
    assert made["result"] == {"keys": {"is": 2}, "state": {"was": 1}}
    assert made["commits"] == {"keys": made["commit"], "state": "long ago"}


def test_help_teaches() -> None:
    said = CliRunner().invoke(main, ["--help"]).output
    assert "--rate 100000 --keys 5e7" in said and "breaks first" in said
    assert FIGURES.parent == KEPT
