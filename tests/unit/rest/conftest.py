"""The interface in this process, over a record of runs in a file, with a key of each scope."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from restside import Site, running_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The interface, and who calls it."""
    with running_site(tmp_path_factory.mktemp("site")) as found:
        yield found
