"""What is promised of every answer, checked against what the exchange really said.

The age limits need no allowance for a busy machine: a worker answers after we sent the request and before we have the
answer, so what it says about an age must be true at one of those two moments.
"""

import math
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from bench.chaos.exchange import NO_TIME, RARE_VOLUME, NotingExchange, Said
from bench.chaos.ledger import Ledger
from bench.chaos.wire import PRICES, Answer, Ask, Line, wall_ms

INTERVAL, CACHE_TTL, MAX_STALE, FETCH_TIMEOUT = 0.25, 1.5, 8.0, 0.4
# Clocks are read in whole milliseconds, at several places.
ROUNDING_MS = 5
# A worker that starts without a price may take a jump for the truth, for as long as the jump lasts.
FORGETFUL_SECONDS = 10.0
# For this long after a trouble with its processes, a service may have no price, or break a connection.
UPSET_SECONDS = 10.0
# How long a crowd of connections stays.
CROWDED_SECONDS = 8.0
# A missing price is a finding if some source has been honest for this long.
HONEST_SECONDS = MAX_STALE + 4.0
JUMP = "a jump was believed"
PROBLEM_KEYS = {"type", "title", "status", "code", "detail"}
TO_GARBAGE = (200, 304, 400, 404, 405, 408, 431, 503)
COUNTERS = ("_total", "_count", "_sum", "_bucket")
MAX_SAMPLES = 4000


@dataclass(slots=True)
class Standing:
    """A service as the oracle sees it: when its processes and its store were troubled, and when it knew no price."""

    name: str
    upset_at: float = -math.inf
    robbed_at: float = -math.inf
    forgot_at: float = -math.inf
    crowded_until: float = -math.inf

    def upset(self) -> None:
        """One of its processes has a trouble: a new one starts with what is in the store, if the store is well."""
        self.upset_at = time.monotonic()
        if self.upset_at - self.robbed_at < UPSET_SECONDS:
            self.forget()

    def robbed(self) -> None:
        """Its store has a trouble: running workers keep their prices, but a worker that starts finds none."""
        self.robbed_at = time.monotonic()
        if self.is_upset:
            self.forget()

    def forget(self) -> None:
        self.forgot_at = time.monotonic()

    def crowded(self) -> None:
        """The service has to close idle connections, and a request may already be on its way."""
        self.crowded_until = time.monotonic() + CROWDED_SECONDS

    @property
    def is_crowded(self) -> bool:
        return time.monotonic() < self.crowded_until

    @property
    def is_upset(self) -> bool:
        return time.monotonic() - self.upset_at < UPSET_SECONDS


class Oracle:
    """Judges the answers of all services that share an exchange and a store.

    `honest_since` is the monotonic moment from which on one source had no fault.
    """

    def __init__(self, exchange: NotingExchange, ledger: Ledger) -> None:
        self.honest_since = math.inf
        self._exchange = exchange
        self._ledger = ledger
        self._bodies: dict[str, bytes] = {}
        self._etags: dict[bytes, str] = {}
        self._counters: dict[str, tuple[int, dict[str, float]]] = {}
        self._codes: list[str] = []
        self._paths: dict[str, Any] = {}

    def learn(self, description: dict[str, Any]) -> None:
        """Learn from /openapi.json which answers are allowed."""
        code = description["components"]["schemas"]["Problem"]["properties"]["code"]
        self._codes = code.get("x-extensible-enum") or code["enum"]
        self._paths = description["paths"]

    def restarted(self, service: Standing) -> None:
        """The service's counters start from zero."""
        self._counters.pop(service.name, None)

    def judge(self, service: Standing, line: Line, ask: Ask | None, answer: Answer) -> None:
        """Check one answer against everything that is promised; `ask` is None if what was sent is no request."""
        self._ledger.counts[f"answers {answer.status}"] += 1
        try:
            for kind in self._faults(service, line, ask, answer):
                self._find(service, kind, ask, answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._find(service, f"cannot be read: {error!r}", ask, answer)

    def _faults(self, service: Standing, line: Line, ask: Ask | None, answer: Answer) -> list[str]:
        if answer.status >= 400 and not (ask and ask.path == "/health/readiness"):
            return self._of_problem(service, ask, answer)
        if ask is None:
            return [] if answer.status in TO_GARBAGE else [f"{answer.status} for garbage"]
        faults = self._of_status(ask, answer)
        if ask.pair or ask.path == PRICES:
            faults += self._of_prices(service, line, ask, answer)
        elif ask.path == "/metrics":
            faults += self._of_metrics(service, answer)
        elif ask.path.endswith("/sources") and ask.method == "GET":
            for row in answer.json["sources"]:
                quote = row["last_quote"]
                faults += ["a source that does not exist"] if row["source"] not in self._exchange.calls else []
                # The last quote of a source is shown, whether it is believed or not.
                faults += [one for one in self._of_truth(service, quote) if one != JUMP] if quote else []
        elif answer.body:
            orjson.loads(answer.body)
        return faults

    def _of_status(self, ask: Ask, answer: Answer) -> list[str]:
        path = self._paths.get(f"{PRICES}/{{pair}}" if ask.pair else ask.path)
        documented = path is None or ask.method != "GET" or str(answer.status) in path["get"]["responses"]
        faults = [] if documented and answer.status in ask.statuses else [f"{answer.status} for {ask.method}"]
        return faults + ([] if answer.headers.get("access-control-allow-origin") == "*" else ["no CORS header"])

    def _of_prices(self, service: Standing, line: Line, ask: Ask, answer: Answer) -> list[str]:
        etag = answer.headers["etag"]
        body = answer.body or self._bodies.get(etag)
        faults = ["304 for another ETag"] if answer.status == 304 and etag != ask.etag else []
        if not body:
            return faults  # A HEAD or 304 whose body no client has received yet.
        if self._bodies.setdefault(etag, body) != body or self._etags.setdefault(body, etag) != etag:
            faults.append("ETag and body are not one to one")
        prices = [orjson.loads(body)] if ask.pair else orjson.loads(body)["prices"]
        for price in prices:
            faults += self._of_price(line, ask, answer, price) + self._of_truth(service, price)
        if ask.pair:
            faults += ["another pair"] if prices[0]["symbol"].lower() != ask.pair else []
            faults += self._of_dates(answer, prices[0]["fetched_at_ms"])
        return faults

    def _of_price(self, line: Line, ask: Ask, answer: Answer, price: dict[str, Any]) -> list[str]:
        symbol, fetched_ms, stale = price["symbol"], price["fetched_at_ms"], price["stale"]
        fresh_ms, stale_ms = CACHE_TTL * 1000, MAX_STALE * 1000
        if answer.status == 200:
            self._ledger.oldest_ms = max(self._ledger.oldest_ms, answer.sent_ms - fetched_ms)
        least_ms, most_ms = answer.sent_ms - fetched_ms - ROUNDING_MS, answer.received_ms - fetched_ms + ROUNDING_MS
        limit_ms = min(stale_ms if stale else fresh_ms, ask.most_ms)
        max_age_ms = 1000 * int(answer.headers["cache-control"].removeprefix("public, max-age="))
        broken = {
            "past MAX_STALE": least_ms > stale_ms,
            "called fresh and is stale": least_ms > fresh_ms and not stale,
            "called stale and is fresh": most_ms <= fresh_ms and stale,
            "older than max_age_ms": least_ms > ask.most_ms,
            "fetched in the future": most_ms < 0,
            "max-age goes too far": max_age_ms and least_ms + max_age_ms > limit_ms,
            "went back in time": fetched_ms < line.newest.get(symbol, 0),
        }
        line.newest[symbol] = fetched_ms
        return [kind for kind, is_broken in broken.items() if is_broken]

    def _of_truth(self, service: Standing, price: dict[str, Any]) -> list[str]:
        told = self._exchange.said(price["source"], price["symbol"], price["price"])
        matching = [said for said in told if _matches(said, price)]
        if not matching:
            return [f"never said by {price['source']}"]
        # A worker that holds no price has nothing to compare a jump with.
        knew = time.monotonic() - (wall_ms() - matching[0].at_ms) / 1000 - service.forgot_at > FORGETFUL_SECONDS
        return [JUMP] if knew and all(said.jumped for said in matching) else []

    def _of_dates(self, answer: Answer, fetched_ms: int) -> list[str]:
        modified, date = (_seconds(answer.headers[name]) for name in ("last-modified", "date"))
        sent, received = (answer.sent_ms - ROUNDING_MS) // 1000, (answer.received_ms + ROUNDING_MS) // 1000
        faults = ["Last-Modified is not fetched_at_ms"] if modified != fetched_ms // 1000 else []
        return faults + ([] if max(sent, modified) <= date <= received else ["Date is not when it was answered"])

    def _of_problem(self, service: Standing, ask: Ask | None, answer: Answer) -> list[str]:
        if not answer.body and ask and ask.method == "HEAD":
            return self._of_status(ask, answer)
        content, faults = answer.json, self._of_status(ask, answer) if ask else []
        if answer.headers["content-type"] != "application/problem+json" or not content.keys() >= PROBLEM_KEYS:
            faults.append("a problem that is not well-formed")
        if content["code"] not in self._codes or content["status"] != answer.status:
            faults.append(f"a code that /openapi.json does not list: {content['code']}")
        if answer.status == 503 and not answer.headers.get("retry-after", "").isdigit():
            faults.append("no Retry-After")
        if ask and answer.status in (412, 503):
            faults += self._of_absence(service, ask, answer, content)
        return faults

    def _of_absence(self, service: Standing, ask: Ask, answer: Answer, content: dict[str, Any]) -> list[str]:
        age_ms = content.get("age_ms", answer.received_ms - content.get("last_fetched_at_ms", 0) + ROUNDING_MS)
        is_young = age_ms <= min(MAX_STALE * 1000, ask.most_ms)
        faults = [f"{answer.status} for a price that is young enough"] if is_young else []
        if answer.status == 503 and ask.most_ms > MAX_STALE * 1000:
            service.forget()
            if not service.is_upset and not self._ledger.busy and time.monotonic() - self.honest_since > HONEST_SECONDS:
                faults.append("no price although a source is honest")
        return faults

    def _of_metrics(self, service: Standing, answer: Answer) -> list[str]:
        found = dict(line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
        counters = {name: float(text) for name, text in found.items() if name.partition("{")[0].endswith(COUNTERS)}
        told_ms, before = self._counters.get(service.name, (0, counters))
        if answer.sent_ms <= told_ms:
            return []  # Of two overlapping scrapes, neither is the later one.
        self._counters[service.name] = answer.received_ms, counters
        fallen = [name for name, value in before.items() if counters.get(name, -1.0) < value * (1 - 1e-9)]
        faults = [f"counters fell, first {fallen[0].partition('{')[0]}"] if fallen else []
        return faults + (["too many samples in /metrics"] if len(found) > MAX_SAMPLES else [])

    def _find(self, service: Standing, kind: str, ask: Ask | None, answer: Answer) -> None:
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("access-control")}
        moments = f"sent {answer.sent_ms}, received {answer.received_ms}"
        self._ledger.find(service.name, kind, f"{ask} -> {answer.status} {headers} {answer.body[:400]!r}, {moments}")


def _matches(said: Said, price: dict[str, Any]) -> bool:
    source = price["source"]
    times = (None,) if source in NO_TIME else (said.time_ms, said.time_ms // 1000 * 1000)
    return (
        (price["bid"], price["ask"]) == (said.bid, said.ask)
        and price["volume_24h"] in ((said.volume, None) if source in RARE_VOLUME else (said.volume,))
        and price["source_time_ms"] in times
        and abs(price["fetched_at_ms"] - said.at_ms) <= FETCH_TIMEOUT * 1000 + 4 * ROUNDING_MS
    )


def _seconds(date: str) -> int:
    return int(parsedate_to_datetime(date).timestamp())
