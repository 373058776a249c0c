"""Every example of the README and of docs/ is run as a reader would, and every public name is documented."""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import psycopg
import pytest
import uvicorn
from notebookfiles import KERNELSPEC
from services import private_redis, redis_program
from workerside import fresh_workers, running_worker

import datapipe
from datapipe import plan as plans
from datapipe.data.connections import shared
from datapipe.notebooks.model import is_job, parse_job
from datapipe.plan.yamltext import read_yaml
from datapipe.rest import create_app

ROOT = Path(__file__).parents[2]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]}
SAMPLE = ROOT / "datapipe" / "local" / "sample.sql"

_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```[ \t]*(?:\n|\Z)", re.M | re.S)
_CELL = re.compile(r"^# %%(.*)\n", re.M)
_MOMENT = re.compile(r"at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
_TIMING = re.compile(r"in [\d.,]+ s(?:, [\d,]+ rows/s)?")
_LOGGED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_SECONDS = re.compile(r"(?<=\bseconds)(\"?[=:] ?)[\d.]+")
_TAKEN = re.compile(r" · [\d.]+ m?s · ")
_PROGRAMS = ("datapipe ", "pipeline-cli ", "export ", "echo ")
# Servers of their own, with tests of their own.
_ELSEWHERE = (
    "datapipe api",
    "datapipe demo",
    "datapipe up",
    "datapipe lab",
    "datapipe metrics --port",
    "datapipe worker ",
)
_WITH_A_WORKER = "<!-- with a worker -->"
_WITH_REST, _REST = "<!-- with the REST interface -->", "http://localhost:8000"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the options behind it such as ``title=users.yaml``, and its text."""

    language: str
    options: dict[str, str]
    text: str
    line: int
    before: str  # what stands between it and the block before

    @property
    def is_output(self) -> bool:
        return "output" in self.options


def blocks(page: Path) -> list[Block]:
    text, found, end = page.read_text(encoding="utf-8"), [], 0
    for match in _BLOCK.finditer(text):
        language, *words = match.group(1).split() or [""]
        options = {name: value for name, _, value in (word.partition("=") for word in words)}
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(language, options, match.group(2), line, text[end : match.start()]))
        end = match.end()
    return found


RUNNABLE = [name for name, path in PAGES.items() if any(b.language in {"python", "bash", "yaml"} for b in blocks(path))]


@dataclass
class Reader:
    """Somebody who tries the blocks of one page, in order, in one folder."""

    page: Path
    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    cells: int = 0
    rest: str = _REST  # where it is in fact

    def read(self) -> None:
        found = blocks(self.page)
        for block, following in zip_longest(found, found[1:]):
            printed = self.try_out(block)
            if following is not None and following.is_output:
                assert not following.before.strip(), f"{self.page.name}:{following.line}: output follows its block"
                assert timeless(printed) == timeless(following.text), f"{self.page.name}:{block.line}"

    def try_out(self, block: Block) -> str:
        """What a block prints."""
        block = replace(block, text=block.text.replace(_REST, self.rest))
        if "title" in block.options:
            file = self.folder / block.options["title"]
            file.parent.mkdir(parents=True, exist_ok=True)
            text = notebook_text(block.text) if file.suffix == ".ipynb" else block.text
            file.write_text(text, encoding="utf-8")
        if block.language == "yaml":
            self.check_plan(block)
        if block.language == "python" and "title" not in block.options:
            return self.run_python(block)
        return self.run_shell(block) if block.language == "bash" else ""

    def run_python(self, block: Block) -> str:
        """Run a block as a notebook runs a cell: plans say where they were written."""
        self.cells += 1
        cell = f"In[{self.cells}]"
        linecache.cache[cell] = (len(block.text), None, block.text.splitlines(keepends=True), cell)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                exec(compile(block.text, cell, "exec"), self.names)
            except BaseException as error:
                error.add_note(f"{self.page.name}:{block.line}")
                raise
        return printed.getvalue()

    def run_shell(self, block: Block) -> str:
        script = "\n".join(command for command in commands(block.text) if runs(command))
        if not script:
            return ""
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == int(block.options.get("exit", 0)), f"{self.page.name}:{block.line}\n{done.stderr}"
        return done.stdout + done.stderr

    def check_plan(self, block: Block) -> None:
        """A plan parses, as does a part of one; a whole one without a file's name also runs. A job parses."""
        data = read_yaml(block.text)
        if is_job(data):
            parse_job(data)
        if not {"ingestion", "transformation", "persistence"} & set(data or ()):
            return
        whole = {"ingestion", "persistence"} <= set(data)
        plan = plans.parse(data if "ingestion" in data else {"ingestion": {"query": "SELECT 1 AS id"}, **data})
        if whole and "title" not in block.options:
            datapipe.Pipeline(plan).run()


def notebook_text(text: str) -> str:
    """A notebook from its cells, each below a line ``# %%``, which may have tags; comments of Markdown are its text."""
    cells = []
    for head, body in zip(*[iter(_CELL.split(text)[1:])] * 2, strict=True):
        if "[markdown]" in head:
            cells.append(nbformat.v4.new_markdown_cell(re.sub("^# ?", "", body.strip(), flags=re.M)))
        else:
            tags = json.loads(head.partition("tags=")[2] or "[]")
            cells.append(nbformat.v4.new_code_cell(body.strip(), metadata={"tags": tags} if tags else {}))
    found: str = nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC}))
    return found


def commands(text: str) -> Iterator[str]:
    """The commands of a shell script, each with the lines it goes on over."""
    held = ""
    for line in text.splitlines():
        held = f"{held}\n{line}" if held else line
        try:
            shlex.split(held, comments=True)
        except ValueError:  # a quote is open, or a backslash ends the line
            continue
        if not line.endswith("\\"):
            yield held
            held = ""
    assert not held, f"an unfinished command: {held}"


def runs(command: str) -> bool:
    return command.startswith(_PROGRAMS) and not command.startswith(_ELSEWHERE)


def timeless(text: str) -> str:
    """The text without what differs from run to run: durations, and of log lines ids and their order."""
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    if _LOGGED.search(lines):  # steps work at the same time, so their lines may come in another order
        found = _SECONDS.sub(r"\1…", _ID.sub("…", _LOGGED.sub("…", lines)))
        return "\n".join(sorted(found.splitlines()))
    return _MOMENT.sub("at … UTC", _TIMING.sub("in … s", _TAKEN.sub(" · … ms · ", lines)))


@pytest.fixture(scope="module")
def source_url(postgresql_server: str) -> Iterator[str]:
    """A database with the tables of datapipe/local/sample.sql, which no page changes."""
    yield from database_of(postgresql_server, SAMPLE.read_text(encoding="utf-8"))


def database_of(server: str, sql: str) -> Iterator[str]:
    name = f"test_docs_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        url = urlsplit(server)._replace(path=f"/{name}").geturl()
        with psycopg.connect(url) as conn:
            conn.execute(sql)
        yield url
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def folder(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    source_url: str,
    postgresql_url: str,
    forked_cli: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """An empty working directory, with the databases in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in os.environ if name.startswith("DATAPIPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAPIPE_HOME", str(tmp_path_factory.mktemp("home")))  # its record of runs is the page's own
    monkeypatch.setenv("SOURCE_DB_URL", source_url)
    monkeypatch.setenv("DEST_DB_URL", postgresql_url)
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(forked_cli.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    monkeypatch.setattr("datapipe.settings.connections._connections", {})  # names given by connect() belong to the page
    known = set(sys.modules)
    yield tmp_path
    shared().dispose()
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", RUNNABLE)
def test_examples_run(page: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "MYSQL_URL" in PAGES[page].read_text(encoding="utf-8"):
        monkeypatch.setenv("MYSQL_URL", request.getfixturevalue("mysql_url"))
    if _WITH_A_WORKER in PAGES[page].read_text(encoding="utf-8"):
        request.getfixturevalue("worker")
    reader = Reader(PAGES[page], folder)
    if _WITH_REST in PAGES[page].read_text(encoding="utf-8"):
        reader.rest = request.getfixturevalue("rest")
    reader.read()


@pytest.fixture
def rest(folder: Path, worker: None) -> Iterator[str]:
    """The REST interface, served by a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(create_app(), port=0, log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://localhost:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def worker(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker called w1, with a broker of its own."""
    with private_redis(redis_program()) as broker:
        monkeypatch.setenv("REDIS_URL", broker.url)
        monkeypatch.setenv("DATAPIPE_SIGNING_KEY", "k" * 64)
        fresh_workers()
        with running_worker({}, tmp_path_factory.mktemp("worker")):
            yield
        fresh_workers()


def test_a_reader_notices_other_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text output\n2\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        Reader(page, tmp_path).read()


def test_a_reader_joins_the_lines_of_a_command() -> None:
    script = "pip install x\n# why\ndatapipe run \\\n  --query 'SELECT 1\n FROM t' # once\ndatapipe up\n"
    assert [command for command in commands(script) if runs(command)] == [
        "datapipe run \\\n  --query 'SELECT 1\n FROM t' # once"
    ]


def test_a_reader_saves_a_notebook(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    cells = '# %% [markdown]\n# # Daily\n#\n# Text\n# %% tags=["parameters"]\nday = 1\n\n# %%\nprint(day)\n'
    page.write_text(f"```python title=daily.ipynb\n{cells}```\n")
    Reader(page, tmp_path).read()
    found = nbformat.read(tmp_path / "daily.ipynb", as_version=4)
    nbformat.validate(found)
    assert [(cell.cell_type, cell.source) for cell in found.cells] == [
        ("markdown", "# Daily\n\nText"),
        ("code", "day = 1"),
        ("code", "print(day)"),
    ]
    assert found.cells[1].metadata.tags == ["parameters"]
