"""Several replicas as monitoring sees them: their own metrics, and what a real Prometheus makes of them."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from prometheus_client.parser import text_string_to_metric_families

from fastprice.market import Market
from tests.conftest import RedisServer, free_port, wait_for_port
from tests.nginx import fronted
from tests.service import PATIENCE, PRICE, Service, polling, running

pytestmark = pytest.mark.anyio

DOCKER = Path(__file__).parents[2] / "docker"
LIVENESS, READINESS = "/health/liveness", "/health/readiness"
# The exporters are not run here.
EXPORTERS = ("redis_", "nginx_")


async def living(*services: Service) -> Counter[str]:
    """Over all replicas: the workers by store, and the number of leaders under `leaders`."""
    seen: Counter[str] = Counter()
    for service in services:
        text = (await service.get("/metrics")).body.decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "fastprice_workers":
                    seen[sample.labels["store"]] += int(sample.value)
                if sample.name == "fastprice_leaders":
                    seen["leaders"] += int(sample.value)
    return +seen


async def until_living(wanted: dict[str, int], *services: Service) -> None:
    seen = None
    for _ in polling():
        if (seen := await living(*services)) == wanted:
            return
    raise AssertionError(f"never were there {wanted}, at last {seen}")


async def test_metrics_tell_who_lives_who_asks_and_over_which_store(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    environ: dict[str, Any] = {"REDIS_URL": redis_server.url, "BREAKER_RESET": 60}
    async with running(market, tmp_path / "a", **environ) as one, running(market, tmp_path / "b", **environ) as two:
        await until_living({"redis": 4, "leaders": 1}, one, two)
        redis_server.stop()
        await until_living({"embedded": 4, "leaders": 2}, one, two)
        redis_server.start()
        await until_living({"redis": 4, "leaders": 1}, one, two)
        for pid in (before := await one.until_workers(2)):
            os.kill(pid, signal.SIGKILL)
        await one.until_workers(2, without=frozenset(before))
        await until_living({"redis": 4, "leaders": 1}, one, two)
        one.process.send_signal(signal.SIGTTOU)  # gunicorn: one worker fewer.
        await until_living({"redis": 3, "leaders": 1}, one, two)
        await one.stop()
        await until_living({"redis": 2, "leaders": 1}, two)


def memory(text: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("fastprice_memory_bytes "))


async def test_starts_processor_time_memory_and_room_for_subscribers_are_those_of_all_workers(
    market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, MAX_SUBSCRIBERS=7) as service:
        async def seen() -> dict[str, float]:
            families = text_string_to_metric_families((await service.get("/metrics")).body.decode())
            return {sample.name: sample.value for family in families for sample in family.samples}

        async def until(starts: int) -> dict[str, float]:
            for _ in polling():
                now = await seen()
                if now["fastprice_worker_starts_total"] == starts and now["fastprice_stream_subscribers_limit"] == 14:
                    return now
                await asyncio.sleep(0.05)
            raise AssertionError(now)

        before = await until(2)
        os.kill((await service.until_workers(2))[0], signal.SIGKILL)
        after = await until(3)
        assert after["fastprice_cpu_seconds_total"] >= before["fastprice_cpu_seconds_total"] > 0
        assert 0 < after["fastprice_cpu_cores"] <= 2
        await service.until_answer(lambda answer: memory(answer.body.decode()) > 1 << 20, "/metrics")


async def test_monitoring_has_a_port_of_its_own_where_one_is_set(market: Market, tmp_path: Path) -> None:
    number = free_port()
    async with running(market, tmp_path, METRICS_PORT=number) as service:
        own = Service(service.process, number, service.session)
        await own.until(200, READINESS)
        assert {answer.status for answer in await own.from_many_workers(8, "/metrics")} == {200}
        for path in (PRICE, "/api/", "/", "/api/v1/prices/eth-usdt/stream", "/docs"):
            assert (await own.get(path)).status == 404, path
        for path in ("/metrics", READINESS, f"{READINESS}?strict=1"):
            answers = await service.from_many_workers(8, path)
            assert {(answer.status, answer.json["code"]) for answer in answers} == {(404, "not_found")}, path
        assert (await service.get()).status == (await service.get(LIVENESS)).status == (await own.get(LIVENESS)).status == 200
        assert not {"metrics", "readiness"} & (await service.get("/api/")).json.keys()
        assert not {"/metrics", READINESS} & (await service.get("/openapi.json")).json["paths"].keys()
        line = await service.until_logged("is for monitoring")
        assert f"http://127.0.0.1:{service.port} (http://127.0.0.1:{number} is for monitoring)" in line
        health = [sys.executable, str(DOCKER / "health.py"), READINESS]
        environ = {"METRICS_PORT": str(number), "PORT": str(service.port)}
        asker = await asyncio.create_subprocess_exec(*health, env=environ)
        assert await asker.wait() == 0
        assert await service.stop() == 0


async def test_what_was_learned_on_one_port_is_not_answered_on_the_other(market: Market, tmp_path: Path) -> None:
    number = free_port()
    async with running(market, tmp_path, METRICS_PORT=number, WORKERS=1) as service:
        own = Service(service.process, number, service.session)
        await own.until(200, READINESS)
        asked_twice = [said(port, READINESS) for port in (number, number, service.port, service.port)]
        assert [await answer for answer in asked_twice] == [b"200", b"200", b"404", b"404"]
        assert [await said(port, PRICE) for port in (service.port, service.port, number)] == [b"200", b"200", b"404"]


async def said(port: int, path: str) -> bytes:
    """The status of the answer to a request whose bytes are the same on any port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: fastprice\r\n\r\n".encode())
    status = (await reader.readline()).split()[1]
    writer.close()
    return status


@contextlib.contextmanager
def prometheus(directory: Path, *services: Service, edge: int = 0, alerts: int = 0) -> Iterator[str]:
    """A real Prometheus with the rules of the repository, a free port and shorter intervals; `edge` and `alerts` are
    the ports of nginx and Alertmanager."""
    program = shutil.which("prometheus", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert program, "prometheus is missing: `make prometheus` fetches it"
    config = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    config["global"] |= dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    config["alerting"]["alertmanagers"] = [{"static_configs": aimed_at(*([alerts] if alerts else []))}]
    config["rule_files"] = [str(DOCKER / "prometheus/rules/*.yml")]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    replicas = {"job_name": "fastprice", "static_configs": aimed_at(*(service.port for service in services))}
    config["scrape_configs"] = [replicas, *([jobs["edge"] | {"static_configs": aimed_at(edge)}] if edge else [])]
    file, port = directory / "prometheus.yml", free_port()
    file.write_text(json.dumps(config))
    words = [f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    # The container's newer version does this by default.
    words += ["--log.level=error", "--enable-feature=expand-external-labels"]
    process = subprocess.Popen([program, *words], env={**os.environ, "RUNBOOKS_URL": "http://wiki.test/runbooks"})
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def aimed_at(*ports: int) -> list[dict[str, list[str]]]:
    return [{"targets": [f"127.0.0.1:{port}" for port in ports]}]


async def asked(session: aiohttp.ClientSession, url: str, **parameters: str) -> Any:
    async with session.get(url, params=parameters) as response:
        return (await response.json())["data"]


async def test_a_real_prometheus_evaluates_every_rule_and_every_panel_has_data(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    panels = json.loads((DOCKER / "grafana/dashboards/fastprice.json").read_text())["panels"]
    # As if "All" were selected in each variable.
    chosen = {re.sub(r"\$\w+", ".*", target["expr"]) for panel in panels for target in panel.get("targets", ())}
    waiting = {text for text in chosen if not text.startswith(EXPORTERS)}
    assert len(waiting) > 25
    environ: dict[str, Any] = {"REDIS_URL": redis_server.url, "CROSS_CHECK_INTERVAL": 1, "STREAMS": 1}
    async with running(market, tmp_path / "a", **environ) as one, running(market, tmp_path / "b", **environ) as two:
        with prometheus(tmp_path, one, two) as url:
            for _ in polling():
                await one.from_many_workers(4)
                for text in list(waiting):
                    with contextlib.suppress(aiohttp.ClientError, KeyError):
                        if (await asked(one.session, f"{url}/query", query=text))["result"]:
                            waiting.discard(text)
                groups = (await asked(one.session, f"{url}/rules"))["groups"]
                health = Counter(rule["health"] for group in groups for rule in group["rules"])
                if not waiting and set(health) == {"ok"}:
                    break
                await asyncio.sleep(0.5)
            assert not waiting and set(health) == {"ok"}, (waiting, health)
            age, = (await asked(one.session, f"{url}/query", query="symbol:fastprice_price_age_seconds:max"))["result"]
            assert 0 <= float(age["value"][1]) < PATIENCE


async def test_prometheus_sees_through_nginx_that_a_replica_is_reached_and_when_nginx_is_gone(
    market: Market, tmp_path: Path
) -> None:
    (tmp_path / "front").mkdir()
    async with running(market, tmp_path) as service:
        async with fronted(tmp_path / "front", 0, REPLICAS=f"127.0.0.1:{service.port}") as front:
            with prometheus(tmp_path, edge=front.status_port) as url:
                await until_value(service.session, url, 'up{job="edge"}', "1")
                kept = await asked(service.session, f"{url}/query", query='count by (job) ({__name__=~"fastprice_.*"})')
                assert kept["result"] == []
                await service.stop()
                await until_value(service.session, url, 'up{job="edge"}', "0")
                front.process.terminate()
                await front.process.wait()
                await until_value(service.session, url, 'ALERTS{alertname="NginxDown"}', "1")


async def test_an_alert_is_sent_to_alertmanager_with_a_link_to_its_runbook(market: Market, tmp_path: Path) -> None:
    told: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(request: web.BaseRequest) -> web.Response:
        await told.put((request.path, await request.json()))
        return web.Response()

    async with running(market, tmp_path) as service, RawTestServer(hear) as alertmanager:
        with prometheus(tmp_path, service, alerts=alertmanager.port or 0):
            path, (alert, *others) = await asyncio.wait_for(told.get(), PATIENCE)
    assert path == "/api/v2/alerts" and not others
    assert alert["labels"].keys() == {"alertname", "job", "instance", "severity", "service"}
    assert alert["labels"]["alertname"] == "SimulatedPrices", "the only one that waits for nothing"
    assert alert["annotations"]["runbook_url"] == "http://wiki.test/runbooks#simulatedprices"


async def until_value(session: aiohttp.ClientSession, url: str, query: str, value: str) -> None:
    rows: Any = None
    for _ in polling():
        with contextlib.suppress(aiohttp.ClientError, KeyError):
            rows = (await asked(session, f"{url}/query", query=query))["result"]
            if [row["value"][1] for row in rows] == [value]:
                return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{query} never was {value}, at last {rows}")
