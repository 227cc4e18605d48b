"""Take the protections of the service away, one by one: a drill must notice each, or it proves nothing.

Nothing in the service can be switched off for this: a sitecustomize module changes it in the drilled processes alone.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from bench import machine
from bench.drills import site
from bench.drills.__main__ import DRILLS, played
from bench.drills.drill import Drill
from bench.processes import stop_on_signal
from bench.report import save
from bench.tables import protections_table

BY_NAME = {drill.name: drill for drill in DRILLS}
QUICK = "redis-emptied"


@dataclass(frozen=True, slots=True)
class Protection:
    """A protection, the code that removes it, and the drill that must notice, which is run at this size."""

    name: str
    what: str
    removed_by: str
    noticed_by: str = QUICK
    size: float = 0.2

    @property
    def drill(self) -> Drill:
        return BY_NAME[self.noticed_by]

    @property
    def code(self) -> str:
        return textwrap.dedent(self.removed_by)


def _patch(name: str, what: str, place: str, statement: str, noticed_by: str = QUICK, size: float = 0.2) -> Protection:
    """A protection that is removed by a statement about a module `m`."""
    return Protection(name, what, f"import {place} as m\n{statement}\n", noticed_by, size)


SNAPSHOT = """
from fastprice.interface.price_snapshot import PriceSnapshot as S
made = S.__init__
S.__init__ = lambda self, rendering, quote, at, fresh, usable: made(self, rendering, quote, at, {fresh}, {usable})
"""
PROTECTIONS: tuple[Protection, ...] = (
    Protection("max-stale", "a price past `MAX_STALE` is not served",
               SNAPSHOT.format(fresh="fresh", usable="at + 1e6"), "exchange-gone"),
    Protection("stale", "a price past `CACHE_TTL` is called stale",
               SNAPSHOT.format(fresh="usable", usable="usable"), "exchange-gone"),
    Protection("age", "no tier restarts a price's age", """
        from dataclasses import replace
        from fastprice.application.latest_price import LatestPrice
        offer = LatestPrice.offer
        LatestPrice.offer = lambda self, quote: offer(self, replace(quote, fetched_at_ms=self._clock.wall_ms()))
        """, "exchange-gone"),
    Protection("max-age", "`max-age` never goes beyond the end of freshness", """
        from fastprice.interface.price_snapshot import PriceSnapshot as S
        current = S.current
        S.current = lambda self, *given: (served := current(self, *given)) and served._replace(max_age=60)
        """),
    Protection("etag", "an ETag belongs to the bytes", """
        from fastprice.interface.price_json import Answer
        made = Answer.__init__
        def same(self, *given):
            made(self, *given)
            self.etag = b'"same"'
        Answer.__init__ = same
        """),
    _patch("if-none-match", "304 only where the client has these bytes", "fastprice.interface.price_json",
           "m.matches = lambda *given: True"),
    _patch("believable", "amounts, order and times of a quote are checked", "fastprice.domain.quote",
           "m.Quote.__post_init__ = lambda self: None\n"
           "import fastprice.infrastructure.exchanges.ticker as t\n"
           "t.Ticker._amount = lambda self, row, path, limits=0:"
           " self.digits(t.said(row, path)) if path else None", "exchange-lies", 0.34),
    _patch("strict-json", "a duplicate name in one object is refused",
           "fastprice.infrastructure.exchanges.strict_json",
           "m._ONE = m._MANY = m.json.JSONDecoder(parse_float=str, parse_int=str)", "exchange-lies", 0.34),
    _patch("jump", "a jump waits for a second source", "fastprice.application.belief",
           "m.Evidence.jumps = lambda self, share: False\n"
           "import fastprice.application.failover as f\nf.fits = lambda *given: True", "exchange-jumps"),
    _patch("breaker", "a source that fails is left alone for a while", "fastprice.infrastructure.circuit_breaker",
           "m.SourceBreaker.refusal = lambda self, now: None", "exchange-fails", 0.3),
    _patch("bans", "a source that says when to come back is not called before", "fastprice.application.source_health",
           "m.SourceHealth.take = lambda *given: None", "exchange-bans", 0.4),
    Protection("one-caller", "one worker of the fleet asks the exchanges", """
        from fastprice.application.fallback_store import FallbackStore
        async def granted(self, *given):
            return True
        FallbackStore.claim = granted
        """),
    Protection("embedded-store", "without Redis the workers of a machine share the embedded store", """
        from fastprice.application.fallback_store import FallbackStore
        async def shared_alone(self, operation):
            return await operation(self._shared)
        FallbackStore._either = shared_alone
        """, "redis-killed"),
    # The package has a function of the same name as this module, which an import would find.
    Protection("redis-timeout", "an operation on Redis has a time limit", """
        import sys
        import fastprice.infrastructure.redis_store
        sys.modules["fastprice.infrastructure.redis_store.limit"]._Slices._over = lambda self, due: None
        """, "redis-silent", 0.5),
    _patch("set-back", "a price from before the clock was set back is replaced", "fastprice.domain.quote",
           "m.Quote.replaces = lambda self, held, now_ms: held is None or self.made_at_ms > held.made_at_ms",
           "clock-back", 0.4),
    _patch("signs-of-life", "a worker's signs of life do not depend on the wall clock", "fastprice.server.worker",
           "m.FastpriceWorker.CONFIG_KWARGS['timeout_notify'] = 30", "clock-back", 1.0),
    _patch("last-answers", "on SIGTERM a client that has just asked may ask again", "fastprice.server.light_connection",
           "m.LightConnection.shutdown = lambda self: self.abort()", "end", 0.3),
    _patch("labels", "clients cannot create series of metrics", "fastprice.interface.middleware",
           "m.EveryAnswer._route = lambda self, path: path", "unknown-pairs", 0.02),
    _patch("torn-files", "a damaged metrics file is skipped", "fastprice.infrastructure.prometheus.value_files",
           "m._readable = lambda name: True", "churn", 0.1),
    _patch("half-heads", "a head that is not finished in time ends its connection",
           "fastprice.server.refusals", "m.HEAD_SECONDS = 1e9", "slowloris", 0.1),
)  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(prog="make drills-protections", description=__doc__)
    words.add_argument("--only", nargs="+", choices=[one.name for one in PROTECTIONS], default=[])
    given = words.parse_args()
    stop_on_signal()
    facts = machine.facts()
    machine.raise_open_files()
    chosen = [one for one in PROTECTIONS if not given.only or one.name in given.only]
    sound = _sound(chosen)
    rows = [_row(one, sound) for one in chosen]
    result = {"date": f"{date.today():%Y-%m-%d}", "machine": facts, "versions": machine.versions(), "rows": rows}
    print(protections_table(rows))
    save("protections", result, enough=not given.only)
    sys.exit(not all(row["noticed"] for row in rows))


def _sound(chosen: Iterable[Protection]) -> set[str]:
    """The drills that succeed with all protections on: a drill that fails anyway would prove nothing."""
    drills = {one.noticed_by: one for one in chosen}
    return {name for name, one in drills.items() if played(one.drill, one.size)["kept"]}


def _row(protection: Protection, sound: set[str]) -> dict[str, Any]:
    print(f"without {protection.name}: {protection.what}")
    site.everywhere.append(protection.code)
    try:
        row = played(protection.drill, protection.size)
    finally:
        site.everywhere.remove(protection.code)
    noticed = not row["kept"] and protection.noticed_by in sound
    return {"name": protection.name, "what": protection.what, "drill": protection.noticed_by, "noticed": noticed,
            "seen": [*row["amiss"][:1], *row["seen"][:1]] if noticed else []}  # fmt: skip


if __name__ == "__main__":
    main()
