"""What the site has beyond the pages: docstrings, a page for each module; links and fences as mkdocs has them."""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import datapipe
from datapipe import errors

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Documentation"].removesuffix("/docs")

ERRORS = [
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.DatapipeError)
]

# The public names: those of the package, and those of its modules that the pages import.
PUBLIC = {
    "datapipe": datapipe.__all__,
    "datapipe.ingestion": ("BatchIngestor", "ConnectionManager"),
    "datapipe.transformation": ("SQLTransformer", "CodeTransformer", "ConfigTransformer"),
    "datapipe.schemas": (
        "SchemaValidator",
        "SchemaRegistry",
        "SchemaVersion",
        "Contract",
        "ColumnSpec",
        "SchemaDiff",
        "SchemaChange",
        "Failure",
        "infer",
        "contract_of",
        "row_wise",
        "columns_of",
        "version_of",
        "diff",
        "diff_target",
        "landed",
    ),
    "datapipe.persistence": ("BatchWriter", "WriteStrategy", "remove_leftovers"),
    "datapipe.engine": ("StepResult", "NotebookResult", "CellResult", "FrameOutput", "Event", "retry_with_backoff"),
    "datapipe.workers": ("WorkerMonitor", "IdempotencyStore"),
    "datapipe.workers.tasks": ("run_pipeline", "run_notebook", "ingest", "transform", "persist"),
    "datapipe.workers.metrics": ("metrics_text", "serve_metrics", "Collector"),
    "datapipe.rest": ("create_app",),
    "datapipe.plan": ("parse",),
    "datapipe.secrets": ("secret",),
    "datapipe.logs": ("bound", "ids", "configure_logs"),
    "datapipe.errors": ERRORS,
}

_DOCSTRINGS = "reference/python/{}.md"
_PAGE = re.compile(r"- \[[^\]]+\]\(([\w/-]+\.md)\)")
_LINK = re.compile(r"(?<=\]\()\.\.?/[^)\s]+(?=\))")
_FENCE = re.compile(r"^```(\w+) (.+)$", re.M)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the navigation from the index, docs/README.md."""
    config.nav = [{"Home": "README.md"}, *navigation((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))]
    return config


def navigation(index: str) -> list[dict[str, list[Any]]]:
    """The index's sections, their parts, and the page that each line begins with; docstrings end the reference."""
    sections: list[dict[str, list[Any]]] = []
    section: list[Any] = []
    pages = section
    for line in index.splitlines():
        mark, _, title = line.partition(" ")
        if mark == "##":
            pages = section = []
            sections.append({title: section})
        elif mark == "###":
            pages = []
            section.append({title: pages})
        elif page := _PAGE.match(line):
            pages.append(page[1])
    reference = next(found["Reference"] for found in sections if "Reference" in found)
    reference.append({"Docstrings": [_DOCSTRINGS.format(module) for module in PUBLIC]})
    return sections


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page of docstrings for each module."""
    for module, names in PUBLIC.items():
        text = "\n\n".join([f"# {module}", *(f"::: {module}.{name}" for name in names)])
        files.append(File.generated(config, _DOCSTRINGS.format(module), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page with fences that mkdocs knows, and with addresses of what lies outside docs/."""
    folder = posixpath.dirname(page.file.src_uri)

    def address(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, found[0]))
        return found[0] if path.startswith("docs/") else f"{REPOSITORY}/{path}"

    return _FENCE.sub(fence, _LINK.sub(address, markdown))


def fence(found: re.Match[str]) -> str:
    """``csv title=a.csv`` as ``csv title="a.csv"``; what only the tests read (``exit=2``) is left out."""
    options = dict(word.partition("=")[::2] for word in found[2].split())
    title = options.get("title") or ("Output" if "output" in options else "")
    return f'```{found[1]} title="{title}"' if title else f"```{found[1]}"


def on_post_page(output: str, **_: Any) -> str:
    """The page with a name for its search, which the theme leaves out, for screen readers."""
    return output.replace('"search" role="dialog"', '"search" role="dialog" aria-label="Search"')
