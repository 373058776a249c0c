"""A kernel's process: started so that it cannot outlive us, watched, interrupted, and ended with all it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import AsyncKernelManager

_GUARD = Path(__file__).with_name("guard.py")
_ENDING = 5.0  # seconds
_EVERY = 0.2  # seconds between two looks at its memory
_LONGEST = 80  # characters of the folder of sockets, whose paths may have 107 on Linux and 103 on macOS
_EVENTS = Path("/sys/fs/cgroup/memory.events")


class GuardedKernelManager(AsyncKernelManager):
    """Starts kernels behind a guard: whatever ends this process ends them."""

    launched: Callable[[int], object] = print  # told the process id as soon as there is one

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The kernel's own command, with the guard before it."""
        command = super().format_kernel_cmd(extra_arguments)
        return [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *command]

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        await super()._async_launch_kernel(kernel_cmd, **kw)
        process = getattr(self.provisioner, "process", None)
        self.launched(int(process.pid if process is not None else 0))

    @property
    def exit_code(self) -> int | None:
        """The exit code of its process, which has ended, or is about to."""
        process = getattr(self.provisioner, "process", None)
        try:
            return None if process is None else int(process.wait(_ENDING))
        except subprocess.TimeoutExpired:
            return None


def channels(folder: str) -> dict[str, str]:
    """How to talk to a kernel: by sockets in a folder of ours, which nobody else can enter, where paths may be so long.

    Examples
    --------
    >>> channels("/tmp/datapipe-notebook-k3x9")
    {'transport': 'ipc', 'ip': '/tmp/datapipe-notebook-k3x9/kernel'}
    """
    if sys.platform == "win32" or len(folder) > _LONGEST:
        return {"transport": "tcp"}
    return {"transport": "ipc", "ip": f"{folder}/kernel"}


@dataclass(frozen=True)
class Death:
    """How a kernel ended that nobody had told to end.

    Parameters
    ----------
    reason : {"kernel_died", "out_of_memory"}
    message, hint : str
    code : int, optional
        Its exit code; negative for a signal.
    """

    reason: str
    message: str
    hint: str
    code: int | None = None


class KernelProcess:
    """The process of a kernel that has started, and those it has started itself.

    Parameters
    ----------
    pid : int
        It leads a process group of its own.
    limit : int, optional
        Bytes they may have in memory together; beyond that they are killed.
    """

    def __init__(self, pid: int, limit: int | None = None) -> None:
        self.pid = pid
        self.peak = 0
        self._limit, self._over = limit, False
        self._kills = _oom_kills()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="datapipe memory", daemon=True)
        self._thread.start()

    def interrupt(self) -> None:
        """What the stop button of a notebook does."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End it and its processes at once."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Look no longer at its memory, and end what is left of its processes."""
        self._ended.set()
        self._thread.join(_EVERY * 5)
        self.kill()

    def death(self, code: int | None) -> Death:
        """How it died, as far as that can be told."""
        used = f"it had used up to {_size(self.peak)} of memory" if self.peak else "its memory is not known"
        if self._over:
            hint = "Read less at a time, or give the job more memory."
            return Death("out_of_memory", f"the kernel took more than {_size(self._limit or 0)} of memory", hint, code)
        if code == -signal.SIGKILL and _oom_kills() > self._kills:
            hint = "Read less at a time, or give the machine or its container more memory."
            return Death("out_of_memory", f"the system killed the kernel for want of memory; {used}", hint, code)
        if code == -signal.SIGKILL:
            hint = "Somebody killed it, or the system was out of memory: the system's log tells."
            return Death("kernel_died", f"the kernel was killed (SIGKILL); {used}", hint, code)
        if code is not None and code < 0:
            hint = "The code of a library that it calls has failed."
            return Death("kernel_died", f"the kernel died of {_named(-code)}; {used}", hint, code)
        hint = "Code such as os._exit() ends it."
        return Death("kernel_died", f"the kernel's process ended by itself with exit code {code}", hint, code)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            os.killpg(self.pid, number)

    def _watch(self) -> None:
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            while not self._ended.wait(_EVERY):
                used = sum(_resident(one) for one in (process, *process.children(recursive=True)))
                self.peak = max(self.peak, used)
                if self._limit is not None and used > self._limit:
                    self._over = True
                    self.kill()
                    return


def _resident(process: Any) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _oom_kills() -> int:
    """How many processes of this container the system has killed for want of memory."""
    with suppress(OSError, ValueError):
        counts = dict(line.split() for line in _EVENTS.read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    return 0


def _named(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _size(size: int) -> str:
    return f"{size / (1 << 30):.1f} GB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MB"
