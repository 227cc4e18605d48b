"""`fastprice watch`: live prices in a terminal, or as lines for another program."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence

from fastprice.application.ports import Clock
from fastprice.application.watching import Watching
from fastprice.bootstrap import live_sources, opened_session
from fastprice.domain.quote import MEDIAN, Pair, Quote
from fastprice.infrastructure.clock import SystemClock
from fastprice.interface.watch_table import Row, middle_of, plain_line, plain_middle, table
from fastprice.settings import Settings

# A person does not see faster changes.
REDRAW_SECONDS = 0.1
# How long a change is marked.
MARKED_SECONDS = 1.0
# How long `--once` waits for sources that have not answered.
ONCE_SECONDS = 5.0
HIDE_CURSOR, SHOW_CURSOR, ERASE_LINE, ERASE_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[J"


class Marks:
    """`before` has the previous price of each place where the price changed a moment ago."""

    def __init__(self) -> None:
        self.before: dict[tuple[str, Pair], str] = {}
        self._seen: dict[tuple[str, Pair], tuple[str, float]] = {}

    def see(self, key: tuple[str, Pair], price: str, now: float) -> None:
        """Record that a price is shown now; a change is marked for a second."""
        seen, since = self._seen.get(key, (price, now))
        if price != seen or key not in self._seen:
            if price != seen:
                self.before[key] = seen
            self._seen[key] = price, now
        elif now - since > MARKED_SECONDS:
            self.before.pop(key, None)


async def watch(settings: Settings, pairs: Sequence[Pair], once: bool) -> bool:
    """Show prices until interrupted, or once; return whether any source had one."""
    clock, stop = SystemClock(), asyncio.Event()
    async with opened_session(settings) as session:
        sources = live_sources(settings, session, clock, lambda event: None)
        watching = Watching(sources, pairs, clock)

        def end() -> None:
            stop.set()
            watching.news.set()  # Wakes the loop that waits for news.

        for name in signal.SIGINT, signal.SIGTERM:
            asyncio.get_running_loop().add_signal_handler(name, end)
        running = asyncio.create_task(watching.run())
        try:
            if once:
                await _show_once(watching, clock, stop)
            elif sys.stdout.isatty():
                await _draw(watching, clock, stop)
            else:
                await _print(watching, clock, stop)
        except BrokenPipeError:
            # The reader of our output has gone; the interpreter's last flush would complain about that once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return bool(watching.said)


async def _show_once(watching: Watching, clock: Clock, stop: asyncio.Event) -> None:
    """Print the tables once, when every source has answered for every pair or time is up."""
    needed = len(watching.sources) * len(watching.pairs)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ONCE_SECONDS):
            while len(watching.said.keys() | watching.errors.keys()) < needed and not stop.is_set():
                await clock.sleep(REDRAW_SECONDS)
                watching.take()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
    for pair in watching.pairs:
        print(*table(pair, _rows(watching, pair, {}), clock.wall_ms(), width), "", sep="\n", flush=True)


async def _print(watching: Watching, clock: Clock, stop: asyncio.Event) -> None:
    """Print a line for each change, and for each change of the median."""
    shown: dict[tuple[str, Pair], Quote] = {}
    middles: dict[Pair, str] = {}
    while not stop.is_set():
        await watching.news.wait()
        watching.news.clear()
        watching.take()
        for key, quote in watching.said.items():
            if shown.get(key) != quote:
                shown[key] = quote
                print(plain_line(quote), flush=True)
        for pair in watching.pairs:
            middle = middle_of(_rows(watching, pair, {}), clock.wall_ms())
            if middle.price and middles.get(pair) != middle.price:
                middles[pair] = middle.price
                print(plain_middle(pair, middle, clock.wall_ms()), flush=True)
        await clock.sleep(REDRAW_SECONDS / 10)


async def _draw(watching: Watching, clock: Clock, stop: asyncio.Event) -> None:
    """Draw the tables again and again in the same place."""
    height, marks = 0, Marks()
    sys.stdout.write(HIDE_CURSOR)
    try:
        while not stop.is_set():
            watching.take()
            size, lines = shutil.get_terminal_size(), list[str]()
            for pair in watching.pairs:
                for (source, of), quote in watching.said.items():
                    marks.see((source, of), quote.price, clock.monotonic())
                rows = _rows(watching, pair, marks.before)
                marks.see((MEDIAN, pair), middle_of(rows, clock.wall_ms()).price, clock.monotonic())
                lines += [*table(pair, rows, clock.wall_ms(), size.columns, marks.before.get((MEDIAN, pair), "")), ""]
            # Lines that do not fit on the screen could not be drawn over.
            if len(lines) >= size.lines:
                lines = [*lines[: size.lines - 2], f"{len(lines) - size.lines + 2} more lines"]
            up = f"\x1b[{height}A" if height else ""
            sys.stdout.write(f"{up}\r{''.join(f'{ERASE_LINE}{line}{os.linesep}' for line in lines)}{ERASE_BELOW}")
            sys.stdout.flush()
            height = len(lines)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REDRAW_SECONDS):
                    await stop.wait()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.write(SHOW_CURSOR)
            sys.stdout.flush()


def _rows(watching: Watching, pair: Pair, before: dict[tuple[str, Pair], str]) -> list[Row]:
    return [
        Row(
            source.name, watching.said.get((source.name, pair)), watching.errors.get((source.name, pair), ""),
            watching.how(source), before.get((source.name, pair), ""),
        )
        for source in watching.sources
    ]  # fmt: skip
