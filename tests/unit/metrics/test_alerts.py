"""The shipped alerts and the dashboard: only metrics that exist, a section of the runbook each, checked by promtool."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from softman.metrics.names import METRICS, Kind

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "compose" / "prometheus"
GRAFANA = ROOT / "compose" / "grafana" / "dashboards" / "softman.json"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ALERTS: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads(GRAFANA.read_text())["panels"]
_PARTS = ("", "_bucket", "_count", "_sum")
KNOWN = {each.name + part for each in METRICS for part in (_PARTS if each.kind is Kind.HISTOGRAM else ("",))}
LABELS = {each.name: set(each.labels) for each in METRICS}
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed"
)


def _expressions() -> list[tuple[str, str]]:
    found = [(rule["alert"], rule["expr"]) for rule in ALERTS]
    return found + [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize(("where", "expression"), _expressions())
def test_every_metric_that_is_asked_for_exists(where: str, expression: str) -> None:
    named = set(re.findall(r"\bsoftman_[a-z0-9_]+", expression))
    assert named, where
    assert named <= KNOWN
    for name, matchers in re.findall(r"(softman_[a-z0-9_]+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*[!=]", matchers)) <= LABELS[name]


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(expression for _, expression in _expressions())
    assert [each.name for each in METRICS if each.name not in shown] == []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_every_alert_has_its_section(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["runbook"] == f"runbook.md#{rule['alert'].lower()}"
    section = RUNBOOK.partition(f"\n## {rule['alert']}\n")[2].partition("\n## ")[0]
    assert [word for word in ("**Means**", "**Look**", "**Cure**") if word not in section] == []
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_the_runbook_has_no_section_without_an_alert() -> None:
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == {rule["alert"] for rule in ALERTS}


@needs_promtool
@pytest.mark.parametrize(
    "arguments", [("test", "rules", "alerts-test.yml"), ("check", "config", "prometheus.yml")], ids=" ".join
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried() -> None:
    tried = yaml.safe_load((PROMETHEUS / "alerts-test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tried for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in ALERTS}


@needs_promtool
def test_promtool_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression) in enumerate(_expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
