"""Becomes a kernel that ends when its parent does: run as a script, before any library is loaded."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # Linux: the signal a process gets when its parent ends


def main(parent: int, command: list[str]) -> None:
    """Ask the system to kill this process with its parent, then become the command.

    Elsewhere than on Linux the kernel itself looks every second whether its parent is there.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        sys.exit(1)
    os.environ["DATAPIPE_JOB_PROCESS"] = str(os.getpid())  # which the kernel keeps
    os.execvp(command[0], command)  # noqa: S606  # no shell: the kernel's own command


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
