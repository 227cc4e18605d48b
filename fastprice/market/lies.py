"""The faults that look like an answer: HTTP 200 and a body that must not be believed.

A fault's name is its function's, its meaning the function's docstring.
"""

import re
import zlib
from decimal import Decimal
from functools import cache

from fastprice.domain.quote import Pair
from fastprice.market.call import POISON, Call
from fastprice.market.formats import JSON, Answer
from fastprice.market.refusals import unknown_symbol

HUGE_BYTES = 5_000_000
BOMB_BYTES = 50_000_000
GZIP = {**JSON, "Content-Encoding": "gzip"}


def zero(call: Call) -> Answer:
    """A last price of zero."""
    return call.lie(price=_like(call.tick.price, Decimal(0)))


def negative(call: Call) -> Answer:
    """A last price below zero."""
    return call.lie(price=f"-{call.tick.price}")


def nan(call: Call) -> Answer:
    """The literal NaN as the last price."""
    return Answer(call.lie(price="NaN").body.replace(b'"NaN"', b"NaN"))


def exponent(call: Call) -> Answer:
    """The true last price in scientific notation, like 3.12045e3."""
    price = Decimal(call.tick.price)
    return call.lie(price=f"{price.scaleb(-price.adjusted())}e{price.adjusted()}")


def huge_price(call: Call) -> Answer:
    """A last price of 1e30, written plainly in 31 digits."""
    return call.lie(price="1" + "0" * 30)


def jump(call: Call) -> Answer:
    """Price, bid and ask times `factor` (default 1.5)."""
    factor, tick = Decimal(str(call.switch.factor)), call.tick
    price, bid, ask = (_like(amount, Decimal(amount) * factor) for amount in (tick.price, tick.bid, tick.ask))
    return call.lie(price=price, bid=bid, ask=ask)


def crossed(call: Call) -> Answer:
    """The bid above the ask."""
    return call.lie(bid=call.tick.ask, ask=call.tick.bid)


def odd_extras(call: Call) -> Answer:
    """The true price beside a bid below zero, an ask of 50 digits and the volume 1.23E+7."""
    return call.lie(bid="-1", ask="1" * 50, volume="1.23E+7")


def frozen(call: Call) -> Answer:
    """Price and time stamp stay as they were when the fault was set."""
    return call.exchange.ticker(call.switch.held[call.tick.pair])


def old(call: Call) -> Answer:
    """A time stamp `seconds` in the past (default 3600); without effect where the body has none (kraken, gate)."""
    return call.lie(time_ms=call.tick.time_ms - round(call.switch.seconds * 1000))


def ahead(call: Call) -> Answer:
    """A time stamp `seconds` in the future (default 50); without effect where the body has none (kraken, gate)."""
    return call.lie(time_ms=call.tick.time_ms + round(call.switch.seconds * 1000))


def halted(call: Call) -> Answer:
    """The documented refusal of a pair that is not trading (binance); elsewhere a last price of zero."""
    refusal = call.exchange.complaints.halted
    return call.exchange.complain(refusal, call.tick.time_ms) if refusal else zero(call)


def wrong_symbol(call: Call) -> Answer:
    """The body names another pair; as unknown_symbol where bodies name none (coinbase, kucoin, bitstamp)."""
    if not call.exchange.names_symbol:
        return unknown_symbol(call)
    pair = call.tick.pair
    return call.lie(pair=Pair(pair.base, "EUR" if pair.quote == "USD" else "USD"))


def duplicate_keys(call: Call) -> Answer:
    """The last price stands twice in one object, the second time as 6666.66."""
    member = re.compile(rf'"{call.exchange.price_key}":("[^"]*"|\[[^]]*\])')
    body = call.truth().body.decode()
    twice = member.sub(lambda found: f"{found[0]},{found[0].replace(call.tick.price, POISON)}", body, count=1)
    return Answer(twice.encode())


def cut_json(call: Call) -> Answer:
    """A complete HTTP answer with half the JSON."""
    body = call.truth().body
    return Answer(body[: len(body) // 2])


def bad_utf8(call: Call) -> Answer:
    """The truth and one more member, whose text is not UTF-8."""
    return Answer(call.truth().body.replace(b"{", b'{"note":"\xff\xfe",', 1))


def deep(call: Call) -> Answer:
    """20000 nested arrays."""
    return Answer(b"[" * 20_000 + b"]" * 20_000)


def huge(call: Call) -> Answer:
    """The truth and 5 MB of blanks: valid JSON."""
    return Answer(call.truth().body + b" " * HUGE_BYTES)


def bomb(call: Call) -> Answer:
    """50 MB of blanks and the truth in 50 kB of gzip: valid JSON for whoever unpacks it."""
    start, packer = _packed_blanks()
    rest = packer.copy()
    return Answer(start + rest.compress(call.truth().body) + rest.flush(), headers=GZIP)


def _like(example: str, amount: Decimal) -> str:
    """An amount with as many decimals as the example."""
    return f"{amount:.{len(example.partition('.')[2])}f}"


@cache
def _packed_blanks() -> tuple[bytes, "zlib._Compress"]:
    packer = zlib.compressobj(9, wbits=31)
    blanks = b" " * (BOMB_BYTES // 50)
    return b"".join(packer.compress(blanks) for _ in range(50)), packer


LIES = {
    fault.__name__: fault
    for fault in (
        zero, negative, nan, exponent, huge_price, jump, crossed, odd_extras, frozen, old, ahead, halted,
        wrong_symbol, duplicate_keys, cut_json, bad_utf8, deep, huge, bomb,
    )
}  # fmt: skip
# These tell the true price.
TRUTHFUL = {"odd_extras", "old", "ahead"}
