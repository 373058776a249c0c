"""One log record as one line: what it says, whose run it is about, and nothing that is secret."""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal

import structlog

from datapipe.logs import tasklines
from datapipe.logs.context import ids
from datapipe.logs.exceptions import chain, texts
from datapipe.logs.loggers import TAKEN
from datapipe.secrets import MASK, Redactor, names_secret

Form = Literal["json", "text", "console"]
Fields = MutableMapping[str, Any]
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NO_NAME = re.compile(r"[^\w.-]")
_LONGEST = 8_000  # characters of one text; Docker breaks lines of 16 KB
_DEEPEST = 6
_SURE = ("time", "level", "logger")  # these are nobody's secrets, whatever they look like
_FIRST = ("time", "level", "logger", "message")
_LAST = ("task_name", "run_id", "correlation_id", "pipeline_id", "task_id", "parent_run_id")
# What a program would be told twice on a console, where the run's own id is.
_REPEATED = ("correlation_id", "pipeline_id", "task_id")


def formatter(form: Form, redactor: Callable[[], Redactor], *, colours: bool = False) -> logging.Formatter:
    """What makes lines of records, of ``logging`` and of structlog.

    Parameters
    ----------
    redactor : callable
        Gives what leaves out the secrets that are known now.
    colours : bool
        Whether a console gets colours.

    Examples
    --------
    >>> record = logging.makeLogRecord({"name": "datapipe", "msg": "%d rows", "args": (3,), "levelname": "INFO"})
    >>> json.loads(formatter("json", Redactor).format(record))["message"]
    '3 rows'
    """
    render = {"json": _json, "text": _text, "console": _console(colours=colours)}[form]

    def hidden(_: Any, __: str, found: Fields) -> Fields:
        hide = redactor()
        return {_escaped(name): _escaped(_without_secrets(name, value, hide)) for name, value in found.items()}

    if not structlog.is_configured():
        _configure_structlog()
    return structlog.stdlib.ProcessorFormatter(processors=[_fields, hidden, render])


def _without_secrets(name: str, value: Any, hide: Redactor) -> Any:
    if name in _SURE:
        return value
    return MASK if isinstance(value, str) and value and names_secret(name) else hide.data(value)


def _configure_structlog() -> None:
    """Have structlog's own loggers, such as those of a user's function, write the same lines."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _fields(_: Any, __: str, event: Fields) -> Fields:
    """What there is to tell of a record, in the order in which it is told, as plain JSON values."""
    record: logging.LogRecord = event["_record"]
    own = {name: value for name, value in vars(record).items() if name not in TAKEN and not name.startswith("_")}
    given = {name: value for name, value in event.items() if not name.startswith("_")}
    message, error = given.pop("event", ""), given.pop("exc_info", None)
    further = {**structlog.contextvars.get_contextvars(), **ids(), **own, **given}
    further.pop("color_message", None)  # uvicorn's message once more
    if "exception" in further:  # a field of somebody's; under its name stands the error
        further["exception_"] = further.pop("exception")
    told = tasklines.told(record.name, further.pop("data", None)) if tasklines.is_its(record.name) else None
    if told is not None:
        message, further = told.pop("message"), {**further, **told}
    found = {
        "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": record.levelname,
        "logger": record.name,
        "message": message,
    }
    about = {name: further.pop(name) for name in _LAST if name in further}
    found |= {name: value for name, value in further.items() if name not in _FIRST} | about
    if error and (errors := chain(error, record.name)):
        found["exception"] = errors
    plain: Fields = _plain(found)
    return plain


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it; what it has not, as text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {str(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEEPEST:
        return [_plain(one, depth + 1) for one in value]
    try:
        return value if isinstance(value, str) else str(value)
    except Exception as error:  # noqa: BLE001  # whatever it is: a line does not fail
        return f"a {type(value).__name__} that cannot be shown: {type(error).__name__}"


def _escaped(value: Any) -> Any:
    """Texts that move no cursor and begin no line of their own, none of them endless."""
    if isinstance(value, dict):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    if not isinstance(value, str):
        return value
    text = value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def _json(_: Any, __: str, found: Fields) -> str:
    return json.dumps(found)


def _text(_: Any, __: str, found: Fields) -> str:
    head = f"{found['time']} {found['level']} {found['logger']}: {found['message']}"
    errors = found.pop("exception", [])
    pairs = [f"{_NO_NAME.sub('_', name)}={_quoted(value)}" for name, value in found.items() if name not in _FIRST]
    return "\n".join([" ".join([head, *pairs]), *(f"    {line}" for line in texts(errors))])


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if not text or re.search(r'[\s"=\\]', text) else text


def _console(*, colours: bool) -> Callable[[Any, str, Fields], str]:
    render = structlog.dev.ConsoleRenderer(
        colors=colours, event_key="message", timestamp_key="time", sort_keys=False, pad_event_to=0, pad_level=False
    )

    def rendered(source: Any, name: str, found: Fields) -> str:
        for repeated in _REPEATED:
            if found.get(repeated) == found.get("run_id"):
                found.pop(repeated, None)
        found["level"] = found["level"].lower()
        if "exception" in found:
            found["exception"] = "\n".join(f"    {line}" for line in texts(found["exception"]))
        return str(render(source, name, found))

    return rendered
