"""A typical client program: `python -m bench.connections.caller URL SECONDS` calls requests.get in a loop."""

import json
import sys
import time

import requests

from bench.failures.figures import percentile


def main() -> None:
    url, seconds = sys.argv[1], float(sys.argv[2])
    start, took, failed, not_2xx = time.monotonic(), [0.0], 0, 0
    took.clear()
    while (asked := time.monotonic()) < start + seconds:
        try:
            not_2xx += not requests.get(url, timeout=10).ok
        except requests.RequestException:
            failed += 1
        took.append((time.monotonic() - asked) * 1000)
    measured = {
        "requests": len(took) - failed, "seconds": time.monotonic() - start, "p50_ms": percentile(took, 0.5),
        "p99_ms": percentile(took, 0.99), "slowest_ms": max(took), "failed": failed, "not_2xx": not_2xx,
    }  # fmt: skip
    print(f"measured {json.dumps(measured)}")


if __name__ == "__main__":
    main()
