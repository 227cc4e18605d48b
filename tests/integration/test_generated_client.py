"""A client that openapi-python-client generates from /openapi.json handles every answer, and loses nothing of it."""

import asyncio
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from fastprice.market import Market
from tests.service import PATIENCE, Service, running

pytestmark = pytest.mark.anyio

PAIR = "eth-usdt"


async def generated(service: Service, directory: Path) -> ModuleType:
    """The package of a client, generated from the document of a running service."""
    (directory / "client.yml").write_text("post_hooks: []\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openapi_python_client", "generate", "--url", f"{service.url}/openapi.json",
        "--meta", "none", "--config", "client.yml", "--output-path", "made_client", "--fail-on-warning",
        cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, said.decode()
    return importlib.import_module("made_client")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory to import a client from; its modules are removed afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "made_client"]:
        del sys.modules[name]


def operations(package: ModuleType) -> dict[str, ModuleType]:
    """The module of each operation, by its operationId."""
    found = pkgutil.walk_packages(package.__path__, "made_client.")
    names = [each.name for each in found if each.name.startswith("made_client.api.") and not each.ispkg]
    return {name.rpartition(".")[2]: importlib.import_module(name) for name in names}


async def test_it_survives_every_answer_that_is_declared_and_what_really_comes(
    market: Market, directory: Path
) -> None:
    async with running(market, directory, WORKERS=1) as service:
        await service.until(200)
        package = await generated(service, directory)
        made, content = operations(package), (await service.get("/openapi.json")).json
        survive_the_examples(package, made, content)
        async with package.Client(base_url=service.url, raise_on_unexpected_status=True) as client:
            ask = Asking(made, client)
            await ask("price", 200, PAIR)
            await ask("price", 304, PAIR, if_none_match="*")
            await ask("price", 400, PAIR, max_age_ms=-1)
            await ask("price", 404, "no-pair")
            await ask("prices", 200)
            await ask("prices", 404, pairs="no-pair")
            for name in "sources", "recent":
                await ask(name, 200, PAIR)
                await ask(name, 404, "no-pair")
            for name in "index", "openapi", "liveness", "readiness", "metrics":
                await ask(name, 200)
            await ask("stream", 404, "no-pair")
            await ask("streams", 400, min_interval_ms=-1)
            market.set_fault("all", "error")
            await asyncio.sleep(0.1)  # The price must have an age.
            await ask("price", 412, PAIR, max_age_ms=1)
            await service.until(503)
            await ask("price", 503, PAIR)
            await ask("prices", 503)
            await ask("readiness", 503)


class Asking:
    """Calls the functions of a client, and compares what they parse with the body of the answer."""

    def __init__(self, made: dict[str, ModuleType], client: Any) -> None:
        self._made, self._client = made, client

    async def __call__(self, name: str, status: int, *arguments: str, **more: Any) -> None:
        answer = await self._made[name].asyncio_detailed(*arguments, client=self._client, **more)
        assert answer.status_code == status, name
        told = answer.parsed.to_dict() if hasattr(answer.parsed, "to_dict") else answer.parsed
        assert told == (None if status == 304 else answer.content.decode() if name == "metrics" else json.loads(answer.content))


def survive_the_examples(package: ModuleType, made: dict[str, ModuleType], content: dict[str, Any]) -> None:
    """Let the client parse the example of every answer, also of those that only nginx or a broken head causes."""
    client = package.Client(base_url="http://nowhere", raise_on_unexpected_status=True)
    for item in content["paths"].values():
        for status, entry in item["get"]["responses"].items():
            if "$ref" in entry:
                entry = content["components"]["responses"][entry["$ref"].rpartition("/")[2]]
            for media_type, told in entry.get("content", {}).items():
                example = told["example"]
                body = example if isinstance(example, str) else json.dumps(example)
                response = httpx.Response(int(status), text=body, headers={"Content-Type": media_type})
                parsed = made[item["get"]["operationId"]]._parse_response(client=client, response=response)
                assert (parsed.to_dict() if hasattr(parsed, "to_dict") else parsed) == example, (status, media_type)
