"""Notebooks that may be run: those in the folders, by their path within."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from restside import Site

from datapipe.rest.problems import Refused
from datapipe.rest.shelf import notebook_file, notebooks

PARTS = st.lists(
    st.sampled_from(
        ["..", ".", "daily", "reports", "out", "secret.ipynb", "a.ipynb", "{x}", "%2e%2e", "", "~", "link"]
    ),
    min_size=1,
    max_size=4,
).map("/".join)


@pytest.fixture(scope="module")
def shelf(site: Site) -> Path:
    root = site.folder / "notebooks"
    (root / "reports").mkdir()
    for name in ("a.ipynb", "reports/my report +1.ipynb", ".hidden.ipynb", "notes.txt"):
        (root / name).write_text("{}")
    (site.folder / "outside" / "secret.ipynb").write_text("{}")
    (root / "out").symlink_to(site.folder / "outside")
    (root / "link.ipynb").symlink_to(site.folder / "outside" / "secret.ipynb")
    (root / "loop.ipynb").symlink_to(root / "loop.ipynb")
    (root / "inner.ipynb").symlink_to(root / "a.ipynb")
    return root


def test_the_list_has_what_may_be_run(shelf: Path) -> None:
    assert [name for name, _ in notebooks()] == ["a.ipynb", "inner.ipynb", "reports/my report +1.ipynb"]


def test_what_is_listed_is_found(shelf: Path) -> None:
    for name, file in notebooks():
        assert notebook_file(name) == file.resolve()


@pytest.mark.parametrize(
    "name",
    [
        "../outside/secret.ipynb", "out/secret.ipynb", "link.ipynb", "loop.ipynb", ".hidden.ipynb", "notes.txt", "/etc/passwd",
        "reports/../a.ipynb", "a.ipynb/", "{x}.ipynb", "{0.__class__}.ipynb", "http://evil/a.ipynb", "s3://b/a.ipynb",
        "file:///a.ipynb", "a.ipynb\0", "a.ipynb\n", "a" * 5000 + ".ipynb", "", "reports", "nothing.ipynb", "~/a.ipynb",
    ],
)  # fmt: skip
def test_nothing_else_is_there(name: str, shelf: Path) -> None:
    with pytest.raises(Refused) as caught:
        notebook_file(name)
    assert caught.value.status == 404 and str(shelf) not in caught.value.detail


@given(PARTS)
def test_no_name_leads_out(shelf: Path, name: str) -> None:
    try:
        file = notebook_file(name)
    except Refused:
        return
    assert file.is_relative_to(shelf)


def test_without_folders_there_are_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_NOTEBOOK_FOLDERS", "")
    assert list(notebooks()) == []
    with pytest.raises(Refused) as caught:
        notebook_file("a.ipynb")
    assert "Set DATAPIPE_NOTEBOOK_FOLDERS" in str(caught.value.hint)
