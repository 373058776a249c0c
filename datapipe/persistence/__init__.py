"""Writing: one transaction per run, every strategy, PostgreSQL, SQLite, DuckDB and files."""

from datapipe.persistence.delivery import Claim
from datapipe.persistence.ledger import Delivery, hashed
from datapipe.persistence.load import Loaded
from datapipe.persistence.writer import BatchWriter, begin_write, describe_write, write
from datapipe.plan import WriteStrategy

__all__ = [
    "BatchWriter",
    "Claim",
    "Delivery",
    "Loaded",
    "WriteStrategy",
    "begin_write",
    "describe_write",
    "hashed",
    "write",
]
