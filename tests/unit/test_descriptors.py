"""The table of descriptors, which the kernel must not have to enlarge in the middle of a burst."""

import subprocess
import sys

import pytest

from fastprice.server.descriptors import LARGE_TABLE

SCRIPT = """
import os, resource
from pathlib import Path
from fastprice.server.descriptors import grow_table

resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
before = os.listdir("/proc/self/fd")
grow_table()
assert os.listdir("/proc/self/fd") == before
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "FDSize" in line))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the size of the table")
@pytest.mark.parametrize("limit", [256, 1024, 20_000])
def test_the_table_is_as_large_as_the_limit_or_large_at_once(limit: int) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT.format(limit=limit)], capture_output=True, text=True, check=True)
    assert int(ran.stdout) >= min(limit, LARGE_TABLE)
