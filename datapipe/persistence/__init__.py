"""Writing: one transaction per run, every strategy, PostgreSQL, SQLite, DuckDB and files."""

from datapipe.persistence.load import Loaded
from datapipe.persistence.writer import BatchWriter, describe_write, write
from datapipe.plan import WriteStrategy

__all__ = ["BatchWriter", "Loaded", "WriteStrategy", "describe_write", "write"]
