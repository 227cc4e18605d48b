"""The command line as a user meets it: what it prints, where, and with which exit code."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping

import anyio
import pytest
from click.testing import CliRunner

from fastprice import __version__
from fastprice.application.ask_each import Asked
from fastprice.cli import main
from fastprice.domain.quote import Pair, SourceTime
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.interface.quote_table import pair_of, table
from fastprice.market import Market, source_urls
from tests.conftest import free_port
from tests.unit.test_settings import BAD

pytestmark = pytest.mark.anyio

SETTINGS = {*BAD} | {"PROMETHEUS_MULTIPROC_DIR"}
SOURCES = [name for name, exchange in EXCHANGES.items() if exchange.by_default]


async def run(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with only these settings."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    with anyio.fail_after(30):
        done = await anyio.run_process(
            [sys.executable, "-W", "error", "-m", "fastprice.cli", *words], check=False, env=clean | environ
        )
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def sole_line(text: str) -> str:
    assert text.endswith("\n") and text.count("\n") == 1, text
    return text.strip()


def in_process(*words: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    cleared: dict[str, str | None] = dict.fromkeys(SETTINGS)
    result = CliRunner().invoke(main, words, env=cleared | dict(environ or {}))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


# Help


@pytest.mark.parametrize("words", [[], ["serve"], ["quote"], ["market"], ["settings"]], ids=" ".join)
def test_every_command_explains_itself(words: list[str]) -> None:
    for option in "--help", "-h":
        code, out, err = in_process(*words, option)
        assert (code, err) == (0, "") and out.startswith("Usage: ")
        assert all(command in out for command in ("serve", "quote", "market", "settings")) or words
        assert "..." not in out.replace("[ARGS]...", "").replace("[PAIRS]...", ""), "no line is cut"


async def test_help_and_version_need_no_settings_to_be_right() -> None:
    helped, version = await run("--help", PORT="x"), await run("--version", PORT="x")
    assert (helped.returncode, helped.stderr) == (version.returncode, version.stderr) == (0, "")
    assert __version__ in version.stdout


@pytest.mark.parametrize("words", [["nothing"], ["serve", "now"], ["market", "--port", "65536"], ["market", "--latency", "-1"], ["market", "--others", "many"]])
def test_unknown_words_are_a_mistake_of_usage(words: list[str]) -> None:
    code, out, err = in_process(*words)
    assert (code, out) == (2, "") and "Error: " in err


# Settings


@pytest.mark.parametrize("command", ["serve", "quote"])
@pytest.mark.parametrize(("name", "value"), [("CACHE_TTL", "fast"), ("SOURCES", "mtgox")])
async def test_bad_setting_stops_the_start_in_one_line(command: str, name: str, value: str) -> None:
    done = await run(command, **{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert sole_line(done.stderr).startswith(f"fastprice: {name}='{value}' cannot be used: it must be ")


@pytest.mark.parametrize("name", BAD)
def test_every_bad_value_of_every_setting_stops_the_start(name: str) -> None:
    for value in BAD[name]:
        # Even if the value is accepted, nothing is served: the address does not belong to this machine.
        code, out, err = in_process("serve", environ={"HOST": "192.0.2.1", name: value})
        assert (code, out) == (2, "")
        assert sole_line(err).startswith(f"fastprice: {name}='")


async def test_secrets_of_a_refused_url_stay_secret() -> None:
    done = await run("serve", REDIS_URL="redis://:hunter2@redis:port")
    assert done.returncode == 2 and "REDIS_URL" in done.stderr and "hunter2" not in done.stdout + done.stderr


# quote


async def test_quote_shows_what_every_source_says(market: Market) -> None:
    done = await run("quote", **source_urls(market.url))
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows, empty, summary = done.stdout.splitlines()
    assert header.split()[:2] == ["source", "price"] and empty == ""
    assert [row.split()[:2] for row in rows] == [[name, market.served[name][-1][1]] for name in SOURCES]
    assert all(row.endswith("  ok") for row in rows)
    assert summary.startswith("ETH-USDT: 9 of 9 sources answered, median ")
    assert {market.calls[name] for name in SOURCES} == {1}


async def test_quote_asks_for_the_given_pair_and_only_the_given_sources(market: Market) -> None:
    done = await run("quote", "BTC-usdt", SOURCES="kraken,okx", **source_urls(market.url))
    assert done.returncode == 0 and "BTC-USDT: 2 of 2 sources answered" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["kraken", "okx"]
    assert (market.total_calls, market.calls["kraken"], market.calls["okx"]) == (2, 1, 1)


async def test_quote_names_what_each_source_did_wrong(market: Market) -> None:
    market.set_fault("binance", "html")
    market.set_fault("okx", "jump", factor=1.5)
    market.set_fault("gate", "hang")
    done = await run("quote", FETCH_TIMEOUT="0.5", **source_urls(market.url))
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert done.returncode == 0
    assert "not acceptable JSON" in lines["binance"] and "more than 5.0% from the median" in lines["okx"]
    assert lines["gate"].endswith("no answer within 0.5 s")
    assert "ETH-USDT: 7 of 9 sources answered" in done.stdout


async def test_quote_fails_when_no_source_answers(market: Market) -> None:
    market.set_fault("all", "error")
    done = await run("quote", **source_urls(market.url))
    assert (done.returncode, done.stderr) == (1, "")
    assert len(done.stdout.splitlines()) == 1 + 9 + 2 and "0 of 9 sources answered" in done.stdout
    assert {market.calls[name] for name in SOURCES} == {1}, "asked once, whatever the answer"


async def test_quote_on_a_machine_with_no_way_out_says_what_can_be_done() -> None:
    done = await run("quote", **source_urls(f"http://127.0.0.1:{free_port()}"))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("(Connection refused)") == 9 and "fastprice market" in done.stdout.splitlines()[-1]


async def test_quote_asks_for_several_pairs_however_they_are_written_and_for_those_of_pairs_by_default(
    market: Market,
) -> None:
    done = await run("quote", "eth/usdt", "BTCUSDT", "ETH-USDT", SOURCES="okx", **source_urls(market.url))
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if "answered" in line] == [
        line for line in done.stdout.splitlines() if line.startswith(("ETH-USDT: 1 of 1", "BTC-USDT: 1 of 1"))
    ]
    assert done.stdout.count("1 of 1 sources answered") == 2, "each once"
    done = await run("quote", SOURCES="okx", PAIRS="btc-usdt", **source_urls(market.url))
    assert "BTC-USDT: 1 of 1 sources answered" in done.stdout and "\x1b" not in done.stdout


async def test_quote_says_so_where_no_source_lists_the_pair(market: Market) -> None:
    done = await run("quote", "nosuch-usdt", "eth-usdt", **source_urls(market.url))
    assert done.returncode == 1 and "NOSUCH-USDT: no source lists it\n" in done.stdout
    assert "ETH-USDT: 9 of 9 sources answered" in done.stdout


@pytest.mark.parametrize(("text", "slug"), [
    ("ethusdt", "eth-usdt"), ("ETHBTC", "eth-btc"), ("BTCUSD", "btc-usd"), ("Eth/Usd", "eth-usd"), ("usdtusd", "usdt-usd"),
    ("WBTCETH", "wbtc-eth"), ("1000shibusdt", "1000shib-usdt"),
])
def test_pairs_in_one_word_are_read_where_they_are_clear(text: str, slug: str) -> None:
    assert pair_of(text) == Pair.parse(slug)


def test_verdicts_have_colours_and_the_head_has_none() -> None:
    asked = Asked("okx", SourceTime.PRICE, 0.1, None, "refused")
    head, row, *_ = table(Pair.parse("eth-usdt"), [asked], 0.05, lambda verdict: f"<{verdict}>").splitlines()
    assert row.endswith("<refused>") and "<" not in head


@pytest.mark.parametrize("pair", ["eth", "usdt", "", "eth-usdt-x", "é-usdt", "eth//usdt", "ethxyz"])
def test_what_is_no_pair_is_a_mistake_of_usage(pair: str) -> None:
    code, out, err = in_process("quote", pair)
    assert (code, out) == (2, "") and "PAIRS" in err and repr(pair) in err
    code, out, err = in_process("market", "--pairs", f"eth-usdt,{pair}")
    assert (code, out) == (2, "") and "--pairs" in err and repr(pair) in err


# settings


def test_settings_shows_each_value_where_it_came_from_and_no_secret() -> None:
    code, out, err = in_process("settings", environ={"CACHE_TTL": "7", "REDIS_URL": "redis://:secret@redis/0"})
    assert (code, err) == (0, "") and "secret" not in out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["CACHE_TTL"] == ["7", "environment"] and lines["MAX_STALE"] == ["60", "default"]
    assert lines["REDIS_URL"] == ["redis://***@redis/0", "environment"]


def test_settings_that_cannot_be_used_are_refused_as_at_the_start() -> None:
    code, out, err = in_process("settings", environ={"CACHE_TTL": "soon"})
    assert (code, out) == (2, "") and "CACHE_TTL='soon'" in sole_line(err)


async def test_options_of_serve_go_before_the_environment_and_are_checked_alike(taken_port: int) -> None:
    done = await run("serve", "--host", "127.0.0.1", "--port", str(taken_port), HOST="192.0.2.1", PORT="1")
    assert f"cannot listen on 127.0.0.1:{taken_port}" in sole_line(done.stderr)
    done = await run("serve", "--workers", "many", WORKERS="2")
    assert done.returncode == 2 and "WORKERS='many'" in sole_line(done.stderr)


async def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "fastprice", "--version"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("fastprice, version")


# Ports


async def test_market_on_a_taken_port_ends_with_one_line(taken_port: int) -> None:
    done = await run("market", "--port", str(taken_port))
    assert (done.returncode, done.stdout) == (1, "")
    assert str(taken_port) in sole_line(done.stderr) and "--port" in done.stderr


async def test_serve_on_a_taken_port_ends_with_one_line(taken_port: int) -> None:
    done = await run("serve", HOST="127.0.0.1", PORT=str(taken_port))
    assert (done.returncode, done.stdout) == (1, "")
    line = sole_line(done.stderr)
    assert line.startswith(f"fastprice: cannot listen on 127.0.0.1:{taken_port}: ") and "PORT" in line


@pytest.mark.parametrize("host", ["192.0.2.1", "999.999.999.999", "2001:db8::1"])
def test_serve_on_an_address_of_another_machine_ends_with_one_line(host: str) -> None:
    code, out, err = in_process("serve", environ={"HOST": host, "PORT": "0"})
    assert (code, out) == (1, "") and "HOST" in sole_line(err)
