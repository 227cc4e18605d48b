"""The command line: serve the prices, ask every source once, or run the simulated exchange."""

import asyncio
import errno
import logging.config
import os
import socket
import sys
import uuid
from functools import partial
from pathlib import Path

import click

from fastprice import __version__
from fastprice.addresses import host_and_port
from fastprice.domain.quote import Pair
from fastprice.settings import Settings, SettingsError

logger = logging.getLogger("fastprice")

LISTEN_ADVICE = {
    errno.EADDRINUSE: "something listens there already; stop it, or set PORT to another one",
    errno.EACCES: "ports below 1024 need more rights; set PORT to a higher one",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """The current price of a crypto pair, fast, and honest about its age.

    Settings come from the environment; README has the table.
    """


@main.command()
@click.option("--reload", is_flag=True, help="Restart whenever a file of the package changes, for development.")
def serve(reload: bool) -> None:
    """Serve prices over HTTP until told to stop (SIGTERM or Ctrl+C)."""
    if reload:
        from fastprice.server.reload import run_and_reload

        command = [sys.executable, "-m", "fastprice.cli", "serve"]
        sys.exit(run_and_reload(command, Path(__file__).parent, _tell))
    settings = _settings()
    _check_port(settings)
    from fastprice.server.held_signals import held_signals

    with held_signals():  # The master releases them when it has its handlers.
        _serve(settings)


@main.command()
@click.argument("pair", default="eth-usdt")
def quote(pair: str) -> None:
    """Ask each of SOURCES once for PAIR and print what they say; exit code 1 if none answers."""
    settings = _settings()
    try:
        wanted = Pair.parse(pair.lower())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="PAIR") from None
    from fastprice.bootstrap import ask_everyone
    from fastprice.interface.quote_table import table

    rows = asyncio.run(ask_everyone(settings, wanted))
    click.echo(table(wanted, rows, settings.max_deviation))
    sys.exit(0 if any(row.quote for row in rows) else 1)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option(
    "--pairs", default="eth-usdt", envvar="PAIRS", show_default=True, show_envvar=True,
    help="Pairs to trade, separated by commas.",
)
@click.option("--seed", default=1, show_default=True, help="Seed of the random walk: same seed, same prices.")
@click.option("--latency", default=0.1, show_default=True, type=click.FloatRange(0, 60), help="Seconds to an answer.")
@click.option("--limits/--no-limits", default=True, show_default=True, help="Refuse what exceeds an exchange's limits.")
@click.option("--others", default=30, show_default=True, type=click.IntRange(0, 10_000), help="Pairs of no interest.")
def market(host: str, port: int, pairs: str, seed: int, latency: float, limits: bool, others: int) -> None:
    """Run a simulated exchange that speaks every source's wire format, with faults to switch on and off.

    Open its address in a browser for the list of sources, faults, and how to switch them.
    """
    from fastprice.market.run import serve as serve_market

    try:
        slugs = tuple(Pair.parse(word.strip().lower()).slug for word in (pairs.strip() or "eth-usdt").split(","))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--pairs or PAIRS") from None
    asyncio.run(serve_market(host, port, slugs, seed, latency, limits, others))


def _serve(settings: Settings) -> None:
    from fastprice import bootstrap
    from fastprice.infrastructure.logging_setup import logging_config
    from fastprice.infrastructure.prometheus import forget_worker, share_between_workers
    from fastprice.infrastructure.prometheus.directory import metrics_directory
    from fastprice.server.descriptors import raise_limit
    from fastprice.server.gunicorn_conf import Gunicorn, Processes

    raise_limit()
    log_config = logging_config(settings.log_level, settings.log_format, settings.access_log)
    logging.config.dictConfig(log_config)
    try:
        memory = bootstrap.memory_directory()
    except OSError as error:
        _tell(f"no directory can be written to: {error}; free or mount /dev/shm or /tmp")
        sys.exit(1)
    with metrics_directory(memory) as metrics:
        processes = Processes(
            bind=_address(settings),
            workers=settings.workers,
            keep_alive=settings.keep_alive,
            graceful_timeout=settings.graceful_timeout,
            memory_directory=str(memory),
            log_config=log_config,
            app=partial(bootstrap.build, settings, memory, service=uuid.uuid4().hex),
            after_fork=partial(share_between_workers, metrics),
            after_death=partial(forget_worker, metrics),
            ready=partial(_announce, settings),
        )
        Gunicorn(processes).run()


def _tell(line: str) -> None:
    click.echo(f"fastprice: {line}", err=True)


def _settings() -> Settings:
    try:
        return Settings.from_env(os.environ)
    except SettingsError as error:
        _tell(str(error))
        sys.exit(2)


def _address(settings: Settings) -> str:
    return f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"


def _check_port(settings: Settings) -> None:
    """Find out before anything is started what gunicorn would find out five seconds later."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        other = f"{error.strerror or error}; set HOST to an address of this machine"
        _tell(f"cannot listen on {_address(settings)}: {LISTEN_ADVICE.get(error.errno or 0, other)}")
        sys.exit(1)


def _announce(settings: Settings, addresses: list[str]) -> None:
    """Say what is served, and two things that nobody may overlook: simulated prices, and the way through a proxy."""
    from fastprice.infrastructure.state_log import named

    over = f"{settings.workers} workers over {'Redis' if settings.redis_url else 'the embedded store'}"
    where, sources = ", ".join(addresses), ", ".join(settings.sources)
    logger.info("serving %s at %s: %s, prices from %s", named(settings.pairs), where, over, sources)
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


if __name__ == "__main__":
    main()
