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
from typing import NoReturn

import click

from fastprice import __version__
from fastprice.addresses import Proxies, host_and_port
from fastprice.domain.quote import Pair
from fastprice.settings import Settings, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """The current price of a crypto pair, fast, and honest about its age.

    Settings come from the environment; README has the table.
    """


@main.command()
@click.option("--reload", is_flag=True, help="Start anew whenever a source text changes, for development.")
def serve(reload: bool) -> None:
    """Serve prices over HTTP until told to stop (SIGTERM or Ctrl+C)."""
    if reload:
        _serve_and_reload()
    settings = _settings()
    _check_port(settings.host, settings.port)
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
    memory = _memory_directory()
    with metrics_directory(memory) as metrics:
        processes = Processes(
            bind=_address(settings.host, settings.port),
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


def _serve_and_reload() -> NoReturn:
    from fastprice.server.reload import run_and_reload

    command = [sys.executable, "-m", "fastprice.cli", "serve"]
    sys.exit(run_and_reload(command, Path(__file__).parent, lambda line: click.echo(f"fastprice: {line}", err=True)))


def _settings() -> Settings:
    try:
        return Settings.from_env(os.environ)
    except SettingsError as error:
        click.echo(f"fastprice: {error}", err=True)
        sys.exit(2)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_port(host: str, port: int) -> None:
    """Find out before anything is started what gunicorn would find out five seconds later."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        click.echo(f"fastprice: cannot listen on {_address(host, port)}: {_listen_advice(error)}", err=True)
        sys.exit(1)


def _listen_advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "something listens there already; stop it, or set PORT to another one"
    if error.errno == errno.EACCES:
        return "ports below 1024 need more rights; set PORT to a higher one"
    return f"{error.strerror or error}; set HOST to an address of this machine"


def _memory_directory() -> Path:
    from fastprice.bootstrap import memory_directory

    try:
        return memory_directory()
    except OSError as error:
        click.echo(f"fastprice: no directory can be written to: {error}; free or mount /dev/shm or /tmp", err=True)
        sys.exit(1)


def _announce(settings: Settings, addresses: list[str]) -> None:
    pairs = ", ".join(pair.slug for pair in settings.pairs)
    store = "Redis" if settings.redis_url else "the embedded store"
    logging.getLogger("fastprice").info(
        "serving %s at %s: %d workers over %s, prices from %s",
        pairs,
        ", ".join(addresses),
        settings.workers,
        store,
        ", ".join(settings.sources),
    )
    if settings.simulated:
        logging.getLogger("fastprice").warning("%s", _simulation(settings))
    if settings.proxies.by_scheme:
        logging.getLogger("fastprice").info("%s", _way_out(settings.proxies))
    elif any(name.upper() == "ALL_PROXY" for name in os.environ):
        logging.getLogger("fastprice").warning("ALL_PROXY is not used: set HTTPS_PROXY to an http:// or https:// proxy")


def _simulation(settings: Settings) -> str:
    """The line after which nobody takes a demo for the market."""
    others = [name for name in settings.sources if name not in settings.simulated]
    whose = f"the prices of {', '.join(settings.simulated)}" if others else "all prices"
    real = f"; those of {', '.join(others)} are the exchanges' own" if others else ""
    return f"SIMULATED: {whose} come from MARKET_URL or a private address, not from an exchange{real}"


def _way_out(proxies: Proxies) -> str:
    shown = ", ".join(f"{host_and_port(proxy)} for {scheme}:// URLs" for scheme, proxy in proxies.by_scheme.items())
    return f"exchanges are asked through the proxy {shown}; private addresses and those of NO_PROXY directly"


if __name__ == "__main__":
    main()
