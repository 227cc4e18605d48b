"""gunicorn's settings and hooks, and the application object that carries them."""

import contextlib
import gc
import logging
import queue
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from gunicorn import sock
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from starlette.types import ASGIApp

from fastprice.server.held_signals import held_signals, release_signals
from fastprice.server.siblings import Siblings
from fastprice.server.worker import DRAIN_MARGIN_SECONDS, FastpriceWorker

logger = logging.getLogger("fastprice")

# How many connections may wait for a worker; the kernel allows no more than net.core.somaxconn.
BACKLOG = 4096
# A worker that has not turned its event loop for this long is replaced.
STUCK_SECONDS = 30
# How long workers still have when a second Ctrl+C comes while they finish their answers.
HURRY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes listen, on which addresses and with which settings; times are in seconds.

    `app(slot)` builds one worker's application, and `after_fork(slot)` runs before it: slots are small numbers from 0
    that no two living workers share and that a dead worker's successor takes over. In the master, `ready(addresses)`
    runs once, when it listens, and `after_death(slot)` whenever a worker has ended, before its successor starts.
    """

    binds: list[str]
    workers: int
    keep_alive: int
    graceful_timeout: int
    memory_directory: str
    log_config: dict[str, Any]
    app: Callable[[int], ASGIApp]
    after_fork: Callable[[int], None]
    after_death: Callable[[int], None]
    ready: Callable[[list[str]], None]


class Master(Arbiter):
    """gunicorn's master, which loses no signal that comes while a process starts, and survives a failed start."""

    _problem = ""

    def init_signals(self) -> None:
        super().init_signals()
        release_signals()

    def handle_hup(self) -> None:
        logger.info("SIGHUP: every worker is replaced, and finishes its answers first")
        super().handle_hup()

    def handle_term(self) -> NoReturn:
        seconds = self.cfg.graceful_timeout - DRAIN_MARGIN_SECONDS
        logger.info("SIGTERM: answers and streams have %d s to finish, then the service ends", seconds)
        raise StopIteration  # As gunicorn does.

    def spawn_worker(self) -> None:
        """Start one worker, or log why that is impossible now; gunicorn tries again every second.

        The race: 1. The master forks. 2. It sends SIGTERM to the worker. 3. The worker still has the master's handlers,
        which put the signal into a queue that the worker never reads. A held signal reaches the worker's own handlers.
        """
        try:
            with held_signals():
                super().spawn_worker()
            self._problem = ""
        except (OSError, RuntimeError) as error:
            if self._problem != str(error):
                self._problem = str(error)
                self.log.error("a worker cannot be started now: %s", error)
            # The cause may be a heartbeat directory that is full, read-only or gone: use gunicorn's default one.
            self.cfg.set("worker_tmp_dir", None)

    def stop(self, graceful: bool = True) -> None:
        """Give the workers their time to finish, by the monotonic clock, and then do what gunicorn does.

        gunicorn uses the wall clock. If that is set forward, gunicorn would kill the workers in the middle of their
        answers; if it is set back, gunicorn would wait that much longer for a stuck worker.
        """
        sock.close_sockets(self.LISTENERS)
        self.LISTENERS: list[Any] = []
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGQUIT)
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.WORKERS and time.monotonic() < deadline:
            if self._told_to_hurry():
                deadline = min(deadline, time.monotonic() + HURRY_SECONDS)
            self.reap_workers()
            time.sleep(0.05)
        self.kill_workers(signal.SIGKILL)
        super().stop(graceful)

    def _told_to_hurry(self) -> bool:
        with contextlib.suppress(queue.Empty):
            return self.SIG_QUEUE.get_nowait() in {signal.SIGINT, signal.SIGQUIT}
        return False


class Gunicorn(BaseApplication):
    """gunicorn configured by code alone: it reads no file, no command line and no environment variables."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        super().__init__()

    def load_config(self) -> None:
        for name, value in options(self._processes).items():
            self.cfg.set(name, value)

    def run(self) -> None:
        Master(self).run()

    def load(self) -> Callable[[int], ASGIApp]:
        """The factory itself: each worker calls it after the fork, so no connection is ever shared."""
        return self._processes.app


def options(processes: Processes) -> dict[str, Any]:
    """gunicorn's settings by its own names."""
    siblings = Siblings(processes.workers)

    def after_fork(server: Any, worker: FastpriceWorker) -> None:
        worker.call_first(partial(processes.after_fork, worker.slot))
        worker.join(siblings)

    def after_death(server: Any, worker: FastpriceWorker) -> None:
        siblings.forget(worker.slot)
        processes.after_death(worker.slot)

    return {
        "bind": processes.binds,
        "workers": processes.workers,
        "worker_class": FastpriceWorker,
        "preload_app": True,
        "backlog": BACKLOG,
        "keepalive": processes.keep_alive,
        "graceful_timeout": processes.graceful_timeout + DRAIN_MARGIN_SECONDS,
        # A worker sends no heartbeat while it drains.
        "timeout": max(STUCK_SECONDS, processes.graceful_timeout + 10),
        "worker_tmp_dir": processes.memory_directory,
        "control_socket_disable": True,
        "logconfig_dict": processes.log_config,
        "proc_name": "fastprice",
        "pre_fork": give_slot,
        "post_fork": after_fork,
        "child_exit": after_death,
        "when_ready": lambda server: before_the_fork(processes, [str(listener) for listener in server.LISTENERS]),
    }


def before_the_fork(processes: Processes, addresses: list[str]) -> None:
    """Freeze shared objects, or each worker's garbage collector would copy their memory; then call `ready`."""
    gc.collect()
    gc.freeze()
    processes.ready(addresses)


def give_slot(server: Any, worker: Any) -> None:
    """Assign the lowest number that no living worker has; gunicorn forgets a worker once it has reaped it."""
    taken = {living.slot for living in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
