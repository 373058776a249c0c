"""The crash harness: runs that are killed, and an oracle that counts what they left.

``forkserver`` forks a run in milliseconds and ``child`` is that run; ``runs`` starts and watches them; ``databases``
and ``cells`` say what must be there in the end; ``kills`` kills and judges; ``soak`` does so for long:
``python -m tests.crash --kills 1000``.
"""
