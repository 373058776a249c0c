"""What a worker needs for a run, as plain JSON values: sealed where it is submitted, opened where it runs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from datapipe.errors import DatapipeError, NotPortableError, PlanError
from datapipe.plan import FunctionRef, Plan, functions, parse, to_dict, with_functions
from datapipe.schemas import is_pandera
from datapipe.transformation import reference_version
from datapipe.workers.functions import packed, unpacked

VALID = 7 * 86_400.0  # seconds that a signed message may wait for its worker
_CELL = "datapipe.cell:"  # stands in the document for a function that travels by value
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
KEY_HINT = "Set the same DATAPIPE_SIGNING_KEY where plans are submitted and where workers run"


def seal(plan: Plan, run_id: str, options: Mapping[str, Any], *, key: str | None, now: float | None = None) -> Any:
    """A plan and how to run it, signed if there is a key.

    Parameters
    ----------
    options : mapping
        ``memory``, ``idempotency_key``, ``if_running`` and the like, as JSON values.
    key : str, optional
        DATAPIPE_SIGNING_KEY.
    now : float, optional
        Seconds since the epoch.

    Returns
    -------
    dict

    Raises
    ------
    NotPortableError
        If the plan reads a frame, or has a function of this process and there is no key.
    PlanError
        If a function's module cannot be imported here.

    Examples
    --------
    >>> plan = parse({"ingestion": {"table": "users"}, "persistence": {"table_name": "copy"}})
    >>> message = seal(plan, "r1", {}, key="k" * 32)
    >>> opened(message, "r1", key="k" * 32) == plan
    True
    """
    cells: dict[str, Any] = {}
    code: dict[str, str] = {}

    def carried(ref: FunctionRef) -> FunctionRef:
        if ref.portable:
            code[ref.name] = reference_version(ref)  # imports it: a wrong name is told here, not on the worker
            return ref
        if key is None:
            raise NotPortableError(
                f"the function {ref.name!r} exists only in this process",
                hint="Move it into a module that the workers can import, or let it travel: set the same "
                "DATAPIPE_SIGNING_KEY here and on the workers",
            )
        name = f"{_CELL}{len(cells)}"
        cells[name] = packed(ref)
        return FunctionRef(name)

    sent = with_functions(plan, carried)
    message = {"plan": to_dict(sent), "code": code, "cells": cells, "python": _PYTHON}
    return signed({**message, "run": run_id, "options": dict(options)}, key=key, now=now)


def signed(message: Mapping[str, Any], *, key: str | None, now: float | None = None) -> dict[str, Any]:
    """A message with the time it is valid for, and signed if there is a key."""
    dated = {**message, "expires": (time.time() if now is None else now) + VALID}
    return {**dated, "signature": _signature(dated, key)} if key else dated


def verify(message: Mapping[str, Any], run_id: str, *, key: str | None, now: float | None = None) -> None:
    """Check a message's signature, if there is a key, its run and its age.

    Raises
    ------
    PlanError
        If it is not signed, not by this key, for another run, or too old.
    """
    if key is not None:
        _check_signature(message, key)
    if message.get("run") != run_id:
        raise PlanError(f"the plan was signed for run {message.get('run')!r}, not for this one", hint="Submit it again")
    if key is not None:
        _check_age(float(message["expires"]), time.time() if now is None else now)


def opened(
    message: Mapping[str, Any], run_id: str, *, key: str | None, modules: str = "", now: float | None = None
) -> Plan:
    """The plan of a message, if it may run here.

    Parameters
    ----------
    key : str, optional
        DATAPIPE_SIGNING_KEY. With it, only what it has signed is opened.
    modules : str
        DATAPIPE_FUNCTION_MODULES: what functions may be called without a key.

    Raises
    ------
    PlanError
        If it is not signed, not by this key, for another run, too old, from another Python, or needs a function
        that this process does not have, has otherwise, or may not call.
    """
    verify(message, run_id, key=key, now=now)
    cells, code = message.get("cells") or {}, message.get("code") or {}
    if cells and key is None:
        raise NotPortableError("a function travels with the plan, and this worker cannot check it", hint=KEY_HINT)
    if cells and message.get("python") != _PYTHON:
        hint = "Use the same minor version on both sides, or move the function into a module"
        raise PlanError(
            f"a function was packed by Python {message.get('python')}, this worker has {_PYTHON}", hint=hint
        )
    plan = parse(message["plan"])
    for ref in functions(plan):
        if ref.name not in cells:
            _check_named(ref, code.get(ref.name), key, modules)
    try:
        known = {name: unpacked(found) for name, found in cells.items()}
    except Exception as error:
        raise _unpicklable(error) from error
    return with_functions(plan, lambda ref: known.get(ref.name, ref))


def unsigned(document: Mapping[str, Any], run_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The message of somebody who knows only the document form of plans."""
    return {"plan": dict(document), "run": run_id, "options": dict(options)}


def renewed(message: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
    """The same message with a new time to live, for a run that is tried again.

    Raises
    ------
    PlanError
        If the key has not signed it.
    """
    if key is None:
        return dict(message)
    _check_signature(message, key)
    return signed({name: value for name, value in message.items() if name != "signature"}, key=key)


def _signature(message: Mapping[str, Any], key: str) -> str:
    text = json.dumps(message, sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), b"datapipe message 1:" + text.encode(), hashlib.sha256).hexdigest()


def _check_signature(message: Mapping[str, Any], key: str) -> None:
    given = message.get("signature")
    if not isinstance(given, str):
        raise PlanError("the plan is not signed, and this worker has a DATAPIPE_SIGNING_KEY", hint=KEY_HINT)
    body = {name: value for name, value in message.items() if name != "signature"}
    if not hmac.compare_digest(given.encode(), _signature(body, key).encode()):
        raise PlanError("the plan's signature is wrong: it was signed by another key, or changed", hint=KEY_HINT)


def _check_age(expires: float, now: float) -> None:
    if now > expires:
        when = dt.datetime.fromtimestamp(expires, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise PlanError(f"the signed plan was valid until {when}", hint="Queue it again: datapipe.attach(id).retry()")


def _check_named(ref: FunctionRef, wanted: str | None, key: str | None, modules: str) -> None:
    if key is None:
        check_function(ref, modules, f"on the worker, or sign plans: {KEY_HINT}")
    if wanted is not None and reference_version(ref) != wanted:
        raise PlanError(
            f"the function {ref.name!r} is not the one the plan was submitted with: this worker has other code",
            hint="Install the same version on both sides and restart the worker",
        )


def check_function(ref: FunctionRef, modules: str, cure: str = "on the server") -> None:
    """Refuse a function that is not of an allowed module.

    Parameters
    ----------
    modules : str
        DATAPIPE_FUNCTION_MODULES.
    cure : str
        Where to set it, or what to do instead.

    Raises
    ------
    PlanError
        If it may not be called.
    """
    module = ref.name.partition(":")[0]
    allowed = [name.strip() for name in modules.split(",") if name.strip()]
    if not _is_in(module, allowed):
        hint = f"Set DATAPIPE_FUNCTION_MODULES={','.join([*allowed, module])} {cure}"
        raise PlanError(f"this process may not call {ref.name!r}", hint=hint)
    if not _is_at_home(ref, allowed):  # a module's imports are not its own: recipes:os.system
        hint = f"Name it where it is defined, in one of {', '.join(allowed)}; or set DATAPIPE_FUNCTION_MODULES {cure}"
        raise PlanError(f"this process may not call {ref.name!r}, which {module} has from elsewhere", hint=hint)


def _is_in(module: str, allowed: Sequence[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def _is_at_home(ref: FunctionRef, allowed: Sequence[str]) -> bool:
    """Whether an allowed module defines what a reference leads to, and every class on the way."""
    module, _, path = ref.name.partition(":")
    names = path.split(".")
    if any(name.startswith("__") for name in names):  # every module has __builtins__
        return False
    *classes, found = (FunctionRef(f"{module}:{'.'.join(names[:n])}").resolve() for n in range(1, len(names) + 1))
    if not classes and (isinstance(found, Mapping) or (is_pandera(found) and not isinstance(found, type))):
        return True  # a schema is data; the functions in it are the module's choice
    homes = (str(getattr(one, "__module__", "")) for one in (*classes, found))
    return all(isinstance(cls, type) for cls in classes) and all(_is_in(home, allowed) for home in homes)


def _unpicklable(error: Exception) -> DatapipeError:
    if isinstance(error, ModuleNotFoundError):
        hint = f"Install {error.name} where the worker runs"
        return PlanError(f"a function of the plan needs the module {error.name!r}, which is not here", hint=hint)
    return PlanError(f"a function of the plan cannot be loaded: {type(error).__name__}: {error}")


def options_of(message: Mapping[str, Any], known: type[Any]) -> dict[str, Any]:
    """The options of a message that this library knows."""
    names = {field.name for field in dataclasses.fields(known)}
    return {name: value for name, value in (message.get("options") or {}).items() if name in names}
