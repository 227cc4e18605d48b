"""What ten exchanges may complain of, and which of our errors each complaint becomes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from email.utils import formatdate
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprice.domain.errors import (
    Banned, Blocked, CoolDown, InvalidQuote, InvalidReply, PairRefused, RateLimited, SourceDown, SourceError,
    SourceRefused, UnknownSymbol
)
from fastprice.infrastructure.exchanges.reply import MAX_LINE, Reply, retry_after
from tests.documented import EVERY, MANY, NOW_MS, SINGLE, answers, changed

HOURS = 6 * 3600.0
NOW = NOW_MS / 1000

every_exchange = pytest.mark.parametrize("name", SINGLE)


def refusal(key: str, body: str | bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> SourceError:
    """The error that a reply becomes; fails on a quote, lets any foreign exception through, checks the message."""
    try:
        (error,) = answers(key, body, status, headers).values()
    except SourceError as raised:
        error = raised
    assert isinstance(error, SourceError)
    message = str(error)
    assert message and message.isprintable() and len(message) <= MAX_LINE
    return error


CLOUDFRONT = (
    "<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1>\n"
    "The Amazon CloudFront distribution is configured to block access from your country.</BODY></HTML>"
)
WAF = "<html><head><title>403 Forbidden</title></head><body>Request blocked.</body></html>"


class ErrorForm(NamedTuple):
    """An exchange's documented error: the reply, and which of our errors it becomes."""

    name: str
    status: int
    body: str
    kind: type[SourceError]
    seconds: float | None = None
    headers: Mapping[str, str] = {}


def code(name: str, status: int, number: str, kind: type[SourceError], seconds: float | None = None,
         headers: Mapping[str, str] | None = None) -> ErrorForm:  # fmt: skip
    """An error in the exchange's own envelope."""
    body = {
        "binance": '{"code":%s,"msg":"Some words."}',
        "okx": '{"code":"%s","msg":"Some words","data":[]}',
        "bybit": '{"retCode":%s,"retMsg":"Some words","result":{},"retExtInfo":{},"time":1673859087947}',
        "kraken": '{"error":["%s"]}',
        "kucoin": '{"code":"%s","msg":"Some words"}',
        "gate": '{"label":"%s","message":"Some words"}',
        "bitstamp": '{"status":"error","reason":"Some words","code":"%s"}',
        "bitget": '{"code":"%s","msg":"Some words","requestTime":1695808949356,"data":null}',
        "htx": '{"ts":1629788763750,"status":"error","err-code":"%s","err-msg":"Some words","data":null}',
    }[name]
    return ErrorForm(name, status, body % number, kind, seconds, headers or {})


def binance_ban(until_ms: int) -> str:
    words = f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket Streams."
    return json.dumps({"code": -1003, "msg": words})


def bybit_reset(milliseconds: int) -> dict[str, str]:
    return {"x-bapi-limit-reset-timestamp": str(NOW_MS + milliseconds)}


def gate_reset(seconds: int) -> dict[str, str]:
    return {"x-gate-ratelimit-reset-timestamp": str(NOW_MS // 1000 + seconds)}


RETRY_37 = {"retry-after": "37"}
ERROR_FORMS = {
    # Binance: the limit and the ban have the same code; the status tells them apart.
    "binance unknown": code("binance", 400, "-1121", UnknownSymbol),
    "binance unknown under 200": code("binance", 200, "-1121", UnknownSymbol),
    "binance halted": code("binance", 400, "-1220", PairRefused),
    "binance limit": code("binance", 429, "-1003", RateLimited, 37, RETRY_37),
    "binance limit without time": code("binance", 429, "-1003", RateLimited, 15),
    "binance limit under 200": code("binance", 200, "-1003", RateLimited, 15),
    "binance limit in text": ErrorForm("binance", 429, "slow down", RateLimited, 37, RETRY_37),
    "binance ban": code("binance", 418, "-1003", Banned, 259200, {"retry-after": "259200"}),
    "binance ban without time": code("binance", 418, "-1003", Banned, 120),
    "binance ban in text": ErrorForm("binance", 418, "", Banned, 37, RETRY_37),
    "binance ban for weeks": ErrorForm("binance", 418, "", Banned, 259200, {"retry-after": "99999999999"}),
    "binance ban of 5000 digits": ErrorForm("binance", 418, "", Banned, 259200, {"retry-after": "9" * 5000}),
    "binance limit of no time": ErrorForm("binance", 429, "", RateLimited, 1, {"retry-after": "0"}),
    "binance limit until half a date": ErrorForm("binance", 429, "", RateLimited, 15, {"retry-after": "Wed, 21 Oct"}),
    "binance limit until a time": ErrorForm(
        "binance", 429, "", RateLimited, 99.81, {"retry-after": formatdate(NOW_MS // 1000 + 100, usegmt=True)}
    ),
    "binance limit of minus one": ErrorForm("binance", 429, "", RateLimited, 15, {"retry-after": "-1"}),
    "binance firewall": ErrorForm("binance", 403, WAF, Banned, 120),
    "binance country": ErrorForm("binance", 403, CLOUDFRONT, Blocked, HOURS),
    "binance 451": ErrorForm(
        "binance", 451,
        """{"code":0,"msg":"Service unavailable from a restricted location according to 'b. Eligibility' in terms"}""",
        Blocked, HOURS,
    ),
    "binance busy": code("binance", 503, "-1008", SourceDown),
    "binance busy under 200": code("binance", 200, "-1008", SourceDown),
    "binance going down": code("binance", 503, "-1016", SourceDown),
    "binance going down under 200": code("binance", 200, "-1016", SourceDown),
    "binance timeout": code("binance", 408, "-1007", SourceDown),
    "binance symbol of illegal characters": code("binance", 400, "-1100", UnknownSymbol),
    "binance other": code("binance", 400, "-1130", PairRefused),
    "binance other under 200": code("binance", 200, "-1130", PairRefused),
    # OKX: the code decides, whether the status is 200 or not.
    "okx unknown": code("okx", 200, "51001", UnknownSymbol),
    "okx unknown under 400": code("okx", 400, "51001", UnknownSymbol),
    "okx limit": code("okx", 429, "50011", RateLimited, 15),
    "okx limit under 200": code("okx", 200, "50011", RateLimited, 37, RETRY_37),
    "okx busy": code("okx", 429, "50013", SourceDown),
    "okx maintenance": code("okx", 503, "50001", SourceDown),
    "okx system error": code("okx", 500, "50026", SourceDown),
    "okx system error under 200": code("okx", 200, "50026", SourceDown),
    "okx maintenance under 200": code("okx", 200, "50001", SourceDown),
    "okx other": code("okx", 200, "50014", PairRefused),
    # Coinbase: the status decides.
    "coinbase unknown": ErrorForm("coinbase", 404, '{"message":"NotFound"}', UnknownSymbol),
    "coinbase limit": ErrorForm("coinbase", 429, '{"message":"Public rate limit exceeded"}', RateLimited, 15),
    "coinbase error": ErrorForm("coinbase", 500, '{"message":"Internal server error"}', SourceDown),
    "coinbase words under 200": ErrorForm("coinbase", 200, '{"message":"Internal server error"}', InvalidQuote),
    "coinbase bad request": ErrorForm("coinbase", 400, '{"message":"User agent required"}', PairRefused),
    # Kraken: always HTTP 200, except at its edge.
    "kraken unknown": code("kraken", 200, "EQuery:Unknown asset pair", UnknownSymbol),
    "kraken limit": code("kraken", 200, "EGeneral:Too many requests", RateLimited, 15),
    "kraken api limit": code("kraken", 200, "EAPI:Rate limit exceeded", RateLimited, 15),
    "kraken throttled until": code("kraken", 200, f"EService:Throttled: {NOW_MS // 1000 + 42}", RateLimited, 41.81),
    "kraken throttled till before": code("kraken", 200, "EService:Throttled: 1700000000", RateLimited, 1),
    "kraken throttled until a fraction": code(
        "kraken", 200, f"EService:Throttled: {NOW_MS // 1000 + 42}.5", RateLimited, 42.31
    ),
    "kraken throttled for ever": code("kraken", 200, "EService:Throttled: " + "9" * 400, RateLimited, 259200),
    "kraken throttled somehow": code("kraken", 200, "EService:Throttled: soon", RateLimited, 15),
    "kraken throttled wordlessly": code("kraken", 200, "EService:Throttled", RateLimited, 15),
    "kraken edge limit": ErrorForm("kraken", 429, "error code: 1015", RateLimited, 15),
    "kraken edge down": ErrorForm("kraken", 503, WAF, SourceDown),
    "kraken unavailable": code("kraken", 200, "EService:Unavailable", SourceDown),
    "kraken busy": code("kraken", 200, "EService:Busy", SourceDown),
    "kraken internal": code("kraken", 200, "EGeneral:Internal error:0815", SourceDown),
    "kraken lockout": code("kraken", 200, "EGeneral:Temporary lockout", Banned, 120),
    "kraken other": code("kraken", 200, "EGeneral:Invalid arguments", PairRefused),
    "kraken warning and error": code("kraken", 200, 'WDatabase:Slow","EService:Unavailable', SourceDown),
    "kraken error in words": ErrorForm("kraken", 200, '{"error":"EService:Unavailable"}', PairRefused),
    # Bybit: two kinds of 403.
    "bybit unknown": code("bybit", 200, "10001", UnknownSymbol),
    "bybit limit": code("bybit", 200, "10006", RateLimited, 15),
    "bybit system limit": ErrorForm("bybit", 429, "", RateLimited, 15),
    "bybit too frequent": ErrorForm("bybit", 403, "access too frequent", RateLimited, 600),
    "bybit too frequent in JSON": ErrorForm("bybit", 403, '{"retMsg":"Access too frequent"}', RateLimited, 600),
    "bybit too frequent, 37 s": ErrorForm("bybit", 403, "access too frequent", RateLimited, 600, RETRY_37),
    "bybit too frequent, 1 h": ErrorForm("bybit", 403, "", RateLimited, 3600, {"retry-after": "3600"}),
    "bybit country": ErrorForm("bybit", 403, CLOUDFRONT, Blocked, HOURS),
    "bybit region": code("bybit", 200, "10009", Blocked, HOURS),
    "bybit region under 403": code("bybit", 403, "10009", Blocked, HOURS),
    "bybit region and a retry": code("bybit", 200, "10009", Blocked, HOURS, RETRY_37),
    "bybit down": code("bybit", 200, "10016", SourceDown),
    "bybit other": code("bybit", 200, "10002", PairRefused),
    # KuCoin: an unknown symbol comes under the code of success; limits have a header of their own.
    "kucoin unknown": ErrorForm("kucoin", 200, '{"code":"200000","data":null}', UnknownSymbol),
    "kucoin parameter": code("kucoin", 400, "400100", UnknownSymbol),
    "kucoin symbol": code("kucoin", 200, "900001", UnknownSymbol),
    "kucoin limit": code("kucoin", 429, "429000", RateLimited, 12.345, {"gw-ratelimit-reset": "12345"}),
    "kucoin limit under 200": code("kucoin", 200, "429000", RateLimited, 12.345, {"gw-ratelimit-reset": "12345"}),
    "kucoin limit, now over": code("kucoin", 429, "429000", RateLimited, 1, {"gw-ratelimit-reset": "3"}),
    "kucoin limit, huge": code("kucoin", 429, "429000", RateLimited, 259200, {"gw-ratelimit-reset": "9" * 5000}),
    "kucoin overload": code("kucoin", 429, "429000", RateLimited, 15),
    "kucoin overload under 200": code("kucoin", 200, "429000", RateLimited, 15),
    "kucoin limit in text": ErrorForm("kucoin", 429, "", RateLimited, 12.345, {"gw-ratelimit-reset": "12345"}),
    "kucoin overload, 37 s": code("kucoin", 429, "429000", RateLimited, 37, RETRY_37),
    "kucoin edge limit": ErrorForm("kucoin", 429, "error code: 1015", RateLimited, 30),
    "kucoin edge limit under 403": ErrorForm("kucoin", 403, "error code: 1015", RateLimited, 30),
    "kucoin region": code("kucoin", 403, "400302", Blocked, HOURS),
    "kucoin region under 200": code("kucoin", 200, "400302", Blocked, HOURS),
    "kucoin maintenance": ErrorForm("kucoin", 503, WAF, SourceDown),
    "kucoin internal": code("kucoin", 200, "500000", SourceDown),
    "kucoin other": code("kucoin", 200, "400005", PairRefused),
    "kucoin forbidden": ErrorForm("kucoin", 403, WAF, Banned, 120),
    # Gate: labels instead of codes.
    "gate unknown": code("gate", 400, "INVALID_CURRENCY_PAIR", UnknownSymbol),
    "gate delisted": code("gate", 400, "INVALID_CURRENCY", UnknownSymbol),
    "gate limit": code("gate", 429, "TOO_MANY_REQUESTS", RateLimited, 37, RETRY_37),
    "gate limit under 200": code("gate", 200, "TOO_MANY_REQUESTS", RateLimited, 15),
    "gate down": code("gate", 500, "SERVER_ERROR", SourceDown),
    "gate down under 200": code("gate", 200, "SERVER_ERROR", SourceDown),
    "gate busy under 200": code("gate", 200, "TOO_BUSY", SourceDown),
    "gate other": code("gate", 400, "INVALID_PARAM_VALUE", PairRefused),
    "gate other under 200": code("gate", 200, "INVALID_PARAM_VALUE", PairRefused),
    # Bitstamp: dotted codes, in one of two fields, as text or as a number.
    "bitstamp unknown": code("bitstamp", 404, "404.003", UnknownSymbol),
    "bitstamp unknown under 400": code("bitstamp", 400, "404.007", UnknownSymbol),
    "bitstamp unknown page": ErrorForm("bitstamp", 404, "<html>Page not found</html>", UnknownSymbol),
    "bitstamp unknown as a number": ErrorForm("bitstamp", 200, '{"code":404.003}', UnknownSymbol),
    "bitstamp unknown elsewhere": ErrorForm("bitstamp", 200, '{"response_code":"404.003"}', UnknownSymbol),
    "bitstamp limit": code("bitstamp", 400, "400.002", RateLimited, 15),
    "bitstamp limit under 429": code("bitstamp", 429, "400.002", RateLimited, 37, RETRY_37),
    "bitstamp down": code("bitstamp", 200, "500.001", SourceDown),
    "bitstamp down under 500": code("bitstamp", 500, "500.000", SourceDown),
    "bitstamp query": code("bitstamp", 400, "400.018", PairRefused),
    # Bitget: anything but 00000 is an error.
    "bitget unknown": code("bitget", 400, "40034", UnknownSymbol),
    "bitget limit": code("bitget", 429, "429", RateLimited, 15),
    "bitget limit under 200": code("bitget", 200, "429", RateLimited, 15),
    "bitget region": code("bitget", 403, "40000", Blocked, HOURS),
    "bitget region under 400": code("bitget", 400, "40000", Blocked, HOURS),
    "bitget upgrade": code("bitget", 200, "40200", SourceDown),
    "bitget system": code("bitget", 400, "40015", SourceDown),
    "bitget service": code("bitget", 400, "40725", SourceDown),
    "bitget other": code("bitget", 200, "42016", PairRefused),
    "bitget almost success": code("bitget", 200, "0", PairRefused),
    # HTX: words for codes, under HTTP 200.
    "htx unknown": code("htx", 200, "invalid-parameter", UnknownSymbol),
    "htx symbol": code("htx", 200, "base-symbol-error", UnknownSymbol),
    "htx limit": code("htx", 200, "base-request-exceed-frequency-limit", RateLimited, 15),
    "htx limit under 429": code("htx", 429, "too-many-requests", RateLimited, 37, RETRY_37),
    "htx maintenance": code("htx", 200, "system-maintenance", SourceDown),
    "htx gateway": code("htx", 200, "gateway-internal-error", SourceDown),
    "htx timeout": code("htx", 200, "timeout", SourceDown),
    "htx other": code("htx", 200, "bad-request", PairRefused),
    # Other documented errors that a request for a ticker can meet.
    "binance banned until": ErrorForm("binance", 418, binance_ban(NOW_MS + 90_000), Banned, 90),
    "binance banned until, under 429": ErrorForm("binance", 429, binance_ban(NOW_MS + 90_000), Banned, 90),
    "binance banned until, and a longer retry": ErrorForm(
        "binance", 418, binance_ban(NOW_MS + 90_000), Banned, 3600, {"retry-after": "3600"}
    ),
    "binance banned until, and a shorter retry": ErrorForm("binance", 418, binance_ban(NOW_MS + 90_000), Banned, 90, RETRY_37),
    "binance banned until just now": ErrorForm("binance", 418, binance_ban(NOW_MS - 5), Banned, 1),
    "binance banned until, years": ErrorForm("binance", 418, binance_ban(9_999_999_999_999), Banned, 259200),
    "binance disconnected": code("binance", 400, "-1001", SourceDown),
    "binance unknown error": code("binance", 200, "-1000", SourceDown),
    "binance server busy": code("binance", 200, "-1004", SourceDown),
    "binance message bus": code("binance", 200, "-1006", SourceDown),
    "binance not authorized": code("binance", 401, "-1002", SourceRefused),
    "binance unknown parameter": code("binance", 400, "-1103", SourceRefused),
    "binance no depth": code("binance", 400, "-1112", PairRefused),
    "okx timeout": code("okx", 400, "50004", SourceDown),
    "okx offline": code("okx", 200, "50005", SourceDown),
    "okx too frequent": code("okx", 200, "50040", RateLimited, 15),
    "okx other type": code("okx", 200, "51015", UnknownSymbol),
    "okx not open yet": code("okx", 200, "51021", PairRefused),
    "okx feature": code("okx", 200, "50062", SourceRefused),
    "coinbase delisted": ErrorForm("coinbase", 400, '{"message":"Not allowed for delisted products"}', UnknownSymbol),
    "coinbase maintenance": ErrorForm("coinbase", 503, '{"message":"under maintenance"}', SourceDown),
    "kraken invalid pair": code("kraken", 200, "EQuery:Invalid asset pair", UnknownSymbol),
    "kraken asset": code("kraken", 200, "EQuery:Unknown asset", UnknownSymbol),
    "kraken timeout": code("kraken", 200, "EService:Timeout", SourceDown),
    "kraken deadline": code("kraken", 200, "EService:Deadline elapsed", SourceDown),
    "kraken database": code("kraken", 200, "EDatabase:Internal error", SourceDown),
    "kraken permission": code("kraken", 200, "EGeneral:Permission denied", SourceRefused),
    "kraken cancel only": code("kraken", 200, "EService:Market in cancel_only mode", PairRefused),
    "bybit timeout": code("bybit", 200, "10000", SourceDown),
    "bybit address limit": code("bybit", 200, "10018", RateLimited, 15),
    "bybit system protection": code("bybit", 429, "10429", RateLimited, 15),
    "bybit system protection under 200": code("bybit", 200, "10429", RateLimited, 15),
    "bybit limit until": code("bybit", 200, "10006", RateLimited, 3.5, bybit_reset(3500)),
    "bybit system limit until": ErrorForm("bybit", 429, "", RateLimited, 3.5, bybit_reset(3500)),
    "bybit limit until just now": code("bybit", 200, "10006", RateLimited, 1, bybit_reset(0)),
    "bybit limit until and a retry": code("bybit", 429, "10006", RateLimited, 37, RETRY_37 | bybit_reset(3500)),
    "bybit limit until nonsense": code("bybit", 200, "10006", RateLimited, 15, {"x-bapi-limit-reset-timestamp": "soon"}),
    "bybit too frequent until": ErrorForm("bybit", 403, "access too frequent", RateLimited, 600, bybit_reset(3500)),
    "bybit compliance": code("bybit", 200, "10024", Blocked, HOURS),
    "bybit compliance under 403": code("bybit", 403, "10024", Blocked, HOURS),
    "bybit symbol": code("bybit", 200, "10029", UnknownSymbol),
    "bybit route": code("bybit", 404, "10017", SourceRefused),
    "kucoin bad request": code("kucoin", 400, "400000", UnknownSymbol),
    "kucoin country": code("kucoin", 200, "400500", Blocked, HOURS),
    "kucoin unavailable": code("kucoin", 200, "503000", SourceDown),
    "kucoin no such address": code("kucoin", 404, "404000", SourceRefused),
    "kucoin edge limit until": ErrorForm("kucoin", 429, "error code: 1015", RateLimited, 12.345, {"gw-ratelimit-reset": "12345"}),
    "gate too fast": code("gate", 400, "TOO_FAST", RateLimited, 15),
    "gate limit until": code("gate", 429, "TOO_MANY_REQUESTS", RateLimited, 7.81, gate_reset(8)),
    "gate limit until, in text": ErrorForm("gate", 429, "", RateLimited, 7.81, gate_reset(8)),
    "gate limit until just now": code("gate", 429, "TOO_MANY_REQUESTS", RateLimited, 1, gate_reset(0)),
    "gate limit until and a retry": code("gate", 429, "TOO_MANY_REQUESTS", RateLimited, 37, RETRY_37 | gate_reset(8)),
    "gate internal": code("gate", 500, "INTERNAL", SourceDown),
    "gate forbidden address": code("gate", 400, "IP_FORBIDDEN", SourceRefused),
    "bitstamp whole market": ErrorForm("bitstamp", 200, EVERY["bitstamp whole"].body, UnknownSymbol),
    "bitstamp unavailable": code("bitstamp", 200, "503.001", SourceDown),
    "bitstamp maintenance": ErrorForm(
        "bitstamp", 200, '{"error":"Bitstamp.net is under scheduled maintenance. We will be back soon."}', SourceDown
    ),
    "bitget removed": code("bitget", 400, "40309", UnknownSymbol),
    "bitget throttled": code("bitget", 200, "1001", RateLimited, 15),
    "bitget timeout": code("bitget", 200, "40010", SourceDown),
    "bitget busy": code("bitget", 200, "40604", SourceDown),
    "bitget unknown error": code("bitget", 200, "45001", SourceDown),
    "bitget pair in maintenance": code("bitget", 200, "41114", PairRefused),
    "bitget no such address": code("bitget", 404, "40404", SourceRefused),
}  # fmt: skip


@pytest.mark.parametrize("form", ERROR_FORMS.values(), ids=ERROR_FORMS.keys())
def test_error_form_becomes_our_error(form: ErrorForm) -> None:
    error = refusal(f"{form.name} single", form.body, form.status, form.headers)
    assert type(error) is form.kind
    assert isinstance(error, CoolDown) is (form.seconds is not None)
    if isinstance(error, CoolDown):
        assert error.seconds == pytest.approx(form.seconds, abs=0.001)


# What a Retry-After means in seconds, 30 s before 23:45:40 GMT on a Wednesday in November.
RETRY_AFTER = {
    "30": 30, "30.5": 30.5, "0": 1, "0.2": 1, "-30": 15, "30 s": 15, "soon": 15, "": 15, "1e9": 15, "\u0663\u0660": 15,
    "Wed, 25 Nov 2026 23:45:40 GMT": 30, "Wednesday, 25-Nov-26 23:45:40 GMT": 30, "Wed Nov 25 23:45:40 2026": 30,
    "Wed, 25 Nov 2026 23:45:40 -0000": 30, "Wed, 25 Nov 2026 23:45:40 +0000": 30, "Wed, 25 Nov 2026 23:45:40": 30,
    "Wed, 25 Nov 2026 23:45:40 UT": 30, "wed, 25 nov 2026 23:45:40 gmt": 30, "Thu, 26 Nov 2026 00:45:40 +0100": 30,
    "Wed Nov 25 23:45:09 2026": 1, "Sunday, 06-Nov-94 08:49:37 GMT": 1, "Sun Nov  6 08:49:37 1994": 1,
    "Wed, 25 Nov 2026 25:45:40 GMT": 15, "Wed, 25 Nov 2026 23:45:40 +9999": 15, "Fri Dec 25 23:45:40 9999": 259_200,
}  # fmt: skip
READ_RETRY_AFTER = """
import json, sys
from fastprice.infrastructure.exchanges.reply import Reply, retry_after
print(json.dumps([retry_after(Reply(429, {"retry-after": said}, b"", 1795650310000), 15) for said in json.load(sys.stdin)]))
"""


# Zones in the form that needs no zone database: New York is five hours behind GMT, Tokyo nine ahead.
@pytest.mark.parametrize("zone", ["UTC0", "EST5EDT,M3.2.0,M11.1.0", "JST-9"])
def test_retry_after_means_the_same_in_whatever_zone_this_machine_is(zone: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_RETRY_AFTER], env={**os.environ, "TZ": zone}, input=json.dumps(list(RETRY_AFTER)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert dict(zip(RETRY_AFTER, json.loads(done.stdout), strict=True)) == RETRY_AFTER


@given(st.text(alphabet="0123456789:+- ,.GMTWedNov\x00\ud800\u0663", max_size=40) | st.text(max_size=40))
def test_any_retry_after_is_a_sane_number_of_seconds(said: str) -> None:
    assert 1 <= retry_after(Reply(429, {"retry-after": said}, b"", NOW_MS), 15) <= 259_200


@pytest.mark.parametrize(("status", "kind"), [(400, PairRefused), (404, PairRefused), (401, SourceRefused), (503, SourceDown)])
def test_code_that_is_not_known_concerns_the_pair_unless_the_status_says_otherwise(
    status: int, kind: type[SourceError]
) -> None:
    assert type(refusal("okx single", '{"code":"51027","msg":"Suspended","data":[]}', status)) is kind


STATUSES: dict[int, type[SourceError]] = {
    301: SourceRefused, 302: SourceRefused, 304: SourceRefused, 307: SourceRefused, 400: SourceRefused,
    401: SourceRefused, 405: SourceRefused, 418: Banned, 429: RateLimited, 451: Blocked,
    500: SourceDown, 502: SourceDown, 503: SourceDown, 504: SourceDown, 520: SourceDown,
}  # fmt: skip
SHAPES = ["", "{}", "[]", "null", '"x"', "1", "<html>\r\n</html>", "[" * 20000, "\x00", '{"code":{},"retCode":[]}']


@pytest.mark.parametrize("key", EVERY)
def test_status_decides_where_the_body_explains_nothing(key: str) -> None:
    for status, kind in STATUSES.items():
        for body in SHAPES:
            assert type(refusal(key, body, status)) is kind, (status, body[:20])
        assert type(refusal(key, EVERY[key].body, status)) is kind, "a good body under a bad status is no quote"


@pytest.mark.parametrize("key", EVERY)
def test_forbidden_is_for_hours_only_where_it_names_the_country(key: str) -> None:
    assert type(refusal(key, CLOUDFRONT, 403)) is Blocked
    assert type(refusal(key, '{"message":"Not available in your region."}', 403)) is Blocked
    assert type(refusal(key, WAF, 403)) is (RateLimited if "bybit" in key else Banned)


@pytest.mark.parametrize("key", EVERY)
def test_long_and_wild_words_reach_us_as_one_short_line(key: str) -> None:
    wild = json.dumps("\r\n\x1b[31m\x00\u2028\ud800\U000e0001 words " * 1000)
    words = ("code", "msg", "retCode", "retMsg", "error", "label", "message", "reason", "symbol", "err-code", "err-msg")
    for status in 200, 400, 500:
        refusal(key, "{" + ",".join(f'"{word}":{wild}' for word in words) + "}", status)
        refusal(key, f'{{"error":[{wild}],"code":{wild}}}', status)


def test_words_of_the_exchange_reach_the_operator() -> None:
    assert str(refusal("okx single", '{"code":"50014","msg":"Parameter is empty"}')) == "50014 Parameter is empty"
    assert str(refusal("coinbase single", '{"message":"Down"}', 500)) == "HTTP 500 Down"
    assert str(refusal("kraken single", '{"error":["EQuery:Unknown asset pair"]}')) == "EQuery:Unknown asset pair"


def test_kraken_warning_beside_a_good_answer_is_no_error() -> None:
    body = changed(SINGLE["kraken"], (("error",), ["WGeneral:Danger ahead"]))
    assert list(answers("kraken single", body).values()) == [SINGLE["kraken"].quote("kraken")]


# Errors of a request for many pairs


@pytest.mark.parametrize("form", ERROR_FORMS.values(), ids=ERROR_FORMS.keys())
def test_complaint_of_a_question_for_many_pairs_is_of_the_call_and_means_the_same(form: ErrorForm) -> None:
    for key in f"{form.name} several", f"{form.name} whole":
        if key in MANY and form.body != EVERY[key].body:
            error = refusal(key, form.body, form.status, form.headers)
            if issubclass(form.kind, UnknownSymbol | PairRefused) and "whole" in key:
                # The request named no pair, so the error can mean none.
                assert type(error) in (SourceRefused, InvalidReply)
            elif form.kind is not InvalidQuote:
                assert type(error) is form.kind
