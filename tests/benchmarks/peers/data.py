"""The servers and the data: TPC-H by tpchgen-cli, wide and long tables by SQL, and the same rows in every other kind."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import psycopg
import pymysql
from services import (
    find_mysql,
    find_postgresql,
    mysql_database,
    postgresql_database,
    running_mysql,
    running_postgresql,
)
from sqlalchemy.engine import make_url

from .tables import TABLES, filled

_GENERATED = ("lineitem", "orders")
_LOAD = "LOAD DATA LOCAL INFILE '{}' INTO TABLE {} FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' IGNORE 1 LINES"


@dataclass
class Data:
    """Two databases of one PostgreSQL, two of one MariaDB, and a folder; what a job needs is made when it is asked for."""

    scale: float
    folder: Path
    source: str
    target: str
    mariadb: str
    mariadb_target: str
    _made: set[str] = field(default_factory=set)

    def place(self, out: Path) -> dict[str, str]:
        """Where everything is, as a program is told."""
        return {
            "source": self.source,
            "target": self.target,
            "mariadb": self.mariadb,
            "mariadb_target": self.mariadb_target,
            "sqlite": str(self.folder / "source.db"),
            "csv": str(self.folder / "lineitem.csv"),
            "parquet": str(self.folder / "lineitem.parquet"),
            "out": str(out),
        }

    def need(self, name: str) -> None:
        """Make a table of the source, or ``sqlite``, ``mariadb``, ``csv`` or ``parquet``, unless it is there."""
        if name in self._made:
            return
        self._made.add(name)
        if name == "parquet":
            self._write_parquet()
        elif name == "csv":
            self._generate("lineitem")
        elif name == "sqlite":
            self._fill_sqlite()
        elif name == "mariadb":
            self._fill_mariadb()
        else:
            self._fill_postgresql(name)

    def _generate(self, table: str) -> Path:
        """A CSV file of TPC-H rows, kept for the next time."""
        path = self.folder / f"{table}.csv"
        if not path.exists():
            made = self.folder / "made"
            generate = ["tpchgen-cli", "csv", "-s", str(self.scale), f"--tables={table}", f"--output-dir={made}"]
            subprocess.run(generate, check=True, capture_output=True)
            (made / path.name).rename(path)
        return path

    def _write_parquet(self) -> None:
        """Not as the generator writes it: its string views are more than some tools read."""
        path = self.folder / "lineitem.parquet"
        if not path.exists():
            money = ("l_quantity", "l_extendedprice", "l_discount", "l_tax")
            casts = ", ".join(f"CAST({name} AS DECIMAL(15, 2)) AS {name}" for name in money)
            query = f"SELECT * REPLACE ({casts}) FROM '{self._generate('lineitem')}'"
            duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")

    def _fill_postgresql(self, table: str) -> None:
        query = filled(table, self.scale)
        if query is not None and table.startswith("tiny"):
            self.need("orders")
        with psycopg.connect(self.source, autocommit=True) as conn:
            _create(conn, table)
            if query is None:
                _copy(conn, table, self._generate(table))
            else:
                conn.execute(f"INSERT INTO {table} {query}")
            conn.execute(f"VACUUM ANALYZE {table}")
        if table == "orders":  # what upsert, replace and append find in their target
            with psycopg.connect(self.target, autocommit=True) as conn:
                _create(conn, table)
                _copy(conn, table, self._generate(table))
                conn.execute(f"VACUUM ANALYZE {table}")

    def _fill_mariadb(self) -> None:
        with closing(connect_mariadb(self.mariadb)) as conn, conn.cursor() as cursor:
            cursor.execute(f"CREATE TABLE orders ({TABLES['orders']})")
            cursor.execute(_LOAD.format(self._generate("orders"), "orders"))
            conn.commit()

    def _fill_sqlite(self) -> None:
        path = self.folder / "source.db"
        path.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(path)) as conn,
            self._generate("orders").open(encoding="utf-8", newline="") as file,
        ):
            conn.execute(f"CREATE TABLE orders ({TABLES['orders']})")
            rows = csv.reader(file)
            next(rows)
            conn.executemany(f"INSERT INTO orders VALUES ({', '.join('?' * 9)})", rows)
            conn.commit()


@contextmanager
def prepared(scale: float, folder: Path) -> Iterator[Data]:
    """Private servers, ended afterwards; files are kept in the folder, by scale."""
    postgresql, mysql = find_postgresql(), find_mysql()
    if postgresql is None or mysql is None or shutil.which("psql") is None:
        raise SystemExit("PostgreSQL with psql, and MariaDB, are needed on this machine")
    kept = folder / f"sf{scale:g}"
    kept.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(running_postgresql(postgresql))
        urls = [stack.enter_context(postgresql_database(server)) for _ in range(2)]
        with psycopg.connect(server, autocommit=True) as conn:  # what is left of one run must not slow the next
            conn.execute("ALTER SYSTEM SET autovacuum = off")
            conn.execute("SELECT pg_reload_conf()")
        second = stack.enter_context(running_mysql(mysql, "--local-infile=1"))
        urls += [stack.enter_context(mysql_database(second)) for _ in range(2)]
        yield Data(scale, kept, *urls)


def connect_mariadb(url: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """A connection that may load files."""
    parts = make_url(url)
    return pymysql.connect(
        host=parts.host or "",
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.database,
        local_infile=True,
    )


def _create(conn: psycopg.Connection, table: str) -> None:
    conn.execute(f"DROP TABLE IF EXISTS {table}")
    conn.execute(f"CREATE TABLE {table} ({TABLES[table]})")


def _copy(conn: psycopg.Connection, table: str, path: Path) -> None:
    with (
        path.open("rb") as rows,
        conn.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy,
    ):
        while chunk := rows.read(1 << 20):
            copy.write(chunk)
