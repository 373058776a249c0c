"""Messages without passwords, whoever wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
_PASSWORD = re.compile(r"://[^:@/\s]*:(.+)@", re.DOTALL)
_OPTION = re.compile(r"[?&][\w-]*(?:passw|pwd|secret|token|key)[\w-]*=([^&\s]+)", re.IGNORECASE)


def without_secrets(text: str, urls: Iterable[str]) -> str:
    """A message in which nothing is left of the passwords in these URLs.

    Examples
    --------
    >>> without_secrets("cannot open redis://:s3cret@db/0: s3cret is wrong", ["redis://:s3cret@db/0"])
    'cannot open redis://***@db/0: *** is wrong'
    """
    text = _USERINFO.sub("***@", text)
    found = {secret for url in urls for pattern in (_PASSWORD, _OPTION) for secret in pattern.findall(url)}
    # A driver that takes a password apart at its / or @ may tell a part of it.
    parts = {part for secret in found for part in re.split(r"[/@:?#]", secret) if len(part) > 2}
    for secret in sorted({*found, *parts, *map(unquote, found)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
