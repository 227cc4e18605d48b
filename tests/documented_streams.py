"""Documented messages of the exchanges' live feeds, and their meaning; the pair in them is changed to ETH/USDT."""

from typing import NamedTuple

from fastprice.application.live_ports import Day
from fastprice.domain.errors import RateLimited, SourceDown, SourceError, SourceRefused, UnknownSymbol
from fastprice.infrastructure.exchanges.stream_messages import Ack, Alive, Notice, Said, Topic

Book = tuple[str | None, str | None]


class Told(NamedTuple):
    """A frame with one row: its channel and symbol, the values in it, and the key that orders it."""

    frame: str
    channel: str
    symbol: str
    price: str | None
    book: Book | None
    day: Day | None
    time_ms: int | None
    order: int | None


class Refused(NamedTuple):
    """The fields of a Reject, with the class of its error in place of the error."""

    error: type[SourceError]
    topics: tuple[Topic, ...] = ()
    request: str = ""
    others_too: bool = False


BINANCE = '{"e":"24hrTicker","E":1672515782136,"s":"ETHUSDT","p":"0.0015","P":"250.00","w":"0.0018","x":"0.0009",' \
    '"c":"0.0025","Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010","h":"0.0027","l":"0.0009",' \
    '"v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}'
OKX = '{"arg":{"channel":"tickers","instId":"ETH-USDT"},"data":[{"instType":"SPOT","instId":"ETH-USDT",' \
    '"last":"9999.99","lastSz":"0.1","askPx":"9999.99","askSz":"11","bidPx":"8888.88","bidSz":"5","open24h":"9000",' \
    '"high24h":"10000","low24h":"8888.88","volCcy24h":"2222","vol24h":"2222","sodUtc0":"2222","sodUtc8":"2222",' \
    '"ts":"1597026383085"}]}'
COINBASE = '{"type":"ticker","sequence":37475248783,"product_id":"ETH-USDT","price":"1285.22","open_24h":"1310.79",' \
    '"volume_24h":"245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027",' \
    '"best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040",' \
    '"side":"buy","time":"2022-10-19T23:28:22.061769Z","trade_id":370843401,"last_size":"11.4396987"}'
KRAKEN = '{"channel":"ticker","type":"update","data":[{"symbol":"ETH/USDT","bid":0.10025,"bid_qty":740.0,' \
    '"ask":0.10035,"ask_qty":740.0,"last":0.10035,"volume":997038.98383185,"vwap":0.10148,"low":0.09979,' \
    '"high":0.10285,"change":-0.00017,"change_pct":-0.17,"timestamp":"2023-09-25T09:04:31.742599123Z"}]}'
BYBIT = '{"topic":"tickers.ETHUSDT","ts":1673853746003,"type":"snapshot","cs":2588407389,"data":{"symbol":"ETHUSDT",' \
    '"lastPrice":"21109.77","highPrice24h":"21426.99","lowPrice24h":"20575","prevPrice24h":"20704.93",' \
    '"volume24h":"6780.866843","turnover24h":"141946527.22907118","price24hPcnt":"0.0196","usdIndexPrice":"21120.2"}}'
BYBIT_BOOK = '{"topic":"orderbook.1.ETHUSDT","ts":1672304484978,"type":"snapshot","data":{"s":"ETHUSDT",' \
    '"b":[["16493.50","0.006"]],"a":[["16611.00","0.029"]],"u":18521288,"seq":7961638724},"cts":1672304484976}'
KUCOIN = '{"type":"message","topic":"/market/ticker:ETH-USDT","subject":"trade.ticker","data":{' \
    '"sequence":"1545896668986","price":"0.08","size":"0.011","bestAsk":"0.08","bestAskSize":"0.18",' \
    '"bestBid":"0.049","bestBidSize":"0.036","time":1704873323416}}'
GATE = '{"time":1669107766,"time_ms":1669107766406,"channel":"spot.tickers","event":"update","result":{' \
    '"currency_pair":"ETH_USDT","last":"15743.4","lowest_ask":"15744.4","highest_bid":"15743.5",' \
    '"change_percentage":"-1.8254","base_volume":"9110.473081735","quote_volume":"145082083.2535",' \
    '"high_24h":"16280.9","low_24h":"15468.5"}}'
BITSTAMP = '{"event":"trade","channel":"live_trades_ethusdt","data":{"id":542327128,"timestamp":"1772723751",' \
    '"amount":0.241,"amount_str":"0.241000","price":2090.22,"price_str":"2090.22","type":0,' \
    '"microtimestamp":"1772723751946000","buy_order_id":1981271832174592,"sell_order_id":1981271832354816}}'
BITSTAMP_BOOK = '{"event":"data","channel":"order_book_ethusdt","data":{"timestamp":"1643643584",' \
    '"microtimestamp":"1643643584684047","bids":[["38416","0.33"],["38415","1"]],"asks":[["38417.5","0.25"],["38418","1"]]}}'
BITGET = '{"action":"snapshot","arg":{"instType":"SPOT","channel":"ticker","instId":"ETHUSDT"},"data":[{' \
    '"instId":"ETHUSDT","lastPr":"2200.10","open24h":"1800","high24h":"2300","low24h":"1792","change24h":"-0.1",' \
    '"bidPr":"1792","askPr":"2200.1","bidSz":"0.0084","askSz":"19740.8811","baseVolume":"105.08","quoteVolume":"1",' \
    '"openUtc":"1800","changeUtc24h":"0","ts":"1695702438018"}],"ts":1695702438029}'

ROWS = {
    "binance": Told(BINANCE, "ticker", "ETHUSDT", "0.0025", ("0.0024", "0.0026"),
                    Day("10000", "0.0027", "0.0009", "0.0010"), 1672515782136, 1672515782136),
    "okx": Told(OKX, "tickers", "ETH-USDT", "9999.99", ("8888.88", "9999.99"),
                Day("2222", "10000", "8888.88", "9000"), 1597026383085, 1597026383085),
    "coinbase": Told(COINBASE, "ticker", "ETH-USDT", "1285.22", ("1285.04", "1285.27"),
                     Day("245532.79269678", "1313.8", "1280.52", "1310.79"), 1666222102061, 37475248783),
    "kraken": Told(KRAKEN, "ticker", "ETH/USDT", "0.10035", ("0.10025", "0.10035"),
                   Day("997038.98383185", "0.10285", "0.09979", None), 1695632671742, 1695632671742599123),
    "bybit": Told(BYBIT, "tickers", "ETHUSDT", "21109.77", None,
                  Day("6780.866843", "21426.99", "20575", "20704.93"), 1673853746003, 2588407389),
    "bybit book": Told(BYBIT_BOOK, "orderbook.1", "ETHUSDT", None, ("16493.50", "16611.00"), None,
                       1672304484976, 18521288),
    "kucoin": Told(KUCOIN, "ticker", "ETH-USDT", "0.08", ("0.049", "0.08"), None, 1704873323416, 1545896668986),
    "gate": Told(GATE, "spot.tickers", "ETH_USDT", "15743.4", ("15743.5", "15744.4"),
                 Day("9110.473081735", "16280.9", "15468.5", None), 1669107766406, 1669107766406),
    "bitstamp": Told(BITSTAMP, "live_trades", "ethusdt", "2090.22", None, None, 1772723751946, 1772723751946000),
    "bitstamp book": Told(BITSTAMP_BOOK, "order_book", "ethusdt", None, ("38416", "38417.5"), None,
                          1643643584684, 1643643584684047),
    "bitget": Told(BITGET, "ticker", "ETHUSDT", "2200.10", ("1792", "2200.1"),
                   Day("105.08", "2300", "1792", "1800"), 1695702438018, 1695702438018),
}  # fmt: skip

# The requests that subscribe to ETH/USDT and BTC/USDT, sent first on a connection at 2021-01-25 02:36:40 UTC.
SUBSCRIBES = {
    "binance": ['{"method":"SUBSCRIBE","params":["ethusdt@ticker","btcusdt@ticker"],"id":1}'],
    "okx": [
        '{"id":"1","op":"subscribe","args":[{"channel":"tickers","instId":"ETH-USDT"},'
        '{"channel":"tickers","instId":"BTC-USDT"}]}'
    ],
    "coinbase": [
        '{"type":"subscribe","channels":[{"name":"ticker","product_ids":["ETH-USDT","BTC-USDT"]},'
        '{"name":"heartbeat","product_ids":["ETH-USDT"]}]}'
    ],
    "kraken": [
        '{"method":"subscribe","params":{"channel":"ticker","symbol":["ETH/USDT","BTC/USDT"],"event_trigger":"bbo",'
        '"snapshot":true},"req_id":1}'
    ],
    "bybit": [
        '{"req_id":"1","op":"subscribe","args":["tickers.ETHUSDT","tickers.BTCUSDT","orderbook.1.ETHUSDT",'
        '"orderbook.1.BTCUSDT"]}'
    ],
    "kucoin": ['{"id":"1","type":"subscribe","topic":"/market/ticker:ETH-USDT,BTC-USDT","response":true}'],
    "gate": [
        '{"time":1611542200,"id":1,"channel":"spot.tickers","event":"subscribe","payload":["ETH_USDT","BTC_USDT"]}'
    ],
    "bitstamp": [
        f'{{"event":"bts:subscribe","data":{{"channel":"{name}"}}}}'
        for name in ("live_trades_ethusdt", "live_trades_btcusdt", "order_book_ethusdt", "order_book_btcusdt")
    ],
    "bitget": [
        '{"op":"subscribe","args":[{"instType":"SPOT","channel":"ticker","instId":"ETHUSDT"},'
        '{"instType":"SPOT","channel":"ticker","instId":"BTCUSDT"}]}'
    ],
}  # fmt: skip

Meaning = list[Said | Refused]
PONG: Meaning = [Alive("pong")]
HEARTBEAT: Meaning = [Alive("heartbeat")]
STATUS: Meaning = [Alive("status")]
KRAKEN_STATUS = '{"channel":"status","type":"update","data":[{"system":"%s","api_version":"v2","connection_id":1}]}'
KRAKEN_ERROR = '{"method":"subscribe","success":false,"error":"%s","symbol":"NOPE/USD","req_id":1,"time_in":"x"}'
BYBIT_ANSWER = '{"success":%s,"ret_msg":"%s","conn_id":"2324d924","req_id":"1","op":"%s"}'
GATE_ANSWER = '{"time":1,"time_ms":1000,"id":1,"channel":"spot.tickers","event":"%s","payload":["A"],"error":%s,' \
    '"result":{"status":"%s"},"requestId":"x"}'  # fmt: skip
BITSTAMP_ERROR = '{"event":"bts:error","channel":"","data":{"code":null,"message":"%s"}}'
BITGET_ANSWER = '{"event":"%s","arg":{"instType":"SPOT","channel":"ticker","instId":"XUSDT"},"code":%d,"msg":"%s"}'
OKX_ERROR = '{"id":"1","event":"error","code":"%s","msg":"%s","connId":"a4d3ae55"}'
KUCOIN_ERROR = '{"id":"1","type":"error","code":%d,"data":"%s"}'
COINBASE_ERROR = '{"type":"error","message":"Failed to subscribe","reason":"%s"}'
BYBIT_TOPICS = Topic("tickers", "XUSDT"), Topic("orderbook.1", "XUSDT")

# All other messages, and their meaning.
ANSWERS: list[tuple[str, str, Meaning]] = [
    ("binance", '{"result":null,"id":1}', [Ack((), "1")]),
    ("binance", '{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}', [Refused(SourceRefused, (), "1")]),
    ("binance", '{"code":2,"msg":"Invalid request: unknown variant","id":1}', [Refused(SourceRefused, (), "1")]),
    ("binance", '{"code":4,"msg":"Too many requests","id":1}', [Refused(RateLimited, (), "1")]),
    ("binance", '{"e":"serverShutdown","E":1770123456789}', [Notice()]),
    ("binance", '{"result":["ethusdt@ticker"],"id":3}', []),
    ("okx", "pong", PONG),
    ("okx", '{"id":"1","event":"subscribe","arg":{"channel":"tickers","instId":"X-USDT"},"connId":"a4d3ae55"}',
     [Ack((Topic("tickers", "X-USDT"),), "1")]),
    ("okx", '{"id":"1","event":"unsubscribe","arg":{"channel":"tickers","instId":"X-USDT"},"connId":"a4d3ae55"}', []),
    ("okx", OKX_ERROR % ("60018", "Wrong URL or channel:tickers,instId:X-USDT doesn't exist. Please use the correct URL"),
     [Refused(UnknownSymbol, (Topic("tickers", "X-USDT"),), "1")]),
    ("okx", OKX_ERROR % ("60018", "Something doesn't exist"), [Refused(UnknownSymbol, (), "1")]),
    ("okx", OKX_ERROR % ("60014", "Requests too frequent"), [Refused(RateLimited, (), "1")]),
    ("okx", OKX_ERROR % ("60012", "Invalid request"), [Refused(SourceRefused, (), "1")]),
    ("okx", OKX_ERROR % ("64007", "Operation failed, retry"), [Refused(SourceDown, (), "1")]),
    ("okx", '{"event":"notice","code":"64008","msg":"upgrade","connId":"a4d3ae55"}', [Notice()]),
    ("okx", '{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"a"}', []),
    ("coinbase", '{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["X-USD","Y-USD"]},'
     '{"name":"heartbeat","product_ids":["X-USD"]}]}', [Ack((Topic("ticker", "X-USD"), Topic("ticker", "Y-USD")))]),
    ("coinbase", '{"type":"subscriptions","channels":[]}', [Alive("subscriptions")]),
    ("coinbase", '{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"X-USD","time":"x"}', HEARTBEAT),
    ("coinbase", COINBASE_ERROR % "X-USD is not a valid product",
     [Refused(UnknownSymbol, (Topic("ticker", "X-USD"),), others_too=True)]),
    ("coinbase", COINBASE_ERROR % "No channels provided", [Refused(SourceRefused)]),
    ("coinbase", '{"type":"error","message":"Rate limit exceeded"}', [Refused(RateLimited)]),
    ("kraken", KRAKEN_STATUS % "online", STATUS),
    ("kraken", KRAKEN_STATUS % "maintenance", STATUS),
    ("kraken", '{"channel":"heartbeat"}', HEARTBEAT),
    ("kraken", '{"method":"pong","success":true,"req_id":9}', PONG),
    ("kraken", '{"method":"subscribe","result":{"channel":"ticker","symbol":"X/USD","snapshot":true},"success":true,'
     '"time_in":"x","req_id":1}', [Ack((Topic("ticker", "X/USD"),), "1")]),
    ("kraken", '{"method":"unsubscribe","result":{"channel":"ticker","symbol":"X/USD"},"success":true,"req_id":1}', []),
    ("kraken", KRAKEN_ERROR % "Currency pair not supported NOPE/USD",
     [Refused(UnknownSymbol, (Topic("ticker", "NOPE/USD"),), "1")]),
    ("kraken", KRAKEN_ERROR % "Already subscribed", [Ack((Topic("ticker", "NOPE/USD"),), "1")]),
    ("kraken", '{"method":"subscribe","req_id":1}', [Refused(SourceRefused, (), "1")]),
    ("kraken", '{"Error":"Exceeded msg rate"}', [Refused(RateLimited)]),
    ("bybit", BYBIT_ANSWER % ("true", "subscribe", "subscribe"), [Ack((), "1")]),
    ("bybit", BYBIT_ANSWER % ("true", "", "unsubscribe"), []),
    ("bybit", BYBIT_ANSWER % ("true", "pong", "ping"), PONG),
    ("bybit", BYBIT_ANSWER % ("false", "Invalid symbol :[XUSDT]", "subscribe"),
     [Refused(UnknownSymbol, BYBIT_TOPICS, "1", True)]),
    ("bybit", BYBIT_ANSWER % ("false", "error:handler not found,topic:orderbook.1.XUSDT", "subscribe"),
     [Refused(UnknownSymbol, BYBIT_TOPICS[1:], "1", True)]),
    ("bybit", BYBIT_ANSWER % ("false", "error:already subscribed,topic:tickers.XUSDT", "subscribe"),
     [Ack(BYBIT_TOPICS[:1], "1")]),
    ("bybit", BYBIT_ANSWER % ("false", "args size >10", "subscribe"), [Refused(SourceRefused, (), "1")]),
    ("bybit", BYBIT_ANSWER % ("false", "10429 too frequent", "subscribe"), [Refused(RateLimited, (), "1")]),
    ("kucoin", '{"id":"hQvf8jkno","type":"welcome"}', [Alive("welcome")]),
    ("kucoin", '{"id":"p1","type":"pong","timestamp":1764196642000000}', PONG),
    ("kucoin", '{"id":"1","type":"ack"}', [Ack((), "1")]),
    ("kucoin", KUCOIN_ERROR % (404, "topic /market/ticker:X-USDT is not found"),
     [Refused(UnknownSymbol, (Topic("ticker", "X-USDT"),), "1", True)]),
    ("kucoin", KUCOIN_ERROR % (404, "topic /market/ticker:X-USDT,Y-USDT is not found"),
     [Refused(UnknownSymbol, (), "1", True)]),
    ("kucoin", KUCOIN_ERROR % (509, "exceed max subscription count limitation of 100 per time"),
     [Refused(RateLimited, (), "1")]),
    ("kucoin", KUCOIN_ERROR % (400, "ping timeout"), [Refused(SourceDown, (), "1")]),
    ("kucoin", KUCOIN_ERROR % (401, "token is expired"), [Refused(SourceDown, (), "1")]),
    ("kucoin", KUCOIN_ERROR % (415, "type is not supported"), [Refused(SourceRefused, (), "1")]),
    ("gate", GATE_ANSWER % ("subscribe", "null", "success"), [Ack((), "1")]),
    ("gate", GATE_ANSWER % ("unsubscribe", "null", "success"), []),
    ("gate", GATE_ANSWER % ("subscribe", '{"code":2,"message":"unknown currency pair: X_USDT"}', "fail"),
     [Refused(UnknownSymbol, (Topic("spot.tickers", "X_USDT"),), "1", True)]),
    ("gate", GATE_ANSWER % ("subscribe", '{"code":2,"message":"invalid argument"}', "fail"),
     [Refused(SourceRefused, (), "1")]),
    ("gate", GATE_ANSWER % ("subscribe", '{"code":3,"message":"server error"}', "fail"),
     [Refused(SourceDown, (), "1")]),
    ("gate", '{"time":1545404023,"time_ms":1545404023123,"channel":"spot.pong","event":"","error":null,"result":null}', PONG),
    ("bitstamp", '{"event":"bts:subscription_succeeded","channel":"live_trades_xusdt","data":{}}',
     [Ack((Topic("live_trades", "xusdt"),))]),
    ("bitstamp", '{"event":"bts:unsubscription_succeeded","channel":"live_trades_xusdt","data":{}}', []),
    ("bitstamp", BITSTAMP_ERROR % "Invalid channel provided.", [Refused(UnknownSymbol)]),
    ("bitstamp", BITSTAMP_ERROR % "Bad subscription string.", [Refused(SourceRefused)]),
    ("bitstamp", '{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}', PONG),
    ("bitstamp", '{"event":"bts:request_reconnect","channel":"","data":""}', [Notice()]),
    ("bitstamp", '{"event":"bts:request_reconnect","channel":"","data":null}', [Notice()]),
    ("bitget", "pong", PONG),
    ("bitget", '{"event":"subscribe","arg":{"instType":"SPOT","channel":"ticker","instId":"XUSDT"}}',
     [Ack((Topic("ticker", "XUSDT"),))]),
    ("bitget", '{"event":"unsubscribe","arg":{"instType":"SPOT","channel":"ticker","instId":"XUSDT"}}', []),
    ("bitget", BITGET_ANSWER % ("error", 30001, "instType:SPOT,channel:ticker,instId:XUSDT doesn't exist"),
     [Refused(UnknownSymbol, (Topic("ticker", "XUSDT"),))]),
    ("bitget", BITGET_ANSWER % ("error", 30016, "Param error"), [Refused(SourceRefused, (Topic("ticker", "XUSDT"),))]),
    ("bitget", '{"event":"error","code":30006,"msg":"too many requests"}', [Refused(RateLimited)]),
    ("bitget", '{"event":"error","code":30007,"msg":"request over limit, connection close"}', [Refused(RateLimited)]),
]  # fmt: skip
