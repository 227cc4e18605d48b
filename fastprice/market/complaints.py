"""How each exchange says no: the shape of its errors, and which code it gives for what."""

from collections.abc import Callable
from typing import NamedTuple

from fastprice.market.bodies import Json


class Complaint(NamedTuple):
    """One documented error: HTTP status, the exchange's code, its words."""

    status: int
    code: str
    words: str


class Complaints(NamedTuple):
    """An exchange's errors.

    `shape(code, words, now_ms)` is their JSON. `down` is sent under HTTP 200 by every source, also by those not known
    to do so: a body that contradicts its status. `region` is None where no JSON is documented for a refused country,
    `query` where parameters are not refused, `halted` where a pair that is not trading is not.
    """

    shape: Callable[[str, str, int], Json]
    unknown: Complaint
    limited: Complaint
    down: Complaint
    region: Complaint | None = None
    query: Complaint | None = None
    halted: Complaint | None = None


def _kucoin(code: str, words: str, now_ms: int) -> Json:
    # An unknown symbol comes under the code of success, with nothing in it.
    return {"code": code, "data": None} if code == "200000" else {"code": code, "msg": words}


COMPLAINTS = {
    "binance": Complaints(
        lambda code, words, now_ms: {"code": int(code), "msg": words},
        unknown=Complaint(400, "-1121", "Invalid symbol."),
        limited=Complaint(429, "-1003", "Too many requests; please use the websocket for live updates."),
        down=Complaint(200, "-1008", "Server is currently overloaded with other requests. Please try again."),
        halted=Complaint(400, "-1220", "The symbol's trading status does not match the requested symbolStatus."),
    ),
    "okx": Complaints(
        lambda code, words, now_ms: {"code": code, "msg": words, "data": []},
        unknown=Complaint(200, "51001", "Instrument ID doesn't exist."),
        limited=Complaint(429, "50011", "Too Many Requests"),
        down=Complaint(200, "50001", "Service temporarily unavailable. Try again later."),
    ),
    "coinbase": Complaints(
        lambda code, words, now_ms: {"message": words},
        unknown=Complaint(404, "", "NotFound"),
        limited=Complaint(429, "", "Public rate limit exceeded"),
        down=Complaint(200, "", "Internal server error"),
    ),
    "kraken": Complaints(
        lambda code, words, now_ms: {"error": [code]},
        unknown=Complaint(200, "EQuery:Unknown asset pair", ""),
        limited=Complaint(429, "EGeneral:Too many requests", ""),
        down=Complaint(200, "EService:Unavailable", ""),
    ),
    "bitget": Complaints(
        lambda code, words, now_ms: {"code": code, "msg": words, "requestTime": now_ms, "data": None},
        unknown=Complaint(400, "40034", "Parameter symbol does not exist"),
        limited=Complaint(429, "429", "Too Many Requests"),
        down=Complaint(200, "40200", "Server upgrade, please try again later"),
        region=Complaint(403, "40000", "Services are not available in your region"),
    ),
    "gate": Complaints(
        lambda code, words, now_ms: {"label": code, "message": words},
        unknown=Complaint(400, "INVALID_CURRENCY_PAIR", "Invalid currency pair"),
        limited=Complaint(429, "TOO_MANY_REQUESTS", "Request rate limit exceeded"),
        down=Complaint(200, "TOO_BUSY", "System is busy, please try again later"),
    ),
    "bybit": Complaints(
        lambda code, words, now_ms: {
            "retCode": int(code), "retMsg": words, "result": {}, "retExtInfo": {}, "time": now_ms,
        },
        unknown=Complaint(200, "10001", "Not supported symbols"),
        limited=Complaint(429, "10006", "Too many visits. Exceeded the API rate limit."),
        down=Complaint(200, "10016", "Server error."),
    ),
    "kucoin": Complaints(
        _kucoin,
        unknown=Complaint(200, "200000", ""),
        limited=Complaint(429, "429000", "Too Many Requests"),
        down=Complaint(200, "500000", "Internal Server Error"),
        region=Complaint(403, "400302", "Our services are currently unavailable in the U.S."),
    ),
    "bitstamp": Complaints(
        lambda code, words, now_ms: {"status": "error", "reason": words, "code": code},
        unknown=Complaint(404, "404.003", "Market not found"),
        limited=Complaint(429, "400.002", "Request rate limit exceeded"),
        down=Complaint(200, "500.001", "Internal server error"),
        query=Complaint(400, "400.018", "Query parameters are not accepted"),
    ),
}  # fmt: skip
