"""One small module per exchange: how its tickers are requested, and how its replies become Quotes or our errors."""

from fastprice.infrastructure.exchanges import (
    binance, bitget, bitstamp, bybit, coinbase, gate, htx, kraken, kucoin, okx
)
from fastprice.infrastructure.exchanges.spec import Exchange

_MODULES = (binance, okx, coinbase, kraken, bitget, gate, bybit, kucoin, bitstamp, htx)

# By name, in the order in which they are called unless SOURCES says otherwise.
EXCHANGES: dict[str, Exchange] = {module.EXCHANGE.name: module.EXCHANGE for module in _MODULES}
# Exchanges whose stream address can be configured; KuCoin's REST API tells the address of its stream.
MOVABLE_STREAMS = tuple(name for name, each in EXCHANGES.items() if each.stream and each.stream.token is None)
