"""One worker process: uvicorn on uvloop and httptools, told what gunicorn's own worker class does not tell it."""

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

# What uvicorn would import in each worker by itself: imported before the fork, the workers share its memory.
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
# What a worker has, after the last answer is out, to give its claims back and to write its counts down.
DRAIN_MARGIN_SECONDS = 2
# uvicorn gives a sign of life when so many seconds of the wall clock have passed since the last one. A clock that is
# set back would silence it, and the master would kill every worker. So any difference is enough: a sign each second.
NOTIFY_SECONDS = -math.inf
# What the kernel keeps of one client's questions and of its answers; left alone it would keep megabytes of each.
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
        # The parent has given uvicorn's loggers gunicorn's handlers and levels; ours are meant.
        logging.config.dictConfig(self.cfg.logconfig_dict)
        # Without this uvicorn would wait for its connections for ever, and gunicorn kill it in the middle of answers.
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout - DRAIN_MARGIN_SECONDS
        # The master compares this file's time with the monotonic clock; a new file has the time of the wall clock.
        self.notify()

    def call_first(self, prepare: Callable[[], None]) -> None:
        """Have something done at the start of `run`: a hook of gunicorn's that fails would stop all workers."""
        self._prepare = prepare

    def join(self, siblings: Siblings) -> None:
        """Share new connections with these workers."""
        self._siblings = siblings

    def init_signals(self) -> None:
        """Take over from the master's handlers: until uvicorn has its own, a signal ends the worker at once."""
        super().init_signals()
        signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))  # By default it would leave a core dump.
        release_signals()

    def run(self) -> None:
        """Serve until told to stop, and leave without going back to the master's stack, whose clean-up is not ours.

        The exit code of a failed start is the one at which gunicorn stops everything. One worker that cannot start
        must not stop those that can: it leaves with another code, and not too often.
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
        """What uvicorn's class does, with a server of ours."""
        self.config.app = partial(self.wsgi, self.slot)
        server = AcceptingServer(self.config, self.slot, self._siblings)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGQUIT, which a master that gets SIGINT sends: uvicorn knows only SIGTERM."""
        os.kill(os.getpid(), signal.SIGTERM)

    async def callback_notify(self) -> None:
        """Tell the master that the loop turns; leave if there is no master any more, or the port stays taken."""
        await super().callback_notify()
        if os.getppid() != self.ppid:
            logger.error("the master process is gone: this worker leaves")
            os.kill(os.getpid(), signal.SIGTERM)
