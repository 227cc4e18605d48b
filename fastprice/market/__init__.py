"""A simulated exchange: ten sources' documented calls and streams on real sockets, with faults set at run time.

It shares nothing with the parsers of the service, so what they agree on is the documentation. The way of an answer:
a `Walk` gives the true price, a `Tick` is what one source says about it, the exchange's file chooses a `Form` that
turns ticks into the exchange's bytes, a fault bends it, `app` sends it; `control` is how a person or a test switches
all that. The way of a push: `streams` looks at each price when it may have moved, the `Feed` of a source makes a `Push`
of a tick that changed, the exchange's `Dialect` has the `Channel` that writes it, a stream fault bends it, and each
`Connection` that listens gets the bytes.
"""

from fastprice.market.app import Market
from fastprice.market.run import serve, source_urls

__all__ = ["Market", "serve", "source_urls"]
