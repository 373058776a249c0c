"""``datapipe keys``: a key is shown once, and a list tells which of them open anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from datapipe.cli.app import app
from datapipe.store import RunStore, open_store
from datapipe.store.apikeys import find_key
from datapipe.store.schema import API_KEYS


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A record of runs without keys."""
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    found = open_store()
    assert found is not None
    return found


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def made(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(keys("create", "--json", *arguments).stdout)
    return found


def test_the_key_alone_is_on_standard_output(store: RunStore) -> None:
    done = keys("create", "--owner", "ann", "--scope", "read")
    found = find_key(store, done.stdout.strip())
    assert found is not None and (found.owner, found.scope) == ("ann", "read")
    assert f"key {found.id} of ann, scope read" in done.stderr


def test_a_list_tells_which_keys_are_valid(store: RunStore) -> None:
    assert keys("list").stdout == "no keys yet\n"
    ids = [made("--owner", owner)["id"] for owner in ("ann", "bob")]
    dated = made("--owner", "eve", "--days", "1")["id"]
    over = made("--owner", "old", "--days", "1")["id"]
    with store.writing() as conn:
        past = API_KEYS.update().where(API_KEYS.c.id == over).values(expires="2024-01-01T00:00:00.000Z")
        conn.execute(past)
    assert keys("revoke", ids[1]).stdout == f"key {ids[1]} is revoked\n"
    lines = {line.partition(" ")[0]: line for line in keys("list").stdout.splitlines()}
    assert lines[ids[0]].endswith("  valid") and "  revoked 2" in lines[ids[1]]
    assert "  valid until 2" in lines[dated] and lines[over].endswith("  expired 2024-01-01")


def test_no_list_has_a_key_or_its_digest(store: RunStore) -> None:
    text = made("--owner", "ann")["key"]
    with store.reading() as conn:
        digest = conn.scalar(sa.select(API_KEYS.c.digest))
    shown = keys("list").stdout + keys("list", "--json").stdout
    secret = text.split("_", 2)[2]  # which may have a "_" itself
    assert len(secret) > 20 and secret not in shown and digest not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--owner", "a b"), "is no owner of a key"),
        (("create", "--owner", "ann", "--scope", "all"), "no key has the scope 'all'"),
        (("create", "--owner", "ann", "--days", "0"), "more than 0 days"),
        (("revoke", "none"), "no API key has the id 'none'"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], said: str, store: RunStore) -> None:
    done = keys(*arguments)
    assert done.exit_code == 2 and said in done.stderr and "Traceback" not in done.stderr
