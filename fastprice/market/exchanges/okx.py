"""OKX spot: `/api/v5/market/ticker` for one instrument, `tickers` for all of a type; error codes."""

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, dashed
from fastprice.market.forms import Choice, Form, Json, Query, unit
from fastprice.market.limits import Limit
from fastprice.market.tick import Status, Tick


def ticker(tick: Tick, symbol: str) -> Json:
    return {
        "instType": "SPOT", "instId": symbol, "last": tick.price, "lastSz": "0.1", "askPx": tick.ask, "askSz": "11",
        "bidPx": tick.bid, "bidSz": "5", "open24h": tick.open, "high24h": tick.high, "low24h": tick.low,
        "volCcy24h": tick.turnover, "vol24h": tick.volume, "sodUtc0": tick.day_open, "sodUtc8": tick.day_open,
        "ts": str(tick.time_ms),
    }  # fmt: skip


def _instrument(tick: Tick, symbol: str) -> Json:
    return {
        "instType": "SPOT", "instId": symbol, "uly": "", "instFamily": "", "baseCcy": tick.pair.base,
        "quoteCcy": tick.pair.quote, "settleCcy": "", "ctVal": "", "listTime": "1548133413000", "expTime": "",
        "lever": "10", "tickSz": unit(tick), "lotSz": "0.000001", "minSz": "0.0001",
        "state": "live" if tick.status is Status.TRADING else "suspend",
    }  # fmt: skip


def _body(rows: list[Json], time_ms: int) -> Json:
    return {"code": "0", "msg": "", "data": rows}


_TICKER = Form(ticker, _body, "last")
_INSTRUMENTS = Form(_instrument, _body)


def _one(query: Query, symbol: str) -> Choice | Complaint:
    asked = query.get("instId")
    return Choice(_TICKER, (asked,)) if asked else _missing("instId")


def _all(query: Query, symbol: str) -> Choice | Complaint:
    return _of_type(query, _TICKER)


def _instruments(query: Query, symbol: str) -> Choice | Complaint:
    return _of_type(query, _INSTRUMENTS)


def _of_type(query: Query, form: Form) -> Choice | Complaint:
    kind = query.get("instType")
    if not kind:
        return _missing("instType")
    return Choice(form, None) if kind == "SPOT" else Complaint(400, "51000", "Parameter instType error")


def _missing(parameter: str) -> Complaint:
    return Complaint(400, "50014", f"Parameter {parameter} can not be empty.")


EXCHANGE = Exchange(
    name="okx",
    spellings=dashed,
    offset=basis_points(1),
    paths={
        "/api/v5/market/ticker": _one,
        "/api/v5/market/tickers": _all,
        "/api/v5/public/instruments": _instruments,
    },
    single="/api/v5/market/ticker?instId={symbol}",
    batch="/api/v5/market/tickers?instType=SPOT",
    complaints=Complaints(
        lambda code, words, now_ms: {"code": code, "msg": words, "data": []},
        unknown=Complaint(200, "51001", "Instrument ID doesn't exist."),
        limited=Complaint(429, "50011", "Too Many Requests"),
        down=Complaint(200, "50001", "Service temporarily unavailable. Try again later."),
    ),
    limits=(Limit(20, 2, each_path=True),),
)
