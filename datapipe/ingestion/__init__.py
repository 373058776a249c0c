"""Read: one reader per kind of source, each giving Arrow batches with a schema known before the first row."""

from datapipe.data.connections import ConnectionManager
from datapipe.ingestion.batch import BatchIngestor
from datapipe.ingestion.readers import content_hash, open_source, source_sql

__all__ = ["BatchIngestor", "ConnectionManager", "content_hash", "open_source", "source_sql"]
