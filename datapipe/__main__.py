"""``python -m datapipe`` is the command line."""

from datapipe.cli import main

main()
