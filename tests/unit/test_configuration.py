"""What is set, where it comes from and what is wrong with it; the pages about that are what the code says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from datapipe.cli.app import app
from datapipe.configuration import configuration
from datapipe.errors import PlanError
from datapipe.settings import Settings, connect
from datapipe.settings.page import entries, table, written_anew

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "docs" / "reference" / "settings.md"


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no connection, and no variable but those of the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datapipe.settings.connections._connections", {})
    names = {entry.variable for entry in entries()}
    for name in [name for name in os.environ if name in names or name.startswith("DATAPIPE_")]:
        monkeypatch.delenv(name)


def setting(name: str) -> Any:
    return next(one for one in configuration().settings if one.name == name)


def test_every_setting_is_there_with_its_default() -> None:
    found = configuration()
    assert {one.field for one in found.settings} == set(Settings.model_fields)
    assert {one.origin for one in found.settings} == {"default"}
    assert (setting("BATCH_SIZE").value, setting("CELERY_BROKER_URL").otherwise) == (10_000, "REDIS_URL")
    assert (found.connections, found.problems, found.notes) == ((), (), ())


def test_where_a_value_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("BATCH_SIZE=7\nMAX_RETRIES=1\nDATAPIPE_CONNECTION_CRM=sqlite:///crm.db\n")
    (tmp_path / "url").write_text("postgresql://ann:s3cret@db/crm\n")
    monkeypatch.setenv("BATCH_SIZE", "8")
    monkeypatch.setenv("SOURCE_DB_URL_FILE", "url")
    engine = sa.create_engine("sqlite://")
    connect("mine", engine)
    found = {one.name: (one.value, one.origin) for one in configuration().settings}
    assert found["BATCH_SIZE"] == (8, "environment")
    assert found["MAX_RETRIES"] == (1, ".env")
    assert found["SOURCE_DB_URL"] == ("postgresql://ann:…@db/crm", "file url")
    assert {one.name: one.origin for one in configuration().connections} == {"crm": ".env", "mine": "connect()"}
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATAPIPE_SIGNING_KEY", "c4n4ry-" * 6),
        ("REDIS_URL", "redis://:c4n4ry-s3cret@db/0"),
        ("REDIS_URL", "c4n4ry-s3cret"),  # is wrong
        ("SOURCE_DB_URL", "postgresql://ann@db/crm?password=c4n4ry-s3cret"),
        ("CELERY_RESULT_BACKEND", "db+postgresql://ann:c4n4ry-s3cret@db/x"),
        ("DATAPIPE_SPOOL_URL", "s3://key:c4n4ry-s3cret@bucket/spool"),
        ("DATAPIPE_CONNECTION_CRM", "postgresql://ann:c4n4ry-s3cret@db/crm"),
        ("DATAPIPE_CONNECTION_CRM", "c4n4ry-s3cret"),
        ("SOURCE_DB_URL", "c4n4ry-s3cret"),
        ("DATAPIPE_METADATA_URL", "c4n4ry-s3cret"),
        ("DATAPIPE_CONNECTION_CRM_FILE", "postgresql://ann:c4n4ry-s3cret@db/crm"),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_secret_is_shown(name: str, value: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["config", "show", *arguments])
    assert done.exit_code in {0, 1}
    assert name.removesuffix("_FILE").removeprefix("DATAPIPE_CONNECTION_") in done.stdout.upper()
    assert "c4n4ry" not in done.output


@pytest.mark.parametrize("name", ["REDIS_URL", "DEST_DB_URL", "DATAPIPE_SPOOL_URL", "DATAPIPE_CONNECTION_CRM"])
def test_a_file_with_something_else_in_it_is_not_shown(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("c4n4ry-s3cret\n")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "other"))
    assert "c4n4ry" not in CliRunner().invoke(app, ["config", "show"]).output


def test_a_wrong_value_is_shown_as_wrong_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "many")
    monkeypatch.setenv("DATAPIPE_LEDGER", "maybe")
    monkeypatch.setenv("SOURCE_DB_URL_FILE", "none")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM", "sqlite://")
    monkeypatch.setenv("DATAPIPE_CONNECTION_CRM__POOL_SICE", "2")
    done = CliRunner().invoke(app, ["config", "show"])
    assert done.exit_code == 1
    problems = [line for line in done.stdout.splitlines() if line.startswith("wrong: ")]
    assert len(problems) == 4
    assert any("BATCH_SIZE: " in line and line.endswith("Correct it, or unset it for 10000") for line in problems)
    assert any("SOURCE_DB_URL cannot be read from none" in line for line in problems)
    assert any("Did you mean 'pool_size'" in line for line in problems)
    found = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).stdout)
    assert found["ok"] is False
    assert [one["name"] for one in found["settings"] if one["problem"]] == [
        "SOURCE_DB_URL",
        "BATCH_SIZE",
        "DATAPIPE_LEDGER",
    ]


@pytest.mark.parametrize(
    ("said", "level"), [("warn", "WARNING"), ("Fatal", "CRITICAL"), ("trace", "DEBUG"), ("error", "ERROR")]
)
def test_a_level_meant_for_another_program_stops_no_run(said: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", said)
    assert Settings().log_level == level


def test_variables_without_effect_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DATAPIPE_QUEU",
        "DATAPIPE_CONECTION_SHOP",
        "BATCH_SIZE_FILE",
        "DATAPIPE_CONNECTION_CRM__TIMEOUT",
        "DATAPIPE_TEST_POSTGRESQL_URL",
    ):
        monkeypatch.setenv(name, "1")
    crm, batch, misspelt, queue = sorted(configuration().notes, key=lambda note: "CRM" not in note)
    assert crm == "DATAPIPE_CONNECTION_CRM__TIMEOUT has no effect: there is no connection of this name"
    assert batch == "BATCH_SIZE_FILE has no effect: BATCH_SIZE may not be in a file"
    assert misspelt == (
        "DATAPIPE_CONECTION_SHOP has no effect: the URL of a connection is in a variable that begins with "
        "DATAPIPE_CONNECTION_"
    )
    assert queue.endswith("Did you mean DATAPIPE_QUEUE?")
    assert CliRunner().invoke(app, ["config", "show"]).exit_code == 0


@pytest.mark.parametrize("field", Settings.model_fields)
def test_a_setting_says_what_it_does_and_where_it_belongs(field: str) -> None:
    entry = next(entry for entry in entries() if entry.field == field)
    assert entry.group
    assert entry.meaning.endswith((".", ")"))
    assert entry.default or entry.otherwise or entry.example


@pytest.mark.parametrize("path", [SETTINGS, ROOT / ".env.example"], ids=lambda path: path.name)
def test_the_pages_are_what_the_code_says(path: Path) -> None:
    """Write them anew with: python -m datapipe.settings.page docs/reference/settings.md .env.example"""
    text = path.read_text(encoding="utf-8")
    assert written_anew(text) == text
    for entry in entries():
        assert entry.variable in text


def test_every_group_of_settings_has_its_table() -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    for group in {entry.group for entry in entries()}:
        assert table(group) in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CELERY_BROKER_URL", "amqp://guest@rabbit//"),
        ("REDIS_URL", "localhost:6379"),
        ("LOG_FORMAT", "%(message)s"),
        ("LOG_LEVEL", "20"),
    ],
)
def test_what_another_program_needs_stops_no_run_without_a_broker(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    found = Settings()
    assert (found.log_level, found.log_format) == ("INFO", "json")
    if "URL" in name:
        with pytest.raises(PlanError, match=f"{name}: it must begin with redis://"):
            _ = found.broker_url
        assert any(f"{name}: it must begin" in problem for problem in configuration().problems)
