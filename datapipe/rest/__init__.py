"""The REST interface: plans and notebooks sent to workers, runs, workers, schemas, and a web page; over HTTP."""

from __future__ import annotations

from datapipe.rest.app import create_app

__all__ = ["create_app"]
