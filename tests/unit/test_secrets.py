"""Secrets by name, and texts and data in which nothing is left of them."""

from __future__ import annotations

import base64
import html
import json
import os
import pickle
import re
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datapipe.errors import PlanError
from datapipe.secrets import Redactor, names_secret, passwords, redactor, secret
from datapipe.settings import connect

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory, no variables but a few, and a folder of secrets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datapipe.settings.connections._connections", {})
    for name in [name for name in os.environ if names_secret(name) or "://" in os.environ[name]]:
        monkeypatch.delenv(name)
    (tmp_path / "secrets").mkdir()
    monkeypatch.setenv("DATAPIPE_SECRETS_DIR", str(tmp_path / "secrets"))
    return tmp_path


def test_a_secret_is_a_variable_then_a_line_in_the_file_then_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "secrets" / "API_TOKEN").write_text("from a file\n")
    assert secret("API_TOKEN") == "from a file"
    (folder / ".env").write_text("API_TOKEN=from .env\n")
    assert secret("API_TOKEN") == "from .env"
    monkeypatch.setenv("API_TOKEN", "from the environment")
    assert secret("API_TOKEN") == "from the environment"


@pytest.mark.parametrize(("content", "value"), [("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), (PEM, PEM[:-1])])
def test_one_line_end_of_a_file_is_no_part_of_the_secret(folder: Path, content: str, value: str) -> None:
    (folder / "secrets" / "KEY").write_bytes(content.encode())
    assert secret("KEY") == value


def test_a_secret_whose_file_cannot_be_looked_for_says_why() -> None:
    with pytest.raises(PlanError, match=r"cannot be read from .*: File name too long"):
        secret("A" * 300)


def test_a_variable_with_a_path_of_nobody_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_FILE", "~nobody-of-this-name/x")
    monkeypatch.setenv("SHOP_TOKEN", "cnry-9f2!x")
    assert redactor().text("it is cnry-9f2!x") == "it is ***"


def test_a_secret_that_is_nowhere_is_named_with_the_places_and_its_like(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2!")
    monkeypatch.setenv("API_TOKEM", "nothing secret")
    with pytest.raises(PlanError) as caught:
        secret("API_TOKN")
    message = str(caught.value)
    assert "the secret API_TOKN is not known here" in message and "Did you mean 'API_TOKEN'?" in message
    assert ".env" in message and str(folder / "secrets" / "API_TOKN") in message
    assert "hunter2!" not in message and "API_TOKEM" not in message


@pytest.mark.parametrize("name", ["", "../passwd", "a b", "a/b", "1a"])
def test_a_secrets_name_is_an_identifier(name: str) -> None:
    with pytest.raises(PlanError, match="letters, digits and underscores"):
        secret(name)


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "secrets" / "A").mkdir()
    (folder / "secrets" / "B").write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match=r"the secret A cannot be read from .*/A: Is a directory"):
        secret("A")
    with pytest.raises(PlanError, match=r"the secret B cannot be read from .*/B: it is no text"):
        secret("B")


FORMS = {
    "as it is": str,
    "quoted": urllib.parse.quote,
    "quoted all": lambda text: urllib.parse.quote(text, safe=""),
    "quoted small": lambda text: re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(text)),
    "quoted in part": lambda text: urllib.parse.quote(text, safe="!$&'()*+,;=: "),
    "of a form": urllib.parse.quote_plus,
    "JSON": lambda text: json.dumps({"a": text}),
    "JSON as it is": lambda text: json.dumps([text], ensure_ascii=False),
    "repr": lambda text: repr([text]),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "repr in JSON": lambda text: json.dumps(repr([text])),
    "HTML": html.escape,
    "HTML as Jinja has it": lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "HTML text": lambda text: html.escape(text, quote=False),
    "Base64": lambda text: base64.b64encode(text.encode()).decode(),
    "Base64 bare": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20)
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="*…"), min_size=8, max_size=30))
@example('p"a\\s/s & <é> w')
@example("%25&amp;\\\n\\\\x😀")
def test_nothing_is_left_of_a_named_secret_however_it_is_written(form: str, value: str) -> None:
    value = value.strip() + "|8 or more"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datapipe.secrets.secret", {"MINE": value}.__getitem__)
        found = redactor(["MINE"]).text(f"before {FORMS[form](value)} after")
    assert value not in found and FORMS[form](value) not in found
    assert found.startswith("before ") and found.endswith(" after") and "***" in found


def test_a_key_of_several_lines_is_left_out_line_by_line(folder: Path) -> None:
    (folder / "secrets" / "KEY").write_text(PEM)
    first, second = PEM.splitlines()[1:3]
    found = redactor(["KEY"])
    assert found.text(f"{PEM}") == "***\n"
    assert found.text(f"> {second}\n> {first}") == "> ***\n> ***"
    assert found.text("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_named_secret_counts_from_three_characters_on(folder: Path) -> None:
    for name, value in {"A": "xyz", "B": "xy"}.items():
        (folder / "secrets" / name).write_text(value)
    assert redactor(["A", "B", "NOWHERE"]).text("axyzb xy") == "a***b xy"


def test_variables_whose_names_tell_are_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_PASSWORD", "long enough")
    monkeypatch.setenv("SHORT_TOKEN", "1234567")
    monkeypatch.setenv("SOMETHING", "in the clear")
    (folder / ".env").write_text("SERVICE_API_KEY=from-the-file\n")
    found = redactor().text("long enough, 1234567, in the clear, from-the-file")
    assert found == "***, 1234567, in the clear, ***"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            (name, True)
            for name in ("PASSWORD", "MYSQL_PWD", "db_passwd", "AWS_SECRET_ACCESS_KEY", "APIKEY", "API_KEY")
        ),
        *((name, True) for name in ("SSH_PASSPHRASE", "CREDENTIALS", "GH_TOKEN", "TOKENS", "DATAPIPE_SIGNING_KEY")),
        *((name, False) for name in ("PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "SECRETARY", "KEYBOARD", "PATH")),
        *((name, False) for name in ("DATAPIPE_SECRETS_DIR", "POSTGRES_PASSWORD_FILE")),
    ],
)
def test_what_a_name_tells(name: str, expected: bool) -> None:
    assert names_secret(name) is expected


@pytest.mark.parametrize(
    ("text", "url", "clean"),
    [
        ("cannot reach a://b:secret@c/d", "a://b:secret@c/d", "cannot reach a://b:…@c/d"),
        ("bad port 'cr'", "redis://:se/cr@h:1/0", "bad port 'cr'"),  # two letters tell nothing
        ("bad port 'cret'", "redis://:se/cret@h:1/0", "bad port '***'"),
        ("user s3 cret", "a://b:s3%20cret@c", "user ***"),
        ("key abc", "a://b/c?sslpassword=abc", "key ***"),
        ("key abc", "mssql://b/?odbc_connect=UID%3Db%3BPWD%3Dabc", "key ***"),
        ("nobody, testing a test", "a://b:test@c", "nobody, testing a ***"),  # short: not within a word
        ("-pqu!et", "a://b:qu!et@c", "-p***"),
        ("-plong-enough", "a://b:long-enough@c", "-p***"),
        (
            "postgresql://postgres:postgres@h of postgres",
            "postgresql://postgres:postgres@h",
            "postgresql://postgres:…@h of postgres",
        ),
        ("port 8080", "http://example.org:8080/@ann", "port 8080"),
        ("all well", "a://b/c", "all well"),
    ],
    ids=str.split("whole two-letters part unquoted option odbc word sign long user-name web none"),  # no id is a URL
)
def test_nothing_is_left_of_a_password_in_a_url(
    text: str, url: str, clean: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPIPE_CONNECTION_ANY", url)
    assert redactor().text(text) == clean


@pytest.mark.parametrize(
    "value",
    ["redis://:hid/den!@h", "see https://ann:hid%2Fden!@h/simple", "see https://:hid%2Fden%21@h"],
    ids=["whole", "within", "quoted"],
)
def test_every_variable_with_a_url_counts(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANY", value)
    assert redactor().text("it is hid/den! or hid%2Fden!") == "it is *** or ***"


def test_connections_of_this_process_count(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sa.create_engine("sqlite://").execution_options()
    monkeypatch.setattr(engine, "url", sa.make_url("postgresql://ann:of-an-engine@h/d"))
    connect("engine", engine)
    connect("text", "mysql://ann:of-a-text@h/d")
    monkeypatch.setenv("CRM_PW", "of-a-reference")
    connect("reference", "mysql://ann:${CRM_PW}@h/d")
    connect("nothing", "mysql://ann:${NOT_SET}@h/d")
    assert redactor().text("of-an-engine, of-a-text, of-a-reference, ${NOT_SET}") == "***, ***, ***, ${NOT_SET}"


def test_what_nobody_has_told_is_masked_as_in_tracebacks() -> None:
    text = "connect(password='never heard of'), http://ann:unknown@h"
    assert redactor().text(text) == "connect(password='…'), http://ann:…@h"


def test_data_keep_their_shape() -> None:
    found = Redactor(("12345678", "hunter2!"))
    data = {"hunter2!": [1, 2.5, None, True, ("a hunter2!", {"b": "hunter2!"})], "n": 12345678, "m": 123456789}
    assert found.data(data) == {"***": [1, 2.5, None, True, ("a ***", {"b": "***"})], "n": "***", "m": 123456789}
    assert data["n"] == 12345678


def test_a_longer_secret_goes_before_one_within_it(folder: Path) -> None:
    for name, value in {"A": "abcd", "B": "bcdefgh"}.items():
        (folder / "secrets" / name).write_text(value)
    assert redactor(["A", "B"]).text("abcdefgh") == "a***"


def test_a_redactor_shows_nothing_and_travels() -> None:
    found = Redactor(("hunter2!",), ("tiny",))
    assert "hunter2!" not in repr(found) and "tiny" not in repr(found)
    assert pickle.loads(pickle.dumps(found)).text("hunter2! tiny") == "*** ***"


def test_long_texts_take_no_time() -> None:
    odd = "'\\'" * 8
    found = Redactor(("plain-and/long", odd, "abcdefgh12345678"))
    text = "no secret here, 'only' text " * 20_000 + "\\" * 2_000 + odd[:-1] * 2_000
    began = time.perf_counter()
    assert found.text(text + odd).endswith("***")
    assert time.perf_counter() - began < 1


def test_a_wrong_setting_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "many")
    monkeypatch.setenv("REDIS_URL", "redis://:s3cret@h/0")
    assert redactor().text("s3cret") == "***"


def test_passwords_of_a_url_without_one() -> None:
    assert passwords("postgresql://ann@db/crm") == passwords("sqlite:///a@b:c.db") == set()


def test_the_file_of_another_folder_may_hold_some(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / ".env").write_text(
        "API_TOKEN=hunter2hunter2\nPLAIN=swordfish1\nOPEN=greenhouse\nURL=redis://ann:s3cr3tpw@db/0\n"
    )
    found = redactor(["PLAIN"], [other, folder / "missing"])
    assert found.text("hunter2hunter2 swordfish1 s3cr3tpw greenhouse") == "*** *** *** greenhouse"
    assert redactor(["PLAIN"]).text("hunter2hunter2 swordfish1") == "hunter2hunter2 swordfish1"


def test_files_in_the_folder_of_secrets_are_secret_whoever_names_them(folder: Path) -> None:
    (folder / "secrets" / "anything").write_text("greenhouse-of-ours\n")
    (folder / "secrets" / "nested").mkdir()
    assert redactor().text("it is greenhouse-of-ours.") == "it is ***."


def test_a_picture_is_left_alone_but_for_exact_values() -> None:
    picture = "iVBOR+redis://ann:s3cret@db"
    found = Redactor(("hunter2hunter2",)).data({"image/png": f"{picture}hunter2hunter2", "text/plain": picture})
    assert found["image/png"] == f"{picture}***" and found["text/plain"] != picture


@pytest.mark.parametrize("name", ["REDIS_URL", "DATAPIPE_CONNECTION_CRM", "CRM_URL"])  # the last is a plan's ${CRM_URL}
def test_passwords_of_urls_in_files_count(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "url").write_text("redis://ann:correct-horse@db/0\n")
    monkeypatch.setenv(f"{name}_FILE", "url")
    assert redactor().text("it is correct-horse") == "it is ***"


def test_a_secret_may_be_in_a_file_that_a_variable_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "token").write_text("correct-horse\n")
    monkeypatch.setenv("API_TOKEN_FILE", "token")
    assert secret("API_TOKEN") == "correct-horse"
    assert redactor().text("it is correct-horse") == "it is ***"


def test_files_of_other_programs_are_no_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "certificates").write_bytes(b"\xff" * 10)
    for value in ("certificates", "none", "a\0b", str(folder)):
        with monkeypatch.context() as context:
            if "\0" not in value:
                context.setenv("SSL_CERT_FILE", value)
            (folder / ".env").write_text(f"SSL_CERT_FILE={value}\n")
            assert redactor().text("text") == "text"


def test_what_else_is_secret_is_left_out_where_the_file_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_bytes(b"NAME=\xff\n")
    monkeypatch.setenv("SHOP_TOKEN", "cnry-9f2!x")
    assert redactor().text("it is cnry-9f2!x") == "it is ***"


def test_a_file_that_is_no_text_hides_none_after_it(folder: Path) -> None:
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    (secrets / "aaa.p12").write_bytes(b"\xff\xfe\x00")
    (secrets / "password").write_text("hunter2-very-secret")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / ".env").write_bytes(b"NAME=\xe9")
    assert redactor((), [folder / "elsewhere"]).text("x hunter2-very-secret y") == "x *** y"
