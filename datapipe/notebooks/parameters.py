"""Typed parameters of notebooks: what a notebook declares, and the values it is given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datapipe.display.words import aligned, shortened
from datapipe.errors import PlanError, did_you_mean
from datapipe.notebooks.cells import Notebook
from datapipe.notebooks.declarations import Parameter, declared
from datapipe.notebooks.forms import encode, encoded
from datapipe.notebooks.given import take
from datapipe.notebooks.kinds import EnumMember, Kind, SecretRef
from datapipe.notebooks.leaks import has_password, plain_secret
from datapipe.notebooks.schema import json_schema
from datapipe.notebooks.source import expression, source_of
from datapipe.notebooks.texts import Unfit

__all__ = [
    "EnumMember",
    "Kind",
    "Parameter",
    "SecretRef",
    "checked",
    "declared",
    "encoded",
    "json_schema",
    "parameters_text",
    "source_of",
]

_SHORT = 40
_EXAMPLES: dict[str, Any] = {
    "int": 5,
    "float": 1.5,
    "bool": True,
    "str": "text",
    "Any": "text",
    "Path": "data/in.csv",
    "date": "2013-05-01",
    "datetime": "2013-05-01T12:30:00",
    "timedelta": "P1DT2H",
    "Decimal": "1.50",
    "None": None,
}


def checked(
    notebook: Notebook, given: Mapping[str, Any], *, texts: bool = False, partly: bool = False
) -> dict[str, Any]:
    """Values for a notebook as Python values of the types it declares, in the order it declares them.

    Parameters
    ----------
    notebook : Notebook
    given : mapping of str to value
        Python values, or what JSON has for them. ``"secret:NAME"`` refers to a secret.
    texts : bool
        Whether texts are from a command line, to be read by type.
    partly : bool
        Whether required ones may be missing: they are given later.

    Returns
    -------
    dict of str to value
        Only those that were given: the other defaults stay the notebook's.

    Raises
    ------
    PlanError
        If a name is unknown, a required one is missing, or a value is none of its type or a secret in the clear.

    Examples
    --------
    >>> from datapipe.notebooks.cells import notebook_of
    >>> cell = {"cell_type": "code", "source": "# parameters\\nday: date\\nlimit = 10"}
    >>> checked(notebook_of({"nbformat": 4, "cells": [cell]}, "daily.ipynb"), {"day": "2013-05-01"}, texts=True)
    {'day': datetime.date(2013, 5, 1)}
    """
    parameters = declared(notebook)
    _check_names(notebook, [parameter.name for parameter in parameters], given)
    missing = [parameter for parameter in parameters if parameter.required and parameter.name not in given]
    if missing and not partly:
        names = ", ".join(parameter.name for parameter in missing)
        examples = " ".join(_example(parameter, texts=texts) for parameter in missing)
        raise PlanError(f"{notebook.path} needs {names}", hint=f"For example {examples}")
    return {
        parameter.name: _value(notebook, parameter, given[parameter.name], texts=texts)
        for parameter in parameters
        if parameter.name in given
    }


def parameters_text(notebook: Notebook, parameters: Sequence[Parameter]) -> str:
    """The parameters of a notebook as a table for a terminal.

    Examples
    --------
    >>> from datapipe.notebooks.cells import notebook_of
    >>> cell = {"cell_type": "code", "source": "# parameters\\nday: date  # which day\\nlimit = 10"}
    >>> notebook = notebook_of({"nbformat": 4, "cells": [cell]}, "daily.ipynb")
    >>> print(parameters_text(notebook, declared(notebook)))
    name   type  default   help
    day    date  required  which day
    limit  int   10
    """
    if not parameters:
        return f"{notebook.path} has no parameters"
    rows = [
        (of.name, of.type, "required" if of.required else shortened(of.shown, _SHORT), of.help) for of in parameters
    ]
    return aligned([("name", "type", "default", "help"), *rows])


def _check_names(notebook: Notebook, known: Sequence[str], given: Iterable[str]) -> None:
    unknown = [str(name) for name in given if name not in known]
    if not unknown:
        return
    if notebook.cell_for("parameters") is None:
        hint = "Tag the cell with its defaults `parameters`, or begin it with the comment `# parameters`"
        raise PlanError(f"{notebook.path} has no cell for parameters, and {', '.join(unknown)} was given", hint=hint)
    hint = did_you_mean(unknown[0], known, what="parameters") or "Its cell for parameters declares none"
    raise PlanError(f"{notebook.path} has no parameter {unknown[0]!r}", hint=hint)


def _value(notebook: Notebook, parameter: Parameter, given: Any, *, texts: bool) -> Any:
    where = f"{notebook.path}: parameter {parameter.name!r}"
    name = parameter.name if parameter.is_secret else ""
    try:
        _refuse_leaks(where, parameter.name, name, given)
        value = take(parameter.kind, given, as_text=texts)
        # What a text, once read as JSON, turns out to be.
        _refuse_leaks(where, parameter.name, name, value)
        again = take(parameter.kind, encode(value))
    except Unfit as error:
        raise _ill_typed(where, parameter, error, texts=texts) from None
    except RecursionError:
        raise PlanError(f"{where} is nested too deeply") from None
    if expression(again, set()) != expression(value, set()):
        raise PlanError(
            f"{where} is {parameter.type}, which cannot tell this {type(value).__name__} from another value in JSON",
            hint="Declare one of the types alone",
        )
    return value


def _refuse_leaks(where: str, name: str, secret: str, value: Any) -> None:
    if plain_secret(secret, value):
        hint = f'Give {name}="secret:NAME", with NAME an environment variable where the notebook runs'
        raise PlanError(f"{where} holds a secret in the clear; secrets are given by reference", hint=hint)
    if has_password(value):
        hint = (
            f"Use a connection by its name (DATAPIPE_CONNECTION_<NAME>), or give {name}"
            '="secret:NAME", with NAME an environment variable where the notebook runs'
        )
        raise PlanError(f"{where} holds a URL with its password", hint=hint)


def _ill_typed(where: str, parameter: Parameter, error: Unfit, *, texts: bool) -> PlanError:
    what = f"{where}{error.place} takes {error.kind}, not {_described(error.value, secret=parameter.is_secret)}"
    reason = f" ({error.reason})" if error.reason else ""
    return PlanError(f"{what}{reason}", hint=f"For example {_example(parameter, texts=texts)}")


def _described(value: Any, *, secret: bool) -> str:
    """A value for a message: itself if it is short and no secret, else its type."""
    kind = "text" if isinstance(value, str) else type(value).__name__
    printable = not isinstance(value, int) or abs(value) < 10**_SHORT
    if secret or not printable or not isinstance(value, (str, int, float, type(None))) or len(str(value)) > _SHORT:
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    return f"the text {value!r}" if isinstance(value, str) else repr(value)


def _example(parameter: Parameter, *, texts: bool) -> str:
    value = "secret:NAME" if parameter.is_secret else _sample(parameter.kind)
    if not texts:
        return f"{parameter.name}={value!r}"
    return f"{parameter.name}={_as_text(value)}"


def _sample(kind: Kind) -> Any:
    match kind.name:
        case "union":
            return _sample(kind.of[0])
        case "Literal" | "Enum":
            return encode(kind.choices[0][1]) if kind.choices else None
        case "dict":
            return {"name": _sample(kind.of[0])}
        case "list" | "set" | "tuple..." | "tuple":
            return [_sample(of) for of in kind.of]
    return _EXAMPLES[kind.name]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
