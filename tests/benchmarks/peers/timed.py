"""Run a command and print what it took, as JSON: python timed.py SECONDS COMMAND…

A process of its own, and a small one: a child's peak memory is never less than that of whoever started it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time


def timed(limit: float, command: list[str]) -> dict[str, float]:
    """Seconds of the process with its children, the largest one's peak in MB, and how it ended."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    return {"seconds": seconds, "peak_mb": used.ru_maxrss / 1024, "code": process.returncode}


if __name__ == "__main__":
    print(json.dumps(timed(float(sys.argv[1]), sys.argv[2:])))
