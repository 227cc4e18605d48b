"""One file per exchange: what it sends and accepts on its WebSocket, as documented. HTX has no file here."""

from fastprice.market.dialect import Dialect
from fastprice.market.dialects import binance, bitget, bitstamp, bybit, coinbase, gate, kraken, kucoin, okx

_FILES = (binance, okx, coinbase, kraken, bitget, gate, bybit, kucoin, bitstamp)

DIALECTS: dict[str, Dialect] = {file.DIALECT.name: file.DIALECT for file in _FILES}
