"""Agreement between exchanges, with real processes: what clients and operators see of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.market import Market
from tests.conftest import RedisServer
from tests.service import PRICE, Answer, running

pytestmark = pytest.mark.anyio

NINE = [name for name, exchange in EXCHANGES.items() if exchange.by_default]
CHECKED: dict[str, Any] = {"CROSS_CHECK_INTERVAL": 0.5, "FETCH_TIMEOUT": 2, "CACHE_TTL": 5, "MAX_STALE": 60}
MEDIAN: dict[str, Any] = {"PRICE_MODE": "median", "FETCH_TIMEOUT": 2, "CACHE_TTL": 5, "MAX_STALE": 60}


def rows(answer: Answer) -> dict[str, Any]:
    return {row["source"]: row for row in answer.json["sources"]}


async def test_every_source_is_seen_with_its_newest_quote_its_age_and_its_deviation(
    market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, **CHECKED) as service:
        await service.until(200)
        answer = await service.until_answer(
            lambda answer: [name for name, row in rows(answer).items() if row["last_quote"]] == NINE, f"{PRICE}/sources"
        )
        for row in rows(answer).values():
            assert abs(row["deviation"]) < 0.005 and row["distrusted"] is None and row["age_ms"] >= 0
        # The worker that answers now may have adopted less than the one that answered before.
        scrape = await service.until_answer(lambda each: each.body.count(b"fastprice_price_deviation{") == 9, "/metrics")
        metrics = scrape.body.decode()
        assert "fastprice_sources_agreeing 9.0" in metrics and "fastprice_sources_wanted 3.0" in metrics
        assert "fastprice_first_source_share 1.0" in metrics


async def test_a_first_source_that_lies_a_little_is_found_out_told_of_and_trusted_again(
    market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, **CHECKED) as service:
        await service.until_answer(lambda answer: answer.status == 200 and answer.json["source"] == NINE[0])
        market.set_fault(NINE[0], "jump", factor=1.02)
        await service.until_answer(lambda answer: answer.json["source"] == NINE[1])
        line = await service.until_logged("source distrusted: ")
        assert f"source distrusted: {NINE[0]}, ETH-USDT: " in line and "others say" in line and "it is asked last" in line
        await service.until_answer(lambda answer: rows(answer)[NINE[0]]["distrusted"], f"{PRICE}/sources")
        market.clear_fault(NINE[0])
        await service.until_answer(lambda answer: answer.json["source"] == NINE[0])
        assert f"source trusted again: {NINE[0]}, ETH-USDT" in await service.until_logged("trusted again")
        assert len([line for line in service.log if "source distrusted" in line]) == 1


async def test_a_median_says_whose_prices_it_is_made_of_and_a_liar_changes_nothing(
    market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, **MEDIAN) as service:
        answer = await service.until_answer(lambda answer: answer.status == 200 and len(answer.json["sources"]) == 9)
        price = answer.json
        assert (price["source"], price["sources"]) == ("median", NINE)
        assert price["volume_24h"] is None and price["source_time_ms"] is None
        assert float(price["bid"]) <= float(price["price"]) <= float(price["ask"])
        assert 0 <= float(price["spread"]) < 0.005 and price["made_at_ms"] >= price["fetched_at_ms"]
        market.set_fault(NINE[0], "jump", factor=1.5)
        await service.until_answer(lambda answer: NINE[0] not in answer.json["sources"])
        for _ in range(20):
            said = (await service.get()).json
            assert abs(float(said["price"]) / float(price["price"]) - 1) < 0.02
            await asyncio.sleep(0.02)


async def test_with_too_few_sources_a_median_grows_stale_as_if_nobody_had_answered(
    market: Market, tmp_path: Path
) -> None:
    few = MEDIAN | {"CACHE_TTL": 0.5, "MAX_STALE": 2, "MIN_SOURCES": 3}
    async with running(market, tmp_path, **few) as service:
        await service.until(200)
        for name in NINE[2:]:
            market.set_fault(name, "error")
        await service.until_answer(lambda answer: answer.status == 200 and answer.json["stale"])
        await service.until(503)
        assert "2 sources gave a price that can be true, 3 are needed" in await service.until_logged("no source gives")
        market.clear_fault("all")
        await service.until(200)


async def test_a_fleet_in_mixed_modes_over_one_redis_never_serves_one_modes_price_as_the_others(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    shared: dict[str, Any] = {"REDIS_URL": redis_server.url, "REDIS_TIMEOUT": 1}
    async with (
        running(market, tmp_path / "a", **CHECKED, **shared) as failover,
        running(market, tmp_path / "b", **MEDIAN, **shared) as median,
    ):
        await asyncio.gather(failover.until(200), median.until(200))
        for _ in range(60):
            for service, expected in (failover, NINE[0]), (median, "median"):
                said = (await service.get()).json
                assert (said["source"], "sources" in said) == (expected, expected == "median")
            await asyncio.sleep(0.03)


async def test_an_event_of_a_median_is_known_by_when_it_was_made(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, **MEDIAN) as service:
        await service.until(200)
        identities: list[int] = []
        async with service.session.get(f"{service.url}{PRICE}/stream") as response:
            async for line in response.content:
                if line.startswith(b"id: "):
                    identities.append(int(line[4:]))
                elif line.startswith(b"data: ") and identities:
                    assert f'"made_at_ms":{identities[-1]}'.encode() in line
                if len(identities) == 10:
                    break
        assert identities == sorted(set(identities))
