"""The site of the documentation: it builds without a warning, has every name, and needs nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import datapipe

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT / "docs").with_suffix("") for path in ROOT.glob("docs/**/*.md"))
KEPT = {  # from the specification, and the application
    "datapipe.ingestion": ["BatchIngestor", "ConnectionManager"],
    "datapipe.transformation": ["SQLTransformer", "CodeTransformer", "ConfigTransformer"],
    "datapipe.schemas": ["SchemaValidator", "SchemaRegistry"],
    "datapipe.persistence": ["BatchWriter", "WriteStrategy"],
    "datapipe.engine": ["retry_with_backoff"],
    "datapipe.workers": ["WorkerMonitor", "IdempotencyStore"],
    "datapipe.rest": ["create_app"],
    "datapipe.workers.tasks": ["ingest", "transform", "persist", "run_pipeline", "run_notebook"],
}
_IMPORT = re.compile(r"^from (datapipe[\w.]*) import ([\w, ]+)$", re.M)
_ELSEWHERE = re.compile(r"(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as strictly as it goes."""
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "mkdocs", "build", "--strict", "--quiet", "-f", "docs/site/mkdocs.yml", "-d", str(folder)]
    own = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


class Resources(HTMLParser):
    """What a page loads: scripts, styles, pictures, frames; not what it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        names = ("href",) if tag == "link" and given.get("rel") != "canonical" else ("src", "srcset", "poster", "data")
        self.found += [value for name in names if (value := given.get(name))]


def public_names() -> Iterator[str]:
    """Those of the package, those of the specification, and whatever a page imports."""
    yield from (f"datapipe.{name}" for name in datapipe.__all__)
    yield from (f"{module}.{name}" for module, names in KEPT.items() for name in names)
    for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for module, names in _IMPORT.findall(page.read_text(encoding="utf-8")):
            yield from (f"{module}.{name.strip()}" for name in names.split(","))


def test_every_public_name_has_its_docstring(site: Path) -> None:
    pages = [path.read_text(encoding="utf-8") for path in site.glob("reference/python/*.html")]
    assert {name for name in public_names() if not any(f'id="{name}"' in page for page in pages)} == set()


def test_every_page_is_there_and_is_found_by_the_search(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    searched = {entry["location"].partition("#")[0] for entry in index["docs"]}
    wanted = {"index.html" if str(page) == "README" else f"{page.as_posix()}.html" for page in PAGES}
    assert wanted <= searched
    assert all((site / page).is_file() for page in wanted)


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = {
        (path.relative_to(site).as_posix(), address)
        for path in site.glob("**/*.html")
        for address in Resources(path.read_text(encoding="utf-8")).found
        if _ELSEWHERE.match(address)
    }
    styles = {
        (path.relative_to(site).as_posix(), address)
        for path in site.glob("**/*.css")
        for address in re.findall(r"(?:url\(|@import )[\"']?([^)\"';]+)", path.read_text(encoding="utf-8"))
        if _ELSEWHERE.match(address)
    }
    assert loaded | styles == set()


def test_no_page_makes_the_theme_load_something(site: Path) -> None:
    """Its script fetches diagrams, and the numbers of stars of a repository, from elsewhere if a page has them."""
    texts = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.glob("**/*.html")}
    assert {
        name for name, text in texts.items() if 'class="mermaid"' in text or 'data-md-component="source"' in text
    } == set()


def test_fences_have_their_titles_and_links_out_of_the_pages_lead_to_the_repository(site: Path) -> None:
    first = (site / "tutorials" / "first-pipeline.html").read_text(encoding="utf-8")
    assert '<span class="filename">sales.csv</span>' in first
    assert '<span class="filename">Output</span>' in first
    docker = (site / "how-to" / "docker.html").read_text(encoding="utf-8")
    assert re.search(r'href="https://[^"]+/docker-compose\.yml"', docker)
