"""The page at `/docs`, where the OpenAPI document can be read and tried; it uses only files of this service."""

from hashlib import blake2b
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fastprice.interface.parameters import parameters
from fastprice.interface.price_json import matches

DIRECTORY = Path(__file__).with_name("docs")
MEDIA_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
# Nothing inline and nothing from other origins: the script writes only text, and creates elements by the DOM.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
}  # fmt: skip


class DocsPage:
    """Answers `/docs`, and `/docs/{name}` for the files that it needs."""

    def __init__(self) -> None:
        files = (path for path in DIRECTORY.iterdir() if path.suffix in MEDIA_TYPES)
        self._files = {path.name: path.read_bytes() for path in files}

    async def page(self, request: Request) -> Response:
        return self._file(request, "docs.html")

    async def file(self, request: Request) -> Response:
        return self._file(request, request.path_params["name"])

    def _file(self, request: Request, name: str) -> Response:
        parameters(request.scope["query_string"])
        if (body := self._files.get(name)) is None:
            raise HTTPException(404)
        etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
        kept = {"Cache-Control": "no-cache", "ETag": etag, **SAFE}
        if matches(",".join(request.headers.getlist("If-None-Match")).encode(), etag.encode()):
            return Response(status_code=304, headers=kept)
        return Response(body, headers=kept, media_type=MEDIA_TYPES[Path(name).suffix])
