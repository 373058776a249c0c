"""datapipe beside its peers: the same jobs, in turns, each in a process of its own.

    python -m tests.benchmarks.peers.install FOLDER         # the peers, each in an environment of its own
    python -m tests.benchmarks.peers --peers FOLDER --scale 0.1
    python -m tests.benchmarks.peers.report                 # the page and the picture in docs

``jobs.py`` says what is measured, ``tools.py`` with what, ``programs/`` how each tool does it, and ``data.py`` makes what
they read. ``rounds.py`` is one run, ``__main__.py`` the order of all, ``report.py`` and ``picture.py`` what is read in the end,
and ``measured.json`` has every single run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # services.py
