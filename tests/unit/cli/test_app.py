"""Usage: what is wrong ends with 2 and a sentence, and help has an example to copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from datapipe.cli.app import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, but for a file that is no plan."""
    monkeypatch.chdir(tmp_path)
    Path("crm.db").write_bytes(b"SQLite format 3\0\xff")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.yaml"), "cannot read 'none.yaml'"),
        (("run", "none.yaml", "--config", "other.yaml"), "both FILE and --config"),
        (("run", "none.yaml", "--query", "SELECT 1"), "both a plan file and single options"),
        (("run",), "no plan is given"),
        (("run", "--query", "SELECT 1 AS a", "--source-db-url", "sqlite://"), "the plan writes nowhere"),
        (("run", "--query", "SELECT 1 AS a", "--memory", "lots"), "memory"),
        (("run", "--querry", "x"), "No such option"),
        (("rum",), "No such command"),
        (("run", "crm.db"), "error: crm.db: "),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", [(), ("run",), ("preview",), ("explain",)])
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert f"\n  datapipe {command[0] if command else 'run'} recipes/users.yaml" in done.stdout


PARTS = {name: command for name, command in vars(typer.main.get_command(app))["commands"].items() if name != "demo"}
COMMANDS = [
    (name, *part) for name, found in PARTS.items() for part in [(), *((n,) for n in vars(found).get("commands", ()))]
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example_of_it(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert f"\n  datapipe {' '.join(command)}" in done.stdout
