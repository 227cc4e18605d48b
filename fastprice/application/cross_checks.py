"""When a second source is asked whether it agrees with the one that is served, which one, and what doubt may cost."""

from collections.abc import Iterable

from fastprice.application.source_health import SourceHealth
from fastprice.domain.quote import Pair

# What surprises may cost beside the regular checks: at most so many additional rounds of questions at once, and so many
# per round on average. Were it not bounded, a few illiquid pairs would double the calls.
SURPRISES, SURPRISES_PER_ROUND = 20.0, 0.04
# Where the sources of a pair never come to a majority, all of them are asked again after one check, then after two,
# four, and so on up to this number of checks: about an hour.
MAX_PAUSE = 360
# A round that begins a little early is not put off to the next one.
EARLY = 0.05


class CrossChecks:
    """What the leader keeps of its checks from round to round. Times are monotonic seconds.

    `share` is how far apart two sources that agree may be. With an interval of 0 nobody is asked unless a price jumps.
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
        """Whether there are any: without them a source that was distrusted would never be trusted again."""
        return self._interval_seconds > 0

    def begin_round(self) -> None:
        self._tokens = min(SURPRISES, self._tokens + SURPRISES_PER_ROUND)

    def are_due(self, now: float) -> bool:
        return self.are_made and now >= self._due - EARLY * self._interval_seconds

    def rotation(self, healths: Iterable[SourceHealth]) -> list[SourceHealth]:
        """The sources in the order in which it is their turn to check: each is known to be well before it is needed."""
        return sorted(healths, key=lambda health: self._checked_at.get(health.name, float("-inf")))

    def begin(self, name: str, now: float) -> None:
        """A source is asked now whether it agrees."""
        self._checked_at[name] = now
        self._checks += 1

    def made(self, began: float) -> None:
        """A source that was asked in the round that began then has answered; else another one is asked in the next."""
        self._due = began + self._interval_seconds

    def may_doubt(self) -> bool:
        """Whether a surprising price, that is no jump, may cost one more question in this round."""
        if not self.are_made or self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def may_contest(self, pair: Pair) -> bool:
        """Whether all sources may be asked about a pair on which two of them disagree."""
        return self._checks >= self._disputes.get(pair, (0, 0))[0]

    def contested(self, pair: Pair, has_majority: bool) -> None:
        """All sources were asked about a pair."""
        if has_majority:
            self._disputes.pop(pair, None)
        else:
            pause = min(2 * self._disputes.get(pair, (0, 0))[1] or 1, MAX_PAUSE)
            self._disputes[pair] = self._checks + pause, pause
