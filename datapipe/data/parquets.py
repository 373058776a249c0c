"""Parquet files that were kept earlier, read back as what they were."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from datapipe.errors import DataError, PlanError


def read_kept(uri: str, sha256: str) -> Any:
    """The frame in a file, as a pandas DataFrame.

    Parameters
    ----------
    uri : str
        A path, or an fsspec URL whose credentials are the file system's own configuration.
    sha256 : str
        Of the file as it was kept.

    Raises
    ------
    DataError
        If the file is gone, or is another one by now.
    """
    try:
        content = _content(uri)
    except FileNotFoundError:
        raise DataError(
            f"{uri} is not there any more", hint="Run the notebook again; old artifacts are removed"
        ) from None
    except OSError as error:
        raise DataError(f"{uri} cannot be read: {error.strerror or type(error).__name__}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{uri} is not the file that the notebook has left", hint="Run the notebook again")
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(content)).to_pandas()


def _content(uri: str) -> bytes:
    if "://" not in uri:
        return Path(uri).read_bytes()
    try:
        import fsspec
    except ImportError:
        raise PlanError(f"{uri} needs fsspec", hint='Run: pip install "datapipe-sdk[notebook]"') from None
    with fsspec.open(uri, "rb") as file:
        found: bytes = file.read()
        return found
