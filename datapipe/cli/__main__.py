"""``python -m datapipe.cli``: the same program as ``datapipe``."""

from datapipe.cli import main

main()
