"""One small module per exchange: how its tickers are asked for, and how its bytes become Quotes or errors of ours."""

from fastprice.infrastructure.exchanges import (
    binance, bitget, bitstamp, bybit, coinbase, gate, htx, kraken, kucoin, okx
)
from fastprice.infrastructure.exchanges.spec import Exchange

_MODULES = (binance, okx, coinbase, kraken, bitget, gate, bybit, kucoin, bitstamp, htx)

# By name, in the order in which they are asked unless SOURCES says otherwise.
EXCHANGES: dict[str, Exchange] = {module.EXCHANGE.name: module.EXCHANGE for module in _MODULES}
# Whose stream may be looked for elsewhere; KuCoin's REST side says where its stream is.
MOVABLE_STREAMS = tuple(name for name, each in EXCHANGES.items() if each.stream and each.stream.token is None)
