"""Writing: one transaction per run, every strategy: PostgreSQL, MySQL and MariaDB, SQLite, DuckDB, files."""

from datapipe.persistence.claims import Claim
from datapipe.persistence.ledger import Delivery, hashed
from datapipe.persistence.leftovers import Leftover, drop_stages, remove_leftovers
from datapipe.persistence.load import Loaded
from datapipe.persistence.rejects import Replay, fields_of, find_rejects
from datapipe.persistence.stages import Staged, Stages, drop_part, refusal, stage
from datapipe.persistence.standing import Standing, look_at, where
from datapipe.persistence.watermarks import move_watermark, position_at
from datapipe.persistence.writer import BatchWriter, begin_write, describe_write, write
from datapipe.plan import WriteStrategy

__all__ = [
    "BatchWriter",
    "Claim",
    "Delivery",
    "Leftover",
    "Loaded",
    "Replay",
    "Staged",
    "Stages",
    "Standing",
    "WriteStrategy",
    "begin_write",
    "describe_write",
    "drop_part",
    "drop_stages",
    "fields_of",
    "find_rejects",
    "hashed",
    "look_at",
    "move_watermark",
    "position_at",
    "refusal",
    "remove_leftovers",
    "stage",
    "where",
    "write",
]
