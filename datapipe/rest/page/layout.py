"""What all pages have around what they are about: a head, where to go, who looks, and when this was so."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from html import escape
from http import HTTPStatus

from fastapi import Request
from starlette.responses import HTMLResponse, Response

from datapipe.rest.callers import Caller
from datapipe.rest.page.assets import address
from datapipe.rest.page.parts import moment, notice
from datapipe.rest.problems import Refused
from datapipe.secrets import redactor

# Scripts and pictures of ours alone; cards have their style with them.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PLACES = (("/", "Runs"), ("/ui/workers", "Workers"), ("/docs", "API"))


@dataclass(frozen=True)
class Page:
    """A page.

    Parameters
    ----------
    title : str
    body : str
        Its HTML, which begins with a heading.
    every : int
        Seconds after which its script looks again.
    events : str
        The server-sent events upon which it looks at once.
    """

    title: str
    body: str
    every: int
    events: str = ""


def is_page(path: str) -> bool:
    """Whether a path is for people.

    Examples
    --------
    >>> is_page("/"), is_page("/ui/workers"), is_page("/runs")
    (True, True, False)
    """
    return path == "/" or path.startswith("/ui/")


def answered(page: Page, request: Request) -> Response:
    """A page, or 304 for a script that has it already."""
    tag = f'"{hashlib.sha256(page.body.encode()).hexdigest()[:24]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    live = f' data-every="{page.every}" data-tag="{escape(tag)}"'
    live += f' data-events="{escape(page.events)}"' if page.events else ""
    who = _who(request.state.caller, is_open=request.app.state.is_open)
    return HTMLResponse(_document(page.title, page.body, request.url.path, live, who), headers={"ETag": tag})


def refusal(error: Refused, path: str, correlation_id: str | None) -> Response:
    """What is answered to a request that is refused: a page to whoever asked for one, else a problem as JSON."""
    problem = error.response(correlation_id)
    if not is_page(path):
        return problem
    hint = "Reload this page to be asked for the key" if error.status == HTTPStatus.UNAUTHORIZED else error.hint
    said = [f"{redactor().text(text)}." for text in (error.detail, hint) if text]
    told = notice(*said, f"Correlation id: {correlation_id}")
    body = f'<h1 tabindex="-1">{escape(error.kind or "This cannot be shown")}</h1>{told}'
    page = HTMLResponse(_document("datapipe", body, path, status=error.status), error.status)
    page.raw_headers += [pair for pair in problem.raw_headers if not pair[0].startswith(b"content-")]
    return page


def _document(title: str, body: str, path: str, live: str = "", who: str = "", status: int = HTTPStatus.OK) -> str:
    # A browser whose user has no key would ask for it again for each of the files.
    files = "" if status == HTTPStatus.UNAUTHORIZED else _files()
    links = "".join(
        f'<li><a href="{place}"{" aria-current=page" if place == path else ""}>{name}</a></li>'
        for place, name in _PLACES
    )
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
{files}
</head>
<body>
<a class="skip" href="#main">Skip to what this page is about</a>
<header><p class="brand">datapipe</p><nav aria-label="Pages"><ul>{links}</ul></nav>{who}</header>
<div class="when"><p id="as-of">As of {moment(now)}</p> <a href="">Refresh</a>
<div id="said" role="log" aria-label="What has changed"></div></div>
<main id="main"{live}>
{body}
</main>
<footer><p>Times are in <span id="zone">UTC</span>, those within a card in UTC.</p></footer>
</body>
</html>
"""


def _files() -> str:
    style, script = address("page.css"), address("page.js")
    return f'<link rel="stylesheet" href="{style}">\n<script src="{script}" defer></script>'


def _who(caller: Caller, *, is_open: bool) -> str:
    if is_open:
        return '<p class="who">open: whoever reaches this address may do everything</p>'
    return f'<p class="who">key of {escape(caller.owner)}, scope {escape(caller.scope)}</p>'
