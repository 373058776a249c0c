"""The registry: what the schema of each target was, version by version, in the metadata database."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datapipe.errors import PlanError, did_you_mean
from datapipe.schemas.changes import MODES, Mode, SchemaChange, SchemaDiff, diff
from datapipe.schemas.columns import ColumnSpec, columns_of, version_of
from datapipe.store import RunStore, SchemaRow, add_schema, open_store, schema_subjects, schemas_of, store_at


@dataclass(frozen=True)
class SchemaVersion:
    """One version of a subject's schema.

    Parameters
    ----------
    subject : str
    version : int
        Counted from 1 for each subject.
    fingerprint : str
        Equal for equal schemas, whatever their subjects; the ledger and results name it.
    created : str
        When it was registered; ISO 8601, UTC, by the database's clock.
    run_id : str or None
        The run that registered it.
    columns : tuple of ColumnSpec
    changes : SchemaDiff or None
        What differs from the version before; None for the first.
    """

    subject: str
    version: int
    fingerprint: str
    created: str
    run_id: str | None
    columns: tuple[ColumnSpec, ...]
    changes: SchemaDiff | None = None

    @property
    def head(self) -> str:
        """The version in a line."""
        by = f" by run {self.run_id}" if self.run_id else ""
        return f"{self.subject}, version {self.version} ({self.fingerprint}), {_moment(self.created)}{by}"

    def to_dict(self) -> dict[str, Any]:
        """The version as plain JSON values."""
        changes = self.changes.to_dict()["changes"] if self.changes is not None else None
        return {**dataclasses.asdict(self), "changes": changes}

    def __str__(self) -> str:
        return "\n".join([self.head, *(f"  {column}" for column in self.columns)])

    def _repr_html_(self) -> str:
        from datapipe.schemas.html import columns_html

        return columns_html(self.head, self.columns)


@dataclass(frozen=True)
class Compatibility:
    """Whether a schema may follow another: true if nothing breaks.

    Parameters
    ----------
    mode : {"backward", "forward", "full"}
    changes : SchemaDiff
        What differs, with what breaks the mode marked as breaking.
    """

    mode: Mode
    changes: SchemaDiff

    def __bool__(self) -> bool:
        return not self.changes.breaking

    @property
    def breaking(self) -> tuple[SchemaChange, ...]:
        """The changes that break it."""
        return self.changes.breaking

    def __str__(self) -> str:
        verdict = "compatible" if self else "not compatible"
        return f"{self.changes.after} is {verdict} with {self.changes.before} ({self.mode})\n{self.changes}"

    def _repr_html_(self) -> str:
        return self.changes._repr_html_()


class SchemaRegistry:
    """Versions of schemas, by subject.

    The subject of a table is its full name and where it is, such as ``public.users on postgresql db.example/crm``;
    you may register others. Wherever one is looked up, a shorter name does as well if it fits only one: ``users``.

    Parameters
    ----------
    store : str or RunStore, optional
        The URL of the metadata database; that of the environment, if left out.

    Raises
    ------
    PlanError
        If DATAPIPE_METADATA_URL is off.

    Examples
    --------
    >>> import tempfile
    >>> registry = SchemaRegistry(f"sqlite:///{tempfile.mkdtemp()}/runs.db")
    >>> registry.register("orders", [ColumnSpec("id", "int")])
    1
    >>> registry.register("orders", [ColumnSpec("id", "bigint"), ColumnSpec("day", "date")])
    2
    >>> print(registry.diff("orders", 1, 2))
    widened id: int -> bigint
    added day: date
    >>> bool(registry.compatible("orders", [ColumnSpec("id", "int")]))
    False
    """

    def __init__(self, store: RunStore | str | None = None) -> None:
        found = store_at(store) if isinstance(store, str) else store or open_store()
        if found is None:
            raise PlanError("schemas are not recorded: DATAPIPE_METADATA_URL is off", hint="Unset it, or give a URL")
        self._store = found

    def register(self, subject: str, schema: Any, run_id: str | None = None) -> int:
        """Make a schema the latest version of a subject; nothing is changed if it is that already.

        Parameters
        ----------
        subject : str
            Taken literally.
        schema : pyarrow.Schema, sequence of ColumnSpec, or pandas.DataFrame

        Returns
        -------
        int
            The number of the version.
        """
        if not subject.strip():
            raise PlanError("the subject is empty", hint="Give a name, such as 'orders'")
        columns = specs(schema)
        plain = [dict(vars(column)) for column in columns]
        return add_schema(self._store, subject, version_of(columns), plain, run_id)

    def get(self, subject: str, version: int | str | None = None) -> SchemaVersion:
        """One version: by its number, by its fingerprint, or the latest one.

        Raises
        ------
        PlanError
            If there is no such subject or version.
        """
        found = self.history(subject)
        if version is None:
            return found[-1]
        matches = [one for one in found if version in (one.version, one.fingerprint)]
        if not matches:
            hint = f"It has version{'s' if len(found) > 1 else ''} " + _listed([one.version for one in found])
            raise PlanError(f"{found[0].subject!r} has no version {version!r}", hint=hint)
        return matches[-1]

    def number(self, subject: str, fingerprint: str | None) -> int | None:
        """The number of a subject's latest version with a fingerprint; None if there is none."""
        found = [row.version for row in schemas_of(self._store, subject) if row.fingerprint == fingerprint]
        return found[-1] if found else None

    def versions(self, subject: str) -> list[int]:
        """The numbers of a subject's versions."""
        return [one.version for one in self.history(subject)]

    def history(self, subject: str) -> tuple[SchemaVersion, ...]:
        """Every version of a subject, the first one first, each with what it has changed.

        Raises
        ------
        PlanError
            If there is no such subject.
        """
        known = schemas_of(self._store, subject) or schemas_of(self._store, self.find(subject))
        found: list[SchemaVersion] = []
        for row in known:
            found.append(_version(row, found[-1] if found else None))
        return tuple(found)

    def diff(self, subject: str, before: int | str, after: int | str | None = None) -> SchemaDiff:
        """What differs between two versions of a subject; ``after`` is the latest one, if left out."""
        one, other = self.get(subject, before), self.get(subject, after)
        return diff(one.columns, other.columns, titles=(f"version {one.version}", f"version {other.version}"))

    def subjects(self) -> list[str]:
        """Every subject."""
        return schema_subjects(self._store)

    def find(self, name: str) -> str:
        """The subject that a name stands for.

        Raises
        ------
        PlanError
            If there is none, or more than one.
        """
        return find_subject(name, self.subjects())

    def compatible(self, subject: str, schema: Any, mode: Mode = "backward") -> Compatibility:
        """Whether a schema may follow the latest version of a subject.

        Parameters
        ----------
        schema
            As for :meth:`register`.
        mode : {"backward", "forward", "full"}
            Whether readers of the new schema can read old data, readers of the old one new data, or both.

        Returns
        -------
        Compatibility
            True if it may; it shows the changes.
        """
        if mode not in MODES:
            raise PlanError(f"unknown mode {mode!r}", hint=did_you_mean(mode, MODES, what="modes"))
        latest = self.get(subject)
        titles = (f"version {latest.version} of {latest.subject}", "the new schema")
        found = diff(latest.columns, specs(schema), titles=titles)
        return Compatibility(mode, found.judged(lambda change: change.breaks(mode)))


def specs(schema: Any) -> tuple[ColumnSpec, ...]:
    """The columns of whatever has some.

    Raises
    ------
    PlanError
        If it has none.
    """
    if isinstance(schema, pa.Schema):
        return columns_of(schema)
    if isinstance(schema, Sequence) and all(isinstance(column, ColumnSpec) for column in schema):
        return tuple(schema)
    if hasattr(schema, "columns"):
        from datapipe.data.frames import from_frame  # loads pandas

        return columns_of(from_frame(schema, None).schema)
    what = type(schema).__name__
    raise PlanError(f"a {what} is no schema", hint="Give a pyarrow.Schema, a list of ColumnSpec, or a DataFrame")


def find_subject(name: str, subjects: Collection[str]) -> str:
    """The one subject that a name stands for: itself, or what it is without its place or its schema.

    Examples
    --------
    >>> find_subject("users", ["public.users on postgresql localhost/crm", "public.orders on postgresql localhost/crm"])
    'public.users on postgresql localhost/crm'
    """
    if name in subjects:
        return name
    folded = name.casefold()
    found = [subject for subject in subjects if folded in {short.casefold() for short in _shorter(subject)}]
    if len(found) == 1:
        return found[0]
    if found:
        raise PlanError(f"{len(found)} subjects are called {name!r}", hint="Give one in full: " + _listed(found))
    near = did_you_mean(name, [_shorter(subject)[-1] for subject in subjects], what="known")
    hint = near or "A plan's first load registers its target; datapipe schema list shows what there is"
    raise PlanError(f"no schema is registered for {name!r}", hint=hint)


def _shorter(subject: str) -> tuple[str, ...]:
    """A subject, and what may be said for it, the shortest last."""
    table, _, _ = subject.partition(" on ")
    bare = table.rpartition("/")[2] if table.startswith("file ") else table.partition(".")[2] or table
    return subject, table, bare


def _version(row: SchemaRow, before: SchemaVersion | None) -> SchemaVersion:
    columns = tuple(ColumnSpec(**column) for column in row.columns)
    changes = None
    if before is not None:
        changes = diff(before.columns, columns, titles=(f"version {before.version}", f"version {row.version}"))
    return SchemaVersion(row.subject, row.version, row.fingerprint, row.created, row.run_id, columns, changes)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[-20:]))


def _moment(time: str) -> str:
    return f"{time[:19].replace('T', ' ')} UTC"
