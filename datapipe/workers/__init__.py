"""Plans on Celery workers: submit, run, recover."""

__all__: list[str] = []
