"""The page's style sheet and script: files of this package, nothing from elsewhere, nothing built."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

BASE = "/ui/static"
MEDIA = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}


@cache
def content(name: str) -> bytes:
    """What is in one of the files."""
    return (files(__package__) / "static" / name).read_bytes()


@cache
def address(name: str) -> str:
    """Where it is: somewhere else as soon as its content is another one, so that browsers may keep it.

    Examples
    --------
    >>> address("page.css").partition("?")[0]
    '/ui/static/page.css'
    """
    return f"{BASE}/{name}?v={hashlib.sha256(content(name)).hexdigest()[:12]}"
