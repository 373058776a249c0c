"""docker-compose.yml and environment.yml: what holds whatever is started from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from composefile import FILE, REFERENCE, composed, interpolated, seconds
from dotenv import dotenv_values

from datapipe.settings import settings

ROOT = Path(__file__).parents[2]
TEXT = FILE.read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = composed()["services"]
BUILT = {name: service["build"] for name, service in SERVICES.items() if "build" in service}
DOCKERFILE: str = SERVICES["worker"]["build"]["dockerfile_inline"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = set(PROJECT["project"]["optional-dependencies"])
_SECRET = re.compile(r"PASSWORD|KEY|TOKEN|AUTH")


def environments() -> Iterator[tuple[str, str | None]]:
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            yield name, None if value is None else str(value)


def extras(requirement: str) -> set[str]:
    found = re.search(r"\[([\w,-]+)\]", requirement)
    return set(found[1].split(",")) if found else set()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_checked_and_reached_from_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    if name in BUILT:
        waits = {other: wait["condition"] for other, wait in service["depends_on"].items()}
        assert waits == {"postgres": "service_healthy", "redis": "service_healthy"}
    else:
        assert re.fullmatch(r"[\w/-]+:\d[\w.-]*", service["image"])


def test_workers_can_be_many_and_have_time_to_stop() -> None:
    worker = SERVICES["worker"]
    assert not {"container_name", "hostname", "ports", "profiles"} & set(worker)
    assert "$$(hostname)" in worker["healthcheck"]["test"][1]
    assert seconds(worker["stop_grace_period"]) >= float(worker["environment"]["DATAPIPE_SHUTDOWN_GRACE"]) + 30


def test_profiles() -> None:
    found = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert found == {"api": ["api"], "flower": ["monitoring"], "metrics": ["monitoring"], "notebook": ["notebook"]}


def test_secrets_come_from_the_environment() -> None:
    for name, value in environments():
        if value is None:
            continue
        password = re.search(r"://\w*:([^@]*)@", value)
        secret = password[1] if password else value if _SECRET.search(name) else "${X:?}"
        assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", secret), name
    assert [m["name"] for m in REFERENCE.finditer(TEXT) if m["kind"] == "-" and _SECRET.search(m["name"])] == []


def test_jupyterlab_takes_its_token_from_the_environment_and_from_nowhere_else() -> None:
    """JupyterLab is not installed for the tests: how its command looks must do."""
    notebook = SERVICES["notebook"]
    guard, command = notebook["command"][2].splitlines()
    assert guard.startswith(': "$${JUPYTER_TOKEN:?')
    assert command.startswith("exec jupyter lab ")
    assert not re.search("token|password|auth", command, re.I)  # an option wins over the variable
    (port,) = notebook["ports"]
    inside = port.rpartition(":")[2]
    assert f"--port={inside}" in command.split()
    assert f"127.0.0.1:{inside}/" in notebook["healthcheck"]["test"][-1]


def test_no_profile_asks_those_who_do_not_use_it_for_a_secret() -> None:
    """Compose checks ``${NAME:?…}`` of every service, started or not."""

    def asked(names: set[str]) -> set[str]:
        return {
            match["name"] for name in names for match in REFERENCE.finditer(str(SERVICES[name])) if match["kind"] == "?"
        }

    always = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert asked(set(SERVICES)) == asked(always)


def test_env_example_names_every_variable() -> None:
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M))
    used = {match["name"] for match in REFERENCE.finditer(TEXT) if match["name"]}
    used |= {name for name, value in environments() if value is None}
    assert used <= named


def test_the_image_is_built_of_what_the_package_needs_and_runs_as_no_root() -> None:
    assert {build["dockerfile_inline"] for build in BUILT.values()} == {DOCKERFILE}
    stages = dict(re.findall(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, re.M))
    assert all(base in stages.values() or re.search(r":\d", base) for base in stages)
    assert {build["target"] for build in BUILT.values()} == set(stages.values())
    users = [re.findall(r"^USER (\w+)", stage, re.M)[-1] for stage in DOCKERFILE.split("\n\n")]
    assert users == ["datapipe"] * len(stages)

    copied = {source for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for source in line.split()}
    package = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], *package}
    assert copied == needed | {"recipes"}
    assert all((ROOT / source).exists() for source in copied)
    installed = extras(next(line for line in DOCKERFILE.splitlines() if "pip install" in line))
    assert installed and installed <= EXTRAS


def test_compose_reads_references_as_the_tests_do() -> None:
    text = "${A:-1} ${A:-1} $${A} ${B} ${C:?}"
    assert interpolated(text, {"A": "2", "B": "", "C": "3"}) == "2 2 ${A}  3"
    assert interpolated("${A:-1}", {"A": ""}) == "1"
    with pytest.raises(AssertionError, match="C: why"):
        interpolated("${C:?why}", {})


def test_the_guide_sets_every_variable_that_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "how-to" / "docker.md").read_text(encoding="utf-8")
    script = guide.partition("```bash\n")[2].partition("docker compose")[0]
    shutil.copy(ROOT / ".env.example", tmp_path)
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True)
    given = {name: value or "" for name, value in dotenv_values(tmp_path / ".env").items()}
    interpolated(TEXT, given)  # which says what is missing
    monkeypatch.chdir(tmp_path)
    assert settings().signing_key == given["DATAPIPE_SIGNING_KEY"]


def test_environment_yml_installs_extras_that_exist() -> None:
    found = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert (found["name"], found["channels"]) == ("datapipe", ["conda-forge"])
    (pip,) = (entry["pip"] for entry in found["dependencies"] if isinstance(entry, dict))
    image = re.search(r"^FROM python:(3\.\d+)-slim", DOCKERFILE)
    assert image and f"python={image[1]}" in found["dependencies"]
    assert f"Programming Language :: Python :: {image[1]}" in PROJECT["project"]["classifiers"]
    assert "pip" in found["dependencies"]
    (line,) = pip
    assert line.startswith("-e .[")
    assert extras(line) <= EXTRAS
