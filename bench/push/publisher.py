"""Feeds the price to nchan: `python -m bench.push.publisher PORT PATH FILE MARK INTERVAL` posts FILE at an interval."""

import sys
import time
from http.client import HTTPConnection
from pathlib import Path

from bench.processes import START_SECONDS
from bench.push.beat import now_ms, waits
from bench.push.event import NAME

HEADERS = {"Content-Type": "application/json", "X-EventSource-Event": NAME}


def main() -> None:
    port, path, file, mark, interval = sys.argv[1:]
    template, connection = Path(file).read_text(), _connected(int(port))
    for seconds in waits(float(interval)):
        time.sleep(seconds)
        connection.request("POST", path, template.replace(mark, now_ms()), HEADERS)
        connection.getresponse().read()


def _connected(port: int) -> HTTPConnection:
    """A connection to a server that is just starting."""
    connection, until = HTTPConnection("127.0.0.1", port), time.monotonic() + START_SECONDS
    while True:
        try:
            connection.connect()
            return connection
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
