"""The format and the levels of log lines, each in a process of its own: logging is set up once per process."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

SCRIPT = """
import logging, logging.config, sys
from fastprice.infrastructure.logging_setup import logging_config

logging.config.dictConfig(logging_config(sys.argv[1], sys.argv[2], sys.argv[3] == "1"))
logging.getLogger("uvicorn.access").info("uvicorn.access says info")
for name in "fastprice", "fastprice.application.refresh_loop", "uvicorn.error", "gunicorn.error":
    for level in logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR:
        logging.getLogger(name).log(level, "%s says %s", name, logging.getLevelName(level).lower())
try:
    raise RuntimeError("a defect\\nin two lines")
except RuntimeError:
    logging.getLogger("fastprice").exception("it \\"failed\\"\\n\\u00e9")
print(len(logging.getLogger("uvicorn.access").handlers))
"""


def lines(level: str = "info", style: str = "text", access: bool = False) -> list[str]:
    words = [sys.executable, "-c", SCRIPT, level, style, str(int(access))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=os.environ | {"TZ": "Asia/Tokyo"})
    assert done.stdout == f"{int(access)}\n"
    return done.stderr.splitlines()


def test_every_json_line_parses_and_has_the_documented_keys() -> None:
    records = [json.loads(line) for line in lines("debug", "json")]
    for record in records[:-1]:
        assert list(record) == ["time", "level", "logger", "message", "pid"]
        assert record["message"] == f"{record['logger']} says {record['level']}"
        assert record["time"].endswith("+00:00")
        assert datetime.fromisoformat(record["time"]).utcoffset() == timedelta(0)
        assert isinstance(record["pid"], int)
    assert list(records[-1]) == ["time", "level", "logger", "message", "pid", "error"]
    assert records[-1]["message"] == 'it "failed"\né'
    assert records[-1]["error"].startswith("Traceback") and "RuntimeError: a defect\nin two lines" in records[-1]["error"]


def test_a_text_line_has_its_time_its_level_and_its_message() -> None:
    first = lines()[0].split()
    assert [len(part) for part in first[:2]] == [10, 12] and first[2:] == ["INFO", "fastprice", "says", "info"]


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", ["debug", "info", "warning", "error"]), ("info", ["info", "warning", "error"]),
     ("warning", ["warning", "error"]), ("error", ["error"])],
)
def test_our_own_lines_are_heard_from_the_set_level_on(level: str, heard: list[str]) -> None:
    said = [json.loads(line) for line in lines(level, "json")[:-1]]
    for name in "fastprice", "fastprice.application.refresh_loop":
        assert [record["level"] for record in said if record["logger"] == name and "says" in record["message"]] == heard


@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_servers_chatter_is_heard_in_debug_only(level: str) -> None:
    said = [json.loads(line) for line in lines(level, "json")]
    for name in "uvicorn.error", "gunicorn.error":
        assert ("info" in [record["level"] for record in said if record["logger"] == name]) is (level == "debug")


@pytest.mark.parametrize("access", [False, True])
def test_the_access_log_is_heard_only_when_asked_for(access: bool) -> None:
    assert any("uvicorn.access says info" in line for line in lines(access=access)) is access
