"""The service as FastAPI's manual suggests it: a pydantic model of the price, kept in memory, as the response."""

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel

from bench.peers.answer import Answer

ANSWER = Answer.from_environment()


class Price(BaseModel):
    """The price object of the service."""

    symbol: str
    base: str
    quote: str
    price: str
    bid: str | None
    ask: str | None
    volume_24h: str | None
    source: str
    source_time_ms: int | None
    fetched_at_ms: int
    stale: bool


PRICES = {"eth-usdt": Price(**ANSWER.fields())}


async def price(pair: str, response: Response) -> Price:
    if pair not in PRICES:
        raise HTTPException(404)
    response.headers.update(ANSWER.headers)
    return PRICES[pair]


app = FastAPI()
app.add_api_route("/api/v1/prices/{pair}", price, response_model=Price)
