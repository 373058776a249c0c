"""What the environment says: settings, and connections by name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from datapipe.errors import PlanError, did_you_mean

_REFERENCE = re.compile(r"\$\{(\w+)\}")
_PREFIX = "DATAPIPE_CONNECTION_"
_QUEUE = r"^[A-Za-z0-9_.-]{1,64}$"


def _redis_url(text: str) -> str:
    if not re.match(r"(rediss?|redis\+socket|unix)://", text):
        raise ValueError("it must begin with redis://, or rediss:// for TLS")
    return text


RedisUrl = Annotated[str, AfterValidator(_redis_url)]


class Settings(BaseSettings):
    """Settings of this process, read from the environment and from ``.env`` in the working directory.

    Parameters
    ----------
    source_db_url, dest_db_url : str, optional
        The connections used where a plan names none (SOURCE_DB_URL, DEST_DB_URL).
    batch_size : int
        Rows of a batch handed to user code (BATCH_SIZE).
    pool_size, pool_overflow : int
        Pooled connections per database and how many more may open under load (DB_POOL_SIZE, DB_MAX_OVERFLOW).
    max_retries : int
        Further attempts after a :class:`~datapipe.errors.TransientError` (MAX_RETRIES).
    retry_backoff_base : float
        Attempt n is followed by a pause of up to this to the power of n, in seconds (RETRY_BACKOFF_BASE).
    retry_budget : float
        Seconds after which no further attempt begins (DATAPIPE_RETRY_BUDGET).
    ledger : {"on", "off"}
        Whether loads are recorded beside the data, which makes them exactly-once (DATAPIPE_LEDGER).
    internal_schema : str
        The schema, or the prefix, of datapipe's own tables (DATAPIPE_INTERNAL_SCHEMA).
    lock_timeout : float
        Seconds to wait for another run that writes to the same target (DATAPIPE_LOCK_TIMEOUT).
    network_timeout : int
        Seconds in which a stalled network to a database server is noticed; a statement it works on may take
        longer (DATAPIPE_NETWORK_TIMEOUT).
    metadata_url : str, optional
        The database that runs are recorded in, or ``off``; a SQLite file in :func:`data_home` if left out
        (DATAPIPE_METADATA_URL).
    redis_url : str
        The Redis or Valkey of the workers (REDIS_URL).
    celery_broker_url, celery_result_backend : str, optional
        Where Celery queues tasks and keeps results, if not there (CELERY_BROKER_URL, CELERY_RESULT_BACKEND).
    worker_concurrency : int
        Runs at a time in one worker (WORKER_CONCURRENCY).
    queue : str
        The queue of plans that name none (DATAPIPE_QUEUE).
    signing_key : str, optional
        What signs the plans that are sent to workers, at least 32 characters, the same on both sides
        (DATAPIPE_SIGNING_KEY).
    function_modules : str
        The modules whose functions a worker calls for plans that are not signed, with commas between them; each
        includes what is below it (DATAPIPE_FUNCTION_MODULES).
    notebook_folders : str
        The folders, with commas between them, whose notebooks a worker runs for jobs that are not signed
        (DATAPIPE_NOTEBOOK_FOLDERS).
    spool_url : str, optional
        Where tasks leave rows for the next one: a folder or an fsspec URL; a folder in :func:`data_home` if left
        out (DATAPIPE_SPOOL_URL).
    run_timeout : float
        Seconds a run may take on a worker (DATAPIPE_RUN_TIMEOUT).
    display : {"auto", "widget", "html", "text", "off"}
        How runs are shown while they last (DATAPIPE_DISPLAY).
    show_values : bool
        Whether a card may show the row that an error is about (DATAPIPE_SHOW_VALUES).
    shutdown_grace : float
        Seconds a worker that is told to stop gives its runs to end; the others are queued again
        (DATAPIPE_SHUTDOWN_GRACE).
    secrets_dir : str
        The folder of files that are secrets, each named as its secret (DATAPIPE_SECRETS_DIR).
    artifacts_url : str, optional
        Where notebooks that ran as jobs are kept: a folder or an fsspec URL; a folder in :func:`data_home` if left
        out (DATAPIPE_ARTIFACTS_URL).
    artifacts_days : float
        Days after which what a job has left is removed (DATAPIPE_ARTIFACTS_DAYS).
    artifacts_runs : int
        How many runs of a notebook are kept (DATAPIPE_ARTIFACTS_RUNS).
    api_open : bool, optional
        Whether the REST interface takes requests without a key; if left out, it does on a loopback address, as long
        as no key was made (DATAPIPE_API_OPEN).
    api_hosts : str
        The names, with commas between them, by which the REST interface may be called beside localhost and its own
        address (DATAPIPE_API_HOSTS).
    api_databases : str
        The servers, with commas between them, that URLs of requests may lead to beside the connections that have a
        name: ``host`` or ``host:port`` (DATAPIPE_API_DATABASES).
    api_folders : str
        The folders, with commas between them, in which plans of requests may read and write files
        (DATAPIPE_API_FOLDERS).
    api_rate : int
        Requests a minute that one caller may make (DATAPIPE_API_RATE).

    Examples
    --------
    >>> Settings(batch_size=500).batch_size
    500
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    source_db_url: str | None = Field(default=None, repr=False)
    dest_db_url: str | None = Field(default=None, repr=False)
    batch_size: int = Field(default=10_000, ge=1)
    pool_size: int = Field(default=5, ge=1, validation_alias="DB_POOL_SIZE")
    pool_overflow: int = Field(default=10, ge=0, validation_alias="DB_MAX_OVERFLOW")
    max_retries: int = Field(default=3, ge=0)
    retry_backoff_base: float = Field(default=2.0, gt=0)
    retry_budget: float = Field(default=3600, ge=0, validation_alias="DATAPIPE_RETRY_BUDGET")
    ledger: Literal["on", "off"] = Field(default="on", validation_alias="DATAPIPE_LEDGER")
    internal_schema: str = Field(
        default="_datapipe", pattern=r"^[A-Za-z_]\w{0,40}$", validation_alias="DATAPIPE_INTERNAL_SCHEMA"
    )
    lock_timeout: float = Field(default=600, ge=0, validation_alias="DATAPIPE_LOCK_TIMEOUT")
    metadata_url: str | None = Field(default=None, repr=False, validation_alias="DATAPIPE_METADATA_URL")
    network_timeout: int = Field(default=30, ge=2, validation_alias="DATAPIPE_NETWORK_TIMEOUT")
    redis_url: RedisUrl = Field(default="redis://localhost:6379/0", repr=False)
    celery_broker_url: RedisUrl | None = Field(default=None, repr=False)
    celery_result_backend: str | None = Field(default=None, repr=False)
    worker_concurrency: int = Field(default=4, ge=1)
    queue: str = Field(default="datapipe", pattern=_QUEUE, validation_alias="DATAPIPE_QUEUE")
    signing_key: str | None = Field(default=None, repr=False, min_length=32, validation_alias="DATAPIPE_SIGNING_KEY")
    function_modules: str = Field(default="", validation_alias="DATAPIPE_FUNCTION_MODULES")
    notebook_folders: str = Field(default="", validation_alias="DATAPIPE_NOTEBOOK_FOLDERS")
    spool_url: str | None = Field(default=None, repr=False, validation_alias="DATAPIPE_SPOOL_URL")
    run_timeout: float = Field(default=86_400, gt=0, validation_alias="DATAPIPE_RUN_TIMEOUT")
    display: Literal["auto", "widget", "html", "text", "off"] = Field(
        default="auto", validation_alias="DATAPIPE_DISPLAY"
    )
    show_values: bool = Field(default=True, validation_alias="DATAPIPE_SHOW_VALUES")
    shutdown_grace: float = Field(default=20, ge=0, validation_alias="DATAPIPE_SHUTDOWN_GRACE")
    secrets_dir: str = Field(default="/run/secrets", validation_alias="DATAPIPE_SECRETS_DIR")
    artifacts_url: str | None = Field(default=None, repr=False, validation_alias="DATAPIPE_ARTIFACTS_URL")
    artifacts_days: float = Field(default=90, gt=0, validation_alias="DATAPIPE_ARTIFACTS_DAYS")
    artifacts_runs: int = Field(default=200, ge=1, validation_alias="DATAPIPE_ARTIFACTS_RUNS")
    api_open: bool | None = Field(default=None, validation_alias="DATAPIPE_API_OPEN")
    api_hosts: str = Field(default="", validation_alias="DATAPIPE_API_HOSTS")
    api_databases: str = Field(default="", validation_alias="DATAPIPE_API_DATABASES")
    api_folders: str = Field(default="", validation_alias="DATAPIPE_API_FOLDERS")
    api_rate: int = Field(default=6000, ge=1, validation_alias="DATAPIPE_API_RATE")

    @property
    def broker_url(self) -> str:
        """Where Celery queues tasks."""
        return self.celery_broker_url or self.redis_url

    @property
    def result_url(self) -> str:
        """Where Celery keeps results."""
        return self.celery_result_backend or self.redis_url


_FILE = Path(".env")
_latest: tuple[object, Settings] | None = None  # the settings, and what they were made from


def settings() -> Settings:
    """The settings as the environment has them now; made anew only if it has changed.

    Raises
    ------
    PlanError
        If a variable has a value it cannot have.
    """
    global _latest  # noqa: PLW0603  # one value, put there whole, so that threads need no lock
    origin, latest = _origin(), _latest
    if latest is not None and latest[0] == origin:
        return latest[1]
    try:
        made = Settings()
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False)[0]
        name = str(finding["loc"][0]).upper()
        raise PlanError(f"the environment variable {name} is wrong: {finding['msg']}", step="settings") from None
    _latest = origin, made
    return made


def _origin() -> object:
    """What settings are made from: the environment, and which ``.env`` there is, as it was last written."""
    # Undecoded, where Python shows it: a run asks often, and decoding would take it a millisecond.
    variables = dict(getattr(os.environ, "_data", os.environ))
    try:
        file = _FILE.stat()
    except OSError:
        return variables, None
    return variables, (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)


_connections: dict[str, Any] = {}  # given by connect(); they belong to this process


def connect(name: str, target: Any) -> None:
    """Give a connection a name, for this process.

    Parameters
    ----------
    name : str
        What plans call it: ``read(..., source="crm")``.
    target : str or sqlalchemy.Engine
        A database URL, or an engine, which is borrowed and never disposed.

    Examples
    --------
    >>> connect("crm", "sqlite:///crm.db")
    """
    if not name.isidentifier():
        raise PlanError(f"{name!r} cannot name a connection", hint="Use letters, digits and underscores")
    _connections[name.lower()] = target


def connection(name: str) -> Any:
    """The URL or engine a name stands for.

    Raises
    ------
    PlanError
        If nothing has that name.
    """
    found = named_connections().get(name.lower())
    if found is None:
        raise PlanError(
            f"no connection is called {name!r}",
            hint=did_you_mean(name, named_connections())
            or f"Set {_PREFIX}{name.upper()} or call datapipe.connect({name!r}, url)",
        )
    return found


def named_connections() -> dict[str, Any]:
    """Every named connection: from the environment and ``.env``, then those given by :func:`connect`."""
    found = {
        key[len(_PREFIX) :].lower(): value
        for key, value in environment().items()
        if key.upper().startswith(_PREFIX) and value
    }
    return found | _connections


def environment() -> dict[str, str]:
    """The environment over ``.env``."""
    file = Path(".env")
    known = {key: value for key, value in dotenv_values(file).items() if value} if file.is_file() else {}
    return known | dict(os.environ)


def expand(text: str) -> str:
    """The text with every ``${NAME}`` replaced by its value.

    Raises
    ------
    PlanError
        If a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = environment().get(match.group(1))
        if not found:
            raise PlanError(f"the environment variable {match.group(1)} is not set", hint="Set it, or put it into .env")
        return found

    return _REFERENCE.sub(value, text)


def data_home() -> Path:
    """The folder for what outlives a process: DATAPIPE_HOME, else one in the user's data directory.

    Returns
    -------
    pathlib.Path
        Never a folder in the working directory, unless DATAPIPE_HOME says so. It may not exist yet.

    Examples
    --------
    >>> data_home().is_absolute()
    True
    """
    found = environment()
    if found.get("DATAPIPE_HOME"):
        return Path(found["DATAPIPE_HOME"]).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/datapipe")  # the server does not run as root, and may not enter root's home
    return Path(found.get("XDG_DATA_HOME") or "~/.local/share").expanduser().absolute() / "datapipe"
