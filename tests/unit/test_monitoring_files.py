"""The monitoring files: rules that fire, a dashboard that uses only existing metrics, a runbook per alert."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastprice.infrastructure.prometheus import Metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docker/prometheus/rules"
BOARD = json.loads((ROOT / "docker/grafana/dashboards/fastprice.json").read_text())
PAGE = "https://github.com/fastprice/fastprice/blob/HEAD/docs/runbooks.md"
# Metrics that are not from fastprice: Prometheus' own, and those of the exporters.
OTHERS = {
    "up", "ALERTS", "kube_deployment_spec_replicas", "redis_memory_used_bytes", "redis_memory_max_bytes",
    "nginx_connections_active", "nginx_up",
}  # fmt: skip
WORDS = {"and", "or", "unless", "bool"}


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for file in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


ALERTS = rules("alert")
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def promtool(*words: str | Path) -> str:
    program = shutil.which("promtool", path=PATH)
    assert program, "promtool is missing: `make prometheus` fetches it"
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def named(expression: str) -> set[str]:
    """The metrics of an expression: its words except labels, functions and operators."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", re.sub(r'"[^"]*"', "", expression))
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?![\w:]|\s*\()", bare)) - WORDS


def exposed() -> set[str]:
    kinds = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + end for family in Metrics("1").registry.collect() for end in kinds[family.type]}


def test_prometheus_takes_its_configuration_and_every_rule() -> None:
    assert "SUCCESS: 2 rule files found" in promtool("check", "config", ROOT / "docker/prometheus/prometheus.yml")


@pytest.mark.parametrize("webhook", ["", "https://hooks.example/T0/B0?token=a&b=%20#c"])
def test_alertmanager_takes_what_it_is_started_with(tmp_path: Path, webhook: str) -> None:
    program = tmp_path / "alertmanager"
    program.write_text('#!/bin/sh\nexec amtool check-config "${1#--config.file=}"\n')
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}{os.pathsep}{PATH}", "ALERTMANAGER_RUN": str(tmp_path), "ALERT_WEBHOOK": webhook}
    done = subprocess.run(["sh", ROOT / "docker/alertmanager/start.sh"], env=environ, capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr
    config = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())
    assert [hook["url"] for hook in config["receivers"][0].get("webhook_configs", ())] == ([webhook] if webhook else [])
    named = {name for rule in config["inhibit_rules"] for text in rule.values() for name in re.findall(r"\b[A-Z]\w+", str(text))}
    assert named and named <= {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("name", ["alerts", "long"])
def test_the_rules_fire_and_keep_silent_as_their_tests_say(name: str) -> None:
    assert "SUCCESS" in promtool("test", "rules", ROOT / f"tests/rules/{name}.yml")


@pytest.mark.parametrize("alert", sorted({alert["alert"] for alert in ALERTS}))
def test_every_alert_is_seen_to_fire_and_to_keep_silent(alert: str) -> None:
    files = [yaml.safe_load(file.read_text()) for file in (ROOT / "tests/rules").glob("*.yml")]
    checks = [check for file in files for test in file["tests"] for check in test.get("alert_rule_test", ())]
    assert {bool(check.get("exp_alerts")) for check in checks if check["alertname"] == alert} == {True, False}


def test_every_alert_says_what_to_do_and_every_runbook_has_its_alert() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.M)
    assert sorted(headings) == sorted({alert["alert"] for alert in ALERTS})
    for alert in ALERTS:
        page = f"{{{{ with $externalLabels.runbooks }}}}{{{{ . }}}}{{{{ else }}}}{PAGE}{{{{ end }}}}"
        assert alert["annotations"]["runbook_url"] == f"{page}#{alert['alert'].lower()}"
        assert alert["annotations"]["summary"] and alert["annotations"]["description"]
        assert alert["labels"]["severity"] in ("page", "ticket") and alert["labels"]["service"] == "fastprice"


def test_every_name_is_one_that_the_service_the_rules_or_the_exporters_have() -> None:
    known = exposed() | {rule["record"] for rule in rules("record")} | OTHERS
    for expression in (*EXPRESSIONS, *(rule["expr"] for rule in (*ALERTS, *rules("record")))):
        assert named(expression), expression
        assert named(expression) <= known, expression


def test_what_is_recorded_is_used() -> None:
    used = {name for text in (*EXPRESSIONS, *(r["expr"] for r in (*ALERTS, *rules("record")))) for name in named(text)}
    assert {rule["record"] for rule in rules("record")} <= used
    assert OTHERS <= used


def test_every_sum_and_every_join_keeps_clusters_and_namespaces_apart() -> None:
    for rule in (*ALERTS, *rules("record")):
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
            assert labels.startswith("cluster, namespace") or not labels, rule
    assert [rule.get("record") for rule in rules("record") if "on ()" in rule["expr"]] == ["job:fastprice_replicas_up:sum"]


def test_replicas_that_went_together_with_prometheus_are_forgotten_before_they_are_told_of() -> None:
    command = yaml.safe_load((ROOT / "docker-compose.scale.yml").read_text())["services"]["prometheus"]["command"]
    lookback, = (word.partition("=")[2] for word in command if "lookback" in word)
    told, = (alert["for"] for alert in ALERTS if alert["alert"] == "SeveralCallers")
    assert (lookback, told) == ("1m", "2m")


def test_a_name_that_nobody_has_would_be_found() -> None:
    assert named('sum by (job) (rate(a_total{x="y"}[5m])) / on (job) group_left () b:c:d > bool 0 or up') == {
        "a_total", "b:c:d", "up",
    }  # fmt: skip


def test_every_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    records = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(EXPRESSIONS)]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": records}]}))
    assert f"{len(EXPRESSIONS)} rules found" in promtool("check", "rules", file)


def uids(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "datasource" in node:
            yield node["datasource"]["uid"]
        for value in node.values():
            yield from uids(value)
    elif isinstance(node, list):
        for value in node:
            yield from uids(value)


def test_the_dashboard_asks_the_source_that_is_chosen_and_is_where_grafana_looks() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "cluster", "namespace", "job", "runbooks"]
    assert variables["datasource"]["type"] == "datasource"
    assert set(uids([BOARD["panels"], list(variables.values())])) == {"${datasource}"}
    provisioning = ROOT / "docker/grafana/provisioning"
    source, = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == variables["datasource"]["query"]
    provider, = yaml.safe_load((provisioning / "dashboards/fastprice.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_nothing_of_others_is_shown_whatever_else_prometheus_has() -> None:
    place = 'cluster=~"$cluster", namespace=~"$namespace"'
    # Metrics that any team may have are limited to the clusters and namespaces where fastprice is, up or down.
    joined = f' and on (cluster, namespace) up{{{place}, job=~"$job"}}'
    of_jobs = {"up": ', job=~"$job|edge|nginx|redis"', "ALERTS": ', service="fastprice"'}
    for expression in EXPRESSIONS:
        chosen = expression.removesuffix(joined)
        for name in named(chosen):
            assert name not in OTHERS - {"ALERTS"} or chosen != expression, (name, expression)
            wanted = place + of_jobs.get(name, "" if name in OTHERS else ', job=~"$job"')
            for after in re.findall(rf"(?<![\w:\"]){name}(?![\w:])(.*)", chosen):
                assert after.startswith("{" + wanted), (name, expression)
    names = {name for name in OTHERS if name.startswith("kube_")}
    assert not names & {name for expression in EXPRESSIONS for name in named(expression)}


def test_series_of_several_clusters_are_told_apart() -> None:
    for target in (target for panel in PANELS for target in panel["targets"]):
        # A sum over everything that is selected has no single cluster.
        summed = re.match(r"(\w+ by \([^)]*\) |\w+)\(", target["expr"])
        if not summed or "cluster" in summed[0]:
            assert target["legendFormat"].endswith(" {{namespace}} {{cluster}}"), target


def test_links_of_the_dashboard_lead_to_runbooks_that_are_there() -> None:
    page, = (variable for variable in BOARD["templating"]["list"] if variable["name"] == "runbooks")
    assert page["type"] == "constant" and page["query"] == page["current"]["value"] == PAGE
    links = [link["url"] for thing in (BOARD, *PANELS) for link in thing.get("links", ())]
    pages = {"${runbooks}", *(f"${{runbooks}}#{alert['alert'].lower()}" for alert in ALERTS)}
    assert len(links) > 10 and set(links) <= pages


def test_panels_are_told_apart_explained_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    titles = [panel["title"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids) and len(set(titles)) == len(titles)
    assert all(panel["description"] and panel["targets"] for panel in PANELS)
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, two in combinations(places, 2):
        beside = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"], (one, two)
