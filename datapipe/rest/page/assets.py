"""The page's style sheet and script: files of this package, nothing from elsewhere, nothing built."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

BASE = "/ui/static"
_MEDIA = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}


class Asset(NamedTuple):
    """A file as it is sent."""

    content: bytes
    media_type: str
    url: str


@cache
def asset(name: str) -> Asset | None:
    """A file by its name; its URL is another one as soon as its content is, so that browsers may keep it.

    Examples
    --------
    >>> asset("page.css").media_type, asset("../app.py")
    ('text/css; charset=utf-8', None)
    """
    if name not in _MEDIA:
        return None
    content = (files(__package__) / "static" / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Asset(content, _MEDIA[name], f"{BASE}/{name}?v={digest}")
