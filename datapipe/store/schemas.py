"""The versions of schemas that the store keeps: numbered from 1 for each subject, never changed, never removed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from datapipe.store.rows import SchemaRow
from datapipe.store.schema import SCHEMAS
from datapipe.store.store import RunStore


def add_schema(
    store: RunStore, subject: str, fingerprint: str, columns: Sequence[Mapping[str, Any]], run_id: str | None
) -> int:
    """The number of a schema: the latest version's, if that is the same, or the next one's."""
    newest = sa.select(SCHEMAS.c.version, SCHEMAS.c.fingerprint).where(SCHEMAS.c.subject == subject)
    newest = newest.order_by(SCHEMAS.c.version.desc()).limit(1)
    with store.reading() as conn:  # mostly nothing has changed, and nobody has to wait
        known = conn.execute(newest).first()
    if known is not None and known.fingerprint == fingerprint:
        return int(known.version)
    with store.writing() as conn:
        if conn.dialect.name == "postgresql":  # SQLite has one writer at a time
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock(subject))))
        known = conn.execute(newest).first()
        if known is not None and known.fingerprint == fingerprint:
            return int(known.version)
        version = 1 if known is None else int(known.version) + 1
        values = {"fingerprint": fingerprint, "columns": json.dumps(list(columns)), "run_id": run_id}
        conn.execute(SCHEMAS.insert().values(subject=subject, version=version, created=store.ago(0), **values))
        return version


def _lock(subject: str) -> int:
    """The number that the writers of a subject share."""
    digest = hashlib.sha256(f"datapipe schema {subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def schemas_of(store: RunStore, subject: str) -> list[SchemaRow]:
    """Every version of a subject, the first one first."""
    query = sa.select(SCHEMAS).where(SCHEMAS.c.subject == subject).order_by(SCHEMAS.c.version)
    with store.reading() as conn:
        return [
            SchemaRow(**{**row, "columns": tuple(json.loads(row["columns"]))}) for row in conn.execute(query).mappings()
        ]


def schema_subjects(store: RunStore) -> list[str]:
    """Every subject that has a version, in order."""
    with store.reading() as conn:
        return sorted(conn.scalars(sa.select(SCHEMAS.c.subject).distinct()))
