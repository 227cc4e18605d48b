"""The kustomize base: valid by the schemas of the Kubernetes API, and its parts fit each other."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fastprice.server.worker import DRAIN_MARGIN_SECONDS
from fastprice.settings import Settings

FOLDER = Path(__file__).parents[2] / "docker/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: dict[str, Any] = {
    thing["kind"]: thing for name in KUSTOMIZATION["resources"] for thing in [yaml.safe_load((FOLDER / name).read_text())]
}
LABELS = {"app.kubernetes.io/name": "fastprice"}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER, = POD["containers"]


def test_every_file_is_part_of_the_base() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}


@pytest.mark.parametrize("version", ["1.27", "1.32", "1.37"])
@pytest.mark.parametrize("kind", sorted(set(OBJECTS) - {"ServiceMonitor"}))
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
    endpoint, = monitor["spec"]["endpoints"]
    service, = OBJECTS["Service"]["spec"]["ports"]
    assert endpoint["port"] == service["name"] and endpoint["path"] == "/metrics"
    assert service["targetPort"] in {port["name"] for port in CONTAINER["ports"]}


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    assert POD["securityContext"]["runAsNonRoot"] and POD["securityContext"]["runAsUser"] > 0
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert POD["automountServiceAccountToken"] is False
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
    paths = {probe: CONTAINER[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": "/health/liveness", "livenessProbe": "/health/liveness", "readinessProbe": "/health/readiness",
    }  # fmt: skip
