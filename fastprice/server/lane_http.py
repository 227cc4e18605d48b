"""uvicorn's protocol for a connection that needed the ordinary way; the lane still answers its plain requests."""

from asyncio import AbstractEventLoop, Transport
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from fastprice.server.careful_http import CarefulProtocol
from fastprice.server.lane import Lane


class LaneProtocol(CarefulProtocol):
    """A connection that has needed the ordinary way once; the lane still answers its plain requests.

    The lane does so only while no other request is in flight and the client has taken everything that was sent. All
    other requests go the ordinary way, and get the same bytes.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lane: Lane | None = app_state["lane"]
        self._unsent: Callable[[], int] = int
        self._inherited: tuple[bytes, bytes, bool] | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unsent = transport.get_write_buffer_size

    def inherit(self, data: bytes, unsent: bytes, is_last: bool) -> None:
        """Keep the bytes already read, and the part of the answer that is not sent yet, for `begin`."""
        self._inherited = data, unsent, is_last

    def begin(self) -> None:
        """Continue, once, where the light connection has stopped.

        Not done in `connection_made`: uvloop starts to read only after that, and forgets that it was told to pause.
        """
        if self._inherited is None:
            return
        (data, unsent, is_last), self._inherited = self._inherited, None
        if unsent:
            self.transport.write(unsent)
        if is_last:
            self.transport.close()
        elif data:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inherited = None
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        self.begin()
        return super().eof_received()

    def data_received(self, data: bytes) -> None:
        self.begin()
        served = None
        if self._lane and self.at_rest and not self._unsent():
            served = self._lane.serve(data, self.descriptor)
        if served is None:
            super().data_received(data)
            return
        unsent, is_last = served
        self.touched = True
        self.server_state.total_requests += 1
        if unsent:
            self.transport.write(unsent)
        if is_last:
            self.transport.close()
