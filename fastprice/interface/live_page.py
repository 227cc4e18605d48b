"""The live page: what a browser gets at `/`, with the prices of that moment in it, and the files that it needs."""

import html
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from string import Template
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fastprice.interface.listing import PAIRS_PARAMETER
from fastprice.interface.negotiation import language, prefers_page
from fastprice.interface.parameters import parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_json import matches
from fastprice.interface.price_snapshot import PricePlace

DIRECTORY = Path(__file__).with_name("page")
MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
# How many pairs are shown at once: a page with 500 would help nobody, and would overload a phone.
MOST_SHOWN = 12
NONE_YET = "none"
DASH = "—"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
VARIES = {"Vary": "Accept, Accept-Language"}
FOR_EVER, NOT_KEPT = "public, max-age=31536000, immutable", "no-store"
# The fields that differ per pair; they are empty in the article that the script copies for further pairs.
OF_A_PAIR = (
    "slug", "symbol", "base", "quote", "state_word", "price", "as_of", "made_at", "made_at_words", "from", "bid", "ask",
    "low", "high",
)  # fmt: skip

Texts = Mapping[str, Any]


class LivePage:
    """Answers `/`, and `/page/{digest}/{name}`. `index` answers clients that prefer JSON."""

    def __init__(self, parts: Parts, index: Callable[[Request], Awaitable[Response]]) -> None:
        self._parts, self._index = parts, index
        self._texts: Mapping[str, Texts] = json.loads((DIRECTORY / "texts.json").read_bytes())
        self._page, self._pair = (Template((DIRECTORY / name).read_text()) for name in ("page.html", "pair.html"))
        files = (path for path in sorted(DIRECTORY.iterdir()) if path.suffix in MEDIA_TYPES)
        self._files = {path.name: path.read_bytes() for path in files}
        # One digest for all files: when any of them changes, all of them get a new address together.
        self._digest = blake2b(b"".join(self._files.values()), digest_size=6).hexdigest()

    async def front(self, request: Request) -> Response:
        """The page for clients that prefer HTML, and the index for all others."""
        if not prefers_page(request.headers.get("Accept", "")):
            answer = await self._index(request)
            answer.headers.update(VARIES)
            return answer
        named = parameters(request.scope["query_string"], PAIRS_PARAMETER).get(PAIRS_PARAMETER)
        chosen = language(request.headers.get("Accept-Language", ""))
        body = self._render(chosen, named).encode()
        etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
        kept = {"Cache-Control": "no-cache", "ETag": etag, **VARIES}
        if matches(request.headers.get("If-None-Match", "").encode(), etag.encode()):
            return Response(status_code=304, headers=kept)
        headers = {"Content-Language": chosen, "Content-Security-Policy": POLICY, **SAFE, **kept}
        return Response(body, headers=headers, media_type="text/html")

    async def file(self, request: Request) -> Response:
        """A file of the page, under a name that changes with its content, so that it may be cached forever.

        During an upgrade, a replica may be asked for the digest of another version. It then answers with its own file,
        which works too, but which no cache may keep under that name.
        """
        parameters(request.scope["query_string"])
        name, digest = request.path_params["name"], request.path_params["digest"]
        if name not in self._files:
            raise HTTPException(404)
        kept = {"Cache-Control": FOR_EVER if digest == self._digest else NOT_KEPT, **SAFE}
        return Response(self._files[name], headers={"Content-Type": MEDIA_TYPES[Path(name).suffix], **kept})

    def _render(self, chosen: str, named: str | None) -> str:
        texts, places = self._texts[chosen], self._parts.latest.by_slug
        wanted = list(dict.fromkeys(named.lower().split(","))) if named else list(places)
        shown = [slug for slug in wanted if slug in places][:MOST_SHOWN]
        unknown = [slug[:40] for slug in wanted if slug not in places][:MOST_SHOWN]
        notes = [texts["not_served"].format(names=", ".join(unknown))] if unknown else []
        notes += [texts["words"]["shown"].format(shown=len(shown), all=len(places))] if len(shown) < len(places) else []
        limits = self._parts.latest.limits
        escaped = {key: html.escape(text) for key, text in texts.items() if key != "words"}
        return self._page.substitute(
            escaped,
            language=chosen, files=f"page/{self._digest}", version=html.escape(self._parts.version), most=MOST_SHOWN,
            fresh_ms=limits.fresh_ms, stale_ms=limits.stale_ms,
            words=html.escape(json.dumps(texts["words"], ensure_ascii=False)),
            simulated_note=self._simulated(texts),
            choice_hidden="" if len(places) > 1 else " hidden", known=_options(places),
            note=html.escape(" ".join(notes)),
            pairs="".join(self._article(places[slug], texts, escaped) for slug in shown),
            blank=self._pair.substitute(escaped, **dict.fromkeys(OF_A_PAIR, ""), state=NONE_YET),
        )  # fmt: skip

    def _simulated(self, texts: Texts) -> str:
        """The note that keeps people from taking a demo for the real market."""
        simulated = self._parts.simulated
        is_all = all(report.source in simulated for report in self._parts.reports())
        text = texts["simulated"] if is_all else texts["simulated_some"].format(sources=", ".join(simulated))
        return f'<p class="simulated" role="note">{html.escape(text)}</p>' if simulated else ""

    def _article(self, place: PricePlace, texts: Texts, escaped: Mapping[str, str]) -> str:
        """One pair in its current state; a price that may not be served is left out."""
        now, pair, snapshot = self._parts.clock.monotonic(), place.pair, place.snapshot
        state = snapshot.freshness(now).value if snapshot else NONE_YET
        quote = snapshot.quote if snapshot and snapshot.current(now) else None
        made_at = datetime.fromtimestamp(quote.fetched_at_ms / 1000, UTC) if quote else None
        values = {
            "slug": pair.slug, "symbol": pair.symbol, "base": pair.base, "quote": pair.quote, "state": state,
            "state_word": texts["words"][state],
            "price": quote.price if quote else DASH,
            "as_of": texts["as_of"] if quote else "",
            "made_at": made_at.isoformat(timespec="milliseconds") if made_at else "",
            "made_at_words": f"{made_at:%H:%M:%S} UTC" if made_at else "",
            "from": texts["words"]["from"].format(source=quote.source) if quote else "",
            "bid": quote and quote.bid or DASH, "ask": quote and quote.ask or DASH,
            "low": quote and quote.low_24h or DASH, "high": quote and quote.high_24h or DASH,
        }  # fmt: skip
        return self._pair.substitute({**escaped, **{key: html.escape(value) for key, value in values.items()}})


def _options(slugs: Mapping[str, PricePlace]) -> str:
    return "".join(f'<option value="{html.escape(slug)}">' for slug in slugs)
