"""When a second source is asked to check the one that is served, which one, and how many calls doubts may cost."""

from collections.abc import Iterable

from fastprice.application.source_health import SourceHealth
from fastprice.domain.quote import Pair

# What surprises may cost beside the regular checks: at most this many additional rounds of calls at once, and this many
# per round on average. Without a bound, a few illiquid pairs would double the calls.
SURPRISES, SURPRISES_PER_ROUND = 20.0, 0.04
# If the sources of a pair never reach a majority, all of them are asked again after one check, then after two,
# four, and so on up to this number of checks: about an hour.
MAX_PAUSE = 360
# A round that begins a little early still makes the check: it is not postponed to the next one.
EARLY = 0.05


class CrossChecks:
    """What the leader remembers about its checks from round to round. Times are monotonic seconds.

    `share` is how far apart two sources that agree may be. With an interval of 0 no source checks unless a price jumps.
    """

    def __init__(self, interval_seconds: float, share: float) -> None:
        self.share = share
        self._interval_seconds = interval_seconds
        self._due = float("-inf")
        self._checked_at: dict[str, float] = {}
        self._tokens = SURPRISES
        self._checks = 0
        # From which check on all sources may be asked about a pair again, and the pause until then.
        self._disputes: dict[Pair, tuple[int, int]] = {}

    @property
    def are_made(self) -> bool:
        """Whether there are any checks: without them a source that was distrusted would never be trusted again."""
        return self._interval_seconds > 0

    def begin_round(self) -> None:
        self._tokens = min(SURPRISES, self._tokens + SURPRISES_PER_ROUND)

    def are_due(self, now: float) -> bool:
        return self.are_made and now >= self._due - EARLY * self._interval_seconds

    def rotation(self, healths: Iterable[SourceHealth]) -> list[SourceHealth]:
        """The sources in the order of their turns to check, so that each is known to work before it is needed."""
        return sorted(healths, key=lambda health: self._checked_at.get(health.name, float("-inf")))

    def begin(self, name: str, now: float) -> None:
        """Record that a source is asked to check now."""
        self._checked_at[name] = now
        self._checks += 1

    def made(self, began: float) -> None:
        """Record that the checker in the round that began then has answered; otherwise the next round asks another."""
        self._due = began + self._interval_seconds

    def may_doubt(self) -> bool:
        """Whether a surprising price that is no jump may cost one more call in this round."""
        if not self.are_made or self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def may_contest(self, pair: Pair) -> bool:
        """Whether all sources may be asked about a pair on which two of them disagree."""
        return self._checks >= self._disputes.get(pair, (0, 0))[0]

    def contested(self, pair: Pair, has_majority: bool) -> None:
        """Record that all sources were asked about a pair."""
        if has_majority:
            self._disputes.pop(pair, None)
        else:
            pause = min(2 * self._disputes.get(pair, (0, 0))[1] or 1, MAX_PAUSE)
            self._disputes[pair] = self._checks + pause, pause
