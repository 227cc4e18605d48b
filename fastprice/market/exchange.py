"""The parts of an exchange's file: its paths, its errors and its limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fastprice.domain.quote import Pair
from fastprice.market.forms import Choice, Json, Query, encoded
from fastprice.market.limits import NO_PENALTY, Limit, Penalty, Spent
from fastprice.market.tick import Tick, make_tick

JSON = {"Content-Type": "application/json; charset=utf-8"}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


class Complaint(NamedTuple):
    """One documented error: HTTP status, the exchange's code, its words."""

    status: int
    code: str
    words: str


Ask = Callable[[Query, str], Choice | Complaint]


@dataclass(frozen=True, slots=True)
class Complaints:
    """An exchange's errors.

    `shape(code, words, now_ms)` is their JSON, or a text where the exchange sends plain text. `unknown` is a Choice
    where an unlisted pair is answered with something other than an error. `down` is sent with HTTP 200 by every source,
    even by those not known to do so: a body that contradicts its status. The others are None where nothing is
    documented: `banned` for a client that keeps calling, `region` for a refused country, `delisted` for a pair that
    was traded before, `halted` for a pair that does not trade although the request wants one that does.
    """

    shape: Callable[[str, str, int], Json | str]
    unknown: Complaint | Choice
    limited: Complaint
    down: Complaint
    banned: Complaint | None = None
    region: Complaint | None = None
    delisted: Complaint | None = None
    halted: Complaint | None = None


def _no_headers(spent: Spent) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one source documents about its API.

    `paths` maps each path, which may contain {symbol}, to the function that reads the request. `single` and `batch` are
    the path and query that request one pair, and all pairs. `spellings(pair)` are the symbols of a pair, the one
    in replies first. `offset` is the share by which its prices differ from the truth. `nothing` is written where a
    halted pair has no bid or ask.
    """

    name: str
    spellings: Callable[[Pair], tuple[str, ...]]
    offset: float
    paths: Mapping[str, Ask]
    single: str
    batch: str
    complaints: Complaints
    limits: tuple[Limit, ...]
    penalty: Penalty = NO_PENALTY
    limit_headers: Callable[[Spent], dict[str, str]] = _no_headers
    padded: int = 2
    nothing: str | None = ""

    def target(self, pair: Pair) -> str:
        """The path and query that request a pair."""
        return self.single.format(symbol=self.spellings(pair)[-1])

    def read(self, path: str, query: Query) -> Choice | Complaint | None:
        """What a request asks for; None where there is no such path."""
        if path in self.paths and "{" not in path:
            return self.paths[path](query, "")
        for pattern, ask in self.paths.items():
            before, _, after = pattern.partition("{symbol}")
            symbol = path[len(before) : len(path) - len(after)]
            if symbol and "/" not in symbol and path == before + symbol + after:
                return ask(query, symbol)
        return None

    def tick(self, pair: Pair, truth: float, opening: float, time_ms: int) -> Tick:
        return make_tick(pair, truth * (1 + self.offset), opening, self.padded, time_ms)

    def over_limit(self, spent: Spent) -> Answer:
        """The documented answer to a call over the limit."""
        banned = self.complaints.banned if spent.banned else None
        if banned is None:
            return self.complain(self.complaints.limited, spent.now_ms)
        until_ms = spent.now_ms + spent.wait_ms
        return self.complain(banned._replace(words=banned.words.format(until_ms=until_ms)), spent.now_ms)

    def complain(self, complaint: Complaint, now_ms: int) -> Answer:
        """One of the documented errors."""
        said = self.complaints.shape(complaint.code, complaint.words, now_ms)
        if isinstance(said, str):
            return Answer(said.encode(), complaint.status, TEXT)
        return Answer(encoded(said), complaint.status)


def joined(pair: Pair) -> tuple[str, ...]:
    return (pair.base + pair.quote,)


def lowered(pair: Pair) -> tuple[str, ...]:
    return ((pair.base + pair.quote).lower(),)


def dashed(pair: Pair) -> tuple[str, ...]:
    return (pair.symbol,)


def basis_points(count: int) -> float:
    return count / 10_000
