"""One worker process: uvicorn on uvloop and httptools, with settings that uvicorn's own worker class does not make."""

import itertools
import logging
import logging.config
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

# uvicorn would import these in each worker; imported before the fork, they are in memory that the workers share.
import uvicorn.lifespan.on
import uvicorn.loops.uvloop  # noqa: F401
from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker

from fastprice.server.acceptor import AcceptingServer
from fastprice.server.held_signals import release_signals
from fastprice.server.lane_http import LaneProtocol
from fastprice.server.siblings import Siblings

logger = logging.getLogger("fastprice")

RESTART_SECONDS = 1.0
# The time a worker has, after the last answer is sent, to release its claims and to write its counts.
DRAIN_MARGIN_SECONDS = 2
# uvicorn sends a heartbeat when this many seconds of the wall clock have passed since the last one. A clock that is set
# back would stop them, and the master would kill every worker. So any difference is enough: one heartbeat each second.
NOTIFY_SECONDS = -math.inf
# How much the kernel keeps of a client's requests and of its answers; by default it would keep megabytes of each.
SOCKET_BUFFERS = {socket.SO_RCVBUF: 32 * 1024, socket.SO_SNDBUF: 128 * 1024}


class FastpriceWorker(UvicornWorker):
    """A gunicorn worker whose application is a factory: it is built after the fork, in the process that serves it."""

    CONFIG_KWARGS: dict[str, Any] = {
        "loop": "uvloop",
        "http": LaneProtocol,
        "ws": "none",
        "lifespan": "on",
        "factory": True,
        "server_header": False,
        "date_header": False,
        "timeout_notify": NOTIFY_SECONDS,
        "proxy_headers": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slot = 0  # Given before the fork.
        self._siblings: Siblings | None = None
        # The parent class has given uvicorn's loggers gunicorn's handlers and levels; this sets our own.
        logging.config.dictConfig(self.cfg.logconfig_dict)
        # Otherwise uvicorn would wait for its connections forever, and gunicorn would kill it in the middle of answers.
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout - DRAIN_MARGIN_SECONDS
        # The master compares this file's time with the monotonic clock; a new file has the time of the wall clock.
        self.notify()

    def call_first(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` at the start of `run`: a gunicorn hook that fails would stop all workers."""
        self._prepare = prepare

    def join(self, siblings: Siblings) -> None:
        """Share new connections with these workers."""
        self._siblings = siblings

    def init_signals(self) -> None:
        """Replace the master's handlers: until uvicorn has installed its own, a signal ends the worker at once."""
        super().init_signals()
        signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))  # By default it would leave a core dump.
        release_signals()

    def run(self) -> None:
        """Serve until told to stop, and exit without returning to the master's stack, whose clean-up is the master's.

        gunicorn stops everything when it sees the exit code of a failed start. One worker that cannot start must not
        stop those that can, so it exits with another code, and not too often.
        """
        code = 1
        try:
            self._prepare()
            for listener, (option, size) in itertools.product(self.sockets, SOCKET_BUFFERS.items()):
                listener.setsockopt(socket.SOL_SOCKET, option, size)  # Each of its connections inherits it.
            super().run()
            code = 0
        except SystemExit as stop:
            code = 1 if stop.code else 0
        except Exception:
            logger.exception("a defect ended this worker")
        finally:
            if code:
                time.sleep(RESTART_SECONDS)
            logging.shutdown()
            os._exit(code)

    async def _serve(self) -> None:
        """What uvicorn's class does, but with an AcceptingServer."""
        self.config.app = partial(self.wsgi, self.slot)
        server = AcceptingServer(self.config, self.slot, self._siblings)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Turn SIGQUIT, which the master sends when it gets SIGINT, into SIGTERM, which uvicorn handles."""
        os.kill(os.getpid(), signal.SIGTERM)

    async def callback_notify(self) -> None:
        """Tell the master that the event loop runs; exit if the master is gone, or the port would stay taken."""
        await super().callback_notify()
        if os.getppid() != self.ppid:
            logger.error("the master process is gone: this worker leaves")
            os.kill(os.getpid(), signal.SIGTERM)
