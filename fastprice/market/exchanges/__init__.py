"""One file per exchange: all its answers, as documented. A new exchange needs a file, and its name here."""

from fastprice.market.exchange import Exchange
from fastprice.market.exchanges import binance, bitget, bitstamp, bybit, coinbase, gate, htx, kraken, kucoin, okx

_FILES = (binance, okx, coinbase, kraken, bitget, gate, bybit, kucoin, bitstamp, htx)

EXCHANGES: dict[str, Exchange] = {file.EXCHANGE.name: file.EXCHANGE for file in _FILES}
