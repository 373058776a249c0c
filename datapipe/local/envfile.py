"""Writing variables into a ``.env`` that may hold other people's lines."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from datapipe.errors import PlanError
from datapipe.local.sharing import private_file

_BEGIN, _END = "# datapipe up: begin", "# datapipe up: end"
_BLOCK = re.compile(rf"^{_BEGIN}\n.*?^{_END}\n?", re.M | re.S)
_PLAIN = re.compile(r"[\w:/@.+-]+")


def write_env_file(path: Path, variables: Mapping[str, str]) -> list[str]:
    """Write variables into a block of their own; every other line stays as it is.

    Nobody else may read the file, from its creation on.

    Parameters
    ----------
    path : pathlib.Path
    variables : mapping

    Returns
    -------
    list of str
        The names that were written: not those that other lines have already set to the same value.

    Raises
    ------
    PlanError
        If another line gives one of them another value; nothing is written then.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_env_file(Path(folder) / ".env", {"REDIS_URL": "redis://localhost"})
    ['REDIS_URL']
    """
    path = path.expanduser().resolve()  # a link stays a link
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    others = _BLOCK.sub("", found)
    theirs = dotenv_values(stream=io.StringIO(others), interpolate=False)
    for name in variables:
        if theirs.get(name) not in {None, "", variables[name]}:
            raise PlanError(f"{path} gives {name} another value", hint="Remove that line, or choose another file")
    ours = {name: value for name, value in variables.items() if theirs.get(name) != value}
    lines = [_BEGIN, *(f"{name}={_quoted(value)}" for name, value in ours.items()), _END]
    gap = "\n" if others and not others.endswith("\n") else ""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with private_file(draft) as file:
        file.write(others + gap + "\n".join(lines) + "\n")
    draft.rename(path)
    return list(ours)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
