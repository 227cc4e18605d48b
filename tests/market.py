"""What the tests of the simulated exchanges share: the request to each of them for one pair, and a settable clock."""

NOW_MS = 1_753_300_000_123
# The path and query that ask for ETH/USDT alone.
SINGLE = {
    "binance": "/api/v3/ticker/24hr?symbol=ETHUSDT",
    "okx": "/api/v5/market/ticker?instId=ETH-USDT",
    "coinbase": "/products/ETH-USDT/ticker",
    "kraken": "/0/public/Ticker?pair=ETHUSDT",
    "bitget": "/api/v2/spot/market/tickers?symbol=ETHUSDT",
    "gate": "/api/v4/spot/tickers?currency_pair=ETH_USDT",
    "bybit": "/v5/market/tickers?category=spot&symbol=ETHUSDT",
    "kucoin": "/api/v1/market/orderbook/level1?symbol=ETH-USDT",
    "bitstamp": "/api/v2/ticker/ethusdt/",
    "htx": "/market/detail/merged?symbol=ethusdt",
}


class WallClock:
    """Wall time in milliseconds that only the test moves."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms
