"""One exchange as a PriceSource: it chooses the form of request, keeps the time limit, and hides secrets in errors."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fastprice.application.events import SourceAsked
from fastprice.application.ports import Answers, Call, Clock, Events
from fastprice.domain.errors import SourceError, SourceTimeout, UnknownSymbol, UnlistedAmong
from fastprice.domain.quote import Pair
from fastprice.infrastructure.exchanges.body import LARGE, SMALL, inflated
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.reply import Reply
from fastprice.infrastructure.exchanges.spec import Exchange, Form, read
from fastprice.infrastructure.exchanges.url_secrets import keep_secrets, secrets_of
from fastprice.infrastructure.exchanges.watch import Watch

# Larger bodies are parsed in a thread: one of this size takes less than a millisecond.
SLOW_BYTES = 64 * 1024


class ExchangeSource:
    """A PriceSource over one exchange; the session must be open when `fetch` is called."""

    def __init__(
        self, exchange: Exchange, base_url: str, timeout_seconds: float, session: Session, clock: Clock, events: Events
    ) -> None:
        self.name, self.source_time, self.limit = exchange.name, exchange.source_time, exchange.limit
        self._exchange = exchange
        self._base_url = base_url.rstrip("/")
        self._secrets = secrets_of(base_url) - {exchange.name}
        self._timeout_seconds = timeout_seconds
        self._session = session
        self._clock = clock
        self._events = events
        # Pairs of a list that was refused, and those that are known not to be listed: they are kept out of lists.
        self._doubted: frozenset[Pair] = frozenset()

    def calls(self, pairs: Sequence[Pair]) -> list[Call]:
        form = self._form(pairs)
        groups = [(pair,) for pair in pairs] if form is self._exchange.single else [tuple(pairs)]
        return [Call(group, form.units(len(group))) for group in groups]

    async def fetch(self, call: Call) -> Answers:
        started = self._clock.monotonic()
        outcome = "timeout"  # A cancelled call ran out of its caller's time.
        try:
            answers = await self._answers(call.pairs)
            errors = [answer for answer in answers.values() if isinstance(answer, SourceError)]
            # If the errors concern single pairs, one quote is enough for the call to count as ok.
            outcome = "ok" if len(errors) < len(answers) else errors[0].outcome
            for error in errors:
                keep_secrets(error, self._secrets)
            return answers
        except SourceError as error:
            outcome = error.outcome
            keep_secrets(error, self._secrets)
            raise
        finally:
            self._events(SourceAsked(self.name, outcome, self._clock.monotonic() - started))

    def _form(self, pairs: Sequence[Pair]) -> Form:
        return self._exchange.form(pairs, listed=self._doubted.isdisjoint(pairs))

    async def _answers(self, pairs: tuple[Pair, ...]) -> Answers:
        form, started = self._form(pairs), self._clock.monotonic()
        target = form.target([self._exchange.symbol(pair) for pair in pairs])
        async with Watch(self._clock) as watch:
            size = SMALL if form is self._exchange.single else LARGE
            reply = await self._session.get(self._base_url + target, self._timeout_seconds, size, watch)
        if self._clock.monotonic() - started > self._timeout_seconds:
            # The answer came in time but was read later: this process, or its machine, was asleep meanwhile.
            raise SourceTimeout(f"its answer was read more than {self._timeout_seconds:g} s after the question")
        work = partial(_read, self._exchange, form, pairs, reply)
        try:
            answers = await asyncio.to_thread(work) if reply.gzip or len(reply.body) > SLOW_BYTES else work()
        except SourceError as error:
            answers = self._refused(form, pairs, error)
        # Only pairs that are known to be listed may be part of a list.
        unlisted = [pair for pair, answer in answers.items() if isinstance(answer, UnknownSymbol)]
        self._doubted = self._doubted.difference(answers).union(unlisted)
        return answers

    def _refused(self, form: Form, pairs: tuple[Pair, ...], error: SourceError) -> Answers:
        """What an error of the call says about its pairs; raises the error if it says nothing about them."""
        if form is self._exchange.single and error.concerns_pair:
            return {pairs[0]: error}
        if form is self._exchange.several and error.concerns_pair:
            self._doubted = self._doubted.union(pairs)
            raise UnlistedAmong(f"{error} (one of {len(pairs)} pairs, not said which)") from None
        raise error


def _read(exchange: Exchange, form: Form, pairs: Sequence[Pair], reply: Reply) -> Answers:
    """What a reply says about each pair; slow for a large reply, and pure, so that it can run in a thread."""
    body = inflated(reply.body) if reply.gzip else reply.body
    return read(exchange, form, pairs, replace(reply, body=body, gzip=False))
