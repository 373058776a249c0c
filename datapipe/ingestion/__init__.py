"""Read: one reader per kind of source, each giving Arrow batches with a schema known before the first row."""

from datapipe.data.connections import ConnectionManager
from datapipe.ingestion.batch import BatchIngestor
from datapipe.ingestion.ranges import Range, Ranges, Snapshot, cutting_of
from datapipe.ingestion.readers import content_hash, cut_source, open_source, read_as_one, source_sql

__all__ = [
    "BatchIngestor",
    "ConnectionManager",
    "Range",
    "Ranges",
    "Snapshot",
    "content_hash",
    "cut_source",
    "cutting_of",
    "open_source",
    "read_as_one",
    "source_sql",
]
