"""What the lane may answer: exactly one plain request, read with the parser of the ordinary way."""

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from fastprice.interface.prepared import BARE, CLOSED, FULL, KEPT, KEPT_BY_WISH

# A request with one of these headers is not a plain request.
UNUSUAL = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))


class PlainRequest:
    """Reads bytes that may be exactly one plain GET or HEAD, with the parser of the ordinary way.

    One instance serves all connections: after a success its parser is between two messages again, as it was before.
    After a failure, or a request after which the parser expects no other, it is replaced.
    """

    _begun: int
    _ended: int

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._start()

    def read(self, data: bytes) -> bool:
        """Whether the bytes are such a request; then the attributes describe it, and `form` is its answer's form."""
        self._start()
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            return False
        is_plain = self._is_plain and self._begun == self._ended == 1
        if is_plain and self.form % 3 == CLOSED:
            self._parser = HttpRequestParser(self)
        return is_plain

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self._ended += 1
        parser = self._parser
        names, version = [name for name, _ in self.headers], parser.get_http_version()
        self.version = version
        self.method, hosts = parser.get_method().decode(), names.count(b"host")
        self._is_plain = (
            self.method in ("GET", "HEAD")
            and (hosts == 1 and version == "1.1" or hosts <= 1 and version == "1.0")
            and UNUSUAL.isdisjoint(names)
        )
        becomes = CLOSED if not parser.should_keep_alive() else KEPT if version == "1.1" else KEPT_BY_WISH
        self.form = becomes + (FULL if self.method == "GET" else BARE)

    def _start(self) -> None:
        self.url, self.method, self.version, self.form = b"", "", "", KEPT
        self.headers: list[tuple[bytes, bytes]] = []
        self._begun, self._ended = 0, 0
        self._is_plain = False
