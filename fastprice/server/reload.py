"""For development: restarts the service whenever a file of its package changes."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

# Files are polled, because no notification of a change crosses from a host's files into a virtual machine's.
POLL_SECONDS = 0.25
# The exit code for a setting that cannot be used; changing a file would not fix that.
BAD_SETTING = 2


def run_and_reload(command: Sequence[str], root: Path, tell: Callable[[str], None]) -> int:
    """Run a command until SIGTERM or SIGINT, and again at each change of a file under `root`; returns its exit code.

    If the command cannot start, it reports the reason itself, and this function waits for the next change.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    files, process = _files(root), subprocess.Popen(command)
    while not stop.wait(POLL_SECONDS):
        if process.poll() == BAD_SETTING:
            return BAD_SETTING
        if (found := _files(root)) == files:
            continue
        changed = sorted(path.name for path, _ in found.items() ^ files.items())
        files = found
        tell(f"{changed[0]} has changed: restarting")
        _end(process)
        process = subprocess.Popen(command)
    code = _end(process)
    return 0 if code == -signal.SIGTERM else code  # It was told to stop before it had a handler for that.


def _files(root: Path) -> dict[Path, int]:
    """Every file and when it was last written, except caches and hidden files: starts and open editors write these."""
    found = {}
    for path in root.rglob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):  # An editor may replace it at this very moment.
            if path.is_file() and path.parent.name != "__pycache__":
                found[path] = path.stat().st_mtime_ns
    return found


def _end(process: "subprocess.Popen[bytes]") -> int:
    process.terminate()  # Does nothing if the process has already ended.
    return process.wait()
