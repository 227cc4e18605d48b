"""One worker process: uvicorn on uvloop and httptools, told what gunicorn's own worker class does not tell it."""

import logging.config
import sys
import time
from typing import Any

from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker

RESTART_SECONDS = 1.0


class FastpriceWorker(UvicornWorker):
    """A gunicorn worker whose application is a factory: it is built after the fork, in the process that serves it."""

    CONFIG_KWARGS: dict[str, Any] = {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "factory": True,
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The parent has given uvicorn's loggers gunicorn's handlers and levels; ours are meant.
        logging.config.dictConfig(self.cfg.logconfig_dict)
        # Without this uvicorn would wait for its connections for ever, and gunicorn kill it in the middle of answers.
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout

    def run(self) -> None:
        """Serve until told to stop.

        The exit code of a failed start is the one at which gunicorn stops everything; one worker that cannot start
        must not stop those that can, so it leaves with another code, and not too often.
        """
        try:
            super().run()
        except SystemExit as stop:
            if stop.code != Arbiter.WORKER_BOOT_ERROR:
                raise
            time.sleep(RESTART_SECONDS)
            sys.exit(1)
