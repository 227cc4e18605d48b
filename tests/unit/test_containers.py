"""What the container files promise, checked without a container engine: hardening, limits, which ports are open."""

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastprice.interface.streams import SILENCE_SECONDS
from fastprice.server.careful_http import UNREAD_SECONDS
from fastprice.settings import Settings
from tests.integration.test_readme import Spy

ROOT = Path(__file__).parents[2]
COMPOSE = ("docker-compose.yml", "docker-compose.dev.yml", "docker-compose.scale.yml")
# These images have no program that could check their health.
WITHOUT_HEALTH = {"redis-exporter", "nginx-exporter"}
# Settings that only the container's own file sets.
NOT_PASSED = {"HOST", "PORT", "STORE_DIR"}


def merged(base: Any, over: Any) -> Any:
    """As compose's `extends` does it with these files: mappings are merged, any other value replaces the old one."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: merged(base[key], value) if key in base else value for key, value in over.items()}
    return over


def service(file: Path, name: str) -> dict[str, Any]:
    own: dict[str, Any] = yaml.safe_load(file.read_text())["services"][name]
    if (origin := own.pop("extends", None)) is None:
        return own
    base = service(ROOT / origin["file"] if "file" in origin else file, origin["service"])
    whole: dict[str, Any] = merged(base, own)
    return whole


def services(file: str) -> dict[str, dict[str, Any]]:
    return {name: service(ROOT / file, name) for name in yaml.safe_load((ROOT / file).read_text())["services"]}


EVERY = [pytest.param(file, name, id=f"{file}-{name}") for file in COMPOSE for name in services(file)]


@pytest.mark.parametrize(("file", "name"), EVERY)
def test_every_container_is_hardened_and_limited(file: str, name: str) -> None:
    one = services(file)[name]
    assert one["read_only"] is True and one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & one.keys()
    assert one["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert one["logging"]["options"].keys() == {"max-size", "max-file"} and one["restart"] == "unless-stopped"
    assert ("healthcheck" in one) is (name not in WITHOUT_HEALTH)
    assert "build" in one or not one["user"].startswith("0")
    assert all("docker.sock" not in volume for volume in one.get("volumes", ()))
    assert "build" in one or re.search(r":v?[0-9]", one["image"]), "an image of others has a version"


@pytest.mark.parametrize("file", COMPOSE)
def test_only_the_service_itself_is_open_to_other_machines(file: str) -> None:
    ports = {name: one.get("ports", []) for name, one in services(file).items()}
    public = {name for name, given in ports.items() for port in given if port == "${PORT:-8000}:8000"}
    assert public == {"nginx" if "scale" in file else "app"}
    others = [port for name, given in ports.items() if name not in public for port in given]
    assert all(port.startswith(("127.0.0.1:", "${MONITORING_HOST:-127.0.0.1}:")) for port in others)


@pytest.mark.parametrize("file", COMPOSE)
def test_redis_keeps_nothing_evicts_nothing_and_is_reached_by_nobody_else(file: str) -> None:
    redis = services(file)["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    assert (options["--maxmemory"], options["--maxmemory-policy"]) == ("64mb", "noeviction")
    assert "ports" not in redis and redis["networks"] == ["store"]
    assert yaml.safe_load((ROOT / file).read_text())["networks"]["store"] == {"internal": True}


@pytest.mark.parametrize("file", COMPOSE)
def test_every_setting_can_be_given_from_outside(file: str) -> None:
    spy = Spy()
    settings = Settings.from_env(spy)
    app = services(file)["app"]
    assert set(app["environment"]) == set(spy.asked) - NOT_PASSED
    grace = re.fullmatch(r"\$\{STOP_GRACE:-([0-9]+)s\}", app["stop_grace_period"])
    assert grace and int(grace[1]) > settings.graceful_timeout + 2


def test_nginx_has_as_much_patience_with_streams_as_the_service() -> None:
    everything = (ROOT / "docker/nginx/nginx.conf").read_text()
    streams = (ROOT / "docker/nginx/stream.conf").read_text()

    def seconds(name: str, text: str) -> int:
        found = re.search(rf"^ *{name} (\d+)s;$", text, re.M)
        assert found, name
        return int(found[1])

    assert seconds("proxy_read_timeout", streams) >= 2 * SILENCE_SECONDS, "one comment may be late"
    assert seconds("send_timeout", streams) >= UNREAD_SECONDS, "the replica counts who reads nothing"
    grace = services("docker-compose.scale.yml")["nginx"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > seconds("worker_shutdown_timeout", everything)


def test_every_variable_of_nginx_is_documented() -> None:
    table = re.findall(r"^\| (`[A-Z].*?) \| ", (ROOT / "docs/operations.md").read_text(), re.M)
    for file in "docker-compose.scale.yml", "docker/tls.yml":
        nginx = json.dumps(yaml.safe_load((ROOT / file).read_text())["services"]["nginx"])
        for name in re.findall(r"\$\{(\w+)", nginx):
            assert any(f"`{name}`" in cell for cell in table), name


@pytest.mark.parametrize("file", [*COMPOSE, "docker/common.yml", "docker/tls.yml"])
def test_compose_files_hold_to_the_schema(file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_has_good_manners() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run([program, "--format", "json", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert json.loads(done.stdout) == []


def test_image_runs_as_nobody_from_locked_parts_and_the_default_one_serves() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last = text.split("\nFROM ")[-1]
    assert last.startswith("runtime\n") and 'CMD ["serve"]' in last
    user = re.search(r"^USER (\d+):(\d+)$", text, re.M)
    assert user and "0" not in user.groups()
    assert "--require-hashes" in text and "--only-binary :all:" in text
    assert not re.search(r"^(CMD|ENTRYPOINT) [^\[]", text, re.M), "signals reach the service, and no shell"


def test_image_is_built_from_nothing_but_what_it_needs() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert rules[0] == "*" and allowed == {path for line in copied for path in line.split()}


def test_what_is_installed_has_every_file_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    package = ROOT / "fastprice"
    data = {str(path.relative_to(package)) for path in package.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert data == set(setup["options.package_data"]["fastprice"].split())


def test_the_simulated_exchange_and_the_service_get_the_same_pairs() -> None:
    services = yaml.safe_load((ROOT / "docker/common.yml").read_text())["services"]
    assert "--pairs" not in services["market"]["command"]
    for name in "app", "market":
        environment = services[name]["environment"]
        assert "PAIRS" in environment and environment["PAIRS"] is None, "as it is set where compose runs"
