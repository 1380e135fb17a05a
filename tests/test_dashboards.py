"""Every expression of the dashboard and of the alert rules can be read and speaks of what is there.

Neither Grafana nor Prometheus is here. Expressions are parsed by a parser of their language, which
knows its functions and types, and names and labels are looked up among those the jobs have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml
from promql_parser import AggregateExpr, BinaryExpr, Call, MatrixSelector, VectorSelector

from operators.evaluate import METRICS
from tests.metrics import labels_there
from tests.test_compose import ROOT, SERVICES

BOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/headrace.json").read_text("utf-8"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = [each for each in BOARD["panels"] if each["type"] != "row"]
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""
THERE = labels_there() | {"up": SCRAPED}
COUNTED = ("rate", "increase")


def parts(expression: Any) -> Iterator[Any]:
    """An expression and all that it is made of."""
    yield expression
    match expression:
        case AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from parts(expression.expr)
        case BinaryExpr():
            yield from parts(expression.lhs)
            yield from parts(expression.rhs)
        case Call():
            for each in expression.args:
                yield from parts(each)
        case MatrixSelector():
            yield from parts(expression.vector_selector)


def by(whole: AggregateExpr) -> set[str]:
    """The labels that a sum leaves."""
    return set(whole.modifier.labels) if whole.modifier else set()


def problems(text: str) -> list[str]:
    """What is wrong with an expression."""
    try:
        whole = list(parts(promql_parser.parse(text)))
    except ValueError as error:
        return [str(error)]
    found = []
    labels: set[str] = set()
    for each in whole:
        if isinstance(each, VectorSelector):
            mine = THERE.get(each.name or "")
            if mine is None:
                found.append(f"no metric {each.name}")
                continue
            labels |= mine | SCRAPED
            found += [
                f"{each.name} has no label {it.name}"
                for it in each.matchers.matchers
                if it.name not in mine | SCRAPED
            ]
            found += [
                f"no metric of quality {it.value}"
                for it in each.matchers.matchers
                if it.name == "metric" and it.value not in METRICS
            ]
        if isinstance(each, Call) and each.func.name in COUNTED:
            name = str(each.args[0].vector_selector.name)
            if not name.endswith(("_total", "_bucket", "_sum", "_count")):
                found.append(f"{each.func.name} of {name}, which is no counter")
    for each in whole:
        if isinstance(each, AggregateExpr) and each.modifier:
            found += [f"no label {it}" for it in each.modifier.labels if it not in labels | {"le"}]
        if isinstance(each, Call) and each.func.name == "histogram_quantile":
            inner = each.args[1]
            if not (isinstance(inner, AggregateExpr) and "le" in by(inner)):
                found.append("histogram_quantile without le")
    return found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sum(rate(headrace_predictions_total[1m])", "unclosed left parenthesis"),
        ("rate(headrace_predictions_total)", "in call to function 'rate'"),
        ("headrace_no_such_metric > 0", "no metric headrace_no_such_metric"),
        ("sum by (reson) (headrace_dead_letters_total)", "no label reson"),
        ('headrace_quality{metric="acu"}', "no metric of quality acu"),
        ("rate(headrace_ready[1m])", "rate of headrace_ready, which is no counter"),
        ("histogram_quantile(0.5, rate(headrace_score_bucket[1m]))", "without le"),
    ],
)
def test_what_is_wrong_with_an_expression_is_found(text: str, problem: str) -> None:
    assert any(problem in each for each in problems(text)), problems(text)


def test_every_expression_of_the_dashboard_is_right() -> None:
    for panel in PANELS:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert not problems(target["expr"]), (panel["title"], target["expr"])
    for each in BOARD["annotations"]["list"]:
        assert not problems(each["expr"])


def test_every_name_of_a_line_is_a_label_that_its_expression_leaves() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            named = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
            whole = list(parts(promql_parser.parse(target["expr"])))
            kept = [e for e in whole if isinstance(e, AggregateExpr)]
            there = {
                label
                for e in whole
                if isinstance(e, VectorSelector)
                for label in THERE[e.name or ""]
            }
            if kept and isinstance(whole[0], AggregateExpr):
                there = by(whole[0])
            assert named <= there | SCRAPED, (panel["title"], target)


def test_the_dashboard_has_every_metric_that_jobs_have() -> None:
    shown = {
        re.sub(r"_bucket$", "", part.name or "")
        for panel in PANELS
        for target in panel["targets"]
        for part in parts(promql_parser.parse(target["expr"]))
        if isinstance(part, VectorSelector)
    }
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in THERE} - {"up"}
    assert bases - shown == set()


def test_panels_have_names_sources_and_places_of_their_own() -> None:
    source = yaml.safe_load((ROOT / "deploy/grafana/datasource.yml").read_text("utf-8"))
    (uid,) = (each["uid"] for each in source["datasources"])
    panels = BOARD["panels"]
    assert len({each["id"] for each in panels}) == len(panels)
    for one in panels:
        at = one["gridPos"]
        assert at["x"] >= 0 and at["x"] + at["w"] <= 24 and at["h"] > 0, one["title"]
        if one["type"] != "row":
            assert one["datasource"] == {"type": "prometheus", "uid": uid}
            assert one["description"].endswith(".")
            refs = [each["refId"] for each in one["targets"]]
            assert len(set(refs)) == len(refs)
    for one, other in combinations(panels, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    titles = [each["title"] for each in panels if each["type"] == "row"]
    assert len(titles) == len(set(titles)) >= 8


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "w"), ("y", "h"))
    )


def test_variables_that_expressions_name_are_declared() -> None:
    declared = {each["name"]: each for each in BOARD["templating"]["list"]}
    named = set(re.findall(r"\$(\w+)", json.dumps([p["targets"] for p in PANELS])))
    assert named == set(declared)
    for each in declared.values():
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", each["query"]["query"])
        assert match and match[2] in THERE[match[1]]


def test_every_alert_can_be_read_and_says_what_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 10
    for rule in RULES:
        assert not problems(rule["expr"]), rule["alert"]
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "action"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))
        whole = list(parts(promql_parser.parse(rule["expr"])))
        there = {
            label for e in whole if isinstance(e, VectorSelector) for label in THERE[e.name or ""]
        }
        said = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= there | SCRAPED, rule["alert"]


def test_commands_that_alerts_name_are_ours() -> None:
    from jobs.commands import headrace

    for rule in RULES:
        for command in re.findall(r"headrace ([a-z-]+)", rule["annotations"]["action"]):
            assert command in headrace.commands


def test_prometheus_has_the_rules_where_it_looks_for_them() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text("utf-8"))
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["prometheus"]["volumes"])
    assert mounted["./deploy/alerts.yml"] == f"/etc/prometheus/{config['rule_files'][0]}"
    assert config["scrape_configs"][0]["job_name"] == "headrace"
