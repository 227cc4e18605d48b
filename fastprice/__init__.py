"""fastprice answers "what is ETH/USDT now?" to very many clients, fast, and honestly about how old the price is.

The way of a price: exchange bytes -> Quote -> store (L2) -> Snapshot (its rendered bytes: L1) -> socket.

    exchange      infrastructure/exchanges/   all pairs in one call: bytes -> Quotes, validated facts
    round         application/round.py        which exchange is asked for what, and what is believed
    beat          application/leader.py       when, and by whom: one leader runs a round per interval
    store         infrastructure/*_store.py   the round as all workers share it: Redis, or sqlite3 without one
    snapshot      application/latest_price.py a quote as this worker serves it
    answer        interface/price_*.py        a look-up, a comparison of two numbers, bytes rendered when first read
    push          interface/streams.py        the same bytes to every subscriber, when there is a newer snapshot

The layers, each importing only those before it:

    domain          what a price is
    application     what the service does with prices, and how it survives failures
    infrastructure  one module per external system
    interface       the service as seen over HTTP
    server          processes and sockets

`bootstrap` wires them, `settings` reads the environment, `cli` is the command line, `market` a simulated exchange.
"""

__version__ = "0.1.0"
