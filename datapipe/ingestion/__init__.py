"""Read: one reader per kind of source, each giving Arrow batches with a schema known before the first row."""

from datapipe.data.connections import ConnectionManager
from datapipe.ingestion.batch import BatchIngestor
from datapipe.ingestion.readers import open_source, source_sql

__all__ = ["BatchIngestor", "ConnectionManager", "open_source", "source_sql"]
