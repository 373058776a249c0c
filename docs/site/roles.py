"""Docstrings name things by Sphinx's roles, such as ``:meth:`run```; on the site they are code like any other."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod):`~?(?:datapipe\.(?:\w+\.)*)?([\w.]+)`")


class Roles(griffe.Extension):
    """Writes each role as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called with every object of the package."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"``\1``", obj.docstring.value)
