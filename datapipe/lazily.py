"""Packages whose names are loaded when they are first used, so that a run loads what its plan needs and no more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package, which loads a name's module when it is first asked for the name.

    Parameters
    ----------
    package : str
    homes : mapping of str to str
        The names that each module of the package gives, separated by spaces; a module beside it has a dot before its
        name.

    Examples
    --------
    >>> load = lazily("datapipe.data", {"names": "quote quoted"})
    >>> load("quote")("a")
    '"a"'
    """
    modules = {name: module for module, names in homes.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{modules[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
