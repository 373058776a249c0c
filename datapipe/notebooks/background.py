"""Work that is begun in the last cell and that nobody waits for: a kernel ends when that cell has ended."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_ENDS = "the kernel ends when the last cell has ended"
_RESULTS = {"result", "watch", "wait", "as_completed", "gather", "shutdown", "wrap_future"}
_THREADS = {"Thread", "Timer", "Process"}
_TASKS = {"create_task", "ensure_future"}


def left_behind(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that begin such work, and what to do about it.

    Examples
    --------
    >>> [line for line, _ in left_behind(ast.parse("run = plan.submit()\\nprint(run)"))]
    [1]
    >>> list(left_behind(ast.parse("run = plan.submit()\\nrun.result()")))
    []
    """
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {_name(call) for call in calls}
    waited = bool(called & _RESULTS)
    joined = any(map(_joins, calls))
    awaited = any(isinstance(node, ast.Await) and not _sleeps(node.value) for node in ast.walk(tree))
    managed, managers = _managed(tree)
    for call in calls:
        name, func = _name(call), call.func
        if call in managed or (isinstance(func, ast.Attribute) and ast.unparse(func.value) in managers):
            continue  # the end of the with waits
        if name == "submit" and isinstance(func, ast.Attribute) and not waited:
            cure = "Call .result() on what it returns"
            yield call.lineno, f"nobody waits for what this .submit() begins: {_ENDS}. {cure}"
        elif name == "run" and any(map(_behind, call.keywords)) and not waited:
            cure = "Leave out background=True, or call .result() on what it returns"
            yield call.lineno, f"this run goes on in the background and is lost: {_ENDS}. {cure}"
        elif name in _THREADS and "start" in called and not joined:
            yield call.lineno, f"nobody waits for this {name}, which is lost: {_ENDS}. Call .join() on it"
        elif name in _TASKS and not awaited:
            yield call.lineno, f"nobody waits for this task, which is lost: {_ENDS}. Await it"
        elif name == "Popen" and not called & {"wait", "communicate"}:
            yield call.lineno, f"nobody waits for this process, which may be killed: {_ENDS}. Call .wait() on it"


def _name(call: ast.Call) -> str:
    func = call.func
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _behind(option: ast.keyword) -> bool:
    return option.arg == "background" and isinstance(option.value, ast.Constant) and option.value.value is True


def _joins(call: ast.Call) -> bool:
    """Whether it waits for a thread: texts and paths have a method of that name, too, which takes what to join."""
    seconds = all(isinstance(one, ast.Constant) and isinstance(one.value, int | float) for one in call.args)
    return _name(call) == "join" and isinstance(call.func, ast.Attribute) and seconds


def _sleeps(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _name(value) == "sleep"


def _managed(tree: ast.AST) -> tuple[set[ast.AST], set[str]]:
    """The calls that a ``with`` holds, and the names it gives."""
    items = [item for node in ast.walk(tree) if isinstance(node, ast.With | ast.AsyncWith) for item in node.items]
    calls = {node for item in items for node in ast.walk(item.context_expr)}
    return calls, {ast.unparse(item.optional_vars) for item in items if item.optional_vars is not None}
