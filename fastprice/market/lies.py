"""The faults that look like an answer: HTTP 200 and a body that must not be believed.

The function's name is the fault's name, and its docstring is the fault's meaning.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import cache

from fastprice.domain.quote import Pair
from fastprice.market.call import POISON, Call
from fastprice.market.exchange import JSON, Answer
from fastprice.market.tick import Status, Tick

HUGE_BYTES = 5_000_000
BOMB_BYTES = 50_000_000
_AMOUNT = re.compile(r"[0-9]+(?:\.[0-9]+)?")
GZIP = {**JSON, "Content-Encoding": "gzip"}


def zero(call: Call) -> Answer:
    """A last price of zero."""
    return call.lie(lambda tick: replace(tick, price=_like(tick.price, Decimal(0))))


def negative(call: Call) -> Answer:
    """A last price below zero."""
    return call.lie(lambda tick: replace(tick, price=f"-{tick.price}"))


def nan(call: Call) -> Answer:
    """The literal NaN as the last price."""
    return Answer(call.lie(lambda tick: replace(tick, price="NaN")).body.replace(b'"NaN"', b"NaN"))


def exponent(call: Call) -> Answer:
    """The true last price in scientific notation, like 3.12045e3."""
    return call.lie(lambda tick: replace(tick, price=_scientific(Decimal(tick.price))))


def huge_price(call: Call) -> Answer:
    """A last price of 1e30, written plainly in 31 digits."""
    return call.lie(lambda tick: replace(tick, price="1" + "0" * 30))


def jump(call: Call) -> Answer:
    """Price, bid and ask times `factor` (default 1.5)."""
    factor = Decimal(str(call.switch.factor))

    def bend(tick: Tick) -> Tick:
        price, bid, ask = (_like(str(old), Decimal(str(old)) * factor) for old in (tick.price, tick.bid, tick.ask))
        return replace(tick, price=price, bid=bid, ask=ask)

    return call.lie(bend)


def crossed(call: Call) -> Answer:
    """The bid above the ask."""
    return call.lie(lambda tick: replace(tick, bid=tick.ask, ask=tick.bid))


def odd_extras(call: Call) -> Answer:
    """The true price beside a bid below zero, an ask of 50 digits and the volume 1.23E+7."""
    return call.lie(lambda tick: replace(tick, bid="-1", ask="1" * 50, volume="1.23E+7"))


def frozen(call: Call) -> Answer:
    """Price and time stamp stay as they were when the fault was set."""
    return call.lie(lambda tick: call.switch.held.get(tick.pair, tick), call.switch.since_ms - call.time_ms)


def old(call: Call) -> Answer:
    """A time stamp `seconds` in the past (default 3600); without effect where the body has none (kraken, gate)."""
    return _stamped(call, -call.switch.seconds)


def ahead(call: Call) -> Answer:
    """A time stamp `seconds` in the future (default 50); without effect where the body has none (kraken, gate)."""
    return _stamped(call, call.switch.seconds)


def halted(call: Call) -> Answer:
    """A pair that is not trading: refused, or left out among others (binance); elsewhere a last price of zero."""
    refusal = call.exchange.complaints.halted
    if not call.form.price_key:
        return call.lie(lambda tick: replace(tick, status=Status.HALTED))
    if refusal is None:
        return zero(call)
    return call.exchange.complain(refusal, call.time_ms) if call.alone else call.spared().truth()


def wrong_symbol(call: Call) -> Answer:
    """The body names another pair; as unknown_symbol where bodies name none (coinbase, kucoin, bitstamp)."""
    if not call.form.names_symbol:
        return call.unknown()
    return call.lie(lambda tick: replace(tick, pair=Pair(tick.pair.base, "EUR" if tick.pair.quote == "USD" else "USD")))


def duplicate_keys(call: Call) -> Answer:
    """The last price stands twice in one object, the second time as 6666.66."""
    member = re.compile(rf'"{call.form.price_key}":("[^"]*"|\[[^]]*\]|[0-9.]+)')
    body = call.truth().body.decode()
    return Answer(member.sub(lambda found: f"{found[0]},{_AMOUNT.sub(POISON, found[0], count=1)}", body).encode())


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


def _stamped(call: Call, seconds: float) -> Answer:
    later_ms = round(seconds * 1000)
    return call.lie(lambda tick: replace(tick, time_ms=tick.time_ms + later_ms), later_ms)


def _scientific(price: Decimal) -> str:
    return f"{price.scaleb(-price.adjusted())}e{price.adjusted()}"


def _like(example: str, amount: Decimal) -> str:
    """An amount with as many decimals as the example."""
    return f"{amount:.{len(example.partition('.')[2])}f}"


@cache
def _packed_blanks() -> tuple[bytes, "zlib._Compress"]:
    packer = zlib.compressobj(9, wbits=31)
    blanks = b" " * (BOMB_BYTES // 50)
    return b"".join(packer.compress(blanks) for _ in range(50)), packer


def _named(*faults: Callable[[Call], Answer]) -> dict[str, Callable[[Call], Answer]]:
    return {fault.__name__: fault for fault in faults}


# Faults of single pairs: the other pairs in the same reply keep their true prices.
OF_PAIRS = _named(
    zero, negative, nan, exponent, huge_price, jump, crossed, odd_extras, frozen, old, ahead, halted, wrong_symbol
)
LIES = OF_PAIRS | _named(duplicate_keys, cut_json, bad_utf8, deep, huge, bomb)
# These tell the true price.
TRUTHFUL = {"odd_extras", "old", "ahead"}
# These are about the number of bytes sent.
SIZES = {"deep", "huge", "bomb"}
