"""What the exchanges of a market have truly said, in polls and streams, and when they said it last."""

from collections.abc import Iterable

from fastprice.market import Market
from fastprice.market.call import Call
from fastprice.market.feed import Pushed
from fastprice.market.floor import wall_ms

# When more than MOST values are known, those not repeated within FORGET_MS are forgotten.
FORGET_MS, MOST = 120_000, 200_000
PARTS = ("price", "bid", "ask")


class NotingMarket(Market):
    """A market that knows when each source last truly said a part of a pair's quote.

    It enforces only the limits of streams: the polls of a short test are more frequent than exchanges allow.
    """

    def __init__(self, pairs: Iterable[str], seed: int = 7) -> None:
        super().__init__(pairs, seed)
        self.pace.limits = True
        self._said: dict[tuple[str, str, str, str], int] = {}
        self._seen: dict[str, Pushed] = {}

    @property
    def limits(self) -> bool:
        return False

    @limits.setter
    def limits(self, enforced: bool) -> None:
        """Ignored: the limits of calls stay off."""

    def record(self, call: Call) -> None:
        super().record(call)
        now_ms = wall_ms()
        for tick in call.ticks if call.form.price_key else ():
            for part in PARTS:
                self._note(call.exchange.name, tick.pair.slug, part, getattr(tick, part), now_ms)

    def said_at_ms(self, source: str, slug: str, part: str, value: str) -> int | None:
        """When a source last said this, in wall time; None if it never did."""
        self._look(source)
        return self._said.get((source, slug, part, value))

    def _look(self, source: str) -> None:
        """Record what was pushed since the last look."""
        new, seen = [], self._seen.get(source)
        for push in reversed(self.pushed[source]):
            if push is seen:
                break
            new.append(push)
        if new:
            self._seen[source] = new[0]
        for push in reversed(new):
            for part in PARTS:
                self._note(source, push.pair, part, getattr(push, part), push.at_ns // 1_000_000)

    def _note(self, source: str, slug: str, part: str, value: str | None, at_ms: int) -> None:
        if value is not None:
            known = self._said
            known[source, slug, part, value] = max(at_ms, known.get((source, slug, part, value), 0))
            if len(known) > MOST:
                self._said = {key: at for key, at in known.items() if at > at_ms - FORGET_MS}
