"""Functions that exist in one process only, such as those of a notebook cell: by value, with their source."""

from __future__ import annotations

import base64
import inspect
import io
import linecache
from collections import ChainMap
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, ClassVar

from datapipe.errors import NotPortableError
from datapipe.plan import FunctionRef
from datapipe.traces import label, masked

_NAMELESS = "<dynamic-code>"
_LONGEST = 1 << 20  # characters of source that travel with a function


def packed(ref: FunctionRef) -> dict[str, Any]:
    """A function as plain JSON values.

    Raises
    ------
    NotPortableError
        If it holds something that cannot be copied, such as a connection.
    """
    try:
        pickled = _pickled(ref.target)
    except Exception as error:
        raise NotPortableError(
            f"the function {ref.name!r} cannot travel: {type(error).__name__}: {error}",
            hint="It uses something of this process, such as a connection or a lock; create that inside the function",
        ) from error
    sources = dict(_sources(ref.target))
    found = {"name": ref.name, "pickle": base64.b64encode(pickled).decode()}
    return {**found, "sources": sources, "labels": {name: label(name) for name in sources}}


def unpacked(found: Mapping[str, Any]) -> FunctionRef:
    """The function again, its lines known to tracebacks. Only for what this process trusts: unpickling runs code."""
    import cloudpickle

    labels = found.get("labels") or {}
    for name, text in found["sources"].items():
        # Without a time: the file is not looked for. The last is what people call it.
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), labels.get(name, name))
    return FunctionRef(str(found["name"]), cloudpickle.loads(base64.b64decode(found["pickle"])))


def _pickled(target: Any) -> bytes:
    from cloudpickle import CloudPickler

    def reduced(code: CodeType) -> tuple[Any, ...]:
        """Code with the name of its file, for which cloudpickle puts another."""
        make, values = CloudPickler.dispatch_table[CodeType](code)
        return make, tuple(code.co_filename if value == _NAMELESS else value for value in values)

    class Pickler(CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
        dispatch_table: ClassVar[Any] = ChainMap({CodeType: reduced}, CloudPickler.dispatch_table)

    with io.BytesIO() as buffer:
        Pickler(buffer).dump(target)
        return buffer.getvalue()


def _sources(target: Any) -> Iterator[tuple[str, str]]:
    """The text of every file or cell that the function's own code is in."""
    room, seen = _LONGEST, set()
    for code in _codes(target):
        name = code.co_filename
        text = "".join(linecache.getlines(name)) if name not in seen else ""
        seen.add(name)
        if text and len(text) <= room:
            room -= len(text)
            yield name, masked(text)


def _codes(target: Any, seen: set[int] | None = None) -> Iterator[CodeType]:
    """The code of a function, and of those it calls that travel with it."""
    seen = set() if seen is None else seen
    for function in _functions(target):
        if id(function) in seen:
            continue
        seen.add(id(function))
        yield function.__code__
        for name in function.__code__.co_names:
            used = function.__globals__.get(name)
            if getattr(used, "__module__", None) == "__main__":
                yield from _codes(used, seen)
        for cell in function.__closure__ or ():
            yield from _codes(cell.cell_contents, seen)


def _functions(target: Any) -> Iterator[FunctionType]:
    found = inspect.unwrap(getattr(target, "func", target)) if callable(target) else target
    if isinstance(found, FunctionType):
        yield found
    elif inspect.ismethod(found):
        yield from _functions(found.__func__)
    elif getattr(type(found), "__module__", None) == "__main__" or inspect.isclass(found):
        holder = found if inspect.isclass(found) else type(found)
        yield from (value for value in vars(holder).values() if isinstance(value, FunctionType))
