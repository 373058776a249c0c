"""Plain data as YAML and JSON text, both ways: no tags, no anchors, no type that JSON lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from datapipe.errors import PlanError

MAX_BYTES = 1 << 20
MAX_DEPTH = 64


def dumped(document: Mapping[str, Any]) -> str:
    """A document of plain JSON values as YAML, which our loader reads as the same values."""
    text: str = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


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
