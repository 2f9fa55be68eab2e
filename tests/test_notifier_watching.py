"""deploy/prometheus and deploy/grafana ask for metrics that there are, and lead to pages that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import pytest
import yaml

from lakehouse import ROOT
from tests.test_notifier import Desk, Friend
from tests.test_notifier_ledger import a_daemon

RULES = ROOT / "deploy" / "prometheus" / "notifier.rules.yml"
BOARD = ROOT / "deploy" / "grafana" / "notifier.json"
_METRIC = re.compile(r"(tillwatch_notifier_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_BY = re.compile(r"\b(?:by|without|ignoring|on) \(([^)]*)\)")


def alerts() -> list[dict[str, Any]]:
    content = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    return content


def expressions() -> Iterator[tuple[str, str]]:
    """Of both files, each with whose it is."""
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """Labels of each sample that a notifier has when it has just been started, by the sample's name."""
    desk = Desk(tmp_path_factory.mktemp("metrics"), Friend())
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TILLWATCH_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        daemon = a_daemon(desk)
    daemon.refresh_metrics()
    found: dict[str, list[dict[str, str]]] = {}
    for family in daemon.metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    desk.close()
    return found


@pytest.mark.parametrize(("whose", "expression"), list(expressions()))
def test_what_is_asked_for_is_there_from_the_start(
    samples: dict[str, list[dict[str, str]]], whose: str, expression: str
) -> None:
    asked = _METRIC.findall(expression)
    assert asked, whose
    labels: set[str] = {"le", "instance", "job"}
    for name, selector in asked:
        assert name in samples, f"{whose}: there is no {name}"
        held = samples[name]
        labels |= {label for sample in held for label in sample}
        for label, operator, value in _MATCHER.findall(selector):
            values = {sample[label] for sample in held if label in sample}
            for one in value.split("|") if "~" in operator else [value]:
                assert one in values, f'{whose}: {name} has no {label}="{one}"'
    for names in _BY.findall(expression):
        assert {name.strip() for name in names.split(",")} <= labels, whose


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)
    for alert in alerts():
        said = alert["annotations"]
        assert all(said[part] for part in ("summary", "description"))
        assert alert["labels"]["severity"] in ("critical", "warning")
        path, _, anchor = said["runbook"].partition("#")
        assert path == "docs/operations.md"
        assert anchor == alert["alert"].lower()
        assert f'<a id="{anchor}"></a>{alert["alert"]} |' in page


def test_every_panel_has_a_title_a_unit_and_an_expression() -> None:
    drawn = [panel for panel in panels() if panel["type"] != "row"]
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in panels()}) == len(titles)
    for panel in drawn:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["expr"], panel["title"]
            assert target["datasource"] == panel["datasource"]


def test_no_panel_covers_another_and_each_row_has_some() -> None:
    for one, other in combinations(panels(), 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or apart, f"{one['title']} and {other['title']}"
    kinds = [panel["type"] for panel in panels()]
    assert kinds[0] == "row"
    assert kinds[-1] != "row"
    assert ("row", "row") not in pairwise(kinds)
