"""From the command line's options to a pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datapipe.errors import PlanError

if TYPE_CHECKING:
    from datapipe.notebooks.job import NotebookJob
    from datapipe.pipeline import Pipeline

_JSON_SCALAR = re.compile(r"(?:true|false|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)\Z")


@dataclass(frozen=True)
class PlanOptions:
    """A plan given piece by piece, as in the specification."""

    query: str | None = None
    source_db_url: str | None = None
    transform_type: str | None = None
    transform_config: str | None = None
    table_name: str | None = None
    strategy: str | None = None
    upsert_keys: Sequence[str] = ()
    dest_db_url: str | None = None

    @property
    def given(self) -> bool:
        """Whether any of them is given."""
        return bool(self.named)

    @property
    def named(self) -> str:
        """The first of those that are given, as it is typed."""
        found = (name for name in self.__dataclass_fields__ if getattr(self, name))
        return next((f"--{name.replace('_', '-')}" for name in found), "")

    def document(self) -> dict[str, Any]:
        """The document form.

        Raises
        ------
        PlanError
            If an option is given without the one it belongs to.
        """
        from datapipe.plan.given import connection_of

        if not self.query:
            raise PlanError("no plan is given", hint="Give a FILE, or --query and --table-name")
        self._check_pairs()
        source = connection_of(self.source_db_url, "source_db_url", "source")
        found: dict[str, Any] = {"ingestion": _set(query=self.query, **source)}
        if self.transform_config:
            config = config_of(self.transform_config)
            found["transformation"] = {"type": self.transform_type or "sql", "config": config}
        if self.table_name:
            found["persistence"] = _set(
                table_name=self.table_name,
                strategy=self.strategy,
                upsert_keys=columns(self.upsert_keys),
                **connection_of(self.dest_db_url, "dest_db_url", "destination"),
            )
        return found

    def _check_pairs(self) -> None:
        if self.transform_type and not self.transform_config:
            raise PlanError("--transform-type is given alone", hint="Give --transform-config with it")
        for name in ("strategy", "upsert_keys", "dest_db_url"):
            if getattr(self, name) and not self.table_name:
                raise PlanError(
                    f"--{name.replace('_', '-')} is given without a table", hint="Give --table-name with it"
                )


def pipeline_of(file: str | None, options: PlanOptions, params: Sequence[str]) -> Pipeline:
    """The pipeline a command is about, with other values for its parameters.

    Raises
    ------
    PlanError
        If there is none, or two, or it is a notebook.
    """
    from datapipe.pipeline import Pipeline

    found = pipeline_or_job(file, options)
    if not isinstance(found, Pipeline):
        hint = f"datapipe notebook check {file} looks it over, datapipe notebook run {file} runs it"
        raise PlanError(f"{file!r} is a notebook, not a plan", hint=hint)
    return with_values(found, params)


def pipeline_or_job(file: str | None, options: PlanOptions) -> Pipeline | NotebookJob:
    """The pipeline, or the notebook, that a command is about, as it stands there.

    Raises
    ------
    PlanError
        If there is none, or two.
    """
    if file and options.given:
        if file.endswith(".ipynb"):
            raise PlanError(f"{file!r} is a notebook, and {options.named} is for plans", hint="Give one of them")
        raise PlanError("both a plan file and single options are given", hint="Give one of them")
    from datapipe.pipeline import Pipeline
    from datapipe.plan import document
    from datapipe.reading import load

    return load(file) if file else Pipeline(document.parse(options.document()))


def with_values(pipeline: Pipeline, params: Sequence[str]) -> Pipeline:
    """The pipeline with the values of ``name=value`` options for its parameters."""
    from datapipe.pipeline import Pipeline
    from datapipe.plan import bind

    values = named_values(params)
    return Pipeline(bind(pipeline.plan, values), pipeline.places) if values else pipeline


def named_values(texts: Sequence[str]) -> dict[str, Any]:
    """The values of ``name=value`` options: numbers, true and false are such, everything else is text.

    Examples
    --------
    >>> named_values(["n=5", "on=true", "day=2024-01-01", "code=007"])
    {'n': 5, 'on': True, 'day': '2024-01-01', 'code': '007'}
    """
    found = texts_of(texts)
    return {name: json.loads(value) if _JSON_SCALAR.match(value) else value for name, value in found.items()}


def texts_of(texts: Sequence[str]) -> dict[str, str]:
    """The texts of ``name=value`` options.

    Raises
    ------
    PlanError
        If one is none, or a name is given twice.

    Examples
    --------
    >>> texts_of(["day=2024-01-01", "query=a=b"])
    {'day': '2024-01-01', 'query': 'a=b'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise PlanError("a --param is not name=value", hint="For example --param day=2024-01-01")
        if name.strip() in found:
            raise PlanError(f"--param {name.strip()} is given twice", hint="Give it once")
        found[name.strip()] = value
    return found


def columns(texts: Sequence[str]) -> list[str]:
    """The names in options such as ``id,day``.

    Examples
    --------
    >>> columns(["id, day", "hour"])
    ['id', 'day', 'hour']
    """
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def config_of(text: str) -> Any:
    """The transformation's configuration: JSON itself, or the path of a file that has it."""
    from datapipe.plan import document

    if not text.lstrip().startswith("{"):
        return document.read_file(text)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at character {error.pos + 1}"
        raise PlanError(
            f"--transform-config is not JSON: {where}", hint="Put it into a file and give its path"
        ) from None


def _set(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
