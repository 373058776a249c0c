"""Artifacts: the files of a run's own folder, and of no other."""

from __future__ import annotations

from typing import Any

import pytest
from restside import Site

from datapipe.rest.left import files_of, media_of


@pytest.fixture
def kept(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """Where artifacts are, with those of a run, and something beside them."""
    monkeypatch.setenv("DATAPIPE_ARTIFACTS_URL", str(tmp_path / "kept"))
    (tmp_path / "kept" / "daily" / "r1" / "1").mkdir(parents=True)
    (tmp_path / "kept" / "daily" / "r1" / "1" / "run.json").write_text("{}")
    (tmp_path / "secret.json").write_text("hunter2")
    return tmp_path


def row(site: Site, name: str, label: Any, kind: str = "notebook") -> Any:
    site.store.add(name, state="succeeded", owner="ann", kind=kind, result={"artifacts": label})
    return site.store.run(name)


def test_a_run_has_its_files(site: Site, kept: Any) -> None:
    found = files_of(row(site, "a1", f"{kept}/kept/daily/r1/1"))
    assert found is not None and found.names() == ["run.json"]
    client = site.client()
    assert client.get("/runs/a1/artifacts").json() == {"artifacts": ["run.json"]}
    answer = client.get("/runs/a1/artifacts/run.json")
    assert (answer.status, answer.text, answer.headers["content-type"]) == (200, "{}", "application/json")
    assert answer.headers["content-security-policy"].startswith("sandbox;")


@pytest.mark.parametrize(
    "name", ["../../../../secret.json", "..%2f..%2fsecret.json", "/etc/passwd", "run.json/", "x", "%2e%2e/run.json"]
)
def test_a_file_is_one_of_its_list(name: str, site: Site, kept: Any) -> None:
    run_id = f"a2-{abs(hash(name))}"
    row(site, run_id, f"{kept}/kept/daily/r1/1")
    assert site.client().get(f"/runs/{run_id}/artifacts/{name}").status == 404


@pytest.mark.parametrize(
    "label", [None, "", "{}", "/etc", "{kept}", "{kept}/kept/../", "{kept}/kept-too/x", "s3://b/x", 7]
)
def test_a_folder_elsewhere_is_none(label: Any, site: Site, kept: Any) -> None:
    found = label.format(kept=kept) if isinstance(label, str) and label != "{}" else label
    assert files_of(row(site, f"a3-{abs(hash(str(label)))}", found)) is None


def test_only_notebooks_leave_files(site: Site, kept: Any) -> None:
    assert files_of(row(site, "a4", f"{kept}/kept/daily/r1/1", kind="plan")) is None


def test_each_kind_of_file_says_what_it_is() -> None:
    assert media_of("x/notebook.html").startswith("text/html")
    assert media_of("a.exe") == media_of("a") == "application/octet-stream"
