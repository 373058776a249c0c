"""The tools that are compared: what each is installed from, how it is started, and what it cannot do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
NOTHING_BETWEEN = "{} has nothing between read and write: see the line with the source's query"


@dataclass(frozen=True)
class Tool:
    """One column of the table.

    ``environment`` is the folder of its virtual environment below that of all peers; without it, the tool is on this
    machine, or in this interpreter. ``packages`` go in there, and the versions of ``shown`` are told. A tool that
    ``makes_target`` finds no empty table. ``only`` are the jobs of a variant; ``cannot`` says why a job is left out.
    """

    name: str
    program: str
    environment: str = ""
    packages: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    makes_target: bool = False
    only: tuple[str, ...] = ()
    cannot: Mapping[str, str] = field(default_factory=dict)

    def takes(self, job: str) -> bool:
        """Whether the job is measured with this tool."""
        return job not in self.cannot and (not self.only or job in self.only)

    def command(self, peers: Path, job: str) -> list[str]:
        """The command line of one job."""
        program = PROGRAMS / self.program
        if program.suffix == ".sh":
            return ["bash", str(program), job, *self.arguments]
        python = str(peers / self.environment / "bin" / "python") if self.environment else sys.executable
        return [python, str(program), job, *self.arguments]


def _dlt(backend: str, form: str) -> Tool:
    """A variant of dlt, for the copy alone."""
    name = f"dlt {backend} {form}"
    return Tool(name, "with_dlt.py", "dlt", arguments=(backend, form), makes_target=True, only=("copy",))


def _between(tool: str) -> dict[str, str]:
    return dict.fromkeys(("compute", "aggregate", "join"), NOTHING_BETWEEN.format(tool))


_PSQL = "psql runs no Python"
_NO_PARQUET = "{} has no Parquet"
_TWO_SERVERS = "{} speaks to PostgreSQL only"

TOOLS = (
    Tool("datapipe", "with_datapipe.py", shown=("duckdb", "pyarrow", "psycopg", "adbc-driver-postgresql", "pgpq")),
    Tool(
        "psql",
        "with_psql.sh",
        cannot={
            **_between("psql"),
            **dict.fromkeys(("python-whole", "python-batch"), _PSQL),
            **dict.fromkeys(("sqlite-in", "sqlite-out", "mariadb-in", "mariadb-out"), _TWO_SERVERS.format("psql")),
            **dict.fromkeys(("parquet-in", "parquet-out"), _NO_PARQUET.format("psql")),
        },
    ),
    Tool(
        "dlt",
        "with_dlt.py",
        "dlt",
        packages=(
            "dlt[postgres,sqlalchemy,filesystem]>=1.31",
            "connectorx>=0.4",
            "pyarrow>=24",
            "pandas>=3.0",
            "pymysql>=1.1",
            "adbc-driver-manager>=1.13",
            "adbc-driver-postgresql>=1.13",
            "adbc-driver-sqlite>=1.13",
        ),
        shown=("dlt", "connectorx"),
        makes_target=True,
        cannot={
            "aggregate": "dlt computes item by item, before the load",
            "join": "dlt computes item by item, before the load",
            "python-whole": "dlt calls Python item by item",
        },
    ),
    _dlt("sqlalchemy", "insert_values"),
    _dlt("sqlalchemy", "csv"),
    _dlt("pyarrow", "csv"),
    _dlt("pyarrow", "parquet"),
    _dlt("pandas", "csv"),
    _dlt("connectorx", "csv"),
    Tool(
        "sling",
        "with_sling.sh",
        "sling",
        packages=("sling-linux-amd64>=1.4",),
        shown=("sling-linux-amd64",),
        makes_target=True,
        cannot={
            **_between("sling"),
            **dict.fromkeys(("python-whole", "python-batch"), "sling is a program, and runs no Python"),
            "validate": "sling checks values with a licence that costs",
            **dict.fromkeys(
                ("parquet-in", "parquet-out"), "sling fetches a program of DuckDB's from the network for Parquet"
            ),
        },
    ),
    Tool(
        "polars",
        "with_polars.py",
        "polars",
        packages=(
            "polars>=1.30",
            "connectorx>=0.4",
            "pyarrow>=24",
            "pandas>=3.0",
            "sqlalchemy>=2.1",
            "pymysql>=1.1",
            "adbc-driver-manager>=1.13",
            "adbc-driver-postgresql>=1.13",
            "adbc-driver-sqlite>=1.13",
        ),
        shown=("polars", "connectorx"),
        makes_target=True,
    ),
    Tool(
        "ConnectorX",
        "with_connectorx.py",
        "connectorx",
        packages=(
            "connectorx>=0.4",
            "pyarrow>=24",
            "pandas>=3.0",
            "adbc-driver-manager>=1.13",
            "adbc-driver-postgresql>=1.13",
        ),
        shown=("connectorx", "adbc-driver-postgresql"),
        makes_target=True,
        cannot={
            **_between("ConnectorX"),
            "sqlite-out": "ConnectorX only reads, and ADBC's driver for SQLite takes no decimals",
            "mariadb-out": "ConnectorX only reads, and ADBC has no driver for MariaDB on PyPI",
            "csv-in": "ConnectorX reads no files",
            "parquet-in": "ConnectorX reads no files",
        },
    ),
    Tool(
        "DuckDB",
        "with_duckdb.py",
        "duckdb",
        packages=(
            "duckdb==1.5.5",
            "duckdb-extension-postgres-scanner==1.5.5",
            "duckdb-extension-mysql-scanner==1.5.5",
            "duckdb-extension-sqlite-scanner==1.5.5",
            "pyarrow>=24",
            "pandas>=3.0",
        ),
        shown=("duckdb",),
    ),
    Tool(
        "pandas",
        "with_pandas.py",
        "pandas",
        packages=("pandas>=3.0", "pyarrow>=24", "sqlalchemy>=2.1", "psycopg[binary]>=3.3", "pymysql>=1.1"),
        shown=("pandas", "sqlalchemy", "psycopg"),
    ),
    Tool(
        "petl",
        "with_petl.py",
        "petl",
        packages=("petl>=1.7", "psycopg2-binary>=2.9", "sqlalchemy>=2.1", "pymysql>=1.1"),
        shown=("petl", "psycopg2-binary"),
        cannot={
            "parquet-in": _NO_PARQUET.format("petl"),
            "parquet-out": _NO_PARQUET.format("petl"),
        },
    ),
)
