"""What a client is told that the application never hears of: whole responses, after which the connection is closed."""

from fastprice.server.paced_http import MAX_PIECE_BYTES

# Who has connected, or begun a head, must have finished the head by then.
HEAD_SECONDS = 10.0
REFUSALS = {
    400: ("Bad Request", "this is not a request that HTTP/1.1 allows"),
    408: ("Request Timeout", f"the head of the request was not finished within {HEAD_SECONDS:g} s"),
    431: ("Request Header Fields Too Large", f"the head of the request is longer than {MAX_PIECE_BYTES} bytes"),
}


def refusal(status: int) -> bytes:
    """A whole response in the shape of the service's other errors, after which the connection is closed."""
    title, detail = REFUSALS[status]
    code = title.lower().replace(" ", "_")
    body = f'{{"type":"about:blank","title":"{title}","status":{status},"code":"{code}","detail":"{detail}"}}'
    head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}"
    head += "\r\ncache-control: no-store\r\naccess-control-allow-origin: *\r\nconnection: close"
    return f"{head}\r\n\r\n{body}".encode()
