"""How much memory this process has at most while something lasts."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")


class Resident:
    """The most that the process has resident from now on.

    The system keeps the most of the whole life of a process. If that rises meanwhile, it is the answer, exactly; if it
    does not, the answer is the most that was seen by looking.

    Examples
    --------
    >>> resident = Resident()
    >>> resident.look()
    >>> resident.peak() is None or resident.peak() > 1_000_000
    True
    """

    def __init__(self) -> None:
        self._seen, self._most_before = _now_and_most()

    def look(self) -> None:
        """Look at what it is now; takes some 20 µs."""
        self._seen = max(self._seen, _now_and_most()[0])

    def peak(self) -> int | None:
        """In bytes; None where the system does not tell."""
        self.look()
        most = _now_and_most()[1]
        return (most if most > self._most_before else self._seen) or None


def _now_and_most() -> tuple[int, int]:
    """What is resident now, and the most there ever was, in bytes; zeros where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS:", "VmHWM:")))
    now, most = (int(found.get(name, "0").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most
