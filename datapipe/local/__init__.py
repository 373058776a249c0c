"""A database of one's own without an install beyond pip, and the demo that runs on it."""

from datapipe.local.flights import load_flights
from datapipe.local.postgres import embedded_postgres

__all__ = ["embedded_postgres", "load_flights"]
