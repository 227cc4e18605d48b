"""The command line: serve the prices, ask every source once, or run the simulated exchange."""

import asyncio
import logging.config
import os
import sys
import uuid
from functools import partial
from pathlib import Path

import click

from fastprice import __version__
from fastprice.addresses import cannot_listen, listening_at
from fastprice.domain.quote import Pair
from fastprice.settings import Settings, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """The current price of a crypto pair, fast, and honest about its age.

    Settings come from the environment: `fastprice settings` shows them all.
    """


@main.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on, instead of HOST.")
@click.option("--port", metavar="NUMBER", help="Port to listen on, instead of PORT.")
@click.option("--workers", metavar="NUMBER", help="Worker processes, instead of WORKERS.")
@click.option("--reload", is_flag=True, help="Restart whenever a file of the package changes, for development.")
def serve(host: str | None, port: str | None, workers: str | None, reload: bool) -> None:
    """Serve prices over HTTP until told to stop (SIGTERM or Ctrl+C)."""
    given = {"HOST": host, "PORT": port, "WORKERS": workers}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    if reload:
        from fastprice.server.reload import run_and_reload

        command = [sys.executable, "-m", "fastprice.cli", "serve"]
        sys.exit(run_and_reload(command, Path(__file__).parent, _tell))
    settings = _settings()
    for name, number in _ports(settings):
        if complaint := cannot_listen(settings.host, number, name):
            _tell(complaint)
            sys.exit(1)
    from fastprice.server.held_signals import held_signals

    with held_signals():  # The master releases them when its handlers are installed.
        _serve(settings)


@main.command(name="settings", short_help="Print every setting, its value and its origin.")
def show_settings() -> None:
    """Print every setting, its value and where that comes from; what may be a secret is masked."""
    _settings()
    from fastprice.settings_table import rows

    cells = list(rows(os.environ))
    widths = [max(map(len, column)) for column in list(zip(*cells, strict=True))[:2]]
    for name, value, origin in cells:
        click.echo(f"{name.ljust(widths[0])}  {value.ljust(widths[1])}  {origin}")


@main.command(short_help="Ask every source once for the price of some pairs.")
@click.argument("pairs", nargs=-1)
def quote(pairs: tuple[str, ...]) -> None:
    """Ask each of SOURCES once for PAIRS and print what they say; exit code 1 if none answers for one of them.

    A pair is written eth-usdt, eth/usdt, or ETHUSDT where it is clear which currency it is priced in. Without any,
    those of the setting PAIRS are asked for.
    """
    settings = _settings()
    from fastprice.bootstrap import ask_everyone
    from fastprice.interface.quote_table import table

    said = asyncio.run(ask_everyone(settings, _wanted(pairs, settings)))
    click.echo("\n\n".join(table(pair, rows, settings.max_deviation, _painted) for pair, rows in said.items()))
    sys.exit(0 if all(any(row.quote for row in rows) for rows in said.values()) else 1)


@main.command(short_help="Show live prices of all sources in the terminal.")
@click.argument("pairs", nargs=-1)
@click.option("--once", is_flag=True, help="Print the table once; exit code 1 if no source answers.")
def watch(pairs: tuple[str, ...], once: bool) -> None:
    """Show what each of SOURCES says of PAIRS as it comes, straight from the exchanges, until Ctrl+C.

    In a terminal it is a table with the median in its last row, otherwise a line for each change.
    """
    settings = _settings()
    from fastprice.watch import watch as watch_prices

    has_any = asyncio.run(watch_prices(settings, _wanted(pairs, settings), once))
    sys.exit(0 if has_any or not once else 1)


@main.command(short_help="Run simulated exchanges, with faults to switch.")
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
    from fastprice.announcement import announce
    from fastprice.infrastructure.logging_setup import logging_config
    from fastprice.infrastructure.prometheus.directory import metrics_directory
    from fastprice.infrastructure.prometheus.value_files import forget_worker, share_between_workers
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
            binds=[listening_at(settings.host, port) for _, port in _ports(settings)],
            workers=settings.workers,
            keep_alive=settings.keep_alive,
            graceful_timeout=settings.graceful_timeout,
            memory_directory=str(memory),
            log_config=log_config,
            app=partial(bootstrap.build, settings, memory, service=uuid.uuid4().hex),
            after_fork=partial(share_between_workers, metrics),
            after_death=partial(forget_worker, metrics),
            ready=partial(announce, settings),
        )
        Gunicorn(processes).run()


def _ports(settings: Settings) -> list[tuple[str, int]]:
    """The ports to listen on, each with the name of its variable."""
    own = [("METRICS_PORT", settings.metrics_port)] if settings.metrics_port else []
    return [("PORT", settings.port), *own]


def _wanted(pairs: tuple[str, ...], settings: Settings) -> list[Pair]:
    """The pairs that were named, or those of the settings; each once."""
    from fastprice.interface.quote_table import pair_of

    try:
        return list(dict.fromkeys([pair_of(text) for text in pairs] or settings.pairs))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="PAIRS") from None


def _painted(verdict: str) -> str:
    """The verdict in colour, which click leaves out if it does not print to a terminal."""
    return click.style(verdict, fg="green" if verdict == "ok" else "red")


def _tell(line: str) -> None:
    click.echo(f"fastprice: {line}", err=True)


def _settings() -> Settings:
    try:
        return Settings.from_env(os.environ)
    except SettingsError as error:
        _tell(str(error))
        sys.exit(2)


if __name__ == "__main__":
    main()
