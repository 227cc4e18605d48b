"""Responses to requests that never reach the application; after each, the connection is closed."""

from fastprice.server.paced_http import MAX_PIECE_BYTES

# A client must finish the head within this time after it has connected, or has begun the head.
HEAD_SECONDS = 10.0
REFUSALS = {
    400: ("Bad Request", "this is not a request that HTTP/1.1 allows"),
    408: ("Request Timeout", f"the head of the request was not finished within {HEAD_SECONDS:g} s"),
    431: ("Request Header Fields Too Large", f"the head of the request is longer than {MAX_PIECE_BYTES} bytes"),
}


def refusal(status: int) -> bytes:
    """A complete response in the shape of the service's other errors, after which the connection is closed."""
    title, detail = REFUSALS[status]
    code = title.lower().replace(" ", "_")
    body = f'{{"type":"about:blank","title":"{title}","status":{status},"code":"{code}","detail":"{detail}"}}'
    head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}"
    head += "\r\ncache-control: no-store\r\naccess-control-allow-origin: *\r\nconnection: close"
    return f"{head}\r\n\r\n{body}".encode()
