"""The kustomize base: valid by the schemas of the Kubernetes API, and its parts fit each other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fastprice.infrastructure.prometheus import Metrics
from fastprice.server.worker import DRAIN_MARGIN_SECONDS
from fastprice.settings import Settings

FOLDER = Path(__file__).parents[2] / "docker/kubernetes"
COMPONENTS = sorted(path.name for path in (FOLDER / "components").iterdir())
LABELS = {"app.kubernetes.io/name": "fastprice"}


def built(folder: Path) -> dict[str, Any]:
    """What `kubectl apply -k` would send, by kind."""
    program = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert program
    done = subprocess.run([program, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    things = list(yaml.safe_load_all(done.stdout))
    objects = {thing["kind"]: thing for thing in things}
    assert len(objects) == len(things)
    return objects


def overlaid(folder: Path, **more: Any) -> dict[str, Any]:
    """The base with an overlay in this folder."""
    base = os.path.relpath(FOLDER, folder)
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [base]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kind | more))
    return built(folder)


OBJECTS = built(FOLDER)
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER, = POD["containers"]
# Their schemas are not part of Kubernetes itself.
OF_OTHERS = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}


def test_every_file_is_part_of_the_base() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    files = {file.name for file in FOLDER.iterdir() if file.is_file()}
    assert files == {"kustomization.yaml", "settings.env", *kustomization["resources"]}


def test_the_components_can_be_added_together_and_are_valid(tmp_path: Path) -> None:
    base = os.path.relpath(FOLDER, tmp_path)
    objects = overlaid(tmp_path, components=[f"{base}/components/{name}" for name in COMPONENTS])
    assert set(objects) - set(OBJECTS) == {"Ingress", "HTTPRoute"}
    for kind in sorted(set(objects) - OF_OTHERS):
        kubernetes_validate.validate(objects[kind], "1.32", strict=True)
    port = OBJECTS["Service"]["spec"]["ports"][0]
    assert port["name"] == "http"
    path, = objects["Ingress"]["spec"]["rules"][0]["http"]["paths"]
    backend, = objects["HTTPRoute"]["spec"]["rules"][0]["backendRefs"]
    assert path["backend"]["service"] == {"name": "fastprice", "port": {"name": "http"}}
    assert backend == {"name": "fastprice", "port": port["port"]}


def test_scaling_on_load_keeps_what_the_base_says_and_asks_for_metrics_that_are_documented(tmp_path: Path) -> None:
    base = os.path.relpath(FOLDER, tmp_path)
    before = OBJECTS["HorizontalPodAutoscaler"]["spec"]
    after = overlaid(tmp_path, components=[f"{base}/components/scale-on-load"])["HorizontalPodAutoscaler"]["spec"]
    assert after | {"metrics": before["metrics"]} == before and after["metrics"][0] == before["metrics"][0]
    adapter, = re.findall(r"```yaml\n( *rules:.*?)```", (FOLDER.parents[1] / "docs/kubernetes.md").read_text(), re.S)
    rules = yaml.safe_load(adapter)["rules"]
    assert {rule["name"]["as"] for rule in rules} == {metric["pods"]["metric"]["name"] for metric in after["metrics"][1:]}
    known = {family.name + ("_total" if family.type == "counter" else "") for family in Metrics("1").registry.collect()}
    assert {rule["seriesQuery"].partition("{")[0] for rule in rules} <= known


def test_a_changed_setting_rolls_the_pods(tmp_path: Path) -> None:
    def names(objects: dict[str, Any]) -> tuple[str, str]:
        container, = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
        return objects["ConfigMap"]["metadata"]["name"], container["envFrom"][0]["configMapRef"]["name"]

    merge = [{"name": "fastprice", "behavior": "merge", "literals": ["PAIRS=eth-usdt,btc-usdt"]}]
    changed = overlaid(tmp_path, configMapGenerator=merge)
    assert changed["ConfigMap"]["data"] == OBJECTS["ConfigMap"]["data"] | {"PAIRS": "eth-usdt,btc-usdt"}
    (old, asked), (new, asked_then) = names(OBJECTS), names(changed)
    assert old == asked and new == asked_then and old != new


def test_the_operators_rules_are_those_of_prometheus() -> None:
    rules = FOLDER.parent / "prometheus/rules"
    groups = [yaml.safe_load((rules / f"{name}.yml").read_text())["groups"] for name in ("recording", "alerts")]
    rule = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text())
    assert rule["spec"]["groups"] == sum(groups, []), "`make rules` writes them"


def test_pods_may_reach_redis_name_servers_and_exchanges_and_prometheus_reaches_their_metrics() -> None:
    policy = OBJECTS["NetworkPolicy"]["spec"]
    reached = [(rule["to"], {port["port"] for port in rule["ports"]}) for rule in policy["egress"]]
    assert ([{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "redis"}}}], {6379, 26379}) in reached
    assert any({"ipBlock": {"cidr": "169.254.20.10/32"}} in to and ports == {53} for to, ports in reached)
    (outside, _), = (to for to, ports in reached if ports == {443, 8443})
    # The private networks, and the shared address space that some clouds use for pods.
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"} <= set(outside["ipBlock"]["except"])
    public, metrics = policy["ingress"]
    assert public == {"ports": [{"port": "http", "protocol": "TCP"}]}
    assert metrics["from"] and metrics["ports"] == [{"port": "metrics", "protocol": "TCP"}]


@pytest.mark.parametrize("version", ["1.27", "1.32", "1.37"])
@pytest.mark.parametrize("kind", sorted(set(OBJECTS) - OF_OTHERS))
def test_manifests_are_valid_by_the_schemas_of_the_api(kind: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


def test_a_manifest_with_a_wrong_field_would_be_found() -> None:
    wrong = {**OBJECTS["Service"], "spec": {**OBJECTS["Service"]["spec"], "selectors": LABELS}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.32", strict=True)


def test_whoever_selects_pods_selects_ours() -> None:
    specs = {kind: thing.get("spec") for kind, thing in OBJECTS.items()}
    assert OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"] == LABELS
    assert OBJECTS["Service"]["metadata"]["labels"] == specs["Service"]["selector"] == LABELS
    for kind, field in ("Deployment", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"):
        assert specs[kind][field] == {"matchLabels": LABELS}
    assert all(spread["labelSelector"] == {"matchLabels": LABELS} for spread in POD["topologySpreadConstraints"])
    assert specs["HorizontalPodAutoscaler"]["scaleTargetRef"]["name"] == OBJECTS["Deployment"]["metadata"]["name"]


def test_the_monitor_finds_the_service_and_its_port() -> None:
    monitor = OBJECTS["ServiceMonitor"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"]["selector"] == {"matchLabels": LABELS}
    assert OBJECTS["Service"]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "fastprice", "as the rules expect"
    endpoint, = monitor["spec"]["endpoints"]
    ports = {port["name"]: port["targetPort"] for port in OBJECTS["Service"]["spec"]["ports"]}
    numbers = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {name: name for name in numbers}
    settings = Settings.from_env(OBJECTS["ConfigMap"]["data"])
    assert numbers == {"http": settings.port, "metrics": settings.metrics_port}
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    assert POD["securityContext"]["runAsNonRoot"] and POD["securityContext"]["runAsUser"] > 0
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    account = OBJECTS["ServiceAccount"]
    assert POD["serviceAccountName"] == account["metadata"]["name"]
    assert POD["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False
    assert all("emptyDir" in volume and volume["emptyDir"]["sizeLimit"] for volume in POD["volumes"])
    assert "/dev/shm" in {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}


def test_the_settings_are_ours_and_there_is_time_to_drain() -> None:
    data = OBJECTS["ConfigMap"]["data"]
    settings = Settings.from_env(data)
    assert (str(settings.workers), str(settings.graceful_timeout)) == (data["WORKERS"], data["GRACEFUL_TIMEOUT"])
    pause = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] > pause + settings.graceful_timeout + DRAIN_MARGIN_SECONDS
    assert CONTAINER["env"][0]["name"] == "REDIS_URL" and "optional" not in CONTAINER["env"][0]["valueFrom"]["secretKeyRef"]


def test_a_restart_is_not_asked_for_what_it_cannot_cure() -> None:
    asked = {probe: CONTAINER[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    alive = {"path": "/health/liveness", "port": "http"}
    assert asked == {
        "startupProbe": alive, "livenessProbe": alive, "readinessProbe": {"path": "/health/readiness", "port": "metrics"},
    }  # fmt: skip
