"""What a measurement ran on: processor, system, versions; and what may disturb it."""

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
from pathlib import Path

from bench.processes import CORES

PACKAGES = ("fastprice", "uvicorn", "uvloop", "httptools", "starlette", "gunicorn", "redis", "fastapi", "pydantic",
            "granian", "requests", "sse-starlette")  # fmt: skip
PROGRAMS = {
    "nginx": ("nginx", "-v"), "varnish": ("varnishd", "-V"), "wrk": ("wrk", "-v"), "ab": ("ab", "-V"),
    "cc": ("cc", "--version"), "node": ("node", "--version"), "redis-server": ("redis-server", "--version"),
}  # fmt: skip
QUIET_LOAD = 0.3
# The files that a process needs beside its connections.
SPARE_FILES = 200


def facts() -> dict[str, str]:
    """The machine in words."""
    return {
        "processor": _processor(),
        "cores": str(len(CORES)),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GB",
        "system": f"{platform.system()} {_number(platform.release())}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    """The versions of all programs that take part and are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, words in PROGRAMS.items():
        if shutil.which(words[0]):
            done = subprocess.run(words, capture_output=True, text=True)
            found[name] = _number(done.stdout + done.stderr)
    return found


def disturbance() -> str | None:
    """A warning if the figures would not be worth keeping."""
    if len(CORES) < 2:
        return "only one core: servers and the load generator share it, so compare ratios only"
    load = os.getloadavg()[0]
    return f"the machine is busy (load {load:.2f}): figures will be too high" if load > QUIET_LOAD else None


def raise_open_files() -> int:
    """Raise the limit of file descriptors as far as the system allows; children inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    named = re.search(r"model name\s*: (.+)", text)
    return named[1].strip() if named else platform.machine()


def _number(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else "unknown"
