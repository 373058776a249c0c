"""The tables of the run store, and how an older store becomes a newer one."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from datapipe.errors import FatalError

_METADATA = sa.MetaData()
META = sa.Table(
    "datapipe_meta",
    _METADATA,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
RUNS = sa.Table(
    "datapipe_runs",
    _METADATA,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("pipeline_id", sa.String(128), nullable=False, index=True),
    sa.Column("name", sa.Text),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("reason", sa.Text),
    sa.Column("fingerprint", sa.String(64)),
    sa.Column("correlation_id", sa.String(128), index=True),
    sa.Column("parent_run_id", sa.String(128)),
    sa.Column("source", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("document", sa.Text),  # the plan as JSON, without passwords; NULL for one that has no such form
    sa.Column("owner", sa.Text),
    sa.Column("host", sa.Text),
    sa.Column("process", sa.Integer),
    sa.Column("created", sa.String(30), nullable=False, index=True),
    sa.Column("started", sa.String(30)),
    sa.Column("heartbeat", sa.String(30)),
    sa.Column("ended", sa.String(30)),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("rows_read", sa.BigInteger, nullable=False, default=0),
    sa.Column("rows_written", sa.BigInteger, nullable=False, default=0),
    sa.Column("cancel_requested", sa.String(30)),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("lease", sa.String(40)),  # who may write to it while it runs
    sa.Column("queue", sa.String(64)),  # NULL for a run that was never sent to workers
    sa.Column("queued", sa.String(30)),  # when it was last put into its queue
    sa.Column("message", sa.Text),  # what a worker needs to run it, as JSON
    sa.Column("worker", sa.Text),
    sa.Column("losses", sa.Integer, nullable=False, default=0, server_default="0"),  # workers that died with it
    sa.Column("schema_version", sa.Integer),  # of the target, in the table of schemas
    sa.Column("outline", sa.Text),  # of each step: its verb, what it is about, where it was written; as JSON
    sa.Column("via", sa.String(20)),  # how it was asked for
    sa.Column(
        "kind", sa.String(20), nullable=False, default="plan", server_default="plan"
    ),  # or notebook, ingest, transform, persist
)
# Runs of one key take effect once, where no ledger beside the data can see to that: the run that has a key.
KEYS = sa.Table(
    "datapipe_keys",
    _METADATA,
    sa.Column("key", sa.String(64), primary_key=True),  # SHA-256 of the user's own
    sa.Column("run_id", sa.String(128), nullable=False),
)
# Who may use the REST interface. The secret itself is nowhere.
API_KEYS = sa.Table(
    "datapipe_api_keys",
    _METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of a secret that is random enough for it
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("scope", sa.String(10), nullable=False),
    sa.Column("created", sa.String(30), nullable=False),
    sa.Column("expires", sa.String(30)),
    sa.Column("revoked", sa.String(30)),
)
# What was answered to a request with an Idempotency-Key; without an answer it goes on.
REQUESTS = sa.Table(
    "datapipe_requests",
    _METADATA,
    sa.Column("key", sa.String(64), primary_key=True),  # SHA-256 of the owner and the caller's key
    sa.Column("fingerprint", sa.String(64), nullable=False),  # of the request
    sa.Column("run_id", sa.String(128), nullable=False),
    sa.Column("created", sa.String(30), nullable=False, index=True),
    sa.Column("taken", sa.String(30), nullable=False),  # when somebody last began to answer it
    sa.Column("status", sa.Integer),
    sa.Column("answer", sa.Text),
)
# What totals are added up from, so that nobody reads all documents for it.
_TOTALS = sa.Index(
    "datapipe_runs_totals", RUNS.c.state, RUNS.c.rows_read, RUNS.c.rows_written, RUNS.c.started, RUNS.c.ended
)
_CHILDREN = sa.Index("datapipe_runs_children", RUNS.c.parent_run_id)
_NEWEST = sa.Index("datapipe_runs_newest", RUNS.c.created, RUNS.c.id)
STEPS = sa.Table(
    "datapipe_steps",
    _METADATA,
    sa.Column("run_id", sa.String(128), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.String(64)),
    sa.Column("rows_in", sa.BigInteger, nullable=False, default=0),
    sa.Column("rows_out", sa.BigInteger, nullable=False, default=0),
    sa.Column("total", sa.BigInteger),
    sa.Column("seconds", sa.Float),
    sa.Column("rejected", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.Column("busy", sa.Float),
)
LOGS = sa.Table(
    "datapipe_logs",
    _METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("run_id", sa.String(128), nullable=False, index=True),
    sa.Column("time", sa.String(30), nullable=False),
    sa.Column("kind", sa.String(30), nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("message", sa.Text, nullable=False),
)
SCHEMAS = sa.Table(
    "datapipe_schemas",
    _METADATA,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),  # counts from 1 for each subject
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("columns", sa.Text, nullable=False),  # as JSON
    sa.Column("created", sa.String(30), nullable=False),
    sa.Column("run_id", sa.String(128)),  # the run that was the first to leave the subject like this
)

# A run whose source is read in partitions by several workers: what they need to know of it, while it lasts.
SHARES = sa.Table(
    "datapipe_shares",
    _METADATA,
    sa.Column("run_id", sa.String(128), primary_key=True),
    sa.Column("lease", sa.String(40), nullable=False),  # of the worker that has the run
    sa.Column("about", sa.Text, nullable=False),  # as JSON
)
PARTITIONS = sa.Table(
    "datapipe_partitions",
    _METADATA,
    sa.Column("run_id", sa.String(128), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.String(20), nullable=False),  # waiting, running, done
    sa.Column("holder", sa.String(40)),  # who is at it
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("heartbeat", sa.String(30)),
    sa.Column("outcome", sa.Text),  # of one that is done, as JSON
)


def _create(conn: sa.Connection) -> None:
    _METADATA.create_all(conn)
    conn.execute(META.insert().values(name="store_id", value=str(uuid.uuid4())))


def _add_columns(conn: sa.Connection) -> None:
    """Add the columns that a table of an older store lacks."""
    for table in (RUNS, STEPS, LOGS):
        known = {column["name"] for column in sa.inspect(conn).get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                definition = CreateColumn(column).compile(dialect=conn.dialect)
                conn.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")


def _add_index(conn: sa.Connection) -> None:
    _TOTALS.create(conn, checkfirst=True)


def _add_schemas(conn: sa.Connection) -> None:
    _add_columns(conn)
    SCHEMAS.create(conn, checkfirst=True)


def _add_keys(conn: sa.Connection) -> None:
    _add_columns(conn)
    KEYS.create(conn, checkfirst=True)
    _CHILDREN.create(conn, checkfirst=True)


def _add_access(conn: sa.Connection) -> None:
    API_KEYS.create(conn, checkfirst=True)
    REQUESTS.create(conn, checkfirst=True)
    _NEWEST.create(conn, checkfirst=True)


def _add_partitions(conn: sa.Connection) -> None:
    SHARES.create(conn, checkfirst=True)
    PARTITIONS.create(conn, checkfirst=True)


# Each makes of a store of one version the next.
_MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (
    _create,
    _add_columns,
    _add_index,
    _add_schemas,
    _add_columns,
    _add_keys,
    _add_access,
    _add_partitions,
)


VERSION = len(_MIGRATIONS)


def version_of(conn: sa.Connection) -> int:
    """The version of a store; 0 for a database that is none yet.

    Raises
    ------
    FatalError
        If a newer library has made it.
    """
    if not sa.inspect(conn).has_table(META.name):
        return 0
    version = int(conn.scalar(sa.select(META.c.value).where(META.c.name == "version")) or 0)
    if version > VERSION:
        hint = "Upgrade datapipe, or set DATAPIPE_METADATA_URL to another database"
        raise FatalError(f"the run store has version {version}, this library knows {VERSION}", hint=hint)
    return version


def migrate(conn: sa.Connection) -> None:
    """Bring a store to this library's version; the caller holds its lock."""
    version = version_of(conn)
    if version == VERSION:
        return
    for migration in _MIGRATIONS[version:]:
        migration(conn)
    conn.execute(META.delete().where(META.c.name == "version"))
    conn.execute(META.insert().values(name="version", value=str(VERSION)))
