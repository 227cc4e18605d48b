"""The nine tickers as documented: every field, in the documented order, prices as JSON strings."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fastprice.market.tick import DAY_MS, Tick, plain

Json = dict[str, Any] | list[Any]
Body = Callable[[Tick, str], Json]

# Kraken answers under another name than it was asked for where one of its old pairs is meant.
KRAKEN_KEYS = {"XBTUSD": "XXBTZUSD", "ETHUSD": "XETHZUSD"}


def binance(tick: Tick, symbol: str) -> Json:
    return {
        "symbol": symbol, "priceChange": tick.change, "priceChangePercent": tick.percent,
        "weightedAvgPrice": tick.open, "prevClosePrice": tick.open, "lastPrice": tick.price,
        "lastQty": "0.20000000", "bidPrice": tick.bid, "bidQty": "31.21000000", "askPrice": tick.ask,
        "askQty": "40.66000000", "openPrice": tick.open, "highPrice": tick.high, "lowPrice": tick.low,
        "volume": tick.volume, "quoteVolume": tick.turnover, "openTime": tick.time_ms - DAY_MS,
        "closeTime": tick.time_ms, "firstId": 28385, "lastId": 928460, "count": 900076,
    }  # fmt: skip


def okx(tick: Tick, symbol: str) -> Json:
    ticker = {
        "instType": "SPOT", "instId": symbol, "last": tick.price, "lastSz": "0.1", "askPx": tick.ask, "askSz": "11",
        "bidPx": tick.bid, "bidSz": "5", "open24h": tick.open, "high24h": tick.high, "low24h": tick.low,
        "volCcy24h": tick.turnover, "vol24h": tick.volume, "sodUtc0": tick.open, "sodUtc8": tick.open,
        "ts": str(tick.time_ms),
    }  # fmt: skip
    return {"code": "0", "msg": "", "data": [ticker]}


def coinbase(tick: Tick, symbol: str) -> Json:
    time = datetime.fromtimestamp(tick.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "trade_id": 86326522, "price": tick.price, "size": "0.00698254", "time": time.replace("+00:00", "Z"),
        "bid": tick.bid, "ask": tick.ask, "volume": tick.volume, "rfq_volume": "123.122", "conversions_volume": "0.00",
    }  # fmt: skip


def kraken(tick: Tick, symbol: str) -> Json:
    today = plain(Decimal(tick.volume) / 2, 8)
    ticker = {
        "a": [tick.ask, "1", "1.000"], "b": [tick.bid, "1", "1.000"], "c": [tick.price, "0.00067643"],
        "v": [today, tick.volume], "p": [tick.open, tick.open], "t": [34619, 38907], "l": [tick.low, tick.low],
        "h": [tick.high, tick.high], "o": tick.open,
    }  # fmt: skip
    return {"error": [], "result": {KRAKEN_KEYS.get(symbol, symbol): ticker}}


def bitget(tick: Tick, symbol: str) -> Json:
    share = plain(Decimal(tick.percent) / 100, 5)
    ticker = {
        "symbol": symbol, "high24h": tick.high, "open": tick.open, "low24h": tick.low, "lastPr": tick.price,
        "quoteVolume": tick.turnover, "baseVolume": tick.volume, "usdtVolume": tick.turnover, "bidPr": tick.bid,
        "askPr": tick.ask, "bidSz": "0.0663", "askSz": "0.0119", "openUtc": tick.open, "ts": str(tick.time_ms),
        "changeUtc24h": share, "change24h": share,
    }  # fmt: skip
    return {"code": "00000", "msg": "success", "requestTime": tick.time_ms, "data": [ticker]}


def gate(tick: Tick, symbol: str) -> Json:
    ticker = {
        "currency_pair": symbol, "last": tick.price, "lowest_ask": tick.ask, "highest_bid": tick.bid,
        "change_percentage": tick.percent, "change_utc0": tick.percent, "change_utc8": tick.percent,
        "base_volume": tick.volume, "quote_volume": tick.turnover, "high_24h": tick.high, "low_24h": tick.low,
        "etf_net_value": "2.46316141", "etf_pre_net_value": "2.43201848", "etf_pre_timestamp": 1611244800,
        "etf_leverage": "2.2803019447281203",
    }  # fmt: skip
    return [ticker]


def bybit(tick: Tick, symbol: str) -> Json:
    ticker = {
        "symbol": symbol, "bid1Price": tick.bid, "bid1Size": "2", "ask1Price": tick.ask, "ask1Size": "1.862172",
        "lastPrice": tick.price, "prevPrice24h": tick.open, "price24hPcnt": plain(Decimal(tick.percent) / 100, 4),
        "highPrice24h": tick.high, "lowPrice24h": tick.low, "turnover24h": tick.turnover, "volume24h": tick.volume,
        "usdIndexPrice": tick.open,
    }  # fmt: skip
    result = {"category": "spot", "list": [ticker]}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": tick.time_ms}


def kucoin(tick: Tick, symbol: str) -> Json:
    ticker = {
        "sequence": str(tick.time_ms), "bestAsk": tick.ask, "size": "0.17", "price": tick.price,
        "bestBidSize": "3.803", "bestBid": tick.bid, "bestAskSize": "1.788", "time": tick.time_ms,
    }  # fmt: skip
    return {"code": "200000", "data": ticker}


def bitstamp(tick: Tick, symbol: str) -> Json:
    return {
        "last": tick.price, "high": tick.high, "low": tick.low, "vwap": tick.open, "volume": tick.volume,
        "bid": tick.bid, "ask": tick.ask, "timestamp": str(tick.time_ms // 1000), "open": tick.open,
        "open_24": tick.open, "percent_change_24": tick.percent, "side": "0", "market_type": "SPOT",
    }  # fmt: skip
