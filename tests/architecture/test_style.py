"""Habits no linter knows: short files, documented names, exceptions to rules with a reason."""

from __future__ import annotations

import importlib
import inspect
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapipe.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("datapipe/**/*.py"), *ROOT.glob("tests/**/*.py")])
FOLDERS = sorted(path.parent.name for path in ROOT.glob("datapipe/*/__init__.py"))

_EXCEPTION = re.compile(r"#\s*(?:type:\s*ignore|noqa)")
_REASONED = re.compile(r"#\s*(?:type:\s*ignore\[[\w, -]+\]|noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)\s*#\s*\w+")


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_file_is_long() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}


def test_every_exception_to_a_rule_has_a_reason() -> None:
    bare = [
        f"{shown(path)}:{line} {text}"
        for path in SOURCES
        for line, text in comments(path)
        if _EXCEPTION.search(text) and not _REASONED.search(text)
    ]
    assert bare == []


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_every_public_name_is_documented(folder: str) -> None:
    module = importlib.import_module(f"datapipe.{folder}" if folder else "datapipe")
    assert inspect.getdoc(module)
    public = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    bare = [name for name, value in public.items() if documentable(value) and not own_doc(value)]
    assert bare == []


def documentable(value: object) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


def own_doc(value: object) -> bool:
    """A docstring somebody wrote: neither inherited nor made up by dataclass."""
    doc = (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__) or ""
    return bool(doc.strip()) and not doc.startswith(f"{getattr(value, '__name__', '')}(")


def test_env_example_names_every_setting_and_sets_none() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    named = {line.lstrip("# ").partition("=")[0] for line in lines if re.match(r"#? ?[A-Z_<>]+=", line)}
    wanted = {str(field.validation_alias or name.upper()) for name, field in Settings.model_fields.items()}
    assert wanted | {"DATAPIPE_CONNECTION_<NAME>", "DATAPIPE_HOME"} <= named
    assert [line for line in lines if line and not line.startswith("#")] == []
