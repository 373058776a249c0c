"""References to the user's functions: by name where they can be imported, else the object itself."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal

from datapipe.errors import PlanError, did_you_mean

FrameKind = Literal["pandas", "polars", "arrow"]
_KINDS: dict[tuple[str, str], FrameKind] = {
    ("polars", "DataFrame"): "polars",
    ("pl", "DataFrame"): "polars",
    ("pyarrow", "Table"): "arrow",
    ("pa", "Table"): "arrow",
}


@dataclass(frozen=True)
class FunctionRef:
    """A function of the plan.

    Parameters
    ----------
    name : str
        ``module:name`` if it can be imported, else a name for people.
    target : callable, optional
        The object, when it cannot be imported by name.

    Examples
    --------
    >>> FunctionRef.of(inspect.cleandoc).name
    'inspect:cleandoc'
    """

    name: str
    target: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, given: Any) -> FunctionRef:
        """Refer to a function, a class or object with a ``transform`` method, or ``"module:name"``.

        Raises
        ------
        PlanError
            If it is none of these.
        """
        if isinstance(given, FunctionRef):
            return given
        if isinstance(given, str):
            module, colon, name = given.partition(":")
            if not (colon and module and name):
                raise PlanError(f"{given!r} is not a function reference", hint="Write it as 'package.module:function'")
            return cls(given)
        if not callable(given) and not callable(getattr(given, "transform", None)):
            raise PlanError(
                f"{type(given).__name__} is not a function",
                hint="Give a function, a class with a transform method, or 'package.module:function'",
            )
        home, qualname = getattr(given, "__module__", None), getattr(given, "__qualname__", None)
        found = sys.modules.get(home) if home and home != "__main__" else None
        # A module without a spec, such as a script with a plan, was not imported, and cannot be elsewhere.
        if qualname and getattr(found, "__spec__", None) and _look_up(found, qualname) is given:
            return cls(f"{home}:{qualname}")
        return cls(qualname or type(given).__qualname__, given)

    @property
    def portable(self) -> bool:
        """Whether the name alone is enough to find it in another process."""
        return self.target is None

    @property
    def loaded(self) -> Any:
        """The object, if this process has it already: nothing is imported; else None."""
        module, _, name = self.name.partition(":")
        return self.target if self.target is not None else _look_up(sys.modules.get(module), name)

    def resolve(self) -> Any:
        """The object itself.

        Raises
        ------
        PlanError
            If the module cannot be imported or has no such name.
        """
        if self.target is not None:
            return self.target
        module_name, _, name = self.name.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise PlanError(
                f"cannot import {module_name!r} for the function {self.name!r}: {error}",
                hint="Check the module's name and that it is installed or on PYTHONPATH",
            ) from error
        found = _look_up(module, name)
        if found is None:
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise PlanError(f"module {module_name!r} has no {name!r}", hint=did_you_mean(name, known, what="functions"))
        return found

    @property
    def document(self) -> str:
        """The name; of a function that only this process has, also what tells it from others of that name."""
        return self.name if self.portable else f"{self.name}#{self.version()}"

    def version(self) -> str:
        """A hash of the function's code: the same code has the same version in every process."""
        return content_hash(self.resolve())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionRef) and self.name == other.name and self.target is other.target

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


def _look_up(module: Any, qualname: str) -> Any:
    found = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def frame_kind(call: Callable[..., Any]) -> FrameKind:
    """The frame a function's first parameter is annotated with, as an object or as text; pandas without annotation.

    Examples
    --------
    >>> def clean(frame: "pl.DataFrame"): ...
    >>> frame_kind(clean)
    'polars'
    """
    first = next(iter(_parameters(call)), None)
    annotation = first.annotation if first is not None else None
    if not isinstance(annotation, str):
        annotation = f"{getattr(annotation, '__module__', '')}.{getattr(annotation, '__qualname__', '')}"
    return _KINDS.get((annotation.partition(".")[0], annotation.rpartition(".")[2]), "pandas")


def _parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(call, eval_str=True).parameters.values())
    except (NameError, AttributeError, TypeError, SyntaxError, ValueError):
        pass  # a name that only a type checker imports: the text itself has to do
    try:
        return list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return []  # a function written in C


def content_hash(target: Any) -> str:
    """SHA-256 (first 16 hex digits) of a function's or class's code."""
    if isinstance(target, functools.partial):
        material = content_hash(target.func) + repr((target.args, sorted(target.keywords.items())))
        return hashlib.sha256(material.encode()).hexdigest()[:16]
    holder = target if inspect.isroutine(target) or inspect.isclass(target) else type(target)
    try:
        material = inspect.cleandoc(inspect.getsource(holder))
    except (OSError, TypeError):
        code = getattr(holder, "__code__", None)
        material = _describe(code) if code else f"{holder.__module__}:{holder.__qualname__}"
    if dataclasses.is_dataclass(target) and not inspect.isclass(target):
        material += repr(target)
    cells = [cell.cell_contents for cell in getattr(holder, "__closure__", None) or ()]
    # Only what prints the same in every process.
    material += repr([value for value in cells if isinstance(value, (str, bytes, int, float, bool, tuple, type(None)))])
    return hashlib.sha256(material.encode()).hexdigest()[:16]


def _describe(code: CodeType) -> str:
    constants = [_describe(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return repr((code.co_code.hex(), constants, code.co_names))
