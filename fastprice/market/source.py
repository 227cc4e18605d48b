"""One simulated exchange at work: its pairs, its calls and the prices it gave, its limits, and the fault that is on."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from functools import cached_property

from fastprice.domain.quote import Pair
from fastprice.market.call import HONEST, Call
from fastprice.market.exchange import Answer, Complaint, Exchange
from fastprice.market.forms import Choice, Form, Json, Query
from fastprice.market.limits import Spent, Toll
from fastprice.market.others import other_ticks, stopped
from fastprice.market.tick import Status, Tick
from fastprice.market.walk import Walk

SERVED = 1000
WHOLE_MARKET = "*"
SHOWN = (Status.TRADING, Status.HALTED)


class Source:
    """The state of one exchange; every method is immediate and needs no network."""

    def __init__(
        self, exchange: Exchange, walks: Mapping[Pair, Walk], others: int, seed: int, now_ms: Callable[[], int]
    ) -> None:
        self.exchange = exchange
        self.switch = HONEST
        self.served: deque[tuple[int, str]] = deque(maxlen=max(SERVED, 10 * len(walks)))
        self.stopped: dict[Pair, Tick] = {}
        self._walks, self._number_of_others, self._seed, self._now_ms = walks, others, seed, now_ms
        self._toll = Toll(exchange.limits, exchange.penalty)
        self._other_rows: dict[tuple[Form, tuple[Status, ...]], tuple[Json, ...]] = {}
        self.clear_calls()

    def clear_calls(self) -> None:
        self.calls = self.limits_exceeded = 0
        self.pair_calls: Counter[str] = Counter()

    def read(self, path: str, query: Query) -> Choice | Complaint | None:
        """What a request asks for, counted by pair; None where there is no such path."""
        self.calls += 1
        choice = self.exchange.read(path, query)
        if isinstance(choice, Choice) and choice.form.price_key:
            asked = [WHOLE_MARKET] if choice.symbols is None else choice.symbols
            self.pair_calls.update(self._pairs[symbol].slug if symbol in self._pairs else symbol for symbol in asked)
        return choice

    def pay(self, path: str, choice: Choice | Complaint, enforced: bool = True) -> Spent:
        """Charge a request to the limits; one that exceeds them is counted even if limits are not enforced."""
        cost = choice.cost if isinstance(choice, Choice) else 1
        spent = self._toll.pay(path, cost, self._now_ms(), enforced)
        self.limits_exceeded += bool(spent.wait_ms)
        return spent

    def reply(self, choice: Choice | Complaint) -> Call | Answer:
        """A call that a fault may change or, regardless of the fault, the documented answer to a wrong request."""
        if isinstance(choice, Complaint):
            return self.exchange.complain(choice, self._now_ms())
        if choice.symbols is None:
            return self._everything(choice)
        pairs = [self._pairs.get(symbol) for symbol in choice.symbols]
        refusals = [refusal for pair in pairs if (refusal := self._refusal(pair, choice))]
        return refusals[0] if refusals else self._call(choice, [pair for pair in pairs if pair], ())

    def tick(self, pair: Pair, at_ms: int) -> Tick:
        """What the source says about a pair at a moment."""
        fixed = self.stopped.get(pair) or self._others.get(pair)
        if fixed:
            return fixed
        walk = self._walks[pair]
        return self.exchange.tick(pair, walk.price(at_ms), walk.opening, at_ms)

    def status(self, pair: Pair) -> Status:
        """How the source treats a pair."""
        fixed = self.stopped.get(pair) or self._others.get(pair)
        return fixed.status if fixed else Status.TRADING

    def set_status(self, pair: Pair, status: Status) -> None:
        """Let the source stop trading a pair, or trade it again."""
        self.stopped.pop(pair, None)
        if status is not Status.TRADING:
            self.stopped[pair] = stopped(self.exchange, self.tick(pair, self._now_ms()), status)

    def record(self, call: Call) -> None:
        """Remember the prices of a true answer."""
        if call.form.price_key:
            self.served.extend((tick.time_ms, tick.price) for tick in call.ticks)

    @property
    def walked(self) -> Collection[Pair]:
        """The pairs that were configured."""
        return self._walks.keys()

    @property
    def all_pairs(self) -> tuple[Pair, ...]:
        """Every pair that the source ever listed."""
        return (*self._others, *self._walks)

    @cached_property
    def _others(self) -> dict[Pair, Tick]:
        return other_ticks(self.exchange, self._number_of_others, self._seed, self._walks, self._now_ms())

    @cached_property
    def _pairs(self) -> dict[str, Pair]:
        return {symbol: pair for pair in self.all_pairs for symbol in self.exchange.spellings(pair)}

    def _refusal(self, pair: Pair | None, choice: Choice) -> Answer | None:
        """The error for a pair that cannot be served, which fails the whole call; None if it can be served."""
        errors, status = self.exchange.complaints, self.status(pair) if pair else Status.UNLISTED
        if status is Status.UNLISTED or (status is Status.DELISTED and not errors.delisted):
            return self._unknown()
        if status is Status.DELISTED and errors.delisted:
            return self.exchange.complain(errors.delisted, self._now_ms())
        if status is Status.HALTED and choice.trading and choice.alone and errors.halted:
            return self.exchange.complain(errors.halted, self._now_ms())
        return None

    def _unknown(self) -> Answer:
        unknown = self.exchange.complaints.unknown
        if isinstance(unknown, Complaint):
            return self.exchange.complain(unknown, self._now_ms())
        return self._everything(unknown).truth()

    def _everything(self, choice: Choice) -> Call:
        shown = (*SHOWN, Status.DELISTED) if choice.form.shows_delisted else SHOWN[:1] if choice.trading else SHOWN
        pairs = [pair for pair in self._walks if self.status(pair) in shown]
        return self._call(choice, pairs, self._rows_of_others(choice.form, shown))

    def _rows_of_others(self, form: Form, shown: tuple[Status, ...]) -> tuple[Json, ...]:
        # Their prices never move, so these rows are built once.
        if (form, shown) not in self._other_rows:
            ticks = [tick for tick in self._others.values() if tick.status in shown]
            rows = [form.row(tick, self.exchange.spellings(tick.pair)[0]) for tick in ticks]
            self._other_rows[form, shown] = (*rows, *form.extra)
        return self._other_rows[form, shown]

    def _call(self, choice: Choice, pairs: list[Pair], others: tuple[Json, ...]) -> Call:
        now_ms = self._now_ms()
        ticks = [self.tick(pair, now_ms - now_ms % choice.form.every_ms) for pair in pairs]
        if choice.trading:
            ticks = [tick for tick in ticks if tick.status is Status.TRADING]
        return Call(
            self.exchange, choice.form, tuple(ticks), others, now_ms, self._unknown, self.switch, choice.alone
        )
