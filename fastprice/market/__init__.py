"""A simulated exchange: ten sources' documented calls and streams on real sockets, with faults set at run time.

It shares no code with the parsers of the service, so what both have in common is the documentation. How an answer is
made: a `Walk` gives the true price, a `Tick` is what one source says about it, the exchange's file chooses a `Form`
that turns ticks into the exchange's bytes, a fault changes them, `app` sends them; a person or a test controls all
that through `control`. How a push is made: `streams` looks at each price when it may have moved, the `Feed` of a source
makes a `Push` of a tick that changed, the exchange's `Dialect` has the `Channel` that writes it, a stream fault changes
it, and each `Connection` that listens gets the bytes.
"""

from fastprice.market.app import Market
from fastprice.market.run import serve, source_urls

__all__ = ["Market", "serve", "source_urls"]
