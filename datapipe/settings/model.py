"""Every setting: its variable, its default, what it may be, and what it does."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from datapipe.errors import PlanError
from datapipe.settings.environ import IN_FILE, environment, place, variable

_QUEUE = r"^[A-Za-z0-9_.-]{1,64}$"
# What other programs that read LOG_LEVEL say for the same: a variable that is meant for them must not stop a run.
_LEVELS = {"TRACE": "DEBUG", "NOTSET": "DEBUG", "NOTICE": "INFO", "WARN": "WARNING", "FATAL": "CRITICAL"}


def redis_url(text: str, variable: str) -> str:
    """The URL of a Redis.

    It is looked at where it is used: CELERY_BROKER_URL may be another program's, and most runs need no broker.

    Raises
    ------
    PlanError
        If it is one of something else.

    Examples
    --------
    >>> redis_url("redis://localhost:6379/0", "REDIS_URL")
    'redis://localhost:6379/0'
    """
    if not re.match(r"(rediss?|redis\+socket|unix)://", text):
        problem = f"{variable}: it must begin with redis://, or rediss:// for TLS"
        raise PlanError(problem, step="settings", hint="datapipe config show tells where each setting comes from")
    return text


def _text(change: Callable[[str], str]) -> BeforeValidator:
    return BeforeValidator(lambda given: change(given) if isinstance(given, str) else given)


def _level(text: str) -> str:
    named = logging.getLevelName(int(text)) if text.isdecimal() else text
    return _LEVELS.get(named.upper(), named.upper())


def _form(text: str) -> str:
    return "json" if "%" in text or "{" in text else text.lower()  # a format of Python's own logging


LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], _text(_level)]
LogFormat = Annotated[Literal["json", "text", "console"], _text(_form)]


def _setting(
    group: str, description: str, default: Any, *, otherwise: str = "", example: str = "", **others: Any
) -> Any:
    """A field, with what the reference says of it.

    Parameters
    ----------
    group : str
        The heading it stands under.
    otherwise : str
        What holds where it is left out and there is no default.
    example : str
        A value that shows its form, if the default does not.
    **others
        As for pydantic's ``Field``. ``repr=False`` marks a secret, or a URL, which may hold one: it is shown nowhere,
        and may be in a file.
    """
    about: Any = {"group": group, "otherwise": otherwise, "example": example}
    return Field(default=default, description=description, json_schema_extra=about, **others)


class Settings(BaseModel):
    """Settings of this process, read from the environment and from ``.env`` in the working directory.

    A field's description says what it does; ``docs/reference/settings.md`` lists them all. What may hold a secret may
    also be in a file: ``REDIS_URL_FILE`` names the one that holds REDIS_URL.

    Raises
    ------
    pydantic.ValidationError
        If a variable has a value it cannot have.
    PlanError
        If ``.env`` or a file with a value cannot be read.

    Examples
    --------
    >>> Settings(batch_size=500).batch_size
    500
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, allow_inf_nan=False, validate_default=True
    )

    source_db_url: str | None = _setting(
        "Connections",
        "Where plans read that name no source.",
        None,
        repr=False,
        example="postgresql://reader:secret@localhost:5432/crm",
    )
    dest_db_url: str | None = _setting(
        "Connections",
        "Where plans write that name no destination.",
        None,
        repr=False,
        example="postgresql://writer:secret@localhost:5432/warehouse",
    )
    pool_size: int = _setting(
        "Connections", "Connections kept open per database.", 5, ge=1, validation_alias="DB_POOL_SIZE"
    )
    pool_overflow: int = _setting(
        "Connections", "How many more may open under load.", 10, ge=0, validation_alias="DB_MAX_OVERFLOW"
    )
    network_timeout: int = _setting(
        "Connections",
        "Seconds in which a stalled network to a database server is noticed; a statement the server works on may take "
        "longer.",
        30,
        ge=2,
        validation_alias="DATAPIPE_NETWORK_TIMEOUT",
    )
    secrets_dir: str = _setting(
        "Connections",
        "A folder of files that are secrets, each named as its secret; the environment and .env come first.",
        "/run/secrets",
        validation_alias="DATAPIPE_SECRETS_DIR",
    )
    batch_size: int = _setting("Runs", "Rows of a batch that your own functions get with per_batch=True.", 10_000, ge=1)
    max_retries: int = _setting(
        "Runs",
        "Further attempts after a failure that may pass: a lost connection, a deadlock; of a notebook job also after "
        "the death of its kernel.",
        3,
        ge=0,
    )
    retry_backoff_base: float = _setting(
        "Runs", "Attempt n is followed by a pause of up to this to the power of n, in seconds.", 2.0, gt=0
    )
    retry_budget: float = _setting(
        "Runs", "Seconds after which no further attempt begins.", 3600, ge=0, validation_alias="DATAPIPE_RETRY_BUDGET"
    )
    ledger: Literal["on", "off"] = _setting(
        "Runs",
        "The ledger beside the data makes loads exactly-once; off: loads are atomic, but a repeated one is not "
        "recognised.",
        "on",
        validation_alias="DATAPIPE_LEDGER",
    )
    internal_schema: str = _setting(
        "Runs",
        "The schema, or the prefix where a database has no schemas, of datapipe's own tables.",
        "_datapipe",
        pattern=r"^[A-Za-z_]\w{0,40}$",
        validation_alias="DATAPIPE_INTERNAL_SCHEMA",
    )
    lock_timeout: float = _setting(
        "Runs",
        "Seconds to wait for another run that writes to the same target.",
        600,
        ge=0,
        validation_alias="DATAPIPE_LOCK_TIMEOUT",
    )
    home: str | None = _setting(
        "Runs",
        "Where datapipe keeps what outlives a run: the record of runs, and the embedded servers of datapipe demo and "
        "datapipe up.",
        None,
        otherwise="~/.local/share/datapipe, for root /var/lib/datapipe",
        example="~/datapipe",
        validation_alias="DATAPIPE_HOME",
    )
    metadata_url: str | None = _setting(
        "Runs",
        "The PostgreSQL or SQLite database that runs are recorded in, or off.",
        None,
        repr=False,
        otherwise="a file in the data directory",
        example="postgresql://user:password@localhost:5432/metadata",
        validation_alias="DATAPIPE_METADATA_URL",
    )
    display: Literal["auto", "widget", "html", "text", "off"] = _setting(
        "Runs",
        "How runs are shown while they last: auto (as the place allows), widget (Jupyter), html (other notebooks), "
        "text, or off.",
        "auto",
        validation_alias="DATAPIPE_DISPLAY",
    )
    show_values: bool = _setting(
        "Runs",
        "Whether the card of a failed run may show the row that the error is about.",
        True,
        validation_alias="DATAPIPE_SHOW_VALUES",
    )
    redis_url: str = _setting(
        "Workers",
        "The Redis or Valkey that queues runs for the workers, keeps their results and idempotency hints.",
        "redis://localhost:6379/0",
        repr=False,
    )
    celery_broker_url: str | None = _setting(
        "Workers",
        "Where Celery queues runs, if not there.",
        None,
        repr=False,
        otherwise="REDIS_URL",
        example="redis://localhost:6379/0",
    )
    celery_result_backend: str | None = _setting(
        "Workers",
        "Where Celery keeps results, if not there.",
        None,
        repr=False,
        otherwise="REDIS_URL",
        example="redis://localhost:6379/0",
    )
    worker_concurrency: int = _setting("Workers", "Runs at a time in one worker.", 4, ge=1)
    queue: str = _setting(
        "Workers", "The queue of plans that name none.", "datapipe", pattern=_QUEUE, validation_alias="DATAPIPE_QUEUE"
    )
    signing_key: str | None = _setting(
        "Workers",
        "Signs the plans and notebooks that are sent to workers: the same 32 characters or more on both sides. With "
        "it, functions of a notebook cell can travel, and workers refuse what is not signed "
        '(make one with: python -c "import secrets; print(secrets.token_hex(32))").',
        None,
        repr=False,
        otherwise="nothing is signed",
        min_length=32,
        validation_alias="DATAPIPE_SIGNING_KEY",
    )
    function_modules: str = _setting(
        "Workers",
        "Without a key: the modules whose functions a worker calls, with commas between them; each includes what is "
        "below it.",
        "",
        example="recipes,company.transforms",
        validation_alias="DATAPIPE_FUNCTION_MODULES",
    )
    notebook_folders: str = _setting(
        "Workers",
        "Without a key: the folders whose notebooks a worker runs as jobs, with commas between them.",
        "",
        example="/srv/notebooks",
        validation_alias="DATAPIPE_NOTEBOOK_FOLDERS",
    )
    spool_url: str | None = _setting(
        "Workers",
        "Where the tasks ingest, transform and persist leave rows for each other: a folder that all workers share, or "
        "a URL that fsspec knows, such as s3://bucket/spool.",
        None,
        repr=False,
        otherwise="a folder in the data directory",
        example="/mnt/shared/spool",
        validation_alias="DATAPIPE_SPOOL_URL",
    )
    run_timeout: float = _setting(
        "Workers", "Seconds a run may take on a worker.", 86_400, gt=0, validation_alias="DATAPIPE_RUN_TIMEOUT"
    )
    shutdown_grace: float = _setting(
        "Workers",
        "Seconds a worker that is told to stop gives its runs to end; the others are queued again.",
        20,
        ge=0,
        validation_alias="DATAPIPE_SHUTDOWN_GRACE",
    )
    artifacts_url: str | None = _setting(
        "Notebooks as jobs",
        "Where notebooks that ran as jobs are kept, with what they leave: a folder, or a URL that fsspec knows, such "
        "as s3://bucket/notebooks.",
        None,
        repr=False,
        otherwise="a folder in the data directory",
        example="/mnt/shared/notebooks",
        validation_alias="DATAPIPE_ARTIFACTS_URL",
    )
    artifacts_days: float = _setting(
        "Notebooks as jobs",
        "Days after which what a job has left is removed.",
        90,
        gt=0,
        validation_alias="DATAPIPE_ARTIFACTS_DAYS",
    )
    artifacts_runs: int = _setting(
        "Notebooks as jobs",
        "How many runs of a notebook are kept.",
        200,
        ge=1,
        validation_alias="DATAPIPE_ARTIFACTS_RUNS",
    )

    log_level: LogLevel = _setting(
        "Logs",
        "What is logged, this and worse: DEBUG, INFO, WARNING, ERROR, CRITICAL. While it is not set, commands log "
        "WARNING and worse.",
        "INFO",
    )
    log_format: LogFormat = _setting(
        "Logs",
        "json, text or console. While it is not set, commands take console on a terminal, and text elsewhere.",
        "json",
    )
    api_open: bool | None = _setting(
        "REST interface",
        "Whether requests need no API key.",
        None,
        otherwise="none on a loopback address, as long as no key was made",
        example="0",
        validation_alias="DATAPIPE_API_OPEN",
    )
    api_hosts: str = _setting(
        "REST interface",
        "Names by which it may be called, beside localhost and its own address, with commas between them.",
        "",
        example="etl.example.com",
        validation_alias="DATAPIPE_API_HOSTS",
    )
    api_databases: str = _setting(
        "REST interface",
        "Servers that URLs in requests may lead to, beside the connections that have a name: host or host:port, with "
        "commas between them.",
        "",
        example="db.example.com:5432",
        validation_alias="DATAPIPE_API_DATABASES",
    )
    api_folders: str = _setting(
        "REST interface",
        "Folders in which plans of requests may read and write files, with commas between them.",
        "",
        example="/srv/exchange",
        validation_alias="DATAPIPE_API_FOLDERS",
    )
    api_rate: int = _setting(
        "REST interface",
        "Requests a minute that one caller may make.",
        6000,
        ge=1,
        validation_alias="DATAPIPE_API_RATE",
    )

    @property
    def broker_url(self) -> str:
        """Where Celery queues tasks."""
        if self.celery_broker_url:
            return redis_url(self.celery_broker_url, "CELERY_BROKER_URL")
        return redis_url(self.redis_url, "REDIS_URL")

    @property
    def result_url(self) -> str:
        """Where Celery keeps results."""
        return self.celery_result_backend or redis_url(self.redis_url, "REDIS_URL")

    def __init__(self, **given: Any) -> None:
        """What a call gives, over the variables as the rest of datapipe reads them: ``.env`` is read in one place."""
        known, fields = _capitals(environment()), type(self).model_fields
        texts = {str(info.validation_alias or field): text_of(field, known) for field, info in fields.items()}
        super().__init__(**{name: text for name, text in texts.items() if text is not None} | given)


def variables() -> dict[str, str]:
    """The variable of each field.

    Examples
    --------
    >>> variables()["pool_size"]
    'DB_POOL_SIZE'
    """
    return {field: variable_of(field) for field in Settings.model_fields}


def variable_of(field: str) -> str:
    """The variable of a field.

    Examples
    --------
    >>> variable_of("queue")
    'DATAPIPE_QUEUE'
    """
    return str(Settings.model_fields[field].validation_alias or field.upper())


def text_of(field: str, known: Mapping[str, str]) -> str | None:
    """What is set for a field, by its variable or in a file; None if nothing is.

    Parameters
    ----------
    known : mapping
        The environment, its names in capitals.

    Raises
    ------
    PlanError
        If the file cannot be read.

    Examples
    --------
    >>> text_of("pool_size", {"DB_POOL_SIZE": "7"}), text_of("queue", {"DATAPIPE_QUEUE": ""})
    ('7', None)
    """
    name = variable_of(field)
    return known.get(name) or None if Settings.model_fields[field].repr else variable(name, known)


def files_of_settings(known: Mapping[str, str]) -> dict[str, Path]:
    """The files that hold settings, by field: secrets and URLs, which no ``repr`` shows, may be in one.

    Examples
    --------
    >>> files_of_settings({"REDIS_URL_FILE": "/run/secrets/redis", "BATCH_SIZE_FILE": "no"})
    {'redis_url': PosixPath('/run/secrets/redis')}
    """
    named, names = _capitals(known), variables()
    own = [field for field, info in Settings.model_fields.items() if not info.repr]
    found = {field: named.get(names[field] + IN_FILE) for field in own}
    return {field: place(file) for field, file in found.items() if file}


def _capitals(known: Mapping[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in known.items()}
