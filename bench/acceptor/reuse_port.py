"""The service with a listening socket for each worker (SO_REUSEPORT), among which the kernel shares connections."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from bench.acceptor.first_come import Strangers
from fastprice.cli import main
from fastprice.server import gunicorn_conf
from fastprice.server.gunicorn_conf import BACKLOG, Processes
from fastprice.server.worker import FastpriceWorker


class ByItself(FastpriceWorker):
    """A worker with its own listening socket on the port of its master."""

    sockets: Any

    def run(self) -> None:
        self.sockets = [_own(shared) for shared in self.sockets]
        super().run()


def _own(shared: Any) -> socket.socket:
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    own.bind(shared.getsockname())
    own.listen(BACKLOG)
    with contextlib.suppress(OSError):  # Another worker was first. The shared socket must not get a share.
        shared.shutdown(socket.SHUT_RD)
    return own


def _with_own_sockets(options: Callable[[Processes], dict[str, Any]]) -> Callable[[Processes], dict[str, Any]]:
    return lambda processes: options(processes) | {"reuse_port": True, "worker_class": ByItself}


if __name__ == "__main__":
    gunicorn_conf.Siblings = Strangers  # type: ignore[attr-defined]
    gunicorn_conf.options = _with_own_sockets(gunicorn_conf.options)  # type: ignore[assignment]
    main()
