"""Plans as documents: YAML and JSON, both ways, read as data and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from datapipe.errors import NotPortableError, PlanError
from datapipe.plan import problems
from datapipe.plan.functions import FunctionRef
from datapipe.plan.model import CodeStep, Feed, FrameSource, Plan, SqlStep, ValidateStep

MAX_BYTES = 1 << 20
MAX_DEPTH = 64

M = TypeVar("M", bound=BaseModel)


def build(kind: type[M], data: Any, *, step: str | None = None) -> M:
    """A model from plain data.

    Raises
    ------
    PlanError
        For the first mistake, naming step, field and the nearest known name.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise problems.explain(error, kind, step=step) from None


def parse(data: Any) -> Plan:
    """A plan from its document form.

    Examples
    --------
    >>> parse({"ingestion": {"query": "SELECT 1 AS a"}}).ingestion.query
    'SELECT 1 AS a'
    """
    if not isinstance(data, Mapping):
        raise PlanError(
            f"a plan is a mapping, not {type(data).__name__}",
            hint="It has ingestion, transformation, persistence",
        )
    version = data.get("format", 1)
    if version != 1:
        raise PlanError(f"format {version!r} is not known", step="plan", hint="This library reads format 1")
    return build(Plan, data)


def loads(text: str | bytes) -> Plan:
    """A plan from YAML or JSON text."""
    return parse(read_yaml(text))


def load(path: str | Path) -> Plan:
    """A plan from a YAML or JSON file.

    Raises
    ------
    PlanError
        If the file is missing, too large, or not a plan.
    """
    return parse(read_file(path))


def read_file(path: str | Path) -> Any:
    """The data in a YAML or JSON file, read safely."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PlanError(f"cannot read {str(path)!r}: {error.strerror}", hint="Check the path") from None
    try:
        return read_yaml(text)
    except PlanError as error:
        raise error.at(str(path)) from None


def to_dict(plan: Plan) -> dict[str, Any]:
    """The document form of a plan.

    Raises
    ------
    NotPortableError
        If the plan holds a frame or a function that only this process has.
    """
    _check_portable(plan)
    return {"format": plan.format, **plan.document()}


def to_json(plan: Plan, *, indent: int | None = 2) -> str:
    """The document form as JSON."""
    return json.dumps(to_dict(plan), indent=indent, ensure_ascii=False)


def to_yaml(plan: Plan) -> str:
    """The document form as YAML."""
    return dumped(to_dict(plan))


def dumped(document: Mapping[str, Any]) -> str:
    """A document of plain JSON values as YAML, which our loader reads as the same values."""
    text: str = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _check_portable(plan: Plan | Feed) -> None:
    if isinstance(plan.ingestion, FrameSource):
        raise NotPortableError(
            f"the plan reads {plan.ingestion.label}, which no document can carry",
            step="ingestion",
            hint="Read it from a file or a table instead",
        )
    for number, step in enumerate(plan.transformation, 1):
        label = f"transformation step {number} ({step.type})"
        if isinstance(step, (CodeStep, ValidateStep)):
            found = (step.config.function,) if isinstance(step, CodeStep) else step.config.functions
            for function in found:
                _check_function(function, label)
        if isinstance(step, SqlStep):
            for name, feed in step.config.tables.items():
                try:
                    _check_portable(feed)
                except NotPortableError as error:
                    error.step = f"{label}, table {name!r}"
                    raise


def _check_function(function: FunctionRef, step: str) -> None:
    if not function.portable:
        raise NotPortableError(
            f"the function {function.name!r} exists only in this process",
            step=step,
            hint="Move it into a module that both sides can import",
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise PlanError(f"the key {next(name for name in names if names.count(name) > 1)!r} appears twice")
    return found


def _shallow(value: Any, depth: int = 1) -> Any:
    """The value, if it is nested no deeper than a document may be."""
    if depth > MAX_DEPTH:
        raise PlanError(f"the document is nested more than {MAX_DEPTH} deep")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _shallow(item, depth + 1)
    return value


class _Loader(yaml.SafeLoader):
    """YAML read as JSON is: text, numbers, true, false, null. No tags, no anchors, no dates, no octal, no yes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise PlanError("YAML anchors and aliases are not allowed", hint="Write the value out")
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it open
        if getattr(event, "anchor", None):
            raise PlanError("YAML anchors and aliases are not allowed", hint="Write the value out")
        if getattr(event, "tag", None):
            raise PlanError(f"the YAML tag {event.tag!r} is not allowed", hint="A plan is plain data")
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > MAX_DEPTH:
            raise PlanError(f"the document is nested more than {MAX_DEPTH} deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise PlanError(f"the key {key!r} appears twice")
        return super().construct_mapping(node, deep=deep)


_NULL = "tag:yaml.org,2002:null"
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] == _NULL]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_NUMBER = r"-?(?:0|[1-9]\d*)"
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(rf"^{_NUMBER}$"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(rf"^{_NUMBER}(?:\.\d+)?(?:[eE][-+]?\d+)?$"),
    list("-0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever our loader, or PyYAML's own, would read as something else than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's own signature
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Lines as lines. PyYAML writes the line break U+0085 as it is, and reads it as a space."""
        style = '"' if "\x85" in data else "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *_Loader.yaml_implicit_resolvers.get(first, [])]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def read_yaml(text: str | bytes) -> Any:
    """Data from YAML or JSON text, at most 1 MiB and 64 levels deep, without tags, anchors or repeated keys.

    Raises
    ------
    PlanError
        If the text breaks one of these rules, with the line where it does.
    """
    if len(text) > MAX_BYTES:
        raise PlanError("the document is larger than 1 MiB")
    if text.lstrip()[:1] in ("{", b"{"):
        try:
            # JSON allows characters that YAML does not; what is not JSON may still be YAML in braces.
            return _shallow(json.loads(text, object_pairs_hook=_unique))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # the loader is a stricter SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it does not parse"
        raise PlanError(f"not valid YAML or JSON{where}: {problem}") from None
    except RecursionError:
        raise PlanError(f"the document is nested more than {MAX_DEPTH} deep") from None
    except UnicodeDecodeError:
        raise PlanError("the document is not UTF-8 text") from None
