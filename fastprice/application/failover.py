"""A round of failover mode: one source after the other, and every now and then a second one that must agree.

1. The first source in order is asked for everything. When a check is due, another one is asked at the same time.
2. What they agree on is served; so is what only the first one said, unless it surprises.
3. What is missing or surprises goes to the next source in order.
4. If two disagree, all are asked, and the majority decides; the others are distrusted: asked last until they agree.
"""

from collections.abc import Callable, Iterable, Sequence

from fastprice.application.ask import Ask, RoundLimits
from fastprice.application.belief import Evidence, Tolerance, fits
from fastprice.application.cross_checks import CrossChecks
from fastprice.application.round import Round
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import InvalidQuote
from fastprice.domain.quote import Pair, Quote


class FailoverRound(Round):
    """Takes each pair's price from the first source in order whose price is believed."""

    def __init__(
        self, pairs: Iterable[Pair], sources: Sequence[SourceHealth], tolerance: Tolerance, limits: RoundLimits,
        checks: CrossChecks, held: Callable[[Pair], Quote | None], now: float,
    ) -> None:  # fmt: skip
        super().__init__(pairs, sources, tolerance, limits, held, now)
        in_order = sorted(sources, key=lambda health: health.stalled(now))
        self._rank = tuple(self._sources)
        # Each source comes once for the pairs that it is trusted for, and at the end for those it is distrusted for.
        self._turns = [(health, False) for health in in_order] + [(health, True) for health in in_order]
        self._checks = checks
        self._began = now
        self._checker: SourceHealth | None = None
        self._may_doubt: bool | None = None
        self._evidence: dict[Pair, Evidence] = {}
        self._contested: dict[Pair, None] = {}
        # The pairs that all sources are being asked about: the first few answers are no majority.
        self._awaited: set[Pair] = set()
        checks.begin_round()

    def settle(self, now: float, wall_ms: int) -> None:
        for pair, evidence in self._evidence.items():
            if evidence.quotes and evidence.has_news and pair not in self._contested and pair not in self._awaited:
                self._weigh(pair, evidence)

    def _whom(self, now: float, wall_ms: int) -> list[Ask]:
        self._awaited.clear()
        self.settle(now, wall_ms)
        if self._contested:
            if asks := self._ask_everybody(now):
                return asks
            self.settle(now, wall_ms)
        while self._turns and self.missing:
            health, is_distrusted = self._turns.pop(0)
            wanted = self._unsaid(health, is_distrusted)
            self.settle(now, wall_ms)
            if calls := self._calls(health, [pair for pair in wanted if pair in self.missing], now):
                first = [] if self._has_asked else self._ask_checker(health, now)
                return [self._begin(health, calls, now), *first]
            if self._contested:
                return self._whom(now, wall_ms)
        return []

    def _consider(self, ask: Ask, quote: Quote) -> None:
        health, pair, held = ask.health, quote.pair, self._held(quote.pair)
        lags = self._tolerance.lags(health.source.source_time, quote, health.words.newest_stamp_ms(quote, held))
        is_distrusted, evidence = health.words.is_distrusted(pair), self._evidence.get(pair)
        if evidence is None:
            # The usual case: no source is asked to check, and the quote does not surprise.
            is_plain = not (self._checker or ask.checks or lags or is_distrusted)
            if is_plain and (held is None or fits(quote, held, self._checks.share)):
                self._accept(quote)
                self._heard(quote)
                return
            evidence = self._evidence[pair] = Evidence(held)
        ours = evidence.checks if ask.checks else evidence.quotes
        (evidence.laggards if lags else evidence.doubted if is_distrusted else ours).append(quote)

    def _unheard(self, ask: Ask) -> list[Pair]:
        return [pair for pair in self.missing if not self._has_said(ask.health, pair)]

    def _has_said(self, health: SourceHealth, pair: Pair) -> bool:
        evidence = self._evidence.get(pair)
        return evidence is not None and any(quote.source == health.name for quote in evidence.all)

    def _unsaid(self, health: SourceHealth, is_distrusted: bool) -> list[Pair]:
        """The missing pairs that a source is to be asked for; what it said as a checker counts as its answer."""
        wanted = []
        for pair in self.missing:
            if health.words.is_distrusted(pair) is not is_distrusted:
                continue
            if self._has_said(health, pair):
                self._evidence[pair].promote(health.name)
            else:
                wanted.append(pair)
        return wanted

    def _ask_checker(self, first: SourceHealth, now: float) -> list[Ask]:
        """Ask the source whose turn it is to check the first source, if a check is due."""
        if not self._checks.are_due(now):
            return []
        for health in self._checks.rotation(self._sources.values()):
            if health is first or health.stalled(now):
                continue
            # The pairs with its oldest quotes come first: its limit may not allow all at once.
            if calls := self._calls(health, sorted(self._pairs, key=health.words.said_at_ms), now):
                self._checks.begin(health.name, now)
                self._checker = health
                return [self._begin(health, calls, now, checks=True)]
        return []

    def _ask_everybody(self, now: float) -> list[Ask]:
        """Ask every source for the contested pairs that it has said nothing about."""
        asks = []
        for health in self._sources.values():
            silent = [pair for pair in self._contested if not self._has_said(health, pair)]
            if calls := self._calls(health, silent, now):
                asks.append(self._begin(health, calls, now, checks=True))
        for pair in self._contested:
            self._evidence[pair].everybody_was_asked, self._evidence[pair].weighed = True, 0
        self._awaited, self._contested = set(self._contested if asks else ()), {}
        return asks

    def _weigh(self, pair: Pair, evidence: Evidence) -> None:
        """Accept a quote, wait for another source, or have all of them asked."""
        is_jump = evidence.jumps(self._tolerance.max_deviation)
        evidence.weighed = len(evidence.all)
        if len(evidence.trusted) == 1:
            if not is_jump and not self._surprises(evidence):
                self._settle(evidence, evidence.quotes[0], evidence.quotes)
        elif evidence.agree(self._checks.share):
            self._settle(evidence, evidence.quotes[0], evidence.trusted)
        elif self._checks.are_made and evidence.everybody_was_asked:
            verdict = evidence.judged(self._rank, self._tolerance)
            self._checks.contested(pair, bool(verdict.right))
            if verdict.accepted:
                self._settle(evidence, verdict.accepted, verdict.right, verdict.wrong)
        elif self._checks.are_made and (is_jump or self._checks.may_contest(pair)):
            self._contested[pair] = None
        elif supported := evidence.supported(share := self._tolerance.max_deviation):
            if not self._checks.are_made:  # Distrust would never end here: count one failure instead.
                evidence.blamed = [quote for quote in evidence.trusted if not fits(quote, supported, share)]
            self._settle(evidence, supported, ())

    def _surprises(self, evidence: Evidence) -> bool:
        """Whether a price has moved so far that a second source should agree, although it is no jump."""
        if not evidence.jumps(self._checks.share):
            return False
        if self._may_doubt is None:
            self._may_doubt = self._checks.may_doubt()
        return self._may_doubt

    def _settle(
        self, evidence: Evidence, accepted: Quote, right: Sequence[Quote], wrong: Sequence[Quote] = ()
    ) -> None:
        """Serve a quote, and record which sources agree with it, distrusted ones too."""
        self._accept(accepted)
        for quote in (*evidence.trusted, *evidence.doubted):
            if quote not in evidence.blamed:
                self._heard(quote)
        self._compare(evidence.trusted, accepted, right, wrong)
        agreeing = [quote for quote in evidence.doubted if fits(quote, accepted, self._checks.share)]
        self._compare(evidence.doubted, accepted, agreeing, [each for each in evidence.doubted if each not in agreeing])

    def _finish(self, now: float, wall_ms: int) -> None:
        if self._checker and any(self._has_said(self._checker, pair) for pair in self._evidence):
            self._checks.made(self._began)
        for pair, evidence in self._evidence.items():
            evidence.everybody_was_asked = True
            if not evidence.quotes:
                evidence.quotes, evidence.checks = evidence.checks, []
            if evidence.quotes and (pair in self.missing or evidence.has_news):
                self._weigh(pair, evidence)
            if pair in self.missing:
                self._take_reserve(evidence)
            self._blame(pair, evidence, now, wall_ms)

    def _take_reserve(self, evidence: Evidence) -> None:
        """Serve a doubtful quote if nothing better has come."""
        if len(evidence.trusted) == 1 and not evidence.jumps(self._tolerance.max_deviation):
            self._settle(evidence, evidence.quotes[0], evidence.quotes)
        elif reserve := evidence.reserve(self._tolerance.max_deviation):
            self._accept(reserve)
            self._heard(reserve)

    def _blame(self, pair: Pair, evidence: Evidence, now: float, wall_ms: int) -> None:
        """Record what is wrong with the quotes that are not served."""
        accepted = self.accepted.get(pair)
        wrong: list[tuple[Quote, str]] = []
        for quote in evidence.laggards:
            lag_ms = quote.fetched_at_ms - (quote.source_time_ms or quote.fetched_at_ms)
            wrong.append((quote, f"its price is {lag_ms / 1000:.0f} s old by its own time stamp"))
        wrong += [(quote, f"{quote.price} is far from what another source says") for quote in evidence.blamed]
        if accepted is None:
            far = "is far from the held price and no second source agrees"
            wrong += [(quote, f"{quote.price} {far}") for quote in (*evidence.trusted, *evidence.doubted)]
        for quote, reason in wrong:
            if quote is not accepted:
                self._failed(self._sources[quote.source], pair, InvalidQuote(reason), now, wall_ms)
