"""One small module per exchange: where its lightest ticker is, and how its bytes become a Quote or an error of ours."""

from fastprice.infrastructure.exchanges import binance, bitget, bitstamp, bybit, coinbase, gate, kraken, kucoin, okx
from fastprice.infrastructure.exchanges.reply import Exchange

_MODULES = (binance, okx, coinbase, kraken, bitget, gate, bybit, kucoin, bitstamp)

# By name, in the order in which they are asked unless SOURCES says otherwise.
EXCHANGES: dict[str, Exchange] = {module.EXCHANGE.name: module.EXCHANGE for module in _MODULES}
