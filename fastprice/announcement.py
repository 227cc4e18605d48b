"""The first lines of the log: what is served and where, and what must not be overlooked."""

import logging
import os

from fastprice.addresses import host_and_port
from fastprice.infrastructure.state_log import named
from fastprice.settings import Settings
from fastprice.settings_table import nearly

logger = logging.getLogger("fastprice")


def announce(settings: Settings, addresses: list[str]) -> None:
    """Log what is served, and what must not be overlooked: simulated prices, proxies in use, mistyped variables."""
    over = f"{settings.workers} workers over {'Redis' if settings.redis_url else 'the embedded store'}"
    own = f" ({addresses.pop()} is for monitoring)" if settings.metrics_port else ""
    where, sources = ", ".join(addresses) + own, ", ".join(settings.sources)
    logger.info("serving %s at %s: %s, prices from %s", named(settings.pairs), where, over, sources)
    for name, meant in nearly(os.environ):
        logger.warning("%s is set, but there is no such setting: is %s meant?", name, meant)
    if settings.simulated:
        others = ", ".join(name for name in settings.sources if name not in settings.simulated)
        whose = f"the prices of {', '.join(settings.simulated)}" if others else "all prices"
        real = f"; those of {others} are the exchanges' own" if others else ""
        origin = "come from MARKET_URL or a private address, not from an exchange"
        logger.warning("SIMULATED: %s %s%s", whose, origin, real)
    ways = [f"{host_and_port(proxy)} for {scheme}:// URLs" for scheme, proxy in settings.proxies.by_scheme.items()]
    if ways:
        directly = "private addresses and those of NO_PROXY directly"
        logger.info("exchanges are asked through the proxy %s; %s", ", ".join(ways), directly)
    elif any(name.upper() == "ALL_PROXY" for name in os.environ):
        logger.warning("ALL_PROXY is not used: set HTTPS_PROXY to an http:// or https:// proxy")
