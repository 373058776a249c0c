"""The settings of this moment, and the folder for what outlives a process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from datapipe.errors import PlanError
from datapipe.settings.environ import DOTENV, Stamp, environment, place, stamp
from datapipe.settings.model import Settings, files_of_settings


@dataclass(frozen=True)
class _Made:
    """Settings, and what they were made from."""

    settings: Settings
    variables: Mapping[object, object]
    stamps: Mapping[Path, Stamp]  # of .env, and of the files that hold values


_latest: _Made | None = None


def settings() -> Settings:
    """The settings as the environment has them now; made anew only if it, ``.env`` or a file of a value has changed.

    Raises
    ------
    PlanError
        If a variable has a value it cannot have, or ``.env`` or a file with a value cannot be read.
    """
    global _latest  # noqa: PLW0603  # one value, put there whole, so that threads need no lock
    # Undecoded, where Python shows it: a run asks often, and decoding would take it a millisecond.
    variables, latest = dict(getattr(os.environ, "_data", os.environ)), _latest
    if latest is not None and latest.variables == variables and latest.stamps == _stamps(latest.stamps):
        return latest.settings
    stamps = _stamps((DOTENV, *files_of_settings(environment()).values()))  # first: whatever changes now, is seen next
    _latest = _Made(_made(), variables, stamps)
    return _latest.settings


def _made() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False)[0]
        name = str(finding["loc"][0]).upper()
        raise PlanError(
            f"the environment variable {name} is wrong: {finding['msg'].removeprefix('Value error, ')}",
            step="settings",
            hint="datapipe config show tells where each setting comes from",
        ) from None


def _stamps(files: Mapping[Path, Stamp] | tuple[Path, ...]) -> dict[Path, Stamp]:
    return {file: stamp(file) for file in files}


def data_home() -> Path:
    """The folder for what outlives a process: DATAPIPE_HOME, else one in the user's data directory.

    Returns
    -------
    pathlib.Path
        Never a folder in the working directory, unless DATAPIPE_HOME says so. It may not exist yet.

    Examples
    --------
    >>> data_home().is_absolute()
    True
    """
    named = settings().home
    if named:
        return place(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/datapipe")  # the server does not run as root, and may not enter root's home
    return Path(environment().get("XDG_DATA_HOME") or "~/.local/share").expanduser().absolute() / "datapipe"
