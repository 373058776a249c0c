"""Variables in a ``.env`` among other people's lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from dotenv import dotenv_values

from datapipe.errors import PlanError
from datapipe.local.envfile import write_env_file


def test_other_lines_stay_and_ours_are_renewed(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# mine\nBATCH_SIZE=5\nexport REDIS_URL=redis://here")
    assert write_env_file(file, {"REDIS_URL": "redis://here", "SOURCE_DB_URL": "sqlite:///a"}) == ["SOURCE_DB_URL"]
    with file.open("a") as more:
        more.write("MAX_RETRIES=1\n")
    assert write_env_file(file, {"REDIS_URL": "redis://here", "SOURCE_DB_URL": "sqlite:///b"}) == ["SOURCE_DB_URL"]
    text = file.read_text()
    assert text.startswith("# mine\nBATCH_SIZE=5\nexport REDIS_URL=redis://here\n")
    assert dotenv_values(file) == {
        "BATCH_SIZE": "5",
        "REDIS_URL": "redis://here",
        "MAX_RETRIES": "1",
        "SOURCE_DB_URL": "sqlite:///b",
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_another_value_is_refused_and_nothing_written(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("REDIS_URL=redis://here\n")
    with pytest.raises(PlanError, match="gives REDIS_URL another value") as caught:
        write_env_file(file, {"SOURCE_DB_URL": "sqlite:///a", "REDIS_URL": "redis://:s3cret@there"})
    assert "s3cret" not in str(caught.value)
    assert file.read_text() == "REDIS_URL=redis://here\n"


@pytest.mark.parametrize("value", ["a b", "it's", 'a"b', "a\\b", "a#b", "${HOME}", "ü"])
def test_any_value_is_read_as_it_was_written(tmp_path: Path, value: str) -> None:
    write_env_file(tmp_path / "new.env", {"DATAPIPE_HOME": value})
    assert dotenv_values(tmp_path / "new.env", interpolate=False) == {"DATAPIPE_HOME": value}


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    write_env_file(tmp_path / "link", {"A": "1"})
    assert (tmp_path / "link").is_symlink()
    assert dotenv_values(tmp_path / "real") == {"A": "1"}
