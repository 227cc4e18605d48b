"""The faults that are a refusal: the source answers, but not with a ticker.

The function's name is the fault's name, and its docstring is the fault's meaning.
"""

from dataclasses import replace

from fastprice.market.call import Call
from fastprice.market.exchange import Answer
from fastprice.market.exchanges import EXCHANGES

HTML = {"Content-Type": "text/html; charset=utf-8"}
CLOUDFRONT = b"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://www.w3.org/TR/html4/loose.dtd">
<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>
<H1>403 ERROR</H1><H2>The request could not be satisfied.</H2><HR noshade size="1px">
The Amazon CloudFront distribution is configured to block access from your country.
</BODY></HTML>"""
MAINTENANCE = b"""<!doctype html>
<html><head><title>We will be back soon</title></head><body><h1>Scheduled maintenance</h1></body></html>"""
ELIGIBILITY = b"""{"code":0,"msg":"Service unavailable from a restricted location according to 'b. Eligibility' \
in the terms of use."}"""


def rate_limited(call: Call) -> Answer:
    """429 with Retry-After `seconds` (default 5)."""
    return call.too_many(429)


def banned(call: Call) -> Answer:
    """418 with Retry-After `seconds` (default 120)."""
    return call.too_many(418)


def blocked(call: Call) -> Answer:
    """451, not served in this country."""
    return Answer(ELIGIBILITY, 451)


def geo(call: Call) -> Answer:
    """403 with the exchange's documented body for a refused country, or a CloudFront page."""
    region = call.exchange.complaints.region
    return call.exchange.complain(region, call.time_ms) if region else Answer(CLOUDFRONT, 403, HTML)


def error(call: Call) -> Answer:
    """500 with an error of the exchange in the body."""
    return replace(error_body(call), status=500)


def error_body(call: Call) -> Answer:
    """200 with the exchange's error for maintenance or overload in the body."""
    return call.exchange.complain(call.exchange.complaints.down, call.time_ms)


def html(call: Call) -> Answer:
    """200 with an HTML page."""
    return Answer(MAINTENANCE, 200, HTML)


def unknown_symbol(call: Call) -> Answer:
    """The exchange's documented answer to a pair that it does not list."""
    return call.unknown()


def redirect(call: Call) -> Answer:
    """302 to another source on this market, which would answer well."""
    other = next(exchange for exchange in EXCHANGES.values() if exchange is not call.exchange)
    target = other.target(call.tick.pair) if len(call.ticks) == 1 else other.batch
    return Answer(b"", 302, {"Location": f"/{other.name}{target}"})


REFUSALS = {
    fault.__name__: fault
    for fault in (rate_limited, banned, blocked, geo, error, error_body, html, unknown_symbol, redirect)
}
