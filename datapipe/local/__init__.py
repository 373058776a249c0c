"""Servers of one's own without an install beyond pip, and the demo that runs on them."""

from datapipe.local.flights import load_flights
from datapipe.local.postgres import embedded_postgres
from datapipe.local.valkey import embedded_valkey

__all__ = ["embedded_postgres", "embedded_valkey", "load_flights"]
