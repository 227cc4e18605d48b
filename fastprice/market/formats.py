"""The nine sources: where each is asked, how it spells a pair, and the exact answer it gives."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from fastprice.domain.quote import Pair
from fastprice.market import bodies
from fastprice.market.complaints import COMPLAINTS, Complaint, Complaints
from fastprice.market.tick import Tick, make_tick

JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One source's documented side of the wire.

    The symbol stands in the query under `parameter`, or in `path` where that says {symbol}. `price_key` is the member
    that holds the last price. `offset` is the share by which its prices differ from the truth.
    """

    name: str
    path: str
    parameter: str
    spell: Callable[[Pair], str]
    body: bodies.Body
    price_key: str
    offset: Decimal
    names_symbol: bool = True
    padded: int = 2
    fixed: Mapping[str, str] = field(default_factory=dict)
    reset_header: str = ""

    @property
    def complaints(self) -> Complaints:
        return COMPLAINTS[self.name]

    def target(self, pair: Pair) -> str:
        """Path and query that ask for a pair."""
        query = dict(self.fixed) | ({self.parameter: self.spell(pair)} if self.parameter else {})
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return self.path.format(symbol=self.spell(pair)) + (f"?{asked}" if asked else "")

    def symbol_in(self, path: str, query: Mapping[str, str]) -> str | None:
        """The symbol a request asks for, empty where it names none; None where the path is not the documented one."""
        before, _, after = self.path.partition("{symbol}")
        if self.parameter:
            complete = self.fixed.items() <= dict(query).items()
            return (query.get(self.parameter, "") if complete else "") if path == self.path else None
        symbol = path[len(before) : len(path) - len(after)]
        return symbol if path == before + symbol + after and "/" not in symbol else None

    def tick(self, pair: Pair, truth: Decimal, opening: Decimal, time_ms: int) -> Tick:
        return make_tick(pair, truth * (1 + self.offset), opening, self.padded, time_ms)

    def ticker(self, tick: Tick) -> Answer:
        """The documented success body."""
        return Answer(_bytes(self.body(tick, self.spell(tick.pair))))

    def complain(self, complaint: Complaint, now_ms: int) -> Answer:
        """One of the documented errors."""
        return Answer(_bytes(self.complaints.shape(complaint.code, complaint.words, now_ms)), complaint.status)


def _bytes(body: bodies.Json) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _joined(pair: Pair) -> str:
    return pair.base + pair.quote


def _dashed(pair: Pair) -> str:
    return pair.symbol


def _underscored(pair: Pair) -> str:
    return f"{pair.base}_{pair.quote}"


def _lowered(pair: Pair) -> str:
    return _joined(pair).lower()


def _with_xbt(pair: Pair) -> str:
    return "".join("XBT" if currency == "BTC" else currency for currency in (pair.base, pair.quote))


def _share(basis_points: str) -> Decimal:
    return Decimal(basis_points) / 10_000


EXCHANGES = {
    exchange.name: exchange
    for exchange in (
        Exchange("binance", "/api/v3/ticker/24hr", "symbol", _joined, bodies.binance, "lastPrice", _share("0"),
                 padded=8),
        Exchange("okx", "/api/v5/market/ticker", "instId", _dashed, bodies.okx, "last", _share("1")),
        Exchange("coinbase", "/products/{symbol}/ticker", "", _dashed, bodies.coinbase, "price", _share("-1"),
                 names_symbol=False),
        Exchange("kraken", "/0/public/Ticker", "pair", _with_xbt, bodies.kraken, "c", _share("2"), padded=5),
        Exchange("bitget", "/api/v2/spot/market/tickers", "symbol", _joined, bodies.bitget, "lastPr", _share("-2")),
        Exchange("gate", "/api/v4/spot/tickers", "currency_pair", _underscored, bodies.gate, "last", _share("3")),
        Exchange("bybit", "/v5/market/tickers", "symbol", _joined, bodies.bybit, "lastPrice", _share("-3"),
                 fixed={"category": "spot"}),
        Exchange("kucoin", "/api/v1/market/orderbook/level1", "symbol", _dashed, bodies.kucoin, "price", _share("4"),
                 names_symbol=False, reset_header="gw-ratelimit-reset"),
        Exchange("bitstamp", "/api/v2/ticker/{symbol}/", "", _lowered, bodies.bitstamp, "last", _share("-4"),
                 names_symbol=False),
    )
}  # fmt: skip
