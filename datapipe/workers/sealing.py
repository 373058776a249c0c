"""The arguments of a stage on their way to a worker: as a sealed message, in every signature that travels along."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task

from datapipe.errors import PlanError
from datapipe.plan import DatabaseUrl, Plan, parse
from datapipe.settings import settings
from datapipe.workers.envelope import opened, seal, unsigned
from datapipe.workers.queue import HIDDEN, RETRY, new_id, own_key, reaching_broker, with_ids
from datapipe.workers.requests import RunRequest

_PREFIX = "datapipe."
_POSITIONS = {
    "ingest": ("query", "source_db_url", "parameters"),
    "transform": ("previous_result", "type", "config"),
    "persist": ("previous_result", "table_name", "strategy", "upsert_keys", "dest_db_url"),
}
STAGES = {f"{_PREFIX}{stage}": stage for stage in _POSITIONS}
_PREVIOUS = {"files": "the rows of the previous task"}  # stands for them in the document
_TRAVELLERS = ("chain", "chord", "link", "link_error")  # options that hold signatures
_URL = re.compile(r"[A-Za-z][\w+.-]*://")


class SafeTask(Task):  # type: ignore[misc]  # Celery has no types
    """What all tasks have in common: signatures without passwords, and a count of the processes a run costs."""

    Request = RunRequest

    def signature(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """A signature without passwords, wherever it may be embedded."""
        return super().signature(stripped(args or ()), stripped(kwargs or {}), *rest, **options)

    subtask = signature


class StageTask(SafeTask):
    """A single stage: whoever queues it checks it first; passwords stay here, functions travel as those of plans do."""

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Queue the stage, and with it what is to follow.

        Raises
        ------
        PlanError
            If its arguments are wrong, or a function cannot travel.
        TransientError
            If the broker cannot be reached.
        """
        task_id = task_id or new_id()
        key = own_key()
        args, kwargs = sealed_call(STAGES[self.name], args or (), kwargs or {}, task_id, key)
        found = {name: _sealed(options[name], key) for name in _TRAVELLERS if options.get(name)}
        given = {"retry": True, "retry_policy": RETRY, **options, **found, **HIDDEN}
        with reaching_broker():
            return super().apply_async(args, kwargs, task_id=task_id, **with_ids(given))


def document(stage: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a stage, in its document form.

    Examples
    --------
    >>> document("ingest", {"query": "SELECT 1", "parameters": None})
    {'name': 'ingest', 'ingestion': {'query': 'SELECT 1'}}
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if stage == "ingest":
        return {"name": stage, "ingestion": given}
    if stage == "transform":
        return {"name": stage, "ingestion": _PREVIOUS, "transformation": {"type": "sql", **given}}
    return {"name": stage, "ingestion": _PREVIOUS, "persistence": given}


def sealed_call(
    stage: str, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str, key: str | None, *, partial: bool = False
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments as they travel: what the previous task has left, and a sealed message.

    Parameters
    ----------
    partial : bool
        Whether the previous task's result is not among them, because it is put before them later.

    Examples
    --------
    >>> args, kwargs = sealed_call("persist", ({"spool": "…"}, "users", "replace"), {}, "t1", None)
    >>> args, sorted(kwargs), kwargs["sealed"]["plan"]["persistence"]
    (({'spool': '…'},), ['sealed'], {'table_name': 'users', 'strategy': 'replace'})
    """
    if kwargs.get("sealed") is not None:
        return tuple(args), dict(kwargs)
    names = _POSITIONS[stage][1 if partial and stage != "ingest" else 0 :]
    if len(args) > len(names):
        raise PlanError(
            f"{stage} takes at most {len(names)} arguments by position", hint=f"They are {', '.join(names)}"
        )
    fields = {**dict(zip(names, args, strict=False)), **kwargs}
    previous = (fields.pop("previous_result"),) if "previous_result" in fields else ()
    options = {"stage": stage, "keep": bool(fields.pop("keep", False))}
    fields.pop("sealed", None)
    message = seal(parse(document(stage, fields)), task_id, options, key=key)
    return previous, {"sealed": message}


def plan_of(stage: str, task_id: str, sealed: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> tuple[Plan, bool]:
    """What a message asks for, if it may run here; and whether its input is to be kept.

    Parameters
    ----------
    sealed : mapping, optional
        As :func:`sealed_call` made it; without it the ``fields`` come from somebody who only knows the task's name.

    Raises
    ------
    PlanError
        As :func:`~datapipe.workers.envelope.opened` does.
    """
    if sealed is None:
        given = {name: value for name, value in fields.items() if name != "keep"}
        sealed = unsigned(document(stage, given), task_id, {"stage": stage, "keep": fields.get("keep", False)})
    found = settings()
    plan = opened(sealed, task_id, key=found.signing_key, modules=found.function_modules)
    options = sealed.get("options") or {}
    if options.get("stage") != stage:
        raise PlanError(f"the message was made for {options.get('stage')!r}, not for {stage}", hint="Queue it again")
    return plan, bool(options.get("keep"))


def _sealed(value: Any, key: str | None) -> Any:
    """Signatures, or whatever holds some, with those of stages sealed."""
    if isinstance(value, Mapping):
        if value.get("task") in STAGES and "kwargs" in value:
            return _sealed_signature(value, key)
        return {name: _sealed(item, key) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sealed(item, key) for item in value]
    return value


def _sealed_signature(signature: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    options = {name: _sealed(value, key) for name, value in (signature.get("options") or {}).items()}
    task_id = options.setdefault("task_id", new_id())
    args, kwargs = sealed_call(
        STAGES[signature["task"]],
        signature.get("args") or (),
        signature["kwargs"] or {},
        task_id,
        key,
        partial=not signature.get("immutable"),
    )
    return {**signature, "args": args, "kwargs": kwargs, "options": options}


def stripped(value: Any) -> Any:
    """The value with every database URL in it, by position or under a name that ends in _url, without its password."""
    if isinstance(value, Mapping):
        return {name: _safe(item) if str(name).endswith("_url") else _nested(item) for name, item in value.items()}
    return type(value)(_safe(item) for item in value)


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return stripped(value)
    return [_nested(item) for item in value] if isinstance(value, (list, tuple)) else value


def _safe(value: Any) -> Any:
    return DatabaseUrl.parse(value).safe if isinstance(value, str) and _URL.match(value) else _nested(value)
