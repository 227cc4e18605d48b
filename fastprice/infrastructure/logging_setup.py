"""How log lines look: text for people, JSON for collectors; set up once per process, before anything logs."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

# The log level of each library outside debug: uvicorn warns of every bad request, and any stranger can send one.
CHATTER = {"gunicorn.error": "WARNING", "uvicorn.error": "ERROR", "asyncio": "WARNING"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, `pid`, and `error` if any."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def logging_config(level: str, style: str, access_log: bool) -> dict[str, Any]:
    """A dictConfig for our own lines at `level`; gunicorn's and uvicorn's chatter only in debug."""
    formatter = {"()": JsonFormatter} if style == "json" else {"format": "%(asctime)s %(levelname)-7s %(message)s"}
    debug, own = level == "debug", {"handlers": ["stderr"], "propagate": False}
    # uvicorn checks the handlers, and formats no access line if there are none.
    access = own | {"handlers": ["stderr"] if access_log else [], "level": "INFO"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "fastprice": {"level": level.upper()},
            **{name: own | {"level": "DEBUG" if debug else least} for name, least in CHATTER.items()},
            "uvicorn.access": access,
            "gunicorn.access": access,
        },
    }
