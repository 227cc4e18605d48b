"""The rules of the house, checked on every source file: who may import whom, which names are allowed, how long."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastprice

ROOT = Path(fastprice.__file__).parent
# By name without "fastprice."; the package itself is "__init__".
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
    for path in sorted(ROOT.rglob("*.py"))
}
# Which parts of fastprice each part may import besides itself; a module of infrastructure knows none of its neighbours.
PORTS = ("application.ports", "application.events", "application.live_ports", "application.live_events")
OURS: dict[str, tuple[str, ...]] = {
    "domain": (),
    "application": ("domain",),
    "infrastructure": (
        "domain", *PORTS, "application.budget", "application.slices",
        "infrastructure.records", "infrastructure.quote_rows", "infrastructure.redis_url",
    ),
    "interface": ("domain", "application"),
    "server": ("interface",),
    "market": ("domain.quote",),
    "kinds": ("domain", "infrastructure.redis_url"),
    "settings": ("domain", "addresses", "kinds", "infrastructure.exchanges", "infrastructure.redis_url"),
    "engine": ("domain", "application", "infrastructure.circuit_breaker", "settings"),
    "bootstrap": ("",),
    "watch": ("",),
    "settings_table": ("settings", "infrastructure.exchanges"),
    "announcement": ("addresses", "settings", "settings_table", "infrastructure.state_log"),
    "cli": ("",),
    "__main__": ("cli",),
}
# Who may import packages that are neither fastprice nor the standard library: one client per module.
THIRD_PARTIES: dict[str, tuple[str, ...]] = {
    "infrastructure.exchanges.http": ("aiohttp", "yarl"),
    "infrastructure.exchanges.body": ("aiohttp",),
    "infrastructure.exchanges.connection": ("aiohttp",),
    "infrastructure.exchanges.handshake": ("aiohttp",),
    "infrastructure.exchanges.websocket": ("aiohttp", "yarl"),
    "infrastructure.exchanges.local_failures": ("aiohttp",),
    "infrastructure.redis_store": ("redis",),
    "infrastructure.circuit_breaker": ("aiobreaker",),
    "infrastructure.prometheus": ("prometheus_client",),
    "infrastructure.logging_setup": ("orjson",),
    "infrastructure.records": ("orjson",),
    "infrastructure.quote_rows": ("orjson",),
    "interface": ("starlette", "orjson"),
    "server": ("gunicorn", "uvicorn", "uvicorn_worker", "httptools", "starlette"),
    "market": ("aiohttp",),
    "bootstrap": ("starlette", "prometheus_client"),
    "cli": ("click",),
}
VAGUE = ("Manager", "Service", "Helper", "Helpers", "Util", "Utils", "Impl", "Base", "Abstract", "Interface", "Handler")
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 200, 40
LONG_MODULES = {
    "bootstrap": "everything is wired here",
    "infrastructure.exchanges.connection": "three tasks of one connection, which end together",
}


def imports(text: str) -> Iterator[str]:
    """Every module that a source text names, also inside functions; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def within(name: str, whole: str) -> bool:
    return not whole or name == whole or name.startswith(f"{whole}.")


def is_allowed(module: str, name: str) -> bool:
    top, _, rest = name.partition(".")
    layer = module.split(".")[0]
    if top in sys.stdlib_module_names:
        return True
    if top != "fastprice":
        return any(top in allowed for part, allowed in THIRD_PARTIES.items() if within(module, part))
    if rest == "__version__":
        return layer in ("bootstrap", "cli")
    own = ".".join(module.split(".")[:2]) if layer == "infrastructure" else layer
    return any(within(rest, whole) for whole in (own, *OURS.get(layer, ())))


def forbidden(module: str, text: str) -> list[str]:
    """The imports of a module that break the rules."""
    return [name for name in imports(text) if not is_allowed(module, name)]


def classes_and_functions(text: str) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def complaints(module: str, text: str) -> list[str]:
    """How a text breaks the rules of words and sizes."""
    found = [] if ast.get_docstring(ast.parse(text)) else [f"{module} has no docstring"]
    if (lines := len(text.splitlines())) > MAX_MODULE_LINES and module not in LONG_MODULES:
        found.append(f"{module} has {lines} lines")
    for node in classes_and_functions(text):
        name, length = f"{module}.{node.name}", (node.end_lineno or 0) - node.lineno + 1
        if isinstance(node, ast.ClassDef):
            if node.name.startswith(VAGUE) or node.name.endswith(VAGUE):
                found.append(f"{name} says nothing")
            if not node.name.startswith("_") and not ast.get_docstring(node):
                found.append(f"{name} has no docstring")
        elif length > MAX_FUNCTION_LINES:
            found.append(f"{name} has {length} lines")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_inwards(module: str) -> None:
    assert forbidden(module, MODULES[module]) == []


@pytest.mark.parametrize("module", MODULES)
def test_names_and_sizes_are_those_of_the_house(module: str) -> None:
    assert complaints(module, MODULES[module]) == []


def test_every_exception_from_the_rules_is_needed() -> None:
    short = {name for name in LONG_MODULES if len(MODULES[name].splitlines()) <= MAX_MODULE_LINES}
    assert not short
    used = {name.split(".")[0] for text in MODULES.values() for name in imports(text)}
    assert {party for parties in THIRD_PARTIES.values() for party in parties} <= used | {"uvicorn", "starlette"}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("domain.quote", "import orjson"), ("domain.quote", "from fastprice.application.ports import Clock"),
        ("application.retry", "from fastprice.infrastructure.clock import SystemClock"),
        ("application.retry", "from fastprice import settings"), ("application.retry", "import redis.asyncio"),
        ("infrastructure.redis_store", "from fastprice.infrastructure.sqlite_store import SqliteStore"),
        ("infrastructure.redis_store", "from fastprice.application.failover import Failover"),
        ("infrastructure.redis_store", "import aiohttp"), ("infrastructure.exchanges.okx", "import aiohttp"),
        ("infrastructure.exchanges.okx", "from fastprice.settings import Settings"),
        ("interface.app", "from fastprice.infrastructure import prometheus"),
        ("interface.app", "import prometheus_client"), ("server.worker", "from fastprice.application import ports"),
        ("market.app", "from fastprice.infrastructure.exchanges import EXCHANGES"),
        ("market.app", "from fastprice.domain.errors import SourceError"),
        ("settings", "from fastprice import bootstrap"), ("domain.quote", "from . import errors"),
        ("domain.quote", "def late():\n    import fastprice.application.ports"), ("__init__", "from fastprice import cli"),
    ],
)  # fmt: skip
def test_rule_of_imports_bites(module: str, line: str) -> None:
    assert forbidden(module, line)


def test_rules_of_words_and_sizes_bite() -> None:
    text = "class PriceManager:\n    pass\n\n\nclass BaseThing:\n    'Something.'\n\n\ndef long():\n" + "    x = 1\n" * 200
    assert complaints("domain.bad", text) == [
        "domain.bad has no docstring", "domain.bad has 209 lines", "domain.bad.PriceManager says nothing",
        "domain.bad.PriceManager has no docstring", "domain.bad.BaseThing says nothing",
        "domain.bad.long has 201 lines",
    ]  # fmt: skip
