"""A simulated exchange: ten sources' documented wire formats over real HTTP, with faults switched at run time.

It shares nothing with the parsers of the service, so what they agree on is the documentation. The way of an answer:
a `Walk` gives the true price, a `Tick` is what one source says about it, the exchange's file chooses a `Form` that
turns ticks into the exchange's bytes, a fault bends it, `app` sends it; `control` is how a person or a test switches
all that.
"""

from fastprice.market.app import Market
from fastprice.market.run import serve, source_urls

__all__ = ["Market", "serve", "source_urls"]
