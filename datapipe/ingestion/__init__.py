"""Read: one reader per kind of source, each giving Arrow batches with a schema known before the first row."""

from datapipe.data.connections import ConnectionManager
from datapipe.ingestion.batch import BatchIngestor
from datapipe.ingestion.cursors import mark_values
from datapipe.ingestion.folders import place_of
from datapipe.ingestion.increments import Increment
from datapipe.ingestion.keys import open_keys
from datapipe.ingestion.newfiles import NewFiles
from datapipe.ingestion.ranges import Range, Ranges, Snapshot, cutting_of
from datapipe.ingestion.readers import content_hash, cut_source, open_source, read_as_one, source_sql

__all__ = [
    "BatchIngestor",
    "ConnectionManager",
    "Increment",
    "NewFiles",
    "Range",
    "Ranges",
    "Snapshot",
    "content_hash",
    "cut_source",
    "cutting_of",
    "mark_values",
    "open_keys",
    "open_source",
    "place_of",
    "read_as_one",
    "source_sql",
]
