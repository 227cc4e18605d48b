"""Everything that can go wrong with a price, named once; no other exception crosses a layer."""

from typing import ClassVar


class FastpriceError(Exception):
    """The base of the errors that this project raises on purpose; its text is one line for a person."""


class SourceError(FastpriceError):
    """A source gave no acceptable quote.

    `outcome` is its label in metrics; `retryable` says whether asking again at once can help; `concerns_pair` says that
    the call itself worked, so the error means nothing for other pairs.
    """

    outcome: ClassVar[str] = "http_error"
    retryable: ClassVar[bool] = False
    concerns_pair: ClassVar[bool] = False


class SourceDown(SourceError):
    """The source failed fast: refused or reset connection, 5xx, maintenance."""

    retryable = True


class SourceRefused(SourceError):
    """The source answered our request with an error that asking again will not fix (4xx, redirect)."""


class PairRefused(SourceRefused):
    """The source has no price for this pair now: it is halted there, or the source's own error is unknown to us."""

    concerns_pair = True


class SourceTimeout(SourceError):
    """The source did not answer in time; asking again would only cost the same time again."""

    outcome = "timeout"


class InvalidQuote(SourceError):
    """The source answered with something that is not an acceptable quote of the pair."""

    outcome = "invalid"
    concerns_pair = True


class InvalidReply(InvalidQuote):
    """The source's reply cannot be read at all: no JSON, cut off, too long; it would be the same for any other pair."""

    concerns_pair = False


class UnknownSymbol(InvalidQuote):
    """The source says that it does not list the pair: a mistake of the configuration, or of the source."""


class UnlistedAmong(InvalidQuote):
    """The source refused a list because of one of its pairs, without saying which; another way of asking shows it."""

    retryable = True


class LocalFailure(SourceError):
    """This machine could not ask: it lacks a descriptor, memory, a port, a route or name resolution.

    It says nothing about the source: calls to every other source would fail in the same way.
    """

    outcome = "local"


class CoolDown(SourceError):
    """The source told us to stay away for `seconds`."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return str(self.args[0])


class RateLimited(CoolDown):
    """Too many requests (429 and similar)."""

    outcome = "rate_limited"


class Banned(CoolDown):
    """Too many requests for too long: this address is banned for a time (418)."""

    outcome = "banned"


class Blocked(CoolDown):
    """The source does not serve this location (451, geographic 403): only hours of waiting or another address help."""

    outcome = "blocked"


class StoreUnavailable(FastpriceError):
    """The shared store did not do what was asked within its time limit."""
