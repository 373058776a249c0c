"""What a kernel finds in its environment: the same places as whoever runs it, though it works in another folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_FOLDERS = ("DATAPIPE_HOME", "DATAPIPE_ARTIFACTS_URL", "DATAPIPE_SPOOL_URL", "DATAPIPE_SECRETS_DIR")
_DATABASES = re.compile(r"SOURCE_DB_URL|DEST_DB_URL|DATAPIPE_METADATA_URL|DATAPIPE_CONNECTION_\w+", re.IGNORECASE)
_HOLDERS = re.compile(
    r"(\w+_URL|CELERY_RESULT_BACKEND|DATAPIPE_SIGNING_KEY|DATAPIPE_CONNECTION_\w+)_FILE", re.IGNORECASE
)
_FILE = re.compile(r"(?P<driver>(?:sqlite|duckdb)(?:\+\w+)?):///(?P<path>[^/:$?][^?]*)(?P<rest>\?.*)?", re.DOTALL)


def lasting(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables with relative paths of datapipe's own, made absolute.

    Parameters
    ----------
    folder : Path
        What they are relative to.

    Examples
    --------
    >>> lasting({"DEST_DB_URL": "sqlite:///mart.db", "SOURCE_DB_URL": "postgresql://db/crm"}, Path("/srv/etl"))
    {'DEST_DB_URL': 'sqlite:////srv/etl/mart.db'}
    """
    found = {}
    for name, value in environment.items():
        is_path = name in _FOLDERS or _HOLDERS.fullmatch(name)
        if is_path and value and "://" not in value and not value.startswith(("/", "~", "$")):
            found[name] = str(folder / value)
        match = _FILE.fullmatch(value) if _DATABASES.fullmatch(name) else None
        if match:
            found[name] = f"{match['driver']}:///{folder / match['path']}{match['rest'] or ''}"
    return found
