"""fastprice answers "what is ETH/USDT now?" to very many clients, fast, and honestly about how old the price is.

The way of a price: exchange bytes -> Quote -> store (L2) -> Snapshot (its rendered bytes: L1) -> socket.

    exchange      infrastructure/exchanges/   reads one reply: bytes -> Quote, a validated fact
    failover      application/failover.py     which exchange is asked, and whether its quote is believed
    refresh       application/refresh_*.py    when, and by whom: one claimant asks, the others adopt what it stored
    store         infrastructure/*_store.py   the quote as all workers share it: Redis, or sqlite3 without one
    snapshot      application/latest_price.py the quote as this worker serves it, rendered once
    answer        interface/price_*.py        a dict look-up, a comparison of two numbers, prepared bytes

The layers, each importing only those before it:

    domain          what a price is
    application     what we do with it and how we survive
    infrastructure  one module per outside thing
    interface       how HTTP sees us
    server          processes and sockets

`bootstrap` wires them, `settings` reads the environment, `cli` is the command line, `market` a simulated exchange.
"""

__version__ = "0.1.0"
